//! The recipe of reading lab.yaml.

use super::entry::Around;
use super::folder::Folder;
use super::hosts::Rooms;
use super::machine::{self, ParsedVm};
use super::model::Lab;
use super::network::Networks;
use super::range::MOST;
use super::settings::Settings;
use super::{across, values};
use crate::config::yaml::{Fields, Keys, Kind, Node, Reader, validators};

/// What makes Ansible hand this file to the collection's inventory plugin.
const PLUGIN: &str = "imgbuild.lab.lab";
const KEYS: Keys = &[
    (
        "plugin",
        "plugin: imgbuild.lab.lab, for `ansible-playbook -i lab.yaml`",
    ),
    (
        "domain",
        "domain: the DNS domain of the VMs, such as lab.example.org",
    ),
    ("base", "base: the base image, such as base.qcow2"),
    (
        "network",
        "network: {bridge, range, gateway, dns}, the hosts' NAT network",
    ),
    ("vmbr120", "vmbr120: {range: 10.120.0.0/24}"),
    (
        "defaults",
        "defaults: what holds for every VM that says nothing else",
    ),
    (
        "hosts",
        "hosts: rooms and their PCs, such as room-b: {pcs: [\"pc-b-[01:30]\"]}",
    ),
    (
        "vms",
        "vms: a list of VMs, each with at least a name: `- name: vm42`",
    ),
];

/// Reads the document; `None`, or less than is written, only where a problem was noted.
pub(super) fn read(r: &mut Reader, node: &Node, folder: &Folder) -> Option<Lab> {
    let f = r.fields(node, "the lab", "at least `domain` and `vms`", KEYS);
    r.require(&f, "domain");
    r.require(&f, "vms");
    r.field(&f, "plugin", |text| values::one_word(text, PLUGIN));
    let domain = r.field(&f, "domain", validators::domain);
    let base = r.field(&f, "base", values::path);
    let networks = Networks::read(r, &f);
    let defaults = Settings::defaults(r, &f, folder);
    let rooms = Rooms::read(r, &f);
    let around = Around {
        defaults: &defaults,
        networks: &networks,
        rooms: &rooms,
        folder,
    };
    let parsed = read_vms(r, &f, &around);
    across::check(r, &parsed, domain.as_ref(), &rooms);
    let base = base.map_or_else(|| "base.qcow2".to_owned(), |b| b.value);
    Some(Lab {
        file: folder.file.clone(),
        folder: folder.absolute.clone(),
        base: folder.path(&base).1,
        domain: domain?.value,
        network: networks.nat?,
        vmbr120: networks.vmbr120.flatten(),
        warnings: across::warnings(&parsed),
        rooms: rooms.rooms,
        vms: parsed.into_iter().map(|d| d.vm).collect(),
    })
}

fn read_vms(r: &mut Reader, f: &Fields<'_>, around: &Around<'_>) -> Vec<ParsedVm> {
    let Some(node) = f.get("vms") else {
        return Vec::new();
    };
    let nodes = r.list(node, f.hint("vms"));
    if nodes.is_empty() && matches!(node.kind, Kind::List(_)) {
        r.problem(node.place, "a lab without a VM", f.hint("vms"));
    }
    let mut all = Vec::new();
    for node in nodes {
        all.extend(machine::read(r, node, around));
        if all.len() > MOST {
            let message = format!("a lab of more than {MOST} VMs");
            r.problem(
                node.place,
                message,
                "several labs, each in a folder of its own",
            );
            break;
        }
    }
    all
}
