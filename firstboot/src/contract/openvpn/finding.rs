//! What is found in a configuration, and the guest that it is read for.

use crate::contract::place::Place;

/// What the configuration will find in the guest.
#[derive(Debug, Clone, Copy, Default)]
pub struct Guest<'a> {
    /// The bridges' ports that are taps, such as `tap120`. None: any device is right.
    pub taps: &'a [&'a str],
    /// Whether user and password are given beside the configuration.
    pub user_pass: bool,
    /// Whether the files that it names are put into it before; see `with_blocks`.
    pub taken_in: bool,
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
    pub hint: String,
}

impl Finding {
    pub(super) fn error(place: Place, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Finding {
            place,
            is_error: true,
            message: message.into(),
            hint: hint.into(),
        }
    }

    pub(super) fn warning(
        place: Place,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Finding {
            is_error: false,
            ..Finding::error(place, message, hint)
        }
    }
}
