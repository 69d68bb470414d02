//! imgbuild takes the firstboot beside it, and refuses one that would not run in a guest.

use crate::contract::CONTRACT;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use testkit::{Folder, write_program};

/// Copies imgbuild into an empty folder, with this beside it as firstboot, and asks for a base.
fn base_with(firstboot: Option<&Path>) -> String {
    let folder = Folder::new();
    let program = folder.path("imgbuild");
    write_program(&program, &fs::read(crate::program()).unwrap());
    if let Some(file) = firstboot {
        write_program(&folder.path("firstboot"), &fs::read(file).unwrap());
    }
    let output = Command::new(&program)
        .args([
            "base",
            "--source",
            "mirror",
            "--mirror",
            "http://127.0.0.1:9/debian",
        ])
        .current_dir(folder.path(""))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    folder.hide(&String::from_utf8(output.stderr).unwrap(), "HERE")
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
        base_with(Some(&crate::program())),
        format!(
            "imgbuild: error: HERE/firstboot says `imgbuild {version}`, and this imgbuild needs \
             `firstboot {version} (contract {CONTRACT})`. Build both together: cargo build --release\n"
        )
    );
}
