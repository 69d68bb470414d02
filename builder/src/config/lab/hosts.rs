//! The PCs that run the VMs: `hosts` of lab.yaml, room by room.

use super::model::{Room, RoomNetwork};
use super::range;
use super::values;
use crate::config::yaml::{Entry, Fields, Keys, Place, Reader, Spanned, validators};
use firstboot::contract::values::HostName;
use std::cell::Cell;
use std::collections::BTreeMap;

const KEYS: Keys = &[
    (
        "pcs",
        "pcs: a list of PCs by their full names, in Ansible's range notation where there are many, \
         such as \"pc-b-[01:30].lab.example.org\"",
    ),
    (
        "folder",
        "folder: an absolute path on each PC, such as /var/tmp/imgbuild-{user}",
    ),
    (
        "memory",
        "memory: what the VMs of one PC may take in all, a size from 512M to 16T, such as 8G",
    ),
    (
        "cores",
        "cores: what the VMs of one PC may take in all, a number from 1 to 1024",
    ),
    (
        "base_url",
        "base_url: where the folder of `imgbuild lab publish` is served, such as \
         http://www.lab.example.org/images/",
    ),
    (
        "start_at_boot",
        "start_at_boot: false where VMs are not to start with their PC, else true",
    ),
    (
        "network",
        "network: bridge, or user for PCs without a bridge and its helper",
    ),
];
const NAME_HINT: &str = "a room's name: letters, digits, - and _, such as room-b";
/// For so many PCs that are not there the most similar one is looked for: in a lab of thousands
/// all of them could be wrong.
const LOOKED_FOR: u32 = 20;

/// The rooms, and which PC is called what. Without `hosts` in the lab any name of a PC is taken.
#[derive(Debug, Default)]
pub(super) struct Rooms {
    pub rooms: Vec<Room>,
    /// Whether `hosts` was written, be it wrong.
    given: bool,
    /// Whether every PC could be read; else nobody is told that theirs is not there.
    complete: bool,
    /// Each PC's room and where it is written, by its full name.
    known: BTreeMap<HostName, (usize, Place)>,
    /// The PCs that have this as the first part of their names.
    by_label: BTreeMap<String, Vec<HostName>>,
    looked_for: Cell<u32>,
}

impl Rooms {
    /// Reads `hosts` of lab.yaml.
    pub(super) fn read(r: &mut Reader, lab: &Fields<'_>) -> Self {
        let mut all = Rooms {
            given: lab.accounted("hosts"),
            ..Rooms::default()
        };
        let Some(node) = lab.get("hosts") else {
            return all;
        };
        let entries = r.entries(node, "`hosts`", lab.hint("hosts"));
        all.complete = !entries.is_empty();
        for entry in entries {
            all.read_room(r, entry);
        }
        for room in &all.rooms {
            // Ansible takes the two for each other.
            if let Some((_, place)) = all.known.get(room.name.as_str()) {
                let message = format!("`{}` is the name of a room and of a PC", room.name);
                r.problem(*place, message, "another name for the room");
            }
        }
        all
    }

    /// The room of a PC, by its full name.
    pub(super) fn of(&self, pc: &str) -> Option<&Room> {
        let (index, _) = self.known.get(pc)?;
        self.rooms.get(*index)
    }

    fn read_room(&mut self, r: &mut Reader, entry: &Entry) {
        if let Err(message) = values::room_name(&entry.key) {
            r.problem(entry.place, message, NAME_HINT);
        }
        let what = format!("the room `{}`", validators::display_safe(&entry.key));
        let f = r.fields(&entry.value, &what, KEYS[0].1, KEYS);
        r.require(&f, "pcs");
        let mib = |text: &str| {
            let (gib, tib) = (validators::GIB, 1024 * validators::GIB);
            let bytes = validators::size(text, gib / 2, 16 * tib)?;
            // At most 16T, so the number of MiB fits.
            Ok((bytes / validators::MIB) as u32)
        };
        let folder = r.field(&f, "folder", values::folder_on_a_pc);
        let memory = r.field_scalar(&f, "memory", mib);
        let cores = r.field_scalar(&f, "cores", |t| validators::number(t, 1, 1024));
        let base_url = r.field(&f, "base_url", validators::url);
        let start_at_boot = r.field_scalar(&f, "start_at_boot", validators::yes_or_no);
        let network = r.field(&f, "network", network);
        let pcs = self.read_pcs(r, &f);
        let standard = Room::default();
        self.rooms.push(Room {
            name: entry.key.clone(),
            pcs,
            folder: folder.map_or(standard.folder, |folder| folder.value),
            memory_mib: memory.map(|memory| memory.value),
            cores: cores.map(|cores| cores.value),
            base_url: base_url.map(|url| format!("{}/", url.value)),
            start_at_boot: start_at_boot.map_or(standard.start_at_boot, |start| start.value),
            network: network.map_or(standard.network, |network| network.value),
        });
    }

    fn read_pcs(&mut self, r: &mut Reader, f: &Fields<'_>) -> Vec<HostName> {
        let (index, hint) = (self.rooms.len(), f.hint("pcs"));
        let Some(list) = f.get("pcs") else {
            self.complete = false;
            return Vec::new();
        };
        let mut pcs = Vec::new();
        for node in r.list(list, hint) {
            let form = |text: &str| range::ranged(text, validators::host_name);
            let Some(Spanned { place, value }) = r.formed(node, hint, form) else {
                self.complete = false;
                continue;
            };
            if self.known.len() > range::MOST {
                let message = format!("a lab of more than {} PCs", range::MOST);
                r.problem(place, message, "several labs, each in a folder of its own");
                break;
            }
            for pc in value.into_vec() {
                if let Some((other, first)) = self.known.get(&pc) {
                    let line = first.line;
                    let message = match self.rooms.get(*other) {
                        Some(room) => {
                            format!("`{pc}` is in two rooms; in {} by line {line}", room.name)
                        }
                        None => format!("`{pc}` is in this room twice; first by line {line}"),
                    };
                    r.problem(place, message, "each PC in one room, once");
                    continue;
                }
                let label = pc.split('.').next().unwrap_or_default().to_owned();
                self.by_label.entry(label).or_default().push(pc.clone());
                self.known.insert(pc.clone(), (index, place));
                pcs.push(pc);
            }
        }
        self.complete &= !pcs.is_empty();
        pcs
    }

    /// The PC that is called so: by its full name, or by the first part of it where that is
    /// one PC's alone. `None` where a problem was noted.
    pub(super) fn resolve(&self, r: &mut Reader, host: &Spanned<&HostName>) -> Option<HostName> {
        let (name, place) = (host.value, host.place);
        if !self.given || self.known.contains_key(name) {
            return Some(name.clone());
        }
        let named: &[HostName] = self.by_label.get(name.as_str()).map_or(&[], Vec::as_slice);
        match named {
            [pc] => return Some(pc.clone()),
            [one, other, ..] => {
                let message = format!("`{name}` may be {one} or {other}");
                r.problem(place, message, "the PC's full name");
            }
            [] if self.complete => {
                let near = self.nearest(name);
                let near = near.map_or(String::new(), |pc| format!("; the nearest is {pc}"));
                let message = format!("there is no PC `{name}` in `hosts`{near}");
                r.problem(
                    place,
                    message,
                    "a PC of a room; or this one among its `pcs`",
                );
            }
            [] => {}
        }
        None
    }

    /// The PC whose name is most like this one.
    fn nearest(&self, name: &str) -> Option<&HostName> {
        if self.looked_for.replace(self.looked_for.get() + 1) >= LOOKED_FOR {
            return None;
        }
        let pcs = self.rooms.iter().flat_map(|room| &room.pcs);
        let like = |pc: &&HostName| {
            let label = pc.split('.').next().unwrap_or_default();
            let of = if name.contains('.') {
                pc.as_str()
            } else {
                label
            };
            strsim::damerau_levenshtein(name, of)
        };
        let near = pcs.map(|pc| (like(&pc), pc)).filter(|(far, _)| *far <= 2);
        near.min_by_key(|(far, _)| *far).map(|(_, pc)| pc)
    }
}

fn network(text: &str) -> Result<RoomNetwork, String> {
    match text {
        "bridge" => Ok(RoomNetwork::Bridge),
        "user" => Ok(RoomNetwork::User),
        _ => Err(format!(
            "`{}` is neither `bridge` nor `user`",
            validators::display_safe(text)
        )),
    }
}
