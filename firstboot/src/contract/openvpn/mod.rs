//! OpenVPN's configuration file: what OpenVPN 2.6 (Debian 12 and 13) makes of it in the guest.
//!
//! The builder classifies a lab's configurations with it before they go onto a seed disk, and the
//! guest's steps read and change them with it.

mod ciphers;
mod classify;
mod display_safe;
mod edit;
mod nature;
mod options;
mod parse;
mod taken;

pub use classify::{Guest, classify};
pub use display_safe::lines_without_secrets;
pub use edit::{calls_somebody, has_open_tap, with_tap, with_user_pass};
pub use nature::{NotText, text_of};
pub use options::{all as options, refused as refused_options};
pub use taken::{Named, Taken, classify_content, named_files, with_blocks};

use super::place::Place;

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
    pub hint: String,
}

impl Finding {
    fn error(place: Place, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Finding {
            place,
            is_error: true,
            message: message.into(),
            hint: hint.into(),
        }
    }

    fn warning(place: Place, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Finding {
            is_error: false,
            ..Finding::error(place, message, hint)
        }
    }
}
