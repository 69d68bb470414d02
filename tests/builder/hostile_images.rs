//! Images that are damaged, or made to do harm: each is read or refused in words, within limits of memory
//! and time, and Ctrl-C ends it. Needs mke2fs, debugfs and qemu-img.

use crate::audit::{Case, audit_with};
use std::fs;
use std::os::unix::fs::FileExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use testkit::{Folder, kill, must, wait_for};

fn error(image: &Path) -> String {
    let (code, text) = audit_with(image, &[]);
    assert_eq!(code, Some(1), "{text}");
    text
}

fn patched(image: &Path, at: u64, bytes: &[u8]) {
    let file = fs::OpenOptions::new().write(true).open(image).unwrap();
    file.write_all_at(bytes, at).unwrap();
}

/// Where the superblock is in an image that is not compressed, by the label of its file system.
fn superblock(image: &[u8]) -> usize {
    const LABEL: &[u8] = b"a-label\0";
    let found = image.windows(LABEL.len()).position(|part| part == LABEL);
    found.unwrap() - 0x78
}

const PLAIN: [&str; 4] = ["-O", "^metadata_csum", "-L", "a-label"];

#[test]
fn clusters_of_every_kind_are_read() {
    let case = Case::sealed();
    for option in [
        "cluster_size=512",
        "cluster_size=4096",
        "cluster_size=2M",
        "compression_type=zstd",
        "extended_l2=on,compression_type=zstd",
    ] {
        let image = case.image_of(&[], &["-c", "-o", option]);
        assert_eq!(
            audit_with(&image, &[]),
            (Some(0), "IMAGE is sealed\n".into()),
            "{option}"
        );
    }
    let image = case.image_of(&[], &["-o", "compat=0.10"]);
    assert_eq!(
        audit_with(&image, &[]),
        (Some(0), "IMAGE is sealed\n".into())
    );
}

/// What lies beyond a smaller base is zeros, in clusters of whatever size.
#[test]
fn an_overlay_is_read_with_what_it_is_backed_by() {
    let case = Case::sealed();
    case.image();
    let overlay = case.path("overlay.qcow2");
    let create = |options: &[&str], size: &[&str]| {
        let mut command = Command::new("qemu-img");
        command.args(["create", "-q", "-f", "qcow2", "-F", "qcow2"]);
        command.args(["-b", "image.qcow2"]).args(options);
        must(command.arg(&overlay).args(size));
    };
    for options in [
        "cluster_size=64k",
        "cluster_size=512",
        "compat=0.10",
        "extended_l2=on,cluster_size=128k",
    ] {
        create(&["-o", options], &["64M"]);
        assert_eq!(
            audit_with(&overlay, &[]),
            (Some(0), "IMAGE is sealed\n".into()),
            "{options}"
        );
    }
    // One that is backed by itself, by a pipe, and by what is no file.
    create(&[], &[]);
    let bytes = fs::read(&overlay).unwrap();
    let name_at = u64::from_be_bytes(bytes[8..16].try_into().unwrap());
    let backed_by = |name: &str| {
        patched(&overlay, 16, &(name.len() as u32).to_be_bytes());
        patched(&overlay, name_at, name.as_bytes());
        error(&overlay)
    };
    let by_itself = format!(
        "imgbuild: error: {} has too long a chain of backing files\n",
        "IMAGE"
    );
    assert_eq!(backed_by("overlay.qcow2"), by_itself);
    must(Command::new("mkfifo").arg(case.path("pipe")));
    assert_eq!(
        backed_by("pipe"),
        format!(
            "imgbuild: error: cannot open {}: it is a named pipe, and only a regular file is read\n",
            case.path("pipe").display()
        )
    );
    assert_eq!(
        backed_by("nbd://h/x"),
        "imgbuild: error: IMAGE is backed by `nbd://h/x`, which is no file, and is not read here\n"
    );
}

#[test]
fn what_a_header_cannot_say_is_refused_before_it_is_followed() {
    let case = Case::sealed();
    let image = case.image_of(&PLAIN, &[]);
    let good = fs::read(&image).unwrap();
    let block = superblock(&good) as u64;
    let damaged = "imgbuild: error: IMAGE is a damaged qcow2 image: its header";
    let ext4 = "imgbuild: error: the first partition of IMAGE cannot be read: its superblock names";
    for (at, bytes, text) in [
        (
            56,
            [255; 4],
            format!("{damaged} points outside of the file\n"),
        ),
        (
            24,
            [1, 0, 0, 0],
            format!("{damaged} names a disk that its tables cannot hold\n"),
        ),
        (
            block + 4,
            [255; 4],
            format!("{ext4} more blocks than the partition has\n"),
        ),
        (
            block + 0x20,
            [0; 4],
            format!("{ext4} more groups of blocks than any ext4 has\n"),
        ),
    ] {
        patched(&image, at, &bytes);
        assert_eq!(error(&image), text, "{at}");
        fs::write(&image, &good).unwrap();
    }
    for (path, kind) in [("/dev/zero", "a device"), ("/", "a folder")] {
        let text = error(Path::new(path));
        assert!(
            text.contains(&format!("it is {kind}, and only a regular file is read")),
            "{text}"
        );
    }
}

/// An image whose file system has 2^40 paths: each folder of forty has the next one inside twice. A search
/// of it never ends.
fn endless() -> (Case, PathBuf) {
    let case = Case::sealed();
    let deepest = format!("var/log/{}", ["a"; 40].join("/"));
    fs::create_dir_all(case.tree(&deepest)).unwrap();
    case.image_of(&[], &[]);
    let links = (1..40).map(|depth| {
        let folder = format!("/var/log/{}", vec!["a"; depth].join("/"));
        format!("link {folder}/a {folder}/b\n")
    });
    case.write("links", links.collect::<String>());
    let (raw, image) = (case.path("raw"), case.path("image.qcow2"));
    must(
        Command::new("debugfs")
            .env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin")
            .args(["-w", "-f"])
            .arg(case.path("links"))
            .arg(format!("{}?offset=1048576", raw.display())),
    );
    must(
        Command::new("qemu-img")
            .args(["convert", "-O", "qcow2"])
            .args([&raw, &image]),
    );
    (case, image)
}

const RIGHT: &str = "; nothing else was harmed\n  right: an image that is whole: `qemu-img check IMAGE` and \
                     the digest of where it comes from tell\n";

#[test]
fn reading_an_image_ends_at_its_limits() {
    let (_case, image) = endless();
    assert_eq!(
        audit_with(&image, &["--seconds", "1"]),
        (
            Some(1),
            format!(
                "imgbuild: error: cannot read IMAGE: it was read for 1 s of processor time without an \
                 end{RIGHT}"
            )
        )
    );
    let case = Case::sealed();
    let shadow = fs::File::create(case.tree("etc/shadow")).unwrap();
    shadow.set_len(60 << 20).unwrap();
    let image = case.image();
    assert_eq!(
        audit_with(&image, &["--memory", "50"]),
        (
            Some(1),
            format!(
                "imgbuild: error: cannot read IMAGE: reading it takes more than 50 MiB of memory{RIGHT}"
            )
        )
    );
    shadow.set_len(65 << 20).unwrap();
    assert_eq!(
        error(&case.image()),
        "imgbuild: error: cannot read the file system of IMAGE (root has no password): file is too \
         large to store in memory\n"
    );
}

/// SIGTERM, and SIGINT, which a terminal sends to both: nothing goes on.
#[test]
fn a_signal_ends_the_reading() {
    for signal in [rustix::process::Signal::TERM, rustix::process::Signal::INT] {
        let (_case, image) = endless();
        let mut audit = Command::new(crate::program())
            .arg("audit")
            .arg(&image)
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let children = format!("/proc/{0}/task/{0}/children", audit.id());
        let reader = || {
            let pids = fs::read_to_string(&children).unwrap_or_default();
            let is_it = |pid: &&str| {
                fs::read(format!("/proc/{pid}/cmdline"))
                    .is_ok_and(|line| line.split(|byte| *byte == 0).any(|word| word == b"look"))
            };
            pids.split_whitespace().find(is_it).map(str::to_owned)
        };
        let mut pid = None;
        wait_for("the process that reads", || {
            pid = reader();
            pid.is_some()
        });
        let begun = Instant::now();
        kill(audit.id(), signal);
        assert_eq!(audit.wait().unwrap().code(), Some(130));
        assert!(begun.elapsed() < Duration::from_secs(10));
        assert!(!testkit::exists(&pid.unwrap()));
    }
}

/// Numbers out of a seed that is printed (xorshift64*).
struct Dice(u64);

impl Dice {
    fn next(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16) % below
    }

    /// One to three bytes in a row, most of them with what counters and offsets go wrong at.
    fn bytes(&mut self) -> Vec<u8> {
        let count = 1 + self.next(4);
        let one = |dice: &mut Dice| match dice.next(5) {
            0 => 0,
            1 => 0xff,
            2 => 0x7f,
            3 => 1 << dice.next(8),
            _ => dice.next(256) as u8,
        };
        (0..count).map(|_| one(self)).collect()
    }
}

/// Thousands of headers, superblocks and tables with bytes that are not theirs.
#[test]
fn whatever_stands_in_an_image_it_is_read_or_refused() {
    let case = Case::sealed();
    let image = case.image_of(&PLAIN, &["-o", "cluster_size=4096"]);
    let good = fs::read(&image).unwrap();
    let block = superblock(&good) as u64;
    tried(
        &good,
        &[
            (0, 112, 1200),
            (block, 1024, 700),
            (block + 1024, 8192, 300),
        ],
    );
}

/// The same of what is read here and not by qcow2-rs: zstd, and L2 entries with subclusters.
#[test]
fn whatever_stands_in_newer_images_they_are_read_or_refused() {
    let case = Case::sealed();
    for options in [
        &["-c", "-o", "compression_type=zstd,cluster_size=4096"][..],
        &["-o", "extended_l2=on,cluster_size=16k"],
    ] {
        let image = case.image_of(&[], options);
        tried(&fs::read(&image).unwrap(), &[(0, 112, 200)]);
    }
}

/// Changes bytes in these parts of an image (from where, how many, how often), in its tables, and anywhere.
fn tried(good: &[u8], parts: &[(u64, u64, u32)]) {
    const SEED: u64 = 0x1c2_2026_1127;
    let mut dice = Dice(SEED);
    let l1 = u64::from_be_bytes(good[40..48].try_into().unwrap());
    let work = Folder::new();
    let file = work.path("x.qcow2");
    let (mut read, mut refused, mut crashed) = (0, 0, 0);
    let mut longest = Duration::ZERO;
    let l2 = u64::from_be_bytes(good[l1 as usize..][..8].try_into().unwrap()) & (u64::MAX >> 8);
    let everywhere = [(l1, 512, 200), (l2, 1024, 200), (0, good.len() as u64, 600)];
    for &(from, length, count) in parts.iter().chain(&everywhere) {
        for _ in 0..count {
            let mut bad = good.to_vec();
            for _ in 0..1 + dice.next(3) {
                let at = (from + dice.next(length)) as usize;
                for (offset, byte) in dice.bytes().into_iter().enumerate() {
                    if let Some(place) = bad.get_mut(at + offset) {
                        *place = byte;
                    }
                }
            }
            fs::write(&file, &bad).unwrap();
            let begun = Instant::now();
            let output = Command::new(crate::program())
                .args(["look", "--seconds", "20", "audit"])
                .arg(&file)
                .output()
                .unwrap();
            longest = longest.max(begun.elapsed());
            let said = String::from_utf8_lossy(&output.stdout);
            if output.status.success() {
                match said.starts_with("{\"Read\":") {
                    true => read += 1,
                    false => {
                        assert!(said.starts_with("{\"Refused\":"), "seed {SEED:#x}: {said}");
                        refused += 1;
                    }
                }
                continue;
            }
            crashed += 1;
            let kept = std::env::temp_dir().join(format!("hostile-{crashed}.qcow2"));
            fs::copy(&file, &kept).unwrap();
            panic!(
                "seed {SEED:#x}, {read} read and {refused} refused before: the reader ended by signal \
                 {:?}, code {:?} on {}: {}",
                output.status.signal(),
                output.status.code(),
                kept.display(),
                String::from_utf8_lossy(&output.stderr)
            );
        }
    }
    println!(
        "seed {SEED:#x}: {read} read, {refused} refused, {crashed} crashed; the longest took {} ms",
        longest.as_millis()
    );
    assert!(read > 0 && refused > 0);
}
