"""A cluster with more than one link, and what becomes of votes: from Proxmox's sources (pve-cluster 9.1.6)."""

import os
import re
import unittest

from rig import NET, Case, ClusterCase, Rig, online, quorate, wait_for

CONF = "/etc/pve/corosync.conf"


def second(node):
    """The node's address on the second link."""
    return NET + str(100 + int(node.address.rpartition(".")[2]))


class Links(Case):
    def setUp(self):
        self.rig = Rig()
        self.addCleanup(self.rig.close)
        self.alpha = self.node("alpha", 11)
        self.alpha.run("pvecm", "create", "labcluster", "--link0", self.alpha.address, "--link1", second(self.alpha))
        wait_for(lambda: quorate(self.alpha))
        self.beta = self.node("beta", 12)

    def node(self, name, last):
        node = self.rig.node(name, last)
        node.environment["PVE_STANDIN_ADDRESSES"] = "%s %s" % (node.address, second(node))
        return node.boot()

    def refused(self, words, *links):
        code, text = self.beta.add(self.alpha, *links, link=False)
        self.assertEqual((code, text.splitlines()[-2:]),
                         (0, ["An error occurred on the cluster node: " + words, "Cluster join aborted!"]))
        self.untouched(self.beta)

    def test_two_links(self):
        alpha, beta = self.alpha, self.beta
        self.refused("corosync: link 1 exists in cluster config but wasn't specified for new node", "--link0", beta.address)
        self.refused("corosync: link 0 exists in cluster config but wasn't specified for new node", "--link1", second(beta))
        self.refused("corosync: link 7 specified for new node doesn't exist in cluster config",
                     "--link0", beta.address, "--link1", second(beta), "--link7", beta.address)
        self.refused("no links given but multiple links found on other nodes, fallback only supported on single-link clusters")
        code, text = beta.add(alpha, "--link1", second(beta) + ",priority=5")
        self.assertTrue(text.endswith("successfully added node 'beta' to cluster.\n"), text)
        wait_for(lambda: online(alpha, "beta") and quorate(beta))
        conf = beta.read(CONF)
        self.assertIn("    name: beta\n    nodeid: 2\n    quorum_votes: 1\n    ring0_addr: %s\n    ring1_addr: %s\n  }\n"
                      % (beta.address, second(beta)), conf)
        self.assertIn("  interface {\n    linknumber: 0\n  }\n  interface {\n    linknumber: 1\n  }\n", conf)
        links = re.findall(r"LINK ID (\d) udp\n\taddr\t= (\S+)\n", beta.run("corosync-cfgtool", "-s")[1])
        self.assertEqual(links, [("0", beta.address), ("1", second(beta))])

    def test_a_link_of_another_node(self):
        thief = self.rig.node("thief", 13)
        thief.environment["PVE_STANDIN_ADDRESSES"] = "%s %s" % (thief.address, second(self.alpha))
        thief.boot()
        text = thief.add(self.alpha, "--link1", second(self.alpha))[1]
        self.assertIn("corosync: address '%s' already used on link ring1_addr by node 'alpha'\n" % second(self.alpha), text)
        self.untouched(thief)

    def test_a_link_too_much(self):
        """A cluster that has link 1 only."""
        one = self.node("one", 14)
        one.run("pvecm", "create", "solo", "--link1", second(one))
        wait_for(lambda: quorate(one))
        code, text = self.beta.add(one)
        self.assertIn("corosync: link 0 specified for new node doesn't exist in cluster config\n", text)
        # Without a word about links the node's own address is what the cluster's one link gets.
        code, text = self.beta.add(one, link=False)
        self.assertTrue(text.endswith("successfully added node 'beta' to cluster.\n"), text)
        self.assertIn("    name: beta\n    nodeid: 2\n    quorum_votes: 1\n    ring1_addr: %s\n  }\n" % self.beta.address,
                      self.beta.read(CONF))


class Votes(ClusterCase):
    def entry(self, name):
        return re.search(r"  node \{\n    name: %s\n(.*?)  \}\n" % name, self.alpha.read(CONF), re.S).group(1)

    def test_votes(self):
        beta = self.rig.node("beta", 12).boot()
        beta.add(self.alpha, "--votes", "0")
        wait_for(lambda: online(self.alpha, "beta") and quorate(beta))
        # Dropped: corosync counts one.
        self.assertNotIn("quorum_votes", self.entry("beta"))
        self.assertIn("         2          1 beta (local)\n", beta.run("corosync-quorumtool", "-l")[1])
        text = self.alpha.read(CONF)
        new = text.replace("    name: beta\n", "    name: beta\n    quorum_votes: 0\n").replace("config_version: 2", "config_version: 3")
        self.alpha.write(CONF + ".new", new)
        os.rename(self.alpha.path(CONF + ".new"), self.alpha.path(CONF))
        wait_for(lambda: "         2          0 beta (local)\n" in beta.run("corosync-quorumtool", "-l")[1])
        # Its own words about votes are no help; without any the vote is back.
        self.assertIn("can't add existing node 'beta'\n", beta.add(self.alpha, "--force", "--votes", "1")[1])
        self.assertIn("successfully added node", beta.add(self.alpha, "--force")[1])
        self.assertNotIn("quorum_votes", self.entry("beta"))
        # It ran all the while, and reads its file at its start.
        beta.service("restart", "corosync")
        wait_for(lambda: "         2          1 beta (local)\n" in beta.run("corosync-quorumtool", "-l")[1])


if __name__ == "__main__":
    unittest.main()
