//! The recipe of `imgbuild seed`.

mod base_image;
mod disk;
mod documents;
#[cfg(test)]
mod example;
mod script;

pub use base_image::{BaseImage, manifest_of};
pub use documents::{Documents, Secrets};
pub use script::render;

use crate::cli::SeedArgs;
use crate::command::quote;
use crate::lab::{self, Lab, Vm};
use crate::report::Report;
use crate::work::{Busy, WorkFolder, move_into_place};
use crate::{interrupt, qemu};
use anyhow::{Context, Error, Result, anyhow, bail, ensure};
use serde_json::json;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The seed disk carries secrets.
const SEED_MODE: u32 = 0o600;
const SCRIPT_MODE: u32 = 0o755;

/// One VM whose files are finished, still in the work folder.
struct Prepared<'a> {
    vm: &'a Vm,
    instance_id: String,
    /// From the work folder to their places; empty when nothing changed.
    moves: Vec<(PathBuf, PathBuf)>,
}

/// `imgbuild seed`. Every VM is prepared before the first file is moved into place; the error
/// holds the problems of all of them.
pub fn seed(args: &SeedArgs, report: &Report) -> Result<()> {
    let lab = Lab::load(&args.lab)?;
    let base = BaseImage::read(&lab.base)?;
    check_versions(&base, report);
    let work = WorkFolder::new(&lab.folder, "imgbuild-seed", Busy::Wait)?;

    let (vms, mut problems) = select(&lab, args);
    let mut ready = Vec::new();
    for vm in vms {
        interrupt::check()?;
        match prepare(&lab, vm, &base, work.path()) {
            Ok(prepared) => ready.push(prepared),
            Err(error) => problems.push(error.context(format!("cannot seed {}", vm.name))),
        }
    }
    all_well(problems)?;
    interrupt::check()?;

    for prepared in &ready {
        put_into_place(&lab, prepared)?;
        tell(&lab, prepared, &base, report);
    }
    let name = match &ready[..] {
        [only] => &only.vm.name,
        _ => "NAME",
    };
    let lab = match args.lab == Path::new("lab.yaml") {
        true => String::new(),
        false => format!(" --lab {}", quote(&args.lab.to_string_lossy())),
    };
    report.line(&format!(
        "next: imgbuild run {name}{lab} (or, on the PC that is to run it: {name}/run.sh)"
    ));
    Ok(())
}

/// The seed is checked by this firstboot, and read by the one in the base.
fn check_versions(base: &BaseImage, report: &Report) {
    let own = env!("CARGO_PKG_VERSION");
    if base.firstboot != own {
        report.warn(&format!(
            "the base holds firstboot {}, this imgbuild is {own}: make the base again (imgbuild \
             base) if a machine does not understand its seed",
            base.firstboot
        ));
    }
}

/// The VMs that were asked for, each once, and the names that are none.
fn select<'a>(lab: &'a Lab, args: &SeedArgs) -> (Vec<&'a Vm>, Vec<Error>) {
    if args.all {
        return (lab.vms.iter().collect(), Vec::new());
    }
    let (mut vms, mut problems) = (Vec::<&Vm>::new(), Vec::new());
    for name in &args.names {
        match lab.vm(name) {
            Ok(vm) if vms.iter().any(|known| known.name == vm.name) => {}
            Ok(vm) => vms.push(vm),
            Err(error) => problems.push(error),
        }
    }
    (vms, problems)
}

fn all_well(mut problems: Vec<Error>) -> Result<()> {
    match problems.len() {
        0 => Ok(()),
        1 => Err(problems.remove(0)),
        count => {
            let mut text = format!("{count} problems, nothing was changed:");
            for problem in &problems {
                text.push_str("\n  ");
                text.push_str(&format!("{problem:#}").replace('\n', "\n  "));
            }
            Err(anyhow!(text))
        }
    }
}

/// Makes a VM's files in the work folder and reads the seed back as the guest will.
fn prepare<'a>(lab: &Lab, vm: &'a Vm, base: &BaseImage, work: &Path) -> Result<Prepared<'a>> {
    let place = lab.folder.join(&vm.name);
    if let Some(pid) = qemu::running(&place) {
        bail!("it is running, as process {pid}. Shut it down first");
    }
    ensure!(
        vm.disk >= base.virtual_bytes,
        "its disk has {} bytes, and the base {} already {}. Make the disk larger in the lab file",
        vm.disk,
        lab.base.display(),
        base.virtual_bytes
    );
    let documents = Documents::new(lab, vm, &read_secrets(vm)?)?;
    let image = disk::image(&documents)?;
    let script = render(lab, vm, base)?;

    let folder = work.join(&vm.name);
    fs::create_dir(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let mut prepared = Prepared {
        vm,
        instance_id: documents.instance_id,
        moves: Vec::new(),
    };
    for (name, content, mode) in [
        ("seed.img", image.as_slice(), SEED_MODE),
        ("run.sh", script.as_bytes(), SCRIPT_MODE),
    ] {
        let (from, to) = (folder.join(name), place.join(name));
        disk::write_new(&from, content, mode)?;
        if name == "seed.img" {
            read_back(&from, &prepared.instance_id)?;
        }
        if !is_the_same(&to, content, mode)? {
            prepared.moves.push((from, to));
        }
    }
    Ok(prepared)
}

fn read_secrets(vm: &Vm) -> Result<Secrets> {
    Ok(Secrets {
        root_password: match &vm.root_password_file {
            Some(file) => Some(lab::read_secret(file)?),
            None => None,
        },
        openvpn: match &vm.openvpn {
            Some(openvpn) => Some(lab::read_secret_file(&openvpn.config)?),
            None => None,
        },
        cluster_password: match &vm.cluster {
            Some(join) => Some(lab::read_secret(&join.password_file)?),
            None => None,
        },
    })
}

/// The guest's own parser has the last word: a seed that it refuses is not put into place.
fn read_back(image: &Path, instance_id: &str) -> Result<()> {
    let file = fs::File::open(image)
        .with_context(|| format!("cannot read back the seed disk {}", image.display()))?;
    let seed = firstboot::media::read_fat(file, Path::new("seed.img"))
        .context("firstboot would refuse this seed")?;
    ensure!(
        seed.meta_data.instance_id == instance_id,
        "the seed disk {} was not read back as it was written",
        image.display()
    );
    Ok(())
}

/// Whether a file of an earlier run is already what it should be.
fn is_the_same(file: &Path, content: &[u8], mode: u32) -> Result<bool> {
    let look = || -> std::io::Result<bool> {
        let found = fs::symlink_metadata(file)?;
        Ok(found.is_file()
            && found.permissions().mode() & 0o7777 == mode
            && found.len() == content.len() as u64
            && fs::read(file)? == content)
    };
    match look() {
        Ok(same) => Ok(same),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e).with_context(|| format!("cannot read {}", file.display())),
    }
}

fn put_into_place(lab: &Lab, prepared: &Prepared) -> Result<()> {
    if prepared.moves.is_empty() {
        return Ok(());
    }
    let folder = lab.folder.join(&prepared.vm.name);
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    move_into_place(&prepared.moves)
}

fn tell(lab: &Lab, prepared: &Prepared, base: &BaseImage, report: &Report) {
    let name = &prepared.vm.name;
    let state = if prepared.moves.is_empty() {
        "unchanged"
    } else {
        "made"
    };
    if report.is_json() {
        report.event(&json!({
            "event": "seed", "vm": name, "state": state, "instance_id": prepared.instance_id,
        }));
    } else {
        let id = &prepared.instance_id;
        report.line(&format!(
            "{name}: {state}: {name}/seed.img ({id}), {name}/run.sh"
        ));
    }
    let record = lab.folder.join(name).join(format!("{name}.qcow2.base"));
    if fs::read_to_string(record).is_ok_and(|digest| digest.trim() != base.sha256) {
        report.warn(&format!(
            "{name}/{name}.qcow2 was made on another base than {}, and will not start on this \
             one. To start afresh: rm {name}/{name}.qcow2 {name}/{name}.qcow2.base",
            lab.base.display()
        ));
    }
}
