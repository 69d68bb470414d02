//! `imgbuild peer`.

use super::PASSWORD;
use super::member::{Kind, Member};
use crate::vm_folder::LabFolder;

#[test]
fn a_peer_shows_its_certificate() {
    let member = Member::start("15.1", Kind::with(PASSWORD));
    let lab = LabFolder::new(&["vm42"]);
    let done = lab.imgbuild(&["peer", &member.address]);
    assert_eq!((done.code, done.err.as_str()), (Some(0), ""));
    let subject = "CN=pve1.example.org,O=Proxmox Virtual Environment";
    assert_eq!(
        done.out
            .replace(&member.address, "ADDRESS")
            .replace(&member.fingerprint, "AB:CD"),
        format!(
            "subject     {subject}\nissuer      {subject}\nnames       pve1.example.org, ADDRESS\n\
             valid from  2020-01-01 00:00 UTC\nvalid to    2090-01-01 00:00 UTC\n\
             SHA-256     AB:CD\n\n\
             Compare the SHA-256 with what that member itself prints, on its own console or over ssh:\n  \
             openssl x509 -noout -fingerprint -sha256 -in /etc/pve/local/pve-ssl.pem\n\
             (pveproxy-ssl.pem where that file is there). Only when both are the same, for lab.yaml:\n\n    \
             peers:\n      - address: ADDRESS\n        fingerprint: \"AB:CD\"\n"
        )
    );
    let done = lab.imgbuild(&["peer", &member.address, "--json"]);
    let event: serde_json::Value = serde_json::from_str(&done.out).unwrap();
    assert_eq!(event["fingerprint"], member.fingerprint.as_str());
    assert_eq!(event["from"], "2020-01-01T00:00:00Z");
    assert_eq!(member.count(), 0);
}

#[test]
fn peers_that_are_none() {
    let page = "HTTP/1.1 200 OK\r\nServer: nginx\r\nContent-Length: 0\r\n\r\n";
    let kind = Kind {
        instead: Some(page.into()),
        years: Some((2001, 2002)),
        ..Kind::default()
    };
    let member = Member::start("16.1", kind);
    let lab = LabFolder::new(&["vm42"]);
    let done = lab.imgbuild(&["peer", &member.address]);
    assert_eq!(done.code, Some(0), "{}", done.err);
    assert_eq!(
        done.err.replace(&member.address, "ADDRESS"),
        "imgbuild: warning: the certificate has ended on 2002-01-01 00:00 UTC: on that member, pvecm \
         updatecerts --force makes a new one\nimgbuild: warning: ADDRESS answers as nginx, and Proxmox \
         VE answers as pve-api-daemon: it may not be a Proxmox VE node\n"
    );
    let done = lab.imgbuild(&["peer", "127.86.16.2"]);
    assert_eq!((done.code, done.out.as_str()), (Some(1), ""));
    assert_eq!(
        done.err,
        "imgbuild: error: 127.86.16.2: nothing listens on port 8006\n  Where only the VPN leads to it, \
         a member shows it itself: openssl x509 -noout -fingerprint -sha256 -in \
         /etc/pve/local/pve-ssl.pem\n"
    );
}

#[test]
fn an_address_as_a_browser_shows_it() {
    let lab = LabFolder::new(&["vm42"]);
    for (written, host) in [
        ("https://pve1.example.org:8006/", "pve1.example.org"),
        ("https://10.120.0.1", "10.120.0.1"),
        ("10.120.0.1:8006", "10.120.0.1"),
        ("[fd00::1]:8006", "fd00::1"),
        ("pve1/", "pve1"),
    ] {
        let done = lab.imgbuild(&["peer", written]);
        assert_eq!((done.code, done.out.as_str()), (Some(1), ""));
        assert_eq!(
            done.err,
            format!(
                "imgbuild: error: `{written}` is more than an address: a member is asked on port 8006, \
                 by its IP address or name alone\n  right: imgbuild peer {host}\n"
            )
        );
    }
}
