"""POST /access/ticket: by password, by an older ticket, by a second factor.

The second factor is from Proxmox's sources and was never seen: the text of the challenge, the
order of what is asked, the limit. The one that there is here is a fixed code (`second_factor`).
"""

import ctypes
import hmac
import json
import sys
import threading
import time
from urllib.parse import quote

from . import env, switches, tickets

USER = "root@pam"
TFA_CONFIG = "/etc/pve/priv/tfa.cfg"
CRYPT = threading.Lock()
# What root may do, which is everything, and what each of it is called.
CAPABILITIES = {
    "access": "Group.Allocate Permissions.Modify User.Modify",
    "dc": "SDN.Allocate SDN.Audit SDN.Use Sys.Audit Sys.Modify",
    "mapping": "Mapping.Audit Mapping.Modify Mapping.Use Permissions.Modify",
    "nodes": "Permissions.Modify Sys.AccessNetwork Sys.Audit Sys.Console Sys.Incoming Sys.Modify Sys.PowerMgmt Sys.Syslog",
    "sdn": "Permissions.Modify SDN.Allocate SDN.Audit SDN.Use",
    "storage": "Datastore.Allocate Datastore.AllocateSpace Datastore.AllocateTemplate Datastore.Audit Permissions.Modify",
    "vms": "Permissions.Modify VM.Allocate VM.Audit VM.Backup VM.Clone VM.Config.CDROM VM.Config.CPU VM.Config.Cloudinit"
           " VM.Config.Disk VM.Config.HWType VM.Config.Memory VM.Config.Network VM.Config.Options VM.Console"
           " VM.GuestAgent.Audit VM.GuestAgent.FileRead VM.GuestAgent.FileSystemMgmt VM.GuestAgent.FileWrite"
           " VM.GuestAgent.Unrestricted VM.Migrate VM.PowerMgmt VM.Replicate VM.Snapshot VM.Snapshot.Rollback",
}


class Refused(Exception):
    """The text is for the log only: whoever asked is told nothing but that it failed."""


def password_is_right(password):
    """Compares with root's entry of /etc/shadow; crypt(3) knows all methods of Debian."""
    crypt = ctypes.CDLL("libcrypt.so.1").crypt
    crypt.restype = ctypes.c_char_p
    with open(env.path("/etc/shadow"), encoding="utf-8") as shadow:
        for line in shadow:
            fields = line.rstrip("\n").split(":")
            if fields[0] == "root" and fields[1].startswith("$") and password:
                with CRYPT:  # crypt(3) gives back a buffer that all threads share
                    made = crypt(password.encode(), fields[1].encode())
                return bool(made) and hmac.compare_digest(made, fields[1].encode())
    return False


class SecondFactor:
    """A code of six digits, always the same: a real one changes twice a minute and is taken once."""

    def __init__(self):
        self.wrong = 0

    @staticmethod
    def challenge():
        """What a user with this factor is asked for, as it stands in a ticket; None without one."""
        if not switches.get("second_factor"):
            return None
        return "!tfa!" + quote(json.dumps({"totp": True}, separators=(",", ":")), safe="")

    def verify(self, response):
        kind, there, code = response.partition(":")
        if not there:
            raise Refused("bad otp response")
        if self.locked():
            raise Refused("failed 2nd factor")
        if kind == "totp" and code == str(switches.get("second_factor")):
            self.wrong = 0
            return
        self.wrong += kind == "totp"
        if self.wrong >= int(switches.get("second_factor_tries", 8)):
            # For the whole cluster, until somebody removes it: `pveum user tfa unlock` on real ones.
            self.wrong = 0
            env.write(env.path(TFA_CONFIG), json.dumps({"users": {USER: {"totp-locked": True}}}), 0o600)
            raise Refused("failed 2nd factor: TOTP limit reached, locked")
        raise Refused("failed 2nd factor")

    @staticmethod
    def locked():
        try:
            return json.loads(env.read(env.path(TFA_CONFIG)))["users"][USER]["totp-locked"]
        except (OSError, ValueError, KeyError):
            return False


class Login:
    def __init__(self):
        self.factor = SecondFactor()

    def ticket(self, form, peer):
        """The data of a good answer, without the cluster's name; Refused for all others."""
        user = form.get("username", "")
        if "@" not in user:
            user += "@" + form.get("realm", "pam")
        try:
            waiting = self.check(user, form)
        except Refused as refused:
            print("authentication failure; rhost=%s user=%s msg=%s" % (peer, user, refused), file=sys.stderr, flush=True)
            time.sleep(env.AUTH_DELAY)
            raise
        print("<root@pam> successful auth for user '%s'" % user, file=sys.stderr, flush=True)
        data = {"username": user, "CSRFPreventionToken": tickets.csrf_token(user)}
        if waiting:
            return dict(data, ticket=tickets.assemble(waiting, user), NeedTFA=1)
        capabilities = {name: dict.fromkeys(words.split(), 1) for name, words in CAPABILITIES.items()}
        return dict(data, ticket=tickets.assemble(user), cap=capabilities)

    def check(self, user, form):
        """Whether somebody may have a ticket; a challenge when a second factor is missing."""
        password, challenge, otp = form.get("password", ""), form.get("tfa-challenge"), form.get("otp")
        if challenge is not None:
            if otp is not None:
                raise Refused("TFA response should be in 'password', not 'otp' when 'tfa-challenge' is set")
            asked = tickets.verify(challenge, user)
            if not asked or not asked.startswith("!tfa!"):
                raise Refused("invalid ticket")
            self.factor.verify(password)
            return None
        # An older ticket is as good as a password, and asks for nothing more.
        if tickets.verify(password) in (USER, user) and user == USER:
            return None
        if user != USER or not password_is_right(password):
            raise Refused("Authentication failure" if password else "no password")
        waiting = self.factor.challenge()
        if waiting and otp is not None:
            self.factor.verify(otp)
            return None
        return waiting
