//! What every value is made with: a text that fits, or the error that says why not.

use std::borrow::Cow;
use std::fmt;

/// Why a text is no value of its kind. It holds nothing of the text, which may be a secret that
/// went astray. Displayed as the guest says it: `must be …`, or what is wrong and then that.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ValueError {
    message: Cow<'static, str>,
    hint: &'static str,
    /// Whether the message says no more than that the hint does not hold.
    is_general: bool,
}

impl ValueError {
    /// `message` says what is wrong, such as `has upper-case letters`; `hint` what would be right.
    pub(super) fn because(message: impl Into<Cow<'static, str>>, hint: &'static str) -> Self {
        ValueError {
            message: message.into(),
            hint,
            is_general: false,
        }
    }

    /// For a text of another form: it is no `noun`.
    pub(super) fn no(noun: &str, hint: &'static str) -> Self {
        Self::because(format!("is no {noun}"), hint).in_general(hint)
    }

    /// Displayed as no more than that this hint does not hold.
    pub(super) fn in_general(self, hint: &'static str) -> Self {
        ValueError {
            hint,
            is_general: true,
            ..self
        }
    }

    /// What is wrong; it goes on after the value or its path: `is no MAC address`.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What would be right, such as `a MAC address such as 52:54:00:12:34:56`.
    pub fn hint(&self) -> &'static str {
        self.hint
    }
}

impl fmt::Display for ValueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.is_general {
            write!(f, "{}; it ", self.message)?;
        }
        write!(f, "must be {}", self.hint)
    }
}

/// A type that holds a text of which a rule, `fn(&str) -> Result<String, ValueError>`, has said
/// that it is one. It is shown as the text.
macro_rules! text_value {
    ($(#[$doc:meta])* $name:ident, $rule:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::str::FromStr for $name {
            type Err = ValueError;

            fn from_str(text: &str) -> Result<Self, ValueError> {
                $rule(text).map($name)
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl std::ops::Deref for $name {
            type Target = str;

            fn deref(&self) -> &str {
                &self.0
            }
        }

        impl PartialEq<str> for $name {
            fn eq(&self, other: &str) -> bool {
                self.0 == other
            }
        }

        impl PartialEq<String> for $name {
            fn eq(&self, other: &String) -> bool {
                self.0 == *other
            }
        }

        impl PartialEq<&str> for $name {
            fn eq(&self, other: &&str) -> bool {
                self.0 == *other
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Debug::fmt(&self.0, f)
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> String {
                value.0
            }
        }
    };
}
pub(super) use text_value;

/// Whether a text has no control characters and no line end, be it one of Unicode's (U+2028, U+2029)
/// that YAML 1.1 takes for one and YAML 1.2 does not.
pub(super) fn is_one_line(text: &str) -> bool {
    !text.contains(|c: char| c.is_control() || is_unicodes_line_end(c))
}

/// A line or paragraph separator. What stands after it in a document is another text to one YAML
/// reader than to the next.
pub fn is_unicodes_line_end(c: char) -> bool {
    matches!(c, '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// `Ok` with the text where it `fits`.
pub(super) fn fitting(
    text: &str,
    fits: bool,
    error: impl FnOnce() -> ValueError,
) -> Result<String, ValueError> {
    match fits {
        true => Ok(text.to_owned()),
        false => Err(error()),
    }
}
