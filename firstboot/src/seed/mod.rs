//! The contract with the builder: the three documents of a seed disk.
//!
//! The layout is cloud-init's NoCloud: a volume labelled `CIDATA` that holds
//! `meta-data`, `user-data` and `network-config`. Standard keys keep cloud-init's
//! spelling and meaning; `openvpn` and `proxmox` in the user-data are this project's own.

mod meta_data;
mod network;
mod secret;
mod user_data;

pub use meta_data::MetaData;
pub use network::{Bridge, BridgeParameters, Ethernet, Match, Nameservers, NetworkConfig, Route};
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
