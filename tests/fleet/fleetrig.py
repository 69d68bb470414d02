"""Lab PCs on this machine: each in namespaces of its own, with an address, a user without root, a real
sshd and cron, and a disk that survives its reboots; beside them the desk, with Ansible.

The process that runs the tests moves into a network of its own first, where the desk and the PCs are
the only ones. Nothing is left of it all when the process ends.
"""

import atexit
import ctypes
import hashlib
import http.server
import io
import json
import os
import pathlib
import re
import shutil
import signal
import socketserver
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from collections import Counter

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
VENV = ROOT / "target/ansible"
PROGRAMS = pathlib.Path(os.environ.get("TEST_PROGRAMS", ROOT / "target/x86_64-unknown-linux-gnu/debug"))
USER, UID = "alice", 21001
NET = "10.77.0."
DOMAIN = "lab.example.org"
DESK = NET + "1"
CLONE_NEWNS, CLONE_NEWNET = 0x20000, 0x40000000


def run(*words, **more):
    return subprocess.run([str(word) for word in words], check=True, **more)


def enter():
    """This process, and with it the desk, into namespaces of its own. Before any thread is started."""
    if os.geteuid() != 0:
        # The numbers of several users are needed, which /etc/subuid gives to one without root.
        os.execvp("unshare", ["unshare", "--user", "--map-root-user", "--map-auto", "--", *sys.orig_argv])
    # What ends this process removes what it has made; see Rig.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS | CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "unshare")
    run("mount", "--make-rprivate", "/")
    run("mount", "-t", "sysfs", "sysfs", "/sys")
    run("ip", "link", "set", "lo", "up")
    run("ip", "link", "add", "lab", "type", "bridge", "mcast_snooping", "0")
    run("ip", "addr", "add", DESK + "/24", "dev", "lab")
    run("ip", "link", "set", "lab", "up")


def limit(device, mbit, *inside):
    """So much goes out by this device, in Mbit/s, on the desk or where the words `inside` lead. As an end of a cable."""
    run(*inside, "tc", "qdisc", "replace", "dev", device, "root", "tbf", "rate", "%gmbit" % mbit, "burst", "32kb", "latency", "50ms")


class PC:
    """What it has: KVM; programs that are missing; a small disk; another table of mounts than its own. Its QEMU is a stand-in
    unless it is a `real` one. With `systemd` its user has a service manager, as somebody has who is logged in there."""

    def __init__(self, rig, number, kvm=True, hide=(), small=None, cron=True, mounts=None, real=False, systemd=False):
        self.rig, self.number = rig, number
        self.name = "pc-b-%02d.%s" % (number, DOMAIN)
        self.address = NET + str(10 + number)
        self.disk = rig.folder / ("pc%02d" % number)
        self.home = self.disk / "home" / USER
        self.folder = self.disk / "var-tmp" / ("imgbuild-" + USER)
        self.small, self.cron, self.process = small, cron, None
        self.devices = {"kvm": "/dev/null"} if kvm else {}
        self.binds = [] if real else [(str(HERE / "qemu-system-x86_64"), "/usr/bin/qemu-system-x86_64")]
        self.group = rig.control_group(number) if systemd else None
        if systemd:
            self.binds.append((str(HERE / "loginctl"), "/usr/bin/loginctl"))
        for program in hide:
            for folder in ("/usr/bin", "/bin"):
                if os.path.exists(os.path.join(folder, program)) and not os.path.samefile(folder, "/usr/bin") or folder == "/usr/bin":
                    if os.path.exists(os.path.join(folder, program)):
                        self.binds.append((str(rig.nothing), os.path.join(folder, program)))
        for folder, mode in (("home", 0o755), ("var-tmp", 0o1777), ("crontabs", 0o1730)):
            (self.disk / folder).mkdir(parents=True)
            os.chmod(self.disk / folder, mode)
        os.chown(self.disk / "crontabs", 0, rig.crontab_group)
        self.home.mkdir(mode=0o700)
        os.chown(self.home, UID, UID)
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.disk / "host_key")
        shutil.copy(rig.key.with_suffix(".pub"), self.disk / "authorized_keys")
        (self.disk / "sshd_config").write_text(
            "Port 22\nHostKey %(disk)s/host_key\nAuthorizedKeysFile %(disk)s/authorized_keys\nPidFile none\n"
            "UsePAM no\nStrictModes no\nPasswordAuthentication no\nSubsystem sftp internal-sftp\nMaxStartups 100\n"
            "PrintMotd no\n" % {"disk": self.disk}, encoding="utf-8")
        if mounts:
            self.binds.append(self.other_mounts(mounts))
        self.binds += [(str(rig.folder / name), "/etc/" + name) for name in ("passwd", "shadow", "group", "hosts")]

    def other_mounts(self, table):
        """No NFS can be mounted in a namespace without the kernel's part of it, so that Python reads this table there."""
        place = subprocess.run(["/usr/bin/python3", "-c", "import sitecustomize; print(sitecustomize.__file__)"], check=True,
                               capture_output=True, text=True).stdout.strip()
        file = self.disk / "sitecustomize.py"
        file.write_text("import builtins, io\nreal = builtins.open\n\n\ndef other(file, *words, **more):\n"
                        "    return io.StringIO(%r) if file == '/proc/self/mounts' else real(file, *words, **more)\n\n\n"
                        "builtins.open = other\n" % table, encoding="utf-8")
        return str(file), os.path.realpath(place)

    def boot(self):
        config = {"name": self.name.partition(".")[0], "disk": str(self.disk), "user": USER, "uid": UID, "address": self.address,
                  "router": DESK, "binds": self.binds, "devices": self.devices, "small": self.small, "cron": self.cron, "systemd": bool(self.group)}
        file = self.disk / "pc.json"
        file.write_text(json.dumps(config), encoding="utf-8")
        with open(self.disk / "boot.log", "ab") as log:
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "unshare", "--net", "--mount", "--uts", "--ipc", "--pid", *["--cgroup"] * bool(self.group),
                 "--fork", "--kill-child", "--mount-proc", "--propagation", "private", sys.executable, str(HERE / "pc"), str(file)],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log,
                preexec_fn=(lambda: (self.group / "cgroup.procs").write_text("0", encoding="ascii")) if self.group else None)
        self.first = first = wait_for(lambda: pathlib.Path("/proc/%d/task/%d/children" % (self.process.pid, self.process.pid))
                         .read_text(encoding="ascii").split())[0]
        # The child is in its network only after unshare has made it: a fork comes after that.
        card = "pc%d" % self.number
        run("ip", "link", "add", card, "type", "veth", "peer", "name", "eth0", "netns", first)
        run("ip", "link", "set", card, "master", "lab", "up")
        if self.process.stdout.readline() != b"up\n":
            raise AssertionError("%s did not boot:\n%s" % (self.name, (self.disk / "boot.log").read_text(encoding="utf-8")))
        wait_for(self.answers)
        return self

    def inside(self, *namespaces):
        """The words before a program that is to run in these namespaces of the PC (nsenter's options), as root."""
        return ["nsenter", "--target", self.first, *namespaces, "--"]

    def limit(self, mbit):
        """Its cable carries so many Mbit/s in each direction."""
        limit("pc%d" % self.number, mbit)
        limit("eth0", mbit, *self.inside("--net"))

    def answers(self):
        done = subprocess.run(["ssh-keyscan", "-T", "1", "-t", "ed25519", self.address], capture_output=True)
        return b"ed25519" in done.stdout

    def power_off(self):
        """Its power is taken away."""
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()
            self.process = None
            subprocess.run(["ip", "link", "del", "pc%d" % self.number], capture_output=True)
            if self.group:
                # All that was in it has ended.
                wait_for(lambda: "populated 0" in (self.group / "cgroup.events").read_text(encoding="ascii"))
                for folder, folders, _ in os.walk(self.group, topdown=False):
                    for name in folders:
                        os.rmdir(os.path.join(folder, name))

    def ssh(self, command, check=True):
        done = subprocess.run(["ssh", "-F", str(self.rig.folder / "ssh_config"), self.name, command],
                              capture_output=True, text=True, timeout=60)
        if check and done.returncode:
            raise AssertionError("%s: %s: %d\n%s%s" % (self.name, command, done.returncode, done.stdout, done.stderr))
        return done.stdout

    def status(self, vm):
        return json.loads(self.ssh("/var/tmp/imgbuild-%s/%s/run.sh status --json" % (USER, vm)))

    def qemus(self):
        """The command lines with which QEMU was started here, ever."""
        file = self.home / "qemu.jsonl"
        return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.exists() else []

    def guest(self, vm, **ways):
        """See the stand-in of QEMU."""
        file = self.home / ("guest-%s.json" % vm)
        file.write_text(json.dumps(ways), encoding="utf-8")

    def processes(self):
        """The processes of this PC, by their numbers on this machine, with their command lines."""
        below, all_of_them = {self.process.pid}, {}
        while True:
            more = set()
            for pid in below:
                try:
                    for task in pathlib.Path("/proc/%d/task" % pid).iterdir():
                        more |= set(map(int, (task / "children").read_text(encoding="ascii").split()))
                    all_of_them[pid] = pathlib.Path("/proc/%d/cmdline" % pid).read_bytes().replace(b"\0", b" ").decode()
                except OSError:
                    pass
            below = more - set(all_of_them)
            if not below:
                return all_of_them

    def cut_logins(self):
        """Every connection of ssh to this PC is cut."""
        for pid, words in self.processes().items():
            if words.startswith("sshd: %s" % USER):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass

    def images(self):
        """What has the name of an image in bases/."""
        return sorted(path.name for path in (self.folder / "bases").glob("*.qcow2"))

    def files(self):
        """What lies in the lab's folder, without what a running machine writes."""
        return sorted(str(path.relative_to(self.folder)) for path in self.folder.rglob("*"))

    def left(self):
        """The files in the lab's folder that are more than locks."""
        return [name for name in self.files() if (self.folder / name).is_file() and not name.endswith(".lock")]


class WebServer:
    """A folder by HTTP/1.1 with ranges, as any web server has it. Tests change its ways."""

    def __init__(self, folder):
        self.requests = []
        # Bytes per second and connection; how many bytes of an answer before the connection is cut, once.
        self.rate = self.cut_after = None
        self.ranges = True
        # Called when the first bytes of an image have gone out.
        self.begun = threading.Event()
        # Other bytes than the file's, by its name; a web page, where they begin so.
        self.lies = {}
        # How many bytes of each file have gone out.
        self.sent = Counter()
        outer, counting = self, threading.Lock()

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_HEAD(self):
                self.do_GET()

            def do_GET(self):
                outer.requests.append((self.command, self.path, self.headers.get("Range"), self.headers.get("User-Agent", "")))
                name = self.path.rpartition("/")[2]
                lie = outer.lies.get(name)
                try:
                    file = io.BytesIO(lie) if lie is not None else open(folder / name, "rb")
                except OSError:
                    self.send_error(404)
                    return
                with file:
                    self.answer(file, name, "text/html" if lie and lie.startswith(b"<") else "application/octet-stream")

            def answer(self, file, name, kind):
                size = file.seek(0, os.SEEK_END)
                first, last = 0, size - 1
                wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
                if wanted and outer.ranges:
                    first = int(wanted.group(1))
                    last = min(int(wanted.group(2) or last), last)
                    if first > last:
                        self.send_response(416)
                        self.send_header("Content-Length", "0")
                        self.end_headers()
                        return
                    self.send_response(206)
                    self.send_header("Content-Range", "bytes %d-%d/%d" % (first, last, size))
                else:
                    self.send_response(200)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(last + 1 - first))
                if outer.ranges:
                    self.send_header("Accept-Ranges", "bytes")
                self.end_headers()
                if self.command == "HEAD":
                    return
                try:
                    self.send(file, first, last + 1 - first, name)
                except OSError:
                    self.close_connection = True
                with counting:
                    outer.sent[name] += file.tell() - first

            def send(self, file, first, count, name):
                file.seek(first)
                sent = 0
                while sent < count:
                    if name.endswith(".qcow2") and not (outer.rate or outer.cut_after) and sent:
                        # As a web server does it: the kernel sends what it has in memory.
                        self.connection.sendfile(file, first + sent, count - sent)
                        return
                    piece = file.read(min(65536, count - sent))
                    self.wfile.write(piece)
                    sent += len(piece)
                    if name.endswith(".qcow2"):
                        outer.begun.set()
                        if outer.cut_after and sent >= outer.cut_after:
                            outer.cut_after = None
                            self.close_connection = True
                            self.connection.close()
                            return
                        if outer.rate:
                            time.sleep(len(piece) / outer.rate)

        class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
            daemon_threads = True
            request_queue_size = 64

            def handle_error(self, *_):
                pass

        self.server = Server((DESK, 0), Handler)
        self.url = "http://%s:%d/" % (DESK, self.server.server_address[1])
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class Play:
    """What one ansible-playbook did: exit code, output, and the recap's numbers of each PC."""

    def __init__(self, words, code, output, seconds):
        self.words, self.code, self.output, self.seconds = words, code, output, seconds
        self.recap = {}
        for line in self.output.splitlines():
            found = re.match(r"(\S+)\s+: (ok=.*)", line)
            if found:
                numbers = dict(word.split("=") for word in found.group(2).split())
                self.recap[found.group(1)] = {name: int(value) for name, value in numbers.items()}

    def __str__(self):
        return "%s: exit code %d\n%s" % (" ".join(map(str, self.words)), self.code, self.output)


class Rig:
    """The desk of a test with its lab, and PCs. Where FLEET_RECAPS names a folder, NAME.txt there has the recap of each play."""

    def __init__(self, name=None):
        self.recaps = pathlib.Path(os.environ["FLEET_RECAPS"], name + ".txt") if name and os.environ.get("FLEET_RECAPS") else None
        if self.recaps:
            self.recaps.parent.mkdir(parents=True, exist_ok=True)
            self.recaps.unlink(missing_ok=True)
        # Short, because paths of sockets are; seen by users without root.
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="fleet-", dir="/var/tmp"))
        atexit.register(self.close)
        os.chmod(self.folder, 0o755)
        self.key = self.folder / "key"
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.key)
        self.nothing = self.folder / "nothing"
        self.nothing.touch(mode=0o644)
        for name in ("passwd", "group", "shadow"):
            line = {"passwd": "%s:x:%d:%d::/home/%s:/bin/bash" % (USER, UID, UID, USER), "group": "%s:x:%d:" % (USER, UID),
                    "shadow": "%s:*:19000::::::" % USER}[name]
            text = pathlib.Path("/etc", name).read_text(encoding="utf-8")
            (self.folder / name).write_text(text + line + "\n", encoding="utf-8")
        group = re.search(r"(?m)^crontab:[^:]*:(\d+)", (self.folder / "group").read_text(encoding="utf-8"))
        self.crontab_group = int(group.group(1))
        hosts = ["127.0.0.1 localhost", DESK + " desk"]
        hosts += ["%s%d pc-b-%02d.%s" % (NET, 10 + number, number, DOMAIN) for number in range(1, 31)]
        (self.folder / "hosts").write_text("\n".join(hosts) + "\n", encoding="utf-8")
        (self.folder / "ssh_config").write_text(
            "Host *\n  User %s\n  IdentityFile %s\n  IdentitiesOnly yes\n  StrictHostKeyChecking no\n  UserKnownHostsFile /dev/null\n"
            "  LogLevel ERROR\n  ConnectTimeout 3\n  ServerAliveInterval 3\n  ServerAliveCountMax 3\n  BatchMode yes\n" % (USER, self.key), encoding="utf-8")
        # The desk's own, in this process's mount namespace.
        run("mount", "--bind", self.folder / "hosts", "/etc/hosts")
        self.pcs = []
        # All that plays have shown.
        self.shown = ""
        self.lab = self.folder / "lab"
        (self.lab / "secrets").mkdir(parents=True, mode=0o700)
        secret = self.lab / "secrets/root-password"
        secret.write_text("correct horse\n", encoding="utf-8")
        os.chmod(secret, 0o600)
        self.publish = self.folder / "www"
        self.publish.mkdir()
        self.web = WebServer(self.publish)
        self.environment = {
            "PATH": "%s:%s:%s" % (PROGRAMS, VENV / "bin", os.environ["PATH"]), "HOME": str(self.folder / "desk-home"), "LANG": "C.UTF-8",
            "ANSIBLE_HOME": str(self.folder / "desk-home/ansible"), "ANSIBLE_CONFIG": str(self.lab / "ansible.cfg"),
            "TMPDIR": str(self.folder), "PYTHONDONTWRITEBYTECODE": "1"}
        (self.folder / "desk-home").mkdir()
        (self.lab / "ansible.cfg").write_text(
            "[defaults]\nforks = 50\nnocolor = true\ntimeout = 5\nforce_valid_group_names = ignore\n[inventory]\nany_unparsed_is_failed = true\n"
            "[ssh_connection]\nssh_args = -F %s -o ControlMaster=auto -o ControlPersist=60s\nretries = 0\n"
            % (self.folder / "ssh_config"), encoding="utf-8")

    def close(self):
        atexit.unregister(self.close)
        # Connections that Ansible keeps open for its next play.
        for socket in self.folder.glob("desk-home/**/cp/*"):
            subprocess.run(["ssh", "-o", "ControlPath=%s" % socket, "-O", "exit", "x"], capture_output=True)
        for pc in self.pcs:
            pc.power_off()
            if pc.group:
                pc.group.rmdir()
        self.web.close()
        if (self.folder / "cgroup").exists():
            run("umount", self.folder / "cgroup")
        subprocess.run(["umount", "/etc/hosts"], check=True)
        shutil.rmtree(self.folder)

    def control_group(self, number):
        """A control group of a PC's own; its manager makes more of them below."""
        mount = self.folder / "cgroup"
        if not mount.exists():
            mount.mkdir()
            if subprocess.run(["mount", "-t", "cgroup2", "cgroup2", mount], capture_output=True).returncode:
                mount.rmdir()
                raise unittest.SkipTest("no control group can be made here: it needs real root")
        group = mount / ("%s-%d" % (self.folder.name, number))
        group.mkdir()
        return group

    def pc(self, **more):
        pc = PC(self, len(self.pcs) + 1, **more)
        self.pcs.append(pc)
        return pc.boot()

    def base(self, content=1, size=3):
        """A base of so many MiB, and its manifest: a real qcow2. Returns its digest."""
        raw, image = self.folder / "raw", self.lab / "base.qcow2"
        with open(raw, "wb") as file:
            block = hashlib.sha256(str(content).encode()).digest()
            for number in range(size * 16):
                file.write(b"".join(hashlib.sha256(block + b"%d" % (number * 2048 + n)).digest() for n in range(2048)))
        image.unlink(missing_ok=True)
        run("qemu-img", "convert", "-O", "qcow2", raw, image)
        raw.unlink()
        data = image.read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        contract = re.search(r"pub const CONTRACT: u32 = (\d+)", "".join(
            path.read_text(encoding="utf-8") for path in (ROOT / "firstboot/src/contract/seed").glob("*.rs"))).group(1)
        manifest = {"image": {"sha256": digest, "bytes": len(data), "virtual_bytes": size << 20},
                    "firstboot": {"version": "0.2.0", "contract": int(contract)}}
        (self.lab / "base.manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
        (self.lab / "base.qcow2.sha256").write_text("%s  base.qcow2\n" % digest, encoding="utf-8")
        return digest

    def write_lab(self, count=1, room="", vms="", defaults="", memory="512M", disk="2G"):
        """lab.yaml with PCs pc-b-01 to `count`, and vm101 … on them unless `vms` says otherwise."""
        names = "pc-b-[01:%02d]" % count if count > 1 else "pc-b-01"
        machines = "vm[101:%d]" % (100 + count) if count > 1 else "vm101"
        text = ("plugin: imgbuild.lab.lab\ndomain: %s\ndefaults:\n  memory: %s\n  disk: %s\n"
                "  root_password_file: secrets/root-password\n  ssh_password: true\n%s"
                "hosts:\n  room-b:\n    pcs:\n      - %s.%s\n    memory: 4G\n    cores: 4\n    network: user\n%s"
                "vms:\n%s" % (DOMAIN, memory, disk, defaults, names, DOMAIN, room, vms or "  - name: %s\n    host: %s\n" % (machines, names)))
        (self.lab / "lab.yaml").write_text(text, encoding="utf-8")

    def published(self):
        """The room's line for where the base is served, which it is then: under its digest, without a torrent."""
        image = self.lab / "base.qcow2"
        shutil.copy(image, self.publish / (hashlib.sha256(image.read_bytes()).hexdigest() + ".qcow2"))
        return "    base_url: %s\n" % self.web.url

    def published_with_torrent(self):
        """The same by `imgbuild lab publish`."""
        self.write_lab()
        self.imgbuild("lab", "publish", self.publish, "--url", self.web.url)
        return "    base_url: %s\n" % self.web.url

    # A cluster whose peer never answers; a ticket of a file is taken as it is then.
    CLUSTER = ("  cluster:\n    peers:\n      - address: 10.77.0.99\n        fingerprint: \"%s\"\n    join: ticket\n"
               % ":".join(["AB"] * 32))

    def ticket(self):
        """A file with a ticket of now."""
        file = self.folder / "ticket"
        file.write_text("PVE:root@pam:%08X::%s\n" % (int(time.time()), "QUJD" * 80), encoding="ascii")
        os.chmod(file, 0o600)
        return file

    def member(self, code, words):
        """Words with which imgbuild has a member of CLUSTER, which takes the password of a vault, says this of the quorum, and gives tickets.
        It stands between Ansible and imgbuild, whose own tests have a member that speaks."""
        program, vault = self.folder / "imgbuild", self.folder / "vault.yml"
        (self.folder / "quorum").write_text(words + "\n", encoding="utf-8")
        vault.write_text("imgbuild_program: %s\nimgbuild_cluster_password: hunter2\n" % program, encoding="utf-8")
        program.write_text("""#!/bin/sh
number=$# asks=
while [ $number -gt 0 ]; do
    if [ "$1" = --password-stdin ]; then asks=1; set -- "$@" --ticket-file %(ticket)s; else set -- "$@" "$1"; fi
    shift
    number=$((number - 1))
done
if [ -n "$asks" ]; then
    read -r password
    [ "$password" = hunter2 ] || exit 9
    case "$*" in
        "lab quorum"*) cat %(folder)s/quorum; exit %(code)d ;;
    esac
fi
exec %(imgbuild)s "$@"
""" % {"ticket": self.ticket(), "folder": self.folder, "code": code, "imgbuild": PROGRAMS / "imgbuild"}, encoding="utf-8")
        program.chmod(0o755)
        return "-e", "@%s" % vault

    def imgbuild(self, *words):
        done = subprocess.run([str(PROGRAMS / "imgbuild"), *map(str, words)], cwd=self.lab, env=self.environment, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=60)
        if done.returncode:
            raise AssertionError("imgbuild %s: %d\n%s%s" % (" ".join(map(str, words)), done.returncode, done.stdout, done.stderr))
        return done.stdout

    def command(self, play, *words):
        return [str(VENV / "bin/ansible-playbook"), "-i", "lab.yaml", "imgbuild.lab." + play, *map(str, words)]

    def ansible(self):
        """Ansible's environment, with the collection."""
        return {**self.environment, "ANSIBLE_COLLECTIONS_PATH": str(collections())}

    def start_play(self, play, *words):
        process = subprocess.Popen(self.command(play, *words), cwd=self.lab, env=self.ansible(), stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        process.begun = time.monotonic()
        return process

    def play(self, play, *words, seconds=300):
        return self.finish(self.start_play(play, *words), seconds)

    def finish(self, process, seconds=300):
        """Waits for a play."""
        output, _ = process.communicate(timeout=seconds)
        result = Play(process.args, process.returncode, output, time.monotonic() - process.begun)
        self.shown += result.output
        if os.environ.get("FLEET_SHOW"):
            print(result, flush=True)
        if self.recaps:
            with open(self.recaps, "a", encoding="utf-8") as file:
                recap = result.output.partition("\nPLAY RECAP ")[2].partition("\n")[2].strip()
                file.write("$ ansible-playbook %s\n%s\nexit code %d, %.1f s\n\n"
                           % (" ".join(process.args[1:]), recap or "no PC took part", result.code, result.seconds))
        return result


COLLECTIONS = None


def collections():
    """The collection, built and installed once as its users do."""
    global COLLECTIONS
    if COLLECTIONS is None:
        folder = tempfile.TemporaryDirectory(prefix="fleet-collections-")
        unittest.addModuleCleanup(folder.cleanup)
        environment = dict(os.environ, ANSIBLE_HOME=folder.name + "/home", HOME=folder.name)
        galaxy = [str(VENV / "bin/ansible-galaxy"), "collection"]
        run(*galaxy, "build", ROOT / "fleet", "--output-path", folder.name, env=environment, capture_output=True)
        archive = next(pathlib.Path(folder.name).glob("imgbuild-lab-*.tar.gz"))
        run(*galaxy, "install", "--offline", archive, "-p", folder.name + "/installed", env=environment, capture_output=True)
        COLLECTIONS = folder.name + "/installed"
    return COLLECTIONS


def wait_for(what, seconds=120, pause=0.05):
    """Polls until `what()` is true; the time limit is only there so that a test ends."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = what()
        if value:
            return value
        time.sleep(pause)
    raise AssertionError("it did not happen within %d s" % seconds)


class FleetCase(unittest.TestCase):
    """A desk and its PCs for each test."""

    maxDiff = None

    def setUp(self):
        self.rig = Rig(self.id())
        self.addCleanup(self.rig.close)

    def good(self, play):
        self.assertEqual(0, play.code, str(play))
        return play

    def fails(self, play, words):
        """It ends with another exit code than 0, and says this."""
        self.assertNotEqual(0, play.code, str(play))
        self.assertIn(words, " ".join(play.output.split()), str(play))

    def assert_recap(self, play, pc, **numbers):
        self.assertIn(pc.name, play.recap, str(play))
        found = {name: play.recap[pc.name][name] for name in numbers}
        self.assertEqual(numbers, found, str(play))
