# SPDX-License-Identifier: MIT OR Apache-2.0
"""Makes the seeds of the play's VMs on the controller; see the module's page."""

from __future__ import annotations

import calendar
import json
import os
import shutil
import tempfile
import time

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.imgbuild.lab.plugins.module_utils.pc import sha256_of
from ansible_collections.imgbuild.lab.plugins.plugin_utils import desk

# A ticket that ends so soon is no good any more: a VM has to boot first.
TICKET_SPARE_SECONDS = 900


class ActionModule(ActionBase):
    """Runs once for all PCs of a batch, because a password is asked for once."""

    BYPASS_HOST_LOOP = True

    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        words = self._task.args
        self.lab = os.path.abspath(words["lab"])
        self.folder = os.path.dirname(self.lab)
        hostvars = task_vars["hostvars"]
        vms, found = {}, {}
        for host in task_vars["ansible_play_hosts"]:
            if not hostvars[host].get("imgbuild_able"):
                continue
            chosen = words.get("names")
            for vm in hostvars[host]["imgbuild_vms"]:
                if vm["state"] == "started" and (chosen is None or vm["name"] in chosen):
                    vms[vm["name"]] = vm
                    found[vm["name"]] = hostvars[host]["imgbuild_seen"]["vms"].get(vm["name"], {})
        passwords = desk.Passwords(task_vars)
        need, rest = {}, []
        for name, vm in vms.items():
            if vm.get("ticket") and (words.get("afresh") or needs_ticket(found[name])):
                need.setdefault(vm["ticket"], []).append(name)
            else:
                rest.append(name)
        if self._task.check_mode:
            seeds = {name: {"instance_id": "", "sha256": "", "until": 0} for names in need.values() for name in names}
            seeds.update(self.shadow(rest, vms))
            return {"changed": False, "seeds": seeds}
        seeds = {}
        for cluster, names in need.items():
            seeds.update(self.with_ticket(cluster, names, passwords, words))
        for kept in (True, False):
            names = [name for name in rest if bool(vms[name].get("ticket")) == kept]
            if names:
                if kept:
                    self.check_copies(names)
                seeds.update(self.seed(names, *(["--keep-ticket"] if kept else [])))
        return passwords.result(seeds=seeds)

    def with_ticket(self, cluster, names, passwords, words):
        """Seeds that can join: by a ticket from a file, or for the cluster's root password."""
        if words.get("ticket_file"):
            return self.seed(names, "--ticket-file", os.path.abspath(words["ticket_file"]))
        what = "a ticket for %s%s" % (", ".join(sorted(names)[:6]), " …" if len(names) > 6 else "")
        return self.seed(names, "--password-stdin", stdin=passwords.get(cluster, words.get("password"), what) + "\n")

    def seed(self, names, *options, lab=None, stdin=""):
        """`imgbuild seed`, and what is in each seed then."""
        lab = lab or self.lab
        words, done = desk.imgbuild(self._task.args, ["--json", "seed", *names, "--lab", lab, *options], stdin)
        events = [json.loads(line) for line in (done.stdout + "\n" + done.stderr).splitlines() if line.startswith("{")]
        if done.returncode:
            said = [words_of(event) for event in events if event.get("event") in ("error", "problem")] or [done.stderr or done.stdout]
            raise AnsibleActionFail("%s:\n%s" % (" ".join(words), "\n".join(said).strip()))
        seeds, until = {}, {}
        for event in events:
            if event.get("event") == "ticket":
                seconds = calendar.timegm(time.strptime(event["until"], "%Y-%m-%dT%H:%M:%SZ"))
                until.update(dict.fromkeys(event["vms"], seconds))
            if event.get("event") == "seed" and "instance_id" in event:
                seeds[event["vm"]] = {"instance_id": event["instance_id"]}
        for name, seed in seeds.items():
            place = os.path.join(os.path.dirname(lab), name)
            seed["sha256"] = sha256_of(os.path.join(place, "seed.img"))
            seed["script"] = sha256_of(os.path.join(place, "run.sh"))
            seed["until"] = until.get(name, 0)
        return seeds

    def check_copies(self, names):
        """A seed keeps its ticket, used or not, from the copy that is here."""
        gone = [name for name in names if not os.path.exists(os.path.join(self.folder, name, "seed.img"))]
        if gone:
            raise AnsibleActionFail(
                "the seeds of %s are not in %s any more, and what joined by ticket keeps the ticket of its seed\n"
                "  right: imgbuild seed %s (asks for the password), or keep the seeds here: without -e imgbuild_keep_seeds=false"
                % (", ".join(gone), self.folder, " ".join(gone)))

    def shadow(self, names, vms):
        """In check mode: the seeds as they would be, made in a copy of the lab's folder, of which nothing stays."""
        if not names:
            return {}
        with tempfile.TemporaryDirectory(prefix=".imgbuild-check-", dir=self.folder) as folder:
            for entry in os.scandir(self.folder):
                if entry.name.startswith(".imgbuild"):
                    continue
                if entry.name not in names:
                    os.symlink(entry.path, os.path.join(folder, entry.name))
                    continue
                os.mkdir(os.path.join(folder, entry.name), 0o700)
                for name in ("seed.img", "run.sh"):
                    if os.path.exists(os.path.join(entry.path, name)):
                        shutil.copy2(os.path.join(entry.path, name), os.path.join(folder, entry.name, name))
            seeds = {}
            for kept in (True, False):
                some = [name for name in names if bool(vms[name].get("ticket")) == kept]
                if some:
                    options = ["--keep-ticket"] if kept else []
                    seeds.update(self.seed(some, *options, lab=os.path.join(folder, os.path.basename(self.lab))))
            return seeds


def words_of(event):
    """An error or a problem of imgbuild, as it shows them to people."""
    if "text" in event:
        return event["text"]
    return "%s:%s:%s: %s\n  right: %s" % tuple(event.get(key, "") for key in ("file", "line", "column", "message", "right"))


def needs_ticket(found):
    """Whether a VM that joins by ticket has none that it could use."""
    if found.get("joined"):
        return False
    return (found.get("record") or {}).get("until", 0) < time.time() + TICKET_SPARE_SECONDS
