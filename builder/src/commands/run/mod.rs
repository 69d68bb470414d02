//! The recipe of `imgbuild run`: what run.sh does, with progress, up to the guest's verdict.

mod all;
mod messages;
mod options;
mod watch;

pub use options::Options;

use crate::config::lab::Lab;
use crate::qemu::{self, Accelerator, End, Machine, Running, Watched};
use crate::system::clock;
use crate::system::interrupt::{self, Interrupted};
use crate::system::program;
use crate::system::ui::Ui;
use crate::vm::folder::VmFolder;
use crate::vm::retired::Retired;
use crate::vm::state::{self, State};
use anyhow::{Context, Error, Result, bail};
use serde_json::json;
use std::fs;
use std::time::Duration;
use watch::{BootingVm, Seen, Verdict};

/// How long a guest may take to shut down before its power is taken away.
const SHUT_DOWN: Duration = Duration::from_secs(120);

/// Ends well only when firstboot says that the machine is configured, or that all are.
pub fn run(options: &Options, ui: &Ui) -> Result<()> {
    let lab = Lab::load_without_secrets(&options.lab)?;
    match &options.name {
        Some(name) => run_one(options, &VmFolder::of(&lab, lab.vm(name)?), ui),
        None => all::run_all(options, &lab, ui),
    }
}

fn run_one(options: &Options, folder: &VmFolder<'_>, ui: &Ui) -> Result<()> {
    check(folder)?;
    if let Some(running) = Running::of(&folder.path) {
        return already(options, folder, &running, ui);
    }
    program::find("qemu-img")?;
    program::find("qemu-system-x86_64")?;
    let had_overlay = folder.overlay().symlink_metadata().is_ok();
    let mut vm = BootingVm::new(folder, arguments(options), ui);
    let may_fall_back = options.accelerator == Accelerator::Auto;
    let booted = qemu::boot(
        &mut vm,
        options.accelerator,
        may_fall_back,
        &options.limits,
        ui,
    );
    let (name, seen) = (folder.name(), vm.seen);
    let Watched {
        mut machine,
        end,
        console,
    } = match booted {
        Ok(watched) => watched,
        Err(error) => {
            tidy(folder, had_overlay, &seen, ui);
            if error.is::<Interrupted>() && folder.overlay().exists() {
                let disk = folder.overlay();
                let left = format!("{name} is off, and its disk {} is kept", disk.display());
                return Err(Interrupted::leaving(left).into());
            }
            return Err(error);
        }
    };
    if let End::Held(why) = &end {
        let pid = machine.release();
        bail!(
            "{name} gave no verdict within {} s, because it is held: {why}. It was left as it is, as process {pid}, \
             and loses nothing; imgbuild stop {name} ends it",
            options.limits.total.as_secs(),
        );
    }
    let End::Verdict(verdict) = end else {
        machine.end();
        tidy(folder, had_overlay, &seen, ui);
        bail!(messages::trouble(folder, &end, &seen, &console))
    };
    messages::steps(name, &seen, ui);
    match verdict {
        Verdict::Configured => {
            finish(options, folder, machine, ui)
                .map_err(|error| after_the_verdict(error, name, "is configured"))?;
            messages::closed(folder, ui);
            messages::configured(name, ui);
            Ok(())
        }
        Verdict::Failed(reason) => {
            finish_unconfigured(options, folder, machine, ui)?;
            bail!(messages::failed(folder, &reason, &seen, &console))
        }
        // It is well: neither the time limit nor Ctrl-C is a reason to end it.
        Verdict::Waiting(waiting) if interrupt::requested() => {
            messages::running(options, folder, machine.release(), ui);
            let left = messages::waiting(name, &waiting, false);
            Err(Interrupted::leaving(left).into())
        }
        Verdict::Waiting(waiting) => {
            finish_unconfigured(options, folder, machine, ui)?;
            bail!(messages::waiting(name, &waiting, options.shutdown))
        }
    }
}

/// The error of a machine that has its verdict, and did not shut down.
fn after_the_verdict(error: Error, name: &str, verdict: &str) -> Error {
    let what = format!("{name} {verdict}, and its power was taken away before it had shut down");
    match error.is::<Interrupted>() {
        true => Interrupted::leaving(what).into(),
        false => error.context(what),
    }
}

/// What can be known before anything is started. run.sh checks the rest, and says so itself.
fn check(folder: &VmFolder<'_>) -> Result<()> {
    let name = folder.name();
    if let Some(retired) = Retired::of(&folder.path) {
        bail!("{name} {}", retired.refusal(name));
    }
    for file in ["seed.img", "run.sh"] {
        let file = folder.file(file);
        if !file.is_file() {
            bail!(
                "{name} has no seed: {} is not there. Make it with: imgbuild seed {name}",
                file.display()
            );
        }
    }
    Ok(())
}

/// A machine that runs is asked for its last word; nothing is started.
fn already(options: &Options, folder: &VmFolder<'_>, running: &Running, ui: &Ui) -> Result<()> {
    let (name, pid) = (folder.name(), running.pid);
    if options.shutdown {
        bail!(
            "{name} is running already, as process {pid}; --shutdown is for one that is started here. \
             To shut it down: imgbuild stop {name}"
        );
    }
    if let Some(why) = &running.paused {
        bail!("{name} was started already, as process {pid}, and is paused: {why}");
    }
    ui.result(
        &json!({"event": "running", "vm": name, "pid": pid}),
        &format!("{name} is running already, as process {pid}"),
    );
    let seen = state::Seen::here(folder, Some(running));
    let state = State::of(&seen, clock::now());
    let waiting = seen.boots.last().and_then(|boot| boot.waiting.as_ref());
    match (&state, waiting) {
        (State::Configured, _) => {
            messages::configured(name, ui);
            Ok(())
        }
        (State::Waiting(_), Some(waiting)) => bail!(messages::waiting(name, waiting, false)),
        _ => match seen.last_word(&state) {
            words if words.is_empty() => {
                bail!("{name} is not configured; firstboot has said nothing yet")
            }
            words => bail!("{name} is not configured; its last word: {words}"),
        },
    }
}

/// The words after run.sh, but for the accelerator.
fn arguments(options: &Options) -> Vec<String> {
    let mut words = vec!["--console=log".to_owned()];
    if options.user_net {
        words.push("--user-net".into());
    }
    if options.host_loopback {
        words.push("--host-loopback".into());
    }
    words.extend(
        options
            .forward
            .iter()
            .map(|rule| format!("--forward={rule}")),
    );
    words
}

/// After the verdict: the machine goes on, or is shut down.
fn finish(options: &Options, folder: &VmFolder<'_>, mut machine: Machine, ui: &Ui) -> Result<()> {
    if !options.shutdown {
        messages::running(options, folder, machine.release(), ui);
        return Ok(());
    }
    let name = folder.name();
    let stage = ui.stage(&format!("{name}: shut down"));
    let by_itself = machine.shut_down(SHUT_DOWN);
    interrupt::check()?;
    if by_itself.with_context(|| format!("cannot shut {name} down"))? {
        stage.done("");
    } else {
        stage.done("the guest did not do it: its power was taken away");
    }
    Ok(())
}

/// [`finish`] for a machine that is not configured, which is the worse news: only Ctrl-C is an
/// error.
fn finish_unconfigured(
    options: &Options,
    folder: &VmFolder<'_>,
    machine: Machine,
    ui: &Ui,
) -> Result<()> {
    match finish(options, folder, machine, ui) {
        Err(error) if error.is::<Interrupted>() => {
            Err(after_the_verdict(error, folder.name(), "is not configured"))
        }
        Err(error) => {
            ui.warn(&format!("{error:#}"));
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

/// After a machine was ended without a verdict: a disk that this run made, and on which
/// firstboot never got to work, is removed. Any other is kept, because firstboot goes on where
/// it stopped.
fn tidy(folder: &VmFolder<'_>, had_overlay: bool, seen: &Seen, ui: &Ui) {
    let overlay = folder.overlay();
    if had_overlay || !overlay.is_file() {
        return;
    }
    if seen.firstboot {
        ui.warn(&format!(
            "{} is kept: firstboot had begun, and goes on where it stopped at the next start",
            overlay.display()
        ));
        return;
    }
    let _ = fs::remove_file(folder.base_seen());
    match fs::remove_file(&overlay).and_then(|()| fs::remove_file(folder.overlay_base())) {
        Ok(()) => ui.warn(&format!(
            "{} was removed again: nothing was on it yet",
            overlay.display()
        )),
        Err(e) => ui.warn(&format!("cannot remove {}: {e}", overlay.display())),
    }
}
