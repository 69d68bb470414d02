"""VMs as units of the user's own systemd, which is a real one here. Of logind there is a stand-in."""

import os
import signal

import fleetrig
from fleetrig import FleetCase, wait_for

UNIT = "imgbuild-vm101.service"


def setUpModule():
    fleetrig.enter()


class Unit(FleetCase):
    def setUp(self):
        super().setUp()
        self.pc = self.rig.pc(systemd=True)
        self.rig.base()
        self.rig.write_lab(1)
        self.play("deploy")

    def play(self, name, *words):
        play = self.rig.play(name, *words)
        self.assertEqual(0, play.code, str(play))
        return play

    def systemctl(self, *words):
        return self.pc.ssh("XDG_RUNTIME_DIR=/run/user/%d systemctl --user %s" % (fleetrig.UID, " ".join(words)), check=False).split()

    def unit(self, name):
        return self.systemctl("show", "--value", "--property=" + name, UNIT)

    def status(self, *keys):
        status = self.pc.status("vm101")
        return [status[key] for key in keys]

    def end(self, number):
        """QEMU ends by a signal; it ends well after SIGTERM, as after a shutdown of its guest."""
        (qemu,) = [pid for pid, words in self.pc.processes().items() if "/qemu-system-x86_64 " in words]
        os.kill(qemu, number)

    def test_it_runs_as_the_unit_says(self):
        self.assertEqual(["running", "systemd"], self.status("state", "service"))
        self.assertEqual(["active"], self.unit("ActiveState"))
        self.assertEqual(["enabled"], self.systemctl("is-enabled", UNIT))
        self.assertEqual(["10", "20", "500"], [self.unit(name)[0] for name in ("Nice", "CPUWeight", "OOMScoreAdjust")])
        self.assertEqual(max(10, os.nice(0)), self.pc.qemus()[-1]["nice"])
        self.assertTrue((self.pc.home / ".linger").exists())
        self.assertEqual("", self.pc.ssh("crontab -l 2>/dev/null", check=False))
        self.assert_recap(self.play("deploy"), self.pc, changed=0)

    def test_it_starts_again_after_a_crash_and_not_after_a_shutdown(self):
        self.end(signal.SIGKILL)
        wait_for(lambda: len(self.pc.qemus()) == 2)
        wait_for(lambda: self.status("state") == ["running"])
        self.end(signal.SIGTERM)
        wait_for(lambda: self.unit("ActiveState") == ["inactive"])
        # No restart is waited for: that would be "activating".
        self.assertEqual([["dead"], ["success"]], [self.unit("SubState"), self.unit("Result")])
        self.assertEqual(["stopped"], self.status("state"))
        self.play("start")
        self.assertEqual(["active"], self.unit("ActiveState"))

    def test_it_comes_back_with_its_pc_and_goes_with_all_that_was_made(self):
        self.pc.power_off()
        self.pc.boot()
        wait_for(lambda: len(self.pc.qemus()) == 2)
        wait_for(lambda: self.status("state") == ["running"])
        self.play("stop")
        self.assertEqual(["inactive"], self.unit("ActiveState"))
        self.assertEqual(["stopped", "systemd"], self.status("state", "service"))
        self.play("remove", "-e", "imgbuild_yes=true")
        self.assertEqual([], self.pc.left())
        self.assertEqual(["not-found"], self.unit("LoadState"))
        self.assertFalse((self.pc.home / ".config/systemd/user" / UNIT).exists())
        self.assertFalse((self.pc.home / ".linger").exists())
