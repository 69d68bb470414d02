//! The recipe of `imgbuild seed`.

#[cfg(test)]
mod checked_labs;
mod tickets;

use crate::commands::new_base::{lab_option, renewal};
use crate::config::lab::{JoinWith, Lab, State, Vm};
use crate::qemu;
use crate::system::interrupt;
use crate::system::text::first_few;
use crate::system::ui::{Stage, Ui};
use crate::system::work_folder::{Busy, WorkFolder};
use crate::vm::base_image::BaseImage;
use crate::vm::base_seen;
use crate::vm::bases::{self, Bases};
use crate::vm::files::Files;
use crate::vm::folder::VmFolder;
use crate::vm::login;
use crate::vm::retired;
use crate::vm::script;
use crate::vm::seed::{self, Companions, Documents, SecretFiles, Secrets};
use anyhow::{Context, Error, Result, anyhow, bail, ensure};
use firstboot::contract::seed::Credential;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
pub(crate) use tickets::TicketSource;
use tickets::Tickets;

/// The name of the work folder, so that only one process at a time changes a lab's VMs.
pub const WORK_FOLDER: &str = "imgbuild-seed";
/// From so many VMs on a bar shows how far it is: fewer are done at once.
const MANY: usize = 100;

/// Which machines are seeded, and how they get into their cluster.
#[derive(Debug)]
pub struct Options {
    /// `None` means every VM of the lab that is neither retired nor absent.
    pub(crate) names: Option<Vec<String>>,
    pub(crate) lab: PathBuf,
    pub(crate) tickets: TicketSource,
}

/// One VM whose files are finished, still in the work folder.
struct Prepared<'a> {
    vm: &'a Vm,
    instance_id: String,
    /// Empty when nothing changed.
    files: Files,
}

/// Every VM is prepared before the first file is moved into place; the error
/// holds the problems of all of them.
pub fn seed(options: &Options, ui: &Ui) -> Result<()> {
    let lab = retired::load_lab(&options.lab)?;
    let base = BaseImage::read(&lab.base)?;
    base_seen::verify(&lab.base, &base, ui)?;
    let vms = all_seedable(&lab, options, &base, ui)?;
    // Before the work folder: others that wait for it need not wait for somebody who types.
    let tickets = Tickets::get(&lab, &vms, &options.tickets, ui)?;
    let work = WorkFolder::new(&lab.folder, WORK_FOLDER, Busy::Wait)?;

    let companions = Companions::of(&lab);
    let secrets = SecretFiles::default();
    let stage = (vms.len() >= MANY).then(|| ui.stage("seeds"));
    let prepare = |vm| {
        let all = (&tickets, &companions, &secrets);
        prepare(&lab, vm, &base, all, work.path())
            .with_context(|| format!("cannot seed {}", vm.name))
    };
    let (mut ready, mut problems) = (Vec::new(), Vec::new());
    for prepared in on_all_processors(&vms, prepare, stage.as_ref()) {
        match prepared {
            Ok(prepared) => ready.push(prepared),
            Err(error) => problems.push(error),
        }
    }
    interrupt::check()?;
    all_well(problems)?;
    Files::put_into_place(ready.iter().map(|prepared| &prepared.files))?;
    if let Some(stage) = stage {
        stage.done("");
    }
    let option = lab_option(&options.lab);
    for prepared in &ready {
        show_result(&lab, &option, prepared, &base, ui);
    }
    let seeded: Vec<&Vm> = ready.iter().map(|prepared| prepared.vm).collect();
    for warning in login::warnings(&seeded) {
        ui.warn(&warning);
    }
    tickets.show_result(ui);
    let name = match &ready[..] {
        [] => return Ok(()),
        [only] => &only.vm.name,
        _ => "NAME",
    };
    ui.line(&format!(
        "next: imgbuild run {name}{option} (or, on the PC that is to run it: {name}/run.sh)"
    ));
    Ok(())
}

/// What `prepare` makes of each VM, in their order. With `stage` there are many, and each processor
/// has a part of them. After Ctrl-C the rest is left out.
fn on_all_processors<'a, T: Send>(
    vms: &[&'a Vm],
    prepare: impl Fn(&'a Vm) -> T + Sync,
    stage: Option<&Stage<'_>>,
) -> Vec<T> {
    let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
    let part = match stage {
        Some(_) => vms.len().div_ceil(processors).max(1),
        None => vms.len().max(1),
    };
    let done = AtomicUsize::new(0);
    let some = |vms: &[&'a Vm], show: &dyn Fn(usize)| -> Vec<T> {
        let wanted = vms.iter().take_while(|_| !interrupt::requested());
        let made = wanted.map(|vm| {
            let made = prepare(vm);
            show(done.fetch_add(1, Ordering::Relaxed));
            made
        });
        made.collect()
    };
    let (own, others) = vms.split_at(part.min(vms.len()));
    let some = &some;
    std::thread::scope(|scope| {
        let others = others.chunks(part);
        let others: Vec<_> = others
            .map(|vms| scope.spawn(move || some(vms, &|_| {})))
            .collect();
        // Only this thread may print.
        let mut all = some(own, &|done| {
            if let Some(stage) = stage {
                stage.progress(done as f64 / vms.len() as f64);
            }
        });
        for other in others {
            match other.join() {
                Ok(made) => all.extend(made),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        all
    })
}

/// The base that a VM starts on: the one under its disk, where that is known, else the lab's.
fn base_of(lab: &Lab, vm: &Vm, base: &BaseImage) -> (PathBuf, BaseImage) {
    let old = bases::base_under(&VmFolder::of(lab, vm)).filter(|digest| *digest != base.sha256);
    let old = old.and_then(|digest| {
        let image = Bases::beside(&lab.folder).image(&digest);
        let read = BaseImage::read(&image).ok()?;
        (read.sha256 == digest).then_some((image, read))
    });
    old.unwrap_or_else(|| (lab.base.clone(), base.clone()))
}

/// The VMs whose seeds the firstboot in their base would refuse or misunderstand, in one refusal for
/// each base.
fn check_contract(lab: &Lab, file: &Path, vms: &[&Vm], base: &BaseImage) -> Vec<Error> {
    let companions = Companions::of(lab);
    let mut too_old: BTreeMap<PathBuf, (u32, u32, Vec<&str>)> = BTreeMap::new();
    let mut problems = Vec::new();
    for vm in vms {
        let contract = match Documents::contract(lab, vm, &companions) {
            Ok(contract) => contract,
            Err(error) => {
                problems.push(error);
                continue;
            }
        };
        let (image, base) = base_of(lab, vm, base);
        if contract > base.contract {
            let entry = too_old.entry(image);
            let (_, needed, names) = entry.or_insert((base.contract, 0, Vec::new()));
            *needed = contract.max(*needed);
            names.push(vm.name.as_str());
        }
    }
    problems.extend(too_old.into_iter().map(|(image, (known, needed, names))| {
        let seeds = match &names[..] {
            [_] => "the seed",
            _ => "the seeds",
        };
        let remedy = match (image == lab.base, names.first()) {
            (false, Some(name)) => renewal(name, file),
            _ => "Make it again with: imgbuild base".to_owned(),
        };
        anyhow!(
            "the base {} is too old for {seeds} of {}: its firstboot knows contract {known}, and \
             contract {needed} is needed. {remedy}",
            image.display(),
            first_few(&names),
        )
    }));
    problems
}

/// The VMs that were asked for and can be seeded, before anything is asked for them. With `--all`
/// a retired or absent one is passed over.
fn all_seedable<'a>(
    lab: &'a Lab,
    options: &Options,
    base: &BaseImage,
    ui: &Ui,
) -> Result<Vec<&'a Vm>> {
    let (vms, mut problems) = select(lab, options.names.as_deref());
    let mut seedable = Vec::new();
    for vm in vms {
        let retired = retired::keeps_its_seed(&VmFolder::of(lab, vm));
        if let (true, Some(retired)) = (options.names.is_none(), &retired) {
            show_passed_over(&vm.name, "retired", &retired.when(), ui);
            continue;
        }
        if options.names.is_none() && vm.state == State::Absent {
            show_passed_over(&vm.name, "absent", "", ui);
            continue;
        }
        match can_be_seeded(lab, vm, base) {
            Ok(()) => seedable.push(vm),
            Err(error) => problems.push(error.context(format!("cannot seed {}", vm.name))),
        }
    }
    problems.extend(check_contract(lab, &options.lab, &seedable, base));
    all_well(problems)?;
    Ok(seedable)
}

/// The VMs that were asked for, each once, and the names that are none.
fn select<'a>(lab: &'a Lab, names: Option<&[String]>) -> (Vec<&'a Vm>, Vec<Error>) {
    let Some(names) = names else {
        return (lab.vms.iter().collect(), Vec::new());
    };
    let (mut vms, mut problems) = (Vec::<&Vm>::new(), Vec::new());
    let by_name: BTreeMap<&str, &Vm> = lab.vms.iter().map(|vm| (vm.name.as_str(), vm)).collect();
    let mut known = BTreeSet::new();
    for name in names.iter().filter(|name| known.insert(*name)) {
        match by_name
            .get(name.as_str())
            .map_or_else(|| lab.vm(name), |vm| Ok(vm))
        {
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

/// Says what keeps a VM from being seeded, whatever its seed would be.
fn can_be_seeded(lab: &Lab, vm: &Vm, base: &BaseImage) -> Result<()> {
    let folder = VmFolder::of(lab, vm);
    if let Some(retired) = retired::keeps_its_seed(&folder) {
        bail!("it {}", retired.refusal(&vm.name));
    }
    ensure!(
        vm.state != State::Absent,
        "its `state` in the lab file is absent. With `started` or `stopped` it gets a seed"
    );
    if let Some(pid) = qemu::running(&folder.path) {
        bail!("it is running, as process {pid}. Shut it down first");
    }
    let (image, base) = base_of(lab, vm, base);
    ensure!(
        vm.disk >= base.virtual_bytes,
        "its disk has {} bytes, and the base {} already {}. Make the disk larger in the lab file",
        vm.disk,
        image.display(),
        base.virtual_bytes
    );
    Ok(())
}

/// Makes a VM's files in the work folder and reads the seed back as the guest will.
fn prepare<'a>(
    lab: &Lab,
    vm: &'a Vm,
    base: &BaseImage,
    (tickets, companions, secrets): (&Tickets, &Companions<'_>, &SecretFiles),
    work: &Path,
) -> Result<Prepared<'a>> {
    // Once more: it may have been started while somebody typed a password.
    can_be_seeded(lab, vm, base)?;
    let secrets = read_secrets(lab, vm, tickets, secrets)?;
    let documents = Documents::new(lab, vm, &secrets, companions)?;
    let image = seed::image(&documents)?;
    let script = script::render(lab, vm, base, &documents.instance_id)?;

    let mut files = Files::new(work, VmFolder::of(lab, vm).path);
    files.add_seed(&image, &documents.instance_id)?;
    files.add("run.sh", script.as_bytes(), script::MODE)?;
    Ok(Prepared {
        vm,
        instance_id: documents.instance_id,
        files,
    })
}

fn read_secrets(lab: &Lab, vm: &Vm, tickets: &Tickets, files: &SecretFiles) -> Result<Secrets> {
    Ok(Secrets {
        root_password: match &vm.root_password_file {
            Some(file) => Some(files.hashed(file, &lab.domain)?),
            None => None,
        },
        openvpn: match &vm.openvpn {
            Some(openvpn) => Some(openvpn.read(vm.vmbr120.is_some())?),
            None => None,
        },
        credential: match vm.cluster.as_ref().map(|join| &join.with) {
            Some(JoinWith::PasswordFile(file)) => Some(Credential::Password(files.read(file)?)),
            Some(JoinWith::Ticket) => tickets.of(vm).cloned().map(Credential::Ticket),
            None => None,
        },
    })
}

/// `--all` means every machine that is one.
fn show_passed_over(name: &str, state: &str, when: &str, ui: &Ui) {
    let event = json!({"event": "seed", "vm": name, "state": state});
    ui.result(&event, &format!("{name}: {state}{when}: left as it is"));
}

fn show_result(lab: &Lab, option: &str, prepared: &Prepared, base: &BaseImage, ui: &Ui) {
    let name = &prepared.vm.name;
    let state = match prepared.files.is_empty() {
        true => "unchanged",
        false => "made",
    };
    let id = &prepared.instance_id;
    ui.result(
        &json!({"event": "seed", "vm": name, "state": state, "instance_id": id}),
        &format!("{name}: {state}: {name}/seed.img ({id}), {name}/run.sh"),
    );
    let old = bases::base_under(&VmFolder::of(lab, prepared.vm));
    let Some(digest) = old.filter(|digest| *digest != base.sha256) else {
        return;
    };
    let image = Bases::beside(&lab.folder).image(&digest);
    let (image, is_there, base) = (image.display(), image.is_file(), lab.base.display());
    let afresh = format!("imgbuild rm {name}{option}");
    ui.warn(&match is_there {
        true => format!(
            "{name}/{name}.qcow2 stays on the base that it was made on, {image}. For a new disk on \
             {base}: {afresh}"
        ),
        false => format!(
            "{name}/{name}.qcow2 was made on another base than {base}, and will not start: that one \
             is not there, {image}. To start afresh: {afresh}"
        ),
    });
}
