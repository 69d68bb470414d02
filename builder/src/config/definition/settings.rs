//! `settings`: what a base has otherwise than Debian, because its clones live on overlays and boot often.

use crate::config::yaml::{Fields, Keys, Kind, Reader, validators};

/// Each of them is on unless the definition says `false`; then Debian's own holds. What they are for stands beside
/// them in `templates/provision.sh` and docs/base.md.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Settings {
    /// Neither manual pages nor translations nor what else nobody looks at inside of a node.
    pub no_documentation: bool,
    /// Limits of the system's log.
    pub small_log: bool,
    /// A small journal of the root file system.
    pub small_journal: bool,
    /// What is deleted in a clone is given back by its disk.
    pub discard: bool,
    /// Caches that systemd would make anew in each clone are in the base.
    pub caches: bool,
    /// An initramfs with the drivers of QEMU's machines only.
    pub small_initramfs: bool,
    /// The kernel says on the console what goes wrong, and no more.
    pub quiet: bool,
    /// Of the kernel's security modules those that Proxmox's kernel has.
    pub few_lsms: bool,
    /// The boot loader waits for nobody.
    pub no_boot_menu: bool,
    /// ifupdown2's three Python programs are one where that is all there is to do.
    pub short_networking: bool,
    /// Units that have nothing to do in a clone are masked.
    pub masked_units: bool,
    /// Drivers that no boot waits for are loaded behind the login prompt.
    pub late_drivers: bool,
    /// What nobody waits for starts behind the login prompt.
    pub late_units: bool,
}

impl Settings {
    /// All of them on, or all off.
    pub(super) fn all(on: bool) -> Settings {
        Settings {
            no_documentation: on,
            small_log: on,
            small_journal: on,
            discard: on,
            caches: on,
            small_initramfs: on,
            quiet: on,
            few_lsms: on,
            no_boot_menu: on,
            short_networking: on,
            masked_units: on,
            late_drivers: on,
            late_units: on,
        }
    }
}

pub(super) const RIGHT: &str =
    "settings: a map of settings, each true or false; or false for none of them";
const KEYS: Keys = &[
    (
        "no_documentation",
        "no_documentation: true, or false for manual pages and translations",
    ),
    (
        "small_log",
        "small_log: true, or false for journald's own limits",
    ),
    (
        "small_journal",
        "small_journal: true, or false for a journal of 64 MiB",
    ),
    (
        "discard",
        "discard: true, or false where disks need not shrink",
    ),
    (
        "caches",
        "caches: true, or false where each machine makes them itself",
    ),
    (
        "small_initramfs",
        "small_initramfs: true, or false for the drivers of other machines than QEMU's",
    ),
    (
        "quiet",
        "quiet: true, or false for all that the kernel says on the console",
    ),
    (
        "few_lsms",
        "few_lsms: true, or false for all security modules of the kernel",
    ),
    (
        "no_boot_menu",
        "no_boot_menu: true, or false for a second in which to choose",
    ),
    (
        "short_networking",
        "short_networking: true, or false for ifupdown2's own start",
    ),
    (
        "masked_units",
        "masked_units: true, or false for all of Debian's units",
    ),
    (
        "late_drivers",
        "late_drivers: true, or false for all drivers as soon as their devices are found",
    ),
    (
        "late_units",
        "late_units: true, or false for Debian's own order",
    ),
];

/// Reads `settings`.
pub(super) fn read(r: &mut Reader, f: &Fields<'_>) -> Settings {
    let mut settings = Settings::all(true);
    let Some(node) = f.get("settings") else {
        return settings;
    };
    if matches!(&node.kind, Kind::Scalar { text, plain: true } if text.eq_ignore_ascii_case("false"))
    {
        return Settings::all(false);
    }
    let f = r.fields(node, "`settings`", RIGHT, KEYS);
    for (name, setting) in [
        ("no_documentation", &mut settings.no_documentation),
        ("small_log", &mut settings.small_log),
        ("small_journal", &mut settings.small_journal),
        ("discard", &mut settings.discard),
        ("caches", &mut settings.caches),
        ("small_initramfs", &mut settings.small_initramfs),
        ("quiet", &mut settings.quiet),
        ("few_lsms", &mut settings.few_lsms),
        ("no_boot_menu", &mut settings.no_boot_menu),
        ("short_networking", &mut settings.short_networking),
        ("masked_units", &mut settings.masked_units),
        ("late_drivers", &mut settings.late_drivers),
        ("late_units", &mut settings.late_units),
    ] {
        if let Some(written) = r.field_scalar(&f, name, validators::yes_or_no) {
            *setting = written.value;
        }
    }
    settings
}
