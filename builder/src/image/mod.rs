//! Looking into images from outside.

pub(crate) mod dpkg;
pub mod qcow2;
pub(crate) mod tree;
