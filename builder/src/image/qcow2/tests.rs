//! Images that qemu-img has made and changed are read as it reads them, and it finds nothing wrong with
//! those that are written here. Needs qemu-img and qemu-io.

use super::writer::{Settings, pack_all, write, write_as};
use super::{Image, check_headers};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;
use testkit::must;

const MIB: u64 = 1 << 20;

/// Bytes that no two clusters have alike; `noise` cannot be compressed, and other text can.
fn content(seed: u64, length: usize, noise: bool) -> Vec<u8> {
    let mut state = seed * 2 + 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    match noise {
        true => (0..length / 8).flat_map(|_| next()).collect(),
        false => (0..length / 8)
            .flat_map(|n| if n % 8 == 0 { next() } else { [seed as u8; 8] })
            .collect(),
    }
}

/// Bytes of a disk, and where they are.
type Part<'a> = (u64, &'a [u8]);

struct Disks(TempDir);

impl Disks {
    fn new() -> Self {
        Disks(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A raw disk with these bytes at these places, and holes between.
    fn raw(&self, size: u64, parts: &[Part]) -> PathBuf {
        let path = self.path("raw");
        let file = File::create(&path).unwrap();
        file.set_len(size).unwrap();
        for (at, bytes) in parts {
            file.write_all_at(bytes, *at).unwrap();
        }
        path
    }

    fn qemu_img(&self, words: &[&str]) {
        must(
            Command::new("qemu-img")
                .args(words)
                .current_dir(self.0.path()),
        );
    }

    /// Commands of qemu-io on an image.
    fn qemu_io(&self, image: &str, commands: &[&str]) {
        let mut io = Command::new("qemu-io");
        io.args(["-f", "qcow2"]);
        for command in commands {
            io.args(["-c", command]);
        }
        must(io.arg(self.path(image)));
    }

    /// The image is read here, in pieces of odd sizes, as qemu-img converts it.
    fn is_read(&self, image: &str) {
        self.qemu_img(&["convert", "-O", "raw", image, "expected"]);
        let expected = File::open(self.path("expected")).unwrap();
        let path = self.path(image);
        check_headers(&path).unwrap();
        let mut opened = Image::open(&path).unwrap();
        assert_eq!(opened.size(), expected.metadata().unwrap().len());
        let mut at = 0;
        while at < opened.size() {
            let length = (opened.size() - at).min(333_333) as usize;
            let (mut here, mut there) = (vec![1; length], vec![2; length]);
            opened.read(at, &mut here).unwrap();
            expected.read_exact_at(&mut there, at).unwrap();
            assert!(here == there, "{image} differs in {length} bytes at {at}");
            at += length as u64;
        }
    }

    /// qemu-img finds neither errors nor leaks, and the bytes of the raw disk.
    fn is_sound(&self, image: &str) {
        self.qemu_img(&["check", "-q", "-f", "qcow2", image]);
        self.qemu_img(&["compare", "-q", "-f", "raw", "-F", "qcow2", "raw", image]);
        self.is_read(image);
    }

    /// A disk of 24 MiB with text, noise, zeros that are no hole, and holes.
    fn mixed(&self) -> PathBuf {
        self.raw(
            24 * MIB,
            &[
                (0, &content(1, 3 << 20, false)),
                (4 * MIB + 4096, &content(2, 1 << 20, true)),
                (8 * MIB, &[0; 2 << 20]),
                (24 * MIB - 512, &[9; 512]),
            ],
        )
    }
}

/// All that decides how the tables of an image are read, and the clusters.
const FORMATS: [&str; 9] = [
    "cluster_size=64k",
    "cluster_size=512",
    "cluster_size=2M",
    "compat=0.10",
    "compression_type=zstd",
    "compression_type=zstd,cluster_size=2M",
    "extended_l2=on,cluster_size=16k",
    "extended_l2=on,cluster_size=128k,compression_type=zstd",
    "extended_l2=on,cluster_size=2M",
];

#[test]
fn every_format_is_read() {
    let disks = Disks::new();
    disks.mixed();
    for format in FORMATS {
        for packed in [&["-c"][..], &[]] {
            let convert = ["convert", "-f", "raw", "-O", "qcow2", "-o", format];
            disks.qemu_img(&[&convert[..], packed, &["raw", "image"]].concat());
            disks.is_read("image");
        }
    }
}

/// Each format on itself and three others: what was written, what was
/// made zero, and what the backing file has, in pieces that are no clusters.
#[test]
fn every_format_is_read_on_others() {
    let disks = Disks::new();
    disks.mixed();
    for (number, base) in FORMATS.iter().enumerate() {
        disks.qemu_img(&[
            "convert", "-c", "-f", "raw", "-O", "qcow2", "-o", base, "raw", "base",
        ]);
        for further in [0, 2, 5, 7] {
            let overlay = &FORMATS[(number + further) % FORMATS.len()];
            // Larger than the base by something that is no cluster.
            let create = ["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", "base"];
            disks.qemu_img(&[&create[..], &["-o", overlay, "overlay", "25170432"]].concat());
            let mut commands = vec![
                "write -P 5 4096 4096",
                "write -P 6 1234944 70144",
                "write -P 7 25165312 3584",
                "discard 524288 1048576",
            ];
            if *overlay != "compat=0.10" {
                commands.extend(["write -z 8192 12288", "write -z -u 4198400 131072"]);
            }
            disks.qemu_io("overlay", &commands);
            disks.is_read("overlay");
        }
    }
}

#[test]
fn a_chain_of_three_is_read() {
    let disks = Disks::new();
    let raw = disks.mixed();
    write(&raw, &disks.path("base"), |_| {}).unwrap();
    for (below, name, options) in [
        ("base", "one", "cluster_size=512"),
        ("one", "two", "extended_l2=on,cluster_size=128k"),
        ("two", "three", "cluster_size=2M"),
    ] {
        disks.qemu_img(&[
            "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", below, "-o", options, name,
        ]);
        let at = 1536 * name.len();
        disks.qemu_io(name, &[&format!("write -P 3 {at} 512"), "write -z 2M 4k"]);
    }
    disks.is_read("three");
}

#[test]
fn what_is_written_is_sound_and_small() {
    let disks = Disks::new();
    let raw = disks.mixed();
    let heard = std::cell::Cell::new(0.0);
    write(&raw, &disks.path("image"), |part| heard.set(part)).unwrap();
    assert!(heard.get() > 0.9 && heard.get() <= 1.0);
    disks.is_sound("image");
    // Text, eight times smaller, and noise as it is; header and tables have a cluster each.
    let bytes = fs::metadata(disks.path("image")).unwrap().len();
    assert!((2 * MIB..3 * MIB).contains(&bytes), "{bytes}");
}

#[test]
fn the_same_disk_makes_the_same_bytes_on_any_number_of_threads() {
    let disks = Disks::new();
    let raw = disks.mixed();
    let image = |threads: usize| {
        let name = disks.path("image");
        let settings = Settings {
            threads,
            ..Settings::default()
        };
        let _ = fs::remove_file(&name);
        write_as(settings, &raw, &name, |_| {}).unwrap();
        fs::read(&name).unwrap()
    };
    let one = image(1);
    for threads in [1, 2, 7] {
        assert!(image(threads) == one, "{threads}");
    }
    // Where the holes are does not count, but what is in them.
    let whole = fs::read(&raw).unwrap();
    fs::write(&raw, whole).unwrap();
    assert!(image(3) == one);
}

#[test]
fn every_shape_of_disk_is_written() {
    let noise = content(4, 9 << 20, true);
    let text = content(5, 200_000, false);
    let shapes: [(u64, &[Part]); 6] = [
        // Empty, of one sector and of more than one table.
        (512, &[]),
        (5 << 30, &[]),
        // No multiple of a cluster, and of a sector.
        (200_192, &[(0, &text)]),
        (199_999, &[(0, &text[..199_999])]),
        // All of it noise; more than waits at once.
        (9 * MIB, &[(0, &noise)]),
        // Three tables, of which the second is empty.
        (5 << 30, &[(0, &text), ((5 << 30) - 4096, &noise[..4096])]),
    ];
    for (size, parts) in shapes {
        let disks = Disks::new();
        let raw = disks.raw(size, parts);
        write(&raw, &disks.path("image"), |_| {}).unwrap();
        disks.qemu_img(&["check", "-q", "-f", "qcow2", "image"]);
        disks.qemu_img(&["compare", "-q", "-f", "raw", "-F", "qcow2", "raw", "image"]);
        if size < 1 << 30 && size % 512 == 0 {
            disks.is_read("image");
        }
    }
}

/// Tables of many clusters, which none of 128 KiB has below a thousand gigabytes.
#[test]
fn tables_of_many_clusters_are_right() {
    let disks = Disks::new();
    let raw = disks.mixed();
    for cluster_bits in [9, 12, 21] {
        let settings = Settings {
            cluster_bits,
            threads: 2,
        };
        let name = format!("image{cluster_bits}");
        write_as(settings, &raw, &disks.path(&name), |_| {}).unwrap();
        disks.is_sound(&name);
    }
}

#[test]
fn what_cannot_be_written_leaves_nothing() {
    let disks = Disks::new();
    let image = disks.path("image");
    let refused = |raw: &Path, image: &Path| {
        let text = format!("{:#}", write(raw, image, |_| {}).unwrap_err());
        text.replace(&*disks.0.path().to_string_lossy(), "HERE")
    };
    let raw = disks.raw(0, &[]);
    assert_eq!(refused(&raw, &image), "HERE/raw is empty, and no disk");
    assert_eq!(
        refused(&disks.path("none"), &image),
        "cannot read HERE/none: No such file or directory (os error 2)"
    );
    assert!(!image.exists());
    let full = File::options().write(true).open("/dev/full").unwrap();
    let error = pack_all(Settings::default(), &disks.mixed(), &image, full, |_| {}).unwrap_err();
    let text = format!("{error:#}");
    assert!(
        text.ends_with("/image: No space left on device (os error 28)"),
        "{text}"
    );
    assert!(text.starts_with("cannot write "), "{text}");
    // What is there is not this one's to remove.
    fs::write(&image, "mine").unwrap();
    assert_eq!(
        refused(&disks.mixed(), &image),
        "cannot make HERE/image: File exists (os error 17)"
    );
    assert_eq!(fs::read(&image).unwrap(), b"mine");
}

#[test]
fn damage_is_told_at_its_place() {
    let disks = Disks::new();
    let raw = disks.mixed();
    let image = disks.path("image");
    write(&raw, &image, |_| {}).unwrap();
    let file = File::options().read(true).write(true).open(&image).unwrap();
    let says = |at: u64| {
        let text = match Image::open(&image) {
            Err(error) => format!("{error:#}"),
            Ok(mut opened) => match opened.read(at, &mut [0; 512]) {
                Ok(()) => "read".to_owned(),
                Err(error) => format!("{error:#}"),
            },
        };
        text.replace(&*image.to_string_lossy(), "IMAGE")
    };
    assert_eq!(says(0), "read");
    let place = |words: &str| {
        format!(
            "IMAGE is a damaged qcow2 image: what it has for byte 0 of the disk cannot be read: {words}"
        )
    };
    // The first cluster's frame begins behind the header's cluster.
    let mut frame = [0; 4];
    file.read_exact_at(&mut frame, 128 << 10).unwrap();
    file.write_all_at(&[0; 4], 128 << 10).unwrap();
    assert_eq!(says(0), place("zstd says: Unknown frame descriptor"));
    file.write_all_at(&frame, 128 << 10).unwrap();
    // A type of compression that nobody has.
    file.write_all_at(&[2], 104).unwrap();
    assert_eq!(
        says(0),
        "IMAGE is compressed in a way that is not known (type 2), and is not read here; a copy can be \
         read: qemu-img convert -O qcow2 IMAGE NEW.qcow2"
    );
    file.write_all_at(&[1], 104).unwrap();
    // A download that was cut.
    let length = file.metadata().unwrap().len();
    file.set_len(200 << 10).unwrap();
    assert_eq!(
        says(0),
        "IMAGE is a damaged qcow2 image: its header points outside of the file"
    );
    file.set_len(length).unwrap();

    // Extended entries: a table and a cluster that are beyond the file, and a bitmap that contradicts itself.
    disks.qemu_img(&[
        "convert",
        "-f",
        "raw",
        "-O",
        "qcow2",
        "-o",
        "extended_l2=on,cluster_size=128k",
        "raw",
        "image",
    ]);
    let file = File::options().read(true).write(true).open(&image).unwrap();
    let number = |at: u64| {
        let mut bytes = [0; 8];
        file.read_exact_at(&mut bytes, at).unwrap();
        u64::from_be_bytes(bytes)
    };
    let l1 = number(40);
    let l2 = number(l1) & 0x00ff_ffff_ffff_fe00;
    for (at, value, words) in [
        (
            l1,
            1 << 40,
            "an L2 table is at byte 1099511627776, beyond the end of the file",
        ),
        (
            l1,
            512,
            "an L2 table is at byte 512 of the file, which is inside of a cluster",
        ),
        (
            l2,
            1 << 40,
            "it is at byte 1099511627776, beyond the end of the file",
        ),
        (
            l2,
            512,
            "a cluster is at byte 512 of the file, where none can be",
        ),
        (l2 + 8, u64::MAX, "a subcluster is there and is zeros"),
    ] {
        let kept = number(at);
        file.write_all_at(&u64::to_be_bytes(value), at).unwrap();
        assert_eq!(says(0), place(words));
        file.write_all_at(&kept.to_be_bytes(), at).unwrap();
        assert_eq!(says(0), "read");
    }
}

#[test]
fn what_is_no_image_is_refused() {
    let disks = Disks::new();
    let says = |bytes: &[u8]| {
        let file = disks.path("x.qcow2");
        fs::write(&file, bytes).unwrap();
        let text = format!("{:#}", Image::open(&file).err().unwrap());
        text.replace(&*file.to_string_lossy(), "IMAGE")
    };
    assert_eq!(says(b"not an image"), "IMAGE is no qcow2 image");
    let mut header = vec![0u8; 512];
    header[..8].copy_from_slice(b"QFI\xfb\0\0\0\x03");
    let text = says(&header);
    assert!(text.starts_with("IMAGE is a damaged qcow2 image"), "{text}");
}
