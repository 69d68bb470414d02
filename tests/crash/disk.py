"""A machine's disk from outside: what was written to it and when it was flushed, its file system, and the tree in that.

Nothing is mounted. The file system is brought in order as a boot does it, by e2fsck, and read by debugfs.
"""

import os
import re
import struct
import subprocess

# What a user's PATH may lack, and words that do not depend on the user's language.
ENVIRONMENT = {**os.environ, "PATH": os.environ["PATH"] + ":/usr/sbin:/sbin", "LC_ALL": "C.UTF-8"}
SECTOR = 512
# The base has one partition, from here to its end.
START = 2048 * SECTOR
# Documentation/admin-guide/device-mapper/log-writes.rst of Linux, which QEMU's driver follows.
MAGIC, VERSION = 0x6A736677736872, 1
FLUSH, FUA, DISCARD, MARK = 1, 2, 4, 8
# What firstboot reads or writes.
FOLDERS = ("etc", "root", "var/lib/firstboot", "var/lib/rrdcached", "usr/share/zoneinfo/Europe", "usr/lib/systemd/system")
# What the boot that follows a power cut does to a sound file system, in e2fsck's words.
SOUND = re.compile("|".join((
    r"[^ ]+: recovering journal", r"[^ ]+: clean, .*", r"[^ ]+: \d+/\d+ files .*", r"Setting free (inodes|blocks) count to \d+.*",
    r"[^ ]+: Clearing orphaned inode \d+ .*", r"[^ ]+: Superblock needs_recovery flag is clear, but journal has data.*",
    r"Free (blocks|inodes) count wrong .*", r"\[QUOTA WARNING\].*", r"")))


class Unsound(Exception):
    """A file system or a table that no boot brings in order."""


class Write:
    """A request of the guest: `at` and `length` on the disk, and where its bytes are in the log; none are zeros."""

    def __init__(self, at, length, source):
        self.at, self.length, self.source = at, length, source

    def half(self):
        """The first of its sectors."""
        return Write(self.at, self.length // SECTOR // 2 * SECTOR, self.source)


class Log:
    """What QEMU's blklogwrites has recorded: writes, in groups that each end with a flush, but for the last."""

    def __init__(self, path):
        self.path, self.groups = path, [[]]
        with open(path, "rb") as file:
            magic, version, entries, sector = struct.unpack("<QQQL", file.read(28))
            if (magic, version) != (MAGIC, VERSION):
                raise ValueError("%s is no log of writes" % path)
            at = sector
            for _ in range(entries):
                file.seek(at)
                where, many, flags, _ = struct.unpack("<QQQQ", file.read(32))
                at += sector
                if flags & (FUA | MARK):
                    raise ValueError("%s has a request of a kind that is not known here: %#x" % (path, flags))
                if many:
                    self.groups[-1].append(Write(where * sector, many * sector, None if flags & DISCARD else at))
                    if not flags & DISCARD:
                        at += many * sector
                # After another flush it decides nothing.
                if flags & FLUSH and self.groups[-1]:
                    self.groups.append([])

    def apply(self, writes, disk):
        """Does them on the image of a root file system. Returns what the sectors before it have become."""
        with open(self.path, "rb") as log, open(disk, "r+b") as file:
            for write in writes:
                if write.source is None:
                    data = bytes(write.length)
                else:
                    log.seek(write.source)
                    data = log.read(write.length)
                if write.at < START:
                    yield write.at, data[:START - write.at]
                    data = data[START - write.at:]
                if data:
                    file.seek(max(write.at, START) - START)
                    file.write(data)


def extents(file):
    """Where a file has data."""
    end = os.fstat(file.fileno()).st_size
    at = 0
    while at < end:
        try:
            at = os.lseek(file.fileno(), at, os.SEEK_DATA)
        except OSError:
            return
        hole = os.lseek(file.fileno(), at, os.SEEK_HOLE)
        yield at, hole
        at = hole


def copy(source, target, skip=0):
    """A sparse copy, without as many bytes at the beginning."""
    with open(source, "rb") as old, open(target, "wb", buffering=0) as new:
        for start, end in extents(old):
            start = max(start, skip)
            new.seek(start - skip)
            while start < end:
                start += os.sendfile(new.fileno(), old.fileno(), start, end - start)
        new.truncate(os.fstat(old.fileno()).st_size - skip)


def partitions(overlay, root):
    """Takes a disk apart: its root file system into a file; returns the sectors before that."""
    whole = root + ".disk"
    subprocess.run(["qemu-img", "convert", "-O", "raw", overlay, whole], check=True)
    try:
        with open(whole, "rb") as file:
            head = file.read(START)
        copy(whole, root, START)
    finally:
        os.remove(whole)
    return head


def check(head, root):
    """The table and the file system, as they are after a boot has brought them in order."""
    kind, first, sectors = struct.unpack("<4xB3xLL", head[446:462])
    if head[510:512] != b"\x55\xaa" or kind != 0x83 or first * SECTOR != START or head[462:510].strip(b"\0"):
        raise Unsound("the partition table is none: %s" % head[446:512].hex())
    mended = subprocess.run(["e2fsck", "-f", "-p", root], capture_output=True, text=True, env=ENVIRONMENT)
    strange = [line for line in mended.stdout.splitlines() if not SOUND.fullmatch(line)]
    if mended.returncode not in (0, 1) or strange:
        raise Unsound("e2fsck -f -p ended with %d\n%s%s" % (mended.returncode, mended.stdout, mended.stderr))
    again = subprocess.run(["e2fsck", "-f", "-n", root], capture_output=True, text=True, env=ENVIRONMENT)
    if again.returncode:
        raise Unsound("e2fsck -f -n ended with %d\n%s" % (again.returncode, again.stdout))
    with open(root, "rb") as file:
        file.seek(1024)
        super_ = file.read(1024)
    blocks, size = struct.unpack_from("<L", super_, 4)[0], 1024 << struct.unpack_from("<L", super_, 24)[0]
    if blocks * size > sectors * SECTOR:
        raise Unsound("a file system of %d bytes in a partition of %d" % (blocks * size, sectors * SECTOR))


def take_out(root, tree):
    """The folders that firstboot works on."""
    commands = []
    for name in FOLDERS:
        parent = os.path.join(tree, os.path.dirname(name))
        os.makedirs(parent, exist_ok=True)
        commands.append('rdump "/%s" "%s"\n' % (name, parent))
    done = subprocess.run(["debugfs", "-f", "-", root], input="".join(commands), capture_output=True, text=True, env=ENVIRONMENT)
    said = [line for line in done.stderr.splitlines()
            if not line.startswith("debugfs 1.") and not re.search("File not found by ext2_lookup", line)]
    if done.returncode or said:
        raise Unsound("debugfs cannot read it: %s" % "\n".join(said))


def volume(image):
    """The files of a seed disk: FAT with 12 or 16 bits, all in its root."""
    with open(image, "rb") as file:
        data = file.read()
    per_cluster, reserved, fats, entries = data[13], *struct.unpack_from("<HBH", data, 14)
    sectors = struct.unpack_from("<H", data, 19)[0] or struct.unpack_from("<L", data, 32)[0]
    per_fat = struct.unpack_from("<H", data, 22)[0]
    table, root = reserved * SECTOR, (reserved + fats * per_fat) * SECTOR
    first = root + entries * 32
    cluster = per_cluster * SECTOR
    wide = (sectors * SECTOR - first) // cluster >= 4085

    def following(number):
        if wide:
            return struct.unpack_from("<H", data, table + 2 * number)[0]
        pair = struct.unpack_from("<H", data, table + number * 3 // 2)[0]
        return pair >> 4 if number % 2 else pair & 0xFFF

    files, long = {}, ""
    for at in range(root, first, 32):
        entry = data[at:at + 32]
        if entry[0] == 0:
            break
        if entry[0] == 0xE5:
            continue
        if entry[11] == 0x0F:
            part = (entry[1:11] + entry[14:26] + entry[28:32]).decode("utf-16-le")
            long = part.partition("\0")[0] + long
            continue
        short = entry[:8].decode("ascii").strip() + ("." + entry[8:11].decode("ascii").strip()).rstrip(".")
        name, long = long or short.lower(), ""
        number, size = struct.unpack_from("<HL", entry, 26)
        content = b""
        while len(content) < size:
            start = first + (number - 2) * cluster
            content, number = content + data[start:start + cluster], following(number)
        if not entry[11] & 0x18:
            files[name] = content[:size].decode()
    return files
