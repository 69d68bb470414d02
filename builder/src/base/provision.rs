//! The scripts that run inside the new root, rendered from `templates/`.

use crate::config::definition::Definition;
use anyhow::{Context, Result};
use tera::Tera;

const PROVISION: &str = include_str!("../../../templates/provision.sh");
/// The seal script, the same for every image.
pub(super) const SEAL: &str = include_str!("../../../templates/seal.sh");
/// firstboot's units, and what it lays over another's: file name and text.
pub(super) const UNITS: [(&str, &str); 5] = [
    // Before the machine has a name.
    (
        "firstboot-local.service",
        include_str!("../../../templates/firstboot-local.service"),
    ),
    // After the network.
    (
        "firstboot-join.service",
        include_str!("../../../templates/firstboot-join.service"),
    ),
    // On a member, before corosync starts.
    (
        "firstboot-guard.service",
        include_str!("../../../templates/firstboot-guard.service"),
    ),
    // On a member, as long as it runs.
    (
        "firstboot-watch.service",
        include_str!("../../../templates/firstboot-watch.service"),
    ),
    // Whether corosync may start.
    (
        "corosync-firstboot.conf",
        include_str!("../../../templates/corosync-firstboot.conf"),
    ),
];

/// The name of Proxmox's repository: its file is the one that Proxmox's own manual and web page
/// name, and its keyring the one that the package proxmox-archive-keyring renews later.
pub(super) const PROXMOX: &str = "proxmox";
/// What a node is made of, beside its kernel. Proxmox's manual names these four.
const PROXMOX_PACKAGES: [&str; 4] = ["proxmox-ve", "postfix", "open-iscsi", "chrony"];

/// What a machine upgrades by itself, in `/etc/apt/apt.conf.d` after the package's own file.
pub(super) const UNATTENDED: (&str, &str) = (
    "/etc/apt/apt.conf.d/52imgbuild-unattended-upgrades",
    include_str!("../../../templates/unattended-upgrades.conf"),
);

/// Renders the provision script. `source` is the name of the source, because the mirror
/// source puts the boot loader in place by itself; `eatmydata` makes waiting for the disk do
/// nothing while the script runs.
pub(super) fn render(
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
    let source = |name: &str, url: &str, suite: &str, components: &[String]| {
        serde_json::json!({
            "name": name,
            "url": url,
            "suite": suite,
            "components": components.join(" "),
            "keyring": format!("{name}-archive-keyring.gpg"),
        })
    };
    let mut repositories = Vec::new();
    if let Some(p) = &definition.proxmox {
        repositories.push(source(PROXMOX, &p.url, &p.suite, &p.components));
        packages.extend(PROXMOX_PACKAGES.map(str::to_owned));
    }
    for r in &definition.repositories {
        repositories.push(source(&r.name, &r.url, &r.suite, &r.components));
        packages.extend(r.packages.iter().cloned());
    }
    if definition.unattended_upgrades {
        packages.push("unattended-upgrades".to_owned());
        let (file, text) = UNATTENDED;
        let conf = serde_json::json!({"file": file, "text": text});
        context.insert("unattended_upgrades", &conf);
    }
    context.insert("rpcbind", &definition.rpcbind);
    context.insert("proxmox", &definition.proxmox.is_some());
    // What the boot menu calls it, before `GNU/Linux`; Proxmox's own packages write the same.
    let distributor = match &definition.proxmox {
        Some(_) => "Proxmox VE",
        None => "Debian",
    };
    context.insert("distributor", distributor);
    context.insert("repositories", &repositories);
    context.insert("packages", &packages.join(" "));
    Tera::one_off(PROVISION, &context, false).context("cannot render templates/provision.sh")
}
