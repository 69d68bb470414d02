//! What is proven about Proxmox VE's packages: their kernel, and where APT gets them.

use crate::image::dpkg;
use crate::image::tree::{entries, matching, read_file};
use ext4_view::{Ext4, Ext4Error};
use std::collections::BTreeMap;

const SOURCES: &str = "/etc/apt/sources.list.d";
const GRUB: &str = "/boot/grub/grub.cfg";
const KERNEL: &str = "/boot/vmlinuz-";

fn packages(root: &Ext4) -> Result<BTreeMap<String, String>, Ext4Error> {
    let status = read_file(root, dpkg::STATUS)?.unwrap_or_default();
    Ok(dpkg::installed(&String::from_utf8_lossy(&status)))
}

/// Whether this is a node: the package that all the others hang on is installed.
pub(super) fn is_installed(root: &Ext4) -> Result<bool, Ext4Error> {
    Ok(packages(root)?.contains_key("proxmox-ve"))
}

/// The first of these packages that is installed; a name may end with `*`.
pub(super) fn installed(root: &Ext4, names: &[&str]) -> Result<Option<String>, Ext4Error> {
    let fits = |package: &str| {
        names.iter().any(|name| match name.strip_suffix('*') {
            Some(start) => package.starts_with(start),
            None => package == *name,
        })
    };
    let found = packages(root)?.into_keys().find(|package| fits(package));
    Ok(found.map(|package| format!("{} has the package {package}", dpkg::STATUS)))
}

/// The first file of APT's with a source that is switched on and has these words.
pub(super) fn enabled_source(root: &Ext4, words: &str) -> Result<Option<String>, Ext4Error> {
    for name in entries(root, SOURCES)? {
        let path = format!("{SOURCES}/{name}");
        let text = read_file(root, &path)?.unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let on = match name.rsplit_once('.') {
            Some((_, "sources")) => deb822_enabled(&text, words),
            Some((_, "list")) => text
                .lines()
                .any(|line| line.trim_start().starts_with("deb") && line.contains(words)),
            _ => false,
        };
        if on {
            return Ok(Some(format!("{path} is switched on")));
        }
    }
    Ok(None)
}

/// sources.list(5): a paragraph is off where it says `Enabled: no`; field names have no case.
fn deb822_enabled(text: &str, words: &str) -> bool {
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    lines
        .split(|line| line.trim().is_empty())
        .filter(|paragraph| paragraph.iter().any(|line| line.contains(words)))
        .any(|paragraph| {
            let values = paragraph.iter().filter_map(|line| {
                let (field, value) = line.split_once(':')?;
                let is_it = field.eq_ignore_ascii_case("Enabled");
                is_it.then(|| value.trim().to_ascii_lowercase())
            });
            !values
                .into_iter()
                .any(|v| ["no", "false", "without", "off", "disable"].contains(&v.as_str()))
        })
}

/// Whether a version is that of a kernel package of Proxmox's, signed or not.
fn is_proxmoxs(packages: &BTreeMap<String, String>, version: &str) -> bool {
    let package = format!("proxmox-kernel-{version}");
    packages.contains_key(&package) || packages.contains_key(&format!("{package}-signed"))
}

/// The first kernel or folder of modules that is of no package of Proxmox's.
pub(super) fn foreign_kernel(root: &Ext4) -> Result<Option<String>, Ext4Error> {
    let packages = packages(root)?;
    let kernels = matching(root, "/boot/vmlinuz-*")?;
    if kernels.is_empty() {
        return Ok(Some("/boot has no kernel".to_owned()));
    }
    // Where /lib is a link to usr/lib, which it is since Debian 12, both are the same folder.
    let modules = matching(root, "/usr/lib/modules/*")?;
    for path in kernels.into_iter().chain(modules) {
        let name = path.rsplit('/').next().unwrap_or_default();
        let version = name.strip_prefix("vmlinuz-").unwrap_or(name);
        if !is_proxmoxs(&packages, version) {
            return Ok(Some(format!("{path} is of no kernel of Proxmox's")));
        }
    }
    Ok(None)
}

/// Why grub does not boot a kernel of Proxmox's by itself.
pub(super) fn other_boot(root: &Ext4) -> Result<Option<String>, Ext4Error> {
    let menu = read_file(root, GRUB)?.unwrap_or_default();
    let menu = String::from_utf8_lossy(&menu);
    // Both are the first of their kind in the menu: `set default=0`, which update-grub writes too.
    let first = |command: &str| {
        menu.lines().find_map(|line| {
            let mut words = line.split_whitespace();
            (words.next() == Some(command)).then(|| words.next().unwrap_or_default().to_owned())
        })
    };
    let Some(kernel) = first("linux") else {
        return Ok(Some(format!("{GRUB} boots nothing")));
    };
    let version = kernel.strip_prefix(KERNEL).unwrap_or_default();
    if !is_proxmoxs(&packages(root)?, version) {
        return Ok(Some(format!(
            "{GRUB} boots {kernel}, which is no kernel of Proxmox's"
        )));
    }
    let initrd = first("initrd").unwrap_or_default();
    for file in [kernel, initrd] {
        if matching(root, &file)?.is_empty() {
            return Ok(Some(format!("{GRUB} names {file}, which is missing")));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_on_unless_its_own_paragraph_says_no() {
        let on = |text: &str| deb822_enabled(text, "enterprise.");
        let source = "Types: deb\nURIs: https://enterprise.example/pve\n";
        assert!(on(source));
        assert!(on(&format!("{source}Enabled: yes\n")));
        assert!(on(&format!("Enabled: no\n\n{source}")));
        assert!(on(&format!("{source}# Enabled: no\n")));
        assert!(!on(&format!("{source}Enabled: no\n")));
        assert!(!on(&format!(
            "enabled: NO\n{source}\nTypes: deb\nURIs: http://other\n"
        )));
        assert!(!on("Types: deb\nURIs: http://other\n"));
    }
}
