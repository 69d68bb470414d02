//! A login as root at Proxmox VE's API: `POST /access/ticket`.
//!
//! Read in pve-access-control (`PVE/API2/AccessControl.pm`, `PVE/AccessControl.pm`) and seen on a
//! member: the answer holds `ticket`, worth two hours. Where root has a second factor, it holds
//! `NeedTFA: 1` and a ticket `PVE:!tfa!CHALLENGE:…`, which goes back as `tfa-challenge` beside a
//! `password` such as `totp:123456`. Every refusal is 401 `authentication failure`, whatever its
//! reason. A ticket in the password's place is renewed, and asked for no second factor.

use super::api::{self, is_true};
use super::failure::Failure;
use super::http::{self, Request};
use super::tls::Connection;
use crate::system::text;
use firstboot::contract::seed::Secret;
use serde_json::Value;

/// The only user who may add a node.
pub(super) const USER: &str = "root@pam";
const PATH: &str = "/access/ticket";
/// How a ticket of Proxmox VE for root begins, and one that still wants a second factor.
const TICKET: &str = "PVE:root@pam:";
const HALF: &str = "PVE:!tfa!";

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Login {
    Ticket {
        /// Worth two hours from its making.
        ticket: Secret,
        /// The cluster's name; `None` from a node that is in none.
        cluster: Option<String>,
    },
    /// A second factor is wanted; [`finish`] takes it.
    Half {
        /// What goes back with it.
        challenge: Secret,
        /// Which are possible.
        factors: Factors,
    },
}

/// The second factors that an account has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Factors {
    /// A code of six digits that changes.
    pub totp: bool,
    /// Keys on paper, each good once.
    pub recovery: bool,
    /// A key that types its code.
    pub yubico: bool,
}

impl Factors {
    /// Whether there is one that can be typed; the others need a browser.
    pub(crate) fn can_be_typed(self) -> bool {
        self.totp || self.recovery || self.yubico
    }
}

/// Logs root in with a password, or renews a ticket.
pub(crate) fn log_in(
    connection: &mut Connection,
    host: &str,
    secret: &Secret,
) -> Result<Login, Failure> {
    let fields = [("username", USER), ("password", secret.reveal())];
    ask(connection, host, &fields)
}

/// Answers a challenge; the factor is in Proxmox's form, such as `totp:123456`.
pub(crate) fn finish(
    connection: &mut Connection,
    host: &str,
    challenge: &Secret,
    factor: &Secret,
) -> Result<Login, Failure> {
    let fields = [
        ("username", USER),
        ("password", factor.reveal()),
        ("tfa-challenge", challenge.reveal()),
    ];
    ask(connection, host, &fields)
}

fn ask(connection: &mut Connection, host: &str, fields: &[(&str, &str)]) -> Result<Login, Failure> {
    let request = Request::Post(&http::form(fields));
    classify(&api::call(connection, host, PATH, &request, "login")?)
}

pub(crate) fn classify(data: &Value) -> Result<Login, Failure> {
    let other = |words: String| Err(Failure::Other(words));
    let Some(ticket) = data["ticket"].as_str() else {
        return other("its answer has no ticket, so it is not Proxmox VE".to_owned());
    };
    if ticket.starts_with(HALF) || is_true(&data["NeedTFA"]) {
        return Ok(Login::Half {
            challenge: Secret::new(ticket),
            factors: factors(ticket),
        });
    }
    if !ticket.starts_with(TICKET) || ticket.contains(|c: char| c.is_whitespace() || c.is_control())
    {
        let kind: String = ticket
            .chars()
            .take_while(char::is_ascii_alphabetic)
            .collect();
        return other(match kind.as_str() {
            "PVE" => format!("it gave a ticket that is not {USER}'s"),
            kind => format!("it gave a ticket of {kind:?}, not of Proxmox VE"),
        });
    }
    Ok(Login::Ticket {
        ticket: Secret::new(ticket),
        cluster: data["clustername"].as_str().map(text::plain),
    })
}

/// What the challenge inside a half ticket offers (proxmox-tfa's `TfaChallenge`): its JSON has
/// its colons as `%3A`. One that cannot be read offers what nearly all have.
fn factors(ticket: &str) -> Factors {
    let challenge = ticket.strip_prefix(HALF).and_then(|rest| {
        let (plain, _signature) = rest.rsplit_once("::")?;
        let (challenge, _time) = plain.rsplit_once(':')?;
        serde_json::from_slice::<Value>(&decoded(challenge)).ok()
    });
    let Some(challenge) = challenge.filter(Value::is_object) else {
        return Factors {
            totp: true,
            recovery: true,
            yubico: false,
        };
    };
    Factors {
        totp: is_true(&challenge["totp"]),
        // The numbers of the keys that are left.
        recovery: challenge["recovery"]
            .as_array()
            .is_some_and(|keys| !keys.is_empty()),
        yubico: is_true(&challenge["yubico"]),
    }
}

fn decoded(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut out = Vec::new();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let pair = text.get(at + 1..at + 3).filter(|_| *byte == b'%');
        match pair.and_then(|pair| u8::from_str_radix(pair, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(*byte);
                at += 1;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_challenge_offers() {
        let of = |json: &str| factors(&format!("PVE:!tfa!{json}:6B0844C3::c2ln"));
        let all = Factors {
            totp: true,
            recovery: true,
            yubico: false,
        };
        assert_eq!(of(r#"{"totp"%3Atrue,"recovery"%3A[0,1,9]}"#), all);
        assert_eq!(of(r#"{"totp":true,"recovery":[1]}"#), all);
        let none = Factors::default();
        assert_eq!(of(r#"{"webauthn"%3A{},"recovery"%3A[]}"#), none);
        assert!(!none.can_be_typed());
        assert!(of(r#"{"yubico"%3Atrue}"#).yubico);
        // Not to be locked out by a form that is not known.
        assert_eq!(of("???"), all);
        assert_eq!(factors("PVE:!tfa!"), all);
    }

    #[test]
    fn percents() {
        assert_eq!(decoded("a%3Ab%zz%4"), b"a:b%zz%4");
        assert_eq!(decoded("%C3%A9é"), "éé".as_bytes());
    }
}
