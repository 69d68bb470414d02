"""apt takes the stand-in repository with its own key, and with no other.

Needs the tools of make-repo and apt-get; everything happens below a temporary folder.
"""

import os
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))


def make_repo(folder, *words):
    return subprocess.run([sys.executable, os.path.join(HERE, "make-repo"), folder, *words], capture_output=True, text=True)


class Repository(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.temporary = tempfile.TemporaryDirectory(prefix="standin-repo-")
        cls.addClassCleanup(cls.temporary.cleanup)
        cls.top = cls.temporary.name
        os.chmod(cls.top, 0o755)  # apt may read it as its own user
        cls.repo, cls.other = cls.top + "/repo", cls.top + "/other"
        for folder in (cls.repo, cls.other):
            done = make_repo(folder, "--creator", "vm41", "--cluster", "labcluster")
            if done.returncode:
                raise AssertionError(done.stderr)

    def apt(self, root, *words, cwd=None):
        for folder in ("etc/apt/apt.conf.d", "etc/apt/preferences.d", "var/lib/dpkg", "lists/partial", "archives/partial"):
            os.makedirs(os.path.join(root, folder), exist_ok=True)
        with open(os.path.join(root, "var/lib/dpkg/status"), "a", encoding="utf-8"):
            pass
        options = {
            "Dir::Etc": root + "/etc/apt", "Dir::Etc::sourcelist": root + "/none", "Dir::Etc::sourceparts": root + "/sources",
            "Dir::State": root, "Dir::State::lists": root + "/lists", "Dir::State::status": root + "/var/lib/dpkg/status",
            "Dir::Cache": root, "Dir::Cache::archives": root + "/archives", "Dir::Etc::trusted": root + "/none.gpg",
            "Dir::Etc::trustedparts": root + "/none.d", "APT::Architecture": "amd64", "APT::Sandbox::User": "",
            "Debug::NoLocking": "1", "APT::Get::List-Cleanup": "0"}
        command = ["apt-get", "-q"] + [part for item in options.items() for part in ("-o", "%s=%s" % item)]
        return subprocess.run(command + list(words), capture_output=True, text=True, cwd=cwd,
                              env=dict(os.environ, LC_ALL="C", APT_CONFIG="/dev/null"))

    def update(self, name, key):
        root = os.path.join(self.top, name)
        os.makedirs(root + "/sources")
        with open(root + "/sources/standin.sources", "w", encoding="utf-8") as source:
            source.write("Types: deb\nURIs: file:%s\nSuites: trixie\nComponents: pve-no-subscription\nSigned-By: %s\n" % (self.repo, key))
        return root, self.apt(root, "update", "--error-on=any")

    def test_deep_folder(self):
        deep = os.path.join(self.top, *["a-folder-with-a-long-name"] * 5, "repo")
        done = make_repo(deep)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertTrue(os.path.exists(deep + "/dists/trixie/InRelease"))

    def test_own_key(self):
        root, done = self.update("good", self.repo + "/key.gpg")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        names = ["proxmox-ve", "pve-cluster", "pve-manager", "pve-standin-creator"]
        download = self.apt(root, "download", *names, cwd=root + "/archives")
        self.assertEqual(download.returncode, 0, download.stderr)
        got = [file.partition("_")[0] for file in os.listdir(root + "/archives") if file.endswith(".deb")]
        self.assertEqual(sorted(got), names)

    def test_wrong_key(self):
        _, done = self.update("bad", self.other + "/key.gpg")
        self.assertNotEqual(done.returncode, 0)
        self.assertRegex(done.stdout + done.stderr, r"NO_PUBKEY|Missing key|not signed")

    def test_changed_index(self):
        changed = os.path.join(self.top, "changed")
        subprocess.run(["cp", "-a", self.repo, changed], check=True)
        with open(changed + "/dists/trixie/pve-no-subscription/binary-amd64/Packages", "a", encoding="utf-8") as packages:
            packages.write("\n")
        repo, self.repo = self.repo, changed
        try:
            _, done = self.update("changed-root", changed + "/key.gpg")
        finally:
            self.repo = repo
        self.assertNotEqual(done.returncode, 0)

    def test_creator_is_known_beforehand(self):
        tree = os.path.join(self.top, "creator")
        subprocess.run(["dpkg-deb", "-x", self.repo + "/pool/pve-standin-creator_9.0~standin1_all.deb", tree], check=True)
        preset = tree + "/usr/share/pve-standin/preset/vm41/"
        subprocess.run(["openssl", "verify", "-CAfile", preset + "pve-root-ca.pem", preset + "pve-ssl.pem"], check=True,
                       capture_output=True)
        shown = subprocess.run(["openssl", "x509", "-noout", "-fingerprint", "-sha256", "-in", preset + "pve-ssl.pem"],
                               check=True, capture_output=True, text=True).stdout.strip().partition("=")[2]
        with open(self.repo + "/creator.fingerprint", encoding="utf-8") as file:
            self.assertEqual(file.read(), shown + "\n")
        with open(tree + "/usr/lib/systemd/system/pve-standin-creator.service", encoding="utf-8") as unit:
            text = unit.read()
        self.assertIn("\nConditionHost=vm41\n", text)
        self.assertNotIn("@", text)

    def test_settings_of_packages_are_conffiles(self):
        # What is changed in one must outlive an upgrade, as with the real packages.
        for name, file in (("pve-manager", "/etc/apt/sources.list.d/pve-enterprise.sources"),
                           ("proxmox-kernel-helper", "/etc/initramfs/post-update.d/proxmox-boot-sync")):
            package = "%s/pool/%s_9.0~standin1_all.deb" % (self.repo, name)
            listed = subprocess.run(["dpkg-deb", "--info", package, "conffiles"], check=True, capture_output=True, text=True)
            self.assertIn(file + "\n", listed.stdout)

    def test_no_secret_key_is_shipped(self):
        listing = subprocess.run(["gpg", "--show-keys", "--with-colons", self.repo + "/key.gpg"], check=True,
                                 capture_output=True, text=True, env=dict(os.environ, GNUPGHOME=self.top)).stdout
        self.assertIn("pub:", listing)
        self.assertNotIn("sec:", listing)

    def test_refusals(self):
        again = make_repo(self.repo)
        self.assertEqual((again.returncode, again.stderr), (1, "%s is not empty\n" % self.repo))
        self.assertEqual(make_repo(self.top + "/x", "--creator", "VM_41").returncode, 2)
        self.assertFalse(os.path.exists(self.top + "/x"))


if __name__ == "__main__":
    unittest.main()
