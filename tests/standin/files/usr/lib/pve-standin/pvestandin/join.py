"""`pvecm add`: the steps of a join, in the order of the real one.

The points at which a test can end or stop it (`die_at`, `hang_at` of switches.py), and
what has happened by then:

    1  the password was read
    2  /var/lock/pvecm.lock is held
    3  the checks were passed
    4  root's ssh keys and the folders below /etc/pve are there
    5  the peer took the password
    6  the peer was not yet asked to add this node
    7  the peer added the node; nothing of its answer is on the disk here
    8  /etc/corosync/authkey is written
    9  /etc/corosync/corosync.conf is written
    10 pve-cluster is stopped
    11 the database is backed up
    12 the database is deleted
    13 corosync and pve-cluster are started
    14 there is a quorum
    "empty-key" this node's pve-ssl.key is made, and empty
    15 this node's certificates are made and root's keys merged
    16 pvedaemon and pveproxy are reloaded
    17 the line of success is printed
"""

import base64
import fcntl
import os
import signal
import sys
import time

from . import api, cli, env, ipc, nodefiles, quorumtool, services, store, switches, tasks
from .client import Client, ClientError, ask_for_code, ask_on_stdin

AUTHKEY = "/etc/corosync/authkey"
LOCAL_CONF = "/etc/corosync/corosync.conf"
LOCK = "/var/lock/pvecm.lock"
BACKUP = "/var/lib/pve-cluster/backup"


class Stop(Exception):
    """Ends the task; the text is its error."""


def point(number):
    """One of the points in the table above."""
    if switches.strike("die_at", number):
        # What was said before is passed on by the parent, which may die first.
        time.sleep(0.2)
        which = switches.get("die_as", "all")
        if which in ("all", "parent"):
            os.kill(os.getppid(), signal.SIGKILL)
        if which in ("all", "worker"):
            os.kill(os.getpid(), signal.SIGKILL)
    if switches.strike("hang_at", number):
        while not switches.get("go_on"):
            time.sleep(0.05)


def run(task, options, node, address):
    """The worker's work; returns the text of an error, or None."""
    try:
        password = read_password(options["hostname"])
        point(1)
        with local_lock(task):
            point(2)
            join(task, options, node, address, password)
    except Stop as stop:
        return str(stop)
    except (ClientError, api.ApiError) as failed:
        return failed.text.rstrip("\n")
    except (services.Failed, OSError, RuntimeError, ValueError) as failed:
        return str(failed)
    return None


def read_password(host):
    if sys.stdin.isatty():
        import getpass
        return getpass.getpass("Please enter superuser (root) password for '%s': " % host)
    line = sys.stdin.readline()
    if not line:
        raise Stop("EOF while reading password")
    return line.rstrip("\n")


class local_lock:
    """One pvecm at a time on this node."""

    def __init__(self, task):
        self.task = task

    def __enter__(self):
        file = env.path(LOCK)
        os.makedirs(os.path.dirname(file), exist_ok=True)
        self.handle = open(file, "a", encoding="utf-8")
        try:
            fcntl.flock(self.handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            self.task.say("trying to acquire lock...", end="")
        deadline = time.monotonic() + env.LOCK_TIMEOUT
        while time.monotonic() < deadline:
            try:
                fcntl.flock(self.handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self.task.say(" OK")
                return
            except BlockingIOError:
                time.sleep(min(0.2, env.LOCK_TIMEOUT / 10))
        self.task.say("")
        raise Stop("can't lock file '%s' - got timeout" % LOCK)

    def __exit__(self, *_):
        self.handle.close()


def check(task, options, node):
    """Whether this node may join; with --force only warns."""
    errors = []
    if os.path.exists(env.path(AUTHKEY)):
        errors.append("* authentication key '%s' already exists\n" % AUTHKEY)
    if os.path.exists(env.path(api.CONF)):
        errors.append("* cluster config '%s' already exists\n" % api.CONF)
    for folder in ("qemu-server", "lxc"):
        guests = env.path("/etc/pve/nodes/%s/%s" % (node, folder))
        if os.path.isdir(guests) and any(name.endswith(".conf") for name in os.listdir(guests)):
            errors.append("* this host already contains virtual guests\n")
            break
    if quorumtool.corosync_status() is not None:
        errors.append("* corosync is already running, is this node already in a cluster?!\n")
    for number, ip in cli.links(options).items():
        if not env.is_local(ip):
            errors.append("* link%d: cannot use IP '%s', not found on local node!\n\n" % (number, ip))
    if not errors:
        return
    task.say("detected the following error(s):\n" + "".join(errors), end="")
    if not options.get("force"):
        raise Stop("Check if node may join a cluster failed!")
    task.say("\nWARNING : detected error but forced to continue!\n")


def join(task, options, node, address, password):
    check(task, options, node)
    point(3)
    # A half-joined node that waits for quorum cannot write, and gets all this afterwards.
    if has_quorum():
        nodefiles.make_folders(node)
        nodefiles.setup_root_ssh(node)
    point(4)
    host = options["hostname"]
    client = Client(host, options.get("fingerprint"), ask_on_stdin(task))
    try:
        task.say("Establishing API connection with host '%s'" % host)
        client.login(password, ask_for_code(task))
    except tasks.Interrupted:
        raise ClientError("500 received interrupt")
    task.say("Login succeeded.")
    point(5)
    task.say("check cluster join API version")
    client.request("GET", "/cluster/config/apiversion")
    form = {"apiversion": "1"}
    for name in ("nodeid", "votes"):
        if name in options:
            form[name] = options[name]
    if options.get("force"):
        form["force"] = "1"
    links = {name: options[name] for name in options if name.startswith("link")}
    if not links:
        task.say("No cluster network links passed explicitly, fallback to local node IP '%s'" % address)
        form["new_node_ip"] = address
    form.update(links)
    task.say("Request addition of this node")
    point(6)
    try:
        answer = client.request("POST", "/cluster/config/nodes/" + node, form)
    except ClientError as error:
        text = (getattr(error, "message", None) or error.text).rstrip("\n")
        task.say("An error occurred on the cluster node: " + text)
        raise Stop("Cluster join aborted!")
    task.say("Join request OK, finishing setup locally")
    point(7)
    finish(task, node, address, answer)


def finish(task, node, address, answer):
    # Written as they come, with the default mode: the real one leaves authkey 0644 as well.
    os.makedirs(env.path("/etc/corosync"), exist_ok=True)
    env.write(env.path(AUTHKEY), base64.b64decode(answer["corosync_authkey"]), 0o644)
    point(8)
    env.write(env.path(LOCAL_CONF), answer["corosync_conf"], 0o644)
    point(9)
    task.say("stopping pve-cluster service")
    services.systemctl("stop", "pve-cluster")
    point(10)
    back_up_database(task)
    services.systemctl("start", "corosync", "pve-cluster")
    point(13)
    task.say("waiting for quorum...", end="")
    while not has_quorum():
        time.sleep(min(1, env.POLL))
    task.say("OK")
    point(14)
    nodefiles.update(node, address, task.say, joining=True, cut=point)
    point(15)
    task.say("generated new node certificate, restart pveproxy and pvedaemon services")
    services.systemctl("reload-or-restart", "pvedaemon", "pveproxy")
    point(16)
    task.say("successfully added node '%s' to cluster." % node)
    point(17)


def back_up_database(task):
    import gzip
    name = "%s/config-%d.sql.gz" % (BACKUP, int(time.time()))
    task.say("backup old database to '%s'" % name)
    os.makedirs(env.path(BACKUP), mode=0o700, exist_ok=True)
    database = env.path(store.DATABASE)
    if os.path.exists(database):
        env.write(env.path(name), gzip.compress(env.read(database).encode("utf-8", "surrogateescape")), 0o644)
        point(11)
        os.unlink(database)
    point(12)


def has_quorum():
    try:
        return ipc.call(env.run("pmxcfs.sock"), {"op": "state"})["quorate"]
    except OSError:
        return False
