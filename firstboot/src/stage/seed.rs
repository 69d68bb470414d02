//! Reading the seed, with as much patience as this machine has reason for.

use crate::contract::seed::Seed;
use crate::contract::volumes::{self, Found, MediaError, Patience, Source};
use crate::stage::journal::Loaded;
use crate::system::root::Root;
use std::time::Duration;

/// The longest that a seed disk may take to appear.
const DISK_WAIT: Duration = Duration::from_secs(10);
/// Where the seed is known to be needed.
const NEEDED: Patience = Patience {
    most: DISK_WAIT,
    quiet: DISK_WAIT,
};
/// On a machine that has never seen one. A CD-ROM drive comes a moment after its controller;
/// an unconfigured clone is to boot on without a delay that anybody notices.
const UNKNOWN: Patience = Patience {
    most: DISK_WAIT,
    quiet: Duration::from_millis(1500),
};
/// On a configured machine, which boots on without one.
const NOT_NEEDED: Patience = Patience {
    most: DISK_WAIT,
    quiet: Duration::from_millis(200),
};
/// What is there already.
const AT_ONCE: Patience = Patience {
    most: Duration::ZERO,
    quiet: Duration::ZERO,
};
/// What a CD-ROM drive hangs on, by systemd's units, for firstboot itself may load no driver. A base's
/// initramfs has no need of them, and udev takes its time. When the second list is started, the drives that
/// there are have been found.
const CD_ROM_DRIVERS: [&[&str]; 2] = [
    &["start", "modprobe@sr_mod.service"],
    &[
        "start",
        "modprobe@virtio_scsi.service",
        "modprobe@ata_piix.service",
        "modprobe@ahci.service",
    ],
];

/// The seed, `None` when there is no seed disk, or why it cannot be used.
pub(super) fn read_seed(
    root: &Root,
    source: &Source,
    loaded: &Loaded,
) -> Result<Option<Seed>, String> {
    let (patience, needed) = match loaded {
        Loaded::Found(journal) if journal.is_finished() => (NOT_NEEDED, false),
        Loaded::Found(_) | Loaded::Corrupt(_) => (NEEDED, true),
        Loaded::Missing => (UNKNOWN, true),
    };
    let seed = match source {
        Source::Disk => look(root, patience).map(|found| found.map(|found| found.seed)),
        Source::Folder(folder) => volumes::read_folder(folder).map(Some),
    };
    match seed {
        // Some disk of a configured machine is broken: that is not for firstboot to say.
        Err(MediaError::Unreadable { .. }) if !needed => Ok(None),
        other => other.map_err(|error| error.to_string()),
    }
}

/// On a virtio disk, where it is at once; else among all that there is.
fn look(root: &Root, patience: Patience) -> Result<Option<Found>, MediaError> {
    match volumes::find(AT_ONCE) {
        Ok(None) | Err(MediaError::Unreadable { .. }) => {
            for words in CD_ROM_DRIVERS {
                // Without them there is what udev finds.
                let _ = root.run("systemctl", words, b"");
            }
            volumes::find(patience)
        }
        other => other,
    }
}
