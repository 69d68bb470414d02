//! Reading `network-config` version 2, netplan's format. What firstboot does not set
//! (`mtu`, `optional` …) is noted as left out.

use super::check::{self, Addressing, Places};
use super::config::{Bridge, BridgeParameters, Ethernet, Nameservers, NetworkConfig, Route};
use crate::contract::seed::document::Document;
use crate::contract::seed::path::Path;
use crate::contract::values::{self, Cidr, RouteTarget};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::ops::RangeInclusive;

/// Reads what is below `base`.
pub(super) fn read(doc: &mut Document, base: &Path) -> NetworkConfig {
    doc.ignore_unknown(base, &["version", "ethernets", "bridges"]);
    let mut config = NetworkConfig {
        version: 2,
        ethernets: BTreeMap::new(),
        bridges: BTreeMap::new(),
    };
    let mut places = Places::default();
    // `set-name` renames a card; bridges name their ports by the name in this document.
    let mut renamed = BTreeMap::new();
    let section = base.key("ethernets");
    for id in doc.keys(&section, "network cards") {
        let path = section.key(&id);
        let new_name = doc.text(&path.key("set-name"), "an interface name");
        let name = new_name
            .or_else(|| plain_name(doc, &path))
            .unwrap_or_else(|| id.clone());
        renamed.insert(id, name.clone());
        places.interfaces.push((name.clone(), path.clone()));
        let ethernet = ethernet(doc, &path, &mut places);
        config.ethernets.insert(name, ethernet);
    }
    let section = base.key("bridges");
    for name in doc.keys(&section, "bridges") {
        let path = section.key(&name);
        places.interfaces.push((name.clone(), path.clone()));
        let bridge = bridge(doc, &path, &renamed, &mut places);
        config.bridges.insert(name, bridge);
    }
    check::whole(doc, &config, &places);
    config
}

/// The name in `match`, when it is one name and no pattern of several cards.
fn plain_name(doc: &mut Document, path: &Path) -> Option<String> {
    let path = path.key("match").key("name");
    let name = doc.text(&path, "an interface name")?;
    if name.contains(['*', '?', '[']) {
        let reason = "cards are found here by macaddress or by one plain name";
        doc.ignore(&path, reason);
        return None;
    }
    Some(name)
}

/// What a number of seconds may be.
const SECONDS: RangeInclusive<u64> = 0..=u32::MAX as u64;

const COMMON: [&str; 6] = [
    "dhcp4",
    "addresses",
    "gateway4",
    "gateway6",
    "routes",
    "nameservers",
];

fn ethernet(doc: &mut Document, path: &Path, places: &mut Places) -> Ethernet {
    doc.keys(path, "settings");
    doc.ignore_unknown(path, &[&COMMON[..], &["match", "set-name"]].concat());
    let by = path.key("match");
    doc.keys(&by, "ways to find the card");
    doc.ignore_unknown(&by, &["macaddress", "name"]);
    let mac = doc.value(&by.key("macaddress"));
    let (addressing, gateway4) = addressing(doc, path, places);
    Ethernet {
        gateway4,
        ..addressing.ethernet(mac)
    }
}

fn bridge(
    doc: &mut Document,
    path: &Path,
    renamed: &BTreeMap<String, String>,
    places: &mut Places,
) -> Bridge {
    doc.keys(path, "settings");
    doc.ignore_unknown(path, &[&COMMON[..], &["interfaces", "parameters"]].concat());
    let mut interfaces = Vec::new();
    for item in doc.list(&path.key("interfaces"), "ports") {
        if let Some(id) = doc.text(&item, "the name of an interface") {
            let port = renamed.get(&id).unwrap_or(&id).clone();
            places.ports.push((port.clone(), item));
            interfaces.push(port);
        }
    }
    let at = path.key("parameters");
    let parameters = (!doc.keys(&at, "settings").is_empty()).then(|| {
        doc.ignore_unknown(&at, &["stp", "forward-delay"]);
        BridgeParameters {
            stp: doc.flag(&at.key("stp")),
            forward_delay: doc.whole(&at.key("forward-delay"), SECONDS, "a number of seconds"),
        }
    });
    let (mut addressing, gateway4) = addressing(doc, path, places);
    if let Some(gateway) = gateway4 {
        let route = default_route(gateway.into());
        addressing.routes.insert(0, route);
    }
    addressing.bridge(interfaces, parameters)
}

/// With `gateway4`, the old spelling of a default route.
fn addressing(
    doc: &mut Document,
    path: &Path,
    places: &mut Places,
) -> (Addressing, Option<Ipv4Addr>) {
    let dhcp4 = doc.flag(&path.key("dhcp4"));
    let mut addresses = Vec::new();
    for item in doc.list(&path.key("addresses"), "addresses with prefix length") {
        if let Some(cidr) = doc.value::<Cidr>(&item) {
            addresses.push(cidr);
            places.addresses.push((cidr, item));
        }
    }
    let mut gateways: Vec<(IpAddr, Path)> = Vec::new();
    let at = path.key("gateway4");
    let gateway4 = doc.checked(&at, values::ipv4_address);
    gateways.extend(gateway4.map(|g| (g.into(), at)));
    let mut routes = Vec::new();
    let at = path.key("gateway6");
    if let Some(gateway) = doc.checked(&at, values::ipv6_address) {
        let gateway = gateway.into();
        gateways.push((gateway, at));
        routes.push(default_route(gateway));
    }
    for item in doc.mappings(&path.key("routes"), "routes", "`to` and `via`") {
        doc.ignore_unknown(&item, &["to", "via"]);
        let (to, via) = (item.key("to"), item.key("via"));
        let what = "`default` or a network such as 10.0.0.0/8";
        let to: Option<RouteTarget> = doc.require_value(&to, what);
        let gateway = doc.require_checked(&via, "the gateway's address", values::address);
        gateways.extend(gateway.map(|g| (g, via)));
        if let (Some(to), Some(via)) = (to, gateway) {
            if !to.is_behind(via) {
                let message =
                    "is of another kind than what it leads to: one is IPv4, the other IPv6";
                doc.wrong(&item.key("via"), message);
            }
            routes.push(Route { to, via });
        }
    }
    check::gateways(doc, &addresses, dhcp4 == Some(true), &gateways);
    let addressing = Addressing {
        dhcp4,
        addresses,
        routes,
        nameservers: nameservers(doc, &path.key("nameservers")),
    };
    (addressing, gateway4)
}

fn default_route(via: IpAddr) -> Route {
    Route {
        to: RouteTarget::default(),
        via,
    }
}

fn nameservers(doc: &mut Document, path: &Path) -> Option<Nameservers> {
    if doc.keys(path, "settings").is_empty() {
        return None;
    }
    doc.ignore_unknown(path, &["addresses", "search"]);
    let servers = doc.list(&path.key("addresses"), "addresses");
    let domains = doc.list(&path.key("search"), "domains");
    Some(Nameservers {
        addresses: servers
            .iter()
            .filter_map(|item| doc.checked(item, values::address))
            .collect(),
        search: domains.iter().filter_map(|item| doc.value(item)).collect(),
    })
}
