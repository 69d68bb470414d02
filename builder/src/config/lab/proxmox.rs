//! What follows a join: `storage` and `ha` of lab.yaml.

use crate::config::yaml::{Fields, Keys, Kind, Node, Reader, Spanned, listed_twice, validators};
use firstboot::contract::seed::{Ha, HaRule, NfsStorage};
use firstboot::contract::values::HaName;

pub(super) const STORAGE: (&str, &str) = (
    "storage",
    "storage: a list of NFS storages, {id, server, export}, or none for a VM without",
);
pub(super) const HA: (&str, &str) = (
    "ha",
    "ha: {groups: [...]} for Proxmox VE 8, {rules: [...]} for 9, or none for a VM without",
);
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
/// An HA part; a list that was not written is left to the default.
#[derive(Debug, Clone)]
pub(super) struct HaOverride {
    groups: Option<Vec<HaName>>,
    rules: Option<Vec<HaRule>>,
}

impl HaOverride {
    /// This override, and the default where it says nothing.
    pub(super) fn over(self, default: Self) -> Self {
        HaOverride {
            groups: self.groups.or(default.groups),
            rules: self.rules.or(default.rules),
        }
    }

    /// What the seed says.
    pub(super) fn ha(self) -> Ha {
        Ha {
            groups: self.groups.unwrap_or_default(),
            rules: self.rules.unwrap_or_default(),
        }
    }
}

/// Reads `ha`.
pub(super) fn read_ha(r: &mut Reader, node: &Node) -> HaOverride {
    let f = r.fields(node, "`ha`", HA.1, HA_KEYS);
    let groups = r.field_list(&f, "groups", validators::name);
    let rules = read_rules(r, &f);
    HaOverride {
        groups: f
            .has("groups")
            .then(|| groups.into_iter().map(|name| name.value).collect()),
        rules: f.has("rules").then_some(rules),
    }
}

/// Each item is a name, or a map with the node's priority.
fn read_rules(r: &mut Reader, f: &Fields<'_>) -> Vec<HaRule> {
    let hint = f.hint("rules");
    let nodes = f.get("rules").map_or(&[][..], |node| r.list(node, hint));
    let rule = |r: &mut Reader, node: &Node| read_rule(r, node, hint);
    let same = |one: &HaRule, other: &HaRule| one.name == other.name;
    let rules = r.each_once(nodes, rule, same, listed_twice);
    rules.into_iter().map(|rule| rule.value).collect()
}

fn read_rule(r: &mut Reader, node: &Node, hint: &str) -> Option<Spanned<HaRule>> {
    let (name, priority) = match &node.kind {
        Kind::Map(_) => {
            let f = r.fields(node, "a rule", hint, RULE_KEYS);
            r.require(&f, "name");
            let number = |text: &str| validators::number(text, 0, 1000);
            let priority = r.field_scalar(&f, "priority", number);
            (r.field(&f, "name", validators::name)?, priority)
        }
        _ => (r.formed(node, hint, validators::name)?, None),
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
    let nodes = r.list(node, STORAGE.1);
    let same = |one: &NfsStorage, other: &NfsStorage| one.id == other.id;
    let storages = r.each_once(nodes, read_one, same, |storage| {
        let what = format!("the storage `{}` is listed", storage.id);
        (what, "each storage once")
    });
    storages.into_iter().map(|storage| storage.value).collect()
}

fn read_one(r: &mut Reader, node: &Node) -> Option<Spanned<NfsStorage>> {
    let f = r.fields(node, "a storage", STORAGE.1, STORAGE_KEYS);
    for key in ["id", "server", "export"] {
        r.require(&f, key);
    }
    let id = r.field(&f, "id", validators::name);
    let server = r.field(&f, "server", validators::host);
    let export = r.field(&f, "export", validators::value);
    let content = f.get("content").map(|list| {
        if matches!(&list.kind, Kind::List(kinds) if kinds.is_empty()) {
            let message = "a storage that may hold nothing";
            r.problem(list.place, message, f.hint("content"));
        }
        let kinds = r.field_list(&f, "content", validators::value);
        kinds.into_iter().map(|kind| kind.value).collect()
    });
    let options = r.field(&f, "options", validators::value);
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
