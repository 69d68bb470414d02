//! One recipe per command.

pub mod audit;
pub mod base;
pub mod check;
pub mod console;
pub mod fetch;
pub mod init;
pub mod lab;
pub mod list;
pub mod logs;
pub(crate) mod members;
mod new_base;
pub mod peer;
pub mod rm;
pub mod run;
pub mod seed;
pub mod stop;
