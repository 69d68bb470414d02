"""How the base reaches a PC, and what goes wrong on the way."""

import os
import time

import fleetrig
from fleetrig import FleetCase, wait_for


def setUpModule():
    fleetrig.enter()


class Base(FleetCase):
    def setUp(self):
        super().setUp()
        self.digest = self.rig.base(size=6)
        self.image = self.digest + ".qcow2"

    def runs(self, pc, *words):
        play = self.rig.play("deploy", *words)
        self.assertEqual(0, play.code, str(play))
        self.assertEqual([self.image], pc.images())
        self.assertEqual("running", pc.status("vm101")["state"])
        left = [name for name in pc.files() if name.startswith("bases/.") and name != "bases/.lock"]
        self.assertEqual([], left)

    def test_by_each_program(self):
        pc = self.rig.pc()
        self.rig.write_lab(1, room=self.rig.published())
        for number, (program, agent) in enumerate((("aria2c", "aria2"), ("curl", "curl"), ("wget", "Wget")), 1):
            del self.rig.web.requests[:]
            self.runs(pc, "-e", '{"imgbuild_download_with": ["%s"]}' % program)
            agents = {request[3].partition("/")[0] for request in self.rig.web.requests if request[1].endswith(self.image)}
            self.assertEqual({agent}, agents)
            self.rig.play("remove", "-e", "imgbuild_yes=true")
            self.assertEqual([], pc.images(), number)

    def test_ssh_cut_in_the_middle_of_a_download(self):
        pc = self.rig.pc(hide=["aria2c", "wget"])
        self.rig.write_lab(1, room=self.rig.published())
        self.rig.web.rate = 1 << 20
        play = self.rig.start_play("deploy")
        self.assertTrue(self.rig.web.begun.wait(60))
        time.sleep(1)
        pc.cut_logins()
        self.assertNotEqual(0, self.rig.finish(play).code)
        self.assertEqual([], pc.images())
        self.rig.web.rate = None
        self.runs(pc)
        # The second went on where the first was.
        self.assertTrue(any(request[2] for request in self.rig.web.requests if request[1].endswith(self.image)), self.rig.web.requests)

    def begun_copy(self):
        """A deploy that copies through ssh, slowly, at a moment when a part is there."""
        fleetrig.run("tc", "qdisc", "add", "dev", "pc1", "root", "tbf", "rate", "8mbit", "burst", "32kbit", "latency", "400ms")
        pc, play = self.rig.pcs[0], self.rig.start_play("deploy")
        upload = wait_for(lambda: next((pc.folder / "bases").glob(".*.upload-*"), None) if (pc.folder / "bases").is_dir() else None)
        wait_for(lambda: upload.stat().st_size > 100000)
        return play, upload

    def test_ssh_cut_in_the_middle_of_a_copy(self):
        """Ansible itself tries its other ways to transfer a file then; what was begun is nobody's image."""
        pc = self.rig.pc()
        self.rig.write_lab(1)
        play, _upload = self.begun_copy()
        pc.cut_logins()
        self.assertIn("sftp transfer mechanism failed", self.good(self.rig.finish(play)).output)
        self.runs(pc)

    def test_a_pc_switched_off_in_the_middle_of_a_copy(self):
        pc = self.rig.pc()
        self.rig.write_lab(1)
        play, upload = self.begun_copy()
        pc.power_off()
        self.assertNotEqual(0, self.rig.finish(play).code)
        self.assertEqual([], pc.images())
        pc.boot()
        # What was left is removed once it is old enough to be nobody's.
        os.utime(upload, (1, 1))
        self.runs(pc)

    def test_a_digest_that_does_not_match(self):
        pc = self.rig.pc()
        self.rig.write_lab(1, room=self.rig.published())
        data = bytearray((self.rig.publish / self.image).read_bytes())
        data[100000] ^= 1
        self.rig.web.lies[self.image] = bytes(data)
        self.fails(self.rig.play("deploy", "-e", '{"imgbuild_download_with": ["curl"]}'), "what came is another image: SHA-256")
        self.assertEqual([[], []], [pc.images(), pc.qemus()])
        self.rig.web.lies.clear()
        self.runs(pc)

    def nothing_came(self, pc, words):
        """With each program: the play fails with these words, and nothing half made is on the PC."""
        for program in ("aria2c", "curl", "wget"):
            self.fails(self.rig.play("deploy", "-e", '{"imgbuild_download_with": ["%s"]}' % program), words.replace("PROGRAM", program))
            self.assertEqual([["bases", "bases/.lock"], []], [pc.files(), pc.qemus()], program)

    def test_a_page_instead_of_an_image(self):
        pc = self.rig.pc()
        self.rig.write_lab(1, room=self.rig.published())
        self.rig.web.lies[self.image] = b"<!DOCTYPE html><title>Sorry</title>"
        self.nothing_came(pc, "%s%s: what came is a web page, no image: 35 bytes, expected" % (self.rig.web.url, self.image))

    def test_a_base_that_was_not_published(self):
        pc = self.rig.pc()
        self.rig.write_lab(1, room=self.rig.published())
        (self.rig.publish / self.image).unlink()
        self.nothing_came(pc, "cannot bring the base: %s%s is not there (PROGRAM). Publish the base there: imgbuild lab publish DIR; "
                              "or mend the room's `base_url`" % (self.rig.web.url, self.image))

    def test_a_full_disk(self):
        pc = self.rig.pc(small="4m")
        self.rig.write_lab(1)
        play = self.rig.play("deploy")
        self.assertEqual(0, play.code, str(play))
        self.assertIn("%s was left alone: /var/tmp/imgbuild-alice has 4 MB free, and" % pc.name, play.output)
        self.assertEqual([[], []], [pc.images(), pc.qemus()])
