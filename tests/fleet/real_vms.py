"""Two PCs that boot real machines, by the real QEMU, from a base that imgbuild made. Run by `scripts/test --lab`.

The base is the one of the machine tests; TEST_BASE names another folder with one. There is no KVM on a PC of the tests:
all is emulated, and takes its time.
"""

import base64
import json
import os
import pathlib
import shutil
import time

import fleetrig
from fleetrig import FleetCase, wait_for

BASE = pathlib.Path(os.environ.get("TEST_BASE", fleetrig.ROOT / "target/x86_64-unknown-linux-gnu/tmp/base-trixie"))
# Two machines that are emulated, beside whatever this PC does besides.
BOOT, SHUTDOWN = 1800, 400
PCS = 2


def setUpModule():
    fleetrig.enter()


def events(pc, vm):
    """What the machine's firstboot has said since this start."""
    text = base64.b64decode(pc.status(vm)["status_base64"]).decode(errors="replace")
    return [json.loads(line) for line in text.splitlines() if line.startswith("{") and line.endswith("}")]


class RealVMs(FleetCase):
    def setUp(self):
        super().setUp()
        for name in ("base.qcow2", "base.manifest.json", "base.qcow2.sha256"):
            shutil.copy(BASE / name, self.rig.lab)
        self.pcs = [self.rig.pc(kvm=False, real=True) for _ in range(PCS)]
        self.machines = [(pc, "vm%d" % number) for number, pc in enumerate(self.pcs, 101)]
        # publish wants a lab in which the base fits.
        self.rig.write_lab(PCS, room="    base_url: %s\n" % self.rig.web.url, memory="1G", disk="40G")
        self.rig.imgbuild("lab", "publish", self.rig.publish, "--url", self.rig.web.url)

    def by(self, name, *words):
        begun = time.monotonic()
        play = self.rig.play(name, "-e", "imgbuild_require_kvm=false", "-e", "imgbuild_stop_seconds=%d" % SHUTDOWN, *words, seconds=3 * SHUTDOWN)
        self.assertEqual(0, play.code, str(play))
        self.took("the play " + name, begun)
        return play

    def took(self, what, begun):
        print("time: %s: %.1f s" % (what, time.monotonic() - begun), flush=True)

    def configured(self, what):
        """Waits until each machine has its verdict, and wants a good one; the results of firstboot's steps on each."""
        begun = time.monotonic()
        for pc, vm in self.machines:
            wait_for(lambda pc=pc, vm=vm: any(event["event"] == "verdict" for event in events(pc, vm)), BOOT, 5)
        self.took(what, begun)
        steps = []
        for pc, vm in self.machines:
            said = events(pc, vm)
            self.assertEqual([("configured", vm)], [(event["result"], event["name"]) for event in said if event["event"] == "verdict"], said)
            steps.append({event["step"]: event["result"] for event in said if event["event"] == "step"})
        return steps

    def console(self, pc, vm):
        return (pc.folder / vm / "console.log").read_text(encoding="utf-8", errors="replace")

    def test_deploy_status_stop_start_and_remove(self):
        self.by("deploy")
        for pc in self.pcs:
            self.assertEqual(1, len(pc.images()))
        for steps in self.configured("both machines configured"):
            self.assertEqual(("changed", "changed"), (steps["hostname"], steps["ssh-host-keys"]))
        # While they run, there is nothing to do.
        play = self.by("deploy")
        for pc in self.pcs:
            self.assert_recap(play, pc, changed=0)

        play = self.by("status")
        for pc, vm in self.machines:
            self.assertRegex(play.output, r"(?m)\b%s\b.*\bconfigured\b" % vm)
            told = json.loads((self.rig.lab / "status" / (pc.name + ".json")).read_text(encoding="utf-8"))["vms"][0]
            self.assertEqual((vm, "running"), (told["name"], told["state"]))
            self.assertIn(vm, (self.rig.lab / "status/lab.html").read_text(encoding="utf-8"))

        play = self.by("stop")
        for pc, vm in self.machines:
            self.assert_recap(play, pc, changed=1)
            self.assertEqual("stopped", pc.status(vm)["state"])
            # The guest's own shutdown, not a cut of its power.
            self.assertIn("reboot: Power down", self.console(pc, vm))

        disks = [os.stat(pc.folder / vm / (vm + ".qcow2")).st_ino for pc, vm in self.machines]
        self.by("start")
        # On the same disk, where firstboot has nothing left to do.
        for steps in self.configured("both machines again"):
            self.assertNotIn("changed", steps.values(), steps)
        self.assertEqual(disks, [os.stat(pc.folder / vm / (vm + ".qcow2")).st_ino for pc, vm in self.machines])

        self.by("remove", "-e", "imgbuild_yes=true")
        for pc, vm in self.machines:
            self.assertEqual([], pc.left())
            self.assertEqual([], [words for words in pc.processes().values() if "qemu-system" in words])
            self.assertNotIn(vm, pc.ssh("crontab -l 2>&1", check=False))
