//! The recipe of `imgbuild lab clean`: the base images that are kept, and those that nothing needs.

use crate::config::lab::Lab;
use crate::system::ask;
use crate::system::files::remove_if_there;
use crate::system::ui::Ui;
use crate::vm::base_image::BaseImage;
use crate::vm::bases::{Bases, Kept, Standing};
use anyhow::Result;
use serde_json::json;
use std::path::{Path, PathBuf};

/// Shows what is kept and who needs it; removes the rest when somebody says yes.
pub fn clean(lab_file: &Path, yes: bool, ui: &Ui) -> Result<()> {
    let lab = Lab::load_without_secrets(lab_file)?;
    let bases = Bases::beside(&lab.folder);
    let current = BaseImage::read(&lab.base).ok().map(|base| base.sha256);
    let (standing, kept) = (bases.standing()?, bases.kept()?);
    for image in &kept {
        show(&bases, image, current.as_deref(), &standing, ui);
    }
    let unneeded = bases.unneeded(current.as_deref())?;
    let leftovers = bases.leftovers()?;
    for file in &leftovers {
        ui.result(
            &json!({"event": "leftover", "file": file}),
            &format!(
                "{}: left by a start or a build that was cut off",
                file.display()
            ),
        );
    }
    for vm in standing.iter().filter(|vm| vm.base.is_none()) {
        ui.warn(&format!(
            "nothing says on which base {0}/{0}.qcow2 stands ({0}/{0}.qcow2.base is not there), so \
             every base is kept",
            vm.vm
        ));
    }
    if unneeded.is_empty() && leftovers.is_empty() {
        ui.line("there is nothing to remove");
        return Ok(());
    }
    let files: Vec<PathBuf> = unneeded
        .iter()
        .map(|kept| bases.image(&kept.sha256))
        .collect();
    let megabytes = unneeded.iter().map(|kept| kept.bytes).sum::<u64>() / 1_000_000;
    let question = format!(
        "remove {} files ({megabytes} MB)?",
        files.len() + leftovers.len()
    );
    if !yes && !asked(&question, ui)? {
        return Ok(());
    }
    for kept in &unneeded {
        bases.remove(&kept.sha256)?;
    }
    for file in &leftovers {
        remove_if_there(file)?;
    }
    for file in files.iter().chain(&leftovers) {
        ui.result(
            &json!({"event": "removed", "image": file}),
            &format!("{} was removed", file.display()),
        );
    }
    Ok(())
}

/// Whether somebody at the terminal agrees.
fn asked(question: &str, ui: &Ui) -> Result<bool> {
    let answer = ask::yes(question)?;
    match answer {
        Some(true) => return Ok(true),
        Some(false) => ui.line("nothing was removed"),
        None => ui.line("nothing was removed: imgbuild lab clean --yes does it"),
    }
    Ok(false)
}

fn show(bases: &Bases, kept: &Kept, current: Option<&str>, standing: &[Standing], ui: &Ui) {
    let needing = |vm: &&Standing| vm.base.as_ref() == Some(&kept.sha256);
    let vms: Vec<String> = standing
        .iter()
        .filter(needing)
        .map(Standing::shown)
        .collect();
    let is_current = current == Some(kept.sha256.as_str());
    let image = bases.image(&kept.sha256);
    let why = match (&vms[..], is_current) {
        ([], true) => "the lab's base".to_owned(),
        ([], false) => "no disk stands on it".to_owned(),
        (vms, true) => format!("the lab's base; {}", vms.join(", ")),
        (vms, false) => vms.join(", "),
    };
    ui.result(
        &json!({
            "event": "kept", "image": image, "sha256": kept.sha256, "bytes": kept.bytes,
            "current": is_current, "vms": vms,
        }),
        &format!(
            "{}  {:>5} MB  {why}",
            image.display(),
            kept.bytes / 1_000_000
        ),
    );
}
