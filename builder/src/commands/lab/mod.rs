//! The recipes of `imgbuild lab`: what concerns a lab as a whole, or a VM as a member of its cluster.

pub mod clean;
pub mod inventory;
pub mod publish;
pub mod quorum;
pub mod report;
pub mod retire;
