"""A virtual machine of its own lab, on the base of the machine tests: started by its run.sh, watched, and switched off."""

import contextlib
import glob
import json
import os
import signal
import subprocess
import sys
import time

import trees

HOUSE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TARGET = os.path.join(HOUSE, "target/x86_64-unknown-linux-gnu")
IMGBUILD = os.path.join(TARGET, "release/imgbuild")
# That of the machine tests; TEST_BASE names another folder with a base.
BASE = os.environ.get("TEST_BASE", os.path.join(TARGET, "tmp/base-trixie"))
NAME = "vm42"
# Emulated, and beside whatever this PC does.
LIMIT = 1800
LAB = """domain: lab.test
vmbr120:
  range: 10.120.0.0/24
vms:
  - name: %s
    memory: 1G
    cores: 1
    disk: %s
    timezone: Europe/Paris
    ssh_keys: ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKZ5dSjAQ8VxZB3RjXhZf1VtWkD8S2Yq0x7m4nQpLwEr student@lab"]
    root_password_file: secrets/root-password
    ntp: [10.120.0.1]
    openvpn:
      instance: vpn-interco
      config: secrets/vpn.ovpn
"""
# It listens, so that the second stage waits for nobody.
VPN = """dev tap120
dev-type tap
proto tcp-server
port 1194
tls-server
dh none
peer-fingerprint %s
<key>
%s</key>
<cert>
%s</cert>
"""
# Larger than the base, so that its root grows.
DISK = "40G"


class Failed(Exception):
    """A machine that does not do what it must."""


def imgbuild(folder, *words):
    done = subprocess.run([IMGBUILD, *words], cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        raise Failed("imgbuild %s: %d\n%s%s" % (" ".join(words), done.returncode, done.stdout, done.stderr))


def identity(folder):
    """A key, a certificate and its fingerprint, for the tunnel."""
    key, certificate = os.path.join(folder, "vpn.key"), os.path.join(folder, "vpn.pem")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30",
                    "-subj", "/CN=vpn", "-keyout", key, "-out", certificate], check=True, capture_output=True)
    shown = subprocess.run(["openssl", "x509", "-noout", "-fingerprint", "-sha256", "-in", certificate],
                           check=True, capture_output=True, text=True).stdout
    texts = []
    for path in (key, certificate):
        with open(path, encoding="ascii") as file:
            texts.append(file.read())
    return (shown.strip().rpartition("=")[2], *texts)


class Machine:
    """vm42 of the lab in `folder`."""

    def __init__(self, folder):
        self.lab, self.folder, self.process = folder, os.path.join(folder, NAME), None

    def seed(self):
        """Makes the lab, and in it the machine's seed."""
        if not os.path.exists(os.path.join(BASE, "base.qcow2")):
            sys.exit("tests/crash: there is no base in %s: scripts/test --cuts makes it" % BASE)
        secrets = os.path.join(self.lab, "secrets")
        os.makedirs(secrets, mode=0o700)
        for name in ("base.qcow2", "base.manifest.json"):
            os.symlink(os.path.join(BASE, name), os.path.join(self.lab, name))
        trees.put(secrets, {"root-password": trees.PASSWORD + "\n", "vpn.ovpn": VPN % identity(secrets)}, 0o600)
        trees.put(self.lab, {"lab.yaml": LAB % (NAME, DISK)})
        imgbuild(self.lab, "seed", NAME)

    def forget_disk(self):
        for path in glob.glob(self.overlay + "*"):
            os.remove(path)

    def path(self, name):
        return os.path.join(self.folder, name)

    @property
    def overlay(self):
        return self.path(NAME + ".qcow2")

    def start(self, programs=None):
        """`programs` is a folder whose programs come before the PC's."""
        with contextlib.suppress(FileNotFoundError):
            os.remove(self.path("status.jsonl"))
        environment = {**os.environ, "PATH": "%s:%s" % (programs, os.environ["PATH"])} if programs else os.environ
        with open(self.path("said"), "wb") as said:
            self.process = subprocess.Popen([self.path("run.sh"), "--user-net", "--host-loopback", "--console", "log"],
                                            stdin=subprocess.DEVNULL, stdout=said, stderr=said, env=environment, start_new_session=True)

    def events(self):
        """What firstboot says, as it says it, until its verdict."""
        end, told = time.monotonic() + LIMIT, 0
        while time.monotonic() < end:
            lines = []
            with contextlib.suppress(FileNotFoundError), open(self.path("status.jsonl"), encoding="utf-8") as file:
                lines = [line for line in file.read().split("\n")[:-1] if line.startswith("{")]
            for line in lines[told:]:
                told += 1
                event = json.loads(line)
                yield event
                if event["event"] == "verdict":
                    return
            if self.process.poll() is not None:
                with open(self.path("said"), encoding="utf-8", errors="replace") as file:
                    raise Failed("the machine has ended: %s" % file.read())
            time.sleep(0.02)
        raise Failed("no verdict after %d s" % LIMIT)

    def wait_for(self, word):
        """Until firstboot reports this step, or its verdict, which must be a good one. Returns whether it was the step or the word."""
        for event in self.events():
            if event["event"] == "step" and event["step"] == word:
                return True
            if event.get("result") == "failed" or event["event"] == "verdict" and event["result"] != "configured":
                raise Failed(json.dumps(event))
        return word == "configured"

    def end(self, number=signal.SIGKILL):
        """SIGKILL is a power cut."""
        if self.process is None:
            return
        with contextlib.suppress(FileNotFoundError, ValueError, ProcessLookupError):
            with open(self.path("qemu.pid"), encoding="ascii") as file:
                pid = int(file.read())
            if os.readlink("/proc/%d/cwd" % pid) == os.path.realpath(self.folder):
                os.kill(pid, number)
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.process = None
