"""`ha-manager`: resources, and what ties them to nodes: groups (PVE 8) or rules (PVE 9).

PVE_STANDIN_PVE is 8 or 9 (the default). Nothing is started or moved anywhere.
"""

import json
import os
import re
import sys

from . import api, cli, env
from .sections import Failed, Kind, Locked, Sections, main as run, need_quorum, options_of, put, split

RESOURCES, GROUPS, RULES = "/etc/pve/ha/resources.cfg", "/etc/pve/ha/groups.cfg", "/etc/pve/ha/rules.cfg"
RESOURCE = Kind(optional=("group", "state", "comment", "failback", "max_restart", "max_relocate"), switches=("failback",))
GROUP = Kind(required=("nodes",), optional=("comment", "nofailback", "restricted"), switches=("nofailback", "restricted"))
RULE = {
    "node-affinity": Kind(required=("nodes", "resources"), optional=("strict", "disable", "comment"), switches=("strict", "disable")),
    "resource-affinity": Kind(required=("affinity", "resources"), optional=("disable", "comment"), switches=("disable",)),
}
CHANGE = {"digest": str, "delete": str}


def version():
    return int(os.environ.get("PVE_STANDIN_PVE", "9"))


def resources():
    return Sections(RESOURCES, {"vm": RESOURCE, "ct": RESOURCE})


def groups():
    return Sections(GROUPS, {"group": GROUP})


def rules():
    return Sections(RULES, RULE, ordered_lists=True)


def sid_of(word):
    """`vm:100` or `ct:100`."""
    if not re.fullmatch(r"(vm|ct):\d+", word):
        raise Failed("unable to parse service id '%s'" % word)
    return word


def entry_of(found, sid):
    kind, _, number = sid.partition(":")
    entry = found.entries.get(number)
    return entry if entry and entry["type"] == kind else None


# -- resources

def config(words):
    options_of(words, {"type": str}, "ha-manager config  [OPTIONS]", ())
    show(sorted(("%s:%s" % (entry["type"], number), entry) for number, entry in resources().entries.items()), "")


def show(entries, word):
    for name, entry in entries:
        print(word + name)
        for key in sorted(entry):
            if key not in ("type", "digest"):
                print("\t%s %s" % (key, entry[key]))
        print()


def add(words):
    usage = "ha-manager add <sid> [OPTIONS]"
    known = {"group": str, "state": str, "comment": str, "max_restart": str, "max_relocate": str, "type": str, "failback": bool}
    (sid,), options = options_of(words, known, usage, ("sid",))
    sid = sid_of(sid)
    need_quorum()
    with Locked("domain-ha", "create resource failed"):
        found = resources()
        if entry_of(found, sid):
            raise Failed("resource ID '%s' already defined" % sid)
        if "group" in options and options["group"] not in groups().entries:
            raise Failed("HA group '%s' does not exist" % options["group"])
        kind, _, number = sid.partition(":")
        found.entries[number] = {"type": kind}
        put(found.entries[number], RESOURCE, options)
        found.save()


# -- groups

def no_groups(what, code=255):
    if version() >= 9:
        raise Failed("cannot %s: ha groups have been migrated to rules" % what, code)


def groupconfig(words):
    options_of(words, {}, "ha-manager groupconfig", ())
    no_groups("index groups")
    show(sorted(groups().entries.items()), "group: ")


GROUP_OPTIONS = {"nodes": str, "comment": str, "nofailback": bool, "restricted": bool}


def groupadd(words):
    (name,), options = options_of(words, GROUP_OPTIONS, "ha-manager groupadd <group> --nodes <string> [OPTIONS]", ("group",))
    if "nodes" not in options:
        raise cli.Refused("400 not enough arguments\nha-manager groupadd <group> --nodes <string> [OPTIONS]\n")
    no_groups("create group", 2)
    need_quorum()
    with Locked("domain-ha", "create ha group failed"):
        found = groups()
        if name in found.entries:
            raise Failed("ha group ID '%s' already defined" % name)
        found.entries[name] = {"type": "group"}
        put(found.entries[name], GROUP, options)
        found.save()


def groupset(words):
    (name,), options = options_of(words, dict(GROUP_OPTIONS, **CHANGE), "ha-manager groupset <group> [OPTIONS]", ("group",))
    no_groups("update group")
    digest, delete = options.pop("digest", None), split(options.pop("delete", ""))
    with Locked("domain-ha", "update ha group failed"):
        found = groups()
        found.assert_unchanged(digest)
        if name not in found.entries:
            raise Failed("no such ha group '%s'" % name)
        found.change(name, options, delete)
        found.save()


# -- rules

def rules_of(words, usage):
    known = {"type": str, "resource": str, "output-format": str, "noborder": bool, "noheader": bool, "quiet": bool,
             "human-readable": bool}
    _, options = options_of(words, known, usage, ())
    found = rules()
    rows = []
    for order, (name, entry) in enumerate(found.entries.items(), 1):
        if options.get("type", entry["type"]) != entry["type"]:
            continue
        if "resource" in options and options["resource"] not in split(entry.get("resources", "")):
            continue
        row = dict(entry, rule=name, digest=found.digest, order=order)
        if "disable" in row:
            row["disable"] = 1
        if entry["type"] == "node-affinity":
            row["strict"] = int(entry.get("strict", 0))
        rows.append(row)
    return rows, options


def rules_list(words):
    rows, options = rules_of(words, "ha-manager rules list  [OPTIONS]")
    present(rows, ["rule"], options)


def rules_config(words):
    rows, options = rules_of(words, "ha-manager rules config  [OPTIONS]")
    for row in rows:
        row["enabled"], row["state"] = int("disable" not in row), "in use"
    present(rows, ["enabled", "state", "rule", "type", "resources", "comment"], options)


def present(rows, columns, options):
    """A table with borders of ASCII, as for an output that is no terminal with UTF-8; or JSON."""
    form = options.get("output-format", "text")
    if options.get("quiet"):
        return
    if form.startswith("json"):
        pretty = form == "json-pretty"
        text = json.dumps(rows, sort_keys=True, indent=3 if pretty else None, separators=(",", " : " if pretty else ":"))
        print(text)
        return
    if not rows:
        return
    rows = sorted(rows, key=lambda row: str(row.get(columns[0], "")))
    cells = [[str(row.get(name, "")) for name in columns] for row in rows]
    widths = [max(len(line[at]) for line in [columns] + cells) for at in range(len(columns))]
    border = not options.get("noborder")

    def line(words):
        if border:
            return "| " + " | ".join(word.ljust(width) for word, width in zip(words, widths)) + " |"
        return " ".join([word.ljust(width) for word, width in zip(words[:-1], widths)] + [words[-1]])

    def rule(sign):
        return "+" + "+".join(sign * (width + 2) for width in widths) + "+"

    out = [rule("-")] * border
    if not options.get("noheader"):
        out += [line(columns)] + [rule("=")] * border
    for at, words in enumerate(cells):
        out += [rule("-")] * (border and at > 0) + [line(words)]
    print("\n".join(out + [rule("-")] * border))


RULE_OPTIONS = {"nodes": str, "resources": str, "comment": str, "affinity": str, "strict": bool, "disable": bool}


def check_rule(found, name, options):
    """Resources must be under HA, nodes must exist, and a resource is in one rule at most."""
    if "resources" in options:
        managed = resources()
        missing = [sid for sid in sorted(split(options["resources"])) if not entry_of(managed, sid_of(sid))]
        if missing:
            raise Failed("cannot use unmanaged resource(s) %s." % ", ".join(missing))
    if "nodes" in options:
        known = set(api.read_conf()["nodelist"]) | {env.nodename()}
        missing = [node for node in sorted(word.partition(":")[0] for word in split(options["nodes"])) if node not in known]
        if missing:
            raise Failed("cannot use non-existent node(s) %s." % ", ".join(missing))
    mine = set(split(options.get("resources", found.entries.get(name, {}).get("resources", ""))))
    for other, entry in found.entries.items():
        if other != name and entry["type"] == "node-affinity" and "disable" not in entry and mine & set(split(entry["resources"])):
            raise Failed("Rule '%s' is invalid.\nresources: resource '%s' is already used in another node affinity rule"
                         % (name, sorted(mine & set(split(entry["resources"])))[0]))


def rules_add(words):
    usage = "ha-manager rules add <type> <rule> --resources <string> [OPTIONS]"
    (kind, name), options = options_of(words, RULE_OPTIONS, usage, ("type", "rule"))
    if kind not in RULE:
        raise cli.Refused("400 Parameter verification failed.\ntype: value '%s' does not have a value in the enumeration"
                          " 'node-affinity, resource-affinity'\n%s\n" % (kind, usage))
    need_quorum()
    for key in RULE[kind].required:
        if key not in options:
            raise Failed("missing value for required option '%s'" % key)
    with Locked("domain-ha", "create ha rule failed"):
        found = rules()
        if name in found.entries:
            raise Failed("HA rule '%s' already defined" % name)
        check_rule(found, name, options)
        found.entries[name] = {"type": kind}
        put(found.entries[name], RULE[kind], options)
        found.save()


def rules_set(words):
    usage = "ha-manager rules set <type> <rule> [OPTIONS]"
    (_, name), options = options_of(words, dict(RULE_OPTIONS, **CHANGE), usage, ("type", "rule"))
    digest, delete = options.pop("digest", None), split(options.pop("delete", ""))
    with Locked("domain-ha", "update HA rules failed"):
        found = rules()
        found.assert_unchanged(digest)
        if name not in found.entries:
            raise Failed("HA rule '%s' does not exist" % name)
        check_rule(found, name, options)
        found.change(name, options, delete)
        found.save()


COMMANDS = {"config": config, "add": add, "groupconfig": groupconfig, "groupadd": groupadd, "groupset": groupset}
RULES_COMMANDS = {"list": rules_list, "config": rules_config, "add": rules_add, "set": rules_set}


def command(words):
    table, prefix = COMMANDS, "ha-manager"
    if words[:1] == ["rules"] and version() >= 9:
        table, prefix, words = RULES_COMMANDS, "ha-manager rules", words[1:]
    if not words or words[0] not in table:
        raise cli.Refused("ERROR: %s\n       %s <COMMAND> [ARGS] [OPTIONS]\n" % (
            "unknown command '%s %s'" % (prefix, words[0]) if words else "no command specified", prefix))
    return table[words[0]](words[1:])


def main():
    return run(command, sys.argv[1:])
