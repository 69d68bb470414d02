//! What a lab says, with everything derived.

use super::openvpn::OpenVpn;
use crate::config::yaml::validators;
use anyhow::{Result, bail};
use firstboot::contract::seed::{Ha, NfsStorage, Peer, Retry};
use firstboot::contract::values::{Host, HostDomain, HostName, Mac, Network, SshKey, Timezone};
use serde::Serialize;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;

/// The user's VMs, their hosts, addresses and cluster; everything is resolved here:
/// defaults applied, addresses and MACs derived, paths made absolute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lab {
    /// lab.yaml itself, by its absolute path.
    pub file: PathBuf,
    /// The folder of lab.yaml: the VMs' folders are made here.
    pub folder: PathBuf,
    /// The base image.
    pub base: PathBuf,
    /// DNS domain of the VMs.
    pub domain: HostDomain,
    /// The NAT network of the hosts' bridge.
    pub network: NatNetwork,
    /// The VLAN's network, when the lab has one.
    pub vmbr120: Option<Network>,
    /// The PCs that run the machines, room by room; empty where the lab lists none. Then `host` of
    /// a machine may be any name.
    pub rooms: Vec<Room>,
    /// The machines, in the order of the file; a range in the order of its notation.
    pub vms: Vec<Vm>,
    /// What is no mistake and deserves a look, each with file, line and remedy.
    pub warnings: Vec<String>,
}

/// libvirt's NAT bridge as every host has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NatNetwork {
    /// The bridge, `virbr0`.
    pub bridge: String,
    /// Its network.
    pub range: Network,
    /// The gateway.
    pub gateway: Ipv4Addr,
    /// DNS servers.
    pub dns: Vec<Ipv4Addr>,
}

/// A room of PCs, and what holds for each of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Room {
    /// Its name: letters, digits, `-` and `_`.
    pub name: String,
    /// The PCs by their full names, in the order of the file: as they stand in the room.
    pub pcs: Vec<HostName>,
    /// The folder on each PC, without a slash at its end; `{user}` in it is the user there.
    pub folder: String,
    /// How many MiB the VMs of one PC may take in all.
    pub memory_mib: Option<u32>,
    /// How many cores the VMs of one PC may take in all.
    pub cores: Option<u32>,
    /// Where the published base is served, with a slash at its end; `None` where it is copied
    /// through ssh.
    pub base_url: Option<String>,
    /// Whether VMs start with their PC.
    pub start_at_boot: bool,
    /// How the VMs are attached to the PC's network.
    pub network: RoomNetwork,
}

/// What holds for a PC of which nothing is said.
impl Default for Room {
    fn default() -> Self {
        Room {
            name: String::new(),
            pcs: Vec::new(),
            folder: "/var/tmp/imgbuild-{user}".to_owned(),
            memory_mib: None,
            cores: None,
            base_url: None,
            start_at_boot: true,
            network: RoomNetwork::Bridge,
        }
    }
}

/// How the VMs of a room are attached to their PC's network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RoomNetwork {
    /// The bridge of `network`, through QEMU's helper.
    Bridge,
    /// QEMU's user-mode network: `run.sh --user-net`.
    User,
}

/// What the lab wants of a VM.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum State {
    /// It runs.
    #[default]
    Started,
    /// It is on its PC, and does not run.
    Stopped,
    /// Nothing of it is on its PC. Its name and addresses stay taken.
    Absent,
}

/// One virtual machine, with everything derived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vm {
    /// Its short host name.
    pub name: HostName,
    /// The PC that it runs on: by its full name where the lab lists its PCs.
    pub host: Option<HostName>,
    /// Whether it is to be there, and to run.
    pub state: State,
    /// Memory in MiB.
    pub memory_mib: u32,
    /// Virtual CPUs.
    pub cores: u32,
    /// Virtual size of its disk in bytes; never smaller than the base's.
    pub disk: u64,
    /// MAC address; derived from the name where none is given.
    pub mac: Mac,
    /// Address on the NAT network.
    pub address: Ipv4Addr,
    /// Address on vmbr120, inside the lab's network.
    pub vmbr120: Option<Ipv4Addr>,
    /// The OpenVPN instance that brings vmbr120.
    pub openvpn: Option<OpenVpn>,
    /// Public keys for root.
    pub ssh_keys: Vec<SshKey>,
    /// The file that holds root's password.
    pub root_password_file: Option<PathBuf>,
    /// Whether that password opens ssh too, and not the console alone.
    pub ssh_password: bool,
    /// Time zone.
    pub timezone: Option<Timezone>,
    /// Time servers; empty leaves the base's own.
    pub ntp: Vec<Host>,
    /// The cluster to join.
    pub cluster: Option<ClusterJoin>,
    /// NFS storages that are to be open to it.
    pub storage: Vec<NfsStorage>,
    /// Where the HA manager is to know it; empty for a VM without a cluster.
    pub ha: Ha,
}

/// The cluster that a VM joins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterJoin {
    /// Its members that may be asked.
    pub peers: Vec<Peer>,
    /// What lets the VM in.
    pub with: JoinWith,
    /// The VM's addresses on corosync's links, by their numbers (0 to 7); empty leaves the choice
    /// to `pvecm add`, which takes the address of the VM's name.
    pub links: BTreeMap<u8, Ipv4Addr>,
    /// What the lab calls it, to tell it from another.
    pub name: Option<String>,
    /// The VM's votes in the quorum; without a number one, which `pvecm add` gives.
    pub votes: Option<u32>,
    /// How many members outside of this lab it has, where that was said.
    pub stable_nodes: Option<u32>,
    /// Whether it was said that others than this lab rely on the cluster, and that this is meant.
    pub shared: bool,
    /// How a join that did not succeed is tried again.
    pub retry: Retry,
}

/// What lets a VM into its cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JoinWith {
    /// A ticket, worth two hours, that `imgbuild seed` gets from a member.
    Ticket,
    /// The file that holds the cluster's root password.
    PasswordFile(PathBuf),
}

impl State {
    /// As lab.yaml has it.
    pub fn word(self) -> &'static str {
        match self {
            State::Started => "started",
            State::Stopped => "stopped",
            State::Absent => "absent",
        }
    }
}

impl Vm {
    /// Its name in a domain.
    pub fn fqdn(&self, domain: &str) -> String {
        format!("{}.{domain}", self.name)
    }

    /// What others may call it: its names, in this domain, and its addresses.
    pub fn names_and_addresses(&self, domain: &str) -> Vec<String> {
        let mut all = vec![self.name.to_string(), self.fqdn(domain)];
        all.push(self.address.to_string());
        all.extend(self.vmbr120.map(|address| address.to_string()));
        all
    }
}

impl Lab {
    /// Whether a peer's address is one of the lab's VMs.
    pub fn is_vm(&self, address: &str) -> bool {
        let mut vms = self.vms.iter();
        if let Ok(address) = address.parse::<Ipv4Addr>() {
            return vms.any(|vm| vm.address == address || vm.vmbr120 == Some(address));
        }
        let short = address.strip_suffix(self.domain.as_str());
        let short = short.and_then(|name| name.strip_suffix('.'));
        vms.any(|vm| vm.name == address || short.is_some_and(|short| vm.name == short))
    }

    /// The VM of this name, or an error that names the nearest ones.
    pub fn vm(&self, name: &str) -> Result<&Vm> {
        if let Some(vm) = self.vms.iter().find(|vm| vm.name == name) {
            return Ok(vm);
        }
        let mut near: Vec<(usize, &str)> = self
            .vms
            .iter()
            .map(|vm| {
                (
                    strsim::damerau_levenshtein(name, &vm.name),
                    vm.name.as_str(),
                )
            })
            .filter(|(distance, _)| *distance <= 2)
            .collect();
        near.sort_by_key(|(distance, _)| *distance);
        let near: Vec<&str> = near.into_iter().map(|(_, name)| name).take(5).collect();
        let shown = validators::display_safe(name);
        if !near.is_empty() {
            bail!(
                "lab.yaml has no VM named `{shown}`; the nearest: {}",
                near.join(", ")
            );
        }
        let all: Vec<&str> = self.vms.iter().map(|vm| vm.name.as_str()).collect();
        match all.len() {
            0..=8 => bail!(
                "lab.yaml has no VM named `{shown}`; it has: {}",
                all.join(", ")
            ),
            n => bail!(
                "lab.yaml has no VM named `{shown}`; it has {n}, such as {}",
                all[..3].join(", ")
            ),
        }
    }
}
