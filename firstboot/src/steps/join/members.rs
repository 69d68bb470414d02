//! Whether this node is a member of its cluster.
//!
//! Three points must hold: `.members` names a quorate cluster, this node is online in it,
//! and its certificate verifies against the cluster's own CA. None of them alone proves it.

use crate::root::Root;
use anyhow::{Context, Result};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::ffi::OsStr;

/// pmxcfs's own list, JSON.
pub const FILE: &str = "/etc/pve/.members";
const CA: &str = "/etc/pve/pve-root-ca.pem";
const CERTIFICATE: &str = "/etc/pve/local/pve-ssl.pem";

#[derive(Deserialize)]
struct Members {
    nodename: String,
    /// Absent on a node in no cluster.
    cluster: Option<Cluster>,
    #[serde(default)]
    nodelist: BTreeMap<String, Node>,
}

#[derive(Deserialize)]
struct Cluster {
    name: String,
    quorate: u8,
}

#[derive(Deserialize)]
struct Node {
    online: u8,
}

/// The cluster's name, or what is missing (in words) for this node to be a member.
pub fn membership(root: &Root, name: &str) -> Result<Result<String, String>> {
    let Some(text) = root.read_text(FILE)? else {
        return Ok(Err(format!("{FILE} cannot be read")));
    };
    let cluster = match listed(&text, name).with_context(|| format!("cannot read {FILE}"))? {
        Ok(cluster) => cluster,
        Err(missing) => return Ok(Err(missing)),
    };
    Ok(match certificate(root) {
        Ok(()) => Ok(cluster),
        Err(error) => Err(format!("{error:#}")),
    })
}

/// The first two points: the cluster's name, or what is missing.
pub fn listed(text: &str, name: &str) -> serde_json::Result<Result<String, String>> {
    let members: Members = serde_json::from_str(text)?;
    let Some(cluster) = members.cluster else {
        return Ok(Err("this node is in no cluster".to_owned()));
    };
    if members.nodename != name {
        let other = members.nodename;
        return Ok(Err(format!(
            "pmxcfs runs under the name {other}, not {name}"
        )));
    }
    if cluster.quorate != 1 {
        return Ok(Err(format!("the cluster {} has no quorum", cluster.name)));
    }
    match members.nodelist.get(name) {
        Some(node) if node.online == 1 => Ok(Ok(cluster.name)),
        Some(_) => Ok(Err(format!("{name} is not online in {}", cluster.name))),
        None => Ok(Err(format!("{name} is not listed in {}", cluster.name))),
    }
}

/// The third point.
fn certificate(root: &Root) -> Result<()> {
    let (ca, certificate) = (root.path(CA)?, root.path(CERTIFICATE)?);
    let args = [
        OsStr::new("verify"),
        OsStr::new("-CAfile"),
        ca.as_os_str(),
        certificate.as_os_str(),
    ];
    root.run("openssl", &args, b"").map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(quorate: u8, online: u8) -> String {
        format!(
            "{{\n\"nodename\": \"beta\",\n\"version\": 4,\n\"cluster\": {{ \"name\": \
             \"labcluster\", \"version\": 2, \"nodes\": 2, \"quorate\": {quorate} }},\n\
             \"nodelist\": {{\n  \"alpha\": {{ \"id\": 1, \"online\": 1, \"ip\": \
             \"10.99.0.11\"}},\n  \"beta\": {{ \"id\": 2, \"online\": {online}}}\n  }}\n}}\n"
        )
    }

    #[test]
    fn all_points_are_asked() {
        assert_eq!(
            listed(&text(1, 1), "beta").unwrap(),
            Ok("labcluster".into())
        );
        let missing = |text: &str, name| listed(text, name).unwrap().unwrap_err();
        assert_eq!(
            missing(&text(0, 1), "beta"),
            "the cluster labcluster has no quorum"
        );
        assert_eq!(
            missing(&text(1, 0), "beta"),
            "beta is not online in labcluster"
        );
        assert_eq!(
            missing(&text(1, 1), "vm42"),
            "pmxcfs runs under the name beta, not vm42"
        );
    }

    #[test]
    fn a_node_in_no_cluster() {
        let alone = "{\n\"nodename\": \"gamma\",\n\"version\": 1\n}\n";
        assert_eq!(
            listed(alone, "gamma").unwrap(),
            Err("this node is in no cluster".to_owned())
        );
    }

    #[test]
    fn a_certificate_of_another_ca_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::new(folder.path());
        root.write(FILE, text(1, 1).as_bytes(), 0o644).unwrap();
        let missing = membership(&root, "beta").unwrap().unwrap_err();
        assert!(
            missing.contains("openssl verify -CAfile"),
            "not the certificate's fault: {missing}"
        );
    }
}
