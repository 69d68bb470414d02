//! Problems of a file, and how they are shown.

use super::display::printable;
use super::mask::mask_lines;
use firstboot::contract::place::{Place, Problem};
use std::collections::BTreeMap;
use std::fmt;

/// How much of a long line is shown, in characters.
const WINDOW: usize = 110;
/// How many problems of one place and one remedy are shown: a range of machines has its mistake as
/// often as it has machines.
const ALIKE: usize = 3;

/// Every problem of one file, sorted by place; an error that shows all of them.
#[derive(Debug)]
pub struct Problems {
    file: String,
    /// The file's lines with secrets masked; the text itself is not kept.
    lines: Vec<String>,
    list: Vec<Problem>,
    /// Those of files that this one names.
    others: Vec<Problems>,
}

impl Problems {
    /// Sorts the problems and drops those that say the same of the same place.
    pub fn new(file: &str, text: &str, list: Vec<Problem>) -> Self {
        let lines = mask_lines(text.trim_start_matches('\u{feff}'));
        Self::of(file, lines, list)
    }

    fn of(file: &str, lines: Vec<String>, mut list: Vec<Problem>) -> Self {
        list.sort_by(|a, b| (a.place, &a.message).cmp(&(b.place, &b.message)));
        list.dedup();
        Problems {
            file: file.to_owned(),
            lines,
            list: without_many_alike(list),
            others: Vec::new(),
        }
    }

    /// Adds a problem of another file, of which only these lines may be shown.
    pub(super) fn add(&mut self, file: &str, lines: Vec<String>, problem: Problem) {
        match self.others.iter_mut().find(|other| other.file == file) {
            Some(other) => {
                let mut list = std::mem::take(&mut other.list);
                list.push(problem);
                *other = Self::of(file, std::mem::take(&mut other.lines), list);
            }
            None => self.others.push(Self::of(file, lines, vec![problem])),
        }
    }

    /// Each problem with its file as the user named it, sorted by place within a file.
    pub fn all(&self) -> impl Iterator<Item = (&str, &Problem)> {
        let files = std::iter::once(self).chain(&self.others);
        files.flat_map(|file| {
            file.list
                .iter()
                .map(|problem| (file.file.as_str(), problem))
        })
    }
}

impl std::error::Error for Problems {}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut files = std::iter::once(self).chain(&self.others);
        let files = files.by_ref().filter(|file| !file.list.is_empty());
        for (index, file) in files.enumerate() {
            if index > 0 {
                write!(f, "\n\n")?;
            }
            file.show(f)?;
        }
        Ok(())
    }
}

impl Problems {
    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.list.len();
        let s = if count == 1 { "" } else { "s" };
        write!(f, "cannot use {}: {count} problem{s}", self.file)?;
        for problem in &self.list {
            let Place { line, column, .. } = problem.place;
            write!(f, "\n{}:{line}:{column}: {}", self.file, problem.message)?;
            if let Some(text) = self.lines.get(line.saturating_sub(1)) {
                let gutter = line.to_string();
                let (shown, caret) = excerpt(text, problem.place);
                write!(f, "\n   {gutter} | {shown}")?;
                write!(f, "\n   {} | {caret}", " ".repeat(gutter.len()))?;
            }
            write!(f, "\n  right: {}", problem.hint)?;
        }
        Ok(())
    }
}

/// The first few of those that are of one place and have one remedy, and how many more there are.
fn without_many_alike(list: Vec<Problem>) -> Vec<Problem> {
    let of = |problem: &Problem| (problem.place, problem.hint.clone());
    let mut alike: BTreeMap<_, usize> = BTreeMap::new();
    for problem in &list {
        *alike.entry(of(problem)).or_default() += 1;
    }
    let mut shown: BTreeMap<_, usize> = BTreeMap::new();
    list.into_iter()
        .filter_map(|mut problem| {
            let key = of(&problem);
            let all = alike.get(&key).copied().unwrap_or_default();
            let shown = shown.entry(key).or_default();
            *shown += 1;
            if *shown == ALIKE && all > ALIKE {
                let more = format!("; and {} more like this", all - ALIKE);
                problem.message.push_str(&more);
            }
            (*shown <= ALIKE).then_some(problem)
        })
        .collect()
}

/// The offending line and the carets below it. Tabs stay tabs in both, so that the carets
/// stand below their text whatever the terminal's tab stops are.
fn excerpt(text: &str, place: Place) -> (String, String) {
    let chars: Vec<char> = text.chars().collect();
    let at = (place.column - 1).min(chars.len());
    let start = if chars.len() > WINDOW {
        at.saturating_sub(WINDOW / 3).min(chars.len() - WINDOW)
    } else {
        0
    };
    let end = chars.len().min(start + WINDOW);
    let dots = |cut: bool| if cut { "…" } else { "" };
    let shown: String = chars[start..end].iter().map(|c| printable(*c)).collect();
    let shown = format!("{}{shown}{}", dots(start > 0), dots(end < chars.len()));
    let mut caret: String = chars[start..at]
        .iter()
        .map(|c| if *c == '\t' { '\t' } else { ' ' })
        .collect();
    if start > 0 {
        caret.insert(0, ' ');
    }
    caret.push_str(&"^".repeat(place.width.clamp(1, (end - at).max(1))));
    (shown, caret)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(column: usize, width: usize) -> Place {
        Place {
            line: 1,
            column,
            width,
        }
    }

    #[test]
    fn carets_stand_below_tabs_and_accents() {
        assert_eq!(
            excerpt("\té: x", place(2, 1)),
            ("\té: x".into(), "\t^".into())
        );
        assert_eq!(excerpt("é: x", place(4, 1)), ("é: x".into(), "   ^".into()));
    }

    #[test]
    fn carets_end_with_the_line() {
        assert_eq!(excerpt("ab", place(2, 9)), ("ab".into(), " ^".into()));
        assert_eq!(excerpt("ab", place(9, 9)), ("ab".into(), "  ^".into()));
        assert_eq!(excerpt("", place(1, 1)), (String::new(), "^".into()));
    }

    #[test]
    fn a_long_line_is_cut_around_its_place() {
        let text = format!("{}X{}", "a".repeat(300), "b".repeat(300));
        let (shown, caret) = excerpt(&text, place(301, 1));
        assert_eq!(shown.chars().count(), WINDOW + 2);
        assert_eq!(shown.chars().position(|c| c == 'X'), caret.find('^'));
    }

    #[test]
    fn control_characters_are_not_printed() {
        assert_eq!(excerpt("a\u{1b}[2J", place(1, 1)).0, "a\u{fffd}[2J");
    }

    fn problem(line: usize, message: &str) -> Problem {
        Problem {
            place: Place::of(line, 1, 1),
            message: message.into(),
            hint: "r".into(),
        }
    }

    #[test]
    fn of_many_that_are_alike_the_first_are_shown() {
        let list = (1..=9).map(|n| problem(1, &format!("{n}"))).collect();
        let shown = Problems::new("f", "x\n", list);
        let messages: Vec<&str> = shown.all().map(|(_, p)| p.message.as_str()).collect();
        assert_eq!(messages, ["1", "2", "3; and 6 more like this"]);
        let mut three: Vec<Problem> = (1..=3).map(|n| problem(1, &format!("{n}"))).collect();
        three.push(problem(2, "4"));
        assert_eq!(Problems::new("f", "x\n", three).all().count(), 4);
    }

    #[test]
    fn problems_are_sorted_and_said_once() {
        let list = vec![problem(2, "b"), problem(1, "z"), problem(2, "b")];
        assert_eq!(
            Problems::new("f", "x\ny\n", list).to_string(),
            "cannot use f: 2 problems\n\
             f:1:1: z\n   1 | x\n     | ^\n  right: r\n\
             f:2:1: b\n   2 | y\n     | ^\n  right: r"
        );
    }
}
