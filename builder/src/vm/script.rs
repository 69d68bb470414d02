//! `run.sh`, rendered from its template.

use super::base_image::BaseImage;
use crate::config::lab::{Ipv4Network, Lab, Vm};
use crate::system::program::quote;
use anyhow::{Context, Result};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

const TEMPLATE: &str = include_str!("../../../templates/run.sh");

pub(crate) const MODE: u32 = 0o755;

/// The script of one VM. It holds no secret.
pub(crate) fn render(lab: &Lab, vm: &Vm, base: &BaseImage) -> Result<String> {
    let base_path = base_path(lab);
    let base_path = base_path
        .to_str()
        .with_context(|| format!("the path {} is not UTF-8 text", base_path.display()))?;
    let mut context = tera::Context::new();
    context.insert("name", &vm.name);
    context.insert("disk_bytes", &vm.disk);
    context.insert("base", &quote(base_path));
    context.insert("base_bytes", &base.bytes);
    context.insert("base_sha256", &base.sha256);
    context.insert("memory_mib", &vm.memory_mib);
    context.insert("cores", &vm.cores);
    context.insert("mac", &vm.mac);
    context.insert("bridge", &quote(&lab.network.bridge));
    let range = lab.network.range;
    context.insert("prefix", &range.prefix);
    context.insert("range", &format!("{}/{}", range.network, range.prefix));
    context.insert("gateway", &lab.network.gateway);
    context.insert("address", &vm.address);
    let own = free_address(range, &[lab.network.gateway, vm.address]).with_context(|| {
        format!(
            "the network {}/{} has no third address, which QEMU needs for --user-net",
            range.network, range.prefix
        )
    })?;
    context.insert("user_net_host", &own);
    tera::Tera::one_off(TEMPLATE, &context, false).context("cannot render run.sh")
}

/// The base as the overlay names it: relative to the VM's folder where the lab holds both, so
/// that the lab can be copied to another place.
fn base_path(lab: &Lab) -> PathBuf {
    match lab.base.strip_prefix(&lab.folder) {
        Ok(inside) => Path::new("..").join(inside),
        Err(_) => lab.base.clone(),
    }
}

/// The highest usable address of a network that nobody has.
fn free_address(range: Ipv4Network, taken: &[Ipv4Addr]) -> Option<Ipv4Addr> {
    let first = u32::from(range.network);
    let last = first | u32::MAX.checked_shr(range.prefix.into()).unwrap_or(0);
    (first.saturating_add(1)..last)
        .rev()
        .map(Ipv4Addr::from)
        .find(|address| !taken.contains(address))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vm::example;

    fn base() -> BaseImage {
        BaseImage {
            sha256: "ab".repeat(32),
            bytes: 123_456_789,
            virtual_bytes: 8 << 30,
            firstboot: "0.1.0".into(),
        }
    }

    /// With UPDATE_GOLDEN=1 the expected file is written instead of compared.
    #[test]
    fn script_is_the_expected_one() {
        let lab = example::lab();
        let script = render(&lab, &lab.vms[0], &base()).unwrap();
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/cases/run/vm42-run.sh");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&file, &script).unwrap();
        }
        let expected = std::fs::read_to_string(&file).unwrap();
        assert!(script == expected, "{} differs:\n{script}", file.display());
    }

    #[test]
    fn paths_reach_the_shell_as_they_are() {
        let mut lab = example::lab();
        lab.base = "/srv/the lab's/base $(x).qcow2".into();
        let script = render(&lab, &lab.vms[0], &base()).unwrap();
        assert!(script.contains("\nbase='/srv/the lab'\\''s/base $(x).qcow2'\n"));
        lab.base = "/lab/images/base.qcow2".into();
        let script = render(&lab, &lab.vms[0], &base()).unwrap();
        assert!(script.contains("\nbase=../images/base.qcow2\n"));
    }

    #[test]
    fn qemus_own_address_is_nobodys() {
        let range = |network: &str, prefix| Ipv4Network {
            network: network.parse().unwrap(),
            prefix,
        };
        let free = |range, taken: [&str; 2]| {
            free_address(range, &taken.map(|a| a.parse().unwrap())).map(|a| a.to_string())
        };
        let lan = range("192.168.122.0", 24);
        let got = free(lan, ["192.168.122.1", "192.168.122.42"]);
        assert_eq!(got.as_deref(), Some("192.168.122.254"));
        let got = free(lan, ["192.168.122.254", "192.168.122.253"]);
        assert_eq!(got.as_deref(), Some("192.168.122.252"));
        assert_eq!(free(range("10.0.0.0", 30), ["10.0.0.1", "10.0.0.2"]), None);
        let got = free(range("0.0.0.0", 0), ["10.0.0.1", "10.0.0.2"]);
        assert_eq!(got.as_deref(), Some("255.255.255.254"));
    }
}
