//! Small discs made by genisoimage, right ones and wrong ones.

use super::*;
use std::fs;
use std::process::Command;
use tempfile::TempDir;

const TRIXIE: &str = "Debian GNU/Linux 13.2.0 \"Trixie\" - Official amd64 NETINST with firmware";
const WANTED: &str = "debian-13.…-amd64-netinst.iso is wanted (trixie)";

fn kernel() -> Vec<u8> {
    let mut bytes = vec![7; 5000];
    bytes[0x202..0x206].copy_from_slice(b"HdrS");
    bytes
}

fn initrd() -> Vec<u8> {
    [b"\x1f\x8b", &[3; 9000][..]].concat()
}

/// A disc that is as it should be, as files with their content.
fn right(info: &str) -> Vec<(&'static str, Vec<u8>)> {
    vec![
        (".disk/info", format!("{info}\n").into_bytes()),
        (KERNEL, kernel()),
        (INITRD, initrd()),
    ]
}

/// A folder with `x.iso` in it.
fn disc(files: &[(&str, Vec<u8>)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let tree = folder.path().join("tree");
    fs::create_dir(&tree).unwrap();
    for (name, content) in files {
        let file = tree.join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, content).unwrap();
    }
    let output = Command::new("genisoimage")
        .args(["-quiet", "-rock", "-joliet", "-volid", "Some disc"])
        .arg("-output")
        .args([folder.path().join("x.iso"), tree])
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words}");
    folder
}

/// What is said of `x.iso` in a folder, which is called FOLDER.
fn refusal(folder: &TempDir) -> String {
    let iso = folder.path().join("x.iso");
    let error = Disc::open(&iso, String::new(), "trixie").unwrap_err();
    format!("{error:#}").replace(folder.path().to_str().unwrap(), "FOLDER")
}

fn refusal_of_bytes(bytes: &[u8]) -> String {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("x.iso"), bytes).unwrap();
    refusal(&folder)
}

#[test]
fn the_right_disc_is_read() {
    let infos = [
        TRIXIE,
        "Debian GNU/Linux 13.0.0 \"Trixie\" - stand-in amd64 NETINST",
        "Debian GNU/Linux 13.1.0 \"Trixie\" - Official amd64 DVD Binary-1 with firmware 20250906",
        "Debian GNU/Linux testing \"Trixie\" - Official Multi-architecture amd64/i386 NETINST",
        "Debian GNU/Linux 13.1.0",
    ];
    for info in infos {
        let folder = disc(&right(info));
        let iso = folder.path().join("x.iso");
        let disc = Disc::open(&iso, "abc".to_owned(), "trixie").unwrap();
        assert_eq!((disc.path, disc.sha256), (iso, "abc".to_owned()));
        assert_eq!(disc.info, info);
        assert!(disc.kernel == kernel() && disc.initrd == initrd());
    }
}

#[test]
fn what_is_no_disc_is_told_apart() {
    let cases: [(&[u8], &str); 7] = [
        (b"", "it is empty"),
        (
            b"\n<!DOCTYPE html><html>",
            "it is an HTML page; perhaps the answer of a proxy or a login page",
        ),
        (b"\x1f\x8b\x08", "it seems to be a gzip archive"),
        (b"QFI\xfb\0\0\0\x03", "it seems to be a qcow2 disk"),
        (&[0; 50_000], "it begins with zeros and has 50000 bytes"),
        (
            b"words",
            "its 5 bytes hold no volume descriptor at byte 32768",
        ),
        (
            &[b'x'; 50_000],
            "its 50000 bytes hold no volume descriptor at byte 32768",
        ),
    ];
    for (bytes, seems) in cases {
        let expected = format!("FOLDER/x.iso is no ISO 9660 image: {seems}");
        assert_eq!(refusal_of_bytes(bytes), expected);
    }
}

#[test]
fn one_that_is_not_there_is_named() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(
        refusal(&folder),
        "cannot read the installer's disc FOLDER/x.iso: No such file or directory (os error 2)"
    );
    fs::create_dir(folder.path().join("x.iso")).unwrap();
    assert_eq!(
        refusal(&folder),
        "cannot read the installer's disc FOLDER/x.iso: it is a folder, and only a regular file is read"
    );
}

#[test]
fn a_truncated_one_tells_both_sizes() {
    let folder = disc(&right(TRIXIE));
    let whole = fs::read(folder.path().join("x.iso")).unwrap();
    for length in [whole.len() - 1, whole.len() / 2, 17 * 2048] {
        assert_eq!(
            refusal_of_bytes(&whole[..length]),
            format!(
                "FOLDER/x.iso is truncated: it has {length} bytes, and its volume has {}. \
                 Download it once more",
                whole.len()
            )
        );
    }
    let error = refusal_of_bytes(&whole[..16 * 2048 + 9]);
    assert!(
        error.contains("hold no volume descriptor") || error.contains("zeros"),
        "{error}"
    );
}

#[test]
fn another_disc_is_told_by_what_is_on_it() {
    let cannot = "FOLDER/x.iso cannot be used to install the base";
    let refused = |files: &[(&str, Vec<u8>)], why: &str| {
        assert_eq!(refusal(&disc(files)), format!("{cannot}: {why}"));
    };
    let text = |text: &str| text.as_bytes().to_vec();
    refused(
        &[("README", text("x"))],
        &format!(
            "it is no installer's disc of Debian: the volume `Some disc` has no .disk/info; {WANTED}"
        ),
    );
    let ubuntu = "Ubuntu 24.04 LTS \"Noble Numbat\" - Release amd64 (20240424)";
    refused(
        &[(".disk/info", text(ubuntu))],
        &format!(
            "there is no Debian installer on it: it has no {KERNEL} or no {INITRD}, and its \
             .disk/info says `{ubuntu}`; {WANTED}"
        ),
    );
    let live = "Debian GNU/Linux 13.0.0 \"Trixie\" - Live amd64 GNOME";
    refused(
        &[(".disk/info", text(live)), ("live/vmlinuz", kernel())],
        &format!("it is a live disc: its .disk/info says `{live}`; {WANTED}"),
    );
    let arm = "Debian GNU/Linux 13.2.0 \"Trixie\" - Official arm64 NETINST";
    refused(
        &[(".disk/info", text(arm)), ("install.a64/vmlinuz", kernel())],
        &format!("it is for arm64: its .disk/info says `{arm}`; {WANTED}"),
    );
    let i386 = "Debian GNU/Linux 12.11.0 \"Bookworm\" - Official i386 NETINST";
    refused(
        &right(i386),
        &format!("it is for i386: its .disk/info says `{i386}`; {WANTED}"),
    );
    let silent = "Debian GNU/Linux 13.2.0";
    refused(
        &[
            (".disk/info", text(silent)),
            ("install.386/vmlinuz", kernel()),
        ],
        &format!(
            "it is for another architecture: its installer is in install.386, and its \
             .disk/info says `{silent}`; {WANTED}"
        ),
    );
}

#[test]
fn another_release_is_told_with_both() {
    for info in [
        "Debian GNU/Linux 12.11.0 \"Bookworm\" - Official amd64 NETINST with firmware",
        "Debian GNU/Linux testing \"Forky\" - Official Snapshot amd64 NETINST",
        "Debian GNU/Linux 12.11.0",
        "Kali GNU/Linux 13.1 \"Kali-last-snapshot\" - Official amd64 NETINST",
        "Other 13.1 amd64",
    ] {
        assert_eq!(
            refusal(&disc(&right(info))),
            format!(
                "FOLDER/x.iso cannot be used to install the base: it is of another release: its \
                 .disk/info says `{info}`; {WANTED}, as the image definition's `release` says"
            )
        );
    }
}

#[test]
fn a_damaged_kernel_or_initrd_is_noticed() {
    let mut files = right(TRIXIE);
    files[1].1[0x203] ^= 1;
    assert_eq!(
        refusal(&disc(&files)),
        format!("{KERNEL} on FOLDER/x.iso is not a Linux kernel: the disc is damaged")
    );
    files[1].1[0x203] ^= 1;
    files[2].1[0] ^= 1;
    assert_eq!(
        refusal(&disc(&files)),
        format!("{INITRD} on FOLDER/x.iso is not compressed with gzip: the disc is damaged")
    );
    files[1].1.truncate(0x100);
    assert!(refusal(&disc(&files)).contains("is not a Linux kernel"));
}

#[test]
fn a_file_that_cannot_be_so_large_is_not_read() {
    let folder = disc(&right(TRIXIE));
    let iso = folder.path().join("x.iso");
    let mut bytes = fs::read(&iso).unwrap();
    // The kernel's length in its two records, of both trees.
    let length = [&5000_u32.to_le_bytes()[..], &5000_u32.to_be_bytes()].concat();
    let larger = [&[0xff; 4][..], &[0xff; 4]].concat();
    let records: Vec<usize> = (0..bytes.len() - 8)
        .filter(|at| bytes[*at..at + 8] == length)
        .collect();
    assert_eq!(records.len(), 2);
    for at in records {
        bytes[at..at + 8].copy_from_slice(&larger);
    }
    assert_eq!(
        refusal_of_bytes(&bytes),
        format!(
            "cannot read {KERNEL} from FOLDER/x.iso: it has 4294 MB, and no installer's has 67 MB"
        )
    );
}
