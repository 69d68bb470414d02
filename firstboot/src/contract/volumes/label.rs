//! What kind of volume a disk holds, and its label.

use super::{fat, iso9660};
use std::io::{self, Read, Seek};

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

/// The label of a FAT or ISO 9660 volume; `None` for anything else.
pub fn volume_label<T: Read + Seek>(mut image: T) -> io::Result<Option<Volume>> {
    let (kind, label) = match fat::label(&mut image)? {
        Some(label) => (VolumeKind::Fat, label),
        None => match iso9660::label(&mut image)? {
            Some(label) => (VolumeKind::Iso9660, label),
            None => return Ok(None),
        },
    };
    Ok(Some(Volume { kind, label }))
}
