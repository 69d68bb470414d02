//! Looking for the seed disk among the machine's block devices.

use super::documents::{MediaError, is_cidata};
use super::label::{VolumeKind, volume_label};
use super::{fat, iso9660};
use crate::contract::seed::Seed;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long to wait before the devices are looked at again.
const PAUSE: Duration = Duration::from_millis(100);
/// udev keeps this file while it has events to work on (`udevadm settle` watches it, too).
const UDEV_QUEUE: &str = "/run/udev/queue";
/// udev's control socket: there once it runs.
const UDEV_CONTROL: &str = "/run/udev/control";

/// How long a seed disk is waited for.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// The longest.
    pub most: Duration,
    /// Enough, once udev has nothing to do and no device has come for this long.
    pub quiet: Duration,
}

/// A seed and where it was found.
#[derive(Debug)]
pub struct Found {
    /// The parsed and validated seed.
    pub seed: Seed,
    /// The block device, such as `/dev/vdb`.
    pub device: PathBuf,
}

/// Looks for the seed disk among the block devices until one is there or the patience is over.
pub fn find(patience: Patience) -> Result<Option<Found>, MediaError> {
    find_in(Path::new("/sys"), Path::new("/dev"), patience)
}

/// [`find`] with other folders for `/sys` and `/dev`.
///
/// Whole disks and partitions are looked at, virtio disks first, CD-ROM drives last.
/// An empty drive is passed over; a device that fails otherwise is an error only when no
/// other device has the seed.
pub fn find_in(sys: &Path, dev: &Path, patience: Patience) -> Result<Option<Found>, MediaError> {
    let idle = || !Path::new(UDEV_QUEUE).exists() && Path::new(UDEV_CONTROL).exists();
    find_while(sys, dev, patience, &idle)
}

fn find_while(
    sys: &Path,
    dev: &Path,
    patience: Patience,
    idle: &dyn Fn() -> bool,
) -> Result<Option<Found>, MediaError> {
    let start = Instant::now();
    let mut quiet_since = start;
    let mut known = Vec::new();
    loop {
        let names = names(sys);
        let busy = names != known || !idle();
        if busy {
            quiet_since = Instant::now();
            known = names;
        }
        let result = look(sys, dev);
        let nothing = matches!(result, Ok(None) | Err(MediaError::Unreadable { .. }));
        // A look may take longer than the quiet time: that udev was busy before it still holds.
        let quiet = !busy && quiet_since.elapsed() >= patience.quiet;
        let over = start.elapsed() >= patience.most || quiet;
        if !nothing || over {
            return result;
        }
        sleep(PAUSE);
    }
}

/// The kernel's names of all block devices; what cannot be listed is said by [`look`].
fn names(sys: &Path) -> Vec<std::ffi::OsString> {
    let entries = fs::read_dir(sys.join("class/block")).into_iter().flatten();
    let mut names: Vec<_> = entries.flatten().map(|entry| entry.file_name()).collect();
    names.sort();
    names
}

fn look(sys: &Path, dev: &Path) -> Result<Option<Found>, MediaError> {
    let mut seeds: Vec<(Device, VolumeKind)> = Vec::new();
    let mut failure = None;
    for device in devices(&sys.join("class/block"), dev)? {
        // A hybrid image shows its one label on the disk and on its first partition.
        let on_disk = |seed: &(Device, VolumeKind)| device.disk.as_ref() == Some(&seed.0.name);
        if seeds.iter().any(on_disk) {
            continue;
        }
        match File::open(&device.node).and_then(volume_label) {
            Ok(Some(volume)) if is_cidata(&volume.label) => seeds.push((device, volume.kind)),
            Ok(_) => {}
            Err(error) if is_empty_drive(&error) => {}
            Err(reason) => {
                failure.get_or_insert(MediaError::Unreadable {
                    place: device.node,
                    reason,
                });
            }
        }
    }
    if seeds.len() > 1 {
        let devices = seeds.into_iter().map(|(device, _)| device.node).collect();
        return Err(MediaError::Several { devices });
    }
    match (seeds.pop(), failure) {
        (Some((device, kind)), _) => read(device.node, kind).map(Some),
        (None, Some(failure)) => Err(failure),
        (None, None) => Ok(None),
    }
}

fn read(device: PathBuf, kind: VolumeKind) -> Result<Found, MediaError> {
    let image = File::open(&device).map_err(|reason| MediaError::Unreadable {
        place: device.clone(),
        reason,
    })?;
    let seed = match kind {
        VolumeKind::Fat => fat::read(image, &device)?,
        VolumeKind::Iso9660 => iso9660::read(image, &device)?,
    };
    Ok(Found { seed, device })
}

/// No medium, no such device behind the node, or no node yet: udev may be slower.
fn is_empty_drive(error: &io::Error) -> bool {
    use rustix::io::Errno;
    [Errno::NOMEDIUM, Errno::NXIO, Errno::NODEV, Errno::NOENT]
        .iter()
        .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

#[derive(Debug)]
struct Device {
    /// The kernel's name, such as `vdb`.
    name: String,
    /// The device file.
    node: PathBuf,
    /// The disk that this is a partition of.
    disk: Option<String>,
}

fn devices(class: &Path, dev: &Path) -> Result<Vec<Device>, MediaError> {
    let unreadable = |reason| MediaError::Unreadable {
        place: class.to_owned(),
        reason,
    };
    let mut devices = Vec::new();
    for entry in fs::read_dir(class).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        // dm and zd: volumes of LVM and ZFS, among them the seeds of a node's own guests.
        let skipped = ["loop", "ram", "zram", "nbd", "dm-", "zd"];
        let folder = entry.path();
        if skipped.iter().any(|start| name.starts_with(start)) || has_no_size(&folder) {
            continue;
        }
        devices.push(Device {
            // The kernel writes `!` for a slash in a device's name.
            node: dev.join(name.replace('!', "/")),
            disk: disk_of(&folder),
            name,
        });
    }
    devices.sort_by_key(|device| order(&device.name));
    Ok(devices)
}

fn has_no_size(folder: &Path) -> bool {
    fs::read_to_string(folder.join("size")).is_ok_and(|size| size.trim() == "0")
}

/// A partition's folder has a file `partition` and lies in its disk's folder.
fn disk_of(folder: &Path) -> Option<String> {
    if !folder.join("partition").exists() {
        return None;
    }
    let folder = fs::canonicalize(folder).ok()?;
    let disk = folder.parent()?.file_name()?;
    disk.to_str().map(str::to_owned)
}

/// virtio first, CD-ROM drives last; `vdb` before `vdaa`, and a disk before its partitions.
fn order(name: &str) -> (u8, usize, String) {
    let group = match name {
        _ if name.starts_with("vd") => 0,
        _ if name.starts_with("sr") => 2,
        _ => 1,
    };
    (group, name.len(), name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::fat::tests::{image, seed_image};
    use super::*;
    use fatfs::FatType;
    use std::os::unix::fs::symlink;
    use tempfile::TempDir;

    /// Folders that stand in for /sys and /dev.
    struct Machine {
        folder: TempDir,
    }

    impl Machine {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            for name in ["sys/class/block", "sys/devices", "dev"] {
                fs::create_dir_all(folder.path().join(name)).unwrap();
            }
            Machine { folder }
        }

        /// A disk with a content; `None` leaves out the device file.
        fn disk(&self, name: &str, content: Option<&[u8]>) {
            self.add(name, name, content);
        }

        fn partition(&self, disk: &str, name: &str, content: &[u8]) {
            self.add(&format!("{disk}/{name}"), name, Some(content));
            let folder = self.path("sys/devices").join(disk).join(name);
            fs::write(folder.join("partition"), "1\n").unwrap();
        }

        fn add(&self, folder: &str, name: &str, content: Option<&[u8]>) {
            let device = self.path("sys/devices").join(folder);
            fs::create_dir_all(&device).unwrap();
            fs::write(device.join("size"), "2048\n").unwrap();
            symlink(&device, self.path("sys/class/block").join(name)).unwrap();
            if let Some(content) = content {
                fs::write(self.path("dev").join(name), content).unwrap();
            }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.folder.path().join(name)
        }

        fn find(&self) -> Result<Option<Found>, MediaError> {
            let none = Patience {
                most: Duration::ZERO,
                quiet: Duration::ZERO,
            };
            find_in(&self.path("sys"), &self.path("dev"), none)
        }
    }

    #[test]
    fn a_machine_without_a_seed_has_none() {
        let machine = Machine::new();
        assert!(machine.find().unwrap().is_none());
        machine.disk("vda", Some(&[0; 70_000]));
        machine.disk("sr0", None);
        let other = image(1 << 20, FatType::Fat12, b"USB STICK  ", &[]);
        machine.disk("sda", Some(&other));
        assert!(machine.find().unwrap().is_none());
    }

    #[test]
    fn the_seed_is_found_among_other_disks_and_no_byte_of_it_changes() {
        let machine = Machine::new();
        machine.disk("vda", Some(&[0; 70_000]));
        let before = seed_image();
        machine.disk("vdb", Some(&before));
        let found = machine.find().unwrap().unwrap();
        assert_eq!(found.device, machine.path("dev/vdb"));
        assert_eq!(found.seed.hostname(), "vm42");
        assert!(fs::read(machine.path("dev/vdb")).unwrap() == before);
    }

    #[test]
    fn two_seeds_are_refused_by_name() {
        let machine = Machine::new();
        machine.disk("sr0", Some(&seed_image()));
        machine.disk("vdc", Some(&seed_image()));
        let error = machine.find().unwrap_err();
        let (first, second) = (machine.path("dev/vdc"), machine.path("dev/sr0"));
        assert_eq!(
            error.to_string(),
            format!(
                "several volumes are labelled CIDATA: {}, {}. Attach exactly one seed disk",
                first.display(),
                second.display()
            )
        );
    }

    #[test]
    fn loop_devices_and_empty_ones_are_passed_over() {
        let machine = Machine::new();
        machine.disk("loop0", Some(&seed_image()));
        machine.disk("ram0", Some(&seed_image()));
        machine.disk("sdb", Some(&seed_image()));
        fs::write(machine.path("sys/devices/sdb/size"), "0\n").unwrap();
        assert!(machine.find().unwrap().is_none());
    }

    /// A hybrid image begins its first partition at its own start: disk and partition are one seed.
    #[test]
    fn a_seed_on_a_partition_is_found() {
        let seed = seed_image();
        for (disk, found_on) in [(&[0; 70_000][..], "dev/sda1"), (&seed, "dev/sda")] {
            let machine = Machine::new();
            machine.disk("sda", Some(disk));
            machine.partition("sda", "sda1", &seed);
            let found = machine.find().unwrap().unwrap();
            assert_eq!(found.device, machine.path(found_on));
        }
    }

    #[test]
    fn a_device_that_fails_is_an_error_only_without_a_seed() {
        let machine = Machine::new();
        // Reading a folder fails, for root as well.
        machine.disk("vda", None);
        fs::create_dir(machine.path("dev/vda")).unwrap();
        let error = machine.find().unwrap_err();
        let shown = error.to_string();
        let start = format!("cannot read {}: ", machine.path("dev/vda").display());
        assert!(shown.starts_with(&start), "{shown}");
        machine.disk("vdb", Some(&seed_image()));
        assert!(machine.find().unwrap().is_some());
    }

    #[test]
    fn a_disk_that_comes_later_is_waited_for() {
        let machine = Machine::new();
        std::thread::scope(|scope| {
            let found = scope.spawn(|| {
                let patience = Patience {
                    most: Duration::from_secs(60),
                    quiet: Duration::from_secs(60),
                };
                find_in(&machine.path("sys"), &machine.path("dev"), patience)
            });
            // The device file is whole before the device is listed.
            fs::write(machine.path("dev/vdb"), seed_image()).unwrap();
            machine.disk("vdb", None);
            assert!(found.join().unwrap().unwrap().is_some());
        });
    }

    #[test]
    fn nothing_is_waited_for_once_udev_is_quiet() {
        let machine = Machine::new();
        machine.disk("vda", Some(b"no seed"));
        // Busy at first.
        let looks = std::cell::Cell::new(0);
        let idle = || {
            looks.set(looks.get() + 1);
            looks.get() >= 3
        };
        let patience = Patience {
            most: Duration::from_secs(86_400),
            quiet: Duration::from_millis(1),
        };
        let (sys, dev) = (machine.path("sys"), machine.path("dev"));
        let found = find_while(&sys, &dev, patience, &idle).unwrap();
        assert!(found.is_none());
        assert!(looks.get() >= 3);
    }

    #[test]
    fn devices_come_in_a_stable_order() {
        let mut names = ["sr0", "sda", "vdaa", "vdb1", "nvme0n1", "vdb"];
        names.sort_by_key(|name| order(name));
        assert_eq!(names, ["vdb", "vdaa", "vdb1", "sda", "nvme0n1", "sr0"]);
    }
}
