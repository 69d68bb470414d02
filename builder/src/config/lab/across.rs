//! What no VM can tell alone: checks across all VMs of a lab.

use super::clusters::clusters;
use super::hosts::Rooms;
use super::machine::ParsedVm;
use super::model::{ClusterJoin, State, Vm};
use crate::config::yaml::{Place, Reader, Spanned, validators};
use firstboot::contract::values::{HostDomain, HostName, Mac};
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

/// Notes every problem that two VMs have with each other, or a VM with the lab.
pub(super) fn check(
    r: &mut Reader,
    all: &[ParsedVm],
    domain: Option<&Spanned<HostDomain>>,
    rooms: &Rooms,
) {
    whole_names(r, all, domain);
    let domain = domain.map(|d| d.value.as_str());
    // A VM that is written twice has everything twice; its name says enough.
    let all = first_of_each_name(r, all);
    addresses(r, &all);
    too_much_of_a_pc(r, &all, rooms);
    twice(
        &all,
        |d| d.vmbr120.as_ref(),
        |first, second, place| {
            let message = format!(
                "{} and {} both have the vmbr120 address {}",
                second.vm.name,
                first.vm.name,
                second
                    .vmbr120
                    .as_ref()
                    .map_or_else(String::new, |a| a.value.to_string()),
            );
            r.problem(
                place,
                message,
                "one address per VM: all VMs share this network",
            );
        },
    );
    // One that is written twice is a mistake wherever the VMs run.
    let written: Vec<&ParsedVm> = all.iter().copied().filter(|d| has_own_mac(d)).collect();
    macs(r, &written, |_, _| true);
    twice(
        &all,
        |d| {
            let is_shared = d.vm.openvpn.as_ref().is_some_and(|o| o.shared);
            d.identity.as_ref().filter(|_| !is_shared)
        },
        |first, second, place| {
            let message = format!(
                "{} and {} have one OpenVPN identity: the server would throw one of them out",
                second.vm.name, first.vm.name
            );
            let hint = "a configuration with a certificate of its own for each VM, such as \
                     secrets/vpn/{name}.ovpn; or `shared: true` in `openvpn` where the server \
                     takes one for all (duplicate-cn)";
            r.problem(place, message, hint);
        },
    );
    links(r, &all, domain.unwrap_or_default());
    for parsed in &all {
        peers(r, parsed, domain);
    }
}

/// What the VMs' files say that deserves a look: each text once, however many VMs have the file.
pub(super) fn warnings(all: &[ParsedVm]) -> Vec<String> {
    let mut texts: Vec<String> = Vec::new();
    for warning in all.iter().flat_map(|parsed| &parsed.warnings) {
        if !texts.contains(warning) {
            texts.push(warning.clone());
        }
    }
    texts
}

fn first_of_each_name<'a>(r: &mut Reader, all: &'a [ParsedVm]) -> Vec<&'a ParsedVm> {
    let mut first: BTreeMap<&str, Place> = BTreeMap::new();
    let mut is_first = |parsed: &&'a ParsedVm| {
        let name = parsed.vm.name.as_str();
        let Some(Place { line, .. }) = first.get(name) else {
            first.insert(name, parsed.place);
            return true;
        };
        let message = format!("the name `{name}` is used twice; first in line {line}");
        r.problem(parsed.place, message, "one name per VM");
        false
    };
    all.iter().filter(|parsed| is_first(parsed)).collect()
}

/// A name and the domain may be good, and too long together.
fn whole_names(r: &mut Reader, all: &[ParsedVm], domain: Option<&Spanned<HostDomain>>) {
    let Some(Spanned { place, value }) = domain else {
        return;
    };
    for parsed in all {
        let fqdn = parsed.vm.fqdn(value).parse::<HostName>();
        if let Err(error) = fqdn.and_then(HostName::of_one_machine) {
            let message = format!("{} in this domain {}", parsed.vm.name, error.message());
            return r.problem(*place, message, "a shorter domain, or shorter names");
        }
    }
}

/// Whether a VM's MAC is written, and not derived.
fn has_own_mac(parsed: &ParsedVm) -> bool {
    let own = |mac: &Spanned<Mac>| mac.place != parsed.place;
    parsed.mac.as_ref().is_some_and(own)
}

/// Notes those of these VMs that have the MAC address of an earlier one, where that counts.
fn macs(r: &mut Reader, all: &[&ParsedVm], counts: impl Fn(&ParsedVm, &ParsedVm) -> bool) {
    twice(
        all,
        |d| d.mac.as_ref(),
        |first, second, place| {
            if !counts(first, second) {
                return;
            }
            let message = format!(
                "{} and {} both have the MAC address {}",
                second.vm.name, first.vm.name, second.vm.mac
            );
            let hint = "one MAC per VM; give one of them another with `mac:`";
            r.problem(place, message, hint);
        },
    );
}

/// Every virbr0 is a NAT of its own: only VMs of one host must differ, in what is derived for them.
fn addresses(r: &mut Reader, all: &[&ParsedVm]) {
    let mut by_host: BTreeMap<Option<&str>, Vec<&ParsedVm>> = BTreeMap::new();
    for parsed in all {
        by_host
            .entry(parsed.vm.host.as_deref())
            .or_default()
            .push(parsed);
    }
    for (host, all) in by_host {
        macs(r, &all, |a, b| !has_own_mac(a) || !has_own_mac(b));
        twice(
            &all,
            |d| d.address.as_ref(),
            |first, second, place| {
                let (a, b, address) = (&second.vm.name, &first.vm.name, second.vm.address);
                let message = match host {
                    Some(host) => {
                        format!("{a} and {b} both run on {host} with the address {address}")
                    }
                    None => {
                        format!("{a} and {b} both have the address {address}, and neither a host")
                    }
                };
                let hint = match host {
                    Some(_) => "one address per VM of a host",
                    None => "one address per VM, or `host:` where they run on different PCs",
                };
                r.problem(place, message, hint);
            },
        );
    }
}

/// No more is asked of a PC than its room allows, in all the VMs that are to run there.
fn too_much_of_a_pc(r: &mut Reader, all: &[&ParsedVm], rooms: &Rooms) {
    let memory = |mib: u64| format!("{} of memory", validators::size_text(mib * validators::MIB));
    let cores = |cores: u64| format!("{cores} cores");
    let kinds: [(&str, &dyn Fn(u64) -> String); 2] = [("memory", &memory), ("cores", &cores)];
    let mut taken: BTreeMap<&str, [u64; 2]> = BTreeMap::new();
    for parsed in all.iter().filter(|d| d.vm.state == State::Started) {
        let vm = &parsed.vm;
        let room = vm.host.as_deref().and_then(|pc| Some((pc, rooms.of(pc)?)));
        let (Some((pc, room)), Some(place)) = (room, parsed.host) else {
            continue;
        };
        let taken = taken.entry(pc).or_default();
        let asked = [vm.memory_mib, vm.cores];
        let most = [room.memory_mib, room.cores];
        for (index, (key, text)) in kinds.iter().enumerate() {
            let before = taken[index];
            taken[index] += u64::from(asked[index]);
            let now = taken[index];
            // Said of the VM with which it becomes too much, and of none after it.
            let most = most[index].map(u64::from);
            let Some(most) = most.filter(|most| (before..now).contains(most)) else {
                continue;
            };
            let message = format!(
                "with {} the VMs of {pc} take {}, and {} allows {}",
                vm.name,
                text(now),
                room.name,
                text(most)
            );
            let hint = format!(
                "less `{key}` for its VMs, another `host`, `state: stopped`, or more `{key}` for \
                 the room"
            );
            r.problem(place, message, hint);
        }
    }
}

/// Members of one cluster reach each other by their addresses on its links, so no two may have one.
/// A link that is written once, in `defaults`, is answered once.
fn links(r: &mut Reader, all: &[&ParsedVm], domain: &str) {
    let vms: Vec<&Vm> = all.iter().map(|parsed| &parsed.vm).collect();
    let places: BTreeMap<&str, &ParsedVm> = all.iter().map(|d| (d.vm.name.as_str(), *d)).collect();
    let mut answered = BTreeSet::new();
    for cluster in clusters(domain, &vms) {
        let mut first: BTreeMap<(u8, Ipv4Addr), &Vm> = BTreeMap::new();
        for (vm, _) in &cluster.vms {
            let Some(parsed) = places.get(vm.name.as_str()) else {
                continue;
            };
            for (number, address) in on_links(parsed) {
                let Some(other) = first.get(&(number, address)) else {
                    first.insert((number, address), vm);
                    continue;
                };
                // Noted already: as the addresses of two VMs of a host, or of two on vmbr120.
                if (other.address, &other.host) == (vm.address, &vm.host)
                    || vm.vmbr120.is_some() && other.vmbr120 == vm.vmbr120
                {
                    continue;
                }
                let own = parsed.address.as_ref().map_or(parsed.place, |a| a.place);
                let place = parsed.links.get(&number).copied().unwrap_or(own);
                if !answered.insert((place.line, place.column)) {
                    continue;
                }
                let message = format!(
                    "{} and {} have one address on link {number} of a cluster, {address}",
                    vm.name, other.name
                );
                let hint = "`vmbr120` for this link, with a `vmbr120` for each VM: the addresses \
                             behind the NAT of two PCs never reach each other; `address` only \
                             where `bridge` is no NAT, and then one address per VM";
                r.problem(place, message, hint);
            }
        }
    }
}

/// A VM's address on each link of its cluster. Where nothing is said, `pvecm add` takes that of the
/// VM's name: the one on the bridge.
fn on_links(parsed: &ParsedVm) -> Vec<(u8, Ipv4Addr)> {
    let links = |join: &ClusterJoin| match (join.links.is_empty(), &parsed.address) {
        (true, Some(address)) => vec![(0, address.value)],
        // What was noted as a problem is 0.0.0.0 in the VM, and in none of its links.
        _ => join.links.iter().map(|(n, a)| (*n, *a)).collect(),
    };
    parsed.vm.cluster.as_ref().map_or_else(Vec::new, links)
}

/// Hands over each VM whose value an earlier VM has, with that VM and the place of the value.
fn twice<T: Ord>(
    all: &[&ParsedVm],
    value: impl Fn(&ParsedVm) -> Option<&Spanned<T>>,
    mut found: impl FnMut(&ParsedVm, &ParsedVm, Place),
) {
    let mut first: BTreeMap<&T, &ParsedVm> = BTreeMap::new();
    for parsed in all {
        let Some(placed) = value(parsed) else {
            continue;
        };
        match first.get(&placed.value) {
            Some(earlier) => found(earlier, parsed, placed.place),
            None => {
                first.insert(&placed.value, parsed);
            }
        }
    }
}

/// A node that joins by asking itself waits for ever.
fn peers(r: &mut Reader, parsed: &ParsedVm, domain: Option<&str>) {
    let name = &parsed.vm.name;
    // An unknown domain or address is nobody's.
    let own = parsed.vm.names_and_addresses(domain.unwrap_or_default());
    for peer in &parsed.peers {
        if own.iter().any(|name| peer.value.address == name.as_str()) {
            let message = format!("the peer {} is {name} itself", peer.value.address);
            let hint = "a member of the cluster; `cluster: none` for a VM that joins nothing";
            r.problem(peer.place, message, hint);
        }
    }
}
