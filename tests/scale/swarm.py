#!/usr/bin/python3
"""Measures how an image comes to a room of PCs: from a web server alone, and by the swarm.

    tests/scale/swarm.py [--pcs N] [--rate MBIT] [--uplink MBIT] [--megabytes N] [--way WAY]...
    tests/scale/swarm.py --record

Needs root, and aria2, curl, nginx, nftables and iproute2. The server and each PC are network namespaces on one
bridge, and every cable is limited by tc in both directions, so that the server's uplink is the bottleneck, as in
a school. Real nginx, real curl, real aria2c; a torrent with a web seed (BEP 19), without tracker and DHT: the PCs
find each other by local peer discovery (BEP 14). With --record all RUNS are measured, some eleven minutes, and
what was seen goes into measured.json, which scale.py compares with its model. Everything is removed at the end,
however it ends.
"""

import argparse
import contextlib
import filecmp
import hashlib
import os
import pathlib
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import measured

# Pieces as `imgbuild lab publish` cuts an image.
PIECE = 1 << 20
SUBNET = "10.99.0."
PORT = 8080
# What a PC runs; docs/scale.md says why each.
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
    """A program that must succeed; its words when it does not."""
    done = subprocess.run(words, input=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        raise RuntimeError("%s\n%s" % (" ".join(words), done.stdout))
    return done.stdout


def bencode(value):
    """BEP 3's encoding."""
    if isinstance(value, int):
        return b"i%de" % value
    if isinstance(value, str):
        value = value.encode()
    if isinstance(value, bytes):
        return b"%d:%s" % (len(value), value)
    if isinstance(value, list):
        return b"l%se" % b"".join(map(bencode, value))
    return b"d%se" % b"".join(bencode(key) + bencode(value[key]) for key in sorted(value))


def torrent(image, url):
    """One file, with a web seed and no tracker. Not private: aria2 looks for no local peers of a private one."""
    data = image.read_bytes()
    pieces = b"".join(hashlib.sha1(data[at:at + PIECE]).digest() for at in range(0, len(data), PIECE))
    return bencode({"info": {"length": len(data), "name": image.name, "piece length": PIECE, "pieces": pieces},
                    "url-list": [url]})


class Room:
    """A switch, a server at its cable and PCs at theirs, each cable limited to so many Mbit/s in each direction."""

    def __init__(self, stack, pcs, rate, uplink, closed):
        self.prefix = "scale%d" % os.getpid()
        self.hub = self.namespace(stack, "hub")
        run("ip", "-n", self.hub, "link", "add", "switch", "type", "bridge")
        run("ip", "-n", self.hub, "link", "set", "switch", "up")
        self.server = self.plug(stack, "server", 1, uplink)
        self.pcs = [self.plug(stack, "pc%d" % number, 10 + number, rate) for number in range(1, pcs + 1)]
        for pc in self.pcs[:round(closed * pcs)]:
            run("ip", "netns", "exec", pc, "nft", "-f", "-", stdin=RULES)

    def namespace(self, stack, name):
        name = "%s-%s" % (self.prefix, name)
        run("ip", "netns", "add", name)
        stack.callback(run, "ip", "netns", "del", name)
        run("ip", "-n", name, "link", "set", "lo", "up")
        return name

    def plug(self, stack, name, number, rate):
        there = self.namespace(stack, name)
        run("ip", "-n", self.hub, "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", there)
        run("ip", "-n", self.hub, "link", "set", name, "master", "switch", "up")
        run("ip", "-n", there, "addr", "add", SUBNET + "%d/24" % number, "dev", "eth0")
        run("ip", "-n", there, "link", "set", "eth0", "up")
        # Local peer discovery goes where the default route goes.
        run("ip", "-n", there, "route", "add", "default", "via", SUBNET + "1")
        for namespace, device in ((self.hub, name), (there, "eth0")):
            run("tc", "-n", namespace, "qdisc", "add", "dev", device, "root", "tbf", "rate", "%gmbit" % rate,
                "burst", "32kb", "latency", "50ms")
        return there

    def sent(self, namespace):
        """Bytes that have left a namespace by its cable."""
        return int(run("ip", "netns", "exec", namespace, "cat", "/sys/class/net/eth0/statistics/tx_bytes"))


def start(stack, namespace, *words, **more):
    """A program in a namespace, ended with the stack."""
    process = subprocess.Popen(["ip", "netns", "exec", namespace, *words], stdin=subprocess.DEVNULL, **more)

    def end():
        if process.poll() is None:
            process.terminate()
        process.wait(20)
    stack.callback(end)
    return process


def web_server(stack, room, folder):
    (folder / "nginx.conf").write_text("""
daemon off; master_process off; pid {0}/nginx.pid; error_log {0}/nginx.log;
events {{ worker_connections 4096; }}
http {{ access_log off; sendfile on; tcp_nopush on; keepalive_requests 100000;
  client_body_temp_path {0}; proxy_temp_path {0}; fastcgi_temp_path {0}; uwsgi_temp_path {0}; scgi_temp_path {0};
  server {{ listen {1}; root {0}/www; }} }}
""".format(folder, PORT), encoding="utf-8")
    server = start(stack, room.server, "nginx", "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", str(folder / "nginx.log"))
    for _ in range(100):
        if (folder / "nginx.pid").exists():
            return
        if server.poll() is not None:
            break
        time.sleep(0.05)
    raise RuntimeError("nginx did not start: " + (folder / "nginx.log").read_text())


def one_pc(stack, namespace, place, options, folder, url):
    """Starts what brings the image to a PC; the time of its end stands in `done`."""
    place.mkdir()
    if options is None:
        words = ["sh", "-c", 'curl --silent --show-error --fail -o image.qcow2 "$0" && date +%s.%N >done', url]
    else:
        # aria2 calls this when the image is whole, before it goes on serving.
        hook = place / "hook"
        hook.write_text("#!/bin/sh\ndate +%%s.%%N >'%s/done'\n" % place, encoding="utf-8")
        hook.chmod(0o755)
        words = ["aria2c", "--no-conf", "--quiet", *SWARM, *options, "--on-bt-download-complete=%s" % hook,
                 str(folder / "www/image.torrent")]
    with open(place / "output", "wb") as output:
        return start(stack, namespace, *words, cwd=place, stdout=output, stderr=subprocess.STDOUT)


def bring(stack, room, options, folder, url, limit):
    """The image to all PCs at once: when it began, when each had it, and how many bytes the server sent."""
    sent, begun = room.sent(room.server), time.time()
    places = [folder / ("pc%d" % number) for number in range(len(room.pcs))]
    processes = [one_pc(stack, pc, place, options, folder, url) for pc, place in zip(room.pcs, places)]
    while not all((place / "done").exists() for place in places):
        for process, place in zip(processes, places):
            if process.poll() is not None and not (place / "done").exists():
                raise RuntimeError("%s: exit code %d: %s" % (place.name, process.returncode, (place / "output").read_text()))
        if time.time() - begun > limit:
            raise RuntimeError("not every PC had the image after %d s" % limit)
        time.sleep(0.05)
    sent = room.sent(room.server) - sent
    for place in places:
        if not filecmp.cmp(place / "image.qcow2", folder / "www/image.qcow2", shallow=False):
            raise RuntimeError("%s has another image" % place.name)
    return sorted(float((place / "done").read_text()) - begun for place in places), sent


def measure(pcs, rate, uplink, megabytes, way):
    """One way in a room of its own: seconds, copies that the server sent, and the processor's seconds of the PCs' programs."""
    options, closed = WAYS[way]
    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(tempfile.mkdtemp(prefix="swarm-", dir="/var/tmp"))
        stack.callback(shutil.rmtree, folder)
        folder.chmod(0o755)
        (folder / "www").mkdir()
        image, url = folder / "www/image.qcow2", "http://%s1:%d/image.qcow2" % (SUBNET, PORT)
        image.write_bytes(random.Random(1).randbytes(megabytes * 10**6))
        (folder / "www/image.torrent").write_bytes(torrent(image, url))
        room = Room(stack, pcs, rate, uplink, closed)
        web_server(stack, room, folder)
        used = os.times()
        with contextlib.ExitStack() as programs:
            limit = 120 + 2 * pcs * megabytes * 8 / uplink
            seconds, sent = bring(programs, room, options, folder, url, limit)
        after = os.times()
    return {"pcs": pcs, "rate": rate, "uplink": uplink, "megabytes": megabytes, "way": way,
            "first": round(seconds[0], 1), "median": round(statistics.median(seconds), 1), "last": round(seconds[-1], 1),
            "copies": round(sent / megabytes / 10**6, 2),
            "cpu": round(after.children_user + after.children_system - used.children_user - used.children_system, 1)}


def page_cache():
    """How fast one nginx gives a file that it has given before to a reader on the same PC, in Mbit/s."""
    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(tempfile.mkdtemp(prefix="swarm-", dir="/var/tmp"))
        stack.callback(shutil.rmtree, folder)
        folder.chmod(0o755)
        (folder / "www").mkdir()
        (folder / "www/image.qcow2").write_bytes(random.Random(1).randbytes(222 * 10**6))
        room = Room(stack, 0, 1, 1, 0)
        web_server(stack, room, folder)
        words = ["ip", "netns", "exec", room.server, "curl", "--silent", "--fail", "-o", "/dev/null", "-w", "%{speed_download}",
                 "http://127.0.0.1:%d/image.qcow2" % PORT]
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
    missing = [name for name in ("aria2c", "curl", "nginx", "nft", "ip", "tc") if not shutil.which(name)]
    if missing:
        sys.exit("swarm.py: not installed: %s\n  right: apt install aria2 curl nginx-light nftables iproute2" % ", ".join(missing))
    if os.geteuid():
        sys.exit("swarm.py: it makes network namespaces\n  right: run it as root")
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
            "nginx": version("nginx", "-v"), "curl": version("curl", "--version"), "runs": seen, "page_cache": page_cache()})


if __name__ == "__main__":
    main()
