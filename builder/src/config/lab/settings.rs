//! What `defaults` and a VM can both say.
//!
//! The parts of Proxmox VE are read in files of their own.

use super::cluster::{self, ClusterOverride};
use super::folder::Folder;
use super::openvpn::{self, OpenVpnOverride};
use super::proxmox::{self, HaOverride};
use super::values;
use crate::config::yaml::{Fields, Kind, Node, Reader, Spanned, validators};
use crate::system::given;
use firstboot::contract::seed::NfsStorage;
use firstboot::contract::values::{Host, SshKey, Timezone};

/// The keys that `defaults` and a VM have in common.
pub(super) const SETTINGS: [(&str, &str); 13] = [
    ("memory", "memory: a size from 512M to 1T, such as 2G"),
    ("cores", "cores: a number from 1 to 255"),
    ("disk", "disk: a size from 2G to 2T, such as 32G"),
    (
        "timezone",
        "timezone: a name such as Etc/UTC or Europe/Paris",
    ),
    (
        "ntp",
        "ntp: a list of time servers, addresses or names, such as [ntp.example.org]",
    ),
    (
        "ssh_keys",
        "ssh_keys: a list of public keys, each as in a .pub file: `ssh-ed25519 AAAA… comment`",
    ),
    (
        "ssh_key_files",
        "ssh_key_files: a list of files with public keys, such as ~/.ssh/id_ed25519.pub",
    ),
    (
        "root_password_file",
        "root_password_file: a file with mode 0600, such as secrets/root-password",
    ),
    (
        "ssh_password",
        "ssh_password: true where root's password is to open ssh too, else false",
    ),
    openvpn::OPENVPN,
    cluster::CLUSTER,
    proxmox::STORAGE,
    proxmox::HA,
];

/// A part that a VM can have, drop or leave to the defaults.
#[derive(Debug, Clone, Default)]
pub(super) enum Override<T> {
    /// Nothing was said.
    #[default]
    Unsaid,
    /// `none`
    No,
    /// The part.
    Yes(T),
}

/// One set of settings.
#[derive(Debug, Clone, Default)]
pub(super) struct Settings {
    pub memory_mib: Option<u32>,
    pub cores: Option<u32>,
    pub disk: Option<u64>,
    pub timezone: Option<Timezone>,
    pub ntp: Option<Vec<Host>>,
    pub ssh_keys: Option<Vec<SshKey>>,
    pub root_password_file: Option<Spanned<String>>,
    pub ssh_password: Option<bool>,
    pub openvpn: Override<OpenVpnOverride>,
    pub cluster: Override<ClusterOverride>,
    pub storage: Override<Vec<NfsStorage>>,
    pub ha: Override<HaOverride>,
}

impl Settings {
    /// Reads `defaults` of lab.yaml.
    pub(super) fn defaults(r: &mut Reader, lab: &Fields<'_>, folder: &Folder) -> Self {
        match lab.get("defaults") {
            None => Settings::default(),
            Some(node) => {
                let f = r.fields(node, "`defaults`", lab.hint("defaults"), &SETTINGS);
                Self::read(r, &f, folder)
            }
        }
    }

    /// Reads the settings among the keys of `defaults` or of a VM.
    pub(super) fn read(r: &mut Reader, f: &Fields<'_>, folder: &Folder) -> Self {
        let gib = validators::GIB;
        let memory = r.field_scalar(f, "memory", |t| validators::size(t, gib / 2, 1024 * gib));
        let cores = r.field_scalar(f, "cores", |t| validators::number(t, 1, 255));
        let disk = r.field_scalar(f, "disk", |t| validators::size(t, 2 * gib, 2048 * gib));
        Settings {
            // At most 1T, so the number of MiB fits.
            memory_mib: memory.map(|m| (m.value / validators::MIB) as u32),
            cores: cores.map(|c| c.value),
            disk: disk.map(|d| d.value),
            timezone: r
                .field(f, "timezone", validators::timezone)
                .map(|t| t.value),
            ntp: read_ntp(r, f),
            ssh_keys: read_ssh_keys(r, f, folder),
            root_password_file: r.field(f, "root_password_file", values::path),
            ssh_password: r
                .field_scalar(f, "ssh_password", validators::yes_or_no)
                .map(|s| s.value),
            openvpn: given(r, f, "openvpn", openvpn::read),
            cluster: given(r, f, "cluster", |r, node| cluster::read(r, node, folder)),
            storage: given(r, f, "storage", proxmox::read_storage),
            ha: given(r, f, "ha", proxmox::read_ha),
        }
    }

    /// These settings, and the defaults where they say nothing.
    pub(super) fn over(self, defaults: &Settings) -> Self {
        let defaults = defaults.clone();
        Settings {
            memory_mib: self.memory_mib.or(defaults.memory_mib),
            cores: self.cores.or(defaults.cores),
            disk: self.disk.or(defaults.disk),
            timezone: self.timezone.or(defaults.timezone),
            ntp: self.ntp.or(defaults.ntp),
            ssh_keys: self.ssh_keys.or(defaults.ssh_keys),
            root_password_file: self.root_password_file.or(defaults.root_password_file),
            ssh_password: self.ssh_password.or(defaults.ssh_password),
            openvpn: self.openvpn.over(defaults.openvpn, OpenVpnOverride::over),
            cluster: self.cluster.over(defaults.cluster, ClusterOverride::over),
            storage: self.storage.over(defaults.storage, |own, _| own),
            ha: self.ha.over(defaults.ha, HaOverride::over),
        }
    }
}

impl<T> Override<T> {
    /// The part, where there is one.
    pub(super) fn part(&self) -> Option<&T> {
        match self {
            Override::Yes(part) => Some(part),
            Override::No | Override::Unsaid => None,
        }
    }

    fn over(self, default: Self, both: impl FnOnce(T, T) -> T) -> Self {
        match (self, default) {
            (Override::Unsaid, default) => default,
            (Override::Yes(own), Override::Yes(default)) => Override::Yes(both(own, default)),
            (own, _) => own,
        }
    }
}

fn given<T>(
    r: &mut Reader,
    f: &Fields<'_>,
    key: &str,
    read: impl FnOnce(&mut Reader, &Node) -> T,
) -> Override<T> {
    match f.get(key) {
        None => Override::Unsaid,
        Some(node) if is_none(node) => Override::No,
        Some(node) => Override::Yes(read(r, node)),
    }
}

/// Whether a value is the word `none`.
pub(super) fn is_none(node: &Node) -> bool {
    matches!(&node.kind, Kind::Scalar { text, .. } if text == "none")
}

/// An empty list is for a VM that takes none of the defaults.
fn read_ntp(r: &mut Reader, f: &Fields<'_>) -> Option<Vec<Host>> {
    let servers = r.field_list(f, "ntp", validators::host);
    f.has("ntp")
        .then(|| servers.into_iter().map(|server| server.value).collect())
}

/// The keys written here and those of the files named here; `None` where neither is.
fn read_ssh_keys(r: &mut Reader, f: &Fields<'_>, folder: &Folder) -> Option<Vec<SshKey>> {
    if !f.has("ssh_keys") && !f.has("ssh_key_files") {
        return None;
    }
    let inline = r.field_list(f, "ssh_keys", values::ssh_key);
    let mut keys: Vec<SshKey> = inline.into_iter().map(|k| k.value).collect();
    let hint = f.hint("ssh_key_files");
    for file in r.field_list(f, "ssh_key_files", values::path) {
        let (shown, path) = folder.path(&file.value);
        let shown = shown.display();
        let text = given::read_text(&path, given::SMALL);
        let found = text
            .map_err(|error| format!("cannot read {shown}: {error}"))
            .and_then(|text| values::lines(&text, &shown, "key", values::ssh_key));
        match found {
            Ok(found) => keys.extend(found),
            Err(message) => r.problem(file.place, message, hint),
        }
    }
    let mut unique: Vec<SshKey> = Vec::new();
    for key in keys {
        if !unique.contains(&key) {
            unique.push(key);
        }
    }
    Some(unique)
}
