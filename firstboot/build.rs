//! How the guest's program is linked.

use std::process::Command;

/// The first glibc whose static programs apply packed relocations (its NEWS for 2.36, "DT_RELR").
const SINCE: (u32, u32) = (2, 36);

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // Cargo 1.95 forgets `strip` of the profile where a package has an override in it, as this one has.
    if std::env::var("PROFILE").is_ok_and(|profile| profile == "release") {
        println!("cargo::rustc-link-arg-bins=-Wl,--strip-all");
    }
    // A static program that may lie anywhere in memory has thousands of relative relocations; packed,
    // 78 KB of them are 2. An older linker warns of what follows `-z` and goes on.
    if glibc().is_some_and(|version| version >= SINCE) {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}

/// The version of this PC's glibc, which becomes a part of the program.
fn glibc() -> Option<(u32, u32)> {
    let asked = Command::new("getconf").arg("GNU_LIBC_VERSION").output();
    let said = String::from_utf8(asked.ok()?.stdout).ok()?;
    let (major, minor) = said.trim().strip_prefix("glibc ")?.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}
