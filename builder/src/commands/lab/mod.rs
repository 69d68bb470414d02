//! The recipes of `imgbuild lab`: a VM as a member of its cluster.

pub mod retire;
