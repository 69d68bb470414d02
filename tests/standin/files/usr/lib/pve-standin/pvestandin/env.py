"""Where things are and how long they take; the environment changes both for tests.

Every path goes through `path()`, so that several nodes can run on one machine as an
ordinary user, each with its own PVE_STANDIN_ROOT and its own loopback address.
"""

import os
import socket

ROOT = os.environ.get("PVE_STANDIN_ROOT", "")


def _number(name, default):
    return float(os.environ.get("PVE_STANDIN_" + name, default))


# Seconds. The defaults are what the real programs were seen to take.
AUTH_DELAY = _number("AUTH_DELAY", 3)
LOCK_TIMEOUT = _number("LOCK_TIMEOUT", 10)
CONNECT_TIMEOUT = _number("CONNECT_TIMEOUT", 60)
# Between two heartbeats, and the silence after which a member counts as gone.
BEAT = _number("BEAT", 1)
SILENCE = _number("SILENCE", 10)
# How long `pvecm updatecerts` waits for quorum, as pveproxy's ExecStartPre too.
UPDATECERTS_WAIT = _number("UPDATECERTS_WAIT", 80)
# While a stale member disturbs: from one new membership to the next, and how much of that the token is lost.
DISTURB_PERIOD = _number("DISTURB_PERIOD", 10.6)
DISTURB_BLOCK = _number("DISTURB_BLOCK", 6.4)
# Between two looks of pmxcfs at corosync and at its own files.
POLL = _number("POLL", 1)

# A place or a node of rig.py loses its processes, never the machine below: what was
# written is there, and twenty databases on one disk wait for it in vain.
SYNC = not os.environ.get("PVE_STANDIN_NO_FSYNC")

# A folder that all nodes of a cluster see, for their locks; only where they run on one machine.
LOCKS = os.environ.get("PVE_STANDIN_LOCKS")

API_PORT = int(_number("API_PORT", 8006))
LINK_PORT = int(_number("LINK_PORT", 5405))


def path(absolute):
    """The file behind an absolute path of the node."""
    return ROOT + absolute


def run(name):
    """A file of the run-time folder (sockets, process numbers)."""
    return path("/run/pve-standin/" + name)


def nodename():
    """The kernel's host name without its domain, as pmxcfs takes it at its start."""
    return os.environ.get("PVE_STANDIN_NODE") or os.uname().nodename.split(".")[0]


def _loopback(address):
    net = os.environ.get("PVE_STANDIN_NET")
    if net and address.startswith(net):
        return False
    return address.startswith("127.") or address == "::1"


def lookup(name):
    """All addresses of a name, loopback ones included; empty when it does not resolve."""
    found = []
    try:
        with open(path("/etc/hosts"), encoding="utf-8", errors="replace") as lines:
            for line in lines:
                words = line.split("#", 1)[0].split()
                if name in words[1:]:
                    found.append(words[0])
    except OSError:
        pass
    if not found and not ROOT:
        try:
            infos = socket.getaddrinfo(name, None, 0, socket.SOCK_STREAM)
            found = [info[4][0] for info in infos]
        except OSError:
            pass
    return found


def node_address(name):
    """The first address of a name that is not loopback, or None."""
    for address in lookup(name):
        if not _loopback(address):
            return address
    return None


def is_local(address):
    """Whether an interface of this node has the address."""
    listed = os.environ.get("PVE_STANDIN_ADDRESSES")
    if listed is not None:
        return address in listed.split()
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((address, 0))
        return True
    except OSError:
        return False


def write(file, data, mode=0o644):
    """Writes a file whole: a temporary file beside it, then a rename. It is made with its mode, as Proxmox's file_set_contents makes
    it: no power cut can leave it with another one."""
    if isinstance(data, str):
        data = data.encode("utf-8", "surrogateescape")
    os.makedirs(os.path.dirname(file), exist_ok=True)
    temporary = "%s.tmp.%d" % (file, os.getpid())
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(handle, "wb") as out:
        # An earlier one of the same name, or a umask.
        if os.fstat(handle).st_mode & 0o7777 != mode:
            os.fchmod(handle, mode)
        out.write(data)
        out.flush()
        if SYNC:
            os.fsync(out.fileno())
    os.rename(temporary, file)


def read(file):
    """A text file; bytes that are no UTF-8 survive a round trip through `write`."""
    with open(file, encoding="utf-8", errors="surrogateescape") as lines:
        return lines.read()
