//! Looking into images from outside, and the writer of a base's.

pub(crate) mod apart;
pub(crate) mod dpkg;
pub mod qcow2;
pub(crate) mod superblock;
pub(crate) mod tree;
