//! The faults of the PC: no space, a guest that floods its logs, files in the way, a stick for a disk.

use crate::vm_folder::{CONFIGURED, LabFolder, QMP};
use rustix::process::Signal;
use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt, symlink};
use std::path::Path;
use std::process::Command;
use testkit::{begins, ends, has, kill, must, set_mode, sha256, wait_for};

const START: [&str; 2] = ["start", "--user-net"];

fn lab(scenario: &str) -> LabFolder {
    let lab = LabFolder::new(&["vm42"]);
    // Its control socket would outlive one that ends at once.
    let control = if scenario == "exit 0" { "" } else { QMP };
    lab.seeded("vm42", &format!("{control}{scenario}"));
    lab
}

/// The last line of a refusal.
fn refused(lab: &LabFolder, words: &[&str]) -> String {
    let done = lab.run_sh("vm42", words);
    assert_eq!(done.code, Some(1), "{}", done.err);
    let error = "vm42/run.sh: error: ";
    done.err.rsplit_once(error).expect(&done.err).1.to_owned()
}

/// 20 MB on each port, then a last word.
const FLOOD: &str = r#"
flood() { perl -e 'my $x = "x" x 1023 . "\n"; for (1 .. 20000) { syswrite STDOUT, $x }'; }
flood >&7
flood >&8
console 'the last word'
status '{"event":"verdict","result":"configured","name":"vm42","instance":"i","uptime":9}'
"#;

#[test]
fn a_guest_that_floods_its_logs_fills_no_disk() {
    let lab = lab(FLOOD);
    let done = lab.run(&[]);
    assert_eq!(done.code, Some(0), "{}", done.err);
    for log in ["console.log", "status.jsonl"] {
        for name in [log.to_owned(), format!("{log}.old")] {
            let bytes = fs::metadata(lab.path("vm42").join(&name)).unwrap().len();
            assert!(bytes <= 4 << 20, "{name}: {bytes}");
        }
    }
    ends(&lab.read("vm42/console.log"), "the last word\r\n");
    let shown = lab.imgbuild(&["logs", "vm42"]).out;
    assert!((1 << 20..9 << 20).contains(&shown.len()), "{}", shown.len());
    ends(&shown, "the last word\n");
    let status = lab.run_sh("vm42", &["status", "--json"]).out;
    assert!(status.len() < 120_000, "{}", status.len());
}

/// Of two that are started at the same time one is refused, and no log of the other is touched.
#[test]
fn no_log_is_touched_without_the_lock() {
    let lab = lab(CONFIGURED);
    assert_eq!(lab.run_sh("vm42", &START).code, Some(0));
    wait_for("the verdict", || {
        lab.read("vm42/status.jsonl").contains("\"configured\"")
    });
    lab.write("vm42/run.log", "said before\n");
    // As seen by one that began before there was a process id.
    fs::rename(lab.path("vm42/qemu.pid"), lab.path("vm42/pid")).unwrap();
    let logs = ["console.log", "status.jsonl", "run.log"].map(|log| format!("vm42/{log}"));
    let before = logs.each_ref().map(|log| lab.read(log));
    let words = "it is being started already: somebody holds LAB/vm42/run.lock, on another PC if that has this \
         folder, too\n";
    let done = lab.run(&[]);
    assert_eq!(done.error(), words);
    let words = words.replace("it is", "vm42 is");
    assert_eq!(refused(&lab, &["--user-net", "--log"]), words);
    assert_eq!(refused(&lab, &START), words);
    assert_eq!(logs.each_ref().map(|log| lab.read(log)), before);
    fs::rename(lab.path("vm42/pid"), lab.path("vm42/qemu.pid")).unwrap();
}

#[test]
fn a_full_disk_is_said_and_the_machine_goes_on_by_itself() {
    let lab = lab("hold\nconsole 'it goes on'");
    assert_eq!(lab.run_sh("vm42", &START).code, Some(0));
    wait_for("the end of the hold", || {
        lab.read("vm42/run.log").contains(" goes on\n")
    });
    assert_eq!(
        lab.read("vm42/run.log"),
        "vm42/run.sh: QEMU starts\n\
         vm42/run.sh: warning: vm42 is held, and loses nothing: this PC could not write its disk (No space \
         left on device). It goes on by itself when that is mended, such as by free space\n\
         vm42/run.sh: vm42 goes on\n"
    );
    assert_eq!(lab.read("vm42/console.log"), "it goes on\r\n");
}

#[test]
fn a_machine_that_is_held_is_not_silent() {
    let lab = lab(&format!(
        "echo io-error >state\nsleep 8\necho running >state\n{CONFIGURED}"
    ));
    let done = lab.run(&["--silence=1"]);
    assert_eq!(done.code, Some(0), "{}", done.err);
    has(
        &done.err,
        "imgbuild: warning: vm42: it is held: QEMU could not write to a disk of it (is this PC's disk \
         full, or your quota?)\n",
    );
    has(&lab.read("vm42/qmp.log"), "cont\n");
    drop(lab);

    let lab = self::lab("echo io-error >state");
    let done = lab.run(&["--silence=1", "--timeout=3"]);
    let pid = imgbuild::qemu::running(&lab.path("vm42")).unwrap();
    assert_eq!(
        done.error(),
        format!(
            "vm42 gave no verdict within 3 s, because it is held: QEMU could not write to a disk of it (is \
             this PC's disk full, or your quota?). It was left as it is, as process {pid}, and loses \
             nothing; imgbuild stop vm42 ends it\n"
        )
    );
}

/// By a terminal, a signal, a debugger.
#[test]
fn a_machine_that_was_stopped_is_not_silent() {
    let lab = lab(&format!(
        "echo >here\nwhile [ ! -e on ]; do sleep 0.1; done\n{CONFIGURED}"
    ));
    let mut command = lab.command(
        &crate::program(),
        &["run", "vm42", "--user-net", "--silence=2"],
    );
    let child = command.spawn().unwrap();
    wait_for("the machine", || lab.path("vm42/here").exists());
    let pid = imgbuild::qemu::running(&lab.path("vm42")).unwrap();
    kill(pid, Signal::STOP);
    std::thread::sleep(std::time::Duration::from_secs(6));
    kill(pid, Signal::CONT);
    lab.write("vm42/on", "");
    let done = lab.finished(child.wait_with_output().unwrap());
    assert_eq!(done.code, Some(0), "{}", done.err);
    has(
        &done.err,
        &format!("vm42: it is held: the process is stopped: kill -CONT {pid} lets it go on\n"),
    );
}

#[test]
fn what_is_in_the_way_is_named() {
    let lab = lab("exit 0");
    for name in [
        "console.log",
        "qemu.pid",
        "run.log",
        "run.lock",
        "vm42.qcow2",
    ] {
        fs::create_dir(lab.path("vm42").join(name)).unwrap();
        for words in [&["--user-net"][..], &START, &["--user-net", "--log"]] {
            assert_eq!(
                refused(&lab, words),
                format!(
                    "{name} is a folder, where vm42 needs a file of that name. Move it elsewhere: mv \
                     LAB/vm42/{name} LAB/vm42/{name}.away\n"
                )
            );
        }
        assert_eq!(lab.run_sh("vm42", &["status"]).code, Some(0));
        fs::remove_dir(lab.path("vm42").join(name)).unwrap();
    }
    lab.program(
        "id",
        "#!/bin/sh\n[ \"$1\" = -u ] || { echo 1000; echo 'id: no name' >&2; exit 1; }\necho 1000\n",
    );
    lab.replace(
        "vm42",
        "    if [ ! -w . ]; then\n",
        "    if [ -w . ]; then\n",
    );
    assert_eq!(
        refused(&lab, &["--user-net"]),
        "1000 cannot write to this folder, LAB/vm42 (a disk that is mounted read-only?), and vm42 needs its \
         disk and its logs here. Copy the lab to a disk where you can write, and start it there\n"
    );
}

/// The directory service does not answer.
#[test]
fn a_user_without_a_name_is_no_reason_to_stop() {
    let lab = lab("exit 0");
    lab.program(
        "id",
        "#!/bin/sh\ncase $1 in\n-u) echo 1000 ;;\n*) echo 1000; echo 'id: cannot find name for user ID \
         1000' >&2; exit 1 ;;\nesac\n",
    );
    let done = lab.run_sh("vm42", &["status"]);
    assert_eq!((done.code, done.err.as_str()), (Some(0), ""));
    begins(&done.out, "vm42 is off\n");
    assert_eq!(lab.run_sh("vm42", &["--user-net"]).code, Some(0));
}

#[test]
fn a_disk_that_is_none_is_used_elsewhere_or_has_lost_its_base() {
    let img = "/usr/bin/qemu-img";
    if !Path::new(img).is_file() || !Path::new("/usr/bin/qemu-system-x86_64").is_file() {
        return;
    }
    let lab = lab("exit 0");
    lab.without("qemu-img");
    symlink(img, lab.path("bin/qemu-img")).unwrap();
    lab.write("vm42/vm42.qcow2", "junk\n");
    assert_eq!(
        refused(&lab, &["--user-net"]),
        "vm42.qcow2 is no disk that QEMU can use: qemu-img: Could not open 'vm42.qcow2': Image is not in \
         qcow2 format. To start afresh, without what is on it: rm LAB/vm42/vm42.qcow2*\n"
    );
    let create = |words: &[&str]| {
        let _ = fs::remove_file(lab.path("vm42/vm42.qcow2"));
        must(
            Command::new(img)
                .args(["create", "-q", "-f", "qcow2"])
                .args(words)
                .current_dir(lab.path("vm42")),
        );
    };
    create(&["vm42.qcow2", "1G"]);
    assert_eq!(
        refused(&lab, &["--user-net"]),
        format!(
            "vm42.qcow2.base is not there, and nothing else says which base vm42.qcow2 stands on; on another \
             one it is ruined. If it is the one of this seed: echo {} >LAB/vm42/vm42.qcow2.base. To start \
             afresh, without what is on it: rm LAB/vm42/vm42.qcow2\n",
            sha256(b"this stands in for an image\n")
        )
    );
    let mut other = Command::new("/usr/bin/qemu-system-x86_64")
        .args(["-S", "-display", "none", "-nodefaults", "-accel", "tcg"])
        .args(["-drive", "if=none,id=disk,format=qcow2,file=vm42.qcow2"])
        .args(["-device", "virtio-blk-pci,drive=disk"])
        .current_dir(lab.path("vm42"))
        .spawn()
        .unwrap();
    wait_for("the other one", || {
        let info = Command::new(img)
            .args(["info", "vm42.qcow2"])
            .current_dir(lab.path("vm42"))
            .output();
        !info.unwrap().status.success()
    });
    begins(
        &refused(&lab, &["--user-net"]),
        "vm42.qcow2 is in use: another QEMU or qemu-img has it open, on this PC or on one that has this \
         folder, too. End that one first. qemu-img says: qemu-img: Could not open 'vm42.qcow2': Failed to \
         get shared \"write\" lock\n",
    );
    kill(other.id(), Signal::TERM);
    other.wait().unwrap();
    let digest = "ab".repeat(32);
    let base = format!("../bases/{digest}.qcow2");
    create(&["-u", "-F", "qcow2", "-b", &base, "vm42.qcow2", "1G"]);
    let done = lab.run_sh("vm42", &["--user-net"]);
    has(
        &done.err,
        &format!(
            "vm42.qcow2.base was not there; the disk itself says that it stands on {digest}\n"
        ),
    );
    assert_eq!(lab.read("vm42/vm42.qcow2.base"), format!("{digest}\n"));
}

#[test]
fn a_base_that_was_changed_or_that_others_may_change_is_refused() {
    let lab = lab("exit 0");
    assert_eq!(lab.run_sh("vm42", &["--user-net"]).code, Some(0));
    let digest = sha256(b"this stands in for an image\n");
    let kept = lab.path(&format!("bases/{digest}.qcow2"));
    let file = fs::OpenOptions::new().write(true).open(&kept).unwrap();
    file.write_all_at(b"T", 0).unwrap();
    assert_eq!(
        refused(&lab, &["--user-net"]),
        format!(
            "../bases/{digest}.qcow2 was changed: found SHA-256 {}, expected {digest}. vm42.qcow2 stands on \
             it, and is ruined by another one. Copy the right one there\n",
            sha256(b"This stands in for an image\n")
        )
    );
    // Written again as it was: looked at once more, and then known.
    file.write_all_at(b"t", 0).unwrap();
    let again = format!("checking ../bases/{digest}.qcow2, which is not known as it is now\n");
    has(&lab.run_sh("vm42", &["--user-net"]).err, &again);
    let done = lab.run_sh("vm42", &["--user-net"]);
    assert!(
        done.code == Some(0) && !done.err.contains(&again),
        "{}",
        done.err
    );
    for (mode, is_others) in [(0o666, true), (0o646, true), (0o644, false)] {
        set_mode(&kept, mode);
        if is_others {
            assert_eq!(
                refused(&lab, &["--user-net"]),
                format!(
                    "others than its owner may write to ../bases/{digest}.qcow2 (mode {mode:o}), and with it \
                     to the disk of every machine that stands on it. To go on: chmod go-w \
                     ../bases/{digest}.qcow2\n"
                )
            );
        } else {
            assert_eq!(lab.run_sh("vm42", &["--user-net"]).code, Some(0));
        }
    }
}

/// As exFAT was described: every file has the mode that the mount has, and a socket cannot be made.
#[test]
fn a_stick_without_modes_and_sockets_will_do() {
    let lab = lab("exit 0");
    fs::create_dir(lab.path("runtime")).unwrap();
    lab.without("stat");
    lab.program(
        "stat",
        "#!/bin/sh\ncase \"$*\" in '-f -c %a %S %T .') echo 1000000 4096 exfat; exit ;; *%a*) case \"$*\" in *-f*) ;; *%u*) echo 755 0 0; exit ;; *) echo 755; \
         exit ;; esac ;; esac\nexec /usr/bin/stat \"$@\"\n",
    );
    lab.without("perl");
    lab.program(
        "perl",
        "#!/bin/sh\ncase \"$*\" in *' can-listen') echo 'cannot make a socket here' >&2; exit 1 ;; esac\n\
         exec /usr/bin/perl \"$@\"\n",
    );
    let run = |runtime: &str| {
        let mut command = lab.command(&lab.path("vm42/run.sh"), &["--user-net"]);
        command.env("XDG_RUNTIME_DIR", lab.path(runtime));
        lab.finished(command.output().unwrap())
    };
    let done = run("nowhere");
    assert_eq!(done.code, Some(1));
    ends(
        &done.err,
        "error: the file system of this folder (LAB/vm42) has no sockets, and XDG_RUNTIME_DIR, where they \
         could be instead, is not there (LAB/nowhere). Copy the lab to a disk of this PC, and start it there\n",
    );
    let done = run("runtime");
    assert_eq!(done.code, Some(0), "{}", done.err);
    has(
        &done.err,
        "warning: seed.img holds secrets, and the file system of this folder knows no modes: whoever reaches \
         LAB/vm42 on this PC may read and change them (mode 755)\n",
    );
    let sockets = lab.read("vm42/sockets");
    begins(
        &sockets,
        &format!("{}/imgbuild-vm42.", lab.path("runtime").display()),
    );
    let words = lab.read("vm42/qemu.args");
    has(
        &words,
        &format!("\nunix:{}qmp.sock,server=on,wait=off\n", sockets.trim()),
    );
    assert_eq!(fs::metadata(sockets.trim()).unwrap().mode() & 0o777, 0o700);
}

#[test]
fn a_disk_that_is_nearly_full_is_said_before() {
    let lab = lab("exit 0");
    lab.without("stat");
    lab.program(
        "stat",
        "#!/bin/sh\ncase $1 in -f) echo 1000 4096 ;; *) exec /usr/bin/stat \"$@\" ;; esac\n",
    );
    let done = lab.run_sh("vm42", &["--user-net"]);
    assert_eq!(done.code, Some(0), "{}", done.err);
    has(
        &done.err,
        "warning: only 4 MB are free where vm42.qcow2 grows (LAB/vm42). When they are used up, vm42 is held \
         until there is space\n",
    );
}

/// Root in the guest writes to the status port what he likes.
#[test]
fn of_a_flood_of_steps_few_are_shown() {
    let step =
        r#"{"event":"step","stage":"local","step":"hostname","result":"changed","seconds":0.1}"#;
    let flood = format!("for n in $(seq 3000); do echo '{step}'; done >&8\n");
    let flood = flood.replace("$(seq 3000)", &"x ".repeat(3000));
    let lab = lab(&format!("{flood}{CONFIGURED}"));
    let done = lab.run(&[]);
    assert_eq!(done.code, Some(0), "{}", done.err);
    has(
        &done.out,
        "\nand 2802 more, which are not shown: firstboot has no such number of steps\n",
    );
    assert!(done.out.lines().count() < 220 && done.err.lines().count() < 240);
}

/// What QEMU's qcow2.c says where it was built without zstd.
#[test]
fn a_qemu_without_zstd_is_told_before_anything_is_made() {
    let lab = lab("exit 0");
    lab.without("qemu-img");
    lab.program(
        "qemu-img",
        "#!/bin/sh\ncase \"$*\" in 'info '*base*) \
         echo \"qemu-img: Could not open 'x': qcow2: unknown compression type: 1\" >&2; exit 1 ;; esac\n\
         exec /usr/bin/qemu-img \"$@\"\n",
    );
    let base = lab.path("base.qcow2").display().to_string();
    let said = refused(&lab, &["--user-net"]);
    assert!(
        said.ends_with(
            "qemu-img: Could not open 'x': qcow2: unknown compression type: 1. A base is compressed with zstd, \
             which Debian's QEMU knows from 6.1 on (Debian 12, bullseye-backports), and Ubuntu's from 22.04 on\n"
        ) && said.starts_with("this PC's QEMU cannot read "),
        "{base}: {said}"
    );
    assert!(!lab.path("vm42/vm42.qcow2").exists());
}
