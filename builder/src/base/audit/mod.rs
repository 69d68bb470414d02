//! Proving from outside that an image is sealed.

mod points;
mod proxmox;
mod rule;

use crate::image::apart::{self, Limits};
use crate::image::qcow2::{self, Image};
use crate::system::program;
use crate::system::text;
use crate::system::ui::Ui;
use anyhow::{Context, Result, bail};
use ext4_view::Ext4;
use points::POINTS;
use serde_json::json;
use std::path::Path;

/// One point of the audit: what must be so, and the path that is not, and why.
pub type Finding = (&'static str, Option<String>);

/// Reads an image in this process and checks every point. Fails when it cannot be read.
pub fn audit_image(image: &Path) -> Result<Vec<Finding>> {
    check_points(&Image::open(image)?.into_root()?, image)
}

/// The points in a file system; `image` names what it is in.
pub(crate) fn check_points(root: &Ext4, image: &Path) -> Result<Vec<Finding>> {
    let findings = POINTS.iter().map(|(point, rule)| {
        let problem = rule.check(root);
        let problem = problem.with_context(|| {
            format!(
                "cannot read the file system of {} ({point})",
                image.display()
            )
        })?;
        Ok((*point, problem))
    });
    findings.collect()
}

/// Audits an image and fails with every path that breaks the seal.
pub(crate) fn audited(image: &Path, limits: Limits, ui: &Ui) -> Result<()> {
    let stage = ui.stage("audit");
    check_image(image, limits)?;
    let findings: Vec<(String, Option<String>)> = apart::ask("audit", limits, image)?;
    if ui.is_json() {
        for (point, problem) in &findings {
            ui.event(&json!({
                "event": "audit", "point": point,
                "result": if problem.is_none() { "ok" } else { "failed" },
                "problem": problem,
            }));
        }
    }
    let failed = findings.iter().filter_map(|(point, problem)| {
        let problem = problem.as_ref()?;
        Some(format!("{point}: {problem}"))
    });
    let failed: Vec<String> = failed.collect();
    if failed.is_empty() {
        stage.done(&format!("{} points proven", findings.len()));
        return Ok(());
    }
    drop(stage);
    bail!(
        "{} is not sealed ({} of {} points failed):{}",
        image.display(),
        failed.len(),
        findings.len(),
        text::indented(&failed)
    )
}

/// qemu-img reads every table of the image; what it calls corrupt is not read any further.
fn check_image(image: &Path, limits: Limits) -> Result<()> {
    // The headers first, because qemu-img's words on what is no image at all are less clear.
    qcow2::check_headers(image)?;
    let memory = limits.memory.max(Limits::default().memory);
    apart::ask("check", Limits { memory, ..limits }, image)
}

/// In the process that has the limits: qemu-img has them too, and ends with it.
pub(crate) fn check_tables(image: &Path) -> Result<()> {
    let mut check = program::ending_with_this("qemu-img")?;
    check.args(["check", "-q", "-f", "qcow2"]).arg(image);
    program::stream(&mut check, |_| {})
        .with_context(|| format!("{} is a damaged qcow2 image", image.display()))?;
    Ok(())
}
