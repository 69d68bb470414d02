//! A value as an error may repeat it.

use super::mask::mask_value;

/// How many characters of a value an error repeats.
const SHOWN: usize = 60;

/// A value as an error may repeat it: without secrets, control characters and much length.
pub fn display_safe(text: &str) -> String {
    let text = mask_value(text);
    let mut shown: String = text.chars().map(printable).take(SHOWN).collect();
    if text.chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    shown
}

/// `Ok` where `good`, else the value with what is wrong.
pub(super) fn check(good: bool, text: &str, wrong: &str) -> Result<(), String> {
    match good {
        true => Ok(()),
        false => Err(format!("`{}` {wrong}", display_safe(text))),
    }
}

/// A terminal must not obey what a file holds.
pub(super) fn printable(c: char) -> char {
    if c.is_control() && c != '\t' {
        '\u{fffd}'
    } else {
        c
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_repeated_is_short_and_harmless() {
        assert_eq!(display_safe(&"x".repeat(61)).chars().count(), 61);
        assert_eq!(display_safe("password:hunter2"), "password: ********");
        assert_eq!(display_safe("a\u{1b}b"), "a\u{fffd}b");
    }
}
