//! `openvpn`: the configuration of each instance, and the instance enabled.
//!
//! An instance that an earlier seed brought and this one does not is stopped and disabled, and
//! its configuration removed: its keys are no longer this machine's, and Debian's openvpn
//! starts whatever lies in `/etc/openvpn`. One that an admin made by hand is left alone.

use super::{Context, Outcome, network};
use crate::root::Root;
use crate::seed::OpenVpnInstance;
use anyhow::{Result, bail};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;

const UNIT: &str = "/usr/lib/systemd/system/openvpn@.service";

/// The instances that seeds brought, one a line. It is written before their files are made and
/// after they are removed, so a cut leaves no file that nobody knows.
const BROUGHT: &str = "/var/lib/firstboot/openvpn";

/// Writes the configurations, enables the instances, and removes those of an earlier seed.
pub fn run(context: &Context) -> Result<Outcome> {
    let instances = &context.seed.user_data.openvpn;
    let root = context.root;
    let brought = brought(root)?;
    if instances.is_empty() && brought.is_empty() {
        return Ok(Outcome::unchanged_because("no OpenVPN in the seed"));
    }
    if !instances.is_empty() && root.read(UNIT)?.is_none() {
        bail!("cannot enable OpenVPN: it is not installed ({UNIT} is missing)");
    }
    let names: BTreeSet<String> = instances.keys().cloned().collect();
    record(root, &(&names | &brought))?;
    let mut done = Vec::new();
    for name in &brought - &names {
        if remove(root, &name)? {
            done.push(format!("removed {name}"));
        }
    }
    let tap = the_tap(context, instances);
    for (name, instance) in instances {
        let text = with_tap(instance.config.reveal(), tap);
        let written = root.ensure(&file(name), text.as_bytes(), 0o600)?;
        let enabled = root.symlink(UNIT, &link(name))?;
        if !written && !enabled {
            continue;
        }
        // systemd has read what is enabled before this ran.
        systemctl(root, "start", name)?;
        done.push(name.clone());
    }
    record(root, &names)?;
    Ok(Outcome::changed_if(!done.is_empty(), done.join(", ")))
}

fn file(name: &str) -> String {
    format!("/etc/openvpn/{name}.conf")
}

fn service(name: &str) -> String {
    format!("openvpn@{name}.service")
}

fn link(name: &str) -> String {
    format!(
        "/etc/systemd/system/multi-user.target.wants/{}",
        service(name)
    )
}

fn remove(root: &Root, name: &str) -> Result<bool> {
    let disabled = root.remove_file(&link(name))?;
    let removed = root.remove_file(&file(name))?;
    if disabled || removed {
        // Its start is waiting already, and would fail without the file.
        systemctl(root, "stop", name)?;
    }
    Ok(disabled || removed)
}

/// Not waiting: the units run after the network, which waits for this very stage.
fn systemctl(root: &Root, verb: &str, name: &str) -> Result<()> {
    if root.is_live() {
        let service = service(name);
        root.run(
            "systemctl",
            &[verb, "--no-block", &service].map(OsStr::new),
            b"",
        )?;
    }
    Ok(())
}

fn brought(root: &Root) -> Result<BTreeSet<String>> {
    let text = root.read_text(BROUGHT)?.unwrap_or_default();
    // What a damaged line names must be no path.
    let is_name = |line: &&str| !line.is_empty() && !line.contains('/');
    Ok(text.lines().filter(is_name).map(str::to_owned).collect())
}

fn record(root: &Root, names: &BTreeSet<String>) -> Result<()> {
    if names.is_empty() {
        return root.remove_file(BROUGHT).map(drop);
    }
    let text: String = names
        .iter()
        .flat_map(|name| [name.as_str(), "\n"])
        .collect();
    root.ensure(BROUGHT, text.as_bytes(), 0o600).map(drop)
}

/// The tap that OpenVPN is to use: the only one, if only one instance leaves it open.
fn the_tap<'a>(
    context: &Context<'a>,
    instances: &BTreeMap<String, OpenVpnInstance>,
) -> Option<&'a str> {
    let open = instances
        .values()
        .filter(|instance| has_open_tap(instance.config.reveal()));
    if open.count() != 1 {
        return None;
    }
    match network::tap_ports(context.seed.network.as_ref()?)[..] {
        [tap] => Some(tap),
        _ => None,
    }
}

/// Whether the configuration says `dev tap`, which makes OpenVPN take any new tap.
fn has_open_tap(configuration: &str) -> bool {
    let mut block = Block::default();
    configuration
        .lines()
        .any(|line| !block.holds(line) && words(line)[..] == ["dev", "tap"])
}

/// The configuration with the persistent `tap` for an open `dev tap`. A device that is
/// written out is left alone.
pub fn with_tap<'a>(configuration: &'a str, tap: Option<&str>) -> Cow<'a, str> {
    let Some(tap) = tap.filter(|_| has_open_tap(configuration)) else {
        return Cow::Borrowed(configuration);
    };
    let mut block = Block::default();
    let mut text = String::with_capacity(configuration.len() + 32);
    for line in configuration.split_inclusive('\n') {
        match words(line)[..] {
            _ if block.holds(line) => text.push_str(line),
            ["dev", "tap"] => text.push_str(&format!("dev {tap}\ndev-type tap\n")),
            ["dev-type", ..] => {}
            _ => text.push_str(line),
        }
    }
    Cow::Owned(text)
}

fn words(line: &str) -> Vec<&str> {
    let text = line.split(['#', ';']).next().unwrap_or_default();
    text.split_whitespace().collect()
}

/// An inline file such as `<ca>` … `</ca>`, whose lines are no options.
#[derive(Default)]
struct Block {
    end: Option<String>,
}

impl Block {
    fn holds(&mut self, line: &str) -> bool {
        let line = line.trim();
        if let Some(end) = &self.end {
            if line == end {
                self.end = None;
            }
            return true;
        }
        if let Some(tag) = line.strip_prefix('<').and_then(|l| l.strip_suffix('>')) {
            self.end = Some(format!("</{tag}>"));
            return true;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONF: &str =
        "client\ndev tap # the bridge\nremote vpn.lab 1194\n<ca>\ndev tap\n</ca>\nnobind";

    #[test]
    fn an_open_tap_becomes_the_bridge_port() {
        assert_eq!(
            with_tap(CONF, Some("tap120")),
            "client\ndev tap120\ndev-type tap\nremote vpn.lab 1194\n<ca>\ndev tap\n</ca>\nnobind"
        );
    }

    #[test]
    fn a_second_device_type_is_not_added() {
        assert_eq!(
            with_tap("dev-type tap\ndev tap\n", Some("tap120")),
            "dev tap120\ndev-type tap\n"
        );
    }

    #[test]
    fn a_device_that_is_written_out_stays() {
        for conf in [
            "dev tap7\n",
            "dev tun\n",
            ";dev tap\n",
            "<key>\ndev tap\n</key>\n",
        ] {
            assert_eq!(with_tap(conf, Some("tap120")), conf);
        }
        assert_eq!(with_tap(CONF, None), CONF);
    }
}
