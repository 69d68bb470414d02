use super::*;
use std::collections::BTreeMap;
use std::path::Path;

/// A case holds what was seen of a real node: lines of `key: value`, and `.members` last.
fn read(text: &str) -> (String, Observed) {
    let (head, members) = text.split_once("members:\n").unwrap();
    let lines = head.lines().filter_map(|line| line.split_once(": "));
    let keys: BTreeMap<&str, &str> = lines.collect();
    let observed = Observed {
        members: (!members.is_empty()).then(|| Members::parse(members).unwrap()),
        authkey: keys["authkey"] != "no",
        torn_key: keys["authkey"] == "torn",
        cluster_conf: keys["cluster-conf"] == "yes",
        database: keys["database"] == "yes",
        corosync: match keys["corosync"] {
            "active" => Corosync::Active,
            "failed" => Corosync::Failed,
            _ => Corosync::Inactive,
        },
        certificate: (keys["certificate"] == "missing").then(|| "no certificate".to_owned()),
    };
    (keys["node"].to_owned(), observed)
}

/// The state, and what is done about it for each thing that the cluster may say of this node.
fn told(node: &str, observed: &Observed) -> String {
    let state = State::of(observed, node);
    let others = Entry::Others("OTHERS".to_owned());
    let mut text = format!("{state:?}\n");
    for (what, entry) in [
        ("not asked", None),
        ("absent", Some(Entry::Absent)),
        ("own", Some(Entry::Own)),
        ("running", Some(Entry::Running)),
        ("others", Some(others)),
    ] {
        let action = next(&state, entry.as_ref());
        text.push_str(&format!("{what}: {action:?}\n"));
    }
    text
}

mod recorded_nodes {
    testkit::cases!(
        "join-state/*.txt",
        super::node_has_its_state_and_its_next_action
    );
}

fn node_has_its_state_and_its_next_action(file: &Path) {
    let (node, observed) = read(&std::fs::read_to_string(file).unwrap());
    testkit::expect_file(&file.with_extension("expected"), &told(&node, &observed));
}

fn listed(name: &str, address: &str) -> Listed {
    Listed {
        name: name.to_owned(),
        address: address.to_owned(),
        votes: 1,
        online: None,
    }
}

#[test]
fn a_name_is_own_only_with_the_own_address() {
    let nodes = [listed("vm41", "10.120.0.41"), listed("vm42", "10.120.0.42")];
    let of = |name: &str, own: &str| Entry::of(&nodes, name, own.parse().ok());
    assert_eq!(of("vm43", "10.120.0.43"), Entry::Absent);
    assert_eq!(of("vm42", "10.120.0.42"), Entry::Own);
    assert_eq!(
        of("vm42", "10.120.0.52"),
        Entry::Others(
            "the cluster has a node vm42 already, at 10.120.0.42, and this machine has \
             10.120.0.52"
                .to_owned()
        )
    );
    // Two clones with one address must not steal from each other either.
    assert_eq!(
        of("vm43", "10.120.0.42"),
        Entry::Others(
            "the cluster knows the address 10.120.0.42 as that of its node vm42, and this machine \
             is vm43"
                .to_owned()
        )
    );
    // The same machine twice: the one that is at work is not this one.
    let mut twice = nodes.clone();
    twice[1].online = Some(true);
    let own = "10.120.0.42".parse().ok();
    assert_eq!(Entry::of(&twice, "vm42", own), Entry::Running);
    twice[1].online = Some(false);
    assert_eq!(Entry::of(&twice, "vm42", own), Entry::Own);
    // Without an address of its own a machine cannot prove that an entry is its own.
    assert!(matches!(of("vm42", ""), Entry::Others(_)));
    assert_eq!(of("vm43", ""), Entry::Absent);
    // A name instead of an address in the list proves nothing.
    let nodes = [listed("vm42", "vm42.lab.example")];
    let own = "10.120.0.42".parse().ok();
    assert!(matches!(Entry::of(&nodes, "vm42", own), Entry::Others(_)));
}

#[test]
fn force_is_never_given_against_another_machine() {
    let states = [
        State::Alone,
        State::HalfJoined,
        State::LeftBehind {
            has_database: false,
        },
        State::LeftBehind { has_database: true },
        State::Waiting(String::new()),
        State::NoFileSystem,
        State::OtherName("x".to_owned()),
    ];
    for state in states {
        let others = Entry::Others("x".to_owned());
        for entry in [None, Some(&others), Some(&Entry::Running)] {
            let action = next(&state, entry);
            assert!(!matches!(action, Action::Add { .. }), "{state:?} {entry:?}");
        }
    }
}

/// Who has the cluster's database and is listed no longer was removed, and does not come back; who
/// never had it was added by a member that then lost its quorum, and with it the new entry.
#[test]
fn only_a_node_that_was_never_a_member_is_added_anew() {
    let absent = |has_database| next(&State::LeftBehind { has_database }, Some(&Entry::Absent));
    assert_eq!(absent(false), Action::Add { force: true });
    assert!(matches!(absent(true), Action::Doubt(_)));
}

#[test]
fn verdicts_and_what_follows() {
    let text = || "words".to_owned();
    let later = |seconds| Some(Duration::from_secs(seconds));
    let finding = |words: &str| JoinVerdict::Refused(vec![words.to_owned()]);
    let interrupted = |waiting_for_quorum| JoinVerdict::Interrupted { waiting_for_quorum };
    let table = [
        (JoinVerdict::Unreachable(text()), true, later(0)),
        (JoinVerdict::NotVerified(text()), true, later(0)),
        (JoinVerdict::NoQuorum, true, later(0)),
        (JoinVerdict::NoCluster, true, later(0)),
        (JoinVerdict::WrongFingerprint(None), true, None),
        (JoinVerdict::Lost(text()), false, later(0)),
        (JoinVerdict::NameTaken, false, later(0)),
        (JoinVerdict::Locked(text()), false, later(130)),
        (interrupted(true), false, later(0)),
        (interrupted(false), false, later(0)),
        (JoinVerdict::NoFileSystem, false, later(0)),
        (JoinVerdict::OwnName(text()), false, later(0)),
        (finding("link0: cannot use IP"), false, later(0)),
        (
            finding("this host already contains virtual guests"),
            false,
            None,
        ),
        (JoinVerdict::Unknown(text()), false, later(0)),
        (JoinVerdict::WrongPassword, true, None),
        (JoinVerdict::NoPassword, false, None),
        (JoinVerdict::TwoFactor, false, None),
        (JoinVerdict::Usage(text()), false, None),
        // No other peer would say anything else, and no waiting mends it.
        (JoinVerdict::Links(text()), false, None),
    ];
    for (verdict, other_peer, patience) in table {
        let expected = After {
            other_peer,
            patience,
        };
        assert_eq!(after(&verdict), expected, "{verdict:?}");
    }
}
