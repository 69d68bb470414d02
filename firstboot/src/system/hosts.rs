//! `/etc/hosts`, as hosts(5) has it: an address and its names, one line each.

use super::hostname::short;
use std::net::{IpAddr, Ipv4Addr};

/// Where it is.
pub(crate) const FILE: &str = "/etc/hosts";
/// What Debian gives a machine without a fixed address.
pub(crate) const NO_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 1, 1));

/// The address that `/etc/hosts` gives a name, other than a loopback one.
pub(crate) fn address_of(hosts: &str, name: &str) -> Option<IpAddr> {
    hosts.lines().find_map(|line| {
        let (address, names) = parse(line)?;
        (names.contains(&name) && !address.is_loopback()).then_some(address)
    })
}

/// The full name on a line that gives a short name an address.
pub(crate) fn full_name(hosts: &str, name: &str) -> Option<String> {
    let is_full = |full: &&str| full.split_once('.').is_some_and(|(short, _)| short == name);
    hosts.lines().find_map(|line| {
        let (_, names) = parse(line)?;
        let full = names.iter().copied().find(is_full)?;
        names.contains(&name).then(|| full.to_owned())
    })
}

/// The short names on lines of 127.0.1.1: what this machine was called.
pub(crate) fn local_names(hosts: &str) -> Vec<String> {
    hosts
        .lines()
        .filter_map(parse)
        .filter(|(address, _)| *address == NO_ADDRESS)
        .flat_map(|(_, names)| names)
        .map(|name| short(name).to_owned())
        .collect()
}

/// The words of a line, its comment left out.
pub(crate) fn tokens(line: &str) -> Vec<&str> {
    let text = line.split('#').next().unwrap_or_default();
    text.split_whitespace().collect()
}

/// The address of a line and its names; `None` for a line without any.
pub(crate) fn parse(line: &str) -> Option<(IpAddr, Vec<&str>)> {
    let words = tokens(line);
    let (address, names) = words.split_first()?;
    Some((address.parse().ok()?, names.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading() {
        let hosts = "127.0.1.1 a.b a\n10.0.0.1 vm42.lab vm42\n";
        assert_eq!(local_names(hosts), ["a", "a"]);
        assert_eq!(address_of(hosts, "vm42"), "10.0.0.1".parse().ok());
        assert_eq!(address_of(hosts, "a"), None);
        assert_eq!(full_name(hosts, "vm42").as_deref(), Some("vm42.lab"));
        assert_eq!(full_name(hosts, "vm4"), None);
    }
}
