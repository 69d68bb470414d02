//! What a peer's certificate says of itself.

use crate::system::clock;
use crate::system::text;
use sha2::{Digest, Sha256};
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use x509_cert::der::Decode;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

/// A certificate as it was shown, in DER.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Certificate(Vec<u8>);

/// What can be read in one; all text is fit for a terminal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Details {
    /// Whose it is.
    pub subject: String,
    /// Who signed it.
    pub issuer: String,
    /// The names and addresses that it is for.
    pub names: Vec<String>,
    /// When it begins to be valid, in seconds since 1970.
    pub from: u64,
    /// When it ends, the same.
    pub to: u64,
}

impl Certificate {
    /// Takes the bytes, which need not be a certificate.
    pub(crate) fn new(der: Vec<u8>) -> Self {
        Certificate(der)
    }

    /// Its SHA-256 as Proxmox shows it: 32 pairs of upper-case hex digits with colons.
    pub(crate) fn fingerprint(&self) -> String {
        let digest = Sha256::digest(&self.0);
        let pairs: Vec<String> = digest.iter().map(|byte| format!("{byte:02X}")).collect();
        pairs.join(":")
    }

    /// What it says; `None` when it is none that can be read.
    pub(crate) fn details(&self) -> Option<Details> {
        let read = x509_cert::Certificate::from_der(&self.0).ok()?;
        let inner = read.tbs_certificate();
        let names = match inner.get_extension::<SubjectAltName>() {
            Ok(Some((_, names))) => names.0.iter().filter_map(name).collect(),
            _ => Vec::new(),
        };
        let validity = inner.validity();
        Some(Details {
            subject: text::plain(&inner.subject().to_string()),
            issuer: text::plain(&inner.issuer().to_string()),
            names,
            from: validity.not_before.to_unix_duration().as_secs(),
            to: validity.not_after.to_unix_duration().as_secs(),
        })
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificate({})", self.fingerprint())
    }
}

impl Details {
    /// What its dates say at this moment (seconds since 1970): nothing, where it is valid.
    /// Proxmox dates its own back by a day (`faketime yesterday` in PVE::Cluster::Setup), so one
    /// that is not valid yet says that this clock is behind by more than that, or the other was ahead.
    pub(crate) fn dates_are_wrong(&self, now: u64) -> Option<String> {
        if now < self.from {
            Some(format!(
                "the certificate is not valid before {}, and this PC's clock says {}: this \
                 clock is probably behind, or the member's was ahead when it was made (date -u on \
                 both; timedatectl)",
                clock::minute(self.from),
                clock::minute(now)
            ))
        } else if now > self.to {
            Some(format!(
                "the certificate has ended on {}: on that member, pvecm updatecerts --force makes \
                 a new one",
                clock::minute(self.to)
            ))
        } else {
            None
        }
    }
}

fn name(name: &GeneralName) -> Option<String> {
    match name {
        GeneralName::DnsName(name) => Some(text::plain(name.as_ref())),
        GeneralName::IpAddress(bytes) => {
            let bytes = bytes.as_bytes();
            if let Ok(four) = <[u8; 4]>::try_from(bytes) {
                return Some(Ipv4Addr::from(four).to_string());
            }
            let sixteen = <[u8; 16]>::try_from(bytes).ok()?;
            Some(Ipv6Addr::from(sixteen).to_string())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_certificate_still_has_a_fingerprint() {
        let none = Certificate::new(b"hello".to_vec());
        assert_eq!(none.details(), None);
        // printf hello | sha256sum
        assert!(none.fingerprint().starts_with("2C:F2:4D:BA:"));
        assert_eq!(none.fingerprint().len(), 95);
    }

    #[test]
    fn dates() {
        let details = Details {
            subject: String::new(),
            issuer: String::new(),
            names: Vec::new(),
            from: 1_795_387_191,
            to: 1_795_387_191 + 3600,
        };
        assert_eq!(details.dates_are_wrong(1_795_387_191), None);
        let words = details.dates_are_wrong(1_795_387_191 - 86_400).unwrap();
        assert_eq!(
            words,
            "the certificate is not valid before 2026-11-22 22:39 UTC, and this PC's clock says \
             2026-11-21 22:39 UTC: this clock is probably behind, or the member's was ahead when it was \
             made (date -u on both; timedatectl)"
        );
        let words = details.dates_are_wrong(1_795_387_191 + 3601).unwrap();
        assert!(words.starts_with("the certificate has ended on 2026-11-22 23:39 UTC"));
    }
}
