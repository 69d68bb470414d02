//! `bases/`: the images that the disks of the VMs beside it stand on, each named by its digest.
//!
//! An overlay is nothing without the very image that it was made on. run.sh puts that one into
//! `bases/` when it makes an overlay, and starts the VM on it whatever `base.qcow2` is by then.
//! Every `bases/` serves the VMs' folders beside it and no others, so what is needed is seen by a
//! look at them.

use super::base_image::manifest_of;
use super::folder::VmFolder;
use super::retired::Retired;
use crate::config::yaml::validators;
use crate::qemu;
use crate::system::files::{
    copy, link_or_copy, make_folder, move_into_place, remove_if_there, write_new,
};
use crate::system::given;
use crate::system::program::quote;
use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

const FOLDER: &str = "bases";

/// The ending of an overlay, and of the file beside it that holds its base's digest.
const OVERLAY: &str = ".qcow2";
const ITS_BASE: &str = ".qcow2.base";

/// The images beside a lab's VMs.
#[derive(Debug, Clone)]
pub(crate) struct Bases {
    lab: PathBuf,
}

/// A VM that has a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Its folder's name, which is its own.
    pub vm: String,
    /// SHA-256 of the base under the disk; `None` when nothing says which it is.
    pub base: Option<String>,
    /// Whether it runs now.
    pub running: bool,
    /// Whether it has left its cluster for good.
    pub retired: bool,
}

impl Standing {
    /// Its name, and what else has to be known of it.
    pub(crate) fn shown(&self) -> String {
        match (self.running, self.retired) {
            (true, _) => format!("{} (running)", self.vm),
            (false, true) => format!("{} (retired)", self.vm),
            (false, false) => self.vm.clone(),
        }
    }
}

/// An image in `bases/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kept {
    pub sha256: String,
    /// Size of the file in bytes.
    pub bytes: u64,
}

impl Bases {
    /// Those beside the VMs' folders in `lab`, which may have none.
    pub(crate) fn beside(lab: &Path) -> Self {
        Bases {
            lab: lab.to_owned(),
        }
    }

    /// Where the image of this digest is, or would be.
    pub(crate) fn image(&self, sha256: &str) -> PathBuf {
        self.lab.join(FOLDER).join(format!("{sha256}{OVERLAY}"))
    }

    /// The VMs with a disk, by name.
    pub(crate) fn standing(&self) -> Result<Vec<Standing>> {
        let mut found = Vec::new();
        for (name, folder) in entries(&self.lab)? {
            // What is no folder, or may not be looked into, has no disk of this user's.
            for (file, path) in entries(&folder).unwrap_or_default() {
                let Some(stem) = file.strip_suffix(OVERLAY).filter(|_| name != FOLDER) else {
                    continue;
                };
                let its_base = folder.join(format!("{stem}{ITS_BASE}"));
                let digest = overlay_base(&its_base);
                // Another image than a VM's own, such as a copy that somebody keeps there.
                if path.is_dir() || (digest.is_none() && stem != name) {
                    continue;
                }
                found.push(Standing {
                    vm: name.clone(),
                    base: digest,
                    running: qemu::running(&folder).is_some(),
                    retired: Retired::of(&folder).is_some(),
                });
            }
        }
        found.sort_by(|a, b| a.vm.cmp(&b.vm));
        Ok(found)
    }

    /// The images that are there.
    pub(crate) fn kept(&self) -> Result<Vec<Kept>> {
        let mut kept = Vec::new();
        for (name, path) in self.entries()? {
            let digest = name.strip_suffix(OVERLAY).map(validators::sha256);
            if let (Some(Ok(sha256)), Ok(found)) = (digest, fs::metadata(&path)) {
                let bytes = found.len();
                kept.push(Kept { sha256, bytes });
            }
        }
        kept.sort_by(|a, b| a.sha256.cmp(&b.sha256));
        Ok(kept)
    }

    fn entries(&self) -> Result<Vec<(String, PathBuf)>> {
        let folder = self.lab.join(FOLDER);
        ensure!(
            folder.is_dir() || !folder.exists(),
            "{0} is no folder, and the bases that disks stand on are kept in one of that name. Move it \
             elsewhere: mv {1} {1}.away",
            folder.display(),
            quote(&folder.to_string_lossy())
        );
        entries(&folder)
    }

    /// Keeps an image whose digest is this, as a second name of the file or as a copy where that
    /// cannot be, and a copy of the manifest beside it.
    pub(crate) fn keep(&self, image: &Path, sha256: &str) -> Result<()> {
        let place = self.image(sha256);
        let folder = self.lab.join(FOLDER);
        make_folder(&folder)?;
        type Bring = fn(&Path, &Path) -> Result<()>;
        let (copied, linked): (Bring, Bring) = (
            |from, to| copy(from, to, |_| {}),
            |from, to| link_or_copy(from, to, |_| {}),
        );
        // The image last: what has its name is whole.
        for (bring, from, to) in [
            (copied, manifest_of(image), manifest_of(&place)),
            (linked, image.to_owned(), place.clone()),
        ] {
            if to.is_file() || !from.is_file() {
                continue;
            }
            let part = folder.join(format!(
                ".{}.{}",
                to.file_name().unwrap_or_default().to_string_lossy(),
                std::process::id()
            ));
            let moved = bring(&from, &part).and_then(|()| move_into_place(&[(part.clone(), to)]));
            if moved.is_err() {
                let _ = fs::remove_file(&part);
            }
            moved.with_context(|| {
                format!("cannot keep {} as {}", image.display(), place.display())
            })?;
        }
        Ok(())
    }

    /// What a start or a build that was cut off has left: files that are named after a process
    /// which is no more.
    pub(crate) fn leftovers(&self) -> Result<Vec<PathBuf>> {
        let mut found = self.entries()?;
        found.retain(|(name, _)| {
            let pid = name.split('.').find_map(|part| part.parse::<u32>().ok());
            let ended = |pid: u32| !Path::new("/proc").join(pid.to_string()).exists();
            name.starts_with('.') && pid.is_some_and(ended)
        });
        Ok(found.into_iter().map(|(_, path)| path).collect())
    }

    /// Says of a disk beside which nothing says it what it stands on.
    pub(crate) fn write_overlay_base(&self, vm: &str, sha256: &str) -> Result<()> {
        let file = self.lab.join(vm).join(format!("{vm}{ITS_BASE}"));
        write_new(&file, format!("{sha256}\n").as_bytes(), 0o600)
    }

    /// Removes an image and its manifest.
    pub(crate) fn remove(&self, sha256: &str) -> Result<()> {
        let image = self.image(sha256);
        remove_if_there(&image)?;
        remove_if_there(&manifest_of(&image))?;
        // The last one takes the folder with it.
        let _ = fs::remove_dir(self.lab.join(FOLDER));
        Ok(())
    }

    /// Removes the images that no disk needs, but for `current`, on which the next one will stand.
    /// Returns what was removed.
    pub(crate) fn remove_unneeded(&self, current: Option<&str>) -> Result<Vec<Kept>> {
        let unneeded = self.unneeded(current)?;
        for kept in &unneeded {
            self.remove(&kept.sha256)?;
        }
        Ok(unneeded)
    }

    /// The images that no disk needs, but for `current`. While a disk does not say what it stands
    /// on, there are none.
    pub(crate) fn unneeded(&self, current: Option<&str>) -> Result<Vec<Kept>> {
        let standing = self.standing()?;
        if standing.iter().any(|vm| vm.base.is_none()) {
            return Ok(Vec::new());
        }
        let mut kept = self.kept()?;
        kept.retain(|kept| {
            let sha256 = Some(kept.sha256.as_str());
            sha256 != current && standing.iter().all(|vm| vm.base.as_deref() != sha256)
        });
        Ok(kept)
    }
}

/// The digest of the base under a VM's disk; `None` where it has no disk, or nothing says it.
pub(crate) fn base_under(folder: &VmFolder<'_>) -> Option<String> {
    folder.overlay().symlink_metadata().ok()?;
    overlay_base(&folder.overlay_base())
}

/// The digest of the base that an overlay was made on, from the file that run.sh wrote beside it.
fn overlay_base(file: &Path) -> Option<String> {
    let text = given::read_text(file, given::SMALL).ok()?;
    validators::sha256(text.split_whitespace().next()?).ok()
}

/// VMs by what they stand on.
pub(crate) fn by_base(standing: &[Standing]) -> BTreeMap<&str, Vec<&Standing>> {
    let mut groups: BTreeMap<&str, Vec<&Standing>> = BTreeMap::new();
    for vm in standing {
        if let Some(base) = &vm.base {
            groups.entry(base).or_default().push(vm);
        }
    }
    groups
}

/// Names and paths in a folder; none where there is no such folder.
fn entries(folder: &Path) -> Result<Vec<(String, PathBuf)>> {
    let listed = match fs::read_dir(folder) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        listed => listed.and_then(Iterator::collect::<std::io::Result<Vec<_>>>),
    };
    let listed = listed.with_context(|| format!("cannot read {}", folder.display()))?;
    let entries = listed.into_iter().filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        Some((name, entry.path()))
    });
    Ok(entries.collect())
}
