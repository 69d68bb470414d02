"""Reads seeds as Debian 13's cloud-init does, and prints what it understood as JSON.

    read.py FOLDER_OF_SEEDS WORK_FOLDER

Each folder below the first is a seed's three documents. cloud-init's own classes do the work, with
all of their paths below the second: `init --local` up to the point where it would change the
machine, its schemas, and its renderers for ifupdown, netplan and systemd-networkd.
"""

import argparse
import copy
import json
import os
import shutil
import sys
import traceback

import yaml
from cloudinit import sources, stages
from cloudinit.cmd.devel import net_convert
from cloudinit.config import schema
from cloudinit.distros import debian

RENDERERS = ("eni", "netplan", "networkd")


def init_local(seed, work):
    """What `cloud-init init --local` makes of a seed: identity, configuration, network."""
    cloud = os.path.join(work, "cloud")
    shutil.copytree(seed, os.path.join(cloud, "seed", "nocloud"))
    base = {
        "datasource_list": ["NoCloud"],
        # The folder alone: no disk of this PC is looked at.
        "datasource": {"NoCloud": {"fs_label": None}},
        "system_info": {
            "distro": "debian",
            "paths": {"cloud_dir": cloud, "run_dir": os.path.join(work, "run")},
        },
    }
    # In the place of /etc/cloud of this PC. It is read again in each step.
    stages.fetch_base_config = lambda *_, **__: copy.deepcopy(base)
    init = stages.Init(ds_deps=[sources.DEP_FILESYSTEM])
    init.read_cfg()
    init.initialize()
    source = init.fetch(existing="check")
    init.instancify()
    init.update()
    init.consume_data()
    with open(init.paths.get_ipath("cloud_config"), encoding="utf-8") as file:
        config = yaml.safe_load(file)
    network, origin = init._find_networking_config()
    hostname = source.get_hostname(metadata_only=True)
    return {
        "source": str(source),
        "instance_id": source.get_instance_id(),
        "local_hostname": hostname.hostname,
        "network_origin": str(origin),
        "network": network,
        "config": config,
    }


def problems(config, kind):
    """What one of cloud-init's schemas has against a document."""
    try:
        schema.validate_cloudconfig_schema(config, schema_type=kind, strict=True)
    except schema.SchemaValidationError as error:
        found = error.schema_errors + error.schema_deprecations
        return [f"{problem.path}: {problem.message}" for problem in found]
    return []


def schemas(seed):
    def load(name):
        with open(os.path.join(seed, name), encoding="utf-8") as file:
            return yaml.safe_load(file)

    # As `cloud-init schema` does: the outer key is the schema's, not the document's.
    network = {"network": load("network-config")}
    return {
        "user-data": problems(load("user-data"), schema.SchemaType.CLOUD_CONFIG),
        "network-config": problems(network, schema.SchemaType.NETWORK_CONFIG_V2),
    }


def rendered(seed, kind, work):
    """The files that a renderer writes, by their paths."""
    target = os.path.join(work, kind)
    # net-convert changes these in their place.
    settings = copy.deepcopy(debian.Distro.renderer_configs)
    with open(os.path.join(seed, "network-config"), encoding="utf-8") as file:
        net_convert.handle_args(
            "net-convert",
            argparse.Namespace(
                network_data=file,
                kind="yaml",
                directory=target,
                distro="debian",
                mac=None,
                debug=False,
                output_kind=kind,
            ),
        )
    debian.Distro.renderer_configs = settings
    files = {}
    for folder, _, names in os.walk(target):
        for name in names:
            path = os.path.join(folder, name)
            with open(path, encoding="utf-8") as file:
                text = file.read()
            # Without the words on top of each file.
            lines = [line for line in text.splitlines() if not line.startswith("#")]
            text = "\n".join(lines).strip("\n")
            files[os.path.relpath(path, target)] = yaml.safe_load(text) if kind == "netplan" else text
    return files


def attempt(what, *args):
    """Its result, or where and how it failed."""
    try:
        return what(*args)
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{os.path.basename(where.filename)}:{where.name}"
        return {"failed": f"{place}: {type(error).__name__}: {error}"}


def main(seeds, work):
    found = {}
    for name in sorted(os.listdir(seeds)):
        seed = os.path.join(seeds, name)
        own = os.path.join(work, name)
        found[name] = {"init": attempt(init_local, seed, own), "schema": attempt(schemas, seed)}
        for kind in RENDERERS:
            found[name][kind] = attempt(rendered, seed, kind, own)
    json.dump(found, sys.stdout, default=repr)


main(*sys.argv[1:])
