//! What the status play has collected: `PC.json` for each PC, and what the probe found, `probe.json`.
//!
//! A PC has written most of a file, and it may be cut, or anything. What cannot be read is told, and
//! nothing else suffers.

use crate::system::given;
use crate::system::program;
use crate::system::text;
use crate::vm::state::Seen;
use crate::vm::status::plain;
use anyhow::{Context, Error, Result, bail, ensure};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::Path;

/// The longest file that is read, in bytes. Of a VM there are at most 100 kB.
const LONGEST: u64 = 16 << 20;
/// How many VMs of one PC are believed.
const MOST_VMS: usize = 128;
/// What the probe found; every other `.json` is a PC's.
const PROBE: &str = "probe.json";

/// One PC's answer, or why there is none.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Answer {
    /// The room, as the lab had it then.
    pub room: String,
    /// When the PC was asked, in seconds since 1970.
    pub asked: Option<u64>,
    /// When it answered last.
    pub answered: Option<u64>,
    /// Why there is no answer, or none that can be read; else empty.
    pub trouble: String,
    /// What failed on a PC that answered all the same; else empty.
    pub failure: String,
    /// Its VMs.
    pub vms: Vec<Seen>,
    /// Those that cannot be read: name, where there is one, and why.
    pub unreadable: Vec<(String, String)>,
}

/// Everything in the folder.
#[derive(Debug, Default)]
pub(super) struct Collected {
    /// By the PCs' names.
    pub answers: BTreeMap<String, Answer>,
    /// What a PC lacks for VMs, as the last probe found.
    pub missing: BTreeMap<String, Vec<String>>,
    /// What cannot be read, each with its place.
    pub problems: Vec<String>,
}

/// A PC's file as the status play writes it.
#[derive(Deserialize)]
struct Written {
    host: String,
    #[serde(default)]
    room: Option<String>,
    time: u64,
    reachable: bool,
    #[serde(default)]
    answered: Option<u64>,
    #[serde(default)]
    error: Option<String>,
}

#[derive(Deserialize)]
struct Probed {
    able: bool,
    #[serde(default)]
    missing: Vec<String>,
}

impl Collected {
    /// Reads a folder; only one that cannot be read at all is an error.
    pub(super) fn read(folder: &Path) -> Result<Self> {
        let shown = folder.display();
        if !folder.exists() {
            bail!(
                "there is no folder {shown}. This collects what the PCs say, and makes it: \
                 ansible-playbook -i lab.yaml imgbuild.lab.status"
            );
        }
        ensure!(
            folder.is_dir(),
            "{shown} is no folder: the argument is the one into which imgbuild.lab.status collects"
        );
        let remedy = || {
            format!(
                "cannot read the folder {shown}; it belongs to who ran imgbuild.lab.status: ls -ld {}",
                program::quote(&folder.to_string_lossy())
            )
        };
        let mut names = Vec::new();
        for entry in fs::read_dir(folder).with_context(remedy)? {
            names.push(entry.with_context(remedy)?.file_name());
        }
        names.sort();
        let mut collected = Collected::default();
        for found in names {
            let file = folder.join(&found);
            let is_json = file.extension() == Some(OsStr::new("json"));
            let Some(name) = file.file_stem().filter(|_| is_json) else {
                continue;
            };
            // What Ansible has not yet renamed begins with a dot.
            if found == PROBE {
                collected.take_probe(&file);
            } else if !found.as_encoded_bytes().starts_with(b".") {
                collected.take_answer(text::plain(&name.to_string_lossy()), &file);
            }
        }
        Ok(collected)
    }

    /// The times of the oldest and the newest answer.
    pub(super) fn answered(&self) -> Option<(u64, u64)> {
        let times = || self.answers.values().filter_map(|answer| answer.answered);
        Some((times().min()?, times().max()?))
    }

    /// `name` is the PC's, as the file is called.
    fn take_answer(&mut self, name: String, file: &Path) {
        let (pc, answer) = answer(file).unwrap_or_else(|error| {
            let trouble = words(&error);
            self.problems.push(format!("{}: {trouble}", file.display()));
            let trouble = format!("its report cannot be read: {trouble}");
            let answer = Answer {
                trouble,
                ..Answer::default()
            };
            (name, answer)
        });
        for (vm, why) in &answer.unreadable {
            self.problems
                .push(format!("{}: {vm}: {why}", file.display()));
        }
        if let Some(other) = self.answers.insert(pc.clone(), answer) {
            self.problems
                .push(format!("{}: {pc} has another file too", file.display()));
            let newer = self
                .answers
                .get(&pc)
                .is_some_and(|new| new.asked >= other.asked);
            if !newer {
                self.answers.insert(pc, other);
            }
        }
    }

    fn take_probe(&mut self, file: &Path) {
        let probed = json(file).and_then(|value| {
            serde_json::from_value::<BTreeMap<String, Probed>>(plain(&value))
                .context("it is not what imgbuild.lab.probe writes")
        });
        match probed {
            Ok(probed) => {
                let unable = probed.into_iter().filter(|(_, probed)| !probed.able);
                self.missing = unable.map(|(pc, probed)| (pc, probed.missing)).collect();
            }
            Err(error) => {
                self.problems
                    .push(format!("{}: {}", file.display(), words(&error)));
            }
        }
    }
}

/// An error with its causes in one line; it may quote what a PC wrote.
fn words(error: &Error) -> String {
    text::one_line(&text::plain_lines(&format!("{error:#}")))
}

/// Reads a PC's answer that anybody may have written.
#[cfg(any(test, fuzzing))]
pub(crate) fn look_into(file: &Path) {
    match answer(file) {
        Ok((_, answer)) => assert!(answer.vms.len() + answer.unreadable.len() <= MOST_VMS + 1),
        Err(error) => assert!(!words(&error).contains(char::is_control)),
    }
}

/// A PC and its answer.
fn answer(file: &Path) -> Result<(String, Answer)> {
    let mut value = json(file)?;
    // Each VM is read by itself: one that cannot be read is to leave the others.
    let vms = value.get_mut("vms").map(Value::take);
    let vms = match vms {
        Some(Value::Array(vms)) => vms,
        None | Some(Value::Null) => Vec::new(),
        Some(_) => bail!("`vms` is no list"),
    };
    if let Some(fields) = value.as_object_mut() {
        fields.remove("vms");
    }
    let written: Written = serde_json::from_value(plain(&value))
        .context("it is not what imgbuild.lab.status writes (of another version?)")?;
    ensure!(!written.host.is_empty(), "`host` is empty");
    let pc = written.host;
    let said = text::one_line(written.error.as_deref().unwrap_or_default());
    let mut answer = Answer {
        room: written.room.clone().unwrap_or_default(),
        asked: Some(written.time),
        answered: match written.reachable {
            true => Some(written.time),
            false => written.answered,
        },
        trouble: match (written.reachable, said.is_empty()) {
            (true, _) => String::new(),
            (false, true) => "it was not reached".to_owned(),
            (false, false) => said.clone(),
        },
        failure: said,
        ..Answer::default()
    };
    for (number, vm) in vms.iter().take(MOST_VMS).enumerate() {
        match Seen::read(vm) {
            Ok(seen) => answer.vms.push(seen),
            Err(error) => {
                let name = vm.get("name").and_then(Value::as_str).map(text::plain);
                let name = name.unwrap_or_else(|| format!("VM {}", number + 1));
                answer.unreadable.push((name, words(&error)));
            }
        }
    }
    if vms.len() > MOST_VMS {
        let why = format!("it tells of {} VMs, and {MOST_VMS} are read", vms.len());
        answer.unreadable.push((pc.clone(), why));
    }
    Ok((pc, answer))
}

fn json(file: &Path) -> Result<Value> {
    let bytes = given::read(file, LONGEST)?;
    serde_json::from_slice(&bytes).context("it is no JSON")
}
