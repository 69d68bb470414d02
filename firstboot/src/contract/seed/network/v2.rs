//! Reading `network-config` version 2, netplan's format. What firstboot does not set
//! (`mtu`, `optional` …) is noted as left out.

use super::check::{self, Places};
use super::config::{Bridge, BridgeParameters, Ethernet, Match, Nameservers, NetworkConfig, Route};
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

/// What cards and bridges have in common.
struct Common {
    dhcp4: Option<bool>,
    addresses: Vec<Cidr>,
    gateway4: Option<Ipv4Addr>,
    routes: Vec<Route>,
    nameservers: Option<Nameservers>,
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
    if doc.keys(path, "settings").is_empty() {
        return Ethernet::default();
    }
    doc.ignore_unknown(path, &[&COMMON[..], &["match", "set-name"]].concat());
    let by = path.key("match");
    let match_ = (!doc.keys(&by, "ways to find the card").is_empty()).then(|| {
        doc.ignore_unknown(&by, &["macaddress", "name"]);
        Match {
            macaddress: doc.value(&by.key("macaddress")),
        }
    });
    let match_ = match_.filter(|by| by.macaddress.is_some());
    let common = common(doc, path, places);
    Ethernet {
        match_,
        dhcp4: common.dhcp4,
        addresses: common.addresses,
        gateway4: common.gateway4,
        routes: common.routes,
        nameservers: common.nameservers,
    }
}

fn bridge(
    doc: &mut Document,
    path: &Path,
    renamed: &BTreeMap<String, String>,
    places: &mut Places,
) -> Bridge {
    if doc.keys(path, "settings").is_empty() {
        return Bridge::default();
    }
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
            forward_delay: doc
                .whole(&at.key("forward-delay"), SECONDS, "a number of seconds")
                .map(|seconds| seconds as u32),
        }
    });
    let mut common = common(doc, path, places);
    if let Some(gateway) = common.gateway4 {
        common.routes.insert(0, default_route(gateway.into()));
    }
    Bridge {
        interfaces,
        dhcp4: common.dhcp4,
        addresses: common.addresses,
        routes: common.routes,
        nameservers: common.nameservers,
        parameters,
    }
}

fn common(doc: &mut Document, path: &Path, places: &mut Places) -> Common {
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
    if let Some(gateway) = doc.checked(&at, values::address) {
        gateways.push((gateway, at));
        routes.push(default_route(gateway));
    }
    for item in doc.list(&path.key("routes"), "routes") {
        if !doc.is_mapping(&item) {
            doc.wrong(&item, "must be a mapping with `to` and `via`");
            continue;
        }
        doc.ignore_unknown(&item, &["to", "via"]);
        let (to, via) = (item.key("to"), item.key("via"));
        let what = "`default` or a network such as 10.0.0.0/8";
        let to = doc.require_value(&to, what);
        let gateway = doc.require_checked(&via, "the gateway's address", values::address);
        gateways.extend(gateway.map(|g| (g, via)));
        if let (Some(to), Some(via)) = (to, gateway) {
            routes.push(Route { to, via });
        }
    }
    check::gateways(doc, &addresses, dhcp4 == Some(true), &gateways);
    Common {
        dhcp4,
        addresses,
        gateway4,
        routes,
        nameservers: nameservers(doc, &path.key("nameservers")),
    }
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
