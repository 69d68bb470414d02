//! Proxmox's "section config" files: `storage.cfg`, `ha/groups.cfg`, `ha/rules.cfg`.
//!
//! Read as `PVE::SectionConfig` reads them: a section begins with `TYPE: ID` and ends at the
//! first empty line; its settings are indented `KEY VALUE`, the first of a key counts; a line
//! whose first sign is `#` is no line at all. They are never written here: Proxmox's tools do
//! that, under the cluster's lock.

use crate::contract::digest::hex;
use sha1::{Digest, Sha1};
use std::collections::BTreeMap;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// Such as `nfs`; lower case.
    pub kind: String,
    pub id: String,
    /// Its settings; one without a value has an empty one.
    pub settings: BTreeMap<String, String>,
}

impl Section {
    pub fn get(&self, key: &str) -> Option<&str> {
        self.settings.get(key).map(String::as_str)
    }
}

/// All sections of a text, in their order.
pub fn read(text: &str) -> Vec<Section> {
    let mut sections = Vec::new();
    let mut open: Option<Section> = None;
    for line in text.split('\n') {
        if line.trim_start().starts_with('#') {
            continue;
        }
        if line.is_empty() {
            sections.extend(open.take());
            continue;
        }
        match &mut open {
            None => open = header(line),
            Some(section) if line.starts_with(char::is_whitespace) => {
                let line = line.trim();
                let (key, value) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
                if !key.is_empty() {
                    let value = value.trim().to_owned();
                    section.settings.entry(key.to_owned()).or_insert(value);
                }
            }
            // Proxmox warns and goes on.
            Some(_) => {}
        }
    }
    sections.extend(open);
    sections
}

/// The section of this name, whatever its kind.
pub fn find(text: &str, id: &str) -> Option<Section> {
    read(text).into_iter().find(|section| section.id == id)
}

fn header(line: &str) -> Option<Section> {
    let (kind, id) = line.split_once(':')?;
    let id = id.trim();
    let is_word = |text: &str| !text.is_empty() && !text.contains(char::is_whitespace);
    (is_word(kind) && is_word(id)).then(|| Section {
        kind: kind.to_ascii_lowercase(),
        id: id.to_owned(),
        settings: BTreeMap::new(),
    })
}

/// The words of a list value; Proxmox takes commas, semicolons and white space.
pub fn list(value: &str) -> Vec<&str> {
    value
        .split(|c: char| c == ',' || c == ';' || c == '\0' || c.is_whitespace())
        .filter(|word| !word.is_empty())
        .collect()
}

/// What Proxmox's tools compare `--digest` with: the SHA-1 of the file's text. They refuse
/// the change when another one came first.
pub fn digest(text: &str) -> String {
    hex(&Sha1::digest(text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STORAGE: &str = "dir: local\n\tpath /var/lib/vz\n\tcontent iso,vztmpl,backup\n\n\
        # the lab's server\nNFS: lab-nfs\n\tpath /mnt/pve/lab-nfs\n\tserver 10.120.0.2\n\
        \t# \toptions soft\n\texport /srv/lab\n\tcontent images,rootdir\n\tnodes alpha,beta\n\
        \tdisable\n\tserver 10.120.0.3\n";

    #[test]
    fn sections_and_their_settings() {
        let sections = read(STORAGE);
        let names: Vec<_> = sections.iter().map(|s| (&*s.kind, &*s.id)).collect();
        assert_eq!(names, [("dir", "local"), ("nfs", "lab-nfs")]);
        let nfs = find(STORAGE, "lab-nfs").unwrap();
        assert_eq!(nfs.get("server"), Some("10.120.0.2"));
        assert_eq!(nfs.get("disable"), Some(""));
        assert_eq!(nfs.get("options"), None);
        assert_eq!(nfs.settings.len(), 6);
        assert_eq!(find(STORAGE, "lab"), None);
        assert!(read("").is_empty());
    }

    #[test]
    fn only_an_empty_line_ends_a_section() {
        let sections = read("nfs: a\n\texport /a\nnfs: b\n\texport /b\n  \n\tserver s\n");
        assert_eq!(sections.len(), 1);
        assert_eq!(sections[0].get("export"), Some("/a"));
        assert_eq!(sections[0].get("server"), Some("s"));
        assert!(read("\tserver s\nnot a header\nnfs:\n: x\n").is_empty());
    }

    #[test]
    fn lists() {
        assert_eq!(list("a,b:2; c"), ["a", "b:2", "c"]);
        assert!(list(" ,").is_empty());
    }

    #[test]
    fn the_digest_is_sha1() {
        assert_eq!(digest("abc"), "a9993e364706816aba3e25717850c26c9cd0d89d");
        assert_eq!(digest(""), "da39a3ee5e6b4b0d3255bfef95601890afd80709");
    }
}
