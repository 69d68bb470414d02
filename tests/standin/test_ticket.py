"""30: tickets, a second factor, and who may join with them; 29: a node's key that is no key."""

import json
import os
import re
import signal
import ssl
import subprocess
import unittest
import urllib.error
import urllib.parse
import urllib.request

from rig import PASSWORD, Case, ClusterCase, Rig, normal, online, quorate, transcript, wait_for

ASSEMBLE = 'print PVE::AccessControl::assemble_ticket("root\\@pam")'
CODE = "123456"


def tampered(ticket):
    """Another letter in the middle of the signature."""
    return ticket[:-99] + ("A" if ticket[-99] != "A" else "B") + ticket[-98:]


class Tickets(Case):
    @classmethod
    def setUpClass(cls):
        cls.rig = Rig()
        cls.addClassCleanup(cls.rig.close)
        cls.alpha = cls.rig.creator()
        cls.other = cls.rig.node("theta", 18).boot()
        wait_for(lambda: quorate(cls.alpha))

    def setUp(self):
        self.addCleanup(self.alpha.switch)

    def post(self, password, node=None, **more):
        """Status and body of POST /access/ticket, as text."""
        node = node or self.alpha
        form = dict({"username": "root@pam", "password": password}, **{key.replace("_", "-"): value for key, value in more.items()})
        context = ssl.create_default_context(cafile=node.path("/etc/pve/pve-root-ca.pem"))
        request = urllib.request.Request("https://%s:%d/api2/json/access/ticket" % (node.address, self.rig.api_port),
                                         data=urllib.parse.urlencode(form).encode())
        try:
            with urllib.request.urlopen(request, context=context, timeout=60) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def refused(self, *words, **more):
        body, _, code = transcript("30-ticket", 2)[1].strip().rpartition("\n")
        self.assertEqual(self.post(*words, **more), (int(code), body))

    def given(self, *words, **more):
        status, body = self.post(*words, **more)
        self.assertEqual(status, 200, body)
        return json.loads(body)["data"]

    def test_made_on_a_member(self):
        ticket = self.alpha.perl(ASSEMBLE, "PVE::AccessControl")
        recorded = transcript("30-ticket", 0)[1].splitlines()
        self.assertEqual(len(ticket), int(recorded[1]))
        self.assertRegex(ticket, r"^PVE:root@pam:[0-9A-F]{8}::[A-Za-z0-9+/]+={0,2}$")
        self.assertEqual(len(recorded[0]), 24)
        # As a password it gives another, with everything that the real answer has.
        wanted = json.loads(transcript("30-ticket", 1)[1].splitlines()[0])["data"]
        got = self.given(ticket)
        self.assertEqual(sorted(got), sorted(wanted))
        self.assertEqual(got["cap"], wanted["cap"])
        self.assertEqual((got["username"], got["clustername"]), ("root@pam", "labcluster"))
        self.assertEqual(len(got["ticket"]), len(ticket))
        self.assertEqual(self.given(got["ticket"])["username"], "root@pam")

    def test_refused(self):
        old = self.alpha.perl("BEGIN { *CORE::GLOBAL::time = sub { CORE::time() - 7300 } } use PVE::AccessControl; " + ASSEMBLE)
        self.refused(old)
        ticket = self.alpha.perl(ASSEMBLE, "PVE::AccessControl")
        for wrong in ("", "x", tampered(ticket), ticket.replace("root@pam", "admin@pve"), ticket + "x", ticket.partition("::")[0]):
            self.refused(wrong)
        self.refused(ticket, username="admin@pve")
        self.refused(self.alpha.perl(ASSEMBLE.replace("root\\@pam", "admin\\@pve"), "PVE::AccessControl"))
        # Of another cluster.
        self.refused(self.other.perl(ASSEMBLE, "PVE::AccessControl"))
        self.assertEqual(self.given(self.alpha.perl(ASSEMBLE, "PVE::AccessControl"))["username"], "root@pam")

    def test_lifetime(self):
        self.alpha.switch(ticket_life=0.5)
        ticket = self.alpha.perl(ASSEMBLE, "PVE::AccessControl")
        wait_for(lambda: self.post(ticket)[0] == 401)
        self.alpha.switch()
        self.assertEqual(self.post(ticket)[0], 200)

    def test_second_factor(self):
        self.alpha.switch(second_factor=CODE)
        first = self.given(PASSWORD)
        self.assertEqual(sorted(first), ["CSRFPreventionToken", "NeedTFA", "clustername", "ticket", "username"])
        self.assertEqual(first["NeedTFA"], 1)
        self.assertRegex(first["ticket"], "^PVE:!tfa!%7B%22totp%22%3Atrue%7D:[0-9A-F]{8}::")
        challenge = first["ticket"]
        self.refused("totp:000000", tfa_challenge=challenge)
        self.refused(CODE, tfa_challenge=challenge)
        self.refused("recovery:" + CODE, tfa_challenge=challenge)
        self.refused("totp:" + CODE, tfa_challenge=tampered(challenge))
        # Half of a login is no password, and no ticket that the API takes.
        self.refused(challenge)
        request = urllib.request.Request("https://%s:%d/api2/json/cluster/status" % (self.alpha.address, self.rig.api_port),
                                         headers={"Cookie": "PVEAuthCookie=" + challenge})
        with self.assertRaises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request, context=ssl._create_unverified_context())
        refused.exception.close()
        self.assertEqual(refused.exception.code, 401)
        full = self.given("totp:" + CODE, tfa_challenge=challenge)
        self.assertIn("cap", full)
        self.assertNotIn("NeedTFA", full)
        # A ticket is not asked for it; both at once do as well.
        self.assertNotIn("NeedTFA", self.given(full["ticket"]))
        self.assertNotIn("NeedTFA", self.given(PASSWORD, otp="totp:" + CODE))
        self.refused(PASSWORD, otp="totp:000000")
        self.refused("wrong")

    def test_locked_out(self):
        self.alpha.switch(second_factor=CODE, second_factor_tries=3)
        challenge = self.given(PASSWORD)["ticket"]
        self.given("totp:" + CODE, tfa_challenge=challenge)
        for _ in range(3):
            self.refused("totp:000000", tfa_challenge=challenge)
        self.refused("totp:" + CODE, tfa_challenge=challenge)
        # A ticket goes on, the password does not get any further.
        self.assertEqual(self.given(PASSWORD)["NeedTFA"], 1)
        self.assertEqual(self.post(self.alpha.perl(ASSEMBLE, "PVE::AccessControl"))[0], 200)
        os.unlink(self.alpha.path("/etc/pve/priv/tfa.cfg"))
        self.given("totp:" + CODE, tfa_challenge=challenge)

    def test_pvecm_and_the_second_factor(self):
        self.alpha.switch(second_factor=CODE)
        beta = self.rig.node("beta", 12).boot()
        self.assertEqual(beta.add(self.alpha), (0, "Establishing API connection with host '%s'\n"
                         "TFA-enabled login currently works only with a TTY. at /usr/share/perl5/PVE/APIClient/LWP.pm line 121\n"
                         % self.alpha.address))
        self.untouched(beta)
        # With a ticket it joins, and says nothing else than with a password.
        code, text = beta.add(self.alpha, password=self.alpha.perl(ASSEMBLE, "PVE::AccessControl"))
        self.assertEqual(normal(transcript("02-pvecm-add-success")[1]), normal(text))
        wait_for(lambda: online(self.alpha, "beta"))
        # All members share the key.
        self.alpha.switch()
        self.assertEqual(self.post(beta.perl(ASSEMBLE, "PVE::AccessControl"))[0], 200)
        wait_for(lambda: self.post(self.alpha.perl(ASSEMBLE, "PVE::AccessControl"), node=beta)[0] == 200)

    def test_pvecm_and_an_old_ticket(self):
        self.alpha.switch(ticket_life=0)
        gamma = self.rig.node("gamma", 13).boot()
        self.same(gamma.add(self.alpha, password=self.alpha.perl(ASSEMBLE, "PVE::AccessControl")), "03-wrong-password")
        self.untouched(gamma)


class EmptyKey(ClusterCase):
    """29: openssl makes the file of a key first, and a key that is there is never made anew."""

    NAME = "29-empty-node-key"
    KEY = "/etc/pve/local/pve-ssl.key"

    def vm43(self):
        return self.rig.node("vm43", 43).boot()

    def empty(self, node):
        self.assertEqual(os.path.getsize(node.path(self.KEY)), 0)
        self.assertFalse(node.exists("/etc/pve/local/pve-ssl.pem"))
        for number, words in ((0, ()), (1, ("--force",))):
            code, text = node.run("pvecm", "updatecerts", *words)
            self.same((code, text), self.NAME, number)
        # Its words are those of this machine's openssl.
        done = subprocess.run(["openssl", "pkey", "-noout", "-in", node.path(self.KEY)], capture_output=True)
        self.assertEqual(done.returncode, transcript(self.NAME, 2)[0])
        # The proxy is there, and nobody gets an answer of it.
        node.service("reload-or-restart", "pveproxy")
        wait_for(lambda: "failed to load local private key" in node.peek("/run/pve-standin/pveproxy.log"))
        with self.assertRaises(OSError):
            ssl.get_server_certificate((node.address, self.rig.api_port), timeout=5)
        # The repair.
        os.unlink(node.path(self.KEY))
        code, text = node.run("pvecm", "updatecerts")
        subprocess.run(["openssl", "verify", "-CAfile", node.path("/etc/pve/pve-root-ca.pem"), node.path("/etc/pve/local/pve-ssl.pem")],
                       check=True, capture_output=True)
        subprocess.run(["openssl", "pkey", "-noout", "-in", node.path(self.KEY)], check=True, capture_output=True)
        recorded = [line for line in transcript(self.NAME, 3)[1].splitlines() if not re.match(r"total|[-d]rw|/etc", line)]
        self.assertEqual((code, text.splitlines()), (0, recorded))
        wait_for(lambda: ssl.get_server_certificate((node.address, self.rig.api_port)).strip()
                 == node.read("/etc/pve/local/pve-ssl.pem").strip())

    def test_a_join_dies(self):
        vm43 = self.vm43()
        vm43.switch(die_at="empty-key")
        self.assertEqual(vm43.add(self.alpha)[0], -signal.SIGKILL)
        self.empty(vm43)
        # The repaired key stays, whatever is joined over it.
        with open(vm43.path(self.KEY), encoding="ascii") as key:
            before = key.read()
        wait_for(lambda: self.alpha.exists("/etc/pve/nodes/vm43/pve-ssl.key"))
        code, text = vm43.add(self.alpha, "--force")
        self.assertTrue(text.endswith("successfully added node 'vm43' to cluster.\n"), text)
        self.assertEqual(vm43.read(self.KEY), before)

    def test_the_tail_of_a_join(self):
        vm43 = self.vm43()
        vm43.add(self.alpha)
        wait_for(lambda: online(self.alpha, "vm43") and self.alpha.exists("/etc/pve/nodes/vm43/pve-ssl.pem"))
        vm43.switch(die_at="empty-key")
        for name in ("pve-ssl.key", "pve-ssl.pem"):
            os.unlink(vm43.path("/etc/pve/local/" + name))
        self.assertEqual(vm43.run("pvecm", "updatecerts")[0], -signal.SIGKILL)
        wait_for(lambda: self.alpha.exists("/etc/pve/nodes/vm43/pve-ssl.key")
                 and os.path.getsize(self.alpha.path("/etc/pve/nodes/vm43/pve-ssl.key")) == 0)
        code, text = vm43.add(self.alpha, "--force")
        self.assertEqual(code, 0)
        recorded = normal(transcript(self.NAME, 1)[1])
        self.assertTrue(normal(text).endswith(recorded), text)
        self.assertEqual(self.last_task(vm43), "unable to generate pve certificate request:")
        self.empty(vm43)


class NoQuorum(Case):
    def test_updatecerts_waits(self):
        """What is said is from Proxmox's sources; the 80 s are seen."""
        rig = Rig(UPDATECERTS_WAIT=1.5)
        self.addCleanup(rig.close)
        alpha = rig.node("alpha", 11).boot()
        alpha.switch(no_quorum=True)
        alpha.run("pvecm", "create", "labcluster", "--link0", alpha.address)
        wait_for(lambda: '"quorate": 0' in alpha.peek("/etc/pve/.members"))
        late = ("got timeout when trying to ensure cluster certificates and base file hierarchy is set up"
                " - no quorum (yet) or hung pmxcfs?\n")
        self.assertEqual(alpha.run("pvecm", "updatecerts"), (255, "waiting for pmxcfs mount to appear and get quorate...\n" + late))
        self.assertEqual(alpha.run("pvecm", "updatecerts", "--silent"), (0, late))
        alpha.environment["PVE_STANDIN_UPDATECERTS_WAIT"] = "60"
        waiting = alpha.spawn("pvecm", "updatecerts")
        self.assertEqual(waiting.stdout.readline(), "waiting for pmxcfs mount to appear and get quorate...\n")
        alpha.switch()
        self.assertEqual(waiting.communicate(timeout=60)[0].splitlines(True)[-1], "(re)generate node files\n")
        self.assertEqual(waiting.returncode, 0)


if __name__ == "__main__":
    unittest.main()
