//! Text for the user's terminal, that of other programs among it.

pub(crate) use firstboot::contract::digest::hex;

/// A line without escape sequences, other control characters and blanks at its end: the user's
/// terminal must not obey a guest, nor what runs in a chroot.
pub(crate) fn plain(line: &str) -> String {
    let mut out = String::new();
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' => match chars.next() {
                Some('[') => while chars.next().is_some_and(|c| !('@'..='~').contains(&c)) {},
                Some(']') => while chars.next().is_some_and(|c| c != '\u{7}') {},
                _ => {}
            },
            '\t' => out.push(' '),
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    out.truncate(out.trim_end().len());
    out
}

/// [`plain`] for each line of a text.
pub(crate) fn plain_lines(text: &str) -> String {
    text.lines().map(plain).collect::<Vec<_>>().join("\n")
}

/// A text of several lines in one.
pub(crate) fn one_line(text: &str) -> String {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join("; ")
}

/// Lines below a message, indented.
pub(crate) fn indented(lines: impl IntoIterator<Item = impl std::fmt::Display>) -> String {
    let lines = lines.into_iter();
    lines.map(|line| format!("\n    {line}")).collect()
}

/// The first few of many names, for a message.
pub(crate) fn first_few(names: &[&str]) -> String {
    const SHOWN: usize = 5;
    match names.len() {
        0..=SHOWN => names.join(", "),
        more => format!("{} and {} more", names[..SHOWN].join(", "), more - SHOWN),
    }
}

/// A text as lines of at most this many characters, where its words are no longer.
pub(crate) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_that_a_terminal_would_obey() {
        let cases = [
            ("\u{1b}[32mok\u{1b}[0m  \r", "ok"),
            ("\u{1b}]0;title\u{7}text", "text"),
            ("\u{1b}cone\ttwo\u{8}\u{9b}", "one two"),
            ("\u{1b}[", ""),
            ("", ""),
        ];
        for (line, expected) in cases {
            assert_eq!(plain(line), expected, "{line:?}");
        }
        assert_eq!(plain_lines("a \n\u{1b}[1mb\n"), "a\nb");
    }

    #[test]
    fn lines_end_between_words() {
        assert_eq!(
            wrapped("ab cd  ef ghijklm n", 5),
            ["ab cd", "ef", "ghijklm", "n"]
        );
        assert_eq!(wrapped("äöü ß", 5), ["äöü ß"]);
        assert_eq!(wrapped("", 5), [""; 0]);
    }
}
