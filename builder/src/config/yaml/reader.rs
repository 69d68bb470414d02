//! Walking a tree: each step returns what it found or notes a problem.

use super::display::display_safe;
use super::problem::Problems;
use anyhow::{Context, Result};
use firstboot::contract::place::{Place, Problem, Spanned};
use firstboot::contract::yaml::{self, Dialect, Entry, Kind, Map, Node};

/// The keys of a map with what would be right for each.
pub type Keys = &'static [(&'static str, &'static str)];

/// The keys of a map that has some in common with another; `N` is how many both are.
pub const fn joined<const N: usize>(own: Keys, common: Keys) -> [(&'static str, &'static str); N] {
    assert!(N == own.len() + common.len());
    let mut keys = [("", ""); N];
    let mut at = 0;
    while at < N {
        keys[at] = match at < own.len() {
            true => own[at],
            false => common[at - own.len()],
        };
        at += 1;
    }
    keys
}

/// Reads one file and collects its problems.
#[derive(Debug)]
pub struct Reader {
    file: String,
    text: String,
    problems: Vec<Problem>,
    /// Problems of files that this one names: the file, its lines as far as they may be shown,
    /// and the problem.
    elsewhere: Vec<(String, Vec<String>, Problem)>,
}

/// The entries of a map whose keys were checked.
#[derive(Debug)]
pub struct Fields<'a> {
    /// Where the map begins.
    pub place: Place,
    keys: Keys,
    entries: Vec<&'a Entry>,
    /// Keys that were meant by unknown ones; to call them missing too would say it twice.
    meant: Vec<&'static str>,
    /// Whether it was a map at all; if not, no key of it is missing.
    usable: bool,
}

impl<'a> Fields<'a> {
    /// The value of a key.
    pub fn get(&self, name: &str) -> Option<&'a Node> {
        let entry = self.entries.iter().find(|e| e.key == name)?;
        (!entry.value.is_null()).then_some(&entry.value)
    }

    /// Whether the key is written, with a value or without.
    pub fn has(&self, name: &str) -> bool {
        self.entries.iter().any(|e| e.key == name)
    }

    /// Whether no problem about this key's absence is due: it is written, or meant by an
    /// unknown key, or there is no map.
    pub fn accounted(&self, name: &str) -> bool {
        !self.usable || self.has(name) || self.meant.contains(&name)
    }

    /// What would be hint for a key.
    pub fn hint(&self, name: &str) -> &'static str {
        let known = self.keys.iter().find(|(key, _)| *key == name);
        known.map_or("", |(_, hint)| hint)
    }
}

impl Reader {
    /// Reads the document that `bytes` are; `file` is its name as the user knows it, `least` what
    /// must be in it. `read` gives `None` only where it noted a problem.
    pub fn document<T>(
        file: &str,
        bytes: &[u8],
        least: &str,
        read: impl FnOnce(&mut Reader, &Node) -> Option<T>,
    ) -> Result<T> {
        let mut r = Reader {
            file: file.to_owned(),
            text: String::from_utf8_lossy(bytes).into_owned(),
            problems: Vec::new(),
            elsewhere: Vec::new(),
        };
        let mut root = None;
        match std::str::from_utf8(bytes) {
            Ok(text) => (root, r.problems) = yaml::parse(text, Dialect::Plain),
            Err(error) => {
                let good = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
                let line_start = good.rfind('\n').map_or(0, |at| at + 1);
                let place = Place {
                    line: good.matches('\n').count() + 1,
                    column: good[line_start..].chars().count() + 1,
                    width: 1,
                };
                r.problem(place, "this is not UTF-8 text", "a text file in UTF-8");
            }
        }
        let value = root.as_ref().and_then(|node| read(&mut r, node));
        if root.is_none() && r.problems.is_empty() {
            r.problem(Place::START, "this file is empty", least);
        }
        r.finish(value)?
            .with_context(|| format!("cannot read {file}: it has no content"))
    }

    /// Notes a problem.
    pub fn problem(&mut self, place: Place, message: impl Into<String>, hint: impl Into<String>) {
        self.problems.push(Problem {
            place,
            message: message.into(),
            hint: hint.into(),
        });
    }

    /// Notes a problem of another file, of which `lines` may be shown.
    pub fn problem_elsewhere(&mut self, file: &str, lines: Vec<String>, problem: Problem) {
        self.elsewhere.push((file.to_owned(), lines, problem));
    }

    /// `value` where nothing was wrong, else all problems.
    fn finish<T>(self, value: T) -> Result<T, Problems> {
        if self.problems.is_empty() && self.elsewhere.is_empty() {
            return Ok(value);
        }
        let mut problems = Problems::new(&self.file, &self.text, self.problems);
        for (file, lines, problem) in self.elsewhere {
            problems.add(&file, lines, problem);
        }
        Err(problems)
    }

    /// The entries of the map `what`; unknown, doubled and empty keys are noted. `hint` is
    /// what would be right where it is no map.
    pub fn fields<'a>(&mut self, node: &'a Node, what: &str, hint: &str, keys: Keys) -> Fields<'a> {
        let mut fields = Fields {
            place: node.place,
            keys,
            entries: Vec::new(),
            meant: Vec::new(),
            usable: false,
        };
        let Some(entries) = self.map(node, what, hint) else {
            return fields;
        };
        fields.usable = true;
        for entry in entries.iter() {
            let Some((_, hint)) = keys.iter().find(|(name, _)| *name == entry.key) else {
                fields.meant.extend(self.unknown_key(entry, keys));
                continue;
            };
            if self.is_first(entry, entries) {
                if entry.value.is_null() {
                    let message = format!("`{}` has no value", entry.key);
                    self.problem(entry.place, message, format!("{hint}; or no such line"));
                }
                fields.entries.push(entry);
            }
        }
        fields
    }

    /// The entries of the map `what`, whose keys are names of the user's own; doubled ones are
    /// noted. `hint` is what would be right where it is no map, or has nothing in it.
    pub fn entries<'a>(&mut self, node: &'a Node, what: &str, hint: &str) -> Vec<&'a Entry> {
        let mut found = Vec::new();
        let Some(entries) = self.map(node, what, hint) else {
            return found;
        };
        for entry in entries.iter() {
            if self.is_first(entry, entries) {
                found.push(entry);
            }
        }
        if found.is_empty() {
            self.problem(node.place, format!("{what} has nothing in it"), hint);
        }
        found
    }

    fn map<'a>(&mut self, node: &'a Node, what: &str, hint: &str) -> Option<&'a Map> {
        match &node.kind {
            Kind::Map(entries) => return Some(entries),
            Kind::Broken => {}
            _ => {
                let message = format!("{what} is {}, not a map of keys", kind_of(node));
                self.problem(node.place, message, hint);
            }
        }
        None
    }

    /// Whether a key of a map is none of those before it; else that is noted.
    fn is_first(&mut self, entry: &Entry, map: &Map) -> bool {
        let first = map.entry(&entry.key).unwrap_or(entry);
        if std::ptr::eq(first, entry) {
            return true;
        }
        let (key, line) = (display_safe(&entry.key), first.place.line);
        let message = format!("the key `{key}` is written twice; first in line {line}");
        self.problem(entry.place, message, "each key once");
        false
    }

    /// Notes a key that is not known; returns the one that was meant.
    fn unknown_key(&mut self, entry: &Entry, keys: Keys) -> Option<&'static str> {
        let shown = display_safe(&entry.key);
        let lower = entry.key.to_lowercase();
        if lower.contains("password") {
            let file_key = keys
                .iter()
                .find(|(name, _)| *name == format!("{lower}_file"));
            let hint = match file_key {
                Some((_, hint)) => format!("{hint}, and the password in that file"),
                None => "no password in this file; lab.yaml names files that hold them, by keys \
                         that end with password_file"
                    .to_owned(),
            };
            let message = format!("unknown key `{shown}`; a password is never written here");
            self.problem(entry.place, message, hint);
            return file_key.map(|(name, _)| *name);
        }
        // The distance is the difference in length at least, and takes memory for both lengths' product.
        let longest = keys.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        let is_short = lower.chars().count() <= longest + 1 + longest / 4;
        let near = keys
            .iter()
            .filter(|_| is_short)
            .map(|key| (strsim::damerau_levenshtein(&lower, key.0), key))
            .min_by_key(|(distance, _)| *distance)
            .filter(|(distance, (name, _))| *distance <= 1 + name.len() / 4);
        if let Some((_, (name, hint))) = near {
            let message = format!("unknown key `{shown}`; did you mean `{name}`?");
            self.problem(entry.place, message, *hint);
            return Some(name);
        }
        let names: Vec<&str> = keys.iter().map(|(name, _)| *name).collect();
        let hint = format!("one of: {}", names.join(", "));
        self.problem(entry.place, format!("unknown key `{shown}`"), hint);
        None
    }

    /// Notes a key that must be there and is not.
    pub fn require(&mut self, fields: &Fields<'_>, name: &str) {
        if !fields.accounted(name) {
            let message = format!("the key `{name}` is missing");
            self.problem(fields.place, message, fields.hint(name));
        }
    }

    /// The text of a scalar that is no number, no `true` and not empty.
    pub fn text<'a>(&mut self, node: &'a Node, hint: &str) -> Option<&'a str> {
        match &node.kind {
            Kind::Scalar { plain: true, text } if means_other_than_text(text) => {
                let (shown, kind) = (display_safe(text), kind_of(node));
                let message = format!("`{shown}` is {kind}, not text (quotes make it text)");
                self.problem(node.place, message, hint);
                None
            }
            _ => self.scalar(node, hint),
        }
    }

    /// The text of any scalar that is not empty; for numbers and sizes.
    pub fn scalar<'a>(&mut self, node: &'a Node, hint: &str) -> Option<&'a str> {
        match &node.kind {
            Kind::Broken => None,
            Kind::Scalar { text, .. } if !text.is_empty() && !node.is_null() => Some(text),
            _ => {
                let wanted = match node.kind {
                    Kind::Scalar { .. } => "",
                    _ => ", not a single value",
                };
                let message = format!("this is {}{wanted}", kind_of(node));
                self.problem(node.place, message, hint);
                None
            }
        }
    }

    /// The items of a list.
    pub fn list<'a>(&mut self, node: &'a Node, hint: &str) -> &'a [Node] {
        match &node.kind {
            Kind::List(nodes) => nodes,
            Kind::Broken => &[],
            _ => {
                let message = format!("this is {}, not a list", kind_of(node));
                self.problem(node.place, message, hint);
                &[]
            }
        }
    }

    /// Text in a certain form; `form` says what is wrong with it.
    pub fn formed<T>(
        &mut self,
        node: &Node,
        hint: &str,
        form: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<Spanned<T>> {
        let text = self.text(node, hint)?;
        self.accepted(node.place, hint, form(text))
    }

    /// A number or size in a certain form.
    pub fn formed_scalar<T>(
        &mut self,
        node: &Node,
        hint: &str,
        form: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<Spanned<T>> {
        let text = self.scalar(node, hint)?;
        self.accepted(node.place, hint, form(text))
    }

    fn accepted<T>(
        &mut self,
        place: Place,
        hint: &str,
        result: Result<T, String>,
    ) -> Option<Spanned<T>> {
        match result {
            Ok(value) => Some(Spanned { place, value }),
            Err(message) => {
                self.problem(place, message, hint);
                None
            }
        }
    }

    /// The value of a key in a certain form, if the key is there.
    pub fn field<T>(
        &mut self,
        fields: &Fields<'_>,
        name: &str,
        form: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<Spanned<T>> {
        self.formed(fields.get(name)?, fields.hint(name), form)
    }

    /// As [`Reader::field`], for numbers and sizes.
    pub fn field_scalar<T>(
        &mut self,
        fields: &Fields<'_>,
        name: &str,
        form: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<Spanned<T>> {
        self.formed_scalar(fields.get(name)?, fields.hint(name), form)
    }

    /// The items of a list below a key, each in a certain form and none twice.
    pub fn field_list<T: PartialEq>(
        &mut self,
        fields: &Fields<'_>,
        name: &str,
        form: impl Fn(&str) -> Result<T, String>,
    ) -> Vec<Spanned<T>> {
        let Some(node) = fields.get(name) else {
            return Vec::new();
        };
        let hint = fields.hint(name);
        let nodes = self.list(node, hint);
        let item = |r: &mut Self, node: &Node| r.formed(node, hint, &form);
        self.each_once(nodes, item, PartialEq::eq, listed_twice)
    }

    /// What `item` reads from each of these nodes; one that is the `same` as an earlier one is a
    /// problem, which `words` tells: what is there, such as `the peer x is listed`, and what would
    /// be right.
    pub fn each_once<T>(
        &mut self,
        nodes: &[Node],
        item: impl Fn(&mut Self, &Node) -> Option<Spanned<T>>,
        same: impl Fn(&T, &T) -> bool,
        words: impl Fn(&T) -> (String, &'static str),
    ) -> Vec<Spanned<T>> {
        let mut items: Vec<Spanned<T>> = Vec::new();
        for node in nodes {
            let Some(item) = item(self, node) else {
                continue;
            };
            match items.iter().find(|other| same(&other.value, &item.value)) {
                Some(first) => {
                    let (what, hint) = words(&item.value);
                    let message = format!("{what} twice; first in line {}", first.place.line);
                    self.problem(item.place, message, hint);
                }
                None => items.push(item),
            }
        }
        items
    }
}

/// The words for an item that needs none of its own.
pub fn listed_twice<T>(_: &T) -> (String, &'static str) {
    ("this is in the list".to_owned(), "each item once")
}

/// What YAML takes a plain scalar for, when it is not text.
fn means_other_than_text(text: &str) -> bool {
    let number = text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c))
        && text.parse::<f64>().is_ok();
    number || matches!(text, "true" | "True" | "TRUE" | "false" | "False" | "FALSE")
}

fn kind_of(node: &Node) -> &'static str {
    match &node.kind {
        Kind::List(_) => "a list",
        Kind::Map(_) => "a map",
        Kind::Broken => "unreadable",
        Kind::Scalar { .. } if node.is_null() => "empty",
        Kind::Scalar { text, .. } if text.is_empty() => "empty",
        Kind::Scalar { text, plain: true } if text.eq_ignore_ascii_case("true") => "a yes/no value",
        Kind::Scalar { text, plain: true } if text.eq_ignore_ascii_case("false") => {
            "a yes/no value"
        }
        Kind::Scalar { text, plain: true } if means_other_than_text(text) => "a number",
        Kind::Scalar { .. } => "text",
    }
}
