//! Taking secrets out of text before it is shown.
//!
//! Secrets have no place in these files, but people put them there. This works on text and
//! not on the parsed tree, because a file with a syntax error has no tree.

/// What stands in place of a secret.
const STARS: &str = "********";
/// A key that holds one of these words holds a secret, unless it names a file.
const WORDS: [&str; 5] = ["password", "passwd", "passphrase", "secret", "token"];

/// Masks what reads as a secret in a short text, such as a value that an error repeats.
pub(super) fn mask_value(text: &str) -> String {
    mask_lines(text).join(" ")
}

/// The lines of a document, without the values of keys that hold secrets.
pub(super) fn mask_lines(text: &str) -> Vec<String> {
    let mut state = State::Open;
    text.lines()
        .map(|line| {
            let (shown, next) = mask_line(line, state);
            state = next;
            mask_credentials(&shown)
        })
        .collect()
}

/// What the lines before say about this one.
#[derive(Debug, Clone, Copy)]
enum State {
    /// Nothing.
    Open,
    /// Lines indented deeper than this belong to a secret.
    Deeper(usize),
    /// A quoted secret goes on until this quote.
    Quoted(char),
    /// A private key goes on until its END line.
    PrivateKey,
}

fn mask_line(line: &str, state: State) -> (String, State) {
    let indent = line.chars().take_while(|c| c.is_whitespace()).count();
    let all = || format!("{}{STARS}", " ".repeat(indent));
    match state {
        State::PrivateKey => {
            let ended = line.contains("-----END");
            return (all(), if ended { State::Open } else { state });
        }
        State::Quoted(quote) => {
            let ended = line.contains(quote);
            return (all(), if ended { State::Open } else { state });
        }
        State::Deeper(_) if line.trim().is_empty() => return (line.to_owned(), state),
        State::Deeper(column) if indent > column => return (all(), state),
        State::Deeper(_) | State::Open => {}
    }
    if let Some(start) = line.find("-----BEGIN") {
        if line.contains("PRIVATE KEY") {
            let ended = line.contains("-----END");
            let next = if ended {
                State::Open
            } else {
                State::PrivateKey
            };
            return (format!("{}{STARS}", &line[..start]), next);
        }
    }
    match secret_key(line) {
        None => (line.to_owned(), State::Open),
        Some((_, value)) if is_a_switch(&line[..value], &line[value..]) => {
            (line.to_owned(), State::Open)
        }
        Some((column, value)) => {
            let secret = line[value..].trim();
            let next = match secret.chars().next() {
                Some(q @ ('"' | '\'')) if !secret[1..].contains(q) => State::Quoted(q),
                _ => State::Deeper(column),
            };
            let stars = if secret.is_empty() { "" } else { STARS };
            (
                format!("{} {stars}", &line[..value]).trim_end().to_owned(),
                next,
            )
        }
    }
}

/// `ssh_password` says whether a password opens ssh: a word that means yes or no is none.
fn is_a_switch(key: &str, value: &str) -> bool {
    let words = [
        "true", "false", "yes", "no", "on", "off", "y", "n", "1", "0",
    ];
    key.ends_with("ssh_password:") && words.contains(&value.trim().to_ascii_lowercase().as_str())
}

/// The part of an address that stands before its `@`.
fn mask_credentials(line: &str) -> String {
    let mut shown = String::new();
    let mut rest = line;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        shown.push_str(before);
        let host = after.split(|c: char| c == '/' || c.is_whitespace()).next();
        rest = match host.and_then(|host| host.rfind('@')) {
            Some(end) => {
                shown.push_str(STARS);
                &after[end..]
            }
            None => after,
        };
    }
    shown + rest
}

/// The column of the first key that holds a secret, and where its value begins (in bytes).
fn secret_key(line: &str) -> Option<(usize, usize)> {
    let lower = line.to_ascii_lowercase();
    let in_word = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    let mut from = 0;
    while let Some(hit) = WORDS
        .iter()
        .filter_map(|w| lower[from..].find(w).map(|at| from + at))
        .min()
    {
        let end = hit
            + lower[hit..]
                .find(|c| !in_word(c))
                .unwrap_or(lower.len() - hit);
        let start = lower[..hit]
            .char_indices()
            .rev()
            .take_while(|(_, c)| in_word(*c))
            .last()
            .map_or(hit, |(at, _)| at);
        let rest = lower[end..].trim_start_matches(['"', '\'']).trim_start();
        let names_a_file = lower[start..end].ends_with("_file");
        if rest.starts_with([':', '=']) && !names_a_file {
            let column = lower[..start].chars().count();
            return Some((column, lower.len() - rest.len() + 1));
        }
        from = end;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hides_the_values_of_secret_keys() {
        for (line, shown) in [
            ("password: hunter2", "password: ********"),
            (
                "  - {name: vm1, Root-Password: 'x'}",
                "  - {name: vm1, Root-Password: ********",
            ),
            (
                "\"cluster_password\" : x",
                "\"cluster_password\" : ********",
            ),
            ("password:hunter2", "password: ********"),
            ("passwd = hunter2", "passwd = ********"),
            ("password:", "password:"),
            ("password_file: secrets/x", "password_file: secrets/x"),
            (
                "config: secrets/vpn/{name}.ovpn",
                "config: secrets/vpn/{name}.ovpn",
            ),
            (
                "password_file: a, password: b",
                "password_file: a, password: ********",
            ),
            ("a: http://u:p@h/x@y", "a: http://********@h/x@y"),
            (
                "a: http://h/x@y https://u@h",
                "a: http://h/x@y https://********@h",
            ),
            ("é: ü # plain", "é: ü # plain"),
        ] {
            assert_eq!(mask_value(line), shown);
        }
    }

    #[test]
    fn hides_values_that_span_lines() {
        let text = "- password: |\n    one\n\n    two\n  name: vm1\n- secret: 'a\nb'\nc: d\n";
        assert_eq!(
            mask_lines(text),
            [
                "- password: ********",
                "    ********",
                "",
                "    ********",
                "  name: vm1",
                "- secret: ********",
                "********",
                "c: d"
            ]
        );
    }

    #[test]
    fn hides_a_pasted_private_key() {
        let text = "k: |\n  -----BEGIN OPENSSH PRIVATE KEY-----\n  AAAA\n  -----END OPENSSH PRIVATE KEY-----\nd: e";
        assert_eq!(
            mask_lines(text),
            ["k: |", "  ********", "  ********", "  ********", "d: e"]
        );
    }
}
