"""The units of a place: as much of systemd as pvecm, firstboot and their tests look at."""

import os
import signal
import threading
import time

RUN = "/run/pve-standin/"
LOGS = "/var/log/standin/"
# systemd gives up after five starts within ten seconds.
BURST, INTERVAL = 5, 10
READY = 60
STOP = 20


class Unit:
    """One service. `pid_name` is the file below /run/pve-standin that a ready daemon writes."""

    def __init__(self, name, command, pid_name=None, restart=False, reload=False, before=(), condition=None, wants=(),
                 about="", enabled=True):
        self.name, self.command, self.pid_name = name, command, pid_name
        self.about, self.enabled = about or name, enabled
        self.condition_met = False
        self.restart, self.can_reload, self.before = restart, reload, before
        self.condition, self.wants = condition, wants
        self.state, self.result, self.status = "inactive", "success", 0
        self.pid = None
        self.starts = []
        self.restarts = 0
        self.stopping = False
        self.gave_up = False
        # A unit that only says that it is active: see --no-api.
        self.pretended = False


def standard(api):
    """The units of a node; without `api` the two API daemons are active in name only."""
    units = [
        Unit("pve-cluster", ["/usr/bin/pmxcfs", "-f"], "pmxcfs", restart=True, wants=["corosync"],
             about="The Proxmox VE cluster filesystem"),
        Unit("corosync", ["/usr/sbin/corosync", "-f"], "corosync", condition="/etc/corosync/corosync.conf",
             about="Corosync Cluster Engine", enabled=False),
        Unit("pvedaemon", ["/usr/bin/pvedaemon", "start"], "pvedaemon", restart=True, reload=True, about="PVE API Daemon"),
        Unit("pveproxy", ["/usr/bin/pveproxy", "start"], "pveproxy", restart=True, reload=True,
             before=["/usr/bin/pvecm", "updatecerts", "--silent"], about="PVE API Proxy Server"),
    ]
    for unit in units[2:]:
        unit.pretended = not api
    return {unit.name: unit for unit in units}


class Manager:
    """Starts and stops units; `processes` spawns and knows when something ended."""

    def __init__(self, units, processes):
        self.units, self.processes = units, processes
        self.order = list(units)
        # One job at a time, as good as systemd's queue here; `lock` guards the states.
        self.job, self.lock = threading.RLock(), threading.RLock()

    def spawn(self, unit, command):
        log = os.open(LOGS + unit.name + ".log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
        null = os.open(os.devnull, os.O_RDONLY)
        try:
            return self.processes.spawn(command, None, (null, log, log))
        finally:
            os.close(log)
            os.close(null)

    # -- jobs; each returns None or the words of an error

    def start(self, unit, again=False):
        with self.job:
            if unit.state == "active":
                return None
            unit.condition_met = not unit.condition or os.path.exists(unit.condition)
            if not unit.condition_met:
                return None  # ConditionPathExists= is no failure
            now = time.monotonic()
            unit.starts = [at for at in unit.starts if now - at < INTERVAL]
            if len(unit.starts) >= BURST:
                unit.state, unit.gave_up = "failed", True
                if not again:
                    unit.result = "start-limit-hit"
                return "Job for %s.service failed because start of the service was attempted too often." % unit.name
            unit.starts.append(now)
            error = self.start_now(unit)
            for name in unit.wants:
                self.start(self.units[name])
            return error

    def start_now(self, unit):
        unit.state, unit.stopping = "activating", False
        if unit.before:
            self.processes.wait(self.spawn(unit, unit.before), READY)
        if unit.pretended:
            unit.state, unit.result = "active", "success"
            return None
        if unit.pid_name:
            try:
                os.unlink(RUN + unit.pid_name + ".pid")
            except FileNotFoundError:
                pass
        first = self.spawn(unit, unit.command)
        main = self.main_pid(unit, first)
        with self.lock:
            if main is None:
                self.ended(unit, self.processes.status(first))
                if unit.name != "corosync":
                    unit.status = 0  # Type=forking: there was no main process yet
                if unit.state == "active":
                    unit.state = "inactive"
                return ("Job for %s.service failed because the control process exited with error code.\n"
                        'See "systemctl status %s.service" and "journalctl -xeu %s.service" for details.'
                        % (unit.name, unit.name, unit.name))
            unit.pid, unit.state, unit.result, unit.status = main, "active", "success", 0
        # It may have ended between its readiness and the lines above.
        if self.processes.status(main) is not None:
            self.ended(unit, self.processes.status(main))
        return None

    def main_pid(self, unit, first):
        """Waits until the daemon is ready; None when it ended before that."""
        deadline = time.monotonic() + READY
        while time.monotonic() < deadline:
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
        os.kill(first, signal.SIGKILL)
        self.processes.wait(first, STOP)
        return None

    def stop(self, unit):
        with self.job:
            with self.lock:
                unit.stopping, pid = True, unit.pid
            if pid is not None:
                self.signal(pid, signal.SIGTERM)
                if not self.processes.wait(pid, STOP):
                    self.signal(pid, signal.SIGKILL)
                    self.processes.wait(pid, STOP)
            with self.lock:
                unit.pid = None
                if unit.state != "failed":
                    unit.state = "inactive"
                unit.stopping = False
            return None

    def reload(self, unit):
        with self.lock:
            if unit.pid is not None:
                self.signal(unit.pid, signal.SIGHUP)
            return None

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
            clean = unit.status in (0, -signal.SIGTERM, -signal.SIGINT, -signal.SIGHUP, -signal.SIGPIPE)
            unit.state = "inactive" if clean else "failed"
            unit.result = "success" if clean else "exit-code" if unit.status > 0 else "signal"
        if not clean and unit.restart:
            threading.Thread(target=self.start_again, args=(unit,), daemon=True).start()

    def start_again(self, unit):
        time.sleep(0.1)  # RestartSec=
        with self.job:
            if unit.state == "failed" and not unit.gave_up:
                unit.restarts += 1
                self.start(unit, again=True)

    def process_ended(self, pid, status):
        for unit in self.units.values():
            if unit.pid == pid:
                self.ended(unit, status)

    # -- verbs of systemctl

    def verb(self, verb, names):
        """The words of all errors."""
        units = sorted((self.units[name] for name in names), key=lambda unit: self.order.index(unit.name))
        jobs = []
        if verb in ("stop", "restart", "try-restart"):
            running = [unit for unit in units if unit.state == "active"]
            if verb == "try-restart":
                units = running
            # What starts first stops last.
            jobs += [(self.stop, unit) for unit in reversed(units)]
        if verb in ("start", "restart", "try-restart"):
            jobs += [(self.start, unit) for unit in units]
        if verb in ("reload", "reload-or-restart", "try-reload-or-restart"):
            for unit in units:
                if unit.state == "active" and unit.can_reload:
                    jobs.append((self.reload, unit))
                elif unit.state == "active":
                    jobs += [(self.stop, unit), (self.start, unit)]
                elif verb == "reload-or-restart":
                    jobs.append((self.start, unit))
        if verb == "reset-failed":
            for unit in units or self.units.values():
                unit.starts, unit.restarts, unit.gave_up = [], 0, False
                if unit.state == "failed":
                    unit.state, unit.result = "inactive", "success"
        with self.job:
            return [error for error in (job(unit) for job, unit in jobs) if error]

    def show(self, name):
        unit = self.units.get(name)
        if unit is None:
            return {"Id": name + ".service", "ActiveState": "inactive", "SubState": "dead", "LoadState": "not-found"}
        sub = {"active": "running", "inactive": "dead", "failed": "failed", "activating": "start"}[unit.state]
        if unit.state == "failed" and unit.restart and not unit.gave_up:
            sub = "auto-restart"
        # In the order in which the real one prints them.
        return {"Result": unit.result, "NRestarts": str(unit.restarts), "MainPID": str(unit.pid or 0),
                "ExecMainStatus": str(abs(unit.status)), "Id": name + ".service", "Description": unit.about,
                "LoadState": "loaded", "ActiveState": unit.state, "SubState": sub,
                "UnitFileState": "enabled" if unit.enabled else "disabled",
                "ConditionResult": "yes" if unit.condition_met else "no"}
