# SPDX-License-Identifier: MIT OR Apache-2.0
"""What the modules know of a lab's folder on a PC. They run there, with nothing but Python's own library."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import hashlib
import json
import os
import pwd
import subprocess
import time

# What was last done to a VM, in its folder: the seed that was copied, and how it is a service.
RECORD = ".fleet.json"


def user_name():
    """Who this is on the PC."""
    return pwd.getpwuid(os.geteuid()).pw_name


def home():
    """The home of that user, whatever the environment says."""
    return pwd.getpwuid(os.geteuid()).pw_dir


def folder_path(text):
    """The lab's folder on this PC."""
    return os.path.expanduser(text.replace("{user}", user_name()))


def sha256_of(path):
    """The digest of a file."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for piece in iter(lambda: file.read(1 << 20), b""):
            digest.update(piece)
    return digest.hexdigest()


def read_json(path):
    """The object in a JSON file, or an empty one where there is none that can be read."""
    try:
        with open(path, encoding="utf-8") as file:
            found = json.load(file)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def write_whole(path, text, mode=0o600):
    """A file that is there as a whole or not at all."""
    new = "%s.%d" % (path, os.getpid())
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(new, path)


@contextlib.contextmanager
def locked(path, seconds):
    """Holds a lock that goes with the process, whatever ends it."""
    with open(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+", encoding="ascii") as file:
        deadline = time.monotonic() + seconds
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise TimeoutError(
                        "another deploy has been at work in %s for %d s" % (os.path.dirname(path), seconds)
                    ) from None
                time.sleep(0.2)
        yield


class VM:
    """A VM's folder on this PC."""

    def __init__(self, lab, name):
        self.name = name
        self.folder = os.path.join(lab, name)
        self.script = os.path.join(self.folder, "run.sh")

    def record(self):
        """See RECORD."""
        return read_json(os.path.join(self.folder, RECORD))

    def write_record(self, **changes):
        """Changes some of the record."""
        record = dict(self.record(), **changes)
        write_whole(os.path.join(self.folder, RECORD), json.dumps(record, sort_keys=True) + "\n")

    def run(self, *words):
        """Exit code and both outputs of run.sh."""
        done = subprocess.run(
            ["/bin/sh", self.script, *words],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False)
        return done.returncode, done.stdout.strip(), done.stderr.strip()

    def status(self):
        """What `run.sh status --json` says; nothing where there is no VM."""
        if not os.path.exists(self.script):
            return None
        code, out, err = self.run("status", "--json")
        if code:
            raise OSError("%s status --json: exit code %d\n%s" % (self.script, code, err))
        return json.loads(out)


def guest_of(status):
    """What firstboot last said: its verdict on the instance, and why."""
    verdict = {"verdict": "", "instance": "", "reason": ""}
    try:
        text = base64.b64decode(status.get("status_base64") or "").decode("utf-8", "replace")
    except ValueError:
        return verdict
    for line in text.splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if not isinstance(event, dict):
            continue
        if event.get("event") == "stage" and event.get("state") == "started":
            verdict = {"verdict": "running", "instance": event.get("instance", ""), "reason": ""}
        if event.get("event") == "waiting":
            verdict["reason"] = event.get("reason", "")
        if event.get("event") == "verdict":
            verdict = {
                "verdict": event.get("result", ""), "instance": event.get("instance", ""), "reason": event.get("reason", "")}
    return verdict
