//! The recipe of reading lab.yaml.

use super::folder::Folder;
use super::machine::{self, ParsedVm};
use super::model::Lab;
use super::network::Networks;
use super::settings::Settings;
use super::{across, values};
use crate::config::yaml::{Fields, Keys, Kind, Node, Reader, validators};

const KEYS: Keys = &[
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
        "vms",
        "vms: a list of VMs, each with at least a name: `- name: vm42`",
    ),
];

/// Reads the document; `None`, or less than is written, only where a problem was noted.
pub(super) fn read(r: &mut Reader, node: &Node, folder: &Folder) -> Option<Lab> {
    let f = r.fields(node, "the lab", "at least `domain` and `vms`", KEYS);
    r.require(&f, "domain");
    r.require(&f, "vms");
    let domain = r.field(&f, "domain", validators::domain);
    let base = r.field(&f, "base", values::path);
    let networks = Networks::read(r, &f);
    let defaults = Settings::defaults(r, &f, folder);
    let parsed = read_vms(r, &f, &defaults, &networks, folder);
    across::check(r, &parsed, domain.as_ref());
    let base = base.map_or_else(|| "base.qcow2".to_owned(), |b| b.value);
    Some(Lab {
        folder: folder.absolute.clone(),
        base: folder.path(&base).1,
        domain: domain?.value,
        network: networks.nat?,
        vmbr120: networks.vmbr120.flatten(),
        warnings: across::warnings(&parsed),
        vms: parsed.into_iter().map(|d| d.vm).collect(),
    })
}

fn read_vms(
    r: &mut Reader,
    f: &Fields<'_>,
    defaults: &Settings,
    networks: &Networks,
    folder: &Folder,
) -> Vec<ParsedVm> {
    let Some(node) = f.get("vms") else {
        return Vec::new();
    };
    let nodes = r.list(node, f.hint("vms"));
    if nodes.is_empty() && matches!(node.kind, Kind::List(_)) {
        r.problem(node.place, "a lab without a VM", f.hint("vms"));
    }
    nodes
        .iter()
        .filter_map(|node| machine::read(r, node, defaults, networks, folder))
        .collect()
}
