//! A VM's own folder: what is in it, how that is made, and how somebody gets into the VM.

pub mod base_image;
#[cfg(test)]
pub(crate) mod example;
pub mod files;
pub mod folder;
pub mod login;
pub mod retired;
pub mod script;
pub mod seed;
