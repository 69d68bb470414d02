//! From the parser's events to a tree with places.

use super::{Place, Problem};
use saphyr_parser::{Event, Parser, ScalarStyle, Span};

/// These files are three levels deep; more is a mistake or an attack on the stack.
const MAX_DEPTH: usize = 32;

/// A value and its place.
#[derive(Debug, Clone)]
pub struct Node {
    /// Where it begins.
    pub place: Place,
    /// What it is.
    pub kind: Kind,
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
    /// Keys and values in the order of the file, keys that are written twice included.
    Map(Vec<Entry>),
    /// Something that was already reported; readers pass over it in silence.
    Broken,
}

/// A key and its value.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Where the key is.
    pub place: Place,
    /// The value.
    pub value: Node,
}

impl Node {
    /// Whether nothing was written: an empty value, `~` or `null`.
    pub fn is_null(&self) -> bool {
        matches!(&self.kind, Kind::Scalar { text, plain: true }
            if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }
}

/// Reads one document. Without a tree (an empty file, a syntax error) the first part is `None`.
pub(super) fn parse(text: &str) -> (Option<Node>, Vec<Problem>) {
    let text = text.trim_start_matches('\u{feff}');
    let mut tree = Tree {
        lines: text.lines().collect(),
        ..Tree::default()
    };
    let mut parser = Parser::new_from_str(text);
    while let Some(event) = parser.next_event() {
        match event {
            Ok((event, span)) => {
                if !tree.take(event, span) {
                    return (None, tree.problems);
                }
            }
            Err(error) => {
                let mark = error.marker();
                let place = Place {
                    line: mark.line().max(1),
                    column: mark.col() + 1,
                    width: 1,
                };
                let tab = tab_in_indentation(text, place.line);
                tree.problems.push(Problem {
                    place: tab.unwrap_or(place),
                    message: match tab {
                        Some(_) => "a tab in the indentation".to_owned(),
                        None => format!("this is not YAML: {}", error.info()),
                    },
                    right: match tab {
                        Some(_) => "indent with spaces; YAML allows no tabs there".to_owned(),
                        None => {
                            "one `key: value` per line, lists as `- item`, the same indentation \
                                 for keys of one block, and quotes that are closed"
                                .to_owned()
                        }
                    },
                });
                return (None, tree.problems);
            }
        }
    }
    (tree.root, tree.problems)
}

/// The parser stumbles at or just after a tab, and its words for that help nobody.
fn tab_in_indentation(text: &str, line: usize) -> Option<Place> {
    [line, line.saturating_sub(1)].into_iter().find_map(|line| {
        let text = text.lines().nth(line.checked_sub(1)?)?;
        let at = text.chars().position(|c| c == '\t')?;
        let indentation = text.chars().take(at).all(|c| c == ' ' || c == '-');
        indentation.then_some(Place {
            line,
            column: at + 1,
            width: 1,
        })
    })
}

#[derive(Default)]
struct Tree<'a> {
    lines: Vec<&'a str>,
    root: Option<Node>,
    documents: usize,
    open: Vec<Open>,
    problems: Vec<Problem>,
}

/// A list or map whose end was not seen yet.
enum Open {
    List(Place, Vec<Node>),
    Map(Place, Vec<Entry>, Option<Node>),
}

impl Tree<'_> {
    /// Takes one event; `false` when reading on makes no sense.
    fn take(&mut self, event: Event<'_>, span: Span) -> bool {
        let place = place_of(span);
        let tag = match &event {
            Event::Scalar(_, _, _, tag)
            | Event::SequenceStart(_, tag)
            | Event::MappingStart(_, tag) => tag.is_some(),
            _ => false,
        };
        if tag {
            self.problem(place, "a YAML tag (`!…`)", "the plain value, without a tag");
        }
        match event {
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents == 2 {
                    self.problem(
                        place,
                        "a second YAML document begins here",
                        "one document in one file; remove the `---`",
                    );
                    return false;
                }
            }
            Event::Alias(_) => {
                self.problem(
                    place,
                    "a YAML alias (`*…`) is not read here",
                    "the value itself",
                );
                self.add(Node {
                    place,
                    kind: Kind::Broken,
                });
            }
            Event::Scalar(text, style, _, _) => self.add(Node {
                place: self.without_comment(place, style),
                kind: Kind::Scalar {
                    text: text.into_owned(),
                    plain: style == ScalarStyle::Plain,
                },
            }),
            Event::SequenceStart(..) => self.open.push(Open::List(place, Vec::new())),
            Event::MappingStart(..) => self.open.push(Open::Map(place, Vec::new(), None)),
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(Open::List(place, nodes)) => self.add(Node {
                    place,
                    kind: Kind::List(nodes),
                }),
                Some(Open::Map(place, entries, _)) => self.add(Node {
                    place,
                    kind: Kind::Map(entries),
                }),
                None => return false,
            },
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
        }
        if self.open.len() > MAX_DEPTH {
            self.problem(
                place,
                "lists and maps inside each other, deeper than anything here",
                "at most four levels",
            );
            return false;
        }
        true
    }

    fn add(&mut self, node: Node) {
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some(Open::List(_, nodes)) => nodes.push(node),
            Some(Open::Map(_, entries, key)) => match key.take() {
                None => *key = Some(node),
                Some(Node {
                    place,
                    kind: Kind::Scalar { text, .. },
                }) => entries.push(Entry {
                    key: text,
                    place,
                    value: node,
                }),
                Some(Node { place, kind }) => {
                    if !matches!(kind, Kind::Broken) {
                        self.problem(place, "a key that is a list or a map", "a word as the key");
                    }
                }
            },
        }
    }

    /// The parser's span of a quoted scalar takes in what follows it up to the next token.
    fn without_comment(&self, place: Place, style: ScalarStyle) -> Place {
        let quote = match style {
            ScalarStyle::SingleQuoted => '\'',
            ScalarStyle::DoubleQuoted => '"',
            _ => return place,
        };
        let line = self.lines.get(place.line - 1).copied().unwrap_or_default();
        let mut inside = line.chars().skip(place.column).enumerate();
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

    fn problem(&mut self, place: Place, message: &str, right: &str) {
        self.problems.push(Problem {
            place,
            message: message.to_owned(),
            right: right.to_owned(),
        });
    }
}

fn place_of(span: Span) -> Place {
    let one_line = span.start.line() == span.end.line();
    let width = span.end.col().saturating_sub(span.start.col());
    Place {
        line: span.start.line().max(1),
        column: span.start.col() + 1,
        width: if one_line { width.max(1) } else { 1 },
    }
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
                    for e in entries {
                        out.push_str(&format!("{}@{}:{}= ", e.key, e.place.line, e.place.column));
                        walk(&e.value, out);
                    }
                }
                Kind::Broken => out.push_str("broken "),
            }
        }
        let (root, problems) = parse(text);
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
            let (_, problems) = parse(text);
            assert_eq!(problems.len(), 1, "{text:.20}: {problems:?}");
            assert_eq!(problems[0].message, message);
            assert_eq!(problems[0].place.line, line);
        }
        let (root, problems) = parse("a: [1\nb: 2\n");
        assert!(root.is_none());
        assert!(problems[0].message.starts_with("this is not YAML: "));
    }
}
