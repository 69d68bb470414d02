"""The command line of pvecm."""

import os
import re
import sys

from . import env, ipc

USAGE = {
    "add": "pvecm add <hostname> [OPTIONS]",
    "create": "pvecm create <clustername> [OPTIONS]",
    "delnode": "pvecm delnode <node> [OPTIONS]",
    "expected": "pvecm expected <expected>",
    "nodes": "pvecm nodes",
    "status": "pvecm status",
    "updatecerts": "pvecm updatecerts  [OPTIONS]",
}
LINKS = {"link%d" % number: str for number in range(8)}
OPTIONS = {
    "add": {"fingerprint": str, "force": bool, "nodeid": int, "votes": int, "use_ssh": bool, **LINKS},
    "create": {"nodeid": int, "votes": int, **LINKS},
    "updatecerts": {"force": bool, "silent": bool, "unmerge-known-hosts": bool},
}
ARGUMENT = {"add": "hostname", "create": "clustername", "delnode": "node", "expected": "expected"}
FINGERPRINT = re.compile(r"(?:[A-Z0-9][A-Z0-9]:){31}[A-Z0-9][A-Z0-9]")
FALSE = ("0", "no", "off", "false")


class Refused(Exception):
    """Ends pvecm before any work, with this text on standard error and this exit code."""

    def __init__(self, text, code=255):
        super().__init__(text)
        self.text, self.code = text, code


def parse(command, words):
    """Returns the options by name, the argument among them."""
    known, usage = OPTIONS.get(command, {}), USAGE[command]
    options, rest, unknown = {}, [], []
    words = list(words)
    while words:
        word = words.pop(0)
        if not word.startswith("-") or word == "-":
            rest.append(word)
            continue
        name, equals, value = word.lstrip("-").partition("=")
        kind = known.get(name)
        if kind is None:
            unknown.append("Unknown option: %s\n" % name)
        elif kind is bool:
            # The value is optional: --force, --force 1, --force=1.
            if not equals and words and words[0].lower() in FALSE + ("1", "yes", "on", "true"):
                value, equals = words.pop(0), "="
            options[name] = not equals or value.lower() not in FALSE
        elif not equals and not words:
            unknown.append("Option %s requires an argument\n" % name)
        else:
            options[name] = value if equals else words.pop(0)
    if unknown:
        raise Refused("%s400 unable to parse option\n%s\n" % ("".join(unknown), usage))
    wanted = 1 if command in ARGUMENT else 0
    if len(rest) != wanted:
        raise Refused("400 %s arguments\n%s\n" % ("not enough" if len(rest) < wanted else "too many", usage))
    if wanted:
        options[ARGUMENT[command]] = rest[0]
    problems = []
    if "fingerprint" in options and not FINGERPRINT.fullmatch(options["fingerprint"]):
        problems.append("fingerprint: value does not match the regex pattern\n")
    for name in ("nodeid", "votes", "expected"):
        if name in options and not options[name].isdigit():
            problems.append("%s: type check ('integer') failed - got '%s'\n" % (name, options[name]))
    if problems:
        raise Refused("400 Parameter verification failed.\n%s%s\n" % ("".join(problems), usage))
    return options


def links(options):
    """The addresses of --link0 to --link7 by number."""
    found = {}
    for number in range(8):
        if "link%d" % number in options:
            found[number] = options["link%d" % number].partition(",")[0].removeprefix("address=")
    return found


def check_pmxcfs():
    """Every command talks to pmxcfs first."""
    try:
        return ipc.call(env.run("pmxcfs.sock"), {"op": "state"})
    except OSError:
        raise Refused("ipcc_send_rec[1] failed: Connection refused\n"
                      "ipcc_send_rec[2] failed: Connection refused\n"
                      "ipcc_send_rec[3] failed: Connection refused\n"
                      "Unable to load access control list: Connection refused\n", 111)


def own_address(node):
    """The address of the node's name; the refusals are those of the real one."""
    if not env.lookup(node):
        raise Refused("hostname lookup '%s' failed - failed to get address info for: %s:"
                      " Temporary failure in name resolution\n" % (node, node), 11)
    address = env.node_address(node)
    if address is None:
        raise Refused("address lookup for '%s' did not find any IP address\n" % node)
    return address


def add(options):
    here = os.getcwd()
    mount = env.path("/etc/pve")
    if here == mount or here.startswith(mount + "/"):
        raise Refused("Navigate out of /etc/pve before running 'pvecm add', for example by running 'cd'.\n")
    node = env.nodename()
    address = own_address(node)
    if options.get("use_ssh"):
        raise Refused("the stand-in joins through the API only, not with --use_ssh\n")
    from . import join, tasks
    tasks.run("clusterjoin", "", node, lambda task: join.run(task, options, node, address))
    return 0


def main():
    command = sys.argv[1] if len(sys.argv) > 1 else ""
    try:
        check_pmxcfs()
        if command not in USAGE:
            raise Refused("ERROR: %s\n%s" % (
                "unknown command 'pvecm %s'" % command if command else "no command specified",
                "".join("       %s\n" % usage for usage in USAGE.values())))
        options = parse(command, sys.argv[2:])
        if command == "add":
            return add(options)
        from . import cluster
        return getattr(cluster, command)(options)
    except Refused as refused:
        sys.stderr.write(refused.text)
        return refused.code
