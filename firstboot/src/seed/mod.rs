//! The contract with the builder: the three documents of a seed disk.
//!
//! The layout is cloud-init's NoCloud: a volume labelled `CIDATA` that holds
//! `meta-data`, `user-data` and `network-config`. Standard keys keep cloud-init's
//! spelling and meaning; `openvpn` and `proxmox` in the user-data are this project's own.

mod meta_data;
mod network;
mod problem;
mod secret;
mod user_data;

pub use meta_data::MetaData;
pub use network::{Bridge, BridgeParameters, Ethernet, Match, Nameservers, NetworkConfig, Route};
pub use problem::{Problem, SeedError};
pub use secret::Secret;
pub use user_data::{Chpasswd, Cluster, PasswordKind, Peer, Proxmox, UserData, UserPassword};

/// One parsed and validated seed disk.
#[derive(Debug, Clone)]
pub struct Seed {
    /// Who this machine is.
    pub meta_data: MetaData,
    /// What it should become.
    pub user_data: UserData,
    /// How it reaches the network; absent on a seed that has no such document.
    pub network: Option<NetworkConfig>,
    /// Keys that cloud-init knows and firstboot does not: reported, never an error.
    pub ignored: Vec<String>,
}

/// Parses and validates the three documents. The error holds every problem of all of them.
pub fn parse(
    _meta_data: &str,
    _user_data: &str,
    _network_config: Option<&str>,
) -> Result<Seed, SeedError> {
    todo!()
}

impl Seed {
    /// The short host name: user-data's `hostname`, else the first label of its `fqdn`, else
    /// the first label of meta-data's `local-hostname`. [`parse`] refuses a seed without any.
    pub fn hostname(&self) -> &str {
        todo!()
    }

    /// The fully qualified name: user-data's `fqdn`, else its `hostname` or meta-data's
    /// `local-hostname` where that has dots.
    pub fn fqdn(&self) -> Option<&str> {
        todo!()
    }
}

impl MetaData {
    /// The document, as it goes onto the seed disk.
    pub fn to_document(&self) -> Result<String, serde_yaml::Error> {
        todo!()
    }
}

impl UserData {
    /// The document with its `#cloud-config` line. It holds the secrets in clear text.
    pub fn to_document(&self) -> Result<String, serde_yaml::Error> {
        todo!()
    }
}

impl NetworkConfig {
    /// The document, as it goes onto the seed disk.
    pub fn to_document(&self) -> Result<String, serde_yaml::Error> {
        todo!()
    }
}
