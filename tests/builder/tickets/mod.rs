//! `join: ticket`: `imgbuild seed` asks for the cluster's root password, once, and everything that
//! can be wrong with it. What else is asked of a member: `imgbuild peer`, `imgbuild lab quorum`.

mod files;
mod member;
mod peer;
mod questions;
mod quorum;
mod strangers;
use crate::contract::{Cluster, Credential, Ticket};
use crate::terminal::Session;
use crate::vm_folder::{Finished, LabFolder};
use member::{Kind, Member, now};
use std::fs;
use std::io::Write;
use std::process::Stdio;
use testkit::{begins, has};

/// What no output may ever show.
const PASSWORD: &str = "hunter2 hunter2";
const QUESTION: &str = "Password of root@pam in the cluster of ";
/// What is told to do on a member.
const LINE: &str = "    perl -MPVE::AccessControl -e 'print \
                    PVE::AccessControl::assemble_ticket(\"root\\@pam\")'";
const REFUSED: &str = "authentication failure, which is all that Proxmox VE says\n  right: the root \
                       password of that member; when it was right, the account is locked or disabled \
                       (there: journalctl -u pvedaemon -n 5). It is not tried again by itself, because \
                       accounts are locked after some refusals\n";

/// A lab whose VMs join by ticket, through these peers: address and fingerprint.
fn lab_of(vms: &[&str], peers: &[(&str, &str)]) -> LabFolder {
    let lab = LabFolder::new(vms);
    let peers: Vec<String> = peers
        .iter()
        .map(|(address, fingerprint)| {
            format!("{{address: {address}, fingerprint: \"{fingerprint}\"}}")
        })
        .collect();
    let cluster = format!(
        "  cluster: {{join: ticket, peers: [{}]}}\nvms:\n",
        peers.join(", ")
    );
    let text = lab.read("lab.yaml").replace("vms:\n", &cluster);
    lab.write("lab.yaml", &text);
    lab
}

fn lab(vms: &[&str], member: &Member) -> LabFolder {
    lab_of(vms, &[(&member.address, &member.fingerprint)])
}

/// `imgbuild seed` with these lines on standard input.
fn seed(lab: &LabFolder, words: &[&str], input: &str) -> Finished {
    imgbuild(lab, &[&["seed"], words].concat(), input)
}

/// `imgbuild` with these lines on standard input; no secret is in what it says.
fn imgbuild(lab: &LabFolder, all: &[&str], input: &str) -> Finished {
    let mut child = lab
        .command(&crate::program(), all)
        .env("PATH", "/usr/bin:/bin")
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    // A program that refuses its options does not read.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let done = lab.finished(child.wait_with_output().unwrap());
    for text in [&done.out, &done.err] {
        assert!(
            !text.contains("hunter2") && !text.contains("PVE:root"),
            "{text}"
        );
    }
    done
}

/// A run that must fail; its words, with ADDRESS for the peer's.
fn refused(lab: &LabFolder, words: &[&str], input: &str, address: &str) -> String {
    let done = seed(lab, words, input);
    assert_eq!(
        (done.code, done.out.as_str()),
        (Some(1), ""),
        "{}",
        done.err
    );
    assert!(!lab.path("vm42").exists(), "something was made");
    assert!(!lab.path(".imgbuild-seed").exists());
    done.err.replace(address, "ADDRESS")
}

/// The same for the right password, as a script gives it.
fn refused_from_script(lab: &LabFolder, member: &Member) -> String {
    refused(
        lab,
        &["vm42", "--password-stdin"],
        PASSWORD,
        &member.address,
    )
}

fn with_password(lab: &LabFolder) -> Finished {
    seed(
        lab,
        &["--all", "--password-stdin"],
        &format!("{PASSWORD}\n"),
    )
}

fn cluster(lab: &LabFolder, name: &str) -> (String, Cluster) {
    let seed = lab.seed_of(name);
    let cluster = seed.cluster().unwrap().clone();
    (seed.meta_data.instance_id, cluster)
}

fn ticket(lab: &LabFolder, name: &str) -> Ticket {
    cluster(lab, name).1.credential.ticket().unwrap()
}

/// The last line of a run, with the time as T.
fn until(done: &Finished) -> String {
    let line = done
        .out
        .lines()
        .find(|line| line.contains(" can join until "))
        .unwrap();
    let (before, rest) = line.split_once(" until ").unwrap();
    let (_, after) = rest.split_once(", ").unwrap();
    format!("{before} until T, {after}").replace("1 h 59 min", "2 h")
}

#[test]
fn one_question_at_the_terminal_for_all_machines() {
    let member = Member::start("1.1", Kind::with(PASSWORD));
    let lab = lab(&["vm41", "vm42"], &member);
    let session = Session::start(&lab, &["seed", "--all"]);
    session.answer(QUESTION, 1, &format!("{PASSWORD}\n"));
    let done = session.end();
    assert_eq!(done.code, Some(0), "{}", done.err);
    assert_eq!(
        done.err,
        format!("{QUESTION}{0}, for {0}: \n", member.address)
    );
    assert_eq!(member.count(), 1);
    assert_eq!(
        until(&done),
        "these seeds can join until T, 2 h from now; a VM that is first started later needs a new \
         seed"
    );
    for name in ["vm41", "vm42"] {
        let ticket = ticket(&lab, name);
        assert!((now() - ticket.made() as i64).abs() < 60);
        // The member takes it for a login, and the password is nowhere on the disk.
        let disk = fs::read(lab.path(name).join("seed.img")).unwrap();
        assert!(!String::from_utf8_lossy(&disk).contains("hunter2"));
    }
    assert_eq!(ticket(&lab, "vm41"), ticket(&lab, "vm42"));
    // Nothing of it is kept for the next run.
    let files = fs::read_dir(lab.path("")).unwrap();
    for file in files
        .map(|entry| entry.unwrap().path())
        .filter(|p| p.is_file())
    {
        let text = fs::read(&file).unwrap();
        let text = String::from_utf8_lossy(&text);
        assert!(
            !text.contains("hunter2") && !text.contains("PVE:root"),
            "{}",
            file.display()
        );
    }
}

#[test]
fn a_new_ticket_makes_no_new_machine() {
    let member = Member::start("2.1", Kind::with(PASSWORD));
    let lab = lab(&["vm42"], &member);
    let first = with_password(&lab);
    assert_eq!((first.code, first.err.as_str()), (Some(0), ""));
    let (id, _) = cluster(&lab, "vm42");
    lab.secret("ticket", Kind::with(PASSWORD).ticket(60));
    let second = seed(&lab, &["vm42", "--ticket-file", "ticket"], "");
    assert_eq!(second.code, Some(0), "{}", second.err);
    assert_eq!(cluster(&lab, "vm42").0, id);
    // Nor does a password in its place.
    let text = lab.read("lab.yaml");
    lab.write(
        "lab.yaml",
        text.replace("join: ticket", "password_file: root-password"),
    );
    let third = lab.imgbuild(&["seed", "vm42"]);
    assert_eq!(third.code, Some(0), "{}", third.err);
    let (same, cluster) = cluster(&lab, "vm42");
    assert_eq!(same, id);
    assert!(matches!(cluster.credential, Credential::Password(_)));
}

#[test]
fn a_ticket_can_stay_as_it_is() {
    let member = Member::start("17.1", Kind::with(PASSWORD));
    let lab = lab(&["vm41", "vm42"], &member);
    let keep = ["vm42", "--keep-ticket"];
    let words = refused(&lab, &keep, "", &member.address);
    assert_eq!(
        words,
        "imgbuild: error: --keep-ticket: no seed with a ticket is there for vm42\n  right: without \
         --keep-ticket for these\n"
    );
    lab.secret("ticket", Kind::with(PASSWORD).ticket(60));
    assert_eq!(
        seed(&lab, &["vm42", "--ticket-file", "ticket"], "").code,
        Some(0)
    );
    let before = ticket(&lab, "vm42");
    let done = seed(&lab, &keep, "");
    assert_eq!((done.code, done.err.as_str()), (Some(0), ""));
    begins(&done.out, "vm42: unchanged: ");
    // As the guest leaves it when it has joined: the same machine, with no ticket.
    let image = lab.path("vm42/seed.img");
    let text = before.text().reveal();
    let disk = fs::read(&image).unwrap();
    let at = disk
        .windows(text.len())
        .position(|w| w == text.as_bytes())
        .unwrap();
    let mut used = disk.clone();
    used[at..at + text.len()].fill(b'x');
    fs::write(&image, &used).unwrap();
    lab.write(
        "lab.yaml",
        lab.read("lab.yaml")
            .replace("disk: 8G", "disk: 8G\n  timezone: Etc/UTC"),
    );
    let done = seed(&lab, &keep, "");
    begins(&done.out, "vm42: made: ");
    let (_, cluster) = cluster(&lab, "vm42");
    assert!(cluster.credential.is_removed());
    assert_eq!(member.count(), 1);
}

#[test]
fn programs_are_told_too() {
    let member = Member::start("3.1", Kind::with(PASSWORD));
    let lab = lab(&["vm42"], &member);
    let done = seed(&lab, &["vm42", "--json", "--password-stdin"], PASSWORD);
    let event: serde_json::Value = serde_json::from_str(done.out.lines().nth(1).unwrap()).unwrap();
    assert_eq!(event["event"], "ticket");
    assert_eq!(event["vms"], serde_json::json!(["vm42"]));
    let date = event["until"].as_str().unwrap();
    assert!(date.ends_with('Z') && date.len() == 20, "{date}");
}

#[test]
fn options_that_have_no_use_are_refused() {
    let lab1 = LabFolder::new(&["vm42"]);
    for option in [&["--password-stdin"][..], &["--ticket-file", "x"]] {
        let words = refused(&lab1, &[&["vm42"], option].concat(), PASSWORD, "no address");
        assert_eq!(
            words,
            format!(
                "imgbuild: error: {} is for VMs whose `cluster` says `join: ticket`, and none of \
                 these does\n",
                option[0]
            )
        );
    }
    let pinned = ["AB"; 32].join(":");
    let lab2 = lab_of(&["vm41", "vm42"], &[("127.86.13.1", &pinned)]);
    let text = lab2.read("lab.yaml").replace(
        "- name: vm42\n",
        &format!(
            "- name: vm42\n    cluster: {{peers: [{{address: 127.86.13.2, fingerprint: \"{pinned}\"}}]}}\n"
        ),
    );
    lab2.write("lab.yaml", &text);
    let words = refused(
        &lab2,
        &["--all", "--password-stdin"],
        PASSWORD,
        "no address",
    );
    assert_eq!(
        words,
        "imgbuild: error: --password-stdin is for one cluster, and these VMs join 2: the cluster of \
         127.86.13.1; the cluster of 127.86.13.2\n  right: a run for each\n"
    );
}

#[test]
fn clocks_and_nodes_outside_of_a_cluster_are_told() {
    let kind = Kind {
        ahead: 3600,
        cluster: None,
        years: Some((2089, 2090)),
        ..Kind::with(PASSWORD)
    };
    let member = Member::start("14.1", kind);
    let lab = lab(&["vm42"], &member);
    let done = with_password(&lab);
    assert_eq!(done.code, Some(0), "{}", done.err);
    let err = done.err.replace(&member.address, "ADDRESS");
    let lines: Vec<&str> = err.lines().collect();
    assert!(
        lines[0].starts_with(
            "imgbuild: warning: ADDRESS: the certificate is not valid before 2089-01-01 00:00 UTC, \
             and this PC's clock says 20"
        ) && lines[0].ends_with(
            "this clock is probably behind, or the member's was ahead when it was made (date -u on \
             both; timedatectl)"
        ),
        "{err}"
    );
    assert_eq!(
        lines[1..],
        [
            "imgbuild: warning: ADDRESS is in no cluster yet, so nothing can join it: on that node, \
             pvecm create NAME",
            "imgbuild: warning: the clocks of the cluster and of this PC differ by 1 h: one of the \
             two is wrong (date -u on both)",
        ]
    );
}

/// By this PC's clock the ticket is over before it is there: a date in the past is no promise.
#[test]
fn a_cluster_whose_clock_is_behind_gives_no_date_in_the_past() {
    let kind = Kind {
        ahead: -10_800,
        ..Kind::with(PASSWORD)
    };
    let member = Member::start("22.1", kind);
    let lab = lab(&["vm42"], &member);
    let done = with_password(&lab);
    assert_eq!(done.code, Some(0), "{}", done.err);
    has(&done.err, "of this PC differ by 3 h");
    let words = "\nthis seed can join for 2 h by the cluster's clock, and by this PC's no more: set the \
                 clock that is wrong, then imgbuild seed once more\n";
    has(&done.out, words);
}
