//! Looking at this node: everything that [`State`](super::machine::State) follows from.

use super::machine::{Corosync, Observed};
use super::members::{self, Members};
use crate::root::Root;
use crate::steps::votes::store;
use anyhow::{Context, Result, bail};
use std::ffi::OsStr;

/// Corosync's key: a machine that has it is, or is about to be, in a cluster.
pub const AUTHKEY: &str = "/etc/corosync/authkey";
const CA: &str = "/etc/pve/pve-root-ca.pem";
const CERTIFICATE: &str = "/etc/pve/local/pve-ssl.pem";
const KEY: &str = "/etc/pve/local/pve-ssl.key";

/// Looks at the node `name`.
pub fn observe(root: &Root, name: &str) -> Result<Observed> {
    // While pmxcfs goes down or comes up the file may be away, or cut.
    let text = root.read_text(members::FILE).ok().flatten();
    let members = text.and_then(|text| Members::parse(&text).ok());
    let complete = members.as_ref().is_some_and(|m| m.online_in(name).is_ok());
    Ok(Observed {
        authkey: root.exists(AUTHKEY)?,
        cluster_conf: root.exists(store::FILE).unwrap_or(false),
        corosync: corosync(root)?,
        certificate: match complete {
            true => certificate(root).err().map(|error| format!("{error:#}")),
            false => None,
        },
        members,
    })
}

/// Whether corosync has ended by itself on a node that has the cluster's key. Nothing starts it
/// again, and without it there is no quorum.
pub fn corosync_has_stopped(root: &Root) -> Result<bool> {
    Ok(root.exists(AUTHKEY)? && corosync(root)? == Corosync::Failed)
}

/// `systemctl is-active` prints the state, and fails for every one but `active`.
pub fn corosync(root: &Root) -> Result<Corosync> {
    let words = root.query("systemctl", &["is-active", "corosync"])?;
    Ok(match words.trim() {
        "active" | "activating" | "reloading" => Corosync::Active,
        "failed" => Corosync::Failed,
        _ => Corosync::Inactive,
    })
}

/// Whether the certificate is there, of this cluster, and that of the key beside it: pveproxy stays
/// active over a key that it cannot use (transcript 29).
fn certificate(root: &Root) -> Result<()> {
    let (ca, certificate, key) = (root.path(CA)?, root.path(CERTIFICATE)?, root.path(KEY)?);
    let openssl = |words: &[&OsStr]| root.run("openssl", words, b"");
    let (verify, ca_file) = (OsStr::new("verify"), OsStr::new("-CAfile"));
    openssl(&[verify, ca_file, ca.as_os_str(), certificate.as_os_str()])
        .context("the node's certificate is not one of the cluster's")?;
    let words = |words: [&'static str; 4]| words.map(OsStr::new);
    let [x509, noout, pubkey, input] = words(["x509", "-noout", "-pubkey", "-in"]);
    let of_certificate = openssl(&[x509, noout, pubkey, input, certificate.as_os_str()])?;
    let [pkey, pubout, input, _] = words(["pkey", "-pubout", "-in", ""]);
    let of_key = openssl(&[pkey, pubout, input, key.as_os_str()])
        .context("the node's key cannot be used")?;
    if of_certificate != of_key {
        bail!("the node's certificate is not that of its key {KEY}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_of_another_authority_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::new(folder.path());
        let text = "{\"nodename\": \"beta\", \"cluster\": {\"name\": \"c\", \"quorate\": 1}, \
                    \"nodelist\": {\"beta\": {\"online\": 1}}}";
        root.write(members::FILE, text.as_bytes(), 0o644).unwrap();
        let observed = observe(&root, "beta").unwrap();
        let why = observed.certificate.unwrap();
        assert!(why.contains("openssl verify -CAfile"), "{why}");
        assert!(!observed.authkey && !observed.cluster_conf);
    }

    #[test]
    fn half_a_list_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::new(folder.path());
        root.write(members::FILE, b"{\"nodename\": \"be", 0o644)
            .unwrap();
        assert_eq!(observe(&root, "beta").unwrap().members, None);
    }
}
