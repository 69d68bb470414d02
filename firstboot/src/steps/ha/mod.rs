//! `ha`: the HA manager's groups and rules that the seed names know this node.
//!
//! Groups are Proxmox VE 8's, node-affinity rules are 9's, and neither is made here: a rule
//! needs resources, which a fresh node does not have. One that is missing is reported.
//!
//! Which of the two a cluster has is seen from its own files, not from a version: version 9
//! still takes `groupset` while `ha/groups.cfg` holds a group, and changes rules only once
//! the groups were turned into rules, when the last node was upgraded
//! (PVE::HA::Config::have_groups_been_migrated). Asked by the file that holds the name, the
//! command always fits, also in a cluster that is being upgraded.

use crate::cluster::pmxcfs;
use crate::cluster::sections;
use crate::cluster::settle::{Changes, Plan, Settled, Tool, settle};
use crate::step::{Context, Outcome};
use anyhow::Result;

/// One kind of list of nodes.
struct Kind {
    file: &'static str,
    /// The type of its sections.
    section: &'static str,
    /// What a human calls it.
    word: &'static str,
    /// How a change begins; the name follows.
    command: &'static [&'static str],
    /// The other kind's file, and what to say when only that has anything.
    other: (&'static str, &'static str),
}

const GROUPS: Kind = Kind {
    file: "/etc/pve/ha/groups.cfg",
    section: "group",
    word: "HA group",
    command: &["groupset"],
    other: (
        RULES_FILE,
        "it has rules, as Proxmox VE 9 does: name them in `ha.rules`",
    ),
};
const RULES: Kind = Kind {
    file: RULES_FILE,
    section: "node-affinity",
    word: "HA rule",
    command: &["rules", "set", "node-affinity"],
    other: (
        GROUPS.file,
        "it has groups, as Proxmox VE 8 does: name them in `ha.groups`",
    ),
};
const RULES_FILE: &str = "/etc/pve/ha/rules.cfg";

/// Adds this node to each group and rule that is there.
pub(crate) fn run(context: &Context) -> Result<Outcome> {
    let proxmox = context.seed.user_data.proxmox.as_ref();
    let Some(ha) = proxmox.map(|p| &p.ha).filter(|ha| !ha.is_empty()) else {
        return Ok(Outcome::unchanged_because("no HA in the seed"));
    };
    if !context.root.is_live() {
        return Ok(Outcome::unchanged_because("not the running machine"));
    }
    if !pmxcfs::is_member(context)? {
        return Ok(Outcome::unchanged_because("this node is in no cluster"));
    }
    let mut changes = Changes::default();
    let own = |priority| entry(&context.name, priority);
    let groups = ha.groups.iter().map(|name| (name, own(None)));
    let rules = ha.rules.iter().map(|rule| (&rule.name, own(rule.priority)));
    for (kind, names) in [
        (&GROUPS, groups.collect::<Vec<_>>()),
        (&RULES, rules.collect()),
    ] {
        let file = Tool {
            root: context.root,
            file: kind.file,
            program: "ha-manager",
        };
        let (other, hint) = kind.other;
        let other = context.root.read_text(other);
        let other = other.map_err(pmxcfs::retry_if_passing)?.unwrap_or_default();
        let hint = (!sections::read(&other).is_empty()).then_some(hint);
        for (name, own) in names {
            let settled = settle(&file, |text| plan(kind, text, name, &own, hint))?;
            changes.add(settled, context.log);
        }
    }
    let mux = context.root.query("systemctl", &["is-active", MUX])?;
    let left = no_watchdog(context.root.exists(WATCHDOG)?, mux.trim());
    let changed = None;
    changes.add(Settled { changed, left }, context.log);
    Ok(changes.outcome("this node is in all that the seed names"))
}

/// What resets a node that has lost its cluster. Proxmox's multiplexer takes the kernel's (`softdog`,
/// where there is no other) for the HA manager.
const WATCHDOG: &str = "/dev/watchdog";
const MUX: &str = "watchdog-mux";

/// Why the HA manager would run no guest on this node: its local manager becomes active only with a
/// watchdog in its hands (PVE::HA::LRM, `get_protected_ha_agent_lock`). `state` is the unit's, in
/// systemctl's word.
fn no_watchdog(device: bool, state: &str) -> Option<String> {
    let why = match (device, state) {
        (true, "active") => return None,
        (false, _) => format!("{WATCHDOG} is missing"),
        (true, state) => format!("{MUX}.service is {state} (journalctl -u {MUX})"),
    };
    Some(format!(
        "no working watchdog, without which the HA manager runs no guest here: {why}"
    ))
}

/// A node in such a list: `NODE`, or `NODE:PRIORITY`.
fn entry(node: &str, priority: Option<u32>) -> String {
    match priority {
        Some(priority) => format!("{node}:{priority}"),
        None => node.to_owned(),
    }
}

/// What is to be done about one of them, seen from the text of its file. `own` is this node's entry
/// if it is not in the list yet; one that is there may have another priority by an admin's hand, and
/// keeps it. `hint` is for a file that has none at all.
fn plan(kind: &Kind, text: &str, name: &str, own: &str, hint: Option<&str>) -> Plan {
    let word = kind.word;
    let node_of = |entry: &str| entry.split(':').next().unwrap_or_default().to_owned();
    let node = node_of(own);
    let Some(section) = sections::find(text, name) else {
        let hint = hint.filter(|_| sections::read(text).is_empty());
        let hint = hint.map(|hint| format!(" ({hint})")).unwrap_or_default();
        return Plan::Leave(format!("the cluster has no {word} {name}{hint}"));
    };
    if section.kind != kind.section {
        return Plan::Leave(format!(
            "{name} is left as it is: it is of type {}, which holds no nodes",
            section.kind
        ));
    }
    // Each with its priority, as `NODE:PRIORITY`.
    let nodes = sections::list(section.get("nodes").unwrap_or_default());
    if nodes.iter().any(|entry| node_of(entry) == node) {
        return Plan::Fits;
    }
    let mut nodes = nodes;
    nodes.push(own);
    let nodes = nodes.join(",");
    let mut words: Vec<&str> = kind.command.to_vec();
    let digest = sections::digest(text);
    words.extend([name, "--nodes", &nodes, "--digest", &digest]);
    Plan::Change {
        words: words.into_iter().map(str::to_owned).collect(),
        what: format!("{own} added to the {word} {name}"),
    }
}

#[cfg(test)]
mod tests;
