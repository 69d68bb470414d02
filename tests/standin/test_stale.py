"""28: a member that was off while the cluster changed, and what it does to the others."""

import json
import os
import re
import shutil
import subprocess
import time
import unittest

from rig import ClusterCase, essence, normal, online, quorate, transcript, wait_for

NAME = "28-stale-member-that-stays"
CONF, LOCAL = "/etc/pve/corosync.conf", "/etc/corosync/corosync.conf"
# The others' disturbance, in seconds: shorter than the real one, which the default is.
PERIOD, BLOCK = 2.6, 1.6


def block_of(name, number):
    """Output of a block with one command, without the number of its configuration."""
    return versionless(normal(transcript(name, number)[1]))


def versionless(text):
    text = re.sub(r"(?m)^(Config Version: +)\d+", r"\1VERSION", text)
    return re.sub(r"config_version: \d+", "config_version: VERSION", text)


class Stale(ClusterCase):
    """As in the transcript: alpha, beta and gamma vote, vm41 and vm43 do not; vm41 missed vm43's join."""

    SETTINGS = {"DISTURB_PERIOD": PERIOD, "DISTURB_BLOCK": BLOCK}

    def joined(self, name, last, votes=1):
        node = self.rig.node(name, last).boot()
        code, text = node.add(self.alpha)
        self.assertIn("successfully added node '%s' to cluster." % name, text)
        wait_for(lambda: all(online(other, name) and quorate(other) for other in self.rig.nodes))
        if votes == 0:
            self.change(re.sub(r"(name: %s\n    nodeid: \d+\n    quorum_votes: )1" % name, r"\g<1>0", self.alpha.read(CONF)))
        return node

    def change(self, text):
        version = int(re.search(r"config_version: (\d+)", text).group(1))
        new = text.replace("config_version: %d" % version, "config_version: %d" % (version + 1))
        self.alpha.write(CONF + ".new", new)
        os.rename(self.alpha.path(CONF + ".new"), self.alpha.path(CONF))
        wait_for(lambda: all(node.peek(LOCAL) == new for node in self.rig.nodes))

    def off(self, node):
        node.shut_down()
        wait_for(lambda: not online(self.alpha, node.name))
        self.aside(node)

    def aside(self, node):
        """It takes no part in what all nodes are asked; the rig still ends it."""
        self.rig.nodes.remove(node)
        self.addCleanup(node.shut_down)

    def as_recorded(self, number, got):
        code, _ = transcript(NAME, number)
        self.assertEqual((code, block_of(NAME, number)), (got[0], versionless(normal(got[1]))))

    def same_members(self, number, node):
        self.assertEqual(essence(transcript(NAME, number)[1]), essence(node.read("/etc/pve/.members")))

    def test_stays_and_disturbs(self):
        alpha, beta, gamma = self.alpha, self.joined("beta", 12), self.joined("gamma", 13)
        vm41 = self.joined("vm41", 41, votes=0)
        self.off(vm41)
        vm43 = self.joined("vm43", 43, votes=0)
        vm41.boot()
        wait_for(lambda: "A new membership" in self.alpha.read("/run/pve-standin/corosync.log").rpartition("Token has")[2]
                 and '"vm41": { "id": 4, "online": 1' in vm41.read("/etc/pve/.members"))
        self.assertNotIn("Exiting", vm41.read("/run/pve-standin/corosync.log"))

        # What the stale member shows.
        for number, file in ((0, LOCAL), (1, CONF)):
            self.as_recorded(number, (0, vm41.read(file)))
        self.same_members(2, vm41)
        for number, words in ((3, ("pvecm", "status")), (4, ("corosync-quorumtool", "-s")), (5, ("corosync-quorumtool", "-l")),
                              (6, ("corosync-cfgtool", "-s"))):
            self.as_recorded(number, vm41.run(*words))
        # What the others show.
        self.same_members(7, alpha)
        self.as_recorded(8, alpha.run("corosync-quorumtool", "-s"))
        self.as_recorded(9, alpha.run("corosync-cfgtool", "-s"))
        self.assertTrue(all(quorate(node) for node in (alpha, beta, gamma, vm43)))
        log = alpha.read("/run/pve-standin/corosync.log")
        for line in transcript(NAME, 10)[1].splitlines()[-4:]:
            wanted = re.sub(r"^.*?: +|\(1\.\w+\)", "", line)
            self.assertIn(wanted, re.sub(r"\(1\.\w+\)", "", log))

        # Writes take long again and again, as the token does.
        took = [self.write(alpha) for _ in range(60)]
        slow = [seconds for seconds in took if seconds > BLOCK / 4]
        self.assertTrue(slow, took)
        self.assertLess(max(took), BLOCK + 1)
        # Locks time out, and so do joins and changes.
        lock = "got lock request timeout\n"
        self.assertEqual(alpha.run("pvesm", "set", "local", "--content", "iso")[1].splitlines(True)[-1],
                         "update storage failed: cfs-lock 'file-storage_cfg' error: " + lock)
        self.assertEqual(beta.run("ha-manager", "add", "ct:100")[1].splitlines(True)[-1],
                         "create resource failed: cfs-lock 'domain-ha' error: " + lock)
        iota = self.rig.node("iota", 15).boot()
        self.same(iota.add(alpha), "15-lock-timeout", 1)
        self.untouched(iota)

        # The newest file, and corosync again.
        shutil.copyfile(alpha.path(LOCAL), vm41.path(LOCAL))
        vm41.service("restart", "corosync")
        wait_for(lambda: quorate(vm41) and all(online(vm41, name) for name in ("alpha", "beta", "gamma", "vm43")))
        wait_for(lambda: online(alpha, "vm41"))
        for number, node in ((11, vm41), (12, alpha)):
            got = node.outputs(("/etc/pve/.members",)) + node.run("corosync-quorumtool", "-s")[1]
            self.assertEqual(sorted(line for line in essence(transcript(NAME, number)[1]) if line != "active"), sorted(essence(got)))
        self.assertEqual(vm41.read(CONF), alpha.read(CONF))
        self.assertLess(max(self.write(alpha) for _ in range(30)), BLOCK / 4)
        self.assertEqual(alpha.run("pvesm", "set", "local", "--content", "iso"), (0, ""))

    def write(self, node):
        """Seconds that a shell needs to write a file of the cluster, as a user would try it."""
        began = time.monotonic()
        subprocess.run(["sh", "-c", "echo x > " + node.path("/etc/pve/test")], check=True)
        took = time.monotonic() - began
        time.sleep(0.1)
        return took

    def test_exits_when_all_who_are_on_stand_in_its_file(self):
        """The cluster changed while vm41 was off, and nobody new is on: vm41's corosync ends itself."""
        vm41 = self.joined("vm41", 41, votes=0)
        self.off(vm41)
        self.change(self.alpha.read(CONF))
        vm41.boot()
        log = "/run/pve-standin/corosync.log"
        wait_for(lambda: re.search(r"Received config version \(\d+\) is different than my config version \(\d+\)! Exiting",
                                   vm41.peek(log)))
        wait_for(lambda: vm41.run("corosync-quorumtool", "-s")[0] == 1)
        # A switch has it stay; the same node, the same file.
        vm41.switch(stale="stay")
        vm41.service("start", "corosync")
        wait_for(lambda: "Token has not been received" in self.alpha.read(log))
        self.assertEqual(vm41.run("corosync-quorumtool", "-s")[0], 2)
        # And end, though it would stay.
        vm41.service("stop", "corosync")
        self.joined("vm43", 43, votes=0)
        vm41.switch(stale="exit")
        vm41.service("start", "corosync")
        wait_for(lambda: vm41.run("corosync-quorumtool", "-s")[0] == 1)

    def test_half_joined(self):
        """A join that died before its database, and whose corosync is older: the same."""
        self.joined("beta", 12)
        vm41 = self.rig.node("vm41", 41).boot()
        vm41.switch(die_at=9)
        vm41.add(self.alpha)
        self.aside(vm41)
        self.joined("vm43", 43)
        vm41.shut_down()
        vm41.boot()
        wait_for(lambda: "Token has not been received" in self.alpha.read("/run/pve-standin/corosync.log"))
        self.assertIn('"version": 0\n}', vm41.read("/etc/pve/.members"))
        self.assertEqual(vm41.run("corosync-quorumtool", "-s")[0], 2)
        self.assertTrue(quorate(self.alpha))
        shutil.copyfile(self.alpha.path(LOCAL), vm41.path(LOCAL))
        vm41.service("restart", "corosync")
        wait_for(lambda: "vm41" in self.alpha.run("pvecm", "nodes")[1])
        self.assertEqual(self.alpha.run("pvesm", "set", "local", "--content", "iso"), (0, ""))

    def test_pmxcfs_that_hangs(self):
        """corosync counts it, .members says nothing, until pve-cluster is started again."""
        beta = self.joined("beta", 12)
        beta.switch(pmxcfs_hang=True)
        wait_for(lambda: '"version": 0\n}' in beta.read("/etc/pve/.members"))
        self.assertEqual(json.loads(beta.read("/etc/pve-standin/switches")), {})
        wait_for(lambda: not online(self.alpha, "beta"))
        self.assertEqual(beta.run("corosync-quorumtool", "-s")[0], 0)
        self.assertEqual(beta.read(CONF), self.alpha.read(CONF))
        beta.service("restart", "corosync")
        time.sleep(1)
        self.assertIn('"version": 0\n}', beta.read("/etc/pve/.members"))
        beta.service("restart", "pve-cluster")
        wait_for(lambda: quorate(beta) and online(self.alpha, "beta"))

    def test_addresses_and_a_gap(self):
        self.alpha.switch(quorumtool_addresses=True, conf_gap=0.5)
        self.assertIn("         1          1 %s (local)\n" % self.alpha.address, self.alpha.run("corosync-quorumtool", "-l")[1])
        text = self.alpha.read(CONF)
        self.alpha.write(CONF + ".new", text.replace("config_version: 1", "config_version: 2"))
        os.rename(self.alpha.path(CONF + ".new"), self.alpha.path(CONF))
        wait_for(lambda: not self.alpha.exists(CONF))
        wait_for(lambda: "config_version: 2" in self.alpha.peek(CONF))


if __name__ == "__main__":
    unittest.main()
