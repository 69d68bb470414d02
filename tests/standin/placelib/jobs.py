"""Starting and stopping units as systemd does it: by jobs that wait for each other's order.

Each unit has one job at a time; a new one of another kind replaces it (systemd's mode
`replace`): a start that still waits is canceled, one that runs is ended. So what a unit that
is ordered before corosync does to corosync counts: its `systemctl stop corosync` takes
corosync's waiting start away.
"""

import os
import signal
import threading
import time

from .units import CLEAN, LOGS, RUN

# systemd gives up after five starts within ten seconds.
BURST, INTERVAL = 5, 10


class Job:
    """To start, stop or reload a unit."""

    def __init__(self, unit, kind, again=False):
        self.unit, self.kind, self.again = unit, kind, again
        self.running = self.canceled = self.done = False
        self.error = None


class Manager:
    """`processes` spawns and knows when something ended."""

    def __init__(self, units, processes):
        self.units, self.processes = units, processes
        # Guards jobs and states; never held while something is waited for.
        self.lock = threading.Condition()
        self.jobs = []

    # -- the queue

    def before(self, one, other):
        """Whether one unit is ordered before another."""
        return other.name in one.before or one.name in other.after

    def waits_for(self, job, other):
        """Whether a job has to wait for an earlier or simultaneous other."""
        if other.unit is job.unit:
            return self.jobs.index(other) < self.jobs.index(job)
        if job.kind == "start":
            # What is to stop stops first, whatever the order.
            return self.before(other.unit, job.unit) or (other.kind == "stop" and self.before(job.unit, other.unit))
        return job.kind == other.kind == "stop" and self.before(job.unit, other.unit)

    def may_run(self, job):
        return job.canceled or not any(self.waits_for(job, other) for other in self.jobs if other is not job)

    def enqueue(self, wanted, again=False):
        """Jobs for pairs of unit and kind, all known before the first begins."""
        with self.lock:
            jobs, new = [], []
            for unit, kind in wanted:
                waiting = None
                for old in [job for job in self.jobs if job.unit is unit and not job.canceled]:
                    if old.kind == kind:
                        waiting = old
                    elif not old.running or old.kind == "start":
                        old.canceled = True
                if waiting is None:
                    waiting = Job(unit, kind, again)
                    self.jobs.append(waiting)
                    new.append(waiting)
                jobs.append(waiting)
            for job in new:
                threading.Thread(target=self.work, args=(job,), daemon=True).start()
            self.lock.notify_all()
        return jobs

    def work(self, job):
        with self.lock:
            self.lock.wait_for(lambda: self.may_run(job))
            job.running = not job.canceled
        error = getattr(self, job.kind)(job) if job.running else None
        with self.lock:
            job.error = "Job for %s.service canceled." % job.unit.name if job.canceled else error
            job.done = True
            self.jobs.remove(job)
            self.lock.notify_all()

    def wait(self, jobs):
        """The words of all errors."""
        with self.lock:
            self.lock.wait_for(lambda: all(job.done for job in jobs))
            return [job.error for job in jobs if job.error]

    # -- jobs; each returns None or the words of an error

    def start(self, job):
        unit = job.unit
        with self.lock:
            if unit.state == "active" or not unit.condition():
                return None
            now = time.monotonic()
            unit.starts = [at for at in unit.starts if now - at < INTERVAL]
            if len(unit.starts) >= BURST:
                unit.state, unit.gave_up = "failed", True
                if not job.again:
                    unit.result = "start-limit-hit"
                return "Job for %s.service failed because start of the service was attempted too often." % unit.name
            unit.starts.append(now)
            unit.state, unit.sub, unit.stopping = "activating", "start-pre" if unit.pre else "start", False
        for command in unit.pre:
            reason = self.finish(job, command, unit.start_limit)
            if reason:
                return self.failed(unit, reason)
        unit.sub = "start"
        if unit.pretended:
            with self.lock:
                unit.state, unit.result = "active", "success"
            return None
        return self.start_oneshot(job) if unit.oneshot else self.start_main(job)

    def start_oneshot(self, job):
        unit = job.unit
        for command in unit.commands:
            reason = self.finish(job, command, unit.start_limit)
            if reason:
                return self.failed(unit, reason)
        with self.lock:
            unit.state, unit.result = "active" if unit.remain else "inactive", "success"
        return None

    def finish(self, job, command, limit):
        """Runs one command to its end; why the start cannot go on, or None. A stop that comes ends it."""
        unit = job.unit
        unit.control = pid = self.spawn(unit, command.words)
        deadline = None if limit is None else time.monotonic() + limit
        reason = None
        while not self.processes.wait(pid, 0.05):
            late = deadline is not None and time.monotonic() > deadline
            if job.canceled or late:
                reason = "success" if job.canceled else "timeout"
                self.end(pid, unit.stop_limit)
        unit.control = None
        unit.status = os.waitstatus_to_exitcode(self.processes.status(pid) or 0)
        if job.canceled:
            return "success"
        if reason or command.lenient or unit.status == 0:
            return reason
        return "exit-code" if unit.status > 0 else "signal"

    def failed(self, unit, result):
        """A start that did not get to its end; the result of one that was canceled is `success`."""
        with self.lock:
            unit.state, unit.result = "inactive" if result == "success" else "failed", result
            if unit.state == "failed":
                self.come_back(unit)
            return self.words_of(unit)

    @staticmethod
    def words_of(unit):
        return ("Job for %s.service failed because the control process exited with error code.\n"
                'See "systemctl status %s.service" and "journalctl -xeu %s.service" for details.'
                % (unit.name, unit.name, unit.name))

    def start_main(self, job):
        unit = job.unit
        if unit.pid_name:
            try:
                os.unlink(RUN + unit.pid_name + ".pid")
            except FileNotFoundError:
                pass
        first = self.spawn(unit, unit.commands[0].words)
        main = self.main_pid(job, first)
        with self.lock:
            if main is None:
                unit.stopping = job.canceled
                self.ended(unit, self.processes.status(first))
                if unit.name != "corosync":
                    unit.status = 0  # Type=forking: there was no main process yet
                if unit.state in ("active", "activating"):
                    unit.state = "inactive"
                return self.words_of(unit)
            unit.pid, unit.state, unit.result, unit.status = main, "active", "success", 0
        # It may have ended between its readiness and the lines above.
        if self.processes.status(main) is not None:
            self.ended(unit, self.processes.status(main))
        return None

    def main_pid(self, job, first):
        """Waits until the daemon is ready; None when it ended before that."""
        unit = job.unit
        deadline = time.monotonic() + unit.start_limit
        while time.monotonic() < deadline and not job.canceled:
            if not unit.pid_name:
                return first
            try:
                with open(RUN + unit.pid_name + ".pid", encoding="ascii") as file:
                    return int(file.read())
            except (OSError, ValueError):
                pass
            if self.processes.status(first):
                return None
            time.sleep(0.01)
        self.end(first, unit.stop_limit if job.canceled else 0)
        return None

    def stop(self, job):
        unit = job.unit
        with self.lock:
            unit.stopping, pid = True, unit.pid
            if pid is not None:
                unit.state = "deactivating"
        if pid is not None:
            self.end(pid, unit.stop_limit)
        with self.lock:
            unit.pid = None
            if unit.state != "failed":
                unit.state = "inactive"
            unit.stopping = False
        return None

    def reload(self, job):
        with self.lock:
            if job.unit.pid is not None:
                self.signal(job.unit.pid, signal.SIGHUP)
        return None

    # -- processes

    def spawn(self, unit, words):
        log = os.open(LOGS + unit.name + ".log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
        null = os.open(os.devnull, os.O_RDONLY)
        try:
            try:
                return self.processes.spawn(words, None, (null, log, log))
            except OSError as error:
                os.write(log, ("Failed to execute %s: %s\n" % (words[0], error.strerror)).encode())
                return self.processes.spawn(["/bin/sh", "-c", "exit 203"], None, (null, log, log))
        finally:
            os.close(log)
            os.close(null)

    def end(self, pid, patience):
        """SIGTERM, and SIGKILL when that does not do in time."""
        if patience:
            self.signal(pid, signal.SIGTERM)
        if not patience or not self.processes.wait(pid, patience):
            self.signal(pid, signal.SIGKILL)
            self.processes.wait(pid)

    @staticmethod
    def signal(pid, number):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass

    # -- what happens by itself

    def ended(self, unit, status):
        """A unit's main process ended with the status of waitpid(2)."""
        with self.lock:
            unit.pid = None
            unit.status = os.waitstatus_to_exitcode(status or 0)
            if unit.stopping:
                return
            clean = unit.status in CLEAN
            unit.state = "inactive" if clean else "failed"
            if clean and unit.remain:
                unit.state = "active"
            unit.result = "success" if clean else "exit-code" if unit.status > 0 else "signal"
            self.come_back(unit)

    def come_back(self, unit):
        """Restart=; `lock` is held."""
        if unit.comes_back() and not any(job.unit is unit and job.kind == "stop" for job in self.jobs):
            threading.Thread(target=self.start_again, args=(unit, unit.state), daemon=True).start()

    def start_again(self, unit, state):
        time.sleep(unit.pause)
        with self.lock:
            if unit.state != state or unit.gave_up or unit.stopping:
                return
            unit.restarts += 1
            jobs = self.enqueue([(unit, "start")], again=True)
        self.wait(jobs)

    def process_ended(self, pid, status):
        for unit in self.units.values():
            if unit.pid == pid:
                self.ended(unit, status)

    # -- verbs of systemctl

    def with_wanted(self, units):
        """The units and what they want, all to be started."""
        todo, found = list(units), []
        while todo:
            unit = todo.pop(0)
            if unit not in found:
                found.append(unit)
                todo += [self.units[name] for name in unit.wants if self.units[name].state != "active"]
        return [(unit, "start") for unit in found]

    def verb(self, verb, names, wait=True):
        """The words of all errors of the named units, not of those that they want."""
        units = [self.units[name] for name in names]
        with self.lock:
            if verb == "reset-failed":
                for unit in units or self.units.values():
                    self.forget(unit)
                return []
            active = [unit for unit in units if unit.state == "active"]
            if verb.startswith("try-"):
                verb, units = verb.removeprefix("try-"), active
            first, then = [], []
            if verb in ("stop", "restart"):
                first = [(unit, "stop") for unit in units]
            if verb in ("start", "restart"):
                then = self.with_wanted(units)
            if "reload" in verb:
                for unit in units:
                    if unit in active and unit.can_reload:
                        first.append((unit, "reload"))
                    elif unit in active:
                        first.append((unit, "stop"))
                        then += self.with_wanted([unit])
                    elif verb == "reload-or-restart":
                        then += self.with_wanted([unit])
            jobs = self.enqueue(first or then)
        if not wait:
            threading.Thread(target=self.rest, args=(jobs, first and then, units), daemon=True).start()
            return []
        return self.rest(jobs, first and then, units)

    def rest(self, jobs, then, units):
        """Waits for the jobs, and does what comes after them."""
        errors = self.wait([job for job in jobs if job.unit in units])
        if then:
            errors += self.wait([job for job in self.enqueue(then) if job.unit in units])
        return errors

    @staticmethod
    def forget(unit):
        unit.starts, unit.restarts, unit.gave_up = [], 0, False
        if unit.state == "failed":
            unit.state, unit.result = "inactive", "success"

    def show(self, name):
        unit = self.units.get(name)
        if unit is None:
            return {"Id": name + ".service", "ActiveState": "inactive", "SubState": "dead", "LoadState": "not-found"}
        return unit.show()
