//! What both versions of `network-config` are checked for.

use super::config::{Bridge, BridgeParameters, Ethernet, Match, Nameservers, NetworkConfig, Route};
use crate::contract::seed::document::Document;
use crate::contract::seed::path::Path;
use crate::contract::values::{Cidr, InterfaceName, Mac, machine_address};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// The gateways of one interface must be neighbours of it. With DHCP the network is not known.
pub(super) fn gateways(
    doc: &mut Document,
    addresses: &[Cidr],
    dhcp: bool,
    gateways: &[(IpAddr, Path)],
) {
    for (gateway, path) in gateways {
        let link_local = matches!(gateway, IpAddr::V6(v6) if v6.is_unicast_link_local());
        let near = addresses.iter().filter(|a| a.contains(*gateway));
        let nobodys = near.map(|a| a.machine_in(*gateway)).find_map(Result::err);
        if let Some(error) = machine_address(*gateway).err().or(nobodys) {
            doc.wrong(
                path,
                &format!("{}; it must be the router's", error.message()),
            );
        } else if addresses.iter().any(|a| a.address() == *gateway) {
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

/// What cards and bridges have in common.
#[derive(Default)]
pub(super) struct Addressing {
    pub dhcp4: Option<bool>,
    pub addresses: Vec<Cidr>,
    pub routes: Vec<Route>,
    pub nameservers: Option<Nameservers>,
}

impl Addressing {
    pub(super) fn ethernet(self, mac: Option<Mac>) -> Ethernet {
        Ethernet {
            match_: mac.map(|mac| Match {
                macaddress: Some(mac),
            }),
            dhcp4: self.dhcp4,
            addresses: self.addresses,
            gateway4: None,
            routes: self.routes,
            nameservers: self.nameservers,
        }
    }

    pub(super) fn bridge(
        self,
        interfaces: Vec<String>,
        parameters: Option<BridgeParameters>,
    ) -> Bridge {
        Bridge {
            interfaces,
            dhcp4: self.dhcp4,
            addresses: self.addresses,
            routes: self.routes,
            nameservers: self.nameservers,
            parameters,
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

/// More than any machine has; each is compared with all others.
const MOST_INTERFACES: usize = 256;

/// What must hold between the interfaces.
pub(super) fn whole(doc: &mut Document, config: &NetworkConfig, places: &Places) {
    if let Some((_, path)) = places.interfaces.get(MOST_INTERFACES) {
        let message = format!("is one interface too many: {MOST_INTERFACES} at most");
        return doc.wrong_key(path, &message);
    }
    let mut seen = BTreeMap::new();
    for (name, path) in &places.interfaces {
        if let Err(error) = name.parse::<InterfaceName>() {
            doc.wrong_key(path, &error.to_string());
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
        if let Err(error) = port.parse::<InterfaceName>() {
            doc.wrong(path, &error.to_string());
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
        if seen.contains(&cidr.address()) {
            doc.wrong(path, "is there twice; each address may be given once");
        }
        seen.push(cidr.address());
    }
}
