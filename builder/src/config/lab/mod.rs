//! `lab.yaml`: types, parsing, validation across VMs.

mod across;
mod cluster;
mod clusters;
mod entry;
#[cfg(test)]
pub(crate) mod example;
mod folder;
mod hosts;
mod links;
mod machine;
mod model;
mod network;
mod openvpn;
mod peers;
mod proxmox;
mod range;
mod read;
mod secrets;
mod settings;
mod values;

pub use clusters::{Cluster, clusters, shown};
pub use model::{ClusterJoin, JoinWith, Lab, NatNetwork, Room, RoomNetwork, State, Vm};
pub use openvpn::{BRIDGE_PORT, OpenVpn};
pub use secrets::{read_secret, read_ticket};
pub use values::ssh_key;

use crate::config::yaml::{MAX_YAML, Reader};
use crate::system::{given, program};
use anyhow::{Context, Result, bail};
use folder::Folder;
use std::path::Path;

impl Lab {
    /// Reads and validates a lab. The error shows every problem with its place.
    pub fn load(file: &Path) -> Result<Self> {
        Self::load_with_secrets(file, &|_| true)
    }

    /// Reads a lab whose secret files need not be there. Everything else is validated.
    pub fn load_without_secrets(file: &Path) -> Result<Self> {
        Self::load_with_secrets(file, &|_| false)
    }

    /// Reads a lab in which the secret files of some VMs need not be there: `wanted` is asked with
    /// a VM's own folder. Everything else is validated.
    pub fn load_with_secrets(file: &Path, wanted: &dyn Fn(&Path) -> bool) -> Result<Self> {
        let bytes = match given::read(file, MAX_YAML) {
            Ok(bytes) => bytes,
            Err(error) if error.is_missing() => bail!(no_lab(file)),
            Err(error) => {
                return Err(error)
                    .with_context(|| format!("cannot read the lab {}", file.display()));
            }
        };
        let folder = Folder::of(file, wanted)?;
        let (name, least) = (file.display().to_string(), "at least `domain` and `vms`");
        Reader::document(&name, &bytes, least, |r, node| read::read(r, node, &folder))
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

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
