#!/usr/bin/env python3
"""What it costs to make base.qcow2 of a raw disk, and to digest it, beside the programs that a user has for that.

    tests/bench/compress.py base.qcow2 [--rounds 3] [--json FILE]

Every contender runs once in each round, one after the other. Wall clock means something on a PC that is idle; processor
time includes every thread.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
IMGBUILD = pathlib.Path(os.environ.get("TEST_PROGRAMS", ROOT / "target/x86_64-unknown-linux-gnu/release")) / "imgbuild"
CONVERT = ["qemu-img", "convert", "-c", "-W", "-m", "8", "-f", "raw", "-O", "qcow2"]


def measured(words):
    """Wall clock and processor time, in seconds."""
    start = time.monotonic()
    child = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise subprocess.CalledProcessError(child.returncode, words)
    return time.monotonic() - start, usage.ru_utime + usage.ru_stime


def compressing(raw, image):
    """Each contender's words; the last is what the others are compared with."""
    return {
        "imgbuild": [IMGBUILD, "compress", raw, image],
        "qemu-img, zstd, 512 KiB": [*CONVERT, "-o", "compression_type=zstd,cluster_size=512k", raw, image],
        "qemu-img, zlib": [*CONVERT, raw, image],
    }


def digesting(image):
    return {
        "imgbuild": [IMGBUILD, "look", "digest", image],
        "sha256sum": ["sha256sum", image],
        "openssl": ["openssl", "dgst", "-sha256", image],
    }


def medians(contenders, rounds, before=lambda: None, after=lambda: None):
    """Of wall clock, processor time and what `after` says, by contender."""
    all_of = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, words in contenders.items():
            before()
            all_of[name].append((*measured(words), after()))
    names = ("seconds", "cpu_seconds", "bytes")
    return {name: {key: statistics.median(values) for key, values in zip(names, zip(*runs)) if None not in values}
            for name, runs in all_of.items()}


def bench(base, rounds):
    with tempfile.TemporaryDirectory(prefix="bench-", dir="/var/tmp") as folder:
        raw, image = pathlib.Path(folder, "raw"), pathlib.Path(folder, "image")
        subprocess.run(["qemu-img", "convert", "-O", "raw", base, raw], check=True)

        def judged():
            for words in (["check", "-q", "-f", "qcow2", image], ["compare", "-q", "-f", "raw", "-F", "qcow2", raw, image]):
                subprocess.run(["qemu-img", *words], check=True)
            return image.stat().st_size

        compress = medians(compressing(raw, image), rounds, lambda: image.unlink(missing_ok=True), judged)
        return {"compress": compress, "digest": medians(digesting(image), rounds)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("base", type=pathlib.Path, help="any qcow2 image")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=pathlib.Path)
    options = parser.parse_args()
    found = bench(options.base, options.rounds)
    for what, contenders in found.items():
        peer = list(contenders.values())[-1]
        for name, values in contenders.items():
            ratios = " ".join("%.2f" % (values[key] / peer[key]) for key in values)
            print("%-9s %-24s %6.2f s %6.2f CPU s %s ratios %s" % (
                what, name, values["seconds"], values["cpu_seconds"],
                "%6.1f MB" % (values["bytes"] / 1e6) if "bytes" in values else " " * 9, ratios))
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
