//! The recipe of `imgbuild init`.

mod keys;

use crate::config::definition;
use crate::system::files::{move_into_place, private_folder, write_new};
use crate::system::program;
use crate::system::ui::Ui;
use crate::system::work_folder::{Busy, WorkFolder};
use anyhow::{Context, Result, bail};
use keys::Keys;
use serde_json::json;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The lab that is written; `imgbuild check` finds nothing wrong with it.
pub const LAB: &str = include_str!("../../../../templates/lab.yaml");

const SECRETS_README: &str = include_str!("../../../../templates/secrets-README");

/// The folders that are made, with mode 0700.
const FOLDERS: [&str; 2] = ["images", "secrets"];

struct File {
    name: &'static str,
    content: String,
    mode: u32,
}

fn files(keys: &Keys) -> [File; 3] {
    let file = |name, content: &str, mode| File {
        name,
        content: content.to_owned(),
        mode,
    };
    [
        file("lab.yaml", &keys.put_into(LAB), 0o644),
        file(definition::DEFAULT_FILE, definition::BUILT_IN, 0o644),
        file("secrets/README", SECRETS_README, 0o600),
    ]
}

/// Writes a first lab into a folder: all files or none, and never over one that is there.
pub fn init(folder: &Path, ui: &Ui) -> Result<()> {
    let keys = Keys::of_this_user();
    let todo = missing(folder, files(&keys))?;
    write(folder, &todo)
        .with_context(|| format!("cannot write a lab into {}", folder.display()))?;
    warn_of_open_secrets(folder, ui);
    say_next(folder, &todo, &keys, ui);
    Ok(())
}

/// The files to write: those that are not there. A file that is there with the very content
/// is left alone; any other is a reason to stop.
fn missing(folder: &Path, files: [File; 3]) -> Result<Vec<File>> {
    let mut todo = Vec::new();
    let mut present = Vec::new();
    for file in files {
        let path = folder.join(file.name);
        let is_the_same =
            || fs::read(&path).is_ok_and(|content| content == file.content.as_bytes());
        if fs::symlink_metadata(&path).is_err() {
            todo.push(file);
        } else if file.name == "lab.yaml" || !is_the_same() {
            // `.` is the default and would only be noise.
            let shown = path.strip_prefix(".").unwrap_or(&path);
            present.push(shown.display().to_string());
        }
    }
    if !present.is_empty() {
        let (is, s) = match present.len() {
            1 => ("is", "s"),
            _ => ("are", ""),
        };
        bail!(
            "nothing was written: {} {is} there already and stay{s} as {}\n  right: another \
             folder, imgbuild init FOLDER, or move what is there out of the way",
            present.join(", "),
            if present.len() == 1 {
                "it is"
            } else {
                "they are"
            },
        );
    }
    Ok(todo)
}

/// Writes the files in a work folder, then moves them into place.
fn write(folder: &Path, todo: &[File]) -> Result<()> {
    let mut undo = Undo::default();
    private_folder(folder)?;
    let work = WorkFolder::new(folder, "imgbuild-init", Busy::Wait)?;
    for name in FOLDERS {
        let path = folder.join(name);
        if !path.is_dir() {
            private_folder(&path)?;
            undo.paths.push(path);
        }
    }
    let mut moves = Vec::new();
    for (index, file) in todo.iter().enumerate() {
        let path = work.path().join(index.to_string());
        write_new(&path, file.content.as_bytes(), file.mode)?;
        moves.push((path, folder.join(file.name)));
    }
    undo.paths.extend(moves.iter().map(|(_, to)| to.clone()));
    move_into_place(&moves)?;
    undo.paths.clear();
    Ok(())
}

/// Removes what was made, unless it is emptied when all went well.
#[derive(Debug, Default)]
struct Undo {
    paths: Vec<PathBuf>,
}

impl Drop for Undo {
    fn drop(&mut self) {
        for path in self.paths.iter().rev() {
            // Not yet moved, or a folder that someone put something into: left alone.
            let _ = match path.is_dir() {
                true => fs::remove_dir(path),
                false => fs::remove_file(path),
            };
        }
    }
}

/// A folder that was there before keeps its mode; others may read names in it.
fn warn_of_open_secrets(folder: &Path, ui: &Ui) {
    let path = folder.join("secrets");
    let mode = fs::metadata(&path).map_or(0, |data| data.permissions().mode() & 0o777);
    if mode & 0o077 != 0 {
        let quoted = program::quote(&path.to_string_lossy());
        ui.warn(&format!(
            "{} was there and is open to other users (mode {mode:04o}): chmod 700 {quoted}",
            path.display()
        ));
    }
}

fn say_next(folder: &Path, todo: &[File], keys: &Keys, ui: &Ui) {
    let files: Vec<&str> = todo.iter().map(|file| file.name).collect();
    if ui.is_json() {
        ui.event(&json!({
            "event": "init", "folder": folder, "files": files, "ssh_key_files": keys.files(),
        }));
        return;
    }
    ui.line(&format!("wrote {}", files.join(", ")));
    ui.line(&keys.told());
    ui.line("");
    ui.line("next:");
    if folder != Path::new(".") {
        let quoted = program::quote(&folder.to_string_lossy());
        ui.line(&format!("  cd {quoted}"));
    }
    for line in [
        "  editor lab.yaml      # your VMs (images/base.yaml: what all of them have)",
        "  imgbuild check       # finds every mistake in both, changes nothing",
        "  imgbuild base        # makes base.qcow2, once",
        "  imgbuild seed vm42   # makes vm42/seed.img and vm42/run.sh",
        "  imgbuild run vm42    # boots it and shows how it configures itself",
    ] {
        ui.line(line);
    }
}
