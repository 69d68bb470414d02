//! From the parser's events to a tree with places, within limits.

use super::tree::{Entry, Kind, Map, Node};
use crate::contract::place::{Place, Problem};
use saphyr_parser::{Event, Parser, ScalarStyle, Span};
use std::collections::HashMap;

/// The longest text that is read, in bytes. A document of a seed disk is cut at 1 MiB before.
pub const MAX_BYTES: usize = 4 << 20;
/// How many lists and maps may be inside each other. What is read here has eight at most; more is
/// a mistake, or an attack on the stack.
pub const MAX_DEPTH: usize = 32;
/// How many keys and values a document of a person's may have. A lab of a thousand machines has a tenth
/// of it. The texts of all of them together are no longer than [`MAX_BYTES`].
pub const MAX_NODES: usize = 250_000;
/// The same for a document of a seed, which has a hundred; ten thousand keys for ssh still fit. Those with
/// an anchor count twice, and once more at each alias. What is done with them may take the square of
/// their number, and still ends within a second and 64 MiB.
pub const MAX_SEED_NODES: usize = 20_000;

/// What a document may be made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// Values as they are: what a person writes for this project. Tags and aliases are problems.
    Plain,
    /// All of YAML, for documents that other programs write: an alias is its value, and a tag says
    /// nothing, because who reads a value knows its type.
    Full,
}

impl Dialect {
    fn most_nodes(self) -> usize {
        match self {
            Dialect::Plain => MAX_NODES,
            Dialect::Full => MAX_SEED_NODES,
        }
    }
}

/// Reads one document. Without a tree (an empty text, a syntax error, a limit) the first part is
/// `None`. No problem holds any of the text but keys.
pub fn parse(text: &str, dialect: Dialect) -> (Option<Node>, Vec<Problem>) {
    let whole = text;
    let text = whole.trim_start_matches('\u{feff}');
    let mut tree = Tree {
        dialect,
        text,
        at: (0, 0),
        skipped: whole.len() - text.len(),
        lines: text.lines().collect(),
        root: None,
        documents: 0,
        open: Vec::new(),
        anchors: HashMap::new(),
        nodes: 0,
        bytes: 0,
        problems: Vec::new(),
    };
    if text.len() > MAX_BYTES {
        tree.too_much(Place::START);
        return (None, tree.problems);
    }
    let mut parser = Parser::new_from_str(text);
    while let Some(event) = parser.next_event() {
        match event {
            Ok((event, span)) => {
                if tree.take(event, span).is_none() {
                    return (None, tree.problems);
                }
            }
            Err(error) => {
                let mark = error.marker();
                let place = Place::of(mark.line().max(1), mark.col() + 1, 1);
                tree.syntax(place, error.info());
                return (None, tree.problems);
            }
        }
    }
    (tree.root, tree.problems)
}

/// The parser stumbles at or just after a tab, and its words for that help nobody.
fn tab_in_indentation(lines: &[&str], line: usize) -> Option<Place> {
    [line, line.saturating_sub(1)].into_iter().find_map(|line| {
        let text = lines.get(line.checked_sub(1)?)?;
        let at = text.chars().position(|c| c == '\t')?;
        let indentation = text.chars().take(at).all(|c| c == ' ' || c == '-');
        indentation.then_some(Place::of(line, at + 1, 1))
    })
}

struct Tree<'a> {
    dialect: Dialect,
    text: &'a str,
    /// A place in the text, in characters and in bytes: the parser counts characters.
    at: (usize, usize),
    /// So many bytes of the document stand before the text.
    skipped: usize,
    lines: Vec<&'a str>,
    root: Option<Node>,
    documents: usize,
    open: Vec<Open>,
    /// What has an anchor, by the parser's number for it, once it is complete.
    anchors: HashMap<usize, Node>,
    /// So many nodes and bytes of text the tree has.
    nodes: usize,
    bytes: usize,
    problems: Vec<Problem>,
}

/// A list or map whose end was not seen yet.
struct Open {
    place: Place,
    offset: usize,
    /// 0 where there is none.
    anchor: usize,
    is_marked: bool,
    items: Items,
}

enum Items {
    List(Vec<Node>),
    /// With the key whose value comes next.
    Map(Vec<Entry>, Option<Node>),
}

impl Tree<'_> {
    /// Takes one event; `None` when reading on makes no sense.
    fn take(&mut self, event: Event<'_>, span: Span) -> Option<()> {
        let mut place = place_of(span);
        let mut offset = self.byte_of(span.start.index());
        if let Event::Scalar(_, ScalarStyle::Literal | ScalarStyle::Folded, ..) = event {
            (place, offset) = self.header_of_block(place, offset);
        }
        let start = offset;
        let offset = offset + self.skipped;
        let (anchor, tag) = match &event {
            Event::Scalar(_, _, anchor, tag)
            | Event::SequenceStart(anchor, tag)
            | Event::MappingStart(anchor, tag) => (*anchor, tag.is_some()),
            _ => (0, false),
        };
        let is_marked = tag || anchor > 0;
        if tag && self.dialect == Dialect::Plain {
            self.problem(place, "a YAML tag (`!…`)", "the plain value, without a tag");
        }
        let open = |items| Open {
            place,
            offset,
            anchor,
            is_marked,
            items,
        };
        match event {
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents == 2 {
                    self.problem(
                        place,
                        "a second YAML document begins here",
                        "one document in one file; remove the `---`",
                    );
                    return None;
                }
            }
            Event::Alias(anchor) => {
                let node = self.behind_alias(anchor, place)?;
                self.add(node, 0)?;
            }
            Event::Scalar(text, style, _, _) => {
                self.count(1, text.len(), place)?;
                let node = Node {
                    place: self.without_comment(place, start, style),
                    kind: Kind::Scalar {
                        text: text.into_owned(),
                        plain: style == ScalarStyle::Plain,
                    },
                    offset,
                    is_marked,
                };
                self.add(node, anchor)?;
            }
            Event::SequenceStart(..) => self.open.push(open(Items::List(Vec::new()))),
            Event::MappingStart(..) => self.open.push(open(Items::Map(Vec::new(), None))),
            Event::SequenceEnd | Event::MappingEnd => {
                let Open {
                    place,
                    offset,
                    anchor,
                    is_marked,
                    items,
                } = self.open.pop()?;
                let node = Node {
                    place,
                    kind: match items {
                        Items::List(nodes) => Kind::List(nodes),
                        Items::Map(entries, _) => Kind::Map(Map::new(entries)),
                    },
                    offset,
                    is_marked,
                };
                self.count(1, 0, place)?;
                self.add(node, anchor)?;
            }
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
        }
        (self.open.len() <= MAX_DEPTH || self.too_deep(place)).then_some(())
    }

    /// What an alias stands for; its nodes count as if they were written there.
    fn behind_alias(&mut self, anchor: usize, place: Place) -> Option<Node> {
        if self.dialect == Dialect::Plain {
            self.problem(
                place,
                "a YAML alias (`*…`) is not read here",
                "the value itself",
            );
            return Some(Node {
                place,
                kind: Kind::Broken,
                offset: 0,
                is_marked: true,
            });
        }
        let Some(node) = self.anchors.get(&anchor) else {
            self.problem(
                place,
                "a YAML alias (`*…`) inside of what it stands for",
                "the value itself",
            );
            return None;
        };
        let (node, mut depth) = (node.clone(), 0);
        for (below, deep) in node.all() {
            self.count_copy(below, place)?;
            if matches!(below.kind, Kind::List(_) | Kind::Map(_)) {
                depth = depth.max(deep + 1);
            }
        }
        (self.open.len() + depth <= MAX_DEPTH || self.too_deep(place)).then_some(node)
    }

    fn count(&mut self, nodes: usize, bytes: usize, place: Place) -> Option<()> {
        self.nodes += nodes;
        self.bytes += bytes;
        let within = self.nodes <= self.dialect.most_nodes() && self.bytes <= MAX_BYTES;
        (within || self.too_much(place)).then_some(())
    }

    /// Counts a copy of one node, without those below it.
    fn count_copy(&mut self, node: &Node, place: Place) -> Option<()> {
        match &node.kind {
            Kind::Scalar { text, .. } => self.count(1, text.len(), place),
            Kind::Map(map) => {
                let bytes = map.iter().map(|entry| entry.key.len()).sum();
                self.count(1 + map.len(), bytes, place)
            }
            Kind::List(_) | Kind::Broken => self.count(1, 0, place),
        }
    }

    fn add(&mut self, node: Node, anchor: usize) -> Option<()> {
        if anchor > 0 && self.dialect == Dialect::Full {
            for (below, _) in node.all() {
                self.count_copy(below, node.place)?;
            }
            self.anchors.insert(anchor, node.clone());
        }
        match self.open.last_mut().map(|open| &mut open.items) {
            None => self.root = Some(node),
            Some(Items::List(nodes)) => nodes.push(node),
            Some(Items::Map(entries, key)) => match key.take() {
                None => *key = Some(node),
                Some(Node {
                    place,
                    kind: Kind::Scalar { text, plain },
                    ..
                }) => entries.push(Entry {
                    key: text,
                    plain,
                    place,
                    value: node,
                }),
                Some(Node { place, kind, .. }) => {
                    if !matches!(kind, Kind::Broken) {
                        self.problem(place, "a key that is a list or a map", "a word as the key");
                    }
                }
            },
        }
        Some(())
    }

    /// The byte of the text before which so many characters stand.
    fn byte_of(&mut self, chars: usize) -> usize {
        if chars < self.at.0 {
            self.at = (0, 0);
        }
        let rest = self.text[self.at.1..].chars();
        let passed = rest.take(chars - self.at.0).map(char::len_utf8);
        self.at = (chars, self.at.1 + passed.sum::<usize>());
        self.at.1
    }

    /// The parser's span of a block scalar begins with its content; its header is where a person
    /// looks. Between the two are blank lines only.
    fn header_of_block(&self, place: Place, offset: usize) -> (Place, usize) {
        let mut line_start = offset;
        for (index, line) in self.text[..offset].rsplit('\n').enumerate() {
            line_start -= line.len() + usize::from(index > 0);
            let number = place.line.saturating_sub(index);
            let shown = line.trim_start();
            if shown.is_empty() || shown.starts_with('#') {
                continue;
            }
            let is_header = |(at, _): &(usize, &str)| {
                let rest = line[at + 1..]
                    .trim_start_matches(|c: char| "+-".contains(c) || c.is_ascii_digit());
                let comment = rest.starts_with([' ', '\t']) && rest.trim_start().starts_with('#');
                rest.trim().is_empty() || comment
            };
            if let Some((at, _)) = line.match_indices(['|', '>']).find(is_header) {
                let column = line[..at].chars().count() + 1;
                return (Place::of(number, column, 1), line_start + at);
            }
            break;
        }
        (place, offset)
    }

    /// The parser's span of a quoted scalar takes in what follows it up to the next token.
    fn without_comment(&self, place: Place, start: usize, style: ScalarStyle) -> Place {
        let quote = match style {
            ScalarStyle::SingleQuoted => '\'',
            ScalarStyle::DoubleQuoted => '"',
            _ => return place,
        };
        let line = self.text[start..].chars().take_while(|c| *c != '\n');
        let mut inside = line.skip(1).enumerate();
        while let Some((index, c)) = inside.next() {
            if c == '\\' && quote == '"' {
                inside.next();
            } else if c == quote {
                let width = (index + 2).min(place.width.max(2));
                return Place { width, ..place };
            }
        }
        place
    }

    /// Notes what the parser says, where that helps and shows nothing of the text.
    fn syntax(&mut self, place: Place, words: &str) {
        if let Some(tab) = tab_in_indentation(&self.lines, place.line) {
            let hint = "indent with spaces; YAML allows no tabs there";
            return self.problem(tab, "a tab in the indentation", hint);
        }
        let line = self.lines.get(place.line - 1).copied().unwrap_or_default();
        let is_unseen = |c: &char| c.is_control() && *c != '\t';
        if let Some((at, unseen)) = line.chars().enumerate().find(|(_, c)| is_unseen(c)) {
            let place = Place::of(place.line, at + 1, 1);
            let number = u32::from(unseen);
            let message = format!("a control character that no text has (U+{number:04X})");
            let hint = "the file without it; this shows where: \
                        grep -naP '[\\x00-\\x08\\x0B-\\x1F\\x7F]' FILE";
            return self.problem(place, &message, hint);
        }
        if let Some(at) = line.chars().position(|c| c == '\u{feff}') {
            let place = Place::of(place.line, at + 1, 1);
            let message = "a byte order mark inside of the file";
            let hint = "the file without it: it comes from one file put behind another";
            return self.problem(place, message, hint);
        }
        if words.starts_with("':' must be followed by") {
            let message = "what follows this colon is no space";
            return self.problem(place, message, "a space behind the colon, and no tab");
        }
        // The character may be a password's first.
        if words.starts_with("unexpected character") {
            let message = "this is not YAML: no text begins with this character";
            return self.problem(place, message, "quotes around the text");
        }
        self.problem(
            place,
            &format!("this is not YAML: {words}"),
            "one `key: value` per line, lists as `- item`, the same indentation for keys of one \
             block, and quotes that are closed",
        );
    }

    fn problem(&mut self, place: Place, message: &str, hint: &str) {
        self.problems.push(Problem {
            place,
            message: message.to_owned(),
            hint: hint.to_owned(),
        });
    }

    /// Notes that a limit is passed; always `false`.
    fn too_deep(&mut self, place: Place) -> bool {
        self.problem(
            place,
            "lists and maps inside each other, deeper than anything here",
            "at most four levels",
        );
        false
    }

    fn too_much(&mut self, place: Place) -> bool {
        self.problem(
            place,
            "more than is read of any document",
            &format!(
                "{} MiB at most, and {} keys and values, with those behind each alias",
                MAX_BYTES >> 20,
                self.dialect.most_nodes()
            ),
        );
        false
    }
}

fn place_of(span: Span) -> Place {
    let one_line = span.start.line() == span.end.line();
    let width = span.end.col().saturating_sub(span.start.col());
    let width = if one_line { width.max(1) } else { 1 };
    Place::of(span.start.line().max(1), span.start.col() + 1, width)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(text: &str) -> String {
        fn walk(node: &Node, out: &mut String) {
            let Place {
                line,
                column,
                width,
            } = node.place;
            match &node.kind {
                Kind::Scalar { text, .. } => {
                    out.push_str(&format!("{text}@{line}:{column}+{width} "));
                }
                Kind::List(nodes) => {
                    out.push_str(&format!("[@{line}:{column} "));
                    nodes.iter().for_each(|n| walk(n, out));
                }
                Kind::Map(entries) => {
                    out.push_str(&format!("{{@{line}:{column} "));
                    for e in entries.iter() {
                        out.push_str(&format!("{}@{}:{}= ", e.key, e.place.line, e.place.column));
                        walk(&e.value, out);
                    }
                }
                Kind::Broken => out.push_str("broken "),
            }
        }
        let (root, problems) = parse(text, Dialect::Plain);
        assert!(problems.is_empty(), "{problems:?}");
        let mut out = String::new();
        walk(&root.unwrap(), &mut out);
        out.trim_end().to_owned()
    }

    #[test]
    fn every_node_has_its_place() {
        assert_eq!(
            places("# c\né: \"ü\"\nvms:\n  - name: vm1\n    keys: [a, {b: c}]\n"),
            "{@2:1 é@2:1= ü@2:4+3 vms@3:1= [@4:3 {@4:5 name@4:5= vm1@4:11+3 \
             keys@5:5= [@5:11 a@5:12+1 {@5:15 b@5:16= c@5:19+1"
        );
    }

    #[test]
    fn a_quoted_value_ends_with_its_quote() {
        assert_eq!(places("a: \"b\\\"c\"   # d\n"), "{@1:1 a@1:1= b\"c@1:4+6");
        assert_eq!(places("a: 'b'   # 'd'\n"), "{@1:1 a@1:1= b@1:4+3");
    }

    #[test]
    fn a_block_begins_with_its_header() {
        assert_eq!(
            places("é: |-  # c | d\n\n  x\n  y\nb: >\n  z\n\"|\": |2\n\n   w\n"),
            "{@1:1 é@1:1= \nx\ny@1:4+1 b@5:1= z\n@5:4+1 |@7:1= \n w\n@7:6+1"
        );
        let text = "\u{feff}é: ü\r\nb: &a ß\r\nc: |\r\n  x\r\n";
        let (root, problems) = parse(text, Dialect::Full);
        assert!(problems.is_empty());
        let Kind::Map(map) = root.unwrap().kind else {
            panic!("no map");
        };
        let offset = |key: &str| map.entry(key).unwrap().value.offset;
        assert_eq!(text.find('ü'), Some(offset("é")));
        assert_eq!(text.find('&'), Some(offset("b")));
        assert_eq!(text.find('|'), Some(offset("c")));
    }

    /// What is behind an anchor is read in [`Dialect::Full`], within limits that hold.
    #[test]
    fn limits_hold() {
        let refusal = |text: &str| {
            let (root, problems) = parse(text, Dialect::Full);
            assert!(
                root.is_none() && problems.len() == 1,
                "{text:.40} {problems:?}"
            );
            problems[0].message.clone()
        };
        let much = "more than is read of any document";
        // Each line is nine of the one before: 9^9 values.
        let laughs = (1..10).fold("a0: &a0 [x]\n".to_owned(), |text, n| {
            let nine = vec![format!("*a{}", n - 1); 9].join(", ");
            format!("{text}a{n}: &a{n} [{nine}]\n")
        });
        assert_eq!(refusal(&laughs), much);
        let long = format!("a: &a {}\nb: [*a, *a, *a, *a]\n", "x".repeat(MAX_BYTES / 4));
        assert_eq!(refusal(&long), much);
        let keys = |count: usize| (0..count).map(|n| format!("{n}:\n")).collect::<String>();
        for (dialect, most) in [(Dialect::Plain, MAX_NODES), (Dialect::Full, MAX_SEED_NODES)] {
            let most = (most - 2) / 2;
            assert!(parse(&keys(most), dialect).1.is_empty());
            assert_eq!(parse(&keys(most + 1), dialect).1[0].message, much);
        }
        assert_eq!(refusal(&" ".repeat(MAX_BYTES + 1)), much);
        assert!(parse(&" ".repeat(MAX_BYTES), Dialect::Full).1.is_empty());
        let deep = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        let deeper = "lists and maps inside each other, deeper than anything here";
        assert!(parse(&deep(MAX_DEPTH), Dialect::Full).1.is_empty());
        assert_eq!(refusal(&deep(MAX_DEPTH + 1)), deeper);
        let half = MAX_DEPTH / 2;
        let by_alias = |depth: usize| {
            let (open, close) = ("[".repeat(depth), "]".repeat(depth));
            format!("a: &a {}\nb: {open}*a{close}\n", deep(half))
        };
        assert!(parse(&by_alias(half - 1), Dialect::Full).1.is_empty());
        assert_eq!(refusal(&by_alias(half)), deeper);
        assert_eq!(
            refusal("a: &a [*a]\n"),
            "a YAML alias (`*…`) inside of what it stands for"
        );
    }

    #[test]
    fn an_alias_is_its_value() {
        let (root, problems) = parse("a: &x !t {b: [1]}\nc: *x\n", Dialect::Full);
        assert!(problems.is_empty());
        let Kind::Map(map) = root.unwrap().kind else {
            panic!("no map");
        };
        let values: Vec<String> = map[1]
            .value
            .all()
            .map(|(n, _)| format!("{:?}", n.place))
            .collect();
        let written: Vec<String> = map[0]
            .value
            .all()
            .map(|(n, _)| format!("{:?}", n.place))
            .collect();
        assert_eq!(values, written);
        assert!(map[1].value.is_marked);
    }

    #[test]
    fn keys_written_twice_are_kept() {
        assert_eq!(
            places("a: 1\na: 2\n"),
            "{@1:1 a@1:1= 1@1:4+1 a@2:1= 2@2:4+1"
        );
    }

    #[test]
    fn a_byte_order_mark_and_windows_line_ends_are_taken() {
        assert_eq!(
            places("\u{feff}a: 1\r\nb: 2\r\n"),
            "{@1:1 a@1:1= 1@1:4+1 b@2:1= 2@2:4+1"
        );
    }

    #[test]
    fn what_is_not_read_is_said() {
        for (text, message, line) in [
            (
                "a: &x 1\nb: *x\n",
                "a YAML alias (`*…`) is not read here",
                2,
            ),
            ("a: !!int 1\n", "a YAML tag (`!…`)", 1),
            ("a: 1\n---\nb: 1\n", "a second YAML document begins here", 2),
            ("? [a]\n: b\n", "a key that is a list or a map", 1),
            ("a:\n\tb: 1\n", "a tab in the indentation", 2),
            (
                &"[".repeat(40),
                "lists and maps inside each other, deeper than anything here",
                1,
            ),
        ] {
            let (_, problems) = parse(text, Dialect::Plain);
            assert_eq!(problems.len(), 1, "{text:.20}: {problems:?}");
            assert_eq!(problems[0].message, message);
            assert_eq!(problems[0].place.line, line);
        }
        let (root, problems) = parse("a: [1\nb: 2\n", Dialect::Plain);
        assert!(root.is_none());
        assert!(problems[0].message.starts_with("this is not YAML: "));
    }
}
