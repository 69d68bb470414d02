//! What a file seems to be that is not what it should be, by how it begins.

use std::io::Read;

/// A web page in the place of a file.
pub(crate) const HTML: &str = "it is an HTML page; perhaps the answer of a proxy or a login page";

/// Reads the first bytes of a file of this length; `None` where they tell nothing.
pub(crate) fn seems_to_be(file: impl Read, length: u64) -> std::io::Result<Option<String>> {
    let mut first = Vec::new();
    file.take(4096).read_to_end(&mut first)?;
    let text = String::from_utf8_lossy(&first).trim_start().to_lowercase();
    let kinds: [(&[u8], &str); 6] = [
        (b"\x1f\x8b", "a gzip archive"),
        (b"\xfd7zXZ\0", "an xz archive"),
        (b"PK\x03\x04", "a zip archive"),
        (b"QFI\xfb", "a qcow2 disk"),
        (b"\x28\xb5\x2f\xfd", "a zstd archive"),
        (b"#jigsaw", "a jigdo template"),
    ];
    let kind = kinds.iter().find(|(magic, _)| first.starts_with(magic));
    Ok(if first.is_empty() {
        Some("it is empty".to_owned())
    } else if text.starts_with("<!doctype html") || text.starts_with("<html") {
        Some(HTML.to_owned())
    } else if let Some((_, kind)) = kind {
        Some(format!("it seems to be {kind}"))
    } else if first.iter().all(|byte| *byte == 0) {
        Some(format!("it begins with zeros and has {length} bytes"))
    } else {
        None
    })
}
