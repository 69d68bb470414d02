//! The files of one VM: finished in a work folder, then put into its own.

use crate::system::files::{move_into_place, private_folder, write_for_a_move};
use anyhow::{Context, Result, ensure};
use rustix::fs::SeekFrom;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The seed disk carries secrets.
const SEED_MODE: u32 = 0o600;

/// Files that are new or differ, still in the work folder.
#[derive(Debug)]
pub(crate) struct Files {
    work: PathBuf,
    place: PathBuf,
    moves: Vec<(PathBuf, PathBuf)>,
}

impl Files {
    /// None yet; `place` is the VM's folder, which need not be there.
    pub(crate) fn new(work: &Path, place: PathBuf) -> Self {
        Files {
            work: work.to_owned(),
            place,
            moves: Vec::new(),
        }
    }

    /// Adds a file, where the one that is there has another content or mode.
    pub(crate) fn add(&mut self, name: &str, content: &[u8], mode: u32) -> Result<()> {
        // All VMs' files are in one folder; no name of a VM has a dot.
        let vm = self.place.file_name().unwrap_or_default();
        let from = self.work.join(vm).with_extension(name);
        let to = self.place.join(name);
        if !is_the_same(&to, content, mode)? {
            write_for_a_move(&from, content, mode)?;
            self.moves.push((from, to));
        }
        Ok(())
    }

    /// Adds `seed.img`. The guest's own parser has the last word: a seed that it refuses is not
    /// put into place.
    pub(crate) fn add_seed(&mut self, image: &[u8], instance_id: &str) -> Result<()> {
        let seed = firstboot::contract::volumes::read_fat(
            std::io::Cursor::new(image),
            Path::new("seed.img"),
        )
        .context("firstboot would refuse this seed")?;
        ensure!(
            seed.meta_data.instance_id == instance_id,
            "the seed disk of {} was not read back as it was written",
            self.place.display()
        );
        self.add("seed.img", image, SEED_MODE)
    }

    /// Whether everything is in place already.
    pub(crate) fn is_empty(&self) -> bool {
        self.moves.is_empty()
    }

    /// Puts the files of these VMs into place, in the order in which they were added.
    pub(crate) fn put_into_place<'a>(all: impl IntoIterator<Item = &'a Files>) -> Result<()> {
        let mut moves = Vec::new();
        for files in all.into_iter().filter(|files| !files.is_empty()) {
            private_folder(&files.place)?;
            moves.extend_from_slice(&files.moves);
        }
        move_into_place(&moves)
    }
}

/// The seed disk of a VM's folder, where the guest would take it.
pub(crate) fn read_seed(place: &Path) -> Result<firstboot::contract::seed::Seed> {
    let file = place.join("seed.img");
    let open = File::open(&file).with_context(|| format!("cannot open {}", file.display()))?;
    firstboot::contract::volumes::read_fat(open, &file)
        .with_context(|| format!("cannot read {}", file.display()))
}

/// Whether a file of an earlier run is already what it should be.
fn is_the_same(file: &Path, content: &[u8], mode: u32) -> Result<bool> {
    let look = || -> std::io::Result<bool> {
        let found = fs::symlink_metadata(file)?;
        Ok(found.is_file()
            && found.permissions().mode() & 0o7777 == mode
            && found.len() == content.len() as u64
            && holds(&File::open(file)?, content)?)
    };
    match look() {
        Ok(same) => Ok(same),
        // What is in the folder's place is told when the folder is made.
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(false),
        Err(e) => Err(e).with_context(|| format!("cannot read {}", file.display())),
    }
}

/// Whether an open file of the same length has this content. A seed disk is holes for the most part,
/// which are not read.
fn holds(file: &File, content: &[u8]) -> std::io::Result<bool> {
    let length = content.len() as u64;
    let next = |from| match rustix::fs::seek(file, from) {
        Ok(at) => Ok(at.min(length)),
        // No data from there on.
        Err(rustix::io::Errno::NXIO) => Ok(length),
        Err(error) => Err(std::io::Error::from(error)),
    };
    let of = |from: u64, to: u64| &content[from as usize..to as usize];
    let (mut at, mut found) = (0, Vec::new());
    while at < length {
        let data = next(SeekFrom::Data(at))?;
        if of(at, data).iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
        at = match data < length {
            true => next(SeekFrom::Hole(data))?,
            false => length,
        };
        found.resize((at - data) as usize, 0);
        file.read_exact_at(&mut found, data)?;
        if found != of(data, at) {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::files::write_for_a_move;

    #[test]
    fn a_file_is_the_same_with_holes_and_without() {
        let folder = tempfile::tempdir().unwrap();
        let mut content = vec![0; 300_000];
        (content[9000], content[200_000]) = (1, 2);
        let (holes, whole) = (folder.path().join("holes"), folder.path().join("whole"));
        write_for_a_move(&holes, &content, SEED_MODE).unwrap();
        fs::write(&whole, &content).unwrap();
        fs::set_permissions(&whole, fs::Permissions::from_mode(SEED_MODE)).unwrap();
        for file in [&holes, &whole] {
            let same = |content: &[u8]| is_the_same(file, content, SEED_MODE).unwrap();
            assert!(same(&content) && !same(&content[1..]));
            for at in [0, 9000, 200_000, 299_999] {
                let mut other = content.clone();
                other[at] ^= 4;
                assert!(!same(&other), "{at}");
            }
            assert!(!is_the_same(file, &content, 0o644).unwrap());
        }
        assert!(!is_the_same(&folder.path().join("none"), &content, SEED_MODE).unwrap());
        assert!(is_the_same(&whole, &[], SEED_MODE).is_ok_and(|same| !same));
    }
}
