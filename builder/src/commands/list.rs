//! The recipe of `imgbuild list`: the lab's VMs on this PC, and how each is.

use crate::config::lab::Lab;
use crate::qemu::Running;
use crate::system::clock;
use crate::system::ui::Ui;
use crate::vm::folder::VmFolder;
use crate::vm::state::{Qemu, Seen, State};
use anyhow::Result;
use serde_json::json;
use std::path::Path;

/// One VM, as it is found.
#[derive(Debug)]
struct Found<'a> {
    name: &'a str,
    state: &'static str,
    running: Option<Running>,
    /// When it was started, or was heard of last, in seconds since 1970.
    since: Option<u64>,
    base: Option<String>,
    says: String,
}

/// Needs none of the lab's secrets.
pub fn list(lab_file: &Path, ui: &Ui) -> Result<()> {
    let lab = Lab::load_without_secrets(lab_file)?;
    let found: Vec<Found<'_>> = lab
        .vms
        .iter()
        .map(|vm| look(&VmFolder::of(&lab, vm)))
        .collect();
    if ui.is_json() {
        for vm in &found {
            let paused = vm.running.as_ref().and_then(|run| run.paused.as_ref());
            ui.event(&json!({
                "event": "vm", "vm": vm.name, "state": vm.state, "since": vm.since,
                "pid": vm.running.as_ref().map(|run| run.pid), "why": paused, "base": vm.base,
                "says": vm.says,
            }));
        }
        return Ok(());
    }
    for line in table(&found) {
        ui.line(&line);
    }
    Ok(())
}

fn look<'a>(folder: &VmFolder<'a>) -> Found<'a> {
    let running = Running::of(&folder.path);
    let seen = Seen::here(folder, running.as_ref());
    let state = match seen.qemu {
        Qemu::Paused => "paused",
        Qemu::Running => "running",
        Qemu::Stopped if seen.retired => "retired",
        Qemu::Stopped if !folder.file("seed.img").is_file() => "no seed",
        Qemu::Stopped => "off",
    };
    Found {
        name: folder.name(),
        state,
        since: match &running {
            Some(run) => run.since,
            None => seen.last_sign,
        },
        says: seen.last_word(&State::of(&seen, clock::now())),
        base: seen.overlay_base,
        running,
    }
}

fn table(found: &[Found<'_>]) -> Vec<String> {
    let rows = found.iter().map(|vm| {
        let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        let base = vm.base.as_ref().map(|digest| digest[..12].to_owned());
        [
            vm.name.to_owned(),
            vm.state.to_owned(),
            or_none(vm.since.map(clock::minute)),
            or_none(vm.running.as_ref().map(|run| run.pid.to_string())),
            or_none(base),
            vm.says.clone(),
        ]
    });
    let heads = ["vm", "state", "since", "pid", "base", "last word"].map(str::to_owned);
    let rows: Vec<[String; 6]> = std::iter::once(heads).chain(rows).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<usize> = (0..5).map(|column| width(column).unwrap_or(0)).collect();
    rows.iter()
        .map(|row| {
            let cell = |(column, width): (usize, &usize)| format!("{:<width$}  ", row[column]);
            let cells: String = widths.iter().enumerate().map(cell).collect();
            (cells + &row[5]).trim_end().to_owned()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_they_must_be() {
        let off = |name, says: &str| Found {
            name,
            state: "off",
            running: None,
            since: None,
            base: None,
            says: says.to_owned(),
        };
        let mut first = off("vm42", "configured");
        first.state = "running";
        first.running = Some(Running {
            pid: 1210,
            since: None,
            paused: None,
        });
        first.since = Some(1_795_387_191);
        first.base = Some("ab".repeat(32));
        assert_eq!(
            table(&[first, off("a-longer-name", "")]),
            [
                "vm             state    since                 pid   base          last word",
                "vm42           running  2026-11-22 22:39 UTC  1210  abababababab  configured",
                "a-longer-name  off      -                     -     -",
            ]
        );
    }
}
