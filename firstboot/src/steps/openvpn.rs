//! `openvpn`: the configuration of each instance, and the instance enabled.
//!
//! An instance that an earlier seed brought and this one does not is stopped and disabled, and
//! its configuration removed: its keys are no longer this machine's, and Debian's openvpn
//! starts whatever lies in `/etc/openvpn`. One that an admin made by hand is left alone.

use crate::contract::openvpn;
use crate::contract::seed::OpenVpnInstance;
use crate::contract::values::InstanceName;
use crate::step::{Context, Outcome};
use crate::system::root::Root;
use crate::system::units;
use anyhow::{Result, bail};
use std::collections::{BTreeMap, BTreeSet};

const UNIT: &str = "/usr/lib/systemd/system/openvpn@.service";

/// What an instance's unit has beside Debian's.
const DROP_IN: &str = include_str!("../../../templates/openvpn-instance.conf");

/// The instances that seeds brought, one a line. It is written before their files are made and
/// after they are removed, so a cut leaves no file that nobody knows.
const BROUGHT: &str = "/var/lib/firstboot/openvpn";

/// Writes the configurations, enables the instances, and removes those of an earlier seed.
pub(crate) fn run(context: &Context) -> Result<Outcome> {
    let instances = &context.seed.user_data.openvpn;
    let root = context.root;
    let brought = brought(root)?;
    if instances.is_empty() && brought.is_empty() {
        return Ok(Outcome::unchanged_because("no OpenVPN in the seed"));
    }
    if !instances.is_empty() && root.read(UNIT)?.is_none() {
        bail!("cannot enable OpenVPN: it is not installed ({UNIT} is missing)");
    }
    let names: BTreeSet<String> = instances.keys().map(InstanceName::to_string).collect();
    record(root, &(&names | &brought))?;
    let mut done = Vec::new();
    for name in &brought - &names {
        if remove(root, &name)? {
            done.push(format!("removed {name}"));
        }
    }
    let tap = the_tap(context, instances);
    for (name, instance) in instances {
        if write(root, name, instance, tap)? {
            tell_findings(context, name, instance);
            // systemd has read what is enabled before this ran, and an earlier seed's
            // configuration may be in use.
            systemctl(root, "restart", name)?;
            done.push(name.to_string());
        }
    }
    record(root, &names)?;
    Ok(Outcome::changed_if(!done.is_empty(), done.join(", ")))
}

/// Writes the files of an instance; returns whether anything was another before.
fn write(root: &Root, name: &str, instance: &OpenVpnInstance, tap: Option<&str>) -> Result<bool> {
    let text = openvpn::with_tap(instance.config.reveal(), tap);
    let (text, changed) = match &instance.user_pass {
        None => (text, root.remove_file(&login_file(name))?),
        Some(login) => {
            let file = login_file(name);
            let lines = format!("{}\n", login.reveal().trim_end());
            let written = root.ensure(&file, lines.as_bytes(), 0o600)?;
            (openvpn::with_user_pass(&text, &file).into(), written)
        }
    };
    let written = root.ensure(&file(name), text.as_bytes(), 0o600)?;
    let dropped = root.ensure(&drop_in(name), DROP_IN.as_bytes(), 0o644)?;
    if dropped && root.is_live() {
        root.systemctl(&["daemon-reload"])?;
    }
    let enabled = root.symlink(UNIT, &link(name))?;
    Ok(changed || written || dropped || enabled)
}

fn file(name: &str) -> String {
    format!("/etc/openvpn/{name}.conf")
}

/// User and password. Debian's openvpn takes only `*.conf` for an instance.
fn login_file(name: &str) -> String {
    format!("/etc/openvpn/{name}.auth")
}

fn drop_in(name: &str) -> String {
    format!(
        "/etc/systemd/system/{}.d/firstboot.conf",
        units::openvpn(name)
    )
}

fn link(name: &str) -> String {
    format!(
        "/etc/systemd/system/multi-user.target.wants/{}",
        units::openvpn(name)
    )
}

fn remove(root: &Root, name: &str) -> Result<bool> {
    let disabled = root.remove_file(&link(name))?;
    let removed = root.remove_file(&file(name))?;
    let login = root.remove_file(&login_file(name))?;
    if disabled || removed || login {
        // Its start is waiting already, and would fail without the file.
        systemctl(root, "stop", name)?;
    }
    let dropped = root.remove_file(&drop_in(name))?;
    Ok(disabled || removed || login || dropped)
}

/// Not waiting: the units run after the network, which waits for this very stage.
fn systemctl(root: &Root, verb: &str, name: &str) -> Result<()> {
    if root.is_live() {
        root.systemctl(&[verb, "--no-block", &units::openvpn(name)])?;
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
    instances: &BTreeMap<InstanceName, OpenVpnInstance>,
) -> Option<&'a str> {
    let is_open = |i: &&OpenVpnInstance| openvpn::has_open_tap(i.config.reveal());
    if instances.values().filter(is_open).count() != 1 {
        return None;
    }
    match context.seed.network.as_ref()?.tap_ports()[..] {
        [tap] => Some(tap),
        _ => None,
    }
}

/// Says what is wrong with a configuration. It is written all the same: what this firstboot does
/// not understand may well work, and the step `tunnel` tells whether it does.
fn tell_findings(context: &Context, name: &str, instance: &OpenVpnInstance) {
    let network = context.seed.network.as_ref();
    let taps = network
        .map(|network| network.tap_ports())
        .unwrap_or_default();
    let guest = openvpn::Guest {
        taps: &taps,
        user_pass: instance.user_pass.is_some(),
        taken_in: false,
    };
    let findings = openvpn::classify(instance.config.reveal(), &guest);
    for finding in findings.iter().filter(|finding| finding.is_error) {
        let (line, message) = (finding.place.line, &finding.message);
        (context.log)(&format!("{name}, line {line}: {message}"));
    }
}
