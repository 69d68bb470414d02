//! The recipe of `imgbuild audit`, of the process that reads the image, and of writing one alone.

use crate::base;
use crate::image::apart;
pub use crate::image::apart::Limits;
use crate::system::digest;
use crate::system::ui::Ui;
use anyhow::Result;
use std::path::Path;

/// Fails with every path of an image that breaks the seal. The limits are those of
/// the process that reads it.
pub fn audit(image: &Path, limits: Limits, ui: &Ui) -> Result<()> {
    base::audited(image, limits, ui)?;
    ui.line(&format!("{} is sealed", image.display()));
    Ok(())
}

/// What is looked for in an image.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub enum Look {
    Audit,
    /// qemu-img's own look at the tables.
    Check,
    Manifest,
    /// The file's SHA-256, for benchmarks.
    Digest,
}

/// Reads an image in this process, limited, and prints what was found for the one that asked.
pub fn look(what: Look, limits: Limits, image: &Path) -> Result<()> {
    match what {
        Look::Audit => apart::answer(limits, || base::audit_image(image)),
        Look::Check => apart::answer(limits, || base::check_tables(image)),
        Look::Digest => apart::answer(limits, || digest::sha256_file(image)),
        Look::Manifest => apart::answer(limits, || base::manifest_facts(image)),
    }
}

/// Writes the disk in `raw` as a new image.
pub fn compress(raw: &Path, image: &Path, ui: &Ui) -> Result<()> {
    base::compress(raw, image, ui)
}
