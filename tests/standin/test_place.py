"""The place itself: two nodes that each run alone on /, and a power cut."""

import os
import shutil
import signal
import subprocess
import sys
import unittest

from placerig import PLACE, PlaceCase
from rig import transcript, wait_for

class Places(PlaceCase):
    def test_two_nodes_and_a_power_cut(self):
        alpha, beta = self.node("alpha", 11), self.node("beta", 12, "--no-api")
        self.assertEqual(self.run_in(beta, "hostname").stdout, "beta\n")
        self.assertEqual(self.states(alpha, "pve-cluster", "corosync", "pvedaemon", "pveproxy"),
                         ["active", "inactive", "active", "active"])
        self.run_in(alpha, "pvecm", "create", "labcluster", "--link0", self.net + "11")
        wait_for(lambda: '"quorate": 1' in self.inside(alpha, "/etc/pve/.members"))
        shown = self.run_in(alpha, "openssl", "x509", "-noout", "-fingerprint", "-sha256", "-in", "/etc/pve/local/pve-ssl.pem")
        pin = shown.stdout.strip().partition("=")[2]
        add = ["pvecm", "add", self.net + "11", "--fingerprint", pin, "--link0", self.net + "12"]

        text = self.run_in(beta, *add, stdin="example-secret\n").stdout
        self.assertTrue(text.endswith("successfully added node 'beta' to cluster.\n"), text)
        wait_for(lambda: '"beta": { "id": 2, "online": 1' in self.inside(alpha, "/etc/pve/.members"))
        # By name active, and no process.
        self.assertEqual(self.states(beta, "corosync", "pveproxy"), ["active", "active"])
        self.assertNotIn("pveproxy", self.run_in(beta, "ps", "-e", "-o", "args").stdout)
        # pmxcfs's tmpfs is in the place only, and the two see different ones.
        self.assertEqual(os.listdir(beta + "/etc/pve"), [])
        self.assertIn('"nodename": "beta"', self.inside(beta, "/etc/pve/.members"))

        self.run_in(beta, "perl", "-MPVE::APIClient::LWP", "-e", "1")
        ticket = self.run_in(beta, "perl", "-MPVE::AccessControl", "-e", r'print PVE::AccessControl::assemble_ticket("root\@pam")').stdout
        self.assertRegex(ticket, "^PVE:root@pam:[0-9A-F]{8}::.{344}$")

        self.place("stop", beta)
        self.assertEqual(self.place("run", beta, "--", "true", check=False).returncode, 125)
        self.assertTrue(os.path.exists(beta + "/etc/corosync/authkey"))
        wait_for(lambda: '"beta": { "id": 2, "online": 0' in self.inside(alpha, "/etc/pve/.members"))
        self.place("boot", beta, "--owner", str(os.getpid()))
        wait_for(lambda: '"beta": { "id": 2, "online": 1' in self.inside(alpha, "/etc/pve/.members"))
        wait_for(lambda: '"quorate": 1' in self.inside(beta, "/etc/pve/.members"))

    def test_commands(self):
        root = self.node("gamma", 13, "--unit", "firstboot-join=sleep 1000")
        self.run_in(root, "systemctl", "start", "firstboot-join")
        done = self.run_in(root, "sh", "-c", "cat; echo to stderr >&2; exit 7", stdin="in\n", check=False)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (7, "in\n", "to stderr\n"))
        self.assertEqual(self.run_in(root, "no-such-program", check=False).returncode, 125)
        self.assertIn("PVE_STANDIN_X=1", self.place("run", root, "--env", "PVE_STANDIN_X=1", "--", "env").stdout)
        # The host is out of reach.
        self.assertEqual(self.run_in(root, "sh", "-c", "echo > /usr/share/x && echo > /host/usr/x", check=False).returncode, 2)
        self.assertEqual(self.run_in(root, "ls", PLACE, check=False).returncode, 2)
        # Signals go to the command.
        process = self.spawn(root, "sh", "-c", "trap 'echo got it; exit 3' TERM; echo ready; while :; do sleep 0.05; done")
        self.assertEqual(process.stdout.readline(), "ready\n")
        process.terminate()
        self.assertEqual(process.communicate(timeout=60)[0], "got it\n")
        self.assertEqual(process.returncode, 3)
        self.assertEqual(self.states(root, "firstboot-join"), ["active"])

    def spawn(self, root, *command):
        return subprocess.Popen([PLACE, "run", root, "--", *command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)

    def test_killed_run(self):
        """SIGKILL for `place run` ends the command and its children; units that it started stay."""
        root = self.node("delta", 14, "--no-api")
        self.run_in(root, "systemctl", "stop", "pve-cluster")
        process = self.spawn(root, "sh", "-c", "systemctl start pve-cluster; setsid sleep 1111 & sleep 2222 & echo ready; wait")
        self.assertEqual(process.stdout.readline(), "ready\n")
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        wait_for(lambda: "sleep" not in self.run_in(root, "ps", "-e", "-o", "args").stdout)
        self.assertEqual(self.states(root, "pve-cluster"), ["active"])

    def test_units(self):
        root = self.node("eta", 15, "--no-api")
        self.assertEqual(self.run_in(root, "systemctl", "is-active", "corosync", check=False).returncode, 3)
        self.assertEqual(self.run_in(root, "systemctl", "start", "nosuch", check=False).returncode, 5)
        # A corosync that exits by itself has failed, and nobody starts it again.
        self.run_in(root, "sh", "-c", "echo nonsense > /etc/corosync/corosync.conf; echo key > /etc/corosync/authkey")
        done = self.run_in(root, "systemctl", "start", "corosync", check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("Job for corosync.service failed because the control process exited", done.stderr)
        self.assertEqual(self.run_in(root, "systemctl", "show", "-p", "ActiveState", "--value", "corosync.service").stdout, "failed\n")
        self.assertEqual(self.run_in(root, "systemctl", "is-failed", "corosync").stdout, "failed\n")
        self.run_in(root, "systemctl", "reset-failed", "corosync")
        self.assertEqual(self.states(root, "corosync"), ["inactive"])
        os.unlink(root + "/etc/corosync/corosync.conf")
        # pmxcfs gives up after five starts with a name that is loopback.
        self.run_in(root, "systemctl", "stop", "pve-cluster")
        good = self.inside(root, "/etc/hosts")
        self.run_in(root, "sh", "-c", "echo 127.0.1.1 eta > /etc/hosts")
        self.run_in(root, "systemctl", "restart", "pve-cluster", check=False)
        wait_for(lambda: "SubState=failed" in self.run_in(root, "systemctl", "show", "-p", "SubState", "pve-cluster").stdout)
        with open(root + "/etc/hosts", "w", encoding="utf-8") as hosts:
            hosts.write(good)
        self.assertEqual(self.run_in(root, "systemctl", "start", "pve-cluster", check=False).returncode, 1)
        self.run_in(root, "systemctl", "reset-failed", "pve-cluster")
        self.run_in(root, "systemctl", "start", "pve-cluster")
        self.assertEqual(self.states(root, "pve-cluster"), ["active"])

    UNITS = ("pve-cluster", "corosync", "pvedaemon", "pveproxy")

    def as_recorded(self, root, name, number, *words):
        code, text = transcript(name, number)
        done = self.run_in(root, "systemctl", *words, check=False)
        self.assertEqual((code, text.strip()), (done.returncode, done.stdout.strip()), name)

    def show(self, root, name, number):
        self.as_recorded(root, name, number, "show", "-p",
                         "ActiveState,SubState,Result,ExecMainStatus,ConditionResult,UnitFileState", *self.UNITS)

    def list(self, root, name, number, verb="list-units"):
        self.as_recorded(root, name, number, verb, "--all", "--no-pager", "--plain", "--no-legend", *self.UNITS)

    def test_units_as_recorded(self):
        """24, 12, 25: the units of a node that is fresh, half-joined, joined, and of one without a name."""
        alpha, beta = self.node("alpha", 21), self.node("beta", 22)
        self.list(beta, "24-units-fresh", 0)
        self.list(beta, "24-units-fresh", 1, "list-unit-files")
        self.show(beta, "24-units-fresh", 2)
        self.run_in(alpha, "pvecm", "create", "labcluster", "--link0", self.net + "21")
        wait_for(lambda: '"quorate": 1' in self.inside(alpha, "/etc/pve/.members"))
        shown = self.run_in(alpha, "openssl", "x509", "-noout", "-fingerprint", "-sha256", "-in", "/etc/pve/local/pve-ssl.pem")
        add = ["pvecm", "add", self.net + "21", "--fingerprint", shown.stdout.strip().partition("=")[2], "--link0", self.net + "22"]
        died = self.place("run", beta, "--env", "PVE_STANDIN_DIE_AT=9", "--", *add, stdin="example-secret\n", check=False)
        self.assertEqual(died.returncode, 128 + signal.SIGKILL)
        self.list(beta, "24-units-half-joined", 1)
        self.show(beta, "24-units-half-joined", 2)
        self.place("stop", beta)
        # Alone in a cluster of two: what quorum there was is gone.
        self.run_in(alpha, "pvecm", "expected", "1")
        self.place("boot", beta, "--owner", str(os.getpid()))
        self.list(beta, "24b-half-joined-after-reboot", 0)
        wait_for(lambda: '"quorate": 1' in self.inside(alpha, "/etc/pve/.members"))
        text = self.run_in(beta, *add, "--force", stdin="example-secret\n").stdout
        self.assertTrue(text.endswith("successfully added node 'beta' to cluster.\n"), text)
        self.list(beta, "24-units-joined", 0)
        self.list(beta, "24-units-joined", 1, "list-unit-files")
        self.show(beta, "24-units-joined", 2)
        for name, hosts in (("12-name-resolves-to-127.0.1.1", "127.0.1.1 beta\n"), ("25-hostname-does-not-resolve", "\n")):
            with self.subTest(name):
                self.place("stop", beta)
                shutil.rmtree(beta + "/etc/corosync", ignore_errors=True)
                with open(beta + "/etc/hosts", "w", encoding="utf-8") as file:
                    file.write("127.0.0.1 localhost\n" + hosts)
                self.place("boot", beta, "--owner", str(os.getpid()))
                wait_for(lambda: "SubState=failed" in self.run_in(beta, "systemctl", "show", "-p", "SubState", "pve-cluster").stdout)
                text = transcript(name, self.number_of(name))[1]
                got = self.run_in(beta, "systemctl", "list-units", *self.UNITS).stdout + self.run_in(
                    beta, "systemctl", "show", "-p", "ActiveState,SubState,Result,ExecMainStatus,NRestarts", "pve-cluster").stdout
                self.assertEqual(text.strip(), got.strip())

    @staticmethod
    def number_of(name):
        """The block with the units, wherever it stands in the file."""
        number = 0
        while "corosync.service" not in transcript(name, number)[1]:
            number += 1
        return number

    def test_owner(self):
        root = os.path.join(self.folder, "theta")
        self.place("make", root, "--name", "theta", "--address", self.net + "16")
        owner = subprocess.Popen(["sleep", "1000"])
        self.place("boot", root, "--bare", "--owner", str(owner.pid))
        self.roots.append(root)
        self.assertEqual(self.run_in(root, "true").returncode, 0)
        owner.kill()
        owner.wait()
        wait_for(lambda: self.place("root", root, check=False).returncode == 125)

    @unittest.skipIf(os.geteuid(), "all the others ran as an ordinary user")
    def test_ordinary_user(self):
        wrapper = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
        if subprocess.run([*wrapper, "test", "-r", PLACE], stderr=subprocess.DEVNULL, check=False).returncode:
            self.skipTest("an ordinary user cannot read this folder")
        os.chmod(self.folder, 0o777)
        root = os.path.join(self.folder, "iota")
        self.place("make", root, "--name", "iota", "--address", self.net + "17", wrapper=wrapper)
        self.place("boot", root, wrapper=wrapper)
        try:
            done = self.place("run", root, "--", "sh", "-c", "id -u; pvecm status; systemctl is-active pveproxy",
                              wrapper=wrapper, check=False)
            self.assertEqual(done.stdout, "0\nactive\n")
            self.assertIn("is this node part of a cluster?", done.stderr)
        finally:
            self.place("stop", root, wrapper=wrapper)


if __name__ == "__main__":
    sys.exit(unittest.main())
