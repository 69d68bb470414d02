"""What the desk and a PC write of a VM, cut wherever the power may go: never half a file, nothing left over in the end.

`imgbuild seed`, a start by run.sh up to QEMU, and `imgbuild rm` are killed before, after and in half of the calls that
change the lab's folder; for the seeds, each state in which a file system without ordering may leave them is tried, too.
qemu-img and QEMU are stand-ins that write what those would. A sample is drawn; LAB_CUTS=all tries every one.
"""

import hashlib
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
import calls  # noqa: E402
import compare  # noqa: E402
import ptrace  # noqa: E402
import states  # noqa: E402

PROGRAMS = pathlib.Path(os.environ.get("TEST_PROGRAMS", HERE.parent.parent / "target/x86_64-unknown-linux-gnu/debug"))
IMGBUILD = PROGRAMS / "imgbuild"
BASE = b"this stands in for an image\n"
LAB = """domain: example.org
defaults: {disk: 8G, memory: %s, root_password_file: root-password, ssh_password: true}
vms: [{name: vm42}]
"""
QEMU_IMG = """#!/bin/sh
if [ "$1" = info ]; then exit 0; fi
while [ $# -gt 2 ]; do shift; done
printf 'a disk of this size: %s\\n' "$2" >"$1"
"""
QEMU = "#!/bin/sh\nexit 0\n"
SEED = [IMGBUILD, "seed", "vm42"]
START = ["vm42/run.sh", "--user-net", "--accel=tcg", "--console=log"]
RM = [IMGBUILD, "rm", "--yes", "vm42"]
# A start and a seed take a third of a second each, and each try is two of them.
SAMPLE = None if os.environ.get("LAB_CUTS") == "all" else 15
states.MOST = 200


class Reader(calls.Reader):
    """Follows copies from file to file as well, which cp and Rust's library make."""

    COPIES = {"copy_file_range": 2, "sendfile": 0}

    def read(self, stop):
        number = self.COPIES.get(stop.name)
        if number is None:
            return super().read(stop)
        descriptor = stop.argument(number)
        call = self.of_descriptor(stop, "write", descriptor)
        if call is not None:
            call.more.update(data=b"", at=self.position(stop, descriptor), copied=True)
        return call

    def ended(self, call, result):
        if call.more.pop("copied", False) and result >= 0:
            call.result = result
            with open(os.path.join(self.tree, call.name), "rb") as file:
                file.seek(call.more["at"])
                call.more["data"] = file.read(result)
            return
        super().ended(call, result)


class Once:
    """One run of a program in a lab's folder, which may be cut."""

    def __init__(self, lab, words, environment):
        self.lab = str(lab)
        self.words = ["/usr/bin/env", "-i", *environment, *words]
        self.reader, self.calls, self.cut, self.cut_at = Reader(self.lab), [], None, None

    def run(self, cut=None):
        """Its exit status and its words; None and its words where it was cut."""
        self.cut = cut
        with tempfile.TemporaryFile() as said:
            code = ptrace.run(self.words, self.before, self.after, said.fileno(), self.lab)
            said.seek(0)
            return code, said.read().decode(errors="replace")

    def before(self, stop):
        call = self.reader.read(stop)
        if call is None:
            return None
        if self.cut is not None and self.cut[0] == len(self.calls):
            self.cut_at = call
            if self.cut[1] == "before":
                raise ptrace.Cut
            if self.cut[1] == "half" and call.halves():
                stop.set_argument(2, stop.argument(2) // 2)
        self.calls.append(call)
        return call

    def after(self, _stop, call, result):
        self.reader.ended(call, result)
        if call is self.cut_at:
            raise ptrace.Cut


def listing(lab):
    """What is there, without what differs from run to run: how a base looked when it was seen."""
    found = compare.listing(lab)
    for name, (kind, mode, owner, content) in found.items():
        if name.endswith(".base.seen"):
            found[name] = kind, mode, owner, content.partition(b" ")[0]
    return found


class LabCase(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self.scratch = pathlib.Path(tempfile.mkdtemp(prefix="crash-lab-", dir=memory))
        self.addCleanup(shutil.rmtree, self.scratch)
        self.seed = random.SystemRandom().randrange(10 ** 6)
        self.chance = random.Random(self.seed)
        self.lab = self.scratch / "before"
        self.programs = self.scratch / "bin"
        for folder in (self.lab, self.programs):
            folder.mkdir()
        for name, text in (("qemu-img", QEMU_IMG), ("qemu-system-x86_64", QEMU)):
            subprocess.run(["sh", "-c", "cat >$0; chmod 755 $0", self.programs / name], input=text, text=True, check=True)
        self.environment = ["PATH=%s:/usr/sbin:/usr/bin:/sbin:/bin" % self.programs, "LANG=C.UTF-8", "HOME=%s" % self.scratch]
        (self.lab / "base.qcow2").write_bytes(BASE)
        manifest = {"image": {"sha256": hashlib.sha256(BASE).hexdigest(), "bytes": len(BASE), "virtual_bytes": 4 << 30},
                    "firstboot": {"version": "0", "contract": 99}}
        (self.lab / "base.manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
        (self.lab / "root-password").write_text("geheim geheim\n", encoding="utf-8")
        (self.lab / "root-password").chmod(0o600)
        self.write_lab("1G")

    def write_lab(self, memory):
        (self.lab / "lab.yaml").write_text(LAB % memory, encoding="utf-8")

    def once(self, lab, words):
        return Once(lab, words, self.environment)

    def good(self, lab, words):
        once = self.once(lab, words)
        code, said = once.run()
        self.assertEqual(0, code, said)
        return once

    def copy(self, name):
        lab = self.scratch / name
        shutil.rmtree(lab, ignore_errors=True)
        shutil.copytree(self.lab, lab, symlinks=True)
        return lab

    def converges(self, words, whole, then=()):
        """Cuts the words everywhere; each time the same words, and `then`, run to their end, and make what they would have made.
        Of the files named in `whole` each is then, at the cut, as it was or as it will be. Returns the calls."""
        done = self.copy("done")
        once = self.good(done, words)
        after = listing(done)
        for more in then:
            self.good(done, more)
        wanted, before = listing(done), listing(self.lab)
        cuts = [(number, way) for number, call in enumerate(once.calls) if call.result >= 0
                for way in ("before", "half", "after") if way != "half" or call.halves()]
        self.assertGreater(len(cuts), 10)
        sample = cuts if SAMPLE is None or SAMPLE > len(cuts) else self.chance.sample(cuts, SAMPLE)
        wrong, tried = [], 0
        for cut in sample:
            lab = self.copy("cut")
            once_more = self.once(lab, words)
            code, said = once_more.run(cut)
            if code is not None:
                wrong.append("%d:%s was not reached: %d, %s" % (*cut, code, said))
                continue
            tried += 1
            where = "%d:%s (%s)" % (*cut, once_more.cut_at)
            wrong += ["%s: %s" % (where, each) for each in self.wrong(lab, words, then, whole, before, after, wanted)]
        print("%s: %d of %d cuts tried, %d wrong; seed %d" % (words[1:2], tried, len(cuts), len(wrong), self.seed), file=sys.stderr)
        self.assertEqual([], wrong)
        return once.calls

    def wrong(self, lab, words, then, whole, before, after, wanted):
        found = listing(lab)
        for name in whole:
            if found.get(name) not in (before.get(name), after.get(name)):
                yield "%s is half made: %s" % (name, compare.short(found.get(name)))
        for each in (words, *then):
            code, said = self.once(lab, each).run()
            if code:
                yield "%s ended with %d: %s" % (each[:2], code, said)
                return
        yield from compare.differences(wanted, listing(lab))

    def test_seeds(self):
        whole = ["vm42/seed.img", "vm42/run.sh"]
        for memory in ("1G", "2G"):
            with self.subTest(memory):
                self.write_lab(memory)
                (self.lab / "root-password").write_text("geheim %s\n" % memory, encoding="utf-8")
                self.converges(SEED, whole)
                self.unordered(SEED, whole)
                self.good(self.lab, SEED)

    def unordered(self, words, whole):
        disk = states.Disk(str(self.lab))
        done = self.copy("done")
        before = listing(self.lab)
        # The nodes are known by what they are in the folder that is recorded.
        os.rename(self.lab, self.scratch / "kept")
        try:
            shutil.copytree(self.scratch / "kept", self.lab, symlinks=True)
            disk = states.Disk(str(self.lab))
            once = self.good(self.lab, words)
            found = states.States(disk, once.calls)
        finally:
            shutil.rmtree(self.lab, ignore_errors=True)
            os.rename(self.scratch / "kept", self.lab)
        self.good(done, words)
        wanted = listing(done)
        names, cases = found.all(self.chance)
        sample = names if SAMPLE is None or SAMPLE > len(names) else self.chance.sample(names, SAMPLE)
        wrong = []
        for name in sample:
            state = found.named(name)
            lab = self.scratch / "state"
            shutil.rmtree(lab, ignore_errors=True)
            state.write(str(lab))
            wrong += ["%s: %s" % (state.words, each) for each in self.wrong(lab, words, (), whole, before, wanted, wanted)]
        print("%s: %d of %d states of %d cases tried, %d wrong" % (words[1:2], len(sample), len(names), cases, len(wrong)), file=sys.stderr)
        self.assertEqual([], wrong)

    def test_a_start_and_its_disk(self):
        self.good(self.lab, SEED)
        digest = hashlib.sha256(BASE).hexdigest()
        made = self.converges(START, ["vm42/vm42.qcow2", "vm42/vm42.qcow2.base", "bases/%s.qcow2" % digest,
                                      "bases/%s.manifest.json" % digest])
        flushed = [call.name for call in made if call.kind == "fsync"]
        renamed = [call for call in made if call.kind == "rename" and call.other == "vm42/vm42.qcow2"]
        # Before it has its name, and then the name.
        self.assertIn(renamed[0].name, flushed)
        self.assertIn("vm42", flushed[flushed.index(renamed[0].name):])

    def test_the_removal_of_a_disk(self):
        self.good(self.lab, SEED)
        self.good(self.lab, START)
        self.converges(RM, ["vm42/vm42.qcow2", "vm42/vm42.qcow2.base", "vm42/seed.img"])
        # And a start of what is left of it makes a machine that can start.
        self.converges(RM, [], [START])

    def test_a_seed_and_a_script_that_do_not_belong_together_start_nothing(self):
        self.good(self.lab, SEED)
        old = (self.lab / "vm42/seed.img").read_bytes()
        (self.lab / "root-password").write_text("another one\n", encoding="utf-8")
        self.good(self.lab, SEED)
        (self.lab / "vm42/seed.img").write_bytes(old)
        code, said = self.once(self.lab, START).run()
        self.assertEqual((1, "vm42/run.sh: error: seed.img and this run.sh are not of the same imgbuild seed: it was cut off, or only "
                          "one of them was copied here. Copy both, or make both again: imgbuild seed vm42\n"), (code, said))
        self.good(self.lab, SEED)
        # One that somebody else has made says nothing of a script.
        (self.lab / "vm42/seed.img").write_bytes(b"instance-id: own\n".ljust(1 << 20, b"\0"))
        self.good(self.lab, START)
        self.good(self.lab, SEED)
        self.good(self.lab, START)


if __name__ == "__main__":
    unittest.main()
