//! The test ISO: the real installer, on a disc made of Debian's own packages.

use rustix::fs::{FlockOperation, flock};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use testkit::{house, must};

/// Makes the ISO, or finds out that the one that is there is the same. Downloads are kept.
pub fn disc() -> PathBuf {
    let iso = Path::new(env!("CARGO_TARGET_TMPDIR")).join("netinst.iso");
    // Two tests want the same one.
    let lock = File::create(iso.with_extension("lock")).unwrap();
    flock(&lock, FlockOperation::LockExclusive).unwrap();
    must(Command::new(house("tests/netinst/make-iso")).arg(&iso));
    iso
}
