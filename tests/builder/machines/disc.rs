//! The test ISO: the real installer, on a disc made of Debian's own packages.

use std::path::{Path, PathBuf};
use std::process::Command;
use testkit::{house, lock, must};

/// Makes the ISO, or finds out that the one that is there is the same. Downloads are kept.
pub(super) fn disc() -> PathBuf {
    let iso = Path::new(env!("CARGO_TARGET_TMPDIR")).join("netinst.iso");
    let _lock = lock(&iso);
    must(Command::new(house("tests/netinst/make-iso")).arg(&iso));
    iso
}
