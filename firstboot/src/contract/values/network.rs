//! Addresses and networks.

use super::text::{ValueError, text_value};
use ipnet::{IpNet, Ipv4Net};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

text_value! {
    /// A network card's address, lower-case with colons: unicast, and not all zeros.
    Mac, mac
}

text_value! {
    /// The target of a route: `default`, or a network with its prefix length.
    RouteTarget, route_target
}

fn mac(text: &str) -> Result<String, ValueError> {
    const HINT: &str = "a MAC address such as 52:54:00:12:34:56";
    let pairs: Vec<&str> = text.split(':').collect();
    let hex = |pair: &&str| pair.len() == 2 && pair.bytes().all(|b| b.is_ascii_hexdigit());
    if pairs.len() != 6 || !pairs.iter().all(hex) {
        return Err(ValueError::no("MAC address", HINT));
    }
    if u8::from_str_radix(pairs[0], 16).is_ok_and(|first| first & 1 == 1) {
        let message = "is a multicast address: its first byte is odd";
        return Err(ValueError::because(message, HINT));
    }
    if pairs.iter().all(|pair| *pair == "00") {
        return Err(ValueError::because("is no machine's address", HINT));
    }
    Ok(text.to_ascii_lowercase())
}

/// Reads an address without a prefix length.
pub fn address(text: &str) -> Result<IpAddr, ValueError> {
    text.parse()
        .map_err(|_| ValueError::no("IP address", "an IP address such as 192.168.122.1"))
}

/// Reads an IPv4 address without a prefix length.
pub fn ipv4_address(text: &str) -> Result<Ipv4Addr, ValueError> {
    text.parse()
        .map_err(|_| ValueError::no("IPv4 address", "an IPv4 address such as 192.168.122.1"))
}

/// Reads an IPv6 address without a prefix length.
pub fn ipv6_address(text: &str) -> Result<Ipv6Addr, ValueError> {
    text.parse()
        .map_err(|_| ValueError::no("IPv6 address", "an IPv6 address such as fd00::1"))
}

/// Says why no machine can have an address, whatever its network.
pub fn machine_address(address: IpAddr) -> Result<IpAddr, ValueError> {
    let is_nobodys = match address.to_canonical() {
        IpAddr::V4(v4) => v4.octets()[0] == 0 || v4.is_broadcast() || v4.is_loopback(),
        IpAddr::V6(v6) => v6.is_unspecified() || v6.is_loopback(),
    };
    if is_nobodys || address.to_canonical().is_multicast() {
        return Err(ValueError::because(
            "is no address that an interface can have",
            "one of a network's machines, such as 192.168.122.42/24",
        ));
    }
    Ok(address)
}

/// The length of a prefix in bits: digits, and none that say nothing.
fn prefix_length(text: &str) -> Option<u8> {
    let is_plain =
        text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| is_plain)
}

const CIDR: &str = "an address with its prefix length, such as 192.168.122.42/24";

/// An address that an interface can have, with the length of its network's prefix.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Cidr(IpNet);

impl Cidr {
    /// Checks that an interface can have this address. `prefix` is in bits.
    pub fn new(address: IpAddr, prefix: u8) -> Result<Self, ValueError> {
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let net = IpNet::new(address, prefix)
            .ok()
            .filter(|_| prefix > 0)
            .ok_or_else(|| {
                let message = format!("has no prefix length from 1 to {bits}");
                ValueError::because(message, CIDR)
            })?;
        machine_address(address)?;
        Cidr(net).machine_in(address)?;
        Ok(Cidr(net))
    }

    /// Says why no machine in this network can have an address of it.
    pub fn machine_in(&self, address: IpAddr) -> Result<(), ValueError> {
        let ends = [self.0.network(), self.0.broadcast()];
        if address.is_ipv4() && self.prefix() <= 30 && ends.contains(&address) {
            return Err(ValueError::because(
                "is the network's own or its broadcast address",
                "one between them",
            ));
        }
        Ok(())
    }

    /// The address alone.
    pub fn address(&self) -> IpAddr {
        self.0.addr()
    }

    /// The length of the prefix in bits.
    pub fn prefix(&self) -> u8 {
        self.0.prefix_len()
    }

    /// Whether an address is in this network.
    pub fn contains(&self, other: IpAddr) -> bool {
        self.0.contains(&other)
    }
}

/// `192.168.122.42/24`
impl FromStr for Cidr {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let form = || ValueError::no("address with a prefix length", CIDR);
        let (address, prefix) = text.split_once('/').ok_or_else(form)?;
        let address = address.parse().map_err(|_| form())?;
        Cidr::new(address, prefix_length(prefix).ok_or_else(form)?)
    }
}

impl serde::Serialize for Cidr {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// As the text, for a seed that is shown.
impl fmt::Debug for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0)
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An IPv4 network of machines, `192.168.122.0/24`: /8 to /30, so that there is room for a gateway
/// and a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network(Ipv4Net);

impl Network {
    /// Its first address, which no machine has.
    pub fn network(&self) -> Ipv4Addr {
        self.0.network()
    }

    /// The first address that a machine can have.
    pub fn first(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.network().to_bits() + 1)
    }

    /// The addresses that machines can have, in order.
    pub fn hosts(&self) -> impl DoubleEndedIterator<Item = Ipv4Addr> {
        let (first, last) = (self.network().to_bits(), self.0.broadcast().to_bits());
        (first + 1..last).map(Ipv4Addr::from_bits)
    }

    /// The length of its prefix in bits.
    pub fn prefix(&self) -> u8 {
        self.0.prefix_len()
    }

    /// Whether some address is in both.
    pub fn overlaps(&self, other: &Network) -> bool {
        self.0.contains(&other.0) || other.0.contains(&self.0)
    }

    /// The address with this number, counted from the network's own; `None` where no machine can
    /// have it.
    pub fn nth(&self, number: u32) -> Option<Ipv4Addr> {
        let address = Ipv4Addr::from_bits(self.network().to_bits().checked_add(number)?);
        self.classify(address).is_ok().then_some(address)
    }

    /// Says why a machine in this network cannot have an address.
    pub fn classify(&self, address: Ipv4Addr) -> Result<(), String> {
        if !self.0.contains(&address) {
            Err(format!("{address} is outside the network {self}"))
        } else if address == self.0.network() {
            Err(format!(
                "{address} is the address of the network {self} itself"
            ))
        } else if address == self.0.broadcast() {
            Err(format!("{address} is the broadcast address of {self}"))
        } else {
            Ok(())
        }
    }
}

/// libvirt's: 192.168.122.0/24.
impl Default for Network {
    fn default() -> Self {
        Network(Ipv4Net::new_assert(Ipv4Addr::new(192, 168, 122, 0), 24))
    }
}

impl FromStr for Network {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        const HINT: &str = "a network such as 192.168.122.0/24";
        let form = || ValueError::no("network", HINT);
        let (address, prefix) = text.split_once('/').ok_or_else(form)?;
        let address: Ipv4Addr = address.parse().map_err(|_| form())?;
        let prefix = prefix_length(prefix).ok_or_else(form)?;
        let net = Ipv4Net::new(address, prefix)
            .ok()
            .filter(|_| (8..=30).contains(&prefix))
            .ok_or_else(|| {
                ValueError::because("has a prefix that is not within /8 to /30", HINT)
            })?;
        if net.trunc() != net {
            let message = format!("is an address inside the network {}", net.trunc());
            return Err(ValueError::because(message, HINT));
        }
        // Such networks are a /8 or larger, so the first address stands for all.
        let network = Network(net);
        Cidr::new(network.first().into(), prefix).map_err(|_| {
            let message = "is a network whose addresses no interface can have";
            ValueError::because(message, HINT)
        })?;
        Ok(network)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// `255.255.255.0`, `ffff:ffff:ffff:ffff::` or `24` as a prefix length.
pub fn netmask(text: &str) -> Result<u8, ValueError> {
    let form = || ValueError::no("netmask", "a netmask such as 255.255.255.0");
    match prefix_length(text) {
        Some(prefix) => Ok(prefix),
        None => {
            let mask: IpAddr = text.parse().map_err(|_| form())?;
            ipnet::ip_mask_to_prefix(mask).map_err(|_| form())
        }
    }
}

impl Mac {
    /// The address of these bytes, of which the first is even and not all are zero.
    pub fn of(bytes: [u8; 6]) -> Self {
        Mac(bytes.map(|byte| format!("{byte:02x}")).join(":"))
    }
}

impl RouteTarget {
    /// Whether a gateway can lead there: it is of the same kind, IPv4 or IPv6.
    pub fn is_behind(&self, gateway: IpAddr) -> bool {
        self.is_default() || self.0.contains(':') == gateway.is_ipv6()
    }

    /// Whether it is everything that no other route leads to.
    pub fn is_default(&self) -> bool {
        self.0 == "default"
    }
}

impl Default for RouteTarget {
    fn default() -> Self {
        RouteTarget("default".to_owned())
    }
}

/// `0.0.0.0/0` and `::/0` are the default.
fn route_target(text: &str) -> Result<String, ValueError> {
    const HINT: &str = "`default` or a network such as 10.0.0.0/8";
    let is_plain = text
        .rsplit('/')
        .next()
        .is_some_and(|bits| prefix_length(bits).is_some());
    match text.parse::<IpNet>().ok().filter(|_| is_plain) {
        // `ip route` refuses one.
        Some(net) if net.trunc() != net => {
            let message = format!("is an address inside the network {}", net.trunc());
            Err(ValueError::because(message, HINT))
        }
        Some(net) if net.prefix_len() == 0 => Ok("default".to_owned()),
        Some(_) => Ok(text.to_owned()),
        None if text == "default" => Ok(text.to_owned()),
        None => Err(ValueError::no("target of a route", HINT)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn macs() {
        assert_eq!(mac("52:54:00:AB:cd:01"), Ok("52:54:00:ab:cd:01".into()));
        for bad in [
            "",
            "52:54:00:ab:cd",
            "53:54:00:ab:cd:01",
            "00:00:00:00:00:00",
            "52-54-00-ab-cd-01",
        ] {
            assert!(mac(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn targets_of_routes() {
        for text in ["default", "0.0.0.0/0", "::/0", "0:0::0/0"] {
            assert!(text.parse::<RouteTarget>().unwrap().is_default(), "{text}");
        }
        for text in ["10.0.0.0/8", "0.0.0.0/1", "128.0.0.0/1", "fd00::/8"] {
            assert_eq!(route_target(text).as_deref(), Ok(text));
        }
        for (text, net) in [
            ("10.1.2.3/8", "10.0.0.0/8"),
            ("128.0.0.0/0", "0.0.0.0/0"),
            ("fd00::1/8", "fd00::/8"),
        ] {
            assert_eq!(
                route_target(text).unwrap_err().message(),
                format!("is an address inside the network {net}")
            );
        }
        for text in [
            "",
            "Default",
            "0.0.0.0",
            "::",
            "0.0.0.0/33",
            "::/129",
            "10.0.0.0/+8",
            "10.0.0.0/08",
        ] {
            assert_eq!(
                route_target(text).unwrap_err().to_string(),
                "must be `default` or a network such as 10.0.0.0/8"
            );
        }
    }

    #[test]
    fn addresses_with_prefix() {
        for good in [
            "192.168.122.42/24",
            "10.0.0.1/31",
            "10.0.0.0/32",
            "fd00::2/64",
        ] {
            assert_eq!(good.parse::<Cidr>().unwrap().to_string(), good);
        }
        let ends = "is the network's own or its broadcast address; it must be one between them";
        let nobodys = "is no address that an interface can have; it must be one of a network's \
                       machines, such as 192.168.122.42/24";
        let form = "must be an address with its prefix length, such as 192.168.122.42/24";
        let prefix = |bits: u8| format!("has no prefix length from 1 to {bits}; it {form}");
        for (bad, words) in [
            ("192.168.122.42", form),
            ("a/24", form),
            ("192.168.122.42/+24", form),
            ("192.168.122.42/024", form),
            ("192.168.122.42/", form),
            ("192.168.122.42/33", &prefix(32)),
            ("192.168.122.42/0", &prefix(32)),
            ("fd00::2/129", &prefix(128)),
            ("192.168.122.0/24", ends),
            ("192.168.122.255/24", ends),
            ("127.0.0.1/8", nobodys),
            ("0.0.0.0/24", nobodys),
            ("0.0.0.7/24", nobodys),
            ("224.0.1.7/24", nobodys),
        ] {
            assert_eq!(bad.parse::<Cidr>().unwrap_err().to_string(), words, "{bad}");
        }
    }

    #[test]
    fn networks_contain_their_neighbours() {
        let cidr: Cidr = "192.168.122.42/24".parse().unwrap();
        assert!(cidr.contains("192.168.122.1".parse().unwrap()));
        assert!(!cidr.contains("192.168.123.1".parse().unwrap()));
        assert!(!cidr.contains("fd00::1".parse().unwrap()));
        let host: Cidr = "10.0.0.1/32".parse().unwrap();
        assert!(!host.contains("10.0.0.2".parse().unwrap()));
    }

    #[test]
    fn networks() {
        let other = |text: &str| text.parse::<Network>().unwrap();
        let net = other("10.120.4.0/22");
        assert_eq!(net.to_string(), "10.120.4.0/22");
        assert_eq!(net.nth(300), Some(Ipv4Addr::new(10, 120, 5, 44)));
        assert_eq!(
            (net.nth(0), net.nth(1023), net.nth(u32::MAX)),
            (None, None, None)
        );
        assert!(net.overlaps(&other("10.0.0.0/8")) && other("10.0.0.0/8").overlaps(&net));
        assert!(!net.overlaps(&other("10.120.0.0/22")));
        let nobodys = "is a network whose addresses no interface can have";
        for (text, message) in [
            ("10.0.0.0", "is no network"),
            ("10.0.0/24", "is no network"),
            ("10.0.0.0/+24", "is no network"),
            ("10.0.0.0/33", "has a prefix that is not within /8 to /30"),
            ("10.0.0.0/0", "has a prefix that is not within /8 to /30"),
            (
                "10.0.0.7/24",
                "is an address inside the network 10.0.0.0/24",
            ),
            ("224.0.1.0/24", nobodys),
            ("127.0.0.0/24", nobodys),
            ("127.1.0.0/24", nobodys),
            ("0.0.0.0/8", nobodys),
        ] {
            assert_eq!(text.parse::<Network>().unwrap_err().message(), message);
        }
    }

    #[test]
    fn netmasks() {
        assert_eq!(netmask("255.255.255.0"), Ok(24));
        assert_eq!(netmask("255.255.255.255"), Ok(32));
        assert_eq!(netmask("ffff:ffff:ffff:ffff::"), Ok(64));
        assert_eq!(netmask("24"), Ok(24));
        assert!(netmask("255.0.255.0").is_err() && netmask("+24").is_err());
        assert!(netmask("secret").is_err());
    }
}
