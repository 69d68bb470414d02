//! Seeds on ISO 9660, as cloud-localds, virt-install and Proxmox make them.

use super::documents::{LIMIT, MediaError, is_cidata, parse_files};
use crate::contract::iso9660::Volume;
use crate::contract::seed::Seed;
use std::io::{self, Read, Seek};
use std::path::Path;

/// Reads an ISO 9660 image labelled `cidata`; `place` names it in errors.
pub fn read<T: Read + Seek>(image: T, place: &Path) -> Result<Seed, MediaError> {
    let unreadable = |reason| MediaError::Unreadable {
        place: place.to_owned(),
        reason,
    };
    let volume = Volume::open(image).map_err(unreadable)?;
    let Some(mut volume) = volume.filter(|volume| is_cidata(volume.label())) else {
        return Err(MediaError::NotASeed {
            place: place.to_owned(),
        });
    };
    let entries = volume.root().map_err(unreadable)?;
    parse_files(place, |wanted| {
        let named = |name: &str| is_named(name, wanted);
        match entries.iter().find(|e| !e.is_folder && named(&e.name)) {
            // One byte more than a document may have, by which a larger one is known.
            Some(entry) => volume.read(entry, LIMIT + 1).map(Some),
            None => Ok(None),
        }
    })
}

/// The volume identifier; `None` when this is no ISO 9660 volume.
pub(super) fn label<T: Read + Seek>(image: T) -> io::Result<Option<String>> {
    Ok(Volume::open(image)?.map(|volume| volume.label().to_owned()))
}

/// Whether a name in the root folder is the document's. Plain names have eight characters
/// and no hyphen: `META_DAT`, `USER_DAT`, `NETWORK_`.
fn is_named(name: &str, wanted: &str) -> bool {
    let plain: String = wanted.replace('-', "_").chars().take(8).collect();
    let stem = name.split('.').next().unwrap_or_default();
    name.eq_ignore_ascii_case(wanted)
        || name.eq_ignore_ascii_case(&wanted.replace('-', "_"))
        || stem == plain.to_ascii_uppercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    const FILES: [(&str, &str, &str); 3] = [
        (
            "META_DAT.;1",
            "meta-data",
            "instance-id: i-1\nlocal-hostname: vm42\n",
        ),
        ("NETWORK_.;1", "network-config", "version: 2\n"),
        ("USER_DAT.;1", "user-data", "#cloud-config\ntimezone: UTC\n"),
    ];
    const ROOT: u32 = 20;
    const JOLIET_ROOT: u32 = 21;
    const FIRST_FILE: u32 = 22;

    fn record(sector: u32, length: u32, name: &[u8], system_use: &[u8]) -> Vec<u8> {
        let mut record = vec![0; 33];
        record[2..6].copy_from_slice(&sector.to_le_bytes());
        record[10..14].copy_from_slice(&length.to_le_bytes());
        record[25] = if name.len() == 1 { 2 } else { 0 };
        record[32] = name.len() as u8;
        record.extend_from_slice(name);
        if record.len() % 2 == 1 {
            record.push(0);
        }
        record.extend_from_slice(system_use);
        record[0] = record.len() as u8;
        record
    }

    fn folder_sector(own: u32, name: impl Fn(&str, &str) -> (Vec<u8>, Vec<u8>)) -> Vec<u8> {
        let mut sector = record(own, 2048, &[0], &[]);
        sector.extend(record(own, 2048, &[1], &[]));
        for (number, (plain, long, content)) in FILES.iter().enumerate() {
            let (name, system_use) = name(plain, long);
            let at = FIRST_FILE + number as u32;
            sector.extend(record(at, content.len() as u32, &name, &system_use));
        }
        sector
    }

    fn rock_ridge(long: &str) -> Vec<u8> {
        let mut entry = b"RR\x05\x01\x89NM".to_vec();
        entry.extend([long.len() as u8 + 5, 1, 0]);
        entry.extend_from_slice(long.as_bytes());
        entry
    }

    fn ucs2(text: &str) -> Vec<u8> {
        text.encode_utf16().flat_map(u16::to_be_bytes).collect()
    }

    /// A volume with the three documents; `hide_plain` takes away the names of the plain form.
    fn image(label: &str, with_rock_ridge: bool, with_joliet: bool, hide_plain: bool) -> Vec<u8> {
        let mut image = vec![0; 2048 * 32];
        let mut put = |sector: u32, offset: usize, bytes: &[u8]| {
            let at = sector as usize * 2048 + offset;
            image[at..at + bytes.len()].copy_from_slice(bytes);
        };
        put(16, 0, b"\x01CD001\x01");
        put(16, 40, format!("{label:32}").as_bytes());
        put(16, 156, &record(ROOT, 2048, &[0], &[]));
        if with_joliet {
            put(17, 0, b"\x02CD001\x01");
            put(17, 88, b"%/E");
            put(17, 156, &record(JOLIET_ROOT, 2048, &[0], &[]));
        }
        let terminator = if with_joliet { 18 } else { 17 };
        put(terminator, 0, b"\xffCD001\x01");
        let plain = folder_sector(ROOT, |plain, long| {
            let name = if hide_plain { "F000" } else { plain };
            let system_use = if with_rock_ridge {
                rock_ridge(long)
            } else {
                Vec::new()
            };
            (name.as_bytes().to_vec(), system_use)
        });
        put(ROOT, 0, &plain);
        let joliet = folder_sector(JOLIET_ROOT, |_, long| (ucs2(long), Vec::new()));
        put(JOLIET_ROOT, 0, &joliet);
        for (number, (_, _, content)) in FILES.iter().enumerate() {
            put(FIRST_FILE + number as u32, 0, content.as_bytes());
        }
        image
    }

    fn read_bytes(image: &[u8]) -> Result<Seed, MediaError> {
        read(Cursor::new(image), Path::new("/dev/sr0"))
    }

    #[test]
    fn all_three_kinds_of_names_are_read() {
        let images = [
            image("cidata", true, true, true),
            image("cidata", true, false, true),
            image("CIDATA", false, true, true),
            image("cidata", false, false, false),
        ];
        for image in images {
            let seed = read_bytes(&image).unwrap();
            assert_eq!(seed.hostname(), "vm42");
            assert_eq!(seed.user_data.timezone.as_deref(), Some("UTC"));
            assert!(seed.network.is_some());
        }
    }

    #[test]
    fn names_that_nothing_gives_are_missing() {
        let error = read_bytes(&image("cidata", false, false, true)).unwrap_err();
        assert_eq!(error.to_string(), "the seed on /dev/sr0 has no meta-data");
    }

    #[test]
    fn the_label_is_looked_at() {
        let image = image("Debian 13", true, true, false);
        let found = super::super::volume_label(Cursor::new(&image)).unwrap();
        let found = found.unwrap();
        assert_eq!(found.kind, super::super::VolumeKind::Iso9660);
        assert_eq!(found.label, "Debian 13");
        let error = read_bytes(&image).unwrap_err();
        assert!(matches!(error, MediaError::NotASeed { .. }));
    }

    #[test]
    fn other_content_is_no_volume() {
        for size in [0, 2048, 2048 * 16 + 7, 2048 * 40] {
            let bytes = vec![0; size];
            assert_eq!(label(Cursor::new(&bytes)).unwrap(), None);
            assert!(read_bytes(&bytes).is_err());
        }
    }

    #[test]
    fn a_file_beyond_the_end_is_an_error() {
        let mut image = image("cidata", true, false, true);
        image.truncate(FIRST_FILE as usize * 2048 + 10);
        assert_eq!(
            read_bytes(&image).unwrap_err().to_string(),
            "cannot read /dev/sr0: meta-data: the volume ends inside the file"
        );
    }

    /// No byte of the descriptor or the root folder may do worse than refuse the volume.
    #[test]
    fn damage_does_no_harm() {
        let good = image("cidata", true, true, true);
        let descriptor = 16 * 2048..16 * 2048 + 200;
        let root = ROOT as usize * 2048..ROOT as usize * 2048 + 300;
        for at in descriptor.chain(root) {
            for value in [0, 1, 0x22, 0xFF] {
                let mut image = good.clone();
                image[at] = value;
                let _ = read_bytes(&image);
            }
        }
    }
}
