//! The cluster's file system as the steps after the join need it: is it there, has it quorum,
//! and which of its errors time may mend.

use crate::cluster::members::{FILE as MEMBERS, Members};
use crate::step::{Context, RetryLater};
use crate::system::backoff;
use crate::system::root::Root;
use anyhow::{Result, bail};
use std::io::ErrorKind;
use std::time::Duration;

/// What only a node with Proxmox VE has.
const PVECM: &str = "/usr/bin/pvecm";
/// When a lock that was left behind is gone: pmxcfs drops it after 120 s, as soon as
/// somebody asks for it.
pub(crate) const LOCK_GONE: Duration = Duration::from_secs(130);

/// How long pmxcfs may take to mount `/etc/pve` at a boot.
pub(crate) const MOUNT_WAIT: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    Unmounted,
    /// It is in no cluster.
    Alone,
    /// It is in a cluster.
    Member {
        /// Whether it may write.
        quorate: bool,
    },
}

/// Looks at the list of members.
pub(crate) fn standing(root: &Root) -> Result<Standing> {
    let Some(text) = root.read_text(MEMBERS).map_err(retry_if_passing)? else {
        return Ok(Standing::Unmounted);
    };
    let members = Members::parse(&text)
        .map_err(|error| RetryLater::because(format!("cannot read {MEMBERS}: {error}")))?;
    Ok(match members.cluster {
        None => Standing::Alone,
        Some(cluster) => Standing::Member {
            quorate: cluster.quorate == 1,
        },
    })
}

/// Whether this node is in a cluster whose files can be changed now. `false` is a node on its
/// own that is to stay so. [`RetryLater`] when it is to be in a cluster and is not, or not with
/// quorum: the change is still to be made.
pub(crate) fn is_member(context: &Context) -> Result<bool> {
    if context.root.kind(PVECM)?.is_none() {
        bail!("Proxmox VE is not installed (no {PVECM})");
    }
    let joins = context.seed.cluster().is_some();
    let reason = match standing(context.root)? {
        Standing::Member { quorate: true } => return Ok(true),
        Standing::Alone if !joins => return Ok(false),
        Standing::Alone => "this node is in no cluster",
        Standing::Member { quorate: false } => "the cluster has no quorum",
        Standing::Unmounted => "the cluster file system is not mounted on /etc/pve",
    };
    Err(RetryLater::because(reason).into())
}

/// Makes a [`RetryLater`] of what pmxcfs says while it has no quorum (everything is read-only and
/// belongs to nobody) or is being restarted; any other error stays.
pub(crate) fn retry_if_passing(error: anyhow::Error) -> anyhow::Error {
    let passing = error.chain().any(|cause| {
        let Some(error) = cause.downcast_ref::<std::io::Error>() else {
            return false;
        };
        matches!(
            error.kind(),
            ErrorKind::PermissionDenied
                | ErrorKind::ReadOnlyFilesystem
                | ErrorKind::NotConnected
                | ErrorKind::ResourceBusy
        ) || error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error())
    });
    if passing {
        return RetryLater::because(format!("{error:#} (the cluster may have no quorum)")).into();
    }
    error
}

/// How long pmxcfs may lag behind corosync. It takes some seconds; more was seen once, and lasted.
pub(crate) const LAG: Duration = Duration::from_secs(20);

/// Restarts a pmxcfs that takes no part in a cluster with quorum; says so. Seen once after corosync was
/// restarted under it: no cluster for minutes, and a restart mended it in 8 s. The caller has the
/// right to do so; see `cluster::corosync::services`.
pub(crate) fn restart(root: &Root) -> String {
    match root.systemctl(&["restart", "pve-cluster"]) {
        Ok(_) => format!(
            "corosync has quorum, and pmxcfs took no part in it for {} s: pve-cluster was restarted",
            LAG.as_secs()
        ),
        Err(error) => format!("pmxcfs hangs, and cannot be restarted: {error:#}"),
    }
}

/// Waits a short random time, so that two nodes that met do not meet again.
pub(crate) fn short_pause() {
    std::thread::sleep(Duration::from_secs_f64(0.1 + 0.9 * backoff::chance()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::step::tests::{joining, with_context};
    use crate::system::root::tests::tree;
    use anyhow::Context as _;

    fn look(members: &str) -> Result<Standing> {
        let (_folder, root) = tree();
        root.write(MEMBERS, members.as_bytes(), 0o644).unwrap();
        standing(&root)
    }

    #[test]
    fn what_the_list_of_members_says() {
        let member = |quorate: u8| {
            format!(
                "{{\n\"nodename\": \"beta\",\n\"version\": 4,\n\"cluster\": {{ \"name\": \
                 \"labcluster\", \"version\": 2, \"nodes\": 2, \"quorate\": {quorate} }},\n\
                 \"nodelist\": {{\n  }}\n}}\n"
            )
        };
        let quorate = Standing::Member { quorate: true };
        assert_eq!(look(&member(1)).unwrap(), quorate);
        let inquorate = Standing::Member { quorate: false };
        assert_eq!(look(&member(0)).unwrap(), inquorate);
        let alone = "{\n\"nodename\": \"gamma\",\n\"version\": 1\n}\n";
        assert_eq!(look(alone).unwrap(), Standing::Alone);
        assert!(look("{").unwrap_err().is::<RetryLater>());
        let folder = tempfile::tempdir().unwrap();
        let unmounted = standing(&Root::new(folder.path())).unwrap();
        assert_eq!(unmounted, Standing::Unmounted);
    }

    #[test]
    fn a_node_that_is_to_be_a_member_is_asked_again() {
        let (_folder, root) = tree();
        let ask = |user_data: &str| with_context(&root, user_data, is_member);
        let later = |user_data: &str| ask(user_data).unwrap_err().downcast::<RetryLater>();
        let alone = "proxmox: {ha: {groups: [ab]}}";
        let error = ask(alone).unwrap_err();
        assert_eq!(
            error.to_string(),
            "Proxmox VE is not installed (no /usr/bin/pvecm)"
        );
        assert!(!error.is::<RetryLater>());
        root.write(PVECM, b"", 0o755).unwrap();
        let reason = later(alone).unwrap().reason;
        assert_eq!(reason, "the cluster file system is not mounted on /etc/pve");
        root.write(MEMBERS, b"{\"nodename\": \"vm42\", \"version\": 1}", 0o644)
            .unwrap();
        assert!(!ask(alone).unwrap());
        let reason = later(&joining("")).unwrap().reason;
        assert_eq!(reason, "this node is in no cluster");
        for quorate in [false, true] {
            let text = format!(
                "{{\"nodename\": \"vm42\", \"cluster\": {{\"name\": \"c\", \"quorate\": {}}}}}",
                u8::from(quorate)
            );
            root.write(MEMBERS, text.as_bytes(), 0o644).unwrap();
            match quorate {
                true => assert!(ask(alone).unwrap() && ask(&joining("")).unwrap()),
                false => assert!(later(alone).unwrap().reason.ends_with("has no quorum")),
            }
        }
    }

    #[test]
    fn a_file_system_without_quorum_is_for_later() {
        let error = |kind: ErrorKind| {
            let result: std::io::Result<()> = Err(kind.into());
            retry_if_passing(result.context("cannot write /etc/pve/x").unwrap_err())
        };
        let later = error(ErrorKind::PermissionDenied);
        let reason = &later.downcast_ref::<RetryLater>().unwrap().reason;
        assert!(reason.starts_with("cannot write /etc/pve/x: "), "{reason}");
        assert!(error(ErrorKind::NotConnected).is::<RetryLater>());
        assert!(!error(ErrorKind::StorageFull).is::<RetryLater>());
        assert!(!retry_if_passing(anyhow::anyhow!("x")).is::<RetryLater>());
    }
}
