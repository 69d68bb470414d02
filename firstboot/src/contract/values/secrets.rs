//! Keys and passwords. Those that are secrets are held as such.

use super::secret::Secret;
use super::text::{ValueError, fitting, is_one_line, text_value};
use base64ct::{Base64, Encoding};
use std::str::FromStr;

text_value! {
    /// A public key on one line: `type base64 comment`.
    SshKey, ssh_key
}

/// OpenSSH's key types (`ssh -Q key`); DSA is gone since OpenSSH 10.
const KEY_TYPES: [&str; 7] = [
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
];
const SSH_KEY: &str = "a public key on one line: type, base64, comment, such as \
                       `ssh-ed25519 AAAA… name@pc`";
const NO_TYPE: &str = "does not begin with the type of an ssh public key";

fn ssh_key(text: &str) -> Result<String, ValueError> {
    let general = |message: &'static str| ValueError::because(message, SSH_KEY).in_general(SSH_KEY);
    if text.contains("PRIVATE KEY") {
        return Err(general("is a private key; it must stay where it was made"));
    }
    let text = text.trim();
    let known = ["ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-sha2-"];
    if !known.iter().any(|start| text.starts_with(start)) {
        return Err(general(NO_TYPE));
    }
    let form = || ValueError::no("public key on one line", SSH_KEY);
    let (_, blob) = key_words(text).ok_or_else(form)?;
    let base64 = |b: u8| b.is_ascii_alphanumeric() || b"+/=".contains(&b);
    // The blob begins with the length of the type's name: three zero bytes, base64 AAAA.
    let fits = blob.starts_with("AAAA")
        && blob.bytes().all(base64)
        && is_one_line(&text.replace('\t', " "));
    fitting(text, fits, form)
}

/// The type of a key, and its base64.
fn key_words(text: &str) -> Option<(&str, &str)> {
    let mut words = text.split([' ', '\t']).filter(|word| !word.is_empty());
    Some((words.next()?, words.next()?))
}

impl SshKey {
    /// Says why OpenSSH would make nothing of it. The guest does not ask: it hands on what a seed
    /// says, be it for an older or a newer sshd.
    pub fn whole(self) -> Result<Self, ValueError> {
        let (kind, blob) = key_words(&self.0).unwrap_or_default();
        if !KEY_TYPES.contains(&kind) {
            return Err(ValueError::because(NO_TYPE, SSH_KEY));
        }
        // RFC 4253 section 6.6: the blob begins with its type, a string with a 4-byte length.
        let named = (kind.len() as u32).to_be_bytes();
        let min = if kind == "ssh-ed25519" { 36 } else { 33 };
        let bytes = Base64::decode_vec(blob).unwrap_or_default();
        let rest = bytes.strip_prefix(&named[..]);
        let rest = rest.and_then(|rest| rest.strip_prefix(kind.as_bytes()));
        match rest.is_some_and(|rest| rest.len() >= min) {
            true => Ok(self),
            false => {
                let message = format!("is not a whole {kind} key");
                Err(ValueError::because(message, SSH_KEY))
            }
        }
    }
}

/// A password that fits on a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Password(Secret);

impl From<Password> for Secret {
    fn from(password: Password) -> Secret {
        password.0
    }
}

impl FromStr for Password {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        if text.is_empty() {
            return Err(ValueError::because("is empty", "a password"));
        }
        if !is_one_line(text) {
            let hint = "on one line, without control characters";
            return Err(ValueError::no("password on one line", hint));
        }
        Ok(Password(Secret::new(text)))
    }
}

/// A crypt(3) string that fits into a field of `/etc/shadow`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PasswordHash(Secret);

impl From<PasswordHash> for Secret {
    fn from(hash: PasswordHash) -> Secret {
        hash.0
    }
}

impl FromStr for PasswordHash {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let Password(text) = text.parse()?;
        let fits = |b: u8| b.is_ascii_graphic() && b != b':';
        let hash = text.reveal();
        if hash.starts_with(['$', '!', '*']) && hash.bytes().all(fits) {
            return Ok(PasswordHash(text));
        }
        Err(ValueError::no(
            "hash of a password",
            "a hash as `openssl passwd -6` prints it, because its type is hash (the default); write \
             `type: text` beside a password in clear text",
        ))
    }
}

/// OpenVPN's `auth-user-pass` file: a line with the user, and one with the password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserPass(Secret);

impl From<UserPass> for Secret {
    fn from(lines: UserPass) -> Secret {
        lines.0
    }
}

impl FromStr for UserPass {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let lines: Vec<&str> = text.lines().collect();
        match lines[..] {
            [user, pass]
                if [user, pass]
                    .iter()
                    .all(|line| line.parse::<Password>().is_ok()) =>
            {
                Ok(UserPass(Secret::new(text)))
            }
            _ => Err(ValueError::no(
                "user's name and password",
                "two lines, the user's name and the password",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";

    #[test]
    fn ssh_keys_of_a_seed() {
        let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGr9 admin@pc";
        assert_eq!(ssh_key(&format!("{key}\n")), Ok(key.to_owned()));
        assert!(ssh_key("sk-ssh-ed25519@openssh.com AAAAGnNr").is_ok());
        for bad in [
            "",
            "ssh-ed25519",
            "AAAA ssh-rsa",
            "ssh-rsa BBBB",
            "ssh-rsa\u{a0}AAAA",
            "-----BEGIN OPENSSH PRIVATE KEY-----",
            "ssh-rsa AAAA a\nssh-rsa AAAA b",
        ] {
            let error = ssh_key(bad).unwrap_err().to_string();
            assert_eq!(error, format!("must be {SSH_KEY}"), "{bad}");
        }
    }

    #[test]
    fn keys_that_openssh_takes_are_whole() {
        let whole = |text: &str| text.parse().and_then(SshKey::whole);
        assert!(whole(KEY).is_ok() && whole(&format!("{KEY} me@pc")).is_ok());
        for (bad, message) in [
            (&KEY[..KEY.len() - 4], "is not a whole ssh-ed25519 key"),
            (&KEY[..KEY.len() - 1], "is not a whole ssh-ed25519 key"),
            (
                &KEY.replace("ssh-ed25519 ", "ssh-rsa "),
                "is not a whole ssh-rsa key",
            ),
            (
                "ssh-dss AAAA",
                "does not begin with the type of an ssh public key",
            ),
            (
                "hunter2",
                "does not begin with the type of an ssh public key",
            ),
            (
                "-----BEGIN OPENSSH PRIVATE KEY-----\nhunter2",
                "is a private key; it must stay where it was made",
            ),
        ] {
            assert_eq!(whole(bad).unwrap_err().message(), message);
        }
    }

    #[test]
    fn passwords() {
        let is_good = |text: &str| text.parse::<Password>().is_ok();
        assert!(is_good("clear text: yes") && !is_good("") && !is_good("two\nlines"));
        assert!(!is_good("two\u{2028}lines") && !is_good("two\u{85}lines"));
        let is_hash = |text: &str| text.parse::<PasswordHash>().is_ok();
        assert!(is_hash("$6$salt$hash") && !is_hash("clear") && !is_hash("$6$a:b"));
        let lines = |text: &str| text.parse::<UserPass>().map(|lines| lines.0);
        assert_eq!(lines("a\r\nb\n"), Ok(Secret::new("a\r\nb\n")));
        assert!(lines("a\n").is_err() && lines("a\n\n").is_err() && lines("a\nb\nc").is_err());
    }
}
