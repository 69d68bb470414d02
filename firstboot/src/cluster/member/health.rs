//! How a member is: from its own files and daemons, without asking anybody.

use crate::cluster::corosync::{self, AUTHKEY, Corosync};
use crate::cluster::corosync_conf::store;
use crate::cluster::members::Members;
use crate::system::root::Root;

/// What is the matter with a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Health {
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
pub(super) fn look(root: &Root, name: &str) -> Health {
    if !root.exists(AUTHKEY).unwrap_or(false) {
        return Health::NoMember;
    }
    let members = Members::of(root);
    if members.as_ref().is_some_and(|m| m.online_in(name).is_ok()) {
        return Health::Well;
    }
    let Ok(corosync) = corosync::state(root) else {
        return Health::Other;
    };
    match (corosync, members) {
        (Corosync::Failed, _) => Health::Stopped,
        (Corosync::Inactive, _) | (_, None) => Health::Other,
        // A join that was cut: pmxcfs takes part in nothing.
        (_, Some(members)) if members.cluster.is_none() && !store::is_usable(root) => Health::Other,
        // Where an admin has stopped pmxcfs, and runs it by hand, it is his.
        _ if corosync::has_quorum(root) => match root.is_active("pve-cluster") {
            Ok(true) => Health::FileSystemHangs,
            _ => Health::Other,
        },
        _ => Health::Inquorate {
            connected: corosync::connected(root),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::members;
    use crate::system::root::tests::tree;

    #[test]
    fn a_machine_without_a_key_is_no_member() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(look(&Root::new(folder.path()), "vm42"), Health::NoMember);
    }

    #[test]
    fn quorum_is_enough() {
        let (_folder, root) = tree();
        root.write(AUTHKEY, b"key", 0o400).unwrap();
        let text = "{\"nodename\": \"vm42\", \"cluster\": {\"name\": \"c\", \"quorate\": 1}, \
                    \"nodelist\": {\"vm42\": {\"online\": 1}}}";
        root.write(members::FILE, text.as_bytes(), 0o644).unwrap();
        assert_eq!(look(&root, "vm42"), Health::Well);
    }
}
