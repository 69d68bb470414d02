//! What steps know of a Proxmox VE cluster: its file system, its files and the locks on them, its
//! members and their words, and the watch over a node that is one of them.

pub(crate) mod classify;
pub(crate) mod corosync;
pub(crate) mod corosync_conf;
pub(crate) mod cut_joins;
pub(crate) mod member;
pub(crate) mod members;
pub(crate) mod own_address;
pub mod password_command;
pub(crate) mod peers;
pub(crate) mod pmxcfs;
pub(crate) mod pvecm;
pub(crate) mod quorum;
pub(crate) mod renewed_tickets;
pub mod sections;
pub(crate) mod settle;
pub(crate) mod votes;
