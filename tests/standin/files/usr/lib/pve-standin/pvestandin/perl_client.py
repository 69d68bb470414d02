"""The network's side of the stand-in for PVE::APIClient::LWP: one request, JSON in, JSON out.

Its standard input is one JSON object: host, port, timeout, fingerprints (a list), method,
path, form, and ticket with csrf or nothing. The answer has status, reason, type and body,
as LWP's response has them; or `unknown`, the fingerprint of a certificate that is not in
the list. Nothing secret is on a command line or in the environment.
"""

import json
import sys

from .client import Client, ClientError


class Unknown(Exception):
    """A certificate that is not pinned."""


class Pinned(Client):
    def __init__(self, asked):
        super().__init__(asked["host"], None, None, int(asked["port"]), float(asked["timeout"]))
        self.fingerprints = asked["fingerprints"]

    def check(self, seen):
        if seen not in self.fingerprints:
            raise Unknown(seen)


def exchange(asked):
    headers = {"Cookie": "PVEAuthCookie=" + asked["ticket"], "CSRFPreventionToken": asked["csrf"]} if asked.get("ticket") else {}
    client = Pinned(asked)
    try:
        message = client.raw(asked["method"], asked["path"], headers, asked.get("form"))
    except Unknown as unknown:
        return {"status": 500, "reason": "Can't connect to %s:%d (certificate verify failed)" % (client.host, client.port),
                "type": "text/plain", "body": "", "unknown": str(unknown)}
    except ClientError as error:
        status, _, reason = error.text.partition(" ")
        return {"status": int(status), "reason": reason, "type": "text/plain", "body": ""}
    status, _, reason = message.first.partition(" ")[2].partition(" ")
    return {"status": int(status), "reason": reason, "type": message.headers.get("content-type", ""),
            "body": message.body.decode("utf-8", "replace")}


def main():
    json.dump(exchange(json.load(sys.stdin)), sys.stdout)
    return 0
