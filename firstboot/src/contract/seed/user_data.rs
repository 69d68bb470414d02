//! The `user-data` document: `#cloud-config` keys, and two of this project's own.

use super::proxmox::Proxmox;
use super::write;
use crate::contract::values::{Host, HostName, InstanceName, Secret, SshKey, Timezone};
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;

/// What the machine should become.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct UserData {
    /// Short host name (cloud-init `hostname`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<HostName>,
    /// Fully qualified name (cloud-init `fqdn`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fqdn: Option<HostName>,
    /// Time zone name such as `Europe/Paris` (cloud-init `timezone`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timezone: Option<Timezone>,
    /// cloud-init `disable_root`; firstboot gives the keys to root whatever it says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disable_root: Option<bool>,
    /// Public keys for root (cloud-init `ssh_authorized_keys`), one line each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ssh_authorized_keys: Vec<SshKey>,
    /// Passwords (cloud-init `chpasswd`); only `root` is known here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chpasswd: Option<Chpasswd>,
    /// Whether root may log in over ssh with a password (cloud-init `ssh_pwauth`); `None` is
    /// no: by key only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ssh_pwauth: Option<bool>,
    /// Time servers (cloud-init `ntp`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ntp: Option<Ntp>,
    /// OpenVPN instances by their names.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub openvpn: BTreeMap<InstanceName, OpenVpnInstance>,
    /// The Proxmox VE part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxmox: Option<Proxmox>,
}

impl UserData {
    /// The document with its `#cloud-config` line. It holds the secrets in clear text.
    pub fn to_document(&self) -> Result<String, serde_yaml::Error> {
        Ok(format!("#cloud-config\n{}", write::document(self)?))
    }
}

/// cloud-init's `ntp` module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Ntp {
    /// Whether anything is to be done; cloud-init's default is true.
    pub enabled: bool,
    /// Single servers: addresses or names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub servers: Vec<Host>,
    /// Names that stand for several servers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pools: Vec<Host>,
}

/// An OpenVPN instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenVpnInstance {
    /// The whole configuration file, keys inline.
    pub config: Secret,
    /// For servers that want a login besides the certificate: two lines, user and password.
    pub user_pass: Option<Secret>,
    /// Whether several machines have this very certificate.
    pub shared: bool,
}

impl OpenVpnInstance {
    /// One that needs nothing but its configuration.
    pub fn new(config: Secret) -> Self {
        OpenVpnInstance {
            config,
            user_pass: None,
            shared: false,
        }
    }
}

/// As the seed has it: the configuration's text, or a mapping where there is more to say.
impl Serialize for OpenVpnInstance {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Long<'a> {
            config: &'a Secret,
            #[serde(skip_serializing_if = "Option::is_none")]
            user_pass: Option<&'a Secret>,
            #[serde(skip_serializing_if = "std::ops::Not::not")]
            shared: bool,
        }
        if self.user_pass.is_none() && !self.shared {
            return self.config.serialize(serializer);
        }
        Long {
            config: &self.config,
            user_pass: self.user_pass.as_ref(),
            shared: self.shared,
        }
        .serialize(serializer)
    }
}

/// cloud-init's `chpasswd` module.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Chpasswd {
    /// Whether the password must be changed at the first login; cloud-init's default is true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expire: Option<bool>,
    /// The users and their passwords.
    pub users: Vec<UserPassword>,
}

/// One entry of `chpasswd.users`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UserPassword {
    /// Login name.
    pub name: String,
    /// Hash or clear text, as `kind` says.
    pub password: Secret,
    /// `hash` (crypt(3) string) or `text`; cloud-init's default is `hash`.
    #[serde(rename = "type")]
    pub kind: PasswordKind,
}

/// How a password of `chpasswd.users` is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PasswordKind {
    /// A crypt(3) hash, put into `/etc/shadow` as it is.
    #[default]
    Hash,
    /// Clear text, of which the guest makes a hash.
    Text,
}

impl PasswordKind {
    pub(super) fn read(text: &str) -> Result<Self, String> {
        match text {
            "hash" => Ok(PasswordKind::Hash),
            "text" => Ok(PasswordKind::Text),
            _ => Err("must be hash or text".to_owned()),
        }
    }
}
