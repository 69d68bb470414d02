"""The pmxcfs stand-in: /etc/pve, kept the same on all nodes that have quorum."""

import os
import signal
import subprocess
import sys
import threading
import time

from . import corosync_conf, daemon, env, ipc, switches
from .leases import Leases
from .locks import Locks
from .store import MOUNT, Store

COROSYNC_CONF = "/etc/corosync/corosync.conf"
CONF = "corosync.conf"


def log(text):
    print(text, file=sys.stderr, flush=True)


def version_of(text):
    """The config_version of a corosync.conf, or 0."""
    try:
        return corosync_conf.version(corosync_conf.parse(text))
    except (ValueError, KeyError):
        return 0


def together(work, numbers):
    """Does it for all numbers at a time: a node that does not answer must not keep the others waiting."""
    threads = [threading.Thread(target=work, args=(number,)) for number in numbers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


class Pmxcfs:
    def __init__(self, name, address):
        self.name, self.address = name, address
        # `lock` guards the state and is never held while another node is asked;
        # `turn` lets one tick run at a time.
        self.lock, self.turn = threading.RLock(), threading.Lock()
        self.store = Store()
        self.started = int(time.time())
        self.known = {}  # node name -> address, once it was seen
        self.view, self.view_version = None, 0
        self.status = None  # corosync's last answer; False after it was lost
        self.past = {}  # digests of the database in the last minute -> when
        self.unpublished = set()  # names that the other nodes do not have yet
        imported = self.import_database()
        # A database imported a moment ago knows nothing of the cluster yet.
        self.fresh = self.clustered and imported
        self.quorate = not self.clustered
        self.hangs = False
        self.leases, self.locks = Leases(), Locks(self.store.full("priv/lock"))

    def import_database(self):
        """The first start of a node with a corosync.conf takes that over; later ones do not look."""
        imported = not self.store.load()
        if imported:
            if os.path.exists(env.path(COROSYNC_CONF)):
                self.store.put(CONF, env.read(env.path(COROSYNC_CONF)), [0, 0])
            self.store.save()
        self.clustered = self.store.text(CONF) is not None
        self.push_corosync_conf()
        return imported

    def mount(self):
        os.makedirs(self.store.top, exist_ok=True)
        if os.geteuid() == 0 and not env.ROOT:
            if os.path.ismount(MOUNT):
                subprocess.run(["umount", "-l", MOUNT], check=False)
            subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=0755,nosuid,nodev", "pve-standin", MOUNT], check=True)
            self.store.own(MOUNT)
        self.store.clear()
        self.store.materialise()
        self.store.set_modes(self.quorate)
        self.store.link("local", "nodes/" + self.name)
        for folder in ("lxc", "openvz", "qemu-server"):
            self.store.link(folder, "nodes/%s/%s" % (self.name, folder))
        self.store.plugin(".debug", "0\n", 0o640)
        self.store.plugin(".rrd", "")
        self.store.plugin(".vmlist", '{\n"version": 1\n}\n')
        self.store.plugin(".clusterlog", '{\n"data": [\n]\n}\n')
        self.share_locks()
        self.show()

    def share_locks(self):
        """One folder of locks for all nodes of a cluster, where they run on one machine.

        With the real one mkdir below priv/lock fails on each node while one has the lock; a tmpfs
        per node cannot do that.
        """
        if env.LOCKS and self.clustered:
            folder = self.store.full("priv/lock")
            os.makedirs(folder, exist_ok=True)
            subprocess.run(["mount", "--bind", env.LOCKS, folder], check=True)

    def unmount(self):
        if os.geteuid() == 0 and not env.ROOT:
            subprocess.run(["umount", "-l", MOUNT], check=False)
        else:
            self.store.clear()

    # -- what others see

    def show(self):
        """Writes .members and .version when they changed."""
        view = self.members_body()
        if view == self.view:
            return
        self.view_version = self.view_version + 1 if view else 0
        self.view = view
        self.store.plugin(".members", '{\n"nodename": "%s",\n"version": %d%s\n}\n' % (self.name, self.view_version, view))
        self.store.plugin(".version", '{\n"starttime": %d,\n"clinfo": %d,\n"vmlist": 1,\n"corosync.conf": %d,\n"kvstore": {\n}\n}\n'
                          % (self.started, self.view_version, self.store.counter()))

    def members_body(self):
        """The part of .members after the version; empty outside a cluster and before corosync was seen."""
        if not self.clustered or self.status is None or self.hangs:
            return ""
        conf = self.conf()
        online = self.online()
        rows = []
        for name, entry in sorted(conf["nodelist"].items(), key=lambda item: int(item[1]["nodeid"])):
            number = int(entry["nodeid"])
            if number in online:
                self.known[name] = online[number]["ip"]
            address = ', "ip": "%s"' % self.known[name] if name in self.known else ""
            rows.append('  "%s": { "id": %d, "online": %d%s}' % (name, number, number in online, address))
        return ',\n"cluster": { "name": "%s", "version": %d, "nodes": %d, "quorate": %d },\n"nodelist": {\n%s\n  }' % (
            conf["totem"]["cluster_name"], corosync_conf.version(conf), len(rows), self.quorate, ",\n".join(rows))

    def conf(self):
        return corosync_conf.parse(self.store.text(CONF))

    def my_id(self):
        if not self.clustered:
            return 0
        return int(self.conf()["nodelist"].get(self.name, {}).get("nodeid", 0))

    def online(self):
        """The nodes whose pmxcfs takes part, this one included: number -> address and digest."""
        states = {int(number): state for number, state in (self.status or {}).get("pmxcfs", {}).items()}
        states[self.my_id()] = {"ip": self.address, "database": self.store.digest()}
        return states

    def others(self):
        return {number: state for number, state in self.online().items() if number != self.my_id()}

    # -- the cluster

    def tick(self):
        """One look at corosync, at the own files and at the other nodes."""
        with self.turn:
            if self.clustered and not self.hangs and switches.strike("pmxcfs_hang", True):
                self.hang()
            if not self.token_lost():
                self.publish()
            if self.clustered and not self.hangs:
                self.look_at_corosync()
                if self.leader() == self.my_id():
                    self.locks.expire_asked()
            self.leases.keep(self.store.files() if self.token_lost() else [])
            with self.lock:
                if not self.quorate and self.store.pending():
                    log("[dcdb] notice: no quorum, what was written below /etc/pve is undone")
                    self.store.materialise()
                    self.store.set_modes(False)
                self.show()

    def hang(self):
        """As it was seen once after corosync was restarted under it: nothing but its database is left."""
        with self.lock:
            log("[status] crit: a test lets it hang")
            self.hangs, self.quorate = True, False
            self.store.set_modes(False)

    def token_lost(self):
        """Whether nothing that is written here gets to the others at this moment: see corosyncd.py."""
        return bool(self.quorate and self.status and self.status["token_lost"])

    def wait_for_token(self):
        """A write returns when all have it."""
        while self.token_lost():
            time.sleep(min(0.1, env.POLL))

    def take_writes(self):
        """Takes over what was written here; `lock` is held. A cluster's corosync.conf needs the others first."""
        changed = self.store.scan(self.my_id(), {CONF} if self.clustered else ())
        self.unpublished |= changed
        if CONF in changed:
            self.push_corosync_conf()

    def publish(self):
        """Hands what was written here to the other nodes.

        Also after the quorum went, which a new node in corosync.conf alone can do: it was
        there when the files were written.
        """
        with self.lock:
            if self.quorate:
                self.take_writes()
        self.propose()
        with self.lock:
            if not self.unpublished:
                return
            names, self.unpublished = self.unpublished, set()
            targets = self.others() if self.clustered else {}
            entries = {name: self.store.entries[name] for name in names}
        missed = []

        def put(number):
            if self.ask(number, {"put": entries}) is None:
                missed.append(number)

        together(put, targets)
        if missed:
            with self.lock:
                self.unpublished |= names

    def propose(self):
        """A corosync.conf that was written here, to the one node that decides.

        With the real one a write is everywhere when it returns, in one order for all nodes. Here
        two nodes can write before either sees the other's, whoever has had the lock. Only the
        first may last: corosync is never told of the other.
        """
        with self.lock:
            text = self.store.written(CONF) if self.clustered and self.quorate else None
            if text is None:
                return
            proposal = {"text": text, "at": self.store.entries[CONF]["at"]}
            leader = self.leader()
        if leader == self.my_id():
            answer = self.decide(proposal)
        else:
            answer = self.ask(leader, {"propose": proposal})
        if not answer or not answer.get("entry"):
            return  # at the next look
        with self.lock:
            if answer["accepted"]:
                self.unpublished.add(CONF)
            else:
                log("[dcdb] notice: another node has written corosync.conf first")
        self.adopt({"entries": {CONF: answer["entry"]}})

    def decide(self, proposal):
        """Whether a corosync.conf that was made from the one `at` is to be the cluster's; what that is now."""
        with self.lock:
            own = self.store.written(CONF) if self.quorate and not self.fresh else None
            if own is not None:
                self.accept(own)
            if not self.quorate or self.fresh or proposal["at"] > self.store.entries[CONF]["at"]:
                return {}  # this node is behind
            accepted = proposal["at"] == self.store.entries[CONF]["at"]
            if accepted:
                self.accept(proposal["text"])
            return {"accepted": accepted, "entry": self.store.entries[CONF]}

    def accept(self, text):
        """This node has decided; `lock` is held. Whoever proposed it hands it to the others."""
        self.store.put(CONF, text, [self.store.counter() + 1, self.my_id()])
        self.store.save()
        self.store.materialise({CONF})
        self.push_corosync_conf()
        self.show()

    def leader(self):
        """The node that decides for all: the online one with the lowest number."""
        return min(self.online())

    def look_at_corosync(self):
        register = {"ip": self.address, "database": self.store.digest()}
        try:
            status = ipc.call(env.run("corosync.sock"), {"op": "status", "register": register})
        except (OSError, ValueError):
            status = None if self.status is None else False
        with self.lock:
            self.status = status
            quorate = bool(status and status["quorate"])
            # What another node has now and this one had before is older: that node lacks
            # something, and will ask. A new node has asked for all there is before it counts.
            now = time.monotonic()
            self.past = {digest: at for digest, at in self.past.items() if now - at < 60}
            self.past[self.store.digest()] = now
            differing = [number for number, state in self.others().items() if state["database"] not in self.past]
        if quorate:
            for number in differing:
                self.adopt(self.ask(number, {"get": True}))
        with self.lock:
            quorate = quorate and not self.fresh
            if quorate != self.quorate:
                log("[status] notice: node %s quorum" % ("has" if quorate else "lost"))
                self.quorate = quorate
                self.store.set_modes(quorate)

    def ask(self, number, message):
        """Sends a message to another node's pmxcfs; None when it does not answer."""
        try:
            reply = ipc.call(env.run("corosync.sock"), {"op": "pmxcfs", "to": number, "message": message})
        except (OSError, ValueError) as error:
            reply = {"error": str(error)}
        if reply.get("error"):
            log("[dcdb] crit: node %d does not answer: %s" % (number, reply["error"]))
        return reply.get("answer")

    def adopt(self, answer):
        """Merges what another node has."""
        if not answer or "entries" not in answer:
            return
        with self.lock:
            if self.quorate:
                # What was written here meanwhile must not be lost below.
                self.take_writes()
            changed = self.store.merge(answer["entries"])
            if answer.get("complete"):
                self.fresh = False
            if CONF in changed:
                self.push_corosync_conf()
            if changed:
                log("[dcdb] notice: all data is up to date")
            self.show()

    def push_corosync_conf(self):
        """/etc/corosync/corosync.conf follows the cluster's, and corosync is told.

        Not when the local file has a higher version, and not when there is none to read.
        """
        text = self.store.text(CONF)
        file = env.path(COROSYNC_CONF)
        if text is None:
            return
        new = version_of(text)
        if not new:
            log("[dcdb] crit: unable to parse cluster config_version")
            return
        old = env.read(file) if os.path.exists(file) else ""
        if old == text:
            return
        if new < version_of(old):
            log("[dcdb] crit: local corosync.conf is newer")
            return
        env.write(file, text)
        log("[dcdb] notice: wrote new corosync config '%s' (version = %d)" % (COROSYNC_CONF, new))
        try:
            ipc.call(env.run("corosync.sock"), {"op": "reload"})
        except OSError:
            pass  # corosync is not running; it reads the file at its start

    # -- requests

    def request(self, message, _peer):
        op = message["op"]
        if op == "lock" or op == "unlock":
            if op == "lock" and self.disturbed() and switches.get("disturb_locks", True):
                return {"taken": False}
            self.wait_for_token()
            answer = self.cluster_lock(message)
            if answer.get("taken"):
                self.catch_up()
            return answer
        if op == "peer":
            return self.from_peer(message["message"])
        if op == "sync":
            self.wait_for_token()
            self.tick()
        with self.lock:
            return {"quorate": self.quorate, "clustered": self.clustered, "address": self.address}

    def disturbed(self):
        return bool(self.quorate and self.status and self.status["disturbed"])

    def catch_up(self):
        """Gets what others wrote a moment ago, before they gave the lock back.

        With the real one a write is everywhere when it returns; here a file that a program
        renames by itself is seen at the next look.
        """
        self.tick()
        with self.lock:
            others = self.others() if self.clustered else {}
        together(lambda number: self.adopt(self.ask(number, {"flush": True})), others)

    def from_peer(self, message):
        if "lock" in message:
            return self.locks.change(message["lock"], message["take"])
        if "propose" in message:
            return self.decide(message["propose"])
        if message.get("flush"):
            with self.turn:
                self.publish()
            message = {"get": True}
        with self.lock:
            if message.get("get"):
                if self.quorate:
                    self.take_writes()
                return {"entries": self.store.entries, "complete": not self.fresh}
            if "put" in message:
                if not self.fresh:
                    self.adopt({"entries": message["put"]})
                return {}
        return {"error": "unknown request"}

    def cluster_lock(self, message):
        """A lock for the whole cluster lives on the online node with the lowest number."""
        leader = self.leader() if self.clustered else None
        if leader is None or leader == self.my_id():
            return self.locks.change(message["name"], message["op"] == "lock")
        return self.ask(leader, {"lock": message["name"], "take": message["op"] == "lock"}) or {"taken": False}


def main():
    foreground = "-f" in sys.argv[1:]
    name = env.nodename()
    address = env.node_address(name)
    if address is None:
        log("[main] crit: Unable to resolve node name '%s' to a non-loopback IP address"
            " - missing entry in '/etc/hosts' or DNS?" % name)
        return 255
    log("[main] notice: resolved node name '%s' to '%s' for default node IP address" % (name, address))
    if daemon.running_pid("pmxcfs"):
        log("[main] crit: Unable to get lock - another pmxcfs runs")
        return 255
    ready = (lambda: daemon.write_pid("pmxcfs")) if foreground else daemon.background("pmxcfs")
    pmxcfs = Pmxcfs(name, address)
    pmxcfs.mount()
    # The kernel's word that somebody waits for a lease; nobody here acts on it.
    signal.signal(signal.SIGIO, signal.SIG_IGN)
    socket_file = env.run("pmxcfs.sock")
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _signal, _frame: stopping.set())
    ipc.serve_in_background(ipc.listen_unix(socket_file), pmxcfs.request)
    # Registers with a corosync that runs, so that the others see this node at once.
    pmxcfs.tick()
    ready()
    while not stopping.wait(env.POLL):
        pmxcfs.tick()
    daemon.remove(socket_file)
    with pmxcfs.lock:
        if pmxcfs.quorate:
            pmxcfs.take_writes()
        pmxcfs.unmount()
        daemon.remove(daemon.pid_file("pmxcfs"))
        os._exit(0)
