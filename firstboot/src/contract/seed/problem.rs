//! What is wrong with a seed: every problem, each with its place.

use crate::contract::place::Place;
use std::fmt;

/// A seed that cannot be used. `Display` prints every problem, one per line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", lines(problems))]
pub struct SeedError {
    /// Never empty, in the order of the documents.
    pub problems: Vec<Problem>,
}

/// One thing that is wrong. It never holds the content of a value, because that may be a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// `meta-data`, `user-data` or `network-config`.
    pub document: &'static str,
    /// Line and column, both from 1, where they are known.
    pub place: Option<Place>,
    /// What is wrong and what would be right.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.document)?;
        if let Some(Place { line, column, .. }) = self.place {
            write!(f, " line {line} column {column}")?;
        }
        write!(f, ": {}", self.message)
    }
}

fn lines(problems: &[Problem]) -> String {
    let lines: Vec<String> = problems.iter().map(Problem::to_string).collect();
    lines.join("\n")
}
