//! `root-size`: the root file system fills its disk.
//!
//! A VM's overlay may be larger than the base. Three programs of the guest do the work:
//! sfdisk writes the larger partition, partx tells the kernel, resize2fs grows the mounted file
//! system. Where one of them was cut, the next run finds what is left to do: the table is
//! written in one go, the kernel reads it at each boot, and ext4 keeps its own journal.

mod disk;

use crate::step::{Context, Outcome};
use crate::system::root::Root;
use anyhow::{Context as _, Result, bail};
use disk::{Partition, Place};

/// What may stay unused at the end of a disk: partitioning tools align to this. In bytes.
const SLACK: u64 = 1 << 20;

/// Grows partition and file system, where there is room.
pub(crate) fn run(context: &Context) -> Result<Outcome> {
    let root = context.root;
    if !root.is_live() {
        return Ok(Outcome::unchanged_because("not the running machine"));
    }
    let partition = match disk::of_root(root)? {
        Place::Partition(partition) => partition,
        Place::Other(why) => return Ok(Outcome::unchanged_because(why)),
    };
    if partition.unused() > SLACK {
        grow_partition(root, &partition)?;
    }
    let partition = partition.again(root)?;
    if partition.unused() > SLACK {
        bail!(
            "{} still ends {} before the end of {}",
            partition.device(),
            size(partition.unused()),
            partition.disk()
        );
    }
    let before = partition.file_system_bytes(root)?;
    if before + SLACK > partition.bytes() {
        return Ok(Outcome::unchanged());
    }
    let device = partition.device();
    call(root, "resize2fs", &[&device], b"")?;
    let after = partition.file_system_bytes(root)?;
    Ok(Outcome::changed_if(
        after != before,
        format!("{} -> {}", size(before), size(after)),
    ))
}

fn grow_partition(root: &Root, partition: &Partition) -> Result<()> {
    for program in ["/usr/sbin/sfdisk", "/usr/bin/partx"] {
        if root.kind(program)?.is_none() {
            bail!(
                "cannot grow {}: {program} is missing (Debian: fdisk, util-linux)",
                partition.device()
            );
        }
    }
    let (disk, number) = (partition.disk(), partition.number.to_string());
    // The disk is in use: sfdisk must neither ask the kernel to read the whole table again
    // nor look at what lies in the new space.
    let careful = [
        "--quiet",
        "--no-reread",
        "--no-tell-kernel",
        "--wipe=never",
        "--wipe-partitions=never",
    ];
    if root.read_first(&disk, 1024)?.get(512..520) == Some(b"EFI PART") {
        // GPT keeps its second copy at the end of the disk, which was elsewhere before.
        let args = [&careful[..], &["--relocate=gpt-bak-std", &disk]].concat();
        call(root, "sfdisk", &args, b"")?;
    }
    // Everything but the size keeps its value.
    let args = [&careful[..], &["--partno", &number, &disk]].concat();
    call(root, "sfdisk", &args, b",+\n")?;
    call(root, "partx", &["--update", "--nr", &number, &disk], b"")
}

fn call(root: &Root, program: &str, args: &[&str], stdin: &[u8]) -> Result<()> {
    root.run(program, args, stdin)
        .map(drop)
        .context("cannot make the root file system fill its disk")
}

/// Bytes for a human.
fn size(bytes: u64) -> String {
    const GIB: u64 = 1 << 30;
    match bytes {
        GIB.. => format!("{:.1} GiB", bytes as f64 / GIB as f64),
        _ => format!("{:.1} MiB", bytes as f64 / (1 << 20) as f64),
    }
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes() {
        assert_eq!(size(34_358_689_792), "32.0 GiB");
        assert_eq!(size(3 << 19), "1.5 MiB");
    }
}
