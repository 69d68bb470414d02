//! Images. What reads qcow2 and ext4 are libraries for the most part: the checks before them are fuzzed, and they behind the
//! checks. In a build of imgbuild they run in a process of their own, with limits (`image::apart`).

use super::InMemory;
use crate::base::audit::check_points;
use crate::base::audit_image;
use crate::base::netinst::iso::Disc;
use crate::image::qcow2::check_headers;
use crate::image::{dpkg, superblock};
use ext4_view::Ext4;
use std::path::Path;

/// An image, through the whole audit.
pub(super) fn qcow2(data: &[u8]) {
    // A backing file would be one of this PC's.
    if data.get(8..16).is_some_and(|offset| offset != [0; 8]) {
        return;
    }
    let file = InMemory::of(&[data]);
    if check_headers(&file.path()).is_ok() {
        let _ = audit_image(&file.path());
    }
}

/// A partition with the root file system, through all points of the audit.
pub(super) fn ext4(data: &[u8]) {
    let start = superblock::OFFSET as usize;
    let block = data.get(start..start + superblock::LENGTH);
    let Some(Ok(block)) = block.map(<&[u8; superblock::LENGTH]>::try_from) else {
        return;
    };
    if superblock::check(block, data.len() as u64).is_err() {
        return;
    }
    if let Ok(root) = Ext4::load(Box::new(data.to_vec())) {
        let _ = check_points(&root, Path::new("base.qcow2"));
    }
}

/// A disc from its first descriptor on: nobody reads the 32 KiB before it.
pub(super) fn installer_disc(descriptors: &[u8]) {
    let file = InMemory::of(&[&[0; 32 << 10], descriptors]);
    match Disc::open(&file.path(), "00".repeat(32), "trixie") {
        Ok(disc) => {
            assert!(disc.kernel.len() + disc.initrd.len() <= 2 * descriptors.len());
            assert!(!disc.info.contains(char::is_control));
        }
        Err(error) => {
            let words = format!("{error:#}");
            assert!(!words.contains(char::is_control), "{words:?}");
            assert!(words.len() < 64 << 10);
        }
    }
}

/// dpkg's list of packages.
pub(super) fn dpkg_status(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    for (name, version) in dpkg::installed(&text) {
        assert!(!name.contains('\n') && !version.contains('\n'));
    }
}
