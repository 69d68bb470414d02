"""The commands of pvecm but `add`."""

import os
import sys
import time

from . import api, cli, corosync_conf, env, ipc, nodefiles, quorumtool, services, tasks

AUTHKEY = "/etc/corosync/authkey"


def clustered():
    """The cluster's configuration; refuses outside a cluster."""
    try:
        return corosync_conf.parse(env.read(env.path(api.CONF)))
    except FileNotFoundError:
        raise cli.Refused("Error: Corosync config '%s' does not exist - is this node part of a cluster?\n" % api.CONF, 2)


def create(options):
    node = env.nodename()
    address = cli.own_address(node)
    if os.path.exists(env.path(api.CONF)):
        raise cli.Refused("cluster config '%s' already exists\n" % api.CONF)
    links = cli.links(options) or {0: address}
    for number, link in links.items():
        if not env.is_local(link):
            raise cli.Refused("link%d: cannot use IP '%s', not found on local node!\n" % (number, link))

    def work(task):
        try:
            make_cluster(task, options, node, links)
        except (OSError, services.Failed) as failed:
            return str(failed)
        return None

    tasks.run("clustercreate", options["clustername"], node, work)
    return 0


def make_cluster(task, options, node, links):
    if not os.path.exists(env.path(AUTHKEY)):
        task.say("Corosync Cluster Engine Authentication key generator.")
        task.say("Gathering 2048 bits for key from /dev/urandom.")
        task.say("Writing corosync key to %s." % AUTHKEY)
        env.write(env.path(AUTHKEY), os.urandom(256), 0o400)
    task.say("Writing corosync config to " + api.CONF)
    conf = corosync_conf.new_cluster(options["clustername"], node, links, int(options.get("nodeid", 1)))
    env.write(env.path(api.CONF), corosync_conf.render(conf), 0o640)
    nodefiles.sync()
    task.say("Restart corosync and cluster filesystem")
    services.systemctl("restart", "corosync", "pve-cluster")


def status(_options):
    conf = clustered()
    print("Cluster information")
    print("-------------------")
    print("Name:             " + conf["totem"]["cluster_name"])
    print("Config Version:   " + conf["totem"]["config_version"])
    print("Transport:        knet")
    print("Secure auth:      " + conf["totem"]["secauth"])
    print(flush=True)
    return with_corosync(lambda state: quorumtool.show_status(state, addresses=True))


def nodes(_options):
    clustered()
    return with_corosync(quorumtool.show_members)


def with_corosync(show):
    state = quorumtool.corosync_status()
    if state is None:
        raise cli.Refused("Cannot initialize CMAP service\n", 1)
    return show(state)


def expected(options):
    clustered()
    try:
        answer = ipc.call(env.run("corosync.sock"), {"op": "expected", "votes": int(options["expected"])})
    except OSError:
        raise cli.Refused("Cannot initialize CMAP service\n", 1)
    if answer.get("error"):
        raise cli.Refused(answer["error"] + "\n", 1)
    return 0


def updatecerts(options):
    node = env.nodename()
    quiet = bool(options.get("silent"))
    if not quorum_in_time(quiet):
        # Said with --silent too: pveproxy's start is to leave a word.
        raise cli.Refused("got timeout when trying to ensure cluster certificates and base file hierarchy is set up"
                          " - no quorum (yet) or hung pmxcfs?\n", 0 if quiet else 255)
    try:
        nodefiles.update(node, cli.own_address(node), lambda line: print(line, flush=True),
                         force=bool(options.get("force")), quiet=quiet)
    except RuntimeError as error:
        raise cli.Refused("%s\n" % error, 1)
    except (api.ApiError, OSError) as error:
        raise cli.Refused("%s\n" % error)
    return 0


def quorum_in_time(quiet):
    """Waits for quorum; whether it came."""
    deadline, looks = time.monotonic() + env.UPDATECERTS_WAIT, 0
    while not has_quorum():
        if time.monotonic() > deadline:
            return False
        if not quiet and looks % 50 == 0:
            print("waiting for pmxcfs mount to appear and get quorate...", flush=True)
        looks += 1
        time.sleep(0.1)
    return True


def has_quorum():
    try:
        return ipc.call(env.run("pmxcfs.sock"), {"op": "state"})["quorate"]
    except OSError:
        return False


def delnode(options):
    name = options["node"]
    with api.Lock("file-corosync_conf"):
        if not nodefiles.sync()["quorate"]:
            raise cli.Refused("cluster not ready - no quorum?\n")
        conf = corosync_conf.parse(env.read(env.path(api.CONF))) if os.path.exists(env.path(api.CONF)) else {"nodelist": {}}
        if name not in conf["nodelist"]:
            raise cli.Refused("Node/IP: %s is not a known host of the cluster.\n" % name)
        if name == env.nodename():
            raise cli.Refused("Cannot delete myself from cluster!\n")
        number = int(conf["nodelist"].pop(name)["nodeid"])
        corosync_conf.raise_version(conf)
        env.write(env.path(api.CONF), corosync_conf.render(conf), 0o640)
        nodefiles.sync()
    print("Killing node %d" % number, flush=True)
    state = quorumtool.corosync_status()
    if not state or number not in [member["id"] for member in state["members"]]:
        print("Could not kill node (error = CS_ERR_NOT_EXIST)", file=sys.stderr)
    return 0
