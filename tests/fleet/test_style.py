"""What Ansible's own checkers say of the collection: ansible-lint, and those of ansible-test that need nothing from a network."""

import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

import fleetrig

# The others make a virtual environment of their own first, from the network.
OFFLINE = ("action-plugin-docs", "compile", "empty-init", "ignores", "line-endings", "no-assert", "no-get-exception", "no-illegal-filenames",
           "no-smart-quotes", "replace-urlopen", "shebang", "symlinks", "use-argspec-type-path", "use-compat-six")


class Style(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="fleet-style-")
        self.addCleanup(folder.cleanup)
        # Where ansible-test wants a collection to lie, as a repository.
        self.place = pathlib.Path(folder.name, "ansible_collections/imgbuild/lab")
        shutil.copytree(fleetrig.ROOT / "fleet", self.place, ignore=shutil.ignore_patterns("__pycache__"))
        self.environment = {"PATH": "%s:%s" % (fleetrig.VENV / "bin", os.environ["PATH"]), "HOME": folder.name, "LANG": "C.UTF-8",
                            "ANSIBLE_COLLECTIONS_PATH": folder.name}
        self.clean("git", "init", "--quiet")
        self.clean("git", "add", "--all")

    def clean(self, *words):
        done = subprocess.run(words, cwd=self.place, env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=300, check=False)
        self.assertEqual(0, done.returncode, "%s\n%s" % (" ".join(words), done.stdout))

    def test_ansible_lint(self):
        self.clean("ansible-lint", "--offline", "--profile", "production", "--nocolor")

    def test_ansible_test_sanity(self):
        tests = [word for test in OFFLINE for word in ("--test", test)]
        version = subprocess.run([str(fleetrig.VENV / "bin/python"), "-c", "import sys; print('%d.%d' % sys.version_info[:2])"],
                                 capture_output=True, text=True, check=True).stdout.strip()
        self.clean("ansible-test", "sanity", "--python", version, *tests)
