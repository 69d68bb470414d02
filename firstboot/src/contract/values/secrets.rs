//! Keys and passwords. Those that are secrets are held as such.

use super::secret::Secret;
use super::text::{ValueError, fitting, is_one_line, text_value};
use base64ct::{Base64, Encoding};
use sha_crypt::{CustomizedPasswordHasher, Params, PasswordVerifier, ShaCrypt};
use std::str::FromStr;

text_value! {
    /// A public key on one line, `type base64 comment`, of which OpenSSH makes something.
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

fn ssh_key(text: &str) -> Result<String, ValueError> {
    let general = |message: &'static str| ValueError::because(message, SSH_KEY).in_general(SSH_KEY);
    if text.contains("PRIVATE KEY") {
        return Err(general("is a private key; it must stay where it was made"));
    }
    let text = text.trim();
    let mut words = text.split([' ', '\t']).filter(|word| !word.is_empty());
    let (kind, blob) = (words.next().unwrap_or_default(), words.next());
    if !KEY_TYPES.contains(&kind) {
        return Err(general("does not begin with the type of an ssh public key"));
    }
    let form = || ValueError::no("public key on one line", SSH_KEY);
    let blob = blob.ok_or_else(form)?;
    // RFC 4253 section 6.6: the blob begins with its type, a string with a 4-byte length.
    let named = (kind.len() as u32).to_be_bytes();
    let min = if kind == "ssh-ed25519" { 36 } else { 33 };
    let bytes = Base64::decode_vec(blob).unwrap_or_default();
    let rest = bytes.strip_prefix(&named[..]);
    let rest = rest.and_then(|rest| rest.strip_prefix(kind.as_bytes()));
    if rest.is_none_or(|rest| rest.len() < min) {
        let message = format!("is not a whole {kind} key");
        return Err(ValueError::because(message, SSH_KEY));
    }
    fitting(text, is_one_line(&text.replace('\t', " ")), form)
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

impl PasswordHash {
    /// crypt(3)'s SHA-512 of a password, with a salt of 16 characters, which twelve bytes make, and 5000
    /// rounds. Fails where the password is none.
    pub fn of(password: &Secret, salt: [u8; 12]) -> Result<Self, ValueError> {
        let Password(password) = password.reveal().parse()?;
        let bytes = password.reveal().as_bytes();
        let hash = ShaCrypt::SHA512.hash_password_customized(
            bytes,
            &salt,
            None,
            None,
            Params::RECOMMENDED,
        );
        let none = |_| ValueError::because("cannot be hashed", "a password");
        Ok(PasswordHash(Secret::new(hash.map_err(none)?.as_str())))
    }

    /// Whether a field of `/etc/shadow` is a SHA-2 hash of this password. One of another kind, as
    /// passwd(1) makes them, is not.
    pub fn is_of(field: &str, password: &Secret) -> bool {
        let bytes = password.reveal().as_bytes();
        ShaCrypt::SHA512.verify_password(bytes, field).is_ok()
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
        let key = format!("{KEY}\tadmin@pc");
        assert_eq!(ssh_key(&format!("{key}\n")), Ok(key));
        for bad in [
            "",
            "ssh-ed25519",
            "AAAA ssh-rsa",
            "ssh-rsa\u{a0}AAAA",
            "-----BEGIN OPENSSH PRIVATE KEY-----",
            &format!("{KEY} a\n{KEY} b"),
            &format!("{KEY} a\u{2028}b"),
        ] {
            let error = ssh_key(bad).unwrap_err().to_string();
            assert_eq!(error, format!("must be {SSH_KEY}"), "{bad}");
        }
    }

    #[test]
    fn keys_that_openssh_takes_are_whole() {
        let whole = |text: &str| text.parse::<SshKey>();
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
        let salted = |salt: u8| {
            PasswordHash::of(&Secret::new("geheim"), [salt; 12])
                .unwrap()
                .0
        };
        let (one, other) = (salted(1), salted(2));
        assert!(one.reveal().starts_with("$6$rounds=5000$") && is_hash(one.reveal()));
        assert_ne!(one, other);
        for hash in [one.reveal(), other.reveal()] {
            assert!(PasswordHash::is_of(hash, &Secret::new("geheim")));
            assert!(!PasswordHash::is_of(hash, &Secret::new("Geheim")));
        }
        // openssl passwd -6 -salt saltsalt geheim
        let made = "$6$saltsalt$sfZR6YSW/Dp0uCiyF9fDipa6ORr5LVLOwXNgtzRlXXhkC7xA3w4zy97VIC3vL14AUXGJp3yBjZVztkdiBzJnX1";
        assert!(PasswordHash::is_of(made, &Secret::new("geheim")));
        for other in [
            "",
            "*",
            "!",
            "$y$j9T$abc$def",
            "$6$saltsalt$notahash",
            "geheim",
        ] {
            assert!(
                !PasswordHash::is_of(other, &Secret::new("geheim")),
                "{other}"
            );
        }
        let lines = |text: &str| text.parse::<UserPass>().map(|lines| lines.0);
        assert_eq!(lines("a\r\nb\n"), Ok(Secret::new("a\r\nb\n")));
        assert!(lines("a\n").is_err() && lines("a\n\n").is_err() && lines("a\nb\nc").is_err());
    }
}
