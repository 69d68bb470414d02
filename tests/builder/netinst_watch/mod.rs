//! `imgbuild base` from a disc, with a program that stands in for QEMU and plays the installer:
//! every way in which an installation ends without a base.
//!
//! What it plays was recorded from the real installer (tests/cases/netinst).

mod place;

use place::Place;
use rustix::process::Signal;
use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};
use testkit::{begins, ends, exists, has, kill, until, wait_for};

const LOGS: [&str; 2] = ["base.console.log", "base.installer.log"];

#[test]
fn a_question_ends_the_build_with_its_text_and_the_log() {
    let place = Place::new(
        "boot; for n in $(seq 40); do log \"kernel: line $n\"; done\n\
         cat $cases/step-failed.log >> installer.log; cat $cases/step-failed.console >> console.log\n\
         exec sleep 600",
    );
    let error = place.fails(&[], &LOGS);
    let expected = "imgbuild: error: the installer stopped in the stage `base system, packages` and asks:\n    \
        Install the base system\n    \
        !! ERROR: Installation step failed\n    \
        An installation step failed. You can try to run the failing item again from the\n    \
        menu, or skip it and choose something else. The failing step is: Install the\n    \
        base system\n\
        the last lines of the installer's log:\n";
    begins(&error, expected);
    let log: Vec<&str> = error
        .lines()
        .filter(|l| l.starts_with("    Nov "))
        .collect();
    assert_eq!(log.len(), 30, "{error}");
    assert!(log[29].ends_with("WARNING **: Menu item 'bootstrap-base' failed."));
    ends(
        &error,
        "the whole log: out/base.installer.log; the console: out/base.console.log\n",
    );
    // Signs of life are not worth keeping.
    let kept = place.read("out/base.installer.log");
    assert!(!kept.contains("alive") && kept.contains("bootstrap-base"));
}

#[test]
fn a_mirror_that_does_not_answer_is_named_with_the_remedy() {
    let place = Place::new(
        "cat $cases/bad-mirror.log >> installer.log; cat $cases/bad-mirror.console >> console.log\n\
         exec sleep 600",
    );
    let error = place.fails(&[], &LOGS);
    let expected = "imgbuild: error: the mirror http://mirror.invalid/debian, the security archive \
        http://security.invalid/debian-security or a repository of the definition cannot be \
        reached; look at the network, or choose others: --mirror, and `security_mirror` in the \
        image definition: the installer stopped in the stage `mirror` and asks:\n    \
        Choose a mirror of the Debian archive\n    \
        !! ERROR: Bad archive mirror\n    \
        An error has been detected while trying to use the specified Debian archive\n";
    begins(&error, expected);
}

#[test]
fn a_whole_installation_shows_its_stages() {
    // What it leaves is an empty disk, so the audit is its end.
    let place = Place::new("boot; cat $cases/whole.log >> installer.log; sleep 1");
    let done = place.run(&["--accel", "tcg"]);
    let stages: Vec<&str> = done
        .err
        .lines()
        .filter_map(|line| line.strip_prefix("ok     "))
        .map(|rest| rest.split("  ").next().unwrap())
        .collect();
    assert_eq!(
        stages,
        [
            "installer's disc",
            "start of the installer",
            "disc drive",
            "installer's components",
            "network",
            "mirror",
            "disks",
            "partitioning",
            "base system, download",
            "base system, packages",
            "installer's end",
            "debconf answers",
            "package lists",
            "eatmydata",
            "updates",
            "firstboot",
            "kernel",
            "boot loader",
            "packages",
            "settings",
            "initramfs",
            "boot files",
            "clean up",
            "seal",
            "switch off",
            "compress"
        ]
    );
    has(&done.err, "FAILED audit");
    // No base, and the installer's log all the same.
    place.has(&["base.installer.log"]);
}

#[test]
fn a_package_that_does_not_exist_is_named() {
    let place = Place::new(
        "boot; log 'finish-install: E: Unable to locate package harmless' 'finish-install: imgbuild-stage: packages' \
         'finish-install: E: Unable to locate package no-such-package' 'imgbuild: imgbuild-failed: 100'\n\
         exec sleep 600",
    );
    let error = place.fails(&[], &LOGS);
    let expected = "imgbuild: error: the package `no-such-package` was not found in trixie or in the \
        definition's repositories; correct `packages` in the image definition: the stage `packages` \
        failed in the new system (100)\n";
    begins(&error, expected);
}

#[test]
fn a_disk_that_no_base_fits_on_is_refused_before_the_boot() {
    let place = Place::new("");
    fs::write(
        place.path("images/base.yaml"),
        "release: trixie\ndisk: 1G\n",
    )
    .unwrap();
    let error = place.fails(&[], &[]);
    has(&error, "images/base.yaml:2:7: ");
    assert_eq!(place.qemu_args(), [] as [&str; 0]);
}

#[test]
fn a_disk_that_is_too_small_is_told_from_a_full_host() {
    let place = Place::new(
        "boot; log 'finish-install: cp: error writing x: No space left on device' \
         'imgbuild: imgbuild-failed: 1'; exec sleep 600",
    );
    let error = place.fails(&[], &LOGS);
    let expected = "imgbuild: error: the disk of 4 GiB is too small for these packages: enlarge `disk` in \
        the image definition: the stage `disc drive` failed in the new system (1)\n";
    begins(&error, expected);
}

#[test]
fn a_full_host_is_said() {
    // QEMU stops the machine then, and says so on its control socket only.
    let place = Place::new(
        r#"boot; exec python3 -c '
import socket
s = socket.socket(socket.AF_UNIX); s.bind("qmp.sock"); s.listen(1)
while True:
    c, _ = s.accept(); f = c.makefile("rw")
    def say(line): f.write(line + "\n"); f.flush()
    say("{\"QMP\": {}}")
    for line in f:
        say("{\"return\": {\"status\": \"io-error\", \"running\": false}}" if "query-status" in line else "{\"return\": {}}")
'"#,
    );
    let error = place.fails(&[], &LOGS);
    let expected = "imgbuild: error: the disk of the work folder is full; QEMU has stopped the machine: \
        No space left on device: out/.imgbuild-base/";
    begins(&error, expected);
}

#[test]
fn a_panic_a_silence_a_standstill_and_a_limit_are_said() {
    let panic =
        Place::new("boot; console '[    1.0] Kernel panic - not syncing: VFS'; exec sleep 600");
    let error = panic.fails(&[], &LOGS);
    let expected = "imgbuild: error: the guest's kernel panicked; the last lines of its console:\n    \
        SeaBIOS (version 1.16)\n    [    0.000000] Linux version 6.12\n";
    begins(&error, expected);

    let silent = Place::new("boot; exec sleep 600");
    let error = silent.fails(&["--silence", "1"], &LOGS);
    let expected = "imgbuild: error: the machine said nothing for 1 s in the stage `disc drive`; the \
        last lines of its console:\n";
    begins(&error, expected);

    let idle = "boot; n=0; while sleep 0.1; do n=$((n + 1)); log \"imgbuild: alive $n 0\"; done";
    let error = Place::new(idle).fails(&["--standstill", "1"], &LOGS);
    let expected = "imgbuild: error: the installer did nothing for 1 s in the stage `disc drive`\n";
    begins(&error, expected);

    // One that computes or downloads without a word is left alone.
    let busy = "boot; n=0; while sleep 0.1; do n=$((n + 5000)); log \"imgbuild: alive 9 $n\"; done";
    let error = Place::new(busy).fails(&["--standstill", "1", "--timeout", "3"], &LOGS);
    let expected = "imgbuild: error: the installation was not done after 3 s (--timeout), in the stage \
        `disc drive`\n";
    begins(&error, expected);
}

#[test]
fn a_qemu_that_is_killed_or_refuses_is_said() {
    let place = Place::new("boot; kill -9 $$");
    let error = place.fails(&[], &LOGS);
    let expected = "imgbuild: error: QEMU ended (signal: 9 (SIGKILL)) in the stage `disc drive`, before \
        the installation was done\n";
    begins(&error, expected);
    // Off without having said that everything is done: no base.
    let error = Place::new("boot; exit 0").fails(&[], &LOGS);
    has(&error, "QEMU ended (exit status: 0) in the stage");
    let error = Place::new("echo 'qemu: no such machine' >&2; exit 1").fails(&[], &LOGS);
    let expected = "imgbuild: error: QEMU ended (exit status: 1) in the stage `start of the installer`, before \
        the installation was done\n    qemu: no such machine\nthe installer had not begun its log\n";
    begins(&error, expected);
}

#[test]
fn qemu_is_missed_before_any_work() {
    let place = Place::new("");
    let output = place
        .command(&[])
        .env("PATH", place.path("images"))
        .output()
        .unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        err,
        "imgbuild: error: programs are missing: qemu-system-x86_64, qemu-img. On Debian: sudo apt install \
         qemu-system-x86 qemu-utils\n"
    );
    place.has(&[]);
}

#[test]
fn kvm_that_runs_no_guest_is_given_up_and_remembered() {
    // Silent under KVM, as some machines are; under emulation it gets as far as a question.
    let scenario = r#"case "$*" in
        *'-accel kvm'*) console 'SeaBIOS (version 1.16)'; exec sleep 600 ;;
    esac
    boot; printf 'Checking the Debian archive mirror  ... 25%%\nBad archive mirror\n[Press enter to continue] ' >> console.log; exec sleep 600"#;
    let place = Place::new(scenario);
    place.write("kvm", "");
    let words = ["--kvm-device", "kvm", "--firmware", "1"];
    let done = place.run(&words);
    assert_eq!(done.code, Some(1));
    let said = "imgbuild: warning: KVM runs no guest on this PC: starting over with software emulation, \
                until this PC is started again\n";
    assert_eq!(done.err.matches(said).count(), 1, "{}", done.err);
    has(done.error(), "Bad archive mirror");
    let args = place.qemu_args();
    assert_eq!(args.len(), 2);
    assert!(args[0].contains("-accel kvm -cpu host"), "{}", args[0]);
    assert!(args[1].contains("-accel tcg,thread=single"), "{}", args[1]);
    // The next one does not try again; `imgbuild run` and run.sh read the same file.
    let done = place.run(&words);
    has(
        &done.err,
        "warning: KVM is not usable: no guest ran under it since this PC was started",
    );
    assert_eq!(place.qemu_args().len(), 3);
    // Nor does one that dies of it at once.
    let place = Place::new("case \"$*\" in *'-accel kvm'*) kill -ABRT $$ ;; esac; boot; exit 0");
    place.write("kvm", "");
    let done = place.run(&["--kvm-device", "kvm"]);
    has(&done.err, said);
    // Whoever asks for KVM gets it or an error.
    let done = place.run(&["--kvm-device", "no-kvm", "--accel", "kvm"]);
    let expected = "imgbuild: error: KVM is not usable: no-kvm is not there (virtualisation is switched off \
                    in the firmware setup?)\n";
    begins(done.error(), expected);
}

#[test]
fn ctrl_c_ends_qemu_and_leaves_nothing_behind() {
    let place = Place::new("boot; echo $$ > $OUT/pid; exec sleep 600");
    let mut child = place.command(&["--accel", "tcg"]).spawn().unwrap();
    let lines = until(&mut child, "       disc drive ...");
    // A second build in the same folder is refused meanwhile.
    let refused = place.run(&["--accel", "tcg"]);
    assert_eq!(
        refused.error(),
        "imgbuild: error: another imgbuild is at work in out/.imgbuild-base: wait for its end, or choose \
         another folder\n"
    );
    kill(child.id(), Signal::INT);
    let rest: Vec<String> = lines.collect();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(
        rest.last().unwrap(),
        "imgbuild: error: interrupted; nothing half made was left behind"
    );
    place.has(&[]);
    assert!(!exists(&place.read("pid")));
}

#[test]
fn qemu_ends_with_a_build_that_is_killed() {
    let place =
        Place::new("trap 'echo ended > $OUT/ended; exit' TERM; boot; while :; do sleep 0.1; done");
    let mut child = place.command(&["--accel", "tcg"]).spawn().unwrap();
    let _lines = until(&mut child, "       disc drive ...");
    kill(child.id(), Signal::KILL);
    child.wait().unwrap();
    wait_for("QEMU's end", || place.path("ended").exists());
    // The next build removes what the killed one left.
    let again = place.fails(&["--timeout", "1"], &LOGS);
    has(&again, "--timeout");
}

#[test]
fn a_disc_and_the_mirror_source_exclude_each_other() {
    let place = Place::new("");
    let done = place.run(&["--source", "mirror"]);
    assert_eq!(
        done.error(),
        "imgbuild: error: --iso is for the source netinst; the mirror source takes no disc\n"
    );
    place.has(&[]);
}

#[test]
fn the_machine_gets_a_disc_a_disk_and_what_is_appended_to_the_initrd() {
    let place = Place::new("cp initrd $OUT/initrd; boot; exit 0");
    place.define(&(place.read("images/base.yaml") + "proxy: http://proxy.invalid:3128\n"));
    let comma = place.path("a,disc.iso");
    fs::rename(place.path("disc.iso"), &comma).unwrap();
    place.run(&["--accel", "tcg", "--iso", "a,disc.iso"]);
    let args = place.qemu_args();
    assert!(
        args[0].contains("a,,disc.iso,if=none,id=disc,media=cdrom"),
        "{}",
        args[0]
    );
    assert!(args[0].contains("cache=unsafe"), "{}", args[0]);
    let initrd = fs::read(place.path("initrd")).unwrap();
    assert!(initrd.starts_with(b"\x1f\x8b\x08rest"));
    let root = place.path("root");
    fs::create_dir_all(root.join("lib/debian-installer-startup.d")).unwrap();
    let mut cpio = Command::new("cpio")
        .args(["--extract", "--quiet", "--no-preserve-owner"])
        .current_dir(&root)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    // Behind the first archive, from the next multiple of four on.
    cpio.stdin.take().unwrap().write_all(&initrd[8..]).unwrap();
    assert!(cpio.wait().unwrap().success());
    for name in [
        "preseed.cfg",
        "imgbuild/mke2fs.conf",
        "imgbuild/payload/firstboot",
        "imgbuild/payload/sources.list",
    ] {
        assert!(root.join(name).is_file(), "{name}");
    }
    // The proxy is the installer's and APT's.
    let has = |name: &str, line: &str| {
        let text = fs::read_to_string(root.join(name)).unwrap();
        assert!(text.lines().any(|l| l == line), "{line} is not in {text}");
    };
    has(
        "preseed.cfg",
        "d-i mirror/http/proxy string http://proxy.invalid:3128",
    );
    let apt = "Acquire::http::Proxy \"http://proxy.invalid:3128\";";
    has("imgbuild/payload/packages.sh", apt);
    let scripts = [
        "lib/debian-installer-startup.d/S11imgbuild",
        "imgbuild/hook",
        "imgbuild/payload/packages.sh",
        "imgbuild/payload/provision.sh",
        "imgbuild/payload/seal.sh",
    ];
    let output = Command::new("shellcheck")
        .args(["--shell", "sh"])
        .args(scripts)
        .current_dir(&root)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
}
