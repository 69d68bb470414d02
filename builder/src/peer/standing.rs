//! How a cluster stands, as a member tells it: which nodes are online, and with how many votes.
//!
//! Read in pve-manager (`PVE/API2/Cluster.pm`) and pve-cluster (`PVE/API2/ClusterConfig.pm`):
//! `GET /cluster/status` has an entry of the type `cluster` with `quorate`, which a node outside of
//! a cluster has not, and one of the type `node` for each with `online`. The votes are in
//! `GET /cluster/config/nodes`, as `quorum_votes`. `GET /cluster/config/qdevice` is empty where the
//! member runs no QDevice. The first has its numbers as numbers, the second as texts (seen).

use super::api::{self, is_true, number};
use super::failure::Failure;
use super::http::Request;
use super::tls::Connection;
use crate::system::text;
use firstboot::contract::seed::Secret;
use serde_json::Value;

/// A cluster at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Whether the member that was asked has quorum.
    pub quorate: bool,
    /// Whether it has a QDevice, whose votes nothing here counts.
    pub qdevice: bool,
    /// All nodes of the cluster's configuration.
    pub nodes: Vec<Node>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    /// Its short host name.
    pub name: String,
    /// How much it counts.
    pub votes: u64,
    /// Whether the member that was asked sees it.
    pub online: bool,
}

/// Asks a member, over a connection for each question. A ticket that is not taken is
/// [`Failure::Denied`].
pub(crate) fn standing(
    connect: &dyn Fn() -> Result<Connection, Failure>,
    host: &str,
    ticket: &Secret,
) -> Result<Standing, Failure> {
    let get = |path: &str| {
        let request = Request::GetAs(ticket);
        api::call(&mut connect()?, host, path, &request, "cluster")
    };
    let status = get("/cluster/status")?;
    let nodes = get("/cluster/config/nodes")?;
    let qdevice = get("/cluster/config/qdevice")?;
    of_answers(&status, &nodes, &qdevice).map_err(|words| Failure::Other(words.to_owned()))
}

fn of_answers(status: &Value, nodes: &Value, qdevice: &Value) -> Result<Standing, &'static str> {
    const STRANGE: &str = "what it tells of its cluster is not what Proxmox VE tells";
    let status = status.as_array().ok_or(STRANGE)?;
    let mut clusters = status.iter().filter(|entry| entry["type"] == "cluster");
    let cluster = clusters.next().ok_or("it is in no cluster")?;
    let is_online = |name: &str| {
        let mut nodes = status.iter().filter(|entry| entry["type"] == "node");
        nodes.any(|entry| entry["name"] == *name && is_true(&entry["online"]))
    };
    let node = |entry: &Value| -> Result<Node, &'static str> {
        let name = entry["node"].as_str().ok_or(STRANGE)?;
        Ok(Node {
            name: text::plain(name),
            votes: number(&entry["quorum_votes"]).ok_or(STRANGE)?,
            online: is_online(name),
        })
    };
    let nodes = nodes.as_array().ok_or(STRANGE)?;
    Ok(Standing {
        quorate: is_true(&cluster["quorate"]),
        qdevice: qdevice.as_object().is_some_and(|keys| !keys.is_empty()),
        nodes: nodes.iter().map(node).collect::<Result<_, _>>()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_a_member_tells() {
        let status = json!([
            {"type": "cluster", "id": "cluster", "name": "labcluster", "nodes": 2, "version": 2,
             "quorate": 1},
            {"type": "node", "id": "node/alpha", "name": "alpha", "nodeid": 1, "online": 1,
             "local": 1, "ip": "10.99.0.11", "level": ""},
            {"type": "node", "id": "node/beta", "name": "beta", "nodeid": 2, "online": 0,
             "local": 0, "ip": "10.99.0.12", "level": ""},
        ]);
        // Transcript 23, word for word.
        let nodes = json!([
            {"name": "beta", "quorum_votes": "1", "node": "beta", "nodeid": "2",
             "ring0_addr": "10.99.0.12"},
            {"ring0_addr": "10.99.0.11", "nodeid": "1", "name": "alpha", "node": "alpha",
             "quorum_votes": "1"},
        ]);
        let found = of_answers(&status, &nodes, &json!({})).unwrap();
        let node = |name: &str, online| Node {
            name: name.to_owned(),
            votes: 1,
            online,
        };
        assert_eq!(
            found,
            Standing {
                quorate: true,
                qdevice: false,
                nodes: vec![node("beta", false), node("alpha", true)],
            }
        );
        let qdevice = json!({"Model": "Net", "State": "Connected"});
        assert!(of_answers(&status, &nodes, &qdevice).unwrap().qdevice);
        let (alone, none, half) = (json!([status[1]]), json!(null), json!([{"node": "beta"}]));
        let strange = "what it tells of its cluster is not what Proxmox VE tells";
        for (status, nodes, words) in [
            (&alone, &nodes, "it is in no cluster"),
            (&none, &nodes, strange),
            (&status, &half, strange),
        ] {
            assert_eq!(of_answers(status, nodes, &json!({})), Err(words));
        }
    }
}
