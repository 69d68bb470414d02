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
    use crate::contract::iso9660::tests::make;
    use std::io::Cursor;

    const FILES: [(&str, &str); 3] = [
        ("meta-data", "instance-id: i-1\nlocal-hostname: vm42\n"),
        ("network-config", "version: 2\n"),
        ("user-data", "#cloud-config\ntimezone: UTC\n"),
    ];

    /// A volume with these documents, as genisoimage makes it.
    fn image(label: &str, options: &[&str], files: &[(&str, &str)]) -> Vec<u8> {
        let folder = tempfile::tempdir().unwrap();
        let tree = folder.path().join("tree");
        std::fs::create_dir(&tree).unwrap();
        for (name, text) in files {
            std::fs::write(tree.join(name), text).unwrap();
        }
        make(&tree, label, options)
    }

    fn read_bytes(image: &[u8]) -> Result<Seed, MediaError> {
        read(Cursor::new(image), Path::new("/dev/sr0"))
    }

    #[test]
    fn all_three_kinds_of_names_are_read() {
        for (label, options) in [
            ("cidata", &["-rock", "-joliet"][..]),
            ("cidata", &["-rock"]),
            ("CIDATA", &["-joliet"]),
            ("cidata", &[]),
        ] {
            let image = image(label, options, &FILES);
            let seed = read_bytes(&image).unwrap();
            assert_eq!(seed.hostname(), "vm42");
            assert_eq!(seed.user_data.timezone.as_deref(), Some("UTC"));
            assert!(seed.network.is_some());
        }
    }

    #[test]
    fn a_document_that_is_not_there_is_missing() {
        let error = read_bytes(&image("cidata", &[], &FILES[1..])).unwrap_err();
        assert_eq!(error.to_string(), "the seed on /dev/sr0 has no meta-data");
    }

    #[test]
    fn the_label_is_looked_at() {
        let image = image("Debian 13", &["-rock"], &FILES);
        let found = super::super::label::volume_label(Cursor::new(&image)).unwrap();
        let found = found.unwrap();
        assert_eq!(found.kind, super::super::label::VolumeKind::Iso9660);
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
        let mut image = image("cidata", &["-rock"], &FILES);
        let start = b"instance-id: i-1";
        let at = image.windows(start.len()).position(|w| w == start);
        image.truncate(at.unwrap() + 10);
        assert_eq!(
            read_bytes(&image).unwrap_err().to_string(),
            "cannot read /dev/sr0: meta-data: the volume ends inside the file"
        );
    }

    /// No byte of the descriptor or the root folder may do worse than refuse the volume.
    #[test]
    fn damage_does_no_harm() {
        let good = image("cidata", &["-rock"], &FILES);
        let descriptor = 16 * 2048..16 * 2048 + 200;
        let root = &good[descriptor.start + 158..][..4];
        let root = u32::from_le_bytes(root.try_into().unwrap()) as usize * 2048;
        for at in descriptor.chain(root..root + 300) {
            for value in [0, 1, 0x22, 0xFF] {
                let mut image = good.clone();
                image[at] = value;
                let _ = read_bytes(&image);
            }
        }
    }
}
