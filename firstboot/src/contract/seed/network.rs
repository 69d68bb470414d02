//! The `network-config` document, version 2 (the part of netplan's format that a node needs).

use super::document::{Document, Notes};
use super::path::Path;
use super::{network_v1, network_v2, write};
use crate::contract::values::{Cidr, Domain, Mac, RouteTarget};
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;

/// The document's name.
pub(super) const NAME: &str = "network-config";

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

/// Reads the document, of either version, with or without the outer `network:`. What it
/// returns is complete only when no problem was noted.
pub(super) fn read(text: &str, notes: &mut Notes) -> Option<NetworkConfig> {
    let mut doc = Document::new(NAME, text, notes)?;
    let root = Path::root();
    let outer = root.key("network");
    let base = if doc.has(&outer) {
        doc.ignore_unknown(&root, &["network"]);
        if doc.keys(&outer, "settings").is_empty() {
            return None;
        }
        outer
    } else {
        root
    };
    if doc.keys(&base, "settings").is_empty() {
        return None;
    }
    // cloud-init's way to say that the network is none of its business.
    let config = base.key("config");
    if !doc.is_list(&config) && doc.has(&config) {
        let word = doc.text(&config, "a list")?;
        if word == "disabled" {
            doc.ignore(&config, "the network is left as the image has it");
            return None;
        }
    }
    let version = base.key("version");
    let what = "1 or 2";
    let config = match doc.require(&version, what)?.as_str() {
        "1" => network_v1::read(&mut doc, &base),
        "2" => network_v2::read(&mut doc, &base),
        _ => {
            doc.wrong(&version, &format!("must be {what}"));
            return None;
        }
    };
    Some(config)
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
    pub via: std::net::IpAddr,
}

/// netplan alone knows the word `default`; Debian 13's cloud-init fails on it when it renders for
/// ifupdown or systemd-networkd. The network that stands for it is understood by all.
impl Serialize for Route {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Written<'a> {
            to: &'a str,
            via: std::net::IpAddr,
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
    pub addresses: Vec<std::net::IpAddr>,
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
