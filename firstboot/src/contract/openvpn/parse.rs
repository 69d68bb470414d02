//! Reading a configuration file as OpenVPN's own `parse_line` and `read_inline_file` do
//! (`src/openvpn/options.c` of 2.6).

use super::finding::Finding;
use crate::contract::place::Place;
use std::ops::Range;

/// OpenVPN reads a line into this many bytes, its end included.
const LINE_BYTES: usize = 256;
/// A line has at most this many words.
const MOST_WORDS: usize = 16;

/// A configuration file: its options, and what OpenVPN could not even read.
#[derive(Debug)]
pub(super) struct Parsed<'a> {
    /// In the order of the file; those inside `<connection>` follow it.
    pub options: Vec<Opt<'a>>,
    /// What is no line of OpenVPN's.
    pub findings: Vec<Finding>,
}

/// One option.
#[derive(Debug)]
pub(super) struct Opt<'a> {
    /// Its name, without `--` and without the brackets of a block.
    pub name: String,
    /// Where the name stands.
    pub place: Place,
    /// What follows it in its line.
    pub parameters: Vec<Word>,
    /// The lines of its block, where it is one.
    pub block: Option<&'a str>,
    /// Whether it stands inside `<connection>`.
    pub in_connection: bool,
    /// Its bytes in the text: whole lines, the block's included.
    pub bytes: Range<usize>,
}

/// A parameter.
#[derive(Debug)]
pub(super) struct Word {
    pub text: String,
    pub place: Place,
}

impl Opt<'_> {
    /// A parameter's text.
    pub(super) fn parameter(&self, index: usize) -> Option<&str> {
        self.parameters.get(index).map(|word| word.text.as_str())
    }

    /// The place of a parameter, else that of the option.
    pub(super) fn place_of(&self, index: usize) -> Place {
        self.parameters.get(index).map_or(self.place, |w| w.place)
    }
}

/// Reads a whole text.
pub(super) fn parse(text: &str) -> Parsed<'_> {
    let mut parsed = Parsed {
        options: Vec::new(),
        findings: Vec::new(),
    };
    lines(text, 0, 1, false, &mut parsed);
    parsed
}

/// Reads `text`, which begins at byte `offset` and in line `first` of the file.
fn lines<'a>(
    text: &'a str,
    offset: usize,
    first: usize,
    in_connection: bool,
    parsed: &mut Parsed<'a>,
) {
    let mut at = 0;
    let mut number = first;
    let mut rest = text.split_inclusive('\n');
    while let Some(whole) = rest.next() {
        let (begin, line) = (at, number);
        at += whole.len();
        number += 1;
        // The sign for the order of bytes is no text; OpenVPN skips it, too.
        let mark = usize::from(begin + offset == 0 && whole.starts_with('\u{feff}'));
        let shown: String = whole.chars().skip(mark).collect();
        if whole.trim_end_matches('\n').len() >= LINE_BYTES {
            let place = Place::of(line, 1, 1);
            let message = format!("this line is longer than {} bytes", LINE_BYTES - 1);
            let hint = "shorter lines; a file's content goes between <ca> and </ca>";
            parsed.findings.push(Finding::error(place, message, hint));
            continue;
        }
        let mut words = match words(&shown, line, mark) {
            Ok(words) => words.into_iter(),
            Err(finding) => {
                parsed.findings.push(finding);
                continue;
            }
        };
        let Some(name) = words.next() else { continue };
        let parameters: Vec<Word> = words.collect();
        let tag = name.text.strip_prefix('<');
        let tag = tag.and_then(|tag| tag.strip_suffix('>'));
        let (Some(tag), true) = (tag, parameters.is_empty()) else {
            let long = name.text.strip_prefix("--").filter(|name| !name.is_empty());
            parsed.options.push(Opt {
                name: long.unwrap_or(&name.text).to_owned(),
                place: name.place,
                parameters,
                block: None,
                in_connection,
                bytes: offset + begin..offset + at,
            });
            continue;
        };
        let end = format!("</{tag}>");
        let inside = at;
        let mut found = None;
        for inner in rest.by_ref() {
            let last = at;
            at += inner.len();
            number += 1;
            if inner.trim_start().starts_with(&end) {
                found = Some(last);
                break;
            }
        }
        let Some(last) = found else {
            let message = format!("the block <{tag}> has no end");
            let hint = format!("a line {end} after its last line");
            let finding = Finding::error(name.place, message, hint);
            parsed.findings.push(finding);
            continue;
        };
        let block = &text[inside..last];
        parsed.options.push(Opt {
            name: tag.to_owned(),
            place: name.place,
            parameters,
            block: Some(block),
            in_connection,
            bytes: offset + begin..offset + at,
        });
        if tag == "connection" {
            lines(block, offset + inside, line + 1, true, parsed);
        }
    }
}

/// The words of a line. `mark` characters stand before it.
fn words(text: &str, line: usize, mark: usize) -> Result<Vec<Word>, Finding> {
    let mut words: Vec<Word> = Vec::new();
    let mut word: Option<(usize, String)> = None;
    let mut quote: Option<char> = None;
    let mut backslash = false;
    let place = |begin: usize, end: usize| Place::of(line, begin + 1 + mark, end - begin);
    // OpenVPN ends a word at the end of its buffer, which is a blank to it.
    for (at, c) in text.chars().chain(['\0']).enumerate() {
        let blank = c == '\0' || c.is_ascii_whitespace();
        if c == '\\' && !backslash && quote != Some('\'') {
            backslash = true;
            continue;
        }
        let escaped = std::mem::take(&mut backslash);
        let mut ended = false;
        let mut out = None;
        match (&word, quote) {
            (None, _) if blank => {}
            (None, _) if c == '#' || c == ';' => break,
            (None, _) if !escaped && (c == '"' || c == '\'') => {
                quote = Some(c);
                word = Some((at, String::new()));
            }
            (None, _) => {
                let begin = at - usize::from(escaped);
                word = Some((begin, String::new()));
                out = Some(c);
            }
            (Some(_), None) if blank && !escaped => ended = true,
            (Some(_), None) => out = Some(c),
            (Some(_), Some(open)) if c == open && !(escaped && open == '"') => ended = true,
            (Some((begin, _)), Some(open)) if c == '\0' => {
                let message = format!("a quotation that begins with {open} has no end");
                let hint = format!("{open} at its end");
                return Err(Finding::error(place(*begin, at), message, hint));
            }
            (Some(_), Some(_)) => out = Some(c),
        }
        if let Some(out) = out {
            if escaped && !(out == '\\' || out == '"' || out.is_ascii_whitespace()) {
                return Err(Finding::error(
                    place(at - 1, at + 1),
                    "a backslash before this character means nothing to OpenVPN",
                    "`\\\\` for a backslash; on Debian the folders of a path are separated by `/`",
                ));
            }
            if let Some((_, text)) = &mut word {
                text.push(out);
            }
        }
        if ended {
            let end = at + usize::from(quote.is_some());
            quote = None;
            if let Some((begin, text)) = word.take() {
                words.push(Word {
                    text,
                    place: place(begin, end),
                });
            }
            if words.len() == MOST_WORDS {
                break;
            }
        }
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Vec<String> {
        let line = |option: &Opt| {
            let words: Vec<&str> = option.parameters.iter().map(|w| w.text.as_str()).collect();
            let Place { line, column, .. } = option.place;
            let block = option.block.map(|b| format!(" <{b}>")).unwrap_or_default();
            format!("{line}:{column} {} {words:?}{block}", option.name)
        };
        parse(text).options.iter().map(line).collect()
    }

    fn refusal(text: &str) -> String {
        let findings = parse(text).findings;
        assert_eq!(findings.len(), 1, "{findings:?}");
        let Finding { place, message, .. } = &findings[0];
        format!("{}:{}+{} {message}", place.line, place.column, place.width)
    }

    #[test]
    fn words_are_what_openvpn_takes_for_words() {
        assert_eq!(
            shown("\u{feff}client\r\n  --dev tap # the bridge\r\n;dev tun\nremote a#b 1194;x ;y\n"),
            [
                "1:2 client []",
                "2:3 dev [\"tap\"]",
                "4:1 remote [\"a#b\", \"1194;x\"]"
            ]
        );
        assert_eq!(
            shown("push \"route 10.0.0.0 \\\"x\\\"\"\nca 'a\\b c'\nca a\\ b\nca C:\\\\x\nca \"\""),
            [
                "1:1 push [\"route 10.0.0.0 \\\"x\\\"\"]",
                "2:1 ca [\"a\\\\b c\"]",
                "3:1 ca [\"a b\"]",
                "4:1 ca [\"C:\\\\x\"]",
                "5:1 ca [\"\"]",
            ]
        );
        assert_eq!(
            refusal("\nca \"x\n"),
            "2:4+3 a quotation that begins with \" has no end"
        );
        assert_eq!(
            refusal("ca C:\\keys\n"),
            "1:6+2 a backslash before this character means nothing to OpenVPN"
        );
        assert_eq!(
            refusal(&format!("dev tap\necho {}\n", "x".repeat(300))),
            "2:1+1 this line is longer than 255 bytes"
        );
    }

    #[test]
    fn a_block_is_no_option_and_a_connection_holds_options() {
        let text = "<ca>\ndev tap\n  </ca>\n<connection>\nremote a\nproto udp\n</connection>\nx";
        assert_eq!(
            shown(text),
            [
                "1:1 ca [] <dev tap\n>",
                "4:1 connection [] <remote a\nproto udp\n>",
                "5:1 remote [\"a\"]",
                "6:1 proto [\"udp\"]",
                "8:1 x []",
            ]
        );
        let options = parse(text).options;
        assert_eq!(&text[options[2].bytes.clone()], "remote a\n");
        assert_eq!(&text[options[0].bytes.clone()], "<ca>\ndev tap\n  </ca>\n");
        assert_eq!(refusal("<ca>\nx\n"), "1:1+4 the block <ca> has no end");
    }
}
