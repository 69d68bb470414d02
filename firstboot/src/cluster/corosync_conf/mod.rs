//! A node's votes in the text of `corosync.conf`, nothing else touched.
//!
//! Format: corosync.conf(5). Sections are `NAME {` … `}`, settings `KEY: VALUE`, one a line;
//! a line that begins with `#` is a comment. Proxmox's own reader also ends a value at `#`,
//! which corosync does not; such a tail is kept. The file's order, comments and unknown
//! settings stay, because they are somebody else's.

pub(crate) mod store;

use std::ops::Range;

/// What a node counts when its entry says nothing (corosync.conf(5), `quorum_votes`).
/// `pvecm add --votes 0` writes such an entry.
const STANDARD_VOTES: u32 = 1;

/// Why a text cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Problem {
    /// It is no `corosync.conf`; the line counts from one.
    #[error("line {0} is neither a section nor a setting: {1:?}")]
    Line(usize, String),
    /// A value is no number; the line counts from one.
    #[error("line {0}: {1} is no whole number")]
    Number(usize, String),
    /// A section is not closed, or closed twice.
    #[error("its braces do not match")]
    Braces,
    /// The version is missing, there twice, or the highest there is.
    #[error("it has no usable config_version in its section totem")]
    Version,
    /// No entry has this name.
    #[error("{0} is not in its nodelist")]
    NoNode(String),
    /// Two entries have this name.
    #[error("{0} is in its nodelist twice")]
    Twice(String),
    /// With this change nobody would have a vote.
    #[error("no node of the cluster would have a vote")]
    NoVotes,
}

/// What is read out of a `corosync.conf`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Conf {
    /// `config_version`; raised by one with each change.
    pub version: u64,
    /// The nodes, in the file's order.
    pub nodes: Vec<Node>,
}

/// One entry of the nodelist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    /// `name`; as Proxmox does, `ring0_addr` where there is none.
    pub name: String,
    /// `ring0_addr`; empty where there is none.
    pub address: String,
    /// Its addresses on all links (`ring0_addr`, `ring1_addr` …), in the file's order.
    pub links: Vec<String>,
    /// `quorum_votes`, or what counts without it.
    pub votes: u32,
}

impl Conf {
    /// The entry of a node, or `None` when it is not in the list.
    pub(crate) fn node(&self, name: &str) -> Option<&Node> {
        self.nodes.iter().find(|node| node.name == name)
    }

    /// The votes of a node, or `None` when it is not in the list.
    pub(crate) fn votes(&self, name: &str) -> Option<u32> {
        Some(self.node(name)?.votes)
    }
}

pub(crate) fn parse(text: &str) -> Result<Conf, Problem> {
    let layout = Layout::of(text)?;
    let node = |entry: &Entry| Node {
        name: entry.name().to_owned(),
        address: entry.address.clone().unwrap_or_default(),
        links: entry.links.clone(),
        votes: entry.counted(),
    };
    Ok(Conf {
        version: layout.version.value,
        nodes: layout.nodes.iter().map(node).collect(),
    })
}

/// The text with these votes for these nodes and the version raised by one, or `None` when they have
/// them.
pub(crate) fn with_votes(text: &str, wanted: &[(&str, u32)]) -> Result<Option<String>, Problem> {
    let layout = Layout::of(text)?;
    let mut edits = Vec::new();
    for (name, votes) in wanted {
        let mut found = layout.nodes.iter().filter(|entry| entry.name() == *name);
        let entry = found
            .next()
            .ok_or_else(|| Problem::NoNode((*name).to_owned()))?;
        if found.next().is_some() {
            return Err(Problem::Twice((*name).to_owned()));
        }
        if entry.counted() == *votes {
            continue;
        }
        edits.push(match &entry.votes {
            Some(at) => (at.place.clone(), votes.to_string()),
            None => {
                let line = format!("{}quorum_votes: {votes}\n", entry.indent);
                (entry.end..entry.end, line)
            }
        });
    }
    if edits.is_empty() {
        return Ok(None);
    }
    let votes = |entry: &Entry| {
        let new = wanted.iter().find(|(name, _)| *name == entry.name());
        new.map_or_else(|| entry.counted(), |(_, votes)| *votes)
    };
    if layout.nodes.iter().all(|entry| votes(entry) == 0) {
        return Err(Problem::NoVotes);
    }
    let version = layout.version.value.checked_add(1);
    let version = version.ok_or(Problem::Version)?.to_string();
    edits.push((layout.version.place.clone(), version));
    // From the end, so that the places before stay what they are.
    edits.sort_by_key(|(place, _)| std::cmp::Reverse(place.start));
    let mut text = text.to_owned();
    for (place, value) in edits {
        text.replace_range(place, &value);
    }
    Ok(Some(text))
}

/// A number and where its digits stand in the text, in bytes.
struct Number<T> {
    value: T,
    place: Range<usize>,
}

/// An entry of the nodelist and where it stands.
#[derive(Default)]
struct Entry {
    name: Option<String>,
    address: Option<String>,
    links: Vec<String>,
    votes: Option<Number<u32>>,
    /// How its settings are indented.
    indent: String,
    /// Where the line with its closing brace begins.
    end: usize,
}

impl Entry {
    fn name(&self) -> &str {
        let name = self.name.as_deref().or(self.address.as_deref());
        name.unwrap_or_default()
    }

    fn counted(&self) -> u32 {
        self.votes.as_ref().map_or(STANDARD_VOTES, |v| v.value)
    }
}

struct Layout {
    version: Number<u64>,
    nodes: Vec<Entry>,
}

impl Layout {
    fn of(text: &str) -> Result<Self, Problem> {
        let mut sections: Vec<&str> = Vec::new();
        let mut versions = Vec::new();
        let mut nodes: Vec<Entry> = Vec::new();
        let mut start = 0;
        for (index, whole) in text.split_inclusive('\n').enumerate() {
            let (begin, line) = (start, whole.trim());
            start += whole.len();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if let Some(section) = line.strip_suffix('{') {
                sections.push(section.trim());
                if sections == ["nodelist", "node"] {
                    nodes.push(Entry::default());
                }
                continue;
            }
            if line == "}" {
                if sections == ["nodelist", "node"] {
                    if let Some(entry) = nodes.last_mut() {
                        entry.end = begin;
                    }
                }
                sections.pop().ok_or(Problem::Braces)?;
                continue;
            }
            let setting = Setting::of(whole, begin);
            let setting = setting.ok_or_else(|| Problem::Line(index + 1, line.to_owned()))?;
            match (sections.as_slice(), setting.key) {
                (["totem"], "config_version") => versions.push(setting.number(index)?),
                (["nodelist", "node"], key) => {
                    let Some(entry) = nodes.last_mut() else {
                        continue;
                    };
                    if key.starts_with("ring") && key.ends_with("_addr") {
                        entry.links.push(setting.value.to_owned());
                    }
                    entry.indent = whole[..whole.len() - whole.trim_start().len()].to_owned();
                    match key {
                        "name" => entry.name = Some(setting.value.to_owned()),
                        "ring0_addr" => entry.address = Some(setting.value.to_owned()),
                        "quorum_votes" => entry.votes = Some(setting.number(index)?),
                        _ => {}
                    }
                }
                _ => {}
            }
        }
        if !sections.is_empty() {
            return Err(Problem::Braces);
        }
        match (versions.pop(), versions.is_empty()) {
            (Some(version), true) => Ok(Layout { version, nodes }),
            _ => Err(Problem::Version),
        }
    }
}

/// `KEY: VALUE`.
struct Setting<'a> {
    key: &'a str,
    value: &'a str,
    place: Range<usize>,
}

impl<'a> Setting<'a> {
    /// Reads a line that begins at this byte of the text.
    fn of(line: &'a str, begin: usize) -> Option<Self> {
        let (key, rest) = line.split_once(':')?;
        let value = rest.split('#').next().unwrap_or_default();
        let from = begin + key.len() + 1 + (value.len() - value.trim_start().len());
        let value = value.trim();
        Some(Setting {
            key: key.trim(),
            value,
            place: from..from + value.len(),
        })
    }

    fn number<T: std::str::FromStr>(&self, index: usize) -> Result<Number<T>, Problem> {
        let wrong = |_| Problem::Number(index + 1, self.key.to_owned());
        Ok(Number {
            value: self.value.parse().map_err(wrong)?,
            place: self.place.clone(),
        })
    }
}

#[cfg(test)]
mod tests;
