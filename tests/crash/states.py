"""Every state in which a file system without ordering may leave a tree when the power goes.

Made of the calls of an undisturbed run. What was written is on the disk for certain only when the file
was flushed (fsync), a name only when its folder was (or either folder of a rename, which is one thing or
nothing); syncfs is for all. Of everything else each thing may be there or not, whatever came after it:
a file under its new name without its bytes, or with zeros in their place, or half of them.

What several calls leave undecided matters only just before a flush decides it, because an earlier
cut is one of the cases there.
"""

import hashlib
import math
import os
import stat

from compare import VOLATILE

# With more than so many states before one flush, so many are drawn.
MOST = 4096
SECTOR = 512
OF_WRITES = ("whole", "none", "half", "zeros")
OF_OTHERS = ("whole", "none")


class Node:
    """What a name may stand for."""

    def __init__(self, kind, mode, owner, content):
        self.kind, self.mode, self.owner, self.content = kind, mode, owner, content

    def copy(self):
        return Node(self.kind, self.mode, self.owner, dict(self.content) if self.kind == "folder" else self.content)


def is_volatile(name):
    return name.split("/")[0] in VOLATILE


class Disk:
    """A tree in memory, of the folder that calls are recorded in. Nodes have numbers; a folder's content are its names' numbers.

    `outside(name)` says of what there is no model."""

    def __init__(self, tree, outside=is_volatile):
        self.nodes, self.numbers, self.before, self.outside = [], {}, [], outside
        self.read(tree, "")
        self.before = [node.copy() for node in self.nodes]

    def add(self, node, real):
        self.nodes.append(node)
        self.numbers[real] = len(self.nodes) - 1
        return len(self.nodes) - 1

    def new(self, node, real):
        """One that the run made: from the start it is a node, to which no name leads."""
        self.before.append(node.copy())
        return self.add(node, real)

    def read(self, path, name):
        about = os.lstat(path)
        mode, owner = stat.S_IMODE(about.st_mode), (about.st_uid, about.st_gid)
        if stat.S_ISDIR(about.st_mode):
            node = Node("folder", mode, owner, {})
            number = self.add(node, (about.st_dev, about.st_ino))
            for each in sorted(os.listdir(path)):
                below = os.path.join(name, each)
                if not self.outside(below):
                    node.content[each] = self.read(os.path.join(path, each), below)
            return number
        if stat.S_ISLNK(about.st_mode):
            return self.add(Node("link", mode, owner, os.readlink(path)), (about.st_dev, about.st_ino))
        with open(path, "rb") as file:
            return self.add(Node("file", mode, owner, file.read()), (about.st_dev, about.st_ino))

    def at(self, name):
        """The number of what a path stands for."""
        number = 0
        for part in filter(None, name.split("/")):
            number = self.nodes[number].content[part]
        return number

    def place(self, name):
        folder, _, last = name.rpartition("/")
        return self.at(folder), last


class Change:
    """One thing that may be on the disk or not: what flushes it, and what it does to a copy of the nodes."""

    def __init__(self, call, flushed_by, ways, do):
        self.call, self.flushed_by, self.ways, self.do = call, flushed_by, ways, do

    def has_halves(self):
        """Whether a disk may have half of its bytes: a sector is there or not."""
        at, data = self.call.more["at"], self.call.more["data"]
        return at // SECTOR != (at + len(data) - 1) // SECTOR


def changes(disk, calls):
    """The recorded calls: pairs of a Change and None, or None and the node that is flushed, "all" for every one."""
    found = []
    for call in calls:
        if call.result < 0:
            continue
        # Whatever it was called by: a tree is one file system.
        if call.kind == "syncfs":
            found.append((None, "all"))
        elif disk.outside(call.name):
            continue
        elif call.kind == "fsync":
            found.append((None, disk.numbers[call.number]))
        else:
            change = one(disk, call)
            change.do(disk.nodes, "whole")
            found.append((change, None))
    return found


def one(disk, call):
    kind, more = call.kind, call.more
    if kind in ("create", "mkdir", "symlink"):
        content = {"create": b"", "mkdir": {}, "symlink": more.get("target")}[kind]
        node = Node({"create": "file", "mkdir": "folder", "symlink": "link"}[kind], more["mode"], more["owner"], content)
        number, (folder, name) = disk.new(node, call.number), disk.place(call.name)
        return Change(call, {folder}, OF_OTHERS, lambda nodes, _: nodes[folder].content.update({name: number}))
    if kind in ("unlink", "rmdir"):
        folder, name = disk.place(call.name)
        return Change(call, {folder}, OF_OTHERS, lambda nodes, _: nodes[folder].content.pop(name, None))
    if kind == "link":
        number, (folder, name) = disk.at(call.name), disk.place(call.other)
        return Change(call, {folder}, OF_OTHERS, lambda nodes, _: nodes[folder].content.update({name: number}))
    if kind == "rename":
        (source, old), (target, new) = disk.place(call.name), disk.place(call.other)
        number = disk.nodes[source].content[old]

        def rename(nodes, _):
            if nodes[source].content.get(old) == number:
                del nodes[source].content[old]
            nodes[target].content[new] = number
        return Change(call, {source, target}, OF_OTHERS, rename)
    number = disk.numbers[call.number]
    if kind == "write":
        def write(nodes, way):
            data, at, old = more["data"], more["at"], nodes[number].content
            data = {"whole": data, "half": data[:len(data) // 2], "zeros": bytes(len(data))}[way]
            nodes[number].content = old[:at].ljust(at, b"\0") + data + old[at + len(data):]
        return Change(call, {number}, OF_WRITES, write)
    if kind == "truncate":
        def truncate(nodes, _):
            nodes[number].content = nodes[number].content[:more["size"]].ljust(more["size"], b"\0")
        return Change(call, {number}, OF_OTHERS, truncate)
    if kind == "chmod":
        return Change(call, {number}, OF_OTHERS, lambda nodes, _: setattr(nodes[number], "mode", more["mode"]))
    if kind == "chown":
        def chown(nodes, _):
            pairs = zip(more["owner"], nodes[number].owner)
            nodes[number].owner = tuple(old if new == 0xFFFFFFFF else new for new, old in pairs)
        return Change(call, {number}, OF_OTHERS, chown)
    raise ValueError("no model of %s" % call)


class State:
    """One state of a disk: `name` is FLUSH.CASE, by which it can be made again, and `words` say how it came to be."""

    def __init__(self, nodes, name="", words=""):
        self.nodes, self.name, self.words = nodes, name, words

    def write(self, tree):
        self.write_node(tree, self.nodes[0])

    def write_node(self, path, node):
        if node.kind == "link":
            os.symlink(node.content, path)
        elif node.kind == "folder":
            os.makedirs(path, exist_ok=True)
            for name, number in node.content.items():
                self.write_node(os.path.join(path, name), self.nodes[number])
        else:
            with open(path, "wb") as file:
                file.write(node.content)
        if os.geteuid() == 0:
            os.chown(path, *node.owner, follow_symlinks=False)
        if node.kind != "link":
            os.chmod(path, node.mode)

    def listing(self):
        """Each name and its node."""
        found, waiting = {}, [("", self.nodes[0])]
        while waiting:
            name, node = waiting.pop()
            found[name] = node
            if node.kind == "folder":
                waiting += [(os.path.join(name, each), self.nodes[number]) for each, number in node.content.items()]
        return found

    def digest(self):
        sum_ = hashlib.sha256()

        def add(name, node):
            content = node.content if node.kind != "folder" else sorted(node.content)
            sum_.update(repr((name, node.kind, node.mode, node.owner, content)).encode())
            if node.kind == "folder":
                for each in sorted(node.content):
                    add(each, self.nodes[node.content[each]])
        add("", self.nodes[0])
        return sum_.digest()


class Flush:
    """What is not decided just before a flush."""

    def __init__(self, number, certain, undecided):
        self.number, self.certain, self.undecided = number, certain, undecided
        self.cases = math.prod(len(change.ways) for change in undecided)

    def draw(self, chance):
        """The number of a case, from those where almost all is there to those where almost nothing is."""
        case, factor, whole = 0, 1, chance.random()
        for change in self.undecided:
            way = "whole"
            if chance.random() >= whole:
                way = chance.choice([way for way in change.ways[1:] if way != "half" or change.has_halves()])
            case += factor * change.ways.index(way)
            factor *= len(change.ways)
        return case

    def state(self, disk, order, case):
        """One of the cases, by its number."""
        name, ways = "%d.%d" % (self.number, case), {}
        for change in self.undecided:
            case, way = divmod(case, len(change.ways))
            ways[change] = change.ways[way]
        nodes = [node.copy() for node in disk.before]
        for change in sorted(self.certain + self.undecided, key=order.get):
            if ways.get(change) != "none":
                change.do(nodes, ways.get(change, "whole"))
        words = ["%s: %s" % (change.call, way) for change, way in ways.items() if way != "whole"]
        return State(nodes, name, ", ".join(words) or "all there")


class States:
    """The states that a recorded boot may leave. `disk` is as it was before the calls."""

    def __init__(self, disk, calls):
        self.disk = disk
        made = changes(disk, calls)
        self.order = {change: number for number, (change, _) in enumerate(made)}
        self.flushes, certain, undecided = [], [], []
        for change, flush in made + [(None, "all")]:
            if change:
                undecided.append(change)
                continue
            flushed = [each for each in undecided if flush == "all" or flush in each.flushed_by]
            if flushed:
                self.flushes.append(Flush(len(self.flushes), list(certain), list(undecided)))
                certain += flushed
                undecided = [each for each in undecided if each not in flushed]
        self.flushes.append(Flush(len(self.flushes), certain, undecided))

    def named(self, name):
        flush, case = map(int, name.split("."))
        return self.flushes[flush].state(self.disk, self.order, case)

    def at_end(self, chance):
        """The state in which all calls are on the disk, and one of those in which not everything since the last flushes is."""
        flush = max((flush for flush in self.flushes if flush.undecided), key=lambda flush: flush.number)
        return self.named("%d.0" % flush.number), flush.state(self.disk, self.order, flush.draw(chance))

    def all(self, chance):
        """The name of each different state once, and how many cases they are of."""
        seen, names, cases = set(), [], 0
        for flush in self.flushes:
            few = flush.cases <= MOST
            for case in range(flush.cases) if few else chance.sample(range(flush.cases), MOST):
                cases += 1
                state = flush.state(self.disk, self.order, case)
                digest = state.digest()
                if digest not in seen:
                    seen.add(digest)
                    names.append(state.name)
        return names, cases
