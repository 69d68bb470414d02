//! The lab's rooms as they stand, with what each PC has told.

use super::collected::{Answer, Collected};
use crate::config::lab::{self, Lab};
use crate::system::clock;
use crate::vm::state::{Qemu, Seen, State};
use std::collections::BTreeMap;

/// A room.
#[derive(Debug, PartialEq)]
pub(super) struct Room {
    /// Empty for PCs of which no room is known.
    pub name: String,
    pub pcs: Vec<Pc>,
}

/// A PC with the VMs that the lab gives it, and those that it has told about.
#[derive(Debug, PartialEq)]
pub(super) struct Pc {
    /// Its full name; empty for the machines that have no PC.
    pub name: String,
    /// When it was asked, in seconds since 1970.
    pub asked: Option<u64>,
    /// When it answered last.
    pub answered: Option<u64>,
    /// What it lacks for VMs, as the probe found.
    pub missing: Vec<String>,
    pub vms: Vec<Vm>,
}

/// A VM on a PC.
#[derive(Debug, PartialEq)]
pub(super) struct Vm {
    pub name: String,
    pub state: State,
    /// What its PC has told; not of a VM that is not there.
    pub seen: Option<Seen>,
    /// Whether its disk was made on the base that the lab has now; `None` where one of them is not known.
    pub on_current_base: Option<bool>,
    /// Whether the lab wants it otherwise.
    pub unlike: bool,
    /// What an admin should know beside the state.
    pub notes: Vec<String>,
}

/// The machines of a PC, as the lab has them.
type Wanted<'a> = Vec<&'a lab::Vm>;

/// All rooms: those of the lab in its order, then what only reports know.
pub(super) fn rooms(lab: &Lab, mut collected: Collected, base: Option<&str>) -> Vec<Room> {
    let homes = homes(lab);
    let mut rooms: Vec<Room> = Vec::new();
    let mut add = |room: &str, pc: Pc| match rooms.iter_mut().find(|known| known.name == room) {
        Some(known) => known.pcs.push(pc),
        None => rooms.push(Room {
            name: room.to_owned(),
            pcs: vec![pc],
        }),
    };
    for (room, name, wanted) in places(lab) {
        let answer = collected.answers.remove(&name);
        let room = match (&room, &answer) {
            (None, Some(answer)) => answer.room.clone(),
            _ => room.unwrap_or_default(),
        };
        let missing = collected.missing.remove(&name).unwrap_or_default();
        add(&room, pc(name, &wanted, answer, missing, base, &homes));
    }
    for (name, answer) in std::mem::take(&mut collected.answers) {
        let missing = collected.missing.remove(&name).unwrap_or_default();
        let room = answer.room.clone();
        add(&room, pc(name, &[], Some(answer), missing, base, &homes));
    }
    rooms
}

/// The PCs that the lab names, in its order, each with its room, where the lab knows it, and its
/// machines. Machines without a PC come last, as if on one without a name.
fn places(lab: &Lab) -> Vec<(Option<String>, String, Wanted<'_>)> {
    let mut places: Vec<(Option<String>, String, Wanted<'_>)> = Vec::new();
    let mut at: BTreeMap<&str, usize> = BTreeMap::new();
    for room in &lab.rooms {
        for pc in &room.pcs {
            at.insert(pc, places.len());
            places.push((Some(room.name.clone()), pc.to_string(), Wanted::new()));
        }
    }
    let mut homeless = Wanted::new();
    for vm in &lab.vms {
        let Some(host) = &vm.host else {
            homeless.push(vm);
            continue;
        };
        // A lab without rooms names its PCs here alone.
        let place = *at.entry(host).or_insert_with(|| {
            places.push((None, host.to_string(), Wanted::new()));
            places.len() - 1
        });
        places[place].2.push(vm);
    }
    if !homeless.is_empty() {
        places.push((None, String::new(), homeless));
    }
    places
}

/// The PC of each machine that has one.
fn homes(lab: &Lab) -> BTreeMap<&str, &str> {
    let vms = lab.vms.iter();
    vms.filter_map(|vm| Some((vm.name.as_str(), vm.host.as_deref()?)))
        .collect()
}

fn pc(
    name: String,
    wanted: &[&lab::Vm],
    answer: Option<Answer>,
    missing: Vec<String>,
    base: Option<&str>,
    homes: &BTreeMap<&str, &str>,
) -> Pc {
    let never = match name.is_empty() {
        true => "the lab names no PC for it",
        false => "it was never asked",
    };
    let answer = answer.unwrap_or_else(|| Answer {
        trouble: never.to_owned(),
        ..Answer::default()
    });
    let mut told: BTreeMap<String, Seen> = BTreeMap::new();
    let mut order = Vec::new();
    for seen in answer.vms {
        order.push(seen.name.clone());
        told.insert(seen.name.clone(), seen);
    }
    let mut unreadable: BTreeMap<String, String> = answer.unreadable.into_iter().collect();
    let now = answer.asked.unwrap_or_default();
    let mut vms = Vec::new();
    for vm in wanted {
        let seen = told.remove(vm.name.as_str());
        let state = match (&seen, unreadable.remove(vm.name.as_str())) {
            _ if !answer.trouble.is_empty() => State::NoAnswer(answer.trouble.clone()),
            (Some(seen), _) => State::of(seen, now),
            (None, Some(why)) => {
                State::NoAnswer(format!("what its PC says of it cannot be read: {why}"))
            }
            (None, None) if answer.failure.is_empty() => State::Absent,
            // It may be the one of which the PC could not tell.
            (None, None) => State::NoAnswer(answer.failure.clone()),
        };
        let unlike = unlike(vm.state, &state, seen.as_ref());
        let mut row = Vm::new(vm.name.to_string(), state, seen, now, base);
        row.unlike = unlike.is_some();
        row.notes.extend(unlike);
        vms.push(row);
    }
    for seen in order.into_iter().filter_map(|name| told.remove(&name)) {
        let state = match answer.trouble.is_empty() {
            true => State::of(&seen, now),
            false => State::NoAnswer(answer.trouble.clone()),
        };
        let stranger = match homes.get(seen.name.as_str()) {
            Some(home) => format!("the lab has it on {home}"),
            None => "not in the lab".to_owned(),
        };
        let mut vm = Vm::new(seen.name.clone(), state, Some(seen), now, base);
        vm.notes.insert(0, stranger);
        vms.push(vm);
    }
    Pc {
        name,
        asked: answer.asked,
        answered: answer.answered,
        missing,
        vms,
    }
}

/// What the lab wants of a VM, where that is not so.
fn unlike(wanted: lab::State, state: &State, seen: Option<&Seen>) -> Option<String> {
    if matches!(state, State::NoAnswer(_) | State::Retired(_)) {
        return None;
    }
    let is = match seen.map(|seen| seen.qemu) {
        None => lab::State::Absent,
        Some(Qemu::Stopped) => lab::State::Stopped,
        Some(Qemu::Running | Qemu::Paused) => lab::State::Started,
    };
    (is != wanted).then(|| format!("the lab wants it {}", wanted.word()))
}

impl Vm {
    fn new(name: String, state: State, seen: Option<Seen>, now: u64, base: Option<&str>) -> Self {
        let mut notes = Vec::new();
        let silent = seen.as_ref().and_then(|seen| seen.silent(now));
        if let Some(silent) = silent.filter(|_| !matches!(state, State::NoAnswer(_))) {
            notes.push(format!(
                "has said nothing for {}",
                clock::age(silent.as_secs())
            ));
        }
        let running = seen.as_ref().filter(|seen| seen.qemu == Qemu::Running);
        if let Some(why) = running.map(|seen| &seen.why).filter(|why| !why.is_empty()) {
            notes.push(format!("QEMU does not say how it is: {why}"));
        }
        let own = seen.as_ref().and_then(|seen| seen.overlay_base.as_deref());
        let on_current_base = match (own, base) {
            (Some(own), Some(base)) => Some(own == base),
            _ => None,
        };
        if on_current_base == Some(false) {
            notes.push("its disk is not on the lab's present base".to_owned());
        }
        Vm {
            name,
            state,
            seen,
            on_current_base,
            unlike: false,
            notes,
        }
    }
}
