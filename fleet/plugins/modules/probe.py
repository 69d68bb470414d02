#!/usr/bin/python
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Tells whether a PC can run VMs, and what is missing."""

from __future__ import annotations

DOCUMENTATION = r"""
module: probe
short_description: Tell whether a PC can run VMs, and what is missing
version_added: 0.2.0
description:
  - Looks, and changes nothing. What keeps a PC from running VMs is in RV(missing), each with its remedy; what is worth
    knowing besides is in RV(remarks).
options:
  folder:
    description: The lab's folder on the PC. C({user}) is who is logged in there.
    type: str
    default: /var/tmp/imgbuild-{user}
  network:
    description: How VMs reach the network, C(bridge) by the PC's bridge, C(user) by QEMU itself.
    type: str
    choices: [bridge, user]
    default: bridge
  bridge:
    description: The bridge.
    type: str
    default: virbr0
  at_boot:
    description: Whether VMs are to start with the PC.
    type: bool
    default: false
  require_kvm:
    description: Whether a PC without a usable KVM counts as one that cannot. VMs are about ten times slower there.
    type: bool
    default: true
  memory_mib:
    description: What VMs that do not run yet need of the memory.
    type: int
    default: 0
  disk_bytes:
    description: What must be free on the disk of the folder, unless the base is there already.
    type: int
    default: 0
  base_sha256:
    description: The base.
    type: str
    default: ""
author:
  - The imgbuild project (@imgbuild)
"""

EXAMPLES = r"""
- name: Look at the PC
  imgbuild.lab.probe:
    network: user
    memory_mib: 2048
"""

RETURN = r"""
able:
  description: Whether nothing is missing.
  returned: always
  type: bool
missing:
  description: What is missing, each with its remedy.
  returned: always
  type: list
  elements: str
remarks:
  description: What does not keep VMs from running, but is worth knowing.
  returned: always
  type: list
  elements: str
facts:
  description: What was found.
  returned: always
  type: dict
"""

import os
import platform
import re
import shutil
import subprocess

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.imgbuild.lab.plugins.module_utils import pc

OLDEST_QEMU = (5, 2)
HELPERS = ("/usr/lib/qemu/qemu-bridge-helper", "/usr/libexec/qemu-bridge-helper")
BRIDGE_CONF = "/etc/qemu/bridge.conf"
# File systems whose bytes are on another machine.
REMOTE = ("nfs", "nfs4", "cifs", "smb3", "afs", "ceph", "9p", "fuse.sshfs", "fuse.glusterfs", "lustre", "beegfs")
MEMORY_ONLY = ("tmpfs", "ramfs")
MOUNTS = "/proc/self/mounts"


def said(*words):
    """What a program prints; nothing where it is not there or fails."""
    try:
        done = subprocess.run(
            words, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=20, check=False,
            env=dict(os.environ, LC_ALL="C"))
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def version(program):
    """The version of one of QEMU's programs, as text."""
    found = re.search(r"version (\d+(?:\.\d+)+)", said(program, "--version"))
    return found.group(1) if found else ""


def memory():
    """Total and available MiB."""
    with open("/proc/meminfo", encoding="ascii") as file:
        values = dict(re.findall(r"(?m)^(\w+):\s+(\d+) kB", file.read()))
    return int(values["MemTotal"]) // 1024, int(values.get("MemAvailable", values["MemFree"])) // 1024


def file_system(path):
    """What the folder is on, or will be: its type, and where that is mounted."""
    while not os.path.isdir(path):
        path = os.path.dirname(path)
    path = os.path.realpath(path)
    best = ("", "?")
    with open(MOUNTS, encoding="utf-8", errors="replace") as file:
        for line in file:
            _source, target, kind = line.split()[:3]
            target = re.sub(r"\\([0-7]{3})", lambda found: chr(int(found.group(1), 8)), target)
            # Of two that are mounted on one folder the later one is seen.
            if (path + "/").startswith(target.rstrip("/") + "/") and len(target) >= len(best[0]):
                best = (target, kind)
    disk = os.statvfs(path)
    return {"type": best[1], "mounted_on": best[0], "free_bytes": disk.f_bavail * disk.f_frsize, "remote": best[1] in REMOTE}


def kvm():
    """Why KVM is not usable; nothing when it is."""
    if not os.path.exists("/dev/kvm"):
        return "/dev/kvm is not there (is virtualisation switched off in the firmware setup?)"
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "no permission for /dev/kvm (sudo adduser %s kvm)" % pc.user_name()
    return ""


def bridge_allowed(bridge):
    """Whether the helper's file allows the bridge. It may not be readable for everybody."""
    try:
        with open(BRIDGE_CONF, encoding="utf-8") as file:
            lines = [line.split() for line in file]
    except PermissionError:
        return True
    except OSError:
        return False
    return any(words[:2] in (["allow", bridge], ["allow", "all"]) or words[:1] == ["include"] for words in lines)


def bridge_problems(bridge):
    """What keeps a user's QEMU from the PC's bridge."""
    problems = []
    if not os.path.exists("/sys/class/net/" + bridge):
        problems.append("no bridge %s (sudo virsh net-start default; or `network: user` for the room)" % bridge)
    helper = next((file for file in HELPERS if os.access(file, os.X_OK)), None)
    if helper is None:
        problems.append("no qemu-bridge-helper (sudo apt install qemu-system-common)")
    elif not os.stat(helper).st_mode & 0o4000 and "cap_net_admin" not in said("/usr/sbin/getcap", helper):
        problems.append("%s is not setuid root (sudo dpkg-statoverride --update --add root root 4755 %s)" % (helper, helper))
    if not bridge_allowed(bridge):
        problems.append("%s does not allow %s (add the line: allow %s)" % (BRIDGE_CONF, bridge, bridge))
    return problems


def services():
    """What can start a VM with the PC."""
    user = pc.user_name()
    environment = dict(os.environ)
    environment.setdefault("XDG_RUNTIME_DIR", "/run/user/%d" % os.geteuid())
    try:
        systemd = shutil.which("systemctl") and not subprocess.run(
            ["systemctl", "--user", "show-environment"], env=environment, capture_output=True, timeout=20, check=False).returncode
    except subprocess.TimeoutExpired:
        systemd = False
    lingers = said("loginctl", "show-user", user, "--property=Linger", "--value") == "yes"
    return {"systemd": bool(systemd), "lingers": lingers or os.path.exists("/var/lib/systemd/linger/" + user),
            "cron": shutil.which("crontab") is not None, "screen": shutil.which("screen") is not None}


def look(folder):
    """All that is looked at."""
    total, available = memory()
    why = kvm()
    with open("/etc/os-release", encoding="utf-8") as file:
        system = re.search(r'(?m)^PRETTY_NAME="?([^"\n]*)', file.read())
    return {
        "machine": platform.machine(), "system": system.group(1) if system else "", "user": pc.user_name(),
        "python": platform.python_version(), "cores": os.cpu_count(), "kvm": not why, "kvm_problem": why,
        "qemu": version("qemu-system-x86_64"), "qemu_img": version("qemu-img"),
        "memory_mib": total, "memory_available_mib": available, "folder": folder, "disk": file_system(folder),
        "home": file_system(pc.home())["type"],
        "programs": [name for name in ("aria2c", "curl", "wget", "passt", "perl") if shutil.which(name)], **services()}


def judge(facts, wanted):
    """What is missing, and what is only worth knowing."""
    missing, remarks = [], []
    if facts["machine"] != "x86_64":
        missing.append("it is %s, and VMs need x86-64" % facts["machine"])
    for name, key, package in (("qemu-system-x86_64", "qemu", "qemu-system-x86"), ("qemu-img", "qemu_img", "qemu-utils")):
        if not facts[key]:
            missing.append("%s is not installed (sudo apt install %s)" % (name, package))
        elif tuple(int(part) for part in facts[key].split(".")[:2]) < OLDEST_QEMU:
            missing.append("%s is version %s, and %d.%d or newer is needed" % (name, facts[key], *OLDEST_QEMU))
    if "perl" not in facts["programs"]:
        missing.append("perl is not installed (sudo apt install perl-base)")
    if facts["kvm_problem"]:
        (missing if wanted["require_kvm"] else remarks).append("KVM is not usable: " + facts["kvm_problem"])
    if wanted["network"] == "bridge":
        missing += bridge_problems(wanted["bridge"])
    if facts["memory_available_mib"] < wanted["memory_mib"]:
        missing.append("%d MiB of memory are free, and its VMs need %d" % (facts["memory_available_mib"], wanted["memory_mib"]))
    disk = facts["disk"]
    base = os.path.join(facts["folder"], "bases", wanted["base_sha256"] + ".qcow2")
    if disk["free_bytes"] < wanted["disk_bytes"] and not os.path.exists(base):
        missing.append("%s has %d MB free, and %d MB are needed" % (facts["folder"], disk["free_bytes"] // 10**6, wanted["disk_bytes"] // 10**6))
    if disk["remote"]:
        missing.append(
            "%s is on %s (%s), another machine's disk: give the room a `folder` on a local one, such as the default in /var/tmp"
            % (facts["folder"], disk["type"], disk["mounted_on"]))
    if disk["type"] in MEMORY_ONLY:
        remarks.append("%s is in memory (%s), and gone when the PC is switched off" % (facts["folder"], disk["type"]))
    if wanted["at_boot"] and not facts["cron"] and not (facts["systemd"] and facts["lingers"]):
        missing.append(
            "nothing can start VMs with the PC: %s may not linger (sudo loginctl enable-linger %s), and cron is not installed; "
            "or `start_at_boot: false` for the room" % (facts["user"], facts["user"]))
    if not {"aria2c", "curl", "wget"} & set(facts["programs"]):
        remarks.append("no aria2c, curl or wget: the base is copied through ssh")
    return missing, remarks


def main():
    """The module."""
    module = AnsibleModule(
        argument_spec={
            "folder": {"type": "str", "default": "/var/tmp/imgbuild-{user}"},
            "network": {"type": "str", "choices": ["bridge", "user"], "default": "bridge"},
            "bridge": {"type": "str", "default": "virbr0"},
            "at_boot": {"type": "bool", "default": False},
            "require_kvm": {"type": "bool", "default": True},
            "memory_mib": {"type": "int", "default": 0},
            "disk_bytes": {"type": "int", "default": 0},
            "base_sha256": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    facts = look(pc.folder_path(module.params["folder"]))
    missing, remarks = judge(facts, module.params)
    module.exit_json(changed=False, able=not missing, missing=missing, remarks=remarks, facts=facts)


if __name__ == "__main__":
    main()
