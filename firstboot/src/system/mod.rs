//! The system that firstboot works on: files below a root, programs, locks, pauses.

pub(crate) mod address_conflict;
pub(crate) mod addresses;
pub(crate) mod backoff;
pub mod core_dumps;
pub(crate) mod hostname;
pub(crate) mod hosts;
pub(crate) mod lock;
pub mod root;
pub(crate) mod ssh;
pub(crate) mod ssh_host_keys;
pub(crate) mod units;
pub(crate) mod wait;
