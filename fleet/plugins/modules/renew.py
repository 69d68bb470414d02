#!/usr/bin/python
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Gives a VM a new disk on the base that its run.sh is for."""

from __future__ import annotations

DOCUMENTATION = r"""
module: renew
short_description: Give a VM a new disk on a new base
version_added: 0.2.0
description:
  - Stops the VM, sets its disk aside, starts it (so that run.sh makes a disk on the base that its seed is for), and waits
    until its firstboot says C(configured). Only then the old disk goes.
  - Where the new machine cannot be started at all, the old disk comes back. Once the new one has booted it does not, by itself;
    a node that has joined anew must not meet its older self. The old disk stays beside the new one, and what to do is said.
  - A run that was ended meanwhile goes on where it stopped.
options:
  sha256:
    description: The base that its disk is to be on.
    type: str
    required: true
  step:
    description:
      - C(stop) looks whether the disk is on another base and the VM is well, stops it and sets the disk aside.
      - C(finish) waits for the new machine's verdict, and removes the old disk.
      - C(restore) brings the old disk back, where no new machine has started.
    type: str
    choices: [stop, finish, restore]
    required: true
  seconds:
    description: How long the new machine has to be configured.
    type: int
    default: 3600
  unwell:
    description: Whether a VM that is not C(configured) is renewed all the same.
    type: bool
    default: false
extends_documentation_fragment:
  - imgbuild.lab.pc
  - imgbuild.lab.pc.vm
author:
  - The imgbuild project (@imgbuild)
"""

EXAMPLES = r"""
- name: Set vm101's disk aside
  imgbuild.lab.renew:
    folder: /var/tmp/imgbuild-{user}
    name: vm101
    sha256: "{{ imgbuild_base_sha256 }}"
    step: stop
"""

RETURN = r"""
needed:
  description: Whether the disk is on another base, or a renewal is not finished.
  returned: always
  type: bool
begins:
  description: Whether the VM is stopped for that.
  returned: when O(step=stop)
  type: bool
"""

import os
import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.imgbuild.lab.plugins.module_utils import pc

OLD = ".old"


class Renewal:
    """One VM's."""

    def __init__(self, module):
        self.module = module
        self.vm = pc.VM(pc.folder_path(module.params["folder"]), module.params["name"])
        disk = os.path.join(self.vm.folder, self.vm.name + ".qcow2")
        # The digest first: a disk without it is looked at as one that is not known.
        self.files = [disk + ".base", disk]

    def move(self, source, target):
        """Both files, from one suffix to another."""
        for file in self.files:
            if os.path.exists(file + source):
                os.replace(file + source, file + target)

    def begun(self):
        """Whether an old disk lies aside."""
        return os.path.exists(self.files[1] + OLD)

    def fail(self, text):
        """The end of this module, and of the play."""
        self.module.fail_json(msg=text)

    def stop(self):
        """From a VM that is well to one that is off and has no disk."""
        name = self.vm.name
        status = self.vm.status()
        if status is None or (not status["overlay_base"] and not self.begun()):
            self.module.exit_json(changed=False, needed=False, begins=False)
        # Its own new disk, of a run that was ended: that is waited for.
        if self.begun() and status["overlay_base"] == self.module.params["sha256"]:
            self.module.exit_json(changed=False, needed=True, begins=False)
        if not self.begun():
            if status["overlay_base"] == self.module.params["sha256"]:
                self.module.exit_json(changed=False, needed=False, begins=False)
            guest = pc.guest_of(status)
            if not self.module.params["unwell"] and (status["state"] != "running" or guest["verdict"] != "configured"):
                why = guest["reason"] or status["why"]
                self.fail("%s is not well, so it is not renewed: it is %s, and firstboot says %s%s. Mend it first, or renew it all the same: "
                          "-e imgbuild_unwell=true --limit THIS_PC" % (
                              name, status["state"], guest["verdict"] or "nothing", why and " (%s)" % why))
        if self.module.check_mode:
            self.module.exit_json(changed=True, needed=True, begins=True)
        if status["state"] != "stopped":
            code, out, err = self.vm.run("stop", "--limit", str(self.module.params["limit"]))
            if code:
                self.fail("cannot stop %s: %s" % (name, err or out))
        if not self.begun():
            self.move("", OLD)
        self.module.exit_json(changed=True, needed=True, begins=True)

    def restore(self):
        """The old machine again; nothing of a new one has run."""
        status = self.vm.status()
        if not self.begun() or (status and status["state"] != "stopped"):
            self.module.exit_json(changed=False, needed=True)
        for file in self.files:
            if os.path.exists(file):
                os.unlink(file)
        self.move(OLD, "")
        code, out, err = self.vm.run("start")
        if code:
            self.fail("%s has its old disk again, and does not start: %s" % (self.vm.name, err or out))
        self.module.exit_json(changed=True, needed=True)

    def finish(self):
        """The new machine's verdict; then the old disk goes."""
        if not self.begun():
            self.module.exit_json(changed=False, needed=False)
        name = self.vm.name
        deadline = time.monotonic() + self.module.params["seconds"]
        while True:
            status = self.vm.status()
            guest = pc.guest_of(status)
            if guest["verdict"] == "configured":
                break
            late = time.monotonic() > deadline
            if guest["verdict"] == "failed" or status["state"] != "running" or late:
                why = guest["reason"] or status["why"]
                said = "still says %s" % (guest["verdict"] or "nothing") if late else guest["verdict"] or status["state"]
                self.fail(
                    "%s has a new disk, and it is not well: %s%s\n"
                    "  look at it: %s console\n"
                    "  to go on when it is mended: run this play again; it goes on with %s\n"
                    "  to go back to the old disk, which is kept: run on the PC, unless the new machine has joined its cluster already\n"
                    "    cd %s && ./run.sh stop && mv %s.qcow2.old %s.qcow2 && mv %s.qcow2.base.old %s.qcow2.base && ./run.sh start"
                    % (name, said, why and ": " + why, self.vm.script, name, self.vm.folder, name, name, name, name))
            time.sleep(1)
        for file in reversed(self.files):
            if os.path.exists(file + OLD):
                os.unlink(file + OLD)
        self.module.exit_json(changed=True, needed=True)


def main():
    """The module."""
    module = AnsibleModule(
        argument_spec={
            "folder": {"type": "str", "required": True},
            "name": {"type": "str", "required": True},
            "sha256": {"type": "str", "required": True},
            "step": {"type": "str", "choices": ["stop", "finish", "restore"], "required": True},
            "limit": {"type": "int", "default": 120},
            "seconds": {"type": "int", "default": 3600},
            "unwell": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    renewal = Renewal(module)
    if module.check_mode and module.params["step"] != "stop":
        module.exit_json(changed=False, needed=False)
    try:
        getattr(renewal, module.params["step"])()
    except (OSError, ValueError) as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
