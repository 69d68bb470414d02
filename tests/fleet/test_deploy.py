"""The play deploy, from nothing to machines that run, and again."""

import unittest

import fleetrig
from fleetrig import FleetCase


def setUpModule():
    fleetrig.enter()


class First(FleetCase):
    def test_first_deploy_then_nothing_changes(self):
        digest = self.rig.base()
        pcs = [self.rig.pc() for _ in range(2)]
        self.rig.write_lab(2)
        play = self.rig.play("deploy")
        self.assertEqual(0, play.code, str(play))
        for number, pc in enumerate(pcs, 101):
            vm = "vm%d" % number
            status = pc.status(vm)
            self.assertEqual(("running", "cron", digest), (status["state"], status["service"], status["overlay_base"]))
            self.assertEqual(0, play.recap[pc.name]["failed"], str(play))
        again = self.rig.play("deploy")
        self.assertEqual(0, again.code, str(again))
        for pc in pcs:
            self.assert_recap(again, pc, changed=0, failed=0, unreachable=0)


if __name__ == "__main__":
    unittest.main()
