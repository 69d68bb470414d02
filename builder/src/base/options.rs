//! What a base is made of, and how.

use super::measures::Measure;
use crate::qemu::{Accelerator, Limits};
use std::path::PathBuf;
use std::time::Duration;

/// Where the base system comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Source {
    /// The Debian installer from its netinst disc, unattended in a virtual machine.
    Netinst,
    /// mmdebstrap from a Debian mirror: no root, no virtual machine.
    Mirror,
}

impl Source {
    /// In manifest and templates.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Source::Netinst => "netinst",
            Source::Mirror => "mirror",
        }
    }
}

/// One build; the help of `imgbuild base` says what each of these is.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) source: Source,
    pub(crate) iso: Option<PathBuf>,
    pub(crate) definition: Option<PathBuf>,
    pub(crate) mirror: Option<String>,
    pub(crate) output: PathBuf,
    /// What the cache of installed roots may have, in bytes; 0: there is none.
    pub(crate) cache_limit: u64,
    pub(crate) accelerator: Accelerator,
    pub(crate) kvm_device: PathBuf,
    pub(crate) limits: Limits,
    pub(crate) standstill: Duration,
    pub(crate) without: Vec<Measure>,
}
