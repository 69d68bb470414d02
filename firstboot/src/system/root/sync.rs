//! What other programs wrote, on the disk.

use super::Root;
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::fs::File;
use std::sync::atomic::Ordering;

const MOUNTS: &str = "/proc/self/mountinfo";

impl Root {
    /// Whether a program was run that may have written since the last [`Root::sync_disks`]. What firstboot
    /// itself writes is on the disk anyway.
    pub fn others_wrote(&self) -> bool {
        self.others_wrote.load(Ordering::Relaxed)
    }

    /// Flushes what any program has written to this system's disks. pvecm, ssh-keygen and their like
    /// do not wait for the disk, so what they did is done only after this.
    ///
    /// A server's file system is left out: its own server has to answer for that, and one that is
    /// off would hold this up for ever.
    pub fn sync_disks(&self) -> Result<()> {
        self.others_wrote.store(false, Ordering::Relaxed);
        let places = match self.is_live() {
            true => {
                let mounts = std::fs::read_to_string(MOUNTS);
                on_disks(&mounts.with_context(|| format!("cannot read {MOUNTS}"))?)
            }
            false => vec![self.base.to_string_lossy().into_owned()],
        };
        for place in places {
            File::open(&place)
                .and_then(|folder| Ok(rustix::fs::syncfs(folder)?))
                .with_context(|| format!("cannot write to the disk what is in {place}"))?;
        }
        Ok(())
    }
}

/// One mount point of each file system that lies on a block device and may be written to, as
/// proc_pid_mountinfo(5) has them.
fn on_disks(mounts: &str) -> Vec<String> {
    let mut places = BTreeMap::new();
    for line in mounts.lines() {
        let Some((mount, file_system)) = line.split_once(" - ") else {
            continue;
        };
        let mount: Vec<&str> = mount.split(' ').collect();
        let [kind, source, options] = file_system.splitn(3, ' ').collect::<Vec<_>>()[..] else {
            continue;
        };
        let [_, _, device, _, place, ..] = mount[..] else {
            continue;
        };
        let is_read_only = options.split(',').any(|option| option == "ro");
        // pmxcfs, which calls itself by the device of all of FUSE, has its database on a disk.
        if source.starts_with("/dev/") && !kind.starts_with("fuse") && !is_read_only {
            // What was mounted later may lie over an earlier one's place.
            places.insert(device, unescaped(place));
        }
    }
    places.into_values().collect()
}

/// A mount point's blanks and the like stand there as octal numbers.
fn unescaped(place: &str) -> String {
    let written = [
        ("\\040", " "),
        ("\\011", "\t"),
        ("\\012", "\n"),
        ("\\134", "\\"),
    ];
    written
        .iter()
        .fold(place.to_owned(), |text, (from, to)| text.replace(from, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disks_are_flushed_and_nothing_that_could_wait_for_ever() {
        let mounts = "\
22 1 253:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw,errors=remount-ro
23 22 0:5 / /dev rw,nosuid - devtmpfs udev rw,size=1G
24 22 0:20 / /proc rw - proc proc rw
40 22 0:44 / /etc/pve rw,nosuid - fuse /dev/fuse rw,user_id=0
41 22 0:50 / /mnt/pve/nfs1 rw - nfs4 10.120.0.9:/srv rw
42 22 253:17 / /run/seed ro - iso9660 /dev/vdb ro
43 22 253:33 / /srv/my\\040disk rw - xfs /dev/vdc1 rw
44 22 253:1 /var/log /var/log rw - ext4 /dev/vda1 rw
no mount at all
";
        assert_eq!(on_disks(mounts), ["/var/log", "/srv/my disk"]);
        Root::new("/").sync_disks().unwrap();
    }

    #[test]
    fn a_folder_s_own_disk_is_flushed() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::new(folder.path());
        assert!(!root.others_wrote());
        root.run("true", &[""; 0], b"").unwrap();
        assert!(root.clone().others_wrote());
        root.sync_disks().unwrap();
        assert!(!root.others_wrote());
        let gone = folder.path().join("gone");
        let error = Root::new(&gone).sync_disks().unwrap_err();
        assert_eq!(
            format!("{error:#}"),
            format!(
                "cannot write to the disk what is in {}: No such file or directory (os error 2)",
                gone.display()
            )
        );
    }
}
