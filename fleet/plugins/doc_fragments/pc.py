# SPDX-License-Identifier: MIT OR Apache-2.0
"""Options of the modules that run on a PC."""

from __future__ import annotations


class ModuleDocFragment:
    """Read by ansible-doc."""

    DOCUMENTATION = r"""
options:
  folder:
    description: The lab's folder on the PC. C({user}) is who is logged in there.
    type: str
    required: true
"""

    VM = r"""
options:
  name:
    description: The VM.
    type: str
    required: true
  limit:
    description: How many seconds the guest has to shut down.
    type: int
    default: 120
"""
