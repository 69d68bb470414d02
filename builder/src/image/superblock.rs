//! The superblock of an ext4 file system (kernel documentation, "ext4 Data Structures and
//! Algorithms"): judged here, before any library sees it.

/// Where it begins, counted from the file system.
pub(crate) const OFFSET: u64 = 1024;
/// Its bytes.
pub(crate) const LENGTH: usize = 1024;
/// More groups than a disk of 8 TiB has with the smallest blocks. The reader keeps a descriptor of
/// each in memory.
const MAX_GROUPS: u64 = 1 << 20;

/// Why a file system of so many bytes cannot have this superblock.
pub(crate) fn check(bytes: &[u8; LENGTH], available: u64) -> Result<(), &'static str> {
    let u16_at = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
    let u32_at = |at: usize| u32::from(u16_at(at + 2)) << 16 | u32::from(u16_at(at));
    if u16_at(0x38) != 0xef53 {
        return Err("it has no ext4 file system");
    }
    let log_block_size = u32_at(0x18);
    if log_block_size > 6 {
        return Err("its superblock names a size of blocks that no ext4 has");
    }
    let block = 1024u64 << log_block_size;
    let is_64_bit = u32_at(0x60) & 0x80 != 0;
    let blocks = u64::from(u32_at(0x150)) << 32 | u64::from(u32_at(4));
    if blocks == 0 || blocks.checked_mul(block).is_none_or(|all| all > available) {
        return Err("its superblock names more blocks than the partition has");
    }
    let per_group = u64::from(u32_at(0x20));
    if per_group == 0 || blocks.div_ceil(per_group) > MAX_GROUPS {
        return Err("its superblock names more groups of blocks than any ext4 has");
    }
    let inodes = u64::from(u32_at(0x28));
    if inodes == 0 || inodes > 8 * block {
        return Err("its superblock names a number of inodes that no ext4 has");
    }
    let inode = u64::from(u16_at(0x58));
    if !(128..=block).contains(&inode) || !inode.is_power_of_two() {
        return Err("its superblock names a size of inodes that no ext4 has");
    }
    let descriptor = u64::from(u16_at(0xfe));
    if is_64_bit && (!(64..=block).contains(&descriptor) || !descriptor.is_power_of_two()) {
        return Err("its superblock names a size of descriptors that no ext4 has");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As mke2fs writes it for 30 MiB.
    fn sound() -> [u8; LENGTH] {
        let mut bytes = [0; LENGTH];
        let numbers: [(usize, &[u8]); 7] = [
            (0x04, &30720u32.to_le_bytes()),
            (0x20, &8192u32.to_le_bytes()),
            (0x28, &1920u32.to_le_bytes()),
            (0x38, &[0x53, 0xef]),
            (0x58, &256u16.to_le_bytes()),
            (0x60, &0x2c2u32.to_le_bytes()),
            (0xfe, &64u16.to_le_bytes()),
        ];
        for (at, number) in numbers {
            bytes[at..at + number.len()].copy_from_slice(number);
        }
        bytes
    }

    #[test]
    fn what_cannot_be_is_refused_with_its_reason() {
        assert_eq!(check(&sound(), 30 << 20), Ok(()));
        let more = "its superblock names more blocks than the partition has";
        assert_eq!(check(&sound(), (30 << 20) - 1), Err(more));
        let groups = "its superblock names more groups of blocks than any ext4 has";
        let cases: [(usize, &[u8], &str); 9] = [
            (0x38, &[0], "it has no ext4 file system"),
            (
                0x18,
                &[7],
                "its superblock names a size of blocks that no ext4 has",
            ),
            (0x04, &[255; 4], more),
            (0x04, &[0; 4], more),
            (0x153, &[255], more),
            (0x20, &[0; 4], groups),
            (
                0x28,
                &[255; 4],
                "its superblock names a number of inodes that no ext4 has",
            ),
            (
                0x58,
                &[0, 255],
                "its superblock names a size of inodes that no ext4 has",
            ),
            (
                0xfe,
                &[0, 255],
                "its superblock names a size of descriptors that no ext4 has",
            ),
        ];
        for (at, bytes, why) in cases {
            let mut bad = sound();
            bad[at..at + bytes.len()].copy_from_slice(bytes);
            assert_eq!(check(&bad, 30 << 20), Err(why), "{at:#x}");
        }
        // 2 TiB in groups of one block each.
        let mut bad = sound();
        bad[0x04..0x08].copy_from_slice(&(1u32 << 31).to_le_bytes());
        bad[0x20..0x24].copy_from_slice(&1u32.to_le_bytes());
        assert_eq!(check(&bad, 1 << 42), Err(groups));
    }
}
