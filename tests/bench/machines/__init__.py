"""Emulated machines whose instructions are counted, and the bases that they stand on.

A machine is started by its own run.sh, so with the command line that users have, under software emulation. A
program that stands in PATH before QEMU's adds three things to it: the plugin that counts (count.c); `-icount shift=0`,
by which the guest's clock advances by 1 ns with each instruction, so that its own accounts of processor time are
counts of instructions, and its ticks do not come more often where this PC is slow; and, where units are asked for, a
unit that tells those accounts, as a credential for systemd (systemd.system-credentials(7)), so nothing in the image is changed.
"""

import base64
import contextlib
import mmap
import os
import pathlib
import re
import shlex
import shutil
import struct
import subprocess
import time

import bench

HERE = pathlib.Path(__file__).parent
QEMU = "qemu-system-x86_64"
NAME = "vm42"
LAB = """domain: lab.test
vms:
  - name: vm42
    memory: 1G
    cores: 1
    timezone: Europe/Paris
    ssh_keys: ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKZ5dSjAQ8VxZB3RjXhZf1VtWkD8S2Yq0x7m4nQpLwEr student@lab"]
    root_password_file: secrets/root-password
"""
# Emulated, and beside whatever this PC does.
LIMIT = 1800
# How often files are looked at: some hundred thousand instructions.
PAUSE = 0.002

# What keeps firstboot away where cloud-init takes its place.
NO_FIRSTBOOT = "".join(" systemd.mask=firstboot-%s.service" % unit for unit in ("local", "join", "guard", "watch"))
# What a plain base is made of: the definition that users begin with, without Proxmox VE, whose repository not
# every PC reaches, but with what it brings that takes part in a boot.
PLAIN = (("proxmox: 9\n", "proxmox: false\n"), ("  # - chrony ", "  - chrony "), ("  # - postfix\n", "  - postfix\n"))
SETTINGS = [line for line in (bench.ROOT / "images/base.yaml").read_text(encoding="utf-8").splitlines() if re.match(r"  \w+: true ", line)]
KINDS = {
    "plain": PLAIN,
    # As Debian has it, and as imgbuild's bases were without the settings.
    "as-debian": (*PLAIN, ("settings:\n", "settings: false\n"), *((line + "\n", "") for line in SETTINGS)),
    "cloud-init": (*PLAIN, ("  - chrony ", "  - cloud-init\n  - chrony "), ("net.ifnames=0\n\n", "net.ifnames=0" + NO_FIRSTBOOT + "\n\n")),
}

# Waits for the boot's end and tells, of each unit, the processor time it had. Type=exec, or it would wait for itself. The
# console is opened late, because a getty that starts hangs up whoever has it open; and by that name, because opening
# /dev/ttyS0 may wait for a carrier.
ACCOUNTS = ("accounts.service", """[Unit]
Description=Accounts of processor time
[Service]
Type=exec
ExecStart=/bin/sh -c 'for try in 1 2 3 4 5 6 7 8 9; do [ -n "$$(systemctl list-jobs --no-legend)" ] || break; sleep 5; done; \
 { systemctl show -p Id -p CPUUsageNSec -- "*.service" init.scope -.slice | sed "s/^/account: /"; echo account: end; } >/dev/console'
""")


def definition(kind, folder):
    """The image definition of this kind of base, changed from the one of the repository."""
    text = (bench.ROOT / "images/base.yaml").read_text(encoding="utf-8")
    for old, new in KINDS[kind]:
        if old not in text:
            raise bench.Failed("images/base.yaml has changed: there is no %r in it" % old)
        text = text.replace(old, new, 1)
    file = folder / (kind + ".yaml")
    file.write_text(text, encoding="utf-8")
    return file


def base(kind, folder):
    """The folder with a base of this kind, made where there is none, or where it would be made of something else."""
    kept = bench.KEPT / kind
    kept.mkdir(parents=True, exist_ok=True)
    print("making the base `%s`, where it is not there yet" % kind, flush=True)
    words = [bench.program("imgbuild"), "base", "--source", "mirror", "--definition", definition(kind, folder), "--output", kept]
    with open(folder / "base.log", "wb") as log:
        bench.cost(words, log=log)
    return kept


def plugin(folder):
    """The counting plugin, for the version of the interface that this QEMU has."""
    library = folder / "count.so"
    for version in range(1, 10):
        bench.text(["gcc", "-O2", "-shared", "-fPIC", "-fvisibility=hidden", "-DVERSION=%d" % version, HERE / "count.c", "-o", library])
        words = [QEMU, "-M", "none", "-S", "-nodefaults", "-display", "none", "-accel", "tcg", "-monitor", "stdio",
                 "-plugin", "%s,into=%s" % (library, folder / "count")]
        tried = subprocess.run(words, input="quit\n", capture_output=True, text=True)
        if tried.returncode == 0:
            return library
    raise bench.Failed("QEMU does not load the counting plugin: %s" % tried.stderr)


class Machine:
    """vm42 of a lab of its own in `folder`, on the base in `base`."""

    def __init__(self, folder, base, units=(), counted=True):
        """`units` are further services of systemd's, (name, text), that start with multi-user.target, or drop-ins, (name.conf,
        text), for units that there are."""
        self.lab, self.folder, self.units, self.counted = folder, folder / NAME, units, counted
        self._running, self._numbers, self._stack = None, None, contextlib.ExitStack()
        folder.mkdir(parents=True)
        for name in ("base.qcow2", "base.manifest.json"):
            (folder / name).symlink_to(base / name)
        secret = folder / "secrets/root-password"
        secret.parent.mkdir(mode=0o700)
        secret.touch(mode=0o600)
        secret.write_text("Korrekt-Pferd-Batterie\n", encoding="ascii")
        (folder / "lab.yaml").write_text(LAB, encoding="ascii")
        bench.text([bench.program("imgbuild"), "seed", NAME], cwd=folder)
        self.overlay = self.folder / (NAME + ".qcow2")

    def _stand_in(self):
        """QEMU with the plugin."""
        more = ["-plugin", "%s,into=%s" % (plugin(self.lab), self.lab / "count"), "-icount", "shift=0"] if self.counted else []
        wanted = " ".join(name for name, _ in self.units if name.endswith(".service"))
        for name, text in (*self.units, ("multi-user.target.conf", "[Unit]\nWants=%s\n" % wanted)):
            drop_in = name.endswith(".conf")
            credential = "systemd.%s.%s" % ("unit-dropin" if drop_in else "extra-unit", name.removesuffix(".conf"))
            file = self.lab / credential
            file.write_text("io.systemd.credential.binary:%s=%s" % (credential, base64.b64encode(text.encode()).decode()), encoding="ascii")
            more += ["-smbios", "type=11,path=%s" % file]
        programs = self.lab / "programs"
        programs.mkdir(exist_ok=True)
        script = programs / QEMU
        script.write_text("#!/bin/sh\ncase $1 in -name) exec %s \"$@\" %s;; esac\nexec %s \"$@\"\n"
                          % (shutil.which(QEMU), shlex.join(more), shutil.which(QEMU)), encoding="utf-8")
        script.chmod(0o755)
        return programs

    def __enter__(self):
        environment = {**os.environ, "PATH": "%s:%s" % (self._stand_in(), os.environ["PATH"])}
        for name in ("status.jsonl", "console.log"):
            with contextlib.suppress(FileNotFoundError):
                (self.folder / name).unlink()
        with open(self.lab / "said", "wb") as said:
            words = [self.folder / "run.sh", "--user-net", "--host-loopback", "--console", "log", "--accel", "tcg"]
            self._running = self._stack.enter_context(bench.process(words, stdin=subprocess.DEVNULL, stdout=said, stderr=said, env=environment))
        if self.counted:
            with open(self.lab / "count", "rb") as file:
                self._numbers = mmap.mmap(file.fileno(), 24, prot=mmap.PROT_READ)
        return self

    def __exit__(self, *why):
        self._stack.close()

    def count(self, which=0):
        """The plugin's numbers."""
        return struct.unpack_from("=Q", self._numbers, 8 * which)[0] if self.counted else 0

    def read(self, name):
        with contextlib.suppress(FileNotFoundError):
            return (self.folder / name).read_bytes().decode("utf-8", "replace")
        return ""

    def lines(self):
        """What the guest says on its status port and on its console, with the count at which it was seen: (which, line, count).
        Until the machine ends."""
        told, end = {"status.jsonl": 0, "console.log": 0}, time.monotonic() + LIMIT
        while time.monotonic() < end:
            ended = self._running.poll() is not None
            for name, seen in told.items():
                with contextlib.suppress(FileNotFoundError):
                    if (self.folder / name).stat().st_size > seen:
                        count = self.count()
                        text = (self.folder / name).read_bytes()[seen:]
                        # A login prompt has no end of line.
                        whole = text.rfind(b"\n") + 1
                        if text.endswith(b"login: "):
                            whole = len(text)
                        told[name] += whole
                        for line in text[:whole].decode("utf-8", "replace").splitlines():
                            yield name, line, count
            if ended:
                return
            time.sleep(PAUSE)
        raise bench.Failed("the machine has not ended within %d s; the end of its console:\n%s" % (LIMIT, self.read("console.log")[-3000:]))

    def power_button(self):
        """As `imgbuild stop` presses it; the machine shuts down cleanly."""
        subprocess.Popen([self.folder / "run.sh", "stop"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def said(self):
        """What run.sh and QEMU said."""
        return (self.lab / "said").read_text(encoding="utf-8", errors="replace")


def accounts(lines):
    """What ACCOUNTS has told, in blocks of properties: instructions by unit."""
    found, block = {}, {}
    for line in lines:
        key, _, value = line.partition("account: ")[2].strip().partition("=")
        block[key] = value
        if {"Id", "CPUUsageNSec"} <= block.keys():
            if block["CPUUsageNSec"].isdigit():
                found[block["Id"]] = int(block["CPUUsageNSec"])
            block = {}
    return found
