//! `hosts`: this machine's own line in `/etc/hosts`.
//!
//! pmxcfs refuses to start when the node's name stands for nothing or for 127.0.1.1, the
//! line that Debian's installer writes. With DHCP alone no address is known this early; the
//! name then keeps 127.0.1.1.

use crate::step::{Context, Outcome};
use crate::system::hostname::short;
use crate::system::hosts::{FILE, NO_ADDRESS, parse, tokens};
use anyhow::Result;
use std::net::IpAddr;

/// Makes the name stand for the node's address.
pub(crate) fn run(context: &Context) -> Result<Outcome> {
    if let Some(locked) = context.name_locked_outcome() {
        return Ok(locked);
    }
    let before = context.root.read_text(FILE)?;
    let address = context.address().unwrap_or(NO_ADDRESS);
    let own = Own {
        address,
        fqdn: &context.fqdn,
        name: &context.name,
        old_names: &context.old_names,
    };
    let text = own.text(before.as_deref().unwrap_or("127.0.0.1 localhost\n"));
    let changed = context.root.ensure(FILE, text.as_bytes(), 0o644)?;
    Ok(Outcome::changed_if(changed, own.line()))
}

/// What `/etc/hosts` is to say about this machine.
pub(crate) struct Own<'a> {
    pub address: IpAddr,
    pub fqdn: &'a str,
    pub name: &'a str,
    /// Short names it had before.
    pub old_names: &'a [String],
}

impl Own<'_> {
    fn line(&self) -> String {
        if self.fqdn == self.name {
            format!("{} {}", self.address, self.name)
        } else {
            format!("{} {} {}", self.address, self.fqdn, self.name)
        }
    }

    /// The file with this machine's own line and no other that names it. Lines of other
    /// machines and comments stay byte for byte.
    pub(crate) fn text(&self, before: &str) -> String {
        let wanted = self.line();
        let words: Vec<&str> = wanted.split(' ').collect();
        let mut lines: Vec<String> = Vec::new();
        let mut place = None;
        let mut there = false;
        // A `\r` before a line's end belongs to the line.
        for line in before.split_terminator('\n') {
            let Some((address, names)) = parse(line) else {
                lines.push(line.to_owned());
                continue;
            };
            if !there && words.iter().eq(tokens(line).iter()) {
                there = true;
                lines.push(line.to_owned());
                continue;
            }
            let mine = address == NO_ADDRESS || names.iter().any(|n| self.is_bare(n));
            if !mine {
                lines.push(line.to_owned());
                continue;
            }
            let others: Vec<&str> = match address {
                NO_ADDRESS => Vec::new(),
                _ => names.into_iter().filter(|n| !self.is_own(n)).collect(),
            };
            if !others.is_empty() {
                lines.push(format!("{address} {}", others.join(" ")));
            }
            place.get_or_insert(lines.len());
        }
        if !there {
            let after_loopback = || {
                let loopback = |l: &String| parse(l).is_some_and(|(a, _)| a.is_loopback());
                let ipv4 = |l: &String| loopback(l) && !l.contains("::");
                lines.iter().rposition(ipv4).map_or(0, |index| index + 1)
            };
            let place = place.unwrap_or_else(after_loopback);
            lines.insert(place, wanted);
        }
        lines.iter().flat_map(|l| [l.as_str(), "\n"]).collect()
    }

    /// A name that makes a line ours: a short name, or exactly the full one.
    fn is_bare(&self, name: &str) -> bool {
        name == self.name || name == self.fqdn || self.old_names.iter().any(|old| old == name)
    }

    /// A name that is ours on such a line. `pvelocalhost` is what old Proxmox installers add.
    fn is_own(&self, name: &str) -> bool {
        self.is_bare(name) || self.is_bare(short(name)) || name == "pvelocalhost"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INSTALLED: &str = "127.0.0.1\tlocalhost\n127.0.1.1\tdebian.lab\tdebian\n\n\
        # The following lines are desirable for IPv6 capable hosts\n\
        ::1     localhost ip6-localhost ip6-loopback\nff02::1 ip6-allnodes\n\
        192.168.122.1 gateway # the PC\n";

    fn text(before: &str, old: &[&str]) -> String {
        let old: Vec<String> = old.iter().map(|o| o.to_string()).collect();
        Own {
            address: "192.168.122.42".parse().unwrap(),
            fqdn: "vm42.lab",
            name: "vm42",
            old_names: &old,
        }
        .text(before)
    }

    #[test]
    fn the_line_of_the_installer_is_replaced_in_its_place() {
        assert_eq!(
            text(INSTALLED, &["debian"]),
            "127.0.0.1\tlocalhost\n192.168.122.42 vm42.lab vm42\n\n\
             # The following lines are desirable for IPv6 capable hosts\n\
             ::1     localhost ip6-localhost ip6-loopback\nff02::1 ip6-allnodes\n\
             192.168.122.1 gateway # the PC\n"
        );
    }

    #[test]
    fn a_second_time_changes_nothing() {
        let once = text(INSTALLED, &["debian"]);
        assert_eq!(text(&once, &["debian"]), once);
        let spaced = "127.0.0.1 localhost\n192.168.122.42\tvm42.lab   vm42 # me\n";
        assert_eq!(text(spaced, &[]), spaced);
    }

    #[test]
    fn old_names_go_and_foreign_names_stay() {
        let before = "127.0.0.1 localhost debian\n10.0.0.5 debian.lab debian nas\n\
                      10.0.0.6 vm41.lab vm41 pvelocalhost\n10.0.0.7 debian.org\n10.0.0.8 vm420\n";
        assert_eq!(
            text(before, &["debian", "vm41"]),
            "127.0.0.1 localhost\n192.168.122.42 vm42.lab vm42\n10.0.0.5 nas\n\
             10.0.0.7 debian.org\n10.0.0.8 vm420\n"
        );
    }

    #[test]
    fn an_address_that_changed_is_replaced() {
        let before = "127.0.0.1 localhost\n192.168.122.7 vm42.lab vm42\n";
        assert_eq!(
            text(before, &[]),
            "127.0.0.1 localhost\n192.168.122.42 vm42.lab vm42\n"
        );
    }
}
