//! Everything a base image is made of, gathered and checked before any work.

use super::netinst::{self, Measure};
use super::{apt_sources, firstboot_binary, provision, requirements};
use crate::cli::{BaseArgs, Source};
use crate::definition::Definition;
use crate::text::hex;
use anyhow::{Context, Result, bail};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

/// The inputs of one build.
#[derive(Debug)]
pub struct Inputs {
    /// What goes in.
    pub definition: Definition,
    /// `netinst` or `mirror`
    pub source: &'static str,
    /// APT lines for the new system, the mirror's first.
    pub sources: Vec<String>,
    /// The guest's binary.
    pub firstboot: PathBuf,
    /// The contract that it knows, by its own words.
    pub contract: u32,
    /// File system UUID of the root, derived from the other inputs.
    pub root_uuid: String,
    /// The rendered provision script.
    pub provision: String,
    /// The key of Proxmox's repository, which has the digest that the definition pins. It is
    /// fetched when a build is due; `None` until then, and for a base without Proxmox.
    pub proxmox_key: Option<Vec<u8>>,
    /// Digests by name, for the manifest.
    pub digests: serde_json::Map<String, serde_json::Value>,
}

impl Inputs {
    /// Reads the definition and finds the mirror and firstboot.
    pub fn gather(args: &BaseArgs) -> Result<Self> {
        let definition = Definition::load(args.definition.as_deref())?;
        let source = match args.source {
            Source::Netinst => "netinst",
            Source::Mirror => "mirror",
        };
        if args.iso.is_some() && args.source != Source::Netinst {
            bail!("--iso is for the source netinst; the mirror source takes no disc");
        }
        let chosen = args.mirror.clone().or_else(|| definition.mirror.clone());
        let security = definition.security_mirror.as_deref();
        // mmdebstrap knows Debian's own mirror: where it is missing, that is said with all else
        // that is.
        let sources = apt_sources::choose(&definition.release, chosen.as_deref(), security)
            .or_else(|unknown| requirements::check_tools(args.source).and(Err(unknown)))?;
        let firstboot = firstboot_binary::find()?;
        let firstboot_digest = digest_file(&firstboot.file)?;

        let definition_json =
            serde_json::to_string(&definition).context("cannot write the definition as JSON")?;
        // The mirror source flushes nothing anyway.
        let eatmydata =
            args.source == Source::Netinst && !args.without.contains(&Measure::Eatmydata);
        // Rendered once with a placeholder: the UUID depends on everything else.
        let script = provision::render(&definition, source, "ROOT-UUID", eatmydata)?;
        let mut digests = serde_json::Map::new();
        digests.insert(
            "definition".into(),
            json!(digest(definition_json.as_bytes())),
        );
        digests.insert(
            "sources".into(),
            json!(digest(sources.join("\n").as_bytes())),
        );
        digests.insert("provision.sh".into(), json!(digest(script.as_bytes())));
        digests.insert("seal.sh".into(), json!(digest(provision::SEAL.as_bytes())));
        for (name, text) in provision::UNITS {
            digests.insert(name.into(), json!(digest(text.as_bytes())));
        }
        digests.insert("firstboot".into(), json!(firstboot_digest));
        if let Some(proxmox) = &definition.proxmox {
            digests.insert("key of Proxmox VE".into(), json!(proxmox.key.digest));
        }
        for repository in &definition.repositories {
            digests.insert(
                format!("key of {}", repository.name),
                json!(repository.key_sha256),
            );
        }
        if args.source == Source::Netinst {
            let answers = netinst::render(&definition, &sources, "ROOT-UUID", &args.without)?;
            digests.insert(
                "preseed.cfg".into(),
                json!(digest(answers.preseed.as_bytes())),
            );
            let hooks = answers.hook + &answers.startup;
            digests.insert("installer's hooks".into(), json!(digest(hooks.as_bytes())));
        }
        if let Some(iso) = &args.iso {
            digests.insert("iso".into(), json!(digest_file(iso)?));
        }
        let all = serde_json::Value::Object(digests.clone()).to_string();
        let root_uuid = uuid_from(&Sha256::digest(all.as_bytes()));
        let provision = provision::render(&definition, source, &root_uuid, eatmydata)?;
        Ok(Inputs {
            definition,
            source,
            sources,
            firstboot: firstboot.file,
            contract: firstboot.contract,
            root_uuid,
            provision,
            proxmox_key: None,
            digests,
        })
    }
}

/// SHA-256 of bytes, lower-case hex.
pub fn digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// SHA-256 of a file, lower-case hex.
pub fn digest_file(file: &Path) -> Result<String> {
    let mut hasher = Sha256::new();
    std::fs::File::open(file)
        .and_then(|mut opened| std::io::copy(&mut opened, &mut hasher))
        .with_context(|| format!("cannot read {}", file.display()))?;
    Ok(hex(&hasher.finalize()))
}

/// A UUID of version 8 (RFC 9562: free for one's own use) out of a digest.
fn uuid_from(digest: &[u8]) -> String {
    let mut text = hex(digest.get(..16).unwrap_or(&[0; 16]));
    text.replace_range(12..13, "8");
    text.replace_range(16..17, "8");
    format!(
        "{}-{}-{}-{}-{}",
        &text[..8],
        &text[8..12],
        &text[12..16],
        &text[16..20],
        &text[20..]
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_has_version_and_variant() {
        let uuid = uuid_from(&[0xff; 32]);
        assert_eq!(uuid, "ffffffff-ffff-8fff-8fff-ffffffffffff");
    }
}
