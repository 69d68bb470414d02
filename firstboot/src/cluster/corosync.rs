//! corosync on this node: its key, its own file and its service.

use crate::cluster::corosync_conf::{self, Conf};
use crate::system::lock;
use crate::system::root::Root;
use anyhow::{Context, Result};
use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::time::Duration;

/// Corosync's key: a machine that has it is, or is about to be, in a cluster.
pub(crate) const AUTHKEY: &str = "/etc/corosync/authkey";
/// The file that corosync reads. pmxcfs writes it from `/etc/pve/corosync.conf`.
pub(crate) const CONF: &str = "/etc/corosync/corosync.conf";
/// With less of a key corosync does not start: `KNET_MIN_KEY_LEN` of libknet.
const SHORTEST_KEY: usize = 128;
/// Held by whoever starts and stops corosync and pmxcfs: a join, or what restarts them on a member.
const LOCK: &str = "/run/firstboot/corosync.lock";

/// While it is there, systemd does not start corosync (a drop-in of its unit looks for it). Without
/// it a held corosync would come back with each start of what wants pve-cluster, which wants corosync.
const HELD: &str = "/run/firstboot/corosync-held";

/// Keeps corosync off for this boot, until it is [released](release). Where its start is still in
/// systemd's queue, it is taken out; `waits` is for callers that are not in that queue themselves.
pub(crate) fn hold(root: &Root, waits: bool) -> Result<()> {
    keep_off(root)?;
    match waits {
        true => root.systemctl(&["stop", "corosync"]),
        false => root.systemctl(&["stop", "--no-block", "corosync"]),
    }
}

/// Keeps a corosync off that does not run yet, until it is [released](release).
pub(crate) fn keep_off(root: &Root) -> Result<()> {
    root.ensure(HELD, b"", 0o600).map(drop)
}

/// Whether corosync is kept off.
pub(crate) fn is_held(root: &Root) -> bool {
    root.exists(HELD).unwrap_or(false)
}

/// Lets corosync be started again.
pub(crate) fn release(root: &Root) -> Result<()> {
    root.remove_file(HELD).map(drop)
}

/// The right to start and stop corosync and pmxcfs, for as long as it is kept; `None` when another
/// firstboot has it for longer than `patience`, or it cannot be had at all.
pub(crate) fn services(root: &Root, patience: Duration) -> Option<OwnedFd> {
    lock::take(root, LOCK, patience).ok().flatten()
}

/// Removes what a `pvecm` that was cut has left beside corosync's files; returns whether there was any.
/// Proxmox's tools write `NAME.tmp.PID` first (`file_set_contents` in PVE/Tools.pm), and never look at
/// one of an earlier process: all or half of the cluster's key would stay, for everybody to read.
pub(crate) fn remove_unfinished(root: &Root) -> Result<bool> {
    let mut removed = false;
    for file in [AUTHKEY, CONF] {
        let Some((folder, own)) = file.rsplit_once('/') else {
            continue;
        };
        for name in root.list(folder)? {
            let rest = name.strip_prefix(own);
            let pid = rest.and_then(|rest| rest.strip_prefix(".tmp."));
            if pid.is_some_and(|pid| pid.parse::<u32>().is_ok()) {
                removed |= root.remove_file(&format!("{folder}/{name}"))?;
            }
        }
    }
    Ok(removed)
}

/// Whether the key is there and none: what a power cut leaves of a file whose name reached the disk before its bytes did.
pub(crate) fn key_is_torn(root: &Root) -> Result<bool> {
    let Some(key) = root.read(AUTHKEY)? else {
        return Ok(false);
    };
    Ok(key.len() < SHORTEST_KEY || key.iter().all(|byte| *byte == 0))
}

/// How long one of corosync's tools may take; they answer at once, or hang with it.
const TOOL: Duration = Duration::from_secs(10);
/// How long the version of a corosync that runs is asked for: several callers do so in a row.
const VERSION_TOOL: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Corosync {
    Active,
    /// It was not started, or was stopped.
    Inactive,
    /// It ended by itself. systemd does not start it again.
    Failed,
}

/// `systemctl is-active` prints the state, and fails for every one but `active`.
pub(crate) fn state(root: &Root) -> Result<Corosync> {
    let words = root.query("systemctl", &["is-active", "corosync"])?;
    Ok(match words.trim() {
        "active" | "activating" | "reloading" => Corosync::Active,
        "failed" => Corosync::Failed,
        _ => Corosync::Inactive,
    })
}

/// Whether corosync itself says that it has quorum.
pub(crate) fn has_quorum(root: &Root) -> bool {
    tool(root, "corosync-quorumtool", "-s").is_some_and(|text| is_quorate(&text))
}

/// What a tool printed, whatever its exit code: that of `corosync-quorumtool -s` is 2 without quorum.
fn tool(root: &Root, program: &str, word: &str) -> Option<String> {
    let ended = root.run_within(program, &[word], TOOL).ok().flatten();
    ended.map(|ended| ended.output)
}

pub(crate) fn is_quorate(text: &str) -> bool {
    let value = text.lines().find_map(|line| line.strip_prefix("Quorate:"));
    value.is_some_and(|value| value.trim() == "Yes")
}

/// With how many other nodes corosync has a link that is up.
pub(crate) fn connected(root: &Root) -> usize {
    tool(root, "corosync-cfgtool", "-s").map_or(0, |text| connected_nodes(&text))
}

/// How many nodes `corosync-cfgtool -s` shows as connected, on any link; this one is `localhost`.
pub(crate) fn connected_nodes(text: &str) -> usize {
    let ids = text.lines().filter_map(|line| {
        let rest = line.trim().strip_prefix("nodeid:")?;
        let (id, state) = rest.split_once(':')?;
        (state.trim() == "connected").then(|| id.trim())
    });
    ids.collect::<BTreeSet<_>>().len()
}

pub(crate) fn own_conf(root: &Root) -> Result<Conf> {
    let text = root.read_text(CONF)?;
    let text = text.with_context(|| format!("{CONF} is not there"))?;
    corosync_conf::parse(&text).with_context(|| format!("cannot use {CONF}"))
}

/// The same, with the version that a corosync which runs has in fact: its file may be newer, where
/// somebody wrote it and did not start corosync again.
pub(crate) fn effective_conf(root: &Root) -> Result<Conf> {
    let mut conf = own_conf(root)?;
    let words = ["-g", "totem.config_version"];
    let shown = root.run_within("corosync-cmapctl", &words, VERSION_TOOL);
    let shown = shown.ok().flatten().map(|ended| ended.output);
    if let Some(running) = shown.as_deref().and_then(version) {
        conf.version = conf.version.min(running);
    }
    Ok(conf)
}

/// What `corosync-cmapctl -g` prints: `totem.config_version (u64) = 3` (transcript 16c).
pub(crate) fn version(shown: &str) -> Option<u64> {
    shown.trim().rsplit_once('=')?.1.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::root::tests::tree;

    #[test]
    fn corosync_tools() {
        // Transcript 28, the stale member.
        let status = "Quorum provider:  corosync_votequorum\nNodes:            1\nNode ID:          4\n\
                      Ring ID:          4.6cb\nQuorate:          No\n\nVotequorum information\n";
        assert!(!is_quorate(status));
        assert!(is_quorate(&status.replace("No\n", "Yes\n")));
        assert!(!is_quorate("Cannot initialize CMAP service\n"));
        let links = "Local node ID 4, transport knet\nLINK ID 0 udp\n\taddr\t= 10.120.0.41\n\tstatus:\n\
                     \t\tnodeid:          1:\tconnected\n\t\tnodeid:          2:\tdisconnected\n\
                     \t\tnodeid:          4:\tlocalhost\nLINK ID 1 udp\n\taddr\t= 10.121.0.41\n\
                     \tstatus:\n\t\tnodeid:          1:\tconnected\n\t\tnodeid:          3:\tconnected\n";
        assert_eq!(connected_nodes(links), 2);
        assert_eq!(connected_nodes(""), 0);
    }

    #[test]
    fn the_version_that_runs() {
        assert_eq!(version("totem.config_version (u64) = 153\n"), Some(153));
        assert_eq!(
            version("Failed to initialize the cmap API. Error CS_ERR_LIBRARY\n"),
            None
        );
    }

    #[test]
    fn what_a_cut_pvecm_has_left_is_removed() {
        let (_folder, root) = tree();
        assert!(!remove_unfinished(&root).unwrap());
        let names = [
            "authkey",
            "authkey.tmp.60",
            "authkey.tmp.old",
            "corosync.conf",
            "corosync.conf.tmp.1234",
            "corosync.conf.tmp",
            "uidgid.tmp.60",
        ];
        for name in names {
            let file = format!("/etc/corosync/{name}");
            root.write(&file, b"half a key", 0o644).unwrap();
        }
        assert!(remove_unfinished(&root).unwrap());
        let mut left = names.to_vec();
        left.retain(|name| !["authkey.tmp.60", "corosync.conf.tmp.1234"].contains(name));
        left.sort_unstable();
        assert_eq!(root.list("/etc/corosync").unwrap(), left);
        assert!(!remove_unfinished(&root).unwrap());
    }

    #[test]
    fn an_empty_file_is_no_configuration() {
        let (_folder, root) = tree();
        root.write(CONF, b"", 0o644).unwrap();
        let error = format!("{:#}", own_conf(&root).unwrap_err());
        assert!(
            error.starts_with(&format!("cannot use {CONF}: ")),
            "{error}"
        );
    }
}
