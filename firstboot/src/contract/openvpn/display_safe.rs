//! What of a configuration may be shown beside a finding.

use super::{options, parse};

/// What stands for a line that may hold a secret.
const STARS: &str = "********";
/// Options whose values are secrets.
const SECRET: [&str; 2] = ["auth-token", "pkcs11-id"];

/// The lines of a configuration. Only those of known options are shown, and those that look like
/// one: nothing inside of a block, and nothing that may be a key or a password in a wrong place.
pub fn lines_without_secrets(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = text
        .trim_start_matches('\u{feff}')
        .lines()
        .map(|line| match line.trim().is_empty() {
            true => String::new(),
            false => STARS.to_owned(),
        })
        .collect();
    let all: Vec<&str> = text.trim_start_matches('\u{feff}').lines().collect();
    let parsed = parse::parse(text);
    let options = parsed.options.iter().map(|option| option.place.line);
    let findings = parsed.findings.iter().map(|finding| finding.place.line);
    for at in options.chain(findings).map(|line| line - 1) {
        if let Some(line) = all.get(at).filter(|line| is_harmless(line)) {
            lines[at] = (*line).to_owned();
        }
    }
    lines
}

/// Whether a line that is in no block begins with an option, or with what was meant as one.
fn is_harmless(line: &str) -> bool {
    let first = line.split_whitespace().next().unwrap_or_default();
    let name = first.trim_start_matches("--");
    let name = name
        .strip_prefix('<')
        .and_then(|n| n.strip_suffix('>'))
        .unwrap_or(name);
    let is_known = options::known(name) != options::Known::Unknown;
    (is_known || options::nearest(name).is_some()) && !SECRET.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_and_no_password_is_shown() {
        let text =
            "client\n# hunter2\n<key>\nhunter2\n</key>\nhunter2\nremtoe a\nauth-token hunter2\n\n";
        assert_eq!(
            lines_without_secrets(text),
            [
                "client", "********", "<key>", "********", "********", "********", "remtoe a",
                "********", ""
            ]
        );
    }
}
