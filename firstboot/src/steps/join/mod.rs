//! `join`: this node is a member of the seed's cluster.
//!
//! One run of the step is one attempt: it looks where this node is, does what the [`machine`]
//! says, and looks again, until the node is a member or until there is nothing to do but wait.
//! Then the error is a [`Later`], and the step is run again; see the runner for the pauses.

mod attempt;
pub mod judge;
pub mod machine;
pub mod members;
pub mod observe;
pub mod peers;
mod pvecm;
mod race;
mod refusals;
mod stale;
pub mod talk;

use super::pmxcfs::later_if_mended;
use super::{Context, Later, Outcome, ssh_keys};
use crate::root::Kind;
use anyhow::{Result, bail};
use attempt::Attempt;
use observe::AUTHKEY;
use std::time::{Duration, Instant};

/// How long pmxcfs may take to mount `/etc/pve` at a boot.
const MOUNT_WAIT: Duration = Duration::from_secs(60);

/// Joins, unless there is nothing to join or it is done.
pub fn run(context: &Context) -> Result<Outcome> {
    let proxmox = context.seed.user_data.proxmox.as_ref();
    if proxmox.is_some_and(|p| p.retired) {
        return Ok(Outcome::unchanged_because(
            "retired: this node was taken out of its cluster for good, and does not join again",
        ));
    }
    let Some(cluster) = context.seed.cluster() else {
        return no_cluster(context);
    };
    if !context.root.is_live() {
        bail!("cannot join a cluster: this needs the running machine, not a root folder");
    }
    if context.root.kind("/usr/bin/pvecm")?.is_none() {
        bail!("cannot join a cluster: Proxmox VE is not installed (no /usr/bin/pvecm)");
    }
    let (name, through) = Attempt::new(context, cluster).run()?;
    let tidied = tidy(context).map_err(later_if_mended)?;
    Ok(match through {
        Some(how) => Outcome::changed(format!("member of {name}, {how}")),
        None => Outcome {
            changed: tidied,
            detail: Some(format!("already a member of {name}")),
        },
    })
}

/// Nothing to join. The keys of a node that has joined before may still have to go into its
/// cluster's file system, which the local stage cannot reach.
fn no_cluster(context: &Context) -> Result<Outcome> {
    let mut changed = false;
    if context.root.is_live() && ssh_keys::are_in_pve(context.root)? {
        let deadline = Instant::now() + MOUNT_WAIT;
        while context.root.read(members::FILE)?.is_none() {
            if Instant::now() > deadline {
                return Err(Later::because(attempt::not_mounted(&context.name)).into());
            }
            std::thread::sleep(Duration::from_millis(500));
        }
        changed = tidy(context).map_err(later_if_mended)?;
    }
    Ok(Outcome {
        changed,
        detail: Some("no cluster in the seed".to_owned()),
    })
}

/// What a join leaves to do: corosync's key is readable by all, and root's keys are gone.
fn tidy(context: &Context) -> Result<bool> {
    let mut changed = false;
    if context.root.kind(AUTHKEY)? == Some(Kind::File) {
        changed |= context.root.ensure_mode(AUTHKEY, 0o400)?;
    }
    changed |= ssh_keys::run(context)?.changed;
    Ok(changed)
}
