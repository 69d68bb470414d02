"""Each row of the joins that go wrong: how it comes about, what is seen, how it ends.

The rows are those of the documentation; what is seen is compared with transcripts/.
"""

import os
import signal
import subprocess
import time
import unittest

from rig import PASSWORD, Case, ClusterCase, Rig, block, essence, normal, online, quorate, transcript, wait_for

STATUS, NODES, MEMBERS = ("pvecm", "status"), ("pvecm", "nodes"), ("/etc/pve/.members",)


class Joins(ClusterCase):
    def joined(self, name, last):
        node = self.rig.node(name, last).boot()
        self.assert_success(node.add(self.alpha), node)
        return node

    def assert_success(self, got, node):
        code, text = got
        self.assertTrue(text.endswith("successfully added node '%s' to cluster.\n" % node.name), text)
        self.assertEqual(code, 0)
        wait_for(lambda: online(self.alpha, node.name) and online(node, "alpha") and quorate(node))
        self.assert_certificate(node)

    def assert_certificate(self, node):
        done = subprocess.run(["openssl", "verify", "-CAfile", node.path("/etc/pve/pve-root-ca.pem"),
                               node.path("/etc/pve/local/pve-ssl.pem")], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)

    def seen(self, node, name, number, *commands):
        """The same as in a block of a transcript, but for what `essence` drops."""
        wanted = block(name, number)
        if not any(line.startswith("rc=") for line in wanted):
            commands_text = "\n".join(line for line in node.outputs(*commands).splitlines() if not line.startswith("rc="))
        else:
            commands_text = node.outputs(*commands)
        self.assertEqual(wanted, essence(commands_text))

    def dies(self, node, number):
        """`pvecm add` that is killed at a point; what it had printed."""
        node.switch(die_at=number)
        code, text = node.add(self.alpha)
        self.assertEqual(code, -signal.SIGKILL)
        # The switch strikes once.
        self.assertEqual(node.read("/etc/pve-standin/switches"), "{}")
        return text

    def test_dies_before_authkey(self):
        """Row 1: the peer added it, and the joiner has nothing."""
        self.joined("gamma", 13)
        beta = self.rig.node("beta", 12).boot()
        self.dies(beta, 7)
        self.untouched(beta)
        self.same(beta.add(self.alpha), "10-name-taken")
        self.assert_success(beta.add(self.alpha, "--force"), beta)
        self.assertEqual(self.alpha.read("/etc/pve/corosync.conf").count("name: beta"), 1)

    def test_lost_response(self):
        """Row 1 too, as the joiner sees it when only the answer is lost."""
        self.joined("gamma", 13)
        beta = self.rig.node("beta", 12).boot()
        self.alpha.switch(lost_response="beta")
        code, text = beta.add(self.alpha)
        self.assertEqual(code, 0)
        self.assertTrue(text.endswith("Cluster join aborted!\n"), text)
        self.untouched(beta)
        self.alpha.switch()
        self.same(beta.add(self.alpha), "10-name-taken")
        self.assert_success(beta.add(self.alpha, "--force"), beta)

    def test_dies_before_database(self):
        """Rows 2 and 3: authkey is there, the old database too; then the machine boots again."""
        self.joined("beta", 12)
        epsilon = self.rig.node("epsilon", 15).boot()
        name = "24-units-half-joined"
        text = self.dies(epsilon, 9)
        # The real one was killed a moment later, after its next line.
        self.assertEqual(normal(transcript(name, 0)[1]), normal(text + "stopping pve-cluster service\n"))
        self.assertEqual(essence(epsilon.read("/etc/pve/.members")), essence('{\n"nodename": "epsilon",\n"version": 0\n}\n'))
        self.seen(epsilon, name, 4, STATUS, NODES, ("corosync-quorumtool", "-s"))
        self.same(epsilon.add(self.alpha), name, 5)
        conf = "\n".join(self.alpha.read("/etc/pve/corosync.conf").split("\n\n")[1:2]) + "\n"
        wanted, got = block(name, 6), essence(self.alpha.outputs(MEMBERS, NODES) + conf)
        self.assertEqual(wanted, [line for line in got if not line.startswith("rc=")])

        # Row 3: a boot later.
        epsilon.shut_down()
        epsilon.boot()
        wait_for(lambda: "epsilon" in self.alpha.run("pvecm", "nodes")[1])
        name = "24b-half-joined-after-reboot"
        self.seen(epsilon, name, 1, MEMBERS)
        self.seen(epsilon, name, 2, STATUS, NODES)
        self.seen(self.alpha, name, 3, MEMBERS, NODES)
        # The next joiner gets no quorum while it runs.
        theta = self.rig.node("theta", 18).boot()
        waiting = theta.start_add(self.alpha)
        wait_for(lambda: '"theta"' in self.alpha.peek("/etc/pve/.members") and '"cluster"' in theta.peek("/etc/pve/.members"))
        time.sleep(1)
        self.assertIsNone(waiting.poll())
        self.assertFalse(quorate(theta))
        waiting.kill()
        waiting.communicate()
        self.assert_success(epsilon.add(self.alpha, "--force"), epsilon)

    def test_dies_waiting_for_quorum(self):
        """Row 4: everything is there but the certificate."""
        self.joined("beta", 12)
        self.joined("epsilon", 15)
        theta = self.rig.node("theta", 18).boot()
        name = "24c-half-joined-killed-later"
        theta.switch(corosync_blocked=True, die_as="all")
        waiting = theta.start_add(self.alpha)
        wait_for(lambda: '"cluster"' in theta.peek("/etc/pve/.members"))
        worker = self.worker(waiting.pid)
        # As a power cut does it: both, and the worker before it can print anything.
        os.kill(worker, signal.SIGKILL)
        waiting.kill()
        text = waiting.communicate()[0]
        self.assertEqual(normal(transcript(name, 0)[1].rpartition("# (")[0]),
                         normal(text.replace("got unexpected control message:  \n", "")))
        self.assertEqual(block(name, 3)[:3], essence(theta.outputs(MEMBERS))[:3])
        offline = [line.replace(', "ip": "NET.15"', "").replace('"online": 1', '"online": 0') for line in block(name, 3)
                   if '"id"' in line]
        self.assertEqual(sorted(line.split('"online"')[0] for line in offline),
                         sorted(line.split('"online"')[0] for line in essence(theta.outputs(MEMBERS)) if '"id"' in line))
        self.seen(theta, name, 4, STATUS, NODES)
        self.same(theta.add(self.alpha), name, 5)
        self.assertFalse(theta.exists("/etc/pve/local/pve-ssl.pem"))
        # The quorum comes by itself, the certificate with updatecerts.
        theta.switch()
        wait_for(lambda: quorate(theta))
        self.assertFalse(theta.exists("/etc/pve/local/pve-ssl.pem"))
        self.assertEqual(theta.run("pvecm", "updatecerts")[0], 0)
        self.assert_certificate(theta)

    @staticmethod
    def worker(parent):
        """The worker of a running pvecm."""
        with open("/proc/%d/task/%d/children" % (parent, parent), encoding="ascii") as file:
            return int(file.read().split()[0])

    def test_corosync_is_blocked(self):
        """Row 4, the other way: UDP 5405 of the real one does not come through."""
        for name, last in (("beta", 12), ("gamma", 13)):
            self.joined(name, last)
        iota = self.rig.node("iota", 15).boot()
        iota.switch(corosync_blocked=True)
        waiting = iota.start_add(self.alpha)
        wait_for(lambda: '"cluster"' in iota.peek("/etc/pve/.members"))
        code, text = iota.run("pvecm", "status")
        self.assertEqual(code, 2)
        self.assertIn("Quorum:           3 Activity blocked\n", text)
        waiting.send_signal(signal.SIGTERM)
        text = waiting.communicate(timeout=60)[0]
        self.same((waiting.returncode, text), "19b-corosync-udp-blocked")
        self.assertEqual(self.last_task(iota), "received interrupt")
        wait_for(lambda: not quorate(iota) and quorate(self.alpha))
        self.assertIn("nodeid:          1:\tdisconnected\n", iota.run("corosync-cfgtool", "-s")[1])
        # Let through again: quorum by itself, everybody's address, and no certificate.
        iota.switch()
        wait_for(lambda: quorate(iota) and all(online(iota, name) for name in ("alpha", "beta", "gamma")))
        self.assertEqual(sorted(os.listdir(iota.path("/etc/pve/nodes/iota"))),
                         sorted(block("19b-corosync-udp-blocked", 1)[-4:]))

    def test_one_node_cluster_loses_its_quorum(self):
        """Row 7: the second node dies after the first added it."""
        beta, gamma = self.rig.node("beta", 12).boot(), self.rig.node("gamma", 13).boot()
        self.dies(beta, 7)
        wait_for(lambda: not quorate(self.alpha))
        self.same(gamma.add(self.alpha), "14-cluster-without-quorum")
        self.untouched(gamma)
        self.assertEqual(self.last_task(gamma), "Cluster join aborted!")
        self.assertEqual(self.alpha.run("pvecm", "expected", "1"), (0, ""))
        wait_for(lambda: quorate(self.alpha))
        self.assert_success(beta.add(self.alpha, "--force"), beta)
        self.assert_success(gamma.add(self.alpha), gamma)

    def test_lock_left_behind(self):
        """Row 8: a node that died with the cluster's lock; the lock expires."""
        beta = self.rig.node("beta", 12).boot()
        lock = self.alpha.path("/etc/pve/priv/lock/file-corosync_conf")
        os.mkdir(lock)
        # Who waits for it asks in this way; it makes the lock no older.
        os.utime(lock, (0, 0))
        self.same(beta.add(self.alpha), "15-lock-timeout", 1)
        self.untouched(beta)
        self.alpha.switch(lock_life=0.1)
        wait_for(lambda: not os.path.exists(lock))
        os.mkdir(lock)
        self.assert_success(beta.add(self.alpha), beta)

    def test_two_at_once(self):
        """Row 9: the first one's corosync meets a newer configuration and exits."""
        self.joined("beta", 12)
        self.joined("gamma", 13)
        zeta, eta = self.rig.node("zeta", 16).boot(), self.rig.node("eta", 17).boot()
        # Its pmxcfs, which begins first, never sees a corosync that lives so short.
        zeta.environment["PVE_STANDIN_POLL"] = "3"
        zeta.switch(hang_at=9)
        loser = zeta.start_add(self.alpha)
        wait_for(lambda: zeta.exists("/etc/corosync/corosync.conf"))
        # Eta is listed and not on yet: all who are on stand in zeta's file.
        eta.switch(hang_at=9)
        winner = eta.start_add(self.alpha)
        wait_for(lambda: eta.exists("/etc/corosync/corosync.conf"))
        zeta.switch(go_on=True)
        wait_for(lambda: "Exiting" in zeta.peek("/run/pve-standin/corosync.log"))
        eta.switch(go_on=True)
        self.assertEqual(block("16b-race-eta"), essence(winner.communicate(timeout=60)[0]))
        wait_for(lambda: zeta.run("corosync-quorumtool", "-s")[0] == 1)
        time.sleep(0.5)
        self.assertIsNone(loser.poll())
        loser.send_signal(signal.SIGTERM)
        text = loser.communicate(timeout=60)[0]
        self.assertEqual((0, block("16b-race-zeta")), (loser.returncode, essence(text)))

        name = "16c-race-loser-state"
        lines = [line for line in zeta.read("/etc/corosync/corosync.conf").splitlines() if "name:" in line or "config_version" in line]
        got = essence("\n".join(lines) + "\n" + zeta.outputs(MEMBERS, STATUS) + "\nUPID:zeta:0:clusterjoin::root@pam: 0 "
                      + self.last_task(zeta))
        wanted = [line for line in block(name, 0) if line not in ("Failed to initialize the cmap API. Error CS_ERR_LIBRARY",
                                                                  "active", "failed")]
        self.assertEqual(wanted, got)
        wait_for(lambda: online(self.alpha, "eta") and not online(self.alpha, "zeta"))
        self.seen_by_creator(block(name, 1), essence(self.alpha.outputs(MEMBERS, NODES)))
        zeta.environment["PVE_STANDIN_POLL"] = "0.1"
        zeta.service("restart", "pve-cluster")
        # One way out: the cluster's configuration, by hand.
        zeta.write("/etc/corosync/corosync.conf", self.alpha.read("/etc/pve/corosync.conf"))
        zeta.service("restart", "corosync")
        wait_for(lambda: quorate(zeta) and all(online(zeta, each) for each in ("alpha", "beta", "gamma", "eta")))
        self.seen(zeta, name, 2, ("pvecm", "updatecerts", "--force"))
        self.assert_certificate(zeta)

    def seen_by_creator(self, wanted, got):
        """.members and `pvecm nodes`, which the block has after lines of other programs."""
        start = wanted.index("{")
        self.assertEqual(wanted[start:], [line for line in got if not line.startswith("rc=")])

    def test_worker_and_parent(self):
        """19: SIGKILL for one of the two processes of pvecm."""
        beta = self.rig.node("beta", 12).boot()
        self.alpha.switch(mute=True)
        time.sleep(0.5)
        waiting = beta.start_add(self.alpha)
        first = waiting.stdout.readline()
        os.kill(self.worker(waiting.pid), signal.SIGKILL)
        text = (first + waiting.communicate(timeout=60)[0]).replace(self.alpha.address, "10.99.0.98")
        self.same((waiting.returncode, text), "19-pvecm-add-killed", 2)
        # The worker goes on, and ends when it next says something.
        waiting = beta.start_add(self.alpha)
        waiting.stdout.readline()
        worker = self.worker(waiting.pid)
        waiting.kill()
        waiting.communicate()
        time.sleep(0.3)
        os.kill(worker, 0)
        self.alpha.switch()
        wait_for(lambda: not os.path.exists("/proc/%d" % worker))
        self.untouched(beta)
        # A reader that is gone.
        process = beta.spawn("pvecm", "add", self.alpha.address, "--fingerprint", self.alpha.fingerprint())
        process.stdout.close()
        process.stdin.write("wrong\n")
        process.stdin.close()
        self.assertEqual(process.wait(timeout=60), 0)


class Peers(Case):
    """Row 6 and its neighbours: a peer that cannot be spoken to."""

    @classmethod
    def setUpClass(cls):
        cls.rig = Rig()
        cls.addClassCleanup(cls.rig.close)
        cls.alpha = cls.rig.node("alpha", 11).boot()
        cls.gamma = cls.rig.node("gamma", 13).boot()

    def tearDown(self):
        self.alpha.switch()
        self.untouched(self.gamma)

    def test_black_hole(self):
        self.alpha.switch(swallow=True)
        self.gamma.environment["PVE_STANDIN_CONNECT_TIMEOUT"] = "0.5"
        wait_for(lambda: "timed out" in self.gamma.add(self.alpha)[1])
        code, text = self.gamma.add(self.alpha)
        self.same((code, text.replace(self.alpha.address, "10.99.0.98")), "07-peer-unreachable", 1)

    def test_no_such_name(self):
        got = self.gamma.run("pvecm", "add", "nosuch.lab.test", "--fingerprint", self.alpha.fingerprint(), stdin=PASSWORD + "\n")
        self.same((got[0], got[1].replace(":%d" % self.rig.api_port, ":8006")), "07-peer-unreachable", 0)

    def test_closed(self):
        self.alpha.switch(closed=True)
        wait_for(lambda: "Connection refused" in self.gamma.add(self.alpha)[1])
        code, text = self.gamma.add(self.alpha)
        self.same((code, text.replace(self.alpha.address, "10.99.0.1")), "08-port-8006-closed")

    def test_solo(self):
        beta = self.rig.node("beta", 14).boot()
        self.same(beta.run("pvecm", "create", "solo"), "01c-create-solo", 0)
        wait_for(lambda: quorate(beta))
        wanted = block("01c-create-solo", 1)
        self.assertEqual(wanted, essence(beta.outputs(("/etc/pve/.members",), ("/etc/pve/corosync.conf",), STATUS, NODES)))


if __name__ == "__main__":
    unittest.main()
