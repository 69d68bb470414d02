//! Looking at this node: everything that the state follows from.

use super::machine::Observed;
use crate::cluster::corosync::{self, AUTHKEY};
use crate::cluster::corosync_conf::store;
use crate::cluster::members::Members;
use crate::contract::clock;
use crate::system::root::Root;
use anyhow::{Context, Result, bail};
use std::ffi::OsStr;
use std::path::Path;

const CA: &str = "/etc/pve/pve-root-ca.pem";
const CERTIFICATE: &str = "/etc/pve/local/pve-ssl.pem";
const KEY: &str = "/etc/pve/local/pve-ssl.key";

/// Looks at the node `name`.
pub(crate) fn observe(root: &Root, name: &str) -> Result<Observed> {
    let members = Members::of(root);
    let complete = members.as_ref().is_some_and(|m| m.online_in(name).is_ok());
    Ok(Observed {
        authkey: root.exists(AUTHKEY)?,
        torn_key: corosync::key_is_torn(root)?,
        // Only a member's list of nodes proves that it is in use.
        cluster_conf: members.as_ref().is_some_and(|m| m.cluster.is_some())
            || store::is_usable(root),
        database: root.exists("/etc/pve/nodes")?,
        corosync: corosync::state(root)?,
        certificate: match complete {
            true => certificate(root).err().map(|error| format!("{error:#}")),
            false => None,
        },
        members,
    })
}

/// Whether the certificate is there, of this cluster, and that of the key beside it: pveproxy stays
/// active over a key that it cannot use (transcript 29).
fn certificate(root: &Root) -> Result<()> {
    let (ca, certificate, key) = (root.path(CA)?, root.path(CERTIFICATE)?, root.path(KEY)?);
    let openssl = |words: &[&str], files: &[&Path]| {
        let words = words.iter().map(OsStr::new);
        let words = words.chain(files.iter().map(|file| file.as_os_str()));
        root.run("openssl", &words.collect::<Vec<_>>(), b"")
    };
    openssl(&["verify", "-CAfile"], &[&ca, &certificate]).map_err(|error| {
        let words = format!("{error:#}");
        let from = is_from_the_future(&words).then(|| {
            let file = if is_the_authority_s(&words) {
                &ca
            } else {
                &certificate
            };
            openssl(&["x509", "-noout", "-startdate", "-in"], &[file]).unwrap_or_default()
        });
        error.context(why_not(from.as_deref(), clock::unix_time()))
    })?;
    let of_certificate = openssl(&["x509", "-noout", "-pubkey", "-in"], &[&certificate])?;
    let of_key =
        openssl(&["pkey", "-pubout", "-in"], &[&key]).context("the node's key cannot be used")?;
    if of_certificate != of_key {
        bail!("the node's certificate is not that of its key {KEY}");
    }
    Ok(())
}

/// What `openssl verify` says of a certificate from the future.
const NOT_YET: &str = "certificate is not yet valid";

/// Why a certificate does not verify, seen at `now`; with openssl's word since when it is valid, where that is
/// what is wrong (`notBefore=Nov 26 11:00:00 2026 GMT`). Proxmox dates each a day back.
fn why_not(from: Option<&str>, now: u64) -> String {
    let Some(from) = from else {
        return "the node's certificate is not one of the cluster's".to_owned();
    };
    let from = match from.trim().strip_prefix("notBefore=") {
        Some(from) => format!("it is valid from {from}, and "),
        None => String::new(),
    };
    format!(
        "the node's certificate, or its authority's, is not valid yet: {from}this machine's clock says \
         {}, so this clock is probably behind. Set the PC's clock, or name time servers (`ntp` in \
         lab.yaml)",
        clock::utc(now)
    )
}

/// Whether openssl speaks of a certificate that signed another one (`error 9 at 1 depth lookup: …`).
fn is_the_authority_s(words: &str) -> bool {
    let line = words.lines().find(|line| line.contains(NOT_YET));
    line.is_some_and(|line| !line.contains(" at 0 depth"))
}

fn is_from_the_future(words: &str) -> bool {
    words.contains(NOT_YET)
}

/// Whether a certificate does not verify, in these words, because of this machine's clock. A new
/// one would only have a wrong date, too. Not so once a time server has set the clock.
pub(crate) fn clock_is_behind(root: &Root, words: &str) -> Result<bool> {
    if !is_from_the_future(words) {
        return Ok(false);
    }
    let set = root.query("timedatectl", &["show", "-p", "NTPSynchronized", "--value"])?;
    Ok(set.trim() != "yes")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::members;
    use crate::steps::join::machine::State;
    use crate::system::root::tests::tree;

    #[test]
    fn a_certificate_of_another_authority_is_none() {
        let (_folder, root) = tree();
        let text = "{\"nodename\": \"beta\", \"cluster\": {\"name\": \"c\", \"quorate\": 1}, \
                    \"nodelist\": {\"beta\": {\"online\": 1}}}";
        root.write(members::FILE, text.as_bytes(), 0o644).unwrap();
        let observed = observe(&root, "beta").unwrap();
        let why = observed.certificate.unwrap();
        assert!(why.contains("openssl verify -CAfile"), "{why}");
        assert!(!observed.authkey && !observed.torn_key);
        for (key, torn) in [
            (vec![], true),
            (vec![0; 256], true),
            (vec![7; 127], true),
            (vec![7; 128], false),
            (vec![7; 256], false),
        ] {
            root.write(AUTHKEY, &key, 0o400).unwrap();
            let observed = observe(&root, "beta").unwrap();
            assert!(observed.authkey);
            assert_eq!(observed.torn_key, torn, "{} bytes", key.len());
        }
    }

    /// The words are those of OpenSSL 3.0's `openssl verify -attime 0` and `openssl x509 -startdate`.
    #[test]
    fn a_certificate_from_the_future_is_the_clock_s_fault() {
        let now = 1_704_067_200;
        assert_eq!(
            why_not(Some("notBefore=Nov 26 11:00:00 2026 GMT\n"), now),
            "the node's certificate, or its authority's, is not valid yet: it is valid from Nov 26 \
             11:00:00 2026 GMT, and this machine's clock says 2024-01-01 00:00 UTC, so this clock is \
             probably behind. Set the PC's clock, or name time servers (`ntp` in lab.yaml)"
        );
        assert!(why_not(Some(""), now).contains("not valid yet: this machine's clock says 2024"));
        let other = "the node's certificate is not one of the cluster's";
        assert_eq!(why_not(None, now), other);
        let said = |depth| {
            format!(
                "a program failed: openssl verify\nCN=a\nerror 9 at {depth} depth lookup: {NOT_YET}\n"
            )
        };
        assert!(is_from_the_future(&said(0)) && !is_the_authority_s(&said(0)));
        assert!(is_from_the_future(&said(1)) && is_the_authority_s(&said(1)));
        assert!(!is_from_the_future(
            "error 10 at 0 depth lookup: certificate has expired"
        ));
    }

    /// What a power cut some seconds after a join leaves of what pvecm and pmxcfs wrote.
    #[test]
    fn an_empty_configuration_beside_a_key_is_half_a_join() {
        let (_folder, root) = tree();
        let members = b"{\"nodename\": \"vm42\", \"version\": 1}";
        root.write(members::FILE, members, 0o644).unwrap();
        root.write(AUTHKEY, &[7; 256], 0o400).unwrap();
        let whole = b"totem {\n  cluster_name: lab\n  config_version: 2\n}\n";
        for (text, state) in [
            (&b""[..], State::HalfJoined),
            (&whole[..20], State::HalfJoined),
            (b"\xff\0", State::HalfJoined),
            (
                whole,
                State::LeftBehind {
                    has_database: false,
                },
            ),
        ] {
            root.write("/etc/pve/corosync.conf", text, 0o644).unwrap();
            let observed = observe(&root, "vm42").unwrap();
            assert_eq!(State::of(&observed, "vm42"), state, "{text:?}");
        }
    }

    #[test]
    fn half_a_list_is_none() {
        let (_folder, root) = tree();
        root.write(members::FILE, b"{\"nodename\": \"be", 0o644)
            .unwrap();
        assert_eq!(observe(&root, "beta").unwrap().members, None);
    }
}
