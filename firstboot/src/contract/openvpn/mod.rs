//! OpenVPN's configuration file: what OpenVPN 2.6 (Debian 12 and 13) makes of it in the guest.
//!
//! The builder judges a lab's configurations with it before they go onto a seed disk, and the
//! guest's steps read and change them with it.

mod ciphers;
mod edit;
mod judge;
mod nature;
mod options;
mod parse;
mod shown;
mod taken;

pub use edit::{calls_somebody, has_open_tap, with_tap, with_user_pass};
pub use judge::{Guest, judge};
pub use nature::{NotText, text_of};
pub use options::{all as options, refused as refused_options};
pub use shown::lines_without_secrets;
pub use taken::{Named, Taken, judge_content, named_files, with_blocks};

/// A place in a configuration file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Line, counted from 1.
    pub line: usize,
    /// Column in characters, counted from 1.
    pub column: usize,
    /// How many characters it covers; at least 1.
    pub width: usize,
}

impl Place {
    /// The first character of a file.
    pub const START: Place = Place::of(1, 1, 1);

    const fn of(line: usize, column: usize, width: usize) -> Self {
        Place {
            line,
            column,
            width,
        }
    }
}

/// Something in a configuration that will not do what it is there for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Where.
    pub place: Place,
    /// Whether the tunnel cannot come up; otherwise it may, but something deserves a look.
    pub is_error: bool,
    /// What is wrong. It holds no secret.
    pub message: String,
    /// What would be right.
    pub right: String,
}

impl Finding {
    fn error(place: Place, message: impl Into<String>, right: impl Into<String>) -> Self {
        Finding {
            place,
            is_error: true,
            message: message.into(),
            right: right.into(),
        }
    }

    fn warning(place: Place, message: impl Into<String>, right: impl Into<String>) -> Self {
        Finding {
            is_error: false,
            ..Finding::error(place, message, right)
        }
    }
}
