//! Joins by ticket, in the password's place.

use super::lab::Lab;
use super::node::{Node, PASSWORD};
use super::rows::{detail, failed};
use std::fs;
use std::path::Path;
use testkit::{begins, ends, has};

/// What the documents name to make a ticket on a member.
const MAKE: &str = "print PVE::AccessControl::assemble_ticket(\"root\\@pam\")";

fn ticket(member: &Node) -> String {
    let made = member.must(&["perl", "-MPVE::AccessControl", "-e", MAKE]);
    begins(&made, "PVE:root@pam:");
    made.trim().to_owned()
}

/// Seeded with a ticket; it has been through the first stage.
fn joiner(lab: &Lab, number: u8, peer: &Node, ticket: &str, more: &str) -> Node {
    let node = lab.node(&format!("vm{number}"), number, false);
    node.seed_with(&[peer], &format!("ticket: \"{ticket}\""), more);
    node.local();
    node
}

/// Files below a folder that hold the text.
fn holding(folder: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            found.extend(holding(&path, text));
        } else if kind.is_file() {
            let bytes = fs::read(&path).unwrap_or_default();
            if bytes
                .windows(text.len())
                .any(|window| window == text.as_bytes())
            {
                found.push(path.display().to_string());
            }
        }
    }
    found
}

/// Processes of a running place whose memory holds the text.
fn processes_holding(node: &Node, text: &str) -> Vec<String> {
    use std::os::unix::fs::FileExt;
    let root = String::from_utf8(node.place("root", &[]).stdout).unwrap();
    let first = root.trim().split('/').nth(2).unwrap().to_owned();
    let space = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    let own = space(&first).unwrap();
    let (mut found, mut looked_at) = (Vec::new(), 0);
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let pid = entry.file_name().to_string_lossy().into_owned();
        if space(&pid).as_ref() != Some(&own) {
            continue;
        }
        let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
        let Ok(memory) = fs::File::open(format!("/proc/{pid}/mem")) else {
            continue;
        };
        looked_at += 1;
        for line in maps.lines().filter(|line| line.contains(" rw")) {
            let (start, end) = line.split(' ').next().unwrap().split_once('-').unwrap();
            let [start, end] = [start, end].map(|hex| u64::from_str_radix(hex, 16).unwrap());
            let mut bytes = vec![0; (end - start) as usize];
            let read = memory.read_at(&mut bytes, start).unwrap_or(0);
            if bytes[..read]
                .windows(text.len())
                .any(|window| window == text.as_bytes())
            {
                let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
                found.push(format!("{} {start:x}", name.trim()));
            }
        }
    }
    // Process 1, pmxcfs, corosync and the watcher at least.
    assert!(looked_at >= 4, "{looked_at}");
    found
}

/// It joins without a password, in a cluster that asks root for a second factor, and leaves no trace
/// of the ticket.
#[test]
#[ignore = "runs a cluster of places; scripts/test runs it"]
fn a_ticket_joins_in_the_password_s_place() {
    let lab = Lab::new();
    let cluster = lab.cluster(&["alpha", "beta"]);
    cluster[0].switch("{\"second_factor\": \"123456\"}");
    let ticket = ticket(&cluster[0]);
    let node = joiner(&lab, 42, &cluster[0], &ticket, "");
    node.boot();
    println!("{}", detail(&node));
    node.assert_member(&cluster[0]);
    let seed = node.read("/root/seed/user-data");
    has(&seed, "ticket: \"xxxx");
    assert_eq!(holding(&node.root, &ticket), [""; 0]);
    assert!(!node.exists("/var/lib/firstboot/tickets"));
    // Its verdict is told a moment before it ends.
    node.wait("the end of firstboot join", || {
        let shown = node.must(&["systemctl", "show", "-p", "MainPID", "firstboot-join"]);
        shown == "MainPID=0\n"
    });
    assert_eq!(processes_holding(&node, &ticket), [""; 0]);
    // A search that finds nothing proves something only if it finds what is there.
    std::thread::scope(|scope| {
        scope.spawn(|| node.must(&["sh", "-c", &format!("sleep 5; : {ticket}")]));
        node.wait("the text in a process", || {
            !processes_holding(&node, &ticket).is_empty()
        });
    });
    // The same with the password: nobody is there to type the second factor.
    let other = lab.joiner("vm43", 43, &[&cluster[0]], "");
    let reason = failed(&other);
    has(&reason, "needs a second factor");
    has(&reason, "join: ticket");
}

/// An expired one ends the join with its remedy, and a new seed goes on.
#[test]
#[ignore = "runs a cluster of places; scripts/test runs it"]
fn an_expired_ticket_ends_the_join_and_a_new_one_goes_on() {
    let lab = Lab::new();
    let cluster = lab.cluster(&["alpha"]);
    // As in transcript 30.
    let old = format!(
        "BEGIN {{ *CORE::GLOBAL::time = sub {{ CORE::time() - 7300 }} }} use PVE::AccessControl; {MAKE}"
    );
    let expired = cluster[0].must(&["perl", "-e", &old]);
    let node = joiner(&lab, 42, &cluster[0], expired.trim(), "");
    node.boot();
    let reason = failed(&node);
    has(&reason, "the ticket has expired (valid until 2");
    has(&reason, "imgbuild seed vm42");
    assert!(!reason.contains("password"), "{reason}");
    let fresh = format!("ticket: \"{}\"", ticket(&cluster[0]));
    node.seed_with(&[&cluster[0]], &fresh, "");
    // The unit reads a folder here, so retry is given the same.
    let said = node.must(&["firstboot", "--seed-dir", "/root/seed", "retry"]);
    ends(&said, "done\n");
    detail(&node);
    node.assert_member(&cluster[0]);
}

/// A ticket of another cluster is none here.
#[test]
#[ignore = "runs a cluster of places; scripts/test runs it"]
fn a_ticket_of_another_cluster_is_told() {
    let lab = Lab::new();
    let cluster = lab.cluster(&["alpha"]);
    let elsewhere = Lab::new();
    let foreign = ticket(&elsewhere.cluster(&["alpha"])[0]);
    let node = joiner(&lab, 42, &cluster[0], &foreign, "");
    node.boot();
    let reason = failed(&node);
    has(&reason, "does not know the ticket (valid until");
    has(&reason, "it was made in another cluster");
    assert!(!reason.contains(PASSWORD));
}

/// The join has to wait; the ticket is taken up again after a power cut, and is renewed by each login.
#[test]
#[ignore = "runs a cluster of places; scripts/test runs it"]
fn a_ticket_waits_with_its_join() {
    let lab = Lab::new();
    let cluster = lab.cluster(&["alpha", "beta"]);
    let ticket = ticket(&cluster[0]);
    cluster[1].cut();
    cluster[0].wait("no quorum", || {
        cluster[0].members().contains("\"quorate\": 0")
    });
    let node = joiner(&lab, 42, &cluster[0], &ticket, "");
    node.boot();
    super::rows::wait_until_it_waits(&node, "has no quorum");
    node.cut();
    node.boot();
    super::rows::wait_until_it_waits(&node, "has no quorum");
    cluster[1].boot();
    detail(&node);
    node.assert_member(&cluster[0]);
    assert_eq!(holding(&node.root, &ticket), [""; 0]);
}
