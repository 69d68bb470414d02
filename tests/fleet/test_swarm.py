"""The base by its torrent: from the web server and from the other PCs of the room."""

import hashlib

import fleetrig
from fleetrig import FleetCase


def setUpModule():
    fleetrig.enter()


class Swarm(FleetCase):
    def published(self, pcs, size):
        self.digest = self.rig.base(size=size)
        self.image = self.digest + ".qcow2"
        self.rig.write_lab(pcs, room=self.rig.published_with_torrent())
        self.web, self.torrent = self.rig.web, self.image + ".torrent"
        return [self.rig.pc(hide=["curl", "wget"]) for _ in range(pcs)]

    def deployed(self, pcs):
        """All have the image, and nothing else of it."""
        play = self.good(self.rig.play("deploy"))
        for pc in pcs:
            self.assertEqual(["bases/.lock", "bases/" + self.image], [name for name in pc.files() if name.startswith("bases/")])
        return play

    def test_pcs_give_pieces_to_each_other(self):
        pcs = self.published(3, 12)
        # One PC alone takes 40 s so; peers are found after some 12, on a busy PC after 18.
        self.web.rate = 150_000
        self.deployed(pcs)
        self.assertEqual({"aria2"}, {agent.partition("/")[0] for _, path, _, agent in self.web.requests if path.endswith(self.image)})
        copies = self.web.sent[self.image] / (self.rig.publish / self.image).stat().st_size
        # Without a swarm there were three.
        self.assertTrue(1 <= copies < 2.7, copies)

    def test_a_torrent_whose_pieces_lie(self):
        (pc,) = self.published(1, 3)
        data = (self.rig.publish / self.torrent).read_bytes()
        piece = hashlib.sha1((self.rig.publish / self.image).read_bytes()[:1 << 20]).digest()
        self.assertEqual(1, data.count(piece))
        self.web.lies[self.torrent] = data.replace(piece, bytes(20))
        self.fails(self.rig.play("deploy"), "%s%s and the image beside it do not belong together: the pieces have other digests. "
                   "Nothing of it was kept. Publish the base once more: imgbuild lab publish DIR; or do without the torrent: "
                   % (self.web.url, self.torrent))
        self.assertEqual([["bases", "bases/.lock"], []], [pc.files(), pc.qemus()])
        # As the remedy says; and published once more.
        self.web.lies.clear()
        self.deployed([pc])

    def test_a_page_instead_of_a_torrent(self):
        """And another image's: both are told, and the web server alone gives the image."""
        (pc,) = self.published(1, 3)
        for lie in (b"<!DOCTYPE html><title>Sorry</title>", (self.rig.publish / self.torrent).read_bytes().replace(self.digest.encode(), b"0" * 64)):
            self.web.lies[self.torrent] = lie
            play = self.deployed([pc])
            self.assertIn("%s%s is not the torrent of this image, so the image comes from the web server alone. Publish it once more: "
                          "imgbuild lab publish DIR" % (self.web.url, self.torrent), " ".join(play.output.split()))
            self.good(self.rig.play("remove", "-e", "imgbuild_yes=true"))

    def test_a_web_server_without_ranges(self):
        """With a torrent that is right: the image comes from it whole, or it is a page, which is told."""
        (pc,) = self.published(1, 3)
        self.web.lies[self.image] = b"<!DOCTYPE html><title>Sorry</title>"
        self.fails(self.rig.play("deploy"), "%s%s: what came is a web page, no image: 35 bytes, expected" % (self.web.url, self.image))
        self.assertEqual([["bases", "bases/.lock"], []], [pc.files(), pc.qemus()])
        self.web.lies.clear()
        self.web.ranges = False
        self.deployed([pc])
