//! Peers that are not what lab.yaml says, or no Proxmox VE at all.

use super::member::{Kind, Member};
use super::{LINE, PASSWORD, cluster, lab, lab_of, refused_from_script, with_password};
use testkit::begins;

#[test]
fn another_certificate_gets_no_password() {
    let member = Member::start("6.1", Kind::with(PASSWORD));
    let pinned = ["AB"; 32].join(":");
    let lab = lab_of(&["vm42"], &[(&member.address, &pinned)]);
    let words = refused_from_script(&lab, &member);
    assert_eq!(
        words,
        format!(
            "imgbuild: error: no peer of the cluster of ADDRESS can be asked from this PC:\n  \
             ADDRESS: it shows another certificate than lab.yaml has: {}\n  right: imgbuild peer \
             ADDRESS, compared with what that member itself prints; never without: whoever answers \
             there would get the root password\n",
            member.fingerprint
        )
    );
    assert_eq!(member.count(), 0);

    // The next peer serves, and the first one is told.
    let good = Member::start("6.2", Kind::with(PASSWORD));
    let peers = [
        (member.address.as_str(), pinned.as_str()),
        (good.address.as_str(), good.fingerprint.as_str()),
    ];
    let lab = lab_of(&["vm42"], &peers);
    let done = with_password(&lab);
    assert_eq!(done.code, Some(0), "{}", done.err);
    assert_eq!(
        done.err,
        format!(
            "imgbuild: warning: {} was passed over: it shows another certificate than lab.yaml has: \
             {}\n",
            member.address, member.fingerprint
        )
    );
    assert_eq!((member.count(), good.count()), (0, 1));
}

/// A certificate is no secret: who has seen it can show it.
#[test]
fn a_certificate_without_its_key_gets_no_password() {
    let kind = Kind {
        without_its_key: true,
        ..Kind::with(PASSWORD)
    };
    let member = Member::start("18.1", kind);
    let lab = lab(&["vm42"], &member);
    let words = refused_from_script(&lab, &member);
    let expected = "imgbuild: error: no peer of the cluster of ADDRESS can be asked from this PC:\n  \
                    ADDRESS: no TLS connection: invalid peer certificate: BadSignature\n";
    begins(&words, expected);
    assert_eq!(member.count(), 0);
}

#[test]
fn one_of_several_fingerprints_is_enough() {
    let member = Member::start("7.1", Kind::with(PASSWORD));
    let lab = lab(&["vm42"], &member);
    let old = ["AB"; 32].join(":");
    let quoted = format!("\"{}\"", member.fingerprint);
    let text = lab.read("lab.yaml");
    lab.write(
        "lab.yaml",
        text.replace(&quoted, &format!("[\"{old}\", {quoted}]")),
    );
    assert_eq!(with_password(&lab).code, Some(0));
    let (_, cluster) = cluster(&lab, "vm42");
    assert_eq!(
        cluster.peers[0].fingerprints,
        [old, member.fingerprint.clone()]
    );
}

#[test]
fn what_is_no_proxmox_is_told_apart() {
    let page = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n<html>";
    let none = "HTTP/1.1 501 Method 'POST /access/ticket' not implemented\r\nConnection: \
                close\r\n\r\n";
    let mail =
        "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{\"data\":{\"ticket\":\"PMG:root@pam:1\"}}";
    let broken = "HTTP/1.1 500 got no worker\r\nConnection: close\r\n\r\n\
                  {\"message\":\"cluster\\nis \\u001b[2Jbusy\",\"data\":null}";
    let json = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{\"data\":null}";
    for (number, instead, expected) in [
        (
            "8.1",
            page,
            "it answers with a web page: whatever listens on port 8006 there is not the API \
                       of Proxmox VE",
        ),
        (
            "8.2",
            none,
            "it answers 501 (Method 'POST /access/ticket' not implemented): whatever listens \
                       on port 8006 there has no login of Proxmox VE",
        ),
        (
            "8.3",
            mail,
            "it gave a ticket of \"PMG\", not of Proxmox VE",
        ),
        ("8.4", broken, "it answers 500: cluster is busy"),
        (
            "8.5",
            json,
            "its answer has no ticket, so it is not Proxmox VE",
        ),
        ("8.6", "hello\r\n\r\n", "it does not speak HTTP: hello"),
    ] {
        let kind = Kind {
            instead: Some(instead.into()),
            ..Kind::with(PASSWORD)
        };
        let member = Member::start(number, kind);
        let lab = lab(&["vm42"], &member);
        let words = refused_from_script(&lab, &member);
        assert_eq!(words, nobody(expected));
    }
    let kind = Kind {
        before_tls: Some("SSH-2.0-OpenSSH_10.0\r\n".into()),
        ..Kind::with(PASSWORD)
    };
    let member = Member::start("8.7", kind);
    let lab = lab(&["vm42"], &member);
    let words = refused_from_script(&lab, &member);
    assert_eq!(words, nobody("it does not speak TLS"));
}

fn nobody(why: &str) -> String {
    format!(
        "imgbuild: error: no peer of the cluster of ADDRESS can be asked from this PC:\n  ADDRESS: {why}\n  \
         right: members of the cluster as `peers`; or --ticket-file FILE with what this prints on a \
         member, as root:\n{LINE}\n"
    )
}

#[test]
fn a_peer_that_cannot_serve_leaves_it_to_the_next() {
    let broken = "HTTP/1.1 595 Connection refused\r\nConnection: close\r\n\r\n";
    let kind = Kind {
        instead: Some(broken.into()),
        ..Kind::with(PASSWORD)
    };
    let first = Member::start("19.1", kind);
    let second = Member::start("19.2", Kind::with(PASSWORD));
    let peers = [&first, &second].map(|m| (m.address.as_str(), m.fingerprint.as_str()));
    let lab = lab_of(&["vm42"], &peers);
    let done = with_password(&lab);
    assert_eq!(done.code, Some(0), "{}", done.err);
    assert_eq!(
        done.err,
        format!(
            "imgbuild: warning: {} was passed over: it answers 595: Connection refused\n",
            first.address
        )
    );
    assert_eq!((first.count(), second.count()), (1, 1));
}
