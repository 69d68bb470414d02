//! Writing a qcow2 image whose clusters are packed with zstd (qcow2 specification, "Compressed Clusters
//! Descriptor" and the incompatible feature "compression type"; QEMU reads it since 5.1).
//!
//! The file is header, clusters in the disk's order, tables. Every cluster is packed on its own, so any
//! number of threads make the same bytes.

use super::file_io::read_full;
use super::header::COMPRESSED;
use crate::system::given;
use crate::system::interrupt;
use anyhow::{Context, Result, anyhow, bail};
use rustix::fs::SeekFrom;
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use zstd::bulk::Compressor;

/// Clusters of 128 KiB. QEMU unpacks a whole one for each read and keeps nothing of it, so a guest pays
/// for large ones at every boot, and for small ones whoever downloads. Of a Debian base (a 32 GiB disk
/// with 570 MB in it), beside what `qemu-img convert -c` writes (CPU seconds; the reads by qemu-io):
///
/// | clusters      | level | MB    | writing | 2000 times 4 KiB at random | all by 128 KiB |
/// | ------------- | ----- | ----- | ------- | -------------------------- | -------------- |
/// | 64 KiB, zlib  |       | 241.0 | 17.9    | 0.57                       | 4.0            |
/// | 64 KiB        | 6     | 225.6 | 7.7     | 0.18                       | 1.4            |
/// | 128 KiB       | 3     | 231.9 | 2.4     | 0.38                       | 2.1            |
/// | **128 KiB**   | **6** | 222.3 | 5.9     | 0.40                       | 2.3            |
/// | 128 KiB       | 9     | 220.6 | 10.1    |                            |                |
/// | 256 KiB       | 3     | 224.1 | 2.6     | 0.69                       | 2.2            |
/// | 256 KiB       | 6     | 218.6 | 6.4     | 0.66                       | 2.2            |
/// | 512 KiB       | 3     | 220.7 | 2.2     | 1.32                       | 3.6            |
const CLUSTER_BITS: u32 = 17;
/// Of zstd: from 6 on each step costs more than it saves, see above.
const LEVEL: i32 = 6;
/// Each takes about 2 MB: zstd's tables, a cluster and what it becomes, and those that it is ahead.
const MOST_THREADS: usize = 16;
/// Clusters that a thread may have packed before the file takes them.
const AHEAD: usize = 4;
/// Clusters that do not become smaller are written together: each run of them begins at a cluster of the
/// file, and leaves half of one free before it on average.
const PLAIN_AT_ONCE: usize = 32;

/// Of an L1 entry and of a cluster that is not packed: it has one reference. Set in all of them.
const COPIED: u64 = 1 << 63;
/// Compressed clusters are counted in these.
const SECTOR: u64 = 512;

/// How an image is written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Settings {
    pub(super) cluster_bits: u32,
    pub(super) threads: usize,
}

impl Default for Settings {
    fn default() -> Self {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        Settings {
            cluster_bits: CLUSTER_BITS,
            threads: cores.min(MOST_THREADS),
        }
    }
}

/// What becomes of a cluster of the disk.
enum Packed {
    Zero,
    Zstd(Vec<u8>),
    /// It does not become smaller.
    Plain(Vec<u8>),
}

/// Writes the disk in the file `raw` as a new image; `progress` hears how much of it is done, from 0 to 1.
/// The image is brought to disk by whoever moves it into place ([`move_into_place`]); where this fails, also
/// by Ctrl-C, there is none.
///
/// [`move_into_place`]: crate::system::files::move_into_place
pub(crate) fn write(raw: &Path, image: &Path, progress: impl FnMut(f64)) -> Result<()> {
    write_as(Settings::default(), raw, image, progress)
}

pub(super) fn write_as(
    settings: Settings,
    raw: &Path,
    image: &Path,
    progress: impl FnMut(f64),
) -> Result<()> {
    let file =
        File::create_new(image).with_context(|| format!("cannot make {}", image.display()))?;
    pack_all(settings, raw, image, file, progress).inspect_err(|_| {
        let _ = fs::remove_file(image);
    })
}

/// Fills the new file `image`, which is open.
pub(super) fn pack_all(
    settings: Settings,
    raw: &Path,
    image: &Path,
    file: File,
    mut progress: impl FnMut(f64),
) -> Result<()> {
    let cannot_read = || format!("cannot read {}", raw.display());
    let source = given::open(raw).with_context(cannot_read)?;
    let size = source.metadata().with_context(cannot_read)?.len();
    if size == 0 {
        bail!("{} is empty, and no disk", raw.display());
    }
    let cluster = 1 << settings.cluster_bits;
    let extents = extents(&source, size, cluster).with_context(cannot_read)?;
    let count: u64 = extents.iter().map(|extent| extent.end - extent.start).sum();
    let mut out = Out::new(file, settings.cluster_bits);
    thread::scope(|scope| {
        // Thread N packs every Nth cluster; asked in turn, they give the disk's order.
        let mut threads: Vec<Receiver<Result<Packed>>> = Vec::new();
        for first in 0..settings.threads {
            let (sender, receiver) = sync_channel(AHEAD);
            let mine = clusters(&extents).skip(first).step_by(settings.threads);
            let source = &source;
            thread::Builder::new()
                .spawn_scoped(scope, move || pack(source, mine, settings, &sender))
                .context("cannot start a thread")?;
            threads.push(receiver);
        }
        for (done, (number, thread)) in clusters(&extents).zip(threads.iter().cycle()).enumerate() {
            interrupt::check()?;
            let packed = thread.recv().map_err(|_| anyhow!("a thread ended early"))?;
            out.add(number, packed.with_context(cannot_read)?)
                .with_context(|| format!("cannot write {}", image.display()))?;
            progress(done as f64 / count as f64);
        }
        out.finish(size.next_multiple_of(SECTOR))
            .with_context(|| format!("cannot write {}", image.display()))
    })
}

/// The parts of a file that are not holes, as ranges of clusters that do not overlap.
fn extents(file: &File, size: u64, cluster: u64) -> std::io::Result<Vec<Range<u64>>> {
    let mut all: Vec<Range<u64>> = Vec::new();
    let mut at = 0;
    while at < size {
        let start = match rustix::fs::seek(file, SeekFrom::Data(at)) {
            Ok(start) => start,
            // Nothing but a hole.
            Err(Errno::NXIO) => break,
            Err(error) => return Err(error.into()),
        };
        at = rustix::fs::seek(file, SeekFrom::Hole(start))?;
        let (first, end) = (start / cluster, at.div_ceil(cluster));
        match all.last_mut() {
            Some(last) if last.end >= first => last.end = end,
            _ => all.push(first..end),
        }
    }
    Ok(all)
}

fn clusters(extents: &[Range<u64>]) -> impl Iterator<Item = u64> {
    extents.iter().cloned().flatten()
}

/// Packs clusters until all are packed, or nobody asks for them.
fn pack(
    source: &File,
    clusters: impl Iterator<Item = u64>,
    settings: Settings,
    to: &SyncSender<Result<Packed>>,
) {
    let length = 1 << settings.cluster_bits;
    let mut plain = vec![0; length];
    let mut packed = vec![0; length];
    let mut one = |compressor: &mut Compressor, number: u64| -> Result<Packed> {
        let read = read_full(source, &mut plain, number << settings.cluster_bits)?;
        plain[read..].fill(0);
        // Each byte is as the one before it, and the first is zero.
        if plain[0] == 0 && plain[1..] == plain[..length - 1] {
            return Ok(Packed::Zero);
        }
        // It fails where the room does not suffice. Whatever else fails, the cluster as it is is right.
        Ok(
            match compressor.compress_to_buffer(&plain, &mut packed[..length - 1]) {
                Ok(length) => Packed::Zstd(packed[..length].to_owned()),
                Err(_) => Packed::Plain(plain.clone()),
            },
        )
    };
    let mut compressor = match Compressor::new(LEVEL) {
        Ok(compressor) => compressor,
        Err(error) => return to.send(Err(error.into())).unwrap_or(()),
    };
    for number in clusters {
        if to.send(one(&mut compressor, number)).is_err() {
            return;
        }
    }
}

/// The image's file as it grows.
struct Out {
    file: File,
    cluster_bits: u32,
    /// Where the next packed cluster begins.
    at: u64,
    /// Of each cluster of the file.
    refcounts: Vec<u16>,
    /// The L2 tables that are not empty, by their places in the L1 table.
    l2: BTreeMap<u64, Vec<u64>>,
    /// Clusters that are not packed, and wait for a place, with their numbers on the disk.
    plain: Vec<(u64, Vec<u8>)>,
}

impl Out {
    fn new(file: File, cluster_bits: u32) -> Self {
        Out {
            file,
            cluster_bits,
            at: 1 << cluster_bits,
            refcounts: vec![1],
            l2: BTreeMap::new(),
            plain: Vec::new(),
        }
    }

    /// Takes the next cluster of the disk.
    fn add(&mut self, number: u64, packed: Packed) -> std::io::Result<()> {
        match packed {
            Packed::Zero => {}
            Packed::Zstd(bytes) => {
                let start = self.append(&bytes)?;
                let sectors = (start % SECTOR + bytes.len() as u64 - 1) / SECTOR;
                // Bits of the place in the file; behind it, the sectors beyond the first.
                let bits = 62 - (self.cluster_bits - 8);
                self.enter(number, COMPRESSED | sectors << bits | start);
            }
            Packed::Plain(bytes) => {
                self.plain.push((number, bytes));
                if self.plain.len() == PLAIN_AT_ONCE {
                    self.flush_plain()?;
                }
            }
        }
        Ok(())
    }

    /// Writes the clusters that wait, and what was left free of the cluster before them stays so.
    fn flush_plain(&mut self) -> std::io::Result<()> {
        for (number, bytes) in std::mem::take(&mut self.plain) {
            let start = self.append_whole(&bytes)?;
            self.enter(number, COPIED | start);
        }
        Ok(())
    }

    /// Sets a cluster's entry in its L2 table.
    fn enter(&mut self, number: u64, entry: u64) {
        let entries = 1 << (self.cluster_bits - 3);
        let table = self.l2.entry(number / entries);
        let table = table.or_insert_with(|| vec![0; entries as usize]);
        table[(number % entries) as usize] = entry;
    }

    /// Writes behind what is there, and counts one reference to each cluster of the file that it touches.
    /// None gets too many: no frame has less than 8 bytes, so 2^14 begin in a cluster at most.
    fn append(&mut self, bytes: &[u8]) -> std::io::Result<u64> {
        let start = self.at;
        self.file.write_all_at(bytes, start)?;
        self.at += bytes.len() as u64;
        let first = (start >> self.cluster_bits) as usize;
        let end = self.at.div_ceil(1 << self.cluster_bits) as usize;
        self.refcounts.resize(end.max(self.refcounts.len()), 0);
        for count in &mut self.refcounts[first..end] {
            *count += 1;
        }
        Ok(start)
    }

    /// Writes at the next cluster's beginning.
    fn append_whole(&mut self, bytes: &[u8]) -> std::io::Result<u64> {
        self.at = self.at.next_multiple_of(1 << self.cluster_bits);
        self.append(bytes)
    }

    fn append_table(&mut self, entries: &[u64]) -> std::io::Result<u64> {
        let bytes: Vec<u8> = entries
            .iter()
            .flat_map(|entry| entry.to_be_bytes())
            .collect();
        self.append_whole(&bytes)
    }

    /// Writes the tables, and the header last: a file without one is no image.
    fn finish(mut self, size: u64) -> std::io::Result<()> {
        self.flush_plain()?;
        let cluster = 1u64 << self.cluster_bits;
        let l1_entries = size.div_ceil(cluster * (cluster / 8));
        let mut l1 = vec![0; l1_entries as usize];
        for (index, table) in std::mem::take(&mut self.l2) {
            l1[index as usize] = COPIED | self.append_table(&table)?;
        }
        let l1_at = self.append_table(&l1)?;
        // What counts references is counted too: a block holds those of cluster / 2 clusters.
        let before = self.refcounts.len() as u64;
        let (mut blocks, mut table) = (0, 0);
        while blocks * (cluster / 2) < before + blocks + table {
            blocks += 1;
            table = (blocks * 8).div_ceil(cluster);
        }
        let table_at = before * cluster;
        self.refcounts.resize((before + blocks + table) as usize, 1);
        let places: Vec<u64> = (before + table..before + table + blocks)
            .map(|number| number * cluster)
            .collect();
        let table_bytes: Vec<u8> = places.iter().flat_map(|at| at.to_be_bytes()).collect();
        self.file.write_all_at(&table_bytes, table_at)?;
        let counts: Vec<u8> = self
            .refcounts
            .iter()
            .flat_map(|count| count.to_be_bytes())
            .collect();
        if let Some(first) = places.first() {
            self.file.write_all_at(&counts, *first)?;
        }
        self.file.set_len(self.refcounts.len() as u64 * cluster)?;

        let header = header(
            self.cluster_bits,
            size,
            (l1_at, l1_entries),
            (table_at, table),
        );
        self.file.write_all_at(&header, 0)
    }
}

/// The header: of both tables the place in the file, and the length in entries and in clusters.
fn header(cluster_bits: u32, size: u64, l1: (u64, u64), refcounts: (u64, u64)) -> Vec<u8> {
    /// Its length, of version 3 and with the compression type.
    const LENGTH: u32 = 112;
    let mut out = Vec::new();
    out.extend_from_slice(b"QFI\xfb\0\0\0\x03");
    // No backing file.
    out.extend_from_slice(&[0; 12]);
    out.extend_from_slice(&cluster_bits.to_be_bytes());
    out.extend_from_slice(&size.to_be_bytes());
    // Not encrypted.
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&(l1.1 as u32).to_be_bytes());
    out.extend_from_slice(&l1.0.to_be_bytes());
    out.extend_from_slice(&refcounts.0.to_be_bytes());
    out.extend_from_slice(&(refcounts.1 as u32).to_be_bytes());
    // No snapshots.
    out.extend_from_slice(&[0; 12]);
    // Incompatible features: that the compression type is told.
    out.extend_from_slice(&(1u64 << 3).to_be_bytes());
    out.extend_from_slice(&[0; 16]);
    // 2^4 bits per reference count.
    out.extend_from_slice(&4u32.to_be_bytes());
    out.extend_from_slice(&LENGTH.to_be_bytes());
    // zstd.
    out.extend_from_slice(&[1, 0, 0, 0, 0, 0, 0, 0]);
    // What a QEMU that does not know that feature calls it: the extension "feature name table".
    out.extend_from_slice(&0x6803_f857_u32.to_be_bytes());
    out.extend_from_slice(&48u32.to_be_bytes());
    out.extend_from_slice(b"\0\x03compression type");
    // To the end of that name, and the end of the extensions.
    out.resize(LENGTH as usize + 8 + 48 + 8, 0);
    out
}
