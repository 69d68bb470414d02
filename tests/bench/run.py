"""`vm42/run.sh` with its disk there, until QEMU begins, beside one line of a shell that starts QEMU at once."""

import os

import bench
from bench import machines


def run(options):
    machine = machines.Machine(options.folder / "lab", machines.base("plain", options.folder))
    programs = options.folder / "programs"
    programs.mkdir()
    script = programs / machines.QEMU
    script.write_text("#!/bin/sh\nexit 0\n", encoding="ascii")
    script.chmod(0o755)
    environment = {**os.environ, "PATH": "%s:%s" % (programs, os.environ["PATH"])}

    def start(*words):
        return lambda: bench.cost([*words], cwd=machine.folder, env=environment)

    ours = start("./run.sh", "--user-net", "--host-loopback", "--console", "log", "--accel", "tcg")
    # Makes the disk, and digests the base.
    first = ours()
    again, bare = bench.paired(options.rounds or 20, ours, start("sh", "-c", machines.QEMU + " -drive file=vm42.qcow2"))
    return [
        bench.Row("the first start, which makes the disk", "ms", first.wall * 1e3),
        bench.Row("each start after it, on the clock", "ms", again.wall * 1e3, goal=30.0),
        bench.Row("each start after it, of processors", "ms", again.cpu * 1e3, bare.cpu * 1e3, "sh and QEMU alone"),
        bench.Row("the guest's program", "bytes", bench.program("firstboot").stat().st_size, goal=2.0e6),
    ]
