//! `imgbuild lab quorum`.

use super::member::{Kind, Member};
use super::{LINE, PASSWORD, QUESTION, REFUSED, imgbuild, lab, lab_of};
use crate::terminal::Session;
use crate::vm_folder::{Finished, LabFolder};
use testkit::ends;

/// A cluster of three, all online.
const THREE: [(&str, u32, bool); 3] = [("pve1", 1, true), ("vm41", 1, true), ("vm42", 1, true)];

fn cluster(nodes: &[(&'static str, u32, bool)]) -> Kind {
    Kind {
        nodes: nodes.to_vec(),
        ..Kind::with(PASSWORD)
    }
}

fn quorum(lab: &LabFolder, words: &[&str]) -> Finished {
    let all = [&["lab", "quorum", "--password-stdin"], words].concat();
    imgbuild(lab, &all, PASSWORD)
}

/// Exit code, standard output and standard error, with ADDRESS for the member's.
fn told(done: &Finished, member: &Member) -> (Option<i32>, String, String) {
    let text = |text: &str| text.replace(&member.address, "ADDRESS");
    (done.code, text(&done.out), text(&done.err))
}

fn good(words: &str) -> (Option<i32>, String, String) {
    (Some(0), format!("{words}\n"), String::new())
}

fn bad(words: &str) -> (Option<i32>, String, String) {
    (
        Some(1),
        String::new(),
        format!("imgbuild: error: {words}\n"),
    )
}

#[test]
fn a_cluster_that_can_do_without_a_machine_and_one_that_cannot() {
    let member = Member::start("31.1", cluster(&THREE));
    let lab1 = lab(&["vm41", "vm42"], &member);
    assert_eq!(
        told(&quorum(&lab1, &["vm41"]), &member),
        good(
            "the cluster of ADDRESS keeps its quorum without vm41: 2 of its 3 nodes stay online, \
             and 2 are needed"
        )
    );
    // A login for all that are named, and each is named once.
    assert_eq!(member.count(), 1);
    assert_eq!(
        told(&quorum(&lab1, &["vm41", "vm42", "vm41"]), &member),
        bad(
            "the cluster of ADDRESS: 3 of its 3 nodes are online, vm41, vm42 have 2 of them; without \
             them 1 of 3 are no quorum, 2 are needed\n  right: one after the other"
        )
    );
    assert_eq!(member.count(), 2);

    let mut nodes = THREE;
    nodes[2].2 = false;
    let member = Member::start("31.2", cluster(&nodes));
    let lab2 = lab(&["vm41"], &member);
    assert_eq!(
        told(&quorum(&lab2, &["vm41"]), &member),
        bad(
            "the cluster of ADDRESS: 2 of its 3 nodes are online, vm41 is one of them; without it 1 \
             of 3 are no quorum, 2 are needed\n  right: start another node first: vm42 is offline"
        )
    );
    nodes[1].2 = false;
    let member = Member::start("31.3", cluster(&nodes));
    let lab3 = lab(&["vm41"], &member);
    assert_eq!(
        told(&quorum(&lab3, &["vm41"]), &member),
        bad(
            "the cluster of ADDRESS has no quorum: 1 of its 3 nodes are online, and 2 are needed\n  \
             right: start another node first: vm42 is offline"
        )
    );
}

#[test]
fn programs_are_told_the_votes() {
    let kind = Kind {
        qdevice: true,
        ..cluster(&[("pve1", 2, true), ("vm41", 1, true), ("vm42", 0, false)])
    };
    let member = Member::start("32.1", kind);
    let lab = lab(&["vm41"], &member);
    let done = quorum(&lab, &["vm41", "--json"]);
    let events: Vec<serde_json::Value> = done
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let label = format!("the cluster of {}", member.address);
    assert_eq!((done.code, done.err.as_str()), (Some(0), ""));
    assert_eq!(
        events,
        [
            serde_json::json!({"event": "warning", "text": format!(
                "{label} has a QDevice, whose votes are not counted here: on a member, pvecm status \
                 shows them"
            )}),
            serde_json::json!({
                "event": "quorum", "cluster": label, "vms": ["vm41"], "kept": true, "quorate": true,
                "expected": 3, "needed": 2, "online": 3, "left": 2,
            }),
        ]
    );
}

/// Nobody is asked, and no option is wrong: a script need not know who joins.
#[test]
fn a_machine_that_joins_nothing() {
    let lab = LabFolder::new(&["vm42"]);
    std::fs::remove_file(lab.path("root-password")).unwrap();
    let done = quorum(&lab, &["vm42"]);
    let words = "vm42: joins no cluster, so none depends on it\n";
    assert_eq!(
        (done.code, done.out.as_str(), done.err.as_str()),
        (Some(0), words, "")
    );
    let done = quorum(&lab, &["vm43"]);
    assert_eq!(
        (done.code, done.err.as_str()),
        (
            Some(1),
            "imgbuild: error: lab.yaml has no VM named `vm43`; the nearest: vm42\n"
        )
    );
}

#[test]
fn every_way_to_log_in() {
    let member = Member::start("33.1", cluster(&THREE));
    let lab1 = lab(&["vm41"], &member);
    let kept = "the cluster of ADDRESS keeps its quorum without vm41: 2 of its 3 nodes stay online, \
                and 2 are needed";
    lab1.secret("ticket", cluster(&THREE).ticket(60));
    let words = ["lab", "quorum", "vm41", "--ticket-file", "ticket"];
    assert_eq!(told(&imgbuild(&lab1, &words, ""), &member), good(kept));

    let session = Session::start(&lab1, &["lab", "quorum", "vm41"]);
    session.answer(QUESTION, 1, &format!("{PASSWORD}\n"));
    let done = session.end();
    assert_eq!(
        (done.code, told(&done, &member).1),
        (Some(0), format!("{kept}\n"))
    );

    let done = imgbuild(&lab1, &["lab", "quorum", "vm41"], "");
    assert_eq!(
        told(&done, &member),
        bad(&format!(
            "the cluster's root password has to be asked for, and standard input is no terminal\n  \
             right: at a terminal; or --password-stdin; or --ticket-file FILE with what this prints \
             on a member, as root:\n{LINE}"
        ))
    );

    // The lab knows it.
    let text = lab1.read("lab.yaml");
    lab1.write(
        "lab.yaml",
        text.replace("join: ticket", "password_file: cluster-password"),
    );
    let alone = ["lab", "quorum", "vm41"];
    lab1.secret("cluster-password", format!("{PASSWORD}\n"));
    assert_eq!(told(&imgbuild(&lab1, &alone, ""), &member), good(kept));
    lab1.secret("cluster-password", "wrong\n");
    let (code, out, err) = told(&imgbuild(&lab1, &alone, ""), &member);
    assert_eq!(
        (code, out, err),
        bad(format!(
            "cannot log in with the password in LAB/cluster-password: ADDRESS refuses root@pam: \
             {REFUSED}"
        )
        .trim_end())
    );
    let kind = Kind {
        factor: Some((r#"{"totp":true}"#.into(), "totp:123456".into())),
        ..cluster(&THREE)
    };
    let member = Member::start("33.2", kind);
    let lab2 = lab(&["vm41"], &member);
    let text = lab2.read("lab.yaml");
    lab2.write(
        "lab.yaml",
        text.replace("join: ticket", "password_file: cluster-password"),
    );
    lab2.secret("cluster-password", format!("{PASSWORD}\n"));
    let (code, _, err) = told(&imgbuild(&lab2, &alone, ""), &member);
    assert_eq!(code, Some(1));
    ends(
        &err,
        &format!(
            ": root@pam in the cluster of ADDRESS has a second factor, which no file with a password \
             answers\n  right: --password-stdin, with the code of six digits in the second line; or \
             --ticket-file FILE with what this prints on a member, as root (it asks for no second \
             factor):\n{LINE}\n"
        ),
    );
    let words = ["lab", "quorum", "vm41", "--password-stdin"];
    let input = format!("{PASSWORD}\n123456\n");
    assert_eq!(told(&imgbuild(&lab2, &words, &input), &member), good(kept));
}

#[test]
fn members_that_cannot_tell() {
    let pinned = ["AB"; 32].join(":");
    let member = Member::start("34.1", cluster(&THREE));
    let lab1 = lab_of(&["vm41"], &[(&member.address, &pinned)]);
    let (code, _, err) = told(&quorum(&lab1, &["vm41"]), &member);
    assert_eq!((code, member.count()), (Some(1), 0));
    ends(
        &err,
        "compared with what that member itself prints; never without: whoever answers there would get \
         the root password\n",
    );
    let silent = lab_of(&["vm41"], &[("127.86.34.9", &pinned)]);
    silent.secret("ticket", cluster(&THREE).ticket(60));
    for way in [&["--password-stdin"][..], &["--ticket-file", "ticket"]] {
        let all = [&["lab", "quorum", "vm41"], way].concat();
        let done = imgbuild(&silent, &all, PASSWORD);
        assert_eq!(
            told(&done, &member),
            bad(
                "no peer of the cluster of 127.86.34.9 can be asked from this PC:\n  127.86.34.9: \
                 nothing listens on port 8006\n  right: from a PC that reaches a member, with that \
                 one among `peers`"
            )
        );
    }
    let kind = Kind {
        cluster: None,
        ..cluster(&THREE)
    };
    let member = Member::start("34.2", kind);
    let lab2 = lab(&["vm41"], &member);
    assert_eq!(
        told(&quorum(&lab2, &["vm41"]), &member),
        bad("cannot learn how the cluster of ADDRESS stands: ADDRESS: it is in no cluster")
    );
}
