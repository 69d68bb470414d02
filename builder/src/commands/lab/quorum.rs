//! The recipe of `imgbuild lab quorum`: whether a cluster can do without some of its VMs.
//!
//! corosync's majority is more than half of the votes of all nodes of its configuration, online or
//! not. Two nodes with one vote each can therefore never do without one of them.

use crate::commands::members::{Credentials, Members, Purpose};
use crate::config::lab::{self, Cluster, JoinWith, Lab, Vm};
use crate::peer::{Node, Standing};
use crate::system::text::first_few;
use crate::system::ui::Ui;
use anyhow::{Result, bail};
use serde_json::json;
use std::path::PathBuf;

/// Which VMs are to go off, and what root logs in with.
#[derive(Debug)]
pub struct Options {
    pub(crate) names: Vec<String>,
    pub(crate) lab: PathBuf,
    pub(crate) credentials: Credentials,
}

/// Asks a member of each cluster, and fails when one would be without quorum.
pub fn quorum(options: &Options, ui: &Ui) -> Result<()> {
    let lab = Lab::load_without_secrets(&options.lab)?;
    let mut vms: Vec<&Vm> = Vec::new();
    for name in &options.names {
        let vm = lab.vm(name)?;
        if !vms.iter().any(|known| known.name == vm.name) {
            vms.push(vm);
        }
    }
    for vm in vms.iter().filter(|vm| vm.cluster.is_none()) {
        let event = json!({"event": "quorum", "cluster": null, "vms": [vm.name], "kept": true});
        let words = format!("{}: joins no cluster, so none depends on it", vm.name);
        ui.result(&event, &words);
    }
    let clusters = lab::clusters(&lab.domain, &vms);
    options.credentials.check_one_cluster(&clusters)?;
    let mut problems = Vec::new();
    for cluster in &clusters {
        let standing = ask(cluster, &options.credentials, ui)?;
        let names: Vec<&str> = cluster.vms.iter().map(|(vm, _)| vm.name.as_str()).collect();
        if standing.qdevice {
            ui.warn(&format!(
                "{} has a QDevice, whose votes are not counted here: on a member, pvecm status \
                 shows them",
                cluster.label()
            ));
        }
        let count = Count::of(&standing, &names);
        let verdict = verdict(&cluster.label(), &standing, &names);
        ui.event(&json!({
            "event": "quorum", "cluster": cluster.label(), "vms": names, "kept": verdict.is_ok(),
            "quorate": standing.quorate, "expected": count.expected, "needed": count.needed,
            "online": count.online, "left": count.left,
        }));
        match verdict {
            Ok(words) if !ui.is_json() => ui.line(&words),
            Ok(_) => {}
            Err(words) => problems.push(words),
        }
    }
    match problems.is_empty() {
        true => Ok(()),
        false => bail!(problems.join("\n")),
    }
}

/// How a cluster stands. The password is that of the lab, where its VMs join by a file with one and
/// the command line says nothing else.
fn ask(cluster: &Cluster<'_>, credentials: &Credentials, ui: &Ui) -> Result<Standing> {
    let members = Members::of(cluster, Purpose::Look);
    let mut joins = cluster.vms.iter().filter_map(|(vm, _)| vm.cluster.as_ref());
    let file = joins.find_map(|join| match &join.with {
        JoinWith::PasswordFile(file) => Some(file.clone()),
        JoinWith::Ticket => None,
    });
    let granted = match (credentials, file) {
        (Credentials::Terminal, Some(file)) => {
            members.log_in(&Credentials::PasswordFile(file), ui)?
        }
        _ => members.log_in(credentials, ui)?,
    };
    members.standing(&granted)
}

/// The votes of a cluster.
#[derive(Debug, PartialEq, Eq)]
struct Count {
    /// Of all nodes.
    expected: u64,
    /// More than half of them.
    needed: u64,
    /// Of the nodes that are online.
    online: u64,
    /// Of those that stay online.
    left: u64,
}

impl Count {
    fn of(standing: &Standing, without: &[&str]) -> Self {
        let sum = |of: &dyn Fn(&Node) -> bool| -> u64 {
            let nodes = standing.nodes.iter().filter(|node| of(node));
            nodes.map(|node| node.votes).sum()
        };
        let expected = sum(&|_| true);
        Count {
            expected,
            needed: expected / 2 + 1,
            online: sum(&|node| node.online),
            left: sum(&|node| node.online && !without.contains(&node.name.as_str())),
        }
    }

    fn is_enough(&self) -> bool {
        self.left >= self.needed
    }
}

/// Whether the cluster has quorum, and keeps it without these nodes: what can be said of that, or
/// why not, and what to do.
fn verdict(label: &str, standing: &Standing, names: &[&str]) -> Result<String, String> {
    let count = Count::of(standing, names);
    let Count {
        expected,
        needed,
        online,
        left,
    } = count;
    let what = match standing.nodes.iter().all(|node| node.votes == 1) {
        true => "nodes",
        false => "votes",
    };
    let others = standing.nodes.iter().filter(|node| {
        let is_other = !names.contains(&node.name.as_str());
        is_other && !node.online && node.votes > 0
    });
    let offline: Vec<&Node> = others.collect();
    let offline_names: Vec<&str> = offline.iter().map(|node| node.name.as_str()).collect();
    let are = match offline.len() {
        1 => "is",
        _ => "are",
    };
    let start = || {
        let names = first_few(&offline_names);
        format!("start another node first: {names} {are} offline")
    };
    if !standing.quorate {
        let remedy = match offline.is_empty() {
            true => "on a member, pvecm status and journalctl -u corosync tell why".to_owned(),
            false => start(),
        };
        return Err(format!(
            "{label} has no quorum: {online} of its {expected} {what} are online, and {needed} are \
             needed\n  right: {remedy}"
        ));
    }
    if count.is_enough() {
        let mut words = format!(
            "{label} keeps its quorum without {}: {left} of its {expected} {what} stay online, and \
             {needed} are needed",
            names.join(", ")
        );
        for name in names {
            let node = standing.nodes.iter().find(|node| node.name == *name);
            let why = match node {
                None => "is no member of it",
                Some(node) if !node.online => "is offline already",
                Some(node) if node.votes == 0 => "has no vote",
                Some(_) => continue,
            };
            words.push_str(&format!("; {name} {why}"));
        }
        return Ok(words);
    }
    let (are_among, them) = match (names, online - left) {
        ([name], 1) => (format!("{name} is one of them"), "it"),
        ([name], votes) => (format!("{name} has {votes} of them"), "it"),
        (_, votes) => (format!("{} have {votes} of them", names.join(", ")), "them"),
    };
    let alone = |name: &&str| Count::of(standing, &[name]).is_enough();
    let startable: u64 = offline.iter().map(|node| node.votes).sum();
    let remedy = if names.len() > 1 && names.iter().all(alone) {
        "one after the other".to_owned()
    } else if left + startable >= needed {
        start()
    } else {
        format!(
            "one more member with a vote; or `votes: 0` in `cluster` of {}, which takes effect \
             with a new seed at the next start",
            names.join(", ")
        )
    };
    Err(format!(
        "{label}: {online} of its {expected} {what} are online, {are_among}; without {them} {left} \
         of {expected} are no quorum, {needed} are needed\n  right: {remedy}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// (name, votes, online)
    fn standing(nodes: &[(&str, u64, bool)]) -> Standing {
        let nodes = nodes.iter().map(|(name, votes, online)| Node {
            name: (*name).to_owned(),
            votes: *votes,
            online: *online,
        });
        let mut standing = Standing {
            quorate: true,
            qdevice: false,
            nodes: nodes.collect(),
        };
        let count = Count::of(&standing, &[]);
        standing.quorate = count.is_enough();
        standing
    }

    fn found(nodes: &[(&str, u64, bool)], names: &[&str]) -> Result<String, String> {
        verdict("the cluster school", &standing(nodes), names)
    }

    const FIVE: [(&str, u64, bool); 5] = [
        ("pve1", 1, true),
        ("pve2", 1, true),
        ("vm41", 1, true),
        ("vm42", 1, true),
        ("vm43", 1, true),
    ];

    #[test]
    fn a_majority_stays() {
        assert_eq!(
            found(&FIVE, &["vm41"]).unwrap(),
            "the cluster school keeps its quorum without vm41: 4 of its 5 nodes stay online, and 3 \
             are needed"
        );
        assert_eq!(
            found(&FIVE, &["vm41", "vm42", "vm50"]).unwrap(),
            "the cluster school keeps its quorum without vm41, vm42, vm50: 3 of its 5 nodes stay \
             online, and 3 are needed; vm50 is no member of it"
        );
        let mut nodes = FIVE;
        nodes[4] = ("vm43", 0, true);
        nodes[3].2 = false;
        assert_eq!(
            found(&nodes, &["vm42", "vm43"]).unwrap(),
            "the cluster school keeps its quorum without vm42, vm43: 3 of its 4 votes stay online, \
             and 3 are needed; vm42 is offline already; vm43 has no vote"
        );
    }

    #[test]
    fn no_majority_would_stay() {
        let mut nodes = FIVE;
        nodes[0].2 = false;
        nodes[4].2 = false;
        assert_eq!(
            found(&nodes, &["vm41"]).unwrap_err(),
            "the cluster school: 3 of its 5 nodes are online, vm41 is one of them; without it 2 of \
             5 are no quorum, 3 are needed\n  right: start another node first: pve1, vm43 are \
             offline"
        );
        assert_eq!(
            found(&FIVE, &["vm41", "vm42", "vm43"]).unwrap_err(),
            "the cluster school: 5 of its 5 nodes are online, vm41, vm42, vm43 have 3 of them; \
             without them 2 of 5 are no quorum, 3 are needed\n  right: one after the other"
        );
        let heavy = [("pve1", 1, true), ("pve2", 1, true), ("vm41", 3, true)];
        assert_eq!(
            found(&heavy, &["vm41"]).unwrap_err(),
            "the cluster school: 5 of its 5 votes are online, vm41 has 3 of them; without it 2 of 5 \
             are no quorum, 3 are needed\n  right: one more member with a vote; or `votes: 0` in \
             `cluster` of vm41, which takes effect with a new seed at the next start"
        );
    }

    /// Each of two nodes is half of the votes, and half is no majority.
    #[test]
    fn two_nodes() {
        assert_eq!(
            found(&[("pve1", 1, true), ("vm41", 1, true)], &["vm41"]).unwrap_err(),
            "the cluster school: 2 of its 2 nodes are online, vm41 is one of them; without it 1 of \
             2 are no quorum, 2 are needed\n  right: one more member with a vote; or `votes: 0` in \
             `cluster` of vm41, which takes effect with a new seed at the next start"
        );
        let voteless = [("pve1", 1, true), ("vm41", 0, true)];
        assert_eq!(
            found(&voteless, &["vm41"]).unwrap(),
            "the cluster school keeps its quorum without vm41: 1 of its 1 votes stay online, and 1 \
             are needed; vm41 has no vote"
        );
    }

    #[test]
    fn none_now() {
        let mut nodes = FIVE;
        for node in &mut nodes[1..4] {
            node.2 = false;
        }
        // Whatever goes off: nothing can be taken in again either.
        for name in ["vm41", "vm50"] {
            assert_eq!(
                found(&nodes, &[name]).unwrap_err(),
                format!(
                    "the cluster school has no quorum: 2 of its 5 nodes are online, and 3 are \
                     needed\n  right: start another node first: pve2, {}vm42 are offline",
                    match name {
                        "vm41" => "",
                        _ => "vm41, ",
                    }
                )
            );
        }
        let mut standing = standing(&FIVE);
        standing.quorate = false;
        assert_eq!(
            verdict("the cluster school", &standing, &["vm41"]).unwrap_err(),
            "the cluster school has no quorum: 5 of its 5 nodes are online, and 3 are needed\n  \
             right: on a member, pvecm status and journalctl -u corosync tell why"
        );
    }
}
