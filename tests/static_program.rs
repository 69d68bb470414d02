//! A program of this project runs where there is nothing: no library, no loader, no shell.
//!
//! Both crates have this test, each for its own program.

use std::path::Path;
use std::process::{Command, Output};
use testkit::{Folder, both, write_program};

/// Runs a program as the only file of a root folder; without root in a user namespace.
/// `None` where the kernel gives an ordinary user no such namespace.
fn alone(program: &Path) -> Option<Output> {
    let root = Folder::new();
    write_program(&root.path("program"), &std::fs::read(program).unwrap());
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
        root.path("").to_str().unwrap(),
        "/program",
        "--version",
    ]))
}

#[test]
fn runs_in_an_empty_root() {
    let Some(output) = alone(&crate::program()) else {
        eprintln!("not tested: this kernel gives an ordinary user no user namespace");
        return;
    };
    assert_eq!(
        (output.status.code(), both(&output)),
        (Some(0), crate::version())
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
    let Ok(output) = Command::new("file")
        .arg("--brief")
        .arg(crate::program())
        .output()
    else {
        eprintln!("not tested: the program file is not installed");
        return;
    };
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(
        said.contains(", statically linked,") || said.contains(", static-pie linked,"),
        "{said}"
    );
}
