"""The database of pmxcfs, and its files below /etc/pve.

The real one is a FUSE file system over SQLite. Here the files are ordinary ones, a look
at them once a poll finds what somebody wrote, and the database is one JSON file.

Each entry carries a stamp (a counter and the node that wrote), and the greater stamp
wins, so that two nodes that wrote at the same time end with the same files. A folder's
name ends in a slash; what was deleted stays as an entry that says so.
"""

import hashlib
import json
import os
import shutil
import time

from . import env, switches

DATABASE = "/var/lib/pve-cluster/config.db"
MOUNT = "/etc/pve"


def is_private(name):
    parts = name.rstrip("/").split("/")
    return parts[0] == "priv" or (len(parts) > 2 and parts[0] == "nodes" and parts[2] == "priv")


def mode_of(name, writable):
    if name == "priv/lock/":
        # Whoever took a lock must be able to give it back, whatever became of the quorum.
        return 0o700
    if name.endswith("/"):
        mode = 0o700 if is_private(name) else 0o755
    else:
        mode = 0o600 if is_private(name) else 0o640
    return mode if writable else mode & 0o555


def signature(stat):
    """Differs after a file was written; its mode bits do not matter."""
    return (stat.st_mtime_ns, stat.st_ino, stat.st_size)


class Store:
    def __init__(self):
        self.top = env.path(MOUNT)
        self.entries = {}
        self.seen = {}
        self.group = None
        if os.geteuid() == 0 and not env.ROOT:
            import grp
            try:
                self.group = grp.getgrnam("www-data").gr_gid
            except KeyError:
                pass  # modes do as well

    # -- the database

    def load(self):
        """Returns False when there is no database yet."""
        try:
            self.entries = json.loads(env.read(env.path(DATABASE)))
            return True
        except FileNotFoundError:
            return False

    def save(self):
        env.write(env.path(DATABASE), json.dumps(self.entries), 0o600)

    def text(self, name):
        """The content of a file, or None."""
        return self.entries.get(name, {}).get("text")

    def present(self):
        return {name for name, entry in self.entries.items() if entry["text"] is not None}

    def counter(self):
        return max((entry["at"][0] for entry in self.entries.values()), default=0)

    def digest(self):
        stamps = json.dumps([[name, self.entries[name]["at"]] for name in sorted(self.entries)])
        return hashlib.sha1(stamps.encode()).hexdigest()

    def put(self, name, text, at):
        self.entries[name] = {"text": text, "at": at}

    def merge(self, others):
        """Takes the newer of each entry; returns the names that changed, made so on disk."""
        changed = set()
        for name, entry in others.items():
            if name not in self.entries or entry["at"] > self.entries[name]["at"]:
                self.entries[name] = entry
                changed.add(name)
        if changed:
            self.save()
            self.materialise(changed)
        return changed

    # -- the files

    def full(self, name):
        return os.path.join(self.top, name.rstrip("/"))

    def own(self, file):
        if self.group is not None:
            os.chown(file, 0, self.group, follow_symlinks=False)

    def plugin(self, name, text, mode=0o440):
        """Writes one of the files that pmxcfs makes by itself."""
        temporary = self.full(name + ".tmp.0")
        with open(temporary, "w", encoding="utf-8") as out:
            out.write(text)
        os.chmod(temporary, mode)
        self.own(temporary)
        os.rename(temporary, self.full(name))

    def link(self, name, target):
        os.symlink(target, self.full(name))

    def clear(self):
        """Empties the mount point, also one that an ordinary user left read-only."""
        self.set_modes(True)
        for name in os.listdir(self.top):
            file = os.path.join(self.top, name)
            if os.path.isdir(file) and not os.path.islink(file):
                shutil.rmtree(file)
            else:
                os.unlink(file)
        self.seen = {}

    def materialise(self, names=None):
        """Makes the files what the database says: the given ones, or all and nothing else."""
        self.set_modes(True)
        if names is None:
            names = set(self.entries) | set(self.walk())
        present = self.present()
        for name in sorted(names - present, reverse=True):
            if name.endswith("/"):
                shutil.rmtree(self.full(name), ignore_errors=True)
            elif os.path.lexists(self.full(name)):
                os.unlink(self.full(name))
            self.seen.pop(name, None)
        for name in sorted(names & present):
            if name.endswith("/"):
                os.makedirs(self.full(name), exist_ok=True)
                self.seen[name] = None
                continue
            gap = name == "corosync.conf" and float(switches.get("conf_gap", 0))
            if gap and os.path.exists(self.full(name)):
                # The real one's rename over a file is not atomic for those who read it.
                os.unlink(self.full(name))
                time.sleep(gap)
            if not os.path.exists(self.full(name)) or env.read(self.full(name)) != self.text(name):
                env.write(self.full(name), self.text(name))
            self.seen[name] = signature(os.stat(self.full(name)))
        self.set_modes(True)

    def walk(self):
        """All files and folders below the mount point but links and pmxcfs's own: name -> signature."""
        found, todo = {}, [""]
        while todo:
            prefix = todo.pop()
            try:
                entries = list(os.scandir(os.path.join(self.top, prefix)))
            except FileNotFoundError:
                continue  # removed a moment ago
            for entry in entries:
                name = prefix + entry.name
                if entry.is_symlink() or (not prefix and entry.name.startswith(".")) or ".tmp." in entry.name:
                    continue
                # Locks are nobody's business but their holder's.
                if name.startswith("priv/lock/"):
                    continue
                if entry.is_dir():
                    found[name + "/"] = None
                    todo.append(name + "/")
                    continue
                try:
                    found[name] = signature(entry.stat())
                except FileNotFoundError:
                    pass
        return found

    def files(self):
        """The full names of all files that may be written."""
        return [self.full(name) for name in self.seen if not name.endswith("/")]

    def written(self, name):
        """The text of a file that is not the database's any more, or None."""
        try:
            if signature(os.stat(self.full(name))) == self.seen.get(name):
                return None
            text = env.read(self.full(name))
        except FileNotFoundError:
            return None
        return None if text == self.text(name) else text

    def scan(self, node, without=()):
        """Takes over what was written; returns the names that changed.

        Files in `without` are left as they are, to be found by a later look.
        """
        found = self.walk()
        for name in without:
            found.pop(name, None)
            if name in self.seen:
                found[name] = self.seen[name]
        present = self.present()
        suspects = {name for name in found if name not in present or found[name] != self.seen.get(name)}
        at = [self.counter() + 1, node]
        changed = set()
        for name in suspects:
            try:
                text = "" if name.endswith("/") else env.read(self.full(name))
            except FileNotFoundError:
                # Renamed or removed since the walk: the next look finds what became of it.
                found.pop(name)
                if name in present:
                    found[name] = self.seen.get(name)
                continue
            if self.text(name) != text:
                self.put(name, text, at)
                changed.add(name)
        for name in present - set(found):
            self.put(name, None, at)
            changed.add(name)
        self.seen = found
        if changed:
            self.save()
            self.set_modes(True)
        return changed

    def pending(self):
        """Whether somebody wrote since the last `scan` or `materialise`."""
        return self.walk() != self.seen

    def set_modes(self, writable):
        """Without quorum everything is read-only, by the mode bits."""
        for name in sorted(self.walk()):
            file = self.full(name)
            try:
                os.chmod(file, mode_of(name, writable))
                self.own(file)
            except FileNotFoundError:
                pass
