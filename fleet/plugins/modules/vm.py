#!/usr/bin/python
# SPDX-License-Identifier: MIT OR Apache-2.0
"""A VM on a PC: started, stopped or absent."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vm
short_description: A VM on a PC, started, stopped or absent
version_added: 0.2.0
description:
  - Calls the words of the VM's C(run.sh), which lies on the PC with its seed.
options:
  state:
    description:
      - C(started) runs, as a service of the user where O(at_boot) says so.
      - C(stopped) was shut down by its guest, or lost its power after O(limit) seconds.
      - C(absent) has no folder any more. Its disk is gone then.
    type: str
    choices: [started, stopped, absent]
    required: true
  at_boot:
    description: Whether the VM starts with the PC. Without it nothing is changed about that.
    type: bool
  options:
    description: Options of C(run.sh start), or of C(run.sh service install) where the VM starts with the PC.
    type: list
    elements: str
    default: []
  record:
    description: What the role keeps about the seed that it copied.
    type: dict
extends_documentation_fragment:
  - imgbuild.lab.pc
  - imgbuild.lab.pc.vm
author:
  - The imgbuild project (@imgbuild)
"""

EXAMPLES = r"""
- name: Start vm101, now and with the PC
  imgbuild.lab.vm:
    folder: /var/tmp/imgbuild-{user}
    name: vm101
    state: started
    at_boot: true
    options: [--user-net]
"""

RETURN = r"""
said:
  description: What run.sh said.
  returned: always
  type: list
  elements: str
"""

import contextlib
import os
import shutil

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.imgbuild.lab.plugins.module_utils import pc

LOCK_SECONDS = 900
# What a VM says of itself when it is one of systemd's or cron's.
NO_SERVICE = "none"


class Failure(Exception):
    """Why a state was not reached, in words for people."""


class Changer:
    """Brings a VM to its state; in check mode it only says how."""

    def __init__(self, module):
        self.module = module
        self.vm = pc.VM(pc.folder_path(module.params["folder"]), module.params["name"])
        self.check = module.check_mode
        self.said = []
        self.changed = False

    def call(self, *words):
        """One word of run.sh. It says `unchanged` where it has changed nothing."""
        code, out, err = self.vm.run(*words)
        self.said += [line for line in (out + "\n" + err).splitlines() if line]
        if code:
            raise Failure("%s %s: exit code %d\n%s" % (self.vm.script, " ".join(words), code, "\n".join(filter(None, (err, out)))))
        if ": unchanged:" not in out:
            self.changed = True

    def started(self, status):
        """Runs."""
        if status is None:
            if self.check:
                self.changed = True
                return
            raise Failure("%s is not there" % self.vm.script)
        if status["retired"]:
            raise Failure("%s was retired, and never starts again" % self.vm.name)
        self.service(status)
        if status["state"] == "paused":
            raise Failure("%s is paused: %s. Make room on the disk, then stop and start it" % (self.vm.name, status["why"]))
        if status["state"] == "running":
            return
        if self.check:
            self.changed = True
            return
        options = [] if self.module.params["at_boot"] else self.module.params["options"]
        self.call("start", *options)

    def service(self, status):
        """Whether it starts with the PC."""
        at_boot = self.module.params["at_boot"]
        options = self.module.params["options"]
        if at_boot is None or (not at_boot and status["service"] == NO_SERVICE):
            return
        if self.check:
            same = at_boot and status["service"] != NO_SERVICE and self.vm.record().get("service") == options
            self.changed = self.changed or not same
            return
        if at_boot:
            self.call("service", "install", *options)
            if self.vm.record().get("service") != options:
                self.vm.write_record(service=options)
            return
        self.call("service", "remove")

    def stopped(self, status):
        """Is off."""
        if status is None:
            return
        if status["state"] != "stopped":
            if self.check:
                self.changed = True
            else:
                self.call("stop", "--limit", str(self.module.params["limit"]))
        if self.module.params["at_boot"] is False:
            self.service(status)

    def absent(self, status):
        """Has no folder."""
        if not os.path.lexists(self.vm.folder):
            return
        self.changed = True
        if self.check:
            return
        self.module.params["at_boot"] = False
        self.stopped(status)
        if os.path.exists(os.path.join(self.vm.folder, "qemu.pid")) and status is None:
            raise Failure("%s has no run.sh, so it is not known whether a machine runs there" % self.vm.folder)
        shutil.rmtree(self.vm.folder)

    def run(self):
        """The state that is wanted, while nobody else changes this VM."""
        state = self.module.params["state"]
        folder = self.vm.folder
        # Beside the folder, which may go.
        lock = pc.locked(os.path.join(os.path.dirname(folder), ".%s.lock" % self.vm.name), LOCK_SECONDS)
        with contextlib.nullcontext() if self.check or not os.path.isdir(folder) else lock:
            before = self.vm.status()
            getattr(self, state)(before)
        if state != "absent" and self.module.params["record"] and not self.check:
            self.vm.write_record(**self.module.params["record"])
        return before


def words(name, status, wanted):
    """A line for the difference."""
    if status is None:
        return "%s: absent\n" % name
    return "%s: %s, starts with the PC: %s\n" % (name, wanted or status["state"], "no" if status["service"] == NO_SERVICE else "yes")


def main():
    """The module."""
    module = AnsibleModule(
        argument_spec={
            "folder": {"type": "str", "required": True},
            "name": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["started", "stopped", "absent"], "required": True},
            "at_boot": {"type": "bool"},
            "options": {"type": "list", "elements": "str", "default": []},
            "limit": {"type": "int", "default": 120},
            "record": {"type": "dict"},
        },
        supports_check_mode=True,
    )
    changer = Changer(module)
    name, state = module.params["name"], module.params["state"]
    try:
        before = changer.run()
        after = changer.vm.status()
    except (Failure, OSError, ValueError) as error:
        module.fail_json(msg=str(error), said=changer.said)
    wanted = {"started": "running", "stopped": "stopped"}.get(state)
    if module.check_mode and changer.changed:
        at_boot = module.params["at_boot"]
        status = dict(before or {"service": NO_SERVICE})
        if at_boot is not None:
            status["service"] = "yes" if at_boot else NO_SERVICE
        after = None if state == "absent" else status
    diff = {"before": words(name, before, before and before["state"]), "after": words(name, after, wanted if changer.changed else None)}
    module.exit_json(changed=changer.changed, said=changer.said, diff=diff)


if __name__ == "__main__":
    main()
