# SPDX-License-Identifier: MIT OR Apache-2.0
"""The part of `imgbuild.lab.base` that runs on the controller: the copy through ssh."""

from __future__ import annotations

import os

from ansible.plugins.action import ActionBase

MODULE = "imgbuild.lab.base"


class ActionModule(ActionBase):
    """Lets the module do what it can, and copies the image where it cannot."""

    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        words = dict(self._task.args)
        result = self._execute_module(MODULE, words, task_vars=task_vars)
        upload = result.pop("upload", None)
        if result.get("failed") or not upload:
            return result
        source = words.get("src")
        if not source or not os.path.isfile(source):
            return {
                "failed": True,
                "msg": "cannot bring the base: the PC can download nothing (no `base_url`, or none of aria2c, curl and wget there), "
                "and %s is not here to be copied" % (source or "the image"),
            }
        # Straight to where it is needed: not by way of a home, which may be small, or on another machine.
        self._connection.put_file(source, upload)
        return self._execute_module(MODULE, dict(words, upload=upload), task_vars=task_vars)
