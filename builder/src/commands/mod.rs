//! One recipe per command.

pub mod check;
pub mod init;
pub mod lab;
pub mod peer;
pub mod run;
pub mod seed;
