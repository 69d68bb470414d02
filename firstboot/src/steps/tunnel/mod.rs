//! `tunnel`: the OpenVPN tunnels of the seed are up, or why they are not.
//!
//! Without it a machine whose OpenVPN ends again and again would be called configured, and the
//! join would only say that nobody answers.

pub(crate) mod log;

use crate::contract::openvpn::calls_somebody;
use crate::contract::seed::NetworkConfig;
use crate::step::{Context, Outcome, RetryLater};
use crate::system::root::Root;
use crate::system::{units, wait};
use anyhow::{Result, bail};
use log::Said;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

/// How long a tunnel may take before the step pauses: a handshake that gets no answer takes 60 s.
const WAIT: Duration = Duration::from_secs(70);
/// How long somebody behind the tunnel may take to answer.
const ANSWER: Duration = Duration::from_secs(3);
/// Proxmox VE's API. Whoever refuses the connection has answered, too.
const PORT: u16 = 8006;

/// What became of one tunnel.
#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    /// OpenVPN says that it is up.
    Up,
    /// It waits for somebody to call it.
    Listens,
    /// Not yet; why, in OpenVPN's words.
    NotYet(String),
    /// Never, unless the seed becomes another one.
    Never(String),
}

/// Waits for the tunnels, and says who answers behind them.
pub(crate) fn run(context: &Context) -> Result<Outcome> {
    let instances = &context.seed.user_data.openvpn;
    if instances.is_empty() {
        return Ok(Outcome::unchanged_because("no OpenVPN in the seed"));
    }
    if !context.root.is_live() {
        return Ok(Outcome::unchanged_because("not the running machine"));
    }
    let mut told = Vec::new();
    for (name, instance) in instances {
        let calls = calls_somebody(instance.config.reveal());
        match wait_for(context.root, name, calls)? {
            State::Up => told.push(format!("{name} up")),
            State::Listens => told.push(format!("{name} listens")),
            State::NotYet(words) => {
                let reason = format!("the tunnel {name} is not up: {words}");
                return Err(RetryLater::because(reason).into());
            }
            State::Never(words) => bail!("the tunnel {name} does not come up: {words}"),
        }
    }
    if let Some(network) = &context.seed.network {
        told.extend(behind(context, network)?);
    }
    Ok(Outcome::unchanged_because(told.join(", ")))
}

/// Looks again and again while there is hope.
fn wait_for(root: &Root, name: &str, calls: bool) -> Result<State> {
    let state = || Ok(state(&unit(root, name)?, &said(root, name)?, calls));
    let is_final = |state: &State| !matches!(state, State::NotYet(_));
    wait::until(WAIT, Duration::from_secs(1), state, is_final)
}

/// What systemd knows of the instance.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Unit {
    /// `ActiveState`, such as `active`, `activating` or `failed`.
    active: String,
    /// How often it ended and was started again.
    restarts: u32,
    /// OpenVPN's own last word (`sd_notify`).
    status: String,
}

fn unit(root: &Root, name: &str) -> Result<Unit> {
    let service = units::openvpn(name);
    let properties = "--property=ActiveState,NRestarts,StatusText";
    let text = root.query("systemctl", &["show", properties, &service])?;
    Ok(parse_unit(&text))
}

fn parse_unit(text: &str) -> Unit {
    let value = |key: &str| {
        let mut lines = text.lines().filter_map(|line| line.split_once('='));
        let found = lines.find(|(found, _)| *found == key);
        found.map(|(_, value)| value.to_owned()).unwrap_or_default()
    };
    Unit {
        active: value("ActiveState"),
        restarts: value("NRestarts").parse().unwrap_or(0),
        status: value("StatusText"),
    }
}

/// What OpenVPN said since the boot, by the name that Debian's unit gives it in the journal.
fn said(root: &Root, name: &str) -> Result<String> {
    let identifier = format!("--identifier=ovpn-{name}");
    let words = [
        "--boot",
        &identifier,
        "--output=cat",
        "--no-pager",
        "--lines=300",
    ];
    root.query("journalctl", &words)
}

fn state(unit: &Unit, log: &str, calls: bool) -> State {
    let Said {
        is_up,
        never,
        words,
    } = log::parse(log);
    let is_active = unit.active == "active";
    if let Some(words) = never.filter(|_| is_up != Some(true)) {
        return State::Never(words);
    }
    // With `log FILE` in the configuration the journal knows nothing.
    let up = is_up.unwrap_or(unit.status == log::COMPLETED);
    if is_active && up {
        return State::Up;
    }
    if is_active && !calls && unit.restarts == 0 {
        return State::Listens;
    }
    let words = words.unwrap_or_else(|| match is_active {
        true => "OpenVPN has said nothing yet".to_owned(),
        false => format!("its unit is {}", unit.active),
    });
    State::NotYet(match unit.restarts {
        0 => words,
        1 => format!("OpenVPN ended and was started again: {words}"),
        n => format!("OpenVPN ended and was started again {n} times: {words}"),
    })
}

/// Who answers on the bridges whose ports are taps: gateways and the cluster's members there.
/// That nobody does is said, and is no error: they may be switched off.
fn behind(context: &Context, network: &NetworkConfig) -> Result<Option<String>> {
    let cluster = context.seed.cluster();
    let peers = cluster.iter().flat_map(|cluster| &cluster.peers);
    let peers: Vec<IpAddr> = peers.filter_map(|p| p.address.parse().ok()).collect();
    let mut asked = Vec::new();
    for (bridge, own, asks) in to_ask(network, &peers) {
        for address in asks {
            if answers(address) || has_neighbour(context.root, address, bridge)? {
                return Ok(Some(format!("{own} reaches {address}")));
            }
            asked.push(address.to_string());
        }
    }
    if asked.is_empty() {
        return Ok(None);
    }
    let frames: u64 = network
        .tap_ports()
        .iter()
        .map(|tap| frames(context.root, tap))
        .sum::<Result<u64>>()?;
    Ok(Some(format!(
        "nobody answers behind it yet: {} ({frames} frames came through)",
        asked.join(", ")
    )))
}

/// For each bridge over a tap: its name, its own address, and who is to be asked there.
fn to_ask<'a>(network: &'a NetworkConfig, peers: &[IpAddr]) -> Vec<(&'a str, IpAddr, Vec<IpAddr>)> {
    let taps = network.tap_ports();
    let bridges = network.bridges.iter();
    let bridges = bridges.filter(|(_, b)| b.interfaces.iter().any(|i| taps.contains(&i.as_str())));
    bridges
        .flat_map(|(name, bridge)| {
            let gateways = bridge.routes.iter().map(|route| route.via);
            let all: Vec<IpAddr> = gateways.chain(peers.iter().copied()).collect();
            bridge.addresses.iter().map(move |address| {
                let own = address.address();
                let is_there = |a: &&IpAddr| **a != own && address.contains(**a);
                let asks = all.iter().filter(is_there).copied().collect();
                (name.as_str(), own, asks)
            })
        })
        .collect()
}

fn answers(address: IpAddr) -> bool {
    match TcpStream::connect_timeout(&SocketAddr::new(address, PORT), ANSWER) {
        Ok(_) => true,
        Err(error) => error.kind() == ErrorKind::ConnectionRefused,
    }
}

/// Whether the kernel has learnt the address's MAC there (proc(5), `/proc/net/arp`): somebody
/// whose firewall drops the connection still answers ARP.
fn has_neighbour(root: &Root, address: IpAddr, device: &str) -> Result<bool> {
    let table = root.read_text("/proc/net/arp")?.unwrap_or_default();
    Ok(is_neighbour(&table, &address.to_string(), device))
}

pub(crate) fn is_neighbour(table: &str, address: &str, device: &str) -> bool {
    table.lines().skip(1).any(|line| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        // Flags: 0x2 is ATF_COM, a completed entry.
        matches!(words[..], [ip, _, "0x2" | "0x6", _, _, dev] if ip == address && dev == device)
    })
}

/// How many frames OpenVPN has put into a tap.
fn frames(root: &Root, tap: &str) -> Result<u64> {
    let file = format!("/sys/class/net/{tap}/statistics/rx_packets");
    let text = root.read_text(&file)?.unwrap_or_default();
    Ok(text.trim().parse().unwrap_or(0))
}

#[cfg(test)]
mod tests;
