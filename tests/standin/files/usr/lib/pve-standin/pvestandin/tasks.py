"""Tasks: a worker process, a parent that shows what it says, and the log of both.

As in the real one, the worker has a session of its own, so that a signal to the process
group of pvecm does not reach it; the parent hands SIGTERM and SIGINT on. When the parent
is killed, the worker goes on until it next prints something, which ends it by SIGPIPE.
"""

import os
import select
import signal
import sys
import time

from . import env

TASKS = "/var/log/pve/tasks"


class Interrupted(Exception):
    """SIGTERM or SIGINT came."""


def _interrupt(_signal, _frame):
    raise Interrupted()


class Output:
    """What the worker says."""

    @staticmethod
    def say(text, end="\n"):
        data = (text + end).encode()
        while data:
            data = data[os.write(1, data):]


class Log:
    """The task log: the folder /var/log/pve/tasks with its index."""

    def __init__(self, kind, subject, node, worker):
        start = int(time.time())
        with open("/proc/%d/stat" % worker, encoding="ascii", errors="replace") as stat:
            ticks = int(stat.read().rpartition(")")[2].split()[19])
        self.upid = "UPID:%s:%08X:%08X:%08X:%s:%s:root@pam:" % (node, worker, ticks, start, kind, subject)
        folder = env.path("%s/%s" % (TASKS, ("%08X" % start)[-1]))
        os.makedirs(folder, exist_ok=True)
        self.file = open(os.path.join(folder, self.upid), "ab", buffering=0)
        env.write(env.path(TASKS + "/active"), "%s 0\n" % self.upid)
        _syslog("starting task " + self.upid)

    def finish(self, error):
        """Writes the result; the index holds the first line of an error."""
        self.file.write(("\nTASK ERROR: %s\n" % error if error else "TASK OK\n").encode())
        self.file.close()
        status = error.splitlines()[0] if error else "OK"
        with open(env.path(TASKS + "/index"), "a", encoding="utf-8") as index:
            index.write("%s %08X %s\n" % (self.upid, int(time.time()), status))
        env.write(env.path(TASKS + "/active"), "")
        _syslog("end task %s %s" % (self.upid, status))


def run(kind, subject, node, function):
    """Runs `function(output)` in a worker; it returns the text of an error, or None."""
    out_reader, out_writer = os.pipe()
    result_reader, result_writer = os.pipe()
    sys.stdout.flush()
    worker = os.fork()
    if not worker:
        os.close(out_reader)
        os.close(result_reader)
        _work(function, out_writer, result_writer)
    os.close(out_writer)
    os.close(result_writer)
    log = Log(kind, subject, node, worker)
    error = _show(worker, log, out_reader, result_reader)
    _signal_group(worker, signal.SIGKILL)
    os.waitpid(worker, 0)
    log.finish(error)


def _work(function, out, result):
    """In the worker: never returns."""
    try:
        os.setsid()
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            signal.signal(number, _interrupt)
        os.dup2(out, 1)
        os.dup2(out, 2)
        os.close(out)
        try:
            error = function(Output)
        except Interrupted:
            error = "received interrupt"
        os.write(result, ("TASK ERROR: %s\n" % error if error else "TASK OK\n").encode())
    finally:
        os._exit(0)


def _signal_group(worker, number):
    try:
        os.kill(-worker, number)
    except ProcessLookupError:
        try:
            os.kill(worker, number)  # before its setsid
        except ProcessLookupError:
            pass


def _show(worker, log, out, result):
    """Prints and logs what the worker says, and its error, which is returned too."""
    came = []

    def hand_on(_signal, _frame):
        came.append(1)
        _signal_group(worker, signal.SIGTERM if len(came) < 4 else signal.SIGKILL)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, hand_on)
    error = None
    try:
        while True:
            readable, _, _ = select.select([out], [], [], 1)
            if readable:
                data = os.read(out, 4096)
                if not data:
                    break
                log.file.write(data)
                while data:
                    data = data[os.write(1, data):]
            elif os.waitid(os.P_PID, worker, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                break  # a daemon that it started keeps the pipe open
        said = os.read(result, 65536).decode()
        if said.startswith("TASK ERROR: "):
            error = said.removeprefix("TASK ERROR: ").rstrip("\n")
        elif said != "TASK OK\n":
            error = "got unexpected control message: %s " % said
        if error:
            os.write(2, (error + "\n").encode())
    except BrokenPipeError:
        error = "broken pipe "
        try:
            os.write(2, (error + "\n").encode())
        except BrokenPipeError:
            pass  # nobody reads; the task log has it
    return error


def _syslog(text):
    if env.ROOT:
        return
    import syslog
    syslog.openlog("pvecm", syslog.LOG_PID)
    syslog.syslog("<root@pam> " + text)
