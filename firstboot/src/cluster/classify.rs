//! What the output of `pvecm add` means. Its exit code means nothing: it is 0 after every
//! failure of the worker.

use crate::contract::clock;

/// What became of one `pvecm add`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum JoinVerdict {
    /// The success line came last. The state must be looked at all the same.
    Added,
    /// The peer did not answer, and nothing was asked of it yet: another may.
    Unreachable(String),
    /// TLS did not accept the certificate, whatever its fingerprint; the client's words.
    NotVerified(String),
    /// The connection broke after the request: the cluster may know this node already.
    Lost(String),
    /// The peer refused the password.
    WrongPassword,
    /// pvecm found no line on its standard input.
    NoPassword,
    /// The peer has another certificate; its fingerprint if it was shown.
    WrongFingerprint(Option<String>),
    /// A member of this name is there already.
    NameTaken,
    /// The peer has no quorum.
    NoQuorum,
    /// The peer is in no cluster.
    NoCluster,
    /// The cluster has other links than this node was given; the peer's words.
    Links(String),
    /// A lock, here or in the cluster, was not free in time.
    Locked(String),
    /// The peer said no, for a reason that is not known here.
    PeerSays(String),
    /// This node's own checks said no; their findings.
    Refused(Vec<String>),
    /// It was ended from outside; whether it was waiting for quorum by then.
    Interrupted {
        /// The cluster has added the node, but corosync did not come together.
        waiting_for_quorum: bool,
    },
    /// Root of the cluster has a second factor, and nobody is there to type it.
    TwoFactor,
    NoFileSystem,
    /// This machine's own name stands for no address that can be used.
    OwnName(String),
    /// pvecm did not take the command line.
    Usage(String),
    /// Something else; the last line.
    Unknown(String),
}

/// Reads the whole output (both streams) of a `pvecm add` for the node `name`.
pub(crate) fn classify(output: &str, name: &str) -> JoinVerdict {
    let lines: Vec<&str> = output
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    let last = lines.last().copied().unwrap_or_default();
    let has = |text: &str| lines.iter().any(|line| line.contains(text));
    let line_of = |text: &str| lines.iter().find(|line| line.contains(text)).copied();

    if last == format!("successfully added node '{name}' to cluster.") {
        return JoinVerdict::Added;
    }
    if last.ends_with("received interrupt") {
        let waiting_for_quorum = last.starts_with("waiting for quorum");
        return JoinVerdict::Interrupted { waiting_for_quorum };
    }
    if last.starts_with("waiting for quorum") {
        return JoinVerdict::Interrupted {
            waiting_for_quorum: true,
        };
    }
    if has("401 authentication failure") {
        return JoinVerdict::WrongPassword;
    }
    if has("EOF while reading password") {
        return JoinVerdict::NoPassword;
    }
    if has("not verified, abort!") {
        let shown = line_of("fingerprint '").and_then(|line| line.split('\'').nth(1));
        return JoinVerdict::WrongFingerprint(shown.map(str::to_owned));
    }
    if has("can't add existing node") {
        return JoinVerdict::NameTaken;
    }
    if has("cluster not ready - no quorum?") {
        return JoinVerdict::NoQuorum;
    }
    if has("invalid corosync.conf") {
        return JoinVerdict::NoCluster;
    }
    if let Some(line) = line_of("got lock request timeout").or(line_of("got timeout")) {
        return JoinVerdict::Locked(line.to_owned());
    }
    if has("Check if node may join a cluster failed!") {
        let findings = lines.iter().filter_map(|line| line.strip_prefix("* "));
        return JoinVerdict::Refused(findings.map(str::to_owned).collect());
    }
    if has("login currently works only with a TTY")
        || has("U2F-enabled login is currently not implemented")
    {
        return JoinVerdict::TwoFactor;
    }
    if has("ipcc_send_rec") && has("Connection refused") {
        return JoinVerdict::NoFileSystem;
    }
    if let Some(line) = line_of("address lookup for '").or(line_of("hostname lookup '")) {
        return JoinVerdict::OwnName(line.to_owned());
    }
    if has("pvecm add <hostname>") || has("Navigate out of /etc/pve") {
        let words = lines.iter().filter(|line| !line.starts_with("pvecm add"));
        let words: Vec<&str> = words.copied().collect();
        return JoinVerdict::Usage(words.join("; "));
    }
    const PEER: &str = "An error occurred on the cluster node: ";
    if let Some(words) = lines.iter().find_map(|line| line.strip_prefix(PEER)) {
        return match () {
            () if is_broken(words) => JoinVerdict::Lost(words.to_owned()),
            () if is_about_links(words) => JoinVerdict::Links(words.to_owned()),
            () => JoinVerdict::PeerSays(words.to_owned()),
        };
    }
    // Of OpenSSL, behind LWP's `500 Can't connect to …`. With a pin Proxmox's client looks at no dates, so
    // this is what it would say if it ever did.
    if let Some(line) = line_of("certificate verify failed") {
        return JoinVerdict::NotVerified(line.to_owned());
    }
    if is_server_error(last) {
        return match has("Request addition of this node") {
            true => JoinVerdict::Lost(last.to_owned()),
            false => JoinVerdict::Unreachable(last.to_owned()),
        };
    }
    JoinVerdict::Unknown(last.to_owned())
}

/// What Proxmox's client (LWP::UserAgent) says when no answer came to a request that was sent;
/// pvecm leaves the three digits before it out.
fn is_broken(words: &str) -> bool {
    const BROKEN: [&str; 5] = [
        "Server closed connection",
        "read timeout",
        "read failed",
        "write failed",
        "EOF when chunk header expected",
    ];
    is_server_error(words) || BROKEN.iter().any(|broken| words.contains(broken))
}

/// What a member says of a new node whose links are not its cluster's (read in PVE::API2::ClusterConfig's
/// `addnode`): one is missing, one is too many, or none was given and there are several.
fn is_about_links(words: &str) -> bool {
    let all = |parts: &[&str]| parts.iter().all(|part| words.contains(part));
    all(&[
        "link ",
        "specified for new node",
        "exist",
        "in cluster config",
    ]) || all(&["no links given but multiple links found"])
        || all(&["cluster has ", " links, but only 1 given"])
}

/// Three digits that begin with 5: what the HTTP client says when it gets no answer (500)
/// and what Proxmox's proxy says when its own server gives none (595, 596).
fn is_server_error(line: &str) -> bool {
    let code = line.split(' ').next().unwrap_or_default();
    code.len() == 3 && code.starts_with('5') && code.bytes().all(|b| b.is_ascii_digit())
}

impl JoinVerdict {
    /// The reason in words, for a join through `peer`.
    pub(crate) fn reason(&self, peer: &str, name: &str) -> String {
        match self {
            JoinVerdict::Added => format!("{name} was added through {peer}"),
            JoinVerdict::Unreachable(line) => format!("{peer} does not answer: {line}"),
            JoinVerdict::NotVerified(line) => format!(
                "{peer} has a certificate that was not accepted: {line}. By this machine's clock it is \
                 {}: where that is behind, the certificate is not valid yet. Set the PC's clock, or name \
                 time servers (`ntp` in lab.yaml)",
                clock::utc(clock::unix_time())
            ),
            JoinVerdict::Lost(line) => format!(
                "the connection to {peer} broke after it was asked to add {name}: {line}. The \
                 cluster may list {name} already"
            ),
            JoinVerdict::WrongPassword => format!("{peer} refused root's password"),
            JoinVerdict::NoPassword => "pvecm was given no password".to_owned(),
            JoinVerdict::WrongFingerprint(Some(shown)) => format!(
                "{peer} has another certificate than the seed says: its fingerprint is {shown}"
            ),
            JoinVerdict::WrongFingerprint(None) => {
                format!("the certificate of {peer} was not verified")
            }
            JoinVerdict::NameTaken => format!(
                "the cluster of {peer} has a node {name} already: another machine with this name, \
                 or an earlier join of this one that was cut"
            ),
            JoinVerdict::NoQuorum => {
                format!("the cluster of {peer} has no quorum: too many of its members are off")
            }
            JoinVerdict::NoCluster => format!("{peer} is in no cluster"),
            JoinVerdict::Links(words) => format!(
                "the cluster of {peer} has other links than {name} was given: {words}. Each link of \
                 the cluster needs an address of {name}, and no other may be given (`links:` in \
                 lab.yaml's cluster)"
            ),
            JoinVerdict::Locked(line) => format!(
                "another join is running or left its lock behind (it expires after 120 s): {line}"
            ),
            JoinVerdict::PeerSays(words) => format!("{peer} did not add {name}: {words}"),
            JoinVerdict::Refused(findings) => {
                let mut text = format!("this node may not join: {}", findings.join("; "));
                if findings.iter().any(|finding| finding.contains("authkey")) {
                    text.push_str(". An earlier join was cut half-way");
                }
                text
            }
            JoinVerdict::Interrupted {
                waiting_for_quorum: true,
            } => format!(
                "{peer} added {name}, but no quorum came in time: is UDP 5405 to all members open, \
                 and was no other node joining at that moment?"
            ),
            JoinVerdict::Interrupted {
                waiting_for_quorum: false,
            } => format!("the join through {peer} took too long and was ended"),
            JoinVerdict::TwoFactor => format!(
                "root of the cluster of {peer} needs a second factor to log in, which nobody can \
                 type here. A ticket needs none: `join: ticket` in lab.yaml's cluster"
            ),
            JoinVerdict::NoFileSystem => {
                "the cluster file system does not run (journalctl -u pve-cluster)".to_owned()
            }
            JoinVerdict::OwnName(line) => {
                format!("the name {name} resolves to no address of this machine: {line}")
            }
            JoinVerdict::Usage(line) => format!("pvecm did not take its command line: {line}"),
            JoinVerdict::Unknown(line) if line.is_empty() => {
                "pvecm ended and printed nothing".to_owned()
            }
            JoinVerdict::Unknown(line) => format!("pvecm ended with: {line}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    mod recorded_outputs {
        testkit::cases!("pvecm/*.out", super::output_has_its_verdict);
    }

    /// Each `NAME.out` is the output of a real `pvecm add`; `NAME.verdict` holds the node's
    /// name, the verdict as `Debug` shows it, and the reason for the peer `10.99.0.11`.
    fn output_has_its_verdict(file: &Path) {
        let output = std::fs::read_to_string(file).unwrap();
        let expected = file.with_extension("verdict");
        let text = std::fs::read_to_string(&expected).unwrap();
        let name = text.lines().next().unwrap();
        let verdict = classify(&output, name);
        let reason = verdict.reason("10.99.0.11", name);
        testkit::expect_file(&expected, &format!("{name}\n{verdict:?}\n{reason}\n"));
    }

    #[test]
    fn success_is_of_this_node_and_last() {
        let line = "successfully added node 'vm42' to cluster.\n";
        assert_eq!(classify(line, "vm42"), JoinVerdict::Added);
        assert_ne!(classify(line, "vm4"), JoinVerdict::Added);
        assert_ne!(
            classify(&format!("{line}oops\n"), "vm42"),
            JoinVerdict::Added
        );
    }

    /// As the member's own code prints them.
    #[test]
    fn other_links_than_the_cluster_s_are_told_from_other_words() {
        let on_the_node = |words: &str| {
            let before = "Login succeeded.\nRequest addition of this node\n";
            let after = "Cluster join aborted!\n";
            let words = format!("An error occurred on the cluster node: {words}\n");
            classify(&format!("{before}{words}{after}"), "vm42")
        };
        for words in [
            "corosync: link 1 exists in cluster config but wasn't specified for new node",
            "corosync: link 0 specified for new node but doesn't exist in cluster config",
            "corosync: link 0 specified for new node doesn't exist in cluster config",
            "no links given but multiple links found on other nodes, fallback only supported on \
             single-link clusters",
            "cluster has 2 links, but only 1 given",
        ] {
            assert_eq!(on_the_node(words), JoinVerdict::Links(words.to_owned()));
        }
        let words = "corosync: ring0_addr '10.99.0.11' is used already";
        assert_eq!(on_the_node(words), JoinVerdict::PeerSays(words.to_owned()));
        let links = JoinVerdict::Links("corosync: link 1 exists".to_owned());
        assert_eq!(
            links.reason("10.99.0.11", "vm42"),
            "the cluster of 10.99.0.11 has other links than vm42 was given: corosync: link 1 exists. \
             Each link of the cluster needs an address of vm42, and no other may be given (`links:` \
             in lab.yaml's cluster)"
        );
    }

    /// As the API client prints it (read).
    #[test]
    fn a_second_factor_is_told_with_its_remedy() {
        for words in [
            "TFA-enabled login currently works only with a TTY. at /usr/share/perl5/PVE/APIClient/\
             LWP.pm line 121",
            "U2F-enabled login is currently not implemented. at LWP.pm line 127",
        ] {
            let output = format!("Establishing API connection with host 'a'\n{words}\n");
            assert_eq!(classify(&output, "vm42"), JoinVerdict::TwoFactor);
        }
        assert_eq!(
            JoinVerdict::TwoFactor.reason("10.99.0.11", "vm42"),
            "root of the cluster of 10.99.0.11 needs a second factor to log in, which nobody can type \
             here. A ticket needs none: `join: ticket` in lab.yaml's cluster"
        );
    }

    /// As LWP::Protocol::http puts what IO::Socket::SSL says (read).
    #[test]
    fn a_certificate_that_is_not_accepted_is_no_silent_peer() {
        let line = "500 Can't connect to 10.99.0.11:8006 (certificate verify failed)";
        let verdict = classify(&format!("{line}\n"), "vm42");
        assert_eq!(verdict, JoinVerdict::NotVerified(line.to_owned()));
        let reason = verdict.reason("10.99.0.11", "vm42");
        let begin = format!(
            "10.99.0.11 has a certificate that was not accepted: {line}. By this machine's clock it is 20"
        );
        assert!(reason.starts_with(&begin), "{reason}");
        assert!(
            reason.ends_with("name time servers (`ntp` in lab.yaml)"),
            "{reason}"
        );
    }

    #[test]
    fn a_connection_that_breaks_after_the_request_is_lost() {
        let output = "Login succeeded.\nRequest addition of this node\n596 Broken pipe\n";
        assert_eq!(
            classify(output, "vm42"),
            JoinVerdict::Lost("596 Broken pipe".to_owned())
        );
        let on_the_node = |words: &str| {
            let before = "Login succeeded.\nRequest addition of this node\n";
            classify(
                &format!(
                    "{before}An error occurred on the cluster node: {words}\nCluster join aborted!\n"
                ),
                "vm42",
            )
        };
        let words = "Server closed connection without sending any data back";
        assert_eq!(on_the_node(words), JoinVerdict::Lost(words.to_owned()));
        let words = "corosync: nodeid '3' already used by node 'vm41'";
        assert_eq!(on_the_node(words), JoinVerdict::PeerSays(words.to_owned()));
        let output = "595 Connection refused\n";
        assert_eq!(
            classify(output, "vm42"),
            JoinVerdict::Unreachable("595 Connection refused".to_owned())
        );
    }
}
