"""Going into the background, process number files, and telling systemd."""

import os
import signal
import socket
import sys
import time

from . import env


def pid_file(name):
    return env.run(name + ".pid")


def running_pid(name):
    """The process number of a running daemon, or None."""
    try:
        pid = int(env.read(pid_file(name)))
        # One that ended and that nobody has waited for counts as ended.
        state = env.read("/proc/%d/stat" % pid).rpartition(")")[2].split()[0]
        return None if state == "Z" else pid
    except (OSError, ValueError):
        return None


def write_pid(name):
    env.write(pid_file(name), "%d\n" % os.getpid())


def has_written_pid(name, pid):
    """Whether this process was ready once; one that ends by itself leaves its number behind."""
    try:
        return env.read(pid_file(name)).strip() == str(pid)
    except OSError:
        return False


def remove(*files):
    for file in files:
        try:
            os.unlink(file)
        except FileNotFoundError:
            pass


def background(name):
    """Forks; returns in the child a function to call when the daemon is ready.

    The parent ends with 0 then, or with 255 when the child ended first, which is what
    systemd's Type=forking expects.
    """
    reader, writer = os.pipe()
    if os.fork():
        os.close(writer)
        ready = os.read(reader, 1)
        os._exit(0 if ready else 255)
    os.close(reader)
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)

    def ready():
        write_pid(name)
        os.write(writer, b"1")
        os.close(writer)

    return ready


def notify_ready():
    """Tells systemd (Type=notify) that the daemon is ready; nothing without systemd."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address[0] == "@":
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
        out.sendto(b"READY=1", address)


def on_stop(clean):
    """Runs `clean` and ends with 0 at SIGTERM or SIGINT."""

    def handler(_signal, _frame):
        clean()
        os._exit(0)

    signal.signal(signal.SIGTERM, handler)
    signal.signal(signal.SIGINT, handler)


def stop(name, seconds=20):
    """Ends a daemon by its process number file and waits for it."""
    pid = running_pid(name)
    if pid is None:
        return
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            # A child of this process must be reaped, else it never disappears.
            os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            pass
        if running_pid(name) is None:
            return
        time.sleep(0.02)
    sys.exit("%s (process %d) did not end within %d s" % (name, pid, seconds))
