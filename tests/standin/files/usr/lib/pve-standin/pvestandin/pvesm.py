"""`pvesm`: the storages of the cluster, as far as an NFS storage for clones needs it."""

import os
import sys

from . import cli, env, switches
from .sections import Failed, Kind, Locked, Sections, main as run, options_of, put, split

FILE = "/etc/pve/storage.cfg"
COMMON = ("nodes", "disable", "prune-backups", "content", "format", "preallocation", "create-base-path", "create-subdirs")
KINDS = {
    "dir": Kind(required=("path",), optional=COMMON + ("shared", "is_mountpoint"), fixed=("path",), switches=("disable", "shared")),
    "nfs": Kind(required=("export", "path", "server"), optional=COMMON + ("options",), fixed=("export", "path", "server"),
                switches=("disable",)),
}
# What `add` and `set` know on their command lines, whatever the type. `export` and
# `path` are fixed in all types and thus unknown to `set`; `server` is not in all of them.
SET = {name: str for name in COMMON + ("options", "server", "shared", "digest", "delete")}
SET["disable"] = bool
ADD = dict(SET, export=str, path=str)
ADD.pop("digest")
ADD.pop("delete")
USAGE = {
    "status": "pvesm status  [OPTIONS]",
    "add": "pvesm add <type> <storage> [OPTIONS]",
    "set": "pvesm set <storage> [OPTIONS]",
    "remove": "pvesm remove <storage>",
}


def load():
    found = Sections(FILE, KINDS)
    # What every installation has, in the file or not.
    if found.entries.get("local", {}).get("type") != "dir":
        found.entries = {"local": {"type": "dir", "path": "/var/lib/vz", "content": "iso,vztmpl,backup"}, **found.entries}
    return found


def add(words):
    (kind_name, name), options = options_of(words, ADD, USAGE["add"], ("type", "storage"))
    kind = KINDS.get(kind_name)
    if kind is None:
        raise cli.Refused("400 Parameter verification failed.\ntype: value '%s' does not have a value in the enumeration"
                          " 'dir, nfs'\n%s\n" % (kind_name, USAGE["add"]))
    if kind_name == "nfs":
        options.setdefault("path", "/mnt/pve/" + name)
    for key in options:
        if key not in kind.names():
            raise Failed("unexpected property '%s'" % key)
    for key in kind.required:
        if key not in options:
            raise Failed("missing value for required option '%s'" % key)
    with Locked("file-storage_cfg", "create storage failed"):
        found = load()
        if name in found.entries:
            raise Failed("storage ID '%s' already defined" % name)
        entry = {"type": kind_name}
        put(entry, kind, options)
        entry.setdefault("content", "images")
        found.entries[name] = entry
        # The real one mounts it here, to see that it works.
        if here(entry) and switches.get("nfs_down"):
            raise Failed("storage '%s' is not online" % name, 1)
        found.save()


def change(words):
    (name,), options = options_of(words, SET, USAGE["set"], ("storage",))
    digest, delete = options.pop("digest", None), split(options.pop("delete", ""))
    with Locked("file-storage_cfg", "update storage failed"):
        found = load()
        found.assert_unchanged(digest)
        if name not in found.entries:
            raise Failed("storage '%s' does not exist" % name)
        found.change(name, options, delete)
        found.save()


def remove(words):
    (name,), _ = options_of(words, {}, USAGE["remove"], ("storage",))
    with Locked("file-storage_cfg", "delete storage failed"):
        found = load()
        if name not in found.entries:
            raise Failed("storage '%s' does not exist" % name)
        del found.entries[name]
        found.save()


def here(entry):
    """Whether the storage is meant for this node and not switched off."""
    nodes = split(entry.get("nodes", ""))
    return "disable" not in entry and (not nodes or env.nodename() in nodes)


def status(words):
    _, options = options_of(words, {"storage": str, "content": str, "enabled": bool, "target": str}, USAGE["status"], ())
    rows = []
    for name, entry in sorted(load().entries.items()):
        nodes = split(entry.get("nodes", ""))
        if options.get("storage", name) != name or (nodes and env.nodename() not in nodes):
            continue
        if "disable" in entry and options.get("enabled"):
            continue
        rows.append((name, entry["type"], state_of(entry), sizes(entry)))
    width = max([len(row[0]) for row in rows] + [0]) + 1
    print("%-*s %10s %10s %15s %15s %15s %8s" % (width, "Name", "Type", "Status", "Total (KiB)", "Used (KiB)",
                                                "Available (KiB)", "%"))
    for name, kind, state, (total, used, free) in rows:
        part = "% 8s" % "N/A" if state == "disabled" else "% 7.2f%%" % (used * 100 / total if total else 0)
        print("%-*s %10s %10s %15d %15d %15d %s" % (width, name, kind, state, total, used, free, part))


def state_of(entry):
    if "disable" in entry:
        return "disabled"
    return "inactive" if entry["type"] == "nfs" and switches.get("nfs_down") else "active"


def sizes(entry):
    """In KiB; those of the root folder, where a real one shows the mounted storage's."""
    if state_of(entry) != "active":
        return 0, 0, 0
    found = os.statvfs(env.path("/"))
    total, free = found.f_blocks * found.f_frsize // 1024, found.f_bavail * found.f_frsize // 1024
    return total, total - free, free


COMMANDS = {"add": add, "set": change, "remove": remove, "status": status}


def command(words):
    if not words or words[0] not in COMMANDS:
        raise cli.Refused("ERROR: %s\n%s" % ("unknown command 'pvesm %s'" % words[0] if words else "no command specified",
                                             "".join("       %s\n" % usage for usage in USAGE.values())))
    return COMMANDS[words[0]](words[1:])


def main():
    return run(command, sys.argv[1:])
