//! What these tests use of firstboot's library.

pub(crate) use firstboot::LOCAL;
pub(crate) use firstboot::cluster::password_command::PasswordCommand;
pub(crate) use firstboot::cluster::sections;
pub(crate) use firstboot::contract::openvpn;
pub(crate) use firstboot::contract::seed::{
    Bridge, BridgeParameters, CONTRACT, Chpasswd, Cluster, Credential, Ethernet, Ha, HaRule, Match,
    MetaData, Nameservers, NetworkConfig, NfsStorage, Ntp, OpenVpnInstance, PasswordKind, Peer,
    Proxmox, Retry, Route, Secret, Seed, SeedError, UserData, UserPassword, parse,
};
pub(crate) use firstboot::contract::status::Stage;
pub(crate) use firstboot::contract::volumes::{Source, read_folder};
pub(crate) use firstboot::stage::journal::{Journal, Loaded, StepRecord};
pub(crate) use firstboot::stage::report::{Reporter, state::State};
pub(crate) use firstboot::stage::runner::StageRunner;
pub(crate) use firstboot::system::core_dumps::forbid_core_dumps;
pub(crate) use firstboot::system::root::Root;
