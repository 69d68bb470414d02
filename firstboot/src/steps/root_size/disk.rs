//! Where the root file system lies, as the kernel tells: proc(5) and sysfs.

use crate::system::root::{Kind, Root};
use anyhow::{Context, Result, bail};

/// The kernel counts in these, whatever the disk's own sectors are. In bytes.
const SECTOR: u64 = 512;
/// ext4's superblock begins here, and this much of it is looked at. In bytes.
const SUPERBLOCK: usize = 1024;
const SUPERBLOCK_LENGTH: usize = 0x154;

/// What the root file system lies on.
#[derive(Debug, PartialEq)]
pub(super) enum Place {
    /// ext4 on the last partition of its disk.
    Partition(Partition),
    /// Something that is left alone, and why.
    Other(String),
}

/// A partition with nothing behind it. Positions and lengths in sectors of 512 bytes.
#[derive(Debug, PartialEq)]
pub(super) struct Partition {
    /// Its name, such as `vda1`.
    name: String,
    disk: String,
    /// Its number in the partition table.
    pub number: u32,
    start: u64,
    length: u64,
    disk_length: u64,
}

impl Partition {
    fn read(root: &Root, disk: String, name: String) -> Result<Self> {
        let folder = format!("/sys/class/block/{name}");
        Ok(Partition {
            number: number(root, &format!("{folder}/partition"))? as u32,
            start: number(root, &format!("{folder}/start"))?,
            length: number(root, &format!("{folder}/size"))?,
            disk_length: number(root, &format!("/sys/class/block/{disk}/size"))?,
            name,
            disk,
        })
    }

    /// The same partition as it is now.
    pub(super) fn again(&self, root: &Root) -> Result<Self> {
        Partition::read(root, self.disk.clone(), self.name.clone())
    }

    pub(super) fn device(&self) -> String {
        format!("/dev/{}", self.name)
    }

    pub(super) fn disk(&self) -> String {
        format!("/dev/{}", self.disk)
    }

    /// Its length in bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.length * SECTOR
    }

    /// What is unused behind it, in bytes.
    pub(super) fn unused(&self) -> u64 {
        self.disk_length.saturating_sub(self.start + self.length) * SECTOR
    }

    /// The length of the file system on it, in bytes, as its superblock says
    /// (kernel documentation, ext4: "The Super Block").
    pub(super) fn file_system_bytes(&self, root: &Root) -> Result<u64> {
        let device = self.device();
        let bytes = root.read_first(&device, SUPERBLOCK + SUPERBLOCK_LENGTH)?;
        let block = bytes.get(SUPERBLOCK..).unwrap_or_default();
        let field = |at: usize| {
            let four = block.get(at..at + 4)?.try_into().ok()?;
            Some(u64::from(u32::from_le_bytes(four)))
        };
        let words = (|| {
            let magic = field(0x38)? & 0xFFFF == 0xEF53;
            let incompat = field(0x60)?;
            // The upper half counts only with the feature `64bit`.
            let high = if incompat & 0x80 != 0 {
                field(0x150)?
            } else {
                0
            };
            let shift = field(0x18).filter(|shift| magic && *shift <= 6)?;
            Some((field(0x4)? | high << 32).saturating_mul(1024 << shift))
        })();
        words.with_context(|| format!("{device} has no superblock of ext4"))
    }
}

/// Finds what the root file system lies on.
pub(super) fn of_root(root: &Root) -> Result<Place> {
    const MOUNTS: &str = "/proc/self/mountinfo";
    let mounts = root.read_text(MOUNTS)?.unwrap_or_default();
    let Some((device, kind)) = mounted_on_root(&mounts) else {
        bail!("{MOUNTS} does not say what is mounted on /");
    };
    let other = |why: String| Ok(Place::Other(format!("left as it is: {why}")));
    if kind != "ext4" {
        return other(format!("the root file system is {kind}, not ext4"));
    }
    let link = format!("/sys/dev/block/{device}");
    let Some(target) = root.read_link(&link)? else {
        return other(format!("the root file system is on no disk ({device})"));
    };
    // ../../devices/…/block/vda/vda1
    let mut parts = target.rsplit('/').map(str::to_owned);
    let (Some(name), Some(disk)) = (parts.next(), parts.next()) else {
        bail!("{link} leads nowhere: {target}");
    };
    if !root.exists(&format!("/sys/class/block/{name}/partition"))? {
        return other(format!(
            "the root file system is on {name}, which is no partition"
        ));
    }
    let partition = Partition::read(root, disk, name)?;
    let folder = format!("/sys/class/block/{}", partition.disk);
    for entry in root.list(&folder)? {
        let place = format!("{folder}/{entry}");
        if !root.exists(&format!("{place}/partition"))? {
            continue;
        }
        if number(root, &format!("{place}/start"))? > partition.start {
            return other(format!("{entry} lies behind {}", partition.name));
        }
    }
    if root.kind(&partition.disk())? != Some(Kind::Other) {
        bail!("{} is no device", partition.disk());
    }
    Ok(Place::Partition(partition))
}

/// Device number and file system of what is mounted on `/` (proc_pid_mountinfo(5)); the last
/// one covers those before.
fn mounted_on_root(mounts: &str) -> Option<(String, String)> {
    let of = |line: &str| {
        let (left, right) = line.split_once(" - ")?;
        let words: Vec<&str> = left.split(' ').collect();
        let kind = right.split(' ').next()?;
        (words.get(4) == Some(&"/")).then(|| (words[2].to_owned(), kind.to_owned()))
    };
    mounts.lines().rev().find_map(of)
}

fn number(root: &Root, file: &str) -> Result<u64> {
    let text = root.read_text(file)?.unwrap_or_default();
    let number = text.trim().parse();
    number.with_context(|| format!("{file} holds no number"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::root::tests::tree;
    use std::os::unix::fs::symlink;

    /// A disk `vda` of 1000 sectors, with partitions of (name, start, length).
    fn system(kind: &str, partitions: &[(&str, u64, u64)]) -> (tempfile::TempDir, Root) {
        let (folder, root) = tree();
        let write = |path: &str, text: &str| root.write(path, text.as_bytes(), 0o644).unwrap();
        let mounts = format!(
            "21 1 0:20 / / rw - rootfs rootfs rw\n22 1 254:1 / / rw,noatime shared:1 - {kind} \
             /dev/root rw\n23 22 0:21 / /proc rw - proc proc rw\n"
        );
        write("/proc/self/mountinfo", &mounts);
        write("/sys/devices/block/vda/size", "1000\n");
        for (number, (name, start, length)) in partitions.iter().enumerate() {
            let place = format!("/sys/devices/block/vda/{name}");
            write(&format!("{place}/partition"), &format!("{}\n", number + 1));
            write(&format!("{place}/start"), &format!("{start}\n"));
            write(&format!("{place}/size"), &format!("{length}\n"));
        }
        root.ensure_folder("/sys/class/block", 0o755).unwrap();
        root.ensure_folder("/sys/dev/block", 0o755).unwrap();
        let class = folder.path().join("sys/class/block");
        symlink("../../devices/block/vda", class.join("vda")).unwrap();
        for (name, ..) in partitions {
            symlink(format!("../../devices/block/vda/{name}"), class.join(name)).unwrap();
        }
        let device = folder.path().join("sys/dev/block/254:1");
        symlink("../../devices/block/vda/vda1", device).unwrap();
        root.ensure_folder("/dev", 0o755).unwrap();
        symlink("/dev/null", folder.path().join("dev/vda")).unwrap();
        (folder, root)
    }

    fn why(place: Place) -> String {
        match place {
            Place::Other(why) => why,
            Place::Partition(partition) => panic!("{partition:?}"),
        }
    }

    #[test]
    fn what_is_left_alone() {
        let (_folder, root) = system("btrfs", &[("vda1", 100, 800)]);
        assert_eq!(
            why(of_root(&root).unwrap()),
            "left as it is: the root file system is btrfs, not ext4"
        );
        let (_folder, root) = system("ext4", &[("vda1", 100, 400), ("vda5", 600, 100)]);
        assert_eq!(
            why(of_root(&root).unwrap()),
            "left as it is: vda5 lies behind vda1"
        );
        let (folder, root) = system("ext4", &[("vda1", 100, 400)]);
        std::fs::remove_file(folder.path().join("sys/devices/block/vda/vda1/partition")).unwrap();
        assert_eq!(
            why(of_root(&root).unwrap()),
            "left as it is: the root file system is on vda1, which is no partition"
        );
        let (folder, root) = system("ext4", &[("vda1", 100, 400)]);
        std::fs::remove_file(folder.path().join("sys/dev/block/254:1")).unwrap();
        assert_eq!(
            why(of_root(&root).unwrap()),
            "left as it is: the root file system is on no disk (254:1)"
        );
    }

    #[test]
    fn the_room_behind_a_partition_and_the_file_system_on_it() {
        let (_folder, root) = system("ext4", &[("vda1", 100, 400)]);
        let partition = Partition::read(&root, "vda".into(), "vda1".into()).unwrap();
        assert_eq!((partition.number, partition.bytes()), (1, 400 * 512));
        assert_eq!(partition.unused(), 500 * 512);

        let mut disk = vec![0; 4096];
        let mut put = |at: usize, bytes: &[u8]| {
            disk[SUPERBLOCK + at..SUPERBLOCK + at + bytes.len()].copy_from_slice(bytes);
        };
        put(0x38, &[0x53, 0xEF]);
        put(0x18, &[2]);
        put(0x4, &1000u32.to_le_bytes());
        put(0x150, &[1]);
        root.write("/dev/vda1", &disk, 0o600).unwrap();
        assert_eq!(partition.file_system_bytes(&root).unwrap(), 1000 * 4096);
        // With 64-bit block numbers.
        disk[SUPERBLOCK + 0x60] = 0x80;
        root.write("/dev/vda1", &disk, 0o600).unwrap();
        assert_eq!(
            partition.file_system_bytes(&root).unwrap(),
            ((1u64 << 32) + 1000) * 4096
        );
        root.write("/dev/vda1", &disk[..1100], 0o600).unwrap();
        assert_eq!(
            partition.file_system_bytes(&root).unwrap_err().to_string(),
            "/dev/vda1 has no superblock of ext4"
        );
    }
}
