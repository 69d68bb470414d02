//! Looking for the seed disk among the machine's block devices.

use super::{Found, MediaError, VolumeKind, is_cidata, read_fat, read_iso9660, volume_label};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long to wait before the devices are looked at again.
const PAUSE: Duration = Duration::from_millis(100);

/// [`super::find`] with other folders for `/sys` and `/dev`.
///
/// Whole disks and partitions are looked at, virtio disks first, CD-ROM drives last.
/// An empty drive is passed over; a device that fails otherwise is an error only when no
/// other device has the seed.
pub fn find_in(sys: &Path, dev: &Path, wait: Duration) -> Result<Option<Found>, MediaError> {
    let deadline = Instant::now() + wait;
    loop {
        let result = look(sys, dev);
        let nothing = matches!(result, Ok(None) | Err(MediaError::Unreadable { .. }));
        if !nothing || Instant::now() >= deadline {
            return result;
        }
        sleep(PAUSE);
    }
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
            Err(source) => {
                failure.get_or_insert(MediaError::Unreadable {
                    place: device.node,
                    source,
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
    let image = File::open(&device).map_err(|source| MediaError::Unreadable {
        place: device.clone(),
        source,
    })?;
    let seed = match kind {
        VolumeKind::Fat => read_fat(image, &device)?,
        VolumeKind::Iso9660 => read_iso9660(image, &device)?,
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
    let unreadable = |source| MediaError::Unreadable {
        place: class.to_owned(),
        source,
    };
    let mut devices = Vec::new();
    for entry in fs::read_dir(class).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        let skipped = ["loop", "ram", "zram", "nbd"];
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
