"""The system calls that Python 3.11 has no name for, and what is built of them."""

import ctypes
import os

LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x00020000, 0x04000000, 0x08000000
CLONE_NEWUSER, CLONE_NEWPID = 0x10000000, 0x20000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 32, 4096, 16384, 1 << 18
MNT_DETACH = 2
# What statvfs(2) shows of a mount, and the flag of mount(2) that keeps it.
KEPT = {1: MS_RDONLY, 2: MS_NOSUID, 4: MS_NODEV, 8: MS_NOEXEC, 1024: 1024, 2048: 2048, 4096: 1 << 21}


def _check(result, what):
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, "%s: %s" % (what, os.strerror(number)))


def _bytes(text):
    return None if text is None else os.fsencode(text)


def mount(source, target, kind=None, flags=0, data=None):
    result = LIBC.mount(_bytes(source), _bytes(target), _bytes(kind), ctypes.c_ulong(flags), _bytes(data))
    _check(result, "cannot mount %s on %s" % (source or kind, target))


def bind(source, target, read_only=True):
    """A bind mount with everything below it, which a user namespace insists on."""
    mount(source, target, None, MS_BIND | MS_REC)
    if read_only:
        # A flag that the host set may not be left out by a user namespace.
        shown = os.statvfs(target).f_flag
        kept = sum(flag for bit, flag in KEPT.items() if shown & bit)
        mount(None, target, None, MS_REMOUNT | MS_BIND | MS_RDONLY | kept)


def pivot(root):
    """Makes the mount point `root` the root folder and drops the old one with all its mounts."""
    os.chdir(root)
    number = {"x86_64": 155, "aarch64": 41, "riscv64": 41}[os.uname().machine]
    _check(LIBC.syscall(ctypes.c_long(number), b".", b"."), "cannot make %s the root folder" % root)
    _check(LIBC.umount2(b".", MNT_DETACH), "cannot leave the old root folder")
    os.chdir("/")


def unshare(flags):
    _check(LIBC.unshare(flags), "cannot make new namespaces")


def write(file, text):
    with open(file, "w", encoding="ascii") as out:
        out.write(text)


def new_namespaces():
    """Own users, mounts, host name, messages and process numbers; the network stays the host's.

    With an own user namespace even root has no power over the host's network or clock.
    The process numbers begin with the next child.
    """
    uid, gid = os.getuid(), os.getgid()
    # A map of more than oneself has to come from outside of the new user namespace.
    ready, go = os.pipe()
    helper = os.fork()
    if not helper:
        os.close(go)
        status = 1
        try:
            if os.read(ready, 1):
                _write_maps(os.getppid(), uid, gid)
                status = 0
        finally:
            os._exit(status)
    os.close(ready)
    try:
        unshare(CLONE_NEWUSER)
        os.write(go, b"1")
        own_users = True
    except OSError:
        if uid:
            raise
        own_users = False
    finally:
        os.close(go)
        status = os.waitpid(helper, 0)[1]
    if own_users and status:
        raise OSError("cannot map the users of the new namespace")
    unshare(CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID)


def _write_maps(pid, uid, gid):
    """Root maps everybody, so that a file may belong to anybody; others are root, and alone."""
    folder = "/proc/%d/" % pid
    if uid:
        write(folder + "setgroups", "deny")
    write(folder + "uid_map", "0 0 4294967295" if not uid else "0 %d 1" % uid)
    write(folder + "gid_map", "0 0 4294967295" if not uid else "0 %d 1" % gid)
