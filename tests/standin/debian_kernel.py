"""Debian's kernel for virtual machines, repackaged under the names that Proxmox's has.

A kernel says in itself what it is called, and looks for its modules below that name: so files
and folders keep Debian's version (6.12.57+deb13-cloud-amd64) where Proxmox's would end with -pve.
"""

import os
import pathlib
import re
import subprocess
import sys

META = "linux-image-cloud-amd64"
KEYRINGS = ("/usr/share/keyrings/debian-archive-keyring.gpg", "/usr/share/keyrings/debian-archive-keyring.pgp")
# Split off from the image in newer releases.
PARTS = re.compile(r"linux-(image|modules|binary)-[^ ,(]+")


def run(command, **more):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, **more)
    if done.returncode:
        sys.exit("%s failed with %d:\n%s" % (" ".join(map(str, command)), done.returncode, (done.stdout + done.stderr).strip()))
    return done.stdout


def sources(suite):
    """The lines of sources.list(5) that a base of this machine has: the same kernel, so, as one without Proxmox."""
    archives = [line.lstrip("'").partition("/dists/")[0] for line in run(["apt-get", "--print-uris", "update"]).splitlines()]
    archives = [archive for archive in archives if archive.startswith("http")]
    mirror = next((a for a in archives if a.endswith("/debian")), None) or sys.exit("this machine's APT knows no Debian mirror")
    security = next((a for a in archives if a.endswith("/debian-security")), None)
    keyring = next((k for k in KEYRINGS if os.path.exists(k)), None) or sys.exit("debian-archive-keyring is not installed")
    places = [(mirror, suite), (mirror, suite + "-updates")] + ([(security, suite + "-security")] if security else [])
    return "".join("deb [signed-by=%s] %s %s main\n" % (keyring, archive, name) for archive, name in places)


class Archive:
    """A release of Debian for apt-get, beside this machine's own settings."""

    def __init__(self, folder, suite):
        self.folder = pathlib.Path(folder)
        for name in ("etc/apt/apt.conf.d", "etc/apt/preferences.d", "lists/partial", "archives/partial"):
            (self.folder / name).mkdir(parents=True)
        (self.folder / "status").touch()
        (self.folder / "list").write_text(sources(suite), encoding="utf-8")
        top = str(self.folder)
        options = {
            "Dir::Etc": top + "/etc/apt", "Dir::Etc::sourcelist": top + "/list", "Dir::Etc::sourceparts": top + "/none",
            "Dir::State": top, "Dir::State::lists": top + "/lists", "Dir::State::status": top + "/status",
            "Dir::Cache": top, "Dir::Cache::archives": top + "/archives", "APT::Architecture": "amd64",
            "APT::Architectures": "amd64", "APT::Sandbox::User": "", "Acquire::Languages": "none", "Acquire::Retries": "3",
            "Debug::NoLocking": "1"}
        self.options = [word for item in options.items() for word in ("-o", "%s=%s" % item)]

    def ask(self, program, *words):
        return run([program, "-q", *self.options, *words], cwd=self.folder, env=dict(os.environ, LC_ALL="C"))

    def parts(self):
        """The package that the meta package leads to, and its parts."""
        wanted, found = [META], []
        while wanted:
            name = wanted.pop()
            depends = re.search(r"^Depends: (.*)$", self.ask("apt-cache", "show", "--no-all-versions", name), re.MULTILINE)
            for part in PARTS.finditer(depends.group(1) if depends else ""):
                if part.group(0) not in found:
                    found.append(part.group(0))
                    wanted.append(part.group(0))
        return found


def unpack(tree, folder, suite):
    """Kernel and modules into `tree`; returns their version."""
    archive = Archive(folder, suite)
    archive.ask("apt-get", "update", "--error-on=any")
    archive.ask("apt-get", "download", *archive.parts())
    for package in archive.folder.glob("*.deb"):
        run(["dpkg-deb", "-x", package, tree])
    # What is no part of a kernel's own package, and where modules are since Debian 13.
    run(["rm", "-rf", tree / "usr/share"])
    if (tree / "lib/modules").is_dir():
        (tree / "usr/lib").mkdir(parents=True, exist_ok=True)
        (tree / "lib/modules").rename(tree / "usr/lib/modules")
        (tree / "lib").rmdir()
    images = [file.name for file in (tree / "boot").glob("vmlinuz-*")]
    if len(images) != 1:
        sys.exit("no kernel, or several, in Debian's %s of %s: %s" % (META, suite, images))
    return images[0].partition("-")[2]


POSTINST = """#!/bin/sh
# As the real one: nothing at all while Proxmox's installer, or what acts like it, is at work.
set -e
[ "$1" = configure ] && [ ! -e /proxmox_install_mode ] || exit 0
depmod %(version)s
exec run-parts --exit-on-error --arg=%(version)s --arg=/boot/vmlinuz-%(version)s /etc/kernel/postinst.d
"""
