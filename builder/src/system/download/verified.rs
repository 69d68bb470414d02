//! A large file, resumed after a break and verified.

use super::curl::{self, Failure, size};
use crate::system::digest::sha256_shown;
use crate::system::interrupt::Interrupted;
use crate::system::kind::{HTML, seems_to_be};
use crate::system::ui::{Stage, Ui};
use anyhow::{Context, Error, Result, bail};
use std::fs::{self, File};
use std::path::Path;

/// How often a transfer that breaks off is resumed. Each time something must have come.
const MOST_BREAKS: usize = 20;

/// A file that is known by its digest.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub url: &'a str,
    /// Lower-case hex.
    pub sha256: &'a str,
    /// What it is, such as `disc`.
    pub what: &'a str,
}

impl Wanted<'_> {
    /// Brings it into `part`, which may hold its beginning. What had come when it fails stays there
    /// for the next time, unless it is not what it should be. Ends the stage but for its last
    /// word, which is the caller's.
    pub(crate) fn bring<'a>(
        &self,
        part: &Path,
        proxy: Option<&str>,
        ui: &'a Ui,
    ) -> Result<Stage<'a>> {
        let mut resumes = size(part) > 0;
        loop {
            let stage = ui.stage("download");
            transfer(self.url, part, proxy, &stage)?;
            let found = sha256_shown(part, |done| stage.progress(done));
            let found = found.with_context(|| format!("cannot read {}", part.display()))?;
            if found == self.sha256 {
                return Ok(stage);
            }
            let seems = File::open(part).and_then(|file| seems_to_be(file, size(part)));
            let page = matches!(seems, Ok(Some(seems)) if seems == HTML);
            let seems = if page {
                format!("\n    {HTML}")
            } else {
                String::new()
            };
            remove(part)?;
            if !resumes {
                bail!(
                    "{} is not the {} that it should be, and was removed:\n    expected: {}\n    \
                     found:    {found}{seems}",
                    self.url,
                    self.what,
                    self.sha256
                );
            }
            // The beginning is of an earlier time; it may have been damaged since.
            resumes = false;
            stage.again("it does not fit together with its beginning, which was there");
        }
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
