//! The packages that a base has whatever `packages` says: the one list of them.

use super::model::Definition;
use crate::config::yaml::validators;

/// A package that is always installed.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Always {
    /// Its name.
    pub package: String,
    /// What a base would be without, in few words.
    pub reason: &'static str,
}

/// Of every base: what it needs to start, and what firstboot works with.
const EVERY_BASE: [(&str, &str); 12] = [
    ("initramfs-tools", "makes the kernel's initramfs"),
    ("zstd", "compresses the initramfs"),
    ("grub-pc", "the boot loader"),
    ("systemd-sysv", "the first process"),
    ("dbus", "logind, for clean shutdowns and ssh sessions"),
    ("udev", "finds the devices, the seed disk among them"),
    ("kmod", "loads the drivers"),
    (
        "login",
        "the login prompt; without it the console asks for a name for ever",
    ),
    ("fdisk", "firstboot enlarges the partition of a larger disk"),
    (
        "e2fsprogs",
        "firstboot enlarges the file system of a larger disk",
    ),
    (
        "ifupdown2",
        "the network: Proxmox VE's own tool, and firstboot writes its file",
    ),
    (
        "openssh-client",
        "its ssh-keygen makes each machine's host keys",
    ),
];

/// With Proxmox VE: what its manual installs beside the kernel.
const PROXMOX: [(&str, &str); 4] = [
    ("proxmox-ve", "Proxmox VE"),
    ("postfix", "Proxmox VE's mail"),
    ("open-iscsi", "Proxmox VE's iSCSI storages"),
    (
        "chrony",
        "corosync wants clocks that agree, and the seed's `ntp` is for it",
    ),
];

const LOCALES: (&str, &str) = ("locales", "generates `locale`");
const UNATTENDED: (&str, &str) = ("unattended-upgrades", "`unattended_upgrades` is true");

impl Definition {
    /// What its base has besides `packages`, in the order of installation.
    pub fn always_installed(&self) -> Vec<Always> {
        let kernel = (self.kernel.as_str(), "the kernel");
        let mut all = EVERY_BASE.to_vec();
        all.insert(2, kernel);
        if self.proxmox.is_some() {
            all.extend(PROXMOX);
        }
        // C.UTF-8 comes with libc; every other locale is generated.
        if self.generates_locale() {
            all.push(LOCALES);
        }
        if self.unattended_upgrades {
            all.push(UNATTENDED);
        }
        let always = |(package, reason): (&str, &'static str)| Always {
            package: package.to_owned(),
            reason,
        };
        all.into_iter().map(always).collect()
    }

    /// Whether `locale` is one that has to be generated.
    pub fn generates_locale(&self) -> bool {
        !self.locale.starts_with("C.")
    }
}

/// A package's name. APT takes `NAME-` for its removal, and others write `-NAME` or `!NAME`: what is
/// to be left out cannot be said here, and is not passed over.
pub(super) fn name(text: &str) -> Result<String, String> {
    let marked = text
        .strip_suffix('-')
        .or_else(|| text.strip_prefix(['-', '!', '~']));
    let left_out = marked
        .map(str::trim)
        .filter(|name| !name.is_empty() && validators::package(name).is_ok());
    let Some(left_out) = left_out else {
        return validators::package(text);
    };
    let among = |list: &[(&str, &'static str)]| {
        let found = list.iter().find(|(package, _)| *package == left_out);
        found.map(|(_, reason)| *reason)
    };
    let why = if let Some(reason) = among(&EVERY_BASE) {
        format!("it is always installed ({reason})")
    } else if let Some(reason) = among(&PROXMOX) {
        format!("it is always installed with Proxmox VE ({reason})")
    } else if among(&[UNATTENDED]).is_some() {
        "write `unattended_upgrades: false` for that".to_owned()
    } else {
        "remove the line; it is then installed only if another package needs it".to_owned()
    };
    Err(format!(
        "`{}` cannot leave {left_out} out: {why}",
        validators::display_safe(text)
    ))
}

/// A suite or component: nothing that would end the line or the field of a .sources file.
pub(super) fn archive_word(text: &str, slash_at_end: bool) -> Result<String, String> {
    let good = |c: char| c.is_ascii_alphanumeric() || "-_.~/".contains(c);
    let bad_end = text.ends_with('/') && !slash_at_end;
    if text.chars().all(good) && !bad_end && !text.starts_with('-') {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "`{}` is no suite or component",
            validators::display_safe(text)
        ))
    }
}
