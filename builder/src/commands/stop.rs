//! The recipe of `imgbuild stop`: the guests shut down, all at once; whoever does not loses its power.

use crate::config::lab::{Lab, Vm};
use crate::qemu;
use crate::system::program;
use crate::system::ui::Ui;
use crate::vm::folder::VmFolder;
use crate::vm::script;
use anyhow::{Context, Result, bail};
use serde_json::json;
use std::path::PathBuf;
use std::process::Output;

/// What is stopped; the help of `imgbuild stop` says what each of these is.
#[derive(Debug)]
pub struct Options {
    /// `None`: all of the lab.
    pub(crate) names: Option<Vec<String>>,
    pub(crate) lab: PathBuf,
    pub(crate) limit: u32,
}

/// run.sh does it, as on a PC without imgbuild. A VM that is off is as it should be.
pub fn stop(options: &Options, ui: &Ui) -> Result<()> {
    let lab = Lab::load_without_secrets(&options.lab)?;
    let vms: Vec<&Vm> = match &options.names {
        Some(names) => names
            .iter()
            .map(|name| lab.vm(name))
            .collect::<Result<_>>()?,
        None => lab.vms.iter().collect(),
    };
    let folders: Vec<VmFolder<'_>> = vms.iter().map(|vm| VmFolder::of(&lab, vm)).collect();
    let (on, off): (Vec<_>, Vec<_>) = folders
        .iter()
        .partition(|folder| qemu::running(&folder.path).is_some());
    for folder in off {
        // All means those that run.
        if options.names.is_some() {
            told(folder.name(), "unchanged", "unchanged: it is off", ui);
        }
    }
    if on.is_empty() {
        if options.names.is_none() {
            ui.line("no VM of this lab is running here");
        }
        return Ok(());
    }
    let lines = on
        .iter()
        .map(|folder| {
            let mut line = program::command("sh")?;
            line.arg(script::with_words(folder)?)
                .arg("stop")
                .arg(format!("--limit={}", options.limit));
            Ok(line)
        })
        .collect::<Result<Vec<_>>>()?;
    let names: Vec<&str> = on.iter().map(|folder| folder.name()).collect();
    let stage = ui.stage(&format!(
        "shut down {}",
        crate::system::text::first_few(&names)
    ));
    let ends: Vec<std::io::Result<Output>> = std::thread::scope(|scope| {
        let works: Vec<_> = lines
            .into_iter()
            .map(|mut line| scope.spawn(move || line.output()))
            .collect();
        works
            .into_iter()
            .map(|work| {
                work.join()
                    .unwrap_or_else(|_| Err(std::io::ErrorKind::Other.into()))
            })
            .collect()
    });
    crate::system::interrupt::check()?;
    stage.done("");
    let mut failed = Vec::new();
    for (name, end) in names.iter().zip(ends) {
        let end = end.with_context(|| format!("cannot start run.sh of {name}"))?;
        let prefix = format!("{name}/run.sh: ");
        for line in String::from_utf8_lossy(&end.stderr).lines() {
            let line = line.strip_prefix(&prefix).unwrap_or(line);
            ui.warn(line.strip_prefix("warning: ").unwrap_or(line));
        }
        let said = String::from_utf8_lossy(&end.stdout);
        let said = said.trim().strip_prefix(&format!("{name}: ")).unwrap_or("");
        match end.status.success() {
            true if said.starts_with("shut down") => told(name, "shut down", said, ui),
            true => told(name, "power off", said, ui),
            false => failed.push(*name),
        }
    }
    if !failed.is_empty() {
        bail!("not stopped: {}", failed.join(", "));
    }
    Ok(())
}

fn told(name: &str, state: &str, text: &str, ui: &Ui) {
    let event = json!({"event": "stop", "vm": name, "state": state, "text": text});
    ui.result(&event, &format!("{name}: {text}"));
}
