"""Places for tests: nodes that each run alone on / of a root folder, see docs/stand-in.md."""

import os
import shutil
import subprocess
import tempfile
import unittest

PLACE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "place")


class PlaceCase(unittest.TestCase):
    """Places of one test, all on one network; they are gone with it."""

    maxDiff = None

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="place-")
        self.roots = []
        self.addCleanup(shutil.rmtree, self.folder)
        self.addCleanup(lambda: [self.place("stop", root) for root in self.roots])
        # Tests in parallel must not share addresses.
        self.net = "127.%d.%d." % (100 + os.getpid() % 100, os.getpid() // 100 % 250)

    def place(self, *words, check=True, stdin="", wrapper=()):
        done = subprocess.run([*wrapper, PLACE, *words], input=stdin, capture_output=True, text=True, timeout=120)
        if check and done.returncode:
            raise AssertionError("place %s: %d\n%s%s" % (" ".join(words), done.returncode, done.stdout, done.stderr))
        return done

    def node(self, name, last, *more, boot=True):
        root = os.path.join(self.folder, name)
        self.place("make", root, "--name", name, "--address", self.net + str(last), "--set", "PVE_STANDIN_BEAT=0.1",
                   "--set", "PVE_STANDIN_POLL=0.1", "--set", "PVE_STANDIN_SILENCE=4", "--set", "PVE_STANDIN_UPDATECERTS_WAIT=1",
                   *more)
        self.roots.append(root)
        if boot:
            self.boot(root)
        return root

    def boot(self, root, *more):
        self.place("boot", root, *more, "--owner", str(os.getpid()))

    def run_in(self, root, *command, **more):
        return self.place("run", root, "--", *command, **more)

    def inside(self, root, file):
        """A file as the place has it, without a process for it."""
        folder = self.place("root", root).stdout.strip()
        with open(folder + file, encoding="utf-8") as text:
            return text.read()

    def states(self, root, *units):
        return self.run_in(root, "systemctl", "is-active", *units, check=False).stdout.split()
