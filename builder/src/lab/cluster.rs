//! The cluster that a VM joins: `cluster` of lab.yaml.

use super::{ClusterJoin, settings, values};
use crate::yaml::{Fields, Keys, Kind, Node, Place, Placed, Reader, forms};
use firstboot::seed::{Peer, Retry};
use std::path::PathBuf;

const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;

const KEYS: Keys = &[
    (
        "peers",
        "peers: a list of {address, fingerprint}, the members that may be asked",
    ),
    (
        "password_file",
        "password_file: a file with mode 0600, such as secrets/cluster-password",
    ),
    (
        "votes",
        "votes: a number from 0 to 1000; 0 keeps a VM that is often off out of the quorum",
    ),
    (
        "name",
        "name: a word that tells one cluster of this lab from another, such as school",
    ),
    (
        "stable_nodes",
        "stable_nodes: how many members outside of this lab the cluster has, from 0 to 1000",
    ),
    (
        "retry",
        "retry: {first: 10s, most: 5m, attempt: 5m, give_up: never}, or some of them",
    ),
];
const PEER_KEYS: Keys = &[
    (
        "address",
        "address: an IP address or a name that the VM can resolve",
    ),
    (
        "fingerprint",
        "fingerprint: what the peer prints for: openssl x509 -noout -fingerprint -sha256 \
         -in /etc/pve/local/pve-ssl.pem (32 pairs of hex digits with colons)",
    ),
];
const RETRY_KEYS: Keys = &[
    (
        "first",
        "first: the pause after the first attempt, from 1s to 1h, such as 10s",
    ),
    (
        "most",
        "most: the longest pause, from 1s to 1d and not less than `first`, such as 5m",
    ),
    (
        "attempt",
        "attempt: the longest that one attempt may take, from 20s to 1h, such as 5m",
    ),
    (
        "give_up",
        "give_up: when to stop trying, from 1s to 7d, such as 2h; or never",
    ),
];

/// A cluster part, perhaps incomplete until a VM's own is laid over the default.
#[derive(Debug, Clone)]
pub(super) struct ClusterWish {
    pub place: Place,
    pub peers: Vec<Placed<Peer>>,
    /// Whether `peers` was written, be it wrong: it is then not missing.
    pub has_peers: bool,
    pub password_file: Option<Placed<String>>,
    pub has_password_file: bool,
    votes: Option<u32>,
    name: Option<String>,
    stable_nodes: Option<u32>,
    retry: RetryWish,
}

/// What was said of [`Retry`], in seconds.
#[derive(Debug, Clone, Default)]
struct RetryWish {
    first: Option<u64>,
    most: Option<Placed<u64>>,
    attempt: Option<u64>,
    /// `Some(None)` is `never`.
    give_up: Option<Option<u64>>,
}

impl ClusterWish {
    /// This wish, and the default where it says nothing.
    pub fn over(self, default: Self) -> Self {
        ClusterWish {
            place: self.place,
            peers: match self.has_peers {
                true => self.peers,
                false => default.peers,
            },
            has_peers: self.has_peers || default.has_peers,
            password_file: match self.has_password_file {
                true => self.password_file,
                false => default.password_file,
            },
            has_password_file: self.has_password_file || default.has_password_file,
            votes: self.votes.or(default.votes),
            name: self.name.or(default.name),
            stable_nodes: self.stable_nodes.or(default.stable_nodes),
            retry: RetryWish {
                first: self.retry.first.or(default.retry.first),
                most: self.retry.most.or(default.retry.most),
                attempt: self.retry.attempt.or(default.retry.attempt),
                give_up: self.retry.give_up.or(default.retry.give_up),
            },
        }
    }

    /// The cluster to join, once the password's file is known.
    pub fn join(&self, r: &mut Reader, password_file: PathBuf) -> ClusterJoin {
        ClusterJoin {
            peers: self.peers.iter().map(|p| p.value.clone()).collect(),
            password_file,
            name: self.name.clone(),
            votes: self.votes,
            stable_nodes: self.stable_nodes,
            retry: self.retry.resolve(r),
        }
    }

    /// Says what a cluster part lacks.
    pub fn require(&self, r: &mut Reader) {
        for (has, (key, right)) in [self.has_peers, self.has_password_file].iter().zip(KEYS) {
            if !has {
                r.problem(self.place, format!("the key `{key}` is missing"), *right);
            }
        }
    }
}

impl RetryWish {
    fn resolve(&self, r: &mut Reader) -> Retry {
        let standard = Retry::default();
        let first = self.first.unwrap_or(standard.first);
        if let Some(most) = self.most.as_ref().filter(|most| most.value < first) {
            let (most_text, first) = (
                forms::duration_text(most.value),
                forms::duration_text(first),
            );
            let message =
                format!("the longest pause {most_text} is shorter than the first, {first}");
            r.problem(most.place, message, RETRY_KEYS[1].1);
        }
        Retry {
            first,
            most: match &self.most {
                Some(most) => most.value,
                None => standard.most.max(first),
            },
            attempt: self.attempt.unwrap_or(standard.attempt),
            // Known when all VMs are; see the seed's documents.
            spread: standard.spread,
            give_up: self.give_up.unwrap_or(standard.give_up),
        }
    }
}

/// Reads `cluster`.
pub(super) fn read(r: &mut Reader, node: &Node) -> ClusterWish {
    let f = r.fields(node, "`cluster`", settings::CLUSTER.1, KEYS);
    let number = |text: &str| forms::number(text, 0, 1000);
    ClusterWish {
        place: f.place,
        peers: read_peers(r, &f),
        has_peers: f.accounted("peers"),
        password_file: r.field(&f, "password_file", values::path),
        has_password_file: f.accounted("password_file"),
        votes: r.field_scalar(&f, "votes", number).map(|v| v.value),
        name: r.field(&f, "name", values::cluster_name).map(|n| n.value),
        stable_nodes: r.field_scalar(&f, "stable_nodes", number).map(|n| n.value),
        retry: read_retry(r, &f),
    }
}

fn read_peers(r: &mut Reader, f: &Fields<'_>) -> Vec<Placed<Peer>> {
    let mut peers: Vec<Placed<Peer>> = Vec::new();
    let Some(list) = f.get("peers") else {
        return peers;
    };
    let nodes = r.list(list, f.right("peers"));
    if nodes.is_empty() && matches!(list.kind, Kind::List(_)) {
        r.problem(list.place, "a cluster without a peer", f.right("peers"));
    }
    for node in nodes {
        let Some(peer) = read_peer(r, node) else {
            continue;
        };
        if let Some(first) = peers.iter().find(|p| p.value.address == peer.value.address) {
            let message = format!(
                "the peer {} is listed twice; first in line {}",
                peer.value.address, first.place.line
            );
            r.problem(peer.place, message, "each peer once");
            continue;
        }
        peers.push(peer);
    }
    peers
}

fn read_peer(r: &mut Reader, node: &Node) -> Option<Placed<Peer>> {
    let f = r.fields(node, "a peer", KEYS[0].1, PEER_KEYS);
    r.require(&f, "address");
    r.require(&f, "fingerprint");
    let address = r.field(&f, "address", values::peer_address);
    let fingerprint = r.field(&f, "fingerprint", values::fingerprint);
    let address = address?;
    Some(Placed {
        place: address.place,
        value: Peer {
            address: address.value,
            fingerprints: vec![fingerprint?.value],
        },
    })
}

/// The limits are those of the guest's parser.
fn read_retry(r: &mut Reader, f: &Fields<'_>) -> RetryWish {
    let Some(node) = f.get("retry") else {
        return RetryWish::default();
    };
    let f = r.fields(node, "`retry`", f.right("retry"), RETRY_KEYS);
    let give_up = |text: &str| match text {
        "never" => Ok(None),
        text => forms::duration(text, 1, 7 * DAY).map(Some),
    };
    RetryWish {
        first: r
            .field_scalar(&f, "first", |t| forms::duration(t, 1, HOUR))
            .map(|first| first.value),
        most: r.field_scalar(&f, "most", |t| forms::duration(t, 1, DAY)),
        attempt: r
            .field_scalar(&f, "attempt", |t| forms::duration(t, 20, HOUR))
            .map(|attempt| attempt.value),
        give_up: r.field_scalar(&f, "give_up", give_up).map(|g| g.value),
    }
}
