//! Who this machine is: its names and its address, and when they stay as they are.

use crate::cluster::corosync::AUTHKEY;
use crate::contract::seed::Seed;
use crate::stage::journal::Loaded;
use crate::step::node_address;
use crate::system::hosts;
use crate::system::root::Root;
use anyhow::Result;

/// What stands for no name of its own in `/etc/hostname`.
const NO_NAMES: [&str; 2] = ["", "localhost"];

/// The seed's full name for the machine `name`; where it names no machine, the one that the machine has.
pub(super) fn fqdn(root: &Root, seed: &Seed, name: &str) -> Result<String> {
    if let Some(fqdn) = seed.fqdn() {
        return Ok(fqdn.to_owned());
    }
    let own = match seed.hostname() {
        "" => {
            let hosts = root.read_text(hosts::FILE)?.unwrap_or_default();
            hosts::full_name(&hosts, name)
        }
        _ => None,
    };
    Ok(own.unwrap_or_else(|| name.to_owned()))
}

/// Whether neither the seed nor the machine `name` itself has a name.
pub(super) fn is_unnamed(seed: &Seed, name: &str) -> bool {
    seed.hostname().is_empty() && NO_NAMES.contains(&name)
}

/// Why name and address stay, when this machine is in a cluster and the seed asks for others.
/// The cluster knows it by both, and would take it for a new node.
pub(super) fn lock_reason(root: &Root, seed: &Seed, current: &str) -> Result<Option<String>> {
    if !root.exists(AUTHKEY)? {
        return Ok(None);
    }
    let hosts = root.read_text(hosts::FILE)?.unwrap_or_default();
    let address = hosts::address_of(&hosts, current);
    let name = match seed.hostname() {
        "" => current,
        name => name,
    };
    let wanted = (name, node_address(seed));
    if wanted.0 == current && (wanted.1.is_none() || wanted.1 == address) {
        return Ok(None);
    }
    let has = match address {
        Some(address) => format!("{current} {address}"),
        None => current.to_owned(),
    };
    let asked = match wanted.1 {
        Some(address) => format!("{} {address}", wanted.0),
        None => wanted.0.to_owned(),
    };
    Ok(Some(format!(
        "kept: {has} has joined a cluster ({AUTHKEY} is there), the seed asks for {asked}"
    )))
}

/// The short names that may still stand in this machine's files. A run that was cut may have
/// removed some of them from where they can be read, so an unfinished journal's names count.
pub(super) fn old_names(
    root: &Root,
    current: &str,
    name: &str,
    loaded: &Loaded,
) -> Result<Vec<String>> {
    let mut names = vec![current.to_owned()];
    let hosts = root.read_text(hosts::FILE)?.unwrap_or_default();
    names.extend(hosts::local_names(&hosts));
    if let Loaded::Found(journal) = loaded {
        if !journal.local.finished {
            names.push(journal.name.clone());
            names.extend(journal.old_names.iter().cloned());
        }
    }
    let mut old: Vec<String> = Vec::new();
    for candidate in names {
        let usable = !NO_NAMES.contains(&candidate.as_str()) && candidate != name;
        if usable && !old.contains(&candidate) {
            old.push(candidate);
        }
    }
    Ok(old)
}
