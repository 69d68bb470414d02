#!/usr/bin/python
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Makes the seeds of the play's VMs on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: seeds
short_description: Make the seeds of the play's VMs on the controller
version_added: 0.2.0
description:
  - Runs C(imgbuild seed) on the controller, once for all PCs of a batch.
  - A VM that joins its cluster by ticket, and has not joined, gets a fresh ticket. The cluster's root password is asked for
    once per run and cluster, and only when a ticket is needed. A VM that has joined gets none.
  - In check mode the seeds are made in a copy of the lab's folder, of which nothing stays.
  - Needs what M(imgbuild.lab.vm_info) told of each PC, in the variable C(imgbuild_seen).
options:
  names:
    description: Only these VMs.
    type: list
    elements: str
  afresh:
    description: Also VMs that have joined get a ticket, for their new disks join again.
    type: bool
    default: false
extends_documentation_fragment:
  - imgbuild.lab.desk
author:
  - The imgbuild project (@imgbuild)
"""

EXAMPLES = r"""
- name: Make the seeds
  imgbuild.lab.seeds:
    lab: "{{ imgbuild_lab }}"
  register: imgbuild_seeds
"""

RETURN = r"""
seeds:
  description: The instance-id and digests of each VM's seed, and until when its ticket is taken (0 without one).
  returned: always
  type: dict
passwords:
  description: For later tasks of the run. They are never shown.
  returned: always
  type: dict
"""
