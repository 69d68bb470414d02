//! The installer's disc into the cache, verified before every use.

use super::{Disc, VERIFY};
use crate::system::digest::sha256_shown;
use crate::system::download::cache::Cache;
use crate::system::download::curl::size;
use crate::system::download::verified::Wanted;
use crate::system::files::{move_into_place, remove_if_there};
use crate::system::ui::Ui;
use anyhow::{Context, Result};
use std::path::PathBuf;

/// The disc in the cache, with the digest that it should have.
pub(super) fn download(
    cache: &Cache,
    disc: &Disc,
    proxy: Option<&str>,
    ui: &Ui,
) -> Result<PathBuf> {
    let place = cache.file(&disc.file_name());
    if place.exists() {
        let stage = ui.stage(VERIFY);
        let found = sha256_shown(&place, |part| stage.progress(part));
        let found = found.with_context(|| format!("cannot read {}", place.display()))?;
        if found == disc.sha256 {
            stage.done(&format!("{} (from the cache)", place.display()));
            return Ok(place);
        }
        stage.again("it is damaged");
        ui.warn(&format!(
            "{} is damaged, so it is removed and downloaded again:\n    expected: {}\n    \
             found:    {found}",
            place.display(),
            disc.sha256
        ));
        remove_if_there(&place)?;
    }
    let part = cache.file(&format!("{}.part", disc.file_name()));
    let wanted = Wanted {
        url: &disc.url,
        sha256: &disc.sha256,
        what: "disc",
    };
    let stage = wanted.bring(&part, proxy, ui)?;
    let megabytes = size(&part) / 1_000_000;
    move_into_place(&[(part, place.clone())])?;
    stage.done(&format!("{megabytes} MB, {}", place.display()));
    Ok(place)
}
