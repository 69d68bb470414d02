//! A ticket of Proxmox VE: what stands for a login, in the place of the cluster's password.
//!
//! `PVE:USER:HHHHHHHH::SIGNATURE`, where the eight hex digits are the seconds since 1970 at which it was made and
//! the signature is base64 (PVE::Ticket's `assemble_rsa_ticket`; seen: transcript 30). Only root@pam
//! may add a node: the call has no `permissions`, which makes it root's alone.

use crate::contract::values::Secret;
use std::fmt;

/// How long a ticket is worth something, in seconds from its making (PVE::AccessControl).
pub const TICKET_LIFE: u64 = 2 * 3600;

/// What the ticket of the only user that can add a node begins with.
const HEAD: &str = "PVE:root@pam:";
/// What stands in the user's place while a second factor is still asked for.
const HALVES: [&str; 3] = ["!tfa!", "tfa!", "u2f!"];
/// The digits of its time.
const DIGITS: usize = 8;

/// A ticket of root@pam.
#[derive(Clone, PartialEq, Eq)]
pub struct Ticket {
    text: Secret,
    made: u64,
}

/// Why a text is no ticket that can be used. The words hold nothing of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TicketError {
    /// It has another form.
    #[error(
        "must be a ticket of root@pam: `PVE:root@pam:`, eight hex digits, `::` and a signature, on \
         one line"
    )]
    NoTicket,
    /// It is somebody else's.
    #[error("is a ticket of another user: only root@pam can add a node to a cluster")]
    OtherUser,
    /// The login that it was made at has not been finished.
    #[error(
        "is only half of a login: the second factor is still asked for before there is a ticket"
    )]
    HalfALogin,
}

impl Ticket {
    /// Reads the text of a ticket. Blanks and line ends around it are left out.
    pub fn parse(text: &str) -> Result<Self, TicketError> {
        let text = text.trim();
        let Some(rest) = text.strip_prefix(HEAD) else {
            return Err(match text.strip_prefix("PVE:") {
                Some(rest) if HALVES.iter().any(|half| rest.starts_with(half)) => {
                    TicketError::HalfALogin
                }
                Some(rest) if rest.contains("::") => TicketError::OtherUser,
                _ => TicketError::NoTicket,
            });
        };
        let (digits, signature) = rest.split_once("::").ok_or(TicketError::NoTicket)?;
        let made = Some(digits)
            .filter(|digits| digits.len() == DIGITS && digits.bytes().all(is_digit))
            .and_then(|digits| u64::from_str_radix(digits, 16).ok());
        let base64 = |b: u8| b.is_ascii_alphanumeric() || b"+/=".contains(&b);
        match made {
            Some(made) if !signature.is_empty() && signature.bytes().all(base64) => Ok(Ticket {
                text: Secret::new(text),
                made,
            }),
            _ => Err(TicketError::NoTicket),
        }
    }

    /// Its text, which is worth root's password as long as it is valid.
    pub fn text(&self) -> &Secret {
        &self.text
    }

    /// When it was made, in seconds since 1970, by the clock of the member that made it.
    pub fn made(&self) -> u64 {
        self.made
    }

    /// Until when it is taken, in seconds since 1970, by the same clock.
    pub fn valid_until(&self) -> u64 {
        self.made + TICKET_LIFE
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ticket(…, made: {})", self.made)
    }
}

/// A hex digit as Proxmox writes it, and takes it (PVE::Ticket): `A`, never `a`.
fn is_digit(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'A'..=b'F')
}

/// Whether a text is a ticket whose beginning is partly overwritten with `x`: a power cut has torn its
/// removal. It is of no use any more, and what holds it is to stay readable.
pub(super) fn is_torn(text: &str) -> bool {
    let mut torn = false;
    let mut bytes = text.bytes();
    let mut next = |fits: &dyn Fn(u8) -> bool| {
        bytes.next().is_some_and(|byte| {
            torn |= byte == b'x';
            byte == b'x' || fits(byte)
        })
    };
    let head = HEAD.bytes().all(|wanted| next(&|byte| byte == wanted));
    let time = head && (0..DIGITS).all(|_| next(&is_digit));
    let colons = time && (0..2).all(|_| next(&|byte| byte == b':'));
    colons && torn
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Transcript 30's head, with a signature of its length.
    fn text() -> String {
        format!("PVE:root@pam:6B0844C3::{}", "rZ9+/".repeat(69))
    }

    #[test]
    fn its_time_is_in_its_text() {
        let ticket = Ticket::parse(&format!("{}\n", text())).unwrap();
        assert_eq!(ticket.text().reveal(), text());
        assert_eq!(ticket.made(), 0x6B0844C3);
        assert_eq!(ticket.valid_until(), ticket.made() + 7200);
        assert_eq!(format!("{ticket:?}"), "Ticket(…, made: 1795704003)");
    }

    #[test]
    fn what_is_none_is_refused_in_words() {
        let words = |text: &str| Ticket::parse(text).unwrap_err().to_string();
        let none = "must be a ticket of root@pam: `PVE:root@pam:`, eight hex digits, `::` and a \
                    signature, on one line";
        for text in [
            "",
            "geheim",
            "PVE:",
            "PVE:root@pam:6B0844C3",
            "PVE:root@pam:6B0844C3::",
            "PVE:root@pam:6B0844C::rZ9",
            "PVE:root@pam:6B0844CG::rZ9",
            "PVE:root@pam:6b0844c3::rZ9",
            "PVE:root@pam:+B0844C3::rZ9",
            "PVE:root@pam:6B0844C3::rZ 9",
            "PVE:root@pam:6B0844C3::rZ9\nPVE:root@pam:6B0844C3::rZ9",
            "PVEVNC:root@pam:6B0844C3::rZ9",
            "PVE%3Aroot%40pam%3A6B0844C3%3A%3ArZ9",
        ] {
            assert_eq!(words(text), none, "{text}");
        }
        for text in [
            "PVE:admin@pve:6B0844C3::rZ9",
            "PVE:root@pve:6B0844C3::rZ9",
            "PVE:root@pam!token:6B0844C3::rZ9",
        ] {
            let other = "is a ticket of another user: only root@pam can add a node to a cluster";
            assert_eq!(words(text), other, "{text}");
        }
        for text in [
            "PVE:!tfa!%7B%22totp%22%3Atrue%7D:6B0844C3::rZ9",
            "PVE:tfa!root@pam:6B0844C3::rZ9",
        ] {
            assert_eq!(
                words(text),
                "is only half of a login: the second factor is still asked for before there is a \
                 ticket"
            );
        }
    }

    #[test]
    fn every_torn_head_is_known_and_nothing_else() {
        let whole = text();
        let head = HEAD.len() + DIGITS + 2;
        for at in 0..head {
            let mut torn = whole.clone().into_bytes();
            torn[at] = b'x';
            assert!(is_torn(std::str::from_utf8(&torn).unwrap()), "{at}");
            torn[at] = b'y';
            assert!(!is_torn(std::str::from_utf8(&torn).unwrap()), "{at}");
        }
        assert!(is_torn(&"x".repeat(whole.len())));
        for other in [
            "",
            "xx",
            "PVE:x",
            "geheim-und-lang-genug-fuer-alles",
            &whole,
        ] {
            assert!(!is_torn(other), "{other}");
        }
    }
}
