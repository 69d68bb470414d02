//! One recipe per command.

pub mod check;
pub mod init;
pub mod peer;
pub mod retire;
pub mod run;
pub mod seed;
