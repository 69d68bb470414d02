//! What `defaults` and a VM can both say.
//!
//! The parts of Proxmox VE are read in files of their own.

use super::cluster::{self, ClusterOverride};
use super::openvpn::{self, OpenVpnOverride};
use super::proxmox::{self, HaOverride};
use super::{Folder, values};
use crate::config::yaml::{Fields, Keys, Kind, Node, Reader, Spanned, validators};
use firstboot::contract::seed::NfsStorage;
use firstboot::contract::values::{Host, SshKey, Timezone};

type Key = (&'static str, &'static str);

pub(super) const MEMORY: Key = ("memory", "memory: a size from 512M to 1T, such as 2G");
pub(super) const CORES: Key = ("cores", "cores: a number from 1 to 255");
pub(super) const DISK: Key = ("disk", "disk: a size from 2G to 2T, such as 32G");
pub(super) const TIMEZONE: Key = (
    "timezone",
    "timezone: a name such as Etc/UTC or Europe/Paris",
);
pub(super) const NTP: Key = (
    "ntp",
    "ntp: a list of time servers, addresses or names, such as [ntp.example.org]",
);
pub(super) const SSH_KEYS: Key = (
    "ssh_keys",
    "ssh_keys: a list of public keys, each as in a .pub file: `ssh-ed25519 AAAA… comment`",
);
pub(super) const SSH_KEY_FILES: Key = (
    "ssh_key_files",
    "ssh_key_files: a list of files with public keys, such as ~/.ssh/id_ed25519.pub",
);
pub(super) const ROOT_PASSWORD_FILE: Key = (
    "root_password_file",
    "root_password_file: a file with mode 0600, such as secrets/root-password",
);
pub(super) const SSH_PASSWORD: Key = (
    "ssh_password",
    "ssh_password: true where root's password is to open ssh too, else false",
);
pub(super) const OPENVPN: Key = (
    "openvpn",
    "openvpn: {config: \"secrets/vpn/{name}.ovpn\"}, or none for a VM without",
);
pub(super) const CLUSTER: Key = (
    "cluster",
    "cluster: {peers: [{address, fingerprint}], join: ticket}, or none for a VM without",
);
pub(super) const STORAGE: Key = (
    "storage",
    "storage: a list of NFS storages, {id, server, export}, or none for a VM without",
);
pub(super) const HA: Key = (
    "ha",
    "ha: {groups: [...]} for Proxmox VE 8, {rules: [...]} for 9, or none for a VM without",
);

const DEFAULTS_KEYS: Keys = &[
    MEMORY,
    CORES,
    DISK,
    TIMEZONE,
    NTP,
    SSH_KEYS,
    SSH_KEY_FILES,
    ROOT_PASSWORD_FILE,
    SSH_PASSWORD,
    OPENVPN,
    CLUSTER,
    STORAGE,
    HA,
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
                let f = r.fields(node, "`defaults`", lab.hint("defaults"), DEFAULTS_KEYS);
                Self::read(r, &f, folder)
            }
        }
    }

    /// Reads the settings among the keys of `defaults` or of a VM.
    pub(super) fn read(r: &mut Reader, f: &Fields<'_>, folder: &Folder) -> Self {
        let gib = validators::GIB;
        let memory = r.field_scalar(f, MEMORY.0, |t| validators::size(t, gib / 2, 1024 * gib));
        let cores = r.field_scalar(f, CORES.0, |t| validators::number(t, 1, 255));
        let disk = r.field_scalar(f, DISK.0, |t| validators::size(t, 2 * gib, 2048 * gib));
        Settings {
            // At most 1T, so the number of MiB fits.
            memory_mib: memory.map(|m| (m.value / validators::MIB) as u32),
            cores: cores.map(|c| c.value),
            disk: disk.map(|d| d.value),
            timezone: r
                .field(f, TIMEZONE.0, validators::timezone)
                .map(|t| t.value),
            ntp: read_ntp(r, f),
            ssh_keys: read_ssh_keys(r, f, folder),
            root_password_file: r.field(f, ROOT_PASSWORD_FILE.0, values::path),
            ssh_password: r
                .field_scalar(f, SSH_PASSWORD.0, validators::yes_or_no)
                .map(|s| s.value),
            openvpn: given(r, f, OPENVPN.0, read_openvpn),
            cluster: given(r, f, CLUSTER.0, |r, node| cluster::read(r, node, folder)),
            storage: given(r, f, STORAGE.0, proxmox::read_storage),
            ha: given(r, f, HA.0, proxmox::read_ha),
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

fn read_openvpn(r: &mut Reader, node: &Node) -> OpenVpnOverride {
    openvpn::read(r, node, OPENVPN.1)
}

/// An empty list is for a VM that takes none of the defaults.
fn read_ntp(r: &mut Reader, f: &Fields<'_>) -> Option<Vec<Host>> {
    let servers = r.field_list(f, NTP.0, validators::host);
    f.has(NTP.0)
        .then(|| servers.into_iter().map(|server| server.value).collect())
}

/// The keys written here and those of the files named here; `None` where neither is.
fn read_ssh_keys(r: &mut Reader, f: &Fields<'_>, folder: &Folder) -> Option<Vec<SshKey>> {
    if !f.has(SSH_KEYS.0) && !f.has(SSH_KEY_FILES.0) {
        return None;
    }
    let inline = r.field_list(f, SSH_KEYS.0, values::ssh_key);
    let mut keys: Vec<SshKey> = inline.into_iter().map(|k| k.value).collect();
    for file in r.field_list(f, SSH_KEY_FILES.0, values::path) {
        let (shown, path) = folder.path(&file.value);
        let shown = shown.display();
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) => {
                let message = format!("cannot read {shown}: {error}");
                r.problem(file.place, message, SSH_KEY_FILES.1);
                continue;
            }
        };
        let lines = text.lines().map(str::trim).enumerate();
        let mut lines = lines
            .filter(|(_, l)| !l.is_empty() && !l.starts_with('#'))
            .peekable();
        if lines.peek().is_none() {
            r.problem(file.place, format!("{shown} holds no key"), SSH_KEY_FILES.1);
        }
        for (index, line) in lines {
            match values::ssh_key(line) {
                Ok(key) => keys.push(key),
                Err(message) => {
                    let message = format!("{shown}, line {}: {message}", index + 1);
                    r.problem(file.place, message, SSH_KEY_FILES.1);
                    break;
                }
            }
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
