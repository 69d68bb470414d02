//! What these tests use of firstboot's library.

pub use firstboot::LOCAL;
pub use firstboot::journal::{Journal, Loaded, Stage, StepRecord};
pub use firstboot::media::{Source, read_folder};
pub use firstboot::openvpn;
pub use firstboot::root::Root;
pub use firstboot::run::Work;
pub use firstboot::secrecy::forbid_core_dumps;
pub use firstboot::seed::{
    Bridge, BridgeParameters, Chpasswd, Cluster, Credential, Ethernet, Ha, HaRule, Match, MetaData,
    Nameservers, NetworkConfig, NfsStorage, Ntp, OpenVpnInstance, PasswordKind, Peer, Proxmox,
    Retry, Route, Secret, Seed, SeedError, UserData, UserPassword, parse,
};
pub use firstboot::status::{Reporter, State};
pub use firstboot::steps::join::talk::Talk;
pub use firstboot::steps::sections;
