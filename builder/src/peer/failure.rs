//! Why a member was of no use, and what to do without one.

use crate::system::interrupt;
use crate::system::text;
use std::fmt;
use std::io::{self, ErrorKind};

/// What makes a ticket on a member, for root there; it is worth two hours and asks for no second
/// factor. Seen: it joins in the place of the password.
pub(crate) const MEMBER_LINE: &str = "perl -MPVE::AccessControl -e 'print \
                               PVE::AccessControl::assemble_ticket(\"root\\@pam\")'";

/// Why a peer was of no use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// It cannot be reached from here: why.
    Silent(String),
    /// It showed another certificate than the pinned ones: this one.
    Certificate {
        /// Its SHA-256.
        shown: String,
    },
    /// It knows the user and the secret, and takes them not, or no longer, or does not know
    /// them: Proxmox says the same in every case.
    Denied,
    /// Anything else, in words that follow its address.
    Other(String),
    /// The user asked to stop.
    Interrupted,
}

impl Failure {
    /// What an error of the connection means.
    pub(super) fn of(error: &io::Error) -> Self {
        if interrupt::requested() {
            return Failure::Interrupted;
        }
        if let Some(tls) = error
            .get_ref()
            .and_then(|e| e.downcast_ref::<rustls::Error>())
        {
            return Failure::Other(match tls {
                rustls::Error::InvalidMessage(_) => "it does not speak TLS".to_owned(),
                other => format!("no TLS connection: {}", text::plain(&other.to_string())),
            });
        }
        Failure::Other(match error.kind() {
            ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => {
                "it closed the connection".to_owned()
            }
            _ => text::plain(&error.to_string()),
        })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Silent(words) | Failure::Other(words) => f.write_str(words),
            Failure::Certificate { shown } => {
                write!(f, "it shows another certificate than lab.yaml has: {shown}")
            }
            Failure::Denied => f.write_str("authentication failure"),
            Failure::Interrupted => f.write_str("interrupted"),
        }
    }
}
