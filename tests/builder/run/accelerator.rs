//! `imgbuild run` and run.sh: KVM, emulation, and going from one to the other.

use crate::vm_folder::{CONFIGURED, Finished, LabFolder};
use std::fs;
use testkit::has;

/// The first start was no failure.
fn the_second_start_did_it(done: &Finished) {
    assert_eq!(done.code, Some(0), "{}", done.err);
    has(&done.err, "again  vm42: ");
    assert!(!done.err.contains("FAILED"), "{}", done.err);
}

#[test]
fn a_silent_kvm_is_given_up_until_the_next_boot() {
    let lab = LabFolder::new(&["vm42"]);
    lab.seeded(
        "vm42",
        &format!(
            "case $(cat qemu.args) in\n*kvm*) console 'SeaBIOS' ;;\n*) {CONFIGURED}\n;;\nesac\n"
        ),
    );
    lab.write("kvm", "");
    let done = lab.run(&["--firmware=1"]);
    the_second_start_did_it(&done);
    let told = "imgbuild: warning: KVM runs no guest on this PC: going on with software emulation, \
                until this PC is started again\n";
    assert_eq!(done.err.matches(told).count(), 1, "{}", done.err);
    assert_eq!(lab.read("vm42/fake.log"), "started\nended\nstarted\n");
    let boot = fs::read_to_string(imgbuild::qemu::BOOT_ID).unwrap();
    assert_eq!(lab.read("state/imgbuild/no-kvm"), boot);
    drop(lab);

    // Asked for by name, it is not given up.
    let lab = LabFolder::new(&["vm42"]);
    lab.seeded("vm42", "console SeaBIOS");
    lab.write("kvm", "");
    let done = lab.run(&["--firmware=1", "--silence=3", "--accel=kvm"]);
    has(&done.err, "imgbuild: error: vm42 is silent");
}

#[test]
fn a_kvm_that_breaks_qemu_is_given_up() {
    let lab = LabFolder::new(&["vm42"]);
    lab.seeded(
        "vm42",
        &format!("case $(cat qemu.args) in\n*kvm*) kill -ABRT $$ ;;\n*) {CONFIGURED}\n;;\nesac\n"),
    );
    lab.write("kvm", "");
    let done = lab.run(&[]);
    the_second_start_did_it(&done);
    has(&done.err, "warning: KVM runs no guest on this PC");
    drop(lab);

    // A refusal that has nothing to do with KVM is shown, not tried again.
    let lab = LabFolder::new(&["vm42"]);
    lab.seeded(
        "vm42",
        "echo 'Could not set up host forwarding rule' >&2; exit 1",
    );
    lab.write("kvm", "");
    let done = lab.run(&[]);
    assert_eq!(done.code, Some(1), "{}", done.err);
    assert_eq!(lab.read("vm42/fake.log"), "started\n");
}

#[test]
fn run_sh_remembers_that_kvm_runs_no_guest() {
    let lab = LabFolder::new(&["vm42"]);
    lab.seeded("vm42", "exit 0");
    lab.write("kvm", "");
    let arguments = |lab: &LabFolder| {
        let done = lab.run_sh("vm42", &["--user-net"]);
        assert_eq!(done.code, Some(0), "{}", done.err);
        (lab.read("vm42/qemu.args"), done.err)
    };
    let (words, _) = arguments(&lab);
    has(&words, "-accel\nkvm\n-cpu\nhost\n-smp\n");
    fs::create_dir_all(lab.path("state/imgbuild")).unwrap();
    let boot = fs::read_to_string(imgbuild::qemu::BOOT_ID).unwrap();
    lab.write("state/imgbuild/no-kvm", "another-pc\n");
    assert!(arguments(&lab).0.contains("-accel\nkvm\n"));
    lab.write("state/imgbuild/no-kvm", format!("another-pc\n{boot}"));
    let (words, said) = arguments(&lab);
    has(
        &words,
        "-accel\ntcg,thread=single\n-cpu\nmax,bmi2=off\n-smp\n1\n",
    );
    has(
        &said,
        "KVM is not usable: no guest ran under it since this PC was started\n",
    );
}

#[test]
fn emulation_that_crashes_is_started_once_more() {
    let lab = LabFolder::new(&["vm42"]);
    let oops = "console '[    0.1] Linux version' '[    0.3] Oops: int3: 0000 [#1] SMP'";
    lab.seeded(
        "vm42",
        &format!("if [ -e crashed ]; then {CONFIGURED}\nelse : >crashed; {oops}; fi\n"),
    );
    let done = lab.run(&[]);
    the_second_start_did_it(&done);
    has(
        &done.err,
        "software emulation crashed at the start of the kernel: starting once more\n",
    );
    fs::remove_file(lab.path("vm42/crashed")).unwrap();
    drop(lab);

    // Twice is no accident.
    let lab = LabFolder::new(&["vm42"]);
    lab.seeded("vm42", oops);
    let done = lab.run(&[]);
    has(
        &done.err,
        "error: vm42: the guest's kernel stopped at a breakpoint (int3)\n",
    );
    assert_eq!(
        lab.read("vm42/fake.log"),
        "started\nended\nstarted\nended\n"
    );
}
