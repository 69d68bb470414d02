//! The system that firstboot works on: files below a root, programs, locks, pauses.

pub mod addresses;
pub mod backoff;
pub mod core_dumps;
pub mod hostname;
pub mod hosts;
pub mod lock;
pub mod root;
pub mod ssh;
pub mod units;
