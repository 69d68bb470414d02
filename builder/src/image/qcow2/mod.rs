//! Reading qcow2 images, with their backing chain, and the file system in them; writing one.

mod extended;
mod file_io;
mod header;
mod known;
mod layer;
#[cfg(test)]
mod tests;
mod unpack;
mod writer;

pub(crate) use writer::write;

use super::superblock;
use anyhow::{Context, Result, bail};
use ext4_view::{Ext4, Ext4Read};
use layer::{Layer, Read};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Bytes that are read and kept at once.
const BLOCK: u64 = 64 * 1024;
/// How many blocks are kept.
const KEPT: usize = 512;
/// A chain of overlays longer than this is a loop.
const CHAIN: usize = 16;
/// Bytes per sector.
const SECTOR: u64 = 512;

/// A qcow2 image, opened read-only.
pub struct Image {
    path: PathBuf,
    /// The image, and what it is backed by.
    chain: Vec<Layer>,
    size: u64,
    blocks: HashMap<u64, Vec<u8>>,
}

impl Image {
    /// Opens an image and what it is backed by. A backing file's relative name is relative
    /// to the image, as QEMU has it. Fails on a file that is no qcow2 image, and on one
    /// whose tables point outside of it.
    pub fn open(path: &Path) -> Result<Self> {
        let chain = chain(path, Layer::open, |layer| layer.header().backing.as_deref())?;
        Ok(Image {
            path: path.to_owned(),
            size: chain.first().map_or(0, |layer| layer.header().size),
            chain,
            blocks: HashMap::new(),
        })
    }

    /// Virtual size in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Fills `target` from virtual offset `start`.
    pub fn read(&mut self, start: u64, target: &mut [u8]) -> Result<()> {
        let mut done = 0;
        while done < target.len() {
            let at = start + done as u64;
            let within = (at % BLOCK) as usize;
            let block = self.block(at - at % BLOCK)?;
            let Some(rest) = block.get(within..).filter(|rest| !rest.is_empty()) else {
                bail!("{}: a read beyond the end of the disk", self.path.display());
            };
            let take = rest.len().min(target.len() - done);
            target[done..done + take].copy_from_slice(&rest[..take]);
            done += take;
        }
        Ok(())
    }

    fn block(&mut self, offset: u64) -> Result<&[u8]> {
        if offset >= self.size {
            return Ok(&[]);
        }
        if !self.blocks.contains_key(&offset) {
            if self.blocks.len() >= KEPT {
                self.blocks.clear();
            }
            let mut block = vec![0; BLOCK.min(self.size - offset) as usize];
            fill(&mut self.chain, offset, &mut block)?;
            self.blocks.insert(offset, block);
        }
        Ok(self.blocks.get(&offset).map_or(&[], Vec::as_slice))
    }

    /// The ext4 file system of the first partition.
    pub fn into_root(mut self) -> Result<Ext4> {
        let path = self.path.clone();
        let mut table = [0; SECTOR as usize];
        self.read(0, &mut table)?;
        if table[510..512] != [0x55, 0xaa] {
            bail!("{} has no partition table", path.display());
        }
        let start = u32::from_le_bytes([table[454], table[455], table[456], table[457]]);
        let start = u64::from(start) * SECTOR;
        let mut block = [0; superblock::LENGTH];
        let available = self.size.saturating_sub(start);
        if available < superblock::OFFSET + superblock::LENGTH as u64 {
            bail!(
                "{}: its first partition is no part of the disk",
                path.display()
            );
        }
        self.read(start + superblock::OFFSET, &mut block)?;
        if let Err(why) = superblock::check(&block, available) {
            bail!(
                "the first partition of {} cannot be read: {why}",
                path.display()
            );
        }
        let partition = Partition { image: self, start };
        Ext4::load(Box::new(partition))
            .with_context(|| format!("cannot read the root file system of {}", path.display()))
    }
}

/// The image from a partition's first byte on, for the file system's reader.
struct Partition {
    image: Image,
    start: u64,
}

impl Ext4Read for Partition {
    fn read(
        &mut self,
        start_byte: u64,
        target: &mut [u8],
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync + 'static>> {
        self.image
            .read(self.start + start_byte, target)
            .map_err(Into::into)
    }
}

/// Fails where the header of an image, or of one that it is backed by, cannot be; reads nothing else.
pub(crate) fn check_headers(path: &Path) -> Result<()> {
    let header = |path: &Path| layer::open(path).map(|(_, header)| header);
    chain(path, header, |header| header.backing.as_deref()).map(|_| ())
}

/// An image, and what it is backed by, each opened in this way.
fn chain<T>(
    path: &Path,
    open: impl Fn(&Path) -> Result<T>,
    backing: impl Fn(&T) -> Option<&str>,
) -> Result<Vec<T>> {
    let mut path = path.to_owned();
    let mut all = Vec::new();
    loop {
        let one = open(&path)?;
        let next = backing(&one).map(|name| path.parent().unwrap_or(Path::new(".")).join(name));
        all.push(one);
        match next {
            None => return Ok(all),
            Some(_) if all.len() == CHAIN => {
                bail!("{} has too long a chain of backing files", path.display())
            }
            Some(next) => path = next,
        }
    }
}

/// Fills `target` with what the first of these images has at this byte of the disk, or what it is
/// backed by has. Beyond the end of each are zeros.
fn fill(chain: &mut [Layer], offset: u64, target: &mut [u8]) -> Result<()> {
    let Some((top, below)) = chain.split_first_mut() else {
        target.fill(0);
        return Ok(());
    };
    let has = top.header().size.saturating_sub(offset);
    let (mut target, beyond) = target.split_at_mut(has.min(target.len() as u64) as usize);
    beyond.fill(0);
    let mut at = offset;
    while !target.is_empty() {
        let length = match top.read(at, target)? {
            Read::Filled(length) => length,
            Read::Below(length) => {
                fill(below, at, &mut target[..length])?;
                length
            }
        };
        at += length as u64;
        target = &mut target[length..];
    }
    Ok(())
}
