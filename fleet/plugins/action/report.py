# SPDX-License-Identifier: MIT OR Apache-2.0
"""Shows what a play has found or done, and keeps it; see the module's page."""

from __future__ import annotations

import json
import os
import re
import time

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.imgbuild.lab.plugins.module_utils.pc import read_json, write_whole
from ansible_collections.imgbuild.lab.plugins.plugin_utils import desk


class ActionModule(ActionBase):
    """Runs once for all PCs of a batch."""

    BYPASS_HOST_LOOP = True

    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        kind = self._task.args["kind"]
        self.folder = os.path.abspath(self._task.args["dir"]) if self._task.args.get("dir") else None
        hosts = {host: task_vars["hostvars"][host] for host in task_vars["ansible_play_batch"]}
        if self.folder and not self._task.check_mode:
            os.makedirs(self.folder, mode=0o700, exist_ok=True)
        lines = getattr(self, kind)(hosts)
        # What comes from a PC may hold what a terminal would obey.
        lines = ["".join(c if c.isprintable() else "?" for c in line) for line in lines]
        for line in lines:
            Display().display(line)
        return {"changed": False, "lines": lines}

    def write(self, name, value):
        """One file of the folder."""
        if not self._task.check_mode:
            write_whole(os.path.join(self.folder, name), json.dumps(value, indent=1, sort_keys=True) + "\n")

    def probe(self, hosts):
        """A table of what each PC can do; probe.json keeps what other PCs had before."""
        file = os.path.join(self.folder, "probe.json")
        known = read_json(file)
        rows = [("PC", "able", "QEMU", "KVM", "memory", "disk", "")]
        for host, found in hosts.items():
            probed = found.get("imgbuild_probed") or {}
            error = problem(found)
            if error or "facts" not in probed:
                # What it can do is not known; what was found earlier holds as long as nothing else is.
                rows.append((host, "no answer", "", "", "", "", error or "it was not probed"))
                continue
            facts = probed["facts"]
            known[host] = dict(facts, able=probed["able"], missing=probed["missing"], remarks=probed["remarks"])
            size = "%.1f of %.1f GiB" % (facts["memory_available_mib"] / 1024, facts["memory_mib"] / 1024)
            disk = "%.0f GB, %s" % (facts["disk"]["free_bytes"] / 1e9, facts["disk"]["type"])
            said = probed["missing"] + probed["remarks"]
            rows.append((host, "yes" if probed["able"] else "no", facts["qemu"], "yes" if facts["kvm"] else "no", size, disk,
                         said[0] if said else ""))
            rows += [("", "", "", "", "", "", line) for line in said[1:]]
        self.write("probe.json", known)
        able = sum(1 for row in rows if row[1] == "yes")
        return [*table(rows), "%d of %d PCs can run VMs; all that was found: %s" % (able, len(hosts), file)]

    def deploy(self, hosts):
        """The PCs that were left alone, with the reason."""
        lines = []
        for host, found in hosts.items():
            error = problem(found)
            missing = (found.get("imgbuild_probed") or {}).get("missing", [])
            if error:
                lines.append("%s was left alone: %s" % (host, error))
            elif missing:
                lines += ["%s was left alone: %s" % (host, line) for line in missing]
        if lines:
            lines.append("the next run takes up what could not be done now")
        return lines

    def last_answer(self, host):
        """What a PC that does not answer said when it last did, and when that was."""
        old = read_json(os.path.join(self.folder, file_name(host)))
        answered = old.get("time" if old.get("reachable") else "answered")
        return {"answered": answered, "vms": old.get("vms", [])} if answered else {"vms": []}

    def status(self, hosts):
        """A file per PC; then imgbuild's own table and page."""
        for host, found in hosts.items():
            seen = found.get("imgbuild_seen") or {}
            error = problem(found)
            vms = [vm["status"] for vm in seen.get("vms", {}).values() if vm.get("status")]
            broken = ["%s: %s" % (name, vm["error"]) for name, vm in seen.get("vms", {}).items() if vm.get("error")]
            self.write(file_name(host), {
                "host": host, "room": found.get("imgbuild_room"), "time": int(time.time()), "reachable": not error,
                "error": error or "; ".join(broken) or None, **(self.last_answer(host) if error else {"vms": vms})})
        if self._task.check_mode:
            return []
        words, done = desk.imgbuild(self._task.args, ["lab", "report", self.folder, "--lab", self._task.args["lab"]])
        if done.returncode:
            raise AnsibleActionFail("%s:\n%s" % (" ".join(words), done.stderr.strip()))
        return (done.stdout + done.stderr).splitlines()


def problem(found):
    """Why nothing is known of a PC: it is off, or what was asked of it failed."""
    for name in ("imgbuild_seen", "imgbuild_probed"):
        result = found.get(name) or {}
        if result.get("unreachable") or result.get("failed"):
            return " ".join(str(result.get("msg", "no answer")).split()).removeprefix("Task failed: ")
    return None


def file_name(host):
    """A PC's file. What is no host name makes no path."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", host).lstrip(".-") + ".json"


def table(rows):
    """Columns, as wide as what is in them; the last one is as long as it is."""
    widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]) - 1)]
    return ["  ".join([*(cell.ljust(width) for cell, width in zip(row, widths)), row[-1]]).rstrip() for row in rows]
