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

/// Makes run.sh attach the seed as a CD-ROM drive, and the root as a SATA disk, as virt-install does without a name for
/// the system.
pub(super) fn on_sata(folder: &Path) {
    let file = folder.join("run.sh");
    let mut script = fs::read_to_string(&file).unwrap();
    let drive = "if=none,id=seed,file=seed.img,format=raw";
    for (ours, other) in [
        (
            format!("{drive},cache=writeback"),
            format!("{drive},media=cdrom,readonly=on"),
        ),
        (
            "virtio-blk-pci,drive=seed".to_owned(),
            "ide-cd,drive=seed".to_owned(),
        ),
        (
            "virtio-blk-pci,drive=disk,".to_owned(),
            "ide-hd,drive=disk,bus=ide.1,".to_owned(),
        ),
    ] {
        assert!(script.contains(&ours), "{ours}");
        script = script.replace(&ours, &other);
    }
    fs::write(&file, script).unwrap();
}
