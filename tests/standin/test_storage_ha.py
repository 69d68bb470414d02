"""pvesm and ha-manager: what they write, refuse and print, on two nodes of a cluster."""

import json
import os
import re
import unittest

from rig import ClusterCase, online, quorate, transcript, wait_for

WORDS = "31-storage-and-ha-words"
NFS = ("--server", "10.120.0.200", "--export", "/srv/ct", "--content", "rootdir,images")


class StorageAndHa(ClusterCase):
    def setUp(self):
        super().setUp()
        self.beta = self.rig.node("beta", 12).boot()
        self.beta.add(self.alpha)
        wait_for(lambda: online(self.alpha, "beta") and quorate(self.beta))

    def good(self, node, *words):
        code, text = node.run(*words)
        self.assertEqual(code, 0, text)
        return text

    def refused(self, node, text, *words):
        self.assertEqual(node.run(*words), (255, text))

    def test_storage(self):
        alpha, beta = self.alpha, self.beta
        self.assertEqual(self.good(beta, "pvesm", "add", "nfs", "ct", *NFS, "--nodes", "alpha"), "")
        # At once on the other node: the lock went with it.
        text = alpha.read("/etc/pve/storage.cfg")
        self.assertIn("nfs: ct\n\texport /srv/ct\n\tpath /mnt/pve/ct\n\tserver 10.120.0.200\n\tcontent ", text)
        self.assertIn("dir: local\n\tpath /var/lib/vz\n", text)
        self.refused(alpha, "create storage failed: storage ID 'ct' already defined\n", "pvesm", "add", "nfs", "ct", *NFS)
        self.good(beta, "pvesm", "set", "ct", "--nodes", "alpha,beta")
        self.assertRegex(alpha.read("/etc/pve/storage.cfg"), "\tnodes (alpha,beta|beta,alpha)\n")
        self.refused(beta, "update storage failed: can't change value of fixed parameter 'server'\n",
                     "pvesm", "set", "ct", "--server", "other")
        self.refused(beta, "Unknown option: export\n400 unable to parse option\npvesm set <storage> [OPTIONS]\n",
                     "pvesm", "set", "ct", "--export", "/x")
        self.refused(beta, "update storage failed: storage 'no' does not exist\n", "pvesm", "set", "no", "--nodes", "beta")
        self.refused(beta, "update storage failed: detected modified configuration - file changed by other user? Try again.\n",
                     "pvesm", "set", "ct", "--nodes", "beta", "--digest", "0" * 40)
        self.good(alpha, "pvesm", "set", "ct", "--delete", "nodes", "--options", "vers=4.2")
        self.assertNotIn("nodes", beta.read("/etc/pve/storage.cfg"))
        lines = self.good(beta, "pvesm", "status").splitlines()
        self.assertEqual(lines[0].split(), ["Name", "Type", "Status", "Total", "(KiB)", "Used", "(KiB)", "Available", "(KiB)", "%"])
        self.assertEqual([line.split()[:3] for line in lines[1:]], [["ct", "nfs", "active"], ["local", "dir", "active"]])
        self.good(alpha, "pvesm", "set", "ct", "--disable", "1")
        self.assertIn("disabled", self.good(beta, "pvesm", "status"))

    def test_storage_when_it_cannot(self):
        self.beta.switch(nfs_down=True)
        h31 = ("--server", "10.120.0.250", "--export", "/srv/x", "--content", "rootdir,images")
        self.same(self.beta.run("pvesm", "add", "nfs", "h31", *h31), WORDS, 0)
        self.assertFalse(self.alpha.exists("/etc/pve/storage.cfg"))
        lock = self.alpha.path("/etc/pve/priv/lock/file-storage_cfg")
        os.mkdir(lock)
        code, text = self.beta.run("pvesm", "add", "nfs", "ct", *NFS)
        self.assertEqual(code, 255)
        self.assertTrue(text.startswith("trying to acquire cfs lock 'file-storage_cfg' ...\n"), text)
        self.assertTrue(text.endswith("create storage failed: cfs-lock 'file-storage_cfg' error: got lock request timeout\n"), text)
        os.rmdir(lock)
        self.beta.switch()
        self.alpha.shut_down()
        wait_for(lambda: not quorate(self.beta))
        self.refused(self.beta, "create storage failed: cfs-lock 'file-storage_cfg' error: no quorum!\n",
                     "pvesm", "add", "nfs", "ct", *NFS)

    def test_status_as_recorded(self):
        """31: two NFS storages whose servers are off, and the local one, whose sizes are this machine's."""
        for name in ("fixed-nfs", "lab-nfs"):
            self.good(self.alpha, "pvesm", "add", "nfs", name, *NFS)
        self.alpha.switch(nfs_down=True)
        local = re.compile(r"(?m)^(local +dir +active) +\d+ +\d+ +\d+ +[\d.]+%$")
        wanted, got = transcript(WORDS, 2)[1], self.good(self.alpha, "pvesm", "status")
        self.assertEqual(len({len(line) for line in got.splitlines()}), 1)
        self.assertEqual(local.sub(r"\1", wanted).rstrip("\n"), local.sub(r"\1", got).rstrip("\n"))

    def test_groups(self):
        """PVE 8."""
        for node in (self.alpha, self.beta):
            node.environment["PVE_STANDIN_PVE"] = "8"
        self.good(self.alpha, "ha-manager", "groupadd", "stable", "--nodes", "alpha:2", "--nofailback", "1")
        self.good(self.alpha, "ha-manager", "add", "ct:100", "--group", "stable", "--state", "started")
        self.assertEqual(self.good(self.beta, "ha-manager", "groupconfig"), "group: stable\n\tnodes alpha:2\n\tnofailback 1\n\n")
        self.assertEqual(self.good(self.beta, "ha-manager", "config"), "ct:100\n\tgroup stable\n\tstate started\n\n")
        self.good(self.beta, "ha-manager", "groupset", "stable", "--nodes", "alpha:2,beta")
        self.assertRegex(self.alpha.read("/etc/pve/ha/groups.cfg"), "^group: stable\n\tnodes (alpha:2,beta|beta,alpha:2)\n\tnofailback 1\n\n$")
        self.refused(self.beta, "update ha group failed: no such ha group 'no'\n", "ha-manager", "groupset", "no", "--nodes", "beta")
        self.refused(self.beta, "create ha group failed: ha group ID 'stable' already defined\n",
                     "ha-manager", "groupadd", "stable", "--nodes", "beta")
        self.assertEqual(self.beta.run("ha-manager", "rules", "list")[0], 255)

    def test_rules(self):
        """PVE 9."""
        rules = ("ha-manager", "rules")
        self.refused(self.alpha, "cannot index groups: ha groups have been migrated to rules\n", "ha-manager", "groupconfig")
        self.same(self.alpha.run("ha-manager", "groupadd", "g31", "--nodes", "alpha"), WORDS, 1)
        self.assertEqual(self.good(self.alpha, *rules, "list"), "")
        self.refused(self.alpha, "create ha rule failed: cannot use unmanaged resource(s) ct:100.\n",
                     *rules, "add", "node-affinity", "r1", "--resources", "ct:100", "--nodes", "alpha")
        self.good(self.alpha, "ha-manager", "add", "ct:100")
        self.refused(self.alpha, "create ha rule failed: cannot use non-existent node(s) nosuch.\n",
                     *rules, "add", "node-affinity", "r1", "--resources", "ct:100", "--nodes", "nosuch")
        self.good(self.alpha, *rules, "add", "node-affinity", "r1", "--resources", "ct:100", "--nodes", "alpha:1", "--strict", "1")
        self.assertEqual(self.beta.read("/etc/pve/ha/rules.cfg"),
                         "node-affinity: r1\n\tnodes alpha:1\n\tresources ct:100\n\tstrict 1\n\n")
        self.good(self.beta, *rules, "set", "node-affinity", "r1", "--nodes", "beta,alpha:1")
        self.assertIn("\tnodes alpha:1,beta\n", self.alpha.read("/etc/pve/ha/rules.cfg"))
        got = json.loads(self.good(self.beta, *rules, "list", "--output-format", "json"))
        digest = got[0].pop("digest")
        self.assertEqual(got, [{"nodes": "alpha:1,beta", "order": 1, "resources": "ct:100", "rule": "r1", "strict": 1,
                                "type": "node-affinity"}])
        self.good(self.beta, *rules, "set", "node-affinity", "r1", "--comment", "x", "--digest", digest)
        self.refused(self.beta, "update HA rules failed: detected modified configuration - file changed by other user? Try again.\n",
                     *rules, "set", "node-affinity", "r1", "--comment", "y", "--digest", digest)
        self.refused(self.beta, "update HA rules failed: HA rule 'no' does not exist\n", *rules, "set", "node-affinity", "no", "--nodes", "beta")
        self.assertEqual(self.good(self.beta, *rules, "config").splitlines()[1:4:2],
                         ["| enabled | state  | rule | type          | resources | comment |",
                          "| 1       | in use | r1   | node-affinity | ct:100    | x       |"])
        self.alpha.shut_down()
        wait_for(lambda: not quorate(self.beta))
        self.refused(self.beta, "update HA rules failed: cfs-lock 'domain-ha' error: no quorum!\n",
                     *rules, "set", "node-affinity", "r1", "--nodes", "beta")

    def test_votes(self):
        """A new corosync.conf renamed over the old one; one that is not newer is left aside."""
        conf = self.alpha.read("/etc/pve/corosync.conf")
        at = conf.index("name: beta")
        new = conf[:at] + conf[at:].replace("quorum_votes: 1", "quorum_votes: 0", 1).replace("config_version: 2", "config_version: 3")
        self.beta.write("/etc/pve/corosync.conf.new", new)
        os.rename(self.beta.path("/etc/pve/corosync.conf.new"), self.beta.path("/etc/pve/corosync.conf"))
        wait_for(lambda: "Expected votes:   1\n" in self.alpha.run("pvecm", "status")[1]
                 and "Expected votes:   1\n" in self.beta.run("pvecm", "status")[1])
        self.assertEqual(self.beta.read("/etc/corosync/corosync.conf"), new)
        # Without beta the cluster stays quorate, and beta without alpha does not.
        self.beta.shut_down()
        wait_for(lambda: not online(self.alpha, "beta"))
        self.assertTrue(quorate(self.alpha))
        self.alpha.write("/etc/pve/corosync.conf.new", conf)
        os.rename(self.alpha.path("/etc/pve/corosync.conf.new"), self.alpha.path("/etc/pve/corosync.conf"))
        wait_for(lambda: "local corosync.conf is newer" in self.alpha.read("/run/pve-standin/pmxcfs.log"))
        self.assertEqual(self.alpha.read("/etc/corosync/corosync.conf"), new)


if __name__ == "__main__":
    unittest.main()
