//! The recipe of `imgbuild lab retire`: a machine leaves its cluster for good.
//!
//! A node that was deleted must never come back with its old disk. So run.sh, `imgbuild run` and
//! `imgbuild seed` refuse it, and its seed tells firstboot to drop the cluster's key, should its
//! disk be started in another way.

mod steps;

use crate::commands::seed::WORK_FOLDER;
use crate::config::lab::{Lab, Vm};
use crate::qemu;
use crate::system::clock;
use crate::system::interrupt;
use crate::system::ui::Ui;
use crate::system::work_folder::{Busy, WorkFolder};
use crate::vm::base_image::BaseImage;
use crate::vm::files::{self, Files};
use crate::vm::retired::{self, Retired};
use crate::vm::script;
use crate::vm::seed::{self, Documents};
use anyhow::{Context, Result, bail};
use serde_json::json;
use std::fs;
use std::path::Path;

/// The file `retired` is no secret.
const MARKER_MODE: u32 = 0o644;

/// The lab's secrets need not be there any more.
pub fn retire(name: &str, lab_file: &Path, ui: &Ui) -> Result<()> {
    let lab = Lab::load_without_secrets(lab_file)?;
    let vm = lab.vm(name)?;
    let place = lab.folder.join(name);
    let work = WorkFolder::new(&lab.folder, WORK_FOLDER, Busy::Wait)?;
    let before = Retired::of(&place);
    if vm.cluster.is_none() && before.is_none() {
        bail!(
            "{name} joins no cluster, says {}: there is nothing to remove it from. Its folder \
             {name} can be removed as it is",
            lab_file.display()
        );
    }
    if let Some(pid) = qemu::running(&place) {
        bail!("cannot retire {name}: it is running, as process {pid}. Shut it down first");
    }
    let (retired, state) = match before.filter(|retired| is_complete(retired, &place)) {
        Some(retired) => (retired, "unchanged"),
        None => (
            write(&lab, vm, &place, work.path(), ui)
                .with_context(|| format!("cannot retire {name}"))?,
            "retired",
        ),
    };
    show_result(&lab, vm, &retired, state, ui);
    Ok(())
}

/// Whether the seed that the marker speaks of is in place: a power cut may have come between.
fn is_complete(retired: &Retired, place: &Path) -> bool {
    files::read_seed(place).is_ok_and(|seed| {
        let proxmox = seed.user_data.proxmox;
        proxmox.is_some_and(|proxmox| proxmox.retired)
            && retired.instance_id.as_ref() == Some(&seed.meta_data.instance_id)
    })
}

/// Makes marker, script and seed, and puts them into place. The marker comes first: from then on
/// nothing starts the machine.
fn write(lab: &Lab, vm: &Vm, place: &Path, work: &Path, ui: &Ui) -> Result<Retired> {
    let documents = Documents::retired(lab, vm)?;
    let retired = Retired {
        date: Some(clock::utc(clock::now())),
        instance_id: Some(documents.instance_id.clone()),
    };
    let mut files = Files::new(work, place.to_owned());
    files.add(retired::NAME, retired.text().as_bytes(), MARKER_MODE)?;
    match BaseImage::read(&lab.base) {
        Ok(base) => {
            let script = script::render(lab, vm, &base, &documents.instance_id)?;
            files.add("run.sh", script.as_bytes(), script::MODE)?;
        }
        // The base may be gone as well; then the script stays as it is.
        Err(_) => warn_of_an_old_script(vm, place, ui),
    }
    // The last one: when it is there, all are.
    files.add_seed(&seed::image(&documents)?, &documents.instance_id)?;
    interrupt::check()?;
    Files::put_into_place([&files])?;
    Ok(retired)
}

/// A script that was made before there was a marker starts the machine all the same.
fn warn_of_an_old_script(vm: &Vm, place: &Path, ui: &Ui) {
    let script = fs::read_to_string(place.join("run.sh"));
    if script.is_ok_and(|text| !text.contains("\ncheck_not_retired\n")) {
        ui.warn(&format!(
            "{0}/run.sh is from an earlier imgbuild and would still start {0}, and without the base \
             image it cannot be made again: rm {0}/run.sh",
            vm.name
        ));
    }
}

fn show_result(lab: &Lab, vm: &Vm, retired: &Retired, state: &str, ui: &Ui) {
    let name = &vm.name;
    let steps = steps::steps(vm);
    let members = steps::members(lab, vm);
    if ui.is_json() {
        ui.event(&json!({
            "event": "retire", "vm": name, "state": state, "date": retired.date,
            "instance_id": retired.instance_id, "members": members, "steps": steps,
        }));
        return;
    }
    ui.line(&match state {
        "retired" => format!(
            "{name}: retired: {name}/retired, {name}/seed.img ({}). It is not started any more, \
             and its seed joins nothing",
            retired.instance_id.as_deref().unwrap_or_default()
        ),
        _ => format!("{name}: retired{}: left as it is", retired.when()),
    });
    let on = match members.is_empty() {
        true => String::new(),
        false => format!(" ({})", members.join(", ")),
    };
    ui.line(&format!(
        "Now remove it from its cluster: as root on one of the members that stay{on}, in this order."
    ));
    for line in steps::lines(&steps) {
        ui.line(&line);
    }
    ui.line("");
    ui.line(&format!(
        "Then take {name} out of the lab file. Or, for a new machine of this name: rm -r {name}; \
         imgbuild seed {name}"
    ));
}
