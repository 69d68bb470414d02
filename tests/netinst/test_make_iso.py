"""The parts of make-iso: archives, what is chosen, and a mirror that is not what it should be.

The mirror is a folder served on a loopback address, signed with a key that lives as long as the
test. Needs dpkg-deb, gpg, gpgv and xorriso.
"""

import contextlib
import functools
import gzip
import hashlib
import http.server
import importlib.machinery
import importlib.util
import lzma
import os
import pathlib
import shutil
import stat
import subprocess
import sys
import tempfile
import threading
import time
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
sys.dont_write_bytecode = True
from isomaker import archive, mirror, selection  # noqa: E402

loader = importlib.machinery.SourceFileLoader("make_iso", str(HERE / "make-iso"))
make_iso = importlib.util.module_from_spec(importlib.util.spec_from_loader("make_iso", loader))
loader.exec_module(make_iso)


def link(target):
    return archive.Entry(stat.S_IFLNK | 0o777, target.encode())


def folder(mode=0o755):
    return archive.Entry(stat.S_IFDIR | mode)


def stanzas(text):
    return mirror.parse_index("\n\n".join(line.replace("; ", "\n") for line in text.strip().splitlines()))


class Cpio(unittest.TestCase):
    def test_bytes_of_one_file(self):
        written = archive.write_cpio({"a": archive.file("hi\n", 0o640)}, 0x1234)
        header = "070701" "00000001" "000081A0" "00000000" "00000000" "00000001" "00001234" "00000003" + "00000000" * 4 + "00000002" "00000000"
        self.assertEqual(written[:116], header.encode() + b"a\0" + b"hi\n\0")
        trailer = written[116:]
        self.assertEqual((trailer[:6], trailer[110:]), (b"070701", b"TRAILER!!!\0\0\0\0"))
        self.assertEqual(len(written) % 4, 0)

    def test_order_of_entries_does_not_show(self):
        entries = {"b": archive.file("2"), "a": folder(), "a/l": link("../b"), "a-b": archive.file("x" * 5, 0o755)}
        written = archive.write_cpio(entries, 1)
        self.assertEqual(archive.write_cpio(dict(reversed(entries.items())), 1), written)
        self.assertEqual(archive.read_cpio(written), entries)

    def test_cut_archive(self):
        written = archive.write_cpio({"a": archive.file("x" * 100)}, 1)
        with self.assertRaisesRegex(ValueError, "ends in the middle of a"):
            archive.read_cpio(written[:150])
        with self.assertRaisesRegex(ValueError, "no cpio header at byte 0"):
            archive.read_cpio(b"\x1f\x8b" + written)


class Over(unittest.TestCase):
    BELOW = {"lib": link("usr/lib"), "usr": folder(), "usr/lib": folder(), "usr/bin": folder(), "bin": link("/usr/bin")}

    def test_links_among_the_folders_are_followed(self):
        self.assertEqual(archive.resolve("lib/modules/x.ko", self.BELOW), "usr/lib/modules/x.ko")
        self.assertEqual(archive.resolve("bin/sh", self.BELOW), "usr/bin/sh")
        self.assertEqual(archive.resolve("lib", self.BELOW), "lib")

    def test_folders_that_are_there_are_left_out(self):
        over = archive.lay_over({"lib": folder(), "lib/modules/x.ko": archive.file("x"), "usr/lib/y": archive.file("y")}, self.BELOW)
        self.assertEqual(over, {"usr/lib/modules": folder(), "usr/lib/modules/x.ko": archive.file("x"), "usr/lib/y": archive.file("y")})


INDEX = """
Package: base; Priority: standard; Depends: tool (>= 2), lib | other-lib, disk-ready
Package: tool; Priority: optional; Depends: lib
Package: lib; Priority: optional
Package: other-lib; Priority: optional
Package: in-initrd; Priority: standard; Depends: never-asked-for
Package: never-asked-for; Priority: optional
Package: partman-a; Priority: optional; Provides: disk-ready
Package: partman-b; Priority: standard; Provides: disk-ready (= 1), other; Depends: ntfs-3g-udeb, absent
Package: ntfs-3g-udeb; Priority: optional
Package: nobootloader; Priority: standard
Package: ext4-modules-6.1-amd64-di; Priority: standard
Package: kernel-image-6.1-amd64-di; Priority: standard
"""


class Udebs(unittest.TestCase):
    INITRD = stanzas("Package: in-initrd; Status: install ok unpacked")

    def setUp(self):
        self.also = stanzas("\n".join("Package: %s; Priority: optional" % package for package in selection.ALSO))

    def chosen(self, text=INDEX):
        return selection.udebs({**stanzas(text), **self.also}, self.INITRD)

    def test_standard_ones_and_what_they_need(self):
        self.assertEqual(self.chosen(), sorted(["base", "lib", "partman-b", "tool", *selection.ALSO]))

    def test_what_the_initrd_stands_for_is_not_taken(self):
        initrd = stanzas("Package: x; Provides: lib, disk-ready")
        chosen = selection.udebs({**stanzas(INDEX), **self.also}, initrd)
        self.assertNotIn("lib", chosen)
        self.assertIn("never-asked-for", chosen)

    def test_order_of_the_index_does_not_show(self):
        self.assertEqual(self.chosen("\n".join(reversed(INDEX.strip().splitlines()))), self.chosen())

    def test_one_that_must_be_there(self):
        del self.also["eatmydata-udeb"]
        with self.assertRaisesRegex(mirror.Refused, "no udeb eatmydata-udeb"):
            self.chosen()


    def test_more_with_a_base_system(self):
        index = {**stanzas(INDEX), **self.also, **stanzas("Package: apt-cdrom-setup; Priority: optional; Provides: apt-mirror-setup")}
        chosen = selection.udebs(index, self.INITRD, {**selection.ALSO, **selection.ALSO_WITH_BASE})
        self.assertEqual(set(chosen) - set(self.chosen()), {"apt-cdrom-setup"})
        self.assertNotIn("apt-cdrom-setup", selection.udebs(index, self.INITRD))


PACKAGES = """
Package: apt; Priority: important; Depends: keys, libc (>= 2) | small-libc
Package: base-files; Priority: required; Pre-Depends: awk; Depends: perl:any (>= 5), db-1 | db-2 | db-3
Package: gawk; Priority: optional; Provides: awk
Package: mawk; Priority: required; Provides: awk; Depends: small-libc | libc, absent | keys
Package: perl; Priority: optional; Pre-Depends: libc; Recommends: never-asked-for
Package: libc; Priority: optional; Depends: mawk
Package: small-libc; Priority: optional
Package: keys; Priority: optional
Package: zz-server; Priority: optional; Provides: db-2
Package: aa-server; Priority: optional; Provides: db-1, db-2 (= 1)
Package: cron; Priority: important
Package: mail; Priority: requiredish
Package: never-asked-for; Priority: standard
"""
CHOSEN = ["aa-server", "apt", "base-files", "keys", "libc", "mawk", "perl", "small-libc"]


class Base(unittest.TestCase):
    def test_required_ones_apt_and_what_they_need(self):
        self.assertEqual(selection.base(stanzas(PACKAGES)), CHOSEN)

    def test_order_of_the_index_does_not_show(self):
        self.assertEqual(selection.base(stanzas("\n".join(reversed(PACKAGES.strip().splitlines())))), CHOSEN)

    def test_missing(self):
        index = stanzas(PACKAGES)
        del index["aa-server"], index["zz-server"]
        with self.assertRaisesRegex(mirror.Refused, r"^base-files needs db-1 or db-2 or db-3, and the mirror's index has no such package$"):
            selection.base(index)
        del index["apt"]
        with self.assertRaisesRegex(mirror.Refused, "no package apt"):
            selection.base(index)


def module(needs):
    return b"\x7fELF\0license=GPL\0depends=" + needs.encode() + b"\0name=x\0"


class Modules(unittest.TestCase):
    TREE = {"fs/ext4/ext4.ko.xz": lzma.compress(module("jbd2,crc-16")), "fs/jbd2/jbd2.ko": module(""), "lib/crc-16.ko.xz": module(""),
            "drivers/block/virtio_blk.ko.xz": module(""), "drivers/block/virtio_blk_more.ko.xz": module(""), "fs/bad.ko": module("gone")}

    def test_needs_come_along(self):
        self.assertEqual(selection.modules(["fs/ext4"], self.TREE, []), ["fs/ext4/ext4.ko.xz", "fs/jbd2/jbd2.ko", "lib/crc-16.ko.xz"])

    def test_what_is_there_does_not(self):
        there = ["usr/lib/modules/6/kernel/lib/crc-16.ko.xz", "kernel/fs/jbd2/jbd2.ko"]
        self.assertEqual(selection.modules(["fs/ext4"], self.TREE, there), ["fs/ext4/ext4.ko.xz"])

    def test_a_name_is_a_whole_name(self):
        self.assertEqual(selection.modules(["drivers/block/virtio_blk"], self.TREE, []), ["drivers/block/virtio_blk.ko.xz"])

    def test_missing(self):
        with self.assertRaisesRegex(mirror.Refused, "the kernel has no module fs/nfs"):
            selection.modules(["fs/nfs"], self.TREE, [])
        with self.assertRaisesRegex(mirror.Refused, "fs/bad.ko needs gone"):
            selection.modules(["fs/bad"], self.TREE, [])


class Parsing(unittest.TestCase):
    def test_mirror_of_the_host(self):
        uris = ("'https://packages.example.org/node/dists/stable/InRelease' a 0 \n"
                "'http://mirror.example.org/debian-security/dists/trixie-security/InRelease' b 0 \n"
                "'http://mirror.example.org/pub/debian/dists/trixie/InRelease' c 0 \n"
                "'http://second.example.org/debian/dists/trixie/InRelease' d 0 \n")
        self.assertEqual(mirror.host_mirror(uris), "http://mirror.example.org/pub/debian")
        self.assertIsNone(mirror.host_mirror(uris.splitlines()[0]))
        self.assertIsNone(mirror.host_mirror(""))

    def test_release(self):
        about, digests = mirror.parse_release("Suite: stable\nVersion: 13.7\nMD5Sum:\n aa 1 x\nSHA256:\n bb 22 main/Packages.xz\n cc 3 y\nNext: z\n")
        self.assertEqual((about["Version"], about["Next"]), ("13.7", "z"))
        self.assertEqual(digests, {"main/Packages.xz": ("bb", 22), "y": ("cc", 3)})
        self.assertEqual(mirror.parse_release("Suite: stable\n")[1], {})


class Iso(unittest.TestCase):
    DISC = {"install.amd/vmlinuz": archive.file(b"\0" * 5000), "dists/trixie/Release": archive.file("Suite: stable\n"),
            "dists/stable": link("trixie"), ".disk/info": archive.file("stand-in\n")}

    def test_same_disc_same_bytes(self):
        with tempfile.TemporaryDirectory(prefix="make-iso-") as temporary:
            one, two = pathlib.Path(temporary, "one.iso"), pathlib.Path(temporary, "below/two.iso")
            two.parent.mkdir()
            make_iso.write_iso(self.DISC, "Debian 13.7.0 amd64 n", 1700000000, one)
            # The next second: a clock that had a say would show.
            time.sleep(1.1)
            make_iso.write_iso(dict(reversed(self.DISC.items())), "Debian 13.7.0 amd64 n", 1700000000, two)
            self.assertEqual(one.read_bytes(), two.read_bytes())
            # ISO 9660's first volume descriptor.
            self.assertEqual(one.read_bytes()[0x8001:0x8006] + one.read_bytes()[0x8028:0x803d], b"CD001Debian 13.7.0 amd64 n")
            self.assertEqual(sorted(path.name for path in pathlib.Path(temporary).rglob("*")), ["below", "one.iso", "two.iso"])

    def test_udeb(self):
        class Installer:
            time = 1700000000
        made = []
        for _ in range(2):
            with tempfile.TemporaryDirectory(prefix="make-iso-") as temporary:
                top = pathlib.Path(temporary)
                entries = {"usr/sbin/mke2fs": archive.file("x", 0o755), "usr/sbin/mkfs.ext4": link("mke2fs")}
                made.append(make_iso.make_udeb("e2", "1:2-3", Installer, {"Priority": "optional"}, entries, top))
                self.assertEqual(archive.read_deb(top / "e2.udeb")[0], entries)
        self.assertEqual(made[0], made[1])
        disc = {}
        stanza = make_iso.place(disc, *made[0])
        self.assertEqual(list(disc), ["pool/standin/e2_2-3_amd64.udeb"])
        about = mirror.fields(stanza)
        self.assertEqual((about["Package"], about["Size"], about["SHA256"]),
                         ("e2", str(len(made[0][1])), hashlib.sha256(made[0][1]).hexdigest()))

    def test_release_names_the_indices(self):
        disc = {}
        make_iso.describe(disc, {"Suite": "stable", "Version": "13.7"}, "trixie", "Package: u\n\n", "Package: d\n\n", False)
        about, digests = mirror.parse_release(disc["dists/trixie/Release"].data.decode())
        self.assertEqual(about["Codename"], "trixie")
        self.assertEqual(set(digests), {"main/%sbinary-amd64/Packages%s" % (part, end) for part in ("", "debian-installer/") for end in ("", ".gz")})
        for path, (digest, size) in digests.items():
            data = disc["dists/trixie/" + path].data
            self.assertEqual((hashlib.sha256(data).hexdigest(), len(data)), (digest, size))
        self.assertEqual(disc["dists/stable"], link("trixie"))
        self.assertEqual(disc[".disk/info"].data, b'Debian GNU/Linux 13.7.0 "Trixie" - stand-in amd64 NETINST\n')
        self.assertEqual(disc[".disk/cd_type"].data, b"not_complete\n")
        self.assertEqual(sorted(path for path in disc if path.startswith(".disk/")), [".disk/cd_type", ".disk/info", ".disk/udeb_include"])

    def test_base_system(self):
        """What base-installer looks for, before it gives the disc to debootstrap."""
        disc = {}
        # The whole stanza stays: debootstrap finds a package by Filename and checks Size and SHA256.
        stanza = "Package: libc6\nDescription: x\n more\nFilename: pool/main/g/glibc/libc6_2_amd64.deb\nSize: 7\nSHA256: %s" % hashlib.sha256(b"library").hexdigest()
        packages = make_iso.place(disc, stanza, b"library")
        self.assertEqual((packages, list(disc)), (stanza + "\n\n", ["pool/main/g/glibc/libc6_2_amd64.deb"]))
        make_iso.describe(disc, {"Suite": "stable", "Version": "13.7"}, "trixie", "", packages, True)
        self.assertEqual((disc[".disk/base_installable"].data, disc[".disk/base_components"].data), (b"", b"main\n"))
        self.assertEqual(disc["dists/trixie/main/binary-amd64/Packages"].data.decode(), packages)
        self.assertEqual(gzip.decompress(disc["dists/trixie/main/binary-amd64/Packages.gz"].data).decode(), packages)


class Netboot(unittest.TestCase):
    AT = "usr/lib/debian-installer/images/13/amd64/text/debian-installer/amd64/"

    def installer(self, files):
        """The netboot installer out of a package with these files."""
        with tempfile.TemporaryDirectory(prefix="make-iso-") as temporary:
            tree, deb = pathlib.Path(temporary, "tree"), pathlib.Path(temporary, "a.deb")
            control = "Package: a\nVersion: 1\nArchitecture: all\nMaintainer: Tests <root@localhost>\nDescription: x\n"
            archive.unpack({"DEBIAN/control": archive.file(control), **files}, tree)
            for path, _, _ in os.walk(tree):
                os.chmod(path, 0o755)
            subprocess.run(["dpkg-deb", "--build", tree, deb], check=True, capture_output=True,
                           env=dict(os.environ, SOURCE_DATE_EPOCH="1700000000"))
            return make_iso.Installer(deb, "13")

    def packed(self, initrd):
        return {self.AT + "linux": archive.file("kernel"), self.AT + "initrd.gz": archive.file(gzip.compress(archive.write_cpio(initrd, 1)))}

    def test_initrd(self):
        for lib in ("usr/lib", "lib"):
            status = archive.file("Package: anna\nVersion: 1\n\nPackage: udpkg\n\n")
            initrd = {lib: folder(), lib + "/modules": folder(), lib + "/modules/6.1-a": folder(), lib + "/modules/6.1-a/kernel/x.ko": archive.file("x"),
                      lib + "/modules/6.1-a/modules.order": archive.file(""), "var/lib/dpkg/status": status}
            installer = self.installer(self.packed(initrd))
            self.assertEqual((installer.modules, installer.version, installer.time), (lib + "/modules/6.1-a/", "6.1-a", 1700000000))
            self.assertEqual((installer.kernel, sorted(installer.status)), (b"kernel", ["anna", "udpkg"]))

    def test_other_package(self):
        with self.assertRaisesRegex(mirror.Refused, r"has no usr/lib/.*/linux and initrd\.gz"):
            self.installer({self.AT + "linux": archive.file("kernel")})


class Handler(http.server.SimpleHTTPRequestHandler):
    asked, cuts = [], []

    def do_GET(self):
        self.asked.append(self.path)
        if self.path in self.cuts:
            self.cuts.remove(self.path)
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"only the beginning")
        else:
            super().do_GET()

    def log_message(self, *words):
        pass


def gpg(home, *words):
    subprocess.run(["gpg", "--homedir", home, "--batch", "--quiet", "--no-tty", "--pinentry-mode", "loopback", "--passphrase", "", *words],
                   check=True, capture_output=True)


class FakeMirror(unittest.TestCase):
    """A suite with one package, signed."""

    @classmethod
    def setUpClass(cls):
        # A short path: the name of an agent's socket may have 107 bytes.
        cls.top = pathlib.Path(tempfile.mkdtemp(prefix="make-iso-", dir="/tmp"))
        cls.addClassCleanup(shutil.rmtree, cls.top)
        for name in ("ours", "other"):
            home = str(cls.top / name)
            os.mkdir(home, 0o700)
            cls.addClassCleanup(subprocess.run, ["gpgconf", "--homedir", home, "--kill", "gpg-agent"])
            gpg(home, "--quick-generate-key", "Mirror for tests <root@localhost>", "ed25519", "sign", "never")
            gpg(home, "--output", home + ".gpg", "--export")

    def setUp(self):
        work = tempfile.TemporaryDirectory(prefix="make-iso-")
        self.addCleanup(work.cleanup)
        self.served, self.cache = pathlib.Path(work.name, "served"), pathlib.Path(work.name, "cache")
        self.package, self.packages = self.served / "pool/a_1.udeb", self.served / "dists/trixie/main/x/Packages.xz"
        self.put(self.package, b"the package")
        self.publish()
        Handler.asked, Handler.cuts = [], []
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=self.served))
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        for cleanup in (server.server_close, thread.join, server.shutdown):
            self.addCleanup(cleanup)
        self.url = "http://127.0.0.1:%d" % server.server_port

    @staticmethod
    def put(path, data):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def publish(self, codename="trixie", more=b""):
        digest = hashlib.sha256(self.package.read_bytes()).hexdigest()
        self.put(self.packages, lzma.compress(b"Package: a\nFilename: pool/a_1.udeb\nSHA256: %s\n\n" % digest.encode() + more))
        data = self.packages.read_bytes()
        release, signed = self.served / "Release", self.served / "dists/trixie/InRelease"
        release.write_text("Suite: stable\nCodename: %s\nVersion: 13.7\nSHA256:\n %s %d main/x/Packages.xz\n"
                           % (codename, hashlib.sha256(data).hexdigest(), len(data)), encoding="utf-8")
        signed.unlink(missing_ok=True)
        gpg(str(self.top / "ours"), "--clearsign", "--output", str(signed), str(release))

    def mirror(self, keyring="ours"):
        return mirror.Mirror(self.url, "trixie", str(self.top / keyring) + ".gpg", self.cache)

    def read(self, keyring="ours"):
        """The package's content, by way of Release and index."""
        source = self.mirror(keyring)
        return pathlib.Path(source.package(source.index(source.release(), "x")["a"])).read_bytes()

    def refused(self, pattern, **more):
        with self.assertRaisesRegex(mirror.Refused, pattern):
            self.read(**more)

    def test_downloads_once(self):
        self.assertEqual(self.read(), b"the package")
        self.assertEqual(self.read(), b"the package")
        plain = [path for path in Handler.asked if "/by-hash/" not in path]
        self.assertEqual(sorted(plain), ["/dists/trixie/InRelease"] * 2 + ["/dists/trixie/main/x/Packages.xz", "/pool/a_1.udeb"])
        self.assertEqual(len(Handler.asked), len(plain) + 1)
        self.assertEqual(len(list(self.cache.iterdir())), 2)

    def test_a_damaged_download_in_the_cache_is_fetched_again(self):
        self.read()
        for kept in self.cache.iterdir():
            kept.write_bytes(kept.read_bytes()[:-1] + b"!")
        self.assertEqual(self.read(), b"the package")
        self.assertEqual(Handler.asked.count("/pool/a_1.udeb"), 2)

    def test_a_connection_that_breaks_is_tried_again(self):
        Handler.cuts = ["/pool/a_1.udeb"]
        self.assertEqual(self.read(), b"the package")
        self.assertEqual(Handler.asked.count("/pool/a_1.udeb"), 2)

    def test_changed_package(self):
        self.package.write_bytes(b"the packagE")
        self.refused(r"pool/a_1.udeb has the SHA-256 [0-9a-f]{64}, its index says")
        self.assertEqual([path.suffix for path in self.cache.iterdir()], [".xz"])

    def test_changed_index(self):
        self.packages.write_bytes(lzma.compress(b"Package: a\n"))
        self.refused(r"main/x/Packages.xz has the SHA-256")

    def test_an_index_by_its_digest_is_the_one_of_the_release(self):
        data = self.packages.read_bytes()
        self.put(self.packages.with_name("by-hash") / "SHA256" / hashlib.sha256(data).hexdigest(), data)
        self.packages.write_bytes(lzma.compress(b"Package: a\n"))
        self.assertEqual(self.read(), b"the package")

    def test_an_index_of_an_earlier_release_that_is_signed(self):
        signed, stable = (self.served / "dists" / suite / "InRelease" for suite in ("trixie", "stable"))
        earlier = self.packages.read_bytes()
        self.put(stable, signed.read_bytes())
        self.publish(more=b"Package: b\n\n")
        self.assertNotEqual(signed.read_bytes(), stable.read_bytes())
        self.packages.write_bytes(earlier)
        self.assertEqual(self.read(), b"the package")
        stable.write_text(stable.read_text().replace("13.7", "13.6"))
        shutil.rmtree(self.cache)
        self.refused(r"main/x/Packages.xz has the SHA-256")

    def test_other_key(self):
        self.refused(r"InRelease is not signed by a key in .*other\.gpg", keyring="other")

    def test_changed_release(self):
        signed = self.served / "dists/trixie/InRelease"
        signed.write_text(signed.read_text().replace("13.7", "13.8"))
        self.refused("is not signed by a key in")

    def test_unsigned_lines_are_not_read(self):
        signed = self.served / "dists/trixie/InRelease"
        signed.write_text("Version: 99\n\n" + signed.read_text())
        with contextlib.suppress(mirror.Refused):
            self.assertEqual(self.mirror().release()[0]["Version"], "13.7")

    def test_other_suite(self):
        self.publish(codename="bookworm")
        self.refused("is of bookworm, not of trixie")

    def test_missing(self):
        self.package.unlink()
        self.refused("pool/a_1.udeb: the mirror answers 404")
        shutil.rmtree(self.served / "dists")
        self.refused("InRelease: the mirror answers 404")

    def test_make_iso_says_what_is_missing(self):
        out = self.cache.with_name("out.iso")
        done = subprocess.run([HERE / "make-iso", out, "--mirror", self.url + "/", "--cache", self.cache, "--keyring", str(self.top / "ours.gpg")],
                              capture_output=True, text=True)
        self.assertEqual(done.returncode, 1)
        self.assertEqual(done.stderr, "make-iso: %s: the suite trixie has no main/binary-amd64/Packages.xz\n" % self.url)
        self.assertFalse(out.exists())


if __name__ == "__main__":
    unittest.main()
