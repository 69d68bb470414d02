"""Joins that succeed, that go wrong halfway, and what a cluster shows afterwards."""

import os
import signal
import ssl
import subprocess
import time
import unittest

from rig import PASSWORD, ClusterCase, normal, online, quorate, transcript, wait_for


class Members(ClusterCase):
    """A cluster per test, because these change it."""

    def joined(self, name, last):
        node = self.rig.node(name, last).boot()
        code, text = node.add(self.alpha)
        self.assertTrue(text.endswith("successfully added node '%s' to cluster.\n" % name), text)
        self.assertEqual(code, 0)
        wait_for(lambda: online(self.alpha, name) and online(node, "alpha"))
        return node

    def assert_certificate(self, node):
        """The node's certificate is the cluster's and is the one that its API shows."""
        done = subprocess.run(["openssl", "verify", "-CAfile", node.path("/etc/pve/pve-root-ca.pem"),
                               node.path("/etc/pve/local/pve-ssl.pem")], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(node.read("/etc/pve/pve-root-ca.pem"), self.alpha.read("/etc/pve/pve-root-ca.pem"))
        shown = ssl.get_server_certificate((node.address, self.rig.api_port))
        self.assertEqual(shown.strip(), node.read("/etc/pve/local/pve-ssl.pem").strip())

    def test_join(self):
        beta = self.rig.node("beta", 12).boot()
        self.same(beta.add(self.alpha), "02-pvecm-add-success")
        wait_for(lambda: online(self.alpha, "beta") and online(beta, "alpha"))
        self.same((0, beta.read("/etc/pve/.members")), "20-joined-files", 0)
        self.same((0, self.alpha.read("/etc/pve/.members")), "20b-creator-files", 0)
        self.same((0, beta.read("/etc/pve/corosync.conf")), "20-joined-files", 1)
        for node in (self.alpha, beta):
            self.assertEqual(node.read("/etc/corosync/corosync.conf"), self.alpha.read("/etc/pve/corosync.conf"))
        self.assertEqual(os.stat(beta.path("/etc/corosync/authkey")).st_mode & 0o777, 0o644)
        self.assertEqual(os.stat(self.alpha.path("/etc/corosync/authkey")).st_mode & 0o777, 0o400)
        self.assertEqual(os.readlink(beta.path("/root/.ssh/authorized_keys")), "/etc/pve/priv/authorized_keys")
        self.assertEqual(os.readlink(beta.path("/etc/pve/local")), "nodes/beta")
        backups = os.listdir(beta.path("/var/lib/pve-cluster/backup"))
        self.assertRegex(" ".join(backups), r"^config-\d+\.sql\.gz$")
        self.assertEqual(self.last_task(beta), "OK")
        self.assert_certificate(beta)

        name = "22-pvecm-status-joined-quorate"
        wait_for(lambda: "Nodes:            2" in self.alpha.run("pvecm", "status")[1])
        for at, words in enumerate((["pvecm", "status"], ["pvecm", "nodes"], ["corosync-quorumtool", "-s"],
                                    ["corosync-cfgtool", "-s"], )):
            self.same(beta.run(*words), name, at)
        self.same(self.alpha.run("pvecm", "status"), name, 4)
        self.same(self.alpha.run("pvecm", "nodes"), name, 5)
        self.same(beta.add(self.alpha), "09-already-member")

        # A second machine of the same name.
        other = self.rig.node("beta", 14).boot()
        self.same(other.add(self.alpha), "10-name-taken")
        self.untouched(other)

    def test_join_with_a_yes(self):
        self.joined("beta", 12)
        gamma = self.rig.node("gamma", 13).boot()
        got = gamma.add(self.alpha, pin=False, link=False, stdin=PASSWORD + "\nyes\n")
        self.same(got, "02b-pvecm-add-success-no-fingerprint")
        self.assert_certificate(gamma)

    def test_no_quorum(self):
        beta = self.joined("beta", 12)
        gamma = self.rig.node("gamma", 13).boot()
        beta.shut_down()
        wait_for(lambda: not quorate(self.alpha) and not online(self.alpha, "beta"))
        self.same(gamma.add(self.alpha), "14-cluster-without-quorum")
        self.untouched(gamma)

        name = "22-pvecm-status-joined-inquorate"
        # The real cluster had seen more changes by then.
        for at, words in enumerate((["pvecm", "status"], ["pvecm", "nodes"], ["corosync-quorumtool", "-s"],
                                    ["corosync-quorumtool", "-l"])):
            code, text = self.alpha.run(*words)
            self.same((code, text.replace("Config Version:   2", "Config Version:   6")), name, at)
        self.assertEqual(os.stat(self.alpha.path("/etc/pve/corosync.conf")).st_mode & 0o777, 0o440)
        # What is written without quorum does not stay.
        os.chmod(self.alpha.path("/etc/pve/priv"), 0o700)
        self.alpha.write("/etc/pve/priv/x", "x")
        wait_for(lambda: not self.alpha.exists("/etc/pve/priv/x"))

        self.assertEqual(self.alpha.run("pvecm", "expected", "1"), (0, ""))
        wait_for(lambda: quorate(self.alpha))
        # Power on again: the database survived, and what changed meanwhile arrives.
        self.alpha.write("/etc/pve/storage.cfg", "nfs: ct\n")
        beta.boot()
        wait_for(lambda: online(self.alpha, "beta") and beta.exists("/etc/pve/storage.cfg"))
        self.assertEqual(beta.read("/etc/pve/storage.cfg"), "nfs: ct\n")

    def test_of_two_configurations_the_first_lasts(self):
        """Two nodes change corosync.conf, neither knows of the other's change."""
        beta, gamma = self.joined("beta", 12), self.joined("gamma", 13)
        nodes = (self.alpha, beta, gamma)
        wait_for(lambda: len({node.read("/etc/pve/corosync.conf") for node in nodes}) == 1)
        text = self.alpha.read("/etc/pve/corosync.conf")
        later = text.replace("config_version: 3", "config_version: 4")
        self.assertNotEqual(text, later)
        # Nothing is decided before both are written.
        decides = int(self.alpha.read("/run/pve-standin/pmxcfs.pid"))
        os.kill(decides, signal.SIGSTOP)
        try:
            for node in (beta, gamma):
                new = later.replace("debug: off", "debug: " + node.name)
                node.write("/etc/pve/corosync.conf.new", new)
                os.rename(node.path("/etc/pve/corosync.conf.new"), node.path("/etc/pve/corosync.conf"))
                # Not before all have it is corosync told.
                self.assertEqual(node.read("/etc/corosync/corosync.conf"), text)
        finally:
            os.kill(decides, signal.SIGCONT)
        wait_for(lambda: self.alpha.read("/etc/corosync/corosync.conf") != text)
        first = self.alpha.read("/etc/pve/corosync.conf")
        self.assertIn(first, [later.replace("debug: off", "debug: " + name) for name in ("beta", "gamma")])
        for node in nodes:
            for file in ("/etc/pve/corosync.conf", "/etc/corosync/corosync.conf"):
                wait_for(lambda: node.read(file) == first)
            self.assertTrue(quorate(node))

    def test_files_follow(self):
        beta = self.joined("beta", 12)
        beta.write("/etc/pve/user.cfg", "from beta\n")
        wait_for(lambda: self.alpha.exists("/etc/pve/user.cfg"))
        self.assertEqual(self.alpha.read("/etc/pve/user.cfg"), "from beta\n")
        os.unlink(self.alpha.path("/etc/pve/user.cfg"))
        wait_for(lambda: not beta.exists("/etc/pve/user.cfg"))

    def disturbed(self, node):
        """Whether a stale member keeps the cluster from its locks."""
        return node.run("pvesm", "set", "local", "--content", "iso")[0] != 0

    def test_half_joined_is_repaired_by_force(self):
        """24, 24b: the join died after authkey was written; after a boot the next joiner gets no quorum."""
        self.joined("beta", 12)
        epsilon = self.rig.node("epsilon", 15).boot()
        # What the peer answers, and nothing else of the join.
        self.alpha.write("/etc/pve/corosync.conf", self.alpha.read("/etc/pve/corosync.conf").replace(
            "config_version: 2", "config_version: 3").replace(
            "nodelist {\n", "nodelist {\n  node {\n    name: epsilon\n    nodeid: 3\n    quorum_votes: 1\n"
            "    ring0_addr: %s\n  }\n" % epsilon.address))
        wait_for(lambda: "epsilon" in self.alpha.read("/etc/corosync/corosync.conf"))
        with open(self.alpha.path("/etc/corosync/authkey"), "rb") as key:
            authkey = key.read()
        os.makedirs(epsilon.path("/etc/corosync"))
        with open(epsilon.path("/etc/corosync/authkey"), "wb") as key:
            key.write(authkey)
        epsilon.write("/etc/corosync/corosync.conf", self.alpha.read("/etc/corosync/corosync.conf"))
        epsilon.shut_down()
        epsilon.boot()
        wait_for(lambda: "epsilon" in self.alpha.run("pvecm", "nodes")[1])
        self.assertIn('"version": 0', epsilon.read("/etc/pve/.members"))
        self.assertFalse(online(self.alpha, "epsilon"))
        self.assertEqual(epsilon.run("pvecm", "status")[0], 2)

        theta = self.rig.node("theta", 18).boot()
        waiting = theta.spawn("pvecm", "add", self.alpha.address, "--fingerprint", self.alpha.fingerprint(),
                              "--link0", theta.address)
        waiting.stdin.write(PASSWORD + "\n")
        waiting.stdin.flush()
        wait_for(lambda: theta.exists("/etc/pve/.members") and '"theta"' in self.alpha.read("/etc/pve/.members")
                 and '"cluster"' in theta.read("/etc/pve/.members"))
        self.assertFalse(quorate(theta))
        waiting.send_signal(signal.SIGTERM)
        text = waiting.communicate(timeout=60)[0]
        self.assertEqual(normal(text), normal(transcript("19b-corosync-udp-blocked")[1]))
        self.assertEqual(waiting.returncode, 0)
        self.assertEqual(self.last_task(theta), "received interrupt")

        # Epsilon goes off: theta gets its quorum by itself, and updatecerts does the rest.
        epsilon.shut_down()
        wait_for(lambda: quorate(theta))
        self.assertEqual(theta.run("pvecm", "updatecerts"), (0, "(re)generate node files\n"))
        theta.service("reload-or-restart", "pveproxy")
        wait_for(lambda: ssl.get_server_certificate((theta.address, self.rig.api_port)).strip()
                 == theta.read("/etc/pve/local/pve-ssl.pem").strip())

        epsilon.boot()
        refused = epsilon.add(self.alpha)
        self.assertIn("* authentication key '/etc/corosync/authkey' already exists\n", refused[1])
        # Theta is not in its corosync.conf: it stays and disturbs, and `pvecm add` starts no corosync that runs.
        wait_for(lambda: self.disturbed(self.alpha))
        epsilon.service("stop", "corosync")
        wait_for(lambda: not self.disturbed(self.alpha))
        code, text = epsilon.add(self.alpha, "--force")
        self.assertTrue(text.endswith("successfully added node 'epsilon' to cluster.\n"), text)
        self.assertEqual(code, 0)
        wait_for(lambda: online(self.alpha, "epsilon"))
        self.assert_certificate(epsilon)

    def test_an_older_configuration_makes_corosync_exit(self):
        """16c: the loser of a race."""
        beta = self.joined("beta", 12)
        beta.service("stop", "corosync")
        older = beta.read("/etc/corosync/corosync.conf").replace("config_version: 2", "config_version: 1")
        beta.service("stop", "pve-cluster")
        beta.write("/etc/corosync/corosync.conf", older)
        beta.service("start", "corosync")
        log = "/run/pve-standin/corosync.log"
        wait_for(lambda: "Received config version (2) is different than my config version (1)! Exiting" in beta.read(log))
        wait_for(lambda: beta.run("corosync-quorumtool", "-s")[0] == 1)

    def test_two_joins_at_once(self):
        """16b, 16c: each gets in or loses its corosync, and --force repairs the loser."""
        beta = self.joined("beta", 12)
        joiners = [self.rig.node("zeta", 16).boot(), self.rig.node("eta", 17).boot()]
        for node in joiners:
            # The other outcome, that it stays, is test_stale.py's.
            node.switch(stale="exit")
        running = []
        for node, peer in zip(joiners, (self.alpha, beta)):
            process = node.spawn("pvecm", "add", peer.address, "--fingerprint", peer.fingerprint(), "--link0", node.address)
            process.stdin.write(PASSWORD + "\n")
            process.stdin.flush()
            running.append(process)
        for node, process in zip(joiners, running):
            log = "/run/pve-standin/corosync.log"
            wait_for(lambda: process.poll() is not None
                     or ("Exiting" in node.peek(log) and node.exists("/etc/pve/corosync.conf")))
            # It says that it waits a moment after pmxcfs is there.
            time.sleep(0.5)
            process.terminate()
            text = process.communicate(timeout=60)[0]
            self.assertEqual(process.returncode, 0)
            won = "successfully added node '%s' to cluster." % node.name
            if won not in text:
                self.assertTrue(text.endswith("waiting for quorum...received interrupt\n"), text)
                # The other one may still be needed for the majority.
                wait_for(lambda: quorate(self.alpha))
                self.assertIn(won, node.add(self.alpha, "--force")[1])
        everybody = ["alpha", "beta", "zeta", "eta"]
        wait_for(lambda: all(online(node, name) for node in self.rig.nodes for name in everybody))
        # Nobody's write got lost: root's key of each node is in the list of each.
        for node in self.rig.nodes:
            wait_for(lambda: node.read("/etc/pve/priv/authorized_keys").count("\n") == 4)
            self.assert_certificate(node)

    def test_missing_host_key(self):
        beta = self.rig.node("beta", 12).boot()
        os.unlink(beta.path("/etc/ssh/ssh_host_rsa_key.pub"))
        code, text = beta.add(self.alpha)
        self.assertEqual(code, 0)
        self.assertIn("merge authorized SSH keys\n", text)
        self.assertNotIn("successfully added", text)

    def test_delnode(self):
        beta = self.joined("beta", 12)
        self.joined("gamma", 13)
        beta.shut_down()
        wait_for(lambda: not online(self.alpha, "beta"))
        code, text = self.alpha.run("pvecm", "delnode", "beta")
        self.assertEqual(code, 0)
        self.assertEqual(sorted(text.splitlines()), ["Could not kill node (error = CS_ERR_NOT_EXIST)", "Killing node 2"])
        self.assertNotIn("name: beta", self.alpha.read("/etc/corosync/corosync.conf"))


if __name__ == "__main__":
    unittest.main()
