//! `lab.yaml`: types, parsing, validation across VMs.

mod across;
mod cluster;
pub(crate) mod clusters;
mod links;
mod machine;
mod network;
mod openvpn;
mod peers;
mod proxmox;
mod read;
mod secrets;
mod settings;
mod values;

pub use clusters::{Cluster, clusters, shown};
pub use openvpn::{BRIDGE_PORT, OpenVpn};
pub use secrets::{read_secret, read_ticket};
pub use values::ssh_key;

use crate::config::yaml::{Place, Reader, validators};
use crate::system::program;
use crate::system::xdg;
use anyhow::{Context, Result, bail};
use firstboot::contract::seed::{Ha, NfsStorage, Peer, Retry};
use firstboot::contract::values::{Host, Mac, Network, SshKey, Timezone};
use std::collections::BTreeMap;
use std::io::ErrorKind;
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
    pub name: String,
    /// The PC that it runs on.
    pub host: Option<String>,
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
        let mut all = vec![self.name.clone(), self.fqdn(domain)];
        all.push(self.address.to_string());
        all.extend(self.vmbr120.map(|address| address.to_string()));
        all
    }
}

impl Lab {
    /// Reads and validates a lab. The error shows every problem with its place.
    pub fn load(file: &Path) -> Result<Self> {
        Self::load_with_secrets(file, &|_| true)
    }

    /// Reads a lab in which the secret files of some VMs need not be there: `wanted` is asked with
    /// a VM's own folder. Everything else is validated.
    pub fn load_with_secrets(file: &Path, wanted: &dyn Fn(&Path) -> bool) -> Result<Self> {
        let bytes = match std::fs::read(file) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => bail!(no_lab(file)),
            Err(error) => {
                return Err(error)
                    .with_context(|| format!("cannot read the lab {}", file.display()));
            }
        };
        let (mut r, root) = Reader::from_bytes(&file.display().to_string(), &bytes);
        let lab = match &root {
            Some(node) => Some(read::read(&mut r, node, &Folder::of(file, wanted)?)),
            None => {
                if !r.has_problems() {
                    r.problem(
                        Place::START,
                        "this file is empty",
                        "at least `domain` and `vms`",
                    );
                }
                None
            }
        };
        r.finish(lab)?
            .with_context(|| format!("cannot read {}: it has no content", file.display()))
    }

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

/// The error of a missing lab; it names the command that makes one, where that would help.
fn no_lab(file: &Path) -> String {
    let folder = file.parent().filter(|f| !f.as_os_str().is_empty());
    if file.file_name() != Some("lab.yaml".as_ref()) {
        return format!("there is no lab {}", file.display());
    }
    match folder {
        None => "there is no lab.yaml here; make one with: imgbuild init".to_owned(),
        Some(folder) => format!(
            "there is no {}; make one with: imgbuild init {}",
            file.display(),
            program::quote(&folder.to_string_lossy())
        ),
    }
}

/// The folder of lab.yaml, which relative paths begin at.
struct Folder<'a> {
    /// As the user wrote it, for messages.
    shown: PathBuf,
    /// For everything else.
    absolute: PathBuf,
    /// Whether the secret files of the VM with this folder are looked at.
    secrets_wanted: &'a dyn Fn(&Path) -> bool,
}

impl<'a> Folder<'a> {
    fn of(file: &Path, secrets_wanted: &'a dyn Fn(&Path) -> bool) -> Result<Self> {
        let shown = file.parent().unwrap_or(Path::new("")).to_owned();
        let absolute = std::path::absolute(file)
            .with_context(|| format!("cannot tell the folder of {}", file.display()))?;
        let absolute = absolute.parent().unwrap_or(Path::new("/")).to_owned();
        Ok(Folder {
            shown,
            absolute,
            secrets_wanted,
        })
    }

    /// A path of lab.yaml: for messages and absolute. `~/` is the user's home.
    fn path(&self, text: &str) -> (PathBuf, PathBuf) {
        if let (Some(rest), Some(home)) = (text.strip_prefix("~/"), xdg::home()) {
            let path = home.join(rest);
            return (path.clone(), path);
        }
        (self.shown.join(text), self.absolute.join(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lab(names: &[&str]) -> Lab {
        let vms: String = names.iter().map(|n| format!("- name: {n}\n")).collect();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("lab.yaml");
        std::fs::write(&file, format!("domain: example.org\nvms:\n{vms}")).unwrap();
        Lab::load(&file).unwrap()
    }

    fn refusal(lab: &Lab, name: &str) -> String {
        lab.vm(name).unwrap_err().to_string()
    }

    #[test]
    fn a_name_that_is_not_there_brings_the_nearest() {
        let two = lab(&["web7", "vm41", "vm42"]);
        assert_eq!(two.vm("vm42").unwrap().name, "vm42");
        assert_eq!(
            refusal(&two, "vm4"),
            "lab.yaml has no VM named `vm4`; the nearest: vm41, vm42"
        );
        assert_eq!(
            refusal(&two, "database"),
            "lab.yaml has no VM named `database`; it has: web7, vm41, vm42"
        );
        let names: Vec<String> = (10..20).map(|n| format!("vm{n}")).collect();
        let many = lab(&names.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(
            refusal(&many, "database"),
            "lab.yaml has no VM named `database`; it has 10, such as vm10, vm11, vm12"
        );
    }

    #[test]
    fn everything_is_derived_and_absolute() {
        let lab = lab(&["vm42"]);
        let vm = &lab.vms[0];
        assert!(lab.folder.is_absolute());
        assert_eq!(lab.base, lab.folder.join("base.qcow2"));
        assert_eq!(vm.address, Ipv4Addr::new(192, 168, 122, 42));
        assert_eq!(lab.network.gateway, Ipv4Addr::new(192, 168, 122, 1));
        assert_eq!(lab.network.dns, [lab.network.gateway]);
        // printf vm42 | sha256sum
        assert_eq!(vm.mac, "52:54:00:9b:28:50");
        assert_eq!((vm.memory_mib, vm.cores, vm.disk), (2048, 2, 32 << 30));
        assert_eq!(vm.vmbr120, None);
    }

    #[test]
    fn a_missing_lab_says_how_to_make_one() {
        let error = |file: &str| Lab::load(Path::new(file)).unwrap_err().to_string();
        assert_eq!(
            error("/nonexistent/a b/lab.yaml"),
            "there is no /nonexistent/a b/lab.yaml; make one with: imgbuild init '/nonexistent/a b'"
        );
        assert_eq!(
            error("/nonexistent/other.yaml"),
            "there is no lab /nonexistent/other.yaml"
        );
    }
}
