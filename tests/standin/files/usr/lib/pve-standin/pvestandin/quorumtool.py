"""corosync-quorumtool and corosync-cfgtool, as far as they are used."""

import sys
import time

from . import env, ipc, switches


def corosync_status():
    """The state of the local corosync, or None when it does not run."""
    try:
        return ipc.call(env.run("corosync.sock"), {"op": "status"})
    except OSError:
        return None


def show_status(status, addresses=False):
    """`corosync-quorumtool -s`; with addresses `-siH`, as `pvecm status` wants it."""
    me = "0x%08x" % status["me"] if addresses else str(status["me"])
    print("Quorum information")
    print("------------------")
    print("Date:             " + time.ctime())
    print("Quorum provider:  corosync_votequorum")
    print("Nodes:            %d" % len(status["members"]))
    print("Node ID:          " + me)
    print("Ring ID:          " + status["ring"])
    print("Quorate:          " + ("Yes" if status["quorate"] else "No"))
    print()
    print("Votequorum information")
    print("----------------------")
    print("Expected votes:   %d" % status["expected"])
    print("Highest expected: %d" % status["expected"])
    print("Total votes:      %d" % status["total"])
    print("Quorum:           %d %s" % (status["quorum"], " " if status["quorate"] else "Activity blocked"))
    print("Flags:            " + ("Quorate " if status["quorate"] else ""))
    show_members(status, addresses)
    return 0 if status["quorate"] else 2


def show_members(status, addresses=False):
    """`corosync-quorumtool -l`."""
    print()
    print("Membership information")
    print("----------------------")
    print("    Nodeid      Votes Name")
    for member in status["members"]:
        number = "0x%08x" % member["id"] if addresses else "%10d" % member["id"]
        # Without -i it is the name that the address has, or the address; seen are both.
        name = member["address"] if addresses or switches.get("quorumtool_addresses") else member["name"]
        local = " (local)" if member["id"] == status["me"] else ""
        print("%s %10d %s%s" % (number, member["votes"], name, local))
    return 0


def main():
    status = corosync_status()
    if status is None:
        print("Cannot initialize CMAP service", file=sys.stderr)
        return 1
    options = "".join(word.lstrip("-") for word in sys.argv[1:])
    if "l" in options:
        return show_members(status, "i" in options)
    return show_status(status, "i" in options)


def cfgtool():
    status = corosync_status()
    if status is None:
        print("Could not initialize corosync configuration API error CS_ERR_LIBRARY", file=sys.stderr)
        return 1
    if "-R" in sys.argv[1:]:
        print("Reloading corosync.conf...")
        ipc.call(env.run("corosync.sock"), {"op": "reload"})
        print("Done")
        return 0
    print("Local node ID %d, transport knet" % status["me"])
    for link, address in sorted(status["nodes"][str(status["me"])]["links"].items(), key=lambda item: int(item[0])):
        print("LINK ID %s udp" % link)
        print("\taddr\t= " + address)
        print("\tstatus:")
        for number, node in sorted(status["nodes"].items(), key=lambda item: int(item[0])):
            state = "localhost" if int(number) == status["me"] else "connected" if node["heard"] else "disconnected"
            print("\t\tnodeid: %10s:\t%s" % (number, state))
    return 0
