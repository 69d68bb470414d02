"""Files in memory, and the two kinds of archive that hold them: Debian packages and cpio.

Nothing is unpacked on the disk: device files and owners thus need no root, and what is
written depends on nothing but names, modes and contents.
"""

import dataclasses
import stat
import subprocess
import tarfile

# "New ASCII": the format that the kernel reads, see cpio(5) and its Documentation/driver-api/
# early-userspace/buffer-format.rst. Six characters of magic, then thirteen hexadecimal fields.
MAGIC = b"070701"
FIELDS = ("inode", "mode", "uid", "gid", "links", "mtime", "size", "major", "minor", "rmajor", "rminor", "name", "check")
HEADER = len(MAGIC) + 8 * len(FIELDS)
TRAILER = "TRAILER!!!"


@dataclasses.dataclass(frozen=True)
class Entry:
    """A file, folder, link or device; `data` is a link's target."""
    mode: int
    data: bytes = b""


def file(data, mode=0o644):
    return Entry(stat.S_IFREG | mode, data.encode() if isinstance(data, str) else data)


def padding(size):
    return b"\0" * (-size % 4)


def read_cpio(data):
    """{path: Entry} of one archive."""
    entries, at = {}, 0
    while True:
        if data[at:at + len(MAGIC)] != MAGIC:
            raise ValueError("no cpio header at byte %d" % at)
        numbers = data[at + len(MAGIC):at + HEADER]
        field = {name: int(numbers[8 * i:8 * i + 8], 16) for i, name in enumerate(FIELDS)}
        name = data[at + HEADER:at + HEADER + field["name"] - 1].decode()
        start = at + HEADER + field["name"] + len(padding(HEADER + field["name"]))
        if name == TRAILER:
            return entries
        content = data[start:start + field["size"]]
        if len(content) != field["size"]:
            raise ValueError("the cpio archive ends in the middle of %s" % name)
        entries[name.removeprefix("./")] = Entry(field["mode"], content)
        at = start + field["size"] + len(padding(field["size"]))


def write_cpio(entries, mtime):
    """The same entries always make the same bytes: sorted, owned by root, numbered from 1."""
    parts = []
    for inode, (name, entry) in enumerate([*sorted(entries.items()), (TRAILER, Entry(0))], 1):
        path = name.encode() + b"\0"
        values = {"inode": inode, "mode": entry.mode, "links": 1, "mtime": mtime, "size": len(entry.data), "name": len(path)}
        header = MAGIC + b"".join(b"%08X" % values.get(field, 0) for field in FIELDS)
        parts += [header, path, padding(HEADER + len(path)), entry.data, padding(len(entry.data))]
    return b"".join(parts)


def resolve(path, below):
    """`path` without links among its folders. `below` is what lies there already."""
    done = []
    for part in path.split("/")[:-1]:
        done.append(part)
        entry = below.get("/".join(done))
        if entry and stat.S_ISLNK(entry.mode):
            target = entry.data.decode()
            done = target.strip("/").split("/") if target.startswith("/") else done[:-1] + target.split("/")
    return "/".join([*done, path.split("/")[-1]])


def lay_over(entries, below):
    """The entries as an archive that is unpacked over `below` has to have them.

    A folder that is there is left out, above all one that is a link there: the kernel would
    put an empty folder into its place, and /lib would be gone. A folder that is missing is added.
    """
    over = {}
    for path, entry in entries.items():
        path = resolve(path, below)
        if stat.S_ISDIR(entry.mode):
            continue
        over[path] = entry
        folder = path.rpartition("/")[0]
        while folder and folder not in below and folder not in over:
            over[folder] = Entry(stat.S_IFDIR | 0o755)
            folder = folder.rpartition("/")[0]
    return over


def read_deb(deb, wanted=lambda path: True, control=False):
    """({path: Entry}, {path: mtime}) of the wanted files and links in a package."""
    entries, times = {}, {}
    command = ["dpkg-deb", "--ctrl-tarfile" if control else "--fsys-tarfile", str(deb)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            with tarfile.open(fileobj=process.stdout, mode="r|") as tar:
                for member in tar:
                    path = member.name.removeprefix("./")
                    if member.isdir() or not wanted(path):
                        continue
                    if member.issym():
                        entries[path] = Entry(stat.S_IFLNK | 0o777, member.linkname.encode())
                    elif member.islnk():
                        entries[path] = entries[member.linkname.removeprefix("./")]
                    elif member.isreg():
                        entries[path] = file(tar.extractfile(member).read(), member.mode & 0o7777)
                    times[path] = int(member.mtime)
        except tarfile.TarError as error:
            raise OSError("reading %s: %s" % (deb, error)) from error
        process.stdout.read()
    if process.returncode:
        raise OSError("%s failed with %d" % (" ".join(command), process.returncode))
    return entries, times


def unpack(entries, folder):
    """The entries as files below `folder`."""
    for path, entry in sorted(entries.items()):
        target = folder / path
        if stat.S_ISDIR(entry.mode):
            target.mkdir(parents=True, exist_ok=True)
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        if stat.S_ISLNK(entry.mode):
            target.symlink_to(entry.data.decode())
        else:
            target.write_bytes(entry.data)
            target.chmod(entry.mode & 0o7777)
