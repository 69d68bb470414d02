//! Volumes made by genisoimage, and damaged ones.

use super::*;
use std::fs;
use std::io::Cursor;
use std::path::Path;
use std::process::Command;

/// Enough names for a folder of several sectors.
const MANY: usize = 200;

/// A volume with the kinds of names that the options ask for.
fn made(options: &[&str]) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let tree = folder.path().join("tree");
    let write = |name: &str, text: &str| {
        let file = tree.join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    };
    write("README.TXT", "plain");
    write("EMPTY", "");
    write("one/two/three/DEEP.BIN", &"deep".repeat(1000));
    if !options.is_empty() {
        write(".disk/info", "a long name");
        write("install.amd/initrd.gz", "in a folder with a dot");
    }
    for number in 0..MANY {
        write(&format!("many/F{number}.DAT"), &number.to_string());
    }
    make(&tree, "Test 1 n", options)
}

/// The volume that genisoimage makes of a folder; it lies beside it.
pub(crate) fn make(tree: &Path, label: &str, options: &[&str]) -> Vec<u8> {
    let iso = tree.with_extension("iso");
    let output = Command::new("genisoimage")
        .args(["-quiet", "-volid", label, "-output"])
        .arg(&iso)
        .args(options)
        .arg(tree)
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words}");
    fs::read(iso).unwrap()
}

fn open(image: &[u8]) -> Volume<Cursor<&[u8]>> {
    Volume::open(Cursor::new(image)).unwrap().unwrap()
}

fn text(volume: &mut Volume<Cursor<&[u8]>>, path: &str) -> String {
    let file = volume.find(path).unwrap();
    let file = file.unwrap_or_else(|| panic!("no {path}"));
    String::from_utf8(volume.read(&file, 1 << 20).unwrap()).unwrap()
}

#[test]
fn files_are_found_by_their_path() {
    for options in [&["-rock"][..], &["-joliet"], &["-rock", "-joliet"], &[]] {
        let image = made(options);
        let mut volume = open(&image);
        assert_eq!(volume.label(), "Test 1 n");
        assert_eq!(volume.size(), image.len() as u64, "{options:?}");
        assert_eq!(text(&mut volume, "README.TXT"), "plain");
        assert_eq!(text(&mut volume, "/readme.txt"), "plain");
        assert_eq!(text(&mut volume, "empty"), "");
        let deep = text(&mut volume, "one/two//three/deep.bin");
        assert_eq!(deep, "deep".repeat(1000), "{options:?}");
        for number in 0..MANY {
            let path = format!("many/F{number}.DAT");
            assert_eq!(text(&mut volume, &path), number.to_string(), "{options:?}");
        }
        if !options.is_empty() {
            assert_eq!(text(&mut volume, ".disk/info"), "a long name");
            let initrd = text(&mut volume, "install.amd/initrd.gz");
            assert_eq!(initrd, "in a folder with a dot");
        }
        for absent in ["none", "one/none", "README.TXT/x", "one/two/x/y", "", "/"] {
            assert_eq!(volume.find(absent).unwrap(), None, "{absent:?}");
        }
        let names = volume.root().unwrap();
        let folders = names.iter().filter(|e| e.is_folder).count();
        assert_eq!(folders, if options.is_empty() { 2 } else { 4 });
    }
}

#[test]
fn no_more_is_read_than_asked_for() {
    let image = made(&["-rock"]);
    let mut volume = open(&image);
    let file = volume.find("one/two/three/DEEP.BIN").unwrap().unwrap();
    assert_eq!(file.length(), 4000);
    assert_eq!(volume.read(&file, 6).unwrap(), b"deepde");
    let folder = volume.find("one/two").unwrap().unwrap();
    let error = volume.read(&folder, 6).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::IsADirectory);
}

/// The offset of the record of a plain name.
fn record_of(image: &[u8], name: &str) -> usize {
    // With its length, which the path table has elsewhere.
    let field = [&[name.len() as u8], name.as_bytes()].concat();
    let mut found = image.windows(field.len()).enumerate();
    found.find(|(_, w)| *w == field).unwrap().0 - 32
}

#[test]
fn a_file_in_several_extents_is_refused() {
    let mut image = made(&[]);
    let record = record_of(&image, "README.TXT;1");
    image[record + 25] |= HAS_MORE_EXTENTS;
    let mut volume = open(&image);
    let file = volume.find("readme.txt").unwrap().unwrap();
    assert_eq!(
        volume.read(&file, 100).unwrap_err().to_string(),
        "the file is in several extents, which are not read"
    );
}

#[test]
fn what_ends_too_early_is_an_error() {
    let whole = made(&["-rock"]);
    let mut volume = open(&whole);
    let file = volume.find("many/F7.DAT").unwrap().unwrap();
    let cut = &whole[..file.extent.start as usize];
    let error = open(cut).read(&file, 100).unwrap_err();
    assert_eq!(error.to_string(), "the volume ends inside the file");
    let many = volume.find("many").unwrap().unwrap();
    assert!(many.length() > 3 * SECTOR, "{many:?}");
    let cut = &whole[..many.extent.start as usize + 2048];
    let error = open(cut).find("many/F7.DAT").unwrap_err();
    assert_eq!(error.to_string(), "the volume ends inside the folder");
}

#[test]
fn a_folder_that_cannot_be_so_large_is_not_read() {
    let mut image = made(&[]);
    let record = record_of(&image, "MANY");
    image[record + 10..record + 14].copy_from_slice(&[0xff; 4]);
    let error = open(&image).find("many/F7.DAT").unwrap_err();
    assert_eq!(
        error.to_string(),
        "a folder is said to have 4294967295 bytes"
    );
}

/// No byte of a folder may do worse than refuse the volume.
#[test]
fn damage_does_no_harm() {
    for options in [&["-rock"][..], &["-joliet"]] {
        let good = made(options);
        let mut volume = open(&good);
        let root = volume.joliet.unwrap_or(volume.root);
        let one = volume.find("one").unwrap().unwrap().extent;
        for folder in [root, one] {
            for at in (folder.start..).take(400) {
                for value in [0, 1, 0x22, 0xff] {
                    let mut image = good.clone();
                    image[at as usize] = value;
                    let mut volume = open(&image);
                    for path in ["README.TXT", "one/two/three/DEEP.BIN"] {
                        if let Ok(Some(file)) = volume.find(path) {
                            let _ = volume.read(&file, 10_000);
                        }
                    }
                }
            }
        }
    }
}
