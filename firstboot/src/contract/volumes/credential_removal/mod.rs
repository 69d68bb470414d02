//! Removing the cluster's password, or the ticket in its place, from the seed, once the machine is a
//! member.
//!
//! The seed disk lies as a file on a student's PC. What is on it after the join is only what
//! the machine itself has, and what lets others into the cluster is not. It is overwritten where it
//! stands (a new file would leave the old one's blocks behind), with no other byte written:
//! not the size, not the folder's entry, not the table. See [`crate::contract::seed`]'s `overwriting` for the
//! order, which keeps the seed valid if the power goes.

use super::documents::{Located, MediaError, Source, USER_DATA, document_in};
use super::fat;
use super::find::{Patience, find_in};
use super::label::{VolumeKind, volume_label};
use crate::contract::seed::overwriting::{Overwrite, Plan, Round, mended, plan};
use anyhow::{Context, Result, bail};
use rustix::fs::Advice;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The seed was there when the stage began, so it is not waited for.
const AT_ONCE: Patience = Patience {
    most: Duration::ZERO,
    quiet: Duration::ZERO,
};
/// A shorter secret may well stand elsewhere by chance, as a part of a word.
const SHORTEST_TRACE: usize = 8;
/// As much of a disk is searched for traces; seed disks are smaller.
const SEARCHED: u64 = 64 << 20;

/// What has become of the secret in the seed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scrubbed {
    /// It was overwritten, and what is on the disk was read again.
    Done,
    /// It was overwritten, and the same letters stand at another place of the same disk, such
    /// as a comment, or what an editor left in unused space: `byte 4711 of /dev/vdb`.
    Elsewhere(String),
    /// An earlier run has overwritten it.
    AlreadyDone,
    /// The disk cannot be written to, so it is still there: why.
    ReadOnly(String),
    /// The seed gives nothing that lets a node into a cluster.
    NothingThere,
    /// No seed disk is attached any more.
    NoSeed,
}

/// Overwrites the cluster's password or the ticket in the seed. The seed disk is looked for anew, by the
/// rules of `find`. An error says why nothing, or not all, could be done; trying
/// again does no harm.
pub fn credential(source: &Source) -> Result<Scrubbed> {
    match source {
        Source::Disk => on_disk(Path::new("/sys"), Path::new("/dev")),
        Source::Folder(folder) => in_folder(folder),
    }
}

/// [`credential`] on a disk, with other folders for `/sys` and `/dev`.
pub fn on_disk(sys: &Path, dev: &Path) -> Result<Scrubbed> {
    let Some(found) = find_in(sys, dev, AT_ONCE)? else {
        return Ok(Scrubbed::NoSeed);
    };
    match found.seed.cluster() {
        None => return Ok(Scrubbed::NothingThere),
        Some(cluster) if cluster.credential.is_removed() => return Ok(Scrubbed::AlreadyDone),
        Some(_) => {}
    }
    let place = found.device;
    let volume = open(&place)
        .and_then(volume_label)
        .map_err(unreadable(&place))?;
    if volume.is_none_or(|volume| volume.kind != VolumeKind::Fat) {
        return Ok(Scrubbed::ReadOnly(format!(
            "{} is an ISO 9660 volume, which is never written to",
            place.display()
        )));
    }
    overwrite(&Seed {
        place,
        read: on_fat,
    })
}

/// [`credential`] in a folder with the documents.
fn in_folder(folder: &Path) -> Result<Scrubbed> {
    let place = document_in(folder, USER_DATA)
        .map_err(unreadable(folder))?
        .with_context(|| format!("the seed in {} has no {USER_DATA}", folder.display()))?;
    overwrite(&Seed {
        place,
        read: as_file,
    })
}

fn unreadable(place: &Path) -> impl FnOnce(io::Error) -> MediaError {
    let place = place.to_owned();
    |reason| MediaError::Unreadable { place, reason }
}

fn open(place: &Path) -> io::Result<File> {
    File::open(place)
}

/// What holds the user-data, and how it is found in there.
struct Seed {
    place: PathBuf,
    read: fn(&File) -> io::Result<Option<Located>>,
}

fn on_fat(device: &File) -> io::Result<Option<Located>> {
    fat::locate(device, USER_DATA)
}

fn as_file(mut file: &File) -> io::Result<Option<Located>> {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let pieces = vec![(0, 0)];
    Ok(Some(Located { bytes, pieces }))
}

impl Seed {
    /// The document and where it is, and its text.
    fn user_data(&self, file: &File) -> Result<(Located, String)> {
        let located = (self.read)(file).map_err(unreadable(&self.place))?;
        let located =
            located.with_context(|| format!("{} has no {USER_DATA}", self.place.display()))?;
        let text = match std::str::from_utf8(&located.bytes) {
            Ok(text) => Some(text.to_owned()),
            Err(_) => mended(&located.bytes),
        };
        let text = text.ok_or_else(|| MediaError::NotText {
            place: self.place.clone(),
            file: USER_DATA,
        })?;
        Ok((located, text))
    }
}

fn overwrite(seed: &Seed) -> Result<Scrubbed> {
    let name = seed.place.display();
    let cannot = || format!("cannot remove the cluster's password or ticket from {name}");
    let file = open(&seed.place).map_err(unreadable(&seed.place))?;
    let (located, text) = seed.user_data(&file)?;
    let work = match plan(&text)
        .map_err(anyhow::Error::msg)
        .with_context(cannot)?
    {
        Plan::Nothing => return Ok(Scrubbed::NothingThere),
        Plan::Removed => return Ok(Scrubbed::AlreadyDone),
        Plan::Overwrite(work) => work,
    };
    let file = match OpenOptions::new().read(true).write(true).open(&seed.place) {
        Ok(file) => file,
        Err(error) if is_read_only(&error) => return Ok(read_only(&seed.place, &error)),
        Err(error) => return Err(error).with_context(cannot),
    };
    for (number, round) in work.rounds.iter().enumerate() {
        match write(&file, &located, round) {
            Ok(()) => {}
            Err(error) if number == 0 && is_read_only(&error) => {
                return Ok(read_only(&seed.place, &error));
            }
            Err(error) => return Err(error).with_context(cannot),
        }
    }
    // Only what is read from the device itself proves anything; the kernel keeps a copy.
    rustix::fs::fadvise(&file, 0, None, Advice::DontNeed)
        .map_err(io::Error::from)
        .with_context(cannot)?;
    let again = open(&seed.place).map_err(unreadable(&seed.place))?;
    let (now, _) = seed.user_data(&again)?;
    if now.bytes != work.result.as_bytes() {
        bail!("{}: it does not hold what was just written to it", cannot());
    }
    let other = traces(&seed.place, &work).map_err(unreadable(&seed.place))?;
    Ok(match other {
        None => Scrubbed::Done,
        Some(at) => Scrubbed::Elsewhere(format!("byte {at} of {name}")),
    })
}

/// No permission, a write-protected disk, a read-only file system.
fn is_read_only(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem
    )
}

fn read_only(place: &Path, error: &io::Error) -> Scrubbed {
    Scrubbed::ReadOnly(format!("{} cannot be written to: {error}", place.display()))
}

/// Writes one round and waits until it is on the disk. What lies together is written at once,
/// so that a disk, which writes whole sectors, does not tear it.
fn write(file: &File, located: &Located, round: &Round) -> io::Result<()> {
    let mut runs: Vec<(u64, Vec<u8>)> = Vec::new();
    for (at, byte) in round {
        let place = located.place(*at).ok_or(ErrorKind::InvalidData)?;
        match runs.last_mut() {
            Some((start, bytes)) if *start + bytes.len() as u64 == place => bytes.push(*byte),
            _ => runs.push((place, vec![*byte])),
        }
    }
    for (start, bytes) in runs {
        file.write_all_at(&bytes, start)?;
    }
    file.sync_all()
}

/// Where the secret is still to be seen, if anywhere.
fn traces(place: &Path, work: &Overwrite) -> io::Result<Option<usize>> {
    let mut bytes = Vec::new();
    open(place)?.take(SEARCHED).read_to_end(&mut bytes)?;
    let found = work.traces.iter().filter_map(|trace| {
        let trace = trace.reveal().as_bytes();
        if trace.len() < SHORTEST_TRACE {
            return None;
        }
        bytes
            .windows(trace.len())
            .position(|window| window == trace)
    });
    Ok(found.min())
}

#[cfg(test)]
mod tests;
