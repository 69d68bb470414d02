//! `base.manifest.json`: what is in the image, what it was made of, and its digests.

use super::inputs::Inputs;
use crate::image::apart::{self, Limits};
use crate::image::dpkg;
use crate::image::qcow2::Image;
use crate::image::tree;
use crate::system::digest::{self, sha256_file};
use crate::system::given::{self, MAX_MANIFEST};
use crate::system::ui::Ui;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The three results, side by side in the output folder.
pub(crate) const RESULTS: [&str; 3] = ["base.qcow2", "base.manifest.json", "base.qcow2.sha256"];

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Manifest {
    /// The version of imgbuild that made the image.
    pub imgbuild: String,
    pub image: ImageFacts,
    pub firstboot: FirstbootFacts,
    /// `netinst` or `mirror`
    pub source: String,
    /// The installer's disc; absent for the mirror source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iso: Option<IsoFacts>,
    /// Debian's code name.
    pub release: String,
    /// The version of Proxmox VE, 9 or 8; absent for a plain Debian base.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxmox: Option<u32>,
    /// Whether a machine installs Debian's updates by itself; absent in manifests of earlier
    /// versions, which had no such setting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unattended_upgrades: Option<bool>,
    /// Whether rpcbind may run; absent as above.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rpcbind: Option<bool>,
    /// What the packages cost to download; absent in manifests of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub download: Option<Download>,
    /// APT lines of the system.
    pub sources: Vec<String>,
    /// SHA-256 of each input, by name.
    pub inputs: serde_json::Map<String, serde_json::Value>,
    /// Every installed package and its version, read from the image.
    pub packages: BTreeMap<String, String>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ImageFacts {
    /// SHA-256 of the file, lower-case hex.
    pub sha256: String,
    /// Size of the file in bytes.
    pub bytes: u64,
    /// Size of the disk that a guest sees, in bytes.
    pub virtual_bytes: u64,
}

/// The disc that the installer was booted from.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct IsoFacts {
    /// What it says about itself, in `.disk/info`.
    pub info: String,
    /// SHA-256 of the file, lower-case hex.
    pub sha256: String,
}

/// The guest's program in the image.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct FirstbootFacts {
    pub version: String,
    /// The contract that it knows; absent in manifests of earlier versions, which had no number.
    #[serde(default = "unnumbered")]
    pub contract: u32,
    /// SHA-256 of the file in the image, lower-case hex.
    pub sha256: String,
}

/// The contract of a base whose manifest has no number.
fn unnumbered() -> u32 {
    firstboot::contract::seed::UNNUMBERED
}

/// Where the provision script writes [`Download`] in the image.
const DOWNLOAD: &str = "/usr/share/imgbuild/download.json";

/// What a base's packages cost to download, as APT knows it. Package lists and the installer's
/// disc come on top.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Download {
    /// The base system: packages that were there before the provision script began.
    pub base_packages: u64,
    /// The sizes of their `.deb` files in the archive, in bytes. With the netinst source some of
    /// them are on the disc already.
    pub base_bytes: u64,
    /// The `.deb` files that the provision script's runs of APT fetched.
    pub packages: u64,
    pub bytes: u64,
    /// How often APT was asked to install something.
    pub apt_runs: u64,
}

/// What is read from the image for its manifest.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Inside {
    virtual_bytes: u64,
    firstboot_sha256: String,
    download: Download,
    packages: BTreeMap<String, String>,
}

/// Reads in this process what the manifest tells of an image.
pub(crate) fn look(image: &Path) -> Result<Inside> {
    let opened = Image::open(image)?;
    let virtual_bytes = opened.size();
    let root = opened.into_root()?;
    let file = |path: &str| {
        tree::read_file(&root, path)
            .with_context(|| format!("cannot read {path} in {}", image.display()))?
            .with_context(|| format!("{} has no {path}", image.display()))
    };
    let download = serde_json::from_slice(&file(DOWNLOAD)?)
        .with_context(|| format!("cannot read {DOWNLOAD} in {}", image.display()))?;
    Ok(Inside {
        virtual_bytes,
        firstboot_sha256: digest::sha256(&file("/usr/sbin/firstboot")?),
        download,
        packages: dpkg::installed(&String::from_utf8_lossy(&file(dpkg::STATUS)?)),
    })
}

impl Manifest {
    /// What is to be said about the download beside the number of packages.
    pub(crate) fn cost(&self) -> String {
        self.download.as_ref().map_or_else(String::new, |download| {
            let bytes = download.base_bytes + download.bytes;
            format!(" ({} MB to download)", bytes / 1_000_000)
        })
    }

    /// Reads a finished image.
    pub(crate) fn of(
        image: &Path,
        inputs: &Inputs,
        iso: Option<IsoFacts>,
        ui: &Ui,
    ) -> Result<Self> {
        let stage = ui.stage("manifest");
        let bytes = fs::metadata(image)
            .with_context(|| format!("cannot read {}", image.display()))?
            .len();
        let sha256 = sha256_file(image)?;
        let Inside {
            virtual_bytes,
            firstboot_sha256,
            download,
            packages,
        } = apart::ask("manifest", Limits::default(), image)?;
        stage.done(&format!("{} packages", packages.len()));
        Ok(Manifest {
            imgbuild: env!("CARGO_PKG_VERSION").to_owned(),
            image: ImageFacts {
                sha256,
                bytes,
                virtual_bytes,
            },
            firstboot: FirstbootFacts {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                contract: inputs.contract,
                sha256: firstboot_sha256,
            },
            source: inputs.source.to_owned(),
            iso,
            release: inputs.definition.release.clone(),
            proxmox: inputs.definition.proxmox.as_ref().map(|p| p.version),
            unattended_upgrades: Some(inputs.definition.unattended_upgrades),
            rpcbind: Some(inputs.definition.rpcbind),
            download: Some(download),
            sources: inputs.sources.clone(),
            inputs: inputs.digests.clone(),
            packages,
        })
    }

    /// Writes the manifest and the digest file beside the image; returns the three results
    /// in the order of [`RESULTS`].
    pub(crate) fn write(&self, image: &Path, work: &Path) -> Result<[PathBuf; 3]> {
        let manifest = work.join(RESULTS[1]);
        let mut text =
            serde_json::to_string_pretty(self).context("cannot write the manifest as JSON")?;
        text.push('\n');
        fs::write(&manifest, text)
            .with_context(|| format!("cannot write {}", manifest.display()))?;
        let digest = work.join(RESULTS[2]);
        // The format of sha256sum, so that `sha256sum -c base.qcow2.sha256` works.
        fs::write(&digest, format!("{}  {}\n", self.image.sha256, RESULTS[0]))
            .with_context(|| format!("cannot write {}", digest.display()))?;
        Ok([image.to_owned(), manifest, digest])
    }

    /// Reads a manifest; `None` when there is none.
    pub(crate) fn load(file: &Path) -> Result<Option<Self>> {
        match given::read(file, MAX_MANIFEST) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map(Some)
                .with_context(|| format!("{} is not the manifest of a base", file.display())),
            Err(error) if error.is_missing() => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", file.display())),
        }
    }
}

/// Whether the folder holds an image that was made of exactly these inputs.
pub(crate) fn is_up_to_date(folder: &Path, inputs: &Inputs) -> Result<bool> {
    // A manifest that cannot be read is no reason to fail: a new build replaces it.
    let Ok(Some(manifest)) = Manifest::load(&folder.join(RESULTS[1])) else {
        return Ok(false);
    };
    let image = folder.join(RESULTS[0]);
    let same_size = fs::metadata(&image).is_ok_and(|data| data.len() == manifest.image.bytes);
    let complete = folder.join(RESULTS[2]).is_file();
    if !(same_size
        && complete
        && manifest.source == inputs.source
        && manifest.inputs == inputs.digests)
    {
        return Ok(false);
    }
    Ok(sha256_file(&image)? == manifest.image.sha256)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Inputs of a build with one digest, and a folder with what it made.
    fn made(folder: &Path) -> Inputs {
        let definition = folder.join("definition.yaml");
        fs::write(&definition, "release: trixie\ndisk: 4G\n").unwrap();
        let inputs = Inputs {
            definition: crate::config::definition::Definition::load(Some(&definition)).unwrap(),
            source: "mirror",
            sources: Vec::new(),
            firstboot: PathBuf::new(),
            contract: 2,
            root_uuid: String::new(),
            scripts: Default::default(),
            proxmox_key: None,
            digests: [("definition".to_owned(), "one".into())]
                .into_iter()
                .collect(),
        };
        let image = folder.join(RESULTS[0]);
        fs::write(&image, "image").unwrap();
        let manifest = Manifest {
            imgbuild: "0".into(),
            image: ImageFacts {
                sha256: digest::sha256(b"image"),
                bytes: 5,
                virtual_bytes: 5,
            },
            firstboot: FirstbootFacts {
                version: "0".into(),
                contract: 2,
                sha256: String::new(),
            },
            source: "mirror".into(),
            iso: None,
            release: "trixie".into(),
            proxmox: None,
            unattended_upgrades: None,
            rpcbind: None,
            download: None,
            sources: Vec::new(),
            inputs: inputs.digests.clone(),
            packages: BTreeMap::new(),
        };
        manifest.write(&image, folder).unwrap();
        inputs
    }

    #[test]
    fn a_base_is_up_to_date_until_anything_differs() {
        type Change = fn(&Path, &mut Inputs);
        let changes: [(&str, Change); 6] = [
            ("an input", |_, inputs| {
                inputs.digests.insert("definition".into(), "two".into());
            }),
            ("a new input", |_, inputs| {
                inputs.digests.insert("key of x".into(), "one".into());
            }),
            ("one byte", |folder, _| {
                fs::write(folder.join(RESULTS[0]), "imagE").unwrap();
            }),
            ("no image", |folder, _| {
                fs::remove_file(folder.join(RESULTS[0])).unwrap();
            }),
            ("no manifest", |folder, _| {
                fs::remove_file(folder.join(RESULTS[1])).unwrap();
            }),
            ("no digest file", |folder, _| {
                fs::remove_file(folder.join(RESULTS[2])).unwrap();
            }),
        ];
        for (what, change) in changes {
            let folder = tempfile::tempdir().unwrap();
            let mut inputs = made(folder.path());
            assert!(is_up_to_date(folder.path(), &inputs).unwrap());
            change(folder.path(), &mut inputs);
            assert!(!is_up_to_date(folder.path(), &inputs).unwrap(), "{what}");
        }
    }
}
