"""The units of a place: what they are, and what systemctl shows of them. jobs.py starts and stops them."""

import os
import signal

RUN = "/run/pve-standin/"
LOGS = "/var/log/standin/"
# What a start and a stop may take before systemd loses patience.
START, STOP = 90, 20
CLEAN = (0, -signal.SIGTERM, -signal.SIGINT, -signal.SIGHUP, -signal.SIGPIPE)


class Command:
    """A line of ExecStart= or ExecStartPre=; with `lenient` (the minus in front) its failure is none."""

    def __init__(self, words, lenient=False):
        self.words, self.lenient = words, lenient


class Unit:
    """One service.

    `pid_name` is the file below /run/pve-standin that a ready daemon writes; without it a unit is
    active when its program runs, or, for `oneshot`, when that has ended. `after` and `before` hold
    names of other units, `conditions` pairs of a path and whether it must exist.
    """

    def __init__(self, name, commands, pid_name=None, oneshot=False, remain=False, restart="no", pause=0.1, reload=False,
                 pre=(), conditions=(), after=(), before=(), wants=(), start_limit=START, stop_limit=STOP, about="",
                 enabled=True):
        self.name, self.commands, self.pid_name = name, commands, pid_name
        self.oneshot, self.remain, self.restart, self.pause = oneshot, remain, restart, pause
        self.pre, self.conditions, self.can_reload = pre, conditions, reload
        self.after, self.before, self.wants = set(after), set(before), list(wants)
        self.start_limit, self.stop_limit = start_limit, stop_limit
        self.about, self.enabled = about or name, enabled
        # Enabled by a link of a target, and not only wanted by another service.
        self.at_boot = enabled
        self.condition_met = False
        self.state, self.sub, self.result, self.status = "inactive", "", "success", 0
        self.pid = None
        # The process that a start waits for: one of `pre`, or the program of a oneshot unit.
        self.control = None
        self.starts = []
        self.restarts = 0
        self.stopping = False
        self.gave_up = False
        # A unit that only says that it is active: see --no-api.
        self.pretended = False

    def condition(self):
        """Looks at the conditions; one that is not met is no failure."""
        self.condition_met = all(os.path.exists(path) == wanted for path, wanted in self.conditions)
        return self.condition_met

    def comes_back(self):
        """Whether Restart= starts it again after what it ended with."""
        if self.restart == "on-abnormal":
            return self.result in ("signal", "timeout")
        return self.restart == "always" or (self.restart == "on-failure" and self.result != "success")

    def show(self):
        sub = {"active": "exited" if self.oneshot else "running", "inactive": "dead", "failed": "failed",
               "activating": self.sub or "start", "deactivating": "stop-sigterm"}[self.state]
        if self.state == "failed" and self.comes_back() and not self.gave_up:
            sub = "auto-restart"
        # In the order in which the real one prints them.
        return {"Result": self.result, "NRestarts": str(self.restarts), "MainPID": str(self.pid or self.control or 0),
                "ExecMainStatus": str(abs(self.status)), "Id": self.name + ".service", "Description": self.about,
                "LoadState": "loaded", "ActiveState": self.state, "SubState": sub,
                "UnitFileState": "enabled" if self.enabled else "disabled",
                "ConditionResult": "yes" if self.condition_met else "no"}


def standard(api):
    """The units of a node; without `api` the two API daemons are active in name only."""
    updatecerts = Command(["/usr/bin/pvecm", "updatecerts", "--silent"], lenient=True)
    units = [
        Unit("pve-cluster", [Command(["/usr/bin/pmxcfs", "-f"])], "pmxcfs", restart="on-failure", wants=["corosync"],
             about="The Proxmox VE cluster filesystem"),
        Unit("corosync", [Command(["/usr/sbin/corosync", "-f"])], "corosync", conditions=[("/etc/corosync/corosync.conf", True)],
             after=["pve-cluster"], about="Corosync Cluster Engine", enabled=False),
        Unit("pvedaemon", [Command(["/usr/bin/pvedaemon", "start"])], "pvedaemon", restart="on-failure", reload=True,
             after=["pve-cluster"], about="PVE API Daemon"),
        Unit("pveproxy", [Command(["/usr/bin/pveproxy", "start"])], "pveproxy", restart="on-failure", reload=True,
             pre=[updatecerts], after=["pve-cluster", "pvedaemon"], about="PVE API Proxy Server"),
    ]
    for unit in units[2:]:
        unit.pretended = not api
    return {unit.name: unit for unit in units}
