"""Tickets: who made them, for whom and when, in the real one's text.

    PVE:root@pam:6B0844C3::SIGNATURE

The number is the second of their making, in hex. The real signature is RSA's, by a key that all
members share. Here it is a MAC of the same length under the contents of the same file, because
one process of openssl for every request would be slow; so whoever can judge a ticket can make one.
usr/share/perl5/PVE/AccessControl.pm does the same.
"""

import base64
import hashlib
import hmac
import re
import time

from . import env, switches

KEY, CSRF_KEY = "/etc/pve/priv/authkey.key", "/etc/pve/pve-www.key"
LIFE = 7200
# A ticket of another node may be from the future, by as much as the clocks differ.
GRACE = 300


def _key(file):
    with open(env.path(file), "rb") as key:
        return key.read()


def sign(text, aad=None):
    """256 bytes in base64; `aad` is signed too and not in the ticket."""
    full = text if aad is None else "%s:%s" % (text, aad)
    blocks = [hmac.new(_key(KEY), ("%d:%s" % (at, full)).encode(), hashlib.sha256).digest() for at in range(8)]
    return base64.b64encode(b"".join(blocks)).decode()


def assemble(data, aad=None):
    text = "PVE:%s:%08X" % (data, int(time.time()))
    return text + "::" + sign(text, aad)


def timely(stamp):
    age = time.time() - int(stamp, 16)
    return -GRACE < age < float(switches.get("ticket_life", LIFE))


def verify(ticket, aad=None):
    """What the ticket is for, or None."""
    found = re.fullmatch(r"(PVE:(\S+):([0-9A-F]{8}))::([^:\s]+)", ticket)
    if not found:
        return None
    try:
        good = hmac.compare_digest(sign(found.group(1), aad), found.group(4))
    except FileNotFoundError:
        return None
    return found.group(2) if good and timely(found.group(3)) else None


def csrf_token(user):
    return _csrf_token(user, "%08X" % int(time.time()))


def _csrf_token(user, stamp):
    mac = hmac.new(_key(CSRF_KEY), ("%s:%s" % (stamp, user)).encode(), hashlib.sha1).digest()
    return "%s:%s" % (stamp, base64.b64encode(mac).decode().rstrip("="))


def csrf_is_good(token, user):
    stamp = token.partition(":")[0]
    if not re.fullmatch(r"[0-9A-F]{8}", stamp):
        return False
    return timely(stamp) and hmac.compare_digest(token, _csrf_token(user, stamp))
