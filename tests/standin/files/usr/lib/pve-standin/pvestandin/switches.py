"""What a test may switch while everything runs: how a node misbehaves.

The switches are JSON objects in /etc/pve-standin/switches (which outlives a power cut) and
/run/pve-standin/switches, the latter first, read again at each use; an environment
variable PVE_STANDIN_<NAME> is weaker than both. They are

    swallow           the peer's port 8006 takes no packet: a connection to it times out
    closed            the peer's port 8006 is closed
    mute              the peer takes a connection and never says a word on it
    lost_response     true or a node's name: the peer adds the node, and the connection ends
                      before the answer
    no_quorum         this node's corosync says that it has none
    stale             "exit" or "stay": what this node's corosync does when it has an older configuration
                      than the others, whoever of them is online; otherwise see corosyncd.py
    quorumtool_addresses  corosync-quorumtool shows addresses in the place of names, without -i too
    pmxcfs_hang       true: pmxcfs hangs from its next look on, until pve-cluster is restarted; strikes once
    conf_gap          seconds for which this node's /etc/pve/corosync.conf is not there whenever it changes
    disturb_locks     false: while a stale member disturbs, a cluster lock takes long and can be had;
                      otherwise each request of one times out
    corosync_blocked  true, or a list of link addresses: corosync neither sends to these nor
                      takes anything from them
    lock_life         seconds after which a lock that was left behind expires (120)
    die_at, hang_at   a number of the table in join.py: `pvecm add` is killed there by SIGKILL,
                      or does not go on before `go_on` is true; "empty-key": `pvecm add` or `updatecerts`
                      is killed when pve-ssl.key is there and nothing is in it yet
    die_as            "worker" or "parent": only this process of the two is killed
    ticket_life       seconds that a ticket is worth (7200)
    second_factor     six digits: root@pam has a second factor, of which these are the code
    second_factor_tries  wrong codes in a row after which no code is taken any more (8)
    nfs_down          the server of every NFS storage is off
    hold_lock         seconds for which the peer keeps the lock of corosync.conf while it adds a node

`die_at` and `hang_at` out of a file strike once: the file loses them then. A list of
numbers strikes once each, in its order.
"""

import json
import os

from . import env

FILES = ("/run/pve-standin/switches", "/etc/pve-standin/switches")


def _load(file):
    try:
        return json.loads(env.read(env.path(file)))
    except FileNotFoundError:
        return {}
    except ValueError:
        # A test is writing it at this moment; the next look will see it whole.
        return {}


def get(name, default=None):
    for file in FILES:
        found = _load(file)
        if name in found:
            return found[name]
    value = os.environ.get("PVE_STANDIN_" + name.upper())
    if value is None:
        return default
    try:
        return json.loads(value)
    except ValueError:
        return value


def wants(name, number):
    """Whether `strike` would strike."""
    for file in FILES:
        found = _load(file)
        if name in found:
            wanted = found[name] if isinstance(found[name], list) else [found[name]]
            return bool(wanted) and wanted[0] == number
    return get(name) == number


def strike(name, number):
    """Whether a switch names this number; one from a file is used up."""
    for file in FILES:
        found = _load(file)
        if name not in found:
            continue
        wanted = found[name] if isinstance(found[name], list) else [found[name]]
        if not wanted or wanted[0] != number:
            return False
        found.pop(name)
        if wanted[1:]:
            found[name] = wanted[1:]
        env.write(env.path(file), json.dumps(found))
        return True
    return get(name) == number
