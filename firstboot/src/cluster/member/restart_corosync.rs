//! Taking up the cluster's newest `corosync.conf`, and what follows it.

use super::others::{self, Answer};
use crate::cluster::corosync::{CONF, effective_conf, hold, own_conf, release};
use crate::cluster::corosync_conf::Conf;
use crate::system::addresses;
use crate::system::root::Root;
use anyhow::{Result, bail};
use std::time::Duration;

/// How long the others may take to answer, in all.
const ASKING: Duration = Duration::from_secs(20);

/// How another member's file compares with this node's.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Compared {
    /// It is not newer.
    Same,
    /// It is newer, and may take the place of this node's.
    Newer,
    /// It is newer, and this node is not in it, or elsewhere; in words.
    Foreign(String),
}

/// Compares another member's file with the `own` one of the node `name`. One that is newer must know
/// this node, at an address of the own file or at one that this machine has (`is_own`: the cluster's
/// network may have been renumbered); otherwise it was removed, and must not speak to the cluster.
pub(crate) fn compare(
    other: &Conf,
    own: &Conf,
    name: &str,
    is_own: &dyn Fn(&str) -> bool,
) -> Compared {
    if other.version <= own.version {
        return Compared::Same;
    }
    let known = own.node(name).map(|node| &node.links[..]);
    let is_here = |link: &String| known.unwrap_or_default().contains(link) || is_own(link);
    match other.node(name) {
        Some(node) if node.links.iter().any(is_here) => Compared::Newer,
        None => Compared::Foreign(format!(
            "it no longer lists {name}: this node was removed from the cluster, and must not \
             come back. For a new node of this name delete the VM's disk on the host and seed again"
        )),
        Some(node) => Compared::Foreign(format!("it has {name} at {}", node.links.join(", "))),
    }
}

/// Writes the newer file whole and durably.
pub(crate) fn take_conf(root: &Root, answer: &Answer) -> Result<()> {
    root.ensure(CONF, answer.text.as_bytes(), 0o644).map(drop)
}

/// Brings a corosync up to date that has stopped, or that runs without quorum, when another member
/// has a newer file: corosync is stopped, the file taken, corosync started. A corosync that had
/// `stopped` is started in any case. The caller has the right to do so; see
/// [`services`](crate::cluster::corosync::services).
///
/// Returns what was done; `None` when there was nothing to do. An error says why it cannot be done
/// yet.
pub(crate) fn with_newest_conf(root: &Root, name: &str, stopped: bool) -> Result<Option<String>> {
    let own = match stopped {
        true => own_conf(root)?,
        false => effective_conf(root)?,
    };
    let asked = others::ask(root, &own, name, ASKING);
    let Some(answer) = &asked.newest else {
        if !stopped {
            // Nobody is there: that is why there is no quorum.
            return Ok(None);
        }
        bail!("no other member gave its {CONF}: {}", asked.reasons());
    };
    let (from, version) = (&answer.from, answer.conf.version);
    match compare(&answer.conf, &own, name, &addresses::is_own) {
        Compared::Same if !stopped => Ok(None),
        Compared::Same => {
            restart(root)?;
            Ok(Some(format!(
                "corosync had stopped; it runs again, with version {} of {CONF}",
                own.version
            )))
        }
        Compared::Newer => {
            take_conf(root, answer)?;
            restart(root)?;
            let how = match stopped {
                true => "had stopped",
                false => "ran without quorum, and disturbed the others,",
            };
            Ok(Some(format!(
                "corosync {how} with version {} of {CONF}; it runs again, with version {version} \
                 from {from}",
                own.version
            )))
        }
        Compared::Foreign(why) => {
            hold(root, true)?;
            bail!("corosync stays off: {from} has version {version} of {CONF}, and {why}")
        }
    }
}

/// One job, so that no cut of this program leaves corosync off.
fn restart(root: &Root) -> Result<()> {
    release(root)?;
    root.query("systemctl", &["reset-failed", "corosync"])?;
    root.systemctl(&["restart", "corosync"])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conf(version: u64, nodes: &[(&str, &str)]) -> Conf {
        let mut text = "nodelist {\n".to_owned();
        for (number, (name, address)) in nodes.iter().enumerate() {
            text.push_str(&format!(
                "  node {{\n    name: {name}\n    nodeid: {}\n    ring0_addr: {address}\n  }}\n",
                number + 1
            ));
        }
        text += &format!("}}\n\ntotem {{\n  cluster_name: c\n  config_version: {version}\n}}\n");
        crate::cluster::corosync_conf::parse(&text).unwrap()
    }

    #[test]
    fn only_a_newer_file_that_knows_this_node_is_taken() {
        let (alpha, own) = (("alpha", "10.0.0.1"), ("vm42", "10.0.0.42"));
        let mine = conf(8, &[alpha, own]);
        let is_own = |address: &str| address == "10.1.0.42";
        let of = |version, nodes: &[_]| compare(&conf(version, nodes), &mine, "vm42", &is_own);
        let third = ("vm43", "10.0.0.43");
        assert_eq!(of(9, &[alpha, own, third]), Compared::Newer);
        assert_eq!(of(8, &[alpha, own]), Compared::Same);
        // Who was off when this node was added does not list it.
        assert_eq!(of(7, &[alpha]), Compared::Same);
        let Compared::Foreign(why) = of(9, &[alpha]) else {
            panic!("taken");
        };
        assert!(why.contains("was removed from the cluster"), "{why}");
        // Another network, on which this machine has the address, too.
        assert_eq!(of(9, &[alpha, ("vm42", "10.1.0.42")]), Compared::Newer);
        let elsewhere = of(9, &[alpha, ("vm42", "10.0.0.52")]);
        assert_eq!(
            elsewhere,
            Compared::Foreign("it has vm42 at 10.0.0.52".to_owned())
        );
    }
}
