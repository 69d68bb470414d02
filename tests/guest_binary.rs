//! imgbuild takes the firstboot beside it, and refuses one that would not run in a guest.

#![allow(clippy::unwrap_used)]

use firstboot::seed::CONTRACT;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// Copies imgbuild into an empty folder, with this beside it as firstboot, and asks for a base.
fn base_with(firstboot: Option<&Path>) -> String {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("imgbuild");
    fs::copy(env!("CARGO_BIN_EXE_imgbuild"), &program).unwrap();
    if let Some(file) = firstboot {
        fs::copy(file, folder.path().join("firstboot")).unwrap();
    }
    let output = Command::new(&program)
        .args([
            "base",
            "--source",
            "mirror",
            "--mirror",
            "http://127.0.0.1:9/debian",
        ])
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).unwrap();
    let real = folder.path().canonicalize().unwrap();
    text.replace(&real.display().to_string(), "HERE")
}

#[test]
fn a_missing_firstboot_is_said() {
    assert_eq!(
        base_with(None),
        "imgbuild: error: firstboot, the guest's program, is not beside imgbuild in HERE. \
         Build both: cargo build --release\n"
    );
}

#[test]
fn a_dynamic_firstboot_is_refused() {
    // The shell of every Debian is linked dynamically.
    assert_eq!(
        base_with(Some(Path::new("/bin/sh"))),
        "imgbuild: error: HERE/firstboot is not a static program, and the guest could not run it. \
         Build it with this project's .cargo/config.toml: cargo build --release\n"
    );
}

#[test]
fn a_firstboot_of_another_version_is_refused() {
    // A static program that says another name and version: imgbuild itself.
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        base_with(Some(Path::new(env!("CARGO_BIN_EXE_imgbuild")))),
        format!(
            "imgbuild: error: HERE/firstboot says `imgbuild {version}`, and this imgbuild needs \
             `firstboot {version} (contract {CONTRACT})`. Build both together: cargo build --release\n"
        )
    );
}
