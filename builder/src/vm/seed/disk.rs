//! The FAT volume `CIDATA` that carries the documents.

use super::documents::Documents;
use anyhow::{Context, Result};
use fatfs::{Date, DateTime, FormatVolumeOptions, FsOptions, Time};
use std::io::{Cursor, Write};

/// The label by which cloud-init and firstboot know a seed disk.
const LABEL: [u8; 11] = *b"CIDATA     ";
/// Any fixed number: the same documents give the same bytes.
const VOLUME_ID: u32 = 0x4349_4441;
/// The unit of the disk's size.
const MIB: usize = 1024 * 1024;
/// Room for boot sector, both tables, the root folder and partly used clusters.
const OVERHEAD: usize = 256 * 1024;

/// The earliest date that FAT has: the disk's bytes must not depend on the clock.
#[derive(Debug)]
struct FixedTime;

static FIXED_TIME: FixedTime = FixedTime;

impl fatfs::TimeProvider for FixedTime {
    fn get_current_date(&self) -> Date {
        Date {
            year: 1980,
            month: 1,
            day: 1,
        }
    }

    fn get_current_date_time(&self) -> DateTime {
        DateTime {
            date: self.get_current_date(),
            time: Time {
                hour: 0,
                min: 0,
                sec: 0,
                millis: 0,
            },
        }
    }
}

/// The bytes of the seed disk: 1 MiB, more only when the documents need it.
pub(crate) fn image(documents: &Documents) -> Result<Vec<u8>> {
    let content: usize = documents.files().iter().map(|(_, text)| text.len()).sum();
    let mut disk = Cursor::new(vec![0; (content + OVERHEAD).div_ceil(MIB) * MIB]);
    let options = FormatVolumeOptions::new()
        .volume_label(LABEL)
        .volume_id(VOLUME_ID);
    fatfs::format_volume(&mut disk, options).context("cannot format the seed disk")?;
    disk.set_position(0);
    let volume = fatfs::FileSystem::new(&mut disk, FsOptions::new().time_provider(&FIXED_TIME))
        .context("cannot open the seed disk that was just formatted")?;
    for (name, text) in documents.files() {
        let write = || -> std::io::Result<()> {
            let mut file = volume.root_dir().create_file(name)?;
            file.write_all(text.as_bytes())?;
            file.flush()
        };
        write().with_context(|| format!("cannot write {name} onto the seed disk"))?;
    }
    volume
        .unmount()
        .context("cannot finish the seed disk's file system")?;
    Ok(disk.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn documents(size: usize) -> Documents {
        Documents {
            instance_id: "vm42-0000000000000000".into(),
            meta_data: "instance-id: vm42-0000000000000000\nlocal-hostname: vm42\n".into(),
            user_data: format!("#cloud-config\n#{}\n", "x".repeat(size)),
            network_config: "version: 2\n".into(),
        }
    }

    #[test]
    fn grows_with_its_content_and_holds_it_whole() {
        for (size, expected) in [
            (10, MIB),
            (700 * 1024, MIB),
            (800 * 1024, 2 * MIB),
            (2 * MIB, 3 * MIB),
            (20 * MIB, 21 * MIB),
        ] {
            let documents = documents(size);
            let bytes = image(&documents).unwrap();
            assert_eq!(bytes.len(), expected);
            let volume = fatfs::FileSystem::new(Cursor::new(bytes), FsOptions::new()).unwrap();
            assert_eq!(volume.volume_label(), "CIDATA");
            assert_eq!(
                volume.read_volume_label_from_root_dir().unwrap().as_deref(),
                Some("CIDATA")
            );
            for (name, text) in documents.files() {
                let mut read = String::new();
                let mut file = volume.root_dir().open_file(name).unwrap();
                std::io::Read::read_to_string(&mut file, &mut read).unwrap();
                assert!(read == text, "{name} at {size} bytes");
            }
        }
    }

    #[test]
    fn same_documents_same_bytes() {
        assert!(image(&documents(5000)).unwrap() == image(&documents(5000)).unwrap());
    }
}
