//! `network`: `/etc/network/interfaces` in ifupdown2's form, and the DNS servers.
//!
//! All goes into the one file: Proxmox's own editor keeps `source` lines but never reads
//! what is behind them. The services that read it start later.

mod card;
mod interfaces;

use crate::contract::seed::{Nameservers, NetworkConfig};
use crate::step::{Context, Outcome};
use anyhow::Result;
use std::fmt::Write;

use interfaces::interfaces;

const FILE: &str = "/etc/network/interfaces";
const RESOLV: &str = "/etc/resolv.conf";
/// Proxmox moves this file over the other one at the next boot.
const PENDING: &str = "/etc/network/interfaces.new";

/// Makes the network what the seed says.
pub(crate) fn run(context: &Context) -> Result<Outcome> {
    if let Some(locked) = context.locked_outcome() {
        return Ok(locked);
    }
    let Some(network) = &context.seed.network else {
        return Ok(Outcome::unchanged_because("no network-config in the seed"));
    };
    let root = context.root;
    let cards = card::names(root, network)?;
    let mut done = Vec::new();
    if root.ensure(FILE, interfaces(network, &cards).as_bytes(), 0o644)? {
        done.push(summary(network, &cards));
    }
    if root.remove_file(PENDING)? {
        done.push(format!("removed {PENDING}"));
    }
    if let Some(text) = resolv_conf(network) {
        if root.ensure(RESOLV, text.as_bytes(), 0o644)? {
            done.push("DNS".to_owned());
        }
    }
    Ok(Outcome::changed_if(!done.is_empty(), done.join(", ")))
}

fn summary(network: &NetworkConfig, cards: &card::Names) -> String {
    let ethernets = network.ethernets.iter().map(|(name, ethernet)| {
        let name = cards.get(name).unwrap_or(name);
        (name, &ethernet.addresses, ethernet.dhcp4)
    });
    let bridges = network
        .bridges
        .iter()
        .map(|(name, bridge)| (name, &bridge.addresses, bridge.dhcp4));
    ethernets
        .chain(bridges)
        .filter_map(|(name, addresses, dhcp)| match addresses.first() {
            Some(address) => Some(format!("{name} {address}")),
            None => (dhcp == Some(true)).then(|| format!("{name} dhcp")),
        })
        .collect::<Vec<_>>()
        .join(", ")
}

/// The content of `/etc/resolv.conf`; `None` when the seed names no server.
pub(crate) fn resolv_conf(network: &NetworkConfig) -> Option<String> {
    let cards = network.ethernets.values().map(|e| e.nameservers.as_ref());
    let bridges = network.bridges.values().map(|b| b.nameservers.as_ref());
    let all: Vec<&Nameservers> = cards.chain(bridges).flatten().collect();
    let mut servers = Vec::new();
    let mut search: Vec<&str> = Vec::new();
    for dns in all {
        for server in &dns.addresses {
            if !servers.contains(server) {
                servers.push(*server);
            }
        }
        for domain in &dns.search {
            if !search.contains(&domain.as_str()) {
                search.push(domain);
            }
        }
    }
    if servers.is_empty() {
        return None;
    }
    let mut text = String::new();
    if !search.is_empty() {
        let _ = writeln!(text, "search {}", search.join(" "));
    }
    for server in servers {
        let _ = writeln!(text, "nameserver {server}");
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::seed::Ethernet;

    #[test]
    fn servers_once_and_search_first() {
        let dns = |servers: &[&str], search: &[&str]| Ethernet {
            nameservers: Some(Nameservers {
                addresses: servers.iter().map(|s| s.parse().unwrap()).collect(),
                search: search.iter().map(|s| s.parse().unwrap()).collect(),
            }),
            ..Ethernet::default()
        };
        let network = NetworkConfig {
            version: 2,
            ethernets: [
                ("eth0".to_owned(), dns(&["192.168.122.1", "::1"], &["lab"])),
                ("eth1".to_owned(), dns(&["192.168.122.1"], &["lab", "b"])),
            ]
            .into(),
            bridges: Default::default(),
        };
        assert_eq!(
            resolv_conf(&network).unwrap(),
            "search lab b\nnameserver 192.168.122.1\nnameserver ::1\n"
        );
    }

    #[test]
    fn no_server_leaves_the_file_alone() {
        let network = NetworkConfig {
            version: 2,
            ethernets: Default::default(),
            bridges: Default::default(),
        };
        assert_eq!(resolv_conf(&network), None);
    }
}
