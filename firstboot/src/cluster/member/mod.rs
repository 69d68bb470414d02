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
//! starts, so that a stale one never does, and [`corosync_watchdog`] for as long as the machine runs.

pub(crate) mod corosync_watchdog;
pub(crate) mod guard;
mod health;
mod others;
pub(crate) mod restart_corosync;
