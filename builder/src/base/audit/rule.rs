//! What must hold for the paths of a point, and how it is looked at.

use super::proxmox;
use crate::image::tree::{entries, find_below, link, matching, read_file};
use ext4_view::{Ext4, Ext4Error, Metadata};

/// What must hold for the paths of one point. Patterns have one `*` in their last part.
pub(super) enum Rule {
    /// No such path.
    Absent(&'static [&'static str]),
    /// Folders with nothing in them (or absent).
    Empty(&'static [&'static str]),
    /// No file with content anywhere below; an empty one (APT's locks) identifies nobody.
    NoFilesBelow(&'static [&'static str]),
    /// A file that exists and has no byte.
    EmptyFile(&'static str),
    /// A file, where it exists, with exactly this content.
    Content(&'static str, &'static str),
    /// A file or folder that is there.
    Exists(&'static str),
    /// A link to this target.
    Link(&'static str, &'static str),
    /// An executable file.
    Program(&'static str),
    /// Root's password is locked.
    RootLocked,
    /// No file with one of these endings anywhere below.
    NoneNamed(&'static str, &'static [&'static str]),
    /// A folder that exists and has nothing in it.
    EmptyFolder(&'static str),
    /// The folders hold no APT source that is switched on and has these words in its address.
    NoSource(&'static str),
    /// None of these packages is installed; a name may end with `*`.
    NoPackage(&'static [&'static str]),
    /// Every kernel, and every folder of modules, is of Proxmox's packages.
    OnlyProxmoxsKernel,
    /// The first entry of grub's menu is a kernel of Proxmox's packages, with its initramfs.
    GrubBootsProxmoxsKernel,
    /// The rule holds where Proxmox VE is installed; a plain Debian base has nothing to do with it.
    WithProxmox(&'static Rule),
    /// All of them; the first that does not hold is told.
    All(&'static [Rule]),
}

impl Rule {
    /// Why it does not hold, with the path; `None` when it does. Fails when the file system
    /// cannot be read.
    pub(super) fn check(&self, root: &Ext4) -> Result<Option<String>, Ext4Error> {
        match self {
            Rule::Absent(patterns) => first(patterns, |pattern| {
                let found = matching(root, pattern)?.into_iter().next();
                Ok(found.map(|found| format!("{found} is there")))
            }),
            Rule::Empty(folders) => first(folders, |folder| {
                let found = entries(root, folder)?.into_iter().next();
                Ok(found.map(|found| format!("{folder}/{found} is there")))
            }),
            Rule::NoFilesBelow(folders) => first(folders, |folder| {
                let has_content = |_: &str, data: &Metadata| !data.is_symlink() && data.len() > 0;
                let found = find_below(root, folder, &has_content)?;
                Ok(found.map(|found| format!("{found} is there")))
            }),
            Rule::EmptyFile(path) => Ok(match read_file(root, path)? {
                None => Some(format!("{path} is missing")),
                Some(bytes) if bytes.is_empty() => None,
                Some(_) => Some(format!("{path} is not empty")),
            }),
            Rule::Content(path, content) => Ok(match read_file(root, path)? {
                Some(bytes) if bytes != content.as_bytes() => Some(match content.lines().count() {
                    1 => format!("{path} does not say {}", content.trim_end()),
                    _ => format!("{path} is not as imgbuild writes it"),
                }),
                _ => None,
            }),
            Rule::Exists(path) => Ok(match matching(root, path)?.is_empty() {
                true => Some(format!("{path} is missing")),
                false => None,
            }),
            Rule::Link(path, target) => Ok(match link(root, path)? {
                Some(found) if found == *target => None,
                Some(found) => Some(format!("{path} is a link to {found}, not to {target}")),
                None => Some(format!("{path} is no link to {target}")),
            }),
            Rule::Program(path) => Ok(match root.metadata(*path) {
                Ok(data) if data.mode() & 0o111 == 0o111 => None,
                Ok(_) => Some(format!("{path} is not executable")),
                Err(Ext4Error::NotFound) => Some(format!("{path} is missing")),
                Err(error) => return Err(error),
            }),
            Rule::NoneNamed(folder, endings) => {
                let found = find_below(root, folder, &|name, _| {
                    endings.iter().any(|ending| name.ends_with(ending))
                })?;
                Ok(found.map(|path| format!("{path} is there")))
            }
            Rule::EmptyFolder(path) => Ok(match root.metadata(*path) {
                Ok(data) if data.is_dir() => entries(root, path)?
                    .first()
                    .map(|found| format!("{path}/{found} is there")),
                Ok(_) => Some(format!("{path} is no folder")),
                Err(Ext4Error::NotFound) => Some(format!("{path} is missing")),
                Err(error) => return Err(error),
            }),
            Rule::NoSource(words) => proxmox::enabled_source(root, words),
            Rule::NoPackage(names) => proxmox::installed(root, names),
            Rule::OnlyProxmoxsKernel => proxmox::foreign_kernel(root),
            Rule::GrubBootsProxmoxsKernel => proxmox::other_boot(root),
            Rule::WithProxmox(rule) => match proxmox::is_installed(root)? {
                true => rule.check(root),
                false => Ok(None),
            },
            Rule::All(rules) => first(rules, |rule| rule.check(root)),
            Rule::RootLocked => {
                let shadow = read_file(root, "/etc/shadow")?.unwrap_or_default();
                let shadow = String::from_utf8_lossy(&shadow);
                let field = shadow
                    .lines()
                    .find_map(|line| line.strip_prefix("root:"))
                    .and_then(|rest| rest.split(':').next());
                Ok(match field {
                    Some(hash) if hash.starts_with(['!', '*']) => None,
                    _ => Some("/etc/shadow gives root a password".to_owned()),
                })
            }
        }
    }
}

/// The first reason that any of these gives.
fn first<T>(
    all: &[T],
    why: impl Fn(&T) -> Result<Option<String>, Ext4Error>,
) -> Result<Option<String>, Ext4Error> {
    all.iter().find_map(|one| why(one).transpose()).transpose()
}
