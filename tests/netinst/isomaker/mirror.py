"""A Debian mirror: what is downloaded is verified, and kept.

The chain is APT's own: gpgv proves InRelease with the archive's keys, InRelease has the
digests of the package indices, and an index has the digest of each package.
"""

import dataclasses
import hashlib
import http.client
import lzma
import os
import re
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

TIMEOUT = 60  # seconds without a byte
ATTEMPTS = 3


class Refused(Exception):
    """Something on the mirror is not there or not what it should be."""


def host_mirror(uris):
    """The first Debian archive in what `apt-get --print-uris update` prints, or None.

    Unlike `apt-get indextargets`, that needs no package lists: a fresh machine has none.
    """
    found = re.search(r"^'(https?://[^']*/debian)/+dists/", uris, re.MULTILINE)
    return found.group(1) if found else None


def fields(stanza):
    """The one-line fields of a control stanza."""
    return dict(re.findall(r"^([A-Za-z0-9-]+): *(.*)$", stanza, re.MULTILINE))


def parse_release(text):
    """Its fields, and {path: (sha256, size)}."""
    table = re.search(r"^SHA256:\n((?: .*\n?)+)", text, re.MULTILINE)
    rows = [row.split() for row in table.group(1).splitlines()] if table else []
    return fields(text), {path: (digest, int(size)) for digest, size, path in rows}


def parse_index(text):
    """{package: stanza}; the first one where a package is there in several versions."""
    found = {}
    for stanza in text.strip().split("\n\n"):
        name = re.match(r"Package: (\S+)", stanza)
        if name:
            found.setdefault(name.group(1), stanza)
    return found


def sha256_of(path):
    with open(path, "rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


@dataclasses.dataclass
class Mirror:
    url: str
    suite: str
    keyring: str
    cache: os.PathLike

    def open(self, path):
        request = urllib.request.Request("%s/%s" % (self.url, path), headers={"User-Agent": "imgbuild tests"})
        return urllib.request.urlopen(request, timeout=TIMEOUT)

    def attempt(self, path, use):
        """use(response), again after a break in the connection; a plain refusal is final."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                with self.open(path) as response:
                    return use(response)
            except urllib.error.HTTPError as error:
                if error.code < 500 or attempt == ATTEMPTS:
                    raise Refused("%s/%s: the mirror answers %d %s" % (self.url, path, error.code, error.reason)) from error
            except (OSError, http.client.HTTPException) as error:
                if attempt == ATTEMPTS:
                    raise Refused("%s/%s: %s" % (self.url, path, error)) from error
            time.sleep(attempt)

    def release(self):
        """The suite's Release, proven by its signature."""
        path = "dists/%s/InRelease" % self.suite
        signed = self.attempt(path, lambda response: response.read())
        command = ["gpgv", "--quiet", "--keyring", str(self.keyring), "--output", "-", "-"]
        done = subprocess.run(command, input=signed, capture_output=True)
        if done.returncode:
            words = done.stderr.decode(errors="replace").strip()
            raise Refused("%s/%s is not signed by a key in %s:\n%s" % (self.url, path, self.keyring, words))
        about, digests = parse_release(done.stdout.decode())
        if self.suite not in (about.get("Codename"), about.get("Suite")):
            raise Refused("%s/%s is of %s, not of %s" % (self.url, path, about.get("Codename"), self.suite))
        return about, digests

    def index(self, digests, part):
        """{package: stanza} of a part of the suite, such as main/binary-amd64."""
        name = "main/%s/Packages.xz" % part
        if name not in digests:
            raise Refused("%s: the suite %s has no %s" % (self.url, self.suite, name))
        digest, _ = digests[name]
        with lzma.open(self.get("dists/%s/%s" % (self.suite, name), digest)) as opened:
            return parse_index(opened.read().decode())

    def package(self, stanza):
        """The package's file."""
        about = fields(stanza)
        return self.get(about["Filename"], about["SHA256"])

    def get(self, path, digest):
        """The file with this digest: from the cache where it is whole, else from the mirror."""
        kept = os.path.join(self.cache, "%s-%s" % (digest, os.path.basename(path)))
        if not os.path.exists(kept) or sha256_of(kept) != digest:
            os.makedirs(self.cache, exist_ok=True)
            self.attempt(path, lambda response: self.keep(response, path, digest, kept))
        return kept

    def keep(self, response, path, digest, kept):
        found, size = hashlib.sha256(), 0
        with tempfile.TemporaryDirectory(prefix=".download-", dir=self.cache) as folder:
            part = os.path.join(folder, "part")
            with open(part, "wb") as opened:
                while block := response.read(1 << 20):
                    found.update(block)
                    opened.write(block)
                    size += len(block)
            if size < int(response.headers.get("Content-Length", 0)):
                raise http.client.IncompleteRead(b"", int(response.headers["Content-Length"]) - size)
            if found.hexdigest() != digest:
                raise Refused("%s/%s has the SHA-256 %s, its index says %s; a mirror that is being updated "
                              "is whole again after a while" % (self.url, path, found.hexdigest(), digest))
            os.replace(part, kept)
