//! What an image definition says, with every default in place.

use super::key;
use super::settings::Settings;
use std::path::PathBuf;

/// What goes into a base image.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Definition {
    /// Debian's code name, `trixie`.
    pub release: String,
    /// Virtual size of the disk, in bytes.
    pub disk: u64,
    /// The kernel's package.
    pub kernel: String,
    /// Proxmox VE; `None` is a plain Debian base.
    pub proxmox: Option<Proxmox>,
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
    /// Whether a machine installs Debian's updates by itself.
    pub unattended_upgrades: bool,
    /// Whether rpcbind may run, which NFS 3 needs.
    pub rpcbind: bool,
    /// What is otherwise than in Debian, for clones on overlays.
    pub settings: Settings,
    /// The Debian mirror; `None` means the host's own, else Debian's.
    pub mirror: Option<String>,
    /// The archive of Debian's security updates; `None` means the host's own, else Debian's.
    pub security_mirror: Option<String>,
    /// The installer's disc.
    pub netinst: Netinst,
    /// The HTTP proxy of the installer, of APT and of downloads: `http://HOST:PORT`.
    pub proxy: Option<String>,
}

/// The releases that a base can be made of: Debian's code name and number.
pub const RELEASES: [(&str, u32); 2] = [("trixie", 13), ("bookworm", 12)];

/// Debian's number of a release.
pub fn release_number(codename: &str) -> Option<u32> {
    let (_, number) = RELEASES.iter().find(|(name, _)| *name == codename)?;
    Some(*number)
}

/// Where Debian publishes its disc images.
pub(super) const DEFAULT_SITE: &str = "https://cdimage.debian.org";

/// Where the installer's disc comes from.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Netinst {
    /// One file, pinned by its digest.
    Url {
        /// `http://…` or `https://…`
        url: String,
        /// SHA-256, lower-case hex.
        sha256: String,
    },
    /// What Debian publishes, pinned by Debian's signature.
    Release {
        /// A point release such as `13.2.0`; `None` means the latest one.
        version: Option<String>,
        /// The address below which `debian-cd/` and `cdimage/` are.
        site: String,
        /// The keys that may sign, absolute; `None` means Debian's role keys. Its place is no
        /// part of what goes into an image.
        #[serde(skip)]
        keyring: Option<PathBuf>,
    },
}

impl Default for Netinst {
    fn default() -> Self {
        Netinst::Release {
            version: None,
            site: DEFAULT_SITE.to_owned(),
            keyring: None,
        }
    }
}

/// Proxmox VE: its repository and the key that signs it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Proxmox {
    /// 9 or 8.
    pub version: u32,
    /// The repository: `http://…` or `https://…`
    pub url: String,
    /// Its suite.
    pub suite: String,
    /// Its components.
    pub components: Vec<String>,
    /// The key that signs it. Its digest is checked before anything is installed.
    pub key: key::Key,
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
    /// Components; none where the suite ends with a slash.
    pub components: Vec<String>,
    /// The public key, a file beside the definition (absolute here). Its place is no part of
    /// what goes into an image; its digest is.
    #[serde(skip)]
    pub key: PathBuf,
    /// SHA-256 of the key file, lower-case hex. The digest is checked before anything is installed.
    pub key_sha256: String,
    /// The packages to install from it.
    pub packages: Vec<String>,
}
