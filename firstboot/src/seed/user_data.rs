//! The `user-data` document: `#cloud-config` keys, and two of this project's own.

use super::{Proxmox, Secret};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What the machine should become.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserData {
    /// Short host name (cloud-init `hostname`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// Fully qualified name (cloud-init `fqdn`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fqdn: Option<String>,
    /// Time zone name such as `Europe/Paris` (cloud-init `timezone`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timezone: Option<String>,
    /// cloud-init `disable_root`; firstboot gives the keys to root whatever it says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disable_root: Option<bool>,
    /// Public keys for root (cloud-init `ssh_authorized_keys`), one line each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ssh_authorized_keys: Vec<String>,
    /// Passwords (cloud-init `chpasswd`); only `root` is known here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chpasswd: Option<Chpasswd>,
    /// OpenVPN instances: name → the whole configuration file, keys inline.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub openvpn: BTreeMap<String, Secret>,
    /// The Proxmox VE part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxmox: Option<Proxmox>,
}

impl UserData {
    /// The document with its `#cloud-config` line. It holds the secrets in clear text.
    pub fn to_document(&self) -> Result<String, serde_yaml::Error> {
        Ok(format!("#cloud-config\n{}", serde_yaml::to_string(self)?))
    }
}

/// cloud-init's `chpasswd` module.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chpasswd {
    /// Whether the password must be changed at the first login; cloud-init's default is true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expire: Option<bool>,
    /// The users and their passwords.
    #[serde(default)]
    pub users: Vec<UserPassword>,
}

/// One entry of `chpasswd.users`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserPassword {
    /// Login name.
    pub name: String,
    /// Hash or clear text, as `kind` says.
    pub password: Secret,
    /// `hash` (crypt(3) string) or `text`; cloud-init's default is `hash`.
    #[serde(rename = "type", default)]
    pub kind: PasswordKind,
}

/// How a password of `chpasswd.users` is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PasswordKind {
    /// A crypt(3) hash, put into `/etc/shadow` as it is.
    #[default]
    Hash,
    /// Clear text, handed to chpasswd(8) on standard input.
    Text,
}
