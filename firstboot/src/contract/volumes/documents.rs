//! The three documents of a seed, from whatever holds them.

use crate::contract::seed::{self, Seed, SeedError, overwriting};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Where the seed comes from.
#[derive(Debug, Clone)]
pub enum Source {
    /// The disk labelled `CIDATA`.
    Disk,
    /// A folder with the documents.
    Folder(PathBuf),
}

/// Why a seed could not be read. That there is none is no error.
#[derive(Debug, thiserror::Error)]
pub enum MediaError {
    /// A device or file cannot be read.
    #[error("cannot read {}: {reason}", .place.display())]
    Unreadable {
        /// The device, image or folder.
        place: PathBuf,
        /// Why; a part of the message, so it is no `source` that a caller would print again.
        reason: io::Error,
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
    #[error("the seed on {} is not valid:\n{problems}", .place.display())]
    Invalid {
        /// The device, image or folder.
        place: PathBuf,
        /// Every problem; a part of the message.
        problems: SeedError,
    },
}

fn names(devices: &[PathBuf]) -> String {
    let names: Vec<String> = devices.iter().map(|d| d.display().to_string()).collect();
    names.join(", ")
}

/// The document that has the secrets.
pub(crate) const USER_DATA: &str = "user-data";

/// A larger document is no seed; it is not read into memory.
pub(super) const LIMIT: u64 = 1024 * 1024;

/// The label of a seed disk; NoCloud takes it in any case.
pub(super) fn is_cidata(label: &str) -> bool {
    label.eq_ignore_ascii_case("cidata")
}

/// Reads the three documents of a folder (`--seed-dir`).
pub fn read_folder(folder: &Path) -> Result<Seed, MediaError> {
    let unreadable = |reason| MediaError::Unreadable {
        place: folder.to_owned(),
        reason,
    };
    // A folder that cannot be listed is to be named as such, and not by a document.
    std::fs::read_dir(folder).map_err(unreadable)?;
    parse_files(folder, |wanted| match document_in(folder, wanted)? {
        None => Ok(None),
        Some(path) => limited(std::fs::File::open(path)?).map(Some),
    })
}

/// The file of a folder that is this document; its name may be in any case.
pub(super) fn document_in(folder: &Path, wanted: &str) -> io::Result<Option<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().eq_ignore_ascii_case(wanted) {
            files.push(entry.path());
        }
    }
    Ok(files.into_iter().min())
}

/// Takes the three documents from a source of files and parses them. The source is asked
/// for a file by its lower-case name, and gives at most [`LIMIT`] bytes and one.
pub(super) fn parse_files(
    place: &Path,
    mut file: impl FnMut(&'static str) -> io::Result<Option<Vec<u8>>>,
) -> Result<Seed, MediaError> {
    let mut document = |name: &'static str| {
        let place = || place.to_owned();
        let bytes = file(name).map_err(|reason| MediaError::Unreadable {
            place: place(),
            reason: io::Error::new(reason.kind(), format!("{name}: {reason}")),
        })?;
        let Some(bytes) = bytes else { return Ok(None) };
        if bytes.len() as u64 > LIMIT {
            return Err(MediaError::TooLarge {
                place: place(),
                file: name,
            });
        }
        let text = String::from_utf8(bytes).or_else(|error| {
            let torn = Some(error.as_bytes()).filter(|_| name == USER_DATA);
            torn.and_then(overwriting::mended)
                .ok_or_else(|| MediaError::NotText {
                    place: place(),
                    file: name,
                })
        });
        text.map(Some)
    };
    let missing = |file| MediaError::Missing {
        place: place.to_owned(),
        file,
    };
    let meta_data = document("meta-data")?.ok_or_else(|| missing("meta-data"))?;
    // NoCloud requires both; user-data may be empty.
    let user_data = document(USER_DATA)?.ok_or_else(|| missing(USER_DATA))?;
    let network = document("network-config")?;
    seed::parse(&meta_data, &user_data, network.as_deref()).map_err(|problems| {
        MediaError::Invalid {
            place: place.to_owned(),
            problems,
        }
    })
}

/// Reads at most [`LIMIT`] bytes and one, by which a larger file is known.
pub(super) fn limited(reader: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(LIMIT + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A document and, for each piece of it, where that is in its device or file.
pub(crate) struct Located {
    pub bytes: Vec<u8>,
    /// Place in the document, and place in the device; each piece goes on to the next one.
    pub pieces: Vec<(usize, u64)>,
}

impl Located {
    /// Where a byte of the document is.
    pub(crate) fn place(&self, at: usize) -> Option<u64> {
        let after = self.pieces.partition_point(|(start, _)| *start <= at);
        let (start, place) = self.pieces.get(after.checked_sub(1)?)?;
        Some(place + (at - start) as u64)
    }
}
