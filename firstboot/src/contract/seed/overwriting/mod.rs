//! How the cluster's password, or the ticket in its place, is overwritten inside a user-data text,
//! byte for byte.
//!
//! A seed disk is overwritten where it lies, so no byte may move, and the power may go at any
//! moment. So the work is cut into rounds, each on disk before the next begins: whichever
//! bytes of a round have been written, and whichever have not, the text is a valid seed. What
//! counts as one byte there is one character; the bytes of one that is not ASCII belong
//! together. They are torn only where they lie in two sectors, of which one got written: see [`mended`].
//!
//! | how it is written | rounds |
//! | --- | --- |
//! | plain, or a block (`\|`, `>`) | all but blanks; then line ends; then blanks |
//! | `"double"` | `\"` and `\\` become `\/`; then each backslash is overwritten, which ends its escape; then as above |
//! | `'single'` | all but `'`, as above; where there is a `''`, which no single byte can end, the opening quote makes it plain text, in which quotes mean nothing; then those |
//!
//! The forms are those of YAML, as [`yaml`] reads it. An anchor, an alias or a tag says that
//! there is more to it than one text, so they are refused.

#[cfg(test)]
mod tests;

use super::cloud_config;
use super::cluster::is_removed;
use super::document::{Notes, find};
use super::path::Path;
use super::user_data::UserData;
use crate::contract::values::Secret;
use crate::contract::yaml::{self, Dialect, Kind};
use std::borrow::Cow;
use std::ops::Range;

/// What stands in its place.
const REMOVED: u8 = b'x';
/// What stands for a byte of half a character: anything else.
const HALF: u8 = b'y';

/// Bytes by their place in the text, and what they become.
pub(crate) type Round = Vec<(usize, u8)>;

/// What there is to overwrite.
pub(crate) enum Plan {
    /// The text gives nothing that lets a node into a cluster.
    Nothing,
    /// It was overwritten before.
    Removed,
    /// This is to be done.
    Overwrite(Overwrite),
}

/// The rounds, in order, and what they lead to.
pub(crate) struct Overwrite {
    /// The rounds; none is empty.
    pub rounds: Vec<Round>,
    /// The text when all are done; as long as before.
    pub result: String,
    /// The secret as it is written in the text, and as it is read: what must be nowhere.
    pub traces: [Secret; 2],
}

/// Plans the overwriting of `proxmox.cluster.password` or `ticket`. The error says why it cannot be
/// done; it holds nothing of the secret.
pub(crate) fn plan(text: &str) -> Result<Plan, String> {
    let cluster = Path::root().key("proxmox").key("cluster");
    for key in ["password", "ticket"] {
        match plan_for(text, &cluster.key(key))? {
            // A valid seed has one of the two.
            Plan::Nothing => {}
            found => return Ok(found),
        }
    }
    Ok(Plan::Nothing)
}

fn plan_for(text: &str, path: &Path) -> Result<Plan, String> {
    let words = |reason: &str| format!("user-data: {path} cannot be overwritten: {reason}");
    let (tree, problems) = yaml::parse(text, Dialect::Full);
    if !problems.is_empty() {
        return Err(words("the document is not valid"));
    }
    let node = tree.as_ref().and_then(|tree| find(tree, path));
    let Some(node) = node.filter(|node| !node.is_null()) else {
        return Ok(Plan::Nothing);
    };
    let Kind::Scalar { text: value, .. } = &node.kind else {
        return Err(words("it is not one text"));
    };
    let value = Secret::new(value.as_str());
    if is_removed(&value) {
        return Ok(Plan::Removed);
    }
    let place = Some(node)
        .filter(|node| !node.is_marked)
        .and_then(|node| Scalar::find(text, node.offset, value.reveal()))
        .ok_or_else(|| {
            words("it has an anchor, an alias or a tag, or is written in another unusual way")
        })?;
    let mut result = text.as_bytes().to_vec();
    let before = read(text).ok_or_else(|| words("the document is not valid"))?;
    let rounds = place.rounds(text);
    for (number, round) in rounds.iter().enumerate() {
        for (at, byte) in round {
            result[*at] = *byte;
        }
        // Not to rely on the reasoning above alone: what is about to be written is read first.
        let now = std::str::from_utf8(&result).ok().and_then(read);
        let last = number + 1 == rounds.len();
        if now.is_none_or(|now| now.others != before.others || (last && !now.removed)) {
            return Err(words("the rest of the document would change"));
        }
    }
    Ok(Plan::Overwrite(Overwrite {
        rounds,
        result: String::from_utf8(result).map_err(|_| words("it is not UTF-8 text"))?,
        traces: [Secret::new(&text[place.content.clone()]), value],
    }))
}

/// The text as it is after the removal, so that both have one digest.
pub(crate) fn without_credential(text: &str) -> Cow<'_, str> {
    match plan(text) {
        Ok(Plan::Overwrite(work)) => Cow::Owned(work.result),
        _ => Cow::Borrowed(text),
    }
}

/// The text of a user-data document whose overwriting was torn inside a character, with [`HALF`] for each
/// byte of the half that is left, so that it is overwritten like any other. `None` where the bytes are
/// something else that is no text, such as a document in another encoding.
///
/// A disk writes whole sectors. So on one side of the tear all of the credential is written, and on the
/// other side nothing.
pub(crate) fn mended(bytes: &[u8]) -> Option<String> {
    let (mut text, mut torn) = (Vec::new(), Vec::new());
    for chunk in bytes.utf8_chunks() {
        text.extend(chunk.valid().bytes());
        torn.extend(text.len()..text.len() + chunk.invalid().len());
        text.resize(text.len() + chunk.invalid().len(), HALF);
    }
    let text = String::from_utf8(text).ok()?;
    let (first, last) = (*torn.first()?, *torn.last()?);
    let whole = credential(&text)?;
    let is_inside = whole.start <= first && last < whole.end;
    let is_written = |part: Range<usize>| {
        let stays = [REMOVED, b' ', b'\t', b'\r', b'\n', b'\''];
        let mut bytes = text.as_bytes()[part.clone()].iter();
        !part.is_empty() && bytes.all(|byte| stays.contains(byte))
    };
    let is_torn = is_inside
        && last - first < char::MAX.len_utf8()
        && (is_written(whole.start..first) || is_written(last + 1..whole.end));
    is_torn.then_some(text)
}

/// Where the password or ticket is in a text.
fn credential(text: &str) -> Option<Range<usize>> {
    let (tree, problems) = yaml::parse(text, Dialect::Full);
    let tree = tree.filter(|_| problems.is_empty())?;
    let cluster = Path::root().key("proxmox").key("cluster");
    ["password", "ticket"].iter().find_map(|key| {
        let node = find(&tree, &cluster.key(key))?;
        let Kind::Scalar { text: value, .. } = &node.kind else {
            return None;
        };
        Some(Scalar::find(text, node.offset, value)?.content)
    })
}

/// A user-data document apart from what is removed.
struct Reading {
    others: UserData,
    removed: bool,
}

fn read(text: &str) -> Option<Reading> {
    let mut notes = Notes::default();
    let mut others = cloud_config::read(text, &mut notes);
    let cluster = others.proxmox.as_mut().and_then(|p| p.cluster.as_mut());
    let removed = match cluster {
        Some(cluster) => {
            let removed = cluster.credential.is_removed();
            cluster.credential = cluster.credential.removed();
            removed
        }
        None => false,
    };
    notes
        .problems
        .is_empty()
        .then_some(Reading { others, removed })
}

#[derive(Clone, Copy, PartialEq)]
enum Style {
    /// Without delimiters: plain text and blocks.
    Bare,
    Single,
    Double,
}

/// Where a scalar stands in the text.
struct Scalar {
    style: Style,
    /// Without quotes, a block's header and its indentation.
    content: Range<usize>,
}

impl Scalar {
    /// Finds the scalar with this value that begins at `start`.
    fn find(text: &str, start: usize, value: &str) -> Option<Self> {
        let rest = text.get(start..)?;
        let (style, content) = match *rest.as_bytes().first()? {
            b'\'' => (Style::Single, single(text, start + 1)?),
            b'"' => (Style::Double, double(text, start + 1)?),
            b'|' | b'>' => {
                let header = rest.find(['\n', '\r'])?;
                (Style::Bare, bare(text, start + header, value)?)
            }
            _ => (Style::Bare, bare(text, start, value)?),
        };
        Some(Scalar { style, content })
    }

    fn rounds(&self, text: &str) -> Vec<Round> {
        let bytes = text.as_bytes();
        let at = |wanted: &dyn Fn(usize, u8) -> bool| -> Vec<usize> {
            let all = self.content.clone();
            all.filter(|&i| wanted(i, bytes[i])).collect()
        };
        let is_break = |b: u8| b == b'\n' || b == b'\r';
        let is_blank = |b: u8| b == b' ' || b == b'\t';
        let escapes = match self.style {
            Style::Double => escapes(bytes, self.content.clone()),
            _ => Vec::new(),
        };
        let quotes = at(&|_, b| self.style == Style::Single && b == b'\'');
        let awkward: Vec<usize> = escapes
            .iter()
            .map(|i| i + 1)
            .filter(|&i| matches!(bytes[i], b'"' | b'\\'))
            .collect();
        let first_of_two = |i: usize| bytes[i] == b'\r' && bytes.get(i + 1) == Some(&b'\n');
        let others = |i: usize, b: u8| {
            !is_break(b) && !is_blank(b) && !escapes.contains(&i) && !quotes.contains(&i)
        };
        let mut rounds: Vec<Vec<(usize, u8)>> =
            vec![awkward.into_iter().map(|i| (i, b'/')).collect()];
        let mut round = |places: Vec<usize>| {
            rounds.push(places.into_iter().map(|i| (i, REMOVED)).collect());
        };
        round(escapes.clone());
        round(at(&|i, b| others(i, b)));
        // The second of two alone would end the line as well, with nothing to indent the next.
        round(at(&|i, _| first_of_two(i)));
        round(at(&|i, b| is_break(b) && !first_of_two(i)));
        round(at(&|_, b| is_blank(b)));
        if !quotes.is_empty() {
            round(vec![self.content.start - 1]);
            round(quotes.into_iter().chain([self.content.end]).collect());
        }
        for round in &mut rounds {
            round.retain(|&(i, new)| bytes[i] != new);
        }
        rounds.retain(|round| !round.is_empty());
        rounds
    }
}

/// The content of a text in single quotes, in which only `''` means something else.
fn single(text: &str, start: usize) -> Option<Range<usize>> {
    let bytes = text.as_bytes();
    let mut at = start;
    loop {
        at += bytes.get(at..)?.iter().position(|&b| b == b'\'')?;
        if bytes.get(at + 1) != Some(&b'\'') {
            return Some(start..at);
        }
        at += 2;
    }
}

/// The content of a text in double quotes.
fn double(text: &str, start: usize) -> Option<Range<usize>> {
    let bytes = text.as_bytes();
    let mut at = start;
    loop {
        match bytes.get(at)? {
            b'"' => return Some(start..at),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// The backslashes that begin an escape.
fn escapes(bytes: &[u8], content: Range<usize>) -> Vec<usize> {
    let mut found = Vec::new();
    let mut at = content.start;
    while at < content.end {
        if bytes[at] == b'\\' {
            found.push(at);
            at += 1;
        }
        at += 1;
    }
    found
}

/// The content of a text without delimiters: the words of its value, and between them what
/// YAML takes for a blank, which may be the end of a line with the next one's indentation.
fn bare(text: &str, start: usize, value: &str) -> Option<Range<usize>> {
    let blank = [' ', '\t', '\r', '\n'];
    let skip =
        |at: usize| Some(at + text.get(at..)?.len() - text[at..].trim_start_matches(blank).len());
    let words: Vec<&str> = value.split(blank).filter(|word| !word.is_empty()).collect();
    let first = skip(start)?;
    let mut at = first;
    for (number, word) in words.iter().enumerate() {
        if number > 0 {
            let next = skip(at)?;
            if next == at {
                return None;
            }
            at = next;
        }
        at += text[at..].starts_with(word).then_some(word.len())?;
    }
    // Only a block may begin or end with blanks, and then they are in the text as they are.
    let before = value.len() - value.trim_start_matches(blank).len();
    let after = value.len() - value.trim_end_matches(blank).len();
    let content = first.checked_sub(before)?..at + after;
    let same = |range: Range<usize>| text.get(range).is_some_and(|t| t.chars().all(|c| c == ' '));
    (!words.is_empty() && same(content.start..first) && same(at..content.end)).then_some(content)
}
