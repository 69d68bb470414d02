//! The networks of a lab, and the addresses in them.

use super::model::NatNetwork;
use crate::config::yaml::{Fields, Keys, Reader, Spanned, validators};
use firstboot::contract::values::{self, InterfaceName, Network};
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

/// An address without a prefix.
pub(super) fn address(text: &str) -> Result<Ipv4Addr, String> {
    values::ipv4_address(text)
        .map_err(|error| format!("`{}` {}", validators::display_safe(text), error.message()))
}

/// The two networks of a lab. `None` for a range that could not be read: nothing is then
/// derived from it or compared with it.
#[derive(Debug)]
pub(super) struct Networks {
    /// The hosts' NAT.
    pub nat: Option<NatNetwork>,
    /// Whether the lab has a vmbr120 section, and its network.
    pub vmbr120: Option<Option<Network>>,
}

impl Networks {
    /// Reads `network` and `vmbr120` of lab.yaml.
    pub(super) fn read(r: &mut Reader, lab: &Fields<'_>) -> Self {
        let (nat_range, nat) = read_nat(r, lab);
        let vmbr120 = lab.get("vmbr120").map(|node| {
            let f = r.fields(node, "`vmbr120`", lab.hint("vmbr120"), VMBR120_KEYS);
            r.require(&f, "range");
            let range = r.field(&f, "range", validators::value)?;
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

fn read_nat(r: &mut Reader, lab: &Fields<'_>) -> (Option<Network>, Option<NatNetwork>) {
    let standard = Network::default();
    let Some(node) = lab.get("network") else {
        let nat = NatNetwork {
            bridge: "virbr0".to_owned(),
            range: standard,
            gateway: standard.first(),
            dns: vec![standard.first()],
        };
        return (Some(standard), Some(nat));
    };
    let f = r.fields(node, "`network`", lab.hint("network"), NAT_KEYS);
    let bridge = r.field::<InterfaceName>(&f, "bridge", validators::value);
    let range = match r.field(&f, "range", validators::value) {
        Some(range) => Some(range.value),
        None => (!f.accounted("range")).then_some(standard),
    };
    if let (Some(range), Some(node)) = (range.filter(|range| range.prefix() > 29), f.get("range")) {
        let message = format!("{range} has no third address, which QEMU needs for --user-net");
        let hint = "a network of /29 or larger, such as 192.168.122.0/24";
        r.problem(node.place, message, hint);
    }
    let gateway = r.field(&f, "gateway", address);
    let dns = r.field_list(&f, "dns", address);
    if dns.is_empty() {
        if let Some(node) = f.get("dns") {
            r.problem(node.place, "a machine without a DNS server", f.hint("dns"));
        }
    }
    if let (Some(range), Some(Spanned { place, value })) = (range, &gateway) {
        if let Err(message) = range.classify(*value) {
            r.problem(*place, message, f.hint("gateway"));
        }
    }
    let nat = range.map(|range| {
        let gateway = gateway.map_or_else(|| range.first(), |g| g.value);
        let dns: Vec<Ipv4Addr> = dns.into_iter().map(|d| d.value).collect();
        NatNetwork {
            bridge: bridge.map_or_else(|| "virbr0".to_owned(), |b| b.value.into()),
            range,
            gateway,
            dns: if dns.is_empty() { vec![gateway] } else { dns },
        }
    });
    (range, nat)
}
