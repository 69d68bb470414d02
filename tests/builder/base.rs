//! What `imgbuild base` refuses, and what it leaves behind when it fails: nothing. Of those that need
//! mmdebstrap and a mirror see [`crate::machines::base`].

use crate::base_folder::BaseFolder;
use rustix::process::Signal;
use std::fs;
use std::process::{Child, Command};
use testkit::{begins, exists, kill, until, wait_for};

const MANIFEST: [&str; 1] = ["base.manifest.json"];
/// Without the cache of installed systems: whether it has one is asked of the mirror.
pub(crate) const MIRROR: [&str; 4] = ["--source", "mirror", "--cache-size", "0"];

/// With an earlier base, and open to the user namespace that mmdebstrap may make.
pub(crate) fn folder(packages: &str) -> BaseFolder {
    let folder = BaseFolder::new(&format!(
        "release: trixie\ndisk: 4G\nproxmox: false\npackages: [{packages}]\n"
    ))
    .with_earlier(&MANIFEST);
    for name in ["", "temporary"] {
        testkit::set_mode(&folder.path(name), 0o777);
    }
    folder
}

/// The earlier base is as it was, and nothing is left of the build.
pub(crate) fn is_untouched(folder: &BaseFolder) {
    folder.has(&MANIFEST);
}

/// A build with a mmdebstrap that does this; root or not.
fn with_mmdebstrap(folder: &BaseFolder, script: &str) -> Command {
    folder.stands_in("mmdebstrap", script);
    folder.command(&MIRROR)
}

/// Stands in for a mmdebstrap at work; what it starts has to end with it.
const AT_WORK: &str = "sleep 600 & echo $! >sleeper; echo 'imgbuild-stage: kernel'; wait";

/// The same, once it is at work, and what follows of its words.
fn at_work(folder: &BaseFolder, words: &[&str]) -> (Child, impl Iterator<Item = String> + use<>) {
    let mut child = with_mmdebstrap(folder, AT_WORK)
        .args(words)
        .spawn()
        .unwrap();
    let lines = until(&mut child, "       kernel ...");
    (child, lines)
}

#[test]
fn missing_programs_are_named_with_their_packages() {
    let folder = folder("vim");
    let mut command = folder.command(&MIRROR);
    let done = folder.done(&command.env("PATH", folder.path("bin")).output().unwrap());
    assert_eq!(done.code, Some(1));
    let (more_programs, more_packages) = match rustix::process::geteuid().is_root() {
        true => ("", ""),
        false => (", newuidmap, newgidmap", " uidmap"),
    };
    assert_eq!(
        done.err,
        format!(
            "imgbuild: error: programs are missing: mmdebstrap, qemu-img{more_programs}. On \
             Debian: sudo apt install mmdebstrap qemu-utils{more_packages}\n"
        )
    );
    is_untouched(&folder);
}

#[test]
fn a_disk_that_is_full_is_said() {
    let folder = folder("vim");
    folder.stands_in("mmdebstrap", "cat /proc/self/stat >/dev/full || exit 25");
    let done = folder.fails(&MIRROR);
    let first = "imgbuild: error: the disk of out or of HERE/temporary is full: \
                 No space left on device: a program failed (exit status: 25): ";
    begins(done.error(), first);
    is_untouched(&folder);
}

#[test]
fn every_way_to_be_stopped_leaves_nothing_behind() {
    for way in [Signal::INT, Signal::TERM, Signal::HUP] {
        let folder = folder("vim");
        let (mut child, lines) = at_work(&folder, &[]);
        // A second one changes nothing.
        kill(child.id(), way);
        kill(child.id(), way);
        let rest: Vec<String> = lines.collect();
        assert_eq!(child.wait().unwrap().code(), Some(130));
        assert!(rest[0].starts_with("ended  kernel "), "{rest:?}");
        assert_eq!(
            rest[1..],
            ["imgbuild: error: interrupted; nothing half made was left behind"]
        );
        is_untouched(&folder);
        // It was killed; that it is gone takes its moment on a PC that is busy.
        wait_for("the end of what mmdebstrap has started", || {
            !exists(&folder.read("sleeper"))
        });
    }
}

#[test]
fn a_kept_work_folder_is_named() {
    let folder = folder("vim");
    let (mut child, lines) = at_work(&folder, &["--keep-work"]);
    kill(child.id(), Signal::INT);
    let kept = format!("out/.imgbuild-base.kept.{}", child.id());
    assert_eq!(
        lines.last().unwrap(),
        format!("imgbuild: error: interrupted; the work folder is kept: {kept}")
    );
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let kept = folder.path(&kept);
    assert!(kept.join("imgbuild/provision.sh").is_file());
    fs::remove_dir_all(kept).unwrap();
    is_untouched(&folder);
}

#[test]
fn two_builds_exclude_each_other_and_a_killed_one_is_cleaned_up() {
    let folder = folder("vim");
    let (mut first, _lines) = at_work(&folder, &[]);
    assert_eq!(
        folder.fails(&[&MIRROR[..], &["--force"]].concat()).error(),
        "imgbuild: error: another imgbuild is at work in out/.imgbuild-base: wait for its end, or \
         choose another folder\n"
    );
    kill(first.id(), Signal::KILL);
    first.wait().unwrap();
    assert!(folder.path("out/.imgbuild-base").is_dir());
    let third = with_mmdebstrap(&folder, "exit 1").output().unwrap();
    assert_eq!(third.status.code(), Some(1));
    is_untouched(&folder);
    kill(folder.read("sleeper").trim().parse().unwrap(), Signal::KILL);
}

#[test]
fn a_mirror_that_is_no_url_is_refused() {
    let folder = folder("vim");
    let words = [&MIRROR[..], &["--mirror", "debian.example.org"]].concat();
    assert_eq!(
        folder.fails(&words).error(),
        "imgbuild: error: the mirror `debian.example.org` is not a http:// or https:// URL\n"
    );
    is_untouched(&folder);
}
