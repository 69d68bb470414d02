//! The tables that qcow2-rs knows, and the clusters that it can read: plain ones, and those of deflate.

use super::file_io::ReadOnlyFile;
use super::layer::Piece;
use anyhow::{Context, Result, bail};
use qcow2_rs::dev::{Qcow2Dev, Qcow2DevParams};
use qcow2_rs::error::Qcow2Error;
use qcow2_rs::helpers::Qcow2IoBuf;
use qcow2_rs::meta::MappingSource;
use qcow2_rs::utils::qcow2_alloc_dev;
use std::path::Path;

/// One image, without what it is backed by.
pub(super) struct Known {
    device: Qcow2Dev<ReadOnlyFile>,
    runtime: tokio::runtime::Runtime,
}

impl Known {
    pub(super) fn open(path: &Path, file: ReadOnlyFile, cluster_bits: u32) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .context("cannot start the reader of qcow2 images")?;
        // What is kept of tables, in parts that a cluster can hold.
        let part = cluster_bits.min(12) as u8;
        let (few, many) = (Some((part, 64 << 10)), Some((part, 4 << 20)));
        let params = Qcow2DevParams::new(9, few, many, true, false);
        let device = guarded(|| {
            runtime.block_on(async {
                let (device, _) = qcow2_alloc_dev(path, file, &params).await?;
                device.qcow2_prep_io().await?;
                Ok(device)
            })
        })?;
        Ok(Known { device, runtime })
    }

    /// Where the cluster at this byte of the disk is.
    pub(super) fn piece(&self, offset: u64) -> Result<Piece> {
        let mapping = guarded(|| self.runtime.block_on(self.device.get_mapping(offset)))?;
        Ok(match (mapping.source, mapping.cluster_offset) {
            (MappingSource::DataFile, Some(place)) => Piece::Plain(place),
            (MappingSource::Compressed, Some(place)) => {
                Piece::Packed(place, mapping.compressed_length.unwrap_or(0))
            }
            (MappingSource::Zero, _) => Piece::Zero,
            _ => Piece::Below,
        })
    }

    /// Fills `target` from one cluster of this image.
    pub(super) fn read(&self, offset: u64, target: &mut [u8]) -> Result<()> {
        let mut buffer = Qcow2IoBuf::<u8>::new(target.len());
        // Its memory is as it was found.
        buffer.zero_buf();
        let read = guarded(|| {
            self.runtime
                .block_on(self.device.read_at(&mut buffer, offset))
        })?;
        if read != target.len() {
            bail!("it ends after {read} bytes");
        }
        target.copy_from_slice(&buffer);
        Ok(())
    }
}

/// qcow2-rs 0.1.6 panics on some damaged images; here that is an error like any other.
fn guarded<T>(work: impl FnOnce() -> Result<T, Qcow2Error>) -> Result<T> {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
    std::panic::set_hook(hook);
    match result {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => bail!("{error}"),
        Err(_) => bail!("its tables cannot be read"),
    }
}
