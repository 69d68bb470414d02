//! The scripts that run inside the new root, rendered from `templates/`.

use crate::config::definition::Definition;
use anyhow::{Context, Result};
use tera::Tera;

const PACKAGES: &str = include_str!("../../../templates/packages.sh");
const PROVISION: &str = include_str!("../../../templates/provision.sh");
/// The seal script, the same for every image.
pub(super) const SEAL: &str = include_str!("../../../templates/seal.sh");
/// firstboot's units, and what it lays over another's: file name and text.
pub(super) const UNITS: [(&str, &str); 6] = [
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
    // Beside the rest of the boot.
    (
        "firstboot-rsa-key.service",
        include_str!("../../../templates/firstboot-rsa-key.service"),
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

/// What a machine upgrades by itself, in `/etc/apt/apt.conf.d` after the package's own file.
pub(super) const UNATTENDED: (&str, &str) = (
    "/etc/apt/apt.conf.d/52imgbuild-unattended-upgrades",
    include_str!("../../../templates/unattended-upgrades.conf"),
);

/// Hooks of Proxmox's that copy kernels to EFI partitions.
const BOOT_HOOKS: &str = "/etc/kernel/postinst.d/zz-proxmox-boot /etc/kernel/postrm.d/zz-proxmox-boot \
                          /etc/initramfs/post-update.d/proxmox-boot-sync";

/// The scripts that differ from image to image, in the order in which they run; the seal comes after.
#[derive(Debug, Default)]
pub(crate) struct Scripts {
    /// Installs the packages.
    pub packages: String,
    /// Makes the system what the definition says.
    pub provision: String,
}

/// Renders both. `source` is the name of the source, because the mirror
/// source puts the boot loader in place by itself; `eatmydata` makes waiting for the disk do
/// nothing while the script runs.
pub(super) fn render(
    definition: &Definition,
    source: &str,
    root_uuid: &str,
    eatmydata: bool,
) -> Result<Scripts> {
    let mut context = tera::Context::new();
    context.insert("source", source);
    context.insert("root_uuid", root_uuid);
    context.insert("eatmydata", &eatmydata);
    context.insert("kernel", &definition.kernel);
    let settings = &definition.settings;
    context.insert("kernel_command_line", &command_line(definition));
    context.insert("boot_menu_seconds", &u8::from(!settings.no_boot_menu));
    context.insert("settings", settings);
    context.insert("proxy", &definition.proxy);
    context.insert("timezone", &definition.timezone);
    context.insert("locale", &definition.locale);
    let language = definition.locale.split(['_', '.', '@']).next();
    context.insert("language", &language);
    context.insert("generate_locale", &definition.generates_locale());
    let always = definition.always_installed();
    let always = always.into_iter().map(|always| always.package);
    let mut packages: Vec<String> = always.collect();
    packages.extend(definition.packages.iter().cloned());
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
    }
    for r in &definition.repositories {
        repositories.push(source(&r.name, &r.url, &r.suite, &r.components));
        packages.extend(r.packages.iter().cloned());
    }
    if definition.unattended_upgrades {
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
    context.insert("boot_hooks", BOOT_HOOKS);
    let rendered = |template, name: &str| {
        Tera::one_off(template, &context, false)
            .with_context(|| format!("cannot render templates/{name}"))
    };
    Ok(Scripts {
        packages: rendered(PACKAGES, "packages.sh")?,
        provision: rendered(PROVISION, "provision.sh")?,
    })
}

/// What Proxmox's kernel has by itself. Debian's has bpf too, for which systemd begins with half a Gi of instructions and no
/// unit of Debian's has a use, and three that need a policy of their own.
const FEW_LSMS: &str = "lsm=landlock,lockdown,yama,integrity,apparmor";

/// Debian's kernel tries each of its ciphers and hashes with known answers when it is first used, 1.4 Gi of instructions before
/// the first program is done. See the kernel's crypto/testmgr.c; with `fips=1` it does so all the same.
const NO_CRYPTO_TESTS: &str = "cryptomgr.notests=1";

/// The kernel's command line, without `root=`.
fn command_line(definition: &Definition) -> String {
    let mut words: Vec<&str> = definition.kernel_command_line.split(' ').collect();
    let settings = &definition.settings;
    if settings.quiet && !words.contains(&"quiet") {
        // Without the second systemd, too, would be silent, and nobody could tell such a boot from one that hangs.
        words.extend(["quiet", "systemd.show_status=true"]);
    }
    if settings.few_lsms && !words.iter().any(|word| word.starts_with("lsm=")) {
        words.push(FEW_LSMS);
    }
    if settings.no_crypto_tests && !words.contains(&NO_CRYPTO_TESTS) {
        words.push(NO_CRYPTO_TESTS);
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// What APT installs in which run is what the definition says, and the template names nothing
    /// itself but what is gone at the end.
    #[test]
    fn the_packages_are_those_of_the_definition() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("base.yaml");
        for (more, expected) in [
            (
                "packages: [vim, chrony]\n",
                "initramfs-tools zstd proxmox-default-kernel grub-pc systemd-sysv dbus udev kmod login \
                 fdisk e2fsprogs ifupdown2 openssh-client proxmox-ve postfix open-iscsi chrony \
                 unattended-upgrades vim chrony",
            ),
            (
                "proxmox: false\nlocale: fr_FR.UTF-8\nunattended_upgrades: false\n",
                "initramfs-tools zstd linux-image-cloud-amd64 grub-pc systemd-sysv dbus udev kmod login \
                 fdisk e2fsprogs ifupdown2 openssh-client locales",
            ),
        ] {
            fs::write(&file, format!("release: trixie\ndisk: 8G\n{more}")).unwrap();
            let definition = Definition::load(Some(&file)).unwrap();
            let scripts = render(&definition, "netinst", "UUID", true).unwrap();
            let runs = scripts
                .packages
                .lines()
                .filter_map(|line| line.split_once("install_packages "));
            let runs: Vec<&str> = runs.map(|(_, packages)| packages).collect();
            assert_eq!(runs.join("; "), format!("libeatmydata1; {expected}"));
        }
    }

    /// Each setting but the one of mke2fs changes the script, and a word that is there twice is not added.
    #[test]
    fn each_setting_can_be_undone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("base.yaml");
        let script = |more: &str| {
            fs::write(&file, format!("release: trixie\ndisk: 8G\n{more}")).unwrap();
            let definition = Definition::load(Some(&file)).unwrap();
            let scripts = render(&definition, "mirror", "UUID", false).unwrap();
            scripts.packages + &scripts.provision
        };
        let (all, none) = (script(""), script("settings: false\n"));
        for (setting, trace) in [
            ("no_documentation", "path-exclude=/usr/share/man"),
            ("small_log", "SystemMaxUse=64M"),
            ("small_apt", "Acquire::GzipIndexes"),
            ("discard", "ext4 noatime,discard,errors"),
            ("caches", "/var/.updated"),
            ("small_initramfs", "MODULES=list"),
            ("quiet", "net.ifnames=0 quiet"),
            ("few_lsms", FEW_LSMS),
            ("no_boot_menu", "GRUB_TIMEOUT=0"),
            ("no_crypto_tests", NO_CRYPTO_TESTS),
            ("short_networking", "ifup -a --perfmode"),
            ("network_first", "StartupCPUWeight=10000"),
            ("masked_units", "e2scrub_reap"),
            ("late_drivers", "late-drivers.service"),
            ("late_units", "for unit in postfix.service"),
        ] {
            let without = script(&format!("settings: {{{setting}: false}}\n"));
            for (script, expected) in [(&all, true), (&none, false), (&without, false)] {
                assert_eq!(script.contains(trace), expected, "{setting}");
            }
        }
        let quiet = script("kernel_command_line: quiet console=ttyS0 net.ifnames=0\n");
        assert!(!quiet.contains("net.ifnames=0 quiet"));
    }
}
