//! What needs a mirror, mmdebstrap and QEMU, or namespaces. All of it is ignored by default;
//! scripts/test runs it, with the programs as users have them.

mod base;
mod boots;
mod disc;
mod guest;
mod installer;
mod lab;
mod netinst_boot;
mod shared;
mod stand_in;
mod whole_way;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// A new folder of this name, which stays for a look after the test.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn timed(what: &str, work: impl FnOnce()) {
    let started = Instant::now();
    work();
    println!("time: {what}: {:.1} s", started.elapsed().as_secs_f64());
}
