//! The recipe of `imgbuild lab inventory`: the PCs of a lab as Ansible's inventory.
//!
//! The form is that of an inventory script: groups by their names, each with its `hosts`, and all
//! variables in `_meta`, so that Ansible asks once. It holds no secret, and reads none.

use crate::config::lab::{self, JoinWith, Lab, Room, Vm};
use crate::config::yaml::validators;
use crate::system::ui::Ui;
use crate::vm::base_image::BaseImage;
use crate::vm::folder::VmFolder;
use crate::vm::retired;
use anyhow::{Result, anyhow};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// The groups of the PCs that have a VM of this state; each is there, be it empty, so that a play
/// can name it.
const STATES: [&str; 4] = ["started", "stopped", "absent", "retired"];
/// Where Ansible has hosts that are in no other group.
const NO_ROOM: &str = "ungrouped";

/// One PC: its room, where the lab has rooms, and its VMs with their states.
#[derive(Default)]
struct Pc<'a> {
    room: Option<&'a Room>,
    vms: Vec<(&'a Vm, &'static str)>,
}

/// Prints the whole inventory, or with `host` the variables of that PC.
pub fn inventory(file: &Path, host: Option<&str>, ui: &Ui) -> Result<()> {
    let lab = Lab::load_without_secrets(file)?;
    let base = match lab.base.try_exists() {
        Ok(false) => None,
        _ => Some(BaseImage::read(&lab.base)?),
    };
    let pcs = pcs(&lab);
    let tickets = tickets(&lab);
    let variables = |pc: &Pc<'_>| variables(&lab, base.as_ref(), &tickets, pc);
    let value = match host {
        Some(name) => variables(pcs.get(name).ok_or_else(|| no_pc(name))?),
        None => {
            let vars: Map<String, Value> = pcs
                .iter()
                .map(|(name, pc)| ((*name).to_owned(), variables(pc)))
                .collect();
            let mut all = groups(&lab, &pcs);
            all.insert("_meta".to_owned(), json!({ "hostvars": vars }));
            Value::Object(all)
        }
    };
    ui.result(&value, &format!("{value:#}"));
    Ok(())
}

fn no_pc(name: &str) -> anyhow::Error {
    anyhow!(
        "the lab has no PC named `{}`\n  right: a full name out of: imgbuild lab inventory --list",
        validators::display_safe(name)
    )
}

/// The PCs of the rooms; those that the VMs name, where the lab has no rooms.
fn pcs(lab: &Lab) -> BTreeMap<&str, Pc<'_>> {
    let mut all: BTreeMap<&str, Pc<'_>> = BTreeMap::new();
    for room in &lab.rooms {
        for pc in &room.pcs {
            all.entry(pc).or_default().room = Some(room);
        }
    }
    for vm in &lab.vms {
        if let Some(host) = &vm.host {
            let state = match retired::keeps_its_seed(&VmFolder::of(lab, vm)) {
                Some(_) => "retired",
                None => vm.state.word(),
            };
            all.entry(host).or_default().vms.push((vm, state));
        }
    }
    all
}

/// Each room, and the PCs by the states of their VMs.
fn groups(lab: &Lab, pcs: &BTreeMap<&str, Pc<'_>>) -> Map<String, Value> {
    let mut groups = Map::new();
    for room in &lab.rooms {
        groups.insert(room.name.clone(), json!({ "hosts": room.pcs }));
    }
    let names = |of: &dyn Fn(&Pc<'_>) -> bool| -> Vec<&str> {
        let found = pcs.iter().filter(|(_, pc)| of(pc));
        found.map(|(name, _)| *name).collect()
    };
    if lab.rooms.is_empty() {
        let hosts = names(&|_| true);
        groups.insert(NO_ROOM.to_owned(), json!({ "hosts": hosts }));
    }
    for state in STATES {
        let hosts = names(&|pc| pc.vms.iter().any(|(_, of)| *of == state));
        groups.insert(format!("imgbuild_{state}"), json!({ "hosts": hosts }));
    }
    groups
}

/// The cluster of each VM that joins by ticket, in the words in which `imgbuild seed` asks for its
/// password.
fn tickets(lab: &Lab) -> BTreeMap<&str, String> {
    let by_ticket = |vm: &&Vm| {
        let join = vm.cluster.as_ref();
        join.is_some_and(|join| join.with == JoinWith::Ticket)
    };
    let joining: Vec<&Vm> = lab.vms.iter().filter(by_ticket).collect();
    let mut all = BTreeMap::new();
    for cluster in lab::clusters(&lab.domain, &joining) {
        for (vm, _) in &cluster.vms {
            all.insert(vm.name.as_str(), cluster.label());
        }
    }
    all
}

fn variables(
    lab: &Lab,
    base: Option<&BaseImage>,
    tickets: &BTreeMap<&str, String>,
    pc: &Pc<'_>,
) -> Value {
    let standard = Room::default();
    let room = pc.room.unwrap_or(&standard);
    let vms = pc.vms.iter().map(|(vm, state)| {
        json!({
            "name": vm.name, "state": state, "memory_mib": vm.memory_mib, "cores": vm.cores,
            "joins": vm.cluster.is_some(), "ticket": tickets.get(vm.name.as_str()),
        })
    });
    json!({
        "imgbuild_lab": lab.file,
        "imgbuild_room": pc.room.map(|room| &room.name),
        "imgbuild_folder": room.folder,
        "imgbuild_memory_mib": room.memory_mib,
        "imgbuild_cores": room.cores,
        "imgbuild_bridge": lab.network.bridge,
        "imgbuild_base": lab.base,
        "imgbuild_base_url": room.base_url,
        "imgbuild_base_sha256": base.map(|base| &base.sha256),
        "imgbuild_base_bytes": base.map(|base| base.bytes),
        "imgbuild_start_at_boot": room.start_at_boot,
        "imgbuild_network": room.network,
        "imgbuild_vms": vms.collect::<Vec<_>>(),
    })
}
