//! What a base is made of, and how.

use super::measures::Measure;
use crate::qemu::{Accelerator, Limits};
use std::path::PathBuf;
use std::time::Duration;

/// Where the base system comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The Debian installer from its netinst disc, unattended in a virtual machine.
    Netinst,
    /// mmdebstrap from a Debian mirror: no root, no virtual machine.
    Mirror,
}

impl Source {
    /// In manifest and templates.
    pub fn name(self) -> &'static str {
        match self {
            Source::Netinst => "netinst",
            Source::Mirror => "mirror",
        }
    }
}

/// One build.
#[derive(Debug)]
pub struct Options {
    /// Where the base system comes from.
    pub source: Source,
    /// The netinst disc, a file; without it the one that the definition names.
    pub iso: Option<PathBuf>,
    /// The image definition; without it images/base.yaml, or the built-in one where there is none.
    pub definition: Option<PathBuf>,
    /// The Debian mirror; it wins over the definition's and over this host's own.
    pub mirror: Option<String>,
    /// The folder that the results are moved into.
    pub output: PathBuf,
    /// What runs the installer's processor.
    pub accelerator: Accelerator,
    /// Where KVM is.
    pub kvm_device: PathBuf,
    /// How long the installation may take.
    pub limits: Limits,
    /// How long the installer may live and do nothing.
    pub standstill: Duration,
    /// What is not done to be faster.
    pub without: Vec<Measure>,
}
