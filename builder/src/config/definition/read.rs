//! Reading an image definition: keys, forms and the checks of key files.

use super::key::{self, Wanted};
use super::model::{Definition, RELEASES, Repository};
use super::{netinst, packages, proxmox, settings};
use crate::config::yaml::{Fields, Keys, Node, Reader, Spanned, validators};
use std::path::{Path, PathBuf};

const MIN_DISK: u64 = 2 * validators::GIB;
/// An installed node takes some 3 GB (an estimate).
const MIN_DISK_PROXMOX: u64 = 4 * validators::GIB;
/// The partition table is an msdos table, which counts sectors with 32 bits.
const MAX_DISK: u64 = 2048 * validators::GIB;
/// The kernel's COMMAND_LINE_SIZE is 2048; its own path and `root=UUID=…` are in it too.
const MAX_COMMAND_LINE: usize = 1800;
pub(super) const DEFAULT_KERNEL: &str = "linux-image-cloud-amd64";
pub(super) const DEFAULT_COMMAND_LINE: &str = "console=tty1 console=ttyS0,115200 net.ifnames=0";

const KEYS: Keys = &[
    ("release", "release: trixie (or bookworm)"),
    ("disk", "disk: a size from 2G to 2T, such as 8G"),
    (
        "kernel",
        "kernel: one Debian package, such as linux-image-cloud-amd64",
    ),
    ("proxmox", proxmox::RIGHT),
    ("packages", "packages: a list of Debian package names"),
    (
        "kernel_command_line",
        "kernel_command_line: console=tty1 console=ttyS0,115200 net.ifnames=0, and what you add",
    ),
    (
        "repositories",
        "repositories: a list of {name, url, suite, components, key, key_sha256, packages}",
    ),
    (
        "timezone",
        "timezone: a name such as Etc/UTC or Europe/Paris",
    ),
    ("locale", "locale: a name such as C.UTF-8 or fr_FR.UTF-8"),
    (
        "unattended_upgrades",
        "unattended_upgrades: true, or false where nothing is to be upgraded by itself",
    ),
    (
        "rpcbind",
        "rpcbind: false, or true where an NFS server knows version 3 only",
    ),
    ("settings", settings::RIGHT),
    (
        "mirror",
        "mirror: the http:// or https:// address of a Debian mirror",
    ),
    (
        "security_mirror",
        "security_mirror: the http:// or https:// address of a mirror of Debian's security archive",
    ),
    (
        "netinst",
        "netinst: {url, sha256} of an ISO, or {version, site, keyring}",
    ),
    ("proxy", "proxy: an HTTP proxy as http://HOST:PORT"),
];

const REPOSITORY_KEYS: Keys = &[
    (
        "name",
        "name: a short word (lower-case letters, digits, hyphens); it names the .sources file",
    ),
    ("url", "url: an http:// or https:// address"),
    (
        "suite",
        "suite: such as trixie, or a folder that ends with a slash",
    ),
    ("components", "components: a list such as [main]"),
    (
        "key",
        "key: the repository's public key, a file beside this one",
    ),
    (
        "key_sha256",
        "key_sha256: the 64 hex digits that `sha256sum FILE` prints",
    ),
    ("packages", "packages: a list of Debian package names"),
];

/// Reads the document; complete only where no problem was noted.
pub(super) fn read(r: &mut Reader, node: &Node, folder: &Path) -> Definition {
    let f = r.fields(
        node,
        "the image definition",
        "at least `release` and `disk`",
        KEYS,
    );
    r.require(&f, "release");
    r.require(&f, "disk");
    // A default stands in for what is absent and for what was noted as a problem; with a
    // problem the definition is never handed out.
    let release = r.field(&f, "release", release);
    let netinst = netinst::read(r, &f, release.as_ref(), folder);
    let proxmox = proxmox::read(r, &f, release.as_ref(), folder);
    let kernel = r.field(&f, "kernel", packages::name);
    let further = r.field_list(&f, "packages", packages::name);
    if proxmox.is_some() {
        only_proxmoxs_kernel(r, kernel.as_ref(), &further);
    }
    let disk = r.field_scalar(&f, "disk", |t| validators::size(t, MIN_DISK, MAX_DISK));
    if let Some(disk) = disk.as_ref().filter(|_| proxmox.is_some()) {
        if disk.value < MIN_DISK_PROXMOX {
            let message = "this disk is too small for Proxmox VE";
            let hint = "disk: 4G or more, such as 32G; or `proxmox: false` for a plain Debian base";
            r.problem(disk.place, message, hint);
        }
    }
    let default_kernel = match proxmox {
        Some(_) => proxmox::KERNEL,
        None => DEFAULT_KERNEL,
    };
    Definition {
        release: value(release, ""),
        disk: disk.map_or(0, |d| d.value),
        kernel: value(kernel, default_kernel),
        packages: plain(further),
        kernel_command_line: value(
            r.field(&f, "kernel_command_line", command_line),
            DEFAULT_COMMAND_LINE,
        ),
        repositories: read_repositories(r, &f, folder, proxmox.is_some()),
        proxmox,
        timezone: value(r.field(&f, "timezone", validators::timezone), "Etc/UTC"),
        locale: value(r.field(&f, "locale", validators::locale), "C.UTF-8"),
        unattended_upgrades: r
            .field_scalar(&f, "unattended_upgrades", validators::yes_or_no)
            .is_none_or(|u| u.value),
        rpcbind: r
            .field_scalar(&f, "rpcbind", validators::yes_or_no)
            .is_some_and(|r| r.value),
        settings: settings::read(r, &f),
        mirror: r.field(&f, "mirror", validators::url).map(|m| m.value),
        security_mirror: r
            .field(&f, "security_mirror", validators::url)
            .map(|m| m.value),
        netinst,
        proxy: r.field(&f, "proxy", validators::proxy).map(|p| p.value),
    }
}

/// Proxmox brings its own kernel, and Debian's must not be beside it.
fn only_proxmoxs_kernel(
    r: &mut Reader,
    kernel: Option<&Spanned<String>>,
    packages: &[Spanned<String>],
) {
    if let Some(kernel) = kernel {
        let message = "`kernel` has no meaning in a base with Proxmox VE, which has its own kernel";
        let hint = "no `kernel`; or `proxmox: false` for a plain Debian base";
        r.problem(kernel.place, message, hint);
    }
    for package in packages {
        if package.value.starts_with("linux-image-") {
            let message = format!(
                "`{}` is a kernel of Debian's, and a base with Proxmox VE has Proxmox's only",
                package.value
            );
            let hint = "no such line; or `proxmox: false` for a plain Debian base";
            r.problem(package.place, message, hint);
        }
    }
}

fn read_repositories(
    r: &mut Reader,
    f: &Fields<'_>,
    folder: &Path,
    proxmox: bool,
) -> Vec<Repository> {
    let Some(node) = f.get("repositories") else {
        return Vec::new();
    };
    let mut names: Vec<Spanned<String>> = Vec::new();
    let mut repositories = Vec::new();
    for node in r.list(node, f.hint("repositories")) {
        let f = r.fields(
            node,
            "a repository",
            f.hint("repositories"),
            REPOSITORY_KEYS,
        );
        let name = r.field(&f, "name", repository_name);
        if let Some(name) = &name {
            if let Some(first) = names.iter().find(|n| n.value == name.value) {
                let message = format!(
                    "the repository name `{}` is used twice; first in line {}",
                    name.value, first.place.line
                );
                r.problem(name.place, message, "each repository has its own name");
            }
            if proxmox && name.value == proxmox::NAME {
                let message = "the repository name `proxmox` is taken by the key `proxmox`";
                let hint = "no such repository, because `proxmox` adds it; or another name";
                r.problem(name.place, message, hint);
            }
            names.push(name.clone());
        }
        repositories.push(read_repository(r, &f, name, folder));
    }
    repositories
}

fn read_repository(
    r: &mut Reader,
    f: &Fields<'_>,
    name: Option<Spanned<String>>,
    folder: &Path,
) -> Repository {
    for key in ["name", "url", "suite", "key", "key_sha256"] {
        r.require(f, key);
    }
    let suite = r.field(f, "suite", |t| packages::archive_word(t, true));
    let components = r.field_list(f, "components", |t| packages::archive_word(t, false));
    if let Some(suite) = &suite {
        // sources.list(5): a suite that ends with a slash is a folder and has no components.
        match (suite.value.ends_with('/'), components.first()) {
            (false, None) if !f.accounted("components") => r.require(f, "components"),
            (true, Some(first)) => r.problem(
                first.place,
                format!(
                    "the suite `{}` is a folder, which has no components",
                    suite.value
                ),
                "no `components`, or a suite without the slash",
            ),
            _ => {}
        }
    }
    let sha256 = r.field(f, "key_sha256", key::sha256);
    let key = r.field(f, "key", |t| Ok::<_, String>(t.to_owned()));
    let key = key.map_or_else(PathBuf::new, |key| {
        let wanted = sha256.as_ref().map(Wanted::Written);
        key::read_file(r, &key, f.hint("key"), wanted, folder)
    });
    Repository {
        name: value(name, ""),
        url: value(r.field(f, "url", validators::url), ""),
        suite: value(suite, ""),
        components: plain(components),
        key,
        key_sha256: sha256.map_or_else(String::new, |digest| digest.value.to_string()),
        packages: plain(r.field_list(f, "packages", packages::name)),
    }
}

fn value(found: Option<Spanned<impl Into<String>>>, default: &str) -> String {
    found.map_or_else(|| default.to_owned(), |f| f.value.into())
}

fn plain<T>(items: Vec<Spanned<T>>) -> Vec<T> {
    items.into_iter().map(|i| i.value).collect()
}

fn release(text: &str) -> Result<String, String> {
    if RELEASES.iter().any(|(name, _)| *name == text) {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "the Debian release `{}` is not known here",
            validators::display_safe(text)
        ))
    }
}

fn repository_name(text: &str) -> Result<String, String> {
    validators::label(text)
        .map(String::from)
        .map_err(|_| format!("`{}` is no short word", validators::display_safe(text)))
}

/// The kernel command line, one space between words.
fn command_line(text: &str) -> Result<String, String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    if words.iter().any(|w| w.starts_with("root=")) {
        return Err("`root=` is set by the boot loader, which knows the disk's UUID".to_owned());
    }
    // The line is put between quotes in /etc/default/grub, which is a shell script, and without any in
    // grub.cfg, where these end a command, begin another or a comment (GRUB's manual, "Quoting").
    let odd = |c: char| !c.is_ascii_graphic() || "\"'`$\\;|&{}<>#".contains(c);
    let found = words
        .iter()
        .find_map(|word| Some((word, word.chars().find(|c| odd(*c))?)));
    if let Some((word, odd)) = found {
        let (word, odd) = (
            validators::display_safe(word),
            validators::display_safe(&odd.to_string()),
        );
        return Err(format!(
            "`{word}` has the character `{odd}`, which grub takes for itself and does not hand to the \
             kernel"
        ));
    }
    let length = words.iter().map(|word| word.len() + 1).sum::<usize>();
    if length > MAX_COMMAND_LINE {
        return Err(format!(
            "the line has {length} characters; the kernel reads 2047, some of them are the boot \
             loader's, and {MAX_COMMAND_LINE} are left"
        ));
    }
    let serial = |w: &&str| *w == "console=ttyS0" || w.starts_with("console=ttyS0,");
    if !words.iter().any(serial) {
        return Err(
            "`console=ttyS0` is missing: without it the serial console, which \
                    `imgbuild run` shows and logs, stays silent"
                .to_owned(),
        );
    }
    if !words.contains(&"net.ifnames=0") {
        return Err(
            "`net.ifnames=0` is missing: without it the network card has another name \
                    on another machine type, and the node comes up without a network"
                .to_owned(),
        );
    }
    Ok(words.join(" "))
}
