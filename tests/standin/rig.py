"""Several stand-in nodes on this machine, and the transcripts of the real ones.

Each node is a root folder and an address of the loopback; nothing needs to be root.
"""

import glob
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
USR = os.path.join(HERE, "files/usr")
TRANSCRIPTS = os.path.join(HERE, "transcripts")
# Tests in parallel must not share addresses.
NET = "127.%d.%d." % (200 + os.getpid() % 50, os.getpid() // 50 % 250)
PASSWORD = "example-secret"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def transcript(name, number=0):
    """Exit code and output of one block of a file in transcripts/."""
    with open(os.path.join(TRANSCRIPTS, name + ".txt"), encoding="utf-8") as file:
        block = re.split(r"\n\n(?=# )", file.read())[number]
    header, output = [], []
    for line in block.splitlines(keepends=True):
        (header if line.startswith("# ") and not output else output).append(line)
    code = int(re.search(r"# exit code: (\d+)", "".join(header)).group(1))
    return code, "".join(output)


def normal(text):
    """Replaces what differs from run to run; transcripts/README.md names each."""
    for net in ("10.99.0.", "10.120.0.", "192.168.122.", NET):
        text = text.replace(net, "NET.")
    text = text.replace(".lab.example.org", ".lab.test")
    text = re.sub(r"pvecertreq-\d+\.tmp", "pvecertreq-NUMBER.tmp", text)
    text = re.sub(r"(?:[0-9A-F]{2}:){31}[0-9A-F]{2}", "FINGERPRINT", text)
    text = re.sub(r"config-\d+\.sql\.gz", "config-TIME.sql.gz", text)
    text = re.sub(r"(NET\.\d+):\d+", r"\1:PORT", text)
    text = re.sub(r"(?m)^(Date: +).*$", r"\1DATE", text)
    text = re.sub(r"(?m)^(Ring ID: +).*$", r"\1RING", text)
    text = re.sub(r'(?m)^"version": [1-9]\d*', '"version": VIEW', text)
    return text.rstrip("\n") + "\n"


def block(name, number=0):
    """Output of a block whose command had several parts: without what cannot be the same.

    That is what ls and the journal say, the order of the nodes of .members, the numbers
    of versions (the real cluster had another past) and empty lines.
    """
    return essence(transcript(name, number)[1])


def essence(text):
    text = re.sub(r"(?m)^(Config Version: +)\d+", r"\1VERSION", normal(text))
    text = re.sub(r'("name": "\w+", "version": )\d+', r"\1VERSION", text)
    text = re.sub(r"config_version: \d+", "config_version: VERSION", text)
    text = re.sub(r"UPID:(\w+):[0-9A-F:]+:(cluster\w+:[^:]*:root@pam:)(?: [0-9A-F]+\b)?", r"UPID:\1:NUMBERS:\2", text)
    lines, nodes = [], []
    for line in text.splitlines():
        if re.match(r"(total \d+$|[-dlrwx]{10}|/[\w./-]+:$|ls: |\w{3} \d\d \d\d:\d\d:\d\d |\d\d:\d\d:\d\d\.|# )", line) or not line.strip():
            continue
        if re.match(r'  "\w+": \{ "id"', line):
            nodes.append(line.rstrip(","))
            continue
        lines += sorted(nodes) + [line.rstrip()]
        nodes = []
    return lines


class Node:
    def __init__(self, rig, name, last, hosts=None):
        self.rig, self.name, self.address = rig, name, NET + str(last)
        self.root = os.path.join(rig.folder, "%s-%d" % (name, last))
        for folder in ("etc/ssh", "root/.ssh", "run/pve-standin", "var/lock"):
            os.makedirs(os.path.join(self.root, folder))
        self.write("/etc/shadow", "root:%s:20000:0:99999:7:::\n" % rig.password_hash)
        self.write("/etc/ssh/ssh_host_rsa_key.pub", "ssh-rsa AAAA%s root@%s\n" % (name, name))
        self.hosts(hosts or "%s %s.lab.test %s\n" % (self.address, name, name))
        self.environment = dict(os.environ, **dict({
            "PVE_STANDIN_ROOT": self.root, "PVE_STANDIN_NODE": name, "PVE_STANDIN_NET": NET,
            "PVE_STANDIN_ADDRESSES": self.address, "PVE_STANDIN_API_ADDRESS": self.address,
            "PVE_STANDIN_API_PORT": str(rig.api_port), "PVE_STANDIN_LINK_PORT": str(rig.link_port),
            "PVE_STANDIN_NO_FSYNC": "1", "PVE_STANDIN_AUTH_DELAY": "0.1", "PVE_STANDIN_LOCK_TIMEOUT": "0.5",
            "PVE_STANDIN_BEAT": "0.1", "PVE_STANDIN_SILENCE": "4", "PVE_STANDIN_POLL": "0.1",
            "PVE_STANDIN_UPDATECERTS_WAIT": "0.5"}, **rig.settings))

    def path(self, name):
        return self.root + name

    def write(self, name, text):
        os.makedirs(os.path.dirname(self.path(name)), exist_ok=True)
        with open(self.path(name), "w", encoding="utf-8") as file:
            file.write(text)

    def read(self, name):
        with open(self.path(name), encoding="utf-8") as file:
            return file.read()

    def peek(self, name):
        """A file that may not be there yet, or not at this moment."""
        try:
            return self.read(name)
        except FileNotFoundError:
            return ""

    def switch(self, **switches):
        """Sets the switches of this node, and no others; see switches.py."""
        self.write("/etc/pve-standin/switches", json.dumps(switches))

    def outputs(self, *commands):
        """What a line of commands prints: a file, or a program with its exit code after it."""
        parts = []
        for words in commands:
            if len(words) == 1:
                parts.append(self.read(words[0]))
            else:
                code, text = self.run(*words)
                parts.append("%src=%d\n" % (text, code))
        return "\n".join(parts)

    def exists(self, name):
        return os.path.lexists(self.path(name))

    def hosts(self, text):
        self.write("/etc/hosts", "127.0.0.1 localhost\n" + text)

    def command(self, program, *words):
        folder = "sbin" if program.startswith("corosync") or program == "ha-manager" else "bin"
        return [sys.executable, os.path.join(USR, folder, program), *words]

    def run(self, program, *words, stdin="", cwd=None):
        """Exit code and output, both streams in one, as the transcripts have them."""
        done = subprocess.run(self.command(program, *words), input=stdin, env=self.environment, cwd=cwd,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120)
        return done.returncode, done.stdout

    def perl(self, program, *modules):
        """What a Perl program prints that uses the stand-in's modules."""
        environment = dict(self.environment, PERL5LIB=os.path.join(USR, "share/perl5"))
        return subprocess.run(["perl", *["-M" + module for module in modules], "-e", program], env=environment, check=True,
                              capture_output=True, text=True, timeout=60).stdout

    def start_add(self, peer):
        """A `pvecm add` in the background, with its password."""
        process = self.spawn("pvecm", "add", peer.address, "--fingerprint", peer.fingerprint(), "--link0", self.address)
        process.stdin.write(PASSWORD + "\n")
        process.stdin.flush()
        return process

    def spawn(self, program, *words):
        return subprocess.Popen(self.command(program, *words), env=self.environment, stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def service(self, verb, *units):
        code = "import sys; from pvestandin import services; services.systemctl(*sys.argv[1:])"
        subprocess.run([sys.executable, "-c", code, verb, *units], check=True, cwd=self.root,
                       env=dict(self.environment, PYTHONPATH=os.path.join(USR, "lib/pve-standin")))

    def boot(self):
        """What the units do, in their order; pveproxy's unit runs updatecerts first."""
        self.service("start", "pve-cluster", "corosync")
        self.run("pvecm", "updatecerts", "--silent")
        self.service("start", "pvedaemon", "pveproxy")
        return self

    def shut_down(self):
        for unit in ("pveproxy", "pvedaemon", "corosync", "pve-cluster"):
            self.service("stop", unit)

    def fingerprint(self):
        text = subprocess.run(
            ["openssl", "x509", "-noout", "-fingerprint", "-sha256", "-in", self.path("/etc/pve/local/pve-ssl.pem")],
            check=True, capture_output=True, text=True).stdout
        return text.strip().partition("=")[2]

    def add(self, peer, *more, password=PASSWORD, link=True, pin=True, stdin=None, cwd=None):
        """`pvecm add`, with the pinned fingerprint and --link0 unless told otherwise."""
        words = ["add", peer.address]
        if pin:
            words += ["--fingerprint", peer.fingerprint()]
        if link:
            words += ["--link0", self.address]
        return self.run("pvecm", *words, *more, stdin=password + "\n" if stdin is None else stdin, cwd=cwd)


class Rig:
    def __init__(self, **settings):
        # More of PVE_STANDIN_*, for all nodes.
        self.settings = {"PVE_STANDIN_" + name: str(value) for name, value in settings.items()}
        self.folder = tempfile.mkdtemp(prefix="standin-")
        self.api_port, self.link_port = free_port(), free_port()
        self.password_hash = subprocess.run(
            ["openssl", "passwd", "-6", "-stdin"], input=PASSWORD + "\n", check=True, capture_output=True,
            text=True).stdout.strip()
        self.nodes = []

    def node(self, name, last, hosts=None):
        node = Node(self, name, last, hosts)
        self.nodes.append(node)
        return node

    def creator(self):
        """The first node of a cluster, alpha."""
        alpha = self.node("alpha", 11).boot()
        alpha.run("pvecm", "create", "labcluster", "--link0", alpha.address)
        return alpha

    def close(self):
        for node in self.nodes:
            node.shut_down()
        # Workers of pvecm have a session of their own, and outlive a pvecm that was killed.
        for environment in glob.glob("/proc/[0-9]*/environ"):
            try:
                with open(environment, "rb") as file:
                    if os.fsencode("PVE_STANDIN_ROOT=" + self.folder + "/") in file.read():
                        os.kill(int(environment.split("/")[2]), signal.SIGKILL)
            except (OSError, ProcessLookupError):
                pass
        shutil.rmtree(self.folder)


def wait_for(what, seconds=120):
    """Polls until `what()` is true; the time limit is only there so that a test ends."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = what()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError("it did not happen within %d s" % seconds)


def quorate(node):
    return '"quorate": 1' in node.peek("/etc/pve/.members")


def online(node, name):
    """Whether a node shows another as online in its .members."""
    return any('"%s"' % name in line and '"online": 1' in line for line in node.peek("/etc/pve/.members").splitlines())


class Case(unittest.TestCase):
    maxDiff = None

    def same(self, got, name, number=0):
        """Compares exit code and output with a transcript."""
        code, text = transcript(name, number)
        self.assertEqual(normal(text), normal(got[1]))
        self.assertEqual(code, got[0])

    def last_task(self, node):
        return node.read("/var/log/pve/tasks/index").splitlines()[-1].split(" ", 2)[2]

    def untouched(self, node):
        """Nothing of a refused join is left."""
        self.assertFalse(node.exists("/etc/corosync/authkey"))
        self.assertFalse(node.exists("/etc/corosync/corosync.conf"))
        self.assertFalse(node.exists("/etc/pve/corosync.conf"))


class ClusterCase(Case):
    """A cluster of one node, alpha, for each test."""

    SETTINGS = {}

    def setUp(self):
        self.rig = Rig(**self.SETTINGS)
        self.addCleanup(self.rig.close)
        self.alpha = self.rig.creator()
        wait_for(lambda: quorate(self.alpha))
