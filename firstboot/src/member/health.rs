//! How a member is: from its own files and daemons, without asking anybody.

use crate::steps::join::machine::Corosync;
use crate::steps::join::members::Members;
use crate::steps::join::observe::{self, AUTHKEY};
use crate::steps::votes::store;
use crate::system::root::Root;
use std::time::Duration;

/// How long one of corosync's tools may take; they answer at once, or hang with it.
const TOOL: Duration = Duration::from_secs(10);

/// What is the matter with a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// It has no key of a cluster.
    NoMember,
    /// It is online, in a cluster with quorum.
    Well,
    /// corosync has ended by itself, and systemd does not start it again.
    Stopped,
    /// corosync runs, and there is no quorum; with how many others it is connected.
    Inquorate {
        /// Other nodes to which a link is up.
        connected: usize,
    },
    /// corosync has quorum, and pmxcfs takes no part.
    FileSystemHangs,
    /// What others mend: systemd, the join, or the admin who stopped something.
    Other,
}

/// Looks at the node `name`.
pub fn look(root: &Root, name: &str) -> Health {
    if !root.exists(AUTHKEY).unwrap_or(false) {
        return Health::NoMember;
    }
    let members = Members::of(root);
    if members.as_ref().is_some_and(|m| m.online_in(name).is_ok()) {
        return Health::Well;
    }
    let Ok(corosync) = observe::corosync(root) else {
        return Health::Other;
    };
    match (corosync, members) {
        (Corosync::Failed, _) => Health::Stopped,
        (Corosync::Inactive, _) | (_, None) => Health::Other,
        // A join that was cut: pmxcfs takes part in nothing.
        (_, Some(members)) if members.cluster.is_none() && !store::is_usable(root) => Health::Other,
        // Where an admin has stopped pmxcfs, and runs it by hand, it is his.
        _ if has_quorum(root) => match root.is_active("pve-cluster") {
            Ok(true) => Health::FileSystemHangs,
            _ => Health::Other,
        },
        _ => Health::Inquorate {
            connected: tool(root, "corosync-cfgtool", "-s").map_or(0, |text| connected(&text)),
        },
    }
}

/// Whether corosync itself says that it has quorum.
pub fn has_quorum(root: &Root) -> bool {
    tool(root, "corosync-quorumtool", "-s").is_some_and(|text| is_quorate(&text))
}

/// What a tool printed, whatever its exit code: that of `corosync-quorumtool -s` is 2 without quorum.
fn tool(root: &Root, program: &str, word: &str) -> Option<String> {
    let ended = root.run_within(program, &[word], TOOL).ok().flatten();
    ended.map(|ended| ended.output)
}

fn is_quorate(text: &str) -> bool {
    let value = text.lines().find_map(|line| line.strip_prefix("Quorate:"));
    value.is_some_and(|value| value.trim() == "Yes")
}

/// How many nodes `corosync-cfgtool -s` shows as connected, on any link; this one is `localhost`.
fn connected(text: &str) -> usize {
    let ids = text.lines().filter_map(|line| {
        let rest = line.trim().strip_prefix("nodeid:")?;
        let (id, state) = rest.split_once(':')?;
        (state.trim() == "connected").then(|| id.trim())
    });
    ids.collect::<std::collections::BTreeSet<_>>().len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steps::join::members;

    #[test]
    fn corosync_tools() {
        // Transcript 28, the stale member.
        let status = "Quorum provider:  corosync_votequorum\nNodes:            1\nNode ID:          4\n\
                      Ring ID:          4.6cb\nQuorate:          No\n\nVotequorum information\n";
        assert!(!is_quorate(status));
        assert!(is_quorate(&status.replace("No\n", "Yes\n")));
        assert!(!is_quorate("Cannot initialize CMAP service\n"));
        let links = "Local node ID 4, transport knet\nLINK ID 0 udp\n\taddr\t= 10.120.0.41\n\tstatus:\n\
                     \t\tnodeid:          1:\tconnected\n\t\tnodeid:          2:\tdisconnected\n\
                     \t\tnodeid:          4:\tlocalhost\nLINK ID 1 udp\n\taddr\t= 10.121.0.41\n\
                     \tstatus:\n\t\tnodeid:          1:\tconnected\n\t\tnodeid:          3:\tconnected\n";
        assert_eq!(connected(links), 2);
        assert_eq!(connected(""), 0);
    }

    #[test]
    fn a_machine_without_a_key_is_no_member() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(look(&Root::new(folder.path()), "vm42"), Health::NoMember);
    }

    #[test]
    fn quorum_is_enough() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::new(folder.path());
        root.write(AUTHKEY, b"key", 0o400).unwrap();
        let text = "{\"nodename\": \"vm42\", \"cluster\": {\"name\": \"c\", \"quorate\": 1}, \
                    \"nodelist\": {\"vm42\": {\"online\": 1}}}";
        root.write(members::FILE, text.as_bytes(), 0o644).unwrap();
        assert_eq!(look(&root, "vm42"), Health::Well);
    }
}
