"""Certificates: made by openssl, with elliptic curve keys because those are quick."""

import base64
import hashlib
import os
import subprocess
import tempfile

from . import env

CURVE = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-sha256"]
# The real authority lives ten years, its node certificates two.
CA_DAYS = "3650"
NODE_DAYS = "730"
NODE_SUBJECT = "/OU=PVE Cluster Node/O=Proxmox Virtual Environment/CN="


def openssl(*arguments):
    """Runs openssl; RuntimeError holds the command line and what it printed."""
    command = ["openssl", *arguments]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError("%s failed with %d: %s" % (" ".join(command), done.returncode, done.stderr.strip()))
    return done.stdout


def _configuration(folder, extensions):
    file = os.path.join(folder, "openssl.cnf")
    env.write(file, "[req]\ndistinguished_name = dn\nx509_extensions = x\nprompt = no\n[dn]\nCN = unused\n[x]\n" + extensions)
    return file


def make_ca(pem, key):
    """A new authority in the two given files."""
    unit = "%s-%s-%s-%s-%s" % tuple(os.urandom(n).hex() for n in (4, 2, 2, 2, 6))
    with tempfile.TemporaryDirectory() as folder:
        conf = _configuration(folder, "basicConstraints = critical,CA:TRUE\nsubjectKeyIdentifier = hash\n")
        new_pem, new_key = os.path.join(folder, "pem"), os.path.join(folder, "key")
        openssl("req", "-x509", *CURVE, "-config", conf, "-days", CA_DAYS,
                "-subj", "/CN=Proxmox Virtual Environment/OU=%s/O=PVE Cluster Manager CA" % unit,
                "-keyout", new_key, "-out", new_pem)
        env.write(key, env.read(new_key), 0o600)
        env.write(pem, env.read(new_pem), 0o640)


def is_key(file):
    """Whether openssl can use a private key."""
    return subprocess.run(["openssl", "pkey", "-noout", "-in", file], stdin=subprocess.DEVNULL, capture_output=True,
                          check=False).returncode == 0


def alternative_names(names, addresses):
    found = ["IP:127.0.0.1", "IP:::1", "DNS:localhost"]
    return ",".join(found + ["IP:" + address for address in addresses] + ["DNS:" + name for name in names])


def make_node(pem, key, ca_pem, ca_key, names, addresses):
    """The certificate of a node's key, signed by the authority, for all names and addresses."""
    with tempfile.TemporaryDirectory() as folder:
        conf = _configuration(
            folder, "basicConstraints = CA:FALSE\nextendedKeyUsage = serverAuth,clientAuth\n"
            "subjectAltName = %s\n" % alternative_names(names, addresses))
        new_pem = os.path.join(folder, "pem")
        openssl("req", "-x509", "-sha256", "-key", key, "-config", conf, "-days", NODE_DAYS, "-CA", ca_pem, "-CAkey", ca_key,
                "-subj", NODE_SUBJECT + names[-1], "-out", new_pem)
        env.write(pem, env.read(new_pem), 0o640)


def make_key_pair(key, public=None, mode=0o600):
    """A private key and, on demand, its public half."""
    env.write(key, openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"), mode)
    if public:
        env.write(public, openssl("pkey", "-in", key, "-pubout"), 0o640)


def fingerprint_of_der(der):
    """SHA-256 in Proxmox's form, AA:BB:…"""
    digest = hashlib.sha256(der).hexdigest().upper()
    return ":".join(digest[at:at + 2] for at in range(0, len(digest), 2))


def fingerprint(pem_file):
    body = env.read(pem_file).split("-----BEGIN CERTIFICATE-----")[1].split("-----END")[0]
    return fingerprint_of_der(base64.b64decode(body))
