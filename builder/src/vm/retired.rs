//! The file `retired` in a VM's folder: this machine has left its cluster for good.

use super::files;
use super::folder::VmFolder;
use crate::config::lab::Lab;
use anyhow::Result;
use std::fs;
use std::path::Path;

/// Its name; run.sh looks for the same one.
pub(crate) const NAME: &str = "retired";

/// A machine that was retired. That the file is there says it; its content says more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Retired {
    /// When, in UTC, such as `2026-11-22T22:39:51Z`.
    pub date: Option<String>,
    /// The instance-id of the seed that keeps it from joining.
    pub instance_id: Option<String>,
}

impl Retired {
    /// Looks into a VM's folder.
    pub(crate) fn of(folder: &Path) -> Option<Self> {
        let file = folder.join(NAME);
        // A file that cannot be read is there all the same.
        fs::symlink_metadata(&file).ok()?;
        let text = fs::read_to_string(&file).unwrap_or_default();
        let value = |key: &str| {
            let mut values = text.lines().filter_map(|line| line.strip_prefix(key));
            values.next().map(|value| value.trim().to_owned())
        };
        Some(Retired {
            date: value("date:"),
            instance_id: value("instance-id:"),
        })
    }

    pub(crate) fn text(&self) -> String {
        let line = |key: &str, value: &Option<String>| match value {
            Some(value) => format!("{key}: {value}\n"),
            None => String::new(),
        };
        line("date", &self.date) + &line("instance-id", &self.instance_id)
    }

    /// When it was, for a sentence.
    pub(crate) fn when(&self) -> String {
        match &self.date {
            Some(date) => format!(" on {date}"),
            None => String::new(),
        }
    }

    /// Why this machine gets no seed and is not started, and what to do; it follows the machine's
    /// name or `it`.
    pub(crate) fn refusal(&self, name: &str) -> String {
        format!(
            "was retired{}: a node that was taken out of its cluster must never come back with its \
             old disk. To make a new machine of this name: pvecm delnode {name} (imgbuild lab \
             retire {name} shows every step), then remove the folder {name} with its disk, and \
             seed again",
            self.when()
        )
    }
}

/// Reads the lab; a machine that was retired needs no secret any more.
pub(crate) fn load_lab(file: &Path) -> Result<Lab> {
    Lab::load_with_secrets(file, &|folder| Retired::of(folder).is_none())
}

/// Whether a machine may get another seed: not while the marker is there, nor while its old disk
/// lies beside the seed that keeps it from joining.
pub(crate) fn keeps_its_seed(folder: &VmFolder<'_>) -> Option<Retired> {
    let by_its_seed = || {
        folder.overlay().symlink_metadata().ok()?;
        let seed = files::read_seed(&folder.path).ok()?;
        seed.user_data.proxmox.filter(|proxmox| proxmox.retired)?;
        Some(Retired {
            date: None,
            instance_id: Some(seed.meta_data.instance_id),
        })
    };
    Retired::of(&folder.path).or_else(by_its_seed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_counts_whatever_is_in_it() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Retired::of(folder.path()), None);
        let file = folder.path().join(NAME);
        fs::write(&file, "").unwrap();
        let unknown = Retired {
            date: None,
            instance_id: None,
        };
        assert_eq!(Retired::of(folder.path()), Some(unknown.clone()));
        assert!(unknown.refusal("vm42").starts_with("was retired: a node"));
        let known = Retired {
            date: Some("today".into()),
            instance_id: Some("vm42-1".into()),
        };
        fs::write(&file, known.text()).unwrap();
        let found = Retired::of(folder.path()).unwrap();
        assert_eq!(found, known);
        assert!(found.refusal("vm42").starts_with("was retired on today: "));
        fs::remove_file(&file).unwrap();
        std::os::unix::fs::symlink("nowhere", &file).unwrap();
        assert_eq!(Retired::of(folder.path()), Some(unknown));
    }
}
