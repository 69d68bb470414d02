//! The two ways to a network: the bridge, and QEMU's user mode with passt or without.

use super::{LOOPBACK, SANDBOX, TCG, lab, qemu_words, refusal, start, words};
use crate::vm_folder::LabFolder;
use std::fs;
use testkit::{has, set_mode};

/// A port that is open to the whole room is one that somebody asked for.
#[test]
fn a_forwarded_port_is_this_pcs_alone_unless_an_address_is_given() {
    let lab = lab();
    for (rule, expected) in [
        ("tcp::2222-:22", "tcp:127.0.0.1:2222-:22"),
        ("tcp:2222-:22", "tcp:127.0.0.1:2222-:22"),
        (
            "udp::53-192.168.122.9:53",
            "udp:127.0.0.1:53-192.168.122.9:53",
        ),
        ("udp:53-:53", "udp:127.0.0.1:53-:53"),
        ("tcp:0.0.0.0:2222-:22", "tcp:0.0.0.0:2222-:22"),
        ("tcp:192.0.2.7:80-:80", "tcp:192.0.2.7:80-:80"),
    ] {
        let done = lab.run_sh("vm42", &["--user-net", "--forward", rule]);
        assert_eq!(done.code, Some(0), "{}", done.err);
        let words = qemu_words(&lab);
        has(&words, &format!(",hostfwd={expected} "));
    }
}

/// Stands in for passt: leaves its arguments, and listens until QEMU's end.
const FAKE_PASST: &str = r#"#!/bin/sh
if [ "$1" = --help ]; then echo "  --map-host-loopback ADDR" >&2; exit 1; fi
printf '%s\n' "$@" >passt.args
[ ! -e refuse ] || exit 1
exec /usr/bin/python3 -c '
import socket, time
socket.socket(socket.AF_UNIX).bind("passt.sock")
time.sleep(5)'
"#;

#[test]
fn passt_keeps_the_guest_from_this_pcs_loopback_where_it_can() {
    let lab = lab();
    lab.program("passt", FAKE_PASST);
    let words = [
        "--user-net",
        "--forward=tcp::2222-:22",
        "--forward=tcp:192.0.2.7:80-192.168.122.42:8080",
        "--forward=udp:53-:53",
    ];
    let done = lab.run_sh("vm42", &words);
    assert_eq!(done.code, Some(0), "{}", done.err);
    assert!(!done.err.contains("127.0.0.1"), "{}", done.err);
    let qemu = qemu_words(&lab);
    let stream = " -netdev stream,id=net,server=off,addr.type=unix,addr.path=passt.sock -device ";
    has(&qemu, stream);
    let root = match rustix::process::geteuid().is_root() {
        true => "--runas 0 ",
        false => "",
    };
    assert_eq!(
        lab.read("vm42/passt.args").replace('\n', " "),
        format!(
            "--foreground --one-off --ipv4-only --socket passt.sock --address 192.168.122.42 \
             --netmask 24 --gateway 192.168.122.1 --dns-forward 192.168.122.1 --mtu 1500 \
             --no-map-gw --map-host-loopback none {root}-t 127.0.0.1/2222:22 -t \
             192.0.2.7/80:8080 -u 127.0.0.1/53:53 "
        )
    );
    // Nothing is open that nobody asked for.
    assert_eq!(start(&lab).code, Some(0));
    assert!(
        lab.read("vm42/passt.args")
            .ends_with("\n-t\nnone\n-u\nnone\n")
    );
}

#[test]
fn what_lets_a_guest_reach_this_pcs_loopback_is_said() {
    let lab = lab();
    let with_qemus_own = |words: &[&str], why: &str| {
        let words = [&["--user-net"], words].concat();
        let done = lab.run_sh("vm42", &words);
        assert_eq!(done.code, Some(0), "{}", done.err);
        match why {
            "" => assert!(!done.err.contains(LOOPBACK), "{}", done.err),
            _ => assert!(
                done.err.contains(&format!("{LOOPBACK}{why}\n")),
                "{}",
                done.err
            ),
        }
        let qemu = qemu_words(&lab);
        has(&qemu, " -netdev user,id=net,");
    };
    with_qemus_own(&["--host-loopback"], "");
    lab.program("passt", "#!/bin/sh\necho '  --no-map-gw' >&2\n");
    with_qemus_own(&[], "passt is older than August 2024");
    lab.program("passt", FAKE_PASST);
    let rule = "tcp:127.0.0.1:80-192.168.122.9:80";
    with_qemus_own(
        &["--forward", rule],
        &format!("passt has no way to another address than 192.168.122.42 ({rule})"),
    );
    lab.write("vm42/refuse", "");
    with_qemus_own(&[], "passt did not start: see LAB/vm42/passt.log");
    let done = lab.run_sh("vm42", &["--host-loopback"]);
    let words = "vm42/run.sh: error: --host-loopback needs --user-net\n";
    assert!(
        done.code == Some(2) && done.err.starts_with(words),
        "{}",
        done.err
    );
}

/// A PC where nothing of the bridge is there, and a user who is not root.
fn without_bridge(lab: &LabFolder) {
    for (name, old) in [
        ("net", "net_folder=/sys/class/net\n"),
        ("bridge.conf", "bridge_conf=/etc/qemu/bridge.conf\n"),
        (
            "helper 1",
            "helper_first=/usr/lib/qemu/qemu-bridge-helper\n",
        ),
        (
            "helper 2",
            "helper_second=/usr/libexec/qemu-bridge-helper\n",
        ),
    ] {
        let key = old.split('=').next().unwrap();
        lab.replace(
            "vm42",
            old,
            &format!("{key}='{}'\n", lab.path(name).display()),
        );
    }
    lab.program("id", "#!/bin/sh\necho 1000\n");
    lab.program("getcap", "#!/bin/sh\n");
}

#[test]
fn says_what_the_bridge_lacks() {
    let lab = lab();
    without_bridge(&lab);
    let last =
        "vm42/run.sh: error: the bridge is not usable. The other way: vm42/run.sh --user-net\n";
    let bridge = || refusal(lab.run_sh("vm42", &[]));
    assert_eq!(
        bridge(),
        format!(
            "vm42/run.sh: error: this PC has no bridge virbr0. An administrator can start it: \
             sudo virsh net-start default\n\
             vm42/run.sh: error: qemu-bridge-helper is neither LAB/helper 1 nor LAB/helper 2. On \
             Debian: sudo apt install qemu-system-common\n\
             vm42/run.sh: error: LAB/bridge.conf does not allow virbr0. An administrator can add \
             the line: allow virbr0\n{last}"
        )
    );
    fs::create_dir_all(lab.path("net/virbr0")).unwrap();
    lab.write("bridge.conf", "# allow virbr0\ndeny all\nallow br0");
    lab.write("helper 2", "");
    let helper = lab.path("helper 2");
    set_mode(&helper, 0o755);
    let setuid = "vm42/run.sh: error: LAB/helper 2 may not open a bridge: it is not setuid root. \
                  An administrator can change that: sudo dpkg-statoverride --update --add root \
                  root 4755 LAB/helper 2\n";
    assert_eq!(
        bridge(),
        format!(
            "{setuid}vm42/run.sh: error: LAB/bridge.conf does not allow virbr0. An administrator \
             can add the line: allow virbr0\n{last}"
        )
    );
    lab.write("bridge.conf", "deny br0\nallow virbr0");
    assert_eq!(bridge(), format!("{setuid}{last}"));
    assert!(!lab.path("vm42/vm42.qcow2").exists());

    set_mode(&helper, 0o4755);
    for allowed in [
        "allow virbr0",
        "allow all\n",
        "include /etc/qemu/more.conf\n",
    ] {
        lab.write("bridge.conf", allowed);
        let done = lab.run_sh("vm42", &[]);
        assert_eq!(done.code, Some(0), "{allowed}: {}", done.err);
    }
    // The helper could do nothing in the sandbox of an ordinary user's QEMU.
    let real = helper.canonicalize().unwrap();
    let bridge = format!("bridge,id=net,br=virbr0,helper={}", real.display());
    assert_eq!(qemu_words(&lab), words(&lab, "off", TCG, &bridge));
    // A capability does as well as the setuid bit.
    set_mode(&helper, 0o755);
    lab.program("getcap", "#!/bin/sh\necho \"$1 cap_net_admin=ep\"\n");
    assert_eq!(lab.run_sh("vm42", &[]).code, Some(0));
    // Root needs neither, and has the sandbox.
    lab.program("getcap", "#!/bin/sh\n");
    lab.program("id", "#!/bin/sh\necho 0\n");
    assert_eq!(lab.run_sh("vm42", &[]).code, Some(0));
    assert_eq!(qemu_words(&lab), words(&lab, SANDBOX, TCG, &bridge));
}
