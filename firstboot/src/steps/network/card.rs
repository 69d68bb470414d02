//! Which network card an entry of the network-config means.

use crate::contract::seed::NetworkConfig;
use crate::system::root::Root;
use anyhow::{Result, bail};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Entry of the network-config → name of the card, where the two differ.
pub(super) type Names = BTreeMap<String, String>;

const FOLDER: &str = "/sys/class/net";
/// How long a card may take to appear this early in the boot.
const PATIENCE: Duration = Duration::from_secs(5);

/// Finds the cards. An entry with a MAC means the card that has it. Where no such card is
/// seen, a single entry means its own name: the base image has `net.ifnames=0`, so one card
/// is always called the same. A single entry without a MAC means the only card.
pub(super) fn names(root: &Root, network: &NetworkConfig) -> Result<Names> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let cards = cards(root)?;
        let (names, missing) = assign(network, &cards);
        let Some(missing) = missing else {
            return Ok(names);
        };
        if root.is_live() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(100));
            continue;
        }
        if network.cards().count() == 1 {
            return Ok(names);
        }
        let seen: Vec<String> = cards.iter().map(|(n, mac)| format!("{n} {mac}")).collect();
        let seen = match seen.is_empty() {
            true => "none".to_owned(),
            false => seen.join(", "),
        };
        bail!(
            "no network card has the address {missing} that the network-config asks for; cards: {seen}"
        );
    }
}

/// The names, and the first MAC that no card has.
fn assign(network: &NetworkConfig, cards: &[(String, String)]) -> (Names, Option<String>) {
    let mut names = Names::new();
    let mut missing = None;
    for (entry, ethernet) in network.cards() {
        let wanted = ethernet.match_.as_ref().and_then(|m| m.macaddress.as_ref());
        let Some(wanted) = wanted else {
            // Seeds made elsewhere call the card as it is called elsewhere.
            if let ([(card, _)], 1) = (cards, network.cards().count()) {
                if card != entry {
                    names.insert(entry.clone(), card.clone());
                }
            }
            continue;
        };
        match cards
            .iter()
            .find(|(_, mac)| mac.eq_ignore_ascii_case(wanted))
        {
            Some((name, _)) if name != entry => {
                names.insert(entry.clone(), name.clone());
            }
            Some(_) => {}
            None => missing = missing.or_else(|| Some(wanted.to_string())),
        }
    }
    (names, missing)
}

/// Name and MAC of each card. Bridges and taps, which borrow a card's MAC, have no `device`.
fn cards(root: &Root) -> Result<Vec<(String, String)>> {
    let mut cards = Vec::new();
    for name in root.list(FOLDER)? {
        let folder = format!("{FOLDER}/{name}");
        if !root.exists(&format!("{folder}/device"))? {
            continue;
        }
        if let Some(mac) = root.read_text(&format!("{folder}/address"))? {
            cards.push((name, mac.trim().to_owned()));
        }
    }
    Ok(cards)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::seed::{Ethernet, Match};

    fn system(cards: &[(&str, &str, bool)]) -> (tempfile::TempDir, Root) {
        let folder = tempfile::tempdir().unwrap();
        for (name, mac, physical) in cards {
            let card = folder.path().join(format!("sys/class/net/{name}"));
            std::fs::create_dir_all(&card).unwrap();
            std::fs::write(card.join("address"), format!("{mac}\n")).unwrap();
            if *physical {
                std::fs::create_dir(card.join("device")).unwrap();
            }
        }
        let root = Root::new(folder.path());
        (folder, root)
    }

    fn network(entries: &[(&str, Option<&str>)]) -> NetworkConfig {
        let ethernet = |mac: &Option<&str>| Ethernet {
            match_: mac.map(|mac| Match {
                macaddress: Some(mac.parse().unwrap()),
            }),
            ..Ethernet::default()
        };
        NetworkConfig {
            version: 2,
            ethernets: entries
                .iter()
                .map(|(name, mac)| (name.to_string(), ethernet(mac)))
                .collect(),
            bridges: Default::default(),
        }
    }

    #[test]
    fn cards_are_found_by_mac_and_bridges_are_not_cards() {
        let (_folder, root) = system(&[
            ("br0", "52:54:00:00:00:02", false),
            ("eth0", "52:54:00:00:00:01", true),
            ("eth1", "52:54:00:00:00:02", true),
        ]);
        let network = network(&[
            ("lan", Some("52:54:00:00:00:02")),
            ("nat", Some("52:54:00:00:00:01")),
        ]);
        let names = names(&root, &network).unwrap();
        assert_eq!(names["lan"], "eth1");
        assert_eq!(names["nat"], "eth0");
    }

    #[test]
    fn a_single_entry_without_its_card_keeps_its_name() {
        let (_folder, root) = system(&[]);
        let network = network(&[("eth0", Some("52:54:00:00:00:01"))]);
        assert!(names(&root, &network).unwrap().is_empty());
    }

    /// A tap may be declared beside it, as imgbuild's seeds do: it is no card.
    #[test]
    fn a_declared_tap_is_no_second_card() {
        let (_folder, root) = system(&[]);
        let with_mac = network(&[("eth0", Some("52:54:00:00:00:01")), ("tap120", None)]);
        assert!(names(&root, &with_mac).unwrap().is_empty());
        let (_folder, root) = system(&[("eth0", "52:54:00:00:00:01", true)]);
        let foreign = network(&[("ens3", None), ("tap120", None)]);
        let names = names(&root, &foreign).unwrap();
        assert_eq!(names, Names::from([("ens3".into(), "eth0".into())]));
    }

    #[test]
    fn a_single_entry_means_the_only_card() {
        let (_folder, root) = system(&[("eth0", "52:54:00:00:00:01", true)]);
        let foreign = names(&root, &network(&[("ens3", None)])).unwrap();
        assert_eq!(foreign["ens3"], "eth0");
        let two = network(&[("ens3", None), ("ens4", None)]);
        assert!(names(&root, &two).unwrap().is_empty());
    }

    #[test]
    fn of_several_a_missing_one_is_an_error() {
        let (_folder, root) = system(&[("eth0", "52:54:00:00:00:01", true)]);
        let network = network(&[
            ("a", Some("52:54:00:00:00:01")),
            ("b", Some("52:54:00:00:00:09")),
        ]);
        assert_eq!(
            names(&root, &network).unwrap_err().to_string(),
            "no network card has the address 52:54:00:00:00:09 that the network-config asks for; \
             cards: eth0 52:54:00:00:00:01"
        );
    }
}
