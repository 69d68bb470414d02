//! The project's own key `proxmox` in the user-data: the cluster to join, and what follows it.
//! Unknown keys below it are errors.

use super::Secret;
use super::check;
use super::document::Document;
use super::walk::Path;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The Proxmox VE part of a seed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proxmox {
    /// The cluster to join.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<Cluster>,
    /// NFS storages that the cluster has after the join, each open to this node.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub storage: Vec<NfsStorage>,
    /// Groups and rules of the HA manager that name this node after the join.
    #[serde(default, skip_serializing_if = "Ha::is_empty")]
    pub ha: Ha,
    /// This node was taken out of its cluster for good: it must never speak to it again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub retired: bool,
}

/// The cluster that this node joins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cluster {
    /// Members that may be asked to add this node, in order of preference; never empty.
    pub peers: Vec<Peer>,
    /// The cluster's root password, for `pvecm add` on standard input.
    pub password: Secret,
    /// This node's address on the cluster network (`--link0`); it must be one of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link0: Option<std::net::IpAddr>,
    /// The votes of this node in the cluster's quorum; `None` leaves the one that `pvecm add`
    /// gives. 0 is for a node that is often switched off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub votes: Option<u32>,
    /// How a join that did not succeed is tried again.
    #[serde(default, skip_serializing_if = "Retry::is_default")]
    pub retry: Retry,
}

impl Cluster {
    /// Whether an earlier join has removed the password from the seed; see [`is_removed`].
    pub fn password_is_removed(&self) -> bool {
        is_removed(&self.password)
    }
}

/// Whether a password is only what its removal leaves behind: nothing but `x`, one or more.
/// The seed stays valid that way, with every byte in its place. `imgbuild seed` takes no such
/// password for a real one.
pub fn is_removed(password: &Secret) -> bool {
    let text = password.reveal();
    !text.is_empty() && text.bytes().all(|byte| byte == b'x')
}

/// One member of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// Address or resolvable name.
    pub address: String,
    /// SHA-256 of its certificate: 32 pairs of upper-case hex digits with colons.
    pub fingerprint: String,
}

/// How often and for how long a join is tried. All times are in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
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

/// An NFS storage of the cluster, as `pvesm add nfs` takes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NfsStorage {
    /// Its name in the cluster.
    pub id: String,
    /// Address or name of the server.
    pub server: String,
    /// The exported folder.
    pub export: String,
    /// What it holds: `rootdir`, `images`, `iso` …; never empty.
    pub content: Vec<String>,
    /// Mount options, comma-separated; the cluster's own are left alone where there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub options: Option<String>,
}

/// Where the HA manager is to know this node. None of them is made by firstboot.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ha {
    /// HA groups (Proxmox VE 8).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// Node-affinity rules (Proxmox VE 9).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<String>,
}

impl Ha {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty() && self.rules.is_empty()
    }
}

/// The default contents of a storage: what a container needs.
const CONTENT: [&str; 2] = ["rootdir", "images"];

/// Reads the key; what it returns is complete only when no problem was noted.
pub(super) fn read(doc: &mut Document) -> Option<Proxmox> {
    let path = Path::root().key("proxmox");
    if doc.keys(&path, "settings").is_empty() {
        return None;
    }
    doc.refuse_unknown(&path, &["cluster", "storage", "ha", "retired"]);
    let retired = doc.flag(&path.key("retired")).unwrap_or(false);
    let cluster = path.key("cluster");
    if retired && doc.has(&cluster) {
        doc.wrong_key(&cluster, "must not be there when `retired` is true");
    }
    Some(Proxmox {
        cluster: read_cluster(doc, &cluster),
        storage: read_storage(doc, &path.key("storage")),
        ha: read_ha(doc, &path.key("ha")),
        retired,
    })
}

fn read_cluster(doc: &mut Document, path: &Path) -> Option<Cluster> {
    if !doc.has(path) || (doc.keys(path, "settings").is_empty() && !doc.is_mapping(path)) {
        return None;
    }
    doc.refuse_unknown(path, &["peers", "password", "link0", "votes", "retry"]);
    let what = "the cluster's root password";
    Some(Cluster {
        peers: read_peers(doc, &path.key("peers")),
        password: Secret::new(
            doc.require_checked(&path.key("password"), what, check::password)
                .unwrap_or_default(),
        ),
        link0: doc.checked(&path.key("link0"), check::address),
        votes: number(doc, &path.key("votes"), 0..=1_000).map(|votes| votes as u32),
        retry: read_retry(doc, &path.key("retry")),
    })
}

fn read_peers(doc: &mut Document, path: &Path) -> Vec<Peer> {
    let items = doc.list(path, "members of the cluster");
    if items.is_empty() && (!doc.has(path) || doc.is_list(path)) {
        doc.wrong(
            path,
            "must name at least one member of the cluster, with `address` and `fingerprint`",
        );
    }
    let mut peers = Vec::new();
    for peer in items {
        if !doc.is_mapping(&peer) {
            doc.wrong(&peer, "must be a mapping with `address` and `fingerprint`");
            continue;
        }
        doc.refuse_unknown(&peer, &["address", "fingerprint"]);
        let address = doc.require_checked(
            &peer.key("address"),
            "an IP address or a host name",
            check::address_or_host,
        );
        let fingerprint = doc.require_checked(
            &peer.key("fingerprint"),
            "the SHA-256 of the member's certificate",
            check::fingerprint,
        );
        if let (Some(address), Some(fingerprint)) = (address, fingerprint) {
            peers.push(Peer {
                address,
                fingerprint,
            });
        }
    }
    peers
}

fn read_retry(doc: &mut Document, path: &Path) -> Retry {
    let standard = Retry::default();
    if !doc.has(path) {
        return standard;
    }
    doc.keys(path, "settings");
    doc.refuse_unknown(path, &["first", "most", "attempt", "spread", "give_up"]);
    const WEEK: u64 = 7 * 24 * 3600;
    let first = number(doc, &path.key("first"), 1..=3600).unwrap_or(standard.first);
    let most = number(doc, &path.key("most"), 1..=24 * 3600);
    if most.is_some_and(|most| most < first) {
        doc.wrong(&path.key("most"), "must not be less than `first`");
    }
    Retry {
        first,
        most: most.unwrap_or(standard.most.max(first)),
        attempt: number(doc, &path.key("attempt"), 20..=3600).unwrap_or(standard.attempt),
        spread: number(doc, &path.key("spread"), 0..=3600).unwrap_or(standard.spread),
        give_up: number(doc, &path.key("give_up"), 1..=WEEK),
    }
}

fn read_storage(doc: &mut Document, path: &Path) -> Vec<NfsStorage> {
    if !doc.has(path) {
        return Vec::new();
    }
    let mut storages: Vec<NfsStorage> = Vec::new();
    for item in doc.list(path, "NFS storages") {
        if !doc.is_mapping(&item) {
            doc.wrong(&item, "must be a mapping with `id`, `server` and `export`");
            continue;
        }
        doc.refuse_unknown(&item, &["id", "server", "export", "content", "options"]);
        let mut content: Vec<String> = Vec::new();
        for kind in doc.items(&item.key("content")) {
            content.extend(doc.checked(&kind, check::storage_content));
        }
        if !doc.has(&item.key("content")) {
            content = CONTENT.map(str::to_owned).to_vec();
        } else if content.is_empty() {
            doc.wrong(
                &item.key("content"),
                "must name at least one kind, such as rootdir",
            );
        }
        let id = doc.require_checked(&item.key("id"), "the storage's name", check::storage_id);
        let what = "the address or name of the NFS server";
        let server = doc.require_checked(&item.key("server"), what, check::address_or_host);
        let what = "the exported folder";
        let export = doc.require_checked(&item.key("export"), what, check::export);
        let options = doc.checked(&item.key("options"), check::mount_options);
        let (Some(id), Some(server), Some(export)) = (id, server, export) else {
            continue;
        };
        if storages.iter().any(|other| other.id == id) {
            doc.wrong(
                &item.key("id"),
                "is used twice; each storage has its own name",
            );
        }
        storages.push(NfsStorage {
            id,
            server,
            export,
            content,
            options,
        });
    }
    storages
}

fn read_ha(doc: &mut Document, path: &Path) -> Ha {
    if !doc.has(path) {
        return Ha::default();
    }
    doc.keys(path, "`groups` and `rules`");
    doc.refuse_unknown(path, &["groups", "rules"]);
    let mut names = |key| {
        let mut names: Vec<String> = Vec::new();
        for item in doc.items(&path.key(key)) {
            if let Some(name) = doc.checked(&item, check::ha_name) {
                if !names.contains(&name) {
                    names.push(name);
                }
            }
        }
        names
    };
    Ha {
        groups: names("groups"),
        rules: names("rules"),
    }
}

/// A whole number within limits.
fn number(doc: &mut Document, path: &Path, limits: std::ops::RangeInclusive<u64>) -> Option<u64> {
    let what = format!("a whole number from {} to {}", limits.start(), limits.end());
    let value: u64 = doc.get(path, &what)?;
    if !limits.contains(&value) {
        doc.wrong(path, &format!("must be {what}"));
        return None;
    }
    Some(value)
}
