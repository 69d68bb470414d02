//! A program of this project runs where there is nothing: no library, no loader, no shell.
//!
//! Both crates have this test, each for its own program.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::{Command, Output};

/// imgbuild or firstboot: the one of the crate that this is built in.
const PROGRAM: &str = match (
    option_env!("CARGO_BIN_EXE_imgbuild"),
    option_env!("CARGO_BIN_EXE_firstboot"),
) {
    (Some(program), None) | (None, Some(program)) => program,
    _ => panic!("this test belongs to a crate with one program"),
};

/// Runs a program as the only file of a root folder; without root in a user namespace.
/// `None` where the kernel gives an ordinary user no such namespace.
fn alone(program: &Path) -> Option<Output> {
    let root = tempfile::tempdir().unwrap();
    // By a program of its own: a file that this process has open for writing is inherited by what
    // other tests start meanwhile, and the kernel runs no program that is open for writing.
    let copied = Command::new("cp")
        .arg(program)
        .arg(root.path().join("program"))
        .status();
    assert!(copied.unwrap().success());
    let chroot = |arguments: &[&str]| {
        let mut command = if rustix::process::geteuid().is_root() {
            Command::new("chroot")
        } else {
            let mut command = Command::new("unshare");
            command.args(["--user", "--map-root-user", "chroot"]);
            command
        };
        // chroot is in a folder that an ordinary user's PATH on Debian lacks.
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{path}:/usr/sbin:/sbin"));
        command.args(arguments).output().unwrap()
    };
    if !rustix::process::geteuid().is_root() && !chroot(&["/", "/bin/true"]).status.success() {
        return None;
    }
    Some(chroot(&[
        root.path().to_str().unwrap(),
        "/program",
        "--version",
    ]))
}

#[test]
fn runs_in_an_empty_root() {
    let Some(output) = alone(Path::new(PROGRAM)) else {
        eprintln!("not tested: this kernel gives an ordinary user no user namespace");
        return;
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert_eq!(
        (
            output.status.code(),
            text(&output.stdout),
            text(&output.stderr)
        ),
        (
            Some(0),
            format!("{} {}\n", env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION")),
            String::new()
        )
    );
}

#[test]
fn a_program_that_needs_a_loader_does_not_run_there() {
    // Else the test above would say nothing. 127: chroot's "no such file", which is the loader.
    if let Some(output) = alone(Path::new("/bin/true")) {
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(127), "{said}");
    }
}

#[test]
fn file_calls_it_static() {
    // Debian's package file; scripts/setup --tests installs it.
    let Ok(output) = Command::new("file").args(["--brief", PROGRAM]).output() else {
        eprintln!("not tested: the program file is not installed");
        return;
    };
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(
        said.contains(", statically linked,") || said.contains(", static-pie linked,"),
        "{PROGRAM}: {said}"
    );
}
