//! Proving from outside that an image is sealed.

mod points;
mod proxmox;
mod rule;

use crate::image::qcow2::Image;
use crate::system::program;
use crate::system::text;
use crate::system::ui::Ui;
use anyhow::{Context, Result, bail};
use points::POINTS;
use std::path::Path;

/// One point of the audit.
#[derive(Debug)]
pub struct Finding {
    /// What must be so.
    pub point: String,
    /// The path that is not, and why; `None` when the point is proven.
    pub problem: Option<String>,
}

impl Finding {
    /// The finding for programs.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::json!({
            "event": "audit", "point": self.point,
            "result": if self.problem.is_none() { "ok" } else { "failed" },
            "problem": self.problem,
        })
    }
}

/// Reads an image from outside and checks every point. Fails when it cannot be read.
pub fn audit_image(image: &Path) -> Result<Vec<Finding>> {
    check_image(image)?;
    let root = Image::open(image)?.into_root()?;
    POINTS
        .iter()
        .map(|(point, rule)| {
            let problem = rule
                .check(&root)
                .with_context(|| format!("cannot read the file system of {}", image.display()))?;
            Ok(Finding {
                point: (*point).to_owned(),
                problem,
            })
        })
        .collect()
}

/// Audits an image and fails with every path that breaks the seal.
pub(crate) fn audited(image: &Path, ui: &Ui) -> Result<()> {
    let stage = ui.stage("audit");
    let findings = audit_image(image)?;
    let failed: Vec<&Finding> = findings.iter().filter(|f| f.problem.is_some()).collect();
    if ui.is_json() {
        for finding in &findings {
            ui.event(&finding.to_json());
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
        text::indented(&list)
    )
}

/// qemu-img reads every table of the image; what it calls corrupt is not read any further.
fn check_image(image: &Path) -> Result<()> {
    std::fs::File::open(image).with_context(|| format!("cannot open {}", image.display()))?;
    // The header first, because qemu-img's words on what is no image at all are less clear.
    Image::open(image)?;
    let mut check = program::command("qemu-img")?;
    check.args(["check", "-q", "-f", "qcow2"]).arg(image);
    program::output(&mut check)
        .with_context(|| format!("{} is a damaged qcow2 image", image.display()))?;
    Ok(())
}
