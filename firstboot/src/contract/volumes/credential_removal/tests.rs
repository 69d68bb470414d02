use super::super::fat::tests::image;
use super::*;
use crate::contract::seed;
use fatfs::{FatType, FileSystem, FormatVolumeOptions, FsOptions};
use rustix::fs::{MemfdFlags, SealFlags};
use std::fs;
use std::io::{Cursor, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::symlink;
use tempfile::TempDir;

const META: &str = "instance-id: i-1\nlocal-hostname: vm42\n";
const SECRET: &str = "Korrekt-Pferd";

fn user_data(password: &str) -> String {
    let pairs = ["AA"; 32].join(":");
    format!(
        "#cloud-config\nproxmox:\n  cluster:\n    peers:\n      - address: 10.120.0.1\n        \
         fingerprint: {pairs}\n    password: {password}\n    votes: 0\ntimezone: UTC\n"
    )
}

/// The secret as each kind of scalar.
fn forms() -> [String; 6] {
    [
        SECRET.to_owned(),
        format!("{SECRET} # the cluster's"),
        format!("'{SECRET}'"),
        format!("\"{SECRET}\""),
        format!("|-\n      {SECRET}"),
        format!(">-\n      {SECRET}"),
    ]
}

fn seed_image(kind: FatType, user_data: &str) -> Vec<u8> {
    let size = match kind {
        FatType::Fat12 => 1 << 20,
        FatType::Fat16 => 8 << 20,
        FatType::Fat32 => 36 << 20,
    };
    let files = [
        ("meta-data", META.as_bytes()),
        ("USER-DATA", user_data.as_bytes()),
    ];
    image(size, kind, b"CIDATA     ", &files)
}

/// Folders that stand in for /sys and /dev, with one disk.
struct Machine(TempDir);

impl Machine {
    fn new(disk: &[u8]) -> Self {
        let machine = Machine(tempfile::tempdir().unwrap());
        fs::create_dir_all(machine.path("sys/class/block/vdb")).unwrap();
        fs::create_dir(machine.path("dev")).unwrap();
        fs::write(machine.path("dev/vdb"), disk).unwrap();
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn scrub(&self) -> Result<Scrubbed> {
        on_disk(&self.path("sys"), &self.path("dev"))
    }

    fn disk(&self) -> Vec<u8> {
        fs::read(self.path("dev/vdb")).unwrap()
    }
}

fn count(bytes: &[u8], text: &str) -> usize {
    let windows = bytes.windows(text.len());
    windows.filter(|window| *window == text.as_bytes()).count()
}

#[test]
fn the_password_is_nowhere_on_the_disk_and_nothing_else_has_changed() {
    for form in forms() {
        let before = seed_image(FatType::Fat12, &user_data(&form));
        let machine = Machine::new(&before);
        assert_eq!(machine.scrub().unwrap(), Scrubbed::Done, "{form}");
        let after = machine.disk();
        assert_eq!(count(&after, SECRET), 0, "{form}");
        let place = before
            .windows(SECRET.len())
            .position(|w| w == SECRET.as_bytes());
        let mut expected = before;
        expected[place.unwrap()..][..SECRET.len()].fill(b'x');
        assert!(after == expected, "{form}");
        assert_eq!(machine.scrub().unwrap(), Scrubbed::AlreadyDone);
        assert!(machine.disk() == expected);
        let found = find_in(&machine.path("sys"), &machine.path("dev"), AT_ONCE);
        let proxmox = found.unwrap().unwrap().seed.user_data.proxmox.unwrap();
        assert!(proxmox.cluster.unwrap().credential.is_removed());
    }
}

#[test]
fn every_size_of_fat_is_written_to() {
    for kind in [FatType::Fat16, FatType::Fat32] {
        let machine = Machine::new(&seed_image(kind, &user_data(SECRET)));
        assert_eq!(machine.scrub().unwrap(), Scrubbed::Done);
        assert_eq!(count(&machine.disk(), SECRET), 0, "{kind:?}");
    }
}

/// The password goes over from one cluster to another that does not follow it.
#[test]
fn a_file_in_pieces_is_overwritten_piece_by_piece() {
    let text = user_data(&format!("'{SECRET}'"));
    let place = text.find(SECRET).unwrap();
    let comment = format!("#cloud-config\n#{}\n", "-".repeat(1024 - 5 - place - 2));
    let text = text.replace("#cloud-config\n", &comment);
    assert_eq!(text.find(SECRET), Some(1024 - 5));
    let mut disk = Cursor::new(vec![0; 1 << 20]);
    let options = FormatVolumeOptions::new()
        .bytes_per_cluster(512)
        .volume_label(*b"CIDATA     ");
    fatfs::format_volume(&mut disk, options).unwrap();
    let system = FileSystem::new(&mut disk, FsOptions::new()).unwrap();
    let root = system.root_dir();
    let mut user = root.create_file("user-data").unwrap();
    let mut other = root.create_file("other").unwrap();
    for piece in text.as_bytes().chunks(512) {
        user.write_all(piece).unwrap();
        other.write_all(&[b'.'; 512]).unwrap();
    }
    root.create_file("meta-data")
        .unwrap()
        .write_all(META.as_bytes())
        .unwrap();
    drop((user, other, root));
    system.unmount().unwrap();
    let before = disk.into_inner();
    assert_eq!(
        (count(&before, &SECRET[..5]), count(&before, &SECRET[5..])),
        (1, 1)
    );
    assert_eq!(count(&before, SECRET), 0);

    let machine = Machine::new(&before);
    assert_eq!(machine.scrub().unwrap(), Scrubbed::Done);
    let after = machine.disk();
    assert_eq!(
        (count(&after, &SECRET[..5]), count(&after, &SECRET[5..])),
        (0, 0)
    );
    let changed = before.iter().zip(&after).filter(|(old, new)| old != new);
    assert_eq!(changed.count(), SECRET.len());
}

/// Power cuts after each of the device's writes: the password is gone at the end all the same.
#[test]
fn a_run_that_was_cut_is_taken_up_again() {
    let text = user_data("\"Kor\\\"rekt\\\\Pferd\"");
    let machine = Machine::new(&seed_image(FatType::Fat12, &text));
    let device = machine.path("dev/vdb");
    let Plan::Overwrite(work) = plan(&text).unwrap() else {
        panic!("nothing to do");
    };
    assert!(work.rounds.len() > 2);
    for round in &work.rounds[..2] {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&device)
            .unwrap();
        let located = fat::locate(&file, USER_DATA).unwrap().unwrap();
        write(&file, &located, round).unwrap();
        assert!(find_in(&machine.path("sys"), &machine.path("dev"), AT_ONCE).is_ok());
    }
    assert_eq!(count(&machine.disk(), "rekt"), 1);
    assert_eq!(machine.scrub().unwrap(), Scrubbed::Done);
    assert_eq!(count(&machine.disk(), "rekt"), 0);
    assert_eq!(count(&machine.disk(), &work.result), 1);
}

/// A disk writes whole sectors, and this character lies in two.
#[test]
fn a_run_that_was_cut_inside_a_character_is_taken_up_again() {
    for (password, at) in [
        ("'Gr\u{fc}n-Pferd'", 4),
        ("\u{fc}ben", 1),
        ("\"Pfer\u{1f40e}\"", 7),
    ] {
        let text = user_data(password);
        let place = text.find(password).unwrap() + at;
        let comment = format!("#cloud-config\n#{}\n", "-".repeat(512 - place - 2));
        let text = text.replace("#cloud-config\n", &comment);
        assert!(!text.is_char_boundary(512));
        let before = seed_image(FatType::Fat12, &text);
        let Plan::Overwrite(work) = plan(&text).unwrap() else {
            panic!("nothing to do");
        };
        for part in [0..512, 512..text.len()] {
            let machine = Machine::new(&before);
            let device = machine.path("dev/vdb");
            let file = OpenOptions::new().read(true).write(true).open(&device);
            let file = file.unwrap();
            let located = fat::locate(&file, USER_DATA).unwrap().unwrap();
            let round = work.rounds[0].iter().copied();
            let round: Round = round.filter(|(at, _)| part.contains(at)).collect();
            write(&file, &located, &round).unwrap();
            assert!(count(&machine.disk(), &text) == 0);
            let found = find_in(&machine.path("sys"), &machine.path("dev"), AT_ONCE);
            assert!(found.unwrap().unwrap().seed.cluster().is_some());
            assert_eq!(
                machine.scrub().unwrap(),
                Scrubbed::Done,
                "{password} {part:?}"
            );
            assert_eq!(count(&machine.disk(), &work.result), 1);
            assert_eq!(machine.scrub().unwrap(), Scrubbed::AlreadyDone);
        }
    }
}

/// A document in another encoding is refused as before.
#[test]
fn what_is_no_text_for_another_reason_is_no_torn_run() {
    for (password, comment) in [
        (&b"Gr\xfcn-Pferd"[..], &b""[..]),
        (b"xxxx\xfcben\xe4ben", b""),
        (b"xxxxxx", b" # \xfc"),
    ] {
        let text = user_data("HERE").into_bytes();
        let at = text.windows(4).position(|word| word == b"HERE").unwrap();
        let bytes = [&text[..at], password, comment, &text[at + 4..]].concat();
        assert!(mended(&bytes).is_none(), "{password:?}");
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("meta-data"), META).unwrap();
        fs::write(folder.path().join(USER_DATA), &bytes).unwrap();
        let source = Source::Folder(folder.path().to_owned());
        let error = credential(&source).unwrap_err().to_string();
        assert!(
            error.ends_with("has a user-data that is not UTF-8 text"),
            "{error}"
        );
    }
}

#[test]
fn a_copy_elsewhere_on_the_disk_is_told() {
    let mut disk = seed_image(FatType::Fat12, &user_data(SECRET));
    let end = disk.len() - 100;
    disk[end..][..SECRET.len()].copy_from_slice(SECRET.as_bytes());
    let machine = Machine::new(&disk);
    let place = machine.path("dev/vdb");
    let words = format!("byte {end} of {}", place.display());
    assert_eq!(machine.scrub().unwrap(), Scrubbed::Elsewhere(words));
}

#[test]
fn a_disk_that_cannot_be_written_to_is_left_and_named() {
    // Sealed, because root may write to a file of any mode.
    let flags = MemfdFlags::ALLOW_SEALING | MemfdFlags::CLOEXEC;
    let disk = File::from(rustix::fs::memfd_create("disk", flags).unwrap());
    let before = seed_image(FatType::Fat12, &user_data(SECRET));
    (&disk).write_all(&before).unwrap();
    rustix::fs::fcntl_add_seals(&disk, SealFlags::WRITE).unwrap();
    let machine = Machine::new(b"");
    let device = machine.path("dev/vdb");
    fs::remove_file(&device).unwrap();
    symlink(format!("/proc/self/fd/{}", disk.as_raw_fd()), &device).unwrap();
    let words = format!(
        "{} cannot be written to: Operation not permitted (os error 1)",
        device.display()
    );
    assert_eq!(machine.scrub().unwrap(), Scrubbed::ReadOnly(words));
    assert!(machine.disk() == before);
}

#[test]
fn what_has_no_password_is_left_alone() {
    let machine = Machine::new(&seed_image(FatType::Fat12, "#cloud-config\n"));
    assert_eq!(machine.scrub().unwrap(), Scrubbed::NothingThere);
    fs::write(machine.path("dev/vdb"), [0; 4096]).unwrap();
    assert_eq!(machine.scrub().unwrap(), Scrubbed::NoSeed);
}

#[test]
fn a_form_that_cannot_be_overwritten_is_told_and_left() {
    let before = seed_image(FatType::Fat12, &user_data("&p Korrekt-Pferd"));
    let machine = Machine::new(&before);
    let error = format!("{:#}", machine.scrub().unwrap_err());
    let start = format!(
        "cannot remove the cluster's password or ticket from {}: user-data: proxmox.cluster.password \
         cannot be overwritten: it has an anchor",
        machine.path("dev/vdb").display()
    );
    assert!(
        error.starts_with(&start) && !error.contains("Pferd"),
        "{error}"
    );
    assert!(machine.disk() == before);
}

#[test]
fn a_folder_is_a_seed_too() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("User-Data");
    fs::write(folder.path().join("meta-data"), META).unwrap();
    fs::write(&file, user_data(&format!("'{SECRET}'"))).unwrap();
    let source = Source::Folder(folder.path().to_owned());
    assert_eq!(credential(&source).unwrap(), Scrubbed::Done);
    let hidden = "x".repeat(SECRET.len());
    assert_eq!(
        fs::read_to_string(&file).unwrap(),
        user_data(&format!("'{hidden}'"))
    );
    assert_eq!(credential(&source).unwrap(), Scrubbed::AlreadyDone);
    assert!(seed::parse(META, &fs::read_to_string(&file).unwrap(), None).is_ok());
    fs::remove_file(&file).unwrap();
    let error = credential(&source).unwrap_err().to_string();
    let words = format!("the seed in {} has no user-data", folder.path().display());
    assert_eq!(error, words);
}
