"""pvedaemon: the API calls that a join and a look at a cluster need."""

import hashlib
import hmac
import json
import os
import random
import sys
import threading
import time

from . import certs, corosync_conf, env, ipc, switches

CONF = "/etc/pve/corosync.conf"
TICKET_LIFE = 7200
CRYPT = threading.Lock()
NODE_FOLDERS = ("", "/lxc", "/openvz", "/priv", "/qemu-server")


class ApiError(Exception):
    def __init__(self, status, text):
        super().__init__(text)
        self.status, self.text = status, text


class Lost(Exception):
    """The answer to a request that was done gets lost."""


def log(text):
    print(text, file=sys.stderr, flush=True)


def pmxcfs(message):
    """Asks the local pmxcfs."""
    try:
        return ipc.call(env.run("pmxcfs.sock"), message)
    except OSError:
        raise ApiError(500, "ipcc_send_rec[1] failed: Connection refused\n")


class Lock:
    """The cluster-wide lock of a file below /etc/pve."""

    def __init__(self, name, loud=False):
        self.name, self.loud = name, loud

    def __enter__(self):
        deadline = time.monotonic() + env.LOCK_TIMEOUT
        while not pmxcfs({"op": "lock", "name": self.name}).get("taken"):
            if time.monotonic() > deadline:
                raise ApiError(500, "cfs-lock '%s' error: got lock request timeout\n" % self.name)
            if self.loud:
                print("trying to acquire cfs lock '%s' ..." % self.name, file=sys.stderr, flush=True)
            time.sleep(min(1, env.LOCK_TIMEOUT / 10))

    def __exit__(self, *_):
        pmxcfs({"op": "unlock", "name": self.name})


def read_conf():
    """The cluster's configuration; an empty one outside a cluster, as the real one has it."""
    try:
        return corosync_conf.parse(env.read(env.path(CONF)))
    except FileNotFoundError:
        return {"nodelist": {}, "totem": {}}


def make_node_folders(name):
    for folder in NODE_FOLDERS:
        os.makedirs(env.path("/etc/pve/nodes/%s%s" % (name, folder)), exist_ok=True)


def password_is_right(password):
    """Compares with root's entry of /etc/shadow; crypt(3) knows all methods of Debian."""
    import ctypes
    crypt = ctypes.CDLL("libcrypt.so.1").crypt
    crypt.restype = ctypes.c_char_p
    with open(env.path("/etc/shadow"), encoding="utf-8") as shadow:
        for line in shadow:
            fields = line.rstrip("\n").split(":")
            if fields[0] == "root" and fields[1].startswith("$") and password:
                with CRYPT:  # crypt(3) gives back a buffer that all threads share
                    made = crypt(password.encode(), fields[1].encode())
                return bool(made) and hmac.compare_digest(made, fields[1].encode())
    return False


class Api:
    def __init__(self):
        self.secret = os.urandom(32)

    # -- who asks

    def token(self, kind, user, now):
        stamp = "%08X" % now
        mac = hmac.new(self.secret, ("%s:%s:%s" % (kind, user, stamp)).encode(), hashlib.sha256).hexdigest()
        return "%s:%s:%s::%s" % (kind, user, stamp, mac)

    def token_is_good(self, kind, token):
        parts = token.split(":")
        try:
            born = int(parts[2], 16)
        except (IndexError, ValueError):
            return False
        good = hmac.compare_digest(token, self.token(kind, "root@pam", born))
        return good and time.time() - born < TICKET_LIFE

    def login(self, form, peer):
        user, password = form.get("username", ""), form.get("password", "")
        if user not in ("root@pam", "root") or not password_is_right(password):
            log("authentication failure; rhost=%s user=%s msg=%s" % (
                peer, user, "Authentication failure" if password else "no password"))
            time.sleep(env.AUTH_DELAY)
            raise ApiError(401, "authentication failure")
        log("<root@pam> successful auth for user 'root@pam'")
        now = int(time.time())
        return {"username": "root@pam", "ticket": self.token("PVE", "root@pam", now),
                "CSRFPreventionToken": self.token("CSRF", "root@pam", now), "clustername": read_conf()["totem"].get("cluster_name")}

    # -- what is asked

    def handle(self, message, _peer):
        """One request from pveproxy: method, path, form, ticket, csrf, peer."""
        try:
            return {"status": 200, "reason": "OK", "payload": {"data": self.dispatch(message)}}
        except Lost:
            return {"status": None, "reason": "", "payload": None}
        except ApiError as error:
            payload = None if error.status == 401 else {"data": None, "message": error.text}
            return {"status": error.status, "reason": error.text, "payload": payload}
        except (OSError, ValueError, KeyError) as error:
            return {"status": 500, "reason": str(error), "payload": {"data": None, "message": "%s\n" % error}}

    def dispatch(self, message):
        method, path, form = message["method"], message["path"], message["form"]
        if path == "/access/ticket" and method == "POST":
            return self.login(form, message["peer"])
        if not message["ticket"] or not self.token_is_good("PVE", message["ticket"]):
            time.sleep(env.AUTH_DELAY)
            raise ApiError(401, "No ticket" if not message["ticket"] else "permission denied - invalid PVE ticket")
        if method != "GET" and not self.token_is_good("CSRF", message["csrf"]):
            raise ApiError(401, "Permission denied - invalid csrf token")
        if method == "GET" and path == "/cluster/config/apiversion":
            return "1"
        if method == "GET" and path == "/cluster/config/nodes":
            nodes = [dict(node, node=name) for name, node in read_conf()["nodelist"].items()]
            # Out of a hash of Perl's: in another order each time.
            random.shuffle(nodes)
            return nodes
        if method == "GET" and path == "/cluster/status":
            return self.cluster_status()
        if method == "GET" and path == "/cluster/config/totem":
            return read_conf()["totem"]
        if method == "GET" and path == "/cluster/config/join":
            return self.join_information()
        if method == "POST" and path.startswith("/cluster/config/nodes/"):
            return self.add_node(path.rsplit("/", 1)[1], form)
        raise ApiError(501, "Method '%s %s' not implemented" % (method, path))

    def cluster_status(self):
        """As the documentation of the API says; it is in no transcript."""
        conf = read_conf()
        members = json.loads(env.read(env.path("/etc/pve/.members")))
        listed = members.get("nodelist", {})
        rows = [{"type": "cluster", "id": "cluster", "name": conf["totem"].get("cluster_name"), "nodes": len(conf["nodelist"]),
                 "version": int(conf["totem"].get("config_version", 0)), "quorate": members.get("cluster", {}).get("quorate", 0)}]
        rows += [{"type": "node", "id": "node/" + name, "name": name, "nodeid": int(node["nodeid"]), "ip": node["ring0_addr"],
                  "online": listed.get(name, {}).get("online", 0), "local": int(name == env.nodename())}
                 for name, node in sorted(conf["nodelist"].items())]
        return rows if conf["nodelist"] else []

    def join_information(self):
        conf = read_conf()
        if not conf["nodelist"]:
            raise ApiError(424, "node is not in a cluster, no join info available!")
        nodes = []
        for name, node in sorted(conf["nodelist"].items()):
            entry = dict(node, pve_addr=env.node_address(name) or node["ring0_addr"])
            certificate = env.path("/etc/pve/nodes/%s/pve-ssl.pem" % name)
            if os.path.exists(certificate):
                entry["pve_fp"] = certs.fingerprint(certificate)
            nodes.append(entry)
        digest = hashlib.sha1(env.read(env.path(CONF)).encode()).hexdigest()
        return {"preferred_node": env.nodename(), "nodelist": nodes, "totem": conf["totem"], "config_digest": digest}

    def add_node(self, name, form):
        if not pmxcfs({"op": "sync"})["quorate"]:
            raise ApiError(500, "cluster not ready - no quorum?\n")
        log("<root@pam> adding node %s to cluster" % name)
        with Lock("file-corosync_conf"):
            time.sleep(float(switches.get("hold_lock", 0)))
            conf = read_conf()
            if not conf["nodelist"]:
                raise ApiError(500, "invalid corosync.conf\n! no nodes found\n")
            address = form.get("link0", "").partition(",")[0].removeprefix("address=") or form.get("new_node_ip", name)
            number = int(form.get("nodeid") or corosync_conf.free_nodeid(conf))
            old = conf["nodelist"].get(name)
            if old and form.get("force") != "1":
                raise ApiError(500, "can't add existing node '%s'\n" % name)
            if old:
                number = int(old["nodeid"])
            for other, node in conf["nodelist"].items():
                if other != name and node["ring0_addr"] == address:
                    raise ApiError(500, "corosync: address '%s' already used on link ring0_addr by node '%s'\n"
                                   % (address, other))
                if other != name and int(node["nodeid"]) == number:
                    raise ApiError(500, "corosync: nodeid '%d' already used by node '%s'\n" % (number, other))
            conf["nodelist"][name] = corosync_conf.node(name, number, address)
            corosync_conf.raise_version(conf)
            text = corosync_conf.render(conf)
            make_node_folders(name)
            env.write(env.path(CONF), text, 0o640)
            pmxcfs({"op": "sync"})
        with open(env.path("/etc/corosync/authkey"), "rb") as key:
            import base64
            authkey = base64.b64encode(key.read()).decode()
        if switches.get("lost_response") in (True, 1, name):
            raise Lost()
        return {"corosync_authkey": authkey, "corosync_conf": text, "warnings": []}
