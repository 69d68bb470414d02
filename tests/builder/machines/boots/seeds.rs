//! Seeds that `imgbuild seed` would not make.

use std::fs;
use std::path::Path;
use std::process::Command;
use testkit::{Folder, must};

/// A seed disk with a text in its documents replaced by one of the same length.
pub(super) fn with(disk: &[u8], before: &str, after: &str) -> Vec<u8> {
    assert_eq!(before.len(), after.len());
    let mut disk = disk.to_vec();
    let at = disk
        .windows(before.len())
        .position(|w| w == before.as_bytes());
    let at = at.unwrap_or_else(|| panic!("the seed has no `{before}`"));
    disk[at..at + after.len()].copy_from_slice(after.as_bytes());
    disk
}

/// Puts a CD-ROM image as virt-install and cloud-localds make them in the seed disk's place:
/// ISO 9660 with both extensions, an empty meta-data but for what is given.
pub(super) fn iso(folder: &Path, key: &str, meta_data: &str, timezone: &str) {
    let documents = Folder::new();
    let write = |name: &str, text: &str| documents.write(name, text);
    write("meta-data", meta_data);
    write(
        "user-data",
        &format!(
            "#cloud-config\ntimezone: {timezone}\nssh_authorized_keys:\n  - {}\nruncmd:\n  - touch /nobody-does-this\n",
            key.trim()
        ),
    );
    // Version 1 is what Proxmox writes.
    write(
        "network-config",
        "version: 1
config:
    - type: physical
      name: eth0
      subnets:
      - type: static
        address: '192.168.122.51'
        netmask: '255.255.255.0'
        gateway: '192.168.122.1'
    - type: nameserver
      address:
      - '192.168.122.1'
",
    );
    must(
        Command::new("genisoimage")
            .args(["-quiet", "-volid", "cidata", "-joliet", "-rock", "-output"])
            .arg(folder.join("seed.img"))
            .arg(documents.path("")),
    );
}

/// Makes run.sh attach the seed as a CD-ROM drive.
pub(super) fn as_cdrom(folder: &Path) {
    let drive = "if=none,id=seed,file=seed.img,format=raw";
    change(
        folder,
        &format!("{drive},cache=writeback"),
        &format!("{drive},media=cdrom,readonly=on"),
    );
    change(folder, "virtio-blk-pci,drive=seed", "ide-cd,drive=seed");
}

const VIRTIO: &str = "virtio-blk-pci,drive=disk,";
const SATA: &str = "ide-hd,drive=disk,bus=ide.1,";

/// Makes run.sh attach the root as a SATA disk.
pub(super) fn root_on_sata(folder: &Path) {
    change(folder, VIRTIO, SATA);
}

/// And as it was.
pub(super) fn root_on_virtio(folder: &Path) {
    change(folder, SATA, VIRTIO);
}

fn change(folder: &Path, old: &str, new: &str) {
    let file = folder.join("run.sh");
    let script = fs::read_to_string(&file).unwrap();
    assert!(script.contains(old), "{old}");
    fs::write(&file, script.replace(old, new)).unwrap();
}
