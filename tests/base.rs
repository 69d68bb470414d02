//! What `imgbuild base` refuses, and what it leaves behind when it fails: nothing.
//!
//! Those that need mmdebstrap and a mirror take half a minute each: `scripts/test` runs them.

#![allow(clippy::unwrap_used)]

use rustix::process::{Pid, Signal};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

/// A folder with a definition, and the folder that mmdebstrap may use.
struct Place(tempfile::TempDir);

impl Place {
    fn new(packages: &str) -> Place {
        let place = Place(tempfile::tempdir_in("/var/tmp").unwrap());
        for folder in ["images", "temporary", "out"] {
            fs::create_dir(place.0.path().join(folder)).unwrap();
        }
        // mmdebstrap's user namespace, when there is one, has to reach its folder.
        for folder in ["", "temporary"] {
            open_to_all(&place.0.path().join(folder));
        }
        let text = format!("release: trixie\ndisk: 4G\nproxmox: false\npackages: [{packages}]\n");
        fs::write(place.0.path().join("images/base.yaml"), text).unwrap();
        for name in ["base.qcow2", "base.manifest.json"] {
            fs::write(
                place.0.path().join("out").join(name),
                "of an earlier build\n",
            )
            .unwrap();
        }
        place
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_imgbuild"));
        command
            .args(["base", "--source", "mirror", "--output", "out"])
            .args(words)
            .current_dir(self.0.path())
            .env("TMPDIR", self.0.path().join("temporary"))
            .stdin(Stdio::null());
        command
    }

    /// A folder with these programs, to be looked into before the others.
    fn programs(&self, programs: &[(&str, &str)]) -> std::ffi::OsString {
        use std::os::unix::fs::PermissionsExt;
        let bin = self.0.path().join("bin");
        fs::create_dir_all(&bin).unwrap();
        for (name, script) in programs {
            let file = bin.join(name);
            fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let mut path = bin.into_os_string();
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap());
        path
    }

    /// A build with a mmdebstrap that does this, and nothing of its own; root or not.
    fn with_mmdebstrap(&self, script: &str) -> Command {
        let mut command = self.command(&[]);
        command
            .env("PATH", self.programs(&[("mmdebstrap", script)]))
            .stderr(Stdio::piped());
        command
    }

    /// Exit code and standard error without the stages' lines, with HERE for the folder.
    fn says(&self, words: &[&str]) -> (Option<i32>, String) {
        let output = self.command(words).output().unwrap();
        self.said(&output)
    }

    fn said(&self, output: &Output) -> (Option<i32>, String) {
        let text = String::from_utf8(output.stderr.clone()).unwrap();
        let text = text.replace(&self.0.path().display().to_string(), "HERE");
        let error = text.find("imgbuild: error").map_or("", |at| &text[at..]);
        (output.status.code(), error.to_owned())
    }

    /// The earlier base is as it was, and nothing is left of the build.
    fn is_untouched(&self) {
        let names = |folder: &str| {
            let entries = fs::read_dir(self.0.path().join(folder)).unwrap();
            let mut names: Vec<String> = entries
                .map(|e| e.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            names
        };
        assert_eq!(names("out"), ["base.manifest.json", "base.qcow2"]);
        assert_eq!(names("temporary"), [] as [&str; 0]);
        let base = fs::read_to_string(self.0.path().join("out/base.qcow2")).unwrap();
        assert_eq!(base, "of an earlier build\n");
    }
}

/// Waits until a child has said this line; what follows it is still to be read.
fn until(child: &mut Child, wanted: &str) -> impl Iterator<Item = String> + use<> {
    let mut lines = BufReader::new(child.stderr.take().unwrap())
        .lines()
        .map(Result::unwrap);
    lines
        .find(|line| line == wanted)
        .unwrap_or_else(|| panic!("it never said {wanted}"));
    lines
}

fn signal(child: &Child, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_child(child);
    rustix::process::kill_process(pid, signal).unwrap();
}

/// Stands in for a mmdebstrap at work; what it starts has to end with it.
const AT_WORK: &str = "sleep 600 & echo $! >sleeper; echo 'imgbuild-stage: kernel'; wait";

fn open_to_all(folder: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o777)).unwrap();
}

#[test]
fn missing_programs_are_named_with_their_packages() {
    let place = Place::new("vim");
    let bin = place.0.path().join("bin");
    fs::create_dir(&bin).unwrap();
    let mut command = place.command(&[]);
    let output = command.env("PATH", &bin).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).unwrap();
    // mke2fs is in a folder that is looked into whatever PATH says.
    let (more_programs, more_packages) = match rustix::process::geteuid().is_root() {
        true => ("", ""),
        false => (", fakeroot, newuidmap, newgidmap", " fakeroot uidmap"),
    };
    assert_eq!(
        text,
        format!(
            "imgbuild: error: programs are missing: mmdebstrap, tar, qemu-img{more_programs}. On \
             Debian: sudo apt install mmdebstrap tar qemu-utils{more_packages}\n"
        )
    );
    place.is_untouched();
}

#[test]
fn a_disk_that_is_full_is_said() {
    let place = Place::new("vim");
    let script = "cat /proc/self/stat >/dev/full || exit 25";
    let output = place.with_mmdebstrap(script).output().unwrap();
    let (code, text) = place.said(&output);
    assert_eq!(code, Some(1));
    let first = "imgbuild: error: the disk of out or of HERE/temporary is full: \
                 No space left on device: a program failed (exit status: 25): ";
    assert!(text.starts_with(first), "{text}");
    place.is_untouched();
}

#[test]
fn every_way_to_be_stopped_leaves_nothing_behind() {
    for way in [Signal::INT, Signal::TERM, Signal::HUP] {
        let place = Place::new("vim");
        let mut child = place.with_mmdebstrap(AT_WORK).spawn().unwrap();
        let lines = until(&mut child, "       kernel ...");
        // A second one changes nothing.
        signal(&child, way);
        signal(&child, way);
        let rest: Vec<String> = lines.collect();
        assert_eq!(child.wait().unwrap().code(), Some(130));
        assert!(rest[0].starts_with("ended  kernel "), "{rest:?}");
        assert_eq!(
            rest[1..],
            ["imgbuild: error: interrupted; nothing half made was left behind"]
        );
        place.is_untouched();
        let sleeper = fs::read_to_string(place.0.path().join("sleeper")).unwrap();
        // One that has ended and that nobody asked about has no command line.
        let line = fs::read(Path::new("/proc").join(sleeper.trim()).join("cmdline"));
        assert!(line.unwrap_or_default().is_empty());
    }
}

#[test]
fn a_kept_work_folder_is_named() {
    let place = Place::new("vim");
    let mut command = place.with_mmdebstrap(AT_WORK);
    let mut child = command.arg("--keep-work").spawn().unwrap();
    let lines = until(&mut child, "       kernel ...");
    signal(&child, Signal::INT);
    let kept = format!("out/.imgbuild-base.kept.{}", child.id());
    assert_eq!(
        lines.last().unwrap(),
        format!("imgbuild: error: interrupted; the work folder is kept: {kept}")
    );
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let kept = place.0.path().join(kept);
    assert!(kept.join("imgbuild/provision.sh").is_file());
    fs::remove_dir_all(kept).unwrap();
    place.is_untouched();
}

#[test]
fn two_builds_exclude_each_other_and_a_killed_one_is_cleaned_up() {
    let place = Place::new("vim");
    let mut first = place.with_mmdebstrap(AT_WORK).spawn().unwrap();
    let _lines = until(&mut first, "       kernel ...");
    let refused = "imgbuild: error: another imgbuild is at work in out/.imgbuild-base: wait for its \
                   end, or choose another folder\n";
    assert_eq!(place.says(&["--force"]), (Some(1), refused.to_owned()));
    signal(&first, Signal::KILL);
    first.wait().unwrap();
    assert!(place.0.path().join("out/.imgbuild-base").is_dir());
    let third = place.with_mmdebstrap("exit 1").output().unwrap();
    assert_eq!(third.status.code(), Some(1));
    place.is_untouched();
    let sleeper = fs::read_to_string(place.0.path().join("sleeper")).unwrap();
    let sleeper = Pid::from_raw(sleeper.trim().parse().unwrap()).unwrap();
    let _ = rustix::process::kill_process(sleeper, Signal::KILL);
}

#[test]
#[ignore = "needs a user namespace to switch off further ones in; scripts/test runs it"]
fn switched_off_user_namespaces_are_said() {
    let place = Place::new("vim");
    let nothing = [
        "mmdebstrap",
        "qemu-img",
        "fakeroot",
        "newuidmap",
        "newgidmap",
    ];
    let path = place.programs(&nothing.map(|name| (name, "exit 1")));
    let script = "echo 0 >/proc/sys/user/max_user_namespaces && exec \"$0\" base --source mirror --output out";
    let output = Command::new("unshare")
        .args([
            "--user",
            "--map-user=1000",
            "--map-group=1000",
            "--keep-caps",
        ])
        .args(["sh", "-c", script, env!("CARGO_BIN_EXE_imgbuild")])
        .current_dir(place.0.path())
        .env("PATH", path)
        .output()
        .unwrap();
    let expected = "imgbuild: error: user namespaces are switched off \
                    (/proc/sys/user/max_user_namespaces is 0), and without root a base needs them. \
                    Switch them on: sudo sysctl user.max_user_namespaces=15000\n";
    assert_eq!(place.said(&output), (Some(1), expected.to_owned()));
    place.is_untouched();
}

#[test]
fn a_mirror_that_is_no_url_is_refused() {
    let place = Place::new("vim");
    assert_eq!(
        place.says(&["--mirror", "debian.example.org"]),
        (
            Some(1),
            "imgbuild: error: the mirror `debian.example.org` is not a http:// or https:// URL\n"
                .into()
        )
    );
    place.is_untouched();
}

#[test]
#[ignore = "needs mmdebstrap and a mirror; scripts/test runs it"]
fn a_mirror_that_does_not_answer_is_said() {
    let place = Place::new("vim");
    let file = place.0.path().join("images/base.yaml");
    let definition = fs::read_to_string(&file).unwrap();
    let security = "security_mirror: http://127.0.0.1:9/debian-security\n";
    fs::write(file, definition + security).unwrap();
    let (code, text) = place.says(&["--mirror", "http://127.0.0.1:9/debian"]);
    assert_eq!(code, Some(1));
    let first = "imgbuild: error: the mirror http://127.0.0.1:9/debian, the security archive \
                 http://127.0.0.1:9/debian-security or a repository of the definition cannot be reached; look \
                 at the network, or choose others: --mirror, and `security_mirror` in the image definition: a \
                 program failed";
    assert!(text.starts_with(first), "{text}");
    assert!(text.contains("/mmdebstrap --variant=apt"), "{text}");
    place.is_untouched();
}

#[test]
#[ignore = "needs mmdebstrap and a mirror; scripts/test runs it"]
fn a_package_that_does_not_exist_is_named() {
    let place = Place::new("vim, no-such-package");
    let (code, text) = place.says(&[]);
    assert_eq!(code, Some(1));
    let first = "imgbuild: error: the package `no-such-package` was not found in trixie or in the \
                 definition's repositories; correct `packages` in the image definition: a program failed";
    assert!(text.starts_with(first), "{text}");
    place.is_untouched();
}

#[test]
#[ignore = "needs mmdebstrap and a mirror; scripts/test runs it"]
fn ctrl_c_leaves_nothing_behind() {
    let place = Place::new("vim");
    let mut child = place.command(&[]).stderr(Stdio::piped()).spawn().unwrap();
    let lines = until(&mut child, "       kernel ...");
    signal(&child, Signal::INT);
    let rest: Vec<String> = lines.collect();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(
        rest.last().unwrap(),
        "imgbuild: error: interrupted; nothing half made was left behind"
    );
    place.is_untouched();
}

#[test]
#[ignore = "mounts a small file system in a namespace of its own; scripts/test runs it"]
fn too_little_space_is_said_before_any_work() {
    let place = Place::new("vim");
    let small = place.0.path().join("small");
    fs::create_dir(&small).unwrap();
    let script =
        "mount -t tmpfs -o size=50m none small && exec \"$0\" base --source mirror --output small";
    let mut command = Command::new("unshare");
    command.arg("--mount");
    if !rustix::process::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    let output = command
        .args(["sh", "-c", script, env!("CARGO_BIN_EXE_imgbuild")])
        .current_dir(place.0.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        text,
        "imgbuild: error: not enough space in small: 52 MB are free and a base needs about 4294 MB \
         there while it is made\n"
    );
    place.is_untouched();
}
