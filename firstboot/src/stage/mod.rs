//! The runs of a boot, and who is told of them.

pub mod boot;
mod identity;
pub mod journal;
pub mod member;
mod recorded;
pub mod report;
pub mod retry;
pub mod rsa_key;
pub mod runner;
mod seed;
