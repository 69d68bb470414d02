//! One YAML document that is read value by value, so that every problem in it is found.

use super::path::{Path, Step};
use super::problem::Problem;
use crate::contract::place::Place;
use crate::contract::values::ValueError;
use crate::contract::yaml::{self, Dialect, Entry, Kind, Node};
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// What was found besides values.
#[derive(Debug, Default)]
pub(super) struct Notes {
    /// What makes the seed unusable.
    pub problems: Vec<Problem>,
    /// What is left out, with the document's name.
    pub ignored: Vec<String>,
}

/// A document under reading.
///
/// No message ever holds a value, which may be a misplaced password: every reader says itself what
/// a value must be.
pub(super) struct Document<'n> {
    name: &'static str,
    /// `None` for an empty text, which is an empty mapping.
    tree: Option<Node>,
    notes: &'n mut Notes,
}

impl<'n> Document<'n> {
    /// Parses the text; `None` and a problem when it is no YAML mapping. An empty text is an
    /// empty mapping.
    pub(super) fn new(name: &'static str, text: &str, notes: &'n mut Notes) -> Option<Self> {
        let (tree, problems) = yaml::parse(text, Dialect::Full);
        let mut document = Document { name, tree, notes };
        for problem in &problems {
            let message = format!("{} (right: {})", problem.message, problem.hint);
            document.push(&Path::root(), Some(problem.place), &message);
        }
        let tree = document.tree.as_ref().filter(|tree| !tree.is_null());
        if tree.is_some_and(|tree| !matches!(tree.kind, Kind::Map(_))) {
            let message = "the document must be a mapping (lines of `key: value`)";
            document.wrong(&Path::root(), message);
            return None;
        }
        let repeated = repeated(tree);
        for (first, again) in &repeated {
            let message = format!(
                "this key is there already, in line {}: each key may be there once",
                first.line
            );
            document.push(&Path::root(), Some(*again), &message);
        }
        (problems.is_empty() && repeated.is_empty()).then_some(document)
    }

    /// Notes a problem with the value at a path; the message says what would be right.
    pub(super) fn wrong(&mut self, path: &Path, message: &str) {
        let mut at = Some(path.clone());
        let mut place = None;
        // A value that is missing has no place; what should hold it has one.
        while let (None, Some(here)) = (place, at) {
            place = self.at(&here).map(|node| node.place);
            at = here.parent();
        }
        self.push(path, place, message);
    }

    /// Notes a problem with the key that a path ends with.
    pub(super) fn wrong_key(&mut self, path: &Path, message: &str) {
        let place = self.entry(path).map(|entry| entry.place);
        self.push(path, place, message);
    }

    /// Notes something that is left out; not an error.
    pub(super) fn ignore(&mut self, path: &Path, reason: &str) {
        let line = match reason {
            "" => format!("{}: {path}", self.name),
            _ => format!("{}: {path} ({reason})", self.name),
        };
        self.notes.ignored.push(line);
    }

    /// Whether there is a value that is not null.
    pub(super) fn has(&self, path: &Path) -> bool {
        self.node(path).is_some()
    }

    /// Whether the value is a list.
    pub(super) fn is_list(&self, path: &Path) -> bool {
        matches!(self.kind(path), Some(Kind::List(_)))
    }

    /// Whether the value is a mapping.
    pub(super) fn is_mapping(&self, path: &Path) -> bool {
        matches!(self.kind(path), Some(Kind::Map(_)))
    }

    /// Whether the value is this very text.
    pub(super) fn is_text(&self, path: &Path, wanted: &str) -> bool {
        matches!(self.kind(path), Some(Kind::Scalar { text, .. }) if text == wanted)
    }

    /// The text at a path, whatever type it stands for; a problem (`PATH must be WHAT`) when there
    /// is a list or a mapping.
    pub(super) fn text(&mut self, path: &Path, what: &str) -> Option<String> {
        let Kind::Scalar { text, .. } = self.kind(path)? else {
            self.wrong(path, &format!("must be {what}"));
            return None;
        };
        let text = text.clone();
        if let Some(key) = self.number_as_key(path) {
            let message = "has a key that YAML reads as a number; put it in quotes";
            self.push(path, Some(key), message);
            return None;
        }
        Some(text)
    }

    /// Like [`Self::text`], and a problem when there is no value.
    pub(super) fn require(&mut self, path: &Path, what: &str) -> Option<String> {
        if !self.has(path) {
            self.wrong(path, &format!("is missing; it must be {what}"));
            return None;
        }
        self.text(path, what)
    }

    /// A boolean, with YAML 1.1's `yes`, `no`, `on` and `off`, which cloud-init and netplan
    /// take as well.
    pub(super) fn flag(&mut self, path: &Path) -> Option<bool> {
        let what = "true or false";
        match self.text(path, what)?.to_ascii_lowercase().as_str() {
            "yes" | "on" | "true" => Some(true),
            "no" | "off" | "false" => Some(false),
            _ => {
                self.wrong(path, &format!("must be {what}"));
                None
            }
        }
    }

    /// A whole number within limits, without quotes.
    pub(super) fn number<N: TryFrom<u64>>(
        &mut self,
        path: &Path,
        limits: RangeInclusive<u64>,
    ) -> Option<N> {
        let what = format!("a whole number from {} to {}", limits.start(), limits.end());
        self.whole(path, limits, &what)
    }

    /// A whole number within limits; `what` says what it is.
    pub(super) fn whole<N: TryFrom<u64>>(
        &mut self,
        path: &Path,
        limits: RangeInclusive<u64>,
        what: &str,
    ) -> Option<N> {
        let plain = matches!(self.kind(path)?, Kind::Scalar { plain: true, .. });
        let text = self.text(path, what)?;
        let number = whole_number(&text).filter(|number| plain && limits.contains(number));
        if number.is_none() {
            self.wrong(path, &format!("must be {what}"));
        }
        N::try_from(number?).ok()
    }

    /// A text that passes a check; a problem with the check's words when it does not.
    pub(super) fn checked<R, E: Display>(
        &mut self,
        path: &Path,
        check: impl FnOnce(&str) -> Result<R, E>,
    ) -> Option<R> {
        let text = self.text(path, "one text")?;
        match check(&text) {
            Ok(value) => Some(value),
            Err(error) => {
                self.wrong(path, &error.to_string());
                None
            }
        }
    }

    /// A value of the contract.
    pub(super) fn value<R: FromStr<Err = ValueError>>(&mut self, path: &Path) -> Option<R> {
        self.checked(path, R::from_str)
    }

    /// Like [`Self::value`], and a problem when there is none; `what` says what it is.
    pub(super) fn require_value<R: FromStr<Err = ValueError>>(
        &mut self,
        path: &Path,
        what: &str,
    ) -> Option<R> {
        self.require_checked(path, what, R::from_str)
    }

    /// Like [`Self::checked`], and a problem when there is no value; `what` says what it is.
    pub(super) fn require_checked<R, E: Display>(
        &mut self,
        path: &Path,
        what: &str,
        check: impl FnOnce(&str) -> Result<R, E>,
    ) -> Option<R> {
        if !self.has(path) {
            self.wrong(path, &format!("is missing; it must be {what}"));
        }
        self.checked(path, check)
    }

    /// The paths of the items of a list, or of the one value where no list is written.
    pub(super) fn items(&mut self, path: &Path) -> Vec<Path> {
        match self.kind(path) {
            None => Vec::new(),
            Some(Kind::List(items)) => (0..items.len()).map(|i| path.index(i)).collect(),
            Some(_) => vec![path.clone()],
        }
    }

    /// The items of a list, with a problem when it is none.
    pub(super) fn list(&mut self, path: &Path, what: &str) -> Vec<Path> {
        if self.has(path) && !self.is_list(path) {
            self.wrong(path, &format!("must be a list of {what}"));
            return Vec::new();
        }
        self.items(path)
    }

    /// The values of a list, or of the one value where no list is written.
    pub(super) fn values<R: FromStr<Err = ValueError>>(&mut self, path: &Path) -> Vec<R> {
        let items = self.items(path);
        items.iter().filter_map(|item| self.value(item)).collect()
    }

    /// The items of a list of mappings, with a problem for each that is none: `with` says what a
    /// mapping has.
    pub(super) fn mappings(&mut self, path: &Path, what: &str, with: &str) -> Vec<Path> {
        let mut items = self.list(path, what);
        items.retain(|item| {
            let is_mapping = self.is_mapping(item);
            if !is_mapping {
                self.wrong(item, &format!("must be a mapping with {with}"));
            }
            is_mapping
        });
        items
    }

    /// The keys of a mapping, with a problem when it is none.
    pub(super) fn keys(&mut self, path: &Path, what: &str) -> Vec<String> {
        match self.kind(path) {
            None => Vec::new(),
            Some(Kind::Map(map)) => map.iter().map(|entry| entry.key.clone()).collect(),
            Some(_) => {
                self.wrong(path, &format!("must be a mapping of {what}"));
                Vec::new()
            }
        }
    }

    /// Notes every key of a mapping that is not among the known ones as left out.
    pub(super) fn ignore_unknown(&mut self, path: &Path, known: &[&str]) {
        for key in self.unknown(path, known) {
            let place = self.entry(&path.key(&key)).map(|entry| entry.place);
            match place.filter(|_| !path.may_show(&key)) {
                Some(place) => self.ignore(path, &format!("a key in line {}", place.line)),
                None => self.ignore(&path.key(&key), ""),
            }
        }
    }

    /// Notes every key of a mapping that is not among the known ones as a problem.
    pub(super) fn refuse_unknown(&mut self, path: &Path, known: &[&str]) {
        let message = format!("is not known here; known are: {}", known.join(", "));
        for key in self.unknown(path, known) {
            self.refuse_key(path, &key, &message);
        }
    }

    /// Notes a problem with a key of a mapping that may be none of its keys.
    pub(super) fn refuse_key(&mut self, path: &Path, key: &str, message: &str) {
        let place = self.entry(&path.key(key)).map(|entry| entry.place);
        match path.may_show(key) {
            true => self.push(&path.key(key), place, message),
            false => self.push(path, place, &format!("this key {message}")),
        }
    }

    fn unknown(&self, path: &Path, known: &[&str]) -> Vec<String> {
        let Some(Kind::Map(map)) = self.kind(path) else {
            return Vec::new();
        };
        let keys = map.iter().map(|entry| entry.key.clone());
        keys.filter(|key| !known.contains(&key.as_str())).collect()
    }

    fn node(&self, path: &Path) -> Option<&Node> {
        self.at(path).filter(|node| !node.is_null())
    }

    fn kind(&self, path: &Path) -> Option<&Kind> {
        self.node(path).map(|node| &node.kind)
    }

    fn at(&self, path: &Path) -> Option<&Node> {
        find(self.tree.as_ref()?, path)
    }

    fn entry(&self, path: &Path) -> Option<&Entry> {
        match (path.steps().last()?, &self.at(&path.parent()?)?.kind) {
            (Step::Key(key), Kind::Map(map)) => map.entry(key),
            _ => None,
        }
    }

    /// The place of a key of a path that is another one to a YAML reader than the one that is
    /// written.
    fn number_as_key(&self, path: &Path) -> Option<Place> {
        let parents = std::iter::successors(Some(path.clone()), Path::parent);
        let mut entries = parents.filter_map(|path| self.entry(&path));
        let entry = entries.find(|entry| entry.plain && is_another_number(&entry.key))?;
        Some(entry.place)
    }

    fn push(&mut self, path: &Path, place: Option<Place>, message: &str) {
        let path = path.to_string();
        self.notes.problems.push(Problem {
            document: self.name,
            place,
            message: match path.as_str() {
                "" => message.to_owned(),
                _ => format!("{path}: {message}"),
            },
        });
    }
}

/// Adds an item that is not in the list yet.
pub(super) fn add_new<T: PartialEq>(list: &mut Vec<T>, item: T) {
    if !list.contains(&item) {
        list.push(item);
    }
}

/// What stands at a path of a tree.
pub(super) fn find<'a>(tree: &'a Node, path: &Path) -> Option<&'a Node> {
    let mut steps = path.steps().iter();
    steps.try_fold(tree, |node, step| match (step, &node.kind) {
        (Step::Key(key), Kind::Map(map)) => map.entry(key).map(|entry| &entry.value),
        (Step::Index(index), Kind::List(items)) => items.get(*index),
        _ => None,
    })
}

/// The places of keys that are written twice: of the one, and of the other.
fn repeated(tree: Option<&Node>) -> Vec<(Place, Place)> {
    let nodes = tree.into_iter().flat_map(Node::all);
    let maps = nodes.filter_map(|(node, _)| match &node.kind {
        Kind::Map(map) => Some(map),
        _ => None,
    });
    maps.flat_map(|map| map.repeated())
        .map(|(first, again)| (first.place, again.place))
        .collect()
}

/// A whole number as YAML has it: decimal, or with `0x`, `0o` or `0b`. `007` is none.
fn whole_number(text: &str) -> Option<u64> {
    let digits = text.strip_prefix('+').unwrap_or(text);
    let (digits, radix) = [("0x", 16), ("0o", 8), ("0b", 2)]
        .into_iter()
        .find_map(|(begin, radix)| Some((digits.strip_prefix(begin)?, radix)))
        .unwrap_or((digits, 10));
    let is_padded = radix == 10 && digits.len() > 1 && digits.starts_with('0');
    let all = digits.starts_with(|c: char| c.is_ascii_hexdigit()) && !is_padded;
    all.then(|| u64::from_str_radix(digits, radix).ok())?
}

/// Whether YAML reads a number here that is written in another way: `0x10` is 16, `1e3` is 1000.0.
fn is_another_number(text: &str) -> bool {
    let number = match (whole_number(text), text.parse::<f64>()) {
        (Some(number), _) => number.to_string(),
        // `007` and `inf` are texts.
        (None, Ok(number)) if text.contains(['.', 'e', 'E']) => format!("{number:?}"),
        _ => return false,
    };
    number != text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<String> {
        let mut notes = Notes::default();
        let mut doc = Document::new("user-data", text, &mut notes)
            .map(|mut doc| {
                let path = Path::root().key("a");
                let items = doc.items(&path);
                let texts: Vec<String> = items
                    .iter()
                    .filter_map(|item| doc.text(item, "one text"))
                    .collect();
                texts
            })
            .unwrap_or_default();
        doc.extend(notes.problems.iter().map(Problem::to_string));
        doc
    }

    /// What people and programs write for cloud-init, which reads it with PyYAML.
    #[test]
    fn documents_are_read_as_cloud_init_reads_them() {
        for (text, read) in [
            ("#cloud-config\n---\na: x\n...\n", &["x"][..]),
            ("%YAML 1.1\n---\na: x\n", &["x"]),
            ("a: [\n  x,\n  y,\n]\nb: 1\n", &["x", "y"]),
            ("a:\n- x\n- y\n", &["x", "y"]),
            ("{\"a\":\"x\"}\n", &["x"]),
            ("? a\n: x\n", &["x"]),
            ("a: x\r\nb: y\r\n", &["x"]),
            ("a: |\n  x\n  \ty\n", &["x\n\ty\n"]),
            ("a: >-\n  x\n  y\n\n  z\n", &["x y\nz"]),
            ("a: 'it''s'\n", &["it's"]),
            ("a: \"\\x41\\u00e9\\n\"\n", &["Aé\n"]),
            ("a: http://x:80/#y\n", &["http://x:80/#y"]),
            ("b: &b [x]\na: *b\n", &["x"]),
            ("<<: {b: c}\na: !!str 0123\n", &["0123"]),
            (
                "a: [1e3, yes, 2026-11-26, 52:54:00:12:34:56, ~, '']\n",
                &["1e3", "yes", "2026-11-26", "52:54:00:12:34:56", ""],
            ),
        ] {
            assert_eq!(texts(text), read, "{text:?}");
        }
    }

    #[test]
    fn what_is_no_document_is_refused_with_a_place_and_a_remedy() {
        let form = "one `key: value` per line, lists as `- item`, the same indentation for keys of \
                    one block, and quotes that are closed";
        let space = "indent with spaces; YAML allows no tabs there";
        for (text, place, message, hint) in [
            (
                "a:\n\tb: x\n",
                "2 column 1",
                "a tab in the indentation",
                space,
            ),
            (
                "a: @x\n",
                "1 column 4",
                "this is not YAML: no text begins with this character",
                "quotes around the text",
            ),
            // PyYAML takes this one, YAML 1.2 does not.
            (
                "a: {\nb: c}\n",
                "2 column 1",
                "this is not YAML: invalid indentation",
                form,
            ),
            (
                "a: x\n---\na: y\n",
                "2 column 1",
                "a second YAML document begins here",
                "one document in one file; remove the `---`",
            ),
            (
                "[a]: x\n",
                "1 column 1",
                "a key that is a list or a map",
                "a word as the key",
            ),
        ] {
            let line = format!("user-data line {place}: {message} (right: {hint})");
            assert_eq!(texts(text), [line], "{text:?}");
        }
        assert_eq!(
            texts("a: x\nb: {c: 1, c: 2}\n\"a\": y\n"),
            [
                "user-data line 3 column 1: this key is there already, in line 1: each key may be there once",
                "user-data line 2 column 11: this key is there already, in line 2: each key may be there once",
            ]
        );
    }

    /// What this thread has computed, in nanoseconds; who else computes makes no difference.
    fn computed() -> u64 {
        let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
        text.split(' ').next().unwrap().parse().unwrap()
    }

    /// The text is read once, whatever is asked of it and however much is wrong with it.
    #[test]
    fn thousands_of_keys_take_no_time() {
        let keys: String = (0..2000).map(|n| format!("  key{n}: value\n")).collect();
        for head in ["openvpn:", "proxmox:", "ntp:", "vendor:"] {
            let text = format!("#cloud-config\n{head}\n{keys}");
            let before = computed();
            let result = crate::contract::seed::parse("instance-id: i", &text, None);
            let took = computed() - before;
            let problems = result.map_or_else(|error| error.problems.len(), |_| 0);
            assert_eq!(problems, if head == "proxmox:" { 2000 } else { 0 });
            // A twentieth of a second; when each value was looked for in the text, 15 seconds.
            assert!(took < 1_000_000_000, "{head} {took} ns");
        }
    }
}
