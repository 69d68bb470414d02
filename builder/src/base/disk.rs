//! The disk of the mirror source: a partition table, grub, and an ext4 root.
//!
//! An msdos table with one partition at sector 2048; the first 440 bytes of grub's
//! `boot.img` in sector 0; from sector 1 the `core.img` that `grub-mkimage` made with the
//! prefix `(hd0,msdos1)/boot/grub`. Seen to boot under q35 and SeaBIOS without patching
//! and without a loop device.

use super::inputs::Inputs;
use super::mke2fs;
use anyhow::{Context, Result, bail};
use std::fs::{File, Permissions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use tera::Tera;

const SECTOR: u64 = 512;
/// First sector of the root partition, as every partitioning tool of today chooses it.
const PARTITION_START: u64 = 2048;
/// Partition type "Linux".
const TYPE_LINUX: u8 = 0x83;
/// What makes the file system and puts grub in front of it, from inside of mmdebstrap's namespace.
const HOOK: &str = include_str!("../../../templates/mirror/disk.sh");

/// The raw disk, open for this program and for those that it starts.
#[derive(Debug)]
pub(super) struct RawDisk {
    path: PathBuf,
    file: File,
}

impl RawDisk {
    /// Makes it in the work folder, all zeros and without space of its own, with its partition table.
    pub(super) fn make(inputs: &Inputs, work: &Path) -> Result<Self> {
        let path = work.join("base.raw");
        let table = partition_table(inputs.definition.disk, &inputs.root_uuid)?;
        let make = || -> std::io::Result<File> {
            let file = File::options()
                .read(true)
                .write(true)
                .create_new(true)
                .open(&path)?;
            file.set_len(inputs.definition.disk)?;
            file.write_all_at(&table, TABLE)?;
            // The users of the namespace are nobody to this folder's owner, and open the file by its
            // descriptor only: the work folder lets no other user in.
            file.set_permissions(Permissions::from_mode(0o666))?;
            rustix::io::fcntl_setfd(&file, rustix::io::FdFlags::empty())?;
            Ok(file)
        };
        let file = make().with_context(|| format!("cannot make {}", path.display()))?;
        Ok(RawDisk { path, file })
    }

    /// The hook for mmdebstrap that fills it.
    pub(super) fn hook(&self, inputs: &Inputs) -> Result<String> {
        let start = PARTITION_START * SECTOR;
        let mut context = tera::Context::new();
        context.insert("disk", &self.file.as_raw_fd());
        context.insert("kib", &((inputs.definition.disk - start) / 1024));
        context.insert("core_room", &(start - SECTOR));
        context.insert("mke2fs_conf", mke2fs::CONF);
        let options = mke2fs::options(&inputs.definition, &inputs.root_uuid, Some(start));
        context.insert("mke2fs_options", &options.join(" "));
        Tera::one_off(HOOK, &context, false).context("cannot render templates/mirror/disk.sh")
    }

    /// The finished disk; nobody can write to it by this any more.
    pub(super) fn finish(self) -> PathBuf {
        self.path
    }
}

/// Where the table begins in its sector: the disk's signature, two bytes, four entries, the magic number.
const TABLE: u64 = 440;

/// What stands in sector 0 behind the boot code.
fn partition_table(disk: u64, uuid: &str) -> Result<[u8; 72]> {
    let Ok(sectors) = u32::try_from(disk / SECTOR - PARTITION_START) else {
        bail!("a msdos partition table holds no disk of more than 2 TiB");
    };
    let mut table = [0; 72];
    // Disk signature: eight hex digits of the UUID.
    let signature = u32::from_str_radix(uuid.get(..8).unwrap_or_default(), 16).unwrap_or(1);
    table[..4].copy_from_slice(&signature.to_le_bytes());
    let entry = &mut table[6..22];
    entry[0] = 0x80; // active
    entry[1..4].copy_from_slice(&[0xfe, 0xff, 0xff]); // beyond cylinders: use the sector numbers
    entry[4] = TYPE_LINUX;
    entry[5..8].copy_from_slice(&[0xfe, 0xff, 0xff]);
    entry[8..12].copy_from_slice(&(PARTITION_START as u32).to_le_bytes());
    entry[12..16].copy_from_slice(&sectors.to_le_bytes());
    table[70..].copy_from_slice(&[0x55, 0xaa]);
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_one_active_partition() {
        let table = partition_table((4096 + 2048) * SECTOR, "0000002a-x").unwrap();
        assert_eq!(table[..4], [0x2a, 0, 0, 0]);
        assert_eq!(table[6], 0x80);
        assert_eq!(table[14..18], 2048u32.to_le_bytes());
        assert_eq!(table[18..22], 4096u32.to_le_bytes());
        assert_eq!(table[22..70], [0; 48]);
        assert_eq!(table[70..], [0x55, 0xaa]);
    }
}
