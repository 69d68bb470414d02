"""The play deploy: from nothing to machines that run, and again, and what comes in between."""

import json
import os
import re

import fleetrig
from fleetrig import FleetCase, wait_for


def setUpModule():
    fleetrig.enter()


class Deploy(FleetCase):
    def test_first_deploy(self):
        digest = self.rig.base()
        pcs = [self.rig.pc() for _ in range(2)]
        self.rig.write_lab(2)
        self.good(self.rig.play("deploy"))
        for number, pc in enumerate(pcs, 101):
            vm = "vm%d" % number
            status = pc.status(vm)
            self.assertEqual(("running", "cron", digest), (status["state"], status["service"], status["overlay_base"]))
            self.assertEqual([digest + ".qcow2"], pc.images())
            place = pc.folder / vm
            self.assertEqual([0o700, 0o600], [(path.stat().st_mode & 0o777) for path in (place, place / "seed.img")])
            (start,) = pc.qemus()
            self.assertEqual(max(10, os.nice(0)), start["nice"])

    def test_a_second_deploy_changes_nothing(self):
        self.rig.base()
        pcs = [self.rig.pc() for _ in range(2)]
        self.rig.write_lab(2)
        self.good(self.rig.play("deploy"))
        again = self.good(self.rig.play("deploy", "--diff"))
        for pc in pcs:
            self.assert_recap(again, pc, changed=0, failed=0, unreachable=0)
            self.assertEqual(1, len(pc.qemus()))
        self.assertNotIn("WARNING", self.rig.shown)

    def changes(self, play):
        """How VMs are then, as a play with --diff has told."""
        return sorted(line[1:] for line in play.output.splitlines() if re.match(r"\+vm\d+: ", line))

    def foretold(self, pcs, play, *words):
        """Check mode tells what the play then does, and does nothing of it."""
        before = [(pc.files() if pc.folder.exists() else [], len(pc.qemus())) for pc in pcs]
        told = self.good(self.rig.play(play, "--check", "--diff", *words))
        self.assertEqual(before, [(pc.files() if pc.folder.exists() else [], len(pc.qemus())) for pc in pcs])
        done = self.good(self.rig.play(play, "--diff", *words))
        self.assertEqual(self.changes(done), self.changes(told), str(told))
        for pc in pcs:
            self.assertEqual(done.recap[pc.name]["changed"] > 0, told.recap[pc.name]["changed"] > 0, str(told) + str(done))
        return self.changes(done)

    def test_check_and_diff_tell_the_truth(self):
        self.rig.base()
        pcs = [self.rig.pc() for _ in range(2)]
        self.rig.write_lab(2)

        def both(words):
            return ["vm101: " + words, "vm102: " + words]
        self.assertEqual(both("running, starts with the PC: yes"), self.foretold(pcs, "deploy"))
        self.assertEqual([], self.foretold(pcs, "deploy"))
        # A script of another imgbuild.
        script = pcs[0].folder / "vm101/run.sh"
        script.write_text(script.read_text(encoding="utf-8") + "# older\n", encoding="utf-8")
        self.assertEqual([], self.foretold(pcs, "deploy"))
        self.assertNotIn("# older", script.read_text(encoding="utf-8"))
        self.assertEqual(both("stopped, starts with the PC: yes"), self.foretold(pcs, "stop"))
        self.assertEqual(both("running, starts with the PC: yes"), self.foretold(pcs, "start"))
        self.assertEqual(both("absent"), self.foretold(pcs, "remove", "-e", "imgbuild_yes=true"))

    def test_serial_takes_one_after_the_other_and_limit_some(self):
        self.rig.base()
        first, second = [self.rig.pc() for _ in range(2)]
        self.rig.write_lab(2)
        play = self.good(self.rig.play("deploy", "--limit", second.name))
        self.assertEqual([second.name], list(play.recap))
        self.assertFalse(first.folder.exists())
        play = self.good(self.rig.play("deploy", "-e", "imgbuild_serial=1"))
        self.assertEqual(2, play.output.count("PLAY [Bring each PC to what the lab says]"))
        self.assertEqual("running", first.status("vm101")["state"])
        self.assert_recap(play, second, changed=0)

    def test_a_pc_that_is_off_is_left_alone_and_caught_up(self):
        self.rig.base()
        first, second = [self.rig.pc() for _ in range(2)]
        self.rig.write_lab(2)
        second.power_off()
        play = self.good(self.rig.play("deploy"))
        self.assertIn(second.name + " was left alone: ", play.output)
        self.assertEqual("running", first.status("vm101")["state"])
        second.boot()
        play = self.good(self.rig.play("deploy"))
        self.assert_recap(play, first, changed=0)
        self.assertEqual("running", second.status("vm102")["state"])

    def test_a_changed_seed_reaches_its_vm_alone(self):
        self.rig.base()
        pc = self.rig.pc()
        vms = "  - name: vm101\n    host: pc-b-01\n  - name: vm102\n    host: pc-b-01\n%s"
        self.rig.write_lab(1, vms=vms % "")
        self.good(self.rig.play("deploy"))
        self.rig.write_lab(1, vms=vms % "    timezone: Europe/Paris\n")
        old = json.loads((pc.folder / "vm102/.fleet.json").read_text(encoding="utf-8"))
        # Said beforehand, and left where that is wished.
        self.assertGreater(self.rig.play("deploy", "--check").recap[pc.name]["changed"], 0)
        play = self.good(self.rig.play("deploy", "-e", "imgbuild_restart=false"))
        self.assertIn("vm102 runs, and has another seed waiting", play.output)
        self.assertEqual(2, len(pc.qemus()))
        # Its PC may be switched off and on: seed and script belong together.
        pc.ssh("/var/tmp/imgbuild-alice/vm102/run.sh stop && /var/tmp/imgbuild-alice/vm102/run.sh start")
        self.good(self.rig.play("deploy"))
        self.assertEqual(["vm101", "vm102", "vm102", "vm102"], sorted(each["cwd"][-5:] for each in pc.qemus()))
        new = json.loads((pc.folder / "vm102/.fleet.json").read_text(encoding="utf-8"))
        self.assertNotEqual(old["instance_id"], new["instance_id"])
        self.assert_recap(self.good(self.rig.play("deploy")), pc, changed=0)

    def test_two_deploys_at_once_do_not_meet(self):
        digest = self.rig.base(size=6)
        pc = self.rig.pc(hide=["aria2c"])
        self.rig.write_lab(1, room=self.rig.published())
        self.rig.web.rate = 2 << 20
        plays = [self.rig.start_play("deploy") for _ in range(2)]
        for play in plays:
            self.good(self.rig.finish(play))
        images = [request for request in self.rig.web.requests if request[1].endswith(digest + ".qcow2")]
        self.assertEqual(1, len(images), images)
        self.assertEqual(1, len(pc.qemus()))
        self.assertEqual("running", pc.status("vm101")["state"])

    def test_a_pc_that_was_rebooted_has_its_vm_again(self):
        self.rig.base()
        pc = self.rig.pc()
        self.rig.write_lab(1)
        self.good(self.rig.play("deploy"))
        pc.power_off()
        pc.boot()
        wait_for(lambda: len(pc.qemus()) == 2)
        wait_for(lambda: pc.status("vm101")["state"] == "running")
        self.assert_recap(self.good(self.rig.play("deploy")), pc, changed=0)

    def test_a_ticket_is_for_a_vm_that_has_not_joined(self):
        self.rig.base()
        pc = self.rig.pc()
        ticket = self.rig.ticket()
        self.rig.write_lab(1, defaults=self.rig.CLUSTER)
        refused = self.rig.play("deploy")
        self.assertNotEqual(0, refused.code)
        self.assertIn("the root password of the cluster of 10.77.0.99 is needed for a ticket for vm101, and was not given", refused.output)
        self.good(self.rig.play("deploy", "-e", "imgbuild_ticket_file=%s" % ticket))
        wait_for(lambda: b"PVE:root@pam:" not in (pc.folder / "vm101/seed.img").read_bytes())
        # It has joined, and needs nothing any more.
        self.assert_recap(self.good(self.rig.play("deploy")), pc, changed=0)
        self.assertNotIn("PVE:root@pam:", self.rig.shown)

    def test_a_host_name_that_tries_to_be_an_option(self):
        self.rig.base()
        self.rig.write_lab(1, vms="  - name: vm101\n    host: \"-oProxyCommand=touch /var/tmp/seen\"\n")
        play = self.rig.play("deploy")
        self.assertNotEqual(0, play.code)
        self.assertIn("-oProxyCommand", play.output)
        self.assertEqual({}, play.recap)

    def test_limit_takes_a_room(self):
        self.rig.base()
        pc = self.rig.pc()
        self.rig.write_lab(1)
        play = self.good(self.rig.play("probe", "--limit", "room-b"))
        self.assertIn(pc.name, play.recap)
        self.assertEqual({}, self.rig.play("probe", "--limit", "imgbuild_absent").recap)
