//! `images/*.yaml`: types, parsing, validation.

pub mod key;
mod model;
mod netinst;
mod packages;
mod proxmox;
mod read;
mod settings;

pub use model::{Definition, Netinst, Proxmox, RELEASES, Repository, release_number};
pub use packages::Always;
pub use settings::Settings;

use crate::config::yaml::{MAX_YAML, Reader};
use crate::system::given;
use anyhow::{Context, Result};
use std::path::Path;

/// The definition that `imgbuild init` writes, and that serves where there is none.
pub const BUILT_IN: &str = include_str!("../../../../images/base.yaml");
/// Where a definition is looked for when none is named.
pub const DEFAULT_FILE: &str = "images/base.yaml";

impl Definition {
    /// Reads and validates a definition; `None` looks for `images/base.yaml`, then takes the
    /// built-in one. The error shows every problem with its place.
    pub fn load(file: Option<&Path>) -> Result<Self> {
        let file = match file {
            Some(file) => file,
            None if Path::new(DEFAULT_FILE).exists() => Path::new(DEFAULT_FILE),
            None => {
                let name = "the built-in images/base.yaml";
                return Self::read(name, Path::new("."), BUILT_IN.as_bytes());
            }
        };
        let bytes = given::read(file, MAX_YAML)
            .with_context(|| format!("cannot read the image definition {}", file.display()))?;
        let folder = file.parent().unwrap_or(Path::new("."));
        Self::read(&file.display().to_string(), folder, &bytes)
    }

    /// Validates a definition whose key files are looked for in `folder`.
    fn read(name: &str, folder: &Path, bytes: &[u8]) -> Result<Self> {
        let least = "at least `release` and `disk`";
        Reader::document(name, bytes, least, |r, node| {
            Some(read::read(r, node, folder))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::yaml::validators;

    #[test]
    fn the_built_in_definition_is_good() {
        let built_in = Definition::read("built-in", Path::new("."), BUILT_IN.as_bytes()).unwrap();
        assert_eq!(built_in.release, "trixie");
        assert_eq!(built_in.disk, 32 * validators::GIB);
        assert_eq!(built_in.kernel_command_line, read::DEFAULT_COMMAND_LINE);
        let version = built_in.proxmox.as_ref().map(|proxmox| proxmox.version);
        assert_eq!(version, Some(9));
        for package in ["openvpn", "openssh-server", "nfs-common"] {
            assert!(built_in.packages.iter().any(|p| p == package), "{package}");
        }
        // What is there anyway stands in one place.
        for always in built_in.always_installed() {
            let package = &always.package;
            assert!(!built_in.packages.contains(package), "{package}");
        }
    }

    #[test]
    fn the_command_line_reaches_the_kernel_or_is_refused() {
        let read = |word: &str| {
            let line = format!("console=ttyS0 net.ifnames=0 {word}");
            let text = format!(
                "release: trixie\ndisk: 8G\nkernel_command_line: {}\n",
                serde_json::Value::from(line)
            );
            Definition::read("x", Path::new("."), text.as_bytes())
        };
        for good in ["isolcpus=1-3,5", "pci=nomsi", "x.y=[a]*?~(b)@c%d+e!f^g:h"] {
            let line = read(good).unwrap().kernel_command_line;
            assert!(line.ends_with(good), "{line}");
        }
        for odd in "\"'`$\\;|&{}<>#é".chars() {
            let text = read(&format!("a{odd}b")).unwrap_err().to_string();
            assert!(text.contains("has the character `"), "{text}");
        }
    }

    /// Comparing it with a known key, each letter with each, takes hundreds of megabytes.
    #[test]
    fn a_key_of_megabytes_is_unknown() {
        let text = format!(
            "release: trixie\ndisk: 8G\n? {}\n: x\n",
            "k".repeat(3 << 20)
        );
        let error = Definition::read("x", Path::new("."), text.as_bytes());
        let error = error.unwrap_err().to_string();
        assert!(error.contains("unknown key `k"), "{error:.200}");
        assert!(error.contains("right: one of: release, "), "{error:.200}");
    }

    #[test]
    fn what_is_absent_has_its_default() {
        let text = "release: bookworm\ndisk: 4G\nproxmox: false\n";
        let definition = Definition::read("x", Path::new("."), text.as_bytes()).unwrap();
        assert_eq!(
            definition,
            Definition {
                release: "bookworm".into(),
                disk: 4 * validators::GIB,
                kernel: read::DEFAULT_KERNEL.into(),
                proxmox: None,
                packages: vec![],
                kernel_command_line: read::DEFAULT_COMMAND_LINE.into(),
                repositories: vec![],
                timezone: "Etc/UTC".into(),
                locale: "C.UTF-8".into(),
                unattended_upgrades: true,
                rpcbind: false,
                settings: Settings::all(true),
                mirror: None,
                security_mirror: None,
                netinst: Netinst::default(),
                proxy: None,
            }
        );
    }

    #[test]
    fn proxmox_is_inside_unless_it_is_switched_off() {
        let read = |text: &str| Definition::read("x", Path::new("."), text.as_bytes()).unwrap();
        for (release, version, digest) in [("trixie", 9, "sha256"), ("bookworm", 8, "sha512")] {
            let absent = read(&format!("release: {release}\ndisk: 8G\n"));
            let written = format!("release: {release}\ndisk: 8G\nproxmox: {version}\n");
            assert_eq!(absent, read(&written));
            let proxmox = absent.proxmox.unwrap();
            assert_eq!(
                (proxmox.version, proxmox.suite.as_str()),
                (version, release)
            );
            assert_eq!(proxmox.key.digest.kind(), digest);
            assert_eq!(absent.kernel, "proxmox-default-kernel");
        }
    }

    #[test]
    fn a_key_is_found_beside_the_definition_and_its_digest_checked() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("k.gpg"), "abc").unwrap();
        let text = "release: trixie\ndisk: 4G\nrepositories:\n\
                    - {name: r, url: 'http://h/', suite: ./, key: k.gpg, key_sha256: \
                    BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD}\n";
        std::fs::write(folder.path().join("d.yaml"), text).unwrap();
        let definition = Definition::load(Some(&folder.path().join("d.yaml"))).unwrap();
        let repository = &definition.repositories[0];
        assert_eq!(repository.key, folder.path().join("k.gpg"));
        assert_eq!(repository.url, "http://h");
        assert!(repository.key_sha256.starts_with("ba7816bf"));
        std::fs::write(folder.path().join("k.gpg"), "abd").unwrap();
        let error = Definition::load(Some(&folder.path().join("d.yaml"))).unwrap_err();
        let error = error.to_string();
        assert!(error.contains("in this file: ba7816bf"), "{error}");
        assert!(error.contains("computed:     a52d159f"), "{error}");
    }
}
