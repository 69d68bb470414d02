"""A base from the mirror, from nothing and with its installed system in the cache, beside bare mmdebstrap of the same packages."""

import json
import os
import re
import shutil

import bench
from bench import machines


def mkosi(options, packages, release, sources):
    """mkosi's tar archive of the same packages: the words of its command line; or why there are none."""
    program = shutil.which("mkosi")
    if not program:
        return None, "mkosi is not installed here"
    version = bench.text([program, "--version"]).split()[1]
    if int(version.split(".")[0].split("~")[0]) < 20:
        return None, "mkosi %s knows no Debian 13; 20 or newer does" % version
    folder = options.folder / "mkosi"
    folder.mkdir()
    # It takes one archive for all; the kernel of the security archive is not in it, but what brings a kernel is.
    packages = [name for name in packages if not re.match(r"linux-image-\d", name)]
    lines = ["[Distribution]", "Distribution=debian", "Release=" + release, "LocalMirror=" + sources[0].split()[1],
             "[Output]", "Format=tar", "CompressOutput=no", "OutputDirectory=out",
             "[Content]", "Bootable=no", "Packages=" + "\n    ".join(packages)]
    (folder / "mkosi.conf").write_text("\n".join(lines) + "\n", encoding="ascii")
    return [program, "--directory", folder, "--force", "build"], ""


def run(options):
    folder = options.folder
    out, cache = folder / "out", folder / "cache"
    out.mkdir()
    definition = machines.definition("plain", folder)
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache)}

    def build(*more):
        words = [bench.program("imgbuild"), "base", "--source", "mirror", "--definition", definition, "--output", out, "--force", *more]
        with open(folder / "base.log", "wb") as log:
            return bench.cost(words, env=environment, log=log)

    # Fills the caches of the mirror and of this PC, for both sides, and says what the packages are.
    build()
    manifest = json.loads((out / "base.manifest.json").read_text(encoding="utf-8"))
    packages, sources = sorted(manifest["packages"]), manifest["sources"]

    def bare():
        tar = folder / "bare.tar"
        tar.unlink(missing_ok=True)
        words = ["mmdebstrap", "--mode=unshare", "--variant=apt", "--include=" + ",".join(packages)]
        keyrings = ["/usr/share/keyrings/debian-archive-keyring." + ending for ending in ("pgp", "gpg")]
        words += ["--keyring=" + file for file in keyrings if os.path.exists(file)][:1]
        with open(folder / "bare.log", "wb") as log:
            return bench.cost([*words, manifest["release"], tar, *sources], env={**os.environ, "TMPDIR": str(folder)}, log=log)

    sides = [lambda: build("--cache-size", "0"), bare, build]
    words, why = mkosi(options, packages, manifest["release"], sources)
    if words:
        def theirs():
            with open(folder / "mkosi.log", "wb") as log:
                return bench.cost(words, log=log)
        sides.append(theirs)
    whole, peer, cached, *others = bench.paired(options.rounds or 3, *sides)
    other = others[0] if others else bench.Cost(None, None, None)
    return [
        bench.Row("a base, on the clock", "s", whole.wall, peer.wall, "mmdebstrap, a tar archive", 1.0),
        bench.Row("a base, of processors", "s", whole.cpu, peer.cpu, "mmdebstrap, a tar archive", 1.0),
        bench.Row("a base, on the clock", "s", whole.wall, other.wall, "mkosi", 0.7, why),
        bench.Row("a base, of processors", "s", whole.cpu, other.cpu, "mkosi", 0.7, why),
        bench.Row("the same packages again, on the clock", "s", cached.wall, goal=25.0),
        bench.Row("the same packages again, of processors", "s", cached.cpu, peer.cpu, "mmdebstrap, a tar archive"),
    ]
