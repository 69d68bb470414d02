//! The report for the terminal: a line for each VM, and one for all.

use super::Report;
use super::rooms::{Pc, Room, Vm};
use crate::system::clock;
use crate::vm::state::State;
use std::collections::BTreeMap;

/// How many digits of a digest are shown.
pub(super) const SHORT_DIGEST: usize = 12;

/// The columns before the last one, which is as wide as it is: name, and whether numbers stand in it.
const COLUMNS: [(&str, bool); 8] = [
    ("room", false),
    ("PC", false),
    ("VM", false),
    ("state", false),
    ("last sign", true),
    ("disk", true),
    ("logs", true),
    ("base", false),
];

type Cells = [String; COLUMNS.len()];

/// The table with its head.
pub(super) fn lines(report: &Report) -> Vec<String> {
    let short = short_names(report);
    let mut rows = vec![(COLUMNS.map(|(name, _)| name.to_owned()), String::new())];
    for (room, pc, vm) in report.vms() {
        let name = short.get(pc.name.as_str()).copied().unwrap_or_default();
        rows.push((cells(room, name, vm, pc), told(vm, pc, report)));
    }
    let mut widths = [0; COLUMNS.len()];
    for (cells, _) in &rows {
        for (width, cell) in widths.iter_mut().zip(cells) {
            *width = cell.chars().count().max(*width);
        }
    }
    // A lab without rooms has no column of them.
    let rooms = report.rooms.iter().any(|room| !room.name.is_empty());
    rows.iter()
        .map(|(cells, told)| {
            line(
                &cells[usize::from(!rooms)..],
                &widths[usize::from(!rooms)..],
                told,
            )
        })
        .collect()
}

fn line(cells: &[String], widths: &[usize], told: &str) -> String {
    let columns = &COLUMNS[COLUMNS.len() - cells.len()..];
    let mut line = String::new();
    for ((cell, width), (_, number)) in cells.iter().zip(widths).zip(columns) {
        line += &match number {
            true => format!("{cell:>width$}  "),
            false => format!("{cell:<width$}  "),
        };
    }
    line += told;
    line.truncate(line.trim_end().len());
    line
}

fn cells(room: &Room, pc: &str, vm: &Vm, of: &Pc) -> Cells {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let seen = vm.seen.as_ref();
    let sign = seen.and_then(|seen| Some(of.asked?.saturating_sub(seen.last_sign?)));
    let size = |bytes: Option<u64>| or_dash(bytes.map(decimal_size));
    let base = seen.and_then(|seen| seen.overlay_base.as_deref());
    let base = base.map(|base| base.chars().take(SHORT_DIGEST).collect());
    [
        room.name.clone(),
        pc.to_owned(),
        vm.name.clone(),
        vm.state.word().to_owned(),
        or_dash(sign.map(clock::age)),
        size(seen.and_then(|seen| seen.overlay_bytes)),
        size(seen.and_then(|seen| seen.log_bytes)),
        or_dash(base),
    ]
}

/// What there is to say beside the columns.
fn told(vm: &Vm, pc: &Pc, report: &Report) -> String {
    let mut told: Vec<String> = Vec::new();
    if !vm.state.reason().is_empty() {
        told.push(vm.state.reason().to_owned());
    }
    match (&vm.state, pc.answered) {
        (State::NoAnswer(_), Some(answered)) => {
            let age = clock::age(report.now.saturating_sub(answered));
            told.push(format!("the last answer is {age} old"));
        }
        _ => told.extend(
            report
                .old(pc)
                .map(|old| format!("as of {} ago", clock::age(old))),
        ),
    }
    if !pc.missing.is_empty() {
        told.push(format!("the PC lacks: {}", pc.missing.join(", ")));
    }
    told.extend(vm.notes.iter().cloned());
    told.join("; ")
}

/// `300 VMs on 300 PCs: 291 configured, 4 waiting; the answers are 3 min old`.
pub(super) fn summary(report: &Report) -> String {
    let many = |count: usize, what: &str| match count {
        1 => format!("1 {what}"),
        count => format!("{count} {what}s"),
    };
    let states: Vec<String> = report
        .counts()
        .into_iter()
        .map(|(word, count)| format!("{count} {word}"))
        .collect();
    let mut summary = format!(
        "{} on {}",
        many(report.vms().count(), "VM"),
        many(report.pcs(), "PC")
    );
    if !states.is_empty() {
        summary += &format!(": {}", states.join(", "));
    }
    summary += &match report.answered {
        None => "; no PC has ever answered".to_owned(),
        Some((oldest, newest)) => {
            let age = |time: u64| clock::age(report.now.saturating_sub(time));
            match (age(newest), age(oldest)) {
                (newest, oldest) if newest == oldest => format!("; the answers are {newest} old"),
                (newest, oldest) => format!("; the answers are {newest} to {oldest} old"),
            }
        }
    };
    summary
}

/// The PCs' names up to the first dot, where that tells them apart.
pub(super) fn short_names<'a>(report: &'a Report) -> BTreeMap<&'a str, &'a str> {
    let pcs = || report.rooms.iter().flat_map(|room| &room.pcs);
    let first = |name: &'a str| match name.split_once('.') {
        // An address has no first label.
        Some((first, _)) if first.parse::<u8>().is_err() => first,
        _ => name,
    };
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for pc in pcs() {
        *counts.entry(first(&pc.name)).or_default() += 1;
    }
    pcs()
        .map(|pc| match counts.get(first(&pc.name)) {
            Some(1) => (pc.name.as_str(), first(&pc.name)),
            _ => (pc.name.as_str(), pc.name.as_str()),
        })
        .collect()
}

/// As `ls -h --si` has it: `26 MB`.
fn decimal_size(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{} kB", bytes.div_ceil(1_000)),
        1_000_000..1_000_000_000 => format!("{} MB", bytes.div_ceil(1_000_000)),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}
