//! Finding the seed disk and reading it. Nothing here writes to a device.

use crate::seed::{Seed, SeedError};
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A seed and where it was found.
#[derive(Debug)]
pub struct Found {
    /// The parsed and validated seed.
    pub seed: Seed,
    /// The block device, such as `/dev/vdb`.
    pub device: PathBuf,
}

/// What [`volume_label`] recognised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// The file system.
    pub kind: VolumeKind,
    /// Its label without trailing blanks, in the case in which it is written.
    pub label: String,
}

/// The file systems that a seed may come on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VolumeKind {
    /// FAT12, FAT16 or FAT32.
    Fat,
    /// ISO 9660.
    Iso9660,
}

/// Why a seed could not be read. That there is none is no error.
#[derive(Debug, thiserror::Error)]
pub enum MediaError {
    /// A device or file cannot be read.
    #[error("cannot read {}: {source}", .place.display())]
    Unreadable {
        /// The device, image or folder.
        place: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The volume is not labelled `CIDATA`.
    #[error("{} is no seed disk: it is no FAT or ISO 9660 volume labelled CIDATA", .place.display())]
    NotASeed {
        /// The device or image.
        place: PathBuf,
    },
    /// One of the files that every seed has is not there.
    #[error("the seed on {} has no {file}", .place.display())]
    Missing {
        /// The device, image or folder.
        place: PathBuf,
        /// `meta-data` or `user-data`.
        file: &'static str,
    },
    /// A document is larger than any seed needs.
    #[error("the seed on {} has a {file} of more than 1 MiB", .place.display())]
    TooLarge {
        /// The device, image or folder.
        place: PathBuf,
        /// The document.
        file: &'static str,
    },
    /// A document is not UTF-8.
    #[error("the seed on {} has a {file} that is not UTF-8 text", .place.display())]
    NotText {
        /// The device, image or folder.
        place: PathBuf,
        /// The document.
        file: &'static str,
    },
    /// Several volumes claim to be the seed.
    #[error("several volumes are labelled CIDATA: {}. Attach exactly one seed disk", names(.devices))]
    Several {
        /// All of them.
        devices: Vec<PathBuf>,
    },
    /// The documents are wrong; every problem is on a line of its own.
    #[error("the seed on {} is not valid:\n{source}", .place.display())]
    Invalid {
        /// The device, image or folder.
        place: PathBuf,
        /// Every problem.
        source: SeedError,
    },
}

fn names(devices: &[PathBuf]) -> String {
    let names: Vec<String> = devices.iter().map(|d| d.display().to_string()).collect();
    names.join(", ")
}

/// Reads the three documents of a folder (`--seed-dir`).
pub fn read_folder(_folder: &Path) -> Result<Seed, MediaError> {
    todo!()
}

/// Reads a FAT image labelled `CIDATA`; `place` names it in errors. Never writes.
pub fn read_fat<T: Read + Seek>(_image: T, _place: &Path) -> Result<Seed, MediaError> {
    todo!()
}

/// The label of a FAT or ISO 9660 volume; `None` for anything else.
pub fn volume_label<T: Read + Seek>(_image: T) -> io::Result<Option<Volume>> {
    todo!()
}

/// Looks for the seed disk among the block devices until one is there or `wait` is over.
pub fn find(wait: Duration) -> Result<Option<Found>, MediaError> {
    find_in(Path::new("/sys"), Path::new("/dev"), wait)
}

/// [`find`] with other folders for `/sys` and `/dev`.
pub fn find_in(_sys: &Path, _dev: &Path, _wait: Duration) -> Result<Option<Found>, MediaError> {
    todo!()
}
