//! The project's own key `proxmox` in the user-data: the cluster to join, and what follows it.
//! Unknown keys below it are errors.

use super::cluster::{self, Cluster};
use super::document::{Document, add_new};
use super::path::Path;
use crate::contract::values::{Export, HaName, Host, MountOptions, StorageContent, StorageId};
use serde::{Serialize, Serializer};

/// The Proxmox VE part of a seed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Proxmox {
    /// The cluster to join.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<Cluster>,
    /// NFS storages that the cluster has after the join, each open to this node.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub storage: Vec<NfsStorage>,
    /// Groups and rules of the HA manager that name this node after the join.
    #[serde(skip_serializing_if = "Ha::is_empty")]
    pub ha: Ha,
    /// This node was taken out of its cluster for good: it must never speak to it again.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub retired: bool,
}

/// An NFS storage of the cluster, as `pvesm add nfs` takes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NfsStorage {
    /// Its name in the cluster.
    pub id: StorageId,
    /// Address or name of the server.
    pub server: Host,
    /// The exported folder.
    pub export: Export,
    /// What it holds: `rootdir`, `images`, `iso` …; never empty. `None` leaves the cluster's own
    /// as it is; a storage that is not there yet is then added with [`STANDARD_CONTENT`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<Vec<StorageContent>>,
    /// Mount options, comma-separated; the cluster's own are left alone where there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub options: Option<MountOptions>,
}

/// Where the HA manager is to know this node. None of them is made by firstboot.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Ha {
    /// HA groups (Proxmox VE 8).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<HaName>,
    /// Node-affinity rules (Proxmox VE 9).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<HaRule>,
}

impl Ha {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty() && self.rules.is_empty()
    }
}

/// A node-affinity rule that is to name this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HaRule {
    /// The rule's name.
    pub name: HaName,
    /// This node's priority in it, higher first; `None` is Proxmox's own, 0.
    pub priority: Option<u32>,
}

/// As the seed has it: the name, or a mapping where there is more to say.
impl Serialize for HaRule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Long<'a> {
            name: &'a str,
            priority: u32,
        }
        let name: &str = &self.name;
        match self.priority {
            None => serializer.serialize_str(name),
            Some(priority) => Long { name, priority }.serialize(serializer),
        }
    }
}

/// What a storage holds when nothing is said: what a container needs.
pub const STANDARD_CONTENT: [&str; 2] = ["rootdir", "images"];

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
        cluster: cluster::read(doc, &cluster),
        storage: read_storage(doc, &path.key("storage")),
        ha: read_ha(doc, &path.key("ha")),
        retired,
    })
}

fn read_storage(doc: &mut Document, path: &Path) -> Vec<NfsStorage> {
    let mut storages: Vec<NfsStorage> = Vec::new();
    for item in doc.mappings(path, "NFS storages", "`id`, `server` and `export`") {
        doc.refuse_unknown(&item, &["id", "server", "export", "content", "options"]);
        let content = doc
            .has(&item.key("content"))
            .then(|| read_content(doc, &item.key("content")));
        let id = doc.require_value(&item.key("id"), "the storage's name");
        let what = "the address or name of the NFS server";
        let server = doc.require_value(&item.key("server"), what);
        let what = "the exported folder";
        let export = doc.require_value(&item.key("export"), what);
        let options = doc.value(&item.key("options"));
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

fn read_content(doc: &mut Document, path: &Path) -> Vec<StorageContent> {
    let content = doc.values(path);
    if content.is_empty() {
        doc.wrong(path, "must name at least one kind, such as rootdir");
    }
    content
}

fn read_ha(doc: &mut Document, path: &Path) -> Ha {
    doc.keys(path, "`groups` and `rules`");
    doc.refuse_unknown(path, &["groups", "rules"]);
    let mut ha = Ha::default();
    for name in doc.values(&path.key("groups")) {
        add_new(&mut ha.groups, name);
    }
    for item in doc.items(&path.key("rules")) {
        if let Some(rule) = read_rule(doc, &item) {
            if !ha.rules.iter().any(|other| other.name == rule.name) {
                ha.rules.push(rule);
            }
        }
    }
    ha
}

/// `NAME`, or a mapping with `name` and `priority`.
fn read_rule(doc: &mut Document, item: &Path) -> Option<HaRule> {
    if !doc.is_mapping(item) {
        let name = doc.value(item)?;
        let priority = None;
        return Some(HaRule { name, priority });
    }
    doc.refuse_unknown(item, &["name", "priority"]);
    let what = "the rule's name";
    let name = doc.require_value(&item.key("name"), what);
    let priority = doc.number(&item.key("priority"), 0..=1_000);
    Some(HaRule {
        name: name?,
        priority,
    })
}
