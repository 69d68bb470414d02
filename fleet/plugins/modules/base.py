#!/usr/bin/python
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Brings the base image of the VMs to a PC, or removes those that nothing needs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: base
short_description: Bring the base image of the VMs to a PC
version_added: 0.2.0
description:
  - The image is downloaded with aria2 (from the other PCs and the web server at once), else with curl or wget, and goes on
    where an earlier download was cut. Where there is no URL, or no such program, it is copied from the controller through ssh.
  - It gets its name, C(bases/SHA256.qcow2), when its digest was compared. One is enough for all VMs of the PC. Two runs at once
    on one PC wait for each other.
options:
  state:
    description: C(present) brings the image; C(clean) removes each that no VM of the folder needs.
    type: str
    choices: [present, clean]
    default: present
  sha256:
    description: The digest of the image that is wanted, in lower-case hex.
    type: str
    required: true
  bytes:
    description: The size of the image.
    type: int
    default: 0
  url:
    description: Where C(imgbuild lab publish) put it, a folder of a web server.
    type: str
  src:
    description: The image on the controller, for a copy through ssh.
    type: path
  programs:
    description: What may download, the first that is there.
    type: list
    elements: str
    choices: [aria2c, curl, wget]
    default: [aria2c, curl, wget]
  upload_limit:
    description: How many bytes per second aria2 gives to other PCs at most, with C(K) or C(M) behind the number; 0 is no limit.
    type: str
    default: 50M
  lock_seconds:
    description: How long another run on the PC is waited for.
    type: int
    default: 7200
  upload:
    description: The action's own; a file that it has put onto the PC.
    type: str
extends_documentation_fragment:
  - imgbuild.lab.pc
author:
  - The imgbuild project (@imgbuild)
"""

EXAMPLES = r"""
- name: Bring the base
  imgbuild.lab.base:
    folder: /var/tmp/imgbuild-{user}
    sha256: "{{ imgbuild_base_sha256 }}"
    bytes: "{{ imgbuild_base_bytes }}"
    url: http://www.lab.example.org/images/
"""

RETURN = r"""
how:
  description: What brought it. C(present) is that it was there.
  returned: when O(state=present)
  type: str
removed:
  description: The images that were removed.
  returned: when O(state=clean)
  type: list
  elements: str
"""

import glob
import os
import re
import shutil
import signal
import subprocess
import time

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.urls import open_url
from ansible_collections.imgbuild.lab.plugins.module_utils import pc

# What stays free of the PC's disk, for its students.
SPARE_BYTES = 64 << 20
# An upload that has not grown for so long was cut.
CUT_SECONDS = 600
# How the programs say that the disk is full, or is not to be written: curl, wget and aria2c.
FULL = {"curl": (23,), "wget": (3,), "aria2c": (9, 15, 16, 17, 18)}
# aria2: the digest of what came is another one.
OTHER_DIGEST = 32
# A swarm in which nobody has a piece to give ends after so long. The first piece of another PC comes after 12 s.
STALL_SECONDS = 60


class Failure(Exception):
    """Why there is no image, in words for people."""


class ProgramFailure(Failure):
    """A program that downloads has ended without an image."""

    def __init__(self, words, code, said):
        super().__init__("%s: exit code %d\n%s" % (" ".join(words), code, "\n".join(said.splitlines()[-8:])))
        self.code, self.said = code, said


class Base:
    """The image that is wanted on this PC."""

    def __init__(self, module):
        self.module = module
        self.sha256 = module.params["sha256"]
        self.bytes = module.params["bytes"]
        self.url = module.params["url"]
        self.bases = os.path.join(pc.folder_path(module.params["folder"]), "bases")
        self.file = os.path.join(self.bases, self.sha256 + ".qcow2")
        self.part = os.path.join(self.bases, ".%s.part" % self.sha256)

    def is_there(self):
        """Whether the image has its name already, which it got when its digest was compared."""
        return os.path.isfile(self.file) and self.bytes in (0, os.path.getsize(self.file))

    def program(self):
        """What downloads."""
        return next((name for name in self.module.params["programs"] if self.url and shutil.which(name)), None)

    def make_folder(self):
        """The folder and what lies above it, which is its owner's alone."""
        lab = os.path.dirname(self.bases)
        if not os.path.isdir(lab):
            os.makedirs(lab, mode=0o700)
        # In /var/tmp another user can have made it first.
        if os.stat(lab).st_uid != os.geteuid():
            raise Failure("%s belongs to another user (number %d). Give the room another `folder`" % (lab, os.stat(lab).st_uid))
        os.makedirs(self.bases, mode=0o700, exist_ok=True)

    def remove_cut_uploads(self):
        """What a connection that was cut has left."""
        for path in glob.glob(os.path.join(self.bases, ".*.upload-*")):
            if path != self.module.params["upload"] and time.time() - os.path.getmtime(path) > CUT_SECONDS:
                os.unlink(path)

    def check_space(self, have=0):
        """Before a byte is written."""
        disk = os.statvfs(self.bases)
        free = disk.f_bavail * disk.f_frsize
        needed = self.bytes - have + SPARE_BYTES
        if free < needed:
            raise Failure(
                "%s has %d MB free, and the base needs %d MB (with %d MB that stay free). Make room there, or give the room another `folder`"
                % (self.bases, free // 10**6, needed // 10**6, SPARE_BYTES // 10**6))

    def size(self, path):
        """Of a file that may not be there."""
        return os.path.getsize(path) if os.path.exists(path) else 0

    def take(self, path, source):
        """Gives a file its name when it is the image."""
        if self.bytes and self.size(path) != self.bytes:
            with open(path, "rb") as file:
                begin = file.read(512).lstrip().lower()
            what = "a web page, no image" if begin.startswith((b"<!doctype", b"<html")) else "not the image"
            size = self.size(path)
            os.unlink(path)
            raise Failure("%s: what came is %s: %d bytes, expected %d. Nothing of it was kept" % (source, what, size, self.bytes))
        found = pc.sha256_of(path)
        if found != self.sha256:
            os.unlink(path)
            raise Failure("%s: what came is another image: SHA-256 %s, expected %s. Nothing of it was kept" % (source, found, self.sha256))
        os.chmod(path, 0o444)
        with open(path, "rb") as file:
            os.fsync(file.fileno())
        os.replace(path, self.file)
        folder = os.open(self.bases, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)

    def download(self, program):
        """Downloads and takes the image. One that was begun earlier and is a lie is begun once more."""
        begun = self.size(self.part) > 0
        self.check_space(self.size(self.part))
        source = self.url.rstrip("/") + "/" + self.sha256 + ".qcow2"
        try:
            how = getattr(self, program)(source)
            try:
                self.take(self.part, source)
            except Failure:
                if not begun:
                    raise
                how = getattr(self, program)(source)
                self.take(self.part, source)
        except ProgramFailure as error:
            # wget makes the file before it asks.
            if os.path.exists(self.part) and not self.size(self.part):
                os.unlink(self.part)
            # curl and wget say the number, aria2 the words.
            if re.search(r"\b404\b|Resource not found", error.said):
                raise Failure("%s is not there (%s). Publish the base there: imgbuild lab publish DIR; or mend the room's `base_url`"
                              % (source, program)) from error
            raise
        return how

    def call(self, words, partial=None):
        """Runs a program; a disk that it has filled is emptied again."""
        done = subprocess.run(
            words, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False, cwd=self.bases,
            env=dict(os.environ, LC_ALL="C"), preexec_fn=polite)
        if done.returncode == 0:
            return
        name = os.path.basename(words[0])
        disk = os.statvfs(self.bases)
        if done.returncode in FULL.get(name, ()) or disk.f_bavail * disk.f_frsize < (1 << 20):
            for path in (partial, self.part):
                if path and os.path.isdir(path):
                    shutil.rmtree(path)
                elif path and os.path.exists(path):
                    os.unlink(path)
        raise ProgramFailure(words, done.returncode, (done.stdout + done.stderr).strip())

    def curl(self, source):
        """By curl, from where an earlier download was cut."""
        words = ["curl", "--fail", "--silent", "--show-error", "--location", "--retry", "5", "--connect-timeout", "20",
                 "--speed-limit", "1024", "--speed-time", "60", "--output", self.part]
        if 0 < self.size(self.part) < self.bytes:
            try:
                self.call([*words, "--continue-at", "-", "--url", source])
                return "curl"
            except ProgramFailure as error:
                # 33: the server has no ranges. 36: not from there.
                if error.code not in (33, 36):
                    raise
        if os.path.exists(self.part):
            os.unlink(self.part)
        self.call([*words, "--url", source])
        return "curl"

    def wget(self, source):
        """By wget, from where an earlier download was cut."""
        if self.size(self.part) >= self.bytes and os.path.exists(self.part):
            os.unlink(self.part)
        self.call(["wget", "--no-verbose", "--continue", "--tries=5", "--connect-timeout=20", "--read-timeout=60",
                   "--output-document=" + self.part, "--", source])
        return "wget"

    def aria2c(self, source):
        """By aria2: from the web server and from the other PCs of the room, which find each other by multicast."""
        work = os.path.join(self.bases, ".%s.aria2" % self.sha256)
        os.makedirs(work, mode=0o700, exist_ok=True)
        image = os.path.join(work, os.path.basename(self.file))
        words = ["aria2c", "--no-conf=true", "--dir=" + work, "--continue=true", "--allow-overwrite=true", "--auto-file-renaming=false",
                 "--file-allocation=none", "--console-log-level=warn", "--summary-interval=0", "--show-console-readout=false", "--download-result=hide",
                 "--connect-timeout=20", "--timeout=60", "--max-tries=5", "--max-connection-per-server=2"]
        torrent = self.torrent(source, work)
        try:
            how = "aria2, torrent and web" if torrent and self.swarm(words, torrent, source, work) else "aria2"
            if how == "aria2":
                self.call([*words, "--checksum=sha-256=" + self.sha256, "--out=" + os.path.basename(image), source], work)
        except ProgramFailure as error:
            # Nothing that could be gone on with.
            if not self.size(image):
                shutil.rmtree(work, ignore_errors=True)
            # It says no more than that; what it is that came is said where it is looked at.
            if error.code != OTHER_DIGEST or not self.size(image):
                raise
        os.replace(image, self.part)
        shutil.rmtree(work)
        return how

    def swarm(self, words, torrent, source, work):
        """The image by its torrent; false where the web server cannot take part, and has to give it all by itself."""
        # The image is public as far as the web server is, but no further: no DHT, no tracker of strangers. Pieces in random
        # order, or all PCs would ask the web server for the same ones.
        options = ["--enable-dht=false", "--enable-dht6=false", "--bt-enable-lpd=true", "--enable-peer-exchange=true",
                   "--stream-piece-selector=random", "--max-overall-upload-limit=" + self.module.params["upload_limit"],
                   "--seed-time=0", "--bt-stop-timeout=%d" % STALL_SECONDS, "--check-integrity=true"]
        try:
            self.call([*words, *options, torrent], work)
        except ProgramFailure as error:
            if "Invalid checksum index" in error.said:
                shutil.rmtree(work)
                raise Failure("%s.torrent and the image beside it do not belong together: the pieces have other digests. Nothing of it was kept. "
                              "Publish the base once more: imgbuild lab publish DIR; or do without the torrent: "
                              "-e '{\"imgbuild_download_with\": [\"curl\"]}'" % source) from error
            if not re.search("Invalid range header|status=416", error.said):
                raise
            self.module.warn("%s: the web server knows no ranges, or sends another file, so the torrent beside it is not used" % source)
            shutil.rmtree(work)
            os.mkdir(work, mode=0o700)
            return False
        return True

    def torrent(self, source, work):
        """The torrent beside the image, where the server has one."""
        try:
            with open_url(source + ".torrent", timeout=30) as answer:
                data = answer.read(64 << 20)
        except OSError:
            return None
        # A bencoded dictionary (BEP 3) of this one file, and no page that says sorry.
        name = os.path.basename(self.file).encode()
        if not (data.startswith(b"d") and b"4:name%d:%s" % (len(name), name) in data and (b"6:lengthi%de" % self.bytes in data or not self.bytes)):
            self.module.warn("%s.torrent is not the torrent of this image, so the image comes from the web server alone. "
                             "Publish it once more: imgbuild lab publish DIR" % source)
            return None
        file = os.path.join(work, "torrent")
        with open(file, "wb") as output:
            output.write(data)
        return file

    def clean(self):
        """The images that neither an overlay was made on, nor a seed is made for. The newest stays."""
        needed = {self.sha256}
        lab = os.path.dirname(self.bases)
        for path in glob.glob(os.path.join(lab, "*", "*.base*")):
            with open(path, encoding="utf-8", errors="replace") as file:
                needed.add(file.read().strip())
        for path in glob.glob(os.path.join(lab, "*", "run.sh")):
            with open(path, encoding="utf-8", errors="replace") as file:
                needed.update(re.findall(r"(?m)^base_sha256='?([0-9a-f]{64})", file.read()))
        removed = []
        for path in sorted(glob.glob(os.path.join(self.bases, "*"))):
            found = re.fullmatch(r"([0-9a-f]{64})\.(qcow2|manifest\.json)", os.path.basename(path))
            if found and found.group(1) not in needed:
                removed.append(os.path.basename(path))
                if not self.module.check_mode:
                    os.unlink(path)
        if not self.module.check_mode:
            self.leave()
        return removed

    def leave(self):
        """Takes the folder away, when nothing is in it but a lock that nobody has."""
        lock = os.path.join(self.bases, ".lock")
        try:
            if os.listdir(self.bases) == [".lock"]:
                with pc.locked(lock, 0):
                    os.unlink(lock)
            os.rmdir(self.bases)
        except OSError:
            # There is something in it, or somebody at work.
            pass


def polite():
    """A student at the PC is not to notice, and a cut connection ends it: see the module's lock."""
    os.nice(10)


def present(base, result):
    """Brings the image, or says that the action must."""
    module = base.module
    upload = module.params["upload"]
    if base.is_there():
        if upload and os.path.exists(upload):
            os.unlink(upload)
        return
    program = base.program()
    result["changed"] = True
    if module.check_mode:
        result["how"] = program or "ssh"
        return
    base.make_folder()
    with pc.locked(os.path.join(base.bases, ".lock"), module.params["lock_seconds"]):
        base.remove_cut_uploads()
        if base.is_there():
            result["changed"] = False
            if upload and os.path.exists(upload):
                os.unlink(upload)
        elif upload:
            base.take(upload, module.params["src"])
            result["how"] = "ssh"
        elif program:
            result["how"] = base.download(program)
        else:
            base.check_space()
            result["how"] = "ssh"
            # The action puts it there, and calls once more.
            result["upload"] = os.path.join(base.bases, ".%s.upload-%d" % (base.sha256, os.getpid()))


def main():
    """The module."""
    module = AnsibleModule(
        argument_spec={
            "folder": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["present", "clean"], "default": "present"},
            "sha256": {"type": "str", "required": True},
            "bytes": {"type": "int", "default": 0},
            "url": {"type": "str"},
            "src": {"type": "path"},
            "programs": {
                "type": "list", "elements": "str", "choices": ["aria2c", "curl", "wget"], "default": ["aria2c", "curl", "wget"]},
            "upload_limit": {"type": "str", "default": "50M"},
            "lock_seconds": {"type": "int", "default": 7200},
            "upload": {"type": "str"},
        },
        supports_check_mode=True,
    )
    # What it has started ends with it.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    if not re.fullmatch("[0-9a-f]{64}", module.params["sha256"]):
        module.fail_json(msg="not a SHA-256: %s" % module.params["sha256"])
    if not re.fullmatch("[0-9]+[KM]?", module.params["upload_limit"]):
        module.fail_json(msg="not a number of bytes per second, such as 50M: %s (imgbuild_upload_limit)" % module.params["upload_limit"])
    base = Base(module)
    if module.params["state"] == "clean":
        removed = base.clean()
        module.exit_json(changed=bool(removed), removed=removed)
    result = {"changed": False, "how": "present"}
    try:
        present(base, result)
    except (Failure, OSError) as error:
        module.fail_json(msg="cannot bring the base: %s" % error)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
