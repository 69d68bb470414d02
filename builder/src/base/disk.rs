//! The disk of the mirror source: a partition table, grub, and an ext4 root.
//!
//! An msdos table with one partition at sector 2048; the first 440 bytes of grub's
//! `boot.img` in sector 0; from sector 1 the `core.img` that `grub-mkimage` made with the
//! prefix `(hd0,msdos1)/boot/grub`. Seen to boot under q35 and SeaBIOS without patching
//! and without a loop device.

use super::inputs::Inputs;
use super::mke2fs;
use super::requirements::is_root;
use crate::system::program;
use crate::system::ui::Ui;
use anyhow::{Context, Result, bail};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

const SECTOR: u64 = 512;
/// First sector of the root partition, as every partitioning tool of today chooses it.
pub(super) const PARTITION_START: u64 = 2048;
/// Bytes of grub's `boot.img` that are code; the partition table lies behind them.
const BOOT_CODE: usize = 440;
/// Partition type "Linux".
const TYPE_LINUX: u8 = 0x83;

/// Where grub's two images lie in the new root.
#[derive(Debug)]
pub(super) struct BootImages {
    raw: PathBuf,
    boot: Vec<u8>,
    core: Vec<u8>,
}

/// Unpacks the archive, and makes the ext4 root out of it inside the raw disk.
///
/// Without root, both run under fakeroot, which remembers owners and devices.
pub(super) fn unpack_and_format(
    inputs: &Inputs,
    root_tar: &Path,
    work: &Path,
    ui: &Ui,
) -> Result<BootImages> {
    let stage = ui.stage("file system");
    let tree = work.join("root");
    fs::create_dir(&tree).with_context(|| format!("cannot make {}", tree.display()))?;
    let raw = work.join("base.raw");
    File::create_new(&raw)
        .and_then(|file| file.set_len(inputs.definition.disk))
        .with_context(|| format!("cannot make {}", raw.display()))?;
    let conf = work.join("mke2fs.conf");
    fs::write(&conf, mke2fs::CONF).with_context(|| format!("cannot write {}", conf.display()))?;
    let start = PARTITION_START * SECTOR;
    let kib = (inputs.definition.disk - start) / 1024;

    let mut both = program::command(if is_root() { "sh" } else { "fakeroot" })?;
    if !is_root() {
        both.args(["--", "sh"]);
    }
    both.arg("-ec")
        .arg(
            "tar --extract --numeric-owner --preserve-permissions --xattrs '--xattrs-include=*' \
             --file \"$2\" --directory \"$3\"; \
             mkdir -p \"$3/dev\" \"$3/proc\" \"$3/sys\" \"$3/run\"; \
             program=$1 root=$3 raw=$4 size=$5; shift 5; \
             \"$program\" -F -q -t ext4 \"$@\" -d \"$root\" \"$raw\" \"$size\"",
        )
        .arg("sh")
        .arg(program::find("mke2fs")?)
        .args([root_tar, &tree])
        .arg(&raw)
        .arg(format!("{kib}k"))
        .args(mke2fs::options(
            &inputs.definition,
            &inputs.root_uuid,
            Some(start),
        ))
        .env("MKE2FS_CONFIG", &conf);
    program::stream(&mut both, |line| stage.note(line))
        .context("cannot make the root file system")?;

    let grub = tree.join("boot/grub/i386-pc");
    let read = |name: &str| {
        let file = grub.join(name);
        fs::read(&file).with_context(|| format!("cannot read grub's {}", file.display()))
    };
    let images = BootImages {
        boot: read("boot.img")?,
        core: read("core.img")?,
        raw,
    };
    // Neither is needed any more, and the disk may be small.
    fs::remove_file(root_tar).with_context(|| format!("cannot remove {}", root_tar.display()))?;
    fs::remove_dir_all(&tree).with_context(|| format!("cannot remove {}", tree.display()))?;
    stage.done("");
    Ok(images)
}

/// Puts partition table and boot loader in front of the file system.
pub(super) fn assemble(inputs: &Inputs, images: &BootImages, ui: &Ui) -> Result<PathBuf> {
    let stage = ui.stage("partition table and grub");
    let sectors = inputs.definition.disk / SECTOR - PARTITION_START;
    let head = boot_sectors(&images.boot, &images.core, sectors, &inputs.root_uuid)?;
    let disk = File::options()
        .write(true)
        .open(&images.raw)
        .with_context(|| format!("cannot open {}", images.raw.display()))?;
    disk.write_all_at(&head, 0)
        .with_context(|| format!("cannot write {}", images.raw.display()))?;
    stage.done("");
    Ok(images.raw.clone())
}

/// The sectors before the partition.
fn boot_sectors(boot: &[u8], core: &[u8], sectors: u64, uuid: &str) -> Result<Vec<u8>> {
    let room = ((PARTITION_START - 1) * SECTOR) as usize;
    if boot.len() != SECTOR as usize || core.len() > room {
        bail!(
            "grub's boot.img has {} bytes and its core.img {}; expected 512, and at most {room}",
            boot.len(),
            core.len()
        );
    }
    let Ok(sectors) = u32::try_from(sectors) else {
        bail!("a msdos partition table holds no disk of more than 2 TiB");
    };
    let mut head = vec![0; SECTOR as usize];
    head[..BOOT_CODE].copy_from_slice(&boot[..BOOT_CODE]);
    // Disk signature: eight hex digits of the UUID.
    let signature = u32::from_str_radix(uuid.get(..8).unwrap_or_default(), 16).unwrap_or(1);
    head[440..444].copy_from_slice(&signature.to_le_bytes());
    let entry = &mut head[446..462];
    entry[0] = 0x80; // active
    entry[1..4].copy_from_slice(&[0xfe, 0xff, 0xff]); // beyond cylinders: use the sector numbers
    entry[4] = TYPE_LINUX;
    entry[5..8].copy_from_slice(&[0xfe, 0xff, 0xff]);
    entry[8..12].copy_from_slice(&(PARTITION_START as u32).to_le_bytes());
    entry[12..16].copy_from_slice(&sectors.to_le_bytes());
    head[510..512].copy_from_slice(&[0x55, 0xaa]);
    head.extend_from_slice(core);
    Ok(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_has_table_and_core() {
        let boot = [0x90u8; 512];
        let head = boot_sectors(&boot, &[7; 1000], 4096, "0000002a-x").unwrap();
        assert_eq!(head[439], 0x90);
        assert_eq!(head[440..444], [0x2a, 0, 0, 0]);
        assert_eq!(head[446], 0x80);
        assert_eq!(head[454..458], 2048u32.to_le_bytes());
        assert_eq!(head[458..462], 4096u32.to_le_bytes());
        assert_eq!(head[510..512], [0x55, 0xaa]);
        assert_eq!(head[512..], [7; 1000]);
    }

    #[test]
    fn a_core_that_would_reach_into_the_partition_is_refused() {
        let error = boot_sectors(&[0; 512], &vec![0; 2047 * 512 + 1], 4096, "").unwrap_err();
        assert_eq!(
            error.to_string(),
            "grub's boot.img has 512 bytes and its core.img 1048065; expected 512, and at most 1048064"
        );
    }
}
