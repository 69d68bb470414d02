"""Section files as Proxmox has many: `type: id`, then one tabbed property a line.

Which properties a type has, which may be left out and which are fixed once they are set
comes from a `Kind`; the words of errors are those of the real one's sources.
"""

import hashlib
import os
import random
import re

from . import api, cli, env, ipc


class Kind:
    """A type of section: the properties by name, each required, optional or fixed."""

    def __init__(self, required=(), optional=(), fixed=(), switches=()):
        self.required, self.optional, self.fixed = required, optional, fixed
        # Those that stand for true without a value, or with 1.
        self.switches = switches

    def names(self):
        return set(self.required) | set(self.optional)


class Lists:
    """How a property with several values is written."""

    # The real one keeps these in a hash: the order in the file is nobody's promise.
    SHUFFLED = ("content", "nodes")

    @classmethod
    def write(cls, name, value, ordered):
        words = split(value)
        if ordered:
            return ",".join(sorted(words))
        random.shuffle(words)
        return ",".join(words)


def split(value):
    return list(dict.fromkeys(word for word in re.split(r"[\s,;]+", value) if word))


class Sections:
    """One file: section names with their type and properties, in order."""

    def __init__(self, file, kinds, ordered_lists=False):
        self.file, self.kinds, self.ordered = file, kinds, ordered_lists
        self.entries = {}
        try:
            text = env.read(env.path(file))
        except FileNotFoundError:
            text = ""
        self.digest = hashlib.sha1(text.encode("utf-8", "surrogateescape")).hexdigest()
        entry = None
        for line in text.splitlines():
            head = re.fullmatch(r"(\S+):\s*(\S+)\s*", line)
            inner = re.fullmatch(r"\s+(\S+)(?:\s+(.*\S))?\s*", line)
            if head:
                entry = {"type": head.group(1).lower()}
                self.entries[head.group(2)] = entry
            elif inner and entry is not None:
                entry[inner.group(1)] = inner.group(2) or "1"
            elif not line.strip():
                entry = None

    def text(self):
        parts = []
        for name, entry in self.entries.items():
            kind = self.kinds.get(entry["type"])
            lines = ["%s: %s\n" % (entry["type"], name)]
            rest = [key for key in entry if key != "type"]
            first = [key for key in ("comment", "disable") if key in rest]
            required = sorted(key for key in rest if kind and key in kind.required and key not in first)
            for key in first + required + sorted(set(rest) - set(first) - set(required)):
                lines.append(self.line(key, entry[key], kind))
            parts.append("".join(lines))
        return "".join(part + "\n" for part in parts)

    def line(self, key, value, kind):
        if key == "disable":
            return "\tdisable\n"
        if key in Lists.SHUFFLED or key == "resources":
            value = Lists.write(key, value, self.ordered or key == "resources")
        return "\t%s %s\n" % (key, value)

    def save(self):
        env.write(env.path(self.file), self.text(), 0o640)
        # The lock may go to another node now: it must find this.
        ipc.call(env.run("pmxcfs.sock"), {"op": "sync"}, 120)

    def assert_unchanged(self, digest):
        if digest and digest != self.digest:
            raise Failed("detected modified configuration - file changed by other user? Try again.")

    def change(self, name, options, delete):
        """As `set` does it."""
        entry = self.entries[name]
        kind = self.kinds[entry["type"]]
        for key in options:
            if key in kind.fixed:
                raise Failed("can't change value of fixed parameter '%s'" % key)
            if key not in kind.names():
                raise Failed("unexpected property '%s'" % key)
        for key in delete:
            if key not in kind.names():
                raise Failed("no such option '%s'" % key)
            if key in kind.required:
                raise Failed("unable to delete required option '%s'" % key)
            if key in kind.fixed:
                raise Failed("unable to delete fixed option '%s'" % key)
            entry.pop(key, None)
        put(entry, kind, options)


def put(entry, kind, options):
    for key, value in options.items():
        if key in kind.switches:
            if value in (True, "1"):
                entry[key] = "1"
            elif key == "disable":
                entry.pop(key, None)
            else:
                entry[key] = "0"
        else:
            entry[key] = value


class Failed(Exception):
    """Ends the command with this text on standard error.

    The real exit code is Perl's, whatever the last failed system call left; 255 where it was not seen.
    """

    def __init__(self, text, code=255):
        super().__init__(text)
        self.code = code


class Locked:
    """The cluster's lock around a change; `doing` stands in front of each error."""

    def __init__(self, lock, doing):
        self.lock, self.doing = api.Lock(lock, loud=True), doing

    def __enter__(self):
        # Writes of other nodes must be here before anything is read.
        if not ipc.call(env.run("pmxcfs.sock"), {"op": "sync"}, 120)["quorate"]:
            raise Failed("%s: cfs-lock '%s' error: no quorum!" % (self.doing, self.lock.name))
        try:
            self.lock.__enter__()
        except api.ApiError as error:
            raise Failed("%s: %s" % (self.doing, error.text.rstrip("\n")))
        ipc.call(env.run("pmxcfs.sock"), {"op": "sync"}, 120)

    def __exit__(self, kind, error, trace):
        self.lock.__exit__(kind, error, trace)
        if isinstance(error, Failed):
            raise Failed("%s: %s" % (self.doing, error), error.code) from None


def need_quorum():
    if not ipc.call(env.run("pmxcfs.sock"), {"op": "state"})["quorate"]:
        raise Failed("cluster not ready - no quorum?")


def options_of(words, known, usage, arguments):
    """Arguments and options of a command; the refusals are those of pvecm's transcripts."""
    options, rest, unknown = {}, [], []
    words = list(words)
    while words:
        word = words.pop(0)
        if not word.startswith("-") or word == "-":
            rest.append(word)
            continue
        name, equals, value = word.lstrip("-").partition("=")
        if name not in known:
            unknown.append("Unknown option: %s\n" % name)
            # What follows is its value, as likely as not; the real one takes it as an argument.
        elif known[name] is bool:
            if not equals and words and words[0].lower() in cli.FALSE + ("1", "yes", "on", "true"):
                value, equals = words.pop(0), "="
            options[name] = not equals or value.lower() not in cli.FALSE
        elif not equals and not words:
            unknown.append("Option %s requires an argument\n" % name)
        else:
            options[name] = value if equals else words.pop(0)
    if unknown:
        raise cli.Refused("%s400 unable to parse option\n%s\n" % ("".join(unknown), usage))
    if len(rest) != len(arguments):
        raise cli.Refused("400 %s arguments\n%s\n" % ("not enough" if len(rest) < len(arguments) else "too many", usage))
    return rest, options


def main(function, words):
    """Runs a command line; the exit code."""
    import sys
    try:
        cli.check_pmxcfs()
        return function(words) or 0
    except Failed as failed:
        sys.stderr.write("%s\n" % failed)
        return failed.code
    except cli.Refused as refused:
        sys.stderr.write(refused.text)
        return refused.code


def exists(file):
    return os.path.exists(env.path(file))
