//! `rrd`: Proxmox's statistics follow the node's name.
//!
//! Before PVE 9 `pve2-node/NODE` is a file and `pve2-storage/NODE` a folder; PVE 9 writes
//! `pve-node-9.0` and `pve-storage-9.0`. Both spellings may be there after an upgrade.

use crate::step::{Context, Outcome};
use anyhow::Result;

const FOLDER: &str = "/var/lib/rrdcached/db";

/// Renames every file and folder of an old name.
pub(crate) fn run(context: &Context) -> Result<Outcome> {
    if let Some(locked) = context.name_locked_outcome() {
        return Ok(locked);
    }
    let mut renamed = Vec::new();
    let mut left = Vec::new();
    for folder in context.root.list(FOLDER)? {
        if !is_of_nodes(&folder) {
            continue;
        }
        for old in &context.old_names {
            let from = format!("{FOLDER}/{folder}/{old}");
            let to = format!("{FOLDER}/{folder}/{}", context.name);
            if !context.root.exists(&from)? {
                continue;
            }
            if context.root.exists(&to)? {
                left.push(format!("{folder}/{old}"));
                continue;
            }
            context.root.rename(&from, &to)?;
            renamed.push(format!("{folder}/{old}"));
        }
    }
    let mut detail = Vec::new();
    if !renamed.is_empty() {
        detail.push(format!("{} -> {}", renamed.join(", "), context.name));
    }
    if !left.is_empty() {
        detail.push(format!(
            "left {} as it is, because {} is there already",
            left.join(", "),
            context.name
        ));
    }
    Ok(Outcome::with_details(!renamed.is_empty(), detail))
}

/// Whether a folder below [`FOLDER`] holds entries named after nodes.
pub(crate) fn is_of_nodes(folder: &str) -> bool {
    ["pve2-node", "pve2-storage"].contains(&folder)
        || ["pve-node-", "pve-storage-"]
            .iter()
            .any(|start| folder.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_and_nothing_of_guests() {
        for folder in [
            "pve2-node",
            "pve2-storage",
            "pve-node-9.0",
            "pve-storage-9.0",
        ] {
            assert!(is_of_nodes(folder), "{folder}");
        }
        for folder in ["pve2-vm", "pve-vm-9.0", "pve2.3-vm", "other"] {
            assert!(!is_of_nodes(folder), "{folder}");
        }
    }
}
