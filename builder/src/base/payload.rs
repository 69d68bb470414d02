//! What the scripts find in the new root, below `/imgbuild`.

use super::inputs::Inputs;
use super::provision::{PROXMOX, SEAL, UNITS};
use anyhow::{Context, Result};
use std::fs;
use std::path::Path;

/// The files that the scripts need, by their paths below `/imgbuild` in the new root.
pub(super) fn payload(inputs: &Inputs) -> Result<Vec<(String, Vec<u8>)>> {
    let text = |name: &str, text: &str| (name.to_owned(), text.as_bytes().to_vec());
    let read =
        |file: &Path| fs::read(file).with_context(|| format!("cannot read {}", file.display()));
    let mut files = vec![
        text("packages.sh", &inputs.scripts.packages),
        text("provision.sh", &inputs.scripts.provision),
        text("seal.sh", SEAL),
        ("firstboot".to_owned(), read(&inputs.firstboot)?),
    ];
    files.extend(UNITS.map(|(name, unit)| text(name, unit)));
    if let Some(key) = &inputs.proxmox_key {
        files.push((format!("keys/{PROXMOX}.gpg"), key.clone()));
    }
    for repository in &inputs.definition.repositories {
        let name = format!("keys/{}.gpg", repository.name);
        files.push((name, read(&repository.key)?));
    }
    let lines = inputs.sources.join("\n") + "\n";
    files.push(("sources.list".to_owned(), lines.into_bytes()));
    Ok(files)
}
