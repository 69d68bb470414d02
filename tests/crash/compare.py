"""A tree as it must be in the end, whatever was cut: byte for byte, but for what is made anew."""

import ctypes
import json
import os
import re
import stat
import subprocess
import time

# In memory on a machine, or not files at all: gone with the power.
VOLATILE = ("run", "dev", "sys", "proc", "tmp")
JOURNAL = "var/lib/firstboot/journal.json"
KEY = re.compile(r"etc/ssh/(ssh_host_(\w+)_key)(\.pub)?")


def listing(tree):
    """Each name below the tree: kind, mode, owner and content of what has it."""
    found = {}
    for folder, folders, files in os.walk(tree):
        here = os.path.relpath(folder, tree)
        if here == ".":
            folders[:] = [name for name in folders if name not in VOLATILE]
        for name in folders + files:
            path = os.path.join(folder, name)
            about = os.lstat(path)
            if stat.S_ISLNK(about.st_mode):
                content = b"-> " + os.fsencode(os.readlink(path))
            elif stat.S_ISDIR(about.st_mode):
                content = b""
            elif stat.S_ISREG(about.st_mode):
                with open(path, "rb") as file:
                    content = file.read()
            else:
                content = b"%d" % about.st_rdev
            kind = {stat.S_IFLNK: "link", stat.S_IFDIR: "folder", stat.S_IFREG: "file"}.get(stat.S_IFMT(about.st_mode), "other")
            found[os.path.normpath(os.path.join(here, name))] = (
                kind, "%04o" % stat.S_IMODE(about.st_mode), "%d:%d" % (about.st_uid, about.st_gid), content)
    return found


def expected(tree, before, passwords=()):
    """The listing, with words for what differs from run to run: keys that were made, the day and the salt of a password
    that was set, and what the journal says of a step beside its name and that it is done."""
    found = listing(tree)
    for name, (kind, mode, owner, content) in found.items():
        if before.get(name, ())[3:] == (content,) or kind != "file":
            continue
        if match := KEY.fullmatch(name):
            content = key(tree, match[1], match[2])
        elif name == "etc/shadow":
            content = shadow(content, passwords)
        elif name == JOURNAL:
            content = journal(content)
        found[name] = kind, mode, owner, content
    return found


def key(tree, name, kind):
    """What can be said of a key that was made: its kind, and that its public half is what follows from it."""
    path = os.path.join(tree, "etc/ssh", name)
    derived = subprocess.run(["ssh-keygen", "-y", "-P", "", "-f", path], stdin=subprocess.DEVNULL, capture_output=True)
    try:
        with open(path + ".pub", "rb") as file:
            public = file.read()
    except OSError:
        public = b""
    if derived.returncode or derived.stdout.split()[:2] != public.split()[:2]:
        return b"no key: " + derived.stderr + public
    return b"a key of kind %s, for %s" % (kind.encode(), b" ".join(public.split()[2:]))


def shadow(content, passwords):
    """root's password and the day of its change."""
    lines = content.split(b"\n")
    today = int(time.time()) // 86400
    for number, line in enumerate(lines):
        fields = line.split(b":")
        if fields[0] == b"root" and len(fields) > 2:
            for password in passwords:
                if hashed(password, fields[1]) == fields[1]:
                    fields[1] = b"(%s)" % password.encode()
            if fields[2] in (b"%d" % today, b"%d" % (today - 1)):
                fields[2] = b"TODAY"
            lines[number] = b":".join(fields)
    return b"\n".join(lines)


def hashed(password, setting):
    """crypt(3), which Python has no more."""
    crypt = ctypes.CDLL("libcrypt.so.1").crypt
    crypt.restype = ctypes.c_char_p
    return crypt(password.encode(), setting)


def journal(content):
    try:
        whole = json.loads(content)
        for stage in ("local", "join"):
            whole[stage]["steps"] = ["%s is done" % step["step"] if step["result"] in ("changed", "unchanged") else step
                                     for step in whole[stage]["steps"]]
    except (ValueError, TypeError, KeyError) as error:
        return b"no journal: %s\n%s" % (str(error).encode(), content)
    return json.dumps(whole, indent=1).encode()


def differences(wanted, found):
    """Each name that differs, and how; what is there and should not be is a leftover."""
    for name in sorted(wanted.keys() | found.keys()):
        if name not in found:
            yield "%s is missing" % name
        elif name not in wanted:
            yield "%s is left over: %s %s %s, %d bytes" % (name, *found[name][:3], len(found[name][3]))
        elif wanted[name] != found[name]:
            for what, one, other in zip(("kind", "mode", "owner", "content"), wanted[name], found[name]):
                if one != other:
                    yield "%s has another %s: %s instead of %s" % (name, what, short(other), short(one))


def short(text):
    text = repr(text)
    return text if len(text) <= 300 else text[:140] + " ... " + text[-140:]
