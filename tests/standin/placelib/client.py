"""The outside of a place: switching it on and off, and running something in it."""

import os
import select
import signal
import subprocess
import sys
import time

from . import line, linux, tree

PID = ".place/pid"
FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)


class Failed(Exception):
    pass


def holder(root):
    """Process 1 of the place as the host numbers it, or None when the place is off."""
    try:
        with open(os.path.join(root, PID), encoding="ascii") as file:
            pid, born = file.read().split()
        return int(pid) if birth(int(pid)) == born else None
    except (OSError, ValueError):
        return None


def birth(pid):
    """When a process began: tells it from a later one of the same number; None for one that ended."""
    try:
        with open("/proc/%d/stat" % pid, encoding="ascii", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]


def boot(root, owner, bare, wait=True):
    """New namespaces with process 1, then the units; waits for the last of these unless told otherwise."""
    if holder(root):
        raise Failed("%s is switched on already" % root)
    # Inside, the files may be on a read-only mount: compiled here, loaded many times.
    subprocess.run(["/usr/bin/python3", "-m", "compileall", "-q", "-j", "1",
                    os.path.join(tree.HERE, "files/usr/lib/pve-standin"), os.path.join(tree.HERE, "placelib")],
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    log = os.open(os.path.join(root, "var/log/standin/init.log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
    pidfd = os.pidfd_open(owner) if owner else -1
    reader, writer = os.pipe()
    middle = os.fork()
    if not middle:
        os.close(reader)
        _become_init(root, writer, log, pidfd)
    os.close(writer)
    os.close(log)
    os.waitpid(middle, 0)
    said = b""
    while True:
        part = os.read(reader, 4096)
        if not part:
            break
        said += part
    os.close(reader)
    if said != b"1":
        raise Failed("cannot switch %s on: %s" % (root, said.decode() or "see var/log/standin/init.log there"))
    if not bare:
        line.ask(root, {"op": "boot", "wait": wait})


def _become_init(root, writer, log, pidfd):
    """In the child: never returns."""
    try:
        os.setsid()
        linux.new_namespaces()
        go, written = os.pipe()
        child = os.fork()
        if child:
            # This process still has the host's /proc and the host's numbers, until the child, which
            # shares its mounts, changes them.
            with open(os.path.join(root, PID), "w", encoding="ascii") as file:
                file.write("%d %s\n" % (child, birth(child)))
            os.write(written, b"1")
            os._exit(0)
        os.close(written)
        if not os.read(go, 1):
            os._exit(1)
        os.close(go)
        null = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((null, 0), (log, 1), (log, 2)):
            os.dup2(source, target)
        tree.enter(root)
        for file in (writer, pidfd):
            if file >= 0:
                os.set_inheritable(file, True)
        os.execv("/usr/bin/python3", ["place-init", "-IS", tree.STANDIN + "/placelib/init.py", str(writer), str(pidfd)])
    except BaseException as error:
        os.write(writer, str(error).encode())
    finally:
        os._exit(1)


def stop(root):
    """A power cut; returns when nothing of the place runs any more."""
    pid = holder(root)
    if pid is None:
        return
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 60
    while holder(root):
        if time.monotonic() > deadline:
            raise Failed("process 1 of %s (%d) did not end within 60 s" % (root, pid))
        time.sleep(0.005)


def run(root, command, environment):
    """Runs a command in the foreground; its exit code, or 128 and the signal that ended it."""
    try:
        connection = line.connect(root)
    except OSError:
        raise Failed("%s is switched off: `place boot` it first" % root)
    passed = {key: value for key, value in os.environ.items() if key.startswith(("PVE_STANDIN_", "RUST_"))}
    passed.update(environment)
    wake, poke = os.pipe()
    os.set_blocking(poke, False)
    signal.set_wakeup_fd(poke)
    for number in FORWARDED:
        signal.signal(number, lambda _signal, _frame: None)
    line.send(connection, {"op": "run", "command": command, "environment": passed}, (0, 1, 2))
    reader = line.Reader(connection)
    while True:
        readable, _, _ = select.select([connection, wake], [], [])
        if wake in readable:
            for number in os.read(wake, 64):
                try:
                    line.send(connection, {"signal": number})
                except BrokenPipeError:
                    pass  # it ended meanwhile, and the answer is on its way
        if connection in readable:
            answer = reader.next()
            if answer is None:
                print("place: the power went", file=sys.stderr)
                return 128 + signal.SIGKILL
            if "error" in answer:
                raise Failed(answer["error"])
            code = answer["code"]
            return code if code >= 0 else 128 - code
