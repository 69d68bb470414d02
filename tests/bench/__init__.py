"""What the benchmarks share. Each is a module beside this one with a function `run(options)` that returns a
list of rows; `scripts/bench` runs them. What only some of them need is in a folder of its own beside them."""

import contextlib
import dataclasses
import os
import pathlib
import shlex
import signal
import statistics
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
# Where cargo puts the programs: .cargo/config.toml names the target.
PROGRAMS = ROOT / "target/x86_64-unknown-linux-gnu/release"
# What is kept from run to run: bases, and images that peers need.
KEPT = ROOT / "target/bench"


class Failed(Exception):
    """A benchmark that cannot go on, in words for whoever started it."""


@dataclasses.dataclass
class Options:
    """What the command line says, and a folder that goes away at the end."""

    rounds: int
    folder: pathlib.Path


@dataclasses.dataclass
class Row:
    """One line of the table: ours beside what a user would pick instead.

    `goal` is the most that ours may be: as a part of the peer's where there is a peer, else in `unit`;
    None where this row only tells. Without a peer's value `note` says why there is none."""

    what: str
    unit: str
    ours: float | None
    peer: float | None = None
    peer_name: str = ""
    goal: float | None = None
    note: str = ""

    @property
    def ratio(self):
        return self.ours / self.peer if self.ours is not None and self.peer else None

    @property
    def reached(self):
        """Whether the goal is reached; None where there is none, or nothing to judge by."""
        value = self.ratio if self.peer_name else self.ours
        return None if self.goal is None or value is None else value <= self.goal

    def json(self):
        return {**dataclasses.asdict(self), "ratio": self.ratio, "reached": self.reached}


@dataclasses.dataclass
class Cost:
    """What one run of a program took: seconds on the clock, seconds of processors (its children's too), and
    the largest resident set of one process, in bytes."""

    wall: float
    cpu: float
    rss: int


_running = set()


@contextlib.contextmanager
def process(words, **more):
    """A process in a session of its own, which is ended with all its children when the block is left."""
    child = subprocess.Popen([str(word) for word in words], start_new_session=True, **more)
    _running.add(child)
    try:
        yield child
    finally:
        end(child)


def end(child):
    """Ends a process and what it has started. Its group may outlive it."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    _running.discard(child)


def end_all():
    """Ends whatever runs yet."""
    for child in list(_running):
        end(child)


def cost(words, watch=None, **more):
    """Runs a program to its end and measures it. Its output is shown where it fails. `watch`, which goes with a
    `log`, is called twice a second and raises Failed where the program is to be ended."""
    log = more.pop("log", None)
    started = time.monotonic()
    with process(words, stdin=subprocess.DEVNULL, stdout=log or subprocess.PIPE, stderr=subprocess.STDOUT, **more) as child:
        said = b"" if log else child.stdout.read()
        while watch and os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
            watch()
            time.sleep(0.5)
        _, status, used = os.wait4(child.pid, 0)
        wall = time.monotonic() - started
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        said = pathlib.Path(log.name).read_bytes() if log else said
        tail = said[-4000:].decode(errors="replace")
        raise Failed("this failed (%d): %s\n%s" % (child.returncode, shlex.join(map(str, words)), tail))
    return Cost(wall, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024)


def text(words, **more):
    """What a program prints."""
    done = subprocess.run([str(word) for word in words], stdin=subprocess.DEVNULL, capture_output=True, text=True, **more)
    if done.returncode:
        raise Failed("this failed (%d): %s\n%s" % (done.returncode, shlex.join(map(str, words)), done.stderr))
    return done.stdout


def paired(rounds, *sides):
    """The medians of several sides: functions that return a Cost, called in turn in each round, so that what else
    this machine does hits all of them."""
    costs = [[] for _ in sides]
    for _ in range(rounds):
        for side, found in zip(sides, costs):
            found.append(side())
    return [median(found) for found in costs]


def median(costs):
    """The median of each of a Cost's parts."""
    parts = zip(*(dataclasses.astuple(one) for one in costs))
    return Cost(*(statistics.median(part) for part in parts))


_built = False


def program(name):
    """One of the project's programs, built as users get it."""
    global _built
    if not _built:
        with process(["cargo", "build", "--release", "--locked", "--quiet"], cwd=ROOT) as cargo:
            if cargo.wait():
                raise Failed("cargo build --release --locked failed")
        _built = True
    return PROGRAMS / name


def shown(value, unit):
    """A number as a person reads it, in at most four digits where it has a fraction."""
    if value is None:
        return "-"
    if unit == "bytes":
        return "%.1f MB" % (value / 1e6) if value >= 1e5 else "%d B" % value
    if unit == "instructions":
        return "%.2f Gi" % (value / 1e9)
    return ("%d" if value == int(value) and value >= 100 else "%.3g") % value + " " + unit


def table(rows):
    """The rows as lines of text."""
    words = {None: "", True: "reached", False: "missed"}
    cells = [("what", "ours", "peer", "ratio", "goal", "")]
    for row in rows:
        goal = "" if row.goal is None else "<= %.3g x" % row.goal if row.peer_name else "<= " + shown(row.goal, row.unit)
        peer = "%s (%s)" % (shown(row.peer, row.unit), row.peer_name) if row.peer_name else ""
        ratio = "" if row.ratio is None else "%.2f" % row.ratio
        cells.append((row.what, shown(row.ours, row.unit), peer, ratio, goal, " ".join((words[row.reached], row.note)).strip()))
    widths = [max(len(line[column]) for line in cells) for column in range(5)]
    return ["  ".join((*(cell.ljust(width) for cell, width in zip(line, widths)), line[5])).rstrip() for line in cells]
