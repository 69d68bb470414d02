//! The recipe of `imgbuild lab report`: what the PCs told, as a table, as JSON, and as one page.

pub(crate) mod collected;
mod page;
mod rooms;
mod table;

use crate::config::lab::Lab;
use crate::system::clock;
use crate::system::text;
use crate::system::ui::Ui;
use crate::vm::base_image::BaseImage;
use crate::vm::state::State;
use anyhow::Result;
use collected::Collected;
use rooms::{Pc, Room, Vm};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// An answer that is so much older than the newest one is told of, in seconds.
const OLD: u64 = 3600;

/// What `imgbuild lab report` takes.
#[derive(Debug)]
pub struct Options {
    /// The folder of what was collected; lab.html is made there.
    pub folder: PathBuf,
    /// The lab file.
    pub lab: PathBuf,
    /// The moment that ages are counted to, in seconds since 1970; without it this one.
    pub now: Option<u64>,
}

/// What the table, the JSON and the page are made of.
struct Report {
    /// What the lab's folder is called.
    name: String,
    rooms: Vec<Room>,
    /// SHA-256 of the lab's base, where it has one.
    base: Option<String>,
    /// When this is made.
    now: u64,
    /// The times of the oldest and the newest answer.
    answered: Option<(u64, u64)>,
}

/// A PC that did not answer, or whose answer cannot be read, is part of the result.
pub fn report(options: &Options, ui: &Ui) -> Result<()> {
    // No secret is looked at.
    let lab = Lab::load_without_secrets(&options.lab)?;
    let collected = Collected::read(&options.folder)?;
    let problems = collected.problems.clone();
    let base = BaseImage::read(&lab.base).ok().map(|base| base.sha256);
    let name = lab.folder.file_name();
    let name = name.map(|name| text::plain(&name.to_string_lossy()));
    let report = Report {
        name: name.unwrap_or_default(),
        answered: collected.answered(),
        rooms: rooms::rooms(&lab, collected, base.as_deref()),
        base,
        now: options.now.unwrap_or_else(clock::now),
    };
    let page = options.folder.join(page::NAME);
    page::write(&report, &page)?;
    show(&report, &page, ui);
    problems.iter().for_each(|problem| ui.warn(problem));
    if !problems.is_empty() {
        ui.warn(
            "what cannot be read is written anew by the next: \
             ansible-playbook -i lab.yaml imgbuild.lab.status",
        );
    }
    Ok(())
}

fn show(report: &Report, page: &Path, ui: &Ui) {
    if ui.is_json() {
        for (room, pc, vm) in report.vms() {
            ui.event(&event(room, pc, vm));
        }
        let states: serde_json::Map<String, Value> = report
            .counts()
            .into_iter()
            .map(|(word, count)| (word.to_owned(), count.into()))
            .collect();
        ui.event(&json!({
            "event": "report", "pcs": report.pcs(), "vms": report.vms().count(),
            "states": states, "base": report.base, "page": page,
        }));
        return;
    }
    for line in table::lines(report) {
        ui.line(&line);
    }
    ui.line(&table::summary(report));
    ui.line(&format!("{}", page.display()));
}

/// A VM for programs; times in seconds since 1970, sizes in bytes.
fn event(room: &Room, pc: &Pc, vm: &Vm) -> Value {
    let seen = vm.seen.as_ref();
    let steps = seen.and_then(|seen| seen.first_boot());
    json!({
        "event": "vm", "room": room.name, "pc": pc.name, "vm": vm.name, "state": vm.state.word(),
        "reason": vm.state.reason(), "notes": vm.notes, "asked": pc.asked, "answered": pc.answered,
        "qemu": seen.map(|seen| seen.qemu), "pid": seen.and_then(|seen| seen.pid),
        "last_sign": seen.and_then(|seen| seen.last_sign),
        "overlay_bytes": seen.and_then(|seen| seen.overlay_bytes),
        "log_bytes": seen.and_then(|seen| seen.log_bytes),
        "base": seen.and_then(|seen| seen.overlay_base.as_ref()), "base_is_current": vm.on_current_base,
        "service": seen.and_then(|seen| seen.service.as_ref()),
        "steps": steps.map(|boot| &boot.steps),
    })
}

impl Report {
    /// All VMs with their places, in the order of the lab.
    fn vms(&self) -> impl Iterator<Item = (&Room, &Pc, &Vm)> {
        self.rooms.iter().flat_map(|room| {
            let pcs = room.pcs.iter();
            pcs.flat_map(move |pc| pc.vms.iter().map(move |vm| (room, pc, vm)))
        })
    }

    /// How old the last answer of a PC is, where the others' are much newer: it was left out when they
    /// were asked, or did not answer.
    fn old(&self, pc: &Pc) -> Option<u64> {
        let (_, newest) = self.answered?;
        let answered = pc
            .answered
            .filter(|time| newest.saturating_sub(*time) > OLD)?;
        Some(self.now.saturating_sub(answered))
    }

    /// How many PCs there are.
    fn pcs(&self) -> usize {
        let pcs = self.rooms.iter().flat_map(|room| &room.pcs);
        pcs.filter(|pc| !pc.name.is_empty()).count()
    }

    /// How many VMs are in each state that occurs; what most are in comes first.
    fn counts(&self) -> Vec<(&'static str, usize)> {
        let words = State::WORDS.into_iter();
        let count = |word| {
            self.vms()
                .filter(|(_, _, vm)| vm.state.word() == word)
                .count()
        };
        let mut counts: Vec<_> = words.map(|word| (word, count(word))).collect();
        counts.retain(|(_, count)| *count > 0);
        counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        counts
    }
}
