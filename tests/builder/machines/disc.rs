//! The test ISO: the real installer, on a disc made of Debian's own packages.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Makes the ISO, or finds out that the one that is there is the same. Downloads are kept.
pub fn disc() -> PathBuf {
    let iso = Path::new(env!("CARGO_TARGET_TMPDIR")).join("netinst.iso");
    let make = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/netinst/make-iso");
    let status = Command::new(make)
        .arg(&iso)
        .stdin(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    iso
}
