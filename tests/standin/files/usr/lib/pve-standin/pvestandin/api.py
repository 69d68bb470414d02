"""pvedaemon: the API calls that a join and a look at a cluster need."""

import hashlib
import json
import os
import random
import sys
import time

from . import certs, cli, corosync_conf, env, ipc, login, switches, tickets

CONF = "/etc/pve/corosync.conf"
NODE_FOLDERS = ("", "/lxc", "/openvz", "/priv", "/qemu-server")


class ApiError(Exception):
    def __init__(self, status, text, told=None):
        super().__init__(text)
        self.status, self.text = status, text
        # Whether the text is in the body too; of the refusals it is only a login's.
        self.told = status != 401 if told is None else told


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


def link_of(node):
    """The address of a node's lowest link."""
    links = corosync_conf.links(node)
    return links[min(links)]


def make_node_folders(name):
    for folder in NODE_FOLDERS:
        os.makedirs(env.path("/etc/pve/nodes/%s%s" % (name, folder)), exist_ok=True)


def new_entry(nodelist, name, form):
    """The entry of a node that wants to join, or is forced over its own; checks in the real one's order."""
    links = cli.links(form)
    check_addresses(nodelist, name, links)
    there = sorted(corosync_conf.links(next(iter(nodelist.values()))))
    if links:
        for number in range(8):
            if number in there and number not in links:
                raise ApiError(500, "corosync: link %d exists in cluster config but wasn't specified for new node\n" % number)
            if number not in there and number in links:
                raise ApiError(500, "corosync: link %d specified for new node doesn't exist in cluster config\n" % number)
    elif "new_node_ip" not in form:
        raise ApiError(500, "no links and no fallback ip (new_node_ip) given, cannot join cluster\n")
    elif len(there) > 1:
        raise ApiError(500, "no links given but multiple links found on other nodes,"
                            " fallback only supported on single-link clusters\n")
    else:
        links = {there[0]: form["new_node_ip"]}
    nodeid, votes = form.get("nodeid"), form.get("votes")
    old = nodelist.get(name)
    if old:
        # An entry without votes, which counts as one, gets one again.
        nodeid, votes = nodeid or old["nodeid"], votes if votes is not None else old.get("quorum_votes")
        same = nodeid == old["nodeid"] and int(votes or 0) == int(old.get("quorum_votes", 0))
        if not same or form.get("force") != "1":
            raise ApiError(500, "can't add existing node '%s'\n" % name)
    nodeid = int(nodeid or corosync_conf.free_nodeid(nodelist))
    for other, node in nodelist.items():
        if other != name and int(node["nodeid"]) == nodeid:
            raise ApiError(500, "corosync: nodeid '%d' already used by node '%s'\n" % (nodeid, other))
    return corosync_conf.node(name, nodeid, links, 1 if votes is None else int(votes))


def check_addresses(nodelist, name, links):
    """An address that two nodes have can take the whole cluster down."""
    for address in links.values():
        for other, node in nodelist.items():
            for number, used in corosync_conf.links(node).items():
                if other != name and used == address:
                    raise ApiError(500, "corosync: address '%s' already used on link ring%d_addr by node '%s'\n"
                                   % (address, number, other))


class Api:
    def __init__(self):
        self.login = login.Login()

    # -- what is asked

    def handle(self, message, _peer):
        """One request from pveproxy: method, path, form, ticket, csrf, peer."""
        try:
            return {"status": 200, "reason": "OK", "payload": {"data": self.dispatch(message)}}
        except Lost:
            return {"status": None, "reason": "", "payload": None}
        except ApiError as error:
            payload = {"message": error.text, "data": None} if error.told else None
            return {"status": error.status, "reason": error.text, "payload": payload}
        except (OSError, ValueError, KeyError) as error:
            return {"status": 500, "reason": str(error), "payload": {"data": None, "message": "%s\n" % error}}

    def dispatch(self, message):
        method, path, form = message["method"], message["path"], message["form"]
        if path == "/access/ticket" and method == "POST":
            try:
                data = self.login.ticket(form, message["peer"])
            except login.Refused:
                raise ApiError(401, "authentication failure\n", told=True)
            cluster = read_conf()["totem"].get("cluster_name")
            return dict(data, clustername=cluster) if cluster else data
        if not message["ticket"] or tickets.verify(message["ticket"]) != login.USER:
            time.sleep(env.AUTH_DELAY)
            raise ApiError(401, "No ticket" if not message["ticket"] else "permission denied - invalid PVE ticket")
        if method != "GET" and not tickets.csrf_is_good(message["csrf"], login.USER):
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
        rows += [{"type": "node", "id": "node/" + name, "name": name, "nodeid": int(node["nodeid"]), "ip": link_of(node),
                  "online": listed.get(name, {}).get("online", 0), "local": int(name == env.nodename())}
                 for name, node in sorted(conf["nodelist"].items())]
        return rows if conf["nodelist"] else []

    def join_information(self):
        conf = read_conf()
        if not conf["nodelist"]:
            raise ApiError(424, "node is not in a cluster, no join info available!")
        nodes = []
        for name, node in sorted(conf["nodelist"].items()):
            entry = dict(node, pve_addr=env.node_address(name) or link_of(node))
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
            conf["nodelist"][name] = new_entry(conf["nodelist"], name, form)
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
