//! The OpenVPN part of a lab: what was said of it, and its configuration as the guest gets it.

use super::secrets::{self, Refusal};
use super::values;
use crate::config::yaml::{Keys, Kind, Node, Place, Problem, Reader, Spanned, joined, validators};
use crate::system::program;
use anyhow::{Context, Result, bail};
use base64ct::{Base64, Encoding};
use firstboot::contract::openvpn::{self as config, Finding, Guest};
use firstboot::contract::seed::{OpenVpnInstance, Secret};
use firstboot::contract::values::InstanceName;
use std::path::{Path, PathBuf};

/// The bridge's port, which OpenVPN feeds.
pub const BRIDGE_PORT: &str = "tap120";

pub(super) const OPENVPN: (&str, &str) = (
    "openvpn",
    "openvpn: {config: \"secrets/vpn/{name}.ovpn\"}, or none for a VM without",
);
const INSTANCE: (&str, &str) = ("instance", "instance: a word such as vpn-interco");
const CONFIG: (&str, &str) = (
    "config",
    "config: a file with mode 0600, one per VM, such as secrets/vpn/{name}.ovpn",
);
/// As [`CONFIG`], below the instance's name.
const FILE: (&str, &str) = (
    "file",
    "file: a file with mode 0600, one per VM, such as secrets/vpn/{name}.ovpn",
);
const FURTHER: Keys = &[
    (
        "inline",
        "inline: true takes in the files that the configuration names",
    ),
    (
        "user_pass_file",
        "user_pass_file: a file with mode 0600, the user in its first line, the password in its second",
    ),
    (
        "shared",
        "shared: true where the server takes one certificate for all",
    ),
];
const KEYS: Keys = &joined::<5>(&[INSTANCE, CONFIG], FURTHER);
const NAMED_KEYS: Keys = &joined::<4>(&[FILE], FURTHER);

/// An OpenVPN instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenVpn {
    /// Its name, such as `vpn-interco`.
    pub instance: InstanceName,
    /// The configuration file on this host. A secret.
    pub config: PathBuf,
    /// Whether the files that it names are put into it.
    pub inline: bool,
    /// The file with user and password.
    pub user_pass_file: Option<PathBuf>,
    /// Whether several VMs are meant to have one certificate.
    pub shared: bool,
}

/// An OpenVPN part, perhaps incomplete until a VM's own is laid over the default.
#[derive(Debug, Clone)]
pub(super) struct OpenVpnOverride {
    pub place: Place,
    pub instance: Option<InstanceName>,
    pub config: Option<Spanned<String>>,
    /// Whether `config` was written, be it wrong: it is then not missing.
    pub has_config: bool,
    pub inline: Option<bool>,
    pub user_pass_file: Option<Spanned<String>>,
    pub shared: Option<bool>,
    /// What its configuration's key is called.
    key: (&'static str, &'static str),
}

/// What a VM's OpenVPN files hold.
pub(super) struct Read {
    /// What identifies it to the server.
    pub identity: String,
    /// What deserves a look.
    pub warnings: Vec<Problem>,
}

impl OpenVpnOverride {
    /// This override, and the default where it says nothing.
    pub(super) fn over(self, default: Self) -> Self {
        OpenVpnOverride {
            place: self.place,
            instance: self.instance.or(default.instance),
            has_config: self.has_config || default.has_config,
            config: match self.has_config {
                true => self.config,
                false => default.config,
            },
            inline: self.inline.or(default.inline),
            user_pass_file: self.user_pass_file.or(default.user_pass_file),
            shared: self.shared.or(default.shared),
            key: self.key,
        }
    }

    /// Says what it lacks.
    pub(super) fn require(&self, r: &mut Reader) {
        if !self.has_config {
            let (key, hint) = self.key;
            r.problem(self.place, format!("the key `{key}` is missing"), hint);
        }
    }
}

/// Reads `openvpn`: its keys, or below the instance's name.
pub(super) fn read(r: &mut Reader, node: &Node) -> OpenVpnOverride {
    let (named, node, keys, key) = match named(node) {
        Some((name, inner)) => (Some(name), inner, NAMED_KEYS, FILE),
        None => (None, node, KEYS, CONFIG),
    };
    let f = r.fields(node, "`openvpn`", OPENVPN.1, keys);
    let instance = match named {
        None => r.field(&f, "instance", validators::value).map(|i| i.value),
        Some((place, name)) => match validators::value(name) {
            Ok(name) => Some(name),
            Err(message) => {
                r.problem(place, message, INSTANCE.1);
                None
            }
        },
    };
    OpenVpnOverride {
        place: f.place,
        instance,
        config: r.field(&f, key.0, values::path),
        has_config: f.accounted(key.0),
        inline: r.field_scalar(&f, "inline", yes_or_no).map(|i| i.value),
        user_pass_file: r.field(&f, "user_pass_file", values::path),
        shared: r.field_scalar(&f, "shared", yes_or_no).map(|s| s.value),
        key,
    }
}

/// `{NAME: {file: …}}`: one key that is none of ours, and a map below it.
fn named(node: &Node) -> Option<((Place, &str), &Node)> {
    let Kind::Map(entries) = &node.kind else {
        return None;
    };
    let [entry] = &entries[..] else { return None };
    let is_ours = KEYS.iter().any(|(key, _)| *key == entry.key);
    let is_map = matches!(entry.value.kind, Kind::Map(_));
    (is_map && !is_ours).then_some(((entry.place, entry.key.as_str()), &entry.value))
}

fn yes_or_no(text: &str) -> Result<bool, String> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("this is neither true nor false".to_owned()),
    }
}

/// Reads a VM's OpenVPN files and notes every problem: of the files themselves at the keys of
/// lab.yaml, of what the configuration says at its own lines. `shown` is its path for messages.
pub(super) fn check(
    r: &mut Reader,
    openvpn: &OpenVpn,
    shown: &Path,
    place: Place,
    user_pass: Option<(&Spanned<String>, &Path)>,
    has_bridge: bool,
) -> Option<Read> {
    let mut well = true;
    let mut refuse = |r: &mut Reader, place, refusal: Refusal| {
        r.problem(place, refusal.message, refusal.hint);
        well = false;
    };
    let mut user = None;
    if let (Some((key, shown)), Some(path)) = (user_pass, &openvpn.user_pass_file) {
        match secrets::user_pass(path, shown) {
            Ok(lines) => user = lines.reveal().lines().next().map(str::to_owned),
            Err(refusal) => refuse(r, key.place, refusal),
        }
    }
    let bytes = match secrets::bytes(&openvpn.config, shown) {
        Ok(bytes) => bytes,
        Err(refusal) => {
            refuse(r, place, refusal);
            return None;
        }
    };
    let text = match config::text_of(&bytes) {
        Ok(text) => text,
        Err(finding) => {
            let lines = vec![STARS.to_owned(); 1];
            r.problem_elsewhere(&shown.display().to_string(), lines, problem(&finding));
            return None;
        }
    };
    let (whole, mut findings) = take_in(openvpn, text);
    findings.extend(config::classify(text, &guest(openvpn, has_bridge)));
    let (errors, warnings): (Vec<_>, Vec<_>) = findings.iter().partition(|f| f.is_error);
    let mut warnings: Vec<Problem> = warnings.into_iter().map(problem).collect();
    if !errors.is_empty() {
        for warning in &mut warnings {
            warning.message.insert_str(0, "warning: ");
        }
        for problem in errors.iter().map(|f| problem(f)).chain(warnings.clone()) {
            let lines = config::lines_without_secrets(text);
            r.problem_elsewhere(&shown.display().to_string(), lines, problem);
        }
    }
    (well && errors.is_empty()).then(|| Read {
        identity: values::openvpn_identity(&whole, user.as_deref()),
        warnings,
    })
}

/// What stands for a line of which nothing is to be shown.
const STARS: &str = "********";

fn problem(finding: &Finding) -> Problem {
    Problem {
        place: finding.place,
        message: finding.message.clone(),
        hint: finding.hint.clone(),
    }
}

fn guest(openvpn: &OpenVpn, has_bridge: bool) -> Guest<'static> {
    Guest {
        taps: if has_bridge { &[BRIDGE_PORT] } else { &[] },
        user_pass: openvpn.user_pass_file.is_some(),
        taken_in: openvpn.inline,
    }
}

/// The configuration with the files that it names, where that is asked for, and what is wrong
/// with each of them.
fn take_in(openvpn: &OpenVpn, text: &str) -> (String, Vec<Finding>) {
    let mut findings = Vec::new();
    let mut files = config::Taken::new();
    let named = config::named_files(text, openvpn.user_pass_file.is_some());
    for file in named.iter().filter(|_| openvpn.inline) {
        match content(openvpn, file) {
            Ok(content) => {
                findings.extend(config::classify_content(file, &content));
                files.insert(file.place, content);
            }
            Err(Refusal { message, hint }) => findings.push(Finding {
                place: file.place,
                is_error: true,
                message,
                hint,
            }),
        }
    }
    (config::with_blocks(text, &files), findings)
}

/// A file that the configuration names; its path begins at the configuration's folder.
fn content(openvpn: &OpenVpn, file: &config::Named) -> Result<String, Refusal> {
    let folder = openvpn.config.parent().unwrap_or(Path::new("/"));
    let (path, shown) = (folder.join(&file.path), Path::new(&file.path));
    let bytes = match file.is_secret {
        true => secrets::bytes(&path, shown)?,
        false => secrets::open_bytes(&path, shown)?,
    };
    match (file.is_binary, String::from_utf8(bytes)) {
        (false, Ok(text)) => Ok(text),
        (true, Ok(text)) => Ok(base64(text.as_bytes())),
        (true, Err(error)) => Ok(base64(error.as_bytes())),
        (false, Err(_)) => Err(Refusal {
            message: format!("{} is not text", shown.display()),
            hint: format!(
                "PEM, such as: openssl x509 -inform der -in {} -out FILE",
                program::quote(&file.path)
            ),
        }),
    }
}

/// In lines of 64 characters.
fn base64(bytes: &[u8]) -> String {
    let text = Base64::encode_string(bytes);
    let lines = text.as_bytes().chunks(64).map(String::from_utf8_lossy);
    lines.collect::<Vec<_>>().join("\n") + "\n"
}

impl OpenVpn {
    /// The instance as it goes onto the seed disk. Fails where the files are not what they were
    /// when the lab was read.
    pub fn read(&self, has_bridge: bool) -> Result<OpenVpnInstance> {
        let shown = self.config.display();
        let bytes = secrets::bytes(&self.config, &self.config)
            .map_err(|refusal| secrets::error(&self.config, &refusal))?;
        let text = config::text_of(&bytes).map_err(|finding| {
            anyhow::anyhow!("{shown}: {}\n  right: {}", finding.message, finding.hint)
        })?;
        let (whole, mut findings) = take_in(self, text);
        findings.extend(config::classify(text, &guest(self, has_bridge)));
        if let Some(Finding {
            place,
            message,
            hint,
            ..
        }) = findings.iter().find(|f| f.is_error)
        {
            bail!(
                "{shown}:{}:{}: {message}\n  right: {hint}",
                place.line,
                place.column
            );
        }
        let user_pass = match &self.user_pass_file {
            None => None,
            Some(file) => Some(
                secrets::user_pass(file, file)
                    .map_err(|refusal| secrets::error(file, &refusal))
                    .context("cannot read OpenVPN's user and password")?,
            ),
        };
        Ok(OpenVpnInstance {
            config: Secret::new(whole),
            user_pass,
            shared: self.shared,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_has_lines() {
        assert_eq!((base64(b""), base64(b"fo")), ("\n".into(), "Zm8=\n".into()));
        let lines = base64(&[0; 49]);
        assert_eq!(lines.lines().map(str::len).collect::<Vec<_>>(), [64, 4]);
    }
}
