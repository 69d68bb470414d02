"""Process 1 of a place: its end is the power cut, for the kernel ends all others with it.

It starts the units, answers `systemctl` inside and `place` outside, and runs the commands
of `place run`. Such a command is like the main process of a service: when it ends, or when
`place run` itself was killed, whatever it left running is killed too.
"""

import os
import select
import signal
import socket
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from placelib import jobs, line, tree, unitfile, units  # noqa: E402

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
MARK = "PLACE_RUN"


class Processes:
    """All children, adopted ones too: what they ended with, kept until somebody asks."""

    def __init__(self, environment):
        self.environment = environment
        self.ends = {}
        self.change = threading.Condition()
        self.on_end = lambda pid, status: None

    def spawn(self, command, environment, files):
        """Starts a program in a session of its own with the three given files."""
        actions = [(os.POSIX_SPAWN_DUP2, file, number) for number, file in enumerate(files)]
        with self.change:
            pid = os.posix_spawnp(command[0], command, environment or self.environment, file_actions=actions,
                                  setsid=True, setsigmask=[], setsigdef=[signal.SIGPIPE, signal.SIGCHLD])
            # The number may be that of one that ended long ago.
            self.ends.pop(pid, None)
        return pid

    def reap(self):
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            with self.change:
                self.ends[pid] = status
                self.change.notify_all()
            self.on_end(pid, status)

    def status(self, pid):
        with self.change:
            return self.ends.get(pid)

    def wait(self, pid, seconds=None):
        """Whether the process ended in time."""
        with self.change:
            return self.change.wait_for(lambda: pid in self.ends, seconds)


def kill_group(session, mark):
    """SIGKILL for a command's descendants: those of its session, and those that carry its mark."""
    wanted = ("%s=%s" % (MARK, mark)).encode()
    again = True
    while again:
        again = False
        for name in os.listdir("/proc"):
            if not name.isdigit() or name == "1":
                continue
            try:
                with open("/proc/%s/stat" % name, encoding="ascii", errors="replace") as file:
                    fields = file.read().rpartition(")")[2].split()
                with open("/proc/%s/environ" % name, "rb") as file:
                    marked = wanted in file.read().split(b"\0")
                if fields[0] not in "ZX" and (marked or int(fields[3]) == session):
                    os.kill(int(name), signal.SIGKILL)
                    again = True
            except OSError:
                continue
        time.sleep(0.005 if again else 0)


class Init:
    def __init__(self):
        chosen = tree.settings("/")
        net = chosen["address"].rpartition(".")[0] + "."
        environment = {
            "PATH": PATH, "HOME": "/root", "LANG": "C.UTF-8", "USER": "root", "SHELL": "/bin/sh",
            "PVE_STANDIN_NET": net, "PVE_STANDIN_ADDRESSES": chosen["address"], "PVE_STANDIN_API_ADDRESS": chosen["address"],
            "PVE_STANDIN_NO_FSYNC": "1"}
        if chosen["locks"]:
            environment["PVE_STANDIN_LOCKS"] = tree.LOCKS
        environment.update(chosen["environment"])
        environment.update({key: value for key, value in os.environ.items() if key.startswith("PVE_STANDIN_")})
        self.processes = Processes(environment)
        known = units.standard(chosen["api"])
        for name, command in chosen["units"].items():
            known[name] = units.Unit(name, [units.Command(["/bin/sh", "-c", command])], after=list(known))
        unitfile.read(known)
        self.manager = jobs.Manager(known, self.processes)
        self.processes.on_end = self.manager.process_ended
        self.runs = 0

    # -- requests

    def serve(self, listener):
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=self.answer, args=(connection,), daemon=True).start()

    def answer(self, connection):
        with connection:
            try:
                reader = line.Reader(connection)
                message = reader.next()
                if message is None:
                    return
                if message["op"] == "run":
                    self.run(connection, reader, message)
                else:
                    line.send(connection, getattr(self, "op_" + message["op"])(message))
            except OSError as error:
                print("a request failed: %s" % error, file=sys.stderr, flush=True)

    def op_boot(self, message):
        """The units that are enabled, in their order. One that fails does not stop the boot."""
        names = [name for name, unit in self.manager.units.items() if unit.at_boot]
        return {"errors": self.manager.verb("start", names, message["wait"])}

    def op_systemctl(self, message):
        names = message["units"]
        unknown = [name for name in names if name not in self.manager.units]
        if unknown:
            return {"unknown": unknown}
        return {"errors": self.manager.verb(message["verb"], names, message["wait"])}

    def op_show(self, message):
        with self.manager.lock:
            return {"units": [self.manager.show(name) for name in message["units"]]}

    def run(self, connection, reader, message):
        """One command of `place run`, until it ends or until `place run` went away."""
        mark = str(self.next_mark())
        environment = dict(self.processes.environment, **message["environment"], **{MARK: mark})
        try:
            pid = self.processes.spawn(message["command"], environment, reader.files)
        except OSError as error:
            line.send(connection, {"error": "cannot start %s: %s" % (message["command"][0], error.strerror)})
            return
        finally:
            for file in reader.files:
                os.close(file)
        listener = threading.Thread(target=self.listen, args=(reader, pid, mark), daemon=True)
        listener.start()
        self.processes.wait(pid)
        kill_group(pid, mark)
        line.send(connection, {"code": os.waitstatus_to_exitcode(self.processes.status(pid))})
        connection.shutdown(socket.SHUT_RDWR)

    def next_mark(self):
        with self.manager.lock:
            self.runs += 1
            return self.runs

    def listen(self, reader, pid, mark):
        """Hands signals on; the end of the connection is a SIGKILL."""
        try:
            while True:
                message = reader.next()
                if message is None:
                    break
                self.manager.signal(pid, message["signal"])
        except OSError:
            pass
        if self.processes.status(pid) is None:
            kill_group(pid, mark)


def watch_owner(pidfd):
    """The place goes off with the process it was made for."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    poll.poll()
    os._exit(1)


def main():
    """Arguments: the number of the open file that says ready, and that of the owner or -1."""
    ready, owner = int(sys.argv[1]), int(sys.argv[2])
    # Only the main thread takes SIGCHLD.
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
    os.set_inheritable(ready, False)
    if owner >= 0:
        os.set_inheritable(owner, False)
        threading.Thread(target=watch_owner, args=(owner,), daemon=True).start()
    os.chdir("/root")
    os.makedirs(units.RUN, exist_ok=True)
    os.makedirs(units.LOGS, exist_ok=True)
    init = Init()
    file = "/" + line.SOCKET
    if os.path.lexists(file):
        os.unlink(file)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(file)
    os.chmod(file, 0o600)
    listener.listen(64)
    threading.Thread(target=init.serve, args=(listener,), daemon=True).start()
    os.write(ready, b"1")
    os.close(ready)
    while True:
        signal.sigtimedwait([signal.SIGCHLD], 1)
        init.processes.reap()


if __name__ == "__main__":
    main()
