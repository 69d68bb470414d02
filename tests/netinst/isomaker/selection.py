"""What goes onto the disc, and why: udebs, the base system, kernel modules, and files out of ordinary packages."""

import lzma
import re

from .mirror import Refused, fields

# The installer loads every udeb of these priorities (anna/standard_modules), and what they depend on.
STANDARD = {"required", "important", "standard"}

# Loaded as well, although their priority is optional.
ALSO = {
    "apt-mirror-setup": "asked for by cdrom-detect",
    "partman-auto-lvm": "asked for by partman, whenever there is memory for it",
    "partman-auto-crypto": "the same",
    "eatmydata-udeb": "asked for by a preseed file that wants a fast installation",
}

# The same, where the disc has a base system.
ALSO_WITH_BASE = {"apt-cdrom-setup": "asked for by cdrom-detect, which finds a base system on the disc"}

# Not on the disc, whatever wants them. The installer's own resolver takes a udeb whose
# dependency is on no medium, so those who want these are loaded all the same.
LEFT_OUT = {
    r"kernel-image-.*|.*-modules-.*-di": "kernel modules are taken out of the kernel's ordinary package",
    r"e2fsprogs-udeb": "made from the ordinary package, because the mirror may lack it",
    r"eject-udeb|libmount1-udeb": "the mirror may lack it: the disc stays in, nothing is on iSCSI",
    r"ntfs-3g-udeb|xfsprogs-udeb": "the mirror may lack it: the disk gets ext4",
    r"nobootloader|depthcharge-tools-installer|kickseed-common|rescue-check":
        "not on Debian's discs either, or in the initrd already: would take over a step of the installation",
}

# Taken out of the netboot initrd, and what the cdrom flavour has instead.
NETWORK_FLAVOUR = ("download-installer", "net-retriever")
CDROM_FLAVOUR = ("load-cdrom", "cdrom-detect", "cdrom-retriever")

# The base system of debootstrap's variant minbase: every package of the priority "required",
# this one by name, and what they depend on.
BASE = "apt"

# Kernel modules by file or folder below kernel/; what they need comes along.
# In the initrd: what finds disc and disk of a machine in QEMU.
EARLY_MODULES = ("fs/isofs", "drivers/cdrom", "drivers/ata", "drivers/scsi/sr_mod", "drivers/scsi/sd_mod",
                 "drivers/scsi/virtio_scsi", "drivers/block/virtio_blk")
# On the disc, as udebs of the usual names: {name: (priority, provides, modules)}.
MODULE_UDEBS = {
    "ext4-modules": ("standard", ("ext2-modules", "ext3-modules"), ("fs/ext4",)),
    "md-modules": ("optional", (), ("drivers/md",)),
}

E2FSPROGS = ("e2fsprogs", "libext2fs2t64", "libext2fs2", "libcom-err2", "libss2")  # one libext2fs2 or the other
E2FSPROGS_FILES = re.compile(r"(usr/)?(sbin/(mke2fs|e2fsck|tune2fs|resize2fs|badblocks|(mkfs|fsck)\.ext[234])"
                             r"|lib/x86_64-linux-gnu/lib[^/]*\.so\.[^/]*|etc/mke2fs\.conf)|etc/mke2fs\.conf")


def names(value):
    """Package names in a field such as Depends: one list per comma, one name per alternative."""
    groups = (group.split("|") for group in value.split(",") if group.strip())
    # perl:any is perl, of whatever architecture.
    return [[alternative.split()[0].partition(":")[0] for alternative in group] for group in groups]


def provided(stanzas):
    """{name: packages that stand for it}, each package for itself first."""
    found = {}
    for package in sorted(stanzas):
        found.setdefault(package, []).insert(0, package)
        for (name,) in names(fields(stanzas[package]).get("Provides", "")):
            found.setdefault(name, []).append(package)
    return found


def udebs(index, initrd, also=ALSO):
    """Names of the udebs for the disc, sorted. `index` and `initrd` are {package: stanza}."""
    left_out = re.compile("|".join(LEFT_OUT))
    offered = {package: stanza for package, stanza in index.items() if not left_out.fullmatch(package)}
    priority = {package: fields(stanza).get("Priority") for package, stanza in offered.items()}
    todo = sorted((package for package in offered if priority[package] in STANDARD), reverse=True) + list(also)
    providers, there, chosen = provided(offered), provided(initrd), set()
    while todo:
        package = todo.pop()
        if package in chosen or package in initrd:
            continue
        if package not in offered:
            raise Refused("the mirror's index has no udeb %s" % package)
        chosen.add(package)
        for alternatives in names(fields(offered[package]).get("Depends", "")):
            candidates = [provider for name in alternatives for provider in providers.get(name, [])]
            if candidates and not any(name in there for name in alternatives) and not chosen.intersection(candidates):
                # As the installer's resolver: a package of the name itself, else the higher priority.
                todo.append(min(candidates, key=lambda c: (c not in alternatives, priority[c] not in STANDARD)))
    return sorted(chosen)


def base(index):
    """Names of the packages of the base system, sorted. `index` is {package: stanza}."""
    todo = sorted(package for package, stanza in index.items() if "\nPriority: required\n" in stanza + "\n")
    todo += [BASE]
    providers, chosen = provided(index), set(todo)
    while todo:
        package = todo.pop()
        if package not in index:
            raise Refused("the mirror's index has no package %s" % package)
        about = fields(index[package])
        for alternatives in names(about.get("Pre-Depends", "") + "," + about.get("Depends", "")):
            # As debootstrap: the first package of the name itself. It knows nothing of virtual ones; here one
            # that is on the disc anyway stands for those, such as mawk for awk.
            real = [name for name in alternatives if name in index]
            candidates = real[:1] or [provider for name in alternatives for provider in providers.get(name, [])]
            if not candidates:
                raise Refused("%s needs %s, and the mirror's index has no such package" % (package, " or ".join(alternatives)))
            if not chosen.intersection(candidates):
                chosen.add(candidates[0])
                todo.append(candidates[0])
    return sorted(chosen)


def module_name(path):
    return re.sub(r"\.ko(\.xz)?$", "", path.rpartition("/")[2]).replace("-", "_")


def module_needs(data):
    """What a module declares to depend on, from its .modinfo section."""
    if data.startswith(b"\xfd7zXZ"):
        data = lzma.decompress(data)
    found = re.search(rb"\0depends=([^\0]*)\0", data)
    return [name.replace("-", "_") for name in found.group(1).decode().split(",") if name] if found else []


def modules(wanted, tree, there):
    """Paths of the wanted modules and of what they need, less what is there.

    `tree` is {path below kernel/: content}; `wanted` and `there` are paths as in EARLY_MODULES.
    """
    by_name = {module_name(path): path for path in tree}
    have = {module_name(path) for path in there}
    todo, chosen = [], set()
    for want in wanted:
        found = [path for path in tree if path.startswith(want + "/") or re.fullmatch(re.escape(want) + r"\.ko(\.xz)?", path)]
        if not found:
            raise Refused("the kernel has no module %s" % want)
        todo += found
    while todo:
        path = todo.pop()
        if path in chosen or module_name(path) in have:
            continue
        chosen.add(path)
        for need in module_needs(tree[path]):
            if need not in by_name:
                raise Refused("%s needs %s, and the kernel has no such module" % (path, need))
            todo.append(by_name[need])
    return sorted(chosen)
