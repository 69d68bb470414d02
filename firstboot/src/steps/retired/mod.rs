//! `retired`: a node that was taken out of its cluster for good never speaks to it again.
//!
//! A deleted member that boots with its old disk still has the cluster's key and its old list
//! of members, and disturbs the ones that are left. What makes it a member is taken away
//! before corosync and pmxcfs start, in this order:
//!
//! 1. `/etc/corosync/authkey`: with `secauth: on`, which every cluster made by Proxmox has,
//!    corosync does not start without its key, whatever else is there;
//! 2. `/var/lib/pve-cluster/config.db`: it holds the cluster's `corosync.conf`, which pmxcfs
//!    writes to `/etc/corosync` again whenever it finds it in its database. It is moved aside,
//!    not removed: it also holds the definitions of guests. pmxcfs then begins an empty one;
//! 3. `/etc/corosync/corosync.conf`: without it corosync's unit is not started at all. It goes
//!    last, so that a run that was cut is seen to be unfinished.

use crate::cluster::corosync::{AUTHKEY, CONF, remove_unfinished};
use crate::step::{Context, Outcome};
use crate::system::root::Root;
use anyhow::Result;

const FOLDER: &str = "/var/lib/pve-cluster";
const DATABASE: &str = "config.db";

/// Takes away what makes this machine a member of its cluster.
pub(crate) fn run(context: &Context) -> Result<Outcome> {
    let proxmox = context.seed.user_data.proxmox.as_ref();
    if !proxmox.is_some_and(|p| p.retired) {
        return Ok(Outcome::unchanged_because("not retired"));
    }
    let root = context.root;
    let was_member = root.exists(AUTHKEY)? || root.exists(CONF)?;
    let mut done = Vec::new();
    let unfinished = remove_unfinished(root)?;
    if root.remove_file(AUTHKEY)? {
        done.push(format!("{AUTHKEY} removed"));
    }
    done.extend(move_database(root, was_member)?);
    if root.remove_file(CONF)? {
        done.push(format!("{CONF} removed"));
    }
    if unfinished {
        done.push("what a join that was cut had left of them removed".to_owned());
    }
    if done.is_empty() {
        return Ok(Outcome::unchanged_because(
            "retired; nothing of a cluster is left",
        ));
    }
    Ok(Outcome::changed(done.join(", ")))
}

/// Moves the database and what SQLite keeps beside it; says so when there was one.
fn move_database(root: &Root, was_member: bool) -> Result<Option<String>> {
    let aside = aside(root)?;
    // A database beside an earlier one that was moved is the empty one that pmxcfs began
    // afterwards, unless the node has joined again since.
    if !was_member && !aside.is_first {
        return Ok(None);
    }
    let mut files = root.list(FOLDER)?;
    files.retain(|name| name.starts_with(DATABASE));
    if files.is_empty() {
        return Ok(None);
    }
    // The database last: as long as it is there, the next run knows that it is not done.
    files.sort_by_key(|name| name == DATABASE);
    root.ensure_folder(&aside.folder, 0o700)?;
    for name in &files {
        let to = format!("{}/{name}", aside.folder);
        root.rename(&format!("{FOLDER}/{name}"), &to)?;
    }
    Ok(Some(format!(
        "{FOLDER}/{DATABASE} moved to {}",
        aside.folder
    )))
}

/// Where a database goes.
struct Aside {
    folder: String,
    /// Whether none was moved before.
    is_first: bool,
}

/// The first folder that holds no database yet.
fn aside(root: &Root) -> Result<Aside> {
    let mut folder = format!("{FOLDER}/retired");
    let mut number = 1;
    while root.exists(&format!("{folder}/{DATABASE}"))? {
        number += 1;
        folder = format!("{FOLDER}/retired.{number}");
    }
    Ok(Aside {
        folder,
        is_first: number == 1,
    })
}

#[cfg(test)]
mod tests;
