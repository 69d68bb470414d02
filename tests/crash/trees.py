"""The trees that are cut, each with the seed of the boot that is cut."""

import os
import pathlib
import shutil

CASES = pathlib.Path(__file__).resolve().parent.parent / "cases/steps"
PASSWORD = "Korrekt-Pferd-Batterie"
# A status port, without which the second stage waits two seconds for one.
PORT = {"sys/class/virtio-ports/vport0p1/name": "org.imgbuild.firstboot\n", "dev/vport0p1": ""}
# What makes the RSA key after the first stage, and where it says that it is to be made.
RSA_KEY_UNIT = "etc/systemd/system/firstboot-rsa-key.service"
RSA_KEY_DUE = "var/lib/firstboot/rsa-key-due"

NETWORK = """version: 2
ethernets:
  eth0:
    match: {macaddress: "52:54:00:00:00:2a"}
    addresses: [192.168.122.%(number)d/24]
    routes: [{to: default, via: 192.168.122.1}]
    nameservers: {addresses: [192.168.122.1], search: [lab.example]}
  tap120: {}
bridges:
  vmbr120:
    interfaces: [tap120]
    addresses: [10.120.0.%(number)d/24]
    parameters: {stp: false, forward-delay: 0}
"""

FIRST = {
    "meta-data": "instance-id: vm42-1\nlocal-hostname: vm42\n",
    "network-config": NETWORK % {"number": 42},
    "user-data": """#cloud-config
hostname: vm42
fqdn: vm42.lab.example
timezone: Europe/Paris
ssh_authorized_keys:
  - ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKZ5dSjAQ8VxZB3RjXhZf1VtWkD8S2Yq0x7m4nQpLwEr student@lab
ssh_pwauth: true
chpasswd:
  expire: false
  users: [{name: root, type: text, password: %s}]
ntp: {servers: [10.120.0.1], pools: [pool.lab.example]}
openvpn:
  vpn-interco:
    config: |
      client
      dev tap
      remote vpn.lab.example 1194 udp
      auth-user-pass
    user_pass: |
      vm42
      vpn-secret
""" % PASSWORD,
}

# Another name, another address, another key, another tunnel, the distribution's own time servers again.
SECOND = {
    "meta-data": "instance-id: vm43-1\nlocal-hostname: vm43\n",
    "network-config": NETWORK % {"number": 43},
    "user-data": """#cloud-config
hostname: vm43
fqdn: vm43.lab.example
timezone: Etc/UTC
ssh_authorized_keys:
  - ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBrxJh7pmXzX0mQ1dYlq6N1c2Z3v8uT5wKfEoDs9Lg0a teacher@lab
chpasswd:
  expire: false
  users: [{name: root, type: hash, password: "$6$saltsalt$notarealhashbutlongenoughforatest"}]
openvpn:
  vpn-other: |
    client
    dev tap
    remote vpn2.lab.example 1194 udp
""",
}

RETIRED = {
    "meta-data": "instance-id: vm42-2\nlocal-hostname: vm42\n",
    "user-data": "#cloud-config\nhostname: vm42\nfqdn: vm42.lab.example\nproxmox:\n  retired: true\n",
}


def put(folder, files, mode=0o644):
    for name, text in files.items():
        path = os.path.join(folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(path, mode)


def from_case(case, below, folder):
    """Takes a part of a case's tree, as the machine's root's."""
    shutil.copytree(CASES / case / "before" / below, os.path.join(folder, below), symlinks=True, dirs_exist_ok=True)


def copy(source, target):
    """A tree with its modes and owners."""
    shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True)
    for folder, folders, files in os.walk(source):
        for name in ["."] + folders + files:
            path = os.path.join(folder, name)
            about = os.lstat(path)
            os.chown(os.path.join(target, os.path.relpath(path, source)), about.st_uid, about.st_gid, follow_symlinks=False)


def sealed(folder, _boot):
    """A clone of the sealed base before its first boot."""
    for case, below in (("fresh-clone", ""), ("time-servers", "etc/chrony"), ("rrd-pve9", "var")):
        from_case(case, below, folder)
    for name in os.listdir(os.path.join(folder, "etc/ssh")):
        if name.startswith("ssh_host_"):
            os.remove(os.path.join(folder, "etc/ssh", name))
    os.chmod(os.path.join(folder, "etc/shadow"), 0o640)
    os.chmod(os.path.join(folder, "root/.ssh"), 0o700)
    put(folder, {"etc/passwd": "root:x:0:0:root:/root:/bin/bash\n", RSA_KEY_UNIT: "", **PORT})
    return FIRST


def second(folder, boot):
    """A configured machine that gets another seed."""
    boot(folder, sealed(folder, boot))
    return SECOND


def retired(folder, boot):
    """A configured member that was taken out of its cluster."""
    boot(folder, sealed(folder, boot))
    for below in ("etc/corosync", "var/lib/pve-cluster"):
        from_case("retired-node", below, folder)
    return RETIRED


ALL = {"sealed": sealed, "second": second, "retired": retired}
