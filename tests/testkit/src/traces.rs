//! Looking for a secret in whole disks and files, in each form in which it might be left there.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::process::{Command, Stdio};

/// The forms of some secrets.
pub struct Traces {
    forms: Vec<(String, Vec<u8>)>,
    longest: usize,
    /// Whether a form begins with this byte.
    begins: [bool; 256],
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// What base64 makes of a text whose place in the encoded whole is `offset` bytes after a
/// multiple of three, without the ends, which depend on its neighbours.
fn base64(text: &[u8], offset: usize) -> Vec<u8> {
    let bit = |at: usize| {
        let at = at - offset * 8;
        text[at / 8] >> (7 - at % 8) & 1
    };
    let (start, end) = (offset * 8, (offset + text.len()) * 8);
    (start.div_ceil(6)..end / 6)
        .map(|digit| {
            let value = (digit * 6..digit * 6 + 6).fold(0, |value, at| value << 1 | bit(at));
            ALPHABET[usize::from(value)]
        })
        .collect()
}

impl Traces {
    pub fn of(secrets: &[&str]) -> Self {
        let mut forms = Vec::new();
        for secret in secrets {
            let mut add =
                |name: &str, bytes: Vec<u8>| forms.push((format!("{secret} {name}"), bytes));
            add("as it is", secret.as_bytes().to_vec());
            // Both kinds have this in common: what comes first and last is a zero of one or other.
            let ascii: Vec<[u8; 1]> = secret.bytes().map(|byte| [byte]).collect();
            add("in UTF-16", ascii.join(&0));
            for offset in 0..3 {
                add("in base64", base64(secret.as_bytes(), offset));
            }
        }
        let mut begins = [false; 256];
        for (_, form) in &forms {
            begins[usize::from(form[0])] = true;
        }
        Traces {
            longest: forms.iter().map(|(_, form)| form.len()).max().unwrap(),
            forms,
            begins,
        }
    }

    /// What is in a file, which may be a sparse one, and where.
    pub fn in_file(&self, path: &Path) -> Vec<String> {
        let mut file = File::open(path).unwrap();
        let end = file.metadata().unwrap().len();
        let mut found = Vec::new();
        let mut at = 0;
        // Only what is written: most of a disk is holes.
        while let Some(start) = seek(&file, rustix::fs::SeekFrom::Data(at)) {
            let hole = seek(&file, rustix::fs::SeekFrom::Hole(start)).unwrap_or(end);
            file.seek(SeekFrom::Start(start)).unwrap();
            let data = (&file).take(hole - start);
            for (place, what) in self.in_stream(data).unwrap() {
                found.push(format!(
                    "{}, byte {}: {what}",
                    path.display(),
                    start + place
                ));
            }
            at = hole;
        }
        found
    }

    /// What is on a disk as its machine sees it, through all of the images below it. Needs a
    /// file of the size of what was ever written to it.
    pub fn on_disk(&self, overlay: &Path) -> Vec<String> {
        let folder = tempfile::tempdir_in(overlay.parent().unwrap()).unwrap();
        let raw = folder.path().join("raw");
        let convert = Command::new("qemu-img")
            .args(["convert", "-O", "raw"])
            .args([overlay, &raw])
            .stdin(Stdio::null())
            .status();
        assert!(convert.unwrap().success(), "{}", overlay.display());
        self.in_file(&raw)
    }

    fn in_stream(&self, mut data: impl Read) -> io::Result<Vec<(u64, &str)>> {
        let mut found = Vec::new();
        let mut buffer = Vec::new();
        let mut before = 0;
        loop {
            let count = data.by_ref().take(4 << 20).read_to_end(&mut buffer)?;
            // What begins in the last bytes is looked at with what follows them.
            let whole = match count {
                0 => buffer.len(),
                _ => buffer.len().saturating_sub(self.longest - 1),
            };
            for at in 0..whole {
                if !self.begins[usize::from(buffer[at])] {
                    continue;
                }
                let here = self
                    .forms
                    .iter()
                    .filter(|(_, form)| buffer[at..].starts_with(form));
                found.extend(here.map(|(name, _)| (before + at as u64, name.as_str())));
            }
            if count == 0 {
                return Ok(found);
            }
            buffer.drain(..whole);
            before += whole as u64;
        }
    }
}

/// `None` where there is no more data.
fn seek(file: &File, to: rustix::fs::SeekFrom) -> Option<u64> {
    match rustix::fs::seek(file, to) {
        Ok(at) => Some(at),
        Err(rustix::io::Errno::NXIO) => None,
        Err(error) => panic!("{error}"),
    }
}

/// A search that finds nothing proves something only if it finds what is there.
#[test]
fn each_form_is_found_wherever_it_is() {
    use std::os::unix::fs::FileExt;
    const SECRET: &str = "Korrekt-Pferd";
    // printf 'Korrekt-Pferd' | base64, and with `:` and `a:` before it.
    let forms: [&[u8]; 6] = [
        SECRET.as_bytes(),
        b"S29ycmVrdC1QZmVyZA==",
        b"OktvcnJla3QtUGZlcmQ=",
        b"YTpLb3JyZWt0LVBmZXJk",
        b"K\0o\0r\0r\0e\0k\0t\0-\0P\0f\0e\0r\0d\0",
        b"\0K\0o\0r\0r\0e\0k\0t\0-\0P\0f\0e\0r\0d",
    ];
    let traces = Traces::of(&["something else", SECRET]);
    let folder = tempfile::tempdir().unwrap();
    let (raw, image) = (folder.path().join("raw"), folder.path().join("image.qcow2"));
    for form in forms {
        // Across the border of two reads; at the end; after a hole.
        for place in [(4 << 20) - 5, (8 << 20) - form.len() as u64, 5 << 20] {
            let disk = File::create(&raw).unwrap();
            disk.set_len(8 << 20).unwrap();
            if place < 4 << 20 {
                disk.write_all_at(&vec![b'.'; 5 << 20], 0).unwrap();
            }
            assert_eq!(traces.in_file(&raw), [""; 0]);
            disk.write_all_at(form, place).unwrap();
            assert_eq!(traces.in_file(&raw).len(), 1, "{form:?} at {place}");
        }
    }
    // Compressed, the file itself says nothing of it.
    let convert = Command::new("qemu-img")
        .args(["convert", "-c", "-O", "qcow2"])
        .args([&raw, &image])
        .status();
    assert!(convert.unwrap().success());
    assert_eq!(traces.on_disk(&image).len(), 1);
}
