"""The task log: the folder /var/log/pve/tasks with its index."""

import os
import time

from . import env

TASKS = "/var/log/pve/tasks"


class Task:
    """One running task; what it says goes to its log and to standard output."""

    def __init__(self, kind, subject, node):
        self.start = int(time.time())
        with open("/proc/self/stat", encoding="ascii", errors="replace") as stat:
            ticks = int(stat.read().rpartition(")")[2].split()[19])
        self.upid = "UPID:%s:%08X:%08X:%08X:%s:%s:root@pam:" % (
            node, os.getpid(), ticks, self.start, kind, subject)
        folder = env.path("%s/%s" % (TASKS, ("%08X" % self.start)[-1]))
        os.makedirs(folder, exist_ok=True)
        self.log = open(os.path.join(folder, self.upid), "a", encoding="utf-8")
        env.write(env.path(TASKS + "/active"), "%s 0\n" % self.upid)
        _syslog("starting task " + self.upid)

    def say(self, text, end="\n"):
        self.log.write(text + end)
        self.log.flush()
        data = (text + end).encode()
        while data:
            data = data[os.write(1, data):]

    def finish(self, error=None):
        """Writes the result; the index holds the first line of an error."""
        self.log.write("\nTASK ERROR: %s\n" % error if error else "TASK OK\n")
        self.log.close()
        status = error.splitlines()[0] if error else "OK"
        with open(env.path(TASKS + "/index"), "a", encoding="utf-8") as index:
            index.write("%s %08X %s\n" % (self.upid, int(time.time()), status))
        env.write(env.path(TASKS + "/active"), "")
        _syslog("end task %s %s" % (self.upid, status))


def _syslog(text):
    if env.ROOT:
        return
    import syslog
    syslog.openlog("pvecm", syslog.LOG_PID)
    syslog.syslog("<root@pam> " + text)
