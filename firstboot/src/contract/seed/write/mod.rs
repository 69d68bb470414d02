//! Writing YAML that every reader takes for what it is.
//!
//! A seed is read by firstboot (YAML 1.2, nearly) and by cloud-init (PyYAML, which is YAML 1.1:
//! `52:54:00:12:34:56` is a number to base 60 there, `no` is false, `2026-11-26` a date). So the one
//! rule for texts, keys as well as values, is: what cannot be anything but a text stands as it is;
//! a text of several lines is a literal block; everything else is in double quotes.

#[cfg(test)]
mod tests;

use serde::Serialize;
use serde::ser::Error as _;
use serde_yaml::{Error, Value};
use std::fmt::Write;

/// The words of YAML 1.1 that are booleans and null, in any case (yaml.org/type/bool.html, null.html).
const WORDS: [&str; 9] = ["y", "yes", "n", "no", "true", "false", "on", "off", "null"];

/// A value as a YAML document. The error: it has something that a seed never has, such as a key
/// that is a list.
pub(super) fn document<T: Serialize>(value: &T) -> Result<String, Error> {
    let mut out = String::new();
    match serde_yaml::to_value(value)? {
        Value::Mapping(map) if map.is_empty() => out.push_str("{}\n"),
        Value::Mapping(map) => lines(&Value::Mapping(map), 0, &mut out)?,
        _ => return Err(Error::custom("a document is a mapping")),
    }
    Ok(out)
}

/// The lines of a mapping or list that is not empty, indented by so many blanks. The first line
/// of a mapping in a list stands behind the hyphen.
fn lines(value: &Value, indent: usize, out: &mut String) -> Result<(), Error> {
    match value {
        Value::Mapping(map) => {
            for (key, value) in map {
                if !out.ends_with("- ") {
                    blanks(indent, out);
                }
                scalar(key, out)?;
                out.push(':');
                node(value, indent, out)?;
            }
        }
        Value::Sequence(items) => {
            for item in items {
                blanks(indent, out);
                out.push('-');
                match item {
                    Value::Mapping(map) if !map.is_empty() => {
                        out.push(' ');
                        lines(item, indent + 2, out)?;
                    }
                    _ => node(item, indent, out)?,
                }
            }
        }
        _ => {}
    }
    Ok(())
}

/// What stands behind a key's colon or an item's hyphen, up to the end of the line and below.
fn node(value: &Value, indent: usize, out: &mut String) -> Result<(), Error> {
    match value {
        Value::Mapping(map) if map.is_empty() => out.push_str(" {}\n"),
        Value::Sequence(items) if items.is_empty() => out.push_str(" []\n"),
        Value::Mapping(_) | Value::Sequence(_) => {
            out.push('\n');
            lines(value, indent + 2, out)?;
        }
        Value::String(text) if is_block(text) => block(text, indent + 2, out),
        _ => {
            out.push(' ');
            scalar(value, out)?;
            out.push('\n');
        }
    }
    Ok(())
}

fn scalar(value: &Value, out: &mut String) -> Result<(), Error> {
    match value {
        Value::String(text) if is_surely_text(text) => out.push_str(text),
        Value::String(text) => quoted(text, out),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Number(number) if !number.is_f64() => out.push_str(&number.to_string()),
        _ => {
            return Err(Error::custom(
                "a seed has texts, whole numbers, true and false",
            ));
        }
    }
    Ok(())
}

fn blanks(count: usize, out: &mut String) {
    out.extend(std::iter::repeat_n(' ', count));
}

/// Whether no reader of any YAML could take a plain text for anything else. Numbers and dates begin
/// with a digit, a sign or a dot in all of them.
fn is_surely_text(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        && !WORDS.iter().any(|word| word.eq_ignore_ascii_case(text))
}

/// Whether a literal block says exactly this: several lines, no character that a block cannot hold,
/// and a first line from which its indentation can be told.
fn is_block(text: &str) -> bool {
    text.contains('\n')
        && !text.starts_with([' ', '\t', '\n'])
        && text
            .chars()
            .all(|c| c == '\n' || c == '\t' || is_printable(c))
}

fn block(text: &str, indent: usize, out: &mut String) {
    let ends = text.len() - text.trim_end_matches('\n').len();
    out.push_str(match ends {
        0 => " |-\n",
        1 => " |\n",
        _ => " |+\n",
    });
    for line in text.strip_suffix('\n').unwrap_or(text).split('\n') {
        if !line.is_empty() {
            blanks(indent, out);
        }
        out.push_str(line);
        out.push('\n');
    }
}

fn quoted(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if is_printable(c) => out.push(c),
            c => {
                let number = u32::from(c);
                let _ = match number {
                    0..=0xff => write!(out, "\\x{number:02x}"),
                    0x100..=0xffff => write!(out, "\\u{number:04x}"),
                    _ => write!(out, "\\U{number:08x}"),
                };
            }
        }
    }
    out.push('"');
}

/// YAML 1.1's printable characters (section 5.1) without its line breaks, the byte order mark and
/// what libyaml and PyYAML do not agree on.
fn is_printable(c: char) -> bool {
    matches!(c, ' '..='~' | '\u{a0}'..='\u{2027}' | '\u{202a}'..='\u{d7ff}' | '\u{e000}'..='\u{fdcf}'
        | '\u{fdf0}'..='\u{fefe}' | '\u{ff00}'..='\u{fffd}')
}
