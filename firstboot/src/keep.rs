//! A member stays one: what a node that was switched off for a while needs to come back.
//!
//! Each join and each change of votes raises `config_version` in the cluster's `corosync.conf`. A
//! node that was off, or cut off, at that moment has the older file. When its corosync meets
//! the others it says `Received config version (9) is different than my config version (8)!
//! Exiting`, and systemd does not start it again: by hand, an admin copies the file from
//! another node and restarts corosync. On PCs that are switched off at any moment this is an
//! everyday event, so it is done here, the same way: the file comes from another member by
//! root's ssh key, which every member has in the cluster's `authorized_keys`. No password is
//! needed for it.

use crate::console::Console;
use crate::lock;
use crate::patience;
use crate::root::Root;
use crate::steps::join::observe::{self, AUTHKEY};
use crate::steps::votes::corosync_conf::{self, Conf};
use crate::steps::votes::store::FILE as CLUSTER;
use anyhow::{Context, Result, bail};
use std::ffi::OsStr;
use std::time::Duration;

/// The file that corosync reads.
const LOCAL: &str = "/etc/corosync/corosync.conf";
/// Held by the one that watches.
const LOCK: &str = "/run/firstboot/keep.lock";
/// How often a member is looked at; up to one and a half times that, by chance.
const WELL: Duration = Duration::from_secs(60);
/// The same, while something is wrong.
const ILL: Duration = Duration::from_secs(15);
/// How many members that answer are asked: one that was off itself may have an old file, too.
const ENOUGH: usize = 3;

/// Watches over this node's corosync until the machine is switched off. Returns at once on a
/// machine that is in no cluster, and where another firstboot watches.
pub fn keep(root: &Root, name: &str) {
    if !root.is_live() || !root.exists(AUTHKEY).unwrap_or(false) {
        return;
    }
    let Ok(Some(_lock)) = lock::take(root, LOCK, Duration::ZERO) else {
        return;
    };
    let mut told = String::new();
    loop {
        let done = mend(root, name);
        let pause = if done.is_some() { ILL } else { WELL };
        if let Some(words) = done.filter(|words| *words != told) {
            Console::new(root).say(&words);
            told = words;
        }
        std::thread::sleep(pause.mul_f64(0.5 + patience::chance()));
    }
}

/// Brings a corosync that has stopped back; says what was done, or why it cannot be done yet.
/// `None` when nothing is wrong.
pub fn mend(root: &Root, name: &str) -> Option<String> {
    if !root.is_live() || !observe::corosync_has_stopped(root).unwrap_or(false) {
        return None;
    }
    Some(bring_back(root, name).unwrap_or_else(|error| {
        format!("corosync has stopped, and cannot be brought back yet: {error:#}")
    }))
}

/// Takes over the newest `corosync.conf` that other members have, and starts corosync.
fn bring_back(root: &Root, name: &str) -> Result<String> {
    let own = root
        .read_text(LOCAL)?
        .with_context(|| format!("{LOCAL} is not there"))?;
    let conf = corosync_conf::read(&own).with_context(|| format!("cannot use {LOCAL}"))?;
    let mut newest: Option<(Conf, String, &str)> = None;
    let (mut answers, mut reasons) = (0, Vec::new());
    for node in conf.nodes.iter().filter(|node| node.name != name) {
        let other = ask(root, &node.name, &node.address)
            .and_then(|text| Ok((corosync_conf::read(&text)?, text)));
        match other {
            Ok((other, text)) => {
                answers += 1;
                if newest.as_ref().is_none_or(|n| other.version > n.0.version) {
                    newest = Some((other, text, &node.name));
                }
            }
            Err(error) => reasons.push(format!("{}: {error:#}", node.name)),
        }
        if answers == ENOUGH {
            break;
        }
    }
    let Some((other, text, from)) = newest else {
        bail!("no other member gave its {CLUSTER}: {}", reasons.join("; "));
    };
    // The newest one decides: who was off when this node was removed still lists it.
    usable(&other, &conf, name).with_context(|| format!("{from} has version {}", other.version))?;
    let version = other.version;
    let mut done = format!("corosync had stopped; it runs again, with version {version}");
    if version > conf.version {
        root.ensure(LOCAL, text.as_bytes(), 0o644)?;
        done = format!(
            "corosync had stopped with version {} of {LOCAL}; it runs again, with version {version} \
             from {from}",
            conf.version
        );
    }
    root.query("systemctl", &["reset-failed", "corosync"])?;
    root.run("systemctl", &["restart", "corosync"].map(OsStr::new), b"")?;
    Ok(done)
}

/// Another member's file, as Proxmox's own programs fetch things from each other: the name is
/// what its host key is known by, the address is where it is.
fn ask(root: &Root, name: &str, address: &str) -> Result<String> {
    let alias = format!("HostKeyAlias={name}");
    let known = format!("UserKnownHostsFile=/etc/pve/nodes/{name}/ssh_known_hosts");
    let target = format!("root@{address}");
    let words = [
        "-o",
        "BatchMode=yes",
        "-o",
        "ConnectTimeout=5",
        // A PC that is switched off in the middle of it.
        "-o",
        "ServerAliveInterval=5",
        "-o",
        "ServerAliveCountMax=3",
        "-o",
        &alias,
        "-o",
        &known,
        &target,
        "cat",
        CLUSTER,
    ];
    root.run("ssh", &words.map(OsStr::new), b"")
}

/// Whether another member's file may take the place of this node's: it must know this node, at the
/// same address.
fn usable(other: &Conf, own: &Conf, name: &str) -> Result<()> {
    let address = |conf: &Conf| {
        let node = conf.nodes.iter().find(|node| node.name == name);
        node.map(|node| node.address.clone())
    };
    match (address(own), address(other)) {
        (Some(own), Some(other)) if own == other => Ok(()),
        (_, None) => bail!(
            "it does not list {name} any more: this node was removed from the cluster, and must not \
             come back"
        ),
        (_, Some(other)) => bail!("it has {name} at {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conf(version: u64, nodes: &[(&str, &str)]) -> String {
        let mut text = "nodelist {\n".to_owned();
        for (number, (name, address)) in nodes.iter().enumerate() {
            text.push_str(&format!(
                "  node {{\n    name: {name}\n    nodeid: {}\n    ring0_addr: {address}\n  }}\n",
                number + 1
            ));
        }
        text + &format!("}}\n\ntotem {{\n  cluster_name: c\n  config_version: {version}\n}}\n")
    }

    #[test]
    fn only_a_file_that_knows_this_node_is_taken() {
        let (alpha, own) = (("alpha", "10.0.0.1"), ("vm42", "10.0.0.42"));
        let mine = corosync_conf::read(&conf(8, &[alpha, own])).unwrap();
        let of = |text: &str| usable(&corosync_conf::read(text).unwrap(), &mine, "vm42");
        assert!(of(&conf(9, &[alpha, own, ("vm43", "10.0.0.43")])).is_ok());
        let error = of(&conf(9, &[alpha])).unwrap_err().to_string();
        assert!(error.contains("was removed from the cluster"), "{error}");
        let error = of(&conf(9, &[alpha, ("vm42", "10.0.0.52")])).unwrap_err();
        assert_eq!(error.to_string(), "it has vm42 at 10.0.0.52");
        assert!(corosync_conf::read("cat: /etc/pve/corosync.conf: No such file\n").is_err());
    }

    #[test]
    fn a_machine_without_a_cluster_is_left_alone_at_once() {
        let folder = tempfile::tempdir().unwrap();
        keep(&Root::new(folder.path()), "vm42");
    }
}
