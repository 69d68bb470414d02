//! The recipe of `imgbuild base`.

mod apt_sources;
mod audit;
mod disk;
mod explain;
mod firstboot_binary;
mod inputs;
mod manifest;
mod mirror;
mod netinst;
mod provision;
mod proxmox_key;
mod requirements;

pub use audit::{Finding, audit_image};
pub use manifest::Manifest;
pub use netinst::{CONSOLE_LOG, INSTALLER_LOG, Measure};

use crate::cli::{AuditArgs, BaseArgs, Source};
use crate::system::files;
use crate::system::interrupt::{self, Interrupted};
use crate::system::program;
use crate::system::text;
use crate::system::ui::Report;
use crate::system::work_folder::{Busy, WorkFolder};
use anyhow::{Context, Error, Result, bail};
use inputs::Inputs;
use std::path::{Path, PathBuf};

/// The three results, side by side in the output folder.
pub const RESULTS: [&str; 3] = ["base.qcow2", "base.manifest.json", "base.qcow2.sha256"];

/// `imgbuild base`: makes the base image, or says that it is up to date.
pub fn build(args: &BaseArgs, report: &Report) -> Result<()> {
    let mut inputs = Inputs::gather(args)?;
    if !args.force && manifest::is_up_to_date(&args.output, &inputs)? {
        report.line(&format!(
            "{} is up to date: nothing it is made of has changed (--force builds it anew)",
            args.output.join(RESULTS[0]).display()
        ));
        return Ok(());
    }
    requirements::check_tools(args.source)?;
    // Before anything is begun: what a wrong key has signed must not come near the image.
    inputs.proxmox_key = proxmox_key::obtain(&inputs.definition, report)?;
    let proxmox = inputs.proxmox_key.is_some();
    requirements::check_space(&args.output, args.source, proxmox)?;

    let mut work = WorkFolder::new(&args.output, "imgbuild-base", Busy::Refuse)?;
    let kept = args.keep_work.then(|| work.keep().display().to_string());
    if let Some(kept) = &kept {
        report.line(&format!("the work folder will be kept as {kept}"));
    }
    let made = make(&inputs, &work, args, report);
    let manifest = made.map_err(|error| explain(error, &args.output, kept))?;
    report.line(&format!(
        "{} is ready: {} packages{}, {} MB, sha256 {}",
        args.output.join(RESULTS[0]).display(),
        manifest.packages.len(),
        manifest.cost(),
        manifest.image.bytes / 1_000_000,
        manifest.image.sha256
    ));
    if args.timings {
        timings(report);
    }
    Ok(())
}

/// Every stage, the longest parts of the whole marked by their share.
fn timings(report: &Report) {
    let stages = report.finished();
    let total: f64 = stages.iter().map(|(_, seconds)| seconds).sum();
    report.line("");
    for (name, seconds) in &stages {
        let share = 100.0 * seconds / total.max(0.1);
        report.line(&format!("{seconds:>8.1} s {share:>3.0} %  {name}"));
    }
    report.line(&format!("{total:>8.1} s        together"));
}

/// The stages, from nothing to the three results in their places.
fn make(inputs: &Inputs, work: &WorkFolder, args: &BaseArgs, report: &Report) -> Result<Manifest> {
    let (raw, iso) = match args.source {
        Source::Mirror => {
            let root_tar = mirror::debootstrap(inputs, work.path(), report)?;
            let boot_images = disk::unpack_and_format(inputs, &root_tar, work.path(), report)?;
            (disk::assemble(inputs, &boot_images, report)?, None)
        }
        Source::Netinst => {
            let disc = netinst::disc(inputs, args, report)?;
            let raw = netinst::install(inputs, &disc, args, work.path(), report)?;
            (raw, Some(disc.facts()))
        }
    };
    let image = compress(&raw, work.path(), report)?;
    audited(&image, report)?;
    let manifest = Manifest::of(&image, inputs, iso, report)?;
    let results = manifest.write(&image, work.path())?;

    interrupt::check()?;
    let moves: Vec<(PathBuf, PathBuf)> = results
        .into_iter()
        .zip(RESULTS.map(|name| args.output.join(name)))
        .collect();
    files::move_into_place(&moves)?;
    Ok(manifest)
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
    if !error.is::<netinst::Failed>() && format!("{error:#}").contains(requirements::NO_SPACE) {
        return error.context(format!(
            "the disk of {} or of {} is full",
            output.display(),
            requirements::temporary().display()
        ));
    }
    error
}

/// `imgbuild audit IMAGE`.
pub fn audit_command(args: &AuditArgs, report: &Report) -> Result<()> {
    audited(&args.image, report)?;
    report.line(&format!("{} is sealed", args.image.display()));
    Ok(())
}

/// Audits an image and fails with every path that breaks the seal.
fn audited(image: &Path, report: &Report) -> Result<()> {
    let stage = report.stage("audit");
    let findings = audit_image(image)?;
    let failed: Vec<&Finding> = findings.iter().filter(|f| f.problem.is_some()).collect();
    if report.is_json() {
        for finding in &findings {
            report.event(&finding.to_json());
        }
    }
    if failed.is_empty() {
        stage.done(&format!("{} points proven", findings.len()));
        return Ok(());
    }
    drop(stage);
    let list: Vec<String> = failed
        .iter()
        .map(|f| format!("{}: {}", f.point, f.problem.as_deref().unwrap_or_default()))
        .collect();
    bail!(
        "{} is not sealed ({} of {} points failed):{}",
        image.display(),
        failed.len(),
        findings.len(),
        text::indented(list.iter().map(String::as_str))
    )
}

/// Raw to qcow2 with deflate-compressed clusters, which every reader understands.
fn compress(raw: &Path, work: &Path, report: &Report) -> Result<PathBuf> {
    let stage = report.stage("compress");
    let image = work.join(RESULTS[0]);
    let mut convert = program::command("qemu-img")?;
    convert
        .args(["convert", "-p", "-f", "raw", "-O", "qcow2"])
        .args(["-c", "-W", "-m", "8"])
        .args([raw, &image]);
    program::stream(&mut convert, |line| {
        if let Some(percent) = percentage(line) {
            stage.progress(percent / 100.0);
        }
    })
    .context("cannot make base.qcow2")?;
    std::fs::remove_file(raw).with_context(|| format!("cannot remove {}", raw.display()))?;
    let bytes = std::fs::metadata(&image)
        .with_context(|| format!("cannot read {}", image.display()))?
        .len();
    stage.done(&format!("{} MB", bytes / 1_000_000));
    Ok(image)
}

/// What `qemu-img convert -p` prints while it works: `    (12.34/100%)`.
fn percentage(line: &str) -> Option<f64> {
    let (part, _) = line.trim().strip_prefix('(')?.split_once("/100%)")?;
    part.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_progress_of_qemu_img() {
        assert_eq!(percentage("    (12.34/100%)"), Some(12.34));
        assert_eq!(percentage("qemu-img: error (1/100%)"), None);
        assert_eq!(percentage("    (x/100%)"), None);
    }
}
