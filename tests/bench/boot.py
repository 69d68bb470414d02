"""A first boot to `configured`, in guest instructions, beside cloud-init's on the same image with the same seed disk.

Both sides are booted twice: making their ssh host keys, which takes 2 to 7 Gi by chance, and with keys that are there.
Then where each phase ends, and each unit's part of the processor. tests/bench/machines says how it is counted."""

import base64
import json
import re

import bench
from bench import machines

# What the console shows: name of the point, and what is looked for.
CONSOLE = (
    ("systemd begins", re.compile(r"systemd\[1\]: systemd \d+")),
    ("login prompt", re.compile(r"\blogin: $")),
    ("cloud-init is done", re.compile(r"cloud-init is done")),
)
# How many of the units are shown: the rest is small.
UNITS = 16

# cloud-init's own last words are lost where a getty takes the console at that moment.
DONE = ("cloud-final.service.conf", "[Service]\nExecStartPost=/bin/sh -c 'sleep 1; echo cloud-init is done >/dev/console'\n")
# What a first boot makes no keys with.
NO_KEYS = """[Unit]
Description=Host keys from elsewhere
DefaultDependencies=no
RequiresMountsFor=/etc
After=systemd-remount-fs.service
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c '%s'
"""
BEFORE = "[Unit]\nWants=no-keys.service\nAfter=no-keys.service\n"


def boot(machine, last):
    """Boots a machine, and switches it off when all of `last` has been reached: points, steps and accounts."""
    points, steps, told, off = {}, {}, [], False
    with machine:
        for source, line, count in machine.lines():
            if source == "status.jsonl":
                event = json.loads(line)
                if event["event"] == "stage" and event["state"] == "started":
                    points.setdefault("firstboot begins" if event["stage"] == "local" else "firstboot's second stage begins", count)
                elif event["event"] == "stage" and event["stage"] == "local":
                    points.setdefault("firstboot's first stage ends", count)
                elif event["event"] == "step":
                    steps[event["step"]] = count
                elif event["event"] == "verdict" and event["result"] != "running":
                    points.setdefault(event["result"], count)
            else:
                for name, looked_for in CONSOLE:
                    if looked_for.search(line):
                        points.setdefault(name, count)
                if "account: " in line:
                    told.append(line)
                    if line.strip() == "account: end":
                        points["accounts"] = count
            if not off and all(name in points for name in last):
                off = True
                machine.power_button()
        points["the kernel begins"], points["the first program begins"] = machine.count(1), machine.count(2)
    missing = [name for name in last if name not in points]
    if missing:
        raise bench.Failed("the machine has ended without: %s\n%s\n%s"
                           % (", ".join(missing), machine.said(), machine.read("console.log")[-3000:]))
    return points, steps, machines.accounts(told)


def keys_from_elsewhere(folder):
    """A unit that puts host keys where firstboot looks for them."""
    words = []
    for kind in ("rsa", "ecdsa", "ed25519"):
        file = folder / ("ssh_host_%s_key" % kind)
        bench.text(["ssh-keygen", "-q", "-t", kind, "-N", "", "-C", "root@vm42", "-f", file])
        for name, mask in ((file.name, "077"), (file.name + ".pub", "022")):
            content = base64.b64encode((folder / name).read_bytes()).decode("ascii")
            words.append("umask %s; echo %s | base64 -d >/etc/ssh/%s" % (mask, content, name))
    return [("no-keys.service", NO_KEYS % "; ".join(words)), ("firstboot-local.service.conf", BEFORE)]


def no_keys_of_cloud_init():
    """A unit that tells cloud-init to make none."""
    words = 'printf "ssh_genkeytypes: []\\\\nssh_deletekeys: false\\\\n" >/etc/cloud/cloud.cfg.d/99_no_keys.cfg'
    return [("no-keys.service", NO_KEYS % words), *((unit + ".service.conf", BEFORE) for unit in ("cloud-init-main", "cloud-init-local"))]


def run(options):
    ours, peer = machines.base("plain", options.folder), machines.base("cloud-init", options.folder)
    found = {}
    for name, base, units, last in (
        ("ours", ours, keys_from_elsewhere(options.folder), "configured"),
        ("peer", peer, [*no_keys_of_cloud_init(), DONE], "cloud-init is done"),
        ("ours, keys", ours, [], "configured"),
        ("peer, keys", peer, [DONE], "cloud-init is done"),
    ):
        machine = machines.Machine(options.folder / name.replace(", ", "-"), base, units=[machines.ACCOUNTS, *units])
        found[name] = boot(machine, (last, "login prompt", "accounts"))
        print("%s: %s until `%s`" % (name, bench.shown(found[name][0][last], "instructions"), last), flush=True)
    name = "cloud-init"
    count = {side: found[side][0]["configured" if side.startswith("ours") else "cloud-init is done"] for side in found}
    rows = [
        bench.Row("first boot, the keys are there", "instructions", count["ours"], count["peer"], name, 0.5),
        bench.Row("  the same against 9 Gi", "instructions", count["ours"], goal=9e9),
        bench.Row("first boot, it makes its keys", "instructions", count["ours, keys"], count["peer, keys"], name),
    ]
    points, theirs = found["ours"][0], found["peer"][0]
    for point in sorted(points, key=points.get):
        if point != "accounts":
            rows.append(bench.Row("  until " + point, "instructions", points[point], theirs.get(point), name if point in theirs else ""))
    units, theirs = found["ours"][2], found["peer"][2]
    both = sorted(set(units) | set(theirs), key=lambda unit: -max(units.get(unit, 0), theirs.get(unit, 0)))
    for unit in both[:UNITS]:
        rows.append(bench.Row("  in " + unit, "instructions", units.get(unit), theirs.get(unit), name))
    return rows
