#!/usr/bin/python
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Tells how VMs on a PC are."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vm_info
short_description: Tell how VMs on a PC are
version_added: 0.2.0
description:
  - Asks C(run.sh status --json) of each VM, and reads what firstboot said last.
options:
  names:
    description: The VMs.
    type: list
    elements: str
    required: true
extends_documentation_fragment:
  - imgbuild.lab.pc
author:
  - The imgbuild project (@imgbuild)
"""

EXAMPLES = r"""
- name: Ask how vm101 is
  imgbuild.lab.vm_info:
    folder: /var/tmp/imgbuild-{user}
    names: [vm101]
"""

RETURN = r"""
folder:
  description: The lab's folder, with the user's name.
  returned: always
  type: str
vms:
  description: >-
    What is known of each VM, by name. C(status) is the line of run.sh; C(verdict), C(instance) and C(reason) are firstboot's;
    C(joined) is whether its seed was used up; C(script) is the digest of run.sh.
  returned: always
  type: dict
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.imgbuild.lab.plugins.module_utils import pc


def info(vm):
    """What is known of one VM."""
    script = pc.sha256_of(vm.script) if os.path.exists(vm.script) else ""
    return dict(said(vm), script=script)


def said(vm):
    """What its run.sh says of it, and its seed."""
    try:
        status = vm.status()
    except (OSError, ValueError) as error:
        return {"state": "unknown", "error": str(error), "status": None, "record": {}, "joined": False, "verdict": "", "instance": "", "reason": ""}
    if status is None:
        return {"state": "absent", "error": "", "status": None, "record": {}, "joined": False, "verdict": "", "instance": "", "reason": ""}
    record = vm.record()
    guest = pc.guest_of(status)
    # A guest that has joined scrubs the ticket from its seed, or the password.
    seed = os.path.join(vm.folder, "seed.img")
    used = bool(record.get("sha256")) and os.path.exists(seed) and pc.sha256_of(seed) != record["sha256"]
    configured = guest["verdict"] == "configured" and guest["instance"] == record.get("instance_id")
    return dict(guest, state=status["state"], error="", status=status, record=record, joined=used or configured)


def main():
    """The module."""
    module = AnsibleModule(
        argument_spec={
            "folder": {"type": "str", "required": True},
            "names": {"type": "list", "elements": "str", "required": True},
        },
        supports_check_mode=True,
    )
    folder = pc.folder_path(module.params["folder"])
    names = module.params["names"]
    module.exit_json(changed=False, folder=folder, vms={name: info(pc.VM(folder, name)) for name in names})


if __name__ == "__main__":
    main()
