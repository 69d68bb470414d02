//! The `meta-data` document.

use super::check;
use super::document::{Document, Notes};
use super::walk::Path;
use serde::{Deserialize, Serialize};

/// The document's name.
pub(super) const NAME: &str = "meta-data";

/// `meta-data` of NoCloud: the identity of this instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct MetaData {
    /// Unique per machine and per change of its seed.
    pub instance_id: String,
    /// The short host name; user-data's `hostname` wins over it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local_hostname: Option<String>,
}

impl MetaData {
    /// The document, as it goes onto the seed disk.
    pub fn to_document(&self) -> Result<String, serde_yaml::Error> {
        serde_yaml::to_string(self)
    }
}

/// Reads the document. What it returns is complete only when no problem was noted.
pub(super) fn read(text: &str, notes: &mut Notes) -> MetaData {
    let mut data = MetaData {
        instance_id: String::new(),
        local_hostname: None,
    };
    let Some(mut doc) = Document::new(NAME, text, notes) else {
        return data;
    };
    let root = Path::root();
    doc.ignore_unknown(&root, &["instance-id", "local-hostname"]);
    let what = "a text that is unique to this machine and to this seed";
    let id = doc.require_checked(&root.key("instance-id"), what, |id| {
        // It is one word of the journal and of messages.
        if id.trim().is_empty() || id.chars().any(char::is_control) {
            return Err(format!("must be {what}, on one line"));
        }
        Ok(id.to_owned())
    });
    data.instance_id = id.unwrap_or_default();
    data.local_hostname = doc.checked(&root.key("local-hostname"), check::host);
    data
}
