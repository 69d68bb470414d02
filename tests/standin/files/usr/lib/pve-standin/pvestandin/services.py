"""systemctl, or its place when several nodes run below root folders of one machine."""

import os
import signal
import subprocess
import sys
import time

from . import daemon, env

# Where the programs of this stand-in are: the usr folder that this file is below.
USR = os.path.realpath(os.path.join(os.path.dirname(__file__), "../../.."))
PROGRAMS = {
    "pve-cluster": ("pmxcfs", ["bin/pmxcfs"]),
    "corosync": ("corosync", ["sbin/corosync", "-f"]),
    "pvedaemon": ("pvedaemon", ["bin/pvedaemon", "start"]),
    "pveproxy": ("pveproxy", ["bin/pveproxy", "start"]),
}


class Failed(Exception):
    pass


def systemctl(verb, *units):
    """Runs a verb for units, in the order in which systemd would do it."""
    if not env.ROOT:
        done = subprocess.run(["systemctl", verb, *units], stdin=subprocess.DEVNULL)
        if done.returncode:
            raise Failed("command 'systemctl %s %s' failed: exit code %d" % (verb, " ".join(units), done.returncode))
        return
    if os.environ.get("PVE_STANDIN_NO_API"):
        # A joiner of which nobody asks anything: two processes instead of four.
        units = [unit for unit in units if unit in ("pve-cluster", "corosync")]
    # pve-cluster.service is Before=corosync.service: it starts first and stops last.
    units = sorted(units, key=lambda unit: unit != "pve-cluster")
    if verb in ("stop", "restart"):
        for unit in reversed(units):
            daemon.stop(PROGRAMS[unit][0])
    if verb in ("start", "restart"):
        for unit in units:
            _start(unit)
    if verb == "reload-or-restart":
        for unit in units:
            pid = daemon.running_pid(PROGRAMS[unit][0])
            if pid:
                os.kill(pid, signal.SIGHUP)
            else:
                _start(unit)


def _start(unit):
    name, command = PROGRAMS[unit]
    if daemon.running_pid(name):
        return
    if unit == "corosync" and not os.path.exists(env.path("/etc/corosync/corosync.conf")):
        return  # ConditionPathExists=
    os.makedirs(env.run(""), exist_ok=True)
    with open(env.run(name + ".log"), "a", encoding="utf-8") as log:
        process = subprocess.Popen([sys.executable, os.path.join(USR, command[0]), *command[1:]],
                                   stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        status = process.poll()
        if status and daemon.has_written_pid(name, process.pid):
            return  # It was ready, and has ended since.
        if status:
            raise Failed("%s did not start: exit code %d, see %s" % (unit, status, env.run(name + ".log")))
        if daemon.running_pid(name):
            return
        time.sleep(0.02)
    raise Failed("%s was not ready within 30 s" % unit)
