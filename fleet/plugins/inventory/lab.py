# SPDX-License-Identifier: MIT OR Apache-2.0
"""Inventory plugin: the PCs of lab.yaml, as `imgbuild lab inventory` tells them."""

from __future__ import annotations

DOCUMENTATION = r"""
name: lab
short_description: The PCs of imgbuild's lab.yaml
version_added: 0.2.0
description:
  - Reads a lab file by asking C(imgbuild lab inventory), so that the lab is judged by the same rules as everywhere else.
  - Each PC is a host, with its VMs as variables. Each room is a group; so are the PCs that have a VM which is to be
    started, stopped, absent or retired (C(imgbuild_started) and so on).
  - The file is taken when it is called C(lab.yaml) or C(lab.yml), or says C(plugin) itself.
options:
  plugin:
    description: Makes Ansible hand the file to this plugin.
    type: str
    choices: [imgbuild.lab.lab]
  imgbuild:
    description: The program C(imgbuild), when it is not in E(PATH).
    type: str
    default: imgbuild
    env:
      - name: IMGBUILD
    ini:
      - section: imgbuild
        key: program
"""

EXAMPLES = r"""
# lab.yaml: this one line, and ansible-playbook -i lab.yaml takes the file
plugin: imgbuild.lab.lab
domain: lab.example.org
hosts:
  room-b:
    pcs: ["pc-b-[01:30].lab.example.org"]
vms:
  - name: vm[101:130]
    host: pc-b-[01:30]
"""

import json
import os
import subprocess

from ansible.errors import AnsibleParserError
from ansible.plugins.inventory import BaseInventoryPlugin

NAME = "imgbuild.lab.lab"


class InventoryModule(BaseInventoryPlugin):
    """A lab file, read by imgbuild."""

    NAME = NAME

    def verify_file(self, path):
        if not super().verify_file(path):
            return False
        if os.path.basename(path) in ("lab.yaml", "lab.yml"):
            return True
        try:
            with open(path, encoding="utf-8") as file:
                return any(line.split("#")[0].split() == ["plugin:", NAME] for line in file)
        except (OSError, UnicodeDecodeError):
            return False

    def parse(self, inventory, loader, path, cache=True):
        super().parse(inventory, loader, path, cache)
        self.set_options()
        lab = self.ask(path)
        hosts = lab["_meta"]["hostvars"]
        for name, variables in hosts.items():
            self.inventory.add_host(name)
            for key, value in variables.items():
                self.inventory.set_variable(name, key, value)
        for group, members in lab.items():
            if group in ("_meta", "all", "ungrouped"):
                continue
            self.inventory.add_group(group)
            for name in members.get("hosts", []):
                self.inventory.add_child(group, name)

    def ask(self, path):
        """What imgbuild says of the lab; its own words when it refuses."""
        program = self.get_option("imgbuild")
        words = [program, "lab", "inventory", "--lab", path, "--list"]
        try:
            done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        except OSError as error:
            raise AnsibleParserError(
                "cannot run %s: %s. Put imgbuild into PATH, or say where it is: IMGBUILD=/path/to/imgbuild" % (program, error.strerror)
            ) from error
        if done.returncode:
            raise AnsibleParserError("%s:\n%s" % (" ".join(words), done.stderr.strip()))
        for line in done.stderr.splitlines():
            self.display.warning(line)
        return json.loads(done.stdout)
