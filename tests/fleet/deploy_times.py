#!/usr/bin/python3
"""How long a deploy takes: to a room of PCs that have nothing, with the base from the web server alone and from the swarm.

    tests/fleet/deploy_times.py [--pcs N] [--rate MBIT] [--megabytes N]

The PCs and the desk are those of the tests here, with real Ansible, sshd, curl and aria2; every cable, the desk's with the web
server among them, is limited by tc. It judges nothing, so it is no test.
"""

import argparse
import os
import pathlib
import time
import unittest

import fleetrig

WAYS = (("curl, from the web server alone", "curl"), ("aria2, by torrent and web seed", "aria2c"))


def uplink():
    """Bytes that have left the desk."""
    return int(pathlib.Path("/sys/class/net/lab/statistics/tx_bytes").read_text(encoding="ascii"))


def deployed(rig, pcs, program):
    """One deploy: seconds until the last PC had the base, seconds in all, and the bytes that the desk sent."""
    sent, begun = uplink(), time.time()
    play = rig.play("deploy", "-e", '{"imgbuild_download_with": ["%s"]}' % program)
    seconds = time.time() - begun
    if play.code or any(pc.status("vm%d" % number)["state"] != "running" for number, pc in enumerate(pcs, 101)):
        raise RuntimeError(str(play))
    # An image has its name since its inode was changed last.
    image = max(path.stat().st_ctime for pc in pcs for path in (pc.folder / "bases").glob("*.qcow2")) - begun
    return image, seconds, uplink() - sent


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--pcs", type=int, default=8, help="at most 30")
    parser.add_argument("--rate", type=float, default=40, help="Mbit/s of every cable, in each direction")
    parser.add_argument("--megabytes", type=int, default=64, help="MiB of the base")
    options = parser.parse_args()
    fleetrig.enter()
    rig = fleetrig.Rig("deploy_times")
    try:
        rig.base(size=options.megabytes)
        rig.write_lab(options.pcs, room=rig.published_with_torrent())
        pcs = [rig.pc() for _ in range(options.pcs)]
        fleetrig.limit("lab", options.rate)
        for pc in pcs:
            pc.limit(options.rate)
        size = (rig.lab / "base.qcow2").stat().st_size
        print("%d PCs, every cable %g Mbit/s, base of %.1f MB, %d cores" % (options.pcs, options.rate, size / 1e6, os.cpu_count()), flush=True)
        for way, program in WAYS:
            image, seconds, sent = deployed(rig, pcs, program)
            print("%-32s the last PC has the base after %5.1f s, all VMs run after %5.1f s; the desk sent %.1f copies"
                  % (way, image, seconds, sent / size), flush=True)
            rig.play("remove", "-e", "imgbuild_yes=true")
    finally:
        rig.close()
        unittest.case.doModuleCleanups()


if __name__ == "__main__":
    main()
