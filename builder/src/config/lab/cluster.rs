//! The cluster that a VM joins: `cluster` of lab.yaml.

use super::folder::Folder;
use super::links::{self, Addresses, LINKS, LinkOverrides};
use super::model::{ClusterJoin, JoinWith};
use super::peers::{self, PEERS};
use super::values;
use crate::config::yaml::{Fields, Keys, Node, Place, Reader, Spanned, validators};
use firstboot::contract::seed::{Peer, Retry};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;

pub(super) const CLUSTER: (&str, &str) = (
    "cluster",
    "cluster: {peers: [{address, fingerprint}], join: ticket}, or none for a VM without",
);
const JOIN: (&str, &str) = (
    "join",
    "join: ticket, worth two hours, which `imgbuild seed` gets with the cluster's root password \
     and keeps nothing of it; or `password_file`",
);
const KEYS: Keys = &[
    PEERS,
    JOIN,
    (
        "password_file",
        "password_file: a file with mode 0600, such as secrets/cluster-password",
    ),
    LINKS,
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
        "trust",
        "trust: shared, where others than this lab rely on the cluster and that is meant, or where its \
         members outside of this lab serve it alone",
    ),
    (
        "retry",
        "retry: {first: 10s, most: 5m, attempt: 5m, give_up: never}, or some of them",
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
pub(super) struct ClusterOverride {
    pub place: Place,
    pub peers: Vec<Spanned<Peer>>,
    /// Whether `peers` was written, be it wrong: it is then not missing.
    pub has_peers: bool,
    pub with: Option<WithOverride>,
    /// Whether `join` or `password_file` was written, be it wrong.
    has_with: bool,
    links: Option<(Place, LinkOverrides)>,
    shared: bool,
    votes: Option<u32>,
    name: Option<String>,
    stable_nodes: Option<u32>,
    retry: RetryOverride,
}

/// What lets a VM in, as it was written.
#[derive(Debug, Clone)]
pub(super) enum WithOverride {
    Ticket,
    PasswordFile(Spanned<String>),
}

/// What was said of [`Retry`], in seconds.
#[derive(Debug, Clone, Default)]
struct RetryOverride {
    first: Option<u64>,
    most: Option<Spanned<u64>>,
    attempt: Option<u64>,
    /// `Some(None)` is `never`.
    give_up: Option<Option<u64>>,
}

impl ClusterOverride {
    /// This override, and the default where it says nothing.
    pub(super) fn over(self, default: Self) -> Self {
        ClusterOverride {
            place: self.place,
            peers: match self.has_peers {
                true => self.peers,
                false => default.peers,
            },
            has_peers: self.has_peers || default.has_peers,
            with: match self.has_with {
                true => self.with,
                false => default.with,
            },
            has_with: self.has_with || default.has_with,
            links: self.links.or(default.links),
            shared: self.shared || default.shared,
            votes: self.votes.or(default.votes),
            name: self.name.or(default.name),
            stable_nodes: self.stable_nodes.or(default.stable_nodes),
            retry: RetryOverride {
                first: self.retry.first.or(default.retry.first),
                most: self.retry.most.or(default.retry.most),
                attempt: self.retry.attempt.or(default.retry.attempt),
                give_up: self.retry.give_up.or(default.retry.give_up),
            },
        }
    }

    /// The VM's addresses on the links.
    pub(super) fn links(&self, r: &mut Reader, own: &Addresses) -> BTreeMap<u8, Ipv4Addr> {
        links::resolve(r, self.links.as_ref(), own)
    }

    /// Where the links are written, by their numbers.
    pub(super) fn link_places(&self) -> BTreeMap<u8, Place> {
        let overrides = self.links.iter().flat_map(|(_, overrides)| overrides);
        overrides
            .map(|(number, given)| (*number, given.place))
            .collect()
    }

    /// The cluster to join, once what depends on the VM is known.
    pub(super) fn join(
        &self,
        r: &mut Reader,
        with: JoinWith,
        links: BTreeMap<u8, Ipv4Addr>,
    ) -> ClusterJoin {
        ClusterJoin {
            peers: self.peers.iter().map(|p| p.value.clone()).collect(),
            with,
            links,
            shared: self.shared,
            name: self.name.clone(),
            votes: self.votes,
            stable_nodes: self.stable_nodes,
            retry: self.retry.resolve(r),
        }
    }

    /// Says what a cluster part lacks.
    pub(super) fn require(&self, r: &mut Reader) {
        if !self.has_peers {
            r.problem(self.place, "the key `peers` is missing", PEERS.1);
        }
        if !self.has_with {
            let message = "neither `join` nor `password_file` says what lets the VM in";
            r.problem(self.place, message, JOIN.1);
        }
    }
}

impl RetryOverride {
    fn resolve(&self, r: &mut Reader) -> Retry {
        let standard = Retry::default();
        let first = self.first.unwrap_or(standard.first);
        if let Some(most) = self.most.as_ref().filter(|most| most.value < first) {
            let (most_text, first) = (
                validators::duration_text(most.value),
                validators::duration_text(first),
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
pub(super) fn read(r: &mut Reader, node: &Node, folder: &Folder) -> ClusterOverride {
    let f = r.fields(node, "`cluster`", CLUSTER.1, KEYS);
    let number = |text: &str| validators::number(text, 0, 1000);
    ClusterOverride {
        place: f.place,
        peers: peers::read(r, &f, folder),
        has_peers: f.accounted("peers"),
        with: read_with(r, &f),
        has_with: f.accounted(JOIN.0) || f.accounted("password_file"),
        links: f
            .get(LINKS.0)
            .map(|node| (node.place, links::read(r, node))),
        shared: r
            .field(&f, "trust", |t| values::one_word(t, "shared"))
            .is_some(),
        votes: r.field_scalar(&f, "votes", number).map(|v| v.value),
        name: r.field(&f, "name", values::cluster_name).map(|n| n.value),
        stable_nodes: r.field_scalar(&f, "stable_nodes", number).map(|n| n.value),
        retry: read_retry(r, &f),
    }
}

/// Exactly one of the two.
fn read_with(r: &mut Reader, f: &Fields<'_>) -> Option<WithOverride> {
    let ticket = r.field(f, JOIN.0, |t| values::one_word(t, "ticket"));
    let file = r.field(f, "password_file", values::path);
    if let (Some(_), Some(file)) = (&ticket, &file) {
        let message = "both `join: ticket` and `password_file`: one of them lets the VM in";
        let hint = "`join: ticket` alone; or `password_file` alone, for PCs that are first \
                     switched on more than two hours after `imgbuild seed`";
        r.problem(file.place, message, hint);
        return None;
    }
    match (ticket, file) {
        (Some(_), _) => Some(WithOverride::Ticket),
        (None, file) => file.map(WithOverride::PasswordFile),
    }
}

/// The limits are those of the guest's parser.
fn read_retry(r: &mut Reader, f: &Fields<'_>) -> RetryOverride {
    let Some(node) = f.get("retry") else {
        return RetryOverride::default();
    };
    let f = r.fields(node, "`retry`", f.hint("retry"), RETRY_KEYS);
    let give_up = |text: &str| match text {
        "never" => Ok(None),
        text => validators::duration(text, 1, 7 * DAY).map(Some),
    };
    RetryOverride {
        first: r
            .field_scalar(&f, "first", |t| validators::duration(t, 1, HOUR))
            .map(|first| first.value),
        most: r.field_scalar(&f, "most", |t| validators::duration(t, 1, DAY)),
        attempt: r
            .field_scalar(&f, "attempt", |t| validators::duration(t, 20, HOUR))
            .map(|attempt| attempt.value),
        give_up: r.field_scalar(&f, "give_up", give_up).map(|g| g.value),
    }
}
