"""The injector itself: what it must find in programs that are wrong, and that it finds nothing in one that is right."""

import contextlib
import copy
import importlib.machinery
import importlib.util
import io
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.dont_write_bytecode = True
loader = importlib.machinery.SourceFileLoader("cuts", str(HERE / "cuts"))
cuts = importlib.util.module_from_spec(importlib.util.spec_from_loader("cuts", loader))
sys.modules["cuts"] = cuts
loader.exec_module(cuts)
loader = importlib.machinery.SourceFileLoader("joins", str(HERE / "joins"))
joins = importlib.util.module_from_spec(importlib.util.spec_from_loader("joins", loader))
loader.exec_module(joins)

# Makes TREE/etc/name one text and TREE/etc/other another, each in its own way.
PROGRAM = """#!/usr/bin/python3 -IS
import os, sys
tree, stage = sys.argv[2], sys.argv[-1]
text = "A text of some length.\\n"

def flush(path):
    number = os.open(path, os.O_RDONLY)
    os.fsync(number)
    os.close(number)

def whole(name, suffix, flushed):
    path = os.path.join(tree, "etc", name)
    if os.path.exists(path) and open(path).read() == text:
        return
    temporary = path + suffix
    with open(temporary, "w") as file:
        file.write(text)
    os.chmod(temporary, 0o640)
    if flushed:
        flush(temporary)
    os.rename(temporary, path)
    flush(os.path.dirname(path))

if stage == "local":
%s
"""

GOOD = "whole('name', '.new', True)"
# Half a file is taken for one.
IN_PLACE = """
    path = os.path.join(tree, "etc/name")
    if not os.path.exists(path):
        with open(path, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        flush(os.path.dirname(path))"""
# Each run has another name for it.
LEFTOVER = "whole('name', '.%d' % os.getpid(), True)"
# The new name may be on the disk before the bytes are; what is there is not looked at again.
UNFLUSHED = """
    if not os.path.exists(os.path.join(tree, "etc/name")):
        whole('name', '.new', False)"""
# A child does it.
CHILD = """
    import subprocess
    if not os.path.exists(os.path.join(tree, "etc/name")):
        subprocess.run(["sh", "-c", "printf 'A text of some length.' >$0/etc/name; echo >>$0/etc/name", tree], check=True)"""
# A boot that follows a cut one forgets that before it is done with it.
TWICE = """
    mark, name = (os.path.join(tree, "etc", name) for name in ("mark", "name"))
    if os.path.exists(mark):
        os.remove(mark)
        if os.path.exists(name):
            os.remove(name)
    elif not os.path.exists(name):
        whole('mark', '.new', True)
    if not os.path.exists(name):
        with open(name, "w") as file:
            file.write(text)
        flush(name)
        flush(os.path.dirname(name))
        if os.path.exists(mark):
            os.remove(mark)"""


class InjectorCase(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        self.scratch = tempfile.mkdtemp(prefix="crash-", dir=cuts.memory())
        self.addCleanup(shutil.rmtree, self.scratch)

    def tree(self, body):
        """A tree for a program with this body."""
        program = os.path.join(self.scratch, "program")
        body = body if body.startswith("\n") else "    " + body
        # Another process writes it: no other that is started meanwhile has it open for writing.
        subprocess.run(["sh", "-c", "cat >$0; chmod 755 $0", program], input=PROGRAM % body, text=True, check=True)

        def toy(folder, _boot):
            os.makedirs(os.path.join(folder, "etc"))
            return {"meta-data": ""}
        cuts.trees.ALL["toy"] = toy
        self.addCleanup(cuts.trees.ALL.pop, "toy")
        return cuts.Tree("toy", program, self.scratch)

    @staticmethod
    def singles(tree):
        return [cuts.try_cuts(tree, cut) for cut in tree.singles()]

    @staticmethod
    def states(tree):
        found = tree.states()
        return [cuts.try_state(tree, found.named(name)) for name in found.all(random.Random(1))[0]]

    def wrong(self, results):
        return [" ".join(result.words) + ": " + "; ".join(result.wrong) for result in results if result.wrong]

    def test_a_right_program_converges(self):
        tree = self.tree(GOOD)
        self.assertEqual([str(call) for call in tree.calls], [
            "create etc/name.new", "write etc/name.new", "chmod etc/name.new", "fsync etc/name.new",
            "rename etc/name.new -> etc/name", "fsync etc"])
        singles = self.singles(tree)
        self.assertEqual(len(singles), 13)
        self.assertTrue(all(result.reached for result in singles))
        self.assertEqual(self.wrong(singles), [])
        states = self.states(tree)
        # Nothing; the new file in four kinds and two modes; the name; before the file is flushed no rename is open.
        self.assertEqual(len(states), 1 + 8 + 1)
        self.assertEqual(self.wrong(states), [])
        pair = cuts.try_cuts(tree, ((1, "half"), (1, "half")))
        self.assertEqual((pair.words, pair.reached, pair.wrong), (["1:half (write etc/name.new)"] * 2, True, []))
        self.assertFalse(cuts.try_cuts(tree, ((99, "after"),)).reached)

    def test_half_a_file_in_its_place_is_found(self):
        wrong = self.wrong(self.singles(self.tree(IN_PLACE)))
        self.assertEqual(wrong, [
            "0:after (create etc/name): etc/name has another content: b'' instead of b'A text of some length.\\n'",
            "1:before (write etc/name): etc/name has another content: b'' instead of b'A text of some length.\\n'",
            "1:half (write etc/name): etc/name has another content: b'A text of s' instead of b'A text of some length.\\n'"])

    def test_what_is_left_over_is_found(self):
        wrong = self.wrong(self.singles(self.tree(LEFTOVER)))
        self.assertEqual(len(wrong), 9)
        for line in wrong:
            self.assertRegex(line, r": etc/name\.\d+ is left over: file 06?4[04] 0:0, \d+ bytes$" if os.geteuid() == 0 else "left over")

    def test_a_name_without_its_bytes_is_found_only_in_the_states(self):
        tree = self.tree(UNFLUSHED)
        self.assertEqual(self.wrong(self.singles(tree)), [])
        contents = [line.partition("content: ")[2].partition(" instead")[0] for line in self.wrong(self.states(tree))]
        self.assertEqual(sorted(set(contents)), ["", "b''", "b'A text of s'", repr(bytes(23))])

    def test_children_are_cut_too(self):
        wrong = self.wrong(self.singles(self.tree(CHILD)))
        self.assertIn("1:half (write etc/name): etc/name has another content: b'A text of s' instead of "
                      "b'A text of some length.\\n'", wrong)

    def test_what_needs_two_cuts_needs_a_pair(self):
        tree = self.tree(TWICE)
        self.assertEqual(self.wrong(self.singles(tree)), [])
        written = next(number for number, call in enumerate(tree.calls) if str(call) == "write etc/name")
        pairs = [cuts.try_cuts(tree, ((written, "before"), (number, "after"))) for number in range(7)]
        self.assertEqual([pair.reached for pair in pairs], [True] * 6 + [False])
        self.assertEqual([line.partition(") ")[2] for line in self.wrong(pairs)], [
            "%s: etc/name has another content: b'' instead of b'A text of some length.\\n'" % cut
            for cut in ("0:after (unlink etc/mark)", "2:after (create etc/name)")])

    def losses(self, tree):
        """Loses parts of what was not flushed before the last flush, and wants the disk that the model says; how each was lost."""
        seen, until = set(), max(number for number, call in enumerate(tree.calls) if call.kind == "fsync")
        for number in range(60):
            there, state = cuts.states.States(copy.deepcopy(tree.disk), tree.calls[:until]).at_end(random.Random(number))
            changed, words = joins.losses(there, state)
            disk, wanted = tree.place("disk"), tree.place("wanted")
            for folder, made in ((disk, there), (wanted, state)):
                shutil.rmtree(folder, ignore_errors=True)
                made.write(folder)
            joins.lose(disk, json.loads(json.dumps(changed)))
            self.assertEqual([], list(cuts.compare.differences(cuts.compare.listing(wanted), cuts.compare.listing(disk))), words)
            seen.update(word.rpartition(": ")[2] for word in words.split(", "))
        return seen

    def test_what_a_joining_node_loses_of_a_flushed_file(self):
        self.assertEqual({"all there", "none"}, self.losses(self.tree(GOOD)))

    def test_what_a_joining_node_loses_of_an_unflushed_file(self):
        # Not half of it: a sector is there or not.
        self.assertEqual({"all there", "none", "zeros"}, self.losses(self.tree(UNFLUSHED)))

    def test_a_call_that_it_cannot_follow_ends_it(self):
        with self.assertRaisesRegex(cuts.calls.Unseen, "^the call writev on .*/etc/name$"):
            self.tree("""
    number = os.open(os.path.join(tree, "etc/name"), os.O_WRONLY | os.O_CREAT)
    os.writev(number, [b"a", b"b"])""")

    def test_a_failure_says_how_to_see_it_again(self):
        tree = self.tree(IN_PLACE)
        options = type("Options", (), {"firstboot": tree.program})
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            cuts.tell_failure(options, cuts.try_cuts(tree, ((1, "half"),)))
        self.assertEqual(said.getvalue(), "FAILED toy 1:half (write etc/name)\n    etc/name has another content: b'A text of s' "
                         "instead of b'A text of some length.\\n'\n    once more: tests/crash/cuts --firstboot %s --again toy 1:half\n"
                         % tree.program)


if __name__ == "__main__":
    unittest.main()
