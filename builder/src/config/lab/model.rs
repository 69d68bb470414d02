//! What a lab says, with everything derived.

use super::openvpn::OpenVpn;
use crate::config::yaml::validators;
use anyhow::{Result, bail};
use firstboot::contract::seed::{Ha, NfsStorage, Peer, Retry};
use firstboot::contract::values::{Host, HostDomain, HostName, Mac, Network, SshKey, Timezone};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;

/// The user's VMs, their hosts, addresses and cluster; everything is resolved here:
/// defaults applied, addresses and MACs derived, paths made absolute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lab {
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
    /// The machines, in the order of the file.
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

/// One virtual machine, with everything derived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vm {
    /// Its short host name.
    pub name: HostName,
    /// The PC that it runs on.
    pub host: Option<HostName>,
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
        vms.any(|vm| {
            let own = vm.names_and_addresses(&self.domain);
            own.iter().any(|own| own == address)
        })
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
