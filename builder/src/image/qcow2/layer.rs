//! One image of a chain: what it has itself for a part of the disk.

use super::extended::{Extended, SUBCLUSTERS};
use super::file_io::{ReadOnlyFile, read_full};
use super::header::{Compression, Header};
use super::known::Known;
use super::unpack::unpack;
use crate::system::given;
use anyhow::{Context, Result, anyhow, bail};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// More than any header and what stands behind it in its cluster.
const FIRST: usize = 64 << 10;

/// Where a cluster or subcluster of the disk is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// In the file, in the cluster that begins at this byte.
    Plain(u64),
    /// In the file, compressed: first byte, and at most how many.
    Packed(u64, usize),
    Zero,
    /// Whatever this image is backed by has it.
    Below,
}

impl Piece {
    /// Of the descriptor of a compressed cluster (qcow2 specification, "Compressed Clusters Descriptor").
    pub(super) fn compressed(descriptor: u64, cluster_bits: u32) -> Self {
        const SECTOR: u64 = 512;
        let bits = 62 - (cluster_bits - 8);
        let place = descriptor & ((1 << bits) - 1);
        let more = (descriptor & !(3 << 62)) >> bits;
        let length = (more + 1) * SECTOR - place % SECTOR;
        Piece::Packed(place, length as usize)
    }
}

/// How much of what is asked for an image has answered.
pub(super) enum Read {
    Filled(usize),
    Below(usize),
}

/// The file and the judged header of an image.
pub(super) fn open(path: &Path) -> Result<(File, Header)> {
    let file = given::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let read = || -> std::io::Result<(Vec<u8>, u64)> {
        let mut first = vec![0; FIRST];
        let length = read_full(&file, &mut first, 0)?;
        first.truncate(length);
        Ok((first, file.metadata()?.len()))
    };
    let (first, size) = read().with_context(|| format!("cannot read {}", path.display()))?;
    let header = Header::read(path, &first, size)?;
    Ok((file, header))
}

enum Tables {
    Known(Box<Known>),
    Extended(Extended),
}

pub(super) struct Layer {
    path: PathBuf,
    file: Arc<File>,
    header: Header,
    tables: Tables,
    /// The compressed cluster that was unpacked last, by its number: whoever reads on wants the rest.
    unpacked: Option<(u64, Vec<u8>)>,
}

impl Layer {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let (file, header) = open(path)?;
        let file = Arc::new(file);
        let tables = match header.extended {
            true => Extended::open(&file, &header)
                .map(Tables::Extended)
                .with_context(|| format!("cannot read {}", path.display()))?,
            false => {
                let io = ReadOnlyFile {
                    file: Arc::clone(&file),
                    header: header.for_the_reader(),
                };
                let known = Known::open(path, io, header.cluster_bits);
                let known = known.map_err(|why| damaged(path, &why))?;
                Tables::Known(Box::new(known))
            }
        };
        Ok(Layer {
            path: path.to_owned(),
            file,
            header,
            tables,
            unpacked: None,
        })
    }

    pub(super) fn header(&self) -> &Header {
        &self.header
    }

    /// Fills the beginning of `target` with what the disk has at this byte, as far as one piece reaches,
    /// or says how far whatever this image is backed by has it. Both are multiples of 512.
    pub(super) fn read(&mut self, offset: u64, target: &mut [u8]) -> Result<Read> {
        self.try_read(offset, target).map_err(|why| {
            anyhow!(
                "{} is a damaged qcow2 image: what it has for byte {offset} of the disk cannot be read: \
                 {why:#}",
                self.path.display()
            )
        })
    }

    fn try_read(&mut self, offset: u64, target: &mut [u8]) -> Result<Read> {
        let cluster = 1u64 << self.header.cluster_bits;
        let piece = match &self.tables {
            Tables::Known(known) => known.piece(offset)?,
            Tables::Extended(extended) => extended.piece(&self.file, offset)?,
        };
        let whole = match (&self.tables, &piece) {
            (Tables::Extended(_), piece) if !matches!(piece, Piece::Packed(..)) => {
                cluster / SUBCLUSTERS
            }
            _ => cluster,
        };
        let length = target.len().min((whole - offset % whole) as usize);
        let target = &mut target[..length];
        if let Piece::Plain(place) | Piece::Packed(place, _) = piece {
            if place >= self.file.metadata()?.len() {
                bail!("it is at byte {place}, beyond the end of the file");
            }
        }
        match piece {
            Piece::Below => return Ok(Read::Below(length)),
            Piece::Zero => target.fill(0),
            Piece::Plain(place) => match &self.tables {
                Tables::Known(known) => known.read(offset, target)?,
                Tables::Extended(_) => {
                    let read = read_full(&self.file, target, place + offset % cluster)?;
                    target[read..].fill(0);
                }
            },
            Piece::Packed(place, most) => {
                let start = (offset % cluster) as usize;
                let plain = self.unpacked(offset / cluster, place, most)?;
                target.copy_from_slice(&plain[start..start + length]);
            }
        }
        Ok(Read::Filled(length))
    }

    fn unpacked(&mut self, number: u64, place: u64, most: usize) -> Result<&[u8]> {
        let kept = self.unpacked.take().filter(|(kept, _)| *kept == number);
        let plain = match (kept, &self.tables, self.header.compression) {
            (Some((_, plain)), _, _) => plain,
            (None, Tables::Known(known), Compression::Deflate) => {
                let mut plain = vec![0; 1 << self.header.cluster_bits];
                known.read(number << self.header.cluster_bits, &mut plain)?;
                plain
            }
            (None, _, compression) => {
                let mut packed = vec![0; most];
                let read = read_full(&self.file, &mut packed, place)?;
                unpack(compression, &packed[..read], 1 << self.header.cluster_bits)
                    .map_err(anyhow::Error::msg)?
            }
        };
        Ok(&self.unpacked.insert((number, plain)).1)
    }
}

fn damaged(path: &Path, why: &anyhow::Error) -> anyhow::Error {
    anyhow!("{} is a damaged qcow2 image: {why:#}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compressed_cluster_is_told_by_byte_and_sectors() {
        // Clusters of 64 KiB: 54 bits of the place, 8 of the sectors beyond the first.
        let descriptor = 1 << 62 | 3 << 54 | 0x1_2345;
        let length = 4 * 512 - 0x145;
        assert_eq!(
            Piece::compressed(descriptor, 16),
            Piece::Packed(0x1_2345, length)
        );
    }
}
