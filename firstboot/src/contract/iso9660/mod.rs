//! Reading ISO 9660 volumes: the label, and files by their path.
//!
//! Names are taken from Rock Ridge, else from Joliet, else from the plain `README.TXT;1` form.
//! What is not read: names that continue in another sector (`CE`), relocated folders and
//! files in several extents. Formats: ECMA-119, the Rock Ridge `NM` entry of RRIP 1.12, and
//! the Joliet specification.

use std::io::{self, Error, ErrorKind, Read, Seek, SeekFrom};

/// A logical sector; descriptors begin at sector 16.
const SECTOR: u64 = 2048;
const FIRST_DESCRIPTOR: u64 = 16;
/// The set of descriptors ends with a terminator; a volume without one is not searched for ever.
const MOST_DESCRIPTORS: u64 = 32;
/// Some ten thousand names; a damaged length must not take all memory.
const LARGEST_FOLDER: u64 = 4 * 1024 * 1024;
/// Where a volume descriptor has the record of its root folder.
const ROOT_RECORD: std::ops::Range<usize> = 156..190;

/// Bits of a directory record's flags.
const IS_FOLDER: u8 = 0x02;
const HAS_MORE_EXTENTS: u8 = 0x80;

/// A volume. Nothing of its folders is read before it is asked for.
#[derive(Debug)]
pub struct Volume<T> {
    image: T,
    label: String,
    size: u64,
    root: Extent,
    joliet: Option<Extent>,
}

/// A file or folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Without a path, and without the version `;1` that plain names end with.
    pub name: String,
    /// Whether it is a folder.
    pub is_folder: bool,
    extent: Extent,
    is_whole: bool,
}

impl Entry {
    /// In bytes.
    pub fn length(&self) -> u64 {
        self.extent.length
    }

    fn is_named(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }
}

/// Where content is, in bytes from the start of the volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Extent {
    start: u64,
    length: u64,
}

impl Extent {
    /// Of a directory record with at least 14 bytes.
    fn of(record: &[u8]) -> Self {
        Extent {
            start: long(record, 2) * SECTOR,
            length: long(record, 10),
        }
    }
}

/// The little-endian half of a number that is written in both byte orders.
fn long(bytes: &[u8], at: usize) -> u64 {
    let mut number = [0; 4];
    number.copy_from_slice(&bytes[at..at + 4]);
    u64::from(u32::from_le_bytes(number))
}

/// How names without a Rock Ridge entry are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Names {
    Plain,
    Joliet,
}

impl<T: Read + Seek> Volume<T> {
    /// Reads the volume descriptors; `None` when this is no ISO 9660 volume.
    pub fn open(mut image: T) -> io::Result<Option<Self>> {
        let descriptors = descriptors(&mut image)?;
        let Some(primary) = descriptors.iter().find(|d| d[0] == 1) else {
            return Ok(None);
        };
        let label = String::from_utf8_lossy(&primary[40..72]);
        let joliet = descriptors.iter().find(|d| is_joliet(d));
        Ok(Some(Volume {
            image,
            label: label.trim_end_matches([' ', '\0']).to_owned(),
            size: long(primary, 80) * SECTOR,
            root: Extent::of(&primary[ROOT_RECORD]),
            joliet: joliet.map(|d| Extent::of(&d[ROOT_RECORD])),
        }))
    }

    /// The volume identifier without trailing blanks.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// How many bytes the volume has, as it says itself.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// What the root folder holds.
    pub fn root(&mut self) -> io::Result<Vec<Entry>> {
        Ok(self.tree()?.0)
    }

    /// The file or folder with a path such as `install.amd/vmlinuz`, in whichever case its
    /// name is written.
    pub fn find(&mut self, path: &str) -> io::Result<Option<Entry>> {
        let (mut entries, names) = self.tree()?;
        let mut parts = path.split('/').filter(|part| !part.is_empty()).peekable();
        while let Some(part) = parts.next() {
            let same = entries.iter().find(|e| e.name == part);
            let Some(entry) = same.or_else(|| entries.iter().find(|e| e.is_named(part))) else {
                return Ok(None);
            };
            if parts.peek().is_none() {
                return Ok(Some(entry.clone()));
            }
            if !entry.is_folder {
                return Ok(None);
            }
            (entries, _) = folder(&mut self.image, entry.extent, names)?;
        }
        Ok(None)
    }

    /// The content of a file, at most `limit` bytes of it.
    pub fn read(&mut self, file: &Entry, limit: u64) -> io::Result<Vec<u8>> {
        if file.is_folder {
            return Err(ErrorKind::IsADirectory.into());
        }
        if !file.is_whole {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "the file is in several extents, which are not read",
            ));
        }
        let wanted = file.length().min(limit);
        let extent = Extent {
            length: wanted,
            ..file.extent
        };
        content(&mut self.image, extent, "file")
    }

    /// The root folder in the tree with the best names, and how those of its sub-folders are
    /// written.
    fn tree(&mut self) -> io::Result<(Vec<Entry>, Names)> {
        let (entries, has_rock_ridge) = folder(&mut self.image, self.root, Names::Plain)?;
        match self.joliet {
            Some(root) if !has_rock_ridge => {
                let (entries, _) = folder(&mut self.image, root, Names::Joliet)?;
                Ok((entries, Names::Joliet))
            }
            _ => Ok((entries, Names::Plain)),
        }
    }
}

/// All volume descriptors up to the terminator; empty for another file system.
fn descriptors<T: Read + Seek>(mut image: T) -> io::Result<Vec<Vec<u8>>> {
    let mut all = Vec::new();
    for number in 0..MOST_DESCRIPTORS {
        let mut sector = vec![0; SECTOR as usize];
        image.seek(SeekFrom::Start((FIRST_DESCRIPTOR + number) * SECTOR))?;
        match image.read_exact(&mut sector) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => break,
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

/// The bytes of an extent, all of them or an error.
fn content<T: Read + Seek>(mut image: T, extent: Extent, what: &str) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    image.seek(SeekFrom::Start(extent.start))?;
    image.take(extent.length).read_to_end(&mut bytes)?;
    if (bytes.len() as u64) < extent.length {
        let message = format!("the volume ends inside the {what}");
        return Err(Error::new(ErrorKind::UnexpectedEof, message));
    }
    Ok(bytes)
}

/// What a folder holds, and whether anything in it has a Rock Ridge name.
fn folder<T: Read + Seek>(
    image: T,
    extent: Extent,
    names: Names,
) -> io::Result<(Vec<Entry>, bool)> {
    if extent.length > LARGEST_FOLDER {
        let message = format!("a folder is said to have {} bytes", extent.length);
        return Err(Error::new(ErrorKind::InvalidData, message));
    }
    let bytes = content(image, extent, "folder")?;
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
            let Some(written) = record.get(33..name_end) else {
                continue;
            };
            // The folder itself and the one above it.
            if matches!(written, [0] | [1]) {
                continue;
            }
            // The name is padded to an even offset.
            let system_use = record.get(name_end + (name_end & 1)..).unwrap_or_default();
            let name = match rock_ridge_name(system_use) {
                Some(name) => {
                    any_rock_ridge = true;
                    name
                }
                None => written_name(written, names),
            };
            entries.push(Entry {
                name,
                is_folder: record[25] & IS_FOLDER != 0,
                extent: Extent::of(record),
                is_whole: record[25] & HAS_MORE_EXTENTS == 0,
            });
        }
    }
    Ok((entries, any_rock_ridge))
}

/// The name in the `NM` entries of a record's system use area.
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

#[cfg(test)]
pub(crate) mod tests;
