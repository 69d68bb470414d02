//! Tables with extended L2 entries (qcow2 specification, "Extended L2 Entries"): each cluster has 32
//! subclusters, of which each is there, is zeros, or is what the image is backed by.

use super::file_io::read_full;
use super::header::{COMPRESSED, Header};
use super::layer::Piece;
use anyhow::{Result, bail};
use std::fs::File;

/// Of one cluster.
pub(super) const SUBCLUSTERS: u64 = 32;
/// Bytes of an L2 entry: the descriptor that every image has, and a bitmap.
const ENTRY: u64 = 16;
/// Of an L1 entry, and of the descriptor of a cluster that is not compressed.
const OFFSET: u64 = 0x00ff_ffff_ffff_fe00;

pub(super) struct Extended {
    cluster_bits: u32,
    l1: Vec<u64>,
}

impl Extended {
    /// Reads the L1 table, which the header has found inside of the file.
    pub(super) fn open(file: &File, header: &Header) -> std::io::Result<Self> {
        let mut bytes = vec![0; header.l1_needed() as usize * 8];
        read_full(file, &mut bytes, header.l1_offset)?;
        Ok(Extended {
            cluster_bits: header.cluster_bits,
            l1: bytes.chunks_exact(8).map(number).collect(),
        })
    }

    /// Where the subcluster at this byte of the disk is, or the compressed cluster that it is in.
    pub(super) fn piece(&self, file: &File, offset: u64) -> Result<Piece> {
        let cluster = 1u64 << self.cluster_bits;
        let (number_of, within) = (offset / cluster, offset % cluster);
        let entries = cluster / ENTRY;
        let l1 = self.l1.get((number_of / entries) as usize);
        let table = l1.map_or(0, |entry| entry & OFFSET);
        if table == 0 {
            return Ok(Piece::Below);
        }
        if table % cluster != 0 {
            bail!("an L2 table is at byte {table} of the file, which is inside of a cluster");
        }
        let mut entry = [0; ENTRY as usize];
        if read_full(file, &mut entry, table + number_of % entries * ENTRY)? < entry.len() {
            bail!("an L2 table is at byte {table}, beyond the end of the file");
        }
        let (descriptor, bitmap) = (number(&entry[..8]), number(&entry[8..]));
        if descriptor & COMPRESSED != 0 {
            return Ok(Piece::compressed(descriptor, self.cluster_bits));
        }
        let place = descriptor & OFFSET;
        let subcluster = within / (cluster / SUBCLUSTERS);
        let (there, zeros) = (
            bitmap >> subcluster & 1 == 1,
            bitmap >> (subcluster + SUBCLUSTERS) & 1 == 1,
        );
        match (there, zeros) {
            (true, true) => bail!("a subcluster is there and is zeros"),
            (true, false) if place == 0 || place % cluster != 0 => {
                bail!("a cluster is at byte {place} of the file, where none can be")
            }
            (true, false) => Ok(Piece::Plain(place)),
            (false, true) => Ok(Piece::Zero),
            (false, false) => Ok(Piece::Below),
        }
    }
}

fn number(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}
