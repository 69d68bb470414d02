//! `join`: this node is a member of the seed's cluster.
//!
//! One attempt, through the first peer that answers. Success is what the cluster's file
//! system shows afterwards; see [`members`].

pub mod judge;
pub mod members;
pub mod pvecm;

use super::{Context, Outcome, ssh_keys};
use crate::root::Kind;
use crate::seed::{Cluster, Peer};
use anyhow::{Context as _, Result, bail};
use judge::Verdict;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

/// How long pmxcfs may take to mount `/etc/pve`.
const MOUNT_WAIT: Duration = Duration::from_secs(60);
/// How long the way to a peer (OpenVPN) may take to come up.
const PEER_WAIT: Duration = Duration::from_secs(60);
/// The longest that one `pvecm add` may take. It waits for quorum without end by itself.
const ADD_LIMIT: Duration = Duration::from_secs(300);
/// The longest that all attempts together may take; below the unit's own limit.
const TOTAL_LIMIT: Duration = Duration::from_secs(600);
/// How long the cluster may take to show the new member.
const SETTLE_WAIT: Duration = Duration::from_secs(30);
/// Where Proxmox's API answers.
const API_PORT: u16 = 8006;
const AUTHKEY: &str = "/etc/corosync/authkey";

/// Joins, unless there is nothing to join or it is done.
pub fn run(context: &Context) -> Result<Outcome> {
    let proxmox = context.seed.user_data.proxmox.as_ref();
    let Some(cluster) = proxmox.and_then(|p| p.cluster.as_ref()) else {
        return no_cluster(context);
    };
    if !context.root.is_live() {
        bail!("cannot join a cluster: this needs the running machine, not a root folder");
    }
    if context.root.kind("/usr/bin/pvecm")?.is_none() {
        bail!("cannot join a cluster: Proxmox VE is not installed (no /usr/bin/pvecm)");
    }
    wait_for_pmxcfs(context)?;
    if let Ok(name) = members::membership(context.root, &context.name)? {
        let changed = tidy(context)?;
        let detail = format!("already a member of {name}");
        return Ok(Outcome {
            changed,
            detail: Some(detail),
        });
    }
    wait_for_a_peer(context, &cluster.peers);
    let peer = add(context, cluster)?;
    let name = wait_until_member(context)
        .with_context(|| format!("pvecm added {} through {peer}", context.name))?;
    tidy(context)?;
    Ok(Outcome::changed(format!(
        "member of {name}, through {peer}"
    )))
}

/// Nothing to join. The keys of a node that has joined before may still have to go into its
/// cluster's file system, which the local stage cannot reach.
fn no_cluster(context: &Context) -> Result<Outcome> {
    let mut changed = false;
    if context.root.is_live() && ssh_keys::are_in_pve(context.root)? {
        wait_for_pmxcfs(context)?;
        changed = tidy(context)?;
    }
    Ok(Outcome {
        changed,
        detail: Some("no cluster in the seed".to_owned()),
    })
}

fn wait_for_pmxcfs(context: &Context) -> Result<()> {
    let deadline = Instant::now() + MOUNT_WAIT;
    while context.root.read(members::FILE)?.is_none() {
        if Instant::now() > deadline {
            bail!(
                "the cluster file system is not mounted: {} cannot be read after {} s. It does \
                 not start when {} stands for no address or for 127.0.1.1 in /etc/hosts; see \
                 journalctl -u pve-cluster",
                members::FILE,
                MOUNT_WAIT.as_secs(),
                context.name
            );
        }
        std::thread::sleep(Duration::from_millis(500));
    }
    Ok(())
}

/// The tunnel to the cluster may still be coming up. A peer that refuses the connection is
/// reached, too; a peer given by name cannot be asked here, so it is not waited for.
fn wait_for_a_peer(context: &Context, peers: &[Peer]) {
    let addresses: Vec<IpAddr> = peers
        .iter()
        .filter_map(|p| p.address.parse().ok())
        .collect();
    if addresses.len() < peers.len() {
        return;
    }
    let deadline = Instant::now() + PEER_WAIT;
    let mut said = false;
    while Instant::now() < deadline {
        let reached = addresses.iter().any(|address| {
            let socket = SocketAddr::new(*address, API_PORT);
            match TcpStream::connect_timeout(&socket, Duration::from_secs(2)) {
                Ok(_) => true,
                Err(e) => e.kind() == std::io::ErrorKind::ConnectionRefused,
            }
        });
        if reached {
            return;
        }
        if !said {
            (context.log)("waiting for a way to the cluster");
            said = true;
        }
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// Asks the peers in turn; returns the one that added this node.
fn add<'a>(context: &Context, cluster: &'a Cluster) -> Result<&'a str> {
    let deadline = Instant::now() + TOTAL_LIMIT;
    let link = cluster.link0.or(context.address());
    attempt(&cluster.peers, &context.name, |peer| {
        let limit = ADD_LIMIT.min(deadline.saturating_duration_since(Instant::now()));
        pvecm::Add {
            program: "pvecm",
            folder: Path::new("/root"),
            args: &arguments(peer, link),
            password: cluster.password.reveal(),
            limit,
        }
        .run(context.log)
    })
}

/// The peers in turn, until one answers.
fn attempt<'a>(
    peers: &'a [Peer],
    name: &str,
    mut ask: impl FnMut(&Peer) -> Result<String>,
) -> Result<&'a str> {
    let mut reasons = Vec::new();
    for peer in peers {
        let output = ask(peer)?;
        let verdict = judge::judge(&output, name);
        if verdict == Verdict::Added {
            return Ok(&peer.address);
        }
        reasons.push(verdict.reason(&peer.address, name));
        if !verdict.try_next_peer() {
            break;
        }
    }
    bail!("{}", reasons.join("\n"))
}

fn arguments(peer: &Peer, link: Option<IpAddr>) -> Vec<String> {
    let mut args = vec![
        "add".to_owned(),
        peer.address.clone(),
        "--fingerprint".to_owned(),
        peer.fingerprint.clone(),
    ];
    if let Some(link) = link {
        args.extend(["--link0".to_owned(), link.to_string()]);
    }
    args
}

fn wait_until_member(context: &Context) -> Result<String> {
    let deadline = Instant::now() + SETTLE_WAIT;
    loop {
        // pmxcfs is restarted by the join, so its file may be away or half there.
        let missing = match members::membership(context.root, &context.name) {
            Ok(Ok(name)) => return Ok(name),
            Ok(Err(missing)) => missing,
            Err(error) => format!("{error:#}"),
        };
        if Instant::now() > deadline {
            bail!("this node is not a member all the same: {missing}");
        }
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// What a join leaves to do: corosync's key is readable by all, and root's keys are gone.
fn tidy(context: &Context) -> Result<bool> {
    let mut changed = false;
    if context.root.kind(AUTHKEY)? == Some(Kind::File) {
        changed |= context.root.ensure_mode(AUTHKEY, 0o400)?;
    }
    changed |= ssh_keys::run(context)?.changed;
    Ok(changed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peers(addresses: &[&str]) -> Vec<Peer> {
        let peer = |address: &&str| Peer {
            address: address.to_string(),
            fingerprint: "AA".to_owned(),
        };
        addresses.iter().map(peer).collect()
    }

    fn ask(answers: &[(&str, &str)]) -> (Result<String>, Vec<String>) {
        let addresses: Vec<&str> = answers.iter().map(|(peer, _)| *peer).collect();
        let mut asked = Vec::new();
        let peers = peers(&addresses);
        let result = attempt(&peers, "vm42", |peer| {
            asked.push(peer.address.clone());
            let answer = answers.iter().find(|(p, _)| *p == peer.address);
            Ok(answer.unwrap().1.to_owned())
        });
        (result.map(str::to_owned), asked)
    }

    #[test]
    fn the_next_peer_is_asked_when_one_does_not_answer() {
        let (result, asked) = ask(&[
            ("a", "500 Can't connect to a:8006 (No route to host)\n"),
            ("b", "595 Connection refused\n"),
            ("c", "successfully added node 'vm42' to cluster.\n"),
            ("d", ""),
        ]);
        assert_eq!(result.unwrap(), "c");
        assert_eq!(asked, ["a", "b", "c"]);
    }

    #[test]
    fn a_refusal_ends_it() {
        let (result, asked) = ask(&[
            ("a", "500 Can't connect to a:8006 (Connection refused)\n"),
            ("b", "401 authentication failure\n"),
            ("c", "successfully added node 'vm42' to cluster.\n"),
        ]);
        assert_eq!(
            result.unwrap_err().to_string(),
            "a does not answer: 500 Can't connect to a:8006 (Connection refused)\n\
             b refused root's password"
        );
        assert_eq!(asked, ["a", "b"]);
    }

    #[test]
    fn the_password_is_no_argument() {
        let link = "10.120.0.42".parse().ok();
        assert_eq!(
            arguments(&peers(&["10.120.0.1"])[0], link),
            [
                "add",
                "10.120.0.1",
                "--fingerprint",
                "AA",
                "--link0",
                "10.120.0.42"
            ]
        );
    }
}
