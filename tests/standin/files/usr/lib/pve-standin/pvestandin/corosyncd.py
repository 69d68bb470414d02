"""The corosync stand-in: who is there, and is that a majority?

Each node sends a heartbeat to each node of its nodelist over TCP, on the link
addresses, and gets one back. A node joins a membership only when everybody in it
hears everybody, as with the real ring.
"""

import hashlib
import hmac
import json
import os
import signal
import socket
import sys
import threading
import time

from . import corosync_conf, env, ipc, switches

CONF = "/etc/corosync/corosync.conf"
AUTHKEY = "/etc/corosync/authkey"
# KNET_MIN_KEY_LEN of libknet.
SHORTEST_KEY = 128


def log(text):
    print(text, file=sys.stderr, flush=True)


class Corosync:
    def __init__(self):
        self.lock = threading.RLock()
        self.key = b""
        self.heard = {}  # node number -> its last heartbeat, with "at"
        self.sequence = 5
        self.expected_override = None
        self.pmxcfs = None  # what the local pmxcfs registered, with "at"
        self.threads = set()
        self.leaving = False
        self.lost = False  # the token, at the last look
        self.odds_since = None
        self.load()
        self.members = {self.me}

    def load(self):
        with open(env.path(AUTHKEY), "rb") as key:
            self.key = key.read()
        if len(self.key) < SHORTEST_KEY:
            sys.exit("[MAIN  ] Could only read %d bits of minimum %d bits from %s." % (len(self.key) * 8, SHORTEST_KEY * 8, AUTHKEY))
        conf = corosync_conf.parse(env.read(env.path(CONF)))
        nodes = {}
        mine = None
        for name, entry in conf["nodelist"].items():
            number = int(entry["nodeid"])
            links = corosync_conf.links(entry)
            # One link is enough here: the lowest. The others are only shown.
            address = links[min(links)]
            nodes[number] = {"name": name, "address": address, "links": links, "votes": int(entry.get("quorum_votes", 1))}
            if name == env.nodename() or (mine is None and env.is_local(address)):
                mine = number
        if mine is None:
            sys.exit("[MAIN  ] this node is not in the nodelist of %s" % CONF)
        with self.lock:
            self.nodes, self.me = nodes, mine
            self.cluster = conf["totem"]["cluster_name"]
            self.version = corosync_conf.version(conf)
            self.heard = {number: beat for number, beat in self.heard.items() if number in nodes}

    # -- heartbeats

    def sign(self, body):
        return hmac.new(self.key, json.dumps(body, sort_keys=True).encode(), hashlib.sha256).hexdigest()

    def packet(self, body):
        return {"from": self.me, "cluster": self.cluster, "body": body, "mac": self.sign(body)}

    def opened(self, packet):
        """The body of a packet that a known member signed, else None."""
        body = packet.get("body")
        if packet.get("cluster") != self.cluster or packet.get("from") not in self.nodes:
            return None
        if not hmac.compare_digest(packet.get("mac", ""), self.sign(body)):
            return None
        return body

    def beat(self):
        with self.lock:
            return {
                "beat": True, "version": self.version, "sequence": self.sequence,
                "hears": sorted(self.fresh() | {self.me}), "members": sorted(self.members),
                "pmxcfs": self.registered(),
            }

    def registered(self):
        if self.pmxcfs and time.monotonic() - self.pmxcfs["at"] < env.SILENCE:
            return {"ip": self.pmxcfs["ip"], "database": self.pmxcfs["database"]}
        return None

    def fresh(self):
        now = time.monotonic()
        return {number for number, beat in self.heard.items() if now - beat["at"] < env.SILENCE}

    def take(self, number, beat):
        with self.lock:
            if number in self.nodes and number != self.me:
                beat["at"] = time.monotonic()
                self.heard[number] = beat

    def send_beats(self, number):
        """Runs as long as the node is in the nodelist, over one connection while that lasts.

        A beat and its answer tell both sides, so a node that was heard a moment ago, because
        it began, needs none from here.
        """
        link, address = None, None
        while number in self.nodes and not self.leaving:
            try:
                now = self.nodes[number]["address"]
                blocked = self.blocked(now)
                if link and (blocked or now != address):
                    link.close()
                    link = None
                if blocked:
                    raise OSError("a test blocks it")
                if link or time.monotonic() - self.heard.get(number, {}).get("at", 0) > 0.9 * env.BEAT:
                    if link is None:
                        link, address = socket.create_connection((now, env.LINK_PORT), min(5, env.SILENCE / 2)), now
                    answer = ipc.exchange(link, self.packet(self.beat()))
                    body = self.opened(answer)
                    if body and answer["from"] == number:
                        self.take(number, body)
            except (OSError, ValueError, KeyError):
                # Not there now; silence says it all.
                if link:
                    link.close()
                link = None
            time.sleep(env.BEAT)
        if link:
            link.close()
        self.threads.discard(number)

    @staticmethod
    def blocked(address):
        """Whether a test lets no packet through between this node and an address."""
        switch = switches.get("corosync_blocked", False)
        return address in switch if isinstance(switch, list) else bool(switch)

    # -- membership

    def recompute(self):
        with self.lock:
            before = set(self.members)
            fresh = self.fresh()
            self.members = {self.me} | (self.members & fresh)
            for number in sorted(fresh - self.members):
                self.consider(number, fresh)
            for number in self.members & fresh:
                self.sequence = max(self.sequence, self.heard[number]["sequence"])
            self.look_at_token()
            if self.members != before:
                self.sequence += 4
                log("[QUORUM] Members[%d]: %s" % (len(self.members), " ".join(map(str, sorted(self.members)))))
                # More votes than expected: a lowered expectation ends here.
                if self.expected_override and self.total() > self.expected_override:
                    self.expected_override = None

    def consider(self, number, fresh):
        other = self.heard[number]
        # Before anything else: a newer configuration may name nodes that this one does not know.
        if other["version"] > self.version and self.me in other["hears"]:
            # The real one reloads on all members at once, so that none of a majority is ever behind.
            # Here each does it for itself, and gets there in a moment.
            if self.quorate() or self.stays(other):
                return
            log("[CMAP  ] Received config version (%d) is different than my config version (%d)! Exiting"
                % (other["version"], self.version))
            self.leave()
            os._exit(1)
        union = self.members | set(other["members"])
        if not union <= fresh | {self.me}:
            return
        for one in union - {self.me}:
            if not union <= set(self.heard[one]["hears"]):
                return
        if other["version"] == self.version:
            self.members |= union

    def stays(self, other):
        """Whether corosync goes on with its older configuration beside one that has a newer one.

        Seen is both. What the real one looks at was inferred: it ends when every node that is
        online stands in its own file, and stays, alone, when one does not.
        """
        forced = switches.get("stale")
        if forced in ("exit", "stay"):
            return forced == "stay"
        return not set(other["members"]) <= set(self.nodes)

    # -- a stale member and those that it disturbs

    def at_odds(self):
        """The nodes that hear this one and are heard, with another version of the configuration."""
        return {number for number in self.fresh() - self.members
                if self.heard[number]["version"] != self.version and self.me in self.heard[number]["hears"]}

    def disturbed(self):
        """Whether they are at odds for longer than it takes until each has read the newest file."""
        if not self.at_odds():
            self.odds_since = None
            return False
        self.odds_since = self.odds_since or time.monotonic()
        return time.monotonic() - self.odds_since > env.DISTURB_PERIOD / 5

    def token_lost(self):
        """Again and again they form a new membership, all at the same time."""
        return self.disturbed() and time.time() % env.DISTURB_PERIOD < env.DISTURB_BLOCK

    def look_at_token(self):
        """Says what the real one says; `lock` is held."""
        before, self.lost = self.lost, self.token_lost()
        if self.lost and not before:
            log("[TOTEM ] Token has not been received in %d ms" % (env.DISTURB_BLOCK * 400))
        if before and not self.lost and self.disturbed():
            self.sequence += 20
            members = "[%d]: %s" % (len(self.members), " ".join(map(str, sorted(self.members))))
            log("[QUORUM] Sync members" + members)
            log("[TOTEM ] A new membership (%s) was formed. Members" % self.ring())
            log("[QUORUM] Members" + members)
            log("[MAIN  ] Completed service synchronization, ready to provide service.")

    def ring(self):
        return "%x.%x" % (min(self.members), self.sequence)

    def total(self):
        return sum(self.nodes[number]["votes"] for number in self.members if number in self.nodes)

    def expected(self):
        configured = sum(node["votes"] for node in self.nodes.values())
        return max(self.expected_override or configured, self.total())

    def quorate(self):
        return self.total() > self.expected() // 2

    def status(self):
        with self.lock:
            # A membership that lost somebody must show at once, not at the next tick.
            self.recompute()
            expected = self.expected()
            members = [dict(self.nodes[number], id=number) for number in sorted(self.members) if number in self.nodes]
            states = {number: self.heard[number]["pmxcfs"] for number in self.members & self.fresh()
                      if self.heard[number]["pmxcfs"]}
            return {
                "me": self.me, "cluster": self.cluster, "version": self.version, "expected": expected,
                "quorum": expected // 2 + 1, "total": self.total(),
                "quorate": self.quorate() and not switches.get("no_quorum"),
                "ring": self.ring(), "members": members,
                "disturbed": self.disturbed(), "token_lost": self.token_lost(),
                "nodes": {str(number): dict(node, heard=number in self.fresh()) for number, node in self.nodes.items()},
                "pmxcfs": {str(number): state for number, state in states.items()},
            }

    # -- requests

    def from_network(self, packet, _peer):
        wanted = packet.get("body", {}).get("cat")
        if wanted and hmac.compare_digest(packet.get("mac", ""), self.sign(packet["body"])):
            return self.packet(self.ssh(wanted, packet["body"].get("key", "")))
        body = self.opened(packet)
        if body is None or self.leaving or self.blocked(self.nodes[packet["from"]]["address"]):
            return None
        if body.get("beat"):
            self.take(packet["from"], body)
            return self.packet(self.beat())
        if body.get("leave"):
            with self.lock:
                self.heard.pop(packet["from"], None)
            return self.packet({})
        if "expected" in body:
            self.expected_override = body["expected"]
            return self.packet({})
        if "pmxcfs" in body:
            return self.packet(ipc.call(env.run("pmxcfs.sock"), {"op": "peer", "message": body["pmxcfs"]}))
        return None

    @staticmethod
    def ssh(file, key):
        """Stands for ssh: root's key is merged at the end of a join, and stays when a node is deleted."""
        keys = env.read(env.path("/etc/pve/priv/authorized_keys")) if os.path.exists(
            env.path("/etc/pve/priv/authorized_keys")) else ""
        if not key.strip() or key.strip() not in keys:
            return {"refused": "Permission denied (publickey,password)."}
        return {"text": env.read(env.path(file))}

    def tell(self, number, body, timeout=10):
        if self.blocked(self.nodes[number]["address"]):
            raise OSError("a test blocks it")
        answer = ipc.call_tcp(self.nodes[number]["address"], env.LINK_PORT, self.packet(body), timeout)
        return self.opened(answer)

    def from_local(self, message, _peer):
        op = message["op"]
        if op == "status":
            if "register" in message:
                self.pmxcfs = dict(message["register"], at=time.monotonic())
            return self.status()
        if op == "reload":
            self.load()
            self.start_senders()
            return {}
        if op == "expected":
            if message["votes"] < self.total():
                return {"error": "Unable to set expected votes: CS_ERR_INVALID_PARAM"}
            self.expected_override = message["votes"]
            for number in self.members - {self.me}:
                try:
                    self.tell(number, {"expected": message["votes"]})
                except OSError:
                    pass
            return {}
        if op == "pmxcfs":
            try:
                return {"answer": self.tell(message["to"], {"pmxcfs": message["message"]}, 30)}
            except OSError as error:
                return {"error": str(error)}
        return {"error": "unknown request %r" % op}

    def start_senders(self):
        for number in self.nodes:
            if number != self.me and number not in self.threads:
                self.threads.add(number)
                threading.Thread(target=self.send_beats, args=(number,), daemon=True).start()

    def leave(self):
        """Says good-bye to whoever hears it, in a membership with this node or not."""
        self.leaving = True
        for number in (self.members | self.fresh()) - {self.me}:
            try:
                self.tell(number, {"leave": True}, 1)
            except OSError:
                pass


def listen(address):
    """Binds the link address, waiting for it to appear on an interface."""
    said = False
    while True:
        listener = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((address, env.LINK_PORT))
            listener.listen(32)
            return listener
        except OSError as error:
            listener.close()
            if not said:
                log("[TOTEM ] cannot bind %s:%d yet: %s" % (address, env.LINK_PORT, error.strerror))
                said = True
            time.sleep(1)


def main():
    from . import daemon
    if not os.path.exists(env.path(CONF)):
        sys.exit("Can't read file %s: No such file or directory" % CONF)
    try:
        corosync = Corosync()
    except (OSError, ValueError, KeyError) as error:
        sys.exit("[MAIN  ] cannot read the configuration: %s" % error)
    socket_file = env.run("corosync.sock")
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _signal, _frame: stopping.set())

    def network():
        ipc.serve_forever(listen(corosync.nodes[corosync.me]["address"]), corosync.from_network)

    threading.Thread(target=network, daemon=True).start()
    ipc.serve_in_background(ipc.listen_unix(socket_file), corosync.from_local)
    corosync.start_senders()
    daemon.write_pid("corosync")
    daemon.notify_ready()
    log("[MAIN  ] Corosync Cluster Engine stand-in ready, node %d of %s" % (corosync.me, corosync.cluster))
    while not stopping.wait(env.BEAT):
        corosync.recompute()
    corosync.leave()
    daemon.remove(socket_file, daemon.pid_file("corosync"))
    os._exit(0)
