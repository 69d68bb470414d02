"""Units of a place that a test brings along: their order, their end, and what they do to others."""

import os
import unittest

from placerig import PlaceCase
from rig import wait_for

GUARD = """
# Runs between pmxcfs and corosync.
[Unit]
Description=Looks before corosync starts
After=pve-cluster.service
Before=corosync.service
ConditionPathExists=/etc/corosync/authkey

[Service]
Type=oneshot
WorkingDirectory=/root
ExecStart=/root/guard %s

[Install]
WantedBy=multi-user.target corosync.service
"""
WATCH = """
[Unit]
After=corosync.service

[Service]
Type=exec
ExecStart=/root/watch
Restart=always
RestartSec=0.2
TimeoutStopSec=1s

[Install]
WantedBy=multi-user.target
"""


class Units(PlaceCase):
    def script(self, root, name, text):
        file = os.path.join(root, "root", name)
        with open(file, "w", encoding="utf-8") as out:
            out.write("#!/bin/sh\n" + text)
        os.chmod(file, 0o755)

    def unit(self, name, text):
        file = os.path.join(self.folder, name)
        with open(file, "w", encoding="utf-8") as out:
            out.write(text)
        return file

    def member(self, guard, argument="", *more):
        """The only member of a cluster, switched off, with a guard that does this."""
        unit = self.unit("firstboot-guard.service", GUARD % argument)
        root = self.node("alpha", 31, "--no-api", "--install", unit, *more, boot=False)
        self.script(root, "guard", "touch /root/ran\n")
        self.boot(root)
        # Outside a cluster its condition is not met.
        self.assertEqual(self.show(root, "firstboot-guard", "ActiveState,ConditionResult,UnitFileState"),
                         ["inactive", "enabled", "no"])
        self.assertFalse(os.path.exists(root + "/root/ran"))
        self.run_in(root, "pvecm", "create", "labcluster", "--link0", self.net + "31")
        wait_for(lambda: self.quorate(root))
        self.place("stop", root)
        os.unlink(root + "/root/ran")
        self.script(root, "guard", guard)
        return root

    def quorate(self, root):
        return '"quorate": 1' in self.inside(root, "/etc/pve/.members")

    def show(self, root, unit, properties):
        return self.run_in(root, "systemctl", "show", "--value", "-p", properties, unit).stdout.split()

    def test_order(self):
        """The guard runs after pmxcfs is there and before corosync is."""
        root = self.member('echo "$1 $PWD" "$(systemctl is-active pve-cluster corosync | xargs)" >> /root/ran; cat /etc/pve/.members >> /root/ran\n',
                           '"two words"')
        self.boot(root)
        with open(root + "/root/ran", encoding="utf-8") as ran:
            text = ran.read()
        self.assertTrue(text.startswith('two words /root active inactive\n{\n"nodename": "alpha",\n"version": 0\n}\n'), text)
        self.assertEqual(self.states(root, "firstboot-guard", "corosync"), ["inactive", "active"])
        wait_for(lambda: self.quorate(root))
        # Whoever starts corosync starts what corosync wants, in the same order.
        self.run_in(root, "systemctl", "stop", "corosync")
        os.unlink(root + "/root/ran")
        self.run_in(root, "systemctl", "start", "corosync")
        self.assertTrue(os.path.exists(root + "/root/ran"))

    def test_stop_from_inside(self):
        """A stop job takes the place of the start job that waits; another start is somebody's wish."""
        root = self.member("test -e /root/quiet || systemctl stop corosync; echo stopped $? >> /root/ran\n")
        os.unlink(root + "/var/log/standin/corosync.log")
        self.boot(root)
        with open(root + "/root/ran", encoding="utf-8") as ran:
            self.assertEqual(ran.read(), "stopped 0\n")
        self.assertEqual(self.states(root, "pve-cluster", "corosync", "pvedaemon", "pveproxy"),
                         ["active", "inactive", "active", "active"])
        self.assertEqual(self.show(root, "corosync", "Result,ActiveState"), ["success", "inactive"])
        # It was never begun.
        self.assertFalse(os.path.exists(root + "/var/log/standin/corosync.log"))
        done = self.run_in(root, "systemctl", "start", "corosync", check=False)
        self.assertEqual((done.returncode, done.stderr), (1, "Job for corosync.service canceled.\n"))
        self.run_in(root, "touch", "/root/quiet")
        self.run_in(root, "systemctl", "start", "corosync")
        wait_for(lambda: self.quorate(root))

    def test_a_guard_that_fails_or_hangs(self):
        root = self.member("test -e /root/hang && exec sleep 1000; exit 3\n")
        self.boot(root)
        # Before= and Wants= ask for an order only.
        self.assertEqual(self.show(root, "firstboot-guard", "Result,ExecMainStatus,ActiveState,SubState"),
                         ["exit-code", "3", "failed", "failed"])
        self.assertEqual(self.states(root, "corosync"), ["active"])
        self.place("stop", root)
        open(root + "/root/hang", "w").close()
        self.boot(root, "--no-wait")
        wait_for(lambda: self.states(root, "pveproxy", "firstboot-guard") == ["active", "activating"])
        self.assertEqual(self.states(root, "corosync"), ["inactive"])
        self.run_in(root, "systemctl", "stop", "firstboot-guard")
        wait_for(lambda: self.states(root, "firstboot-guard", "corosync") == ["inactive", "active"])

    def test_watch(self):
        """Restart=always; a link and a file that somebody put there are read at the next boot."""
        root = self.node("alpha", 32, "--no-api", "--install", self.unit("firstboot-watch.service", WATCH))
        # There is no such program yet.
        self.assertEqual(self.show(root, "firstboot-watch", "Result,ExecMainStatus"), ["exit-code", "203"])
        self.script(root, "watch", "trap '' TERM; while :; do sleep 0.1; done\n")
        self.run_in(root, "systemctl", "reset-failed", "firstboot-watch")
        self.run_in(root, "systemctl", "start", "firstboot-watch")
        wait_for(lambda: self.states(root, "firstboot-watch") == ["active"])
        pid = self.show(root, "firstboot-watch", "MainPID")[0]
        self.run_in(root, "kill", "-KILL", pid)
        wait_for(lambda: self.show(root, "firstboot-watch", "MainPID,ActiveState")[:1] not in (["0"], [pid]))
        self.run_in(root, "systemctl", "stop", "firstboot-watch")
        self.assertEqual(self.show(root, "firstboot-watch", "MainPID,ActiveState,SubState"), ["0", "inactive", "dead"])
        self.place("stop", root)
        os.unlink(root + "/etc/systemd/system/multi-user.target.wants/firstboot-watch.service")
        with open(root + "/etc/systemd/system/other.service", "w", encoding="utf-8") as file:
            file.write("[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=-/bin/false\nExecStart=/bin/true\nNice=5\n")
        os.symlink("../other.service", root + "/etc/systemd/system/multi-user.target.wants/other.service")
        self.boot(root)
        self.assertEqual(self.states(root, "firstboot-watch", "other"), ["inactive", "active"])
        self.assertEqual(self.show(root, "other", "SubState"), ["exited"])
        with open(root + "/var/log/standin/init.log", encoding="utf-8") as log:
            self.assertIn("other.service: Nice= means nothing in a place\n", log.read())

    def test_pveproxy_waits_for_quorum(self):
        """Its ExecStartPre waits; what is ordered after it waits too, and nothing else does."""
        root = self.node("alpha", 34, "--no-api", "--set", "PVE_STANDIN_NO_QUORUM=true", "--set", "PVE_STANDIN_UPDATECERTS_WAIT=4",
                         "--unit", "firstboot-join=touch /root/ran; sleep 1000", boot=False)
        self.boot(root)
        self.run_in(root, "pvecm", "create", "labcluster", "--link0", self.net + "34")
        self.place("stop", root)
        os.unlink(root + "/root/ran")
        self.boot(root, "--no-wait")
        wait_for(lambda: self.states(root, "pve-cluster", "corosync", "pvedaemon") == ["active"] * 3)
        # As 28 has it.
        self.assertEqual(self.states(root, "corosync", "pve-cluster", "pvedaemon", "pveproxy"), ["active"] * 3 + ["activating"])
        self.assertEqual(self.show(root, "pveproxy", "SubState"), ["start-pre"])
        self.assertEqual(self.run_in(root, "systemctl", "is-active", "pveproxy", check=False).returncode, 3)
        self.assertFalse(os.path.exists(root + "/root/ran"))
        wait_for(lambda: os.path.exists(root + "/root/ran"))
        self.assertEqual(self.states(root, "pveproxy", "firstboot-join"), ["active", "active"])
        with open(root + "/var/log/standin/pveproxy.log", encoding="utf-8") as log:
            self.assertIn("got timeout when trying to ensure cluster certificates", log.read())

    def test_bad_unit(self):
        root = os.path.join(self.folder, "beta")
        unit = self.unit("x.service", "[Service]\nType=notify\nExecStart=/bin/true\n")
        done = self.place("make", root, "--name", "beta", "--address", self.net + "33", "--install", unit, check=False)
        self.assertEqual((done.returncode, done.stderr),
                         (125, "place: %s: Type=notify: a place knows simple, exec, oneshot\n" % unit))
        self.assertFalse(os.path.exists(root))


if __name__ == "__main__":
    unittest.main()
