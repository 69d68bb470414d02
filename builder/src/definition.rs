//! `images/*.yaml`: types, parsing, validation.

use anyhow::Result;
use std::path::{Path, PathBuf};

/// What goes into a base image.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Definition {
    /// Debian's code name, `trixie`.
    pub release: String,
    /// Virtual size of the disk, in bytes.
    pub disk: u64,
    /// The kernel's package.
    pub kernel: String,
    /// Further packages.
    pub packages: Vec<String>,
    /// The kernel command line without `root=`.
    pub kernel_command_line: String,
    /// Further APT repositories, in the order of the file.
    pub repositories: Vec<Repository>,
    /// Time zone such as `Europe/Paris`; a seed may give another.
    pub timezone: String,
    /// Locale such as `C.UTF-8` or `fr_FR.UTF-8`.
    pub locale: String,
    /// The Debian mirror; `None` means the host's own.
    pub mirror: Option<String>,
}

/// One APT repository with its pinned key.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Repository {
    /// Short name: the file is `/etc/apt/sources.list.d/NAME.sources`.
    pub name: String,
    /// `http://…` or `https://…`
    pub url: String,
    /// Suite.
    pub suite: String,
    /// Components.
    pub components: Vec<String>,
    /// The public key, a file beside the definition (absolute here).
    pub key: PathBuf,
    /// SHA-256 of the key file, lower-case hex. The digest is checked before anything is installed.
    pub key_sha256: String,
    /// The packages to install from it.
    pub packages: Vec<String>,
}

impl Definition {
    /// Reads and validates a definition; `None` looks for `images/base.yaml`, then takes the
    /// built-in one. The error shows every problem with its place.
    pub fn load(_file: Option<&Path>) -> Result<Self> {
        anyhow::bail!("not yet")
    }
}
