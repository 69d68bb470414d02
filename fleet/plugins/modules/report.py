#!/usr/bin/python
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Shows what a play has found or done, and keeps it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: report
short_description: Show what a play has found or done, and keep it
version_added: 0.2.0
description:
  - Runs on the controller, once for all PCs of a batch.
  - C(probe) shows what each PC can do, and writes C(probe.json).
  - C(deploy) shows which PCs were left alone, and why.
  - C(status) writes a file per PC, and shows what C(imgbuild lab report) makes of them.
options:
  kind:
    description: What is shown.
    type: str
    choices: [probe, deploy, status]
    required: true
  dir:
    description: The folder on the controller that the files are written to.
    type: path
  lab:
    description: The lab file.
    type: path
  imgbuild:
    description: The program C(imgbuild), when it is not in E(PATH).
    type: str
author:
  - The imgbuild project (@imgbuild)
"""

EXAMPLES = r"""
- name: Show what the PCs can do
  imgbuild.lab.report:
    kind: probe
    dir: status
"""

RETURN = r"""
lines:
  description: What was shown.
  returned: always
  type: list
  elements: str
"""
