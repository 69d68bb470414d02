//! A new base.qcow2 takes the place of another: no VM is to notice.

use crate::base::RESULTS;
use crate::system::digest::sha256_shown;
use crate::system::files;
use crate::system::program::quote;
use crate::system::ui::Ui;
use crate::vm::bases::{Bases, Kept, Standing, by_base};
use anyhow::{Context, Result};
use serde_json::json;
use std::path::{Path, PathBuf};

/// What there is to say once the new base is in place.
#[derive(Debug)]
pub(super) struct Stay {
    places: Vec<Place>,
}

/// One folder with VMs' folders in it.
#[derive(Debug)]
struct Place {
    /// The lab file that is there, or would be.
    lab: PathBuf,
    bases: Bases,
    /// VMs on another base than the new one.
    standing: Vec<Standing>,
    kept: Vec<Kept>,
    removed: Vec<Kept>,
}

/// Moves the three results into `output`, in the order of [`RESULTS`]. Before that, the base that is
/// there is kept where a disk needs it; afterwards, what no disk needs any more is removed. Disks are
/// looked for beside the base, and in this folder where it is a lab's.
pub(super) fn put_into_place(
    results: [PathBuf; 3],
    output: &Path,
    sha256: &str,
    ui: &Ui,
) -> Result<Stay> {
    let folders = folders(output);
    for folder in &folders {
        keep_what_is_needed(&Bases::beside(folder), &output.join(RESULTS[0]), ui)?;
    }
    let places = RESULTS.map(|name| output.join(name));
    let moves: Vec<(PathBuf, PathBuf)> = results.into_iter().zip(places).collect();
    files::move_into_place(&moves)?;
    let places = folders.iter().map(|folder| {
        let bases = Bases::beside(folder);
        let removed = bases.remove_unneeded(Some(sha256)).unwrap_or_else(|error| {
            ui.warn(&format!("{error:#}"));
            Vec::new()
        });
        let mut standing = bases.standing().unwrap_or_default();
        standing.retain(|vm| vm.base.as_deref().is_some_and(|base| base != sha256));
        Place {
            lab: folder.join("lab.yaml"),
            kept: bases.kept().unwrap_or_default(),
            bases,
            standing,
            removed,
        }
    });
    Ok(Stay {
        places: places.collect(),
    })
}

/// Where there may be disks on the base of this folder.
fn folders(output: &Path) -> Vec<PathBuf> {
    let mut folders = vec![output.to_owned()];
    let here = Path::new(".");
    let same = here.canonicalize().ok() == output.canonicalize().ok();
    if !same && here.join("lab.yaml").is_file() {
        folders.push(here.to_owned());
    }
    folders
}

/// Keeps the base that is about to be replaced, where a disk beside `bases` stands on it.
fn keep_what_is_needed(bases: &Bases, base: &Path, ui: &Ui) -> Result<()> {
    let kept = bases.kept()?;
    let mut missing = bases.standing()?;
    missing.retain(|vm| {
        let is_kept = |base: &String| kept.iter().any(|kept| kept.sha256 == *base);
        !vm.base.as_ref().is_some_and(is_kept)
    });
    if missing.is_empty() || !base.is_file() {
        return Ok(());
    }
    let stage = ui.stage("digest of the old base");
    let digest = sha256_shown(base, |part| stage.progress(part))
        .with_context(|| format!("cannot read {}", base.display()))?;
    missing.retain(|vm| vm.base.as_ref().is_none_or(|base| *base == digest));
    if missing.is_empty() {
        stage.done("no disk stands on it");
        return Ok(());
    }
    bases.keep(base, &digest)?;
    for vm in missing.iter().filter(|vm| vm.base.is_none()) {
        bases.write_overlay_base(&vm.vm, &digest)?;
    }
    stage.done(&format!("kept as {}", bases.image(&digest).display()));
    Ok(())
}

impl Stay {
    /// Says which VMs stay on which old base, how one is renewed, and what was removed.
    pub(super) fn show(&self, ui: &Ui) {
        for place in &self.places {
            for (sha256, vms) in by_base(&place.standing) {
                place.show_old(sha256, &vms, ui);
            }
            for kept in &place.removed {
                let image = place.bases.image(&kept.sha256);
                ui.result(
                    &json!({"event": "removed", "image": image, "bytes": kept.bytes}),
                    &format!(
                        "{} was removed ({} MB): no disk stands on it any more",
                        image.display(),
                        kept.bytes / 1_000_000
                    ),
                );
            }
        }
    }
}

impl Place {
    fn show_old(&self, sha256: &str, vms: &[&Standing], ui: &Ui) {
        let image = self.bases.image(sha256);
        let is_there = self.kept.iter().any(|kept| kept.sha256 == sha256);
        if ui.is_json() {
            let vms: Vec<_> = vms
                .iter()
                .map(|vm| json!({"name": vm.vm, "running": vm.running, "retired": vm.retired}))
                .collect();
            ui.event(&json!({
                "event": "old_base", "image": image, "sha256": sha256, "there": is_there, "vms": vms,
            }));
            return;
        }
        let names: Vec<String> = vms.iter().map(|vm| vm.shown()).collect();
        let (names, stay) = match &names[..] {
            [one] => (one.clone(), "stays"),
            many => (many.join(", "), "stay"),
        };
        let image = image.display();
        ui.line(&match is_there {
            true => format!("{names} {stay} on the old base, kept as {image}"),
            false => format!("{names} cannot start: the old base is not there, {image}"),
        });
        if let Some(vm) = vms.iter().find(|vm| !vm.retired) {
            ui.line(&format!("  {}", renewal(&vm.vm, &self.lab)));
        }
    }
}

/// How a VM gets a disk on the new base.
pub(super) fn renewal(vm: &str, lab: &Path) -> String {
    let lab = lab_option(lab);
    let [stop, rm, seed, run] =
        ["stop", "rm", "seed", "run"].map(|word| format!("imgbuild {word} {vm}{lab}"));
    format!("For a new disk on the new base: {stop}, {rm}, {seed}, {run}")
}

/// What a command line says of a lab file that is not the one that is taken without a word.
pub(super) fn lab_option(lab: &Path) -> String {
    match lab == Path::new("lab.yaml") || lab == Path::new("./lab.yaml") {
        true => String::new(),
        false => format!(" --lab {}", quote(&lab.to_string_lossy())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::digest::sha256;
    use std::fs;
    use std::os::unix::fs::MetadataExt;

    fn write(folder: &Path, name: &str, content: &str) {
        let file = folder.join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, content).unwrap();
    }

    /// Puts an image of this content into place; gives the lines about what stays and what goes.
    fn place(folder: &Path, content: &str) -> Stay {
        let work = folder.join(".work");
        for name in RESULTS {
            write(&work, name, &format!("{content}: {name}"));
        }
        write(&work, RESULTS[0], content);
        let results = RESULTS.map(|name| work.join(name));
        put_into_place(results, folder, &sha256(content.as_bytes()), &Ui::new(true)).unwrap()
    }

    fn standing(stay: &Stay) -> Vec<(&str, String)> {
        let vms = stay.places.iter().flat_map(|place| &place.standing);
        vms.map(|vm| (vm.vm.as_str(), vm.base.clone().unwrap()))
            .collect()
    }

    #[test]
    fn an_old_base_stays_as_long_as_a_disk_stands_on_it() {
        let folder = tempfile::tempdir().unwrap();
        let lab = folder.path();
        let [one, three] = ["one", "three"].map(|text| sha256(text.as_bytes()));
        let bases = Bases::beside(lab);
        let kept = || -> Vec<String> {
            let kept = bases.kept().unwrap().into_iter();
            kept.map(|kept| kept.sha256).collect()
        };
        assert_eq!(standing(&place(lab, "one")), []);
        assert_eq!(kept(), [""; 0]);
        // As run.sh of before made it; vm43's folder has lost the file that says what it stands on.
        write(lab, "vm42/vm42.qcow2", "");
        write(lab, "vm42/vm42.qcow2.base", &format!("{one}\n"));
        write(lab, "vm43/vm43.qcow2", "");
        // No VM's disks.
        write(lab, "vm44/vm44.qcow2.base", &format!("{one}\n"));
        write(lab, "images/other.qcow2", "");
        let inode = fs::metadata(lab.join("base.qcow2")).unwrap().ino();
        let stay = place(lab, "two");
        assert_eq!(
            standing(&stay),
            [("vm42", one.clone()), ("vm43", one.clone())]
        );
        assert_eq!(kept(), [one.as_str()]);
        assert_eq!(fs::metadata(bases.image(&one)).unwrap().ino(), inode);
        let manifest = lab.join(format!("bases/{one}.manifest.json"));
        assert_eq!(
            fs::read_to_string(manifest).unwrap(),
            "one: base.manifest.json"
        );
        assert_eq!(
            fs::read_to_string(lab.join("vm43/vm43.qcow2.base")).unwrap(),
            format!("{one}\n")
        );
        // vm42 is renewed; the second base is not needed by anybody, the first by vm43.
        write(lab, "vm42/vm42.qcow2.base", &format!("{three}\n"));
        let stay = place(lab, "three");
        assert_eq!(standing(&stay), [("vm43", one.clone())]);
        assert_eq!(kept(), [one.as_str()]);
        fs::remove_file(lab.join("vm43/vm43.qcow2")).unwrap();
        let stay = place(lab, "three");
        assert_eq!(standing(&stay), []);
        assert_eq!(stay.places[0].removed[0].sha256, one);
        assert_eq!(kept(), [three.as_str()]);
        assert_eq!(fs::read_to_string(lab.join("base.qcow2")).unwrap(), "three");
    }

    #[test]
    fn a_base_that_cannot_be_kept_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let lab = folder.path();
        place(lab, "one");
        write(lab, "vm42/vm42.qcow2", "");
        write(lab, "vm42/vm42.qcow2.base", &sha256(b"one"));
        write(lab, "bases", "a file");
        let results = RESULTS.map(|name| lab.join(".work").join(name));
        let error = put_into_place(results, lab, "two", &Ui::new(true)).unwrap_err();
        assert_eq!(
            format!("{error:#}").replace(&lab.display().to_string(), "LAB"),
            "LAB/bases is no folder, and the bases that disks stand on are kept in one of that name. Move it \
             elsewhere: mv LAB/bases LAB/bases.away"
        );
        assert_eq!(fs::read_to_string(lab.join("base.qcow2")).unwrap(), "one");
    }
}
