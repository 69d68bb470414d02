//! The installer's disc: proven to be the right one, and its kernel and initrd read from it.
//!
//! A netinst or a DVD will do: both have the installer in `install.amd/`. A live disc will not:
//! its installer belongs to the running live system.

#[cfg(test)]
mod tests;

use crate::config::definition::release_number;
use crate::system::{given, kind, text};
use anyhow::{Context, Result, bail};
use firstboot::contract::iso9660::{Entry, Volume};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// The architecture that a base has.
const ARCHITECTURE: &str = "amd64";
const KERNEL: &str = "install.amd/vmlinuz";
const INITRD: &str = "install.amd/initrd.gz";

/// Where the installer is on any disc: a folder per architecture, such as `install.a64`.
const INSTALLER: &str = "install.";
/// The words for architectures in `.disk/info`.
const ARCHITECTURES: [&str; 9] = [
    "amd64", "i386", "arm64", "armhf", "armel", "riscv64", "ppc64el", "s390x", "mips64el",
];

/// Debian's largest are 12 and 50 MB; a damaged length must not take all memory.
const LARGEST_KERNEL: u64 = 64 << 20;
const LARGEST_INITRD: u64 = 512 << 20;
const LARGEST_INFO: u64 = 4096;

/// An installer's disc that fits the definition.
#[derive(Debug)]
pub(crate) struct Disc {
    pub path: PathBuf,
    /// Its digest, lower-case hex.
    pub sha256: String,
    /// `vmlinuz` of the installer.
    pub kernel: Vec<u8>,
    /// `initrd.gz` of the installer.
    pub initrd: Vec<u8>,
    /// The line in `.disk/info`, such as `Debian GNU/Linux 13.2.0 "Trixie" - Official amd64 NETINST`.
    pub info: String,
}

impl Disc {
    /// Reads a disc. Fails when it is not an installer of `release` (Debian's code name) for
    /// this architecture, and says what was found.
    pub(crate) fn open(path: &Path, sha256: String, release: &str) -> Result<Self> {
        let name = path.display();
        let cannot_read = || format!("cannot read the installer's disc {name}");
        let mut file = given::open(path).with_context(cannot_read)?;
        let metadata = file.metadata().with_context(cannot_read)?;
        let length = metadata.len();
        let Some(mut volume) = Volume::open(&mut file).with_context(cannot_read)? else {
            let seems = seems_to_be(&mut file, length).with_context(cannot_read)?;
            bail!("{name} is no ISO 9660 image: {seems}");
        };
        if volume.size() > length {
            bail!(
                "{name} is truncated: it has {length} bytes, and its volume has {}. Download \
                 it once more",
                volume.size()
            );
        }
        let found = look(&mut volume).with_context(cannot_read)?;
        let (info, kernel, initrd) = classify(found, volume.label(), release)
            .with_context(|| format!("{name} cannot be used to install the base"))?;
        let kernel = whole(&mut volume, &kernel, LARGEST_KERNEL)
            .with_context(|| format!("cannot read {KERNEL} from {name}"))?;
        let initrd = whole(&mut volume, &initrd, LARGEST_INITRD)
            .with_context(|| format!("cannot read {INITRD} from {name}"))?;
        // Linux' x86 boot protocol has this word in the setup header.
        if kernel.get(0x202..0x206) != Some(b"HdrS") {
            bail!("{KERNEL} on {name} is not a Linux kernel: the disc is damaged");
        }
        if !initrd.starts_with(&[0x1f, 0x8b]) {
            bail!("{INITRD} on {name} is not compressed with gzip: the disc is damaged");
        }
        Ok(Disc {
            path: path.to_owned(),
            sha256,
            kernel,
            initrd,
            info,
        })
    }
}

fn whole<T: Read + Seek>(volume: &mut Volume<T>, file: &Entry, most: u64) -> Result<Vec<u8>> {
    if file.length() > most {
        bail!(
            "it has {} MB, and no installer's has {} MB",
            file.length() / 1_000_000,
            most / 1_000_000
        );
    }
    Ok(volume.read(file, most)?)
}

/// What is on a volume, as far as it matters here.
#[derive(Debug, Default)]
struct Contents {
    /// The first line of `.disk/info`.
    info: Option<String>,
    kernel: Option<Entry>,
    initrd: Option<Entry>,
    is_live: bool,
    /// The folder of an installer for another architecture.
    other: Option<String>,
}

fn look<T: Read + Seek>(volume: &mut Volume<T>) -> std::io::Result<Contents> {
    let info = match volume.find(".disk/info")? {
        Some(file) => Some(volume.read(&file, LARGEST_INFO)?),
        None => None,
    };
    let info = info.map(|bytes| {
        let text = String::from_utf8_lossy(&bytes);
        text::plain(text.lines().next().unwrap_or_default())
    });
    let mut folders = volume.root()?.into_iter().filter(|entry| entry.is_folder);
    let other = folders.find(|f| f.name.starts_with(INSTALLER) && !KERNEL.starts_with(&f.name));
    Ok(Contents {
        info: info.filter(|info| !info.is_empty()),
        kernel: volume.find(KERNEL)?,
        initrd: volume.find(INITRD)?,
        is_live: volume.find("live")?.is_some(),
        other: other.map(|folder| text::plain(&folder.name)),
    })
}

/// Whether this is the disc that is wanted: Debian's installer, this architecture, this release.
fn classify(found: Contents, label: &str, release: &str) -> Result<(String, Entry, Entry)> {
    let number = release_number(release).map_or(String::new(), |n| format!("debian-{n}.…-"));
    let wanted = format!("{number}{ARCHITECTURE}-netinst.iso is wanted ({release})");
    let label = text::plain(label);
    let Some(info) = found.info else {
        bail!(
            "it is no installer's disc of Debian: the volume `{label}` has no .disk/info; {wanted}"
        );
    };
    let words: Vec<&str> = info.split([' ', '/']).collect();
    let architectures: Vec<&str> = ARCHITECTURES
        .into_iter()
        .filter(|architecture| words.contains(architecture))
        .collect();
    if let Some(architecture) = architectures.first() {
        if !architectures.contains(&ARCHITECTURE) {
            bail!("it is for {architecture}: its .disk/info says `{info}`; {wanted}");
        }
    }
    let (Some(kernel), Some(initrd)) = (found.kernel, found.initrd) else {
        if found.is_live {
            bail!("it is a live disc: its .disk/info says `{info}`; {wanted}");
        }
        if let Some(folder) = found.other {
            bail!(
                "it is for another architecture: its installer is in {folder}, and its \
                 .disk/info says `{info}`; {wanted}"
            );
        }
        bail!(
            "there is no Debian installer on it: it has no {KERNEL} or no {INITRD}, and its \
             .disk/info says `{info}`; {wanted}"
        );
    };
    let is_wanted = match code_name(&info) {
        Some(name) => name.eq_ignore_ascii_case(release),
        None => major_number(&words).is_some_and(|n| Some(n) == release_number(release)),
    };
    if !is_wanted {
        bail!(
            "it is of another release: its .disk/info says `{info}`; {wanted}, as the image \
             definition's `release` says"
        );
    }
    Ok((info, kernel, initrd))
}

/// `Trixie` in `Debian GNU/Linux 13.2.0 "Trixie" - Official …`.
fn code_name(info: &str) -> Option<&str> {
    let (_, rest) = info.split_once('"')?;
    Some(rest.split_once('"')?.0)
}

/// 13 in the same; only Debian's own numbers mean anything here.
fn major_number(words: &[&str]) -> Option<u32> {
    let debian = words.iter().position(|word| *word == "Debian")?;
    let number = words[debian..]
        .iter()
        .find(|word| word.starts_with(|c: char| c.is_ascii_digit()))?;
    number.split('.').next()?.parse().ok()
}

/// What a file is that is no ISO 9660 image, by how it begins.
fn seems_to_be(file: &mut File, length: u64) -> std::io::Result<String> {
    file.seek(SeekFrom::Start(0))?;
    let seen = kind::seems_to_be(file, length)?;
    Ok(seen
        .unwrap_or_else(|| format!("its {length} bytes hold no volume descriptor at byte 32768")))
}
