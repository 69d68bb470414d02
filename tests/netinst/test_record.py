"""The record of a full installer run: what it says of sources that are those of the run, and of others."""

import contextlib
import hashlib
import importlib.machinery
import importlib.util
import io
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.dont_write_bytecode = True
loader = importlib.machinery.SourceFileLoader("record", str(HERE / "record"))
record = importlib.util.module_from_spec(importlib.util.spec_from_loader("record", loader))
loader.exec_module(record)

ISO = "ab" * 32
FILES = ("builder/src/base/mod.rs", "builder/src/base/netinst/mod.rs", "builder/src/commands/base.rs", "builder/src/qemu/mod.rs",
         "builder/src/image/tree.rs", "builder/src/system/tail.rs", "images/base.yaml", "templates/corosync-firstboot.conf",
         "templates/firstboot-join.service", "templates/unattended-upgrades.conf", "templates/netinst/hook",
         "templates/packages.sh", "templates/provision.sh", "templates/seal.sh", "tests/builder/machines/installer/mod.rs",
         "tests/builder/machines/installer/compare.rs", "tests/netinst/isomaker/archive.py", "tests/netinst/make-iso",
         "tests/standin/debian_kernel.py", "tests/standin/make-repo", "tests/builder/machines/stand_in.rs")


class Record(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory(prefix="record-")
        self.addCleanup(temporary.cleanup)
        self.root = pathlib.Path(temporary.name)
        for name in FILES:
            self.source(name, name)
        self.file = self.root / record.RECORD

    def source(self, name, text):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def run_it(self, *words):
        """(exit code, standard output, what it ended with)."""
        out = io.StringIO()
        try:
            with contextlib.redirect_stdout(out):
                record.main(list(words), self.root)
        except SystemExit as end:
            return 1, out.getvalue(), end.code
        return 0, out.getvalue(), None

    def write(self, stages='{"components": 1200.5, "base system": 1100}', *more):
        self.source("stages.json", stages)
        return self.run_it("write", "--iso-digest", ISO, "--stages", str(self.root / "stages.json"), "--audit", "28 audit points", *more)

    def check(self):
        code, out, end = self.run_it("check")
        self.assertEqual((code, end, out.count("\n")), (0, None, 1))
        return out.removeprefix("installer record: ").rstrip()

    def broken(self, pattern):
        code, out, end = self.run_it("check")
        self.assertEqual((code, out), (1, ""))
        self.assertRegex(end, pattern)

    def test_of_these_sources(self):
        self.assertEqual(self.write(), (0, "", None))
        day = json.loads(self.file.read_text())["date"][:10]
        self.assertEqual(self.check(), "a full installer run of %s proved these sources (38 min, 28 audit points)" % day)
        self.assertEqual([path.name for path in self.file.parent.iterdir() if path.name.startswith(".")], [])

    def test_names_what_has_changed(self):
        self.write()
        self.source("templates/netinst/hook", "other")
        self.source("builder/src/base/new.rs", "new")
        (self.root / "templates/seal.sh").unlink()
        self.assertRegex(self.check(), r"^WARNING: the last full installer run \(\d{4}-\d\d-\d\d\) is older than these sources: changed since: "
                         r"builder/src/base/new\.rs, templates/netinst/hook, templates/seal\.sh\. Run: scripts/test --installer$")

    def test_other_files_do_not_matter(self):
        self.write()
        for name in ("README.md", "builder/src/lab/mod.rs", "templates/.hook.swp", "templates/hook~", "tests/netinst/test_record.py"):
            self.source(name, "x")
        self.assertTrue(self.check().startswith("a full installer run of"))

    def test_none_yet(self):
        self.assertEqual(self.check(), "WARNING: no full installer run is recorded. Run: scripts/test --installer")

    def test_digest_is_that_of_sha256sum(self):
        code, out, _ = self.run_it("digest")
        lines = subprocess.run(["sha256sum", *FILES], cwd=self.root, capture_output=True, check=True).stdout
        lines = b"".join(sorted(lines.splitlines(True), key=lambda line: line.split()[1]))
        self.assertEqual((code, out), (0, hashlib.sha256(lines).hexdigest() + "\n"))

    def test_a_pattern_without_files_is_an_error(self):
        (self.root / "tests/builder/machines/installer/mod.rs").unlink()
        for end in (self.run_it("digest"), self.write()):
            self.assertEqual(end, (1, "", "installer record: no file matches tests/builder/machines/installer/mod.rs"))
        self.assertFalse(self.file.exists())

    def test_sources_changed_while_it_ran(self):
        before = self.run_it("digest")[1].strip()
        self.assertEqual(self.write("{\"a\": 1}", "--source-digest", before)[0], 0)
        kept = self.file.read_bytes()
        self.source("images/base.yaml", "changed")
        code, _, end = self.write("{\"a\": 1}", "--source-digest", before)
        self.assertEqual(code, 1)
        self.assertIn("the sources have changed since", end)
        self.assertEqual(self.file.read_bytes(), kept)

    def test_arguments_that_are_none(self):
        for stages, pattern in (("[1]", "no object"), ("{}", "no object"), ('{"a": "1"}', "stage a: '1' is no number"),
                                ('{"a": -1}', "stage a: -1"), ('{"a": NaN}', "stage a: nan"), ("{", "stages.json: ")):
            code, _, end = self.write(stages)
            self.assertEqual(code, 1)
            self.assertRegex(end, pattern)
        self.source("stages.json", '{"a": 1}')
        where = str(self.root / "stages.json")
        self.assertRegex(self.run_it("write", "--iso-digest", "ab", "--stages", where, "--audit", "x")[2], "'ab' is no SHA-256")
        self.assertRegex(self.run_it("write", "--iso-digest", ISO, "--stages", where, "--audit", " ")[2], "--audit: one line")
        self.assertFalse(self.file.exists())

    def test_broken_records(self):
        self.write()
        good = json.loads(self.file.read_text())
        for key in good:
            self.file.write_text(json.dumps({k: v for k, v in good.items() if k != key}))
            self.broken("record.json: one of .*%s" % key)
        self.file.write_text(json.dumps({**good, "files": {**good["files"], "images/base.yaml": "cd" * 32}}))
        self.broken("its digest is not that of its files")
        self.file.write_text(json.dumps({**good, "date": "yesterday"}))
        self.broken("date or ISO digest")
        self.file.write_text(self.file.read_text()[:-10])
        self.broken("record.json: ")


class Sources(unittest.TestCase):
    def test_the_list_is_of_this_checkout(self):
        files, empty = record.sources(record.ROOT)
        # Written after this test.
        self.assertEqual(empty, [])
        for name in ("templates/provision.sh", "templates/netinst/preseed.cfg", "builder/src/base/netinst/mod.rs"):
            self.assertIn(name, files)
        self.assertFalse([name for name in files if re.search("pycache|record", name)])


if __name__ == "__main__":
    unittest.main()
