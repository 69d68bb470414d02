//! A VM's addresses on corosync's links: `links` of lab.yaml's `cluster`.

use crate::config::yaml::{Keys, Node, Place, Reader, Spanned, validators};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

const LINK: &str = "a link's number, 0 to 7, with `vmbr120`, `address`, or one of these addresses \
                    itself, such as 1: vmbr120";
const KEYS: Keys = &[
    ("0", LINK),
    ("1", LINK),
    ("2", LINK),
    ("3", LINK),
    ("4", LINK),
    ("5", LINK),
    ("6", LINK),
    ("7", LINK),
];

/// The key among those of `cluster`.
pub(super) const LINKS: (&str, &str) = (
    "links",
    "links: {0: address, 1: vmbr120}, the VM's address on each of the cluster's links by its number",
);

/// What was said of the links, in the order of their numbers.
pub(super) type LinkOverrides = Vec<(u8, Spanned<LinkAddress>)>;

/// Which of a VM's addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum LinkAddress {
    /// The one on vmbr120.
    Vmbr120,
    /// The one on the bridge.
    Address,
    /// This one; it must be one of the two.
    Given(Ipv4Addr),
}

/// The addresses that a VM has; those that were noted as problems are `None`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Addresses {
    /// On the bridge.
    pub address: Option<Ipv4Addr>,
    /// On vmbr120.
    pub vmbr120: Option<Ipv4Addr>,
}

/// Reads `links`.
pub(super) fn read(r: &mut Reader, node: &Node) -> LinkOverrides {
    let f = r.fields(node, "`links`", LINKS.1, KEYS);
    (0..=7)
        .filter_map(|number: u8| Some((number, r.field(&f, &number.to_string(), link_address)?)))
        .collect()
}

fn link_address(text: &str) -> Result<LinkAddress, String> {
    match text {
        "vmbr120" => Ok(LinkAddress::Vmbr120),
        "address" => Ok(LinkAddress::Address),
        _ => match text.parse() {
            Ok(address) => Ok(LinkAddress::Given(address)),
            Err(_) => Err(format!(
                "`{}` is no address of a VM",
                validators::display_safe(text)
            )),
        },
    }
}

/// The links of one VM. Without a word about link 0 it has the vmbr120 address, where there is
/// one. Once any is given, `pvecm add` no longer chooses link 0 by itself, so it is always there
/// then.
pub(super) fn resolve(
    r: &mut Reader,
    overrides: Option<&(Place, LinkOverrides)>,
    own: &Addresses,
) -> BTreeMap<u8, Ipv4Addr> {
    let mut links = BTreeMap::new();
    let first = own.vmbr120.or(own.address.filter(|_| overrides.is_some()));
    let Some((place, overrides)) = overrides else {
        links.extend(first.map(|address| (0, address)));
        return links;
    };
    let mut named = false;
    for (number, given) in overrides {
        named |= *number == 0;
        if let Some(address) = one(r, given, own) {
            links.insert(*number, address);
        }
    }
    if !named {
        links.extend(first.map(|address| (0, address)));
    }
    let mut seen: BTreeMap<Ipv4Addr, u8> = BTreeMap::new();
    for (number, address) in &links {
        let Some(other) = seen.insert(*address, *number) else {
            continue;
        };
        let written = overrides.iter().find(|(written, _)| written == number);
        let place = written.map_or(*place, |(_, given)| given.place);
        let message = format!("the links {other} and {number} both have {address}");
        let hint = "another address for each link, such as {0: address, 1: vmbr120}";
        r.problem(place, message, hint);
    }
    links
}

fn one(r: &mut Reader, given: &Spanned<LinkAddress>, own: &Addresses) -> Option<Ipv4Addr> {
    match given.value {
        // An address that is not known was noted as a problem.
        LinkAddress::Address => own.address,
        LinkAddress::Vmbr120 => {
            if own.vmbr120.is_none() {
                let message = "a link over vmbr120 for a VM that has no vmbr120";
                r.problem(given.place, message, "`address`, or a `vmbr120` for the VM");
            }
            own.vmbr120
        }
        LinkAddress::Given(address) => {
            if own.address == Some(address) || own.vmbr120 == Some(address) {
                return Some(address);
            }
            let message = format!("{address} is none of the VM's addresses");
            r.problem(given.place, message, LINK);
            None
        }
    }
}
