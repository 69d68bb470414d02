//! A password goes to a program by its standard input, and by no other way that could be seen.
#![allow(clippy::unwrap_used)]

use firstboot::root::Root;
use firstboot::secrecy::forbid_core_dumps;
use firstboot::steps::join::talk::Talk;
use rustix::process::{DumpableBehavior, dumpable_behavior};
use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

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

fn check(folder: &Path) {
    let text = |name| String::from_utf8(fs::read(folder.join(name)).unwrap()).unwrap();
    // Without this nothing below would prove anything.
    assert_eq!(text("heard"), PASSWORD);
    let seen = text("seen");
    assert!(
        seen.contains("LC_ALL=C\0") && seen.contains("sh\0-c\0"),
        "{seen}"
    );
    assert!(!seen.contains(PASSWORD), "{seen}");
    assert_eq!(seen.matches(NO_CORE).count(), 2, "{seen}");
}

/// One test, because the limits are those of the whole process.
#[test]
fn no_program_shows_the_password_or_dumps_it() {
    firstboot_itself();
    forbid_core_dumps().unwrap();
    assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);

    let folder = tempfile::tempdir().unwrap();
    let talk = Talk {
        program: "sh",
        folder: folder.path(),
        args: &["-c".to_owned(), LOOK.to_owned()],
        password: PASSWORD,
        limit: Duration::from_secs(60),
        meanwhile: &|| None,
    };
    talk.run(&|_| {}).unwrap();
    check(folder.path());

    let folder = tempfile::tempdir().unwrap();
    let script = format!("cd '{}'\n{LOOK}", folder.path().display());
    let line = format!("{PASSWORD}\n");
    Root::new("/")
        .run("sh", &["-c".as_ref(), OsStr::new(&script)], line.as_bytes())
        .unwrap();
    check(folder.path());
}

fn firstboot_itself() {
    let root = tempfile::tempdir().unwrap();
    // With a limit that allows dumps, where this user may set one.
    let mut firstboot = Command::new("sh")
        .args(["-c", "ulimit -c 1024; exec \"$0\" \"$@\""])
        .arg(env!("CARGO_BIN_EXE_firstboot"))
        .args(["--root".as_ref(), root.path().as_os_str()])
        .args(["status", "--wait"])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let limits = format!("/proc/{}/limits", firstboot.id());
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut seen = String::new();
    while !seen.contains(NO_CORE) && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
        seen = fs::read_to_string(&limits).unwrap();
    }
    firstboot.kill().unwrap();
    firstboot.wait().unwrap();
    assert!(seen.contains(NO_CORE), "{seen}");
}
