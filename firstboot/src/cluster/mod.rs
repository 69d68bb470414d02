//! What steps know of a Proxmox VE cluster: its file system, its files and the locks on them, its
//! members and their words, and the watch over a node that is one of them.

pub mod classify;
pub mod corosync;
pub mod corosync_conf;
pub mod cut_joins;
pub mod member;
pub mod members;
pub mod password_command;
pub mod peers;
pub mod pmxcfs;
pub mod pvecm;
pub mod quorum;
pub mod renewed_tickets;
pub mod sections;
pub mod settle;
pub mod votes;
