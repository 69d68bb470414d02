//! What these tests use of firstboot's library.

pub use firstboot::LOCAL;
pub use firstboot::cluster::password_command::PasswordCommand;
pub use firstboot::cluster::sections;
pub use firstboot::contract::openvpn;
pub use firstboot::contract::seed::{
    Bridge, BridgeParameters, CONTRACT, Chpasswd, Cluster, Credential, Ethernet, Ha, HaRule, Match,
    MetaData, Nameservers, NetworkConfig, NfsStorage, Ntp, OpenVpnInstance, PasswordKind, Peer,
    Proxmox, Retry, Route, Secret, Seed, SeedError, UserData, UserPassword, parse,
};
pub use firstboot::contract::status::Stage;
pub use firstboot::contract::volumes::{Source, read_folder};
pub use firstboot::stage::journal::{Journal, Loaded, StepRecord};
pub use firstboot::stage::report::{Reporter, state::State};
pub use firstboot::stage::runner::StageRunner;
pub use firstboot::system::core_dumps::forbid_core_dumps;
pub use firstboot::system::root::Root;
