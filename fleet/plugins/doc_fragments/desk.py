# SPDX-License-Identifier: MIT OR Apache-2.0
"""Options of the modules that run imgbuild on the controller for a cluster's VMs."""

from __future__ import annotations


class ModuleDocFragment:
    """Read by ansible-doc."""

    DOCUMENTATION = r"""
options:
  lab:
    description: The lab file.
    type: path
    required: true
  imgbuild:
    description: The program C(imgbuild), when it is not in E(PATH).
    type: str
  ticket_file:
    description: A ticket that was made on a member. Nothing is asked then.
    type: path
  password:
    description: The cluster's root password. Without it, it is asked for.
    type: str
"""
