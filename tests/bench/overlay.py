"""What a clone's overlay takes after its first boot, and after a month, in bytes, and what it is full of.

Each side is a plain base, booted once to `configured` and shut down cleanly. Ours has the settings of images/base.yaml and
the disk that run.sh makes; the peer has `settings: false` and the disk that qemu-img makes by itself, as by the recipe by
hand. The month is simulated in one further boot of ours: see MONTH. What an overlay takes after a join is not measured here, because Proxmox's
repository is not reached from every PC, and the stand-in for it writes other files: machines::whole_way prints it."""

import collections
import json
import os
import re
import shutil

import bench
from bench import machines

PARTITION = 1 << 20
BLOCK = 4096
# What a path's blocks are counted as; the first that matches.
KINDS = (
    ("systemd's log", "/var/log/journal/"),
    ("caches of systemd and ldconfig", "/var/lib/systemd/catalog/"),
    ("caches of systemd and ldconfig", "/etc/ld.so.cache"),
    ("caches of systemd and ldconfig", "/var/cache/ldconfig/"),
    ("postfix", "/var/spool/postfix/"),
    ("APT's lists", "/var/lib/apt/"),
    ("APT's caches", "/var/cache/apt/"),
    ("other logs", "/var/log/"),
    ("configuration", "/etc/"),
)
JOURNAL, TABLES, OTHER = "the file system's journal", "the file system's tables", "other files"
# ext4's journal is inode 8, Documentation/filesystems/ext4/special_inodes.rst.
JOURNAL_INODE = 8

# The daily updates, once, where the mirror is reached: a month later its signatures would be too old. Then thirty times a day
# later: the clock is set, what the boot has logged is logged again, as another boot would, in a new boot's place; the day's timers do
# their work; a file of 20 MB comes and goes, as an update's packages do. Not simulated: what is logged and written by whatever
# else a node does.
MONTH = ("month.service", """[Unit]
Description=A month
[Service]
Type=exec
ExecStart=/bin/sh -c 'until [ -z "$$(systemctl list-jobs --no-legend)" ]; do sleep 5; done; journalctl -b -o cat >/run/boot; \\
 for day in $$(seq 30); do date -s "+1 day"; systemd-cat -t month cat /run/boot; journalctl --sync; \\
 systemctl start logrotate.service systemd-tmpfiles-clean.service dpkg-db-backup.service; \\
 head -c 20000000 /dev/zero >/var/tmp/update; sync; rm /var/tmp/update; sync; done; \\
 journalctl --disk-usage >/dev/console; echo a month is over >/dev/console'
""")


def first_boot(machine, last, defaults=False):
    """Boots to `configured`, and to what is looked for on the console; shuts down cleanly."""
    if defaults:
        plain_overlay(machine)
    seen, verdict, off = False, None, False
    with machine:
        for source, line, _ in machine.lines():
            if source == "status.jsonl":
                event = json.loads(line)
                if event["event"] == "verdict" and event["result"] != "running":
                    verdict = event["result"]
            elif last.search(line):
                seen = True
            if seen and verdict == "configured" and not off:
                off = True
                machine.power_button()
    if not off:
        raise bench.Failed("the machine has ended without a good verdict:\n%s\n%s" % (machine.said(), machine.read("console.log")[-3000:]))
    looks = machine.overlay.stat()
    return looks.st_blocks * 512, looks.st_size


def plain_overlay(machine):
    """The disk as qemu-img makes it by itself."""
    base = (machine.lab / "base.qcow2").resolve()
    size = json.loads(bench.text(["qemu-img", "info", "--output=json", base]))["virtual-size"]
    bench.text(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", base, machine.overlay, size])
    digest = json.loads((machine.lab / "base.manifest.json").read_text(encoding="utf-8"))["image"]["sha256"]
    (machine.folder / (machine.overlay.name + ".base")).write_text(digest + "\n", encoding="ascii")


def differing(overlay, base, folder):
    """The numbers of the blocks of the partition that differ, and a raw copy of the disk to look into."""
    raws = []
    for name, image in (("clone.raw", overlay), ("base.raw", base)):
        raws.append(folder / name)
        bench.text(["qemu-img", "convert", "-O", "raw", image, raws[-1]])
    blocks, step = [], 1 << 20
    with open(raws[0], "rb") as clone, open(raws[1], "rb") as before:
        size, at = os.fstat(clone.fileno()).st_size, PARTITION
        while at < size:
            one, other = os.pread(clone.fileno(), step, at), os.pread(before.fileno(), step, at)
            if one != other:
                blocks += [(at - PARTITION + i) // BLOCK for i in range(0, len(one), BLOCK) if one[i : i + BLOCK] != other[i : i + BLOCK]]
            at = next_data((clone, before), at + step, size)
    raws[1].unlink()
    return blocks, raws[0]


def next_data(files, at, size):
    """Where the next data of one of these begins, from `at` on; holes are passed over."""
    found = []
    for file in files:
        try:
            found.append(os.lseek(file.fileno(), at, os.SEEK_DATA))
        except OSError:
            found.append(size)
    return max(at, min(found) // BLOCK * BLOCK) if found else size


def ask(raw, command, numbers, folder):
    """What debugfs says of these numbers: a dictionary by number."""
    commands = folder / "commands"
    commands.write_text("".join("%s %s\n" % (command, " ".join(map(str, numbers[i : i + 200]))) for i in range(0, len(numbers), 200)), encoding="ascii")
    said = bench.text(["debugfs", "-f", commands, "%s?offset=%d" % (raw, PARTITION)])
    return {int(number): what for number, what in re.findall(r"^(\d+)\s+(.*)$", said, re.M)}


def kinds(overlay, base, folder):
    """How many bytes of each kind differ between a clone and its base."""
    blocks, raw = differing(overlay, base, folder)
    inodes = {block: int(inode) for block, inode in ask(raw, "icheck", blocks, folder).items() if inode.isdigit()}
    paths = ask(raw, "ncheck", sorted(set(inodes.values())), folder)
    found = collections.Counter()
    for block in blocks:
        inode = inodes.get(block)
        path = paths.get(inode, "").replace("//", "/")
        kind = TABLES if inode is None else JOURNAL if inode == JOURNAL_INODE else next((kind for kind, begin in KINDS if path.startswith(begin)), OTHER)
        found[kind] += BLOCK
    raw.unlink()
    return found


def run(options):
    login = re.compile(r"\blogin: $")
    bases = {name: machines.base(name, options.folder) for name in ("plain", "as-debian")}
    sizes, filled = {}, {}
    for name, base in bases.items():
        machine = machines.Machine(options.folder / name, base, counted=False)
        sizes[name] = first_boot(machine, login, defaults=name == "as-debian")
        filled[name] = kinds(machine.overlay, base / "base.qcow2", options.folder)
        shutil.rmtree(machine.folder)
    peer = "settings: false, qemu-img's own kind"
    (ours, ours_length), (theirs, their_length) = sizes["plain"], sizes["as-debian"]
    rows = [
        bench.Row("overlay after the first boot", "bytes", ours, theirs, peer),
        bench.Row("  the same against 3 MB", "bytes", ours, goal=3e6),
        bench.Row("  its length, with holes", "bytes", ours_length, their_length, peer),
    ]
    for kind in sorted(set(filled["plain"]) | set(filled["as-debian"]), key=lambda kind: -filled["as-debian"][kind]):
        rows.append(bench.Row("  of it " + kind, "bytes", filled["plain"][kind], filled["as-debian"][kind], peer))
    rows.append(bench.Row("overlay after a join", "bytes", None, note="not measured here: see this benchmark's first lines"))
    machine = machines.Machine(options.folder / "month", bases["plain"], units=[MONTH], counted=False)
    after = first_boot(machine, re.compile("a month is over"))[0]
    note = "without lists of packages: the machine did not reach its mirror" if "no lists of packages" in machine.read("console.log") else ""
    rows.append(bench.Row("overlay after a month, simulated", "bytes", after, note=note))
    for kind, size in kinds(machine.overlay, bases["plain"] / "base.qcow2", options.folder).most_common():
        rows.append(bench.Row("  of it " + kind, "bytes", size))
    return rows
