//! Looking into images from outside.

pub(crate) mod apart;
pub(crate) mod dpkg;
pub mod qcow2;
pub(crate) mod superblock;
pub(crate) mod tree;
