//! Seeds on ISO 9660, as cloud-localds, virt-install and Proxmox make them.
//!
//! Only what a seed needs is read: files of the root folder. Their names are taken from
//! Rock Ridge, else from Joliet, else from the plain `META_DAT.;1` form. Formats: ECMA-119,
//! the Rock Ridge `NM` entry of RRIP 1.12, and the Joliet specification.

use super::{LIMIT, MediaError, is_cidata, limited, parse_files};
use crate::seed::Seed;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

/// A logical sector; descriptors begin at sector 16.
const SECTOR: u64 = 2048;
const FIRST_DESCRIPTOR: u64 = 16;
/// The set of descriptors ends with a terminator; a volume without one is not searched for ever.
const MOST_DESCRIPTORS: u64 = 32;
/// A root folder with three files needs one sector.
const LARGEST_FOLDER: u64 = 256 * 1024;

/// A file of the root folder.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    name: String,
    /// In bytes from the start of the volume.
    start: u64,
    /// In bytes.
    length: u64,
}

/// Reads the documents of a volume labelled `cidata`.
pub(super) fn read<T: Read + Seek>(mut image: T, place: &Path) -> Result<Seed, MediaError> {
    let unreadable = |source| MediaError::Unreadable {
        place: place.to_owned(),
        source,
    };
    let descriptors = descriptors(&mut image).map_err(unreadable)?;
    let Some(primary) = descriptors.iter().find(|d| d[0] == 1) else {
        return Err(MediaError::NotASeed {
            place: place.to_owned(),
        });
    };
    if !is_cidata(&primary_label(primary)) {
        return Err(MediaError::NotASeed {
            place: place.to_owned(),
        });
    }
    let (mut entries, rock_ridge) =
        folder(&mut image, &primary[156..190], Names::Plain).map_err(unreadable)?;
    if !rock_ridge {
        if let Some(joliet) = descriptors.iter().find(|d| is_joliet(d)) {
            (entries, _) =
                folder(&mut image, &joliet[156..190], Names::Joliet).map_err(unreadable)?;
        }
    }
    parse_files(place, |wanted| {
        let Some(entry) = entries.iter().find(|e| is_named(&e.name, wanted)) else {
            return Ok(None);
        };
        image.seek(SeekFrom::Start(entry.start))?;
        let bytes = limited((&mut image).take(entry.length))?;
        if (bytes.len() as u64) < entry.length.min(LIMIT) {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the volume ends inside the file",
            ));
        }
        Ok(Some(bytes))
    })
}

/// The volume identifier; `None` when this is no ISO 9660 volume.
pub(super) fn label<T: Read + Seek>(image: T) -> io::Result<Option<String>> {
    let descriptors = descriptors(image)?;
    Ok(descriptors
        .iter()
        .find(|d| d[0] == 1)
        .map(|d| primary_label(d)))
}

fn primary_label(descriptor: &[u8]) -> String {
    let field = &descriptor[40..72];
    String::from_utf8_lossy(field)
        .trim_end_matches([' ', '\0'])
        .to_owned()
}

/// All volume descriptors up to the terminator; empty for another file system.
fn descriptors<T: Read + Seek>(mut image: T) -> io::Result<Vec<Vec<u8>>> {
    let mut all = Vec::new();
    for number in 0..MOST_DESCRIPTORS {
        let mut sector = vec![0; SECTOR as usize];
        image.seek(SeekFrom::Start((FIRST_DESCRIPTOR + number) * SECTOR))?;
        match image.read_exact(&mut sector) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
            other => other?,
        }
        if &sector[1..6] != b"CD001" || sector[0] == 255 {
            break;
        }
        all.push(sector);
    }
    Ok(all)
}

/// A supplementary descriptor with one of Joliet's three escape sequences.
fn is_joliet(descriptor: &[u8]) -> bool {
    descriptor[0] == 2 && matches!(&descriptor[88..91], b"%/@" | b"%/C" | b"%/E")
}

/// How names without a Rock Ridge entry are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Names {
    Plain,
    Joliet,
}

/// The files of the folder that a directory record describes, and whether any of them has a
/// Rock Ridge name.
fn folder<T: Read + Seek>(
    mut image: T,
    record: &[u8],
    names: Names,
) -> io::Result<(Vec<Entry>, bool)> {
    let (start, length) = extent(record);
    let mut bytes = Vec::new();
    image.seek(SeekFrom::Start(start))?;
    image
        .take(length.min(LARGEST_FOLDER))
        .read_to_end(&mut bytes)?;
    let mut entries = Vec::new();
    let mut any_rock_ridge = false;
    for sector in bytes.chunks(SECTOR as usize) {
        let mut rest = sector;
        // A record never crosses a sector; the remainder is filled with zeros.
        while let Some(&size) = rest.first() {
            let size = usize::from(size);
            if size < 34 || size > rest.len() {
                break;
            }
            let (record, next) = rest.split_at(size);
            rest = next;
            let name_end = 33 + usize::from(record[32]);
            let is_folder = record[25] & 2 != 0;
            if is_folder || name_end > record.len() {
                continue;
            }
            let (start, length) = extent(record);
            // The name is padded to an even offset.
            let system_use = record.get(name_end + (name_end & 1)..).unwrap_or_default();
            let name = match rock_ridge_name(system_use) {
                Some(name) => {
                    any_rock_ridge = true;
                    name
                }
                None => written_name(&record[33..name_end], names),
            };
            entries.push(Entry {
                name,
                start,
                length,
            });
        }
    }
    Ok((entries, any_rock_ridge))
}

/// Where a directory record's content is: start and length in bytes.
fn extent(record: &[u8]) -> (u64, u64) {
    let long = |at: usize| {
        let mut bytes = [0; 4];
        bytes.copy_from_slice(&record[at..at + 4]);
        u64::from(u32::from_le_bytes(bytes))
    };
    (long(2) * SECTOR, long(10))
}

/// The name in the `NM` entries of a record's system use area. A continuation elsewhere
/// (`CE`) is not followed: the names of a seed are short.
fn rock_ridge_name(area: &[u8]) -> Option<String> {
    let mut name = Vec::new();
    let mut rest = area;
    while rest.len() >= 4 {
        let size = usize::from(rest[2]);
        if size < 4 || size > rest.len() {
            break;
        }
        let (entry, next) = rest.split_at(size);
        rest = next;
        if &entry[..2] == b"NM" {
            name.extend_from_slice(entry.get(5..).unwrap_or_default());
        }
    }
    (!name.is_empty()).then(|| String::from_utf8_lossy(&name).into_owned())
}

fn written_name(bytes: &[u8], names: Names) -> String {
    let name = match names {
        Names::Plain => String::from_utf8_lossy(bytes).into_owned(),
        Names::Joliet => {
            let units = bytes
                .chunks_exact(2)
                .map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
            char::decode_utf16(units)
                .map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER))
                .collect()
        }
    };
    // `;1` is the version that every plain name, and some makers' Joliet names, end with.
    let name = name.split(';').next().unwrap_or_default();
    name.trim_end_matches('.').to_owned()
}

/// Whether a name in the root folder is the document's. Plain names have eight characters
/// and no hyphen: `META_DAT`, `USER_DAT`, `NETWORK_`.
fn is_named(name: &str, wanted: &str) -> bool {
    let plain: String = wanted.replace('-', "_").chars().take(8).collect();
    let stem = name.split('.').next().unwrap_or_default();
    name.eq_ignore_ascii_case(wanted)
        || name.eq_ignore_ascii_case(&wanted.replace('-', "_"))
        || stem == plain.to_ascii_uppercase()
}
