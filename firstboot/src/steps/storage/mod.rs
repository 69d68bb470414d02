//! `storage`: the cluster has the seed's NFS storages, and this node may use them.
//!
//! Made and changed with `pvesm` only. Absent: added. The same: nothing. Another content or
//! other options, where the seed names them: set, for all nodes, because a storage has one of each.
//! A `nodes` list without this node: set, with this node behind the others. What pvesm cannot
//! change (type, server, export, path) is left and reported: a storage of that name may hold
//! somebody's data. So is one that is switched off, or that lacks what the seed is silent about.

use crate::cluster::pmxcfs;
use crate::cluster::sections::{self, Section};
use crate::cluster::settle::{Changes, Plan, Tool, settle};
use crate::contract::seed::{NfsStorage, STANDARD_CONTENT};
use crate::contract::values::StorageContent;
use crate::step::{Context, Outcome};
use anyhow::Result;
use std::collections::BTreeSet;

const FILE: &str = "/etc/pve/storage.cfg";
/// What an NFS storage holds when its section does not say (PVE::Storage::NFSPlugin).
const UNSAID_CONTENT: &str = "images";

/// Ensures each storage of the seed.
pub(crate) fn run(context: &Context) -> Result<Outcome> {
    let proxmox = context.seed.user_data.proxmox.as_ref();
    let storages = proxmox.map_or(&[][..], |p| &p.storage);
    if storages.is_empty() {
        return Ok(Outcome::unchanged_because("no storage in the seed"));
    }
    if !context.root.is_live() {
        return Ok(Outcome::unchanged_because("not the running machine"));
    }
    // A node on its own has storages, too.
    pmxcfs::is_member(context)?;
    let file = Tool {
        root: context.root,
        file: FILE,
        program: "pvesm",
    };
    let mut changes = Changes::default();
    for storage in storages {
        let settled = settle(&file, |text| plan(text, storage, &context.name))?;
        changes.add(settled, context.log);
    }
    Ok(changes.outcome("all as in the seed"))
}

/// What is to be done about one storage on this node, seen from the text of `storage.cfg`.
fn plan(text: &str, storage: &NfsStorage, node: &str) -> Plan {
    let id = &storage.id;
    let Some(section) = sections::find(text, id) else {
        return add(storage);
    };
    if let Some(differences) = fixed(&section, storage) {
        return Plan::Leave(format!(
            "{id} is left as it is, because this cannot be changed: {differences}"
        ));
    }
    let mut words = Vec::new();
    let mut what = Vec::new();
    let content = section.get("content").unwrap_or(UNSAID_CONTENT);
    let has: BTreeSet<&str> = sections::list(content).into_iter().collect();
    if let Some(wanted) = &storage.content {
        if has != wanted.iter().map(StorageContent::as_str).collect() {
            let wanted = wanted.join(",");
            what.push(format!("content {content} -> {wanted}"));
            words.extend(["--content".to_owned(), wanted]);
        }
    }
    if let Some(options) = &storage.options {
        let before = section.get("options").unwrap_or_default();
        if *options != before {
            words.extend(["--options".to_owned(), options.to_string()]);
            let before = if before.is_empty() { "none" } else { before };
            what.push(format!("options {before} -> {options}"));
        }
    }
    // An empty list is none: every node may use the storage.
    let nodes = sections::list(section.get("nodes").unwrap_or_default());
    if !nodes.is_empty() && !nodes.contains(&node) {
        words.extend(["--nodes".to_owned(), format!("{},{node}", nodes.join(","))]);
        what.push(format!("{node} added to its nodes"));
    }
    if words.is_empty() {
        let remarks = remarks(&section, storage, content);
        return match remarks.is_empty() {
            true => Plan::Fits,
            false => Plan::Leave(format!("{id}: {}", remarks.join(", "))),
        };
    }
    let mut all = vec!["set".to_owned(), id.to_string()];
    all.append(&mut words);
    all.extend(["--digest".to_owned(), sections::digest(text)]);
    Plan::Change {
        words: all,
        what: format!("{id}: {}", what.join(", ")),
    }
}

/// What stays as the cluster has it, and may not be what this node needs.
fn remarks(section: &Section, storage: &NfsStorage, content: &str) -> Vec<String> {
    let mut remarks = Vec::new();
    // Without a value it means yes.
    if section.get("disable").is_some_and(|off| off != "0") {
        remarks.push("it is switched off in the cluster (`disable`)".to_owned());
    }
    let has = sections::list(content);
    let lacks = STANDARD_CONTENT.iter().filter(|kind| !has.contains(kind));
    let lacks: Vec<&str> = lacks.copied().collect();
    if storage.content.is_none() && !lacks.is_empty() {
        remarks.push(format!(
            "its content in the cluster, {content}, has no {}",
            lacks.join(" and no ")
        ));
    }
    remarks
}

/// pvesm tries the storage before it writes it down, and dies when the name is taken.
fn add(storage: &NfsStorage) -> Plan {
    let mut words = vec!["add", "nfs", &storage.id];
    words.extend(["--server", &storage.server, "--export", &storage.export]);
    let content = match &storage.content {
        Some(content) => content.join(","),
        None => STANDARD_CONTENT.join(","),
    };
    words.extend(["--content", &content]);
    if let Some(options) = &storage.options {
        words.extend(["--options", options]);
    }
    Plan::Change {
        words: words.into_iter().map(str::to_owned).collect(),
        what: format!("{} added", storage.id),
    }
}

/// What differs among the settings that stay for ever.
fn fixed(section: &Section, storage: &NfsStorage) -> Option<String> {
    let path = format!("/mnt/pve/{}", storage.id);
    let wanted = [
        ("server", storage.server.as_str()),
        ("export", &storage.export),
        ("path", &path),
    ];
    let mut differences = Vec::new();
    if section.kind != "nfs" {
        differences.push(format!("it is of type {}, not nfs", section.kind));
    } else {
        for (key, wanted) in wanted {
            let is = section.get(key).unwrap_or_default();
            if is.trim_end_matches('/') != wanted.trim_end_matches('/') {
                differences.push(format!("{key} is {is}, not {wanted}"));
            }
        }
    }
    (!differences.is_empty()).then(|| differences.join(", "))
}

#[cfg(test)]
mod tests;
