#!/usr/bin/python
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Asks a member whether a VM's cluster can do without it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: quorum
short_description: Ask a member whether a VM's cluster can do without it
version_added: 0.2.0
description:
  - Runs C(imgbuild lab quorum) on the controller, and fails when the cluster has no quorum or would lose it. A VM that joins no
    cluster is fine without a question.
  - The cluster's root password is asked for once per run and cluster, as M(imgbuild.lab.seeds) does. Where the VM joins by a
    file with the password, that one is used.
options:
  name:
    description: The VM.
    type: str
    required: true
extends_documentation_fragment:
  - imgbuild.lab.desk
author:
  - The imgbuild project (@imgbuild)
"""

EXAMPLES = r"""
- name: Ask whether its cluster can do without vm101
  imgbuild.lab.quorum:
    lab: "{{ imgbuild_lab }}"
    name: vm101
  register: imgbuild_asked
"""

RETURN = r"""
said:
  description: How the cluster stands.
  returned: always
  type: list
  elements: str
passwords:
  description: For later tasks of the run. They are never shown.
  returned: always
  type: dict
"""
