//! The scripts that run inside the new root, rendered from `templates/`.

use super::inputs::Inputs;
use crate::definition::Definition;
use anyhow::{Context, Result};
use std::fs;
use tera::Tera;

const PROVISION: &str = include_str!("../../../templates/provision.sh");
/// The seal script, the same for every image.
pub const SEAL: &str = include_str!("../../../templates/seal.sh");
/// firstboot's unit before the machine has a name.
pub const LOCAL_UNIT: &str = include_str!("../../../templates/firstboot-local.service");
/// firstboot's unit after the network.
pub const JOIN_UNIT: &str = include_str!("../../../templates/firstboot-join.service");

/// Renders the provision script. `source` is the name of the source, because the mirror
/// source puts the boot loader in place by itself; `eatmydata` makes waiting for the disk do
/// nothing while the script runs.
pub fn render(
    definition: &Definition,
    source: &str,
    root_uuid: &str,
    eatmydata: bool,
) -> Result<String> {
    let mut context = tera::Context::new();
    context.insert("source", source);
    context.insert("root_uuid", root_uuid);
    context.insert("eatmydata", &eatmydata);
    context.insert("kernel", &definition.kernel);
    context.insert("kernel_command_line", &definition.kernel_command_line);
    context.insert("proxy", &definition.proxy);
    context.insert("timezone", &definition.timezone);
    context.insert("locale", &definition.locale);
    // C.UTF-8 comes with libc; every other locale is generated.
    context.insert("generate_locale", &!definition.locale.starts_with("C."));
    let mut packages = definition.packages.clone();
    if !definition.locale.starts_with("C.") {
        packages.push("locales".to_owned());
    }
    let repositories: Vec<serde_json::Value> = definition
        .repositories
        .iter()
        .map(|repository| {
            packages.extend(repository.packages.iter().cloned());
            serde_json::json!({
                "name": repository.name,
                "url": repository.url,
                "suite": repository.suite,
                "components": repository.components.join(" "),
                "keyring": format!("{}-archive-keyring.gpg", repository.name),
            })
        })
        .collect();
    context.insert("repositories", &repositories);
    context.insert("packages", &packages.join(" "));
    Tera::one_off(PROVISION, &context, false).context("cannot render templates/provision.sh")
}

/// The files that the scripts need, by their paths below `/imgbuild` in the new root.
pub fn payload(inputs: &Inputs) -> Result<Vec<(String, Vec<u8>)>> {
    let text = |name: &str, text: &str| (name.to_owned(), text.as_bytes().to_vec());
    let read = |file: &std::path::Path| {
        fs::read(file).with_context(|| format!("cannot read {}", file.display()))
    };
    let mut files = vec![
        text("provision.sh", &inputs.provision),
        text("seal.sh", SEAL),
        text("firstboot-local.service", LOCAL_UNIT),
        text("firstboot-join.service", JOIN_UNIT),
        ("firstboot".to_owned(), read(&inputs.firstboot)?),
    ];
    for repository in &inputs.definition.repositories {
        let name = format!("keys/{}.gpg", repository.name);
        files.push((name, read(&repository.key)?));
    }
    if !inputs.sources.is_empty() {
        let mut lines = inputs.sources.join("\n");
        lines.push('\n');
        files.push(("sources.list".to_owned(), lines.into_bytes()));
    }
    Ok(files)
}
