//! Many names in few words, in the notation that Ansible has for ranges of hosts: `vm[101:130]` are
//! `vm101` to `vm130`, and `pc[01:30]` are `pc01` to `pc30`, all with two digits.

use crate::contract::values::HostName;

/// Names in few words: the same set, consecutive numbers at the end of a name as a range.
pub fn in_few_words(names: &[String]) -> Vec<String> {
    let mut numbered: Vec<(&str, u64, &str)> = Vec::new();
    let mut words: Vec<String> = Vec::new();
    for name in names {
        match split(name) {
            Some((stem, digits, number)) => numbered.push((stem, number, digits)),
            None => words.push(name.clone()),
        }
    }
    // 7 before 07: they are two names.
    numbered.sort_by_key(|(stem, number, digits)| (*stem, digits.len(), *number));
    numbered.sort_by_key(|(stem, number, _)| (*stem, *number));
    numbered.dedup();
    words.sort();
    words.dedup();
    let mut rest = &numbered[..];
    while let [(stem, first, digits), ..] = rest {
        let count = (0..)
            .zip(rest)
            .take_while(|(after, (other, _, text))| {
                other == stem && *text == written(first + after, digits)
            })
            .count();
        let last = written(first + count as u64 - 1, digits);
        words.push(match count {
            1 => format!("{stem}{digits}"),
            _ => format!("{stem}[{digits}:{last}]"),
        });
        rest = &rest[count.max(1)..];
    }
    words
}

/// Whether `name` is among those that these words stand for.
pub fn contain(words: &[String], name: &str) -> bool {
    let parts = split(name);
    words.iter().any(|word| match (Range::of(word), parts) {
        (Some(range), Some((stem, digits, number))) => {
            stem == range.stem
                && (range.first..=range.last).contains(&number)
                && digits == written(number, range.digits)
        }
        _ => word == name,
    })
}

/// A word of a seed: a host name, or a range of them.
pub(super) fn word(text: &str) -> Result<String, String> {
    let is_word = match Range::of(text) {
        Some(range) => {
            let first = format!("{}{}", range.stem, range.digits);
            range.first <= range.last && first.parse::<HostName>().is_ok()
        }
        None => text.parse::<HostName>().is_ok(),
    };
    match is_word {
        true => Ok(text.to_owned()),
        false => Err("must be a host name, or a range of them such as vm[101:130]".to_owned()),
    }
}

struct Range<'a> {
    stem: &'a str,
    /// The first number as it is written.
    digits: &'a str,
    first: u64,
    last: u64,
}

impl<'a> Range<'a> {
    fn of(word: &'a str) -> Option<Self> {
        let (stem, rest) = word.split_once('[')?;
        let (digits, last) = rest.strip_suffix(']')?.split_once(':')?;
        let number = |text: &str| {
            let all = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            all.then(|| text.parse().ok()).flatten()
        };
        Some(Range {
            stem,
            digits,
            first: number(digits)?,
            last: number(last)?,
        })
    }
}

/// A name that ends with a number, in its parts; not a number that is too long to be one.
fn split(name: &str) -> Option<(&str, &str, u64)> {
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let digits = &name[stem.len()..];
    (!stem.is_empty() && digits.len() < 19).then_some(())?;
    Some((stem, digits, digits.parse().ok()?))
}

/// A number of a range whose first is written like this: with as many digits, where that begins
/// with a zero.
fn written(number: u64, first: &str) -> String {
    match first.len() > 1 && first.starts_with('0') {
        true => format!("{number:0width$}", width = first.len()),
        false => number.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(names: &[&str]) -> Vec<String> {
        in_few_words(&names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn consecutive_numbers_are_a_range() {
        assert_eq!(words(&["vm9", "vm8", "vm10", "vm12"]), ["vm[8:10]", "vm12"]);
        assert_eq!(
            words(&["pc02", "pc01", "pc10", "db"]),
            ["db", "pc[01:02]", "pc10"]
        );
        assert_eq!(words(&["a099", "a100"]), ["a[099:100]"]);
        assert_eq!(words(&["a7", "a07", "a8", "a7"]), ["a7", "a07", "a8"]);
        assert!(words(&[]).is_empty());
    }

    #[test]
    fn the_same_names_come_back_and_no_other() {
        let names: Vec<String> = (90..=110)
            .map(|n| format!("vm{n}"))
            .chain((1..=12).map(|n| format!("pc-b-{n:02}")))
            .chain(["alpha".to_owned()])
            .collect();
        let words = in_few_words(&names);
        assert_eq!(words, ["alpha", "pc-b-[01:12]", "vm[90:110]"]);
        assert!(names.iter().all(|name| contain(&words, name)));
        for other in [
            "vm89",
            "vm111",
            "vm090",
            "pc-b-1",
            "pc-b-13",
            "vm",
            "vm[90:110]x",
        ] {
            assert!(!contain(&words, other), "{other}");
        }
        assert!(words.iter().all(|text| word(text).is_ok()));
        for wrong in ["", "vm[2:1]", "vm[1:]", "vm[a:b]", "-[1:2]", "a b"] {
            assert!(word(wrong).is_err(), "{wrong}");
        }
    }
}
