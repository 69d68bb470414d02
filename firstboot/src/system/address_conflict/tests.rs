//! In networks of their own: this machine, another one, and a switch between them.

use super::*;
use std::process::{Child, Command, Stdio};
use testkit::has;

const OWN: &str = "10.77.0.42";
const OWN6: &str = "fd77::42";
/// Says that the process is in a network of its own.
const INSIDE: &str = "FIRSTBOOT_TEST_NETWORK";

/// A network namespace, for as long as it is kept.
struct Namespace(Child);

impl Namespace {
    fn new() -> Self {
        let mut command = Command::new("unshare");
        let mut child = command
            .args(["--net", "sh", "-c", "echo here; exec sleep 120"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = [0; 5];
        let said = child.stdout.as_mut().unwrap();
        std::io::Read::read_exact(said, &mut line).unwrap();
        let namespace = Namespace(child);
        namespace.ip("link set lo up");
        namespace
    }

    fn pid(&self) -> String {
        self.0.id().to_string()
    }

    fn ip(&self, words: &str) {
        let pid = self.pid();
        let mut command = Command::new("nsenter");
        command.args(["--net", "--target", &pid, "ip"]);
        run(command.args(words.split(' ')));
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
}

fn ip(words: &str) {
    run(Command::new("ip").args(words.split(' ')));
}

fn asked(address: &str) -> Option<String> {
    let conflict = ask(&Root::new("/"), &[address.parse().unwrap()]).unwrap();
    conflict.map(|conflict| conflict.to_string())
}

/// The test as such, in a process whose network is its own. Without root that takes a user namespace.
#[test]
fn who_else_has_an_address_is_heard() {
    if std::env::var_os(INSIDE).is_some() {
        return inside();
    }
    let mut command = Command::new("unshare");
    if !rustix::process::getuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    let test = "system::address_conflict::tests::who_else_has_an_address_is_heard";
    command
        .arg("--net")
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, "1");
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{errors}");
    has(&said, "1 passed");
}

/// `vmbr120` with a port stands here as in a VM; a bridge of another namespace is the switch.
fn inside() {
    let (switch, other) = (Namespace::new(), Namespace::new());
    ip("link set lo up");
    ip("link add vmbr120 address 52:54:00:00:00:2a type bridge");
    switch.ip("link add br0 type bridge");
    switch.ip("link set br0 up");
    for (name, pid) in [
        ("port", None),
        ("second", None),
        ("eth0", Some(other.pid())),
    ] {
        ip(&format!("link add {name} type veth peer name to-{name}"));
        ip(&format!("link set to-{name} netns {}", switch.pid()));
        switch.ip(&format!("link set to-{name} master br0 up"));
        if let Some(pid) = pid {
            ip(&format!("link set {name} netns {pid}"));
        }
    }
    ip("link set port master vmbr120 up");
    ip("link set vmbr120 up");
    ip(&format!("address add {OWN}/24 dev vmbr120"));
    ip(&format!("address add {OWN6}/64 dev vmbr120 nodad"));
    other.ip("link set eth0 address 52:54:00:aa:bb:cc up");
    other.ip("address add 10.77.0.1/24 dev eth0");
    other.ip("address add fd77::1/64 dev eth0 nodad");

    // Nobody else has it, and that takes as long as it is said to.
    for address in [OWN, OWN6] {
        let start = Instant::now();
        assert_eq!(asked(address), None);
        assert!(
            start.elapsed() >= TIME && start.elapsed() < 3 * TIME,
            "{:?}",
            start.elapsed()
        );
    }
    // What this machine has not, and what is on no network, is not asked for.
    let start = Instant::now();
    assert_eq!((asked("10.77.0.1"), asked("127.0.0.1")), (None, None));
    assert!(start.elapsed() < TIME);

    // Another interface of this machine in the same network answers for it, too.
    ip("link set second up");
    ip("address add 10.77.0.43/24 dev second");
    assert_eq!(asked(OWN), None);
    ip("link set second down");

    other.ip(&format!("address add {OWN}/24 dev eth0"));
    other.ip(&format!("address add {OWN6}/64 dev eth0 nodad"));
    for address in [OWN, OWN6] {
        let words = format!(
            "another machine on vmbr120 has this one's address {address}: its MAC is 52:54:00:aa:bb:cc"
        );
        assert_eq!(asked(address), Some(words));
    }

    // A copy of the whole machine. The switch knows its MAC at the port that it was heard at last.
    other.ip("link set eth0 address 52:54:00:00:00:2a");
    other.ip("link set eth0 up");
    for address in [OWN, OWN6] {
        let words = format!(
            "another machine on vmbr120 has this one's address {address}, and its MAC \
             52:54:00:00:00:2a too"
        );
        assert_eq!(asked(address), Some(words));
    }

    // It goes, and the address is this machine's alone. A namespace that its last process has left answers
    // until the kernel comes to take it down.
    other.ip("link set eth0 down");
    drop(other);
    assert_eq!(asked(OWN), None);
}
