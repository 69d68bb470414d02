//! The taps of a network-config: persistent ones, into which OpenVPN puts what comes through a tunnel.

use super::seed::NetworkConfig;

/// The ports of bridges that are persistent taps, each once, in the order of the bridges.
pub fn tap_ports(network: &NetworkConfig) -> Vec<&str> {
    let ports = network.bridges.values().flat_map(|b| &b.interfaces);
    let mut taps: Vec<&str> = Vec::new();
    for port in ports.filter(|port| is_tap(network, port)) {
        if !taps.contains(&port.as_str()) {
            taps.push(port);
        }
    }
    taps
}

/// Those, and the cards of the network-config that are taps themselves.
pub fn taps(network: &NetworkConfig) -> Vec<&str> {
    let mut taps = tap_ports(network);
    for name in network.ethernets.keys() {
        if is_tap(network, name) && !taps.contains(&name.as_str()) {
            taps.push(name);
        }
    }
    taps
}

fn is_tap(network: &NetworkConfig, name: &str) -> bool {
    let card = network.ethernets.get(name).and_then(|e| e.match_.as_ref());
    name.starts_with("tap") && card.is_none()
}
