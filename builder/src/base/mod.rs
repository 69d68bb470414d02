//! The recipe of `imgbuild base`.

mod apt_sources;
mod audit;
mod disk;
mod firstboot_binary;
mod inputs;
mod manifest;
mod mirror;
mod provision;
mod requirements;

pub use audit::{Finding, audit_image};
pub use manifest::Manifest;

use crate::cli::{AuditArgs, BaseArgs};
use crate::report::Report;
use crate::work::{self, WorkFolder};
use crate::{command, interrupt};
use anyhow::{Context, Result, bail};
use inputs::Inputs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The three results, side by side in the output folder.
pub const RESULTS: [&str; 3] = ["base.qcow2", "base.manifest.json", "base.qcow2.sha256"];

/// `imgbuild base`: makes the base image, or says that it is up to date.
pub fn build(args: &BaseArgs, report: &Report) -> Result<()> {
    let inputs = Inputs::gather(args)?;
    if !args.force && manifest::is_up_to_date(&args.output, &inputs)? {
        report.line(&format!(
            "{} is up to date: nothing it is made of has changed (--force builds it anew)",
            args.output.join(RESULTS[0]).display()
        ));
        return Ok(());
    }
    requirements::check_tools()?;
    requirements::check_space(&args.output)?;

    let work = WorkFolder::new(&args.output, "imgbuild-base", args.keep_work)?;
    if args.keep_work {
        report.line(&format!(
            "the work folder is kept: {}",
            work.path().display()
        ));
    }
    let root_tar = mirror::debootstrap(&inputs, work.path(), report)?;
    let tree = disk::unpack_and_format(&inputs, &root_tar, work.path(), report)?;
    let raw = disk::assemble(&inputs, &tree, work.path(), report)?;
    let image = compress(&raw, work.path(), report)?;
    audited(&image, report)?;
    let manifest = Manifest::of(&image, &inputs, report)?;
    let results = manifest.write(&image, work.path())?;

    interrupt::check()?;
    let moves: Vec<(PathBuf, PathBuf)> = results
        .iter()
        .zip(RESULTS)
        .map(|(from, name)| (from.clone(), args.output.join(name)))
        .collect();
    work::move_into_place(&moves)?;
    report.line(&format!(
        "{} is ready: {} packages, {} MB, sha256 {}",
        args.output.join(RESULTS[0]).display(),
        manifest.packages.len(),
        manifest.image.bytes / 1_000_000,
        manifest.image.sha256
    ));
    Ok(())
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
        .map(|f| {
            format!(
                "\n    {}: {}",
                f.point,
                f.problem.as_deref().unwrap_or_default()
            )
        })
        .collect();
    bail!(
        "{} is not sealed ({} of {} points failed):{}",
        image.display(),
        failed.len(),
        findings.len(),
        list.concat()
    )
}

/// Raw to qcow2 with deflate-compressed clusters, which every reader understands.
fn compress(raw: &Path, work: &Path, report: &Report) -> Result<PathBuf> {
    let stage = report.stage("compress");
    let image = work.join(RESULTS[0]);
    let mut convert = Command::new(command::find("qemu-img")?);
    convert
        .args(["convert", "-f", "raw", "-O", "qcow2", "-c", "-W", "-m", "8"])
        .args([raw, &image]);
    command::stream(&mut convert, |line| stage.note(line)).context("cannot make base.qcow2")?;
    std::fs::remove_file(raw).with_context(|| format!("cannot remove {}", raw.display()))?;
    let bytes = std::fs::metadata(&image)
        .with_context(|| format!("cannot read {}", image.display()))?
        .len();
    stage.done(&format!("{} MB", bytes / 1_000_000));
    Ok(image)
}
