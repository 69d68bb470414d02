//! Places in a text, and what is wrong there.

/// A place in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Line, counted from 1.
    pub line: usize,
    /// Column in characters, counted from 1; a tab is one character.
    pub column: usize,
    /// How many characters of the line it covers; at least 1.
    pub width: usize,
}

impl Place {
    /// The first character of a text.
    pub const START: Place = Place::of(1, 1, 1);

    /// `width` characters of a line.
    pub const fn of(line: usize, column: usize, width: usize) -> Self {
        Place {
            line,
            column,
            width,
        }
    }
}

/// A value and where it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spanned<T> {
    /// Where.
    pub place: Place,
    /// What.
    pub value: T,
}

/// One thing that is wrong in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub place: Place,
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub hint: String,
}
