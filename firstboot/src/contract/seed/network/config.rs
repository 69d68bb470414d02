//! What a `network-config` says: version 2 (the part of netplan's format that a node needs).

use crate::contract::seed::write;
use crate::contract::values::{Cidr, Domain, Mac, RouteTarget};
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// `network-config`, version 2. A version 1 document is converted into it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NetworkConfig {
    /// Always 2.
    pub version: u32,
    /// Network cards, by the name they are to have. A name that begins with `tap` and has
    /// no card is a persistent tap device (OpenVPN's).
    pub ethernets: BTreeMap<String, Ethernet>,
    /// Bridges by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub bridges: BTreeMap<String, Bridge>,
}

impl NetworkConfig {
    /// The document, as it goes onto the seed disk.
    pub fn to_document(&self) -> Result<String, serde_yaml::Error> {
        write::document(self)
    }

    /// Every static address of the machine, without prefix lengths.
    pub fn static_addresses(&self) -> impl Iterator<Item = IpAddr> {
        let cards = self.ethernets.values().map(|e| &e.addresses);
        let bridges = self.bridges.values().map(|b| &b.addresses);
        cards.chain(bridges).flatten().map(Cidr::address)
    }

    /// The entries of `ethernets` that are network cards.
    pub fn cards(&self) -> impl Iterator<Item = (&String, &Ethernet)> {
        self.ethernets.iter().filter(|(name, _)| !self.is_tap(name))
    }

    /// Whether this interface, a port of a bridge or an entry of `ethernets`, is a persistent tap.
    pub fn is_tap(&self, name: &str) -> bool {
        let card = self.ethernets.get(name).and_then(|e| e.match_.as_ref());
        name.starts_with("tap") && card.is_none()
    }

    /// The ports of bridges that are persistent taps, each once, in the order of the bridges.
    pub fn tap_ports(&self) -> Vec<&str> {
        let ports = self.bridges.values().flat_map(|b| &b.interfaces);
        let mut taps: Vec<&str> = Vec::new();
        for port in ports.filter(|port| self.is_tap(port)) {
            if !taps.contains(&port.as_str()) {
                taps.push(port);
            }
        }
        taps
    }

    /// Those, and the entries of `ethernets` that are taps themselves.
    pub fn taps(&self) -> Vec<&str> {
        let mut taps = self.tap_ports();
        for name in self.ethernets.keys() {
            if self.is_tap(name) && !taps.contains(&name.as_str()) {
                taps.push(name);
            }
        }
        taps
    }
}

/// One network card.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Ethernet {
    /// Which card this is; without it, the one of this name.
    #[serde(rename = "match", skip_serializing_if = "Option::is_none")]
    pub match_: Option<Match>,
    /// Whether DHCP for IPv4 is used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dhcp4: Option<bool>,
    /// Addresses with prefix length, such as `192.168.122.42/24`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<Cidr>,
    /// The old spelling of a default route.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway4: Option<std::net::Ipv4Addr>,
    /// Routes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<Route>,
    /// DNS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nameservers: Option<Nameservers>,
}

/// How a card is found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Match {
    /// By its MAC address, lower-case with colons.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub macaddress: Option<Mac>,
}

/// One route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The default, or a network with prefix length.
    pub to: RouteTarget,
    /// The gateway.
    pub via: IpAddr,
}

/// netplan alone knows the word `default`; Debian 13's cloud-init fails on it when it renders for
/// ifupdown or systemd-networkd. The network that stands for it is understood by all.
impl Serialize for Route {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Written<'a> {
            to: &'a str,
            via: IpAddr,
        }
        let to = match (self.to.is_default(), self.via.is_ipv4()) {
            (true, true) => "0.0.0.0/0",
            (true, false) => "::/0",
            (false, _) => self.to.as_str(),
        };
        Written { to, via: self.via }.serialize(serializer)
    }
}

/// DNS servers and search domains.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Nameservers {
    /// Servers in order.
    pub addresses: Vec<IpAddr>,
    /// Search domains.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub search: Vec<Domain>,
}

/// One bridge.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Bridge {
    /// Its ports, by name.
    pub interfaces: Vec<String>,
    /// Whether DHCP for IPv4 is used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dhcp4: Option<bool>,
    /// Addresses with prefix length.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<Cidr>,
    /// Routes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<Route>,
    /// DNS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nameservers: Option<Nameservers>,
    /// Spanning tree and delay.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameters: Option<BridgeParameters>,
}

/// Bridge parameters.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct BridgeParameters {
    /// Spanning tree protocol.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stp: Option<bool>,
    /// Seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forward_delay: Option<u32>,
}
