//! The recipe of `imgbuild base`.

use super::new_base;
use crate::base::{self, Inputs, RESULTS};
use crate::system::interrupt::{self, Interrupted};
use crate::system::ui::Ui;
use crate::system::work_folder::{Busy, WorkFolder};
use anyhow::{Error, Result};
use std::path::Path;

/// What is made, and what is done around it.
#[derive(Debug)]
pub struct Options {
    pub(crate) base: base::Options,
    pub(crate) force: bool,
    pub(crate) keep_work: bool,
    pub(crate) timings: bool,
}

/// Makes the base image, or says that it is up to date.
pub fn base(options: &Options, ui: &Ui) -> Result<()> {
    let output = &options.base.output;
    let mut inputs = Inputs::gather(&options.base)?;
    if !options.force && base::is_up_to_date(output, &inputs)? {
        ui.line(&format!(
            "{} is up to date: nothing it is made of has changed (--force builds it anew)",
            output.join(RESULTS[0]).display()
        ));
        return Ok(());
    }
    base::prepare(&mut inputs, &options.base, ui)?;

    let mut work = WorkFolder::new(output, "imgbuild-base", Busy::Refuse)?;
    let kept = options.keep_work.then(|| work.keep().display().to_string());
    if let Some(kept) = &kept {
        ui.line(&format!("the work folder will be kept as {kept}"));
    }
    let made =
        base::make(&inputs, work.path(), &options.base, ui).and_then(|(manifest, results)| {
            interrupt::check()?;
            let stay = new_base::put_into_place(results, output, &manifest.image.sha256, ui)?;
            Ok((manifest, stay))
        });
    let (manifest, stay) = made.map_err(|error| explain(error, output, kept))?;
    ui.line(&format!(
        "{} is ready: {} packages{}, {} MB, sha256 {}",
        output.join(RESULTS[0]).display(),
        manifest.packages.len(),
        manifest.cost(),
        manifest.image.bytes / 1_000_000,
        manifest.image.sha256
    ));
    stay.show(ui);
    if options.timings {
        timings(ui);
    }
    Ok(())
}

/// Every stage, the longest parts of the whole marked by their share.
fn timings(ui: &Ui) {
    let stages = ui.finished();
    let total: f64 = stages.iter().map(|(_, seconds)| seconds).sum();
    ui.line("");
    for (name, seconds) in &stages {
        let share = 100.0 * seconds / total.max(0.1);
        ui.line(&format!("{seconds:>8.1} s {share:>3.0} %  {name}"));
    }
    ui.line(&format!("{total:>8.1} s        together"));
}

/// What the user has to know besides a stage's own words.
fn explain(error: Error, output: &Path, kept: Option<String>) -> Error {
    if error.is::<Interrupted>() {
        return match kept {
            Some(kept) => Interrupted::leaving(format!("the work folder is kept: {kept}")).into(),
            None => error,
        };
    }
    // An installation that failed has the guest's words, which say nothing about this machine.
    if !error.is::<base::InstallationFailed>() && format!("{error:#}").contains(base::NO_SPACE) {
        return error.context(format!(
            "the disk of {} or of {} is full",
            output.display(),
            base::temporary().display()
        ));
    }
    error
}
