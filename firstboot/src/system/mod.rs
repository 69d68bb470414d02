//! The system that firstboot works on: files below a root, programs, locks, pauses.

pub mod backoff;
pub mod core_dumps;
pub mod lock;
pub mod root;
