"""What a stopped call does to the files of a tree."""

import os
import stat

AT_FDCWD = 0xFFFFFF9C
AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW, AT_SYMLINK_FOLLOW, AT_REMOVEDIR = 0x1000, 0x100, 0x400, 0x200
O_EXCL, O_NOFOLLOW, O_TRUNC, O_APPEND = 0o200, 0o400000, 0o1000, 0o2000
RENAME_EXCHANGE = 2
SYNCS = {"fsync", "fdatasync"}
# Nothing uses them yet; whoever does is to be seen here before a result is believed.
UNKNOWN_FILE = {"writev": 0, "pwritev": 0, "pwritev2": 0, "fallocate": 0, "fsetxattr": 0, "fremovexattr": 0, "sendfile": 0,
                "copy_file_range": 2, "splice": 2, "mmap": 4}


class Unseen(Exception):
    """A call whose effect this cannot follow."""


class Call:
    """One call below the tree. `name` is a path from the tree, or that of the open file."""

    def __init__(self, kind, name, **more):
        self.kind, self.name = kind, name
        self.number = more.pop("number", None)
        self.other = more.pop("other", None)
        self.more = more
        self.result = None

    def __str__(self):
        return "%s %s%s" % (self.kind, self.name, " -> " + self.other if self.other else "")

    def halves(self):
        return self.kind == "write" and len(self.more["data"]) > 1


def inode(path, follow=False):
    """What tells files apart; None where there is none."""
    try:
        found = os.stat(path) if follow else os.lstat(path)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


class Reader:
    """Reads calls, for one tree."""

    def __init__(self, tree):
        self.tree = os.path.realpath(tree)

    def inside(self, path):
        """A path as one from the tree, or None."""
        if path == self.tree:
            return ""
        start = self.tree.rstrip("/") + "/"
        return path[len(start):] if path.startswith(start) else None

    def path(self, stop, folder, text, follow):
        """The path that a call names; the folders above it are resolved."""
        if text.startswith("/"):
            whole = os.readlink("/proc/%d/root" % stop.tid).rstrip("/") + text
        elif folder & 0xFFFFFFFF == AT_FDCWD:
            whole = os.path.join(os.readlink("/proc/%d/cwd" % stop.tid), text)
        else:
            whole = os.path.join(self.opened(stop, folder), text)
        if follow:
            return os.path.realpath(whole)
        whole = whole.rstrip("/")
        return os.path.join(os.path.realpath(os.path.dirname(whole)), os.path.basename(whole))

    @staticmethod
    def opened(stop, descriptor):
        try:
            return os.readlink("/proc/%d/fd/%d" % (stop.tid, descriptor & 0xFFFFFFFF))
        except OSError:
            return ""

    def named(self, kind, path, **more):
        name = self.inside(path)
        return None if name is None else Call(kind, name, **more)

    def of_descriptor(self, stop, kind, descriptor, **more):
        descriptor &= 0xFFFFFFFF
        path = self.opened(stop, descriptor)
        if self.inside(path) is None:
            return None
        return self.named(kind, path, number=inode("/proc/%d/fd/%d" % (stop.tid, descriptor), True), **more)

    def read(self, stop):
        """The call that a thread stands before, or None where it does not concern the tree."""
        name, argument = stop.name, stop.argument
        if name == "write" or name == "pwrite64":
            call = self.of_descriptor(stop, "write", argument(0))
            if call is not None:
                call.more["data"] = stop.memory(argument(1), argument(2))
                call.more["at"] = argument(3) if name == "pwrite64" else self.position(stop, argument(0))
            return call
        if name in SYNCS:
            return self.of_descriptor(stop, "fsync", argument(0))
        if name == "ftruncate":
            return self.of_descriptor(stop, "truncate", argument(0), size=argument(1))
        if name == "fchmod":
            return self.of_descriptor(stop, "chmod", argument(0), mode=argument(1))
        if name == "fchown":
            return self.of_descriptor(stop, "chown", argument(0), owner=(argument(1), argument(2)))
        if name == "sync":
            return Call("syncfs", "")
        if name == "syncfs":
            return self.of_descriptor(stop, "syncfs", argument(0))
        if name in UNKNOWN_FILE:
            path = self.opened(stop, argument(UNKNOWN_FILE[name]))
            if self.inside(path) is None:
                return None
            raise Unseen("the call %s on %s" % (name, path))
        return self.by_path(stop, name)

    def by_path(self, stop, name):
        argument = stop.argument
        folder, first = (argument(0), 1) if name.endswith(("at", "at2")) and name != "creat" else (AT_FDCWD, 0)

        def path(number, follow=False, base=folder):
            return self.path(stop, base, stop.text(argument(number)), follow)

        if name in ("open", "openat", "creat"):
            flags = argument(first + 1) if name != "creat" else O_TRUNC
            target = path(first, not flags & (O_NOFOLLOW | O_EXCL))
            number = inode(target)
            if number is None:
                return self.named("create", target)
            return self.named("truncate", target, number=number, size=0) if flags & O_TRUNC else None
        if name in ("mkdir", "mkdirat"):
            return self.named("mkdir", path(first))
        if name in ("unlink", "rmdir", "unlinkat"):
            removes = name == "rmdir" or (name == "unlinkat" and argument(2) & AT_REMOVEDIR)
            return self.named("rmdir" if removes else "unlink", path(first))
        if name in ("symlink", "symlinkat"):
            base, where = (AT_FDCWD, 1) if name == "symlink" else (argument(1), 2)
            return self.named("symlink", path(where, base=base), target=stop.text(argument(0)))
        if name in ("rename", "renameat", "renameat2"):
            if name == "rename":
                source, target = path(0), path(1)
            else:
                source, target = path(1), path(3, base=argument(2))
                if name == "renameat2" and argument(4) & RENAME_EXCHANGE:
                    raise Unseen("two names are exchanged: %s" % source)
            names = self.inside(source), self.inside(target)
            if names == (None, None):
                return None
            if None in names:
                raise Unseen("a rename into the tree, or out of it: %s -> %s" % (source, target))
            return Call("rename", names[0], other=names[1])
        if name in ("link", "linkat"):
            source, target = (path(0), path(1)) if name == "link" else (path(1), path(3, base=argument(2)))
            names = self.inside(source), self.inside(target)
            return None if names == (None, None) else Call("link", names[0], other=names[1], number=inode(source))
        if name in ("chmod", "fchmodat", "fchmodat2"):
            target = path(first, True)
            return self.named("chmod", target, number=inode(target), mode=argument(first + 1))
        if name in ("chown", "lchown", "fchownat"):
            target = path(first, name == "chown" or (name == "fchownat" and not argument(4) & AT_SYMLINK_NOFOLLOW))
            return self.named("chown", target, number=inode(target), owner=(argument(first + 1), argument(first + 2)))
        raise Unseen("the call %s" % name)

    @staticmethod
    def position(stop, descriptor):
        """Where a write goes: the descriptor's place, or the end."""
        fields = {}
        with open("/proc/%d/fdinfo/%d" % (stop.tid, descriptor), encoding="ascii") as text:
            for line in text:
                key, _, value = line.partition(":")
                fields[key] = value.strip()
        if int(fields["flags"], 8) & O_APPEND:
            return os.stat("/proc/%d/fd/%d" % (stop.tid, descriptor)).st_size
        return int(fields["pos"])

    def ended(self, call, result):
        """What is known only when it is over."""
        call.result = result
        if result < 0:
            return
        path = os.path.join(self.tree, call.name)
        if call.kind == "write":
            call.more["data"] = call.more["data"][:result]
        elif call.kind in ("create", "mkdir", "symlink"):
            found = os.lstat(path)
            call.number = found.st_dev, found.st_ino
            call.more.update(mode=stat.S_IMODE(found.st_mode), owner=(found.st_uid, found.st_gid))
