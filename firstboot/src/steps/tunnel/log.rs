//! What OpenVPN's log says of its tunnel.

/// What OpenVPN says when the tunnel is up.
pub(super) const COMPLETED: &str = "Initialization Sequence Completed";

/// OpenVPN's first words, once it has taken its options.
const STARTS: &str = "OpenVPN 2.";

/// It was up, and is so no more, or begins anew.
const BEGINS: [&str; 6] = [
    "SIGUSR1[",
    "SIGHUP[",
    "SIGTERM[",
    "Exiting due to fatal error",
    "process exiting",
    STARTS,
];

/// Lines that say why a tunnel will never come up with this configuration, and what they mean.
const NEVER: [(&str, &str); 10] = [
    (
        "Failed retrieving username or password",
        "it asks for a password, and nobody is there to give one",
    ),
    (
        "can't ask for",
        "it asks for a password, and nobody is there to give one",
    ),
    ("Options error: ", ""),
    ("Cannot load CA certificate file", ""),
    ("Cannot load inline certificate", ""),
    ("Cannot load certificate file", ""),
    ("Cannot load private key file", ""),
    ("private key password verification failed", ""),
    ("-CBC not supported", ""),
    ("failed to find ", ""),
];

/// Lines that tell more than the last one.
const TELLING: [&str; 18] = [
    "AUTH_FAILED",
    "AUTH: Received control message",
    "Cannot resolve host address",
    "Connection refused",
    "Connection timed out",
    "Network is unreachable",
    "No route to host",
    "TLS Error: ",
    "TLS_ERROR: ",
    "VERIFY ERROR",
    "certificate verify failed",
    "tls-crypt unwrap error",
    "Authenticate/Decrypt packet error",
    "Cannot ioctl TUNSETIFF",
    "Cannot open TUN/TAP dev",
    "Inactivity timeout",
    "Connection reset, restarting",
    "failed to negotiate cipher",
];

/// Lines that tell nothing.
const NOISE: [&str; 8] = [
    "Use --help for more information.",
    "Exiting due to fatal error",
    "Restart pause",
    "process restarting",
    "process exiting",
    "library versions:",
    "DCO version:",
    STARTS,
];

/// What a log says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Said {
    /// Whether the tunnel is up; `None` when the log is empty.
    pub is_up: Option<bool>,
    /// Why it will never be, where OpenVPN said so after its last start.
    pub never: Option<String>,
    /// The words of OpenVPN that tell most of where it stands.
    pub words: Option<String>,
}

/// Reads a log whose newest line is the last. Of what was said before the tunnel was up for the
/// last time nothing counts.
pub(crate) fn parse(log: &str) -> Said {
    let all: Vec<&str> = log
        .lines()
        .map(str::trim)
        .filter(|l| !l.is_empty())
        .collect();
    if all.is_empty() {
        return Said::default();
    }
    let up = all.iter().rposition(|line| line.contains(COMPLETED));
    let since = &all[up.map_or(0, |at| at + 1)..];
    let broken = since
        .iter()
        .any(|line| BEGINS.iter().any(|word| line.contains(word)));
    if up.is_some() && !broken {
        return Said {
            is_up: Some(true),
            ..Said::default()
        };
    }
    let has = |words: &[&str], line: &str| words.iter().any(|word| line.contains(word));
    let newest = |words: &[&str]| since.iter().rev().find(|line| has(words, line));
    // A corrected configuration may have been started since; it begins with OpenVPN's own name.
    let start = since.iter().rposition(|line| line.contains(STARTS));
    let latest = &since[start.unwrap_or(0)..];
    let never = latest.iter().rev().find_map(|line| {
        // A server may push what this OpenVPN does not take; it goes on without.
        let mut never = NEVER.iter().filter(|_| !line.contains("[PUSH-OPTIONS]"));
        let (word, meaning) = never.find(|(word, _)| line.contains(word))?;
        Some(match *meaning {
            "" => (*line).to_owned(),
            meaning => format!("{meaning} ({})", line[line.find(word)?..].trim()),
        })
    });
    let last = || since.iter().rev().find(|line| !has(&NOISE, line));
    let words = newest(&TELLING).or_else(last).map(|line| shortened(line));
    Said {
        is_up: Some(false),
        never,
        words,
    }
}

/// A line of OpenVPN's can be as long as a certificate's whole name.
fn shortened(line: &str) -> String {
    const MOST: usize = 200;
    match line.char_indices().nth(MOST) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line.to_owned(),
    }
}
