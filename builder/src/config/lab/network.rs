//! IPv4 networks, and the addresses in them.

use super::{Ipv4Network, NatNetwork};
use crate::config::yaml::{Fields, Keys, Reader, Spanned, validators};
use std::fmt;
use std::net::Ipv4Addr;

const NAT_KEYS: Keys = &[
    (
        "bridge",
        "bridge: the name of the hosts' bridge, such as virbr0",
    ),
    ("range", "range: a network such as 192.168.122.0/24"),
    (
        "gateway",
        "gateway: an address inside the range, such as 192.168.122.1",
    ),
    ("dns", "dns: a list of addresses of DNS servers"),
];
const VMBR120_KEYS: Keys = &[("range", "range: a network such as 10.120.0.0/24")];

impl Ipv4Network {
    /// Reads `192.168.122.0/24`; says what is wrong with anything else.
    pub fn parse(text: &str) -> Result<Self, String> {
        let shown = validators::shown(text);
        let no_network = || format!("`{shown}` is no network");
        let (address, prefix) = text.split_once('/').ok_or_else(no_network)?;
        let address: Ipv4Addr = address.parse().map_err(|_| no_network())?;
        let prefix: u8 = prefix.parse().map_err(|_| no_network())?;
        // Smaller than /30 there is no room for a gateway and a VM.
        if !(8..=30).contains(&prefix) {
            return Err(format!("`{shown}`: the prefix is not within /8 to /30"));
        }
        let mut network = Ipv4Network {
            network: address,
            prefix,
        };
        network.network = Ipv4Addr::from_bits(address.to_bits() & network.mask());
        if network.network != address {
            return Err(format!(
                "`{shown}` is an address inside the network {network}"
            ));
        }
        Ok(network)
    }

    /// Its last address.
    pub fn broadcast(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.network.to_bits() | !self.mask())
    }

    /// Whether an address is inside.
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        address.to_bits() & self.mask() == self.network.to_bits()
    }

    /// The address with this number, counted from the network's own; `None` where it would be
    /// the network's own, the broadcast address or outside.
    pub fn nth(&self, number: u32) -> Option<Ipv4Addr> {
        let address = Ipv4Addr::from_bits(self.network.to_bits().checked_add(number)?);
        self.judge(address).is_ok().then_some(address)
    }

    /// Says why a machine in this network cannot have an address.
    pub fn judge(&self, address: Ipv4Addr) -> Result<(), String> {
        if !self.contains(address) {
            Err(format!("{address} is outside the network {self}"))
        } else if address == self.network {
            Err(format!(
                "{address} is the address of the network {self} itself"
            ))
        } else if address == self.broadcast() {
            Err(format!("{address} is the broadcast address of {self}"))
        } else {
            Ok(())
        }
    }

    fn overlaps(&self, other: &Ipv4Network) -> bool {
        self.contains(other.network) || other.contains(self.network)
    }

    fn mask(&self) -> u32 {
        u32::MAX << (32 - u32::from(self.prefix))
    }
}

impl fmt::Display for Ipv4Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix)
    }
}

/// An address without a prefix.
pub(super) fn address(text: &str) -> Result<Ipv4Addr, String> {
    text.parse()
        .map_err(|_| format!("`{}` is no IPv4 address", validators::shown(text)))
}

/// The two networks of a lab. `None` for a range that could not be read: nothing is then
/// derived from it or compared with it.
#[derive(Debug)]
pub(super) struct Networks {
    /// The hosts' NAT.
    pub nat: Option<NatNetwork>,
    /// Whether the lab has a vmbr120 section, and its network.
    pub vmbr120: Option<Option<Ipv4Network>>,
}

impl Networks {
    /// Reads `network` and `vmbr120` of lab.yaml.
    pub fn read(r: &mut Reader, lab: &Fields<'_>) -> Self {
        let (nat_range, nat) = read_nat(r, lab);
        let vmbr120 = lab.get("vmbr120").map(|node| {
            let f = r.fields(node, "`vmbr120`", lab.hint("vmbr120"), VMBR120_KEYS);
            r.require(&f, "range");
            let range = r.field(&f, "range", Ipv4Network::parse)?;
            if nat_range.is_some_and(|nat| nat.overlaps(&range.value)) {
                let message = format!(
                    "{} overlaps the range of `network`: a node would not know which way to send",
                    range.value
                );
                r.problem(range.place, message, "two ranges that share no address");
            }
            Some(range.value)
        });
        Networks { nat, vmbr120 }
    }
}

fn read_nat(r: &mut Reader, lab: &Fields<'_>) -> (Option<Ipv4Network>, Option<NatNetwork>) {
    let standard = Ipv4Network {
        network: Ipv4Addr::new(192, 168, 122, 0),
        prefix: 24,
    };
    let first = |range: &Ipv4Network| Ipv4Addr::from_bits(range.network.to_bits() + 1);
    let Some(node) = lab.get("network") else {
        let nat = NatNetwork {
            bridge: "virbr0".to_owned(),
            range: standard,
            gateway: first(&standard),
            dns: vec![first(&standard)],
        };
        return (Some(standard), Some(nat));
    };
    let f = r.fields(node, "`network`", lab.hint("network"), NAT_KEYS);
    let bridge = r.field(&f, "bridge", bridge);
    let range = match r.field(&f, "range", Ipv4Network::parse) {
        Some(range) => Some(range.value),
        None => (!f.accounted("range")).then_some(standard),
    };
    let gateway = r.field(&f, "gateway", address);
    let dns = r.field_list(&f, "dns", address);
    if dns.is_empty() {
        if let Some(node) = f.get("dns") {
            r.problem(node.place, "a machine without a DNS server", f.hint("dns"));
        }
    }
    if let (Some(range), Some(Spanned { place, value })) = (range, &gateway) {
        if let Err(message) = range.judge(*value) {
            r.problem(*place, message, f.hint("gateway"));
        }
    }
    let nat = range.map(|range| {
        let gateway = gateway.map_or_else(|| first(&range), |g| g.value);
        let dns: Vec<Ipv4Addr> = dns.into_iter().map(|d| d.value).collect();
        NatNetwork {
            bridge: bridge.map_or_else(|| "virbr0".to_owned(), |b| b.value),
            range,
            gateway,
            dns: if dns.is_empty() { vec![gateway] } else { dns },
        }
    });
    (range, nat)
}

/// The name of a network interface: at most 15 characters (IFNAMSIZ), and none that means
/// something to QEMU's options or to a shell.
fn bridge(text: &str) -> Result<String, String> {
    let good = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let first = text.starts_with(|c: char| c.is_ascii_alphanumeric());
    if first && text.len() <= 15 && text.chars().all(good) {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "`{}` is no name of a network interface",
            validators::shown(text)
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks() {
        let net = Ipv4Network::parse("10.120.4.0/22").unwrap();
        assert_eq!(net.to_string(), "10.120.4.0/22");
        assert_eq!(net.broadcast(), Ipv4Addr::new(10, 120, 7, 255));
        assert_eq!(net.nth(300), Some(Ipv4Addr::new(10, 120, 5, 44)));
        assert_eq!(
            (net.nth(0), net.nth(1023), net.nth(u32::MAX)),
            (None, None, None)
        );
        assert!(!net.contains(Ipv4Addr::new(10, 120, 8, 0)));
        let other = |text| Ipv4Network::parse(text).unwrap();
        assert!(net.overlaps(&other("10.0.0.0/8")) && other("10.0.0.0/8").overlaps(&net));
        assert!(!net.overlaps(&other("10.120.0.0/22")));
    }

    #[test]
    fn what_is_no_network() {
        for (text, message) in [
            ("10.0.0.0", "`10.0.0.0` is no network"),
            ("10.0.0/24", "`10.0.0/24` is no network"),
            (
                "10.0.0.0/33",
                "`10.0.0.0/33`: the prefix is not within /8 to /30",
            ),
            (
                "10.0.0.0/0",
                "`10.0.0.0/0`: the prefix is not within /8 to /30",
            ),
            (
                "10.0.0.7/24",
                "`10.0.0.7/24` is an address inside the network 10.0.0.0/24",
            ),
        ] {
            assert_eq!(Ipv4Network::parse(text), Err(message.to_owned()));
        }
    }
}
