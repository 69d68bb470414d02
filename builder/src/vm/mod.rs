//! A VM's own folder: what is in it, how that is made, and how somebody gets into the VM.

pub(crate) mod base_image;
pub(crate) mod base_seen;
pub(crate) mod bases;
pub(crate) mod boots;
#[cfg(test)]
pub(crate) mod example;
pub(crate) mod files;
pub(crate) mod folder;
pub(crate) mod login;
pub(crate) mod retired;
pub(crate) mod script;
pub(crate) mod seed;
pub(crate) mod state;
pub(crate) mod status;
