//! Everything a base image is made of, gathered and checked before any work.

use super::manifest::Manifest;
use super::measures::Measure;
use super::options::{Options, Source};
use super::provision::Scripts;
use super::{apt_sources, firstboot_binary, preseed, provision, requirements};
use crate::config::definition::Definition;
use crate::system::digest::{sha256, sha256_file};
use anyhow::{Context, Result, bail};
use serde_json::json;
use std::path::PathBuf;

#[derive(Debug)]
pub(crate) struct Inputs {
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
    pub scripts: Scripts,
    /// The key of Proxmox's repository, which has the digest that the definition pins. It is
    /// fetched when a build is due; `None` until then, and for a base without Proxmox.
    pub proxmox_key: Option<Vec<u8>>,
    /// Digests by name, for the manifest.
    pub digests: serde_json::Map<String, serde_json::Value>,
}

impl Inputs {
    /// Reads the definition and finds the mirror and firstboot.
    pub(crate) fn gather(options: &Options) -> Result<Self> {
        let definition = Definition::load(options.definition.as_deref())?;
        let source = options.source.name();
        if options.iso.is_some() && options.source != Source::Netinst {
            bail!("--iso is for the source netinst; the mirror source takes no disc");
        }
        let chosen = options.mirror.clone().or_else(|| definition.mirror.clone());
        let security = definition.security_mirror.as_deref();
        // mmdebstrap knows Debian's own mirror: where it is missing, that is said with all else
        // that is.
        let sources = apt_sources::choose(&definition.release, chosen.as_deref(), security)
            .or_else(|unknown| requirements::check_tools(options.source).and(Err(unknown)))?;
        let firstboot = firstboot_binary::find()?;
        // The mirror source flushes nothing anyway.
        let eatmydata =
            options.source == Source::Netinst && !options.without.contains(&Measure::Eatmydata);
        let mut digests = own(&definition, source, eatmydata)?;
        digests.insert("firstboot".into(), json!(sha256_file(&firstboot.file)?));
        digests.insert(
            "sources".into(),
            json!(sha256(sources.join("\n").as_bytes())),
        );
        if options.source == Source::Netinst {
            let answers = preseed::render(&definition, &sources, "ROOT-UUID", &options.without)?;
            digests.insert(
                "preseed.cfg".into(),
                json!(sha256(answers.preseed.as_bytes())),
            );
            let hooks = answers.hook + &answers.startup;
            digests.insert("installer's hooks".into(), json!(sha256(hooks.as_bytes())));
        }
        if let Some(iso) = &options.iso {
            digests.insert("iso".into(), json!(sha256_file(iso)?));
        }
        let all = serde_json::Value::Object(digests.clone()).to_string();
        let root_uuid = uuid_from(&sha256(all.as_bytes()));
        let scripts = provision::render(&definition, source, &root_uuid, eatmydata)?;
        Ok(Inputs {
            definition,
            source,
            sources,
            firstboot: firstboot.file,
            contract: firstboot.contract,
            root_uuid,
            scripts,
            proxmox_key: None,
            digests,
        })
    }
}

/// What every base of this definition and source is made of, digested: but for firstboot, and for what
/// the command line and this machine's own mirror have a say in.
fn own(
    definition: &Definition,
    source: &str,
    eatmydata: bool,
) -> Result<serde_json::Map<String, serde_json::Value>> {
    let definition_json =
        serde_json::to_string(definition).context("cannot write the definition as JSON")?;
    // Rendered once with a placeholder: the UUID depends on everything else.
    let scripts = provision::render(definition, source, "ROOT-UUID", eatmydata)?;
    let texts = [
        ("definition", definition_json.as_str()),
        ("packages.sh", &scripts.packages),
        ("provision.sh", &scripts.provision),
        ("seal.sh", provision::SEAL),
    ];
    let texts = texts.into_iter().chain(provision::UNITS);
    let mut digests: serde_json::Map<_, _> = texts
        .map(|(name, text)| (name.to_owned(), json!(sha256(text.as_bytes()))))
        .collect();
    if let Some(proxmox) = &definition.proxmox {
        digests.insert("key of Proxmox VE".into(), json!(proxmox.key.digest));
    }
    for repository in &definition.repositories {
        digests.insert(
            format!("key of {}", repository.name),
            json!(repository.key_sha256),
        );
    }
    Ok(digests)
}

/// The names of those inputs of a base that are others by now, in the order of their names. The
/// network is not asked, and what the command line or this machine's mirror decides is not compared.
pub(crate) fn changed(manifest: &Manifest, definition: &Definition) -> Result<Vec<String>> {
    let netinst = manifest.source == Source::Netinst.name();
    let mut now = own(definition, &manifest.source, netinst)?;
    if let Some(firstboot) = firstboot_binary::beside() {
        now.insert("firstboot".into(), json!(sha256_file(&firstboot)?));
    }
    let differs = |(name, digest): &(&String, &serde_json::Value)| {
        manifest.inputs.get(name.as_str()) != Some(digest)
    };
    let gone = manifest
        .inputs
        .keys()
        .filter(|name| name.starts_with("key of ") && !now.contains_key(name.as_str()));
    let names = now.iter().filter(differs).map(|(name, _)| name);
    let mut names: Vec<String> = names.chain(gone).cloned().collect();
    names.sort();
    Ok(names)
}

/// A UUID of version 8 (RFC 9562: free for one's own use) out of a digest in hex.
fn uuid_from(digest: &str) -> String {
    let mut text = digest[..32].to_owned();
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
        let uuid = uuid_from(&"f".repeat(64));
        assert_eq!(uuid, "ffffffff-ffff-8fff-8fff-ffffffffffff");
    }
}
