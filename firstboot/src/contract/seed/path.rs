//! The way to a value in a document.

use std::borrow::Cow;
use std::fmt;

/// What has secrets in it: root's password, a VPN's keys, the cluster's password.
const SECRET: [&str; 4] = ["chpasswd", "users", "openvpn", "cluster"];
/// What has names that people give, and no secret near.
const NAMING: [&str; 2] = ["ethernets", "bridges"];

/// One step from a value to a value inside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// The value of a key.
    Key(String),
    /// The item of a list, from 0.
    Index(usize),
}

/// Where a value is in a document, such as `proxmox.cluster.peers[1].address`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Path(Vec<Step>);

impl Path {
    /// The whole document.
    pub(super) fn root() -> Self {
        Path::default()
    }

    /// The value of a key of this one.
    pub(super) fn key(&self, key: &str) -> Self {
        let mut steps = self.0.clone();
        steps.push(Step::Key(key.to_owned()));
        Path(steps)
    }

    /// An item of this one, from 0.
    pub(super) fn index(&self, index: usize) -> Self {
        let mut steps = self.0.clone();
        steps.push(Step::Index(index));
        Path(steps)
    }

    /// What this is a part of; `None` for the whole document.
    pub(super) fn parent(&self) -> Option<Self> {
        let (_, rest) = self.0.split_last()?;
        Some(Path(rest.to_vec()))
    }

    /// Whether a key that is not known here may be shown in a message. Where secrets are, it may be one
    /// by a slip of whoever wrote the seed.
    pub(super) fn may_show(&self, unknown: &str) -> bool {
        let holds = |step: &Step| matches!(step, Step::Key(key) if SECRET.contains(&key.as_str()));
        !self.0.iter().any(holds) && shown(&self.0, unknown).is_some()
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
                    let key = shown(&self.0[..number], key);
                    f.write_str(key.as_deref().unwrap_or("\"…\""))?;
                }
            }
        }
        Ok(())
    }
}

/// A key below these steps as a message has it: a word as it is, and a name that people give in quotes.
/// `{password:S3CRET}`, without a blank, is a map with one key that is neither: `None`.
fn shown<'k>(above: &[Step], key: &'k str) -> Option<Cow<'k, str>> {
    let is_word = |b: u8| b.is_ascii_alphanumeric() || b"_-".contains(&b);
    if !key.is_empty() && key.bytes().all(is_word) {
        return Some(key.into());
    }
    let names = |step: &Step| matches!(step, Step::Key(key) if NAMING.contains(&key.as_str()));
    let is_name = above.last().is_some_and(names) && !key.contains(':');
    is_name.then(|| format!("{key:?}").into())
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
            assert!(!path.may_show(key));
        }
        let cards = Path::root().key("ethernets");
        assert_eq!(cards.key("a\nb").to_string(), "ethernets.\"a\\nb\"");
        assert_eq!(cards.key("a:b").to_string(), "ethernets.\"…\"");
        assert_eq!(path.parent(), Some(Path::root().key("b")));
        let cluster = Path::root().key("proxmox").key("cluster");
        assert!(path.may_show("c") && cards.may_show("a b") && !cluster.may_show("c"));
    }
}
