//! Seeds on disks.

use crate::contract::volumes::documents::USER_DATA;
use crate::contract::volumes::{fat::locate, read_fat, read_iso9660, volume_label};
use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::path::Path;

/// A document is at most this long, and some are repeated in a message.
const LONGEST_MESSAGE: usize = 8 << 20;
/// A disk that has room for the largest FAT32 with sectors of 512 bytes.
const LARGE: u64 = 1 << 41;

/// A FAT volume, as it is, and as the beginning of a large one: only those are FAT32.
pub(super) fn fat(image: &[u8]) {
    fat_of(image, image.len() as u64);
    fat_of(image, LARGE);
}

/// What is said to be a byte of the user-data is that byte.
fn fat_of(image: &[u8], size: u64) {
    let disk = || Sparse { image, size, at: 0 };
    let _ = volume_label(disk());
    let read = read_fat(disk(), Path::new("/dev/vdb"));
    if let Err(error) = &read {
        assert!(error.to_string().len() < LONGEST_MESSAGE);
    }
    // The removal of the password finds it where the reader does.
    let located = locate(disk(), USER_DATA);
    if read.is_ok() {
        assert!(matches!(located, Ok(Some(_))));
    }
    let Ok(Some(located)) = located else { return };
    for (at, byte) in located.bytes.iter().enumerate() {
        let place = located.place(at).unwrap_or(u64::MAX);
        assert!(place < size);
        let there = usize::try_from(place)
            .ok()
            .and_then(|place| image.get(place));
        assert_eq!(there.unwrap_or(&0), byte);
    }
}

/// A disk with nothing but zeros behind its beginning.
struct Sparse<'a> {
    image: &'a [u8],
    size: u64,
    at: u64,
}

impl Read for Sparse<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.size.saturating_sub(self.at);
        let count = buffer
            .len()
            .min(usize::try_from(left).unwrap_or(usize::MAX));
        let start = self
            .image
            .len()
            .min(usize::try_from(self.at).unwrap_or(usize::MAX));
        let there = &self.image[start..];
        let own = there.len().min(count);
        buffer[..own].copy_from_slice(&there[..own]);
        buffer[own..count].fill(0);
        self.at += count as u64;
        Ok(count)
    }
}

impl Seek for Sparse<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let place = match to {
            SeekFrom::Start(place) => Some(place),
            SeekFrom::End(by) => self.size.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = place.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

/// An ISO 9660 volume from its first descriptor on: nobody reads the 32 KiB before it.
pub(super) fn iso9660(descriptors: &[u8]) {
    let mut image = vec![0; 32 << 10];
    image.extend_from_slice(descriptors);
    let _ = volume_label(Cursor::new(&image));
    if let Err(error) = read_iso9660(Cursor::new(&image), Path::new("/dev/sr0")) {
        assert!(error.to_string().len() < LONGEST_MESSAGE);
    }
}
