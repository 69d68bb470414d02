//! What `imgbuild base` refuses, and what it leaves behind when it fails: nothing.
//!
//! Those that need mmdebstrap and a mirror take half a minute each: `scripts/test` runs them.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

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
        let text = format!("release: trixie\ndisk: 4G\npackages: [{packages}]\n");
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
            .args(["base", "--output", "out"])
            .args(words)
            .current_dir(self.0.path())
            .env("TMPDIR", self.0.path().join("temporary"))
            .stdin(Stdio::null());
        command
    }

    /// Exit code and standard error without the stages' lines, with HERE for the folder.
    fn says(&self, words: &[&str]) -> (Option<i32>, String) {
        let output = self.command(words).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
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
    // tar and mke2fs are in folders that are looked into whatever PATH says, or are missing too.
    assert!(
        text.starts_with("imgbuild: error: programs are missing: mmdebstrap, "),
        "{text}"
    );
    assert!(
        text.contains(". On Debian: sudo apt install mmdebstrap "),
        "{text}"
    );
    assert!(text.contains("qemu-utils"), "{text}");
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
    let (code, text) = place.says(&["--mirror", "http://127.0.0.1:9/debian"]);
    assert_eq!(code, Some(1));
    let first = "imgbuild: error: the mirror http://127.0.0.1:9/debian or a repository of the definition \
                 cannot be reached; look at the network, or choose another with --mirror: a program failed";
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
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    lines
        .find(|line| line.as_ref().unwrap() == "       kernel ...")
        .expect("the stage begins")
        .unwrap();
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let rest: Vec<String> = lines.map(Result::unwrap).collect();
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
    let script = "mount -t tmpfs -o size=50m none small && exec \"$0\" base --output small";
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
