#!/usr/bin/python3
"""What the first deploy does for a PC with one VM, task by task: as a real run of it went, with the PCs of tests/fleet.

    tests/scale/tasks.py --record        # one run, into measured.json

scale.py counts from it. test_scale.py compares it with the role as it stands, and fails when that has other tasks.
"""

import collections
import pathlib
import re
import sys

import yaml

import measured

ROLE = pathlib.Path(__file__).resolve().parents[2] / "fleet/roles/imgbuild/tasks"
HERE, MODULE, COPY = "here", "module", "copy"
INCLUDE = "ansible.builtin.include_tasks"
# What is done on the controller alone.
CONTROLLER = {INCLUDE, "ansible.builtin.set_fact", "ansible.builtin.debug", "ansible.builtin.assert", "ansible.builtin.fail",
              "imgbuild.lab.seeds", "imgbuild.lab.report"}
INCLUDED, SKIPPED = "included", "skipping"


def actions(file, included):
    """Name, action and whether it is done on the controller, of each task in the order of the file and of what it includes.
    `included` says of an include by its name whether it was done."""
    def of(tasks):
        for task in tasks:
            if "block" in task:
                yield from of(task["block"])
                continue
            (action,) = [key for key in task if "." in key]
            yield task["name"], action, action in CONTROLLER or task.get("delegate_to") == "localhost"
            if action == INCLUDE and included(task["name"]):
                yield from actions(task[INCLUDE], included)
    return of(yaml.safe_load((ROLE / file).read_text(encoding="utf-8")))


def role(ran):
    """The tasks of the role for a deploy that went so."""
    results = dict(ran)
    return list(actions("deploy.yml", lambda name: results.get(name) == INCLUDED))


def counted():
    """How many of each kind: one that was skipped costs the controller what one of its own does."""
    ran = measured.read()["tasks"]
    kinds = {name: HERE if here else COPY if action == "ansible.builtin.copy" else MODULE for name, action, here in role(ran)}
    return collections.Counter(HERE if result == SKIPPED else kinds[name] for name, result in ran)


def parsed(output):
    """Of what ansible-playbook prints: each task's name and its result."""
    ran = []
    for line in output.splitlines():
        if found := re.match(r"TASK \[imgbuild\.lab\.imgbuild : (.*)\] \*", line):
            ran.append([found[1], None])
        elif (found := re.match(r"(ok|changed|skipping|included|fatal|failed): ", line)) and ran and ran[-1][1] is None:
            ran[-1][1] = found[1]
    return ran


def main():
    if sys.argv[1:] != ["--record"]:
        sys.exit("usage: tests/scale/tasks.py --record")
    sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "fleet"))
    import fleetrig
    fleetrig.enter()
    measured.stop_once()
    rig = fleetrig.Rig()
    try:
        rig.base()
        rig.pc()
        rig.write_lab(1, room=rig.published())
        play = rig.play("deploy")
        if play.code:
            sys.exit(str(play))
    finally:
        rig.close()
    measured.record("tasks", parsed(play.output))
    print(play.output)


if __name__ == "__main__":
    main()
