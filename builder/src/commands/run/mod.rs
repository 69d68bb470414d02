//! The recipe of `imgbuild run`: what run.sh does, with progress, up to the guest's verdict.

mod messages;
mod status;
mod watch;

use crate::cli::{Accelerator, RunArgs};
use crate::qemu::{self, Machine};
use crate::system::interrupt::{self, Interrupted};
use crate::system::program;
use crate::system::ui::Report;
use crate::vm::folder::Target;
use crate::vm::retired::{self, Retired};
use anyhow::{Context, Error, Result, bail};
use std::fs;
use std::time::Duration;
use watch::{End, Limits, Seen};

/// How long a guest may take to shut down before its power is taken away.
const SHUT_DOWN: Duration = Duration::from_secs(120);

/// `imgbuild run`. Ends well only when firstboot says that the machine is configured.
pub fn run(args: &RunArgs, report: &Report) -> Result<()> {
    let lab = retired::load_lab(&args.lab)?;
    let target = Target {
        vm: lab.vm(&args.name)?,
        folder: lab.folder.join(&args.name),
    };
    check(&target)?;
    let had_overlay = target.overlay().symlink_metadata().is_ok();
    let mut seen = Seen::default();
    let result = boot(args, &target, report, &mut seen);
    match result {
        Ok((machine, End::Configured)) => {
            messages::steps(&args.name, &seen, report);
            finish(args, &target, machine, report)
                .map_err(|error| after_the_verdict(error, &args.name, "is configured"))?;
            messages::closed(&target, report);
            messages::configured(&args.name, report);
            Ok(())
        }
        Ok((machine, End::Failed(reason))) => {
            messages::steps(&args.name, &seen, report);
            finish_unconfigured(args, &target, machine, report)?;
            bail!(messages::failed(&target, &reason, &seen))
        }
        // It is well: neither the time limit nor Ctrl-C is a reason to end it.
        Ok((machine, End::Waiting(waiting))) => {
            messages::steps(&args.name, &seen, report);
            if interrupt::requested() {
                messages::running(args, &target, machine.release(), report);
                let left = messages::waiting(&args.name, &waiting, false);
                return Err(Interrupted::leaving(left).into());
            }
            finish_unconfigured(args, &target, machine, report)?;
            bail!(messages::waiting(&args.name, &waiting, args.shutdown))
        }
        Ok((mut machine, end)) => {
            machine.end();
            tidy(&target, had_overlay, &seen, report);
            bail!(messages::trouble(&target, &end, &seen))
        }
        Err(error) => {
            tidy(&target, had_overlay, &seen, report);
            if error.is::<Interrupted>() && target.overlay().exists() {
                let left = format!(
                    "{} is off, and its disk {} is kept",
                    args.name,
                    target.overlay().display()
                );
                return Err(Interrupted::leaving(left).into());
            }
            Err(error)
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
fn check(target: &Target) -> Result<()> {
    let name = &target.vm.name;
    if let Some(retired) = Retired::of(&target.folder) {
        bail!("{name} {}", retired.refusal(name));
    }
    for file in ["seed.img", "run.sh"] {
        let file = target.file(file);
        if !file.is_file() {
            bail!(
                "{name} has no seed: {} is not there. Make it with: imgbuild seed {name}",
                file.display()
            );
        }
    }
    if let Some(pid) = qemu::running(&target.folder) {
        bail!("{name} is running already, as process {pid}");
    }
    program::find("qemu-img")?;
    program::find("qemu-system-x86_64")?;
    Ok(())
}

/// Boots the machine, again without KVM where KVM runs no guest, and once more where emulation
/// had a bad day. A machine that is not returned has been ended.
fn boot(
    args: &RunArgs,
    target: &Target,
    report: &Report,
    seen: &mut Seen,
) -> Result<(Machine, End)> {
    let name = &args.name;
    let mut accelerator = args.accel;
    let mut second_try = true;
    loop {
        let limits = Limits {
            verdict: Duration::from_secs(args.timeout),
            silence: Duration::from_secs(args.silence),
            firmware: Duration::from_secs(args.firmware),
            kvm_fallback: accelerator == Accelerator::Auto,
            second_try,
        };
        *seen = Seen::default();
        let log = target.file("run.log");
        let mut machine = Machine::start(&target.folder, &arguments(args, accelerator), &log)?;
        let end = watch::watch(name, &mut machine, &target.folder, &limits, report, seen)?;
        match end {
            End::KvmUnusable => {
                machine.end();
                report.warn(
                    "KVM runs no guest on this PC: going on with software emulation, until this \
                     PC is started again",
                );
                qemu::remember(report);
                accelerator = Accelerator::Tcg;
            }
            End::Stumbled => {
                machine.end();
                report.warn(&format!(
                    "{name}: software emulation stumbled at the start of the kernel: once more"
                ));
                second_try = false;
            }
            end => return Ok((machine, end)),
        }
    }
}

fn arguments(args: &RunArgs, accelerator: Accelerator) -> Vec<String> {
    let how = match accelerator {
        Accelerator::Auto => "auto",
        Accelerator::Kvm => "kvm",
        Accelerator::Tcg => "tcg",
    };
    let mut words = vec!["--console=log".to_owned(), format!("--accel={how}")];
    if args.user_net {
        words.push("--user-net".into());
    }
    if args.host_loopback {
        words.push("--host-loopback".into());
    }
    words.extend(args.forward.iter().map(|rule| format!("--forward={rule}")));
    words
}

/// After the verdict: the machine goes on, or is shut down.
fn finish(args: &RunArgs, target: &Target, mut machine: Machine, report: &Report) -> Result<()> {
    if !args.shutdown {
        messages::running(args, target, machine.release(), report);
        return Ok(());
    }
    let stage = report.stage(&format!("{}: shut down", args.name));
    let by_itself = machine.shut_down(SHUT_DOWN);
    interrupt::check()?;
    if by_itself.with_context(|| format!("cannot shut {} down", args.name))? {
        stage.done("");
    } else {
        stage.done("the guest did not do it: its power was taken away");
    }
    Ok(())
}

/// [`finish`] for a machine that is not configured, which is the worse news: only Ctrl-C is an
/// error.
fn finish_unconfigured(
    args: &RunArgs,
    target: &Target,
    machine: Machine,
    report: &Report,
) -> Result<()> {
    match finish(args, target, machine, report) {
        Err(error) if error.is::<Interrupted>() => {
            Err(after_the_verdict(error, &args.name, "is not configured"))
        }
        Err(error) => {
            report.warn(&format!("{error:#}"));
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

/// After a machine was ended without a verdict: a disk that this run made, and on which
/// firstboot never got to work, is removed. Any other is kept, because firstboot goes on where
/// it stopped.
fn tidy(target: &Target, had_overlay: bool, seen: &Seen, report: &Report) {
    let (name, overlay) = (&target.vm.name, target.overlay());
    if had_overlay || !overlay.is_file() {
        return;
    }
    if seen.firstboot {
        report.warn(&format!(
            "{} is kept: firstboot had begun, and goes on where it stopped at the next start",
            overlay.display()
        ));
        return;
    }
    let record = target.file(&format!("{name}.qcow2.base"));
    match fs::remove_file(&overlay).and_then(|()| fs::remove_file(record)) {
        Ok(()) => report.warn(&format!(
            "{} was removed again: nothing was on it yet",
            overlay.display()
        )),
        Err(e) => report.warn(&format!("cannot remove {}: {e}", overlay.display())),
    }
}
