//! Reading qcow2 images, with their backing chain, and the file system in them.

mod file_io;
mod header;

use super::superblock;
use crate::system::program;
use anyhow::{Context, Result, anyhow, bail};
use ext4_view::{Ext4, Ext4Read};
use file_io::ReadOnlyFile;
use header::Header;
use qcow2_rs::dev::{Qcow2Dev, Qcow2DevParams};
use qcow2_rs::error::Qcow2Error;
use qcow2_rs::helpers::Qcow2IoBuf;
use qcow2_rs::utils::qcow2_alloc_dev;
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
    device: Qcow2Dev<ReadOnlyFile>,
    runtime: tokio::runtime::Runtime,
    size: u64,
    blocks: HashMap<u64, Vec<u8>>,
}

impl Image {
    /// Opens an image and what it is backed by. A backing file's relative name is relative
    /// to the image, as QEMU has it. Fails on a file that is no qcow2 image, and on one
    /// whose tables point outside of it.
    pub fn open(path: &Path) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .context("cannot start the reader of qcow2 images")?;
        let (device, header) = guarded(path, || runtime.block_on(open_chain(path, CHAIN)))??;
        let size = header.size;
        Ok(Image {
            path: path.to_owned(),
            device,
            runtime,
            size,
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
            let length = BLOCK.min(self.size - offset) as usize;
            let mut buffer = Qcow2IoBuf::<u8>::new(length);
            // Its memory is as it was found, and what lies beyond a backing file is not filled.
            buffer.zero_buf();
            let read = guarded(&self.path, || {
                self.runtime
                    .block_on(self.device.read_at(&mut buffer, offset))
            })?;
            // Several clusters end at the first that cannot be read, without an error.
            let whole = read.as_ref().is_ok_and(|read| *read == length);
            if !whole {
                let why = read.err().map(words).unwrap_or_default();
                bail!(
                    "{} is a damaged qcow2 image: what it has for byte {offset} of the disk cannot be \
                     read{why}",
                    self.path.display()
                );
            }
            self.blocks.insert(offset, buffer.to_vec());
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
    let mut path = path.to_owned();
    for _ in 0..CHAIN {
        let (_, header) = ReadOnlyFile::open(&path)?;
        match header.backing {
            None => return Ok(()),
            Some(name) => path = beside(&path, &name),
        }
    }
    bail!("{} has too long a chain of backing files", path.display())
}

/// The file that an image names.
fn beside(image: &Path, name: &str) -> PathBuf {
    image.parent().unwrap_or(Path::new(".")).join(name)
}

async fn open_chain(path: &Path, left: usize) -> Result<(Qcow2Dev<ReadOnlyFile>, Header)> {
    if left == 0 {
        bail!("{} has too long a chain of backing files", path.display());
    }
    let (io, header) = ReadOnlyFile::open(path)?;
    // What is kept of tables, in parts that a cluster can hold.
    let part = header.cluster_bits.min(12) as u8;
    let params = Qcow2DevParams::new(
        9,
        Some((part, 64 << 10)),
        Some((part, 4 << 20)),
        true,
        false,
    );
    if left < CHAIN {
        params.mark_backing_dev(Some(true));
    }
    let alloc = qcow2_alloc_dev(path, io, &params).await;
    let (mut device, _) = alloc.map_err(|e| damaged(path, e))?;
    if let Some(name) = &header.backing {
        let (below, its) = Box::pin(open_chain(&beside(path, name), left - 1)).await?;
        let ends = its.size.next_multiple_of(1 << its.cluster_bits);
        if ends < header.size && ends % (1 << header.cluster_bits) != 0 {
            bail!(
                "{} has larger clusters than what it is backed by, which ends inside of one, and is \
                 not read here; a copy can be read: qemu-img convert -O qcow2 {} NEW.qcow2",
                path.display(),
                program::quote(&path.to_string_lossy())
            );
        }
        device.set_backing_dev(Box::new(below));
    }
    device.qcow2_prep_io().await.map_err(|e| damaged(path, e))?;
    Ok((device, header))
}

fn damaged(path: &Path, error: Qcow2Error) -> anyhow::Error {
    let why = words(error);
    anyhow!("{} is a damaged qcow2 image{why}", path.display())
}

/// What qcow2-rs says of an error, behind a colon.
fn words(error: Qcow2Error) -> String {
    format!(": {error}")
}

/// qcow2-rs 0.1.6 panics on some damaged images; here that is an error like any other.
fn guarded<T>(path: &Path, work: impl FnOnce() -> T) -> Result<T> {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
    std::panic::set_hook(hook);
    result.map_err(|_| anyhow!("{} is a damaged qcow2 image", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_image_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x.qcow2");
        std::fs::write(&file, b"not an image").unwrap();
        let text = format!("{:#}", Image::open(&file).err().unwrap());
        assert_eq!(text, format!("{} is no qcow2 image", file.display()));
    }

    #[test]
    fn a_truncated_image_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x.qcow2");
        let mut header = vec![0u8; 512];
        header[..8].copy_from_slice(b"QFI\xfb\0\0\0\x03");
        std::fs::write(&file, &header).unwrap();
        let text = format!("{:#}", Image::open(&file).err().unwrap());
        assert!(text.contains("damaged qcow2 image"), "{text}");
    }
}
