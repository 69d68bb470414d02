//! One YAML document that is read value by value, so that every problem in it is found.

use super::problem::Problem;
use super::walk::{Path, Step, place_of_key, place_of_value, value_at};
use serde::de::{Deserialize, Deserializer, Visitor};
use serde_yaml::Value;
use std::fmt;

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
/// No message ever holds a value: serde's own words (`invalid type: string "…"`) would
/// show a misplaced password, so every reader says itself what a value must be.
#[derive(Debug)]
pub(super) struct Document<'t, 'n> {
    name: &'static str,
    text: &'t str,
    tree: Value,
    notes: &'n mut Notes,
}

impl<'t, 'n> Document<'t, 'n> {
    /// Parses the text; `None` and a problem when it is no YAML mapping. An empty text is an
    /// empty mapping.
    pub fn new(name: &'static str, text: &'t str, notes: &'n mut Notes) -> Option<Self> {
        let tree = match serde_yaml::from_str::<Value>(text) {
            Ok(tree) => tree,
            Err(error) => {
                notes.problems.push(Problem {
                    document: name,
                    place: error.location().map(|l| (l.line(), l.column())),
                    message: yaml_words(&error),
                });
                return None;
            }
        };
        let mut document = Document {
            name,
            text,
            tree,
            notes,
        };
        let root = Path::root();
        if !document.tree.is_null() && !document.tree.is_mapping() {
            document.wrong(
                &root,
                "the document must be a mapping (lines of `key: value`)",
            );
            return None;
        }
        if has_odd_key(&document.tree) {
            document.wrong(&root, "a list or a mapping cannot be a key");
            return None;
        }
        Some(document)
    }

    /// Notes a problem with the value at a path; the message says what would be right.
    pub fn wrong(&mut self, path: &Path, message: &str) {
        let mut at = Some(path.clone());
        let mut place = None;
        // A value that is missing has no place; what should hold it has one.
        while let (None, Some(here)) = (place, at) {
            place = place_of_value(self.text, &here);
            at = here.parent();
        }
        self.push(path, place, message);
    }

    /// Notes a problem with the key that a path ends with.
    pub fn wrong_key(&mut self, path: &Path, message: &str) {
        let place = place_of_key(self.text, path);
        self.push(path, place, message);
    }

    /// Notes something that is left out; not an error.
    pub fn ignore(&mut self, path: &Path, reason: &str) {
        let line = match reason {
            "" => format!("{}: {path}", self.name),
            _ => format!("{}: {path} ({reason})", self.name),
        };
        self.notes.ignored.push(line);
    }

    /// Whether there is a value that is not null.
    pub fn has(&self, path: &Path) -> bool {
        self.node(path).is_some()
    }

    /// Whether the value is a list.
    pub fn is_list(&self, path: &Path) -> bool {
        self.node(path).is_some_and(Value::is_sequence)
    }

    /// Whether the value is a mapping.
    pub fn is_mapping(&self, path: &Path) -> bool {
        self.node(path).is_some_and(Value::is_mapping)
    }

    /// Whether the value is this very text.
    pub fn is_text(&self, path: &Path, text: &str) -> bool {
        self.node(path).and_then(Value::as_str) == Some(text)
    }

    /// The value at a path; a problem (`PATH must be WHAT`) when it cannot be read as a `T`.
    pub fn get<T: Deserialize<'t>>(&mut self, path: &Path, what: &str) -> Option<T> {
        self.node(path)?;
        match value_at(self.text, path) {
            Ok(Some(value)) => Some(value),
            Ok(None) => {
                // `0x10:` is 16 to YAML: the name in the text is another than the one read.
                self.wrong(
                    path,
                    "has a key that YAML reads as a number; put it in quotes",
                );
                None
            }
            Err(error) => {
                let place = error.location().map(|l| (l.line(), l.column()));
                self.push(path, place, &format!("must be {what}"));
                None
            }
        }
    }

    /// Like [`Self::get`], and a problem when there is no value.
    pub fn require<T: Deserialize<'t>>(&mut self, path: &Path, what: &str) -> Option<T> {
        if !self.has(path) {
            self.wrong(path, &format!("is missing; it must be {what}"));
            return None;
        }
        self.get(path, what)
    }

    /// A boolean, with YAML 1.1's `yes`, `no`, `on` and `off`, which cloud-init and netplan
    /// take as well.
    pub fn flag(&mut self, path: &Path) -> Option<bool> {
        self.get::<Flag>(path, "true or false").map(|f| f.0)
    }

    /// A whole number within limits.
    pub fn number(&mut self, path: &Path, limits: std::ops::RangeInclusive<u64>) -> Option<u64> {
        let what = format!("a whole number from {} to {}", limits.start(), limits.end());
        let value: u64 = self.get(path, &what)?;
        if !limits.contains(&value) {
            self.wrong(path, &format!("must be {what}"));
            return None;
        }
        Some(value)
    }

    /// A text that passes a check; a problem with the check's words when it does not.
    pub fn checked<R>(
        &mut self,
        path: &Path,
        check: impl FnOnce(&str) -> Result<R, String>,
    ) -> Option<R> {
        let text: String = self.get(path, "one text")?;
        match check(&text) {
            Ok(value) => Some(value),
            Err(message) => {
                self.wrong(path, &message);
                None
            }
        }
    }

    /// Like [`Self::checked`], and a problem when there is no value; `what` says what it is.
    pub fn require_checked<R>(
        &mut self,
        path: &Path,
        what: &str,
        check: impl FnOnce(&str) -> Result<R, String>,
    ) -> Option<R> {
        if !self.has(path) {
            self.wrong(path, &format!("is missing; it must be {what}"));
        }
        self.checked(path, check)
    }

    /// The paths of the items of a list, or of the one value where no list is written.
    pub fn items(&mut self, path: &Path) -> Vec<Path> {
        match self.node(path) {
            None => Vec::new(),
            Some(Value::Sequence(items)) => (0..items.len()).map(|i| path.index(i)).collect(),
            Some(_) => vec![path.clone()],
        }
    }

    /// The items of a list, with a problem when it is none.
    pub fn list(&mut self, path: &Path, what: &str) -> Vec<Path> {
        if self.has(path) && !self.is_list(path) {
            self.wrong(path, &format!("must be a list of {what}"));
            return Vec::new();
        }
        self.items(path)
    }

    /// The keys of a mapping, with a problem when it is none.
    pub fn keys(&mut self, path: &Path, what: &str) -> Vec<String> {
        match self.node(path) {
            None => Vec::new(),
            Some(Value::Mapping(map)) => map.keys().map(key_text).collect(),
            Some(_) => {
                self.wrong(path, &format!("must be a mapping of {what}"));
                Vec::new()
            }
        }
    }

    /// Notes every key of a mapping that is not among the known ones as left out.
    pub fn ignore_unknown(&mut self, path: &Path, known: &[&str]) {
        for key in self.unknown(path, known) {
            self.ignore(&path.key(&key), "");
        }
    }

    /// Notes every key of a mapping that is not among the known ones as a problem.
    pub fn refuse_unknown(&mut self, path: &Path, known: &[&str]) {
        for key in self.unknown(path, known) {
            let message = format!("is not known here; known are: {}", known.join(", "));
            self.wrong_key(&path.key(&key), &message);
        }
    }

    fn unknown(&self, path: &Path, known: &[&str]) -> Vec<String> {
        let Some(Value::Mapping(map)) = self.node(path) else {
            return Vec::new();
        };
        map.keys()
            .map(key_text)
            .filter(|key| !known.contains(&key.as_str()))
            .collect()
    }

    fn push(&mut self, path: &Path, place: Option<(usize, usize)>, message: &str) {
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

    fn node(&self, path: &Path) -> Option<&Value> {
        let mut value = &self.tree;
        for step in path.steps() {
            value = untagged(match (step, value) {
                (Step::Key(key), Value::Mapping(map)) => {
                    let (_, value) = map.iter().find(|(k, _)| key_text(k) == *key)?;
                    value
                }
                (Step::Index(index), Value::Sequence(items)) => items.get(*index)?,
                _ => return None,
            });
        }
        (!value.is_null()).then_some(value)
    }
}

fn untagged(value: &Value) -> &Value {
    match value {
        Value::Tagged(tagged) => untagged(&tagged.value),
        other => other,
    }
}

/// A key as text: YAML reads `42:` and `true:` as other types.
fn key_text(key: &Value) -> String {
    match key {
        Value::String(text) => text.clone(),
        other => serde_yaml::to_string(other).map_or_else(|_| "?".into(), |t| t.trim().to_owned()),
    }
}

fn has_odd_key(value: &Value) -> bool {
    match untagged(value) {
        Value::Mapping(map) => map.iter().any(|(key, value)| {
            matches!(
                key,
                Value::Mapping(_) | Value::Sequence(_) | Value::Tagged(_)
            ) || has_odd_key(value)
        }),
        Value::Sequence(items) => items.iter().any(has_odd_key),
        _ => false,
    }
}

/// What serde_yaml says of a broken text, without the place. The parser's own words hold
/// no content; a doubled key is named by serde, and keys are no secrets.
fn yaml_words(error: &serde_yaml::Error) -> String {
    let text = error.to_string();
    let words = text.split(" at line ").next().unwrap_or_default();
    match words.find("duplicate entry") {
        Some(start) => format!("{}: each key may be there once", &words[start..]),
        None if words.contains("invalid") => "this is no valid YAML".into(),
        None => format!("this is no valid YAML: {words}"),
    }
}

struct Flag(bool);

impl<'de> Deserialize<'de> for Flag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FlagVisitor;
        impl Visitor<'_> for FlagVisitor {
            type Value = Flag;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("true or false")
            }

            fn visit_bool<E>(self, value: bool) -> Result<Flag, E> {
                Ok(Flag(value))
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Flag, E> {
                match text.to_ascii_lowercase().as_str() {
                    "yes" | "on" | "true" => Ok(Flag(true)),
                    "no" | "off" | "false" => Ok(Flag(false)),
                    _ => Err(E::custom("not true or false")),
                }
            }
        }
        deserializer.deserialize_any(FlagVisitor)
    }
}
