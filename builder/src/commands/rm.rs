//! The recipe of `imgbuild rm`: a VM's disk and logs go, its seed stays.

use crate::config::lab::Lab;
use crate::qemu;
use crate::system::ask;
use crate::system::files::remove_if_there;
use crate::system::ui::Ui;
use crate::vm::folder::VmFolder;
use crate::vm::retired;
use anyhow::{Result, bail};
use serde_json::json;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What a start makes again, besides the disk.
const MADE_BY_A_START: [&str; 12] = [
    "console.log",
    "console.log.old",
    "status.jsonl",
    "status.jsonl.old",
    "run.lock",
    "sockets",
    "run.log",
    "passt.log",
    "qemu.pid",
    "qmp.sock",
    "console.sock",
    "passt.sock",
];

/// `yes`: without a question.
pub fn rm(name: &str, lab_file: &Path, yes: bool, ui: &Ui) -> Result<()> {
    let lab = Lab::load_without_secrets(lab_file)?;
    let folder = VmFolder::of(&lab, lab.vm(name)?);
    if let Some(pid) = qemu::running(&folder.path) {
        bail!("cannot remove {name}: it is running, as process {pid}. First: imgbuild stop {name}");
    }
    if let Some(retired) = retired::keeps_its_seed(&folder) {
        bail!("cannot remove {name}: it {}", retired.refusal(name));
    }
    let disk = [folder.overlay(), folder.overlay_base(), folder.base_seen()];
    let others = MADE_BY_A_START.map(|file| folder.file(file));
    let files: Vec<&PathBuf> = disk.iter().chain(&others).collect();
    let is_there = |file: &&&PathBuf| file.symlink_metadata().is_ok();
    let there: Vec<&PathBuf> = files.iter().filter(is_there).copied().collect();
    if there.is_empty() {
        ui.result(
            &json!({"event": "rm", "vm": name, "state": "unchanged"}),
            &format!("{name}: unchanged: it has no disk and no logs"),
        );
        return Ok(());
    }
    let megabytes = match fs::metadata(&disk[0]) {
        Ok(found) => format!(" ({} MB)", found.blocks() * 512 / 1_000_000),
        Err(_) => String::new(),
    };
    let question =
        format!("remove the disk of {name}{megabytes} with all that is on it, and its logs?");
    if !yes {
        match ask::yes(&question)? {
            Some(true) => {}
            Some(false) => {
                ui.line("nothing was removed");
                return Ok(());
            }
            None => bail!(
                "nothing was removed: nobody can be asked here. imgbuild rm --yes {name} does it"
            ),
        }
    }
    for file in &there {
        remove_if_there(file)?;
    }
    let stays: Vec<&str> = ["seed.img", "run.sh"]
        .into_iter()
        .filter(|file| folder.file(file).exists())
        .collect();
    let text = match stays.is_empty() {
        true => format!("{name}: its disk and its logs were removed"),
        false => format!(
            "{name}: its disk and its logs were removed. {} stay: imgbuild run {name} begins anew. \
             Once it had joined a cluster, its seed has no password any more: first imgbuild seed {name}; \
             it is then taken in again, under its own name and address",
            stays.join(" and ")
        ),
    };
    ui.result(
        &json!({"event": "rm", "vm": name, "state": "removed", "files": there, "stays": stays}),
        &text,
    );
    Ok(())
}
