//! `current.json`: which image of a published folder is the newest.

use crate::config::yaml::validators;
use serde::{Deserialize, Serialize};

/// Its name.
pub(crate) const CURRENT: &str = "current.json";

/// The newest image. Files are named without a folder: they are beside `current.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Current {
    pub image: String,
    /// Of the image, lower-case hex.
    pub sha256: String,
    /// Size of the image in bytes.
    pub bytes: u64,
    pub manifest: String,
    /// `None` where no address was known when it was published.
    pub metalink: Option<String>,
    pub torrent: Option<String>,
}

impl Current {
    /// The names of everything that is published with an image of this digest.
    pub(crate) fn new(sha256: &str, bytes: u64, with_addresses: bool) -> Self {
        let image = format!("{sha256}.qcow2");
        Current {
            sha256: sha256.to_owned(),
            bytes,
            manifest: format!("{sha256}.manifest.json"),
            metalink: with_addresses.then(|| format!("{image}.meta4")),
            torrent: with_addresses.then(|| format!("{image}.torrent")),
            image,
        }
    }

    /// The digest in an image's name.
    pub(crate) fn digest_in(image: &str) -> Option<String> {
        let digest = image.strip_suffix(".qcow2")?;
        validators::sha256(digest)
            .ok()
            .filter(|valid| valid == digest)
    }

    /// Reads one; `None` where it is none. What it names goes into an address and a file's name, so
    /// no name but those of [`Current::new`] is taken.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        let read: Current = serde_json::from_slice(text).ok()?;
        let named = Current::new(&Self::digest_in(&read.image)?, read.bytes, true);
        let same = (&read.sha256, &read.manifest) == (&named.sha256, &named.manifest);
        same.then_some(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_are_made_of_the_digest_are_taken() {
        let current = Current::new(&"ab".repeat(32), 5, true);
        let text = serde_json::to_string(&current).unwrap();
        assert_eq!(Current::parse(text.as_bytes()), Some(current));
        let digest = "ab".repeat(32);
        for (old, new) in [
            (format!("\"{digest}.qcow2\""), "\"base.qcow2\"".to_owned()),
            (
                format!("\"{digest}.qcow2\""),
                format!("\"../{digest}.qcow2\""),
            ),
            (format!("\"{digest}.manifest.json\""), "\"x\"".to_owned()),
            (
                format!("\"sha256\":\"{digest}\""),
                format!("\"sha256\":\"{}\"", "cd".repeat(32)),
            ),
            (digest.clone(), digest.to_uppercase()),
            ("5".to_owned(), "-5".to_owned()),
        ] {
            assert!(text.contains(&old), "{old} in {text}");
            assert_eq!(
                Current::parse(text.replace(&old, &new).as_bytes()),
                None,
                "{new}"
            );
        }
        assert_eq!(Current::parse(b"<html>"), None);
    }
}
