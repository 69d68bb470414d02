//! Telling what is no configuration at all: what a browser or a download makes in its place.

use super::finding::Finding;
use super::{options, parse};
use crate::contract::place::Place;

/// Why bytes are no text of a configuration.
pub type NotText = Finding;

/// The configuration's text, or what the bytes are instead.
pub fn text_of(bytes: &[u8]) -> Result<&str, NotText> {
    let right_text = "a text file in UTF-8: the .ovpn or .conf file of the VPN's server";
    let kinds: [(&[u8], &str, &str); 5] = [
        (
            b"PK\x03\x04",
            "a ZIP archive",
            "the .ovpn or .conf file in it; unzip it first",
        ),
        (
            b"\x1f\x8b",
            "a gzip archive",
            "the .ovpn or .conf file in it; unpack it first",
        ),
        (b"\xff\xfe", "UTF-16 text", "the same text saved as UTF-8"),
        (b"\xfe\xff", "UTF-16 text", "the same text saved as UTF-8"),
        (b"%PDF", "a PDF document", right_text),
    ];
    if let Some((_, what, hint)) = kinds.iter().find(|(begin, ..)| bytes.starts_with(begin)) {
        return Err(other(what, hint));
    }
    if let Some(at) = bytes.iter().position(|byte| *byte == 0) {
        let line = bytes[..at].iter().filter(|byte| **byte == b'\n').count() + 1;
        let message = "a NUL byte: this is no text";
        return Err(Finding::error(Place::of(line, 1, 1), message, right_text));
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => match what_else(text) {
            Some((what, hint)) => Err(other(what, hint)),
            None => Ok(text),
        },
        Err(error) => {
            let good = &bytes[..error.valid_up_to()];
            let line = good.iter().filter(|byte| **byte == b'\n').count() + 1;
            let message = "this is not UTF-8 text";
            Err(Finding::error(Place::of(line, 1, 1), message, right_text))
        }
    }
}

fn other(what: &str, hint: &str) -> Finding {
    let message = format!("this is no OpenVPN configuration but {what}");
    Finding::error(Place::START, message, hint)
}

fn what_else(text: &str) -> Option<(&'static str, &'static str)> {
    const CONFIGURATION: &str =
        "the .ovpn or .conf file of the VPN's server, with lines such as `client` and `remote`";
    let start = text.trim_start_matches('\u{feff}').trim_start();
    let lower = start.get(..64.min(start.len())).unwrap_or(start);
    let lower = lower.to_ascii_lowercase();
    if lower.is_empty() {
        return Some(("an empty file", CONFIGURATION));
    }
    if lower.starts_with("<!doctype") || lower.starts_with("<html") {
        let hint = "the .ovpn file itself; a server that wants a login first answers with a page";
        return Some(("a web page (HTML)", hint));
    }
    if lower.starts_with("<?xml") || lower.starts_with("<plist") {
        return Some(("an XML file, such as Apple's profiles", CONFIGURATION));
    }
    if lower.starts_with("[interface]") {
        return Some(("a WireGuard configuration", CONFIGURATION));
    }
    if lower.starts_with('[') {
        return Some((
            "a file with [sections], such as NetworkManager's",
            CONFIGURATION,
        ));
    }
    if lower.starts_with('{') {
        return Some(("JSON", CONFIGURATION));
    }
    let has_option = || {
        let parsed = parse::parse(text);
        let mut names = parsed.options.iter();
        names.any(|o| options::known(&o.name) != options::Known::Unknown)
    };
    if has_option() {
        return None;
    }
    if lower.starts_with("-----begin") || lower.starts_with("certificate:") {
        let hint = "a configuration that holds this between <ca> and </ca>, <cert> and </cert> \
                     or <key> and </key>";
        return Some(("a key or certificate alone (PEM)", hint));
    }
    Some(("a text without one option of OpenVPN", CONFIGURATION))
}
