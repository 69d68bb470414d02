"""A base by Debian's installer, beside a plain preseeded installation by the same installer from the same disc, at the same time.

Both are emulated in one thread and run at once, each on a processor of its own, so that what else this PC does hits both. The
disc is that of the tests without a base system on it, which the plain installer would take alone, and find no kernel beside: both have
all from the mirror. docs/installer-tests.md says what that disc has of a netinst."""

import concurrent.futures
import gzip
import json
import os
import re
import subprocess

import bench
from bench import machines

# What Debian's own example of a preseed file answers, and no more: https://www.debian.org/releases/trixie/example-preseed.txt
PRESEED = """d-i debian-installer/locale string en_US.UTF-8
d-i keyboard-configuration/xkb-keymap select us
d-i netcfg/choose_interface select auto
d-i netcfg/get_hostname string vm42
d-i netcfg/get_domain string lab.test
d-i hw-detect/load_firmware boolean false
d-i mirror/country string manual
d-i mirror/protocol string http
d-i mirror/http/hostname string %(host)s
d-i mirror/http/directory string %(directory)s
d-i mirror/http/proxy string
d-i passwd/make-user boolean false
d-i passwd/root-password password Korrekt-Pferd-Batterie
d-i passwd/root-password-again password Korrekt-Pferd-Batterie
d-i clock-setup/utc boolean true
d-i time/zone string Etc/UTC
d-i clock-setup/ntp boolean false
d-i partman-auto/disk string /dev/vda
d-i partman-auto/method string regular
d-i partman-auto/choose_recipe select atomic
d-i partman-partitioning/confirm_write_new_label boolean true
d-i partman/choose_partition select finish
d-i partman/confirm boolean true
d-i partman/confirm_nooverwrite boolean true
d-i apt-setup/cdrom/set-first boolean false
tasksel tasksel/first multiselect standard
d-i pkgsel/include string openssh-server openvpn
d-i pkgsel/upgrade select none
popularity-contest popularity-contest/participate boolean false
d-i grub-installer/only_debian boolean true
d-i grub-installer/bootdev string /dev/vda
d-i finish-install/reboot_in_progress note
d-i debian-installer/exit/poweroff boolean true
d-i debian-installer/add-kernel-opts string console=ttyS0,115200
"""


def plain(folder, iso, mirror):
    """QEMU's command line for the plain installation; its files are made in `folder`."""
    found = re.fullmatch(r"http://([^/]+)(/.*?)/?", mirror)
    if not found:
        raise bench.Failed("the plain installation needs a mirror by http, not %s" % mirror)
    (folder / "preseed.cfg").write_text(PRESEED % {"host": found[1], "directory": found[2]}, encoding="ascii")
    bench.text(["xorriso", "-osirrox", "on", "-indev", iso, "-extract", "/install.amd", folder / "install"])
    # One more archive behind the installer's own, as its manual has it.
    packed = subprocess.run(["cpio", "-o", "-H", "newc", "--quiet"], input=b"preseed.cfg\n", capture_output=True, cwd=folder, check=True).stdout
    (folder / "initrd").write_bytes((folder / "install/initrd.gz").read_bytes() + gzip.compress(packed))
    bench.text(["qemu-img", "create", "-q", "-f", "qcow2", folder / "disk.qcow2", "32G"])
    # The processor that imgbuild gives its own installer.
    return [machines.QEMU, "-machine", "q35", "-accel", "tcg,thread=single", "-cpu", "max,bmi2=off", "-m", "1536",
            "-display", "none", "-no-reboot", "-kernel", folder / "install/vmlinuz", "-initrd", folder / "initrd",
            "-append", "console=ttyS0,115200 auto=true priority=critical DEBIAN_FRONTEND=text TERM=dumb",
            "-drive", "file=%s,if=virtio,format=qcow2" % (folder / "disk.qcow2"), "-cdrom", iso, "-nic", "user,model=virtio-net-pci",
            "-device", "virtio-rng-pci", "-serial", "file:%s" % (folder / "console.log")]


def run(options):
    if os.cpu_count() < 2:
        raise bench.Failed("both installations run at once, each on a processor of its own, and here is one")
    # What the mirror is, and a warm cache of it for both.
    base = machines.base("plain", options.folder)
    mirror = json.loads((base / "base.manifest.json").read_text(encoding="utf-8"))["sources"][0].split()[1]
    iso = bench.KEPT / "no-base.iso"
    bench.text([bench.ROOT / "tests/netinst/make-iso", iso, "--no-base"])

    def ours(folder):
        words = [bench.program("imgbuild"), "base", "--iso", iso, "--accel", "tcg", "--timings", "--force",
                 "--definition", machines.definition("plain", folder), "--output", folder]
        with open(folder / "said", "wb") as log:
            return bench.cost(words, log=log)

    def theirs(folder):
        words = plain(folder, iso, mirror)
        console = folder / "console.log"

        def watch():
            # A question that nobody answers.
            said = console.read_bytes()[-5000:].decode(errors="replace") if console.exists() else ""
            if "[!!]" in said or "!! ERROR" in said:
                raise bench.Failed("the plain installation has stopped; the end of its console:\n" + said[-2000:])

        with open(folder / "said", "wb") as log:
            return bench.cost(words, watch, log=log)

    costs = []
    for number in range(options.rounds or 1):
        folders = [options.folder / ("%s-%d" % (side, number)) for side in ("ours", "plain")]
        for folder in folders:
            folder.mkdir()
        with concurrent.futures.ThreadPoolExecutor() as pool:
            sides = [pool.submit(side, folder) for side, folder in zip((ours, theirs), folders)]
            for done in concurrent.futures.as_completed(sides):
                if done.exception():
                    # The other one has nothing to be measured against.
                    bench.end_all()
                    raise done.exception()
            costs.append([side.result() for side in sides])
        print((folders[0] / "said").read_text(encoding="utf-8", errors="replace").rstrip(), flush=True)
    whole, peer = [bench.median(side) for side in zip(*costs)]
    name = "a plain preseed"
    return [
        bench.Row("a base by the installer, on the clock", "s", whole.wall, peer.wall, name, 0.4),
        bench.Row("a base by the installer, of processors", "s", whole.cpu, peer.cpu, name),
    ]
