#!/usr/bin/python3
"""Measures how an image comes to a room of PCs: from a web server alone, and by the swarm.

    tests/scale/swarm.py [--pcs N] [--rate MBIT] [--uplink MBIT] [--megabytes N] [--way WAY]...
    tests/scale/swarm.py --record

The room is that of tests/fleet: PCs in namespaces of their own on one bridge, and the desk, which serves what `imgbuild
lab publish` has made. Every cable is limited by tc, so that the server's uplink is the bottleneck, as in a school.
Real curl and real aria2c; the torrent has a web seed (BEP 19) and no tracker, and there is no DHT: the PCs find each
other by local peer discovery (BEP 14). With --record all RUNS are measured, some twelve minutes, and what was seen
goes into measured.json, which scale.py compares with its model. Nothing is left at the end, however it ends.
"""

import argparse
import contextlib
import filecmp
import json
import os
import pathlib
import platform
import re
import shutil
import statistics
import subprocess
import sys
import time

import measured

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "fleet"))
import fleetrig

# What a PC runs, as the fleet's role has it but for the five minutes in which it goes on serving; docs/scale.md says why each.
SWARM = ["--enable-dht=false", "--enable-dht6=false", "--bt-enable-lpd=true", "--enable-peer-exchange=true",
         "--stream-piece-selector=random", "--file-allocation=none", "--seed-ratio=0.0", "--seed-time=5"]
# What the swarm is compared with: options that come after, and how many of the PCs let nothing in.
HTTP, PLAIN, OWN_ORDER, NO_SEEDING = "http", "swarm", "own piece order", "no seeding"
HALF_CLOSED, ALL_CLOSED, NO_PEERS = "half of the PCs let nothing in", "no PC lets anything in", "no peer is found"
WAYS = {
    HTTP: (None, 0),
    PLAIN: ([], 0),
    OWN_ORDER: (["--stream-piece-selector=default"], 0),
    NO_SEEDING: (["--seed-time=0"], 0),
    HALF_CLOSED: ([], 0.5),
    ALL_CLOSED: ([], 1),
    NO_PEERS: (["--bt-enable-lpd=false", "--enable-peer-exchange=false"], 0),
}
# PCs, Mbit/s of every PC's cable, of the server's, MB of the image, and the ways. What is not http alone or the
# plain swarm shows what an option is worth; the model is held against the plain swarm of each.
RUNS = [
    (8, 40, 40, 64, list(WAYS)),
    (4, 40, 40, 64, [PLAIN]),
    (16, 40, 40, 64, [PLAIN]),
    (8, 80, 80, 128, [PLAIN]),
    (8, 40, 10, 64, [PLAIN]),
    (8, 40, 40, 32, [PLAIN]),
]
# A PC's firewall that lets in only what it asked for.
RULES = """
table inet closed {
  chain input { type filter hook input priority 0; policy drop; iif lo accept; ct state established,related accept; }
}
"""


def run(*words, stdin=""):
    """A program that must succeed; what it printed, or its words when it does not."""
    words = [str(word) for word in words]
    done = subprocess.run(words, input=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        raise RuntimeError("%s\n%s" % (" ".join(words), done.stdout))
    return done.stdout


class Room(fleetrig.Rig):
    """The desk, whose line carries `uplink` Mbit/s and which serves an image of so many MB, and PCs at cables of `rate` Mbit/s."""

    def __init__(self, stack, pcs, rate, uplink, megabytes, closed=0):
        super().__init__()
        stack.callback(self.close)
        self.base(size=round(megabytes * 10**6 / 2**20))
        self.published_with_torrent()
        current = json.loads((self.publish / "current.json").read_text(encoding="utf-8"))
        self.image, self.torrent = self.publish / current["image"], self.publish / current["torrent"]
        for _ in range(pcs):
            self.pc().limit(rate)
        if uplink:
            fleetrig.limit("lab", uplink)
        for pc in self.pcs[:round(closed * pcs)]:
            run(*pc.inside("--net"), "nft", "-f", "-", stdin=RULES)

    def sent(self):
        """Bytes that have left the desk."""
        return int(pathlib.Path("/sys/class/net/lab/statistics/tx_bytes").read_text(encoding="ascii"))

    def start(self, stack, pc, options):
        """Starts what brings the image to a PC, ended with the stack; the time at which it has it stands in `done`."""
        if options is None:
            words = ["sh", "-c", 'curl --silent --show-error --fail -O "$0" && date +%s.%N >done', self.web.url + self.image.name]
        else:
            # aria2 calls this when the image is whole, before it goes on serving.
            hook = pc.home / "hook"
            hook.write_text("#!/bin/sh\ndate +%s.%N >/home/{}/done\n".format(fleetrig.USER), encoding="utf-8")
            hook.chmod(0o755)
            shutil.copy(self.torrent, pc.home / "torrent")
            words = ["aria2c", "--no-conf", "--quiet", *SWARM, *options, "--on-bt-download-complete=/home/%s/hook" % fleetrig.USER, "torrent"]
        user = ["setpriv", "--reuid", str(fleetrig.UID), "--regid", str(fleetrig.UID), "--clear-groups",
                "sh", "-c", 'cd "$0" && exec "$@"', "/home/" + fleetrig.USER]
        words = [str(word) for word in (*pc.inside("--net", "--mount"), *user, *words)]
        with open(pc.disk / "output", "wb") as output:
            process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)

        def end():
            process.terminate()
            process.wait(20)
        stack.callback(end)
        return process

    def bring(self, stack, options, limit):
        """The image to all PCs at once: how many seconds each took, and how many bytes the desk sent."""
        sent, begun = self.sent(), time.time()
        processes = {pc: self.start(stack, pc, options) for pc in self.pcs}
        done = {pc: pc.home / "done" for pc in self.pcs}
        while not all(file.exists() for file in done.values()):
            for pc, process in processes.items():
                if process.poll() is not None and not done[pc].exists():
                    raise RuntimeError("%s: exit code %d: %s" % (pc.name, process.returncode, (pc.disk / "output").read_text(encoding="utf-8")))
            if time.time() - begun > limit:
                raise RuntimeError("not every PC had the image after %d s" % limit)
            time.sleep(0.05)
        sent = self.sent() - sent
        for pc in self.pcs:
            if not filecmp.cmp(pc.home / self.image.name, self.image, shallow=False):
                raise RuntimeError("%s has another image" % pc.name)
        return sorted(float(file.read_text(encoding="ascii")) - begun for file in done.values()), sent


def measure(pcs, rate, uplink, megabytes, way):
    """One way in a room of its own: seconds, copies that the server sent, and the processor's seconds of the PCs' programs."""
    options, closed = WAYS[way]
    with contextlib.ExitStack() as stack:
        room = Room(stack, pcs, rate, uplink, megabytes, closed)
        size = room.image.stat().st_size
        used = os.times()
        with contextlib.ExitStack() as programs:
            seconds, sent = room.bring(programs, options, 120 + 2 * pcs * megabytes * 8 / uplink)
        after = os.times()
    return {"pcs": pcs, "rate": rate, "uplink": uplink, "megabytes": megabytes, "way": way,
            "first": round(seconds[0], 1), "median": round(statistics.median(seconds), 1), "last": round(seconds[-1], 1),
            "copies": round(sent / size, 2),
            "cpu": round(after.children_user + after.children_system - used.children_user - used.children_system, 1)}


def page_cache():
    """How fast the web server gives a file that it has given before to a reader on the same PC, in Mbit/s."""
    with contextlib.ExitStack() as stack:
        room = Room(stack, 0, 0, 0, 222)
        words = ["curl", "--silent", "--fail", "-o", "/dev/null", "-w", "%{speed_download}", room.web.url + room.image.name]
        run(*words)
        return round(statistics.median(float(run(*words)) for _ in range(5)) * 8 / 1e6)


def version(*words):
    return re.search(r"\d+(\.\d+)+", run(*words)).group()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--pcs", type=int, default=8)
    parser.add_argument("--rate", type=float, default=40, help="Mbit/s of each PC's cable")
    parser.add_argument("--uplink", type=float, help="Mbit/s of the server's cable; without it: as each PC's")
    parser.add_argument("--megabytes", type=int, default=64)
    parser.add_argument("--way", choices=WAYS, action="append", help="without it: http, swarm")
    parser.add_argument("--record", action="store_true", help="measure all RUNS, and write measured.json")
    options = parser.parse_args()
    # Where Debian has nginx, ip and tc, which not every user's PATH has.
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    missing = [name for name in ("aria2c", "curl", "nft", "ip", "tc") if not shutil.which(name)]
    if missing:
        sys.exit("swarm.py: not installed: %s\n  right: apt install aria2 curl nftables iproute2" % ", ".join(missing))
    fleetrig.enter()
    measured.stop_once()
    uplink = options.uplink or options.rate
    runs = RUNS if options.record else [
        (options.pcs, options.rate, uplink, options.megabytes, options.way or [HTTP, PLAIN])]
    seen = []
    for *setting, ways in runs:
        for way in ways:
            seen.append(measure(*setting, way))
            print("{pcs:3} PCs at {rate:g} Mbit/s, server {uplink:g}, {megabytes} MB, {way:32} first {first:6} median {median:6} "
                  "last {last:6} s; the server sent {copies} copies; {cpu} s of CPU".format(**seen[-1]), flush=True)
    if options.record:
        measured.record("swarm", {
            "date": time.strftime("%Y-%m-%d"), "cores": os.cpu_count(), "aria2": version("aria2c", "--version"),
            "server": "Python's web server " + platform.python_version(), "curl": version("curl", "--version"), "runs": seen, "page_cache": page_cache()})


if __name__ == "__main__":
    main()
