//! Looking into images from outside.

pub mod dpkg;
pub mod qcow2;
pub mod tree;
