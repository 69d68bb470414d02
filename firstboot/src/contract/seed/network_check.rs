//! What both versions of `network-config` are checked for.

use super::check;
use super::document::Document;
use super::network::{DEFAULT_ROUTE, NetworkConfig};
use super::path::Path;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// An address with its prefix length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr {
    /// The address.
    pub address: IpAddr,
    /// The length of its network's prefix in bits.
    pub prefix: u8,
}

impl Cidr {
    /// Reads `192.168.122.42/24`, the address of an interface. The error says what it must be.
    pub fn parse(text: &str) -> Result<Self, String> {
        let shape = || "must be an address with its prefix length, such as 192.168.122.42/24";
        let (address, prefix) = text.split_once('/').ok_or_else(shape)?;
        let address: IpAddr = address.parse().map_err(|_| shape())?;
        let prefix = prefix.parse().map_err(|_| shape())?;
        Cidr::new(address, prefix)
    }

    /// Checks that an interface can have this address. The error says why it cannot.
    pub fn new(address: IpAddr, prefix: u8) -> Result<Self, String> {
        let bits = if address.is_ipv4() { 32 } else { 128 };
        if !(1..=bits).contains(&prefix) {
            return Err(format!("must have a prefix length from 1 to {bits}"));
        }
        if address.is_unspecified() || address.is_loopback() || address.is_multicast() {
            return Err("is no address that an interface can have".into());
        }
        if let (IpAddr::V4(v4), 1..=30) = (address, prefix) {
            let host_bits = u32::MAX >> prefix;
            let host = u32::from(v4) & host_bits;
            if host == 0 || host == host_bits {
                return Err(
                    "is the network's own or its broadcast address; give one between them".into(),
                );
            }
        }
        Ok(Cidr { address, prefix })
    }

    /// Whether an address is in this network.
    pub fn contains(&self, other: IpAddr) -> bool {
        match (self.address, other) {
            (IpAddr::V4(a), IpAddr::V4(b)) => {
                let shift = 32 - u32::from(self.prefix);
                (u32::from(a) ^ u32::from(b))
                    .checked_shr(shift)
                    .unwrap_or(0)
                    == 0
            }
            (IpAddr::V6(a), IpAddr::V6(b)) => {
                let shift = 128 - u32::from(self.prefix);
                (u128::from(a) ^ u128::from(b))
                    .checked_shr(shift)
                    .unwrap_or(0)
                    == 0
            }
            _ => false,
        }
    }
}

impl std::fmt::Display for Cidr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// `255.255.255.0`, `ffff:ffff:ffff:ffff::` or `24` as a prefix length.
pub(super) fn netmask(text: &str) -> Result<u8, String> {
    if let Ok(prefix) = text.parse() {
        return Ok(prefix);
    }
    let (ones, zeros, bits) = match text.parse() {
        Ok(IpAddr::V4(mask)) => {
            let mask = u32::from(mask);
            (mask.leading_ones(), mask.trailing_zeros(), 32)
        }
        Ok(IpAddr::V6(mask)) => {
            let mask = u128::from(mask);
            (mask.leading_ones(), mask.trailing_zeros(), 128)
        }
        Err(_) => (0, 0, 1),
    };
    if ones + zeros != bits {
        return Err("must be a netmask such as 255.255.255.0".into());
    }
    // At most 128.
    Ok(ones as u8)
}

/// `default` or a network with prefix length, as the target of a route. `0.0.0.0/0` and `::/0`
/// are the default.
pub(super) fn route_target(text: &str) -> Result<String, String> {
    let shape = "must be `default` or a network such as 10.0.0.0/8";
    if text == DEFAULT_ROUTE {
        return Ok(text.to_owned());
    }
    let (address, prefix) = text.split_once('/').ok_or(shape)?;
    let address: IpAddr = address.parse().map_err(|_| shape)?;
    let prefix: u8 = prefix.parse().map_err(|_| shape)?;
    if prefix > if address.is_ipv4() { 32 } else { 128 } {
        return Err(shape.into());
    }
    match address.is_unspecified() && prefix == 0 {
        true => Ok(DEFAULT_ROUTE.to_owned()),
        false => Ok(text.to_owned()),
    }
}

/// The gateways of one interface must be neighbours of it. With DHCP the network is not known.
pub(super) fn gateways(
    doc: &mut Document,
    addresses: &[Cidr],
    dhcp: bool,
    gateways: &[(IpAddr, Path)],
) {
    for (gateway, path) in gateways {
        let link_local = matches!(gateway, IpAddr::V6(v6) if v6.is_unicast_link_local());
        if addresses.iter().any(|a| a.address == *gateway) {
            doc.wrong(
                path,
                "is this machine's own address; it must be the router's",
            );
        } else if !dhcp && !link_local && !addresses.iter().any(|a| a.contains(*gateway)) {
            doc.wrong(
                path,
                "must be inside a network of this interface's addresses",
            );
        }
    }
}

/// Where the names of a configuration stand in the document.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// Every interface with the path that declares it.
    pub interfaces: Vec<(String, Path)>,
    /// Every port of a bridge.
    pub ports: Vec<(String, Path)>,
    /// Every static address.
    pub addresses: Vec<(Cidr, Path)>,
}

/// What must hold between the interfaces.
pub(super) fn whole(doc: &mut Document, config: &NetworkConfig, places: &Places) {
    let mut seen = BTreeMap::new();
    for (name, path) in &places.interfaces {
        if let Err(message) = check::interface(name) {
            doc.wrong_key(path, &message);
        }
        if seen.insert(name, path).is_some() {
            doc.wrong_key(
                path,
                "declares an interface a second time; each name may be there once",
            );
        }
    }
    let mut seen = BTreeMap::new();
    for (port, path) in &places.ports {
        if let Err(message) = check::interface(port) {
            doc.wrong(path, &message);
        } else if !port.starts_with("tap") && !config.ethernets.contains_key(port) {
            doc.wrong(
                path,
                "must be a declared ethernet, or a name that begins with `tap`",
            );
        }
        if seen.insert(port, path).is_some() {
            doc.wrong(
                path,
                "is a port already; an interface can be in one bridge only",
            );
        }
    }
    let mut seen: Vec<IpAddr> = Vec::new();
    for (cidr, path) in &places.addresses {
        if seen.contains(&cidr.address) {
            doc.wrong(path, "is there twice; each address may be given once");
        }
        seen.push(cidr.address);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_with_prefix() {
        for good in [
            "192.168.122.42/24",
            "10.0.0.1/31",
            "10.0.0.0/32",
            "fd00::2/64",
        ] {
            assert_eq!(Cidr::parse(good).unwrap().to_string(), good);
        }
        for bad in [
            "192.168.122.42",
            "192.168.122.42/33",
            "192.168.122.42/0",
            "192.168.122.0/24",
            "192.168.122.255/24",
            "127.0.0.1/8",
            "0.0.0.0/24",
            "a/24",
            "fd00::2/129",
        ] {
            assert!(Cidr::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn networks_contain_their_neighbours() {
        let cidr = Cidr::parse("192.168.122.42/24").unwrap();
        assert!(cidr.contains("192.168.122.1".parse().unwrap()));
        assert!(!cidr.contains("192.168.123.1".parse().unwrap()));
        assert!(!cidr.contains("fd00::1".parse().unwrap()));
        let host = Cidr::parse("10.0.0.1/32").unwrap();
        assert!(!host.contains("10.0.0.2".parse().unwrap()));
    }

    #[test]
    fn targets_of_routes() {
        for text in ["default", "0.0.0.0/0", "::/0", "0:0::0/0"] {
            assert_eq!(route_target(text).as_deref(), Ok("default"), "{text}");
        }
        for text in ["10.0.0.0/8", "0.0.0.0/1", "128.0.0.0/0", "fd00::/8"] {
            assert_eq!(route_target(text).as_deref(), Ok(text));
        }
        for text in ["", "Default", "0.0.0.0", "::", "0.0.0.0/33", "::/129"] {
            assert_eq!(
                route_target(text).unwrap_err(),
                "must be `default` or a network such as 10.0.0.0/8"
            );
        }
    }

    #[test]
    fn netmasks() {
        assert_eq!(netmask("255.255.255.0"), Ok(24));
        assert_eq!(netmask("255.255.255.255"), Ok(32));
        assert_eq!(netmask("ffff:ffff:ffff:ffff::"), Ok(64));
        assert_eq!(netmask("24"), Ok(24));
        assert!(netmask("255.0.255.0").is_err());
        assert!(netmask("secret").is_err());
    }
}
