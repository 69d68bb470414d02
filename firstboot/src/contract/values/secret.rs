//! A string that must not be shown.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A secret: its `Debug` prints no content, and it has no `Display`.
///
/// It serialises to its content, because the seed disk is where it belongs.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Takes ownership of the secret text.
    pub fn new(text: impl Into<String>) -> Self {
        Secret(text.into())
    }

    /// The content, for the one place that hands it on.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}
