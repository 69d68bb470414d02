//! Making a base image: from a source to a sealed, compressed qcow2 image with its manifest.

pub(crate) mod apt_sources;
pub(crate) mod audit;
mod disk;
mod explain;
mod firstboot_binary;
mod inputs;
mod manifest;
mod measures;
mod mirror;
mod mke2fs;
pub(crate) mod netinst;
mod options;
mod payload;
mod preseed;
mod provision;
mod proxmox_key;
mod requirements;
mod root_cache;

pub(crate) use audit::audited;
pub(crate) use audit::check_tables;
pub use audit::{Finding, audit_image};
pub(crate) use inputs::{Inputs, changed};
pub(crate) use manifest::{Manifest, RESULTS, is_up_to_date, look as manifest_facts};
pub(crate) use measures::Measure;
pub(crate) use netinst::Failed as InstallationFailed;
pub(crate) use options::{Options, Source};
pub(crate) use requirements::{NO_SPACE, temporary};

use crate::image::apart::Limits;
use crate::image::qcow2;
use crate::system::ui::Ui;
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};

/// What a build needs of this machine, and what it needs from elsewhere before anything is begun:
/// what a wrong key has signed must not come near the image.
pub(crate) fn prepare(inputs: &mut Inputs, options: &Options, ui: &Ui) -> Result<()> {
    requirements::check_tools(options.source)?;
    inputs.proxmox_key = proxmox_key::obtain(&inputs.definition, ui)?;
    let proxmox = inputs.proxmox_key.is_some();
    requirements::check_space(&options.output, options.source, proxmox)
}

/// The stages, from nothing to the three results, in the order of [`RESULTS`] and still in `work`.
pub(crate) fn make(
    inputs: &Inputs,
    work: &Path,
    options: &Options,
    ui: &Ui,
) -> Result<(Manifest, [PathBuf; 3])> {
    let (raw, iso) = match options.source {
        Source::Mirror => (mirror::make(inputs, options, work, ui)?, None),
        Source::Netinst => {
            let disc = netinst::disc(inputs, options, ui)?;
            let raw = netinst::install(inputs, &disc, options, work, ui)?;
            (raw, Some(disc.facts()))
        }
    };
    let image = work.join(RESULTS[0]);
    compress(&raw, &image, ui)?;
    std::fs::remove_file(&raw).with_context(|| format!("cannot remove {}", raw.display()))?;
    audited(&image, Limits::default(), ui)?;
    let manifest = Manifest::of(&image, inputs, iso, ui)?;
    let results = manifest.write(&image, work)?;
    Ok((manifest, results))
}

/// The disk `raw` as a new image.
pub(crate) fn compress(raw: &Path, image: &Path, ui: &Ui) -> Result<()> {
    let stage = ui.stage("compress");
    qcow2::write(raw, image, |part| stage.progress(part))?;
    let bytes = std::fs::metadata(image)
        .with_context(|| format!("cannot read {}", image.display()))?
        .len();
    stage.done(&format!("{} MB", bytes / 1_000_000));
    Ok(())
}
