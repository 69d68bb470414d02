#!/usr/bin/python3
"""Measures what Ansible's controller needs for each host and each task.

    tests/scale/controller.py [--hosts N,N,N] [--forks N] [--record]

Needs root, sshd, and ansible-playbook in PATH. One sshd in a network namespace of its own answers at as many loopback
addresses as there are hosts, so that each host has its own ssh connection, kept open as Ansible does by default.
Only the controller's own processes are counted (ansible-playbook, its workers, and ssh), not what runs on the "PCs".
Three kinds of tasks are run, once and three times, with one host, with few and with many: the differences are what one
task and one host cost, and how long a task takes where nothing else is done. With --record it goes into measured.json,
from which scale.py makes its figures for 3,000.
"""

import argparse
import contextlib
import ctypes
import os
import pathlib
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import measured

PORT = 2222
# What deploy's tasks are like: one that is done on the controller alone, as is one that is skipped; a module that runs
# on the PC; and a file that is copied there.
TASKS = {
    "here": "ansible.builtin.set_fact: {one: 'two'}",
    "module": "ansible.builtin.command: 'true'",
    "copy": "ansible.builtin.copy: {src: seed.img, dest: '%s/{{ inventory_hostname }}.{{ item }}', mode: '0600'}",
}
FEW, MANY = 1, 3
PR_SET_CHILD_SUBREAPER = 36
LIMIT = 900


def address(number):
    return "127.1.%d.%d" % (number // 250, number % 250 + 1)


def sshd(folder, namespace):
    """An sshd that is no child of this program, so that its processor time is not counted."""
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    os.makedirs("/run/sshd", exist_ok=True)
    (folder / "sshd_config").write_text(
        "Port %d\nListenAddress 0.0.0.0\nHostKey %s/host\nAuthorizedKeysFile %s/user.pub\nPidFile none\n"
        "StrictModes no\nUsePAM no\nPermitRootLogin yes\nMaxStartups 1000\nMaxSessions 100\nLogLevel ERROR\n"
        "Subsystem sftp internal-sftp\n" % (PORT, folder, folder), encoding="utf-8")
    subprocess.run(["ip", "netns", "exec", namespace, shutil.which("sshd"), "-f", str(folder / "sshd_config")], check=True)


def remove(namespace):
    """With all that still runs in it: connections that are kept open, and what answers them."""
    for pid in subprocess.run(["ip", "netns", "pids", namespace], capture_output=True, text=True, check=True).stdout.split():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)
    subprocess.run(["ip", "netns", "del", namespace], check=True)


def inventory(folder, hosts):
    lines = ["[all:vars]", "ansible_port=%d" % PORT, "ansible_user=root", "ansible_ssh_private_key_file=%s/user" % folder,
             "ansible_python_interpreter=/usr/bin/python3", "[all]"]
    lines += ["pc%d ansible_host=%s" % (number, address(number)) for number in range(hosts)]
    (folder / "inventory").write_text("\n".join(lines) + "\n", encoding="utf-8")


def playbook(folder, kind, times):
    task = TASKS[kind]
    if kind == "copy":
        task %= folder / "pcs"
    tasks = "".join("    - name: Task %d\n      vars: {item: %d}\n      %s\n" % (number, number, task) for number in range(times))
    (folder / "play.yml").write_text("- hosts: all\n  gather_facts: false\n  tasks:\n" + tasks, encoding="utf-8")


def below(parent):
    """All processes below one, with their kind: the playbook itself, a worker of it, or an ssh."""
    children = {}
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            text = stat.read_text(encoding="utf-8", errors="replace")
            children.setdefault(int(text.rpartition(")")[2].split()[1]), []).append(
                (int(stat.parent.name), text[text.index("(") + 1:text.rindex(")")]))
    found, wait = [], [parent]
    while wait:
        for pid, name in children.get(wait.pop(), []):
            found.append((pid, name))
            wait.append(pid)
    return found


def memory(pid, field):
    """Kilobytes, of a process that may have ended by now."""
    try:
        text = pathlib.Path("/proc/%d/smaps_rollup" % pid).read_text(encoding="ascii")
    except OSError:
        return 0
    return int(re.search(r"^%s:\s+(\d+)" % field, text, re.MULTILINE).group(1))


def play(folder, namespace, hosts, forks):
    """Runs the playbook: seconds, the controller's processor seconds, and its memory in MB at the highest."""
    environment = {**os.environ, "ANSIBLE_HOST_KEY_CHECKING": "false", "ANSIBLE_PIPELINING": "true", "ANSIBLE_HOME": str(folder / "home"),
                   "ANSIBLE_SSH_CONTROL_PATH_DIR": str(folder / "cp"),
                   "ANSIBLE_SSH_ARGS": "-o ControlMaster=auto -o ControlPersist=60s -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR",
                   "ANSIBLE_NOCOLOR": "true", "LC_ALL": "C.UTF-8"}
    used, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    peak = {"playbook": 0, "worker": 0, "ssh": 0}
    with open(folder / "output", "wb") as output:
        process = subprocess.Popen(
            ["ip", "netns", "exec", namespace, "ansible-playbook", "--forks", str(forks), "-i", str(folder / "inventory"),
             str(folder / "play.yml")], stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, env=environment)
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(1)
                break
            if time.monotonic() - begun > LIMIT:
                process.kill()
                raise RuntimeError("the playbook took more than %d s" % LIMIT)
            family = below(process.pid)
            masters = [pid for pid, name in below(os.getpid()) if name == "ssh"]
            # By what is their own, for workers share most with the playbook that they came from.
            peak["playbook"] = max(peak["playbook"], memory(process.pid, "Pss"), memory(process.pid, "Rss"))
            workers = [memory(pid, "Private_Dirty") for pid, name in family if name.startswith("ansible")]
            peak["worker"] = max(peak["worker"], sum(workers) / max(1, min(forks, len(workers))))
            sample = [memory(pid, "Pss") for pid in masters[:20]]
            peak["ssh"] = max(peak["ssh"], sum(sample) / max(1, len(sample)))
    seconds = time.monotonic() - begun
    text = (folder / "output").read_text(encoding="utf-8", errors="replace")
    good = len(re.findall(r"^pc\d+ +: ok=\d+ .*unreachable=0 +failed=0", text, re.MULTILINE))
    if process.returncode or good != hosts:
        raise RuntimeError("ansible-playbook: exit code %d, %d of %d hosts\n%s" % (process.returncode, good, hosts, text[-2000:]))
    # Connections that were kept open have become this program's children: they count when they have ended.
    for pid, name in below(os.getpid()):
        if name == "ssh":
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGTERM)
    with contextlib.suppress(ChildProcessError):
        while True:
            os.wait()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime
    return {"seconds": round(seconds, 1), "cpu": round(cpu, 1), **{name: round(kb / 1024, 1) for name, kb in peak.items()}}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--hosts", default="1,15,45", help="one, few and many")
    parser.add_argument("--forks", type=int, default=50)
    parser.add_argument("--record", action="store_true")
    options = parser.parse_args()
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    missing = [name for name in ("ansible-playbook", "ssh", "sshd", "ip") if not shutil.which(name)]
    if missing:
        sys.exit("controller.py: not in PATH: " + ", ".join(missing))
    if os.geteuid():
        sys.exit("controller.py: it makes a network namespace\n  right: run it as root")
    measured.stop_once()
    version = re.search(r"core ([\d.]+)", subprocess.run(["ansible-playbook", "--version"], capture_output=True, text=True,
                                                         check=True).stdout).group(1)
    runs = []
    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(tempfile.mkdtemp(prefix="controller-", dir="/var/tmp"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        namespace = "scale%d" % os.getpid()
        subprocess.run(["ip", "netns", "add", namespace], check=True)
        stack.callback(remove, namespace)
        subprocess.run(["ip", "-n", namespace, "link", "set", "lo", "up"], check=True)
        sshd(folder, namespace)
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        (folder / "pcs").mkdir()
        # As large as a seed disk.
        (folder / "seed.img").write_bytes(os.urandom(1 << 20))
        for hosts in map(int, options.hosts.split(",")):
            inventory(folder, hosts)
            for kind in TASKS:
                for times in (FEW, MANY):
                    playbook(folder, kind, times)
                    shutil.rmtree(folder / "pcs")
                    (folder / "pcs").mkdir()
                    runs.append({"hosts": hosts, "kind": kind, "tasks": times, "forks": options.forks,
                                 **play(folder, namespace, hosts, options.forks)})
                    print("{hosts:4} hosts, {tasks} x {kind:6}: {seconds:6} s, {cpu:6} s of the controller's CPU; MB: playbook {playbook}, "
                          "each worker {worker}, each ssh {ssh}".format(**runs[-1]), flush=True)
    if options.record:
        measured.record("controller", {"date": time.strftime("%Y-%m-%d"), "cores": os.cpu_count(), "ansible": version, "runs": runs})


if __name__ == "__main__":
    main()
