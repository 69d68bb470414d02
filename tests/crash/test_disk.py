"""What tests/crash/machine is made of, on small disks: QEMU's own log of writes, file systems that are sound and that are not."""

import importlib.machinery
import importlib.util
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.dont_write_bytecode = True
sys.path.insert(0, str(HERE))
import compare  # noqa: E402
import disk  # noqa: E402

loader = importlib.machinery.SourceFileLoader("machine", str(HERE / "machine"))
machine = importlib.util.module_from_spec(importlib.util.spec_from_loader("machine", loader))
loader.exec_module(machine)

MIB = 1 << 20


class DiskCase(unittest.TestCase):
    def setUp(self):
        self.scratch = tempfile.mkdtemp(prefix="crash-")
        self.addCleanup(shutil.rmtree, self.scratch)

    def path(self, name):
        return os.path.join(self.scratch, name)

    def recorded(self, *commands):
        """What QEMU records of these commands of qemu-io."""
        with open(self.path("disk"), "wb") as file:
            file.truncate(4 * MIB)
        with open(self.path("log"), "wb"):
            pass
        words = [word for command in commands for word in ("-c", command)]
        subprocess.run(["qemu-io", "-t", "writeback", *words, "--image-opts", "driver=blklogwrites,file.driver=file,file.filename=%s,log.driver=file,log.filename=%s"
                        % (self.path("disk"), self.path("log"))], check=True, capture_output=True)
        return disk.Log(self.path("log"))

    def file_system(self):
        """One in the disk's one partition: its sectors before that, and the file."""
        tree, root = self.path("tree"), self.path("root")
        os.makedirs(os.path.join(tree, "etc/below"))
        os.makedirs(os.path.join(tree, "var/lib/firstboot"))
        with open(os.path.join(tree, "etc/name"), "w", encoding="ascii") as file:
            file.write("text")
        os.chmod(os.path.join(tree, "etc/name"), 0o640)
        os.symlink("name", os.path.join(tree, "etc/link"))
        subprocess.run(["mke2fs", "-qF", "-t", "ext4", "-d", tree, root, "16M"], check=True, capture_output=True, env=disk.ENVIRONMENT)
        head = bytearray(disk.START)
        head[446:462] = bytes(4) + b"\x83" + bytes(3) + (2048).to_bytes(4, "little") + (16 * MIB // 512).to_bytes(4, "little")
        head[510:512] = b"\x55\xaa"
        return bytearray(head), root

    def test_what_qemu_records(self):
        log = self.recorded("write -P 1 0 1k", "write -P 2 1M 4k", "flush", "write -P 3 1032k 4k", "write -z 512 512", "flush", "discard 2M 64k")
        wrote = [[(write.at, write.length) for write in group] for group in log.groups]
        self.assertEqual([[(0, 1024), (MIB, 4096)], [(MIB + 8192, 4096), (512, 512)], [(2 * MIB, 65536)]], wrote[:3])
        shutil.copy(self.path("disk"), self.path("wanted"))
        with open(self.path("made"), "wb") as file:
            file.write(b"\xff" * 3 * MIB)
        head = bytearray(disk.START)
        for at, data in log.apply([write for group in log.groups for write in group], self.path("made")):
            head[at:at + len(data)] = data
        self.assertEqual((b"\x01" * 512 + bytes(512)), head[:1024])
        with open(self.path("made"), "rb") as file:
            made = file.read()
        self.assertEqual((b"\x02" * 4096, b"\xff" * 4096, b"\x03" * 4096), (made[:4096], made[4096:8192], made[8192:12288]))
        self.assertEqual(bytes(65536), made[MIB:MIB + 65536])

    def test_the_states_between_two_flushes(self):
        log = self.recorded(*("write -P %d %dk 4k" % (number, 1024 + 4 * number) for number in range(1, 6)), "flush", "write -P 9 1M 4k", "flush")
        recording = machine.Recording(self.scratch)
        recording.head, recording.writes = bytes(disk.START), log
        with open(recording.root, "wb") as file:
            file.truncate(MIB)
        names = recording.names(12, random.Random(5))
        self.assertEqual(["0", "1", "2"], names[:3])
        self.assertEqual(12, len(names[3:]))
        contents = set()
        for name in names:
            _, words = recording.state(name, self.path("state"))
            with open(self.path("state"), "rb") as file:
                contents.add(file.read())
            self.assertRegex(words, r"^flush \d(, and \d of \d requests after it, \d by half)?$")
        self.assertEqual(len(names), len(contents))

    def test_a_sound_file_system_and_its_tree(self):
        head, root = self.file_system()
        disk.check(head, root)
        disk.take_out(root, self.path("out"))
        wanted, found = compare.listing(self.path("tree")), compare.listing(self.path("out"))
        self.assertEqual([], [line for line in compare.differences(wanted, found) if line.startswith("etc")])

    def test_what_is_not_sound(self):
        head, root = self.file_system()
        with self.subTest("no table"), self.assertRaisesRegex(disk.Unsound, "^the partition table is none"):
            disk.check(bytes(disk.START), root)
        with self.subTest("a partition that is too small"):
            head[458:462] = (8 * MIB // 512).to_bytes(4, "little")
            with self.assertRaisesRegex(disk.Unsound, "^a file system of 16777216 bytes in a partition of 8388608"):
                disk.check(head, root)
        with self.subTest("a link count"):
            subprocess.run(["debugfs", "-w", "-R", "set_inode_field /etc/name links_count 7", root], check=True, capture_output=True,
                           env=disk.ENVIRONMENT)
            with self.assertRaisesRegex(disk.Unsound, "(?s)^e2fsck -f -p ended with .*ref count is 7"):
                disk.check(head, root)


if __name__ == "__main__":
    unittest.main()
