//! The recipe of `imgbuild check`.

mod clusters;

use crate::base::{self, Manifest};
use crate::config::definition::Definition;
use crate::config::lab::{Lab, State, Vm};
use crate::config::yaml::{Problems, validators};
use crate::system::text;
use crate::system::ui::Ui;
use crate::vm::base_image::manifest_of;
use crate::vm::folder::VmFolder;
use crate::vm::login;
use crate::vm::retired;
use anyhow::{Error, Result, bail};
use firstboot::contract::seed::NfsStorage;
use serde_json::{Value, json};
use std::path::Path;

/// A page's width, in characters.
const WIDTH: usize = 100;
/// What a line that goes on below `base:` or `lab:` begins with.
const INDENT: &str = "      ";

/// Both files are read, whatever is wrong with the first; without a definition images/base.yaml, or
/// the built-in one where there is none.
pub fn check(definition: Option<&Path>, lab: &Path, ui: &Ui) -> Result<()> {
    let definition = Definition::load(definition);
    let lab = retired::load_lab(lab);
    match (definition, lab) {
        (Ok(definition), Ok(lab)) => {
            disks_hold_the_base(&definition, &lab)?;
            let made = Made::look(&definition, &lab);
            show(&definition, &lab, &made, ui);
            warn(&definition, &lab, ui);
            made.warn(&lab, ui);
            Ok(())
        }
        (definition, lab) => {
            let errors: Vec<Error> = [definition.err(), lab.err()]
                .into_iter()
                .flatten()
                .collect();
            errors.iter().for_each(|error| show_problems(error, ui));
            let texts: Vec<String> = errors.iter().map(|error| format!("{error:#}")).collect();
            bail!(texts.join("\n\n"))
        }
    }
}

/// The base image itself.
enum Made {
    NotYet,
    /// Of what is there now, or nothing says of what.
    Of,
    /// These inputs are others by now.
    OfOther(Vec<String>),
}

impl Made {
    fn look(definition: &Definition, lab: &Lab) -> Self {
        if !lab.base.is_file() {
            return Made::NotYet;
        }
        // One that cannot be read is named by `imgbuild seed`, which needs it.
        let Ok(Some(manifest)) = Manifest::load(&manifest_of(&lab.base)) else {
            return Made::Of;
        };
        match base::changed(&manifest, definition) {
            Ok(names) if !names.is_empty() => Made::OfOther(names),
            _ => Made::Of,
        }
    }

    /// For programs.
    fn event(&self) -> Value {
        match self {
            Made::NotYet => json!({"state": "missing"}),
            Made::Of => json!({"state": "there"}),
            Made::OfOther(names) => json!({"state": "older", "changed": names}),
        }
    }

    fn warn(&self, lab: &Lab, ui: &Ui) {
        if let Made::OfOther(names) = self {
            ui.warn(&format!(
                "{} is older than what it is made of; changed since: {}\n  right: `imgbuild base` \
                 makes it anew, and VMs that have a disk stay on the one that they have",
                shown(lab),
                names.join(", ")
            ));
        }
    }
}

/// The base as somebody in the lab's folder writes it.
fn shown(lab: &Lab) -> std::path::Display<'_> {
    let inside = lab.base.strip_prefix(&lab.folder);
    inside.unwrap_or(&lab.base).display()
}

/// An overlay smaller than its base would cut the root file system.
fn disks_hold_the_base(definition: &Definition, lab: &Lab) -> Result<()> {
    let small = lab.vms.iter().filter(|vm| vm.disk < definition.disk);
    let small: Vec<String> = small
        .map(|vm| format!("{} ({})", vm.name, validators::size_text(vm.disk)))
        .collect();
    if !small.is_empty() {
        bail!(
            "the disks of these VMs are smaller than the base's, which has {base}: {}\n  right: \
             `disk: {base}` or more in the lab, or a smaller `disk` in the image definition",
            small.join(", "),
            base = validators::size_text(definition.disk),
        );
    }
    Ok(())
}

/// One event per problem, for editors and other programs.
fn show_problems(error: &Error, ui: &Ui) {
    let Some(problems) = error.downcast_ref::<Problems>() else {
        return;
    };
    for (file, problem) in problems.all() {
        ui.event(&json!({
            "event": "problem",
            "file": file,
            "line": problem.place.line,
            "column": problem.place.column,
            "message": problem.message,
            "right": problem.hint,
        }));
    }
}

fn show(definition: &Definition, lab: &Lab, made: &Made, ui: &Ui) {
    if ui.is_json() {
        let vms: Vec<Value> = lab.vms.iter().map(|vm| event(lab, vm)).collect();
        let always = definition.always_installed();
        ui.event(&json!({
            "event": "check", "definition": definition, "always_installed": always,
            "base": made.event(), "vms": vms,
        }));
        return;
    }
    let count = |number: usize, one: &str, many: &str| match number {
        1 => format!("1 {one}"),
        n => format!("{n} {many}"),
    };
    let proxmox = definition.proxmox.as_ref();
    ui.line(&format!(
        "base: Debian {}, {}, disk {}, {}, {}",
        definition.release,
        proxmox.map_or("without Proxmox VE".to_owned(), |p| format!(
            "Proxmox VE {}",
            p.version
        )),
        validators::size_text(definition.disk),
        count(definition.packages.len(), "package", "packages"),
        count(definition.repositories.len(), "repository", "repositories"),
    ));
    for line in always_installed(definition) {
        ui.line(&line);
    }
    if let Made::NotYet = made {
        ui.line(&format!(
            "      not made yet: {} (imgbuild base makes it)",
            shown(lab)
        ));
    }
    let domain = &lab.domain;
    ui.line(&format!(
        "lab:  {} in {domain}",
        count(lab.vms.len(), "VM", "VMs")
    ));
    let rooms = lab.rooms.iter();
    let rooms = rooms.map(|room| format!("{} ({})", room.name, count(room.pcs.len(), "PC", "PCs")));
    for line in text::wrapped(&rooms.collect::<Vec<_>>().join(", "), WIDTH - INDENT.len()) {
        ui.line(&format!("{INDENT}{line}"));
    }
    ui.line("");
    for line in table(lab) {
        ui.line(&line);
    }
}

/// What the base has besides, in lines of a page's width.
fn always_installed(definition: &Definition) -> Vec<String> {
    let always = definition.always_installed();
    let mut lines = vec![format!("{INDENT}always installed:")];
    for (number, always) in always.iter().enumerate() {
        let comma = if number == 0 { "" } else { "," };
        let mut line = lines.pop().unwrap_or_default() + comma;
        if line.len() + " ".len() + always.package.len() + ",".len() > WIDTH {
            lines.push(line);
            line = " ".repeat(7);
        }
        lines.push(format!("{line} {}", always.package));
    }
    lines
}

fn warn(definition: &Definition, lab: &Lab, ui: &Ui) {
    let there = |vm: &&Vm| vm.state != State::Absent && !is_retired(lab, vm);
    let vms: Vec<&Vm> = lab.vms.iter().filter(there).collect();
    let joining = vms.iter().filter(|vm| vm.cluster.is_some()).count();
    if definition.proxmox.is_none() && joining > 0 {
        let who = match joining {
            1 => "a VM of the lab is".to_owned(),
            n => format!("{n} VMs of the lab are"),
        };
        ui.warn(&format!(
            "{who} to join a cluster, and the base has no Proxmox VE: that would fail\n  right: \
             `proxmox: 9` in the image definition (8 on bookworm), or `cluster: none`"
        ));
    }
    for warning in &lab.warnings {
        ui.warn(warning);
    }
    for vm in &vms {
        let old = vm.storage.iter().find(|storage| wants_nfs_3(storage));
        if let (Some(storage), false) = (old, definition.rpcbind) {
            ui.warn(&format!(
                "the storage {} of {} asks for NFS 3, and the base has rpcbind masked: it could not \
                 be mounted\n  right: `rpcbind: true` in the image definition, or `vers=4.2`",
                storage.id, vm.name
            ));
            break;
        }
    }
    for warning in login::warnings(&vms) {
        ui.warn(&warning);
    }
    for warning in clusters::warnings(lab, &vms) {
        ui.warn(&warning);
    }
}

/// Whether the options of a storage are for version 3 of NFS, nfs(5).
fn wants_nfs_3(storage: &NfsStorage) -> bool {
    let options = storage.options.as_deref().unwrap_or_default();
    let version = |option: &str| {
        let (key, value) = option.split_once('=')?;
        ["vers", "nfsvers"]
            .contains(&key.trim())
            .then(|| value.trim().starts_with('3'))
    };
    options
        .split(',')
        .any(|option| version(option) == Some(true))
}

/// Whether a VM has left its cluster for good.
fn is_retired(lab: &Lab, vm: &Vm) -> bool {
    retired::keeps_its_seed(&VmFolder::of(lab, vm)).is_some()
}

fn event(lab: &Lab, vm: &Vm) -> Value {
    json!({
        "name": vm.name,
        "host": vm.host,
        "state": vm.state.word(),
        "address": vm.address,
        "vmbr120": vm.vmbr120,
        "mac": vm.mac,
        "openvpn": vm.openvpn.as_ref().map(|o| &o.instance),
        "cluster": vm.cluster.is_some(),
        "retired": is_retired(lab, vm),
    })
}

/// The VMs as lines with aligned columns.
fn table(lab: &Lab) -> Vec<String> {
    let head = [
        "name", "host", "address", "vmbr120", "mac", "openvpn", "cluster",
    ];
    let mut rows = vec![head.map(str::to_owned)];
    let dash = || "-".to_owned();
    rows.extend(lab.vms.iter().map(|vm| {
        [
            vm.name.to_string(),
            vm.host.as_ref().map_or_else(dash, |host| host.to_string()),
            vm.address.to_string(),
            vm.vmbr120.map_or_else(dash, |a| a.to_string()),
            vm.mac.to_string(),
            vm.openvpn
                .as_ref()
                .map_or_else(dash, |o| o.instance.to_string()),
            match vm.cluster {
                _ if is_retired(lab, vm) => "retired",
                _ if vm.state == State::Absent => "absent",
                Some(_) => "yes",
                None => "no",
            }
            .to_owned(),
        ]
    }));
    let widths: Vec<usize> = (0..head.len())
        .map(|column| rows.iter().map(|row| row[column].len()).max().unwrap_or(0))
        .collect();
    rows.iter()
        .map(|row| {
            let cells = row.iter().zip(&widths);
            let line: Vec<String> = cells.map(|(cell, w)| format!("{cell:<w$}")).collect();
            line.join("  ").trim_end().to_owned()
        })
        .collect()
}
