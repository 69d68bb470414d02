//! Getting the installer's disc: a file of the user's, or a download that is verified before
//! every use.

mod download;
mod release;

use crate::config::definition::{Definition, Netinst};
use crate::system::digest::sha256_shown;
use crate::system::download::cache::Cache;
use crate::system::given::{SMALL, read_text};
use crate::system::ui::Ui;
use crate::system::xdg;
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};

/// The name of the stage that looks at a disc.
const VERIFY: &str = "installer's disc";
/// Debian's name for a list of digests.
const SUMS: &str = "SHA256SUMS";

/// The installer's disc as a file, and its SHA-256 in lower-case hex: `iso` where it is given,
/// else what the definition's `netinst` says, out of the cache or downloaded into it.
pub(super) fn obtain(
    iso: Option<&Path>,
    definition: &Definition,
    ui: &Ui,
) -> Result<(PathBuf, String)> {
    if let Some(iso) = iso {
        let keyring = match &definition.netinst {
            Netinst::Release { keyring, .. } => keyring.as_deref(),
            Netinst::Url { .. } => None,
        };
        return given(iso, keyring, ui);
    }
    let cache = Cache::open(&xdg::cache()?, ui)?;
    let proxy = definition.proxy.as_deref();
    let disc = match &definition.netinst {
        Netinst::Url { url, sha256 } => Disc {
            url: url.clone(),
            sha256: sha256.clone(),
        },
        Netinst::Release {
            version,
            site,
            keyring,
        } => {
            let wanted = release::Wanted::new(&definition.release, version.as_deref(), site)?;
            wanted.find(&cache, keyring.as_deref(), proxy, ui)?
        }
    };
    let file = download::download(&cache, &disc, proxy, ui)?;
    Ok((file, disc.sha256))
}

/// A disc that can be downloaded.
#[derive(Debug, PartialEq, Eq)]
struct Disc {
    url: String,
    /// Lower-case hex.
    sha256: String,
}

impl Disc {
    /// Its name in the cache. The digest keeps discs apart that have the same name.
    fn file_name(&self) -> String {
        let name = self.url.rsplit('/').next().unwrap_or_default();
        format!("{}-{name}", self.sha256.get(..12).unwrap_or_default())
    }
}

/// The user's own file, as it is. Where Debian's list of digests lies beside it, it must be
/// the one that is listed there; where the list's signature does too, it must be Debian's.
fn given(iso: &Path, keyring: Option<&Path>, ui: &Ui) -> Result<(PathBuf, String)> {
    let stage = ui.stage(VERIFY);
    let cannot_read = || format!("cannot read the installer's disc {}", iso.display());
    if fs::metadata(iso).with_context(cannot_read)?.is_dir() {
        bail!(
            "{} is a folder; the installer's disc is wanted, an ISO file",
            iso.display()
        );
    }
    let sha256 = sha256_shown(iso, |part| stage.progress(part)).with_context(cannot_read)?;
    let list = iso.with_file_name(SUMS);
    let name = iso.file_name().unwrap_or_default().to_string_lossy();
    let listed = match read_text(&list, SMALL) {
        Err(error) if error.is_missing() => String::new(),
        read => read.with_context(|| format!("cannot read {}", list.display()))?,
    };
    match digest_in(&listed, &name) {
        Some(wanted) if wanted != sha256 => bail!(
            "{} is damaged, or is not what its name says:\n    expected: {wanted} (in {})\n    \
             found:    {sha256}",
            iso.display(),
            list.display(),
        ),
        Some(_) => {
            let signed = match release::signature_beside(&list, keyring)? {
                true => "which Debian has signed",
                false => "without a signature",
            };
            stage.done(&format!("as in {}, {signed}", list.display()));
        }
        None => stage.done(&format!("sha256 {sha256}")),
    }
    Ok((iso.to_owned(), sha256))
}

/// The digest of a name in a list as sha256sum writes it, in lower case.
fn digest_in(list: &str, name: &str) -> Option<String> {
    entries(list)
        .find(|(_, listed)| *listed == name)
        .map(|(digest, _)| digest.to_ascii_lowercase())
}

/// Digests and names: `DIGEST  NAME`, or `DIGEST *NAME`.
fn entries(list: &str) -> impl Iterator<Item = (&str, &str)> {
    list.lines().filter_map(|line| {
        let (digest, name) = line.split_once(' ')?;
        let is_digest = digest.len() == 64 && digest.chars().all(|c| c.is_ascii_hexdigit());
        is_digest.then_some((digest, name.trim_start_matches([' ', '*'])))
    })
}

/// A list that anybody may have written, as it is read here.
#[cfg(any(test, fuzzing))]
pub(crate) fn look_into(list: &str) {
    for (digest, name) in entries(list) {
        assert_eq!(digest.len(), 64);
        assert!(digest_in(list, name).is_some());
    }
    release::look_into(list);
}
