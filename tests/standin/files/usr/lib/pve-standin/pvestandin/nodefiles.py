"""`pvecm updatecerts`: the files of a node below /etc/pve, its certificate, root's ssh."""

import os
import shutil
import signal
import subprocess
import sys

from . import api, certs, env, ipc, switches

FOLDERS = ("priv", "priv/acme", "priv/lock", "firewall", "ha", "mapping", "nodes", "sdn", "virtual-guest")
# A node of this name gets its authority and certificate from here instead of new ones,
# so that a test knows the fingerprint before the machine boots.
PRESET = "/usr/share/pve-standin/preset"
AUTHORIZED_KEYS = "/etc/pve/priv/authorized_keys"
SSH_CONFIG = ("Ciphers aes128-ctr,aes192-ctr,aes256-ctr,aes128-gcm@openssh.com,aes256-gcm@openssh.com,"
              "chacha20-poly1305@openssh.com\n")
HOST_KEY = "/etc/ssh/ssh_host_rsa_key.pub"


def pve(name):
    return env.path("/etc/pve/" + name)


def sync():
    """Tells pmxcfs that files were written; returns its state."""
    return ipc.call(env.run("pmxcfs.sock"), {"op": "sync"}, 120)


def make_folders(node):
    for folder in FOLDERS:
        os.makedirs(pve(folder), exist_ok=True)
    api.make_node_folders(node)
    if not os.path.exists(pve("vzdump.cron")):
        env.write(pve("vzdump.cron"), "# stand-in for tests: no backup job\n", 0o640)


def make_certificates(node, address, force, cut):
    preset = env.path("%s/%s" % (PRESET, node))
    if not os.path.exists(pve("authkey.pub")):
        certs.make_key_pair(pve("priv/authkey.key"), pve("authkey.pub"))
    if not os.path.exists(pve("pve-www.key")):
        certs.make_key_pair(pve("pve-www.key"))
    if not os.path.exists(pve("pve-root-ca.pem")):
        if os.path.isdir(preset):
            shutil.copyfile(preset + "/pve-root-ca.key", pve("priv/pve-root-ca.key"))
            shutil.copyfile(preset + "/pve-root-ca.pem", pve("pve-root-ca.pem"))
        else:
            certs.make_ca(pve("pve-root-ca.pem"), pve("priv/pve-root-ca.key"))
    pem, key = pve("nodes/%s/pve-ssl.pem" % node), pve("nodes/%s/pve-ssl.key" % node)
    if not os.path.exists(key):
        make_node_key(key, preset + "/pve-ssl.key", cut)
    if force or not os.path.exists(pem):
        if os.path.isdir(preset):
            shutil.copyfile(preset + "/pve-ssl.pem", pem)
        else:
            refuse_unusable(node, address, key)
            certs.make_node(pem, key, pve("pve-root-ca.pem"), pve("priv/pve-root-ca.key"),
                            names(node), [address])


def make_node_key(key, preset, cut):
    """As `openssl genrsa -out` does it, which makes the file first: what ends there leaves it empty."""
    if switches.wants("die_at", "empty-key"):
        env.write(key, "", 0o640)
        sync()
        cut("empty-key")
    if os.path.exists(preset):
        shutil.copyfile(preset, key)
    else:
        certs.make_key_pair(key, mode=0o640)


def refuse_unusable(node, address, key):
    """A key that is there is never made anew, whatever is in it; RuntimeError has the real one's words."""
    if certs.is_key(key):
        return
    shown = "/etc/pve/nodes/%s/pve-ssl.key" % node
    alternative = certs.alternative_names(names(node), [address])
    print("Could not find private key from " + shown, file=sys.stderr, flush=True)
    raise RuntimeError(
        "unable to generate pve certificate request:\ncommand 'openssl req -batch -new -key %s -out"
        " /run/pve-cluster/pvecertreq-%d.tmp -subj '%s' -addext 'basicConstraints=CA:FALSE'"
        " -addext 'extendedKeyUsage=serverAuth' -addext 'subjectAltName=%s'' failed: exit code 1"
        % (shown, os.getpid(), certs.NODE_SUBJECT + names(node)[-1], alternative))


def end_here(name):
    """A death in the middle of `updatecerts`."""
    if switches.strike("die_at", name):
        os.kill(os.getpid(), signal.SIGKILL)


def names(node):
    """The short name and, last, the full one of /etc/hosts."""
    try:
        with open(env.path("/etc/hosts"), encoding="utf-8") as lines:
            for line in lines:
                words = line.split("#", 1)[0].split()
                if node in words[1:]:
                    full = [word for word in words[1:] if word.startswith(node + ".")]
                    return [node] + full[:1]
    except OSError:
        pass
    return [node]


def setup_root_ssh(node):
    """Root's key, and authorized_keys as a link into /etc/pve, as on every node."""
    folder = env.path("/root/.ssh")
    os.makedirs(folder, mode=0o700, exist_ok=True)
    key = folder + "/id_rsa"
    if not os.path.exists(key) and shutil.which("ssh-keygen"):
        # Ed25519 in spite of the name: 4096 bits of RSA take minutes on an emulated processor.
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "root@" + node, "-f", key],
                       stdin=subprocess.DEVNULL, check=True)
    if not os.path.exists(folder + "/config"):
        env.write(folder + "/config", SSH_CONFIG, 0o640)
    own = folder + "/authorized_keys"
    shared = env.path(AUTHORIZED_KEYS)
    if not os.path.exists(shared):
        old = env.read(own) if os.path.isfile(own) else ""
        env.write(shared, old, 0o600)
    if not os.path.islink(own):
        if os.path.exists(own):
            os.rename(own, own + ".org")
        os.symlink(AUTHORIZED_KEYS, own)


def merge_ssh_keys(node, address):
    """Adds root's key and the host key of this node to the cluster's lists."""
    key = env.path("/root/.ssh/id_rsa.pub")
    if os.path.exists(key):
        _add_lines(AUTHORIZED_KEYS, [env.read(key).strip()])
    try:
        host = " ".join(env.read(env.path(HOST_KEY)).split()[:2])
    except FileNotFoundError:
        raise api.ApiError(500, "can't open '%s' - No such file or directory" % HOST_KEY)
    _add_lines("/etc/pve/priv/known_hosts", ["%s %s" % (address, host), "%s %s" % (node, host)])
    env.write(pve("nodes/%s/ssh_known_hosts" % node), "%s %s\n" % (node, host), 0o640)


def _add_lines(file, lines):
    """Appends lines that are not there yet, under the cluster-wide lock of the file."""
    with api.Lock("file-" + file.rsplit("/", 1)[1]):
        full = env.path(file)
        text = env.read(full) if os.path.exists(full) else ""
        new = [line for line in lines if line not in text.splitlines()]
        if new:
            if text and not text.endswith("\n"):
                text += "\n"
            env.write(full, text + "".join(line + "\n" for line in new), 0o600)
            sync()


def update(node, address, say, force=False, joining=False, quiet=False, cut=end_here):
    """The whole of updatecerts; `say` prints a line, `cut` ends the process where a test wants it."""
    make_folders(node)
    setup_root_ssh(node)
    if not quiet:
        say("(re)generate node files")
        if force or joining:
            say("generate new node certificate")
    make_certificates(node, address, force or joining, cut)
    if joining:
        say("merge authorized SSH keys")
    merge_ssh_keys(node, address)
    sync()
