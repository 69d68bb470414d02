//! run.sh alone, as on a PC without imgbuild: what it refuses and what it hands to QEMU.

mod network;
mod real_qemu;
use crate::vm_folder::{Finished, LabFolder};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use testkit::{ends, has, mode, set_mode, sha256};

/// The same lines before what a test looks at.
const EMULATION: &str = "\
vm42/run.sh: warning: KVM is not usable: LAB/kvm is not there (virtualisation is switched off in \
the firmware setup?)
vm42/run.sh: warning: software emulation: about ten times slower, and one CPU only
";

const LOOPBACK: &str = "vm42/run.sh: warning: vm42 can reach what listens on this PC's 127.0.0.1: ";
const NO_PASST: &str = "passt is not installed (Debian 13: sudo apt install passt)\n";

const SANDBOX: &str = "on,obsolete=deny,elevateprivileges=deny,resourcecontrol=deny";
const TCG: &str = "-accel tcg,thread=single -cpu max,bmi2=off -smp 1";
const KVM: &str = "-accel kvm -cpu host -smp 2";
const USER_NET: &str = "user,id=net,net=192.168.122.0/24,dns=192.168.122.1,host=192.168.122.254,\
                        dhcpstart=192.168.122.42,ipv6=off";

/// What QEMU was given.
fn qemu_words(lab: &LabFolder) -> String {
    lab.read("vm42/qemu.args").replace('\n', " ")
}

/// The base of [`LabFolder`], as run.sh keeps it.
fn kept() -> String {
    format!(
        "../bases/{}.qcow2",
        sha256(b"this stands in for an image\n")
    )
}

/// All that QEMU is given, with the console in its log.
fn words(lab: &LabFolder, sandbox: &str, accelerator: &str, network: &str) -> String {
    let script = lab.read("vm42/run.sh");
    let mac = script.lines().find_map(|line| line.strip_prefix("mac="));
    format!(
        "-name vm42 -sandbox {sandbox} -nodefaults -display none -pidfile qemu.pid -m 2048 \
         {accelerator} \
         -drive if=none,id=disk,file=vm42.qcow2,format=qcow2,cache=writeback,discard=unmap,\
         werror=stop,rerror=stop,backing.driver=qcow2,backing.file.driver=file,backing.file.filename={} \
         -device virtio-blk-pci,drive=disk,bootindex=0 \
         -drive if=none,id=seed,file=seed.img,format=raw,cache=writeback,werror=stop,rerror=stop \
         -device virtio-blk-pci,drive=seed \
         -object rng-random,id=rng,filename=/dev/urandom -device virtio-rng-pci,rng=rng \
         -device virtio-balloon-pci,free-page-reporting=on \
         -netdev {network} -device virtio-net-pci,netdev=net,mac={},romfile= \
         -machine q35,graphics=off -serial chardev:console \
         -chardev socket,id=console,path=console.sock,server=on,wait=off,logfile=/dev/fd/7,logappend=off \
         -qmp unix:qmp.sock,server=on,wait=off \
         -chardev socket,id=keeper,fd=6 -mon chardev=keeper,mode=control -device virtio-serial-pci \
         -chardev file,id=status,path=/dev/null,logfile=/dev/fd/8,logappend=off \
         -device virtserialport,chardev=status,name=org.imgbuild.firstboot ",
        kept(),
        mac.unwrap()
    )
}

fn lab() -> LabFolder {
    let lab = LabFolder::new(&["vm42"]);
    lab.seeded("vm42", "exit 0");
    lab
}

/// The refusal, whose exit code is 1.
fn refusal(done: Finished) -> String {
    assert_eq!((done.code, done.out.as_str()), (Some(1), ""));
    done.err.replace(EMULATION, "")
}

fn start(lab: &LabFolder) -> Finished {
    lab.run_sh("vm42", &["--user-net"])
}

#[test]
fn makes_the_overlay_once_and_hands_everything_to_qemu() {
    let lab = lab();
    let done = start(&lab);
    assert_eq!(
        (done.code, done.err),
        (
            Some(0),
            format!(
                "{EMULATION}vm42/run.sh: checking ../base.qcow2, only this once\n\
                 {LOOPBACK}{NO_PASST}\
                 vm42/run.sh: the console goes to LAB/vm42/console.log\n"
            )
        )
    );
    let made = lab.read("vm42/vm42.qcow2");
    assert!(
        made.starts_with(&format!(
            "create -q -f qcow2 -o extended_l2=on,cluster_size=128k -F qcow2 -b {} .vm42.qcow2.",
            kept()
        )) && made.ends_with(" 8589934592\n"),
        "{made}"
    );
    let spawns_nothing = format!("{SANDBOX},spawn=deny");
    assert_eq!(
        qemu_words(&lab),
        words(&lab, &spawns_nothing, TCG, USER_NET)
    );
    // The second start takes the disk as it is, and needs no second look at the base's content.
    lab.without("sha256sum");
    assert_eq!(mode(&lab.path("vm42/vm42.qcow2")), 0o600);
    lab.write("vm42/vm42.qcow2", "a student's work");
    assert_eq!(start(&lab).code, Some(0));
    assert_eq!(lab.read("vm42/vm42.qcow2"), "a student's work");
}

#[test]
fn starts_through_a_link_and_with_a_console_on_the_terminal() {
    let lab = lab();
    symlink("vm42/run.sh", lab.path("start")).unwrap();
    let words = [
        "--user-net",
        "--console",
        "terminal",
        "--forward=tcp::2222-:22",
    ];
    let done = lab.finished(lab.command(&lab.path("start"), &words).output().unwrap());
    assert_eq!(done.code, Some(0), "{}", done.err);
    assert!(done.err.ends_with(
        "vm42/run.sh: Ctrl-A x switches the machine off (inside screen: Ctrl-A a x); console.log \
         has a copy\n"
    ));
    let words = qemu_words(&lab);
    assert!(words.contains(
        " -machine q35 -serial chardev:console -mon chardev=console,mode=readline -chardev \
         stdio,id=console,mux=on,signal=off,logfile=/dev/fd/7,logappend=off "
    ));
    has(&words, ",ipv6=off,hostfwd=tcp:127.0.0.1:2222-:22 ");
}

#[test]
fn refuses_a_seed_that_others_may_read() {
    let lab = lab();
    let seed = lab.path("vm42/seed.img");
    for wrong in [0o644, 0o640, 0o604, 0o602] {
        set_mode(&seed, wrong);
        assert_eq!(
            refusal(start(&lab)),
            format!(
                "vm42/run.sh: error: seed.img holds secrets, and others than you may read or \
                 change it (mode {wrong:o}). If it was so while others could reach this folder, \
                 its passwords and keys are not secret any more. To go on: chmod 600 \
                 LAB/vm42/seed.img\n"
            )
        );
    }
    set_mode(&seed, 0o600);
    assert_eq!(start(&lab).code, Some(0));
}

/// Whatever the user's umask is.
#[test]
fn what_is_made_has_the_same_modes_for_everybody() {
    for umask in ["000", "022", "077"] {
        let lab = LabFolder::new(&["vm42"]);
        let imgbuild = |words: &str| {
            let program = crate::program();
            let line = format!("umask {umask}; exec '{}' {words}", program.display());
            let status = Command::new("sh")
                .args(["-c", &line])
                .current_dir(lab.path(""))
                .env("HOME", lab.path(""))
                .output()
                .unwrap();
            assert!(status.status.success(), "{status:?}");
        };
        imgbuild("seed vm42");
        imgbuild("init other/lab");
        for (path, expected) in [
            ("vm42", 0o700),
            ("vm42/seed.img", 0o600),
            ("vm42/run.sh", 0o755),
            ("other", 0o700),
            ("other/lab", 0o700),
            ("other/lab/lab.yaml", 0o644),
            ("other/lab/images", 0o700),
            ("other/lab/images/base.yaml", 0o644),
            ("other/lab/secrets", 0o700),
            ("other/lab/secrets/README", 0o600),
        ] {
            assert_eq!(
                mode(&lab.path(path)),
                expected,
                "{path} under umask {umask}"
            );
        }
    }
}

#[test]
fn refuses_a_wrong_command_line() {
    let lab = lab();
    let cases: [(&[&str], &str); 6] = [
        (&["--forward", "tcp::1-:2"], "--forward needs --user-net"),
        (&["--user-net", "--forward"], "--forward needs a value"),
        (
            &["--user-net", "--forward=tcp::1-:2,restrict=off"],
            "--forward takes one rule without a comma: tcp::1-:2,restrict=off",
        ),
        (
            &["--user-net", "--forward=22"],
            "--forward does not take this value: 22",
        ),
        (&["--accel=xen"], "--accel does not take this value: xen"),
        (&["now"], "unknown argument: now"),
    ];
    for (words, message) in cases {
        let done = lab.run_sh("vm42", words);
        assert_eq!(done.code, Some(2));
        assert_eq!(
            done.err.lines().next().unwrap(),
            format!("vm42/run.sh: error: {message}")
        );
        assert!(done.err.contains("\nUsage: run.sh "));
    }
    let done = lab.run_sh("vm42", &["--help"]);
    assert_eq!((done.code, done.err.as_str()), (Some(0), ""));
    assert!(done.out.starts_with("Usage: run.sh "));
    assert!(!lab.path("vm42/vm42.qcow2").exists());
}

#[test]
fn names_the_package_of_a_missing_program() {
    let lab = lab();
    lab.without("qemu-system-x86_64");
    assert_eq!(
        refusal(start(&lab)),
        "vm42/run.sh: error: qemu-system-x86_64 is not installed. On Debian: sudo apt install \
         qemu-system-x86\n"
    );
    lab.without("qemu-img");
    assert_eq!(
        refusal(start(&lab)),
        "vm42/run.sh: error: qemu-img is not installed. On Debian: sudo apt install qemu-utils\n"
    );
}

#[test]
fn refuses_to_start_without_seed_or_base() {
    let lab = lab();
    lab.write("base.qcow2", "short");
    assert_eq!(
        refusal(start(&lab)),
        "vm42/run.sh: error: ../base.qcow2 is not the image that this seed was made for: found 5 \
         bytes, expected 28. Copy the right one there, or run: imgbuild seed vm42\n"
    );
    lab.write("base.qcow2", "This stands in for an image\n");
    assert_eq!(
        refusal(start(&lab)),
        "vm42/run.sh: checking ../base.qcow2, only this once\n\
         vm42/run.sh: error: ../base.qcow2 is not the image that this seed was made for: found \
         SHA-256 f33a6a6789760df97535c4988bf66e75b4645d61694ae68e1af9567fcd01fb7f, expected \
         150420fa0d378a51b3f978f67595a0f0db1ec86d4f39650dd66bae72d7e70df1. Copy the right one there, or run: imgbuild seed vm42\n"
    );
    fs::remove_file(lab.path("base.qcow2")).unwrap();
    assert_eq!(
        refusal(start(&lab)),
        format!(
            "vm42/run.sh: error: neither {} nor ../base.qcow2 is there, and vm42.qcow2 is nothing \
             without it. Copy it there, or make it with: imgbuild base\n",
            kept()
        )
    );
    assert!(!lab.path("bases").exists());
    fs::remove_file(lab.path("vm42/seed.img")).unwrap();
    assert_eq!(
        refusal(start(&lab)),
        "vm42/run.sh: error: seed.img is not there. Make it with: imgbuild seed vm42\n"
    );
    assert_eq!(lab.files("vm42"), ["run.sh"]);
}

#[test]
fn refuses_a_retired_machine_before_anything_else() {
    let lab = lab();
    let why = "vm42/run.sh: error: vm42 was retired: a node that was taken out of its cluster must \
               never come back with its old disk. To make a new machine of this name: pvecm delnode \
               vm42 on a member of the cluster, then remove this folder (LAB/vm42) and run: imgbuild \
               seed vm42\n";
    lab.write("vm42/retired", "");
    fs::remove_file(lab.path("vm42/seed.img")).unwrap();
    lab.without("qemu-img");
    assert_eq!(refusal(start(&lab)), why);
    // Whatever it is.
    fs::remove_file(lab.path("vm42/retired")).unwrap();
    symlink("nowhere", lab.path("vm42/retired")).unwrap();
    assert_eq!(refusal(start(&lab)), why);
    assert!(!lab.path("vm42/vm42.qcow2").exists());
    assert!(!lab.path("vm42/qemu.args").exists());
}

/// The image that takes the place of the lab's base, as `imgbuild base` puts it there.
fn new_base(lab: &LabFolder) {
    const NEW: &str = "this is another one\n";
    lab.write("new", NEW);
    fs::rename(lab.path("new"), lab.path("base.qcow2")).unwrap();
    lab.write_manifest(NEW, 4 << 30);
}

#[test]
fn a_disk_stays_on_the_base_that_it_was_made_on() {
    let lab = lab();
    let manifest = lab.read("base.manifest.json");
    assert_eq!(start(&lab).code, Some(0));
    new_base(&lab);
    lab.seeded("vm42", "exit 0");
    let done = start(&lab);
    assert_eq!(done.code, Some(0), "{}", done.err);
    has(
        &qemu_words(&lab),
        &format!("backing.file.filename={} ", kept()),
    );
    let name = kept().replace("../", "");
    assert_eq!(lab.read(&name), "this stands in for an image\n");
    assert_eq!(
        lab.read(&name.replace(".qcow2", ".manifest.json")),
        manifest
    );
    // A new disk stands on the new one.
    for file in ["vm42/vm42.qcow2", "vm42/vm42.qcow2.base"] {
        fs::remove_file(lab.path(file)).unwrap();
    }
    assert_eq!(start(&lab).code, Some(0));
    let new = sha256(b"this is another one\n");
    has(
        &qemu_words(&lab),
        &format!("backing.file.filename=../bases/{new}.qcow2 "),
    );
    assert_eq!(lab.read("vm42/vm42.qcow2.base"), format!("{new}\n"));
}

/// As run.sh of before made it: nothing is in bases/.
#[test]
fn a_disk_from_before_there_was_a_bases_folder_starts_on_the_base() {
    let lab = lab();
    lab.write("vm42/vm42.qcow2", "a student's work");
    let digest = sha256(b"this stands in for an image\n");
    lab.write("vm42/vm42.qcow2.base", format!("{digest}\n"));
    assert_eq!(start(&lab).code, Some(0));
    has(&qemu_words(&lab), "backing.file.filename=../base.qcow2 ");
    assert!(!lab.path("bases").exists());
}

#[test]
fn a_base_elsewhere_is_kept_beside_the_vms() {
    let lab = lab();
    fs::create_dir(lab.path("a, b")).unwrap();
    fs::rename(lab.path("base.qcow2"), lab.path("a, b/base.qcow2")).unwrap();
    lab.replace(
        "vm42",
        "base=../base.qcow2\n",
        "base='../a, b/base.qcow2'\n",
    );
    // Another file system or another owner: no second name for the file.
    lab.without("ln");
    let done = start(&lab);
    assert_eq!(done.code, Some(0), "{}", done.err);
    assert_eq!(
        lab.read(&kept().replace("../", "")),
        "this stands in for an image\n"
    );
    assert_eq!(mode(&lab.path(&kept().replace("../", ""))), 0o644);
    assert_eq!(lab.names("bases").len(), 1);
    // A comma in a value of QEMU's.
    fs::rename(lab.path("bases"), lab.path("a, b/bases")).unwrap();
    assert_eq!(start(&lab).code, Some(0));
    let comma = kept().replace("../", "../a,, b/");
    has(
        &qemu_words(&lab),
        &format!("backing.file.filename={comma} "),
    );
}

#[test]
fn refuses_an_overlay_whose_base_is_gone() {
    let lab = lab();
    assert_eq!(start(&lab).code, Some(0));
    lab.write("vm42/vm42.qcow2.base", "0123\n");
    assert_eq!(
        refusal(start(&lab)),
        "vm42/run.sh: error: vm42.qcow2 was made on another base than ../base.qcow2, and that one \
         is not there: ../bases/0123.qcow2. Copy it there, or start afresh: rm vm42.qcow2 \
         vm42.qcow2.base\n"
    );
    lab.write("vm42/vm42.qcow2.base", "../base\n");
    assert_eq!(
        refusal(start(&lab)),
        "vm42/run.sh: error: vm42.qcow2.base holds no SHA-256 digest: ../base\n"
    );
}

#[test]
fn a_disk_that_fills_up_meanwhile_leaves_nothing() {
    let lab = lab();
    lab.without("ln");
    lab.without("cp");
    lab.program(
        "cp",
        "#!/bin/sh\n: >\"$3\"\necho 'cp: No space left on device' >&2\nexit 1\n",
    );
    let done = refusal(start(&lab));
    ends(
        &done,
        &format!(
            "cp: No space left on device\nvm42/run.sh: error: cannot keep ../base.qcow2 as {}, \
             where vm42.qcow2 needs it\n",
            kept()
        ),
    );
    assert!(!lab.path("bases").exists());
    assert_eq!(lab.files("vm42"), ["run.sh", "seed.img"]);
}

#[test]
fn a_failed_qemu_img_leaves_nothing() {
    let lab = lab();
    lab.program(
        "qemu-img",
        "#!/bin/sh\n[ \"$1\" = create ] || exit 0\nwhile [ $# -gt 2 ]; do shift; done\n: >\"$1\"\necho 'no space' >&2\nexit 1\n",
    );
    let done = refusal(start(&lab));
    ends(
        &done,
        "no space\nvm42/run.sh: error: cannot make vm42.qcow2\n",
    );
    assert_eq!(lab.files("vm42"), ["run.sh", "seed.img"]);
}

/// Somebody else's disk is never replaced.
#[test]
fn an_overlay_that_appears_meanwhile_is_left_as_it_is() {
    let lab = lab();
    lab.program(
        "qemu-img",
        "#!/bin/sh\n[ \"$1\" = create ] || exit 0\necho theirs >vm42.qcow2\necho ours >\"${11}\"\n",
    );
    let done = refusal(start(&lab));
    ends(
        &done,
        "vm42/run.sh: error: vm42.qcow2 appeared meanwhile; it was left as it is\n",
    );
    assert_eq!(lab.read("vm42/vm42.qcow2"), "theirs\n");
    let left = [
        "run.sh",
        "seed.img",
        "vm42.qcow2",
        "vm42.qcow2.base",
        "vm42.qcow2.base.seen",
    ];
    assert_eq!(lab.files("vm42"), left);
}

#[test]
fn a_pid_file_from_before_a_power_cut_is_no_running_machine() {
    let lab = lab();
    for text in ["", "1\n", "nonsense\n", "4000000000\n"] {
        lab.write("vm42/qemu.pid", text);
        let done = start(&lab);
        assert_eq!(done.code, Some(0), "{text}: {}", done.err);
    }
}

#[test]
fn kvm_gives_the_machine_this_pcs_processor_and_its_cores() {
    let lab = lab();
    lab.write("kvm", "");
    assert_eq!(start(&lab).code, Some(0));
    let spawns_nothing = format!("{SANDBOX},spawn=deny");
    assert_eq!(
        qemu_words(&lab),
        words(&lab, &spawns_nothing, KVM, USER_NET)
    );
}

#[test]
fn kvm_asked_for_by_name_is_not_replaced() {
    let lab = lab();
    assert_eq!(
        refusal(lab.run_sh("vm42", &["--user-net", "--accel=kvm"])),
        "vm42/run.sh: error: KVM is not usable: LAB/kvm is not there (virtualisation is switched \
         off in the firmware setup?)\n"
    );
}

#[test]
fn shellcheck_has_nothing_to_say() {
    let lab = lab();
    let result = Command::new("shellcheck")
        .arg(lab.path("vm42/run.sh"))
        .output();
    // Passed over where it is not installed; scripts/test installs it.
    if let Ok(output) = result {
        let words = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{words}");
    }
}

#[test]
fn the_real_qemu_img_makes_the_overlay() {
    let real = ["/usr/bin/qemu-img", "/usr/local/bin/qemu-img"];
    let Some(qemu_img) = real.into_iter().find(|file| Path::new(file).is_file()) else {
        return;
    };
    let lab = LabFolder::new(&["vm42"]);
    let base = lab.path("base.qcow2");
    let status = Command::new(qemu_img)
        .args(["create", "-q", "-f", "qcow2"])
        .args([&base, Path::new("4G")])
        .status()
        .unwrap();
    assert!(status.success());
    lab.write_manifest_of(&fs::read(&base).unwrap(), 4 << 30);
    lab.seeded("vm42", "exit 0");
    lab.without("qemu-img");
    symlink(qemu_img, lab.path("bin/qemu-img")).unwrap();
    let done = start(&lab);
    assert_eq!(done.code, Some(0), "{}", done.err);
    let output = Command::new(qemu_img)
        .args(["info", "--output=json"])
        .arg(lab.path("vm42/vm42.qcow2"))
        .output()
        .unwrap();
    let info: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(info["virtual-size"], 8_u64 << 30);
    let digest = sha256(&fs::read(&base).unwrap());
    assert_eq!(info["backing-filename"], format!("../bases/{digest}.qcow2"));
    assert_eq!(info["backing-filename-format"], "qcow2");
}
