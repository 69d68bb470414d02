"""What a program sees of the API: shapes and codes as the real one was asked."""

import json
import ssl
import unittest
import urllib.error
import urllib.parse
import urllib.request

from rig import NET, PASSWORD, Case, Rig, transcript


class Api(Case):
    """23: what a program sees of the API."""

    @classmethod
    def setUpClass(cls):
        cls.rig = Rig()
        cls.addClassCleanup(cls.rig.close)
        cls.alpha = cls.rig.creator()
        cls.beta = cls.rig.node("beta", 12).boot()
        cls.beta.add(cls.alpha)
        cls.gamma = cls.rig.node("gamma", 13).boot()

    def ask(self, node, path, form=None, ticket=""):
        context = ssl.create_default_context(cafile=node.path("/etc/pve/pve-root-ca.pem"))
        request = urllib.request.Request(
            "https://%s:%d/api2/json%s" % (node.address, self.rig.api_port, path),
            data=urllib.parse.urlencode(form).encode() if form else None,
            headers={"Cookie": "PVEAuthCookie=" + ticket} if ticket else {})
        try:
            with urllib.request.urlopen(request, context=context, timeout=60) as answer:
                return answer.status, answer.reason, json.load(answer)
        except urllib.error.HTTPError as error:
            body = error.read()
            return error.code, error.reason, json.loads(body) if body else None

    def ticket(self, node):
        return self.ask(node, "/access/ticket", {"username": "root@pam", "password": PASSWORD})[2]["data"]["ticket"]

    def same_shape(self, got, expected):
        """The same keys and kinds all the way down; the order of lists of nodes is nobody's business."""
        self.assertIs(type(got), type(expected))
        if isinstance(got, dict):
            self.assertEqual(sorted(got), sorted(expected))
            for key in got:
                self.same_shape(got[key], expected[key])
        elif isinstance(got, list):
            self.assertEqual(len(got), len(expected))
            by_name = lambda entry: entry["name"]  # noqa: E731
            for one, other in zip(sorted(got, key=by_name), sorted(expected, key=by_name)):
                self.same_shape(one, other)

    def test_answers(self):
        lines = []
        for block in range(4):
            lines += transcript("23-api-cluster-config", block)[1].splitlines()
        recorded = [json.loads(line) for line in lines[::2]]
        codes = [int(line.removeprefix("HTTP ")) for line in lines[1::2]]
        asked = [(self.alpha, "/cluster/config/nodes"), (self.alpha, "/cluster/config/join"),
                 (self.gamma, "/cluster/config/nodes"), (self.gamma, "/cluster/config/join"),
                 (self.alpha, "/cluster/config/apiversion"), (self.alpha, "/cluster/config/totem")]
        self.assertEqual(len(asked), len(recorded))
        for (node, path), expected, code in zip(asked, recorded, codes):
            status, _, body = self.ask(node, path, ticket=self.ticket(node))
            self.assertEqual(status, code, path)
            self.same_shape(body, expected)
            if path.endswith(("totem", "apiversion")) or node is self.gamma:
                self.assertEqual(body, expected)

    def test_numbers_and_texts(self):
        ticket = self.ticket(self.alpha)
        rows = self.ask(self.alpha, "/cluster/status", ticket=ticket)[2]["data"]
        cluster = next(row for row in rows if row["type"] == "cluster")
        version = self.ask(self.alpha, "/cluster/config/totem", ticket=ticket)[2]["data"]["config_version"]
        self.assertEqual((cluster["version"], cluster["nodes"], cluster["quorate"]), (int(version), 2, 1))
        self.assertEqual(sorted((row["nodeid"], row["online"], row["local"]) for row in rows if row["type"] == "node"),
                         [(1, 1, 1), (2, 1, 0)])
        for node in self.ask(self.alpha, "/cluster/config/nodes", ticket=ticket)[2]["data"]:
            self.assertTrue(all(isinstance(value, str) for value in node.values()), node)

    def test_no_ticket(self):
        self.assertEqual(self.ask(self.alpha, "/cluster/config/nodes"), (401, "No ticket", None))
        stale = self.ticket(self.alpha)
        changed = stale[:-1] + ("0" if stale[-1] != "0" else "1")
        self.assertEqual(self.ask(self.alpha, "/cluster/config/nodes", ticket=changed)[0], 401)

    def test_posting_needs_the_token(self):
        status, _, _ = self.ask(self.alpha, "/cluster/config/nodes/x", {"link0": NET + "99"}, ticket=self.ticket(self.alpha))
        self.assertEqual(status, 401)


if __name__ == "__main__":
    unittest.main()
