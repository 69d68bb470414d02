//! `proxmox.cluster` of the user-data: the cluster to join, and what lets this node in.

use super::document::{Document, add_new};
use super::names;
use super::path::Path;
use super::ticket::{self, Ticket};
use crate::contract::values::{self, Fingerprint, Host, Password, Secret};
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

/// corosync's links have these numbers (`corosync-link` of PVE::JSONSchema).
const LINKS: std::ops::RangeInclusive<u8> = 0..=7;

/// The cluster that this node joins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cluster {
    /// Members that may be asked to add this node, in order of preference; never empty.
    pub peers: Vec<Peer>,
    /// What this node proves with that it may join.
    #[serde(flatten)]
    pub credential: Credential,
    /// This node's address on the cluster network (`--link0`); it must be one of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link0: Option<IpAddr>,
    /// Its addresses on further links (`--link1` …) by their numbers, 1 to 7; all its own.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub links: BTreeMap<u8, IpAddr>,
    /// The votes of this node in the cluster's quorum; `None` leaves the one that `pvecm add`
    /// gives. 0 is for a node that is often switched off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub votes: Option<u32>,
    /// This lab's machines that join the same cluster and have no vote in it, in the words of
    /// [`names`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lab: Vec<String>,
    /// How a join that did not succeed is tried again.
    #[serde(skip_serializing_if = "Retry::is_default")]
    pub retry: Retry,
}

impl Cluster {
    /// Every link that the seed gives, with its number, in order.
    pub fn all_links(&self) -> Vec<(u8, IpAddr)> {
        let first = self.link0.map(|address| (0, address));
        let others = self
            .links
            .iter()
            .map(|(number, address)| (*number, *address));
        first.into_iter().chain(others).collect()
    }
}

/// What lets a node into the cluster. It goes to Proxmox's tools by standard input. Once used it is
/// overwritten with `x` in the seed; see [`Credential::is_removed`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Credential {
    /// The cluster's root password.
    Password(Secret),
    /// The text of a [`Ticket`] of root@pam, which is taken for the password for two hours.
    Ticket(Secret),
}

impl Credential {
    /// The text itself.
    pub fn secret(&self) -> &Secret {
        match self {
            Credential::Password(secret) | Credential::Ticket(secret) => secret,
        }
    }

    /// The ticket, where it is one that was not overwritten, not even in part.
    pub fn ticket(&self) -> Option<Ticket> {
        match self {
            Credential::Password(_) => None,
            Credential::Ticket(text) => Ticket::parse(text.reveal()).ok(),
        }
    }

    /// Whether an earlier join has removed it from the seed; see [`is_removed`].
    pub fn is_removed(&self) -> bool {
        is_removed(self.secret())
    }

    /// The same kind after its removal. Whatever is told of a seed is told of this.
    pub fn removed(&self) -> Self {
        let x = Secret::new("x");
        match self {
            Credential::Password(_) => Credential::Password(x),
            Credential::Ticket(_) => Credential::Ticket(x),
        }
    }

    /// Its key in the seed, and what a human calls it.
    pub fn word(&self) -> &'static str {
        match self {
            Credential::Password(_) => "password",
            Credential::Ticket(_) => "ticket",
        }
    }
}

/// Whether a password or ticket is only what its removal leaves behind: nothing but `x`, one or more.
/// The seed stays valid that way, with every byte in its place. `imgbuild seed` takes no such
/// password for a real one.
pub fn is_removed(secret: &Secret) -> bool {
    let text = secret.reveal();
    !text.is_empty() && text.bytes().all(|byte| byte == b'x')
}

/// One member of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Peer {
    /// Address or resolvable name.
    pub address: Host,
    /// SHA-256 of each certificate that it may have.
    /// Never empty; several while certificates are renewed, as ACME does.
    #[serde(rename = "fingerprint", serialize_with = "one_or_list")]
    pub fingerprints: Vec<Fingerprint>,
}

/// One text as a text, several as a list.
fn one_or_list<S: Serializer>(texts: &[Fingerprint], serializer: S) -> Result<S::Ok, S::Error> {
    match texts {
        [one] => serializer.serialize_str(one),
        several => several.serialize(serializer),
    }
}

/// How often and for how long a join is tried. All times are in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Retry {
    /// The pause after the first attempt; each later one is twice as long.
    pub first: u64,
    /// The longest pause.
    pub most: u64,
    /// The longest that one `pvecm add` may take, its wait for quorum included.
    pub attempt: u64,
    /// Joins of this lab are spread over so much time, where they would begin together. The
    /// builder takes the number of the lab's machines in the cluster into account.
    pub spread: u64,
    /// When to stop trying, counted from the first attempt of a boot; `None` means never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub give_up: Option<u64>,
}

impl Default for Retry {
    fn default() -> Self {
        Retry {
            first: 10,
            most: 300,
            attempt: 300,
            spread: 5,
            give_up: None,
        }
    }
}

impl Retry {
    fn is_default(&self) -> bool {
        *self == Retry::default()
    }

    /// [`Retry::attempt`] as a duration.
    pub fn attempt_limit(&self) -> Duration {
        Duration::from_secs(self.attempt)
    }
}

/// Reads the key; what it returns is complete only when no problem was noted.
pub(super) fn read(doc: &mut Document, path: &Path) -> Option<Cluster> {
    if !doc.has(path) || (doc.keys(path, "settings").is_empty() && !doc.is_mapping(path)) {
        return None;
    }
    doc.refuse_unknown(
        path,
        &[
            "peers", "password", "ticket", "link0", "links", "votes", "lab", "retry",
        ],
    );
    let (link0, links) = read_links(doc, path);
    Some(Cluster {
        peers: read_peers(doc, &path.key("peers")),
        credential: read_credential(doc, path),
        link0,
        links,
        votes: doc.number(&path.key("votes"), 0..=1_000),
        lab: read_lab(doc, &path.key("lab")),
        retry: read_retry(doc, &path.key("retry")),
    })
}

fn read_credential(doc: &mut Document, path: &Path) -> Credential {
    let (password, ticket) = (path.key("password"), path.key("ticket"));
    match (doc.has(&password), doc.has(&ticket)) {
        (false, false) => {
            let message = "has neither `ticket` nor `password`: one of them lets this node in";
            doc.wrong(path, message);
        }
        (true, true) => doc.wrong_key(&ticket, "must not be there beside `password`"),
        _ => {}
    }
    if doc.has(&ticket) {
        let ticket = doc.checked(&ticket, check_ticket).unwrap_or_default();
        return Credential::Ticket(Secret::new(ticket));
    }
    let password = doc.value::<Password>(&password);
    Credential::Password(password.map_or_else(|| Secret::new(""), Secret::from))
}

/// A ticket, or what its removal has left or would have left, had the power not gone.
fn check_ticket(text: &str) -> Result<String, String> {
    let text = text.trim();
    if is_removed(&Secret::new(text)) || ticket::is_torn(text) {
        return Ok(text.to_owned());
    }
    let ticket = Ticket::parse(text).map_err(|error| error.to_string())?;
    Ok(ticket.text().reveal().to_owned())
}

/// `link0`, and `links` by number, which may name link 0 as well.
fn read_links(doc: &mut Document, path: &Path) -> (Option<IpAddr>, BTreeMap<u8, IpAddr>) {
    let mut link0 = doc.checked(&path.key("link0"), values::address);
    let mut links: BTreeMap<u8, IpAddr> = BTreeMap::new();
    let list = path.key("links");
    for key in doc.keys(&list, "links by their numbers, such as `1: 10.121.0.42`") {
        let place = list.key(&key);
        let number = key.parse().ok().filter(|number| LINKS.contains(number));
        let Some(number) = number else {
            let (first, last) = (LINKS.start(), LINKS.end());
            let message = format!("is no number of a link: {first} to {last}");
            doc.refuse_key(&list, &key, &message);
            continue;
        };
        let what = "this node's address on that link";
        let Some(address) = doc.require_checked(&place, what, values::address) else {
            continue;
        };
        if number == 0 && doc.has(&path.key("link0")) {
            doc.wrong_key(
                &place,
                "must not be there beside `link0`, which is the same link",
            );
            continue;
        }
        let is_same = |other: IpAddr| other == address;
        if link0.is_some_and(is_same) || links.values().copied().any(is_same) {
            doc.wrong(&place, "is the address of another link; each has its own");
        }
        match number {
            0 => link0 = Some(address),
            _ => drop(links.insert(number, address)),
        }
    }
    (link0, links)
}

fn read_lab(doc: &mut Document, path: &Path) -> Vec<String> {
    let items = doc.list(path, "names of this lab's machines");
    let names = items
        .iter()
        .filter_map(|item| doc.checked(item, names::word));
    names.collect()
}

fn read_peers(doc: &mut Document, path: &Path) -> Vec<Peer> {
    if doc.items(path).is_empty() {
        doc.wrong(
            path,
            "must name at least one member of the cluster, with `address` and `fingerprint`",
        );
    }
    let mut peers = Vec::new();
    let with = "`address` and `fingerprint`";
    for peer in doc.mappings(path, "members of the cluster", with) {
        doc.refuse_unknown(&peer, &["address", "fingerprint"]);
        let what = "an IP address or a host name";
        let other = |text: &str| text.parse().and_then(Host::of_another);
        let address = doc.require_checked(&peer.key("address"), what, other);
        let fingerprints = read_fingerprints(doc, &peer.key("fingerprint"));
        if let Some(address) = address {
            peers.push(Peer {
                address,
                fingerprints,
            });
        }
    }
    peers
}

/// One, or a list of those that the peer may show.
fn read_fingerprints(doc: &mut Document, path: &Path) -> Vec<Fingerprint> {
    let what = "the SHA-256 of the member's certificate";
    if !doc.has(path) {
        doc.wrong(path, &format!("is missing; it must be {what}"));
    }
    if doc.is_list(path) && doc.items(path).is_empty() {
        doc.wrong(path, "must name at least one fingerprint");
    }
    let mut fingerprints: Vec<Fingerprint> = Vec::new();
    for fingerprint in doc.values(path) {
        add_new(&mut fingerprints, fingerprint);
    }
    fingerprints
}

fn read_retry(doc: &mut Document, path: &Path) -> Retry {
    let standard = Retry::default();
    doc.keys(path, "settings");
    doc.refuse_unknown(path, &["first", "most", "attempt", "spread", "give_up"]);
    const WEEK: u64 = 7 * 24 * 3600;
    let first = doc.number(&path.key("first"), 1..=3600);
    let first = first.unwrap_or(standard.first);
    let most: Option<u64> = doc.number(&path.key("most"), 1..=24 * 3600);
    if most.is_some_and(|most| most < first) {
        doc.wrong(&path.key("most"), "must not be less than `first`");
    }
    let attempt = doc.number(&path.key("attempt"), 20..=3600);
    let spread = doc.number(&path.key("spread"), 0..=3600);
    Retry {
        first,
        most: most.unwrap_or(standard.most.max(first)),
        attempt: attempt.unwrap_or(standard.attempt),
        spread: spread.unwrap_or(standard.spread),
        give_up: doc.number(&path.key("give_up"), 1..=WEEK),
    }
}
