//! Reading one value out of a YAML text, and finding where in the text a value stands.
//!
//! serde_yaml knows the place of a value only while it reads it from text. So a value is
//! read by walking the text along a path, everything else skipped; each value fails or
//! succeeds alone, and a failure has its line and column.

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::fmt;
use std::marker::PhantomData;

/// One step from a value to a value inside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    Key(String),
    Index(usize),
}

/// The way from the document to a value; displayed like `users[0].name`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Path(Vec<Step>);

impl Path {
    /// The document itself.
    pub fn root() -> Self {
        Path::default()
    }

    /// The value of a key.
    pub fn key(&self, key: &str) -> Self {
        let mut steps = self.0.clone();
        steps.push(Step::Key(key.to_owned()));
        Path(steps)
    }

    /// An item of a list.
    pub fn index(&self, index: usize) -> Self {
        let mut steps = self.0.clone();
        steps.push(Step::Index(index));
        Path(steps)
    }

    /// What holds this value; `None` at the root.
    pub fn parent(&self) -> Option<Self> {
        let (_, rest) = self.0.split_last()?;
        Some(Path(rest.to_vec()))
    }

    /// The steps in order.
    pub fn steps(&self) -> &[Step] {
        &self.0
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, step) in self.0.iter().enumerate() {
            match step {
                Step::Index(index) => write!(f, "[{index}]")?,
                Step::Key(key) => {
                    if number > 0 {
                        f.write_str(".")?;
                    }
                    // Anything but a plain word is quoted, so that a message stays on its line.
                    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_-".contains(&b);
                    if !key.is_empty() && key.bytes().all(plain) {
                        f.write_str(key)?;
                    } else {
                        write!(f, "{key:?}")?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// The value at a path; `None` where there is none.
pub(super) fn value_at<'t, T: serde::Deserialize<'t>>(
    text: &'t str,
    path: &Path,
) -> Result<Option<T>, serde_yaml::Error> {
    let walk = Walk {
        path: path.steps(),
        stop_at_key: false,
        leaf: PhantomData::<T>,
    };
    walk.deserialize(serde_yaml::Deserializer::from_str(text))
}

/// Line and column (from 1) at which the value at a path begins.
pub(super) fn place_of_value(text: &str, path: &Path) -> Option<(usize, usize)> {
    place(text, path, false)
}

/// Line and column (from 1) of the key that the path ends with.
pub(super) fn place_of_key(text: &str, path: &Path) -> Option<(usize, usize)> {
    place(text, path, true)
}

/// The byte at which the value at a path begins, its anchor and tag included.
pub(super) fn index_of_value(text: &str, path: &Path) -> Option<usize> {
    location(text, path, false).map(|l| l.index())
}

fn place(text: &str, path: &Path, stop_at_key: bool) -> Option<(usize, usize)> {
    location(text, path, stop_at_key).map(|l| (l.line(), l.column()))
}

fn location(text: &str, path: &Path, stop_at_key: bool) -> Option<serde_yaml::Location> {
    let walk = Walk {
        path: path.steps(),
        stop_at_key,
        leaf: Here,
    };
    let error = walk
        .deserialize(serde_yaml::Deserializer::from_str(text))
        .err()?;
    error.location()
}

/// Fails on whatever it meets: serde_yaml adds the place to the error.
struct Here;

impl<'de> DeserializeSeed<'de> for Here {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Visitor<'_> for Here {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nothing")
    }
}

struct Walk<'p, S> {
    path: &'p [Step],
    stop_at_key: bool,
    leaf: S,
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Walk<'_, S> {
    type Value = Option<S::Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        match self.path.first() {
            None => self.leaf.deserialize(deserializer).map(Some),
            Some(Step::Key(_)) => deserializer.deserialize_map(self),
            Some(Step::Index(_)) => deserializer.deserialize_seq(self),
        }
    }
}

impl<'de, S: DeserializeSeed<'de>> Visitor<'de> for Walk<'_, S> {
    type Value = Option<S::Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a mapping or a list")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let Some((Step::Key(wanted), rest)) = self.path.split_first() else {
            return Ok(None);
        };
        let stop = (self.stop_at_key && rest.is_empty()).then_some(wanted.as_str());
        let mut inner = Some(Walk {
            path: rest,
            stop_at_key: self.stop_at_key,
            leaf: self.leaf,
        });
        let mut found = None;
        while let Some(key) = map.next_key_seed(Key { stop })? {
            match inner.take_if(|_| key == *wanted) {
                Some(walk) => found = map.next_value_seed(walk)?,
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let Some((Step::Index(wanted), rest)) = self.path.split_first() else {
            return Ok(None);
        };
        for _ in 0..*wanted {
            if seq.next_element::<IgnoredAny>()?.is_none() {
                return Ok(None);
            }
        }
        let found = seq.next_element_seed(Walk {
            path: rest,
            stop_at_key: self.stop_at_key,
            leaf: self.leaf,
        })?;
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(found.flatten())
    }
}

/// Reads a key; fails, so that serde_yaml adds the place, on the one to stop at.
struct Key<'k> {
    stop: Option<&'k str>,
}

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: serde::de::Error>(self, key: &str) -> Result<String, E> {
        if self.stop == Some(key) {
            return Err(E::custom("here"));
        }
        Ok(key.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "a: 1\nb:\n  - c: x\n    d: 007\n  - c: y\n";

    #[test]
    fn values_and_places_are_found() {
        let d = Path::root().key("b").index(0).key("d");
        assert_eq!(
            value_at::<String>(TEXT, &d).unwrap().as_deref(),
            Some("007")
        );
        assert_eq!(place_of_value(TEXT, &d), Some((4, 8)));
        assert_eq!(place_of_key(TEXT, &d), Some((4, 5)));
        assert_eq!(index_of_value(TEXT, &d), TEXT.find("007"));
        let item = Path::root().key("b").index(1);
        assert_eq!(place_of_value(TEXT, &item), Some((5, 5)));
        assert_eq!(item.key("c").to_string(), "b[1].c");
    }

    #[test]
    fn bytes_are_counted_as_they_stand_in_the_text() {
        let path = Path::root().key("b");
        for text in ["é: ü\r\nb: &a ß\n", "é: \"\u{2028}\"\nb: &a ß"] {
            assert_eq!(index_of_value(text, &path), text.find('&'), "{text:?}");
        }
    }

    #[test]
    fn a_value_that_is_not_there_has_no_place() {
        let path = Path::root().key("b").index(2).key("c");
        assert_eq!(value_at::<String>(TEXT, &path).unwrap(), None);
        assert_eq!(place_of_value(TEXT, &path), None);
    }
}
