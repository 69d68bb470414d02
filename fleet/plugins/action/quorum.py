# SPDX-License-Identifier: MIT OR Apache-2.0
"""Asks a member whether a VM's cluster can do without it; see the module's page."""

from __future__ import annotations

import os

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.imgbuild.lab.plugins.plugin_utils import desk


class ActionModule(ActionBase):
    """Runs `imgbuild lab quorum` on the controller."""

    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        words = self._task.args
        vm = next(vm for vm in task_vars["imgbuild_vms"] if vm["name"] == words["name"])
        passwords = desk.Passwords(task_vars)
        if self._task.check_mode or not vm["joins"]:
            return passwords.result(said=[])
        options, stdin = [], ""
        # A VM that joins by a file with the password: imgbuild reads that.
        if vm["ticket"] and words.get("ticket_file"):
            options = ["--ticket-file", os.path.abspath(words["ticket_file"])]
        elif vm["ticket"]:
            what = "a look at its quorum, and tickets"
            options, stdin = ["--password-stdin"], passwords.get(vm["ticket"], words.get("password"), what) + "\n"
        _, done = desk.imgbuild(words, ["lab", "quorum", vm["name"], "--lab", words["lab"], *options], stdin)
        said = (done.stdout + done.stderr).strip()
        if done.returncode:
            raise AnsibleActionFail("%s is not renewed, and still runs as before. %s\n  without this question: -e imgbuild_quorum=false" % (vm["name"], said))
        for line in said.splitlines():
            Display().display(line)
        return passwords.result(said=said.splitlines())
