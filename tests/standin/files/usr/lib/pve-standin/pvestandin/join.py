"""`pvecm add`: the steps of a join, in the order of the real one."""

import base64
import fcntl
import os
import signal
import sys
import time

from . import api, env, ipc, nodefiles, quorumtool, services, store
from .client import Client, ClientError, ask_on_stdin

AUTHKEY = "/etc/corosync/authkey"
LOCAL_CONF = "/etc/corosync/corosync.conf"
LOCK = "/var/lock/pvecm.lock"
BACKUP = "/var/lib/pve-cluster/backup"


class Interrupted(Exception):
    """SIGTERM or SIGINT came."""


class Stop(Exception):
    """Ends the task; the text is its error."""


def _interrupt(_signal, _frame):
    raise Interrupted()


def run(task, options, node, address):
    """The worker. It never raises: whatever happens, pvecm ends with 0."""
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGINT, _interrupt)
    error = None
    try:
        password = read_password(options["hostname"])
        with local_lock(task):
            join(task, options, node, address, password)
    except Interrupted:
        error = "received interrupt"
    except BrokenPipeError:
        error = "broken pipe "
    except Stop as stop:
        error = str(stop)
    except (ClientError, api.ApiError) as failed:
        error = failed.text.rstrip("\n")
    except services.Failed as failed:
        error = str(failed)
    except (OSError, RuntimeError, ValueError) as failed:
        error = str(failed)
    if error is not None:
        for stream, text in ((1, error + "\n"), (2, "broken pipe \n")):
            try:
                os.write(stream, text.encode())
                break
            except BrokenPipeError:
                continue  # nobody reads; the task log has it
    task.finish(error)


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
    for link in sorted(name for name in options if name.startswith("link")):
        ip = link_address(options[link])
        if not env.is_local(ip):
            errors.append("* %s: cannot use IP '%s', not found on local node!\n\n" % (link, ip))
    if not errors:
        return
    task.say("detected the following error(s):\n" + "".join(errors), end="")
    if not options.get("force"):
        raise Stop("Check if node may join a cluster failed!")
    task.say("\nWARNING : detected error but forced to continue!\n")


def link_address(value):
    return value.partition(",")[0].removeprefix("address=")


def join(task, options, node, address, password):
    check(task, options, node)
    # A half-joined node that waits for quorum cannot write, and gets all this afterwards.
    if has_quorum():
        nodefiles.make_folders(node)
        nodefiles.setup_root_ssh(node)
    host = options["hostname"]
    client = Client(host, options.get("fingerprint"), ask_on_stdin(task))
    try:
        task.say("Establishing API connection with host '%s'" % host)
        client.login(password)
    except Interrupted:
        raise ClientError("500 received interrupt")
    task.say("Login succeeded.")
    task.say("check cluster join API version")
    client.request("GET", "/cluster/config/apiversion")
    form = {"apiversion": "1", "new_node_ip": address}
    for name in ("nodeid", "votes"):
        if name in options:
            form[name] = options[name]
    if options.get("force"):
        form["force"] = "1"
    links = {name: options[name] for name in options if name.startswith("link")}
    if not links:
        task.say("No cluster network links passed explicitly, fallback to local node IP '%s'" % address)
        links = {"link0": address}
    form.update(links)
    task.say("Request addition of this node")
    try:
        answer = client.request("POST", "/cluster/config/nodes/" + node, form)
    except ClientError as error:
        text = (getattr(error, "message", None) or error.text).rstrip("\n")
        task.say("An error occurred on the cluster node: " + text)
        raise Stop("Cluster join aborted!")
    task.say("Join request OK, finishing setup locally")
    finish(task, node, address, answer)


def finish(task, node, address, answer):
    # Written as they come, with the default mode: the real one leaves authkey 0644 as well.
    os.makedirs(env.path("/etc/corosync"), exist_ok=True)
    env.write(env.path(AUTHKEY), base64.b64decode(answer["corosync_authkey"]), 0o644)
    env.write(env.path(LOCAL_CONF), answer["corosync_conf"], 0o644)
    task.say("stopping pve-cluster service")
    services.systemctl("stop", "pve-cluster")
    back_up_database(task)
    services.systemctl("start", "corosync", "pve-cluster")
    task.say("waiting for quorum...", end="")
    while not has_quorum():
        time.sleep(min(1, env.POLL))
    task.say("OK")
    nodefiles.update(node, address, task.say, joining=True)
    task.say("generated new node certificate, restart pveproxy and pvedaemon services")
    services.systemctl("reload-or-restart", "pvedaemon", "pveproxy")
    task.say("successfully added node '%s' to cluster." % node)


def back_up_database(task):
    import gzip
    name = "%s/config-%d.sql.gz" % (BACKUP, int(time.time()))
    task.say("backup old database to '%s'" % name)
    os.makedirs(env.path(BACKUP), mode=0o700, exist_ok=True)
    database = env.path(store.DATABASE)
    if os.path.exists(database):
        env.write(env.path(name), gzip.compress(env.read(database).encode("utf-8", "surrogateescape")), 0o644)
        os.unlink(database)


def has_quorum():
    try:
        return ipc.call(env.run("pmxcfs.sock"), {"op": "state"})["quorate"]
    except OSError:
        return False
