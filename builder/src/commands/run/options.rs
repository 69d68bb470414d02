//! What `imgbuild run` takes.

use crate::qemu::{Accelerator, Limits};
use std::path::PathBuf;

/// What is run, and how; the help of `imgbuild run` says what each of these is.
#[derive(Debug)]
pub struct Options {
    /// `None`: all of the lab that are this PC's.
    pub(crate) name: Option<String>,
    pub(crate) lab: PathBuf,
    pub(crate) user_net: bool,
    pub(crate) forward: Vec<String>,
    pub(crate) host_loopback: bool,
    pub(crate) accelerator: Accelerator,
    pub(crate) shutdown: bool,
    pub(crate) limits: Limits,
}
