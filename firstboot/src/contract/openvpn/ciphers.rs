//! The ciphers and digests of OpenVPN 2.6 with OpenSSL 3 without its legacy provider, as Debian
//! 12 and 13 have it (`openvpn --show-ciphers`, `--show-digests`).

use super::options::is_one_of;

/// What OpenVPN 2.6 negotiates when nothing else is said.
pub(super) const NEGOTIATED: [&str; 3] = ["AES-256-GCM", "AES-128-GCM", "CHACHA20-POLY1305"];

const DIGESTS: &str = "
    BLAKE2B512 BLAKE2S256 MD5 MD5-SHA1 NONE RIPEMD160 SHA1 SHA224 SHA256 SHA384 SHA3-224
    SHA3-256 SHA3-384 SHA3-512 SHA512 SHA512-224 SHA512-256 SHAKE128 SHAKE256 SM3
";

/// Whether OpenVPN can encrypt with it. Case does not matter; `none` is one.
pub(super) fn is_cipher(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    let has = |names: &[&str], rest: &str| names.contains(&rest);
    let modes = ["CBC", "CFB", "CFB1", "CFB8", "OFB", "GCM"];
    let parts = name.split_once('-').and_then(|(kind, rest)| {
        let (bits, mode) = rest.split_once('-').unwrap_or((rest, ""));
        Some((kind, bits, mode)).filter(|(kind, ..)| !kind.is_empty())
    });
    match parts {
        Some(("AES" | "ARIA", "128" | "192" | "256", mode)) => has(&modes, mode),
        Some(("CAMELLIA", "128" | "192" | "256", mode)) => has(&modes[..5], mode),
        Some(("SM4", mode, "")) => has(&["CBC", "CFB", "OFB"], mode),
        Some(("DES", "EDE", mode)) => has(&["CBC", "CFB", "OFB"], mode),
        Some(("DES", "EDE3", mode)) => has(&modes[..5], mode),
        Some(("CHACHA20", "POLY1305", "")) => true,
        _ => name == "NONE",
    }
}

/// Whether OpenVPN can sign packets with it. OpenSSL takes `RSA-` before a name, too.
pub(super) fn is_digest(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    is_one_of(DIGESTS, name.strip_prefix("RSA-").unwrap_or(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_openssl_3_has_and_has_not() {
        for name in [
            "AES-256-GCM",
            "aes-128-cbc",
            "CAMELLIA-192-OFB",
            "DES-EDE3-CBC",
            "SM4-CBC",
            "ChaCha20-Poly1305",
            "none",
        ] {
            assert!(is_cipher(name), "{name}");
        }
        for name in [
            "BF-CBC",
            "CAST5-CBC",
            "DES-CBC",
            "RC2-CBC",
            "SEED-CBC",
            "CAMELLIA-128-GCM",
            "AES",
            "",
        ] {
            assert!(!is_cipher(name), "{name}");
        }
        assert!(is_digest("SHA512") && is_digest("rsa-sha256") && is_digest("none"));
        assert!(!is_digest("MD4") && !is_digest("WHIRLPOOL"));
    }
}
