//! Reading `user-data`: cloud-init's spellings, old and new, become one [`UserData`].

use super::document::{Document, Notes, add_new};
use super::path::Path;
use super::problem::Problem;
use super::proxmox;
use super::user_data::{Chpasswd, Ntp, OpenVpnInstance, PasswordKind, UserData, UserPassword};
use crate::contract::place::Place;
use crate::contract::values::{
    HostName, InstanceName, Password, PasswordHash, Secret, SshKey, UserPass, ValueError,
};
use std::collections::BTreeMap;

/// The document's name.
pub(super) const NAME: &str = "user-data";
const KNOWN: [&str; 13] = [
    "hostname",
    "fqdn",
    "timezone",
    "disable_root",
    "ssh_authorized_keys",
    "chpasswd",
    "password",
    "user",
    "users",
    "ssh_pwauth",
    "ntp",
    "openvpn",
    "proxmox",
];
const ONLY_ROOT: &str = "only root is configured here";

/// Reads the document. What it returns is complete only when no problem was noted.
pub(super) fn read(text: &str, notes: &mut Notes) -> UserData {
    if text.trim().is_empty() {
        return UserData::default();
    }
    if let Err(message) = check_first_line(text) {
        notes.problems.push(Problem {
            document: NAME,
            place: Some(Place::START),
            message: message.into(),
        });
        return UserData::default();
    }
    let Some(mut doc) = Document::new(NAME, text, notes) else {
        return UserData::default();
    };
    let root = Path::root();
    doc.ignore_unknown(&root, &KNOWN);
    let mut data = UserData {
        hostname: doc.checked(&root.key("hostname"), machine_name),
        fqdn: doc.checked(&root.key("fqdn"), machine_name),
        timezone: doc.value(&root.key("timezone")),
        disable_root: doc.flag(&root.key("disable_root")),
        ssh_authorized_keys: doc.values(&root.key("ssh_authorized_keys")),
        chpasswd: chpasswd(&mut doc),
        ssh_pwauth: ssh_pwauth(&mut doc),
        ntp: ntp(&mut doc),
        openvpn: openvpn(&mut doc),
        proxmox: proxmox::read(&mut doc),
    };
    users(&mut doc, &mut data.ssh_authorized_keys);
    default_password(&mut doc, &mut data.chpasswd);
    data
}

/// A machine's own name.
pub(super) fn machine_name(text: &str) -> Result<HostName, ValueError> {
    text.parse().and_then(HostName::of_one_machine)
}

/// cloud-init knows many kinds of user-data by their first line; one is understood here.
fn check_first_line(text: &str) -> Result<(), &'static str> {
    let first = text.lines().next().unwrap_or_default().trim_end();
    let lower = first.to_ascii_lowercase();
    if first == "#cloud-config" {
        Ok(())
    } else if lower.starts_with("content-type:") || lower.starts_with("mime-version:") {
        Err(
            "this is a MIME archive, which is not understood here; write the settings as one \
             document whose first line is `#cloud-config`",
        )
    } else if first.starts_with("#!") {
        Err(
            "this is a script, and scripts of a seed are never run here; write the settings as \
             a document whose first line is `#cloud-config`",
        )
    } else {
        Err("the first line must be `#cloud-config`")
    }
}

/// `users`: the keys of root; there are no other users here.
fn users(doc: &mut Document, keys: &mut Vec<SshKey>) {
    let path = Path::root().key("users");
    if doc.has(&path) && !doc.is_list(&path) {
        return doc.ignore(&path, ONLY_ROOT);
    }
    for user in doc.items(&path) {
        if !doc.is_mapping(&user) {
            doc.ignore(&user, ONLY_ROOT);
            continue;
        }
        let name = doc.text(&user.key("name"), "a login name");
        if name.as_deref() != Some("root") {
            doc.ignore(&user, ONLY_ROOT);
            continue;
        }
        // cloud-init still takes the spelling with hyphens.
        let spellings = ["ssh_authorized_keys", "ssh-authorized-keys"];
        doc.ignore_unknown(&user, &["name", spellings[0], spellings[1]]);
        for spelling in spellings {
            for key in doc.values(&user.key(spelling)) {
                add_new(keys, key);
            }
        }
    }
}

fn chpasswd(doc: &mut Document) -> Option<Chpasswd> {
    let path = Path::root().key("chpasswd");
    if !doc.has(&path) {
        return None;
    }
    if !doc.is_mapping(&path) {
        doc.wrong(&path, "must be a mapping with `expire` and `users`");
        return None;
    }
    doc.ignore_unknown(&path, &["expire", "users", "list"]);
    let expire = doc.flag(&path.key("expire"));
    let mut users = Vec::new();
    let with = "`name`, `password` and `type`";
    for user in doc.mappings(&path.key("users"), "users", with) {
        users.extend(user_password(doc, &user));
    }
    users.extend(password_list(doc, &path.key("list")));
    if users.len() > 1 {
        doc.wrong(&path, "gives root more than one password; keep one");
    }
    Some(Chpasswd { expire, users })
}

fn user_password(doc: &mut Document, user: &Path) -> Option<UserPassword> {
    let name = doc.require(&user.key("name"), "a login name")?;
    if name != "root" {
        doc.ignore(user, ONLY_ROOT);
        return None;
    }
    doc.ignore_unknown(user, &["name", "password", "type"]);
    let at = user.key("type");
    let kind = match doc.has(&at) {
        true => doc.checked(&at, PasswordKind::read)?,
        false => PasswordKind::default(),
    };
    let check = |text: &str| password_of(kind, text);
    let password = doc.require_checked(&user.key("password"), "root's password", check)?;
    Some(UserPassword {
        name,
        password,
        kind,
    })
}

fn password_of(kind: PasswordKind, text: &str) -> Result<Secret, ValueError> {
    match kind {
        PasswordKind::Hash => text.parse::<PasswordHash>().map(Secret::from),
        PasswordKind::Text => text.parse::<Password>().map(Secret::from),
    }
}

/// The old spelling: `user:password` lines, as one text or as a list.
fn password_list(doc: &mut Document, path: &Path) -> Vec<UserPassword> {
    let mut users = Vec::new();
    for item in doc.items(path) {
        let Some(text) = doc.text(&item, "`user:password` lines") else {
            continue;
        };
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            match line.split_once(':') {
                None => doc.wrong(&item, "must be `user:password` lines"),
                Some(("root", password)) => users.extend(listed_password(doc, &item, password)),
                Some(_) => doc.ignore(&item, ONLY_ROOT),
            }
        }
    }
    users
}

/// A password whose kind is told by its first character, as in `chpasswd.list`.
fn listed_password(doc: &mut Document, path: &Path, password: &str) -> Option<UserPassword> {
    if ["R", "RANDOM"].contains(&password) {
        doc.wrong(
            path,
            "random passwords are not made here; write the password or its hash",
        );
        return None;
    }
    let kind = match password.starts_with('$') {
        true => PasswordKind::Hash,
        false => PasswordKind::Text,
    };
    match password_of(kind, password) {
        Ok(password) => Some(UserPassword {
            name: "root".into(),
            password,
            kind,
        }),
        Err(error) => {
            doc.wrong(path, &format!("root's password {error}"));
            None
        }
    }
}

/// `password` is the default user's. Here that is root, unless `user` names another.
fn default_password(doc: &mut Document, chpasswd: &mut Option<Chpasswd>) {
    let root = Path::root();
    let path = root.key("password");
    let other_user = match doc.text(&root.key("user"), "a login name") {
        Some(name) if name != "root" => {
            doc.ignore(&root.key("user"), ONLY_ROOT);
            true
        }
        _ => false,
    };
    if !doc.has(&path) {
        return;
    }
    if other_user {
        return doc.ignore(&path, ONLY_ROOT);
    }
    if chpasswd.as_ref().is_some_and(|c| !c.users.is_empty()) {
        return doc.ignore(&path, "chpasswd gives root's password");
    }
    let password = doc.text(&path, "one text");
    let user = password.and_then(|password| listed_password(doc, &path, &password));
    chpasswd.get_or_insert_default().users.extend(user);
}

/// cloud-init still takes `unchanged`, which is to say nothing.
fn ssh_pwauth(doc: &mut Document) -> Option<bool> {
    let path = Path::root().key("ssh_pwauth");
    match doc.is_text(&path, "unchanged") {
        true => None,
        false => doc.flag(&path),
    }
}

fn ntp(doc: &mut Document) -> Option<Ntp> {
    let path = Path::root().key("ntp");
    let keys = doc.keys(&path, "`enabled`, `servers` and `pools`");
    if keys.is_empty() {
        return None;
    }
    doc.ignore_unknown(&path, &["enabled", "servers", "pools"]);
    let mut hosts = |key| {
        let items = doc.list(&path.key(key), "addresses or host names");
        items.iter().filter_map(|item| doc.value(item)).collect()
    };
    Some(Ntp {
        servers: hosts("servers"),
        pools: hosts("pools"),
        enabled: doc.flag(&path.key("enabled")).unwrap_or(true),
    })
}

fn openvpn(doc: &mut Document) -> BTreeMap<InstanceName, OpenVpnInstance> {
    let path = Path::root().key("openvpn");
    let mut instances = BTreeMap::new();
    for name in doc.keys(&path, "instance names with their configurations") {
        let place = path.key(&name);
        let instance_name = name.parse::<InstanceName>();
        if let Err(error) = &instance_name {
            doc.wrong_key(&place, &error.to_string());
        }
        let instance = match doc.is_mapping(&place) {
            true => {
                doc.refuse_unknown(&place, &["config", "user_pass", "shared"]);
                OpenVpnInstance {
                    user_pass: doc
                        .value::<UserPass>(&place.key("user_pass"))
                        .map(Secret::from),
                    shared: doc.flag(&place.key("shared")).unwrap_or(false),
                    ..OpenVpnInstance::new(openvpn_config(doc, &place.key("config")))
                }
            }
            false => OpenVpnInstance::new(openvpn_config(doc, &place)),
        };
        instances.extend(instance_name.ok().map(|name| (name, instance)));
    }
    instances
}

fn openvpn_config(doc: &mut Document, place: &Path) -> Secret {
    let what = "the text of an OpenVPN configuration (write `|` after the colon)";
    let text = doc.require(place, what);
    if let Some(text) = &text {
        if text.trim().is_empty() || text.contains('\0') {
            doc.wrong(place, &format!("must be {what}"));
        }
    }
    Secret::new(text.unwrap_or_default())
}
