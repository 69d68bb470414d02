//! What follows a join: `storage` and `ha` of lab.yaml.

use super::{settings, values};
use crate::config::yaml::{Fields, Keys, Kind, Node, Reader, Spanned, validators};
use firstboot::contract::seed::{Ha, HaRule, NfsStorage};

const STORAGE_KEYS: Keys = &[
    ("id", "id: the storage's name in the cluster, such as lab"),
    (
        "server",
        "server: the NFS server, an IP address or a name that the VM can resolve",
    ),
    (
        "export",
        "export: the folder that the server exports, such as /srv/lab",
    ),
    (
        "content",
        "content: a list of rootdir, images, iso, vztmpl, backup, snippets, import",
    ),
    (
        "options",
        "options: mount options without blanks, such as vers=4.2,soft",
    ),
];
const HA_KEYS: Keys = &[
    (
        "groups",
        "groups: a list of HA groups of Proxmox VE 8, such as [lab]",
    ),
    (
        "rules",
        "rules: a list of node-affinity rules of Proxmox VE 9, such as [lab], or with the node's \
         priority in it: [{name: lab, priority: 2}]",
    ),
];
const RULE_KEYS: Keys = &[
    ("name", "name: the rule's name, such as lab"),
    (
        "priority",
        "priority: a number from 0 to 1000, higher first; without it Proxmox's own, 0",
    ),
];
/// storage.cfg's kinds of content.
const CONTENT: [&str; 7] = [
    "rootdir", "images", "iso", "vztmpl", "backup", "snippets", "import",
];

/// An HA part; a list that was not written is left to the default.
#[derive(Debug, Clone)]
pub(super) struct HaWish {
    groups: Option<Vec<String>>,
    rules: Option<Vec<HaRule>>,
}

impl HaWish {
    /// This wish, and the default where it says nothing.
    pub fn over(self, default: Self) -> Self {
        HaWish {
            groups: self.groups.or(default.groups),
            rules: self.rules.or(default.rules),
        }
    }

    /// What the seed says.
    pub fn ha(self) -> Ha {
        Ha {
            groups: self.groups.unwrap_or_default(),
            rules: self.rules.unwrap_or_default(),
        }
    }
}

/// Reads `ha`.
pub(super) fn read_ha(r: &mut Reader, node: &Node) -> HaWish {
    let f = r.fields(node, "`ha`", settings::HA.1, HA_KEYS);
    let groups = r.field_list(&f, "groups", ha_name);
    let rules = read_rules(r, &f);
    HaWish {
        groups: f
            .has("groups")
            .then(|| groups.into_iter().map(|name| name.value).collect()),
        rules: f.has("rules").then_some(rules),
    }
}

/// Each item is a name, or a map with the node's priority.
fn read_rules(r: &mut Reader, f: &Fields<'_>) -> Vec<HaRule> {
    let hint = f.hint("rules");
    let mut rules: Vec<Spanned<HaRule>> = Vec::new();
    let nodes = f.get("rules").map_or(&[][..], |node| r.list(node, hint));
    for node in nodes {
        let Some(rule) = read_rule(r, node, hint) else {
            continue;
        };
        let same = |one: &HaRule, other: &HaRule| one.name == other.name;
        let words = ("this is in the list", "each item once");
        r.push_once(&mut rules, rule, same, words);
    }
    rules.into_iter().map(|rule| rule.value).collect()
}

fn read_rule(r: &mut Reader, node: &Node, hint: &str) -> Option<Spanned<HaRule>> {
    let (name, priority) = match &node.kind {
        Kind::Map(_) => {
            let f = r.fields(node, "a rule", hint, RULE_KEYS);
            r.require(&f, "name");
            let number = |text: &str| validators::number(text, 0, 1000);
            let priority = r.field_scalar(&f, "priority", number);
            (r.field(&f, "name", ha_name)?, priority)
        }
        _ => (r.formed(node, hint, ha_name)?, None),
    };
    Some(Spanned {
        place: name.place,
        value: HaRule {
            name: name.value,
            priority: priority.map(|priority| priority.value),
        },
    })
}

/// Reads `storage`.
pub(super) fn read_storage(r: &mut Reader, node: &Node) -> Vec<NfsStorage> {
    let mut storages: Vec<Spanned<NfsStorage>> = Vec::new();
    for node in r.list(node, settings::STORAGE.1) {
        let Some(storage) = read_one(r, node) else {
            continue;
        };
        let what = format!("the storage `{}` is listed", storage.value.id);
        let same = |one: &NfsStorage, other: &NfsStorage| one.id == other.id;
        r.push_once(&mut storages, storage, same, (&what, "each storage once"));
    }
    storages.into_iter().map(|storage| storage.value).collect()
}

fn read_one(r: &mut Reader, node: &Node) -> Option<Spanned<NfsStorage>> {
    let f = r.fields(node, "a storage", settings::STORAGE.1, STORAGE_KEYS);
    for key in ["id", "server", "export"] {
        r.require(&f, key);
    }
    let id = r.field(&f, "id", storage_id);
    let server = r.field(&f, "server", values::peer_address);
    let export = r.field(&f, "export", export);
    let content = f.get("content").map(|list| {
        if matches!(&list.kind, Kind::List(kinds) if kinds.is_empty()) {
            let message = "a storage that may hold nothing";
            r.problem(list.place, message, f.hint("content"));
        }
        let kinds = r.field_list(&f, "content", content);
        kinds.into_iter().map(|kind| kind.value).collect()
    });
    let options = r.field(&f, "options", mount_options);
    let id = id?;
    Some(Spanned {
        place: id.place,
        value: NfsStorage {
            id: id.value,
            server: server?.value,
            export: export?.value,
            content,
            options: options.map(|options| options.value),
        },
    })
}

fn check(good: bool, text: &str, wrong: &str) -> Result<String, String> {
    match good {
        true => Ok(text.to_owned()),
        false => Err(format!("`{}` {wrong}", validators::shown(text))),
    }
}

fn is_letter(c: char) -> bool {
    c.is_ascii_alphabetic()
}

/// A storage's name (pve-storage-id): what the guest's parser takes.
fn storage_id(text: &str) -> Result<String, String> {
    let good = (2..=100).contains(&text.len())
        && text.starts_with(is_letter)
        && text.ends_with(|c: char| c.is_ascii_alphanumeric())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    check(
        good,
        text,
        "is no name of a storage (2 to 100 letters, digits, - _ . with a letter first, a letter or \
         digit last)",
    )
}

fn content(text: &str) -> Result<String, String> {
    check(CONTENT.contains(&text), text, "is no kind of content")
}

/// An exported folder; it becomes one word of storage.cfg.
fn export(text: &str) -> Result<String, String> {
    let word = !text.contains(|c: char| c.is_whitespace() || c.is_control());
    let good = text.starts_with('/') && word && text.len() <= 4096;
    check(good, text, "is no absolute path without blanks")
}

/// One word of storage.cfg.
fn mount_options(text: &str) -> Result<String, String> {
    let good = !text.starts_with('-') && text.chars().all(|c| c.is_ascii_graphic());
    check(good, text, "is no list of mount options")
}

/// The name of an HA group or rule (pve-configid).
fn ha_name(text: &str) -> Result<String, String> {
    let good = text.len() >= 2
        && text.starts_with(is_letter)
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
    check(
        good,
        text,
        "is no name of a group or rule (letters, digits, - and _, at least two, a letter first)",
    )
}
