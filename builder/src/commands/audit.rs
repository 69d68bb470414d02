//! The recipe of `imgbuild audit`.

use crate::base;
use crate::system::ui::Ui;
use anyhow::Result;
use std::path::Path;

/// Fails with every path of an image that breaks the seal.
pub fn audit(image: &Path, ui: &Ui) -> Result<()> {
    base::audited(image, ui)?;
    ui.line(&format!("{} is sealed", image.display()));
    Ok(())
}
