//! A QEMU that has ended and that nobody has waited for is no running machine.

use crate::vm_folder::LabFolder;
use std::fs;
use testkit::wait_for;

/// The third field of proc_pid_stat(5); the name before it is in brackets.
fn state(pid: u32) -> char {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit_once(") ").unwrap().1.chars().next().unwrap()
}

#[test]
fn a_machine_that_nobody_waited_for_can_be_started_again() {
    let lab = LabFolder::new(&["vm42"]);
    lab.seeded("vm42", "exit 0");
    let run_sh = lab.path("vm42/run.sh");
    let mut ended = lab.command(&run_sh, &["--user-net"]).spawn().unwrap();
    wait_for("its end", || state(ended.id()) == 'Z');
    let pid_file = lab.read("vm42/qemu.pid");
    assert_eq!(pid_file.trim(), ended.id().to_string());
    let name = fs::read_to_string(format!("/proc/{}/comm", ended.id())).unwrap();
    assert_eq!(name, "qemu-system-x86\n");

    assert_eq!(imgbuild::qemu::running(&lab.path("vm42")), None);
    let again = lab.run_sh("vm42", &["--user-net"]);
    assert_eq!(again.code, Some(0), "{}", again.err);
    ended.wait().unwrap();
}
