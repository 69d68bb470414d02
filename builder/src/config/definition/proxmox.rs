//! `proxmox`: Proxmox VE's repository, and the key that signs it.

use super::key::{self, Digest, From, Key};
use super::model::{Proxmox, release_number};
use super::packages;
use crate::config::yaml::{Fields, Keys, Kind, Node, Reader, Spanned, validators};
use std::path::Path;

/// What a version of Proxmox VE needs, as Proxmox's manual for an installation on Debian says.
struct Version {
    number: u32,
    /// Debian's code name, which is the name of the repository's suite too.
    release: &'static str,
    key_url: &'static str,
    key: (fn(String) -> Digest, &'static str),
}

const VERSIONS: [Version; 2] = [
    Version {
        number: 9,
        release: "trixie",
        key_url: "https://enterprise.proxmox.com/debian/proxmox-archive-keyring-trixie.gpg",
        key: (
            Digest::Sha256,
            "136673be77aba35dcce385b28737689ad64fd785a797e57897589aed08db6e45",
        ),
    },
    Version {
        number: 8,
        release: "bookworm",
        key_url: "https://enterprise.proxmox.com/debian/proxmox-release-bookworm.gpg",
        key: (
            Digest::Sha512,
            "7da6fe34168adc6e479327ba517796d4702fa2f8b4f0a9833f5ea6e6b48f6507\
             a6da403a274fe201595edc86a84463d50383d07f64bdde2e3658108db7d6dc87",
        ),
    },
];
const URL: &str = "http://download.proxmox.com/debian/pve";
const COMPONENT: &str = "pve-no-subscription";

/// The name of the repository's file, and of the packages' own kernel.
pub(super) const NAME: &str = "proxmox";
pub(super) const KERNEL: &str = "proxmox-default-kernel";

pub(super) const RIGHT: &str = "proxmox: 9 (on Debian 13, trixie), 8 (on Debian 12, bookworm), false, or a map of \
     {version, url, suite, components, key or key_url, key_sha256 or key_sha512}";
const KEYS: Keys = &[
    ("version", "version: 9 (on trixie) or 8 (on bookworm)"),
    (
        "url",
        "url: the http:// or https:// address of Proxmox's repository or of a copy",
    ),
    (
        "suite",
        "suite: trixie or bookworm, as the repository has it",
    ),
    (
        "components",
        "components: a list such as [pve-no-subscription]",
    ),
    (
        "key",
        "key: the repository's public key, a file beside this one",
    ),
    (
        "key_url",
        "key_url: the http:// or https:// address of the repository's public key",
    ),
    (
        "key_sha256",
        "key_sha256: the 64 hex digits that `sha256sum FILE` prints",
    ),
    (
        "key_sha512",
        "key_sha512: the 128 hex digits that `sha512sum FILE` prints",
    ),
];

/// Reads `proxmox`; without it the version that belongs to the release.
pub(super) fn read(
    r: &mut Reader,
    f: &Fields<'_>,
    release: Option<&Spanned<String>>,
    folder: &Path,
) -> Option<Proxmox> {
    let release = release.map(|release| release.value.as_str());
    let Some(node) = f.get("proxmox") else {
        // A release that is wrong is told by its own line.
        let version = VERSIONS.iter().find(|v| Some(v.release) == release)?;
        return Some(version.with_defaults());
    };
    match &node.kind {
        Kind::Scalar { text, plain: true } if text.eq_ignore_ascii_case("false") => None,
        Kind::Map(_) => read_map(r, node, release, folder),
        _ => {
            let version = r.formed_scalar(node, RIGHT, |text| version(text, release))?;
            Some(version.value.with_defaults())
        }
    }
}

fn read_map(r: &mut Reader, node: &Node, release: Option<&str>, folder: &Path) -> Option<Proxmox> {
    let f = r.fields(node, "`proxmox`", RIGHT, KEYS);
    r.require(&f, "version");
    let version = r.field_scalar(&f, "version", |text| version(text, release));
    // Without a version, what belongs to the first stands in: a problem was noted.
    let version = version.map_or(&VERSIONS[0], |v| v.value);
    let mut proxmox = version.with_defaults();
    let components = r.field_list(&f, "components", |text| packages::archive_word(text, false));
    if let Some(url) = r.field(&f, "url", repository) {
        proxmox.url = url.value;
    }
    if let Some(suite) = r.field(&f, "suite", |text| packages::archive_word(text, false)) {
        proxmox.suite = suite.value;
    }
    if !components.is_empty() {
        proxmox.components = components.into_iter().map(|c| c.value).collect();
    }
    key::read(r, &f, folder, &mut proxmox.key);
    Some(proxmox)
}

impl Version {
    fn with_defaults(&self) -> Proxmox {
        Proxmox {
            version: self.number,
            url: URL.to_owned(),
            suite: self.release.to_owned(),
            components: vec![COMPONENT.to_owned()],
            key: Key {
                from: From::Url(self.key_url.to_owned()),
                digest: (self.key.0)(self.key.1.to_owned()),
            },
        }
    }
}

/// The address of a repository that asks nobody who they are.
fn repository(text: &str) -> Result<String, String> {
    let url = validators::url(text)?;
    match url.contains("://enterprise.proxmox.com") {
        true => Err(format!(
            "`{}` is for machines with a subscription, and a base has no identity that could have one",
            validators::display_safe(text)
        )),
        false => Ok(url),
    }
}

/// A version that is known, and that is made for the release.
fn version(text: &str, release: Option<&str>) -> Result<&'static Version, String> {
    let version = VERSIONS.iter().find(|v| v.number.to_string() == text);
    let Some(version) = version else {
        return Err(format!(
            "`{}` is no version of Proxmox VE that is known here",
            validators::display_safe(text)
        ));
    };
    match release {
        Some(release) if release != version.release => Err(format!(
            "Proxmox VE {} is for Debian {} ({}), and `release` says {release}",
            version.number,
            release_number(version.release).unwrap_or(0),
            version.release,
        )),
        _ => Ok(version),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::definition::RELEASES;

    #[test]
    fn each_release_has_its_version_with_a_whole_digest() {
        for (release, _) in RELEASES {
            let version = VERSIONS.iter().find(|v| v.release == release).unwrap();
            let digest = version.with_defaults().key.digest;
            let good = match digest {
                Digest::Sha256(digits) => validators::sha256(&digits),
                Digest::Sha512(digits) => validators::sha512(&digits),
            };
            assert!(good.is_ok());
        }
    }

    #[test]
    fn a_version_fits_its_release() {
        assert_eq!(version("9", Some("trixie")).unwrap().number, 9);
        // A release that is wrong itself is told once.
        assert_eq!(version("8", None).unwrap().number, 8);
        for (text, release) in [("8", "trixie"), ("9", "bookworm")] {
            let error = version(text, Some(release)).err().unwrap();
            assert!(error.ends_with(&format!("says {release}")), "{error}");
        }
        for text in ["", "7", "9.1", "nine", "09"] {
            assert!(version(text, None).is_err(), "{text}");
        }
    }
}
