//! What pvecm is given, and what it would not look at.

use crate::cluster::pmxcfs::retry_if_passing;
use crate::contract::seed::{Cluster, Peer};
use crate::step::Context;
use crate::system::root::Root;
use anyhow::{Result, bail};
use std::net::IpAddr;
use std::time::Duration;

/// pmxcfs's list of the guests that it knows.
const VMLIST: &str = "/etc/pve/.vmlist";

/// The links that pvecm is given: the seed's. `own` is this node's address on the first of them, and on
/// link 0 where the seed gives none.
pub(crate) fn links(cluster: &Cluster, own: Option<IpAddr>) -> Vec<(u8, IpAddr)> {
    let mut links = cluster.all_links();
    match (links.first_mut(), own) {
        (Some(first), Some(own)) => first.1 = own,
        (None, Some(own)) => links.push((0, own)),
        (_, None) => {}
    }
    links
}

/// The words after `pvecm` that add this node through a peer that has this certificate.
pub(crate) fn arguments(
    peer: &Peer,
    fingerprint: &str,
    links: &[(u8, IpAddr)],
    force: bool,
) -> Vec<String> {
    let mut args = vec![
        "add".to_owned(),
        peer.address.to_string(),
        "--fingerprint".to_owned(),
        fingerprint.to_owned(),
    ];
    for (number, address) in links {
        args.extend([format!("--link{number}"), address.to_string()]);
    }
    if force {
        args.push("--force".to_owned());
    }
    args
}

/// How long the making of a certificate may take; it waits up to 80 s for quorum.
const CERTIFICATE: Duration = Duration::from_secs(150);
/// How long reading a key may take.
const KEY: Duration = Duration::from_secs(30);

/// Makes the node's certificate anew; `Err` holds pvecm's words where it could not.
///
/// `openssl genrsa -out` makes the key's file first: a cut then leaves it empty, for ever, and pvecm
/// fails over it for ever (seen: transcript 29). So a key that openssl refuses goes first.
pub(crate) fn renew_certificate(context: &Context) -> Result<Result<(), String>> {
    let root = context.root;
    let key = format!("/etc/pve/nodes/{}/pve-ssl.key", context.name);
    if root.exists(&key).map_err(retry_if_passing)? {
        let read = root.run_within("openssl", &["pkey", "-noout", "-in", &key], KEY)?;
        if read.is_some_and(|ended| !ended.status.success()) {
            (context.log)(&format!("{key} is no key, and is removed"));
            root.remove_file(&key).map_err(retry_if_passing)?;
        }
    }
    (context.log)("the certificate is missing or unusable: pvecm updatecerts --force");
    // Without --force a certificate that is there and does not verify would be kept.
    let made = root.run_within("pvecm", &["updatecerts", "--force"], CERTIFICATE)?;
    let Some(made) = made else {
        return Ok(Err(format!(
            "it did not end within {} s",
            CERTIFICATE.as_secs()
        )));
    };
    let said = format!("{}{}", made.output, made.errors);
    for line in said.lines() {
        (context.log)(line);
    }
    if !made.status.success() {
        let lines = said.lines().map(str::trim).filter(|line| !line.is_empty());
        return Ok(Err(lines.collect::<Vec<_>>().join("; ")));
    }
    root.query("systemctl", &["reload-or-restart", "pvedaemon", "pveproxy"])?;
    Ok(Ok(()))
}

/// Fails where this node has guests: `--force` turns pvecm's own look for them into a warning, and
/// the join replaces the node's database, their configurations included.
pub(crate) fn no_guests(root: &Root) -> Result<()> {
    let list = root.read_text(VMLIST).map_err(retry_if_passing)?;
    let guests = guests(&list.unwrap_or_default());
    if guests.is_empty() {
        return Ok(());
    }
    bail!(
        "an earlier join was cut and is to be repaired, but this node has guests by now ({}): their \
         configurations would be lost. Save and remove them, then: firstboot retry",
        guests.join(", ")
    )
}

/// The numbers in pmxcfs's list of guests (`.vmlist`), all of which are this node's while it is in no
/// cluster.
pub(crate) fn guests(vmlist: &str) -> Vec<String> {
    let list: serde_json::Value = serde_json::from_str(vmlist).unwrap_or_default();
    let ids = list["ids"].as_object();
    ids.map(|ids| ids.keys().cloned().collect())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::step::tests::{joining, seed};

    #[test]
    fn the_password_is_no_argument_and_force_is_the_last() {
        let peer = Peer {
            address: "10.120.0.1".parse().unwrap(),
            fingerprints: Vec::new(),
        };
        let words = |links: &[(u8, &str)], force| {
            let links = links.iter().map(|(n, link)| (*n, link.parse().unwrap()));
            arguments(&peer, "BB", &links.collect::<Vec<_>>(), force).join(" ")
        };
        assert_eq!(
            words(&[(0, "10.120.0.42"), (1, "10.121.0.42")], false),
            "add 10.120.0.1 --fingerprint BB --link0 10.120.0.42 --link1 10.121.0.42"
        );
        assert_eq!(words(&[], true), "add 10.120.0.1 --fingerprint BB --force");
    }

    #[test]
    fn the_first_link_is_where_the_cluster_knows_this_node() {
        let of = |links: &str, own: Option<&str>| {
            let seed = seed(&joining(links));
            let links = super::links(seed.cluster().unwrap(), own.map(|own| own.parse().unwrap()));
            let words = links.iter().map(|(n, link)| format!("{n} {link}"));
            words.collect::<Vec<_>>().join(", ")
        };
        let (first, second) = ("    link0: 10.0.0.1\n", "    links: {1: 10.1.0.1}\n");
        let both = &format!("{first}{second}");
        assert_eq!(of(both, Some("10.0.0.1")), "0 10.0.0.1, 1 10.1.0.1");
        // A member that keeps its address.
        assert_eq!(of(both, Some("10.0.0.7")), "0 10.0.0.7, 1 10.1.0.1");
        assert_eq!(of(second, Some("10.1.0.1")), "1 10.1.0.1");
        assert_eq!(of("", Some("10.0.0.1")), "0 10.0.0.1");
        // With DHCP pvecm takes what the name stands for.
        assert_eq!(of("", None), "");
    }

    #[test]
    fn guests_are_seen_in_the_list_of_pmxcfs() {
        let text = "{\n\"version\": 3,\n\"ids\": {\n\"100\": { \"node\": \"vm42\", \"type\": \"lxc\", \
                    \"version\": 2 },\"101\": { \"node\": \"vm42\", \"type\": \"qemu\", \"version\": 3 }}\n\n}\n";
        assert_eq!(guests(text), ["100", "101"]);
        assert!(guests("{\n\"version\": 1\n}\n").is_empty());
        assert!(guests("").is_empty());
    }
}
