"""The root folder of a place: what lies on its disk, and what is mounted over it."""

import json
import os
import shutil
import socket
import subprocess

from . import linux

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# Where a place has the host's /usr and this folder.
HOST, STANDIN = "/host/usr", "/standin"
# The first one that has a file wins.
LAYERS = (STANDIN + "/place-usr", STANDIN + "/files/usr", HOST)
LOCKS = "/locks"
FOLDERS = ("dev", "etc/corosync", "etc/pve", "etc/pve-standin", "etc/ssh", "etc/ssl", "home", "host/usr", "locks", "mnt", "proc",
           "root/.ssh", "run", "standin", "sys", "tmp", "usr", "var/lib/corosync", "var/lib/pve-cluster",
           "var/log/pve/tasks", "var/log/standin", "var/tmp", ".place")
SETTINGS = ".place/settings.json"
# What programs expect to be there, and nothing that a program could do harm with.
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")


def write(root, name, text, mode=0o644):
    file = os.path.join(root, name)
    os.makedirs(os.path.dirname(file), exist_ok=True)
    with open(file, "w", encoding="utf-8") as out:
        out.write(text)
    os.chmod(file, mode)


def settings(root):
    with open(os.path.join(root, SETTINGS), encoding="utf-8") as file:
        return json.load(file)


def make(root, name, address, password, chosen):
    """A disk on which the packages were installed and nothing ever ran."""
    for folder in FOLDERS:
        os.makedirs(os.path.join(root, folder), exist_ok=True)
    os.chmod(os.path.join(root, "root"), 0o700)
    for link, target in (("var/run", "/run"), ("var/lock", "/run/lock")):
        os.symlink(target, os.path.join(root, link))
    for folder in ("bin", "sbin", "lib", "lib32", "lib64"):
        if os.path.islink("/" + folder):
            os.symlink(os.readlink("/" + folder).lstrip("/"), os.path.join(root, folder))
        elif os.path.isdir("/" + folder):
            os.mkdir(os.path.join(root, folder))
    hashed = subprocess.run(["openssl", "passwd", "-6", "-stdin"], input=password + "\n", check=True,
                            capture_output=True, text=True).stdout.strip()
    write(root, "etc/hostname", name + "\n")
    write(root, "etc/hosts", "127.0.0.1 localhost\n%s %s.lab.test %s\n" % (address, name, name))
    write(root, "etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n")
    write(root, "etc/group", "root:x:0:\nnogroup:x:65534:\n")
    write(root, "etc/shadow", "root:%s:20000:0:99999:7:::\n" % hashed, 0o640)
    write(root, "etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n")
    write(root, "etc/ssh/ssh_host_rsa_key.pub", "ssh-rsa AAAA%s root@%s\n" % (name, name))
    for file in ("etc/ld.so.cache", "etc/ssl/openssl.cnf", "etc/localtime"):
        if os.path.exists("/" + file):
            shutil.copyfile("/" + file, os.path.join(root, file))
    if os.path.isdir("/etc/alternatives"):
        shutil.copytree("/etc/alternatives", os.path.join(root, "etc/alternatives"), symlinks=True)
    # Last: a folder with settings is a whole one.
    write(root, SETTINGS, json.dumps(dict(chosen, name=name, address=address), indent=1) + "\n")


def farm(target, layers, outside):
    """Fills a folder with links into the layers; a folder that two layers have becomes a real one.

    `outside` maps a path of the place to where it is now, before the place is the root folder.
    """
    os.makedirs(target, exist_ok=True)
    owners = {}
    for layer in layers:
        for entry in os.listdir(outside(layer)):
            owners.setdefault(entry, []).append(layer)
    for entry, where in owners.items():
        paths = [layer + "/" + entry for layer in where]
        if len(where) > 1 and all(os.path.isdir(outside(path)) for path in paths):
            farm(target + "/" + entry, paths, outside)
        else:
            os.symlink(paths[0], target + "/" + entry)


def enter(root):
    """Mounts everything and makes `root` the root folder; in new namespaces, as process 1."""
    chosen = settings(root)
    linux.mount(None, "/", None, linux.MS_REC | linux.MS_PRIVATE)
    linux.mount(root, root, None, linux.MS_BIND | linux.MS_REC)

    def inside(name):
        return root + name

    def tmpfs(name, mode, devices=False):
        flags = linux.MS_NOSUID | (0 if devices else linux.MS_NODEV)
        linux.mount("place", inside(name), "tmpfs", flags, "mode=" + mode)

    linux.bind("/usr", inside(HOST))
    linux.bind(HERE, inside(STANDIN))
    for folder in ("bin", "sbin", "lib", "lib32", "lib64"):
        if os.path.isdir(inside("/" + folder)) and not os.path.islink(inside("/" + folder)):
            linux.bind("/" + folder, inside("/" + folder))
    # No disk of the host is in there: a program under test may be one that grows its disk.
    tmpfs("/dev", "0755", devices=True)
    for device in DEVICES:
        with open(inside("/dev/" + device), "w", encoding="ascii"):
            pass
        linux.bind("/dev/" + device, inside("/dev/" + device), read_only=False)
    for link, target in (("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")):
        os.symlink(target, inside("/dev/" + link))
    os.mkdir(inside("/dev/shm"), 0o1777)
    tmpfs("/sys", "0555")
    linux.mount("proc", inside("/proc"), "proc", linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC)
    tmpfs("/usr", "0755")
    farm(inside("/usr"), LAYERS, inside)
    tmpfs("/run", "0755")
    tmpfs("/tmp", "1777")
    os.makedirs(inside("/run/lock"))
    for source, target in chosen["binds"].items():
        target = inside(target)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        if os.path.islink(target):
            os.unlink(target)
        if os.path.isdir(source):
            os.makedirs(target, exist_ok=True)
        elif not os.path.exists(target):
            with open(target, "w", encoding="ascii"):
                pass
        linux.bind(source, target)
    if chosen["locks"]:
        linux.bind(chosen["locks"], inside(LOCKS), read_only=False)
    linux.pivot(root)
    # As systemd at a boot: what the disk says, not what the folder was made with.
    with open("/etc/hostname", encoding="ascii") as file:
        socket.sethostname(file.read().strip())
