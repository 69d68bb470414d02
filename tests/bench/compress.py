"""Packing a base's raw disk into base.qcow2, and its digest, beside qemu-img, openssl and sha256sum."""

import subprocess

import bench
from bench import machines

CONVERT = ["qemu-img", "convert", "-c", "-W", "-m", "8", "-f", "raw", "-O", "qcow2"]


def run(options):
    base = machines.base("plain", options.folder) / "base.qcow2"
    raw = options.folder / "raw"
    bench.text(["qemu-img", "convert", "-O", "raw", base, raw])
    images = {name: options.folder / name for name in ("ours", "zlib", "zstd")}

    def packing(name, *words):
        image = images[name]

        def side():
            image.unlink(missing_ok=True)
            return bench.cost([*words, raw, image])
        return side

    ours, zlib, zstd = bench.paired(
        options.rounds or 3,
        packing("ours", bench.program("imgbuild"), "compress"),
        packing("zlib", *CONVERT),
        packing("zstd", *CONVERT, "-o", "compression_type=zstd,cluster_size=512k"))
    for image in images.values():
        for words in (["check", "-q", "-f", "qcow2", image], ["compare", "-q", "-f", "raw", "-F", "qcow2", raw, image]):
            if subprocess.run(["qemu-img", *words]).returncode:
                raise bench.Failed("qemu-img %s finds fault with %s" % (words[0], image))
    size = {name: image.stat().st_size for name, image in images.items()}
    old, new = "qemu-img -c, zlib", "qemu-img -c, zstd in 512 KiB"
    own, openssl, coreutils = bench.paired(
        options.rounds or 5,
        lambda: bench.cost([bench.program("imgbuild"), "look", "digest", images["ours"]]),
        lambda: bench.cost(["openssl", "dgst", "-sha256", images["ours"]]),
        lambda: bench.cost(["sha256sum", images["ours"]]))
    return [
        bench.Row("packing, on the clock", "s", ours.wall, zlib.wall, old, 4.0 / 17.0),
        bench.Row("packing, of processors", "s", ours.cpu, zlib.cpu, old),
        bench.Row("packing, on the clock", "s", ours.wall, zstd.wall, new),
        bench.Row("packing, of processors", "s", ours.cpu, zstd.cpu, new),
        bench.Row("memory while packing", "bytes", ours.rss, zstd.rss, new),
        bench.Row("base.qcow2", "bytes", size["ours"], size["zlib"], old, 208 / 222.0),
        bench.Row("base.qcow2", "bytes", size["ours"], size["zstd"], new),
        bench.Row("SHA-256 of it, of processors", "s", own.cpu, openssl.cpu, "openssl", 1.1),
        bench.Row("SHA-256 of it, of processors", "s", own.cpu, coreutils.cpu, "sha256sum"),
    ]
