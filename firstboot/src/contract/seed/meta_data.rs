//! The `meta-data` document.

use super::document::{Document, Notes};
use super::path::Path;
use crate::contract::values::HostName;
use serde::Serialize;
use sha2::{Digest, Sha256};

/// The document's name.
pub(super) const NAME: &str = "meta-data";
/// What the instance-id of a seed without one begins with.
const DERIVED: &str = "nocloud-";

/// `meta-data` of NoCloud: the identity of this instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct MetaData {
    /// Unique per machine and per change of its seed. Never empty in what [`super::parse`] gives.
    pub instance_id: String,
    /// The short host name; user-data's `hostname` wins over it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local_hostname: Option<HostName>,
}

impl MetaData {
    /// Whether the seed gives no instance-id, so that one was made from its content.
    pub fn is_derived(&self) -> bool {
        self.instance_id.starts_with(DERIVED)
    }

    /// The document, as it goes onto the seed disk.
    pub fn to_document(&self) -> Result<String, serde_yaml::Error> {
        serde_yaml::to_string(self)
    }
}

/// The instance-id of a seed that has none, such as virt-install's, whose meta-data is empty.
///
/// cloud-init calls every such seed `nocloud`. A seed that was changed would then go
/// unnoticed, because only the id is compared; so a digest of the content is a part of it.
pub(super) fn derived_id(documents: [&str; 3]) -> String {
    let mut digest = Sha256::new();
    for text in documents {
        // With its length, so that no text can pass from one document to the next unseen.
        digest.update((text.len() as u64).to_le_bytes());
        digest.update(text);
    }
    let digits = digest.finalize();
    let digits: String = digits.iter().take(8).map(|b| format!("{b:02x}")).collect();
    format!("{DERIVED}{digits}")
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
    let id = doc.checked(&root.key("instance-id"), |id| {
        // It is one word of the journal and of messages.
        match id.chars().any(char::is_control) {
            true => Err(
                "must be a text that is unique to this machine and to this seed, on one line"
                    .to_owned(),
            ),
            false => Ok(id.trim().to_owned()),
        }
    });
    data.instance_id = id.unwrap_or_default();
    data.local_hostname = doc.value(&root.key("local-hostname"));
    data
}
