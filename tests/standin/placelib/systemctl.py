"""`systemctl` inside a place; exit codes and words are those of systemd 257."""

import sys

from . import line

JOBS = ("start", "stop", "restart", "try-restart", "reload", "reload-or-restart", "try-reload-or-restart", "reset-failed")
# They change what the next boot starts, which here is given.
NOTHING_TO_DO = ("daemon-reload", "enable", "disable", "mask", "unmask", "preset")


def parse(words):
    """The verb, the units, and the options that matter."""
    options = {"properties": None, "value": False, "quiet": False, "wait": True}
    rest = []
    words = list(words)
    while words:
        word = words.pop(0)
        if word in ("-p", "--property", "-P"):
            options["properties"] = (options["properties"] or []) + words.pop(0).split(",")
            options["value"] = options["value"] or word == "-P"
        elif word.startswith("--property="):
            options["properties"] = (options["properties"] or []) + word.partition("=")[2].split(",")
        elif word == "--value":
            options["value"] = True
        elif word in ("-q", "--quiet"):
            options["quiet"] = True
        elif word == "--no-block":
            options["wait"] = False
        elif not word.startswith("-"):
            rest.append(word)
    return (rest[0] if rest else "list-units"), [unit.removesuffix(".service") for unit in rest[1:]], options


def main(words):
    verb, units, options = parse(words)
    if verb in NOTHING_TO_DO:
        return 0
    if verb in JOBS:
        answer = line.ask("/", {"op": "systemctl", "verb": verb, "units": units, "wait": options["wait"]})
        for name in answer.get("unknown", ()):
            print("Failed to %s %s.service: Unit %s.service not found." % (verb, name, name), file=sys.stderr)
        for error in answer.get("errors", ()):
            print(error, file=sys.stderr)
        return 5 if answer.get("unknown") else 1 if answer.get("errors") else 0
    if verb not in ("show", "is-active", "is-failed", "is-enabled", "list-units", "list-unit-files"):
        print("Unknown command verb '%s'. (stand-in)" % verb, file=sys.stderr)
        return 1
    shown = line.ask("/", {"op": "show", "units": units})["units"]
    if verb == "show":
        blocks = []
        for unit in shown:
            wanted = [name for name in unit if not options["properties"] or name in options["properties"]]
            blocks.append("".join("%s\n" % (unit[name] if options["value"] else "%s=%s" % (name, unit[name])) for name in wanted))
        print("\n".join(blocks), end="")
        return 0
    if verb.startswith("list-"):
        # As with --all --plain --no-legend.
        columns = (("Id", "LoadState", "ActiveState", "SubState", "Description") if verb == "list-units" else
                   ("Id", "UnitFileState", None))
        rows = [[unit[name] if name else "enabled" for name in columns] for unit in sorted(shown, key=lambda unit: unit["Id"])]
        widths = [max(len(row[at]) for row in rows) for at in range(len(columns))]
        for row in rows:
            print(" ".join(word.ljust(width) for word, width in zip(row, widths)).rstrip())
        return 0
    if verb == "is-enabled":
        states = [unit.get("UnitFileState", "not-found") for unit in shown]
        code = 0 if "enabled" in states else 1 if "disabled" in states else 4
    else:
        states = [unit["ActiveState"] for unit in shown]
        if verb == "is-failed":
            code = 0 if "failed" in states else 1
        else:
            known = any(unit["LoadState"] == "loaded" for unit in shown)
            code = 0 if "active" in states else 3 if known else 4
    if not options["quiet"]:
        print("\n".join(states))
    return code
