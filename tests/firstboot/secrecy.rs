//! A password goes to a program by its standard input, and by no other way that could be seen.
use crate::contract::{PasswordCommand, Root, forbid_core_dumps};
use rustix::process::{DumpableBehavior, dumpable_behavior};
use std::ffi::OsStr;
use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;
use testkit::{Folder, in_a_process_of_its_own, wait_for};

const PASSWORD: &str = "Korrekt-Pferd-Batterie";
const NO_CORE: &str = "Max core file size        0                    0 ";

/// A program that gets the password, starts another, and copies what can be seen of both.
const LOOK: &str = r#"
look() { cat /proc/self/environ /proc/$$/environ /proc/self/cmdline /proc/$$/cmdline /proc/self/limits; }
read -r line
look >seen
sh -c "$(printf 'true\ncat /proc/$$/environ /proc/$$/cmdline /proc/$$/limits')" >>seen
printf '%s' "$line" >heard
"#;

fn check(folder: &Folder) {
    // Without this nothing below would prove anything.
    assert_eq!(folder.read("heard"), PASSWORD);
    let seen = folder.read("seen");
    assert!(
        seen.contains("LC_ALL=C\0") && seen.contains("sh\0-c\0"),
        "{seen}"
    );
    assert!(!seen.contains(PASSWORD), "{seen}");
    assert_eq!(seen.matches(NO_CORE).count(), 2, "{seen}");
}

#[test]
fn no_program_shows_the_password_or_dumps_it() {
    // The limits are those of the whole process.
    if !in_a_process_of_its_own() {
        return;
    }
    forbid_core_dumps().unwrap();
    assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);

    let folder = Folder::new();
    let talk = PasswordCommand {
        program: "sh",
        folder: &folder.path(""),
        args: &["-c".to_owned(), LOOK.to_owned()],
        password: PASSWORD,
        limit: Duration::from_secs(60),
        meanwhile: &|| None,
    };
    talk.run(&|_| {}).unwrap();
    check(&folder);

    let folder = Folder::new();
    let script = format!("cd '{}'\n{LOOK}", folder.path("").display());
    let line = format!("{PASSWORD}\n");
    Root::new("/")
        .run("sh", &["-c".as_ref(), OsStr::new(&script)], line.as_bytes())
        .unwrap();
    check(&folder);
}

#[test]
fn firstboot_itself_dumps_no_core() {
    let root = Folder::new();
    // With a limit that allows dumps, where this user may set one.
    let mut firstboot = Command::new("sh")
        .args(["-c", "ulimit -c 1024; exec \"$0\" \"$@\""])
        .arg(crate::program())
        .arg("--root")
        .arg(root.path(""))
        .args(["status", "--wait"])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let limits = format!("/proc/{}/limits", firstboot.id());
    let seen = || fs::read_to_string(&limits).unwrap().contains(NO_CORE);
    wait_for("a limit of 0", seen);
    firstboot.kill().unwrap();
    firstboot.wait().unwrap();
}
