//! Proving from outside that an image is sealed: the list of points, and their reading.

use crate::command;
use crate::qcow2::Image;
use anyhow::{Context, Result};
use ext4_view::{Ext4, Ext4Error};
use std::path::Path;
use std::process::Command;

/// One point of the audit.
#[derive(Debug)]
pub struct Finding {
    /// What must be so.
    pub point: String,
    /// The path that is not, and why; `None` when the point is proven.
    pub problem: Option<String>,
}

impl Finding {
    /// The finding for programs.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::json!({
            "event": "audit", "point": self.point,
            "result": if self.problem.is_none() { "ok" } else { "failed" },
            "problem": self.problem,
        })
    }
}

/// What must hold for the paths of one point. Patterns have one `*` in their last part.
enum Rule {
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
    /// A link to this target.
    Link(&'static str, &'static str),
    /// An executable file.
    Program(&'static str),
    /// Root's password is locked.
    RootLocked,
}

/// The points: virt-sysprep's list, and Proxmox VE's own.
const POINTS: &[(&str, Rule)] = &[
    (
        "no ssh host keys",
        Rule::Absent(&["/etc/ssh/ssh_host_*", "/etc/ssh/ssh_known_hosts"]),
    ),
    (
        "no keys of root",
        Rule::Absent(&[
            "/root/.ssh/id_*",
            "/root/.ssh/known_hosts",
            "/root/.ssh/authorized_keys",
        ]),
    ),
    (
        "the machine-id is empty",
        Rule::EmptyFile("/etc/machine-id"),
    ),
    (
        "no second machine-id",
        Rule::Absent(&["/var/lib/dbus/machine-id", "/etc/hostid"]),
    ),
    (
        "no random seed",
        Rule::Absent(&[
            "/var/lib/systemd/random-seed",
            "/var/lib/urandom/random-seed",
            "/var/lib/systemd/credential.secret",
        ]),
    ),
    (
        "no DHCP leases",
        Rule::Empty(&[
            "/var/lib/dhcp",
            "/var/lib/dhcpcd",
            "/var/lib/NetworkManager",
        ]),
    ),
    ("no logs", Rule::NoFilesBelow(&["/var/log"])),
    (
        "no shell histories",
        Rule::Absent(&[
            "/root/.*history",
            "/root/.viminfo",
            "/root/.lesshst",
            "/root/.wget-hsts",
        ]),
    ),
    (
        "no package lists",
        Rule::NoFilesBelow(&["/var/lib/apt/lists"]),
    ),
    (
        "no package files",
        Rule::NoFilesBelow(&["/var/cache/apt/archives"]),
    ),
    (
        "no mail",
        Rule::NoFilesBelow(&[
            "/var/mail",
            "/var/spool/mail",
            "/var/spool/postfix/deferred",
            "/var/spool/postfix/maildrop",
            "/var/spool/postfix/incoming",
        ]),
    ),
    ("no temporary files", Rule::Empty(&["/tmp", "/var/tmp"])),
    (
        "no backups of the account files",
        Rule::Absent(&[
            "/etc/passwd-",
            "/etc/shadow-",
            "/etc/group-",
            "/etc/gshadow-",
        ]),
    ),
    (
        "no key of a default certificate",
        Rule::Absent(&["/etc/ssl/private/ssl-cert-snakeoil.key"]),
    ),
    ("root has no password", Rule::RootLocked),
    (
        "nothing of the build is left",
        Rule::Absent(&[
            "/imgbuild",
            "/usr/sbin/policy-rc.d",
            "/proxmox_install_mode",
            "/etc/dpkg/dpkg.cfg.d/imgbuild",
        ]),
    ),
    (
        "no cluster database",
        Rule::Empty(&["/var/lib/pve-cluster", "/etc/pve", "/var/lib/corosync"]),
    ),
    (
        "no cluster key and configuration",
        Rule::Absent(&["/etc/corosync/authkey", "/etc/corosync/corosync.conf"]),
    ),
    (
        "no RRD files",
        Rule::Empty(&["/var/lib/rrdcached/db", "/var/lib/rrdcached/journal"]),
    ),
    (
        "no pending network configuration",
        Rule::Absent(&["/etc/network/interfaces.new"]),
    ),
    (
        "the iSCSI initiator makes its own name",
        Rule::Content("/etc/iscsi/initiatorname.iscsi", "GenerateName=yes\n"),
    ),
    (
        "no interactive wizard at the first boot",
        Rule::Link("/etc/systemd/system/systemd-firstboot.service", "/dev/null"),
    ),
    ("firstboot is there", Rule::Program("/usr/sbin/firstboot")),
    (
        "firstboot has run for nobody",
        Rule::Absent(&["/var/lib/firstboot"]),
    ),
    (
        "firstboot's first unit is enabled",
        Rule::Link(
            "/etc/systemd/system/sysinit.target.wants/firstboot-local.service",
            "/etc/systemd/system/firstboot-local.service",
        ),
    ),
    (
        "firstboot's second unit is enabled",
        Rule::Link(
            "/etc/systemd/system/multi-user.target.wants/firstboot-join.service",
            "/etc/systemd/system/firstboot-join.service",
        ),
    ),
];

/// Reads an image from outside and checks every point. Fails when it cannot be read.
pub fn audit_image(image: &Path) -> Result<Vec<Finding>> {
    check_image(image)?;
    let root = Image::open(image)?.into_root()?;
    POINTS
        .iter()
        .map(|(point, rule)| {
            let problem = rule
                .check(&root)
                .with_context(|| format!("cannot read the file system of {}", image.display()))?;
            Ok(Finding {
                point: (*point).to_owned(),
                problem,
            })
        })
        .collect()
}

/// qemu-img reads every table of the image; what it calls corrupt is not read any further.
fn check_image(image: &Path) -> Result<()> {
    std::fs::File::open(image).with_context(|| format!("cannot open {}", image.display()))?;
    // The header first, because qemu-img's words on what is no image at all are less clear.
    Image::open(image)?;
    let qemu_img = command::find("qemu-img")?;
    command::output(
        Command::new(qemu_img)
            .args(["check", "-q", "-f", "qcow2"])
            .arg(image),
    )
    .with_context(|| format!("{} is a damaged qcow2 image", image.display()))?;
    Ok(())
}

impl Rule {
    fn check(&self, root: &Ext4) -> Result<Option<String>, Ext4Error> {
        match self {
            Rule::Absent(patterns) => {
                for pattern in *patterns {
                    if let Some(found) = matching(root, pattern)?.first() {
                        return Ok(Some(format!("{found} is there")));
                    }
                }
                Ok(None)
            }
            Rule::Empty(folders) => {
                for folder in *folders {
                    if let Some(found) = entries(root, folder)?.first() {
                        return Ok(Some(format!("{folder}/{found} is there")));
                    }
                }
                Ok(None)
            }
            Rule::NoFilesBelow(folders) => {
                for folder in *folders {
                    if let Some(found) = first_file_below(root, folder)? {
                        return Ok(Some(format!("{found} is there")));
                    }
                }
                Ok(None)
            }
            Rule::EmptyFile(path) => Ok(match read(root, path)? {
                None => Some(format!("{path} is missing")),
                Some(bytes) if bytes.is_empty() => None,
                Some(_) => Some(format!("{path} is not empty")),
            }),
            Rule::Content(path, content) => Ok(match read(root, path)? {
                Some(bytes) if bytes != content.as_bytes() => {
                    Some(format!("{path} does not say {}", content.trim_end()))
                }
                _ => None,
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
            Rule::RootLocked => {
                let shadow = read(root, "/etc/shadow")?.unwrap_or_default();
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

/// The content of a file, or `None` when there is none.
pub fn read(root: &Ext4, path: &str) -> Result<Option<Vec<u8>>, Ext4Error> {
    match root.read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(Ext4Error::NotFound) => Ok(None),
        Err(error) => Err(error),
    }
}

fn link(root: &Ext4, path: &str) -> Result<Option<String>, Ext4Error> {
    match root.read_link(path) {
        Ok(target) => Ok(Some(String::from_utf8_lossy(target.as_ref()).into_owned())),
        Err(Ext4Error::NotFound | Ext4Error::NotASymlink) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The names in a folder, sorted; none when it is absent or no folder.
fn entries(root: &Ext4, folder: &str) -> Result<Vec<String>, Ext4Error> {
    let read = match root.read_dir(folder) {
        Ok(read) => read,
        Err(Ext4Error::NotFound | Ext4Error::NotADirectory) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut names = Vec::new();
    for entry in read {
        let name = String::from_utf8_lossy(entry?.file_name().as_ref()).into_owned();
        if name != "." && name != ".." {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// Paths that match a pattern with at most one `*`, in its last part. A dangling link counts.
fn matching(root: &Ext4, pattern: &str) -> Result<Vec<String>, Ext4Error> {
    let (folder, last) = pattern.rsplit_once('/').unwrap_or(("", pattern));
    let (before, after) = last.split_once('*').unwrap_or((last, ""));
    let folder = if folder.is_empty() { "/" } else { folder };
    let fits = |name: &str| {
        if last.contains('*') {
            name.len() >= before.len() + after.len()
                && name.starts_with(before)
                && name.ends_with(after)
        } else {
            name == last
        }
    };
    Ok(entries(root, folder)?
        .into_iter()
        .filter(|name| fits(name))
        .map(|name| format!("{}/{name}", folder.trim_end_matches('/')))
        .collect())
}

fn first_file_below(root: &Ext4, folder: &str) -> Result<Option<String>, Ext4Error> {
    for name in entries(root, folder)? {
        let path = format!("{folder}/{name}");
        let data = root.symlink_metadata(path.as_str())?;
        if data.is_dir() {
            if let Some(found) = first_file_below(root, &path)? {
                return Ok(Some(found));
            }
        } else if !data.is_symlink() && data.len() > 0 {
            return Ok(Some(path));
        }
    }
    Ok(None)
}
