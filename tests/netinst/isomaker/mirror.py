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
    """Something on the mirror is not what it should be."""


class Missing(Refused):
    """Something is not on the mirror."""


class Changed(Refused):
    """A file on the mirror has another digest than its index says."""


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
                    raise (Missing if error.code == 404 else Refused)("%s/%s: the mirror answers %d %s" % (self.url, path, error.code, error.reason)) from error
            except (OSError, http.client.HTTPException) as error:
                if attempt == ATTEMPTS:
                    raise Refused("%s/%s: %s" % (self.url, path, error)) from error
            time.sleep(attempt)

    def release(self, alias=None):
        """The suite's Release, proven by its signature; `alias` is another name of the suite's folder."""
        path = "dists/%s/InRelease" % (alias or self.suite)
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

    def index(self, release, part):
        """{package: stanza} of a part of the suite, such as main/binary-amd64."""
        about, digests = release
        name = "main/%s/Packages.xz" % part
        if name not in digests:
            raise Refused("%s: the suite %s has no %s" % (self.url, self.suite, name))
        try:
            file = self.index_file(name, digests[name][0])
        except Changed:
            digest = self.earlier(about, name)
            if digest in (None, digests[name][0]):
                raise
            file = self.index_file(name, digest)
        with lzma.open(file) as opened:
            return parse_index(opened.read().decode())

    def earlier(self, about, name):
        """The digest that an earlier Release has of a file, or None.

        A mirror that fetches only what it is asked for may have one under the suite's other name. It
        is signed like the new one, and of the same Debian.
        """
        try:
            return self.release(about.get("Suite"))[1].get(name, (None,))[0]
        except Refused:
            return None

    def index_file(self, name, digest):
        path = "dists/%s/%s" % (self.suite, name)
        try:
            # As APT does it: what has its digest in its name is neither older nor newer than the Release.
            return self.get("%s/by-hash/SHA256/%s" % (os.path.dirname(path), digest), digest, "Packages.xz")
        except Missing:
            return self.get(path, digest)

    def package(self, stanza):
        """The package's file."""
        about = fields(stanza)
        return self.get(about["Filename"], about["SHA256"])

    def get(self, path, digest, name=None):
        """The file with this digest: from the cache where it is whole, else from the mirror."""
        kept = os.path.join(self.cache, "%s-%s" % (digest, name or os.path.basename(path)))
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
                raise Changed("%s/%s has the SHA-256 %s, its index says %s; a mirror that is being updated "
                              "is whole again after a while" % (self.url, path, found.hexdigest(), digest))
            os.replace(part, kept)
