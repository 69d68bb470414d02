//! The recipe of `imgbuild audit`, and of the process that reads the image.

use crate::base;
use crate::image::apart;
pub use crate::image::apart::Limits;
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
}

/// Reads an image in this process, limited, and prints what was found for the one that asked.
pub fn look(what: Look, limits: Limits, image: &Path) -> Result<()> {
    match what {
        Look::Audit => apart::answer(limits, || base::audit_image(image)),
        Look::Check => apart::answer(limits, || base::check_tables(image)),
        Look::Manifest => apart::answer(limits, || base::manifest_facts(image)),
    }
}
