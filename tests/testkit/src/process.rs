//! Programs: which are tested, how they are started, waited for and ended.

use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// The program that is tested: the one that cargo has built with the test, or the one of this name in
/// the folder `TEST_PROGRAMS`. With that the tests of what users get need no second build of the tests.
pub fn program(name: &str, built: &str) -> PathBuf {
    match std::env::var_os("TEST_PROGRAMS") {
        Some(folder) => Path::new(&folder).join(name),
        None => PathBuf::from(built),
    }
}

/// Runs a program that must succeed.
pub fn must(command: &mut Command) -> Output {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{command:?}\n{}", both(&output));
    output
}

/// What a program printed, on either stream.
pub fn both(output: &Output) -> String {
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}

/// Waits until a child has said this line on standard error; what follows it is still to be read.
pub fn until(child: &mut Child, wanted: &str) -> impl Iterator<Item = String> + use<> {
    let mut lines = BufReader::new(child.stderr.take().unwrap())
        .lines()
        .map(Result::unwrap);
    lines
        .find(|line| line == wanted)
        .unwrap_or_else(|| panic!("it never said {wanted}"));
    lines
}

/// Waits for something that another process does; a test that waits in vain fails.
pub fn wait_for(what: &str, ready: impl FnMut() -> bool) {
    wait_up_to(Duration::from_secs(60), what, ready);
}

/// The same with a limit of its own.
pub fn wait_up_to(limit: Duration, what: &str, mut ready: impl FnMut() -> bool) {
    let start = Instant::now();
    while !ready() {
        assert!(start.elapsed() < limit, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Sends a process a signal; one that is gone is none the worse for it.
pub fn kill(pid: u32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid as i32) {
        let _ = kill_process(pid, signal);
    }
}

/// Whether a process is at work. One that has ended and that nobody asked about has no command line.
pub fn exists(pid: &str) -> bool {
    fs::read(Path::new("/proc").join(pid.trim()).join("cmdline")).is_ok_and(|line| !line.is_empty())
}

/// A port of the loopback that nobody uses.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// For a test that changes what is the whole process's: runs that test again in a process of its own,
/// and is true in there.
pub fn in_a_process_of_its_own() -> bool {
    const ALONE: &str = "TESTKIT_ALONE";
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    let thread = std::thread::current();
    let output = Command::new(std::env::current_exe().unwrap())
        .args([thread.name().unwrap(), "--exact", "--nocapture"])
        .env(ALONE, "1")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = both(&output);
    assert!(
        output.status.success() && said.contains("test result: ok. 1 passed"),
        "{said}"
    );
    false
}
