//! `settings`: what a base has otherwise than Debian, because its clones live on overlays and boot often.

use crate::config::yaml::{Fields, Keys, Kind, Reader, validators};

/// Declares the settings: what each is, its name, and what `false` is for.
macro_rules! settings {
    ($($(#[$documentation:meta])+ $name:ident: $otherwise:literal,)+) => {
        /// Each of them is on unless the definition says `false`; then Debian's own holds. What they are for stands beside
        /// them in `templates/provision.sh` and docs/base.md.
        #[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
        pub struct Settings {
            $($(#[$documentation])+ pub $name: bool,)+
        }

        impl Settings {
            /// All of them on, or all off.
            pub(super) fn all(on: bool) -> Settings {
                Settings { $($name: on,)+ }
            }

            /// Each with its name.
            fn by_name(&mut self) -> impl Iterator<Item = (&'static str, &mut bool)> {
                [$((stringify!($name), &mut self.$name),)+].into_iter()
            }
        }

        const KEYS: Keys = &[$((
            stringify!($name),
            concat!(stringify!($name), ": true, or false ", $otherwise),
        ),)+];
    };
}

settings! {
    /// Neither manual pages nor translations nor what else nobody looks at inside of a node.
    no_documentation: "for manual pages and translations",
    /// Limits of the system's log.
    small_log: "for journald's own limits",
    /// APT's lists stay compressed, and its caches are not on the disk.
    small_apt: "for APT's lists and caches as Debian has them",
    /// A small journal of the root file system.
    small_journal: "for a journal of 64 MiB",
    /// What is deleted in a clone is given back by its disk.
    discard: "where disks need not shrink",
    /// Caches that systemd would make anew in each clone are in the base.
    caches: "where each machine makes them itself",
    /// An initramfs with the drivers of QEMU's machines only.
    small_initramfs: "for the drivers of other machines than QEMU's",
    /// The kernel says on the console what goes wrong, and no more.
    quiet: "for all that the kernel says on the console",
    /// Of the kernel's security modules those that Proxmox's kernel has.
    few_lsms: "for all security modules of the kernel",
    /// The kernel does not try out its ciphers at each boot.
    no_crypto_tests: "for the kernel's tests of its ciphers",
    /// The boot loader waits for nobody.
    no_boot_menu: "for a second in which to choose",
    /// ifupdown2's three Python programs are one where that is all there is to do.
    short_networking: "for ifupdown2's own start",
    /// firstboot and the network go before other units while the machine boots.
    network_first: "for a processor that is divided evenly",
    /// Units that have nothing to do in a clone are masked.
    masked_units: "for all of Debian's units",
    /// Drivers that no boot waits for are loaded behind the login prompt.
    late_drivers: "for all drivers as soon as their devices are found",
    /// What nobody waits for starts behind the login prompt.
    late_units: "for Debian's own order",
}

pub(super) const RIGHT: &str =
    "settings: a map of settings, each true or false; or false for none of them";

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
    for (name, setting) in settings.by_name() {
        if let Some(written) = r.field_scalar(&f, name, validators::yes_or_no) {
            *setting = written.value;
        }
    }
    settings
}
