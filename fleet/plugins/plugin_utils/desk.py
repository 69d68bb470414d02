# SPDX-License-Identifier: MIT OR Apache-2.0
"""What the actions share: the program on the controller, and the clusters' passwords of a run."""

from __future__ import annotations

import os
import subprocess

from ansible.errors import AnsibleActionFail
from ansible.module_utils.common.text.converters import to_text
from ansible.utils.display import Display

PROMPT_SECONDS = 600
# What the role registers of the actions that know passwords.
REGISTERED = ("imgbuild_seeds", "imgbuild_asked")


def imgbuild(args, words, stdin=""):
    """Runs imgbuild, which the task's arguments, the environment or PATH know. Its command line, and what came of it."""
    words = [args.get("imgbuild") or os.environ.get("IMGBUILD") or "imgbuild", *words]
    try:
        return words, subprocess.run(words, input=stdin, capture_output=True, text=True, check=False)
    except OSError as error:
        raise AnsibleActionFail("cannot run %s: %s. Put imgbuild into PATH, or say where it is: IMGBUILD=/path/to/imgbuild"
                                % (words[0], error.strerror)) from error


class Passwords:
    """Of the clusters' root, each asked for once per run. They stay in what was registered of an action, until the run ends;
    a fact could be written to a disk by a fact cache."""

    def __init__(self, task_vars):
        self.known = {}
        for host in task_vars["ansible_play_hosts_all"]:
            for name in REGISTERED:
                self.known.update((task_vars["hostvars"][host].get(name) or {}).get("passwords") or {})

    def get(self, cluster, given, what):
        """One that was given, or known already, or is asked for. `what` needs it."""
        if cluster not in self.known:
            self.known[cluster] = given or ask(cluster, what)
        return self.known[cluster]

    def result(self, **more):
        """An action's result, with which they stay known, and which nothing shows."""
        return {"changed": False, **more, "passwords": self.known, "_ansible_no_log": bool(self.known)}


def ask(cluster, what):
    """At the terminal."""
    try:
        typed = Display().prompt_until("Password of root@pam in %s, for %s: " % (cluster, what), private=True, seconds=PROMPT_SECONDS)
    except Exception as error:  # Each version of Ansible has its own for a terminal that is none.
        typed, reason = None, to_text(error)
    else:
        reason = "nothing was typed"
    text = to_text(typed or "").strip("\r\n")
    if not text:
        raise AnsibleActionFail(
            "the root password of %s is needed for %s, and was not given (%s)\n"
            "  right: at a terminal; or -e imgbuild_ticket_file=FILE with a ticket of a member; or imgbuild_cluster_password, from a vault"
            % (cluster, what, reason))
    return text
