//! The keys of `netinst`: where the installer's disc comes from.

use super::model::{DEFAULT_SITE, Netinst, release_number};
use crate::config::yaml::{Fields, Keys, Reader, Spanned, validators};
use crate::system::given;
use std::path::{Path, PathBuf};

const RIGHT: &str = "either {url, sha256} or {version, site, keyring}";
const KEYS: Keys = &[
    (
        "url",
        "url: the http:// or https:// address of a netinst ISO",
    ),
    (
        "sha256",
        "sha256: the 64 hex digits that Debian's SHA256SUMS has for that ISO",
    ),
    (
        "version",
        "version: latest, or a point release such as 13.2.0",
    ),
    (
        "site",
        "site: the http:// or https:// address of Debian's disc images or of a copy",
    ),
    (
        "keyring",
        "keyring: a file with the key that signs SHA256SUMS, beside this one",
    ),
];

/// The keys of one way and of the other.
const OF_URL: [&str; 2] = ["url", "sha256"];
const OF_RELEASE: [&str; 3] = ["version", "site", "keyring"];

/// Reads `netinst`; without it the newest disc of the release.
pub(super) fn read(
    r: &mut Reader,
    f: &Fields<'_>,
    release: Option<&Spanned<String>>,
    folder: &Path,
) -> Netinst {
    let Some(node) = f.get("netinst") else {
        return Netinst::default();
    };
    let f = r.fields(node, "`netinst`", RIGHT, KEYS);
    let one_way = OF_URL.iter().find(|key| f.has(key));
    let other_way = OF_RELEASE.iter().find(|key| f.has(key));
    if let (Some(one), Some(other)) = (one_way, other_way) {
        let message = format!("`{one}` and `{other}` exclude each other");
        r.problem(f.place, message, RIGHT);
    }
    if one_way.is_some() {
        OF_URL.iter().for_each(|key| r.require(&f, key));
        return Netinst::Url {
            url: plain(r.field(&f, "url", file_url)),
            sha256: plain(r.field(&f, "sha256", validators::sha256)),
        };
    }
    let number = release.and_then(|release| release_number(&release.value));
    let version = r.field_scalar(&f, "version", |text| version(text, number));
    let site = r.field(&f, "site", validators::url);
    let keyring = r.field(&f, "keyring", |text| Ok(text.to_owned()));
    Netinst::Release {
        version: version.map(|v| v.value).filter(|v| v != "latest"),
        site: site.map_or_else(|| DEFAULT_SITE.to_owned(), |s| s.value),
        keyring: keyring.map(|file| read_keyring(r, &f, &file, folder)),
    }
}

fn plain(found: Option<Spanned<String>>) -> String {
    found.map(|f| f.value).unwrap_or_default()
}

/// The address of a file, not of a folder.
fn file_url(text: &str) -> Result<String, String> {
    let url = validators::url(text)?;
    let path = url.split_once("://").map_or("", |(_, rest)| rest);
    match text.ends_with('/') || !path.contains('/') {
        true => Err(format!(
            "`{}` names no file",
            validators::display_safe(text)
        )),
        false => Ok(url),
    }
}

/// `latest`, or the three numbers of a point release of the definition's own release.
fn version(text: &str, release: Option<u32>) -> Result<String, String> {
    if text == "latest" {
        return Ok(text.to_owned());
    }
    let numbers: Option<Vec<u32>> = text.split('.').map(|part| part.parse().ok()).collect();
    let digits = text.chars().all(|c| c.is_ascii_digit() || c == '.');
    let Some([major, _, _]) = numbers.as_deref().filter(|_| digits) else {
        return Err(format!(
            "`{}` is no point release",
            validators::display_safe(text)
        ));
    };
    match release {
        Some(wanted) if wanted != *major => Err(format!(
            "`{text}` is of Debian {major}, and `release` says Debian {wanted}"
        )),
        _ => Ok(text.to_owned()),
    }
}

/// Checks that the keyring is one that gpgv can read; returns its absolute path.
fn read_keyring(r: &mut Reader, f: &Fields<'_>, file: &Spanned<String>, folder: &Path) -> PathBuf {
    let path = folder.join(&file.value);
    let message = match given::read(&path, given::SMALL) {
        Err(error) => Some(format!(
            "cannot read the keyring {}: {error}",
            path.display()
        )),
        Ok(bytes) if bytes.starts_with(b"-----BEGIN") => Some(format!(
            "{} is an ASCII-armoured key, not a keyring (`gpg --dearmor` makes one of it)",
            path.display()
        )),
        Ok(_) => None,
    };
    if let Some(message) = message {
        r.problem(file.place, message, f.hint("keyring"));
    }
    std::path::absolute(&path).unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        for good in ["latest", "13.0.0", "13.12.1"] {
            assert_eq!(version(good, Some(13)), Ok(good.to_owned()));
        }
        for bad in [
            "", "13", "13.2", "13.2.0.1", "13.2.x", "13..2", "+13.2.0", "Latest",
        ] {
            assert!(version(bad, Some(13)).is_err(), "{bad}");
        }
        assert_eq!(
            version("12.11.0", Some(13)),
            Err("`12.11.0` is of Debian 12, and `release` says Debian 13".to_owned())
        );
        // A release that is wrong itself is told once.
        assert!(version("12.11.0", None).is_ok());
    }

    #[test]
    fn addresses_of_files() {
        assert!(file_url("https://a.example/x.iso").is_ok());
        for bad in [
            "https://a.example",
            "https://a.example/x/",
            "a.example/x.iso",
        ] {
            assert!(file_url(bad).is_err(), "{bad}");
        }
    }
}
