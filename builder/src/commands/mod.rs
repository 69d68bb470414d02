//! One recipe per command.

pub mod audit;
pub mod base;
pub mod check;
pub mod fetch;
pub mod init;
pub mod lab;
mod new_base;
pub mod peer;
pub mod run;
pub mod seed;
