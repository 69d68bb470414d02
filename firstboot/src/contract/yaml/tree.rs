//! The tree that a document becomes.

use crate::contract::place::Place;
use std::ops::Deref;

/// A value and its place.
#[derive(Debug, Clone)]
pub struct Node {
    /// Where it begins.
    pub place: Place,
    /// What it is.
    pub kind: Kind,
    /// How many bytes of the text stand before it, its anchor and tag.
    pub offset: usize,
    /// Whether it has an anchor or a tag, or stands behind an alias: there is more to it than
    /// its own text.
    pub is_marked: bool,
}

/// The kinds of values.
#[derive(Debug, Clone)]
pub enum Kind {
    /// Text; `plain` when it stands without quotes and so may mean a number, `true` or nothing.
    Scalar {
        /// The text, quotes and escapes resolved.
        text: String,
        /// Whether it stands without quotes.
        plain: bool,
    },
    /// A list.
    List(Vec<Node>),
    /// Keys and values.
    Map(Map),
    /// Something that was already reported; readers pass over it in silence.
    Broken,
}

/// A key and its value.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Whether the key stands without quotes, and so may be a number to a YAML reader.
    pub plain: bool,
    /// Where the key is.
    pub place: Place,
    /// The value.
    pub value: Node,
}

/// The entries of a mapping in the order of the text, keys that are written twice included.
#[derive(Debug, Clone, Default)]
pub struct Map {
    entries: Vec<Entry>,
    /// Their indices in the order of the keys, and of the text where keys are the same.
    by_key: Vec<usize>,
}

impl Map {
    pub(super) fn new(entries: Vec<Entry>) -> Self {
        let mut by_key: Vec<usize> = (0..entries.len()).collect();
        by_key.sort_by(|a, b| entries[*a].key.cmp(&entries[*b].key));
        Map { entries, by_key }
    }

    /// The entry of a key, the first where there are several.
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        let at = self
            .by_key
            .partition_point(|index| self.entries[*index].key.as_str() < key);
        let entry = &self.entries[*self.by_key.get(at)?];
        (entry.key == key).then_some(entry)
    }

    /// Each entry whose key stands there before, with the one before it.
    pub fn repeated(&self) -> impl Iterator<Item = (&Entry, &Entry)> {
        let key = |index: usize| &self.entries[index].key;
        let pairs = self.by_key.windows(2);
        pairs
            .filter(move |pair| key(pair[0]) == key(pair[1]))
            .map(|pair| (&self.entries[pair[0]], &self.entries[pair[1]]))
    }
}

impl Deref for Map {
    type Target = [Entry];

    fn deref(&self) -> &[Entry] {
        &self.entries
    }
}

impl Node {
    /// Whether nothing was written: an empty value, `~` or `null`.
    pub fn is_null(&self) -> bool {
        matches!(&self.kind, Kind::Scalar { text, plain: true }
            if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }

    /// Itself and all nodes below it, with how deep they lie below it.
    pub fn all(&self) -> impl Iterator<Item = (&Node, usize)> {
        let mut rest = vec![(self, 0)];
        std::iter::from_fn(move || {
            let (node, depth) = rest.pop()?;
            match &node.kind {
                Kind::List(nodes) => rest.extend(nodes.iter().map(|node| (node, depth + 1))),
                Kind::Map(map) => rest.extend(map.iter().map(|e| (&e.value, depth + 1))),
                Kind::Scalar { .. } | Kind::Broken => {}
            }
            Some((node, depth))
        })
    }
}
