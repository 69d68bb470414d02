//! The user's own folders, where the XDG Base Directory Specification has them.

use anyhow::{Context, Result};
use std::path::PathBuf;

/// The home folder, where the environment names one.
pub(crate) fn home() -> Option<PathBuf> {
    absolute(variable("HOME"))
}

/// For what saves time and can be had again, such as downloads: `$XDG_CACHE_HOME/imgbuild`, else
/// `~/.cache/imgbuild`.
pub(crate) fn cache() -> Result<PathBuf> {
    folder(variable("XDG_CACHE_HOME"), home(), ".cache").context(
        "there is no place for downloads: neither XDG_CACHE_HOME nor HOME names a folder; set one \
         of them",
    )
}

/// For what was seen and is worth knowing at the next run: `$XDG_STATE_HOME/imgbuild`, else
/// `~/.local/state/imgbuild`. run.sh looks there too.
pub(crate) fn state() -> Option<PathBuf> {
    folder(variable("XDG_STATE_HOME"), home(), ".local/state")
}

fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).map(PathBuf::from)
}

/// A relative path counts as none, says the specification.
fn absolute(path: Option<PathBuf>) -> Option<PathBuf> {
    path.filter(|path| path.is_absolute())
}

fn folder(chosen: Option<PathBuf>, home: Option<PathBuf>, usual: &str) -> Option<PathBuf> {
    let base = absolute(chosen).or_else(|| Some(home?.join(usual)))?;
    Some(base.join("imgbuild"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_where_the_specification_says() {
        let folder = |chosen: Option<&str>, home: Option<&str>| {
            let home = home.map(PathBuf::from);
            let found = folder(chosen.map(PathBuf::from), home, ".cache");
            found.map(|path| path.display().to_string())
        };
        let is = |path: &str| Some(path.to_owned());
        assert_eq!(folder(Some("/c"), Some("/home/x")), is("/c/imgbuild"));
        for none in [None, Some(""), Some("c")] {
            assert_eq!(folder(none, Some("/home/x")), is("/home/x/.cache/imgbuild"));
            assert_eq!(folder(none, None), None);
        }
    }
}
