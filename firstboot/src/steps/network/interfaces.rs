//! The text of `/etc/network/interfaces` (interfaces(5), ifupdown2).

use super::card::Names;
use crate::contract::seed::{Bridge, NetworkConfig, Route};
use crate::contract::values::{Cidr, RouteTarget};
use std::fmt::Write;

const HEADER: &str = "# Written by firstboot from the network-config of the seed disk. Proxmox VE's own\n\
                      # editor may change this file; only a new seed makes firstboot write it again.\n\
                      \n\
                      auto lo\n\
                      iface lo inet loopback\n";

/// The file. `cards` gives the real name of a card whose entry is found by its MAC.
pub(super) fn interfaces(network: &NetworkConfig, cards: &Names) -> String {
    let mut text = HEADER.to_owned();
    for (entry, ethernet) in network.cards() {
        let name = cards.get(entry).unwrap_or(entry);
        let mut routes = ethernet.routes.clone();
        if let Some(gateway) = ethernet.gateway4 {
            routes.push(Route {
                to: RouteTarget::default(),
                via: gateway.into(),
            });
        }
        let dhcp = ethernet.dhcp4 == Some(true);
        text.push_str(&stanzas(name, dhcp, &ethernet.addresses, &routes, &[]));
    }
    for tap in network.taps() {
        // A persistent tap outlives OpenVPN's restarts; the bridge needs it before that.
        let _ = write!(
            text,
            "\nauto {tap}\niface {tap} inet manual\n    pre-up ip link show dev {tap} \
             >/dev/null 2>&1 || ip tuntap add dev {tap} mode tap\n"
        );
    }
    for (name, bridge) in &network.bridges {
        let dhcp = bridge.dhcp4 == Some(true);
        let options = bridge_options(bridge, cards);
        text.push_str(&stanzas(
            name,
            dhcp,
            &bridge.addresses,
            &bridge.routes,
            &options,
        ));
    }
    text
}

fn bridge_options(bridge: &Bridge, cards: &Names) -> Vec<String> {
    let ports: Vec<&str> = bridge
        .interfaces
        .iter()
        .map(|port| cards.get(port).unwrap_or(port).as_str())
        .collect();
    let ports = match ports.is_empty() {
        true => "none".to_owned(),
        false => ports.join(" "),
    };
    let parameters = bridge.parameters.clone().unwrap_or_default();
    let stp = match parameters.stp {
        Some(true) => "on",
        _ => "off",
    };
    vec![
        format!("bridge-ports {ports}"),
        format!("bridge-stp {stp}"),
        format!("bridge-fd {}", parameters.forward_delay.unwrap_or(0)),
    ]
}

/// One stanza for IPv4, and one for IPv6 where there are such addresses.
fn stanzas(
    name: &str,
    dhcp: bool,
    addresses: &[Cidr],
    routes: &[Route],
    options: &[String],
) -> String {
    let (v6, v4): (Vec<&Cidr>, Vec<&Cidr>) =
        addresses.iter().partition(|cidr| cidr.address().is_ipv6());
    let method = match (dhcp, v4.is_empty()) {
        (true, _) => "dhcp",
        (false, false) => "static",
        (false, true) => "manual",
    };
    let mut text = format!("\nauto {name}\niface {name} inet {method}\n");
    for address in &v4 {
        let line = match dhcp {
            false => format!("    address {address}\n"),
            // With DHCP ifupdown2 reads no `address` line.
            true => format!("    up ip address replace {address} dev {name}\n"),
        };
        text.push_str(&line);
    }
    let (routes6, routes4): (Vec<&Route>, Vec<&Route>) =
        routes.iter().partition(|route| route.via.is_ipv6());
    text.push_str(&route_lines(name, &routes4));
    for option in options {
        let _ = writeln!(text, "    {option}");
    }
    if !v6.is_empty() {
        let _ = write!(text, "\niface {name} inet6 static\n");
        for address in v6 {
            let _ = writeln!(text, "    address {address}");
        }
        text.push_str(&route_lines(name, &routes6));
    }
    text
}

fn route_lines(name: &str, routes: &[&Route]) -> String {
    let mut text = String::new();
    let mut gateway = false;
    for route in routes {
        if !route.to.is_default() {
            let (to, via) = (&route.to, route.via);
            let _ = writeln!(text, "    up ip route replace {to} via {via} dev {name}");
        } else if !gateway {
            gateway = true;
            let _ = writeln!(text, "    gateway {}", route.via);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::seed::{BridgeParameters, Ethernet, Match};

    fn lines(text: &str) -> String {
        text.strip_prefix(HEADER).unwrap().to_owned()
    }

    fn network(
        ethernets: impl IntoIterator<Item = (&'static str, Ethernet)>,
        bridges: impl IntoIterator<Item = (&'static str, Bridge)>,
    ) -> NetworkConfig {
        let own = |name: &str| name.to_owned();
        NetworkConfig {
            version: 2,
            ethernets: ethernets.into_iter().map(|(n, e)| (own(n), e)).collect(),
            bridges: bridges.into_iter().map(|(n, b)| (own(n), b)).collect(),
        }
    }

    #[test]
    fn a_node_behind_the_tunnel() {
        let card = Ethernet {
            addresses: vec!["192.168.122.42/24".parse().unwrap()],
            routes: vec![Route {
                to: RouteTarget::default(),
                via: "192.168.122.1".parse().unwrap(),
            }],
            ..Ethernet::default()
        };
        let bridge = Bridge {
            interfaces: vec!["tap120".into()],
            addresses: vec!["10.120.0.42/24".parse().unwrap()],
            ..Bridge::default()
        };
        let network = network([("eth0", card)], [("vmbr120", bridge)]);
        assert_eq!(network.tap_ports(), ["tap120"]);
        assert_eq!(
            lines(&interfaces(&network, &Names::new())),
            "
auto eth0
iface eth0 inet static
    address 192.168.122.42/24
    gateway 192.168.122.1

auto tap120
iface tap120 inet manual
    pre-up ip link show dev tap120 >/dev/null 2>&1 || ip tuntap add dev tap120 mode tap

auto vmbr120
iface vmbr120 inet static
    address 10.120.0.42/24
    bridge-ports tap120
    bridge-stp off
    bridge-fd 0
"
        );
    }

    #[test]
    fn a_card_below_a_bridge_has_its_real_name_there() {
        let card = Ethernet {
            match_: Some(Match::default()),
            ..Ethernet::default()
        };
        let bridge = Bridge {
            interfaces: vec!["nic".into()],
            dhcp4: Some(true),
            addresses: vec!["10.0.0.2/8".parse().unwrap(), "fd00::2/64".parse().unwrap()],
            routes: vec![
                Route {
                    to: "::/0".parse().unwrap(),
                    via: "fd00::1".parse().unwrap(),
                },
                Route {
                    to: "10.9.0.0/16".parse().unwrap(),
                    via: "10.0.0.9".parse().unwrap(),
                },
            ],
            parameters: Some(BridgeParameters {
                stp: Some(true),
                forward_delay: Some(4),
            }),
            ..Bridge::default()
        };
        let names = Names::from([("nic".to_owned(), "eth1".to_owned())]);
        let network = network([("nic", card)], [("vmbr0", bridge)]);
        assert_eq!(
            lines(&interfaces(&network, &names)),
            "
auto eth1
iface eth1 inet manual

auto vmbr0
iface vmbr0 inet dhcp
    up ip address replace 10.0.0.2/8 dev vmbr0
    up ip route replace 10.9.0.0/16 via 10.0.0.9 dev vmbr0
    bridge-ports eth1
    bridge-stp on
    bridge-fd 4

iface vmbr0 inet6 static
    address fd00::2/64
    gateway fd00::1
"
        );
    }

    #[test]
    fn several_addresses_and_the_old_gateway() {
        let card = Ethernet {
            addresses: vec!["10.0.0.2/8".parse().unwrap(), "10.0.0.3/8".parse().unwrap()],
            gateway4: Some("10.0.0.1".parse().unwrap()),
            ..Ethernet::default()
        };
        let text = interfaces(&network([("eth0", card)], []), &Names::new());
        assert_eq!(
            lines(&text),
            "\nauto eth0\niface eth0 inet static\n    address 10.0.0.2/8\n    \
             address 10.0.0.3/8\n    gateway 10.0.0.1\n"
        );
    }

    #[test]
    fn an_empty_bridge_says_so() {
        let text = interfaces(&network([], [("vmbr9", Bridge::default())]), &Names::new());
        assert!(text.contains("iface vmbr9 inet manual\n    bridge-ports none\n"));
    }
}
