//! A public key that signs a repository: where it comes from, and the digest that it must have.

use crate::config::yaml::{Fields, Reader, Spanned, validators};
use crate::system::given;
use crate::system::text::hex;
use sha2::{Digest as _, Sha256, Sha512};
use std::fmt;
use std::path::{Path, PathBuf};

/// A key with its digest. It is trusted only where both belong together.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Key {
    /// Where it comes from.
    pub from: From,
    /// What it must be.
    pub digest: Digest,
}

/// Where a key comes from.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum From {
    /// `http://…` or `https://…`
    Url(String),
    /// A file on this machine, absolute. Its place is no part of what goes into an image.
    File {
        /// Its path.
        #[serde(skip)]
        path: PathBuf,
    },
}

/// A digest in lower-case hex.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Digest {
    /// 64 digits.
    Sha256(String),
    /// 128 digits.
    Sha512(String),
}

impl Digest {
    /// The digest of the same kind that these bytes have.
    pub fn of(&self, bytes: &[u8]) -> Digest {
        match self {
            Digest::Sha256(_) => Digest::Sha256(hex(&Sha256::digest(bytes))),
            Digest::Sha512(_) => Digest::Sha512(hex(&Sha512::digest(bytes))),
        }
    }

    /// `sha256` or `sha512`.
    pub fn kind(&self) -> &'static str {
        match self {
            Digest::Sha256(_) => "sha256",
            Digest::Sha512(_) => "sha512",
        }
    }

    /// The digits.
    pub fn digits(&self) -> &str {
        match self {
            Digest::Sha256(digits) | Digest::Sha512(digits) => digits,
        }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.digits())
    }
}

/// Reads `key` or `key_url`, and `key_sha256` or `key_sha512`; what is absent stays as it is.
pub(super) fn read(r: &mut Reader, f: &Fields<'_>, folder: &Path, key: &mut Key) {
    for (one, other) in [("key", "key_url"), ("key_sha256", "key_sha512")] {
        if f.has(one) && f.has(other) {
            let message = format!("`{one}` and `{other}` exclude each other");
            r.problem(f.place, message, format!("one of them: {}", f.hint(one)));
            return;
        }
    }
    let sha256 = r.field_scalar(f, "key_sha256", sha256);
    let sha512 = |text: &str| validators::sha512(text).map(Digest::Sha512);
    let written = sha256.or(r.field_scalar(f, "key_sha512", sha512));
    if let Some(written) = &written {
        key.digest = written.value.clone();
    }
    if let Some(url) = r.field(f, "key_url", validators::url) {
        key.from = From::Url(url.value);
    }
    if let Some(file) = r.field(f, "key", |text| Ok::<_, String>(text.to_owned())) {
        let known = Spanned {
            place: file.place,
            value: key.digest.clone(),
        };
        let by = match &written {
            Some(written) => Wanted::Written(written),
            None => Wanted::KnownHere(&known),
        };
        let path = read_file(r, &file, f.hint("key"), Some(by), folder);
        key.from = From::File { path };
    }
}

pub(super) fn sha256(text: &str) -> Result<Digest, String> {
    validators::sha256(text).map(Digest::Sha256)
}

/// The digest that a key file must have, and the place to point at where it has another.
pub(super) enum Wanted<'a> {
    /// The user has written it.
    Written(&'a Spanned<Digest>),
    /// It is known without that; the place is the file's name.
    KnownHere(&'a Spanned<Digest>),
}

/// Checks a key file against its digest; returns its absolute path.
pub(super) fn read_file(
    r: &mut Reader,
    key: &Spanned<String>,
    hint: &str,
    wanted: Option<Wanted<'_>>,
    folder: &Path,
) -> PathBuf {
    let path = folder.join(&key.value);
    let bytes = match given::read(&path, given::SMALL) {
        Ok(bytes) => bytes,
        Err(error) => {
            let message = format!("cannot read the key file {}: {error}", path.display());
            r.problem(key.place, message, hint);
            return path;
        }
    };
    let (wanted, whose) = match wanted {
        Some(Wanted::Written(wanted)) => (wanted, "in this file:"),
        Some(Wanted::KnownHere(wanted)) => (wanted, "of Proxmox:  "),
        None => return std::path::absolute(&path).unwrap_or(path),
    };
    let found = wanted.value.of(&bytes);
    if found != wanted.value {
        let name = match wanted.value {
            Digest::Sha256(_) => "SHA-256",
            Digest::Sha512(_) => "SHA-512",
        };
        let message = format!(
            "{} has another {name}:\n  {whose} {}\n  computed:     {found}",
            path.display(),
            wanted.value,
        );
        let hint = "the key file that its publisher vouches for; the computed digest only after \
                     you compared it with the publisher's";
        r.problem(wanted.place, message, hint);
    }
    std::path::absolute(&path).unwrap_or(path)
}
