//! Before corosync starts: a stale one never does, nor one whose address another machine has.
//!
//! It runs between pmxcfs, which has the members' host keys, and corosync, which waits for it. So it
//! is short: a network that is not there, or members that are off, cost some seconds.

use super::others;
use super::restart_corosync::{self, Compared};
use crate::cluster::corosync::{self, AUTHKEY, CONF, hold};
use crate::cluster::corosync_conf::Conf;
use crate::cluster::corosync_conf::store;
use crate::cluster::members::Members;
use crate::cluster::own_address;
use crate::system::addresses;
use crate::system::root::Root;
use anyhow::Result;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// How long corosync waits for it. A tunnel may need some of that to come up.
const LIMIT: Duration = Duration::from_secs(10);
/// How long an address of its own may take: an IPv6 one is looked for on the wire first.
const OWN: Duration = Duration::from_secs(4);
/// The pause between two questions.
const PAUSE: Duration = Duration::from_secs(1);

/// Looks after the configuration of the node `name` before its corosync starts; says what was done.
/// `None` where there is nothing to say. An error is told, and keeps nothing from starting.
pub(crate) fn guard(root: &Root, name: &str) -> Result<Option<String>> {
    if !root.is_live() || !root.exists(AUTHKEY)? {
        return Ok(None);
    }
    let has_members = Members::of(root).is_some();
    let certificate = format!("/etc/pve/nodes/{name}/pve-ssl.pem");
    let is_whole = store::is_usable(root) && root.exists(&certificate).unwrap_or(true);
    if has_members && !is_whole {
        // The certificate comes last: without it no member knows this node's ssh key, so none would
        // tell that it is stale. And such a corosync may count for the others' quorum and take part in
        // nothing; the next joiner gets none while it runs. The join starts it where the repair needs it.
        hold(root, false)?;
        return Ok(Some(
            "an earlier join was cut half-way: corosync waits until the join has repaired it"
                .to_owned(),
        ));
    }
    own_address::hold_until_asked(root)?;
    let result = before_the_start(root, name);
    if !matches!(result, Ok(Verdict::Off(_))) {
        own_address::release(root)?;
    }
    result.map(|verdict| match verdict {
        Verdict::Start(words) => words,
        Verdict::Off(words) => Some(words),
    })
}

/// Whether corosync may start.
enum Verdict {
    /// What is to be said.
    Start(Option<String>),
    /// It is held, for this reason.
    Off(String),
}

impl Verdict {
    /// It was to be held. Its unit looks for the file, which is there; a job that systemd does not cancel is
    /// told.
    fn off(words: String, held: Result<()>) -> Verdict {
        Verdict::Off(match held {
            Ok(()) => words,
            Err(error) => format!("{words}\n{error:#}"),
        })
    }
}

fn before_the_start(root: &Root, name: &str) -> Result<Verdict> {
    let own = corosync::own_conf(root)?;
    let addresses = addresses(&own, name);
    let start = Instant::now();
    let deadline = start + LIMIT;
    // And why nobody could be asked who has the addresses.
    let (answer, unasked) = loop {
        // Before anything is sent with the address as its sender, which would turn the traffic of the
        // machine that has it.
        let unasked = match own_address::conflict(root, &addresses) {
            Ok(Some(words)) => {
                let held = own_address::hold(root, &words, false);
                return Ok(Verdict::off(words, held));
            }
            Ok(None) => None,
            Err(error) => Some(format!("{error:#}")),
        };
        if addresses::missing(&addresses)?.len() == addresses.len() {
            if start.elapsed() > OWN {
                return Ok(Verdict::Start(unasked));
            }
            std::thread::sleep(PAUSE);
            continue;
        }
        let rest = deadline.saturating_duration_since(Instant::now());
        if let Some(answer) = others::ask(root, &own, name, rest).newest {
            break (answer, unasked);
        }
        if Instant::now() + PAUSE >= deadline {
            return Ok(Verdict::Start(unasked));
        }
        std::thread::sleep(PAUSE);
    };
    let (from, version) = (&answer.from, answer.conf.version);
    match restart_corosync::compare(&answer.conf, &own, name, &addresses::is_own) {
        Compared::Same => Ok(Verdict::Start(unasked)),
        Compared::Newer => {
            restart_corosync::take_conf(root, &answer)?;
            let taken = format!(
                "{CONF} had version {}: version {version} was taken from {from} before corosync \
                 starts",
                own.version
            );
            let words = [Some(taken), unasked].into_iter().flatten();
            Ok(Verdict::Start(Some(words.collect::<Vec<_>>().join("\n"))))
        }
        Compared::Foreign(why) => {
            let held = own_address::forget(root).and_then(|()| hold(root, false));
            let words =
                format!("corosync stays off: {from} has version {version} of {CONF}, and {why}");
            Ok(Verdict::off(words, held))
        }
    }
}

/// The node's own addresses on the cluster's links.
pub(super) fn addresses(own: &Conf, name: &str) -> Vec<IpAddr> {
    let links = own
        .node(name)
        .map(|node| &node.links[..])
        .unwrap_or_default();
    links.iter().filter_map(|link| link.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::corosync_conf;
    use crate::system::root::tests::tree;

    #[test]
    fn the_own_addresses_are_those_of_the_own_entry() {
        let text = "nodelist {\n  node {\n    name: alpha\n    ring0_addr: 10.0.0.1\n  }\n  node {\n    \
                    name: vm42\n    ring0_addr: 10.0.0.42\n    ring1_addr: 10.1.0.42\n  }\n}\ntotem {\n  config_version: 3\n}\n";
        let conf = corosync_conf::parse(text).unwrap();
        let own: Vec<IpAddr> = ["10.0.0.42", "10.1.0.42"]
            .map(|a| a.parse().unwrap())
            .to_vec();
        assert_eq!(addresses(&conf, "vm42"), own);
        assert!(addresses(&conf, "vm43").is_empty());
    }

    #[test]
    fn a_folder_is_left_alone() {
        let (_folder, root) = tree();
        root.write(AUTHKEY, b"key", 0o400).unwrap();
        assert_eq!(guard(&root, "vm42").unwrap(), None);
    }
}
