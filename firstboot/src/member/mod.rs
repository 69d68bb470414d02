//! A member stays one, and disturbs nobody: what a node that is switched off at any moment needs.
//!
//! Each join and each change of votes raises `config_version` in the cluster's `corosync.conf`. A
//! node that was off, or cut off, at that moment has the older file. When its corosync meets the
//! others, one of two things happens (both seen):
//!
//! - it says `Received config version (9) is different than my config version (8)! Exiting`, and
//!   systemd does not start it again;
//! - it stays, alone and without quorum, and **all others form a new membership every ten
//!   seconds** for as long as it runs: writes to `/etc/pve` take six seconds, locks time out.
//!
//! By hand, an admin copies the file from another node and restarts corosync. On PCs that are
//! switched off at any moment this is an everyday event, so it is done here, the same way: the file
//! comes from another member by root's ssh key, which every member has in the cluster's
//! `authorized_keys`. No password is needed for it. It is done twice: [`guard`] before corosync
//! starts, so that a stale one never does, and [`watch`] for as long as the machine runs.

pub mod guard;
pub mod health;
pub mod mend;
pub mod others;
pub mod watch;

use crate::system::lock;
use crate::system::root::Root;
use anyhow::Result;
use std::os::fd::OwnedFd;
use std::time::Duration;

/// The file that corosync reads. pmxcfs writes it from `/etc/pve/corosync.conf`.
pub const LOCAL: &str = "/etc/corosync/corosync.conf";
/// Held by whoever starts and stops corosync and pmxcfs: a join, or what mends a member.
const LOCK: &str = "/run/firstboot/corosync.lock";

/// While it is there, systemd does not start corosync (a drop-in of its unit looks for it). Without
/// it a held corosync would come back with each start of what wants pve-cluster, which wants corosync.
const HELD: &str = "/run/firstboot/corosync-held";

/// Keeps corosync off for this boot, until it is [released](release). Where its start is still in
/// systemd's queue, it is taken out; `waits` is for callers that are not in that queue themselves.
pub fn hold(root: &Root, waits: bool) -> Result<()> {
    root.ensure(HELD, b"", 0o600)?;
    match waits {
        true => root.systemctl(&["stop", "corosync"]),
        false => root.systemctl(&["stop", "--no-block", "corosync"]),
    }
}

/// Lets corosync be started again.
pub fn release(root: &Root) -> Result<()> {
    root.remove_file(HELD).map(drop)
}

/// The right to start and stop corosync and pmxcfs, for as long as it is kept; `None` when another
/// firstboot has it for longer than `patience`, or it cannot be had at all.
pub fn services(root: &Root, patience: Duration) -> Option<OwnedFd> {
    lock::take(root, LOCK, patience).ok().flatten()
}
