"""What an admin does with machines that are there: status, stop, start, renew, remove; and probe."""

import json

import fleetrig
from fleetrig import FleetCase, wait_for


def setUpModule():
    fleetrig.enter()


class Life(FleetCase):
    def deployed(self, count=1, **pc):
        self.digest = self.rig.base()
        pcs = [self.rig.pc(**pc) for _ in range(count)]
        self.rig.write_lab(count)
        self.good(self.rig.play("deploy"))
        return pcs

    def test_stop_start_and_absent(self):
        (pc,) = self.deployed()
        self.assert_recap(self.good(self.rig.play("stop")), pc, changed=1)
        self.assertEqual(("stopped", "cron"), tuple(pc.status("vm101")[key] for key in ("state", "service")))
        self.assert_recap(self.good(self.rig.play("stop")), pc, changed=0)
        self.assert_recap(self.good(self.rig.play("start", "--check")), pc, changed=1)
        self.assertEqual("stopped", pc.status("vm101")["state"])
        self.assert_recap(self.good(self.rig.play("start")), pc, changed=1)
        self.assertEqual("running", pc.status("vm101")["state"])
        self.rig.write_lab(1, vms="  - name: vm101\n    host: pc-b-01\n    state: stopped\n")
        self.good(self.rig.play("deploy"))
        self.assertEqual(("stopped", "none"), tuple(pc.status("vm101")[key] for key in ("state", "service")))
        self.rig.write_lab(1, vms="  - name: vm101\n    host: pc-b-01\n    state: absent\n")
        self.good(self.rig.play("deploy"))
        self.assertFalse((pc.folder / "vm101").exists())
        self.assert_recap(self.good(self.rig.play("deploy")), pc, changed=0)

    def test_a_deaf_guest_loses_its_power_and_remove_asks(self):
        (pc,) = self.deployed()
        pc.guest("vm101", deaf=True)
        refused = self.rig.play("remove")
        self.assertNotEqual(0, refused.code)
        self.assertIn("nothing was removed", refused.output)
        self.assertEqual("running", pc.status("vm101")["state"])
        self.good(self.rig.play("remove", "-e", "imgbuild_yes=true", "-e", "imgbuild_stop_seconds=1"))
        self.assertFalse((pc.folder / "vm101").exists())
        self.assertEqual(([], False), (pc.images(), (pc.folder / "bases").exists()))
        self.assertNotIn("vm101", pc.ssh("crontab -l 2>&1", check=False))

    def test_status_over_all(self):
        first, second = self.deployed(2)
        folder = self.rig.lab / "status"

        def told(pc):
            return json.loads((folder / (pc.name + ".json")).read_text(encoding="utf-8"))
        second.power_off()
        play = self.good(self.rig.play("status"))
        one, two = told(first), told(second)
        self.assertEqual((True, "room-b", "vm101", "running"), (one["reachable"], one["room"], one["vms"][0]["name"], one["vms"][0]["state"]))
        self.assertEqual((False, []), (two["reachable"], two["vms"]))
        self.assertNotIn("answered", two)
        self.assertTrue(two["error"])
        self.assertIn("configured", play.output)
        self.assertTrue((folder / "lab.html").exists())

    def test_status_keeps_the_last_answer_of_a_pc_that_is_off(self):
        (pc,) = self.deployed()
        file = self.rig.lab / "status" / (pc.name + ".json")
        self.good(self.rig.play("status"))
        last = json.loads(file.read_text(encoding="utf-8"))
        pc.power_off()
        # As if it had answered two hours ago. Twice: what is kept is the answer, and no answer is none.
        last["time"] -= 7200
        file.write_text(json.dumps(last), encoding="utf-8")
        for _ in range(2):
            play = self.good(self.rig.play("status"))
            now = json.loads(file.read_text(encoding="utf-8"))
            self.assertEqual((False, last["time"], last["vms"]), (now["reachable"], now["answered"], now["vms"]))
            self.assertIn("; the last answer is 2 h old", play.output)

    def test_renew_stops_at_the_first_that_fails_and_goes_on(self):
        pcs = self.deployed(2)
        old = self.digest
        new = self.rig.base(content=2)
        pcs[0].guest("vm101", verdict="failed")
        play = self.rig.play("renew")
        self.assertNotEqual(0, play.code, str(play))
        self.assertIn("vm101 has a new disk, and it is not well: failed", play.output)
        self.assertIn("to go on when it is mended: run this play again", play.output)
        self.assertTrue((pcs[0].folder / "vm101/vm101.qcow2.old").exists())
        # The next one was not touched.
        self.assertEqual(("running", old), tuple(pcs[1].status("vm102")[key] for key in ("state", "overlay_base")))
        self.assertEqual(1, len(pcs[1].qemus()))
        # Mended: the guest is started once more, and says so.
        pcs[0].guest("vm101")
        for words in ("stop --limit 5", "start"):
            pcs[0].ssh("/var/tmp/imgbuild-alice/vm101/run.sh " + words)
        wait_for(lambda: b"configured" in (pcs[0].folder / "vm101/status.jsonl").read_bytes())
        self.good(self.rig.play("renew"))
        for number, pc in enumerate(pcs, 101):
            self.assertEqual(("running", new), tuple(pc.status("vm%d" % number)[key] for key in ("state", "overlay_base")))
            self.assertEqual([new + ".qcow2"], pc.images())
            self.assertEqual([], list(pc.folder.glob("*/*.old")))
        again = self.good(self.rig.play("renew"))
        for pc in pcs:
            self.assert_recap(again, pc, changed=0)

    def test_renew_leaves_a_vm_that_is_not_well(self):
        (pc,) = self.deployed()
        self.rig.base(content=2)
        pc.guest("vm101", verdict="failed")
        pc.ssh("/var/tmp/imgbuild-alice/vm101/run.sh stop --limit 5; /var/tmp/imgbuild-alice/vm101/run.sh start")
        wait_for(lambda: b"verdict" in (pc.folder / "vm101/status.jsonl").read_bytes())
        play = self.rig.play("renew")
        self.assertNotEqual(0, play.code, str(play))
        self.assertIn("vm101 is not well, so it is not renewed: it is running, and firstboot says failed", play.output)
        self.assertEqual((self.digest, "running"), (pc.status("vm101")["overlay_base"], pc.status("vm101")["state"]))

    def test_renew_asks_whether_the_cluster_can_do_without_it(self):
        old = self.rig.base()
        pc = self.rig.pc()
        self.rig.write_lab(1, defaults=self.rig.CLUSTER)
        cannot = ("the cluster of 10.77.0.99: 2 of its 3 nodes are online, vm101 is one of them; without it 1 of 3 are no quorum, 2 are needed\n"
                  "  right: start another node first: vm102 is offline")
        words = self.rig.member(1, "imgbuild: error: " + cannot)
        self.good(self.rig.play("deploy", *words))
        wait_for(lambda: b"PVE:root@pam:" not in (pc.folder / "vm101/seed.img").read_bytes())
        new = self.rig.base(content=2)
        self.fails(self.rig.play("renew", *words), "vm101 is not renewed, and still runs as before. imgbuild: error: " + " ".join(cannot.split()))
        self.assertEqual((old, "running", 1), (pc.status("vm101")["overlay_base"], pc.status("vm101")["state"], len(pc.qemus())))
        # In check mode nobody is asked, and nothing is stopped.
        told = self.good(self.rig.play("renew", "--check", *words))
        self.assertGreater(told.recap[pc.name]["changed"], 0, str(told))
        self.assertEqual((old, 1), (pc.status("vm101")["overlay_base"], len(pc.qemus())))
        # Another node has come.
        can = "the cluster of 10.77.0.99 keeps its quorum without vm101: 2 of its 3 nodes stay online, and 2 are needed"
        play = self.good(self.rig.play("renew", "-vvv", *self.rig.member(0, can)))
        self.assertIn(can, play.output)
        self.assertEqual((new, "running"), (pc.status("vm101")["overlay_base"], pc.status("vm101")["state"]))
        self.assert_recap(self.good(self.rig.play("renew", *words)), pc, changed=0)
        for secret in ("hunter2", "PVE:root@pam:"):
            self.assertNotIn(secret, self.rig.shown)


class Probe(FleetCase):
    def test_what_is_missing_is_told(self):
        self.rig.base()
        good = self.rig.pc()
        bad = self.rig.pc(kvm=False, hide=["qemu-img"])
        self.rig.write_lab(2)
        play = self.rig.play("probe")
        self.assertEqual(0, play.code, str(play))
        found = json.loads((self.rig.lab / "status/probe.json").read_text(encoding="utf-8"))
        self.assertEqual((True, []), (found[good.name]["able"], found[good.name]["missing"]))
        self.assertEqual(
            ["qemu-img is not installed (sudo apt install qemu-utils)",
             "KVM is not usable: /dev/kvm is not there (is virtualisation switched off in the firmware setup?)"], found[bad.name]["missing"])
        self.assertIn("1 of 2 PCs can run VMs", play.output)
        # It is left alone, and the other is not.
        self.rig.play("deploy")
        self.assertEqual([], bad.files() if bad.folder.exists() else [])
        self.assertEqual("running", good.status("vm101")["state"])

    def test_a_folder_on_nfs(self):
        self.rig.base()
        pc = self.rig.pc(mounts="/dev/sda1 / ext4 rw 0 0\nserver:/export /var/tmp nfs4 rw 0 0\n")
        self.rig.write_lab(1)
        play = self.good(self.rig.play("deploy"))
        self.assertIn("%s was left alone: /var/tmp/imgbuild-alice is on nfs4 (/var/tmp), another machine's disk: give the room a `folder` on a "
                      "local one, such as the default in /var/tmp" % pc.name, play.output)
        self.assertEqual((False, []), (pc.folder.exists(), pc.qemus()))
