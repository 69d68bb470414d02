"""`imgbuild seed vm42`, a seed disk and a run script, beside cloud-localds, which makes the disk alone."""

import shutil

import bench
from bench import machines

USER_DATA = "#cloud-config\nhostname: vm42\nssh_authorized_keys: [ssh-ed25519 AAAA]\nchpasswd:\n  users: [{name: root, password: x}]\n"


def run(options):
    lab = machines.Machine(options.folder / "lab", machines.base("plain", options.folder)).lab
    vm = lab / machines.NAME
    imgbuild = bench.program("imgbuild")

    def ours():
        shutil.rmtree(vm)
        return bench.cost([imgbuild, "seed", machines.NAME], cwd=lab)

    sides = [ours]
    localds = shutil.which("cloud-localds")
    if localds:
        for name, text in (("user-data", USER_DATA), ("meta-data", "instance-id: vm42\n"), ("network", "version: 2\n")):
            (options.folder / name).write_text(text, encoding="ascii")
        words = [localds, "--network-config", "network", "seed.img", "user-data", "meta-data"]

        def theirs():
            (options.folder / "seed.img").unlink(missing_ok=True)
            return bench.cost(words, cwd=options.folder)
        sides.append(theirs)
    costs = bench.paired(options.rounds or 50, *sides)
    peer = costs[1] if localds else bench.Cost(None, None, None)
    note = "" if localds else "cloud-localds is not installed here"
    return [
        bench.Row("a seed, on the clock", "ms", costs[0].wall * 1e3, note="the goal of 3 ms", goal=3.0),
        bench.Row("a seed, on the clock", "ms", costs[0].wall * 1e3, peer.wall and peer.wall * 1e3, "cloud-localds", note=note),
        bench.Row("a seed, of processors", "ms", costs[0].cpu * 1e3, peer.cpu and peer.cpu * 1e3, "cloud-localds", note=note),
    ]
