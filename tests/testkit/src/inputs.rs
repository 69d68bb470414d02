//! The inputs of the fuzzers, tried without a fuzzer: those that were once found, in
//! `tests/cases/fuzz/TARGET`, the cases of other tests that `fuzz/seeds` names, and what chance makes
//! of both.

use crate::{house, sha256};
use rustix::time::{ClockId, clock_gettime};
use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A target's name and function.
pub type Target = (&'static str, fn(&[u8]));

/// A fuzzer, which is optimised, allows a second of processor time.
const LONGEST: Duration = Duration::from_secs(15);
/// How long chance has with all targets of a crate, in processor time.
const CHANCES: Duration = Duration::from_secs(6);
/// The longest input that chance makes another one of, in bytes.
const SHORT: usize = 32 << 10;

/// Tries every input of these targets. Fails with the names of all that do not end well.
pub fn replay(targets: &[Target]) {
    let mut failed = Vec::new();
    let mut tried = 0;
    for (name, run) in targets {
        for input in inputs(name) {
            let data = fs::read(&input).unwrap();
            tried += 1;
            if let Err(how) = ends_well(*run, &data) {
                failed.push(format!("{name} {}: {how}", input.display()));
            }
        }
    }
    assert!(tried > targets.len(), "only {tried} inputs were found");
    assert!(failed.is_empty(), "{failed:#?}");
}

/// Tries what chance makes of the inputs. Its seed is printed, and `CHANCE=SEED` makes the same of it;
/// an input that does not end well is kept in `target/fuzz/found`.
pub fn try_by_chance(targets: &[Target]) {
    let seed = match std::env::var("CHANCE") {
        Ok(seed) => seed.parse().unwrap(),
        Err(_) => SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_nanos() as u64,
    };
    println!("CHANCE={seed}");
    let mut chance = Chance(seed | 1);
    let mut failed = Vec::new();
    for (name, run) in targets {
        let read = |input: &PathBuf| fs::read(input).unwrap();
        let mut inputs: Vec<Vec<u8>> = inputs(name).iter().map(read).collect();
        inputs.retain(|input| input.len() <= SHORT);
        if inputs.is_empty() {
            continue;
        }
        let start = now();
        while now() - start < CHANCES / targets.len() as u32 {
            let data = chance.input(&inputs);
            let Err(how) = ends_well(*run, &data) else {
                continue;
            };
            let folder = house("target/fuzz/found").join(name);
            fs::create_dir_all(&folder).unwrap();
            let file = folder.join(format!("chance-{}", &sha256(&data)[..12]));
            fs::write(&file, &data).unwrap();
            failed.push(format!("{}: {how}", file.display()));
            break;
        }
    }
    assert!(failed.is_empty(), "CHANCE={seed}: {failed:#?}");
}

fn ends_well(run: fn(&[u8]), data: &[u8]) -> Result<(), String> {
    let start = now();
    let ended = catch_unwind(|| run(data));
    let took = now() - start;
    match ended {
        Ok(()) if took <= LONGEST => Ok(()),
        Ok(()) => Err(format!("{took:?} of processor time")),
        Err(_) => Err("its panic is above".to_owned()),
    }
}

fn now() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime).try_into().unwrap()
}

/// Numbers by chance, the same for the same seed (xorshift).
struct Chance(u64);

impl Chance {
    fn below(&mut self, most: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % most.max(1)
    }

    fn part(&mut self, of: &[u8]) -> std::ops::Range<usize> {
        let start = self.below(of.len() + 1);
        start..start + self.below((of.len() - start).min(64) + 1)
    }

    /// An input with one to four changes.
    fn input(&mut self, inputs: &[Vec<u8>]) -> Vec<u8> {
        const WORDS: [&[u8]; 16] = [
            b"\n",
            b" ",
            b"\t",
            b":",
            b"{",
            b"[",
            b"\"",
            b"'",
            b"#",
            b"\r\n",
            b"\0",
            b"\xff",
            b"\xc3\xa9",
            b"18446744073709551616",
            b"-1",
            b"\xef\xbb\xbf",
        ];
        let mut data = inputs[self.below(inputs.len())].clone();
        for _ in 0..=self.below(4) {
            let part = self.part(&data);
            match self.below(6) {
                0 => drop(data.drain(part)),
                1 => {
                    let again = data[part.clone()].to_vec();
                    data.splice(part.end..part.end, again);
                }
                2 => {
                    let other = &inputs[self.below(inputs.len())];
                    let taken = self.part(other);
                    data.splice(part, other[taken].iter().copied());
                }
                3 => {
                    let word = WORDS[self.below(WORDS.len())];
                    data.splice(part.start..part.start, word.iter().copied());
                }
                4 => data.truncate(part.end),
                _ => {
                    if let Some(byte) = data.get_mut(part.start) {
                        *byte = self.below(256) as u8;
                    }
                }
            }
        }
        data
    }
}

fn inputs(target: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let own = house(&format!("tests/cases/fuzz/{target}"));
    if own.is_dir() {
        matching(&own, &["*"], &mut found);
    }
    for line in fs::read_to_string(house("fuzz/seeds")).unwrap().lines() {
        let mut words = line.split_whitespace();
        if words.next() != Some(target) {
            continue;
        }
        for pattern in words {
            let before = found.len();
            let parts: Vec<&str> = pattern.split('/').collect();
            matching(&house("."), &parts, &mut found);
            assert!(found.len() > before, "fuzz/seeds: nothing is {pattern}");
        }
    }
    found.sort();
    found
}

/// The files below a folder whose path is this pattern; each part may have one `*`.
fn matching(folder: &Path, parts: &[&str], found: &mut Vec<PathBuf>) {
    let (first, rest) = parts.split_first().unwrap();
    if !first.contains('*') && !rest.is_empty() {
        let below = folder.join(first);
        if below.is_dir() {
            matching(&below, rest, found);
        }
        return;
    }
    let (start, end) = first.split_once('*').unwrap_or((first, ""));
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        let fits = match first.contains('*') {
            true => name.len() >= first.len() - 1 && name.starts_with(start) && name.ends_with(end),
            false => name == *first,
        };
        if !fits {
            continue;
        }
        // A link leads to what is in the machine of its case.
        let kind = entry.file_type().unwrap();
        match (rest.is_empty(), kind.is_file(), kind.is_dir()) {
            (true, true, _) => found.push(entry.path()),
            (false, _, true) => matching(&entry.path(), rest, found),
            _ => {}
        }
    }
}
