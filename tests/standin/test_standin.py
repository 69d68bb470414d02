"""Plays the transcripts of the real pvecm with stand-in nodes on loopback addresses.

    python3 -m unittest discover -s tests/standin

No virtual machine, no root, no network. What is compared is in transcripts/. Here are the
refusals; test_members.py has the joins, test_api.py what the API answers.
"""

import fcntl
import os
import signal
import socket
import unittest

from rig import NET, PASSWORD, Case, Rig, quorate, wait_for


class Refusals(Case):
    """alpha is a cluster, gamma never gets in, theta is in no cluster."""

    @classmethod
    def setUpClass(cls):
        cls.rig = Rig()
        cls.addClassCleanup(cls.rig.close)
        cls.alpha = cls.rig.node("alpha", 11).boot()
        cls.create = cls.alpha.run("pvecm", "create", "labcluster", "--link0", cls.alpha.address)
        wait_for(lambda: quorate(cls.alpha))
        cls.gamma = cls.rig.node("gamma", 13).boot()
        cls.theta = cls.rig.node("theta", 14).boot()

    def tearDown(self):
        self.untouched(self.gamma)

    def test_create(self):
        self.same(self.create, "01-pvecm-create")
        again = self.alpha.run("pvecm", "create", "labcluster", "--link0", self.alpha.address)
        self.same(again, "01b-pvecm-create-second-time")

    def test_wrong_password(self):
        self.same(self.gamma.add(self.alpha, password="not-the-password"), "03-wrong-password")
        self.assertEqual(self.last_task(self.gamma), "401 authentication failure")

    def test_wrong_fingerprint(self):
        wrong = ":".join(["00", "11", "22", "33", "44", "55", "66", "77", "88", "99", "AA", "BB", "CC", "DD", "EE", "FF"] * 2)
        self.same(self.gamma.add(self.alpha, "--fingerprint", wrong, pin=False), "04-wrong-fingerprint")

    def test_no_fingerprint(self):
        self.same(self.gamma.add(self.alpha, pin=False), "05-no-fingerprint-eof", 0)
        self.same(self.gamma.add(self.alpha, pin=False, stdin=PASSWORD + "\nno\n"), "05-no-fingerprint-eof", 1)

    def test_empty_stdin(self):
        self.same(self.gamma.add(self.alpha, stdin=""), "06-empty-stdin", 0)
        self.same(self.gamma.add(self.alpha, stdin="\n"), "06-empty-stdin", 1)

    def test_port_closed(self):
        got = self.gamma.run("pvecm", "add", NET + "1", "--fingerprint", self.alpha.fingerprint(),
                             "--link0", self.gamma.address, stdin=PASSWORD + "\n")
        self.same(got, "08-port-8006-closed")

    def test_pvedaemon_stopped(self):
        self.theta.service("stop", "pvedaemon")
        code, text = self.gamma.add(self.theta)
        self.theta.service("start", "pvedaemon")
        self.same((code, text.replace(self.theta.address, self.alpha.address)), "08b-peer-pvedaemon-stopped")

    def test_killed_while_connecting(self):
        """19: TERM and INT, while a peer takes the connection and says nothing."""
        with socket.create_server((NET + "98", self.rig.api_port)):
            for block, number in enumerate((signal.SIGTERM, signal.SIGINT)):
                process = self.gamma.spawn("pvecm", "add", NET + "98", "--fingerprint", self.alpha.fingerprint(),
                                           "--link0", self.gamma.address)
                process.stdin.write(PASSWORD + "\n")
                process.stdin.flush()
                first = process.stdout.readline()
                process.send_signal(number)
                text = first + process.communicate(timeout=60)[0]
                self.same((process.returncode, text), "19-pvecm-add-killed", block)

    def test_output_closed(self):
        """A reader that went away does not change the exit code."""
        process = self.gamma.spawn("pvecm", "add", self.alpha.address, "--fingerprint", self.alpha.fingerprint())
        process.stdout.close()
        process.stdin.write("wrong\n")
        process.stdin.close()
        self.assertEqual(process.wait(timeout=60), 0)

    def test_authkey_present(self):
        self.gamma.write("/etc/corosync/authkey", "left behind")
        try:
            self.same(self.gamma.add(self.alpha), "11-authkey-present")
        finally:
            os.unlink(self.gamma.path("/etc/corosync/authkey"))

    def test_own_name_is_loopback_while_running(self):
        before = self.gamma.read("/etc/hosts")
        self.addCleanup(self.gamma.write, "/etc/hosts", before)
        self.gamma.hosts("127.0.1.1 gamma.lab.test gamma\n")
        self.same(self.gamma.add(self.alpha, link=False), "12-name-resolves-to-127.0.1.1", 3)
        self.gamma.hosts("")
        self.same(self.gamma.add(self.alpha), "12-name-resolves-to-127.0.1.1", 4)

    def test_link_not_local(self):
        self.same(self.gamma.add(self.alpha, "--link0", NET + "77", link=False), "13-link0-not-local")

    def test_local_lock_held(self):
        with open(self.gamma.path("/var/lock/pvecm.lock"), "a", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self.same(self.gamma.add(self.alpha), "15-lock-timeout", 0)

    def test_cluster_lock_held(self):
        lock = self.alpha.path("/etc/pve/priv/lock/file-corosync_conf")
        os.mkdir(lock)
        try:
            self.same(self.gamma.add(self.alpha), "15-lock-timeout", 1)
        finally:
            os.rmdir(lock)

    def test_bad_usage(self):
        self.same(self.gamma.run("pvecm", "add", self.alpha.address, "--nosuch", "1"), "17-bad-usage", 0)
        self.same(self.gamma.add(self.alpha, "--fingerprint", "AA:BB", pin=False), "17-bad-usage", 1)
        self.same(self.gamma.add(self.alpha, cwd=self.gamma.path("/etc/pve")), "17-bad-usage", 2)

    def test_peer_in_no_cluster(self):
        self.same(self.gamma.add(self.theta), "18-peer-not-in-a-cluster")
        self.assertEqual(self.last_task(self.gamma), "Cluster join aborted!")

    def test_status_outside_a_cluster(self):
        name = "22-pvecm-status-not-clustered"
        self.same(self.gamma.run("pvecm", "status"), name, 0)
        self.same(self.gamma.run("pvecm", "nodes"), name, 1)
        self.same(self.gamma.run("corosync-quorumtool", "-s"), name, 2)
        self.same(self.gamma.run("pvecm", "expected", "1"), name, 3)
        self.same((0, self.gamma.read("/etc/pve/.members")), "21-never-joined-files")

    def test_delnode_unknown(self):
        self.same(self.alpha.run("pvecm", "delnode", "nosuch"), "27-delnode")


class NoName(Case):
    def test_name_is_loopback_at_boot(self):
        rig = Rig()
        self.addCleanup(rig.close)
        alpha = rig.node("alpha", 11).boot()
        eta = rig.node("eta", 17, hosts="127.0.1.1 eta.lab.test eta\n")
        name = "12-name-resolves-to-127.0.1.1"
        self.same(eta.run("pmxcfs"), name, 2)
        self.same(eta.run("pmxcfs", "-f"), name, 2)
        self.same(eta.add(alpha), name, 0)
        self.same(eta.run("pvecm", "create", "other"), name, 1)
        zeta = rig.node("zeta", 16, hosts="\n")
        self.same(zeta.run("pmxcfs", "-f"), "25-hostname-does-not-resolve", 0)
        status, nodes = zeta.run("pvecm", "status"), zeta.run("pvecm", "nodes")
        self.same((0, "%src=%d\n%src=%d\n" % (status[1], status[0], nodes[1], nodes[0])), "25-hostname-does-not-resolve", 1)


if __name__ == "__main__":
    unittest.main()
