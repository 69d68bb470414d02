//! Classifying what a configuration says: everything that will keep the guest's tunnel from carrying frames to
//! its bridge, each at its place.

mod line;
mod whole;

use super::finding::{Finding, Guest};
use super::options::{self, Known};
use super::parse::{self, Opt, Parsed};
use crate::contract::place::Place;
use crate::contract::values::is_unicodes_line_end;
use std::collections::BTreeSet;

/// Everything that is wrong with the configuration, in the order of its lines.
pub fn classify(text: &str, guest: &Guest<'_>) -> Vec<Finding> {
    let Parsed {
        options,
        mut findings,
    } = parse::parse(text);
    let lenient = Lenient::of(&options);
    let mut known: Vec<&Opt> = Vec::new();
    let mut in_pem = false;
    for option in &options {
        // The parser has taken two of its dashes for those of an option.
        if option.name.starts_with("---BEGIN") {
            in_pem = true;
            findings.push(Finding::error(
                option.place,
                "a key or certificate outside of a block",
                "<ca> or <cert> or <key> in the line before it, and the same with `</` after it",
            ));
        }
        if in_pem {
            in_pem = !option.name.starts_with("---END");
        } else if is_option(option, &lenient, &mut findings) {
            known.push(option);
        }
    }
    for option in &known {
        findings.extend(line::classify(option, guest));
    }
    whole::classify(&known, guest, &mut findings);
    findings.extend(unicodes_line_ends(text));
    findings.sort_by_key(|finding| finding.place);
    findings.dedup();
    findings
}

/// OpenVPN reads on after such a character, and a seed would not carry it as it is.
fn unicodes_line_ends(text: &str) -> impl Iterator<Item = Finding> {
    text.split('\n').zip(1..).filter_map(|(line, number)| {
        let column = line.chars().position(is_unicodes_line_end)? + 1;
        let message =
            "a line end of Unicode's (U+0085, U+2028 or U+2029), which OpenVPN does not know";
        let hint = "a line end as an editor writes it, or none";
        Some(Finding::error(Place::of(number, column, 1), message, hint))
    })
}

/// Unknown options that OpenVPN is told to pass over.
struct Lenient<'a> {
    all: bool,
    names: BTreeSet<&'a str>,
}

impl<'a> Lenient<'a> {
    fn of(options: &'a [Opt<'a>]) -> Self {
        let mut lenient = Lenient {
            all: false,
            names: BTreeSet::new(),
        };
        for option in options {
            match option.name.as_str() {
                "ignore-unknown-option" => {
                    let names = option.parameters.iter().map(|word| word.text.as_str());
                    lenient.names.extend(names);
                }
                // `setenv FORWARD_COMPATIBLE 1`
                "setenv" if option.parameter(0) == Some("FORWARD_COMPATIBLE") => {
                    lenient.all = option.parameter(1) == Some("1");
                }
                _ => {}
            }
        }
        lenient
    }
}

/// Whether OpenVPN 2.6 takes this for an option; if not, that is noted.
fn is_option(option: &Opt, lenient: &Lenient, findings: &mut Vec<Finding>) -> bool {
    let name = option.name.as_str();
    let place = option.place;
    if lenient.all || lenient.names.contains(name) {
        return matches!(options::known(name), Known::Takes(..));
    }
    // `setenv opt OPTION …` is for clients that may not know the option.
    if name == "setenv" && option.parameter(0) == Some("opt") {
        return false;
    }
    let count = option.parameters.len();
    let finding = match options::known(name) {
        Known::Takes(..) if option.in_connection && !options::may_be_in_connection(name) => {
            let message = format!("`{name}` cannot stand inside <connection>");
            Finding::error(place, message, format!("`{name}` outside of it"))
        }
        Known::Takes(..) if option.block.is_some() => {
            if options::may_be_inline(name) {
                return true;
            }
            let message = format!("`{name}` cannot be a block");
            Finding::error(place, message, format!("`{name}` in one line"))
        }
        Known::Takes(least, most) if (least..=most).contains(&count) => return true,
        Known::Takes(least, most) => {
            let wants = match (least, most) {
                (0, 0) => "nothing after it".to_owned(),
                (1, 1) => "one value after it".to_owned(),
                (least, usize::MAX) => format!("at least {least} values after it"),
                (least, most) if least == most => format!("{least} values after it"),
                (least, most) => format!("{least} to {most} values after it"),
            };
            let message = format!("`{name}` with {count} values: OpenVPN does not start with it");
            Finding::error(place, message, wants)
        }
        Known::Gone(hint) => {
            let message = format!(
                "`{name}` is of an older release: Debian 13's OpenVPN 2.6 does not start with it"
            );
            Finding::error(place, message, hint)
        }
        Known::Windows => {
            let message = format!("`{name}` is for Windows only: OpenVPN does not start with it");
            let hint = format!("no such line, or before it: `ignore-unknown-option {name}`");
            Finding::error(place, message, hint)
        }
        Known::Pushed => {
            let message = format!("`{name}` is nothing for a configuration file");
            Finding::error(
                place,
                message,
                "no such line: the server says it of a client",
            )
        }
        Known::Unknown => unknown(option),
    };
    findings.push(finding);
    false
}

/// An unknown option. A lone word may be a password in the wrong place, and is not repeated.
fn unknown(option: &Opt) -> Finding {
    let name = option.name.as_str();
    if let Some(near) = options::nearest(name) {
        let message = format!("`{name}` is no option of OpenVPN; did you mean `{near}`?");
        return Finding::error(option.place, message, near);
    }
    let is_shown = !option.parameters.is_empty() && is_plain(name) || name.contains('-');
    let message = match is_shown && name.len() < 40 {
        true => format!("`{name}` is no option of OpenVPN 2.6"),
        false => "this is no option of OpenVPN 2.6".to_owned(),
    };
    let hint = "an option of openvpn(8), or no such line; a comment begins with #";
    Finding::error(option.place, message, hint)
}

fn is_plain(name: &str) -> bool {
    name.chars()
        .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}
