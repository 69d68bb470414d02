//! Digests as they are written: hexadecimal, in lower case.

use sha2::{Digest, Sha256};

/// Two digits a byte.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The first eight bytes of the SHA-256 of several texts, which tell one seed from another. Each goes
/// in with its length before it: moving a line from one document to the other is a change.
pub fn short<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    let mut digest = Sha256::new();
    for text in texts {
        digest.update((text.len() as u64).to_le_bytes());
        digest.update(text);
    }
    hex(&digest.finalize()[..8])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_counts_where_it_stands() {
        assert_eq!(hex(&[0, 0x0a, 0xff]), "000aff");
        // As `printf '\1\0\0\0\0\0\0\0a\0\0\0\0\0\0\0\0' | sha256sum` prints it.
        assert_eq!(short(["a", ""]), "49a1af1b982d48d4");
        assert_ne!(short(["a", ""]), short(["", "a"]));
    }
}
