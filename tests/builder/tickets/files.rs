//! `--ticket-file`.

use super::member::{Kind, Member, now};
use super::{LINE, PASSWORD, lab, lab_of, refused, seed, ticket, until};
use crate::vm_folder::LabFolder;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use testkit::{ends, has};

#[test]
fn tickets_of_a_file() {
    let kind = Kind::with(PASSWORD);
    let member = Member::start("11.1", kind.clone());
    let lab1 = lab(&["vm42"], &member);
    let words = ["vm42", "--ticket-file", "ticket"];
    let remedy = format!("this prints on a member of the cluster of ADDRESS, as root:\n{LINE}\n");
    let other = Kind {
        cluster_key: "two".into(),
        ..kind.clone()
    };
    let other_user = kind.ticket(60).replace("root@pam", "admin@pve");
    let half = format!("PVE:!tfa!%7B%7D:{:08X}::AA", now());
    for (text, expected) in [
        (
            "geheim".to_owned(),
            format!(
                "the ticket in ticket must be a ticket of root@pam: `PVE:root@pam:`, eight hex \
                 digits, `::` and a signature, on one line\n  right: what {remedy}"
            ),
        ),
        (
            other_user,
            format!(
                "the ticket in ticket is a ticket of another user: only root@pam can add a node to \
                 a cluster\n  right: what {remedy}"
            ),
        ),
        (
            half,
            format!(
                "the ticket in ticket is only half of a login: the second factor is still asked for \
                 before there is a ticket\n  right: what {remedy}"
            ),
        ),
        (
            String::new(),
            "cannot read the secret file ticket: ticket is empty\n  right: the secret in it, and \
             nothing else\n"
                .to_owned(),
        ),
        (
            other.ticket(60),
            format!(
                "ADDRESS refuses the ticket in ticket: it is of another cluster, or older than two \
                 hours by that cluster's clock\n  right: a new one, which {remedy}"
            ),
        ),
    ] {
        lab1.secret("ticket", &text);
        let all = [&["seed"], &words[..]].concat();
        let done = lab1.imgbuild(&all);
        let err = done.err.replace(&member.address, "ADDRESS");
        assert_eq!(err, format!("imgbuild: error: {expected}"));
        assert_eq!((done.code, done.out.as_str()), (Some(1), ""));
        assert!(!lab1.path("vm42").exists());
    }
    // Only the one of another cluster had to be tried.
    assert_eq!(member.count(), 1);

    lab1.secret("ticket", kind.ticket(7201));
    let expired = refused(&lab1, &words, "", &member.address);
    let (before, rest) = expired.split_once("(valid until ").unwrap();
    assert_eq!(before, "imgbuild: error: the ticket in ticket has expired ");
    has(rest, " UTC by this PC's clock)\n  right: a new one, which ");
    assert_eq!(member.count(), 1);

    lab1.secret("ticket", kind.ticket(60));
    fs::set_permissions(lab1.path("ticket"), fs::Permissions::from_mode(0o640)).unwrap();
    let words_of = refused(&lab1, &words, "", &member.address);
    assert_eq!(
        words_of,
        "imgbuild: error: cannot read the secret file ticket: ticket is open to other users (mode \
         0640)\n  right: chmod 600 ticket\n"
    );

    // A good one is renewed by the peer that it is tried at.
    lab1.secret("ticket", format!("{}\n", kind.ticket(7000)));
    let done = seed(&lab1, &words, "");
    assert_eq!((done.code, done.err.as_str()), (Some(0), ""));
    assert_eq!(
        until(&done),
        "this seed can join until T, 2 h from now; a VM that is first started later needs a new seed"
    );
    assert!(now() - (ticket(&lab1, "vm42").made() as i64) < 60);
}

#[test]
fn a_ticket_of_a_file_needs_no_peer() {
    let pinned = ["AB"; 32].join(":");
    let lab = lab_of(&["vm42"], &[("127.86.12.1", &pinned)]);
    let text = Kind::with(PASSWORD).ticket(3600);
    lab.secret("ticket", &text);
    let done = seed(&lab, &["vm42", "--ticket-file", "ticket"], "");
    assert_eq!(done.code, Some(0), "{}", done.err);
    assert_eq!(
        done.err,
        "imgbuild: warning: no peer of the cluster of 127.86.12.1 answers from this PC, so the ticket \
         in ticket was not tried; it is used as it is\n"
    );
    assert!(
        until(&done).contains(", 59 min from now;") || until(&done).contains(", 1 h from now;")
    );
    assert_eq!(ticket(&lab, "vm42").text().reveal(), text);
}

/// What was just done is not advised again, and there is no password to speak of.
#[test]
fn a_ticket_that_no_peer_can_be_given() {
    let broken = "HTTP/1.1 595 Connection refused\r\nConnection: close\r\n\r\n";
    let kind = Kind {
        instead: Some(broken.into()),
        ..Kind::with(PASSWORD)
    };
    let text = kind.ticket(60);
    let member = Member::start("21.1", kind);
    let words = ["seed", "vm42", "--ticket-file", "ticket"];
    let told = |lab: &LabFolder| {
        lab.secret("ticket", &text);
        let done = lab.imgbuild(&words);
        assert_eq!(done.code, Some(1), "{}", done.err);
        done.err.replace(&member.address, "ADDRESS")
    };
    let found = told(&lab(&["vm42"], &member));
    let right = "\n  right: members of the cluster as `peers`; the ticket is tried at one of them, \
                 unless none answers at all\n";
    ends(&found, right);

    let pinned = ["AB"; 32].join(":");
    let lab1 = lab_of(&["vm42"], &[(&member.address, &pinned)]);
    let found = told(&lab1);
    let right = "\n  right: imgbuild peer ADDRESS, compared with what that member itself prints; never \
                 without: whoever answers there would get the ticket, which is worth as much for two \
                 hours\n";
    ends(&found, right);

    lab1.secret("ticket", format!("{text}\n{text}\n"));
    assert_eq!(
        lab1.imgbuild(&words).err,
        "imgbuild: error: cannot read the secret file ticket: ticket has more than one line\n  \
         right: the ticket alone in its first line\n"
    );
}
