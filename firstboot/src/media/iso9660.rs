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
    let unreadable = |reason| MediaError::Unreadable {
        place: place.to_owned(),
        reason,
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    const FILES: [(&str, &str, &str); 3] = [
        (
            "META_DAT.;1",
            "meta-data",
            "instance-id: i-1\nlocal-hostname: vm42\n",
        ),
        ("NETWORK_.;1", "network-config", "version: 2\n"),
        ("USER_DAT.;1", "user-data", "#cloud-config\ntimezone: UTC\n"),
    ];
    const ROOT: u32 = 20;
    const JOLIET_ROOT: u32 = 21;
    const FIRST_FILE: u32 = 22;

    fn record(sector: u32, length: u32, name: &[u8], system_use: &[u8]) -> Vec<u8> {
        let mut record = vec![0; 33];
        record[2..6].copy_from_slice(&sector.to_le_bytes());
        record[10..14].copy_from_slice(&length.to_le_bytes());
        record[25] = if name.len() == 1 { 2 } else { 0 };
        record[32] = name.len() as u8;
        record.extend_from_slice(name);
        if record.len() % 2 == 1 {
            record.push(0);
        }
        record.extend_from_slice(system_use);
        record[0] = record.len() as u8;
        record
    }

    fn folder_sector(own: u32, name: impl Fn(&str, &str) -> (Vec<u8>, Vec<u8>)) -> Vec<u8> {
        let mut sector = record(own, 2048, &[0], &[]);
        sector.extend(record(own, 2048, &[1], &[]));
        for (number, (plain, long, content)) in FILES.iter().enumerate() {
            let (name, system_use) = name(plain, long);
            let at = FIRST_FILE + number as u32;
            sector.extend(record(at, content.len() as u32, &name, &system_use));
        }
        sector
    }

    fn rock_ridge(long: &str) -> Vec<u8> {
        let mut entry = b"RR\x05\x01\x89NM".to_vec();
        entry.extend([long.len() as u8 + 5, 1, 0]);
        entry.extend_from_slice(long.as_bytes());
        entry
    }

    fn ucs2(text: &str) -> Vec<u8> {
        text.encode_utf16().flat_map(u16::to_be_bytes).collect()
    }

    /// A volume with the three documents; `hide_plain` takes away the names of the plain form.
    fn image(label: &str, with_rock_ridge: bool, with_joliet: bool, hide_plain: bool) -> Vec<u8> {
        let mut image = vec![0; 2048 * 32];
        let mut put = |sector: u32, offset: usize, bytes: &[u8]| {
            let at = sector as usize * 2048 + offset;
            image[at..at + bytes.len()].copy_from_slice(bytes);
        };
        put(16, 0, b"\x01CD001\x01");
        put(16, 40, format!("{label:32}").as_bytes());
        put(16, 156, &record(ROOT, 2048, &[0], &[]));
        if with_joliet {
            put(17, 0, b"\x02CD001\x01");
            put(17, 88, b"%/E");
            put(17, 156, &record(JOLIET_ROOT, 2048, &[0], &[]));
        }
        let terminator = if with_joliet { 18 } else { 17 };
        put(terminator, 0, b"\xffCD001\x01");
        let plain = folder_sector(ROOT, |plain, long| {
            let name = if hide_plain { "F000" } else { plain };
            let system_use = if with_rock_ridge {
                rock_ridge(long)
            } else {
                Vec::new()
            };
            (name.as_bytes().to_vec(), system_use)
        });
        put(ROOT, 0, &plain);
        let joliet = folder_sector(JOLIET_ROOT, |_, long| (ucs2(long), Vec::new()));
        put(JOLIET_ROOT, 0, &joliet);
        for (number, (_, _, content)) in FILES.iter().enumerate() {
            put(FIRST_FILE + number as u32, 0, content.as_bytes());
        }
        image
    }

    fn read_bytes(image: &[u8]) -> Result<Seed, MediaError> {
        read(Cursor::new(image), Path::new("/dev/sr0"))
    }

    #[test]
    fn all_three_kinds_of_names_are_read() {
        let images = [
            image("cidata", true, true, true),
            image("cidata", true, false, true),
            image("CIDATA", false, true, true),
            image("cidata", false, false, false),
        ];
        for image in images {
            let seed = read_bytes(&image).unwrap();
            assert_eq!(seed.hostname(), "vm42");
            assert_eq!(seed.user_data.timezone.as_deref(), Some("UTC"));
            assert!(seed.network.is_some());
        }
    }

    #[test]
    fn names_that_nothing_gives_are_missing() {
        let error = read_bytes(&image("cidata", false, false, true)).unwrap_err();
        assert_eq!(error.to_string(), "the seed on /dev/sr0 has no meta-data");
    }

    #[test]
    fn the_label_is_looked_at() {
        let image = image("Debian 13", true, true, false);
        let found = super::super::volume_label(Cursor::new(&image)).unwrap();
        let found = found.unwrap();
        assert_eq!(found.kind, super::super::VolumeKind::Iso9660);
        assert_eq!(found.label, "Debian 13");
        let error = read_bytes(&image).unwrap_err();
        assert!(matches!(error, MediaError::NotASeed { .. }));
    }

    #[test]
    fn other_content_is_no_volume() {
        for size in [0, 2048, 2048 * 16 + 7, 2048 * 40] {
            let bytes = vec![0; size];
            assert_eq!(label(Cursor::new(&bytes)).unwrap(), None);
            assert!(read_bytes(&bytes).is_err());
        }
    }

    #[test]
    fn a_file_beyond_the_end_is_an_error() {
        let mut image = image("cidata", true, false, true);
        image.truncate(FIRST_FILE as usize * 2048 + 10);
        assert_eq!(
            read_bytes(&image).unwrap_err().to_string(),
            "cannot read /dev/sr0: meta-data: the volume ends inside the file"
        );
    }

    /// No byte of the descriptor or the root folder may do worse than refuse the volume.
    #[test]
    fn damage_does_no_harm() {
        let good = image("cidata", true, true, true);
        let descriptor = 16 * 2048..16 * 2048 + 200;
        let root = ROOT as usize * 2048..ROOT as usize * 2048 + 300;
        for at in descriptor.chain(root) {
            for value in [0, 1, 0x22, 0xFF] {
                let mut image = good.clone();
                image[at] = value;
                let _ = read_bytes(&image);
            }
        }
    }
}
