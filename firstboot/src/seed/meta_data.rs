//! The `meta-data` document.

use serde::{Deserialize, Serialize};

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
