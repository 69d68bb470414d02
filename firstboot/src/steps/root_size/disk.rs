//! Where the root file system lies, as the kernel tells: proc(5) and sysfs.

use crate::root::{Kind, Root};
use anyhow::{Context, Result, bail};

/// The kernel counts in these, whatever the disk's own sectors are. In bytes.
const SECTOR: u64 = 512;
/// ext4's superblock begins here, and this much of it is looked at. In bytes.
const SUPERBLOCK: usize = 1024;
const SUPERBLOCK_LENGTH: usize = 0x154;

/// What the root file system lies on.
#[derive(Debug, PartialEq)]
pub enum Place {
    /// ext4 on the last partition of its disk.
    Partition(Partition),
    /// Something that is left alone, and why.
    Other(String),
}

/// A partition with nothing behind it. Positions and lengths in sectors of 512 bytes.
#[derive(Debug, PartialEq)]
pub struct Partition {
    /// Its name, such as `vda1`.
    name: String,
    /// The disk's name.
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
    pub fn again(&self, root: &Root) -> Result<Self> {
        Partition::read(root, self.disk.clone(), self.name.clone())
    }

    /// Its device.
    pub fn device(&self) -> String {
        format!("/dev/{}", self.name)
    }

    /// The disk's device.
    pub fn disk(&self) -> String {
        format!("/dev/{}", self.disk)
    }

    /// Its length in bytes.
    pub fn bytes(&self) -> u64 {
        self.length * SECTOR
    }

    /// What is unused behind it, in bytes.
    pub fn unused(&self) -> u64 {
        self.disk_length.saturating_sub(self.start + self.length) * SECTOR
    }

    /// The length of the file system on it, in bytes, as its superblock says
    /// (kernel documentation, ext4: "The Super Block").
    pub fn file_system_bytes(&self, root: &Root) -> Result<u64> {
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
pub fn of_root(root: &Root) -> Result<Place> {
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
