//! `run.sh`, rendered from its template.

use super::base_image::BaseImage;
use super::folder::VmFolder;
use crate::config::lab::{Lab, Vm};
use crate::system::program::quote;
use anyhow::{Context, Result, anyhow, bail};
use firstboot::contract::values::Network;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use tera::Tera;

const NAME: &str = "run.sh";
const TEMPLATE: &str = include_str!("../../../templates/run.sh");

/// What is the same for every machine. A PC gets one file all the same. It is no part of the template, for
/// reading a template takes longer than all else that a seed takes.
const WORDS: &str = concat!(
    include_str!("../../../templates/run/options.sh"),
    "\n",
    include_str!("../../../templates/run/folder.sh"),
    "\n",
    include_str!("../../../templates/run/disk.sh"),
    "\n",
    include_str!("../../../templates/run/network.sh"),
    "\n",
    include_str!("../../../templates/run/start.sh"),
    "\n",
    include_str!("../../../templates/run/control.sh"),
    "\n",
    include_str!("../../../templates/run/service.sh"),
    "\ncontrol_program() {\n    cat <<'PERL'\n",
    include_str!("../../../templates/run/control.pl"),
    "PERL\n}\n\nkeeper_program() {\n    cat <<'PERL'\n",
    include_str!("../../../templates/run/keeper.pl"),
    "PERL\n}\n\n",
    include_str!("../../../templates/run/main.sh"),
);

pub(crate) const MODE: u32 = 0o755;

/// The script of one VM, for a seed with this instance-id. It holds no secret.
pub(crate) fn render(lab: &Lab, vm: &Vm, base: &BaseImage, instance_id: &str) -> Result<String> {
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
    context.insert("instance_id", &quote(instance_id));
    context.insert("bridge", &quote(&lab.network.bridge));
    let range = lab.network.range;
    context.insert("prefix", &range.prefix());
    context.insert("range", &range.to_string());
    context.insert("gateway", &lab.network.gateway);
    context.insert("address", &vm.address);
    let own = free_address(range, &[lab.network.gateway, vm.address]).with_context(|| {
        format!("the network {range} has no third address, which QEMU needs for --user-net")
    })?;
    context.insert("user_net_host", &own);
    context.insert("words", WORDS);
    // Parsed once, for a lab has thousands of machines.
    static PARSED: LazyLock<tera::Result<Tera>> = LazyLock::new(|| {
        let mut tera = Tera::default();
        tera.autoescape_on(Vec::new());
        tera.add_raw_template(NAME, TEMPLATE)?;
        Ok(tera)
    });
    let tera = PARSED
        .as_ref()
        .map_err(|error| anyhow!("cannot read the template of run.sh: {error}"))?;
    tera.render(NAME, &context).context("cannot render run.sh")
}

/// A VM's run.sh, where that can be asked to stop and for the console: one of an earlier imgbuild cannot.
pub(crate) fn with_words(folder: &VmFolder<'_>) -> Result<PathBuf> {
    let script = folder.file("run.sh");
    let text =
        fs::read_to_string(&script).with_context(|| format!("cannot read {}", script.display()))?;
    if !text.contains("\nattach_console() {") {
        bail!(
            "{} is from an earlier imgbuild, which started {1} without a console to attach to, and \
             cannot stop it. poweroff in {1} shuts it down; then: imgbuild seed {1}",
            script.display(),
            folder.name()
        );
    }
    Ok(script)
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
fn free_address(range: Network, taken: &[Ipv4Addr]) -> Option<Ipv4Addr> {
    range.hosts().rev().find(|host| !taken.contains(host))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vm::example;

    const ID: &str = "vm42-0123456789abcdef";

    fn base() -> BaseImage {
        BaseImage {
            sha256: "ab".repeat(32),
            bytes: 123_456_789,
            virtual_bytes: 8 << 30,
            contract: 2,
        }
    }

    /// All that is the machine's own stands at the top; the rest is the same for every machine, and
    /// is tested by what it hands to QEMU (tests/builder/run).
    #[test]
    fn what_the_lab_says_of_the_machine_stands_at_the_top() {
        let lab = example::lab();
        let script = render(&lab, &lab.vms[0], &base(), ID).unwrap();
        let (head, rest) = script
            .split_once("# Where this PC keeps things.\n")
            .unwrap();
        let is_own = |line: &&str| !line.is_empty() && !line.starts_with('#');
        let own: Vec<&str> = head.lines().filter(is_own).collect();
        assert_eq!(
            own,
            [
                "set -eu",
                "umask 077",
                "name=vm42",
                "overlay=vm42.qcow2",
                "overlay_base=vm42.qcow2.base",
                "base_seen=vm42.qcow2.base.seen",
                "disk_bytes=17179869184",
                "base=../base.qcow2",
                "base_bytes=123456789",
                &format!("base_sha256={}", "ab".repeat(32)),
                "memory_mib=2048",
                "cores=2",
                "mac=52:54:00:12:34:2a",
                "instance_id=vm42-0123456789abcdef",
                "bridge=virbr0",
                "address=192.168.122.42",
                "gateway=192.168.122.1",
                "prefix=24",
                "user_net='net=192.168.122.0/24,dns=192.168.122.1,host=192.168.122.254,\
                 dhcpstart=192.168.122.42,ipv6=off'",
            ]
        );
        let mut lab = lab;
        let other = &mut lab.vms[0];
        (other.name, other.memory_mib, other.cores) = ("vm43".parse().unwrap(), 1024, 1);
        other.address = "192.168.122.43".parse().unwrap();
        let script = render(&lab, &lab.vms[0], &base(), ID).unwrap();
        assert!(
            script.ends_with(rest),
            "something of a machine is further down"
        );
    }

    #[test]
    fn paths_reach_the_shell_as_they_are() {
        let mut lab = example::lab();
        lab.base = "/srv/the lab's/base $(x).qcow2".into();
        let script = render(&lab, &lab.vms[0], &base(), ID).unwrap();
        assert!(script.contains("\nbase='/srv/the lab'\\''s/base $(x).qcow2'\n"));
        lab.base = "/lab/images/base.qcow2".into();
        let script = render(&lab, &lab.vms[0], &base(), ID).unwrap();
        assert!(script.contains("\nbase=../images/base.qcow2\n"));
    }

    #[test]
    fn qemus_own_address_is_nobodys() {
        let free = |range: &str, taken: [&str; 2]| {
            free_address(range.parse().unwrap(), &taken.map(|a| a.parse().unwrap()))
                .map(|a| a.to_string())
        };
        let lan = "192.168.122.0/24";
        let got = free(lan, ["192.168.122.1", "192.168.122.42"]);
        assert_eq!(got.as_deref(), Some("192.168.122.254"));
        let got = free(lan, ["192.168.122.254", "192.168.122.253"]);
        assert_eq!(got.as_deref(), Some("192.168.122.252"));
        assert_eq!(free("10.0.0.0/30", ["10.0.0.1", "10.0.0.2"]), None);
    }
}
