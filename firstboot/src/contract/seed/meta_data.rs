//! The `meta-data` document.

use super::cloud_config::machine_name;
use super::contract::CONTRACT;
use super::document::{Document, Notes};
use super::path::Path;
use super::write;
use crate::contract::digest;
use crate::contract::values::HostName;
use serde::Serialize;

/// The document's name.
pub(super) const NAME: &str = "meta-data";
/// What the instance-id of a seed without one begins with.
const DERIVED: &str = "nocloud-";
/// The most characters of an instance-id. That of a cloud has 40 at most.
const LONGEST: usize = 255;

/// `meta-data` of NoCloud: the identity of this instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct MetaData {
    /// Unique per machine and per change of its seed. Never empty in what `parse` gives.
    pub instance_id: String,
    /// The short host name; user-data's `hostname` wins over it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local_hostname: Option<HostName>,
    /// The number of the contract that a firstboot must know for this seed, as `needed`
    /// gives it. cloud-init knows no such key and leaves it alone; seeds made elsewhere have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contract: Option<u32>,
}

impl MetaData {
    /// Whether the seed gives no instance-id, so that one was made from its content.
    pub fn is_derived(&self) -> bool {
        self.instance_id.starts_with(DERIVED)
    }

    /// The document, as it goes onto the seed disk.
    pub fn to_document(&self) -> Result<String, serde_yaml::Error> {
        write::document(self)
    }
}

/// The instance-id of a seed that has none, such as virt-install's, whose meta-data is empty.
///
/// cloud-init calls every such seed `nocloud`. A seed that was changed would then go
/// unnoticed, because only the id is compared; so a digest of the content is a part of it.
pub(super) fn derived_id(documents: [&str; 3]) -> String {
    format!("{DERIVED}{}", digest::short(documents))
}

/// Reads the document. What it returns is complete only when no problem was noted.
pub(super) fn read(text: &str, notes: &mut Notes) -> MetaData {
    let mut data = MetaData {
        instance_id: String::new(),
        local_hostname: None,
        contract: None,
    };
    let Some(mut doc) = Document::new(NAME, text, notes) else {
        return data;
    };
    let root = Path::root();
    doc.ignore_unknown(&root, &["instance-id", "local-hostname", "contract"]);
    let id = doc.checked(&root.key("instance-id"), |id| {
        // It is one word of the journal and of messages.
        match id.chars().any(char::is_control) || id.chars().count() > LONGEST {
            true => Err(format!(
                "must be a text that is unique to this machine and to this seed, on one line of \
                 {LONGEST} characters at most"
            )),
            false => Ok(id.trim().to_owned()),
        }
    });
    data.instance_id = id.unwrap_or_default();
    data.local_hostname = doc.checked(&root.key("local-hostname"), machine_name);
    let at = root.key("contract");
    data.contract = doc.number(&at, 1..=u32::MAX.into());
    if let Some(needed) = data.contract.filter(|needed| *needed > CONTRACT) {
        doc.wrong(
            &at,
            &format!(
                "this seed needs contract {needed}, and the firstboot of this base knows contract \
                 {CONTRACT}; make the base again (imgbuild base), and this machine's disk anew on it"
            ),
        );
    }
    data
}
