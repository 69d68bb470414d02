"""A PC whose disk is really full; what it does to a VM is seen with a real QEMU, whose guest is a boot sector that writes.

Each test has a small file system of its own (tmpfs), in a mount namespace. A quota ends a write in the same way (EDQUOT for
ENOSPC): it is tried where the kernel has quotas on tmpfs (CONFIG_TMPFS_QUOTA, Linux 6.6).
"""

import ctypes
import functools
import hashlib
import http.server
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import unittest

HERE = pathlib.Path(__file__).resolve().parent
PROGRAMS = pathlib.Path(os.environ.get("TEST_PROGRAMS", HERE.parent.parent / "target/x86_64-unknown-linux-gnu/debug"))
IMGBUILD = PROGRAMS / "imgbuild"
CLONE_NEWNS = 0x20000
# Of 32 KiB each.
WRITES = 800


def boot_sector():
    """Writes to its disk by the firmware (INT 13h, AH=43h), says a dot on the serial line for each write, D at the end, E for an error."""
    code = bytes.fromhex(
        "31C0 8ED8 8EC0 8ED0 BC007C"     # all segments 0, a stack
        "BE377C"                         # si: the address packet
        "B80043 B280 CD13 7217"          # write; to E where that failed
        "B02E BAF803 EE"                 # a dot
        "83440840 83540A00"              # 64 sectors further
        "FF4C10 75E4"                    # as often as the packet's end says
        "B044 EB02 B045 BAF803 EE"       # D or E
        "F4 EBFD")                       # and no more
    packet = bytes.fromhex("1000 4000 0080 0000") + (2048).to_bytes(8, "little") + WRITES.to_bytes(2, "little")
    return (code + packet).ljust(510, b"\0") + b"\x55\xAA"


def setUpModule():
    if not all(shutil.which(program) for program in ("qemu-img", "qemu-system-x86_64")):
        raise unittest.SkipTest("there is no QEMU here")
    if os.geteuid():
        os.execvp("unshare", ["unshare", "--map-root-user", "--mount", "--", *sys.orig_argv])
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS):
        raise OSError(ctypes.get_errno(), "unshare")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)


def wait_for(what, condition, seconds=240):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError("%s did not come in %d s" % (what, seconds))
        time.sleep(0.2)


class SpaceCase(unittest.TestCase):
    def setUp(self):
        self.scratch = pathlib.Path(tempfile.mkdtemp(prefix="space-"))
        self.addCleanup(shutil.rmtree, self.scratch)
        self.lab = self.scratch / "lab"
        self.place = self.lab / "vm42"
        self.place.mkdir(parents=True)
        raw = self.scratch / "raw"
        raw.write_bytes(boot_sector().ljust(1 << 20, b"\0"))
        base = self.lab / "base.qcow2"
        subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, base], check=True)
        content = base.read_bytes()
        manifest = {"image": {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content), "virtual_bytes": 1 << 20},
                    "firstboot": {"version": "0", "contract": 99}}
        (self.lab / "base.manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
        (self.lab / "root-password").write_text("geheim geheim\n", encoding="utf-8")
        (self.lab / "root-password").chmod(0o600)
        (self.lab / "lab.yaml").write_text(
            "domain: example.org\ndefaults: {disk: 8G, memory: 512M, root_password_file: root-password, ssh_password: true}\n"
            "vms: [{name: vm42}]\n", encoding="utf-8")

    def small(self, folder, options):
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "small", folder], capture_output=True, text=True)
        if done.returncode == 0:
            self.addCleanup(subprocess.run, ["umount", "-l", folder], check=True)
        return done.returncode == 0

    def imgbuild(self, *words, **more):
        environment = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "HOME": str(self.scratch)}
        return subprocess.run([IMGBUILD, *words], cwd=self.lab, env=environment, stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, **more)

    def read(self, name):
        try:
            return (self.place / name).read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return ""

    def end(self):
        subprocess.run([self.place / "run.sh", "stop", "--limit", "1"], capture_output=True, check=False)

    def held_until_there_is_space(self, reason, ballast):
        """Starts it, until it is held; makes room; waits until the guest has written all."""
        self.addCleanup(self.end)
        done = subprocess.run([self.place / "run.sh", "start", "--user-net", "--accel=tcg"], capture_output=True, text=True)
        self.assertEqual(0, done.returncode, done.stderr)
        self.said = done.stderr
        wait_for("the hold", lambda: "is held" in self.read("run.log"))
        # It is told once, however often it is tried.
        time.sleep(12)
        log = self.read("run.log")
        self.assertIn("vm42/run.sh: warning: vm42 is held, and loses nothing: this PC could not write its disk (%s). It goes on by itself "
                      "when that is mended, such as by free space\n" % reason, log)
        self.assertEqual(1, log.count("is held"), log)
        self.assertNotIn("E", self.dots())
        status = json.loads(subprocess.run([self.place / "run.sh", "status", "--json"], capture_output=True, check=True).stdout)
        self.assertEqual(("paused", "io-error"), (status["state"], status["why"]))
        ballast()
        wait_for("the end", lambda: self.dots().endswith("D"))
        self.assertEqual("." * WRITES + "D", self.dots())
        # Said when it has not been held again for a while, perhaps after all is written.
        wait_for("the keeper's word", lambda: self.read("run.log").endswith("vm42/run.sh: vm42 goes on\n"), 60)
        self.end()
        subprocess.run(["qemu-img", "check", "-q", self.place / "vm42.qcow2"], check=True)

    def dots(self):
        """What the guest has said, without the firmware's words before it and its end of line, which comes late."""
        return "".join(self.read("console.log").rpartition("Booting from Hard Disk...")[2].split())

    def test_a_guest_is_held_while_the_disk_is_full(self):
        self.small(self.place, "size=40m")
        self.assertEqual(0, self.imgbuild("seed", "vm42").returncode)
        ballast = self.place / "ballast"
        ballast.write_bytes(bytes(25 << 20))
        self.held_until_there_is_space("No space left on device", ballast.unlink)
        self.assertRegex(self.said, r"warning: only \d+ MB are free where vm42\.qcow2 grows \(.*/vm42\)\. When they are used up, "
                                    "vm42 is held until there is space\n")

    def test_a_guest_is_held_while_the_quota_is_used_up(self):
        if not self.small(self.place, "size=80m,usrquota_block_hardlimit=40m"):
            self.skipTest("this kernel has no quota on tmpfs")
        self.assertEqual(0, self.imgbuild("seed", "vm42").returncode)
        ballast = self.place / "ballast"
        ballast.write_bytes(bytes(25 << 20))
        self.held_until_there_is_space("Disk quota exceeded", ballast.unlink)

    def test_a_seed_that_has_no_room_changes_nothing(self):
        self.small(self.place, "size=4m")
        self.assertEqual(0, self.imgbuild("seed", "vm42").returncode)
        names = ("seed.img", "run.sh")
        before = [(self.place / name).read_bytes() for name in names]
        ballast = self.place / "ballast"
        with open(ballast, "wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                pass
        (self.lab / "root-password").write_text("another one\n", encoding="utf-8")
        done = self.imgbuild("seed", "vm42")
        self.assertEqual(1, done.returncode)
        self.assertIn("No space left on device", done.stderr)
        self.assertEqual(before, [(self.place / name).read_bytes() for name in names])
        self.assertEqual(["ballast", "run.sh", "seed.img"], sorted(os.listdir(self.place)))
        ballast.unlink()
        self.assertEqual(0, self.imgbuild("seed", "vm42").returncode)
        self.assertNotEqual(before, [(self.place / name).read_bytes() for name in names])

    def test_what_has_no_room_is_not_fetched(self):
        base = self.lab / "base.qcow2"
        with open(base, "ab") as file:
            file.write(os.urandom(3 << 20))
        manifest = json.loads((self.lab / "base.manifest.json").read_text(encoding="utf-8"))
        manifest["image"].update(sha256=hashlib.sha256(base.read_bytes()).hexdigest(), bytes=base.stat().st_size)
        (self.lab / "base.manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
        self.assertEqual(0, self.imgbuild("lab", "publish", "www").returncode)
        desk = self.scratch / "desk"
        desk.mkdir()
        self.small(desk, "size=2m")
        handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(self.lab / "www"))
        handler.log_message = None
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        http.server.SimpleHTTPRequestHandler.log_message = lambda *_: None
        threading.Thread(target=server.serve_forever, daemon=True).start()
        done = self.imgbuild("fetch", "http://127.0.0.1:%d/" % server.server_port, "--output", desk)
        self.assertEqual(1, done.returncode)
        self.assertRegex(done.stderr, r"error: not enough space in .*/desk: \d+ MB are free, and 4 MB are still to come\n$")
        self.assertEqual([], os.listdir(desk))


if __name__ == "__main__":
    unittest.main()
