//! `imgbuild base` with a real mmdebstrap and mirror, or in a namespace that lacks something: what it
//! refuses, and that it leaves nothing behind. No machine boots.

use crate::base::{MIRROR, folder, is_untouched};
use rustix::process::Signal;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use testkit::{begins, has, kill, until};

#[test]
#[ignore = "needs a user namespace to switch off further ones in; scripts/test runs it"]
fn switched_off_user_namespaces_are_said() {
    let folder = folder("vim");
    for name in ["mmdebstrap", "qemu-img", "newuidmap", "newgidmap"] {
        folder.stands_in(name, "exit 1");
    }
    let script = "echo 0 >/proc/sys/user/max_user_namespaces && exec \"$0\" base --source mirror --output out";
    let output = Command::new("unshare")
        .args([
            "--user",
            "--map-user=1000",
            "--map-group=1000",
            "--keep-caps",
        ])
        .args(["sh", "-c", script])
        .arg(crate::program())
        .current_dir(folder.path(""))
        .env("PATH", folder.path_with_bin())
        .output()
        .unwrap();
    let done = folder.done(&output);
    assert_eq!(done.code, Some(1), "{}", done.err);
    assert_eq!(
        done.error(),
        "imgbuild: error: user namespaces are switched off \
         (/proc/sys/user/max_user_namespaces is 0), and without root a base needs them. Switch them \
         on: sudo sysctl user.max_user_namespaces=15000\n"
    );
    is_untouched(&folder);
}

#[test]
#[ignore = "needs mmdebstrap and a mirror; scripts/test runs it"]
fn a_mirror_that_does_not_answer_is_said() {
    let folder = folder("vim");
    let security = "security_mirror: http://127.0.0.1:9/debian-security\n";
    let definition = folder.read("images/base.yaml") + security;
    folder.write("images/base.yaml", definition);
    let words = [&MIRROR[..], &["--mirror", "http://127.0.0.1:9/debian"]].concat();
    let done = folder.fails(&words);
    let text = done.error();
    let first = "imgbuild: error: the mirror http://127.0.0.1:9/debian, the security archive \
                 http://127.0.0.1:9/debian-security or a repository of the definition cannot be reached; look \
                 at the network, or choose others: --mirror, and `security_mirror` in the image definition: a \
                 program failed";
    begins(text, first);
    has(text, "/mmdebstrap --format=null");
    is_untouched(&folder);
}

#[test]
#[ignore = "needs mmdebstrap and a mirror; scripts/test runs it"]
fn a_package_that_does_not_exist_is_named() {
    let folder = folder("vim, no-such-package");
    let done = folder.fails(&MIRROR);
    let first = "imgbuild: error: the package `no-such-package` was not found in trixie or in the \
                 definition's repositories; correct `packages` in the image definition: a program failed";
    begins(done.error(), first);
    is_untouched(&folder);
}

#[test]
#[ignore = "needs mmdebstrap and a mirror; scripts/test runs it"]
fn ctrl_c_leaves_nothing_behind() {
    let folder = folder("vim");
    let mut child = folder.command(&MIRROR).spawn().unwrap();
    let lines = until(&mut child, "       packages ...");
    kill(child.id(), Signal::INT);
    let rest: Vec<String> = lines.collect();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(
        rest.last().unwrap(),
        "imgbuild: error: interrupted; nothing half made was left behind"
    );
    is_untouched(&folder);
}

/// Runs a shell script, whose $0 is imgbuild, in this folder and in a mount namespace of its own.
fn with_mounts(folder: &Path, script: &str) -> Output {
    let mut command = Command::new("unshare");
    command.arg("--mount");
    if !rustix::process::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    let command = command.args(["sh", "-c", script]).arg(crate::program());
    command.current_dir(folder).output().unwrap()
}

#[test]
#[ignore = "mounts a small file system in a namespace of its own; scripts/test runs it"]
fn too_little_space_is_said_before_any_work() {
    let folder = folder("vim");
    folder.folders(&["small"]);
    let script =
        "mount -t tmpfs -o size=50m none small && exec \"$0\" base --source mirror --output small";
    let output = with_mounts(&folder.path(""), script);
    let done = folder.done(&output);
    assert_eq!(done.code, Some(1));
    assert_eq!(
        done.err,
        "imgbuild: error: not enough space in small: 52 MB are free and a base needs about 4294 MB \
         there while it is made\n"
    );
    is_untouched(&folder);
}

#[test]
#[ignore = "mounts a small file system in a namespace of its own; scripts/test runs it"]
fn a_disk_that_becomes_full_keeps_no_half_of_an_image() {
    let folder = crate::compress::disk();
    let script = "mount -t tmpfs -o size=50m none small && \"$0\" compress raw small/image; code=$?; ls -A small; exit $code";
    let output = with_mounts(&folder.path(""), script);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(
        text.lines().last().unwrap(),
        "imgbuild: error: cannot write small/image: No space left on device (os error 28)"
    );
}

/// Installed from the archives twice, and once taken from the cache.
#[test]
#[ignore = "needs mmdebstrap and a mirror; scripts/test runs it"]
fn the_same_inputs_make_the_same_bytes() {
    let folder = folder("vim");
    let made = || {
        let done = folder.run(&["--source", "mirror", "--force"]);
        assert_eq!(done.code, Some(0), "{}", done.err);
        (done.err, fs::read(folder.path("out/base.qcow2")).unwrap())
    };
    let (said, first) = made();
    has(&said, "kept for the next base");
    let roots = folder.path("cache/imgbuild/roots");
    let entry = || {
        let mut names = testkit::names(&roots);
        names.retain(|name| name.ends_with(".tar.zst"));
        assert_eq!(names.len(), 1, "{names:?}");
        roots.join(&names[0])
    };
    let mut damaged = fs::read(entry()).unwrap();
    damaged[1_000_000] ^= 1;
    fs::write(entry(), damaged).unwrap();
    let (said, second) = made();
    has(&said, "the one in the cache is damaged, and was removed");
    assert!(first == second, "two installations differ");
    let (said, third) = made();
    has(&said, "taken from the cache");
    assert!(first == third, "the cached system differs");
    entry();
}
