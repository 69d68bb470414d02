//! The command line, by hand: the guest's binary stays small.

use std::ffi::OsString;
use std::path::PathBuf;

/// The help text.
pub const HELP: &str = "\
firstboot reads the seed disk and makes a clone of the base image its own machine.

Usage: firstboot [--root DIR] [--seed-dir DIR] COMMAND

Commands:
  local                       name, network, keys: before the services start
  join                        join the Proxmox VE cluster: after the network is up
  retry                       try the join again now, with the seed as it is now: after a
                              reason that ended it was put right, or to shorten a pause
  guard                       on a member, before corosync starts: take the newest corosync.conf
                              from another member
  watch                       keep a member in its cluster, until the machine is switched off
  status [--wait [SECONDS]] [--json]
                              how far this machine is; with --wait, when it is done.
                              Ends with 0 when configured, 1 when failed, 3 when not finished

Options:
  --root DIR                  configure the system in DIR and leave this one alone
  --seed-dir DIR              read the seed from a folder and not from a disk
  --version                   this program's version, and the contract that it knows
  --help
";

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Args {
    /// The system to work on.
    pub root: PathBuf,
    /// Where the seed is, if it is not on a disk.
    pub seed_folder: Option<PathBuf>,
    /// What to do.
    pub command: Command,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// The first stage.
    Local,
    /// The second stage.
    Join,
    /// Go on with the second stage now.
    Retry,
    /// Look after a member's configuration before corosync starts.
    Guard,
    /// Keep a member in its cluster.
    Watch,
    /// Show the state.
    Status {
        /// Wait until it is final: for ever, or so many seconds.
        wait: Option<Option<u64>>,
        /// As JSON.
        json: bool,
    },
    /// Print the version.
    Version,
    /// Print the help.
    Help,
}

/// Reads the words behind the program's name. The error is one line.
pub fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Args, String> {
    let mut words = words.into_iter().peekable();
    let mut root = None;
    let mut seed_folder = None;
    let mut command = None;
    while let Some(word) = words.next() {
        let text = word.to_string_lossy().into_owned();
        let mut value = || {
            let folder = words.next().filter(|folder| !folder.is_empty());
            folder
                .map(PathBuf::from)
                .ok_or_else(|| format!("{text} needs a folder"))
        };
        match (text.as_str(), &mut command) {
            ("--root", _) => root = Some(value()?),
            ("--seed-dir", _) => seed_folder = Some(value()?),
            ("--help" | "-h", _) => command = Some(Command::Help),
            ("--version" | "-V", _) => command = Some(Command::Version),
            ("local", None) => command = Some(Command::Local),
            ("join", None) => command = Some(Command::Join),
            ("retry", None) => command = Some(Command::Retry),
            ("guard", None) => command = Some(Command::Guard),
            ("watch", None) => command = Some(Command::Watch),
            ("status", None) => {
                command = Some(Command::Status {
                    wait: None,
                    json: false,
                });
            }
            ("--json", Some(Command::Status { json, .. })) => *json = true,
            ("--wait", Some(Command::Status { wait, .. })) => {
                let seconds = words.peek().and_then(|next| next.to_str()?.parse().ok());
                if seconds.is_some() {
                    words.next();
                }
                *wait = Some(seconds);
            }
            (word, _) => return Err(format!("unexpected argument: {word}")),
        }
    }
    let command = command.ok_or("no command given")?;
    let stage = matches!(command, Command::Local | Command::Join | Command::Retry);
    if stage && root.is_some() && seed_folder.is_none() {
        // The disks of this machine are not those of the system in that folder.
        return Err("--root needs --seed-dir".to_owned());
    }
    Ok(Args {
        root: root.unwrap_or_else(|| PathBuf::from("/")),
        seed_folder,
        command,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Result<Args, String> {
        parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn commands() {
        let args = of("--root /mnt --seed-dir seed local").unwrap();
        assert_eq!(args.root, PathBuf::from("/mnt"));
        assert_eq!(args.seed_folder, Some(PathBuf::from("seed")));
        assert_eq!(args.command, Command::Local);
        assert_eq!(of("join").unwrap().root, PathBuf::from("/"));
        assert_eq!(of("retry").unwrap().command, Command::Retry);
        assert_eq!(of("guard").unwrap().command, Command::Guard);
        assert_eq!(of("watch").unwrap().command, Command::Watch);
        assert_eq!(of("--version").unwrap().command, Command::Version);
    }

    #[test]
    fn status_and_its_wait() {
        let status = |wait, json| Command::Status { wait, json };
        assert_eq!(of("status").unwrap().command, status(None, false));
        assert_eq!(
            of("status --wait --json").unwrap().command,
            status(Some(None), true)
        );
        assert_eq!(
            of("status --json --wait 30").unwrap().command,
            status(Some(Some(30)), true)
        );
    }

    #[test]
    fn wrong_lines() {
        for (line, message) in [
            ("", "no command given"),
            ("lokal", "unexpected argument: lokal"),
            ("local join", "unexpected argument: join"),
            ("local --json", "unexpected argument: --json"),
            ("local --seed-dir", "--seed-dir needs a folder"),
            ("--root /mnt local", "--root needs --seed-dir"),
        ] {
            assert_eq!(of(line).unwrap_err(), message, "{line}");
        }
    }
}
