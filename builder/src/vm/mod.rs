//! A VM's own folder, and how somebody gets into it.

pub mod login;
pub mod retired;
pub mod target;
