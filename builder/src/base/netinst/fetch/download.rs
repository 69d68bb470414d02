//! A large file into the cache, resumed after a break, verified before every use.

use super::{Disc, VERIFY};
use crate::system::digest::sha256_shown;
use crate::system::download::cache::Cache;
use crate::system::download::curl::{self, Failure, size};
use crate::system::files;
use crate::system::interrupt::Interrupted;
use crate::system::ui::{Stage, Ui};
use anyhow::{Context, Error, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};

/// How often a transfer that breaks off is resumed. Each time something must have come.
const MOST_BREAKS: usize = 20;

/// The disc in the cache, with the digest that it should have.
pub(super) fn download(
    cache: &Cache,
    disc: &Disc,
    proxy: Option<&str>,
    ui: &Ui,
) -> Result<PathBuf> {
    let place = cache.file(&disc.file_name());
    if place.exists() {
        let stage = ui.stage(VERIFY);
        let found = sha256_shown(&place, |part| stage.progress(part));
        let found = found.with_context(|| format!("cannot read {}", place.display()))?;
        if found == disc.sha256 {
            stage.done(&format!("{} (from the cache)", place.display()));
            return Ok(place);
        }
        stage.again("it is damaged");
        ui.warn(&format!(
            "{} is damaged, so it is removed and downloaded again:\n    expected: {}\n    \
             found:    {found}",
            place.display(),
            disc.sha256
        ));
        remove(&place)?;
    }
    let part = cache.file(&format!("{}.part", disc.file_name()));
    let mut resumes = size(&part) > 0;
    loop {
        let stage = ui.stage("download");
        transfer(&disc.url, &part, proxy, &stage)?;
        let found = sha256_shown(&part, |done| stage.progress(done));
        let found = found.with_context(|| format!("cannot read {}", part.display()))?;
        if found == disc.sha256 {
            let megabytes = size(&part) / 1_000_000;
            files::move_into_place(&[(part, place.clone())])?;
            stage.done(&format!("{megabytes} MB, {}", place.display()));
            return Ok(place);
        }
        remove(&part)?;
        if !resumes {
            bail!(
                "{} is not the disc that it should be, and was removed:\n    expected: {}\n    \
                 found:    {found}",
                disc.url,
                disc.sha256
            );
        }
        // The beginning is of an earlier time; it may have been damaged since.
        resumes = false;
        stage.again("it does not fit together with its beginning, which was there");
    }
}

fn remove(file: &Path) -> Result<()> {
    fs::remove_file(file).with_context(|| format!("cannot remove {}", file.display()))
}

/// Brings all of a file into `part`, which may hold its beginning.
fn transfer(url: &str, part: &Path, proxy: Option<&str>, stage: &Stage) -> Result<()> {
    let mut breaks = 0;
    loop {
        let before = size(part);
        let failure = match curl::rest(url, part, proxy, stage) {
            Ok(()) => return Ok(()),
            Err(failure) => failure,
        };
        breaks += 1;
        let error = match failure {
            Failure::NoRest if before > 0 && breaks <= MOST_BREAKS => {
                stage.line("the server sends no rest of a file: from the start");
                remove(part)?;
                continue;
            }
            Failure::Interrupted(_) if size(part) > 0 => {
                return Err(Interrupted::leaving(kept(part, size(part))).into());
            }
            Failure::Other(error) => error,
            failure => return Err(failure.into_error(url, part)),
        };
        if size(part) <= before || breaks > MOST_BREAKS {
            let failure = Failure::Other(explain(error, part));
            return Err(failure.into_error(url, part));
        }
        stage.line(&format!("it broke off after {} bytes: resumed", size(part)));
    }
}

/// What a failed or ended download leaves.
fn kept(part: &Path, bytes: u64) -> String {
    let megabytes = bytes as f64 / 1e6;
    format!(
        "the {megabytes:.1} MB that had come are kept for the next time: {}",
        part.display()
    )
}

fn explain(error: Error, part: &Path) -> Error {
    match size(part) {
        0 => error,
        bytes => error.context(kept(part, bytes)),
    }
}
