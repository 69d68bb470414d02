"""The Perl client: what a program gets of it, and what it dies with."""

import json
import os
import subprocess
import unittest

from rig import PASSWORD, USR, Case, Rig, free_port, wait_for, quorate

PROGRAM = """
use strict;
use warnings;
use JSON::PP;
use PVE::APIClient::LWP;
my $asked = decode_json(<STDIN>);
my $client = PVE::APIClient::LWP->new(
    username => 'root@pam', password => $asked->{password}, cookie_name => 'PVEAuthCookie', protocol => 'https',
    host => $asked->{host}, port => $asked->{port}, timeout => $asked->{timeout},
    cached_fingerprints => { uc($asked->{fingerprint}) => 1 });
eval { $client->login() if $asked->{login}; print encode_json({ data => $client->get($asked->{path}) }); 1 } and exit 0;
print encode_json({ error => "$@", kind => ref($@), code => ref($@) ? $@->{code} : undef });
"""


class PerlClient(Case):
    @classmethod
    def setUpClass(cls):
        cls.rig = Rig()
        cls.addClassCleanup(cls.rig.close)
        cls.alpha = cls.rig.creator()
        wait_for(lambda: quorate(cls.alpha))

    def tearDown(self):
        self.alpha.switch()

    def ask(self, path="/cluster/config/nodes", **more):
        asked = {"host": self.alpha.address, "port": self.rig.api_port, "password": PASSWORD, "timeout": 30,
                 "fingerprint": self.alpha.fingerprint().lower(), "path": path, "login": 1}
        done = subprocess.run(["perl", "-e", PROGRAM], input=json.dumps(dict(asked, **more)), capture_output=True, text=True,
                              env=dict(os.environ, PERL5LIB=os.path.join(USR, "share/perl5")), timeout=120)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return json.loads(done.stdout)

    def died(self, text, code=None, **more):
        self.assertEqual(self.ask(**more), {"error": text, "kind": "PVE::APIClient::Exception", "code": code})

    def test_answers(self):
        node = {"name": "alpha", "node": "alpha", "nodeid": "1", "quorum_votes": "1", "ring0_addr": self.alpha.address}
        self.assertEqual(self.ask(), {"data": [node]})
        self.assertEqual(self.ask("cluster/config/nodes", login=0), {"data": [node]})
        self.assertEqual(self.ask("/cluster/config/join")["data"]["preferred_node"], "alpha")

    def test_wrong_password(self):
        self.died("401 authentication failure\n", 401, password="wrong")

    def test_wrong_fingerprint(self):
        self.died("fingerprint '%s' not verified, abort!\n" % self.alpha.fingerprint(), fingerprint="aa:" * 31 + "aa")

    def test_error_of_a_call(self):
        self.died("501 Method 'GET /nodes' not implemented\n", 501, path="/nodes")

    def test_port_closed(self):
        port = free_port()
        self.died("500 Can't connect to %s:%d (Connection refused)\n" % (self.alpha.address, port), 500, port=port)

    def test_black_hole(self):
        self.alpha.switch(swallow=True)
        where = (self.alpha.address, self.rig.api_port)
        wait_for(lambda: "timed out" in self.ask(timeout=0.3).get("error", ""))
        self.died("500 Can't connect to %s:%d (Connection timed out)\n" % where, 500, timeout=0.3)


if __name__ == "__main__":
    unittest.main()
