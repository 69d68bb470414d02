"""A program and its children under ptrace(2), stopped at each call that may change a file.

Which calls stop is decided by a seccomp filter, so all others run at full speed. x86_64 only, as
firstboot is. No crate and no package is needed for it, only libc.
"""

import ctypes
import os
import signal
import struct

LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.ptrace.restype = ctypes.c_long
LIBC.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]

# sys/ptrace.h
TRACEME, CONT, SYSCALL, GETREGS, SETREGS, SETOPTIONS = 0, 7, 24, 12, 13, 0x4200
O_SYSGOOD, O_FORK, O_VFORK, O_CLONE, O_SECCOMP, O_EXITKILL = 1, 2, 4, 8, 0x80, 0x100000
EVENT_SECCOMP = 7
SYSCALL_STOP = signal.SIGTRAP | 0x80
WALL = 0x40000000
# sys/prctl.h, linux/seccomp.h, linux/audit.h
PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, SECCOMP_MODE_FILTER = 22, 38, 2
RET_TRACE, RET_ALLOW, RET_KILL, AUDIT_ARCH_X86_64 = 0x7FF00000, 0x7FFF0000, 0x80000000, 0xC000003E
# O_CREAT, O_TRUNC, and what O_TMPFILE has beside O_DIRECTORY.
OPEN_CHANGES = 0o100 | 0o1000 | 0o20000000
PROT_WRITE, MAP_SHARED = 2, 1

# asm/unistd_64.h
NUMBERS = {
    "write": 1, "pwrite64": 18, "writev": 20, "sendfile": 40, "truncate": 76, "ftruncate": 77, "fsync": 74, "fdatasync": 75,
    "rename": 82, "mkdir": 83, "rmdir": 84, "creat": 85, "link": 86, "unlink": 87, "symlink": 88, "chmod": 90, "fchmod": 91,
    "chown": 92, "fchown": 93, "lchown": 94, "mknod": 133, "sync": 162, "setxattr": 188, "lsetxattr": 189, "fsetxattr": 190,
    "removexattr": 197, "lremovexattr": 198, "fremovexattr": 199, "mkdirat": 258, "mknodat": 259, "fchownat": 260,
    "unlinkat": 263, "renameat": 264, "linkat": 265, "symlinkat": 266, "fchmodat": 268, "splice": 275, "fallocate": 285,
    "pwritev": 296, "syncfs": 306, "renameat2": 316, "copy_file_range": 326, "pwritev2": 328, "io_uring_setup": 425,
    "openat2": 437, "fchmodat2": 452,
}
# These stop only where an argument has one of these bits: the argument's number, and the bits.
CONDITIONAL = {"open": (2, [(1, OPEN_CHANGES)]), "openat": (257, [(2, OPEN_CHANGES)]),
               "mmap": (9, [(2, PROT_WRITE), (3, MAP_SHARED)])}
NAMES = {number: name for name, number in NUMBERS.items()} | {number: name for name, (number, _) in CONDITIONAL.items()}

REGISTERS = ("r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip cs eflags rsp ss fs_base gs_base "
             "ds es fs gs").split()
ARGUMENTS = ("rdi", "rsi", "rdx", "r10", "r8", "r9")


class Registers(ctypes.Structure):
    _fields_ = [(name, ctypes.c_ulonglong) for name in REGISTERS]


def filter_program():
    """The filter as struct sock_filter[]: (code, jump if true, jump if false, value)."""
    load, equal, bits, answer = 0x20, 0x15, 0x45, 0x06
    program = [(load, 0, 0, 4), (equal, 1, 0, AUDIT_ARCH_X86_64), (answer, 0, 0, RET_KILL), (load, 0, 0, 0)]
    for number in NUMBERS.values():
        program += [(equal, 0, 1, number), (answer, 0, 0, RET_TRACE)]
    for number, conditions in CONDITIONAL.values():
        body = []
        for argument, wanted in conditions:
            body += [(load, 0, 0, 16 + 8 * argument), (bits, 1, 0, wanted), (answer, 0, 0, RET_ALLOW)]
        program += [(equal, 0, len(body) + 1, number), *body, (answer, 0, 0, RET_TRACE)]
    program.append((answer, 0, 0, RET_ALLOW))
    return b"".join(struct.pack("=HBBI", *one) for one in program)


def ptrace(request, pid, address=0, data=0):
    if LIBC.ptrace(request, pid, address, data) == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


class Stop:
    """A thread that stands before a call."""

    def __init__(self, tid):
        self.tid = tid
        self.registers = Registers()
        ptrace(GETREGS, tid, 0, ctypes.addressof(self.registers))
        self.name = NAMES[self.registers.orig_rax]

    def argument(self, number):
        return getattr(self.registers, ARGUMENTS[number])

    def set_argument(self, number, value):
        setattr(self.registers, ARGUMENTS[number], value)
        ptrace(SETREGS, self.tid, 0, ctypes.addressof(self.registers))

    def memory(self, address, length):
        with open("/proc/%d/mem" % self.tid, "rb", buffering=0) as memory:
            memory.seek(address)
            return memory.read(length)

    def set_memory(self, address, content):
        with open("/proc/%d/mem" % self.tid, "wb", buffering=0) as memory:
            memory.seek(address)
            memory.write(content)

    def text(self, address):
        """A path; one that ends at the end of a page may have nothing readable after it."""
        found = b""
        while b"\0" not in found:
            here = address + len(found)
            found += self.memory(here, 4096 - here % 4096)
        return os.fsdecode(found[:found.index(b"\0")])

    def result(self):
        """What the call gave, when it is over."""
        ptrace(GETREGS, self.tid, 0, ctypes.addressof(self.registers))
        return ctypes.c_longlong(self.registers.rax).value


class Cut(Exception):
    """Raised by an observer: everything is to be killed now."""


def run(words, before, after, output, folder):
    """Runs a program to its end, or until `before` or `after` raise Cut; returns its exit status, or None where it was cut.

    `before(stop)` is asked at each call, and returns what `after` is to know of it, or None where the call's end is
    of no interest. `after(stop, known, result)` follows when the call is over.
    """
    program = filter_program()
    buffer = ctypes.create_string_buffer(program)
    head = ctypes.create_string_buffer(struct.pack("@HP", len(program) // 8, ctypes.addressof(buffer)))
    leader = os.fork()
    if leader == 0:
        try:
            os.setsid()
            os.chdir(folder)
            nothing = os.open("/dev/null", os.O_RDONLY)
            os.dup2(nothing, 0)
            os.dup2(output, 1)
            os.dup2(output, 2)
            ptrace(TRACEME, 0)
            os.kill(os.getpid(), signal.SIGSTOP)
            one = ctypes.c_ulong(1)
            none = ctypes.c_ulong(0)
            if LIBC.prctl(PR_SET_NO_NEW_PRIVS, one, none, none, none) \
                    or LIBC.prctl(PR_SET_SECCOMP, ctypes.c_ulong(SECCOMP_MODE_FILTER), head, none, none):
                os._exit(126)
            os.execvp(words[0], words)
        finally:
            os._exit(127)
    threads = {leader}
    try:
        _, status = os.waitpid(leader, WALL)
        if not os.WIFSTOPPED(status):
            raise OSError("%s cannot be traced" % words[0])
        ptrace(SETOPTIONS, leader, 0, O_SYSGOOD | O_FORK | O_VFORK | O_CLONE | O_SECCOMP | O_EXITKILL)
        ptrace(CONT, leader)
        return follow(leader, threads, before, after)
    except Cut:
        return None
    finally:
        end(threads)


def follow(leader, threads, before, after):
    under_way, result = {}, None
    while True:
        try:
            tid, status = os.waitpid(-1, WALL)
        except ChildProcessError:
            return result
        if not os.WIFSTOPPED(status):
            threads.discard(tid)
            if tid == leader:
                result = os.waitstatus_to_exitcode(status)
            continue
        threads.add(tid)
        kind, event, request, deliver = os.WSTOPSIG(status), status >> 16, CONT, 0
        if event == EVENT_SECCOMP:
            stop = Stop(tid)
            known = before(stop)
            if known is not None:
                under_way[tid], request = (stop, known), SYSCALL
        elif kind == SYSCALL_STOP:
            stop, known = under_way.pop(tid)
            after(stop, known, stop.result())
        elif not event and kind not in (signal.SIGTRAP, signal.SIGSTOP):
            # One of its own; SIGSTOP is how a new thread begins.
            deliver = kind
        try:
            ptrace(request, tid, 0, deliver)
        except ProcessLookupError:
            # Killed meanwhile, by a sibling.
            pass


def end(threads):
    """Kills what is left, all at once, and waits until it is gone."""
    for tid in threads:
        try:
            os.kill(tid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    while True:
        try:
            tid, status = os.waitpid(-1, WALL)
        except ChildProcessError:
            return
        # A child that was made at the last moment.
        if os.WIFSTOPPED(status):
            try:
                os.kill(tid, signal.SIGKILL)
            except ProcessLookupError:
                pass
