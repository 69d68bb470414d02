//! The way to a value in a document.

use std::fmt;

/// What has secrets in it: root's password, a VPN's keys, the cluster's password.
const SECRET: [&str; 4] = ["chpasswd", "users", "openvpn", "cluster"];

/// One step from a value to a value inside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    Key(String),
    Index(usize),
}

/// The way from the document to a value; displayed like `users[0].name`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Path(Vec<Step>);

impl Path {
    /// The document itself.
    pub(super) fn root() -> Self {
        Path::default()
    }

    /// The value of a key.
    pub(super) fn key(&self, key: &str) -> Self {
        let mut steps = self.0.clone();
        steps.push(Step::Key(key.to_owned()));
        Path(steps)
    }

    /// An item of a list.
    pub(super) fn index(&self, index: usize) -> Self {
        let mut steps = self.0.clone();
        steps.push(Step::Index(index));
        Path(steps)
    }

    /// What holds this value; `None` at the root.
    pub(super) fn parent(&self) -> Option<Self> {
        let (_, rest) = self.0.split_last()?;
        Some(Path(rest.to_vec()))
    }

    /// Whether secrets are written somewhere below this. A key there that nobody knows may be one, by a
    /// slip of whoever wrote the seed.
    pub(super) fn may_hold_secrets(&self) -> bool {
        let holds = |step: &Step| matches!(step, Step::Key(key) if SECRET.contains(&key.as_str()));
        self.0.iter().any(holds)
    }

    /// The steps in order.
    pub(super) fn steps(&self) -> &[Step] {
        &self.0
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, step) in self.0.iter().enumerate() {
            match step {
                Step::Index(index) => write!(f, "[{index}]")?,
                Step::Key(key) => {
                    if number > 0 {
                        f.write_str(".")?;
                    }
                    f.write_str(if is_plain(key) { key } else { "\"…\"" })?;
                }
            }
        }
        Ok(())
    }
}

/// Whether a key is a word. `{password:S3CRET}`, without a blank, is a map with one key that is none,
/// and a message must neither show that nor break its line.
pub(super) fn is_plain(key: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_-".contains(&b);
    !key.is_empty() && key.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_line() {
        let path = Path::root().key("b").index(1);
        assert_eq!(path.key("c").to_string(), "b[1].c");
        for key in ["a\nb", "password:S3CRET", ""] {
            assert_eq!(path.key(key).to_string(), "b[1].\"…\"");
        }
        assert_eq!(path.parent(), Some(Path::root().key("b")));
    }
}
