//! Reading `network-config` version 1, which Proxmox writes, into version 2's types.

use super::check::{self, Addressing, Places};
use super::config::{BridgeParameters, Nameservers, NetworkConfig, Route};
use crate::contract::seed::document::{Document, add_new};
use crate::contract::seed::path::Path;
use crate::contract::values::{self, Cidr, Domain, Mac, RouteTarget, ValueError};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::str::FromStr;

/// Reads what is below `base`.
pub(super) fn read(doc: &mut Document, base: &Path) -> NetworkConfig {
    doc.ignore_unknown(base, &["version", "config"]);
    let mut config = NetworkConfig {
        version: 2,
        ethernets: BTreeMap::new(),
        bridges: BTreeMap::new(),
    };
    let mut places = Places::default();
    let mut dns = Nameservers::default();
    for item in doc.mappings(&base.key("config"), "devices", "`type`") {
        let what = "physical, bridge or nameserver";
        let Some(kind) = doc.require(&item.key("type"), what) else {
            continue;
        };
        match kind.as_str() {
            "physical" => physical(doc, &item, &mut config, &mut places),
            "bridge" => bridge(doc, &item, &mut config, &mut places),
            "nameserver" => {
                doc.ignore_unknown(&item, &["type", "address", "search"]);
                words(
                    doc,
                    &item.key("address"),
                    &mut dns.addresses,
                    values::address,
                );
                words(doc, &item.key("search"), &mut dns.search, Domain::from_str);
            }
            _ => doc.ignore(&item, "a device of this type is not configured here"),
        }
    }
    check::whole(doc, &config, &places);
    global_nameservers(doc, base, &mut config, dns);
    config
}

/// Version 1 has DNS servers of the whole machine; version 2 has them per interface. They
/// go to the interface with the default route, else to the first one.
fn global_nameservers(
    doc: &mut Document,
    base: &Path,
    config: &mut NetworkConfig,
    dns: Nameservers,
) {
    if dns == Nameservers::default() {
        return;
    }
    let routed = |routes: &[Route]| routes.iter().any(|r| r.to.is_default());
    let cards = config.ethernets.values_mut();
    let bridges = config.bridges.values_mut();
    let mut slots: Vec<(bool, &mut Option<Nameservers>)> = cards
        .map(|e| (routed(&e.routes), &mut e.nameservers))
        .chain(bridges.map(|b| (routed(&b.routes), &mut b.nameservers)))
        .collect();
    let chosen = slots.iter().position(|(routed, _)| *routed).unwrap_or(0);
    match slots.get_mut(chosen) {
        Some((_, slot)) => merge(slot.get_or_insert_default(), dns),
        None => doc.ignore(&base.key("config"), "nameservers without any interface"),
    }
}

fn merge(into: &mut Nameservers, from: Nameservers) {
    for address in from.addresses {
        add_new(&mut into.addresses, address);
    }
    for domain in from.search {
        add_new(&mut into.search, domain);
    }
}

fn name(doc: &mut Document, item: &Path, places: &mut Places) -> Option<String> {
    let name = doc.require(&item.key("name"), "the name of the interface")?;
    places.interfaces.push((name.clone(), item.key("name")));
    Some(name)
}

fn physical(doc: &mut Document, item: &Path, config: &mut NetworkConfig, places: &mut Places) {
    doc.ignore_unknown(item, &["type", "name", "mac_address", "subnets"]);
    let name = name(doc, item, places);
    let mac = doc.value::<Mac>(&item.key("mac_address"));
    let subnets = subnets(doc, item, places);
    if let Some(name) = name {
        config.ethernets.insert(name, subnets.ethernet(mac));
    }
}

fn bridge(doc: &mut Document, item: &Path, config: &mut NetworkConfig, places: &mut Places) {
    let known = ["type", "name", "bridge_interfaces", "params", "subnets"];
    doc.ignore_unknown(item, &known);
    let name = name(doc, item, places);
    let mut interfaces = Vec::new();
    for port in doc.list(&item.key("bridge_interfaces"), "ports") {
        if let Some(name) = doc.text(&port, "the name of an interface") {
            places.ports.push((name.clone(), port));
            interfaces.push(name);
        }
    }
    let at = item.key("params");
    let parameters = (!doc.keys(&at, "settings").is_empty()).then(|| {
        doc.ignore_unknown(&at, &["bridge_stp", "bridge_fd"]);
        BridgeParameters {
            stp: doc.flag(&at.key("bridge_stp")),
            forward_delay: doc.checked(&at.key("bridge_fd"), |text| {
                text.parse()
                    .map_err(|_| "must be a number of seconds".to_owned())
            }),
        }
    });
    let subnets = subnets(doc, item, places);
    if let Some(name) = name {
        let bridge = subnets.bridge(interfaces, parameters);
        config.bridges.insert(name, bridge);
    }
}

/// All subnets of one interface together.
fn subnets(doc: &mut Document, item: &Path, places: &mut Places) -> Addressing {
    let mut all = Addressing::default();
    let mut gateways = Vec::new();
    let mut dns = Nameservers::default();
    for subnet in doc.mappings(&item.key("subnets"), "subnets", "`type`") {
        let at = subnet.key("type");
        let what = "static, dhcp or manual";
        match doc.require(&at, what).as_deref() {
            None => continue,
            Some("dhcp" | "dhcp4") => all.dhcp4 = Some(true),
            Some("manual") => {}
            Some("static" | "static4" | "static6") => {
                if let Some(cidr) = static_address(doc, &subnet) {
                    all.addresses.push(cidr);
                    places.addresses.push((cidr, subnet.key("address")));
                }
            }
            Some("dhcp6" | "ipv6_dhcpv6-stateful" | "ipv6_dhcpv6-stateless" | "ipv6_slaac") => {
                doc.ignore(&subnet, "IPv6 is configured here by static addresses only");
                continue;
            }
            Some(_) => {
                doc.wrong(&at, &format!("must be {what}"));
                continue;
            }
        }
        let known = [
            "type",
            "address",
            "netmask",
            "gateway",
            "dns_nameservers",
            "dns_search",
        ];
        doc.ignore_unknown(&subnet, &known);
        let at = subnet.key("gateway");
        if let Some(via) = doc.checked(&at, values::address) {
            gateways.push((via, at));
            let to = RouteTarget::default();
            all.routes.push(Route { to, via });
        }
        let at = subnet.key("dns_nameservers");
        words(doc, &at, &mut dns.addresses, values::address);
        let at = subnet.key("dns_search");
        words(doc, &at, &mut dns.search, Domain::from_str);
    }
    check::gateways(doc, &all.addresses, all.dhcp4.is_some(), &gateways);
    all.nameservers = (dns != Nameservers::default()).then_some(dns);
    all
}

/// `address` with a prefix length, or with `netmask` beside it.
fn static_address(doc: &mut Document, subnet: &Path) -> Option<Cidr> {
    let at = subnet.key("address");
    let mask = subnet.key("netmask");
    let what = "an address with its prefix length, such as 192.168.122.42/24";
    if !doc.has(&mask) {
        return doc.require_value(&at, what);
    }
    let prefix = doc.checked(&mask, values::netmask);
    let text = doc.require(&at, what)?;
    if text.contains('/') {
        return doc.value(&at);
    }
    let address: IpAddr = doc.checked(&at, values::address)?;
    let prefix = prefix?;
    doc.checked(&at, |_| Cidr::new(address, prefix))
}

/// Reads a value that may be a list or one text with several words, each of which is one of `all`.
fn words<T: PartialEq>(
    doc: &mut Document,
    path: &Path,
    all: &mut Vec<T>,
    read: impl Fn(&str) -> Result<T, ValueError>,
) {
    for item in doc.items(path) {
        let text = doc.text(&item, "one text or a list of texts");
        let text = text.unwrap_or_default();
        for word in text.split([' ', '\t', ',']).filter(|word| !word.is_empty()) {
            match read(word) {
                Ok(value) => add_new(all, value),
                Err(error) => doc.wrong(&item, &error.to_string()),
            }
        }
    }
}
