//! The files that a configuration names: which they are, and how they become blocks in it.

use super::edit::edited;
use super::finding::{Finding, Guest};
use super::options::is_one_of;
use super::parse::{self, Opt};
use crate::contract::place::Place;
use std::collections::BTreeMap;

/// What a file named by an option is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// One that may become a block, and is no secret.
    File,
    /// One that may become a block, and is a secret.
    Key,
    /// One that can only be a file.
    Outside,
}

/// The kind of an option's file, which is its first parameter; `None` for an option without one.
pub(super) fn kind(option: &str) -> Option<Kind> {
    const KINDS: [(Kind, &str); 3] = [
        (Kind::File, "ca cert crl-verify dh extra-certs"),
        (
            Kind::Key,
            "auth-user-pass http-proxy-user-pass key pkcs12 secret tls-auth tls-crypt tls-crypt-v2",
        ),
        (
            Kind::Outside,
            "askpass auth-gen-token-secret capath cd client-config-dir config \
             management-client-user-pass pkcs11-providers tls-export-cert tmp-dir",
        ),
    ];
    let mut kinds = KINDS.into_iter();
    let (kind, _) = kinds.find(|(_, options)| is_one_of(options, option))?;
    Some(kind)
}

/// The index of the parameter that names a file.
fn index(option: &Opt) -> Option<usize> {
    match option.name.as_str() {
        // HOST PORT FILE [METHOD]
        "http-proxy" => match option.parameter(2)? {
            "auto" | "auto-nct" | "none" | "basic" | "ntlm" | "ntlm2" => None,
            _ => Some(2),
        },
        // No file, but the word for none.
        "dh" if option.parameter(0) == Some("none") => None,
        "socks-proxy" => option.parameter(2).map(|_| 2),
        name => kind(name)
            .filter(|_| option.parameter(0).is_some())
            .map(|_| 0),
    }
}

/// Whether the option names a file that the guest will not have.
pub(super) fn is_absent(option: &Opt, guest: &Guest) -> bool {
    let Some(at) = index(option).filter(|_| option.block.is_none()) else {
        return false;
    };
    let path = option.parameter(at).unwrap_or_default();
    match option.name.as_str() {
        "auth-user-pass" if guest.user_pass => false,
        // Debian's openvpn runs there anyway, and systemd gives it this folder.
        "cd" => path.trim_end_matches('/') != "/etc/openvpn",
        "tmp-dir" => path.trim_end_matches('/') != "/tmp",
        _ => !(guest.taken_in && may_be_taken(option)),
    }
}

/// Whether the file can become a block.
fn may_be_taken(option: &Opt) -> bool {
    // `crl-verify FOLDER dir` is no file.
    let is_folder = option.name == "crl-verify" && option.parameters.len() > 1;
    !is_folder && matches!(kind(&option.name), Some(Kind::File | Kind::Key))
}

/// What to say of a file that will not be there.
pub(super) fn absent(option: &Opt) -> Option<Finding> {
    let at = index(option)?;
    let path = option.parameter(at)?;
    let name = option.name.as_str();
    let message = format!("`{name}` names the file {path}, which the guest does not have");
    let hint = match name {
        "auth-user-pass" => {
            "`user_pass_file: FILE` in `openvpn` of lab.yaml, a file with user and password"
                .to_owned()
        }
        "askpass" => "no such line, and a key without a password: openssl pkey -in vm.key -out \
                      vm-plain.key"
            .to_owned(),
        "config" => "its lines in this file".to_owned(),
        _ if may_be_taken(option) => format!(
            "`inline: true` in `openvpn` of lab.yaml, or its content between <{name}> and </{name}>"
        ),
        _ => "no such line".to_owned(),
    };
    Some(Finding::error(option.place_of(at), message, hint))
}

/// A file that a configuration names and that can become a block in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// The option, such as `ca`.
    pub option: String,
    /// The path as it is written.
    pub path: String,
    /// Where the path is written.
    pub place: Place,
    /// Whether its content is a secret.
    pub is_secret: bool,
    /// Whether it is no text: it is taken in as base64.
    pub is_binary: bool,
}

/// The files that can be taken in, in the order of the lines. `user_pass` says that
/// `auth-user-pass` gets its own file in the guest.
pub fn named_files(text: &str, user_pass: bool) -> Vec<Named> {
    let options = parse::parse(text).options;
    let taken = options.iter().filter(|o| is_taken(o, user_pass));
    taken
        .map(|option| Named {
            option: option.name.clone(),
            path: option.parameter(0).unwrap_or_default().to_owned(),
            place: option.place_of(0),
            is_secret: kind(&option.name) == Some(Kind::Key),
            is_binary: option.name == "pkcs12",
        })
        .collect()
}

fn is_taken(option: &Opt, user_pass: bool) -> bool {
    option.block.is_none()
        && may_be_taken(option)
        && index(option).is_some()
        && !(user_pass && option.name == "auth-user-pass")
}

/// Files that were read, by the place of their path.
pub type Taken = BTreeMap<Place, String>;

/// The configuration with a block in place of each file that was read.
pub fn with_blocks(text: &str, files: &Taken) -> String {
    edited(text, |option| {
        let content = files.get(&option.place_of(0));
        let content = content.filter(|_| option.block.is_none())?;
        let name = &option.name;
        // The second parameter of these is a number that a block has no room for.
        let direction = match (name.as_str(), option.parameter(1)) {
            ("tls-auth" | "secret", Some(number)) => format!("key-direction {number}\n"),
            _ => String::new(),
        };
        let end = if content.ends_with('\n') { "" } else { "\n" };
        Some(format!("{direction}<{name}>\n{content}{end}</{name}>\n"))
    })
}

/// Whether a private key asks for a password.
fn is_encrypted(key: &str) -> bool {
    key.contains("BEGIN ENCRYPTED PRIVATE KEY") || key.contains("Proc-Type: 4,ENCRYPTED")
}

/// What is wrong with a file's content, whether it is a block or will be one.
pub(super) fn content(option: &str, content: &str, place: Place) -> Option<Finding> {
    let (wanted, hint) = match option {
        "ca" | "cert" | "extra-certs" => ("CERTIFICATE-----", "a certificate"),
        "key" => ("PRIVATE KEY-----", "a private key"),
        "tls-auth" | "secret" | "tls-crypt" => (
            "BEGIN OpenVPN Static key V1-----",
            "a key of `openvpn --genkey secret`",
        ),
        "tls-crypt-v2" => (
            "BEGIN OpenVPN tls-crypt-v2 client key-----",
            "a client's key of `openvpn --genkey tls-crypt-v2-client`",
        ),
        "auth-user-pass" if content.lines().count() < 2 => {
            let message = "`auth-user-pass` without a password would ask for it at the console";
            return Some(Finding::error(
                place,
                message,
                "user and password, one a line",
            ));
        }
        _ => return None,
    };
    if !content.contains(wanted) {
        let message = format!("`{option}` holds no {}", hint.trim_start_matches("a "));
        let hint = format!("{hint} in PEM form, from -----BEGIN to -----END");
        return Some(Finding::error(place, message, hint));
    }
    (option == "key" && is_encrypted(content)).then(|| {
        Finding::error(
            place,
            "this key has a password: OpenVPN would ask for it at the console, where nobody is",
            "a key without one: openssl pkey -in vm.key -out vm-plain.key",
        )
    })
}

/// What is wrong with the content of a file that is to be taken in, at the place of its path.
pub fn classify_content(file: &Named, text: &str) -> Option<Finding> {
    content(&file.option, text, file.place)
}
