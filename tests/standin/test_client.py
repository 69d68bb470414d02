"""The Perl client that firstboot asks a peer with (CLIENT in firstboot's peers.rs), run on the stand-in's."""

import json
import os
import re
import subprocess
import unittest

from rig import HERE, PASSWORD, USR, Case, Rig, quorate, wait_for

SOURCE = os.path.join(HERE, "../../firstboot/src/cluster/peers.rs")
OTHER = ":".join(["AA"] * 32)
ANOTHER = ":".join(["BB"] * 32)


def client(port):
    with open(SOURCE, encoding="utf-8") as file:
        program = re.search(r'const CLIENT: &str = r#"(.*?)"#;', file.read(), re.S).group(1)
    assert program.count("port => 8006") == 1
    return program.replace("port => 8006", "port => %d" % port)


class Client(Case):
    @classmethod
    def setUpClass(cls):
        cls.rig = Rig()
        cls.addClassCleanup(cls.rig.close)
        cls.alpha = cls.rig.creator()
        wait_for(lambda: quorate(cls.alpha))

    def ask(self, *fingerprints, password=PASSWORD):
        words = ["perl", "-e", client(self.rig.api_port), self.alpha.address, "15", *fingerprints]
        done = subprocess.run(words, input=password + "\n", capture_output=True, text=True, timeout=120,
                              env=dict(os.environ, PERL5LIB=os.path.join(USR, "share/perl5")))
        self.assertEqual(done.stderr, "")
        return done.returncode, done.stdout

    def answer(self, *fingerprints):
        code, said = self.ask(*fingerprints)
        self.assertEqual(code, 0, said)
        self.assertTrue(said.startswith("cluster: "), said)
        return json.loads(said[len("cluster: "):])

    def test_the_fingerprint_that_the_peer_has_is_told(self):
        own = self.alpha.fingerprint()
        for pinned in [own], [own, OTHER], [OTHER, own], [OTHER, ANOTHER, own]:
            answer = self.answer(*pinned)
            self.assertEqual(answer["fingerprint"], own)
            self.assertEqual([node["name"] for node in answer["nodes"]], ["alpha"])
            # Nobody gets a ticket who has not brought one.
            self.assertNotIn("ticket", answer)

    def test_none_of_them(self):
        words = "fingerprint '%s' not verified, abort!\n" % self.alpha.fingerprint()
        for pinned in [OTHER], [OTHER, ANOTHER]:
            self.assertEqual(self.ask(*pinned), (1, words))

    def test_wrong_password(self):
        own = self.alpha.fingerprint()
        for pinned in [own], [OTHER, own]:
            self.assertEqual(self.ask(*pinned, password="wrong"), (1, "401 authentication failure\n"))


if __name__ == "__main__":
    unittest.main()
