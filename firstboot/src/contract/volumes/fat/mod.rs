//! Seeds on FAT, which is what `imgbuild seed` makes.

use super::documents::{LIMIT, Located, MediaError, is_cidata, limited, parse_files};
use crate::contract::seed::Seed;
use fatfs::{File, FileSystem, FsOptions};
use std::cell::Cell;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::Path;

/// Offset of the extended boot signature on FAT12 and FAT16; the label is 5 bytes later.
const SIGNATURE_16: usize = 38;
/// The same on FAT32.
const SIGNATURE_32: usize = 66;

/// How often a volume is read from while something is looked for in it. The largest seed takes a fifth
/// of that; a chain of clusters that runs in a circle would go on for ever.
const MOST_READS: u32 = 50_000;

/// Reads a FAT image labelled `CIDATA`; `place` names it in errors. Never writes.
pub fn read<T: Read + Seek>(mut image: T, place: &Path) -> Result<Seed, MediaError> {
    let unreadable = |reason| MediaError::Unreadable {
        place: place.to_owned(),
        reason,
    };
    match label(&mut image).map_err(unreadable)? {
        Some(label) if is_cidata(&label) => {}
        _ => {
            return Err(MediaError::NotASeed {
                place: place.to_owned(),
            });
        }
    }
    let system = open(image).map_err(unreadable)?;
    parse_files(place, |wanted| match document(&system, wanted)? {
        Some((file, length)) => {
            let bytes = limited(file.take(length))?;
            match bytes.len() as u64 == length {
                true => Ok(Some(bytes)),
                false => Err(damaged(format!(
                    "{} bytes of it are there, and its entry in the folder says {length}",
                    bytes.len()
                ))),
            }
        }
        None => Ok(None),
    })
}

fn damaged(how: String) -> io::Error {
    let remedy = "the seed disk is damaged: make it again, or copy it again";
    io::Error::new(ErrorKind::InvalidData, format!("{how}; {remedy}"))
}

/// A document in the root folder, and how much of it is to be read. Its size is looked at first,
/// because a damaged chain of clusters may be longer than the size says.
fn document<'s, T: Read + Write + Seek>(
    system: &'s FileSystem<T>,
    wanted: &str,
) -> io::Result<Option<(File<'s, T>, u64)>> {
    for entry in system.root_dir().iter() {
        let entry = entry?;
        if entry.is_file() && entry.file_name().eq_ignore_ascii_case(wanted) {
            let length = entry.len().min(LIMIT + 1);
            return Ok(Some((entry.to_file(), length)));
        }
    }
    Ok(None)
}

/// A document with the place of each of its bytes on the volume; `None` when it is not there.
pub(crate) fn locate<T: Read + Seek>(image: T, wanted: &str) -> io::Result<Option<Located>> {
    let place = Cell::new(0);
    let watched = Watched {
        disk: image,
        at: 0,
        last_read: &place,
    };
    let system = open(watched)?;
    let Some((mut file, length)) = document(&system, wanted)? else {
        return Ok(None);
    };
    let (mut bytes, mut pieces) = (Vec::new(), Vec::new());
    while (bytes.len() as u64) < length {
        let mut buffer = [0; 512];
        let wanted = buffer.len().min((length - bytes.len() as u64) as usize);
        // Ends with its cluster at the latest, and the content is the last that it reads.
        let count = file.read(&mut buffer[..wanted])?;
        if count == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        pieces.push((bytes.len(), place.get()));
        bytes.extend_from_slice(&buffer[..count]);
    }
    Ok(Some(Located { bytes, pieces }))
}

/// A disk that notes from where it was read last.
struct Watched<'c, T> {
    disk: T,
    at: u64,
    last_read: &'c Cell<u64>,
}

impl<T: Read> Read for Watched<'_, T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.disk.read(buffer)?;
        self.last_read.set(self.at);
        self.at += count as u64;
        Ok(count)
    }
}

impl<T: Seek> Seek for Watched<'_, T> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.at = self.disk.seek(to)?;
        Ok(self.at)
    }
}

/// The volume's label: the root folder's entry, else the boot sector's field. `None` when
/// this is no FAT volume or has no label.
pub(super) fn label<T: Read + Seek>(mut image: T) -> io::Result<Option<String>> {
    let mut sector = [0; 512];
    image.seek(SeekFrom::Start(0))?;
    match image.read_exact(&mut sector) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    if !is_fat(&sector) {
        return Ok(None);
    }
    // A volume whose root folder cannot be read still says in its boot sector what it is.
    let in_root = match open(image) {
        Ok(system) => system.read_volume_label_from_root_dir().unwrap_or_default(),
        Err(_) => None,
    };
    Ok(in_root.or_else(|| label_in_boot_sector(&sector)))
}

/// Whether a boot sector describes a FAT volume whose numbers fit together. The FAT reader
/// multiplies them without looking, so nonsense must not reach it.
fn is_fat(sector: &[u8; 512]) -> bool {
    let numbers = Numbers::of(sector);
    let Numbers { sector_size, .. } = numbers;
    let root_sectors = (numbers.root_entries * 32).div_ceil(sector_size.max(1));
    matches!(sector[0], 0xEB | 0xE9)
        && sector[510..] == [0x55, 0xAA]
        && [512, 1024, 2048, 4096].contains(&sector_size)
        && numbers.per_cluster.is_power_of_two()
        && numbers.reserved > 0
        && (1..=2).contains(&numbers.fats)
        && numbers.fat_sectors > 0
        && numbers.reserved + numbers.fats * numbers.fat_sectors + root_sectors < numbers.total
}

/// What a boot sector says of its volume, in sectors but for the first.
struct Numbers {
    /// In bytes.
    sector_size: u64,
    per_cluster: u64,
    reserved: u64,
    fats: u64,
    root_entries: u64,
    total: u64,
    fat_sectors: u64,
}

impl Numbers {
    fn of(sector: &[u8; 512]) -> Self {
        let word = |at: usize| u64::from(u16::from_le_bytes([sector[at], sector[at + 1]]));
        let long = |at: usize| word(at) | word(at + 2) << 16;
        let or = |short: u64, other: u64| if short == 0 { other } else { short };
        Numbers {
            sector_size: word(11),
            per_cluster: u64::from(sector[13]),
            reserved: word(14),
            fats: u64::from(sector[16]),
            root_entries: word(17),
            total: or(word(19), long(32)),
            fat_sectors: or(word(22), long(36)),
        }
    }
}

fn label_in_boot_sector(sector: &[u8; 512]) -> Option<String> {
    let is_32 = sector[22..24] == [0, 0];
    let signature = if is_32 { SIGNATURE_32 } else { SIGNATURE_16 };
    if sector[signature] != 0x29 {
        return None;
    }
    let field = &sector[signature + 5..signature + 16];
    let label = String::from_utf8_lossy(field).trim_end().to_owned();
    // What formatters write when there is no label.
    (!label.is_empty() && label != "NO NAME").then_some(label)
}

fn open<T: Read + Seek>(mut image: T) -> io::Result<FileSystem<ReadOnly<T>>> {
    let mut sector = [0; 512];
    image.seek(SeekFrom::Start(0))?;
    image.read_exact(&mut sector)?;
    let numbers = Numbers::of(&sector);
    let (found, said) = (
        image.seek(SeekFrom::End(0))?,
        numbers.total * numbers.sector_size,
    );
    // What is behind the end reads as an empty folder.
    if found < said {
        return Err(damaged(format!(
            "the volume has {said} bytes, and {found} of them are there"
        )));
    }
    image.seek(SeekFrom::Start(0))?;
    let disk = ReadOnly {
        disk: image,
        reads: MOST_READS,
    };
    let opened = FileSystem::new(disk, FsOptions::new());
    opened.map_err(|error| match error.kind() {
        // fatfs's words for a field that does not fit, without a remedy.
        ErrorKind::Other => damaged(error.to_string()),
        _ => error,
    })
}

/// fatfs asks for a writable disk; this one refuses every write, and ends what has no end.
struct ReadOnly<T> {
    disk: T,
    /// How many are left.
    reads: u32,
}

impl<T: Read> Read for ReadOnly<T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(reads) = self.reads.checked_sub(1) else {
            return Err(damaged("a folder or a file has no end".to_owned()));
        };
        self.reads = reads;
        self.disk.read(buffer)
    }
}

impl<T: Seek> Seek for ReadOnly<T> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.disk.seek(to)
    }
}

impl<T> Write for ReadOnly<T> {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::PermissionDenied.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests;
