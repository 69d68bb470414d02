//! Looking into images from outside.

pub(crate) mod apart;
pub(crate) mod dpkg;
pub mod qcow2;
mod superblock;
pub(crate) mod tree;
