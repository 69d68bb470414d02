#!/usr/bin/python3
"""Computes the tables of docs/scale.md from the model and from what was measured.

    tests/scale/scale.py [--megabytes N] [--pcs N] [--gigabit N]     # the first table, for your lab
    tests/scale/scale.py --all                                       # all tables of the page
    tests/scale/scale.py --write                                     # puts them into the page
"""

import argparse
import functools
import pathlib
import re
import statistics

import measured
import model
import swarm
import tasks

PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs/scale.md"
MB, GIGABIT = 10**6, 10**9
PCS = (30, 300, 3000)
# The plain base as it was measured, and one with Proxmox VE, which was not: see the page.
PLAIN, PROXMOX = 222, 1000
# PCs of a room, in a subnet of its own.
ROOM = 30
# `forks` that the page recommends, which is how many PCs download at a time; and how many could at the most.
FORKS, TOGETHER = 50, 300
# How far the model may be from what was measured.
AGREES = 0.15
SEEDS = range(1, 6)

# corosync.conf(5): token, token_coefficient as it is when nothing is written, and as pve-cluster 9.1 writes it; seconds.
TOKEN, COEFFICIENT, NEW_COEFFICIENT, CONSENSUS = 3.0, 0.65, 0.125, 1.2
# Proxmox VE's HA: a node without quorum for so long is reset by its watchdog; and what its developers call close to it.
WATCHDOG, CLOSE = 60, 50
# Members that are always on, and the largest clusters: one that needs no thought, and where `imgbuild check` warns.
STABLE, EASY, WARNED = 3, 32, 40
# A join with a ticket, seen on a real cluster; they come one after the other.
JOIN = 24


def duration(seconds):
    if seconds is None:
        return ""
    if seconds < 100:
        return "%.0f s" % seconds
    return "%.1f min" % (seconds / 60) if seconds < 6000 else "%.1f h" % (seconds / 3600)


def table(head, rows):
    rows = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join("| %s |" % " | ".join(str(cell) for cell in row) for row in rows) + "\n"


def plain(runs):
    return [run for run in runs if run["way"] == swarm.PLAIN]


def carried():
    """Bits a second that aria2 brings in, and passes on as many, on one core of the PC of the measurement."""
    fastest = max(plain(measured.read()["swarm"]["runs"]), key=lambda run: run["rate"])
    return fastest["pcs"] * fastest["megabytes"] * MB * 8 / fastest["cpu"]


@functools.cache
def times(megabytes, pcs, line):
    """HTTP alone; one swarm, FORKS at a time, none of whom stays; rooms in subnets of their own, as many at a time as
    FORKS reaches; and one swarm of all at once, as far as that was thought of."""
    size, cable = megabytes * MB, min(line, carried())
    rooms = -(-pcs // ROOM)
    together = min(rooms, FORKS / ROOM)

    def last(count, server, **more):
        return model.Swarm(count, size, server, cable, **more).run()[-1]

    def in_waves(count):
        # One wave is as the other: of many, the last ones take what those before took.
        few, many = 5 * FORKS, 10 * FORKS
        if count <= many:
            return last(count, line, waves=FORKS, stays=False)
        return in_waves(many) + (count - many) / (many - few) * (in_waves(many) - in_waves(few))
    return [model.http(pcs, size, line, line), in_waves(pcs),
            rooms / together * last(min(pcs, ROOM), line / together), last(pcs, line) if pcs <= TOGETHER else None]


def bring(sizes=(PLAIN, PROXMOX), pcs=PCS, line=GIGABIT):
    rows = [["%s MB to %s PCs" % (format(megabytes, ","), format(count, ",")), *map(duration, times(megabytes, count, line))]
            for megabytes in sizes for count in pcs]
    return table(["the last PC has its base after", "web server alone", "one swarm", "a swarm for each room of %d" % ROOM,
                  "one swarm, all at once"], rows)


def predicted(run):
    """What the model says to a run that was measured: the middle one of several lots."""
    rates = run["megabytes"] * MB, run["uplink"] * MB, run["rate"] * MB
    if run["way"] == swarm.HTTP:
        return model.http(run["pcs"], *rates, wire=model.WIRE_TC), run["pcs"]
    results = []
    for seed in SEEDS:
        simulated = model.Swarm(run["pcs"], *rates, wire=model.WIRE_TC, seed=seed)
        results.append((simulated.run()[-1], simulated.copies))
    return [statistics.median(column) for column in zip(*results)]


@functools.cache
def compared():
    """The runs that the model speaks of, each with what it predicts."""
    runs = measured.read()["swarm"]["runs"]
    return [(run, *predicted(run)) for run in runs if run["way"] in (swarm.HTTP, swarm.PLAIN)]


def agreement():
    rows = [["%d PCs at %d Mbit/s, server %d Mbit/s, %d MB, %s" % (run["pcs"], run["rate"], run["uplink"], run["megabytes"], run["way"]),
             "%.0f s" % run["last"], "%.0f s" % seconds, "%.2f" % (seconds / run["last"]), "%.1f" % run["copies"], "%.1f" % copies]
            for run, seconds, copies in compared()]
    return table(["the last PC has it after", "measured", "model", "ratio", "copies that the server sent", "model"], rows)


def ways():
    rows = [[run["way"], "%.0f s" % run["median"], "%.0f s" % run["last"], "%.1f" % run["copies"]]
            for run in measured.read()["swarm"]["runs"] if run["pcs"] == 8 and run["megabytes"] == 64 and run["uplink"] == 40]
    return table(["8 PCs, 64 MB, 40 Mbit/s", "half of them have it", "all have it", "copies that the server sent"], rows)


def silent(nodes, coefficient):
    """Seconds that a cluster of this size takes, at the least, to go on without a node that fell silent."""
    token = TOKEN + max(0, nodes - 2) * coefficient
    return token + CONSENSUS * token


def largest(coefficient, seconds):
    return max(nodes for nodes in range(2, 1000) if silent(nodes, coefficient) <= seconds)


def timeouts():
    rows = [[nodes, "%.0f s" % silent(nodes, COEFFICIENT), "%.0f s" % silent(nodes, NEW_COEFFICIENT)] for nodes in (5, 15, 32, 40, 60, 100)]
    rows.append(["largest below %d s" % CLOSE, largest(COEFFICIENT, CLOSE), largest(NEW_COEFFICIENT, CLOSE)])
    return table(["nodes", "token_coefficient 650 ms", "125 ms"], rows)


def clusters():
    rows = []
    for pcs in PCS:
        for most in (EASY, WARNED):
            count = -(-pcs // (most - STABLE))
            each = -(-pcs // count)
            rows.append(["%s PCs, at most %d nodes" % (format(pcs, ","), most), count, "%d + %d" % (STABLE, each), count * STABLE,
                         duration(each * JOIN)])
    return table(["", "clusters", "nodes of each", "stable members in all", "joins, at the least"], rows)


def controller():
    """What one task costs for one host, and memory: from the differences between few and many hosts and tasks."""
    runs = measured.read()["controller"]["runs"]
    one, few, many = sorted({run["hosts"] for run in runs})
    most = max(run["tasks"] for run in runs)

    def of(hosts, field, kind, tasks):
        return next(run[field] for run in runs if (run["hosts"], run["kind"], run["tasks"]) == (hosts, kind, tasks))

    def each(hosts, field, kind):
        return (of(hosts, field, kind, most) - of(hosts, field, kind, 1)) / (most - 1)

    def highest(hosts, field):
        return max(run[field] for run in runs if run["hosts"] == hosts)
    kinds = tasks.HERE, tasks.MODULE, tasks.COPY
    cost = {kind: each(many, "cpu", kind) / many for kind in kinds}
    for_a_host = (highest(many, "playbook") - highest(few, "playbook")) / (many - few)
    return {
        "cost": cost,
        # Its connection, and its part of the play's beginning and end.
        "once": (of(many, "cpu", "module", 1) - of(few, "cpu", "module", 1)) / (many - few) - cost["module"],
        "takes": {kind: each(one, "seconds", kind) for kind in kinds},
        "base": highest(few, "playbook") - for_a_host * few, "host": for_a_host,
        # What is its own at the most, which it has while it works.
        "worker": max(run["worker"] for run in runs), "ssh": highest(many, "ssh")}


def deploy_seconds(pcs, cores, forks=FORKS):
    """One deploy without the base: what the controller's cores are busy with, or what waiting for the PCs takes, the longer."""
    needs, counted = controller(), tasks.counted()
    busy = pcs * (needs["once"] + sum(needs["cost"][kind] * count for kind, count in counted.items())) / cores
    waits = -(-pcs // forks) * sum(needs["takes"][kind] * count for kind, count in counted.items())
    return max(busy, waits)


def memory(pcs, forks):
    """MB: the playbook, its workers, and a connection that is kept open for each PC."""
    needs = controller()
    return needs["base"] + needs["host"] * pcs + needs["worker"] * min(forks, pcs) + needs["ssh"] * pcs


def costs():
    needs = controller()
    words = {tasks.HERE: "a task of the controller alone (`set_fact`, one that is skipped)", tasks.MODULE: "a module that runs on the PC",
             tasks.COPY: "a file of 1 MiB that is copied to the PC"}
    rows = [[words[kind], "%.0f ms" % (1000 * cost), "%.1f s" % needs["takes"][kind], tasks.counted()[kind]]
            for kind, cost in needs["cost"].items()]
    rows.append(["a PC's connection, once", "%.0f ms" % (1000 * needs["once"]), "", "1"])
    return table(["for each PC", "of the controller's processor", "takes, alone", "in one deploy"], rows)


def memories():
    needs = controller()
    rows = [["ansible-playbook", "%.0f MB" % needs["base"]], ["for each PC in it", "%.2f MB" % needs["host"]],
            ["each fork", "%.0f MB" % needs["worker"]], ["each connection that is kept open", "%.1f MB" % needs["ssh"]]]
    return table(["memory", "measured"], rows)


def deploy():
    rows = [[format(pcs, ","), *(duration(deploy_seconds(pcs, cores)) for cores in (2, 4, 8)),
             *("%.1f GB" % (memory(pcs, forks) / 1000) for forks in (FORKS, 4 * FORKS))] for pcs in PCS]
    return table(["PCs", "2 cores", "4 cores", "8 cores", "memory, `forks: %d`" % FORKS, "`forks: %d`" % (4 * FORKS)], rows)


def answer():
    """What each of the three takes, for the whole lab."""
    rows = []
    for pcs in PCS:
        count = -(-pcs // (EASY - STABLE))
        http, waves, rooms, _ = times(PROXMOX, pcs, GIGABIT)
        joins = "%s, in %d clusters" % (duration(-(-pcs // count) * JOIN), count)
        rows.append([format(pcs, ","), duration(http), duration(max(waves, rooms)), duration(deploy_seconds(pcs, 4)), joins])
    return table(["PCs", "the base, web server alone", "the base, by the swarm", "Ansible's part", "the joins"], rows)


def tools():
    whole = measured.read()
    room, desk = whole["swarm"], whole["controller"]
    rows = [["the swarm", room["date"], "%d cores, aria2 %s, %s, curl %s" % tuple(room[key] for key in ("cores", "aria2", "server", "curl"))],
            ["Ansible", desk["date"], "%d cores, ansible-core %s" % (desk["cores"], desk["ansible"])],
            ["that web server gives a file from the page cache", room["date"], "%.0f Gbit/s" % (room["page_cache"] / 1000)],
            ["aria2 receives, and passes on as much, on one core", room["date"], "%.0f Mbit/s" % (carried() / 1e6)]]
    return table(["measured", "on", "with"], rows)


TABLES = {each.__name__: each for each in (
    answer, bring, tools, agreement, ways, timeouts, clusters, costs, memories, deploy)}
MARK = r"(<!-- scale\.py: %s -->\n).*?(<!-- end -->\n)"


def replaced(text):
    """The page with each table as it is now."""
    for name, make in TABLES.items():
        text, count = re.subn(MARK % name, lambda found, make=make: "%s\n%s\n%s" % (found[1], make(), found[2]), text, flags=re.DOTALL)
        if count != 1:
            raise ValueError("%s has %d places for the table %s" % (PAGE, count, name))
    return text


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--megabytes", type=int, action="append", help="size of the base; without it: %d and %d" % (PLAIN, PROXMOX))
    parser.add_argument("--pcs", type=int, action="append", help="without it: %d, %d, %d" % PCS)
    parser.add_argument("--gigabit", type=float, default=1, help="each line, in Gbit/s")
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    if options.write:
        PAGE.write_text(replaced(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    elif options.all:
        print("\n".join(make() for make in TABLES.values()))
    else:
        print(bring(options.megabytes or (PLAIN, PROXMOX), options.pcs or PCS, options.gigabit * GIGABIT))


if __name__ == "__main__":
    main()
