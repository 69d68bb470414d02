//! What `imgbuild run` takes.

use crate::qemu::{Accelerator, Limits};
use std::path::PathBuf;

/// What is run, and how.
#[derive(Debug)]
pub struct Options {
    /// The VM's name.
    pub name: String,
    /// The lab file.
    pub lab: PathBuf,
    /// QEMU's user-mode network instead of the bridge.
    pub user_net: bool,
    /// Rules such as `tcp:2222-:22`, for the user-mode network.
    pub forward: Vec<String>,
    /// Whether the user-mode network leads to this host's 127.0.0.1.
    pub host_loopback: bool,
    /// What runs the guest's processor.
    pub accelerator: Accelerator,
    /// Whether the machine is shut down after its verdict.
    pub shutdown: bool,
    /// How long it may take.
    pub limits: Limits,
}
