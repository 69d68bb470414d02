use super::*;

/// As a real node wrote it (transcript 20-joined-files).
const JOINED: &str = "logging {
  debug: off
  to_syslog: yes
}

nodelist {
  node {
    name: alpha
    nodeid: 1
    quorum_votes: 1
    ring0_addr: 10.99.0.11
  }
  node {
    name: beta
    nodeid: 2
    quorum_votes: 1
    ring0_addr: 10.99.0.12
  }
}

quorum {
  provider: corosync_votequorum
}

totem {
  cluster_name: labcluster
  config_version: 2
  interface {
    linknumber: 0
  }
  ip_version: ipv4-6
  link_mode: passive
  secauth: on
  token_coefficient: 125
  version: 2
}

";

/// The lines that differ, as `-old` and `+new`; the lines must not have moved.
fn difference(before: &str, after: &str) -> Vec<String> {
    let (before, after): (Vec<_>, Vec<_>) = (before.lines().collect(), after.lines().collect());
    assert_eq!(before.len(), after.len());
    let pairs = before.iter().zip(&after).filter(|(a, b)| a != b);
    pairs
        .flat_map(|(a, b)| [format!("-{a}"), format!("+{b}")])
        .collect()
}

#[test]
fn two_lines_of_a_real_file_change() {
    let after = with_votes(JOINED, &[("beta", 0)]).unwrap().unwrap();
    assert_eq!(
        difference(JOINED, &after),
        [
            "-    quorum_votes: 1",
            "+    quorum_votes: 0",
            "-  config_version: 2",
            "+  config_version: 3"
        ]
    );
    let conf = parse(&after).unwrap();
    assert_eq!(conf.version, 3);
    assert_eq!(
        (conf.votes("alpha"), conf.votes("beta")),
        (Some(1), Some(0))
    );
    assert_eq!(conf.votes("gamma"), None);
}

#[test]
fn nothing_changes_when_the_votes_are_there() {
    assert_eq!(with_votes(JOINED, &[("beta", 1)]), Ok(None));
    let without = JOINED.replace("    quorum_votes: 1\n", "");
    assert_eq!(with_votes(&without, &[("beta", 1)]), Ok(None));
}

#[test]
fn an_entry_without_votes_gets_the_setting() {
    // What `pvecm add --votes 0` leaves behind.
    let text = JOINED.replacen("    nodeid: 2\n    quorum_votes: 1\n", "    nodeid: 2\n", 1);
    let after = with_votes(&text, &[("beta", 0)]).unwrap().unwrap();
    let expected = "    nodeid: 2\n    ring0_addr: 10.99.0.12\n    quorum_votes: 0\n  }\n}";
    assert!(after.contains(expected), "{after}");
    assert_eq!(parse(&after).unwrap().votes("beta"), Some(0));
}

#[test]
fn comments_order_and_the_unknown_stay() {
    let text = "# by hand\ntotem {\n\tconfig_version:\t9 # see the log\n\tunknown: a: b\n}\n\
                nodelist {\n\t# quorum_votes: 7\n\tnode {\n\t\tquorum_votes:5\n\t\t\
                ring0_addr: 10.0.0.1\n\t}\n\tnode {\n\t\tname: b\n\t}\n}";
    let after = with_votes(text, &[("10.0.0.1", 0)]).unwrap().unwrap();
    assert_eq!(
        difference(text, &after),
        [
            "-\tconfig_version:\t9 # see the log",
            "+\tconfig_version:\t10 # see the log",
            "-\t\tquorum_votes:5",
            "+\t\tquorum_votes:0"
        ]
    );
}

#[test]
fn a_name_is_compared_whole() {
    let problem = |name| with_votes(JOINED, &[(name, 0)]).unwrap_err().to_string();
    assert_eq!(problem("alph"), "alph is not in its nodelist");
    let twice = JOINED.replace("name: alpha", "name: beta");
    assert_eq!(
        with_votes(&twice, &[("beta", 0)]),
        Err(Problem::Twice("beta".into()))
    );
}

#[test]
fn the_last_vote_is_not_taken() {
    let text = with_votes(JOINED, &[("alpha", 0)]).unwrap().unwrap();
    assert_eq!(with_votes(&text, &[("beta", 0)]), Err(Problem::NoVotes));
    assert!(with_votes(&text, &[("beta", 2)]).unwrap().is_some());
}

#[test]
fn what_is_no_corosync_conf_is_refused() {
    let changed = |from: &str, to: &str| parse(&JOINED.replacen(from, to, 1));
    assert_eq!(changed("  config_version: 2\n", ""), Err(Problem::Version));
    let twice = "  config_version: 2\n  config_version: 2\n";
    assert_eq!(
        changed("  config_version: 2\n", twice),
        Err(Problem::Version)
    );
    assert_eq!(
        changed("config_version: 2", "config_version: two"),
        Err(Problem::Number(27, "config_version".into()))
    );
    assert_eq!(
        changed("quorum_votes: 1", "quorum_votes: -1"),
        Err(Problem::Number(10, "quorum_votes".into()))
    );
    assert_eq!(
        changed("  debug: off", "  debug off"),
        Err(Problem::Line(2, "debug off".into()))
    );
    assert_eq!(changed("  to_syslog: yes\n}", ""), Err(Problem::Braces));
    assert_eq!(parse("}\n"), Err(Problem::Braces));
    assert_eq!(parse(""), Err(Problem::Version));
    let top = format!("config_version: {}", u64::MAX);
    let full = JOINED.replace("config_version: 2", &top);
    assert_eq!(with_votes(&full, &[("beta", 0)]), Err(Problem::Version));
}

#[test]
fn several_nodes_are_one_change() {
    let after = with_votes(JOINED, &[("alpha", 3), ("beta", 0)]);
    assert_eq!(
        difference(JOINED, &after.unwrap().unwrap()),
        [
            "-    quorum_votes: 1",
            "+    quorum_votes: 3",
            "-    quorum_votes: 1",
            "+    quorum_votes: 0",
            "-  config_version: 2",
            "+  config_version: 3",
        ]
    );
    assert_eq!(with_votes(JOINED, &[("alpha", 1), ("beta", 1)]), Ok(None));
    let none = with_votes(JOINED, &[("alpha", 0), ("beta", 0)]);
    assert_eq!(none, Err(Problem::NoVotes));
}
