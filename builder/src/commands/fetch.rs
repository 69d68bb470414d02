//! The recipe of `imgbuild fetch`: the other end of `imgbuild lab publish`.

use super::new_base;
use crate::base::RESULTS;
use crate::config::yaml::validators;
use crate::publish::{CURRENT, Current};
use crate::system::download::curl::{self, size};
use crate::system::download::verified::Wanted;
use crate::system::files::{remove_if_there, write_new};
use crate::system::interrupt::{self, Interrupted};
use crate::system::kind::seems_to_be;
use crate::system::ui::Ui;
use crate::system::work_folder::{Busy, WorkFolder};
use crate::vm::base_image::BaseImage;
use anyhow::{Context, Error, Result, anyhow, bail};
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};

/// Downloads the image that an address leads to, verifies it and puts it into place, with its
/// manifest and its digest.
pub fn fetch(url: &str, output: &Path, ui: &Ui) -> Result<()> {
    let asked = Asked::parse(url)?;
    // The work folder of `imgbuild base`: both replace the base.
    let work = WorkFolder::new(output, "imgbuild-base", Busy::Refuse)?;
    let stage = ui.stage("what is published");
    let (sha256, bytes) = match &asked.sha256 {
        Some(sha256) => (sha256.clone(), None),
        None => {
            let current = asked.current(work.path())?;
            (current.sha256, Some(current.bytes))
        }
    };
    let (manifest, base) = asked.manifest(&sha256, bytes, work.path())?;
    let url = asked.url(&format!("{sha256}.qcow2"));
    stage.done(&format!("{url}, {} MB", base.bytes / 1_000_000));
    let place = output.join(RESULTS[0]);
    if is_there(&place, &sha256, ui)? {
        ui.line(&format!(
            "{} is up to date: it is {url} already",
            place.display()
        ));
        return Ok(());
    }
    let name = format!(".{sha256}.qcow2.part");
    let part = output.join(&name);
    check_space(output, base.bytes.saturating_sub(size(&part)))?;
    let wanted = Wanted {
        url: &url,
        sha256: &sha256,
        what: "image",
    };
    let brought = wanted.bring(&part, None, ui);
    let brought = brought.map_err(|error| with_remedy(error, AGAIN))?;
    brought.done("as its digest says");
    let digest = work.path().join(RESULTS[2]);
    write_new(
        &digest,
        format!("{sha256}  {}\n", RESULTS[0]).as_bytes(),
        0o644,
    )?;
    interrupt::check()?;
    let stay = new_base::put_into_place([part, manifest, digest], output, &sha256, ui)?;
    remove_other_parts(output)?;
    ui.result(
        &json!({"event": "fetched", "url": url, "image": place, "sha256": sha256, "bytes": base.bytes}),
        &format!(
            "{} is ready: {} MB, sha256 {sha256}",
            place.display(),
            base.bytes / 1_000_000
        ),
    );
    stay.show(ui);
    Ok(())
}

const FOLDER: &str = "right: the address of the folder that `imgbuild lab publish` has made; a browser shows its current.json";
const AGAIN: &str = "right: the same once more; if it stays so, what lies there is damaged or changed: remove it \
                     there, and publish it again with `imgbuild lab publish`";
const PUBLISH: &str = "right: publish it there again, with `imgbuild lab publish`";

/// Ctrl-C needs none.
fn with_remedy(error: Error, right: &str) -> Error {
    match error.is::<Interrupted>() {
        true => error,
        false => anyhow!("{error:#}\n  {right}"),
    }
}

/// What an address leads to.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    /// With a slash at its end.
    folder: String,
    /// Of the one image that was asked for; `None` means the newest.
    sha256: Option<String>,
}

impl Asked {
    fn parse(url: &str) -> Result<Self> {
        let right = "right: the address of the folder that `imgbuild lab publish` has made, of its \
                     current.json, or of an image in it, whose name is its SHA-256 digest and .qcow2";
        let url = validators::url(url).map_err(|why| anyhow!("{why}\n  {right}"))?;
        let whole = |folder: &str, sha256| Asked {
            folder: format!("{}/", folder.trim_end_matches('/')),
            sha256,
        };
        let last = match url.rsplit_once('/') {
            Some((folder, last)) if !folder.ends_with('/') => Some((folder, last)),
            _ => None,
        };
        let Some((folder, last)) = last else {
            return Ok(whole(&url, None));
        };
        if last == CURRENT {
            return Ok(whole(folder, None));
        }
        if let Some(sha256) = Current::digest_in(last) {
            return Ok(whole(folder, Some(sha256)));
        }
        let of_a_file = [
            ".qcow2", ".img", ".raw", ".iso", ".json", ".meta4", ".torrent", ".sha256",
        ];
        if of_a_file.iter().any(|ending| last.ends_with(ending)) {
            bail!(
                "{url} has no digest in its name, so nothing says whether what comes is the right \
                 image\n  {right}"
            );
        }
        Ok(whole(&url, None))
    }

    fn url(&self, name: &str) -> String {
        format!("{}{name}", self.folder)
    }

    /// Downloads a small file.
    fn small(&self, name: &str, to: &Path) -> Result<String> {
        let url = self.url(name);
        let got = curl::small(&url, to, None).map_err(|failure| failure.into_error(&url, to));
        let got = got.with_context(|| {
            format!(
                "{} is no folder of `imgbuild lab publish`, or cannot be reached",
                self.folder
            )
        });
        got.map_err(|error| with_remedy(error, FOLDER))?;
        Ok(url)
    }

    /// The newest image.
    fn current(&self, work: &Path) -> Result<Current> {
        let file = work.join(CURRENT);
        let url = self.small(CURRENT, &file)?;
        let text = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
        Current::parse(&text).with_context(|| {
            format!(
                "{url} is no current.json of `imgbuild lab publish`{}",
                seems(&text)
            )
        })
    }

    /// The manifest of an image, which must be that of this digest and size.
    fn manifest(
        &self,
        sha256: &str,
        bytes: Option<u64>,
        work: &Path,
    ) -> Result<(PathBuf, BaseImage)> {
        let file = work.join(RESULTS[1]);
        let url = self.small(&format!("{sha256}.manifest.json"), &file)?;
        let text = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let Ok(base) = BaseImage::of_manifest(&text) else {
            bail!("{url} is not the manifest of a base{}", seems(&text));
        };
        if base.sha256 != sha256 || bytes.is_some_and(|bytes| bytes != base.bytes) {
            let bytes = bytes.map_or(String::new(), |bytes| format!(", {bytes} bytes"));
            bail!(
                "{url} is the manifest of another image:\n    expected: {sha256}{bytes}\n    \
                 found:    {}, {} bytes\n  {PUBLISH}",
                base.sha256,
                base.bytes
            );
        }
        Ok((file, base))
    }
}

/// What came instead, where that can be told.
fn seems(text: &[u8]) -> String {
    let seen = seems_to_be(text, text.len() as u64).ok().flatten();
    seen.map_or(String::new(), |seen| format!(": {seen}"))
}

/// Whether the base in place is this one already.
fn is_there(place: &Path, sha256: &str, ui: &Ui) -> Result<bool> {
    if !BaseImage::read(place).is_ok_and(|base| base.sha256 == sha256)
        || !place.with_file_name(RESULTS[2]).is_file()
    {
        return Ok(false);
    }
    let stage = ui.stage("verify what is there");
    let found = crate::system::digest::sha256_shown(place, |part| stage.progress(part))
        .with_context(|| format!("cannot read {}", place.display()))?;
    if found == sha256 {
        stage.done("");
        return Ok(true);
    }
    stage.again("it is damaged, and is replaced");
    Ok(false)
}

/// Refuses early what cannot fit.
fn check_space(folder: &Path, needed: u64) -> Result<()> {
    let stat = rustix::fs::statvfs(folder)
        .with_context(|| format!("cannot look at the folder {}", folder.display()))?;
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    if free < needed {
        bail!(
            "not enough space in {}: {} MB are free, and {} MB are still to come",
            folder.display(),
            free / 1_000_000,
            needed.div_ceil(1_000_000)
        );
    }
    Ok(())
}

/// What had come of images that were given up.
fn remove_other_parts(output: &Path) -> Result<()> {
    let listed = fs::read_dir(output).into_iter().flatten().flatten();
    for entry in listed {
        let name = entry.file_name();
        let digest = name
            .to_str()
            .and_then(|name| name.strip_prefix('.')?.strip_suffix(".part"));
        if digest.and_then(Current::digest_in).is_some() {
            remove_if_there(&entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_folder_its_current_json_or_an_image_with_its_digest() {
        let digest = "ab".repeat(32);
        let of = |url: &str| Asked::parse(url).map(|asked| (asked.folder, asked.sha256));
        let image = format!("http://host/images/{digest}.qcow2");
        for (url, folder, sha256) in [
            ("http://host", "http://host/", None),
            ("http://host.img/", "http://host.img/", None),
            ("https://host/images", "https://host/images/", None),
            ("http://host:8000/images/", "http://host:8000/images/", None),
            (
                "http://host/images/current.json",
                "http://host/images/",
                None,
            ),
            (&image, "http://host/images/", Some(&digest)),
        ] {
            let expected = (folder.to_owned(), sha256.cloned());
            assert_eq!(of(url).unwrap(), expected, "{url}");
        }
        let right = "\n  right: the address of the folder that `imgbuild lab publish` has made, of its \
                     current.json, or of an image in it, whose name is its SHA-256 digest and .qcow2";
        for (url, why) in [
            (
                "http://host/base.qcow2",
                "http://host/base.qcow2 has no digest in its name, so nothing says whether what comes \
                 is the right image",
            ),
            (
                "/srv/images",
                "`/srv/images` is no http:// or https:// address",
            ),
            (
                "ftp://host/x",
                "`ftp://host/x` is no http:// or https:// address",
            ),
            (
                "http://me:secret@host/",
                "the address holds a user name or password",
            ),
        ] {
            assert_eq!(of(url).unwrap_err().to_string(), format!("{why}{right}"));
        }
    }
}
