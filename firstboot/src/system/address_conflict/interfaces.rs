//! This machine's interfaces, as `ip` of iproute2 shows them, which ifupdown2 needs and so is wherever
//! a network was configured.

use super::frames::Mac;
use crate::system::root::Root;
use anyhow::{Context, Result};
use serde::Deserialize;
use std::net::IpAddr;

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Interface {
    pub name: String,
    pub index: i32,
    /// `None` where it does not speak Ethernet.
    pub mac: Option<Mac>,
    pub addresses: Vec<IpAddr>,
    /// Those that the kernel does not use, because another machine has answered for them.
    pub refused: Vec<IpAddr>,
}

#[derive(Deserialize)]
struct Link {
    ifindex: i32,
    ifname: String,
    link_type: Option<String>,
    address: Option<String>,
    #[serde(default)]
    addr_info: Vec<Info>,
}

#[derive(Deserialize)]
struct Info {
    local: Option<IpAddr>,
    #[serde(default)]
    dadfailed: bool,
}

pub(super) fn list(root: &Root) -> Result<Vec<Interface>> {
    let words = ["-json", "address", "show"];
    let text = root.query("ip", &words)?;
    parse(&text).with_context(|| format!("cannot read what this printed: ip {}", words.join(" ")))
}

fn parse(text: &str) -> serde_json::Result<Vec<Interface>> {
    // `ip` of Debian 12 prints an empty object where a filter left something out.
    let links: Vec<serde_json::Value> = serde_json::from_str(text)?;
    let is_link = |link: &serde_json::Value| link.get("ifindex").is_some();
    let links = links.into_iter().filter(is_link);
    let links = links.map(serde_json::from_value::<Link>);
    links.map(|link| link.map(interface)).collect()
}

fn interface(link: Link) -> Interface {
    let is_ethernet = link.link_type.as_deref() == Some("ether");
    let mac = link.address.as_deref().filter(|_| is_ethernet);
    let local = |info: &Info| info.local;
    Interface {
        name: link.ifname,
        index: link.ifindex,
        mac: mac.and_then(Mac::parse),
        addresses: link.addr_info.iter().filter_map(local).collect(),
        refused: link
            .addr_info
            .iter()
            .filter(|i| i.dadfailed)
            .filter_map(local)
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of iproute2 6.1, as far as it is read, and the flag of an address that another machine has.
    #[test]
    fn what_ip_prints() {
        let text = r#"[{"ifindex":1,"ifname":"lo","flags":["LOOPBACK","UP"],"link_type":"loopback",
            "address":"00:00:00:00:00:00","addr_info":[{"family":"inet","local":"127.0.0.1","prefixlen":8}]},
            {},
            {"ifindex":3,"ifname":"vmbr120","link_type":"ether","address":"de:ad:be:ef:00:01","addr_info":[
            {"family":"inet","local":"10.120.0.42","prefixlen":24,"scope":"global"},
            {"family":"inet6","local":"fd00::42","prefixlen":64,"dadfailed":true,"tentative":true}]},
            {"ifindex":4,"ifname":"tun0","link_type":"none","addr_info":[{}]}]"#;
        let interfaces = parse(text).unwrap();
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let expected = Interface {
            name: "vmbr120".to_owned(),
            index: 3,
            mac: Mac::parse("de:ad:be:ef:00:01"),
            addresses: vec![address("10.120.0.42"), address("fd00::42")],
            refused: vec![address("fd00::42")],
        };
        assert_eq!(interfaces[1], expected);
        assert_eq!(
            (interfaces.len(), interfaces[0].mac, interfaces[2].mac),
            (3, None, None)
        );
        assert!(parse("").is_err());
    }
}
