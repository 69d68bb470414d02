//! What a seed needs to know about the base image, from the manifest beside it.

use crate::config::yaml::validators;
use crate::system::given::{self, MAX_MANIFEST};
use anyhow::{Context, Result, bail};
use firstboot::contract::seed::UNNUMBERED;
use serde::Deserialize;
use std::fs;
use std::path::{Path, PathBuf};

/// The base image that VMs are made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BaseImage {
    /// SHA-256 of the file, lower-case hex.
    pub sha256: String,
    /// Size of the file in bytes.
    pub bytes: u64,
    /// Virtual size of the disk in bytes.
    pub virtual_bytes: u64,
    /// The contract that the firstboot inside knows.
    pub contract: u32,
}

#[derive(Deserialize)]
struct Manifest {
    image: Image,
    firstboot: Firstboot,
}

#[derive(Deserialize)]
struct Image {
    sha256: String,
    bytes: u64,
    virtual_bytes: u64,
}

#[derive(Deserialize)]
struct Firstboot {
    /// Absent in manifests from before there was a number.
    contract: Option<u32>,
}

impl BaseImage {
    /// Reads the manifest beside `base` and compares the size of the file with it. The digest
    /// is compared by [`super::base_seen`] before a seed is made, and by run.sh before an overlay is.
    pub(crate) fn read(base: &Path) -> Result<Self> {
        let size = match fs::metadata(base) {
            Ok(found) if found.is_file() => found.len(),
            Ok(_) => bail!("the base image {} is not a file", base.display()),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => bail!(
                "the base image {} is not there. Make it with: imgbuild base",
                base.display()
            ),
            Err(e) => {
                return Err(e)
                    .with_context(|| format!("cannot look at the base image {}", base.display()));
            }
        };
        let file = manifest_of(base);
        let text = match given::read_text(&file, MAX_MANIFEST) {
            Ok(text) => text,
            Err(e) if e.is_missing() => bail!(
                "{} is not there, so it is not known what {} is. Copy it there too, or make both \
                 with: imgbuild base",
                file.display(),
                base.display()
            ),
            Err(e) => return Err(e).with_context(|| format!("cannot read {}", file.display())),
        };
        let read = BaseImage::of_manifest(text.as_bytes()).with_context(|| {
            format!(
                "{} is not a manifest that this imgbuild knows (make it again with: imgbuild base)",
                file.display()
            )
        })?;
        let bytes = read.bytes;
        if size != bytes {
            bail!(
                "{} is not the image that {} describes: found {size} bytes, expected {bytes}. \
                 Copy both again, or make them with: imgbuild base",
                base.display(),
                file.display()
            );
        }
        Ok(read)
    }

    /// What a manifest says.
    pub(crate) fn of_manifest(text: &[u8]) -> Result<Self> {
        let manifest: Manifest = serde_json::from_slice(text)?;
        let Image {
            sha256,
            bytes,
            virtual_bytes,
        } = manifest.image;
        // It goes into a shell script.
        let Ok(sha256) = validators::sha256(&sha256) else {
            bail!("image.sha256 is no SHA-256 digest");
        };
        Ok(BaseImage {
            sha256,
            bytes,
            virtual_bytes,
            contract: manifest.firstboot.contract.unwrap_or(UNNUMBERED),
        })
    }
}

/// `base.manifest.json` beside `base.qcow2`.
pub(crate) fn manifest_of(base: &Path) -> PathBuf {
    base.with_extension("manifest.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(content: Option<&[u8]>, manifest: Option<&str>) -> String {
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path().join("base.qcow2");
        if let Some(content) = content {
            fs::write(&base, content).unwrap();
        }
        if let Some(manifest) = manifest {
            fs::write(manifest_of(&base), manifest).unwrap();
        }
        let error = BaseImage::read(&base).unwrap_err();
        format!("{error:#}").replace(&folder.path().display().to_string(), "LAB")
    }

    fn manifest(sha256: &str, bytes: u64) -> String {
        format!(
            r#"{{"image": {{"sha256": "{sha256}", "bytes": {bytes}, "virtual_bytes": 99}},
                "firstboot": {{"version": "0.1.0", "contract": 7, "sha256": "x"}}, "packages": []}}"#
        )
    }

    #[test]
    fn reads_what_is_right() {
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path().join("base.qcow2");
        fs::write(&base, b"12345").unwrap();
        fs::write(manifest_of(&base), manifest(&"ab".repeat(32), 5)).unwrap();
        let read = BaseImage::read(&base).unwrap();
        assert_eq!(read.sha256, "ab".repeat(32));
        assert_eq!((read.bytes, read.virtual_bytes), (5, 99));
        assert_eq!(read.contract, 7);
        // As an imgbuild of before wrote it.
        let older = manifest(&"ab".repeat(32), 5).replace("\"contract\": 7, ", "");
        fs::write(manifest_of(&base), older).unwrap();
        assert_eq!(BaseImage::read(&base).unwrap().contract, 1);
    }

    #[test]
    fn refuses_with_the_remedy() {
        assert_eq!(
            refusal(None, None),
            "the base image LAB/base.qcow2 is not there. Make it with: imgbuild base"
        );
        assert_eq!(
            refusal(Some(b"12345"), None),
            "LAB/base.manifest.json is not there, so it is not known what LAB/base.qcow2 is. Copy \
             it there too, or make both with: imgbuild base"
        );
        assert_eq!(
            refusal(Some(b"12345"), Some(&manifest(&"ab".repeat(32), 6))),
            "LAB/base.qcow2 is not the image that LAB/base.manifest.json describes: found 5 bytes, \
             expected 6. Copy both again, or make them with: imgbuild base"
        );
        assert_eq!(
            refusal(Some(b"12345"), Some(&manifest("$(reboot)", 5))),
            "LAB/base.manifest.json is not a manifest that this imgbuild knows (make it again \
             with: imgbuild base): image.sha256 is no SHA-256 digest"
        );
        assert_eq!(
            refusal(Some(b"12345"), Some("{}")),
            "LAB/base.manifest.json is not a manifest that this imgbuild knows (make it again \
             with: imgbuild base): missing field `image` at line 1 column 2"
        );
    }
}
