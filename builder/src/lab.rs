//! `lab.yaml`: types, parsing, validation across VMs.

use anyhow::Result;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

/// The user's VMs, their hosts, addresses and cluster; everything is resolved here:
/// defaults applied, addresses and MACs derived, paths made absolute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lab {
    /// The folder of lab.yaml: the VMs' folders are made here.
    pub folder: PathBuf,
    /// The base image.
    pub base: PathBuf,
    /// DNS domain of the VMs.
    pub domain: String,
    /// The NAT network of the hosts' bridge.
    pub network: NatNetwork,
    /// The VLAN's network, when the lab has one.
    pub vmbr120: Option<Ipv4Network>,
    /// The machines, in the order of the file.
    pub vms: Vec<Vm>,
}

/// An IPv4 network such as `192.168.122.0/24`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ipv4Network {
    /// Its first address.
    pub network: Ipv4Addr,
    /// Prefix length.
    pub prefix: u8,
}

/// libvirt's NAT bridge as every host has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NatNetwork {
    /// The bridge, `virbr0`.
    pub bridge: String,
    /// Its network.
    pub range: Ipv4Network,
    /// The gateway.
    pub gateway: Ipv4Addr,
    /// DNS servers.
    pub dns: Vec<Ipv4Addr>,
}

/// One virtual machine, with everything derived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vm {
    /// Its short host name.
    pub name: String,
    /// The PC that it runs on.
    pub host: Option<String>,
    /// Memory in MiB.
    pub memory_mib: u32,
    /// Virtual CPUs.
    pub cores: u32,
    /// Virtual size of its disk in bytes; never smaller than the base's.
    pub disk: u64,
    /// MAC address, lower-case with colons; derived from the name where none is given.
    pub mac: String,
    /// Address on the NAT network.
    pub address: Ipv4Addr,
    /// Address on vmbr120, inside the lab's network.
    pub vmbr120: Option<Ipv4Addr>,
    /// The OpenVPN instance that brings vmbr120.
    pub openvpn: Option<OpenVpn>,
    /// Public keys for root.
    pub ssh_keys: Vec<String>,
    /// The file that holds root's password.
    pub root_password_file: Option<PathBuf>,
    /// Time zone.
    pub timezone: Option<String>,
    /// The cluster to join.
    pub cluster: Option<ClusterJoin>,
}

/// An OpenVPN instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenVpn {
    /// Its name, such as `vpn-interco`.
    pub instance: String,
    /// The configuration file on this host, keys inline. A secret.
    pub config: PathBuf,
}

/// The cluster that a VM joins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterJoin {
    /// Its members that may be asked.
    pub peers: Vec<firstboot::seed::Peer>,
    /// The file that holds the cluster's root password.
    pub password_file: PathBuf,
}

impl Lab {
    /// Reads and validates a lab. The error shows every problem with its place.
    pub fn load(_file: &Path) -> Result<Self> {
        anyhow::bail!("not yet")
    }

    /// The VM of this name, or an error that names the nearest ones.
    pub fn vm(&self, _name: &str) -> Result<&Vm> {
        anyhow::bail!("not yet")
    }
}
