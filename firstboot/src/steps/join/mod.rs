//! `join`: this node is a member of the seed's cluster.
//!
//! One run of the step is one attempt: it looks where this node is, does what the [`machine`]
//! says, and looks again, until the node is a member or until there is nothing to do but wait.
//! Then the error is a [`RetryLater`](crate::step::RetryLater), and the step is run again; see the runner for the pauses.

mod attempt;
pub(crate) mod machine;
pub(crate) mod observe;
pub(crate) mod pass;
mod race;
mod refusals;
mod stale;

use crate::cluster::corosync::{self, AUTHKEY};
use crate::step::{Context, Outcome, RetryLater};
use crate::system::root::Kind;
use crate::system::ssh_host_keys::{self, RsaKey};
use anyhow::{Result, bail};
use attempt::Attempt;

/// Joins, unless there is nothing to join or it is done.
pub(crate) fn run(context: &Context) -> Result<Outcome> {
    let proxmox = context.seed.user_data.proxmox.as_ref();
    if proxmox.is_some_and(|p| p.retired) {
        return Ok(Outcome::unchanged_because(
            "retired: this node was taken out of its cluster for good, and does not join again",
        ));
    }
    let Some(cluster) = context.seed.cluster() else {
        return Ok(Outcome::unchanged_because("no cluster in the seed"));
    };
    if !context.root.is_live() {
        bail!("cannot join a cluster: this needs the running machine, not a root folder");
    }
    if context.root.kind("/usr/bin/pvecm")?.is_none() {
        bail!("cannot join a cluster: Proxmox VE is not installed (no /usr/bin/pvecm)");
    }
    rsa_key(context)?;
    let (name, through) = Attempt::new(context, cluster)?.join()?;
    let tidied = tidy(context)?;
    Ok(match through {
        Some(how) => Outcome::changed(format!("member of {name}, {how}")),
        None => Outcome::with_details(tidied, vec![format!("already a member of {name}")]),
    })
}

/// The RSA host key, which is made in the background, is there: without it a join fails at its end.
fn rsa_key(context: &Context) -> Result<()> {
    if !ssh_host_keys::is_rsa_due(context.root)? {
        return Ok(());
    }
    (context.log)("waiting for this machine's RSA host key, which Proxmox VE reads");
    match ssh_host_keys::make_rsa(context.root, &context.name, ssh_host_keys::PATIENCE)? {
        RsaKey::InTheMaking => Err(RetryLater::because(
            "this machine's RSA host key is still being made; see journalctl -u firstboot-rsa-key",
        )
        .into()),
        RsaKey::Made | RsaKey::Unchanged => Ok(()),
    }
}

/// What a join leaves to do: corosync's key is readable by all, and so is what an earlier one that was
/// cut has left of it.
fn tidy(context: &Context) -> Result<bool> {
    let removed = corosync::remove_unfinished(context.root)?;
    if context.root.kind(AUTHKEY)? == Some(Kind::File) {
        return Ok(context.root.ensure_mode(AUTHKEY, 0o400)? || removed);
    }
    Ok(removed)
}
