use super::*;
use fatfs::{FatType, FormatVolumeOptions};
use std::io::Cursor;

const META: &str = "instance-id: i-1\nlocal-hostname: vm42\n";
const USER: &str = "#cloud-config\ntimezone: UTC\n";

/// A FAT image with a label and files.
pub(crate) fn image(
    size: usize,
    kind: FatType,
    label: &[u8; 11],
    files: &[(&str, &[u8])],
) -> Vec<u8> {
    let mut disk = Cursor::new(vec![0; size]);
    let options = FormatVolumeOptions::new()
        .fat_type(kind)
        .bytes_per_cluster(512)
        .volume_label(*label);
    fatfs::format_volume(&mut disk, options).unwrap();
    disk.set_position(0);
    let system = FileSystem::new(&mut disk, FsOptions::new()).unwrap();
    for (name, content) in files {
        let mut file = system.root_dir().create_file(name).unwrap();
        file.write_all(content).unwrap();
    }
    drop(system);
    disk.into_inner()
}

/// A small seed.
pub(crate) fn seed_image() -> Vec<u8> {
    let files = [
        ("meta-data", META.as_bytes()),
        ("user-data", USER.as_bytes()),
    ];
    image(1 << 20, FatType::Fat12, b"CIDATA     ", &files)
}

fn read_bytes(image: &[u8]) -> Result<Seed, MediaError> {
    read(Cursor::new(image), Path::new("/dev/vdb"))
}

#[test]
fn every_size_of_fat_is_read() {
    let files = [
        ("META-DATA", META.as_bytes()),
        ("user-data", USER.as_bytes()),
        ("Network-Config", b"version: 2\n".as_slice()),
    ];
    let sizes = [
        (1 << 20, FatType::Fat12),
        (8 << 20, FatType::Fat16),
        (36 << 20, FatType::Fat32),
    ];
    for (size, kind) in sizes {
        let image = image(size, kind, b"cidata     ", &files);
        assert_eq!(
            label(Cursor::new(&image)).unwrap().as_deref(),
            Some("cidata")
        );
        let seed = read_bytes(&image).unwrap();
        assert_eq!(seed.hostname(), "vm42");
        assert_eq!(seed.user_data.timezone.as_deref(), Some("UTC"));
        assert!(seed.network.is_some(), "{kind:?}");
    }
}

/// mtools' `mlabel` writes the root folder's label only, older formatters the boot sector's.
#[test]
fn the_label_of_the_root_folder_wins() {
    let mut image = seed_image();
    image[43..54].copy_from_slice(b"SOMETHING  ");
    assert_eq!(
        label(Cursor::new(&image)).unwrap().as_deref(),
        Some("CIDATA")
    );
    assert!(read_bytes(&image).is_ok());
}

#[test]
fn the_boot_sector_has_the_label_when_the_root_folder_has_none() {
    let mut image = seed_image();
    // The label is the first entry of the root folder; 0xE5 marks it as deleted.
    let entry = image[512..]
        .windows(11)
        .position(|w| w == b"CIDATA     ")
        .unwrap();
    image[512 + entry] = 0xE5;
    let system = open(Cursor::new(&image)).unwrap();
    assert_eq!(system.read_volume_label_from_root_dir().unwrap(), None);
    assert_eq!(
        label(Cursor::new(&image)).unwrap().as_deref(),
        Some("CIDATA")
    );
}

#[test]
fn another_label_is_no_seed() {
    let files = [("meta-data", META.as_bytes())];
    let image = image(1 << 20, FatType::Fat12, b"DATA       ", &files);
    let error = read_bytes(&image).unwrap_err();
    assert!(matches!(error, MediaError::NotASeed { .. }));
    assert_eq!(
        error.to_string(),
        "/dev/vdb is no seed disk: it is no FAT or ISO 9660 volume labelled CIDATA"
    );
}

#[test]
fn both_documents_of_nocloud_must_be_there() {
    let all: [(&str, &[u8]); 2] = [("meta-data", META.as_bytes()), ("user-data", b"")];
    for (missing, kept) in [(0, 1), (1, 0)] {
        let image = image(1 << 20, FatType::Fat12, b"CIDATA     ", &all[kept..=kept]);
        let error = read_bytes(&image).unwrap_err();
        let name = all[missing].0;
        assert_eq!(
            error.to_string(),
            format!("the seed on /dev/vdb has no {name}")
        );
    }
}

#[test]
fn a_document_may_have_one_mebibyte() {
    let fill = |size: usize| {
        let mut text = USER.as_bytes().to_vec();
        text.resize(size, b'#');
        text
    };
    let with = |user: &[u8]| {
        let files = [("meta-data", META.as_bytes()), ("user-data", user)];
        read_bytes(&image(4 << 20, FatType::Fat16, b"CIDATA     ", &files))
    };
    assert!(with(&fill(1 << 20)).is_ok());
    let error = with(&fill((1 << 20) + 1)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the seed on /dev/vdb has a user-data of more than 1 MiB"
    );
    let error = with(b"#cloud-config\n\xff\n").unwrap_err();
    assert_eq!(
        error.to_string(),
        "the seed on /dev/vdb has a user-data that is not UTF-8 text"
    );
}

#[test]
fn problems_name_the_device() {
    let files: [(&str, &[u8]); 2] = [("meta-data", META.as_bytes()), ("user-data", b"x")];
    let image = image(1 << 20, FatType::Fat12, b"CIDATA     ", &files);
    assert_eq!(
        read_bytes(&image).unwrap_err().to_string(),
        "the seed on /dev/vdb is not valid:\n\
         user-data line 1 column 1: the first line must be `#cloud-config`"
    );
}

#[test]
fn other_content_is_no_fat() {
    for size in [0, 100, 512, 4096] {
        for byte in [0, 0x55, 0xFF] {
            let bytes = vec![byte; size];
            assert_eq!(label(Cursor::new(&bytes)).unwrap(), None);
        }
    }
}

/// No byte of the boot sector, whatever it becomes, may do worse than refuse the volume, with a remedy.
#[test]
fn a_damaged_boot_sector_does_no_harm() {
    let good = seed_image();
    for at in 0..90 {
        for value in [0, 1, 0x7F, 0x80, 0xFF] {
            let mut image = good.clone();
            image[at] = value;
            if let Err(MediaError::Unreadable { reason, .. }) = read_bytes(&image) {
                assert!(
                    reason.to_string().contains("make it again"),
                    "{at}: {reason}"
                );
            }
        }
    }
}

#[test]
fn a_write_is_refused() {
    let mut disk = ReadOnly {
        disk: Cursor::new(vec![0]),
        reads: 1,
    };
    assert!(disk.write(b"x").is_err());
    assert_eq!(disk.disk.into_inner(), [0]);
}

/// What `cp` to a full stick leaves.
#[test]
fn a_volume_that_was_cut_is_no_seed() {
    let whole = seed_image();
    for size in [512, 1024, 4096, 20_480, whole.len() - 512] {
        let image = &whole[..size];
        assert_eq!(
            label(Cursor::new(image)).unwrap().as_deref(),
            Some("CIDATA")
        );
        assert_eq!(
            read_bytes(image).unwrap_err().to_string(),
            format!(
                "cannot read /dev/vdb: the volume has 1048576 bytes, and {size} of them are there; \
                 the seed disk is damaged: make it again, or copy it again"
            )
        );
    }
    // A disk may be larger than its volume.
    let mut larger = whole.clone();
    larger.resize(whole.len() + 4096, 0xFF);
    assert!(read_bytes(&larger).is_ok());
}

#[test]
fn a_document_has_all_the_bytes_that_its_entry_says() {
    let whole = seed_image();
    let name = b"USER-D~1   ";
    let entry = whole.windows(11).position(|bytes| bytes == name).unwrap();
    let said = |cluster: Option<u16>, size: Option<u32>| {
        let mut image = whole.clone();
        if let Some(cluster) = cluster {
            image[entry + 26..entry + 28].copy_from_slice(&cluster.to_le_bytes());
        }
        if let Some(size) = size {
            image[entry + 28..entry + 32].copy_from_slice(&size.to_le_bytes());
        }
        read_bytes(&image).unwrap_err().to_string()
    };
    let words = |there: usize, size: usize| {
        format!(
            "cannot read /dev/vdb: user-data: {there} bytes of it are there, and its entry in the \
             folder says {size}; the seed disk is damaged: make it again, or copy it again"
        )
    };
    assert_eq!(said(None, Some(5000)), words(512, 5000));
    assert_eq!(said(Some(0), None), words(0, USER.len()));
    // Behind the last cluster there is nothing.
    let error = said(Some(0xFF0), None);
    assert!(
        error.starts_with("cannot read /dev/vdb: user-data: "),
        "{error}"
    );
}

#[test]
fn a_root_folder_that_runs_in_a_circle_ends() {
    let files = [
        ("meta-data", META.as_bytes()),
        ("user-data", b"".as_slice()),
    ];
    let mut image = image(36 << 20, FatType::Fat32, b"CIDATA     ", &files);
    let word = |at: usize| usize::from(image[at]) | usize::from(image[at + 1]) << 8;
    let (reserved, fat_sectors) = (word(14), word(36));
    // The root folder is cluster 2, and goes on in itself; all of its entries are deleted ones.
    let fat = reserved * 512;
    image[fat + 8..fat + 12].copy_from_slice(&2u32.to_le_bytes());
    let root = fat + 2 * fat_sectors * 512;
    for entry in image[root..root + 512].chunks_mut(32) {
        entry[0] = 0xE5;
    }
    assert_eq!(
        label(Cursor::new(&image)).unwrap().as_deref(),
        Some("CIDATA")
    );
    assert_eq!(
        read_bytes(&image).unwrap_err().to_string(),
        "cannot read /dev/vdb: meta-data: a folder or a file has no end; the seed disk is damaged: \
         make it again, or copy it again"
    );
}

/// Whatever bytes a volume has, it is read or refused.
#[test]
fn a_damaged_volume_does_no_harm() {
    let good = seed_image();
    // xorshift64, so that a failure comes again.
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    let used = good.iter().rposition(|byte| *byte != 0).unwrap();
    for _ in 0..2000 {
        let mut image = good.clone();
        for _ in 0..=random(4) {
            image[random(used)] = random(256) as u8;
        }
        let _ = read_bytes(&image);
    }
}
