//! The `network-config` document, of both versions.

mod check;
mod config;
mod v1;
mod v2;

pub use config::{Bridge, BridgeParameters, Ethernet, Match, Nameservers, NetworkConfig, Route};

use super::document::{Document, Notes};
use super::path::Path;

/// The document's name.
pub(super) const NAME: &str = "network-config";

/// Reads the document, of either version, with or without the outer `network:`. What it
/// returns is complete only when no problem was noted.
pub(super) fn read(text: &str, notes: &mut Notes) -> Option<NetworkConfig> {
    let mut doc = Document::new(NAME, text, notes)?;
    let root = Path::root();
    let outer = root.key("network");
    let base = if doc.has(&outer) {
        doc.ignore_unknown(&root, &["network"]);
        if doc.keys(&outer, "settings").is_empty() {
            return None;
        }
        outer
    } else {
        root
    };
    if doc.keys(&base, "settings").is_empty() {
        return None;
    }
    // cloud-init's way to say that the network is none of its business.
    let config = base.key("config");
    if !doc.is_list(&config) && doc.has(&config) {
        let word = doc.text(&config, "a list")?;
        if word == "disabled" {
            doc.ignore(&config, "the network is left as the image has it");
            return None;
        }
    }
    let version = base.key("version");
    let what = "1 or 2";
    let config = match doc.require(&version, what)?.as_str() {
        "1" => v1::read(&mut doc, &base),
        "2" => v2::read(&mut doc, &base),
        _ => {
            doc.wrong(&version, &format!("must be {what}"));
            return None;
        }
    };
    Some(config)
}
