//! The values of lab.yaml and of a seed: one type and one rule each.
//!
//! A type's only constructor takes the text as it is written and gives the value, or says what is
//! wrong and what would be right. `imgbuild check` and the guest read with the same types, so that
//! neither takes what the other refuses.

mod names;
mod network;
mod proxmox;
mod secret;
mod secrets;
mod text;

pub use names::{Domain, Host, HostDomain, HostName, InstanceName, InterfaceName, Timezone};
pub use network::{
    Cidr, Mac, Network, RouteTarget, address, ipv4_address, ipv6_address, machine_address, netmask,
};
pub use proxmox::{Export, Fingerprint, HaName, MountOptions, StorageContent, StorageId};
pub use secret::Secret;
pub use secrets::{Password, PasswordHash, SshKey, UserPass};
pub use text::{ValueError, is_unicodes_line_end};
