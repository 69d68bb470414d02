"""Unit files of a place: as much of systemd.unit(5) and systemd.service(5) as firstboot's units use.

They lie where an administrator's lie, and are started by the links that `systemctl enable`
makes: NAME.wants/UNIT.service. A place has no targets, so what a target wants is started at
the boot, and what a service wants whenever that is started.
"""

import os
import shlex
import sys

from .units import START, STOP, Command, Unit

FOLDER = "etc/systemd/system"
RESTART = ("no", "on-failure", "on-abnormal", "always")
TYPES = ("simple", "exec", "oneshot")
# Those that say nothing about when a unit starts, ends or comes back.
ELSEWHERE = ("Description", "Documentation", "DefaultDependencies", "RequiresMountsFor", "WantedBy", "RequiredBy", "Alias",
             "StandardOutput", "StandardError", "StandardInput", "UMask", "LimitCORE", "SyslogIdentifier", "KillMode")


class Unknown(Exception):
    """A unit file that a place cannot run."""


def parse(text):
    """Returns {key: [values]}; the sections have no key in common here."""
    found = {}
    lines = text.replace("\\\n", " ").splitlines()
    for line in (line.strip() for line in lines):
        if not line or line[0] in "#;[":
            continue
        key, there, value = line.partition("=")
        if not there:
            raise Unknown("no = in %r" % line)
        values = found.setdefault(key.strip(), [])
        if value.strip():
            values.append(value.strip())
        else:
            values.clear()
    return found


def seconds(value):
    """90, 90s, 2min, 500ms; None for infinity."""
    if value == "infinity":
        return None
    for unit, factor in (("ms", 0.001), ("min", 60), ("s", 1), ("h", 3600)):
        if value.endswith(unit):
            return float(value.removesuffix(unit)) * factor
    return float(value)


def services(values):
    """The services among names of units; targets and sockets are always there, or never."""
    return [word.removesuffix(".service") for value in values for word in value.split() if word.endswith(".service")]


def command(line, folder, environment):
    lenient = line.startswith("-")
    words = shlex.split(line.lstrip("-"))
    if environment:
        words = ["/usr/bin/env", *environment, *words]
    if folder:
        words = ["/bin/sh", "-c", 'cd "$0" && exec "$@"', folder, *words]
    return Command(words, lenient)


def load(name, text, say):
    """A unit out of the text of its file; `say` gets what is in it and means nothing here."""
    keys = parse(text)

    def last(key, default=None):
        return keys.pop(key, [default])[-1]

    kind, restart = last("Type", "simple"), last("Restart", "no")
    if kind not in TYPES:
        raise Unknown("Type=%s: a place knows %s" % (kind, ", ".join(TYPES)))
    if restart not in RESTART:
        raise Unknown("Restart=%s: a place knows %s" % (restart, ", ".join(RESTART)))
    if "ExecStart" not in keys:
        raise Unknown("no ExecStart=")
    oneshot = kind == "oneshot"
    folder = last("WorkingDirectory")
    environment = [word for value in keys.pop("Environment", ()) for word in shlex.split(value)]
    both = last("TimeoutSec")
    start = last("TimeoutStartSec", both or ("infinity" if oneshot else str(START)))
    unit = Unit(
        name, [command(line, folder, environment) for line in keys.pop("ExecStart")],
        oneshot=oneshot, remain=last("RemainAfterExit") in ("yes", "true", "1", "on"), restart=restart,
        pause=seconds(last("RestartSec", "100ms")),
        pre=[command(line, folder, environment) for line in keys.pop("ExecStartPre", ())],
        conditions=[(path.lstrip("!"), not path.startswith("!")) for path in keys.pop("ConditionPathExists", ())],
        after=services(keys.pop("After", ())), before=services(keys.pop("Before", ())),
        wants=services(keys.pop("Wants", []) + keys.pop("Requires", [])), start_limit=seconds(start),
        stop_limit=seconds(last("TimeoutStopSec", both or str(STOP))), about=last("Description", name), enabled=False)
    for key in sorted(set(keys) - set(ELSEWHERE)):
        say("%s.service: %s= means nothing in a place" % (name, key))
    return unit


def read(units, root="/", say=lambda text: print(text, file=sys.stderr, flush=True)):
    """Adds the units of the place's unit files to `units`, and what the links say."""
    top = os.path.join(root, FOLDER)
    if not os.path.isdir(top):
        return
    for file in sorted(os.listdir(top)):
        name = file.removesuffix(".service")
        if file == name or not os.path.isfile(os.path.join(top, file)):
            continue
        try:
            with open(os.path.join(top, file), encoding="utf-8") as text:
                units[name] = load(name, text.read(), say)
        except (Unknown, ValueError) as error:
            say("%s: %s" % (file, error))
    for folder in sorted(os.listdir(top)):
        wanting = folder.removesuffix(".wants")
        if folder == wanting or not os.path.isdir(os.path.join(top, folder)):
            continue
        for name in services(os.listdir(os.path.join(top, folder))):
            if name not in units:
                continue
            units[name].enabled = True
            if wanting.endswith(".target"):
                units[name].at_boot = True
            elif wanting.removesuffix(".service") in units:
                units[wanting.removesuffix(".service")].wants.append(name)


def checked(source):
    """Name and text of a unit file that a place can run."""
    name = os.path.basename(source)
    if not name.endswith(".service"):
        raise Unknown("%s is no .service" % source)
    with open(source, encoding="utf-8") as file:
        text = file.read()
    try:
        load(name.removesuffix(".service"), text, lambda _text: None)
    except (Unknown, ValueError) as error:
        raise Unknown("%s: %s" % (source, error)) from None
    return name, text


def install(root, name, text):
    """Writes a unit file into a place's tree, and makes the links that its [Install] section wants."""
    top = os.path.join(root, FOLDER)
    os.makedirs(top, exist_ok=True)
    with open(os.path.join(top, name), "w", encoding="utf-8") as out:
        out.write(text)
    for value in parse(text).get("WantedBy", ()):
        for wanting in value.split():
            folder = os.path.join(top, wanting + ".wants")
            os.makedirs(folder, exist_ok=True)
            os.symlink("/%s/%s" % (FOLDER, name), os.path.join(folder, name))
