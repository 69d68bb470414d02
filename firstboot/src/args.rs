//! The command line.

use lexopt::Arg::{Long, Short, Value};
use lexopt::{Parser, RawArgs};
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

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
  rsa-key                     make the RSA host key that the first stage left to be made later
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

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Args {
    /// The system to work on.
    pub root: PathBuf,
    /// Where the seed is, if it is not on a disk.
    pub seed_folder: Option<PathBuf>,
    pub command: Command,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    Local,
    Join,
    /// Go on with the second stage now.
    Retry,
    /// Look after a member's configuration before corosync starts.
    Guard,
    /// Make the RSA host key.
    RsaKey,
    /// Keep a member in its cluster.
    Watch,
    Status {
        /// Wait until it is final: for ever, or so many seconds.
        wait: Option<Option<u64>>,
        json: bool,
    },
    Version,
    Help,
}

/// Reads the words behind the program's name. The error is one line.
pub fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Args, String> {
    let mut parser = lexopt::Parser::from_args(words);
    let mut root = None;
    let mut seed_folder = None;
    let mut command = None;
    // The word that is looked at, as it was typed.
    let mut typed = String::new();
    loop {
        if let Some(next) = parser.try_raw_args().as_ref().and_then(RawArgs::peek) {
            typed = next.to_string_lossy().into_owned();
        }
        let unexpected = || format!("unexpected argument: {typed}");
        let Some(word) = parser.next().map_err(|_| unexpected())? else {
            break;
        };
        match (word, &mut command) {
            (Long("root"), _) => root = Some(folder(&mut parser, "--root")?),
            (Long("seed-dir"), _) => seed_folder = Some(folder(&mut parser, "--seed-dir")?),
            (Long("help") | Short('h'), _) => command = Some(Command::Help),
            (Long("version") | Short('V'), _) => command = Some(Command::Version),
            (Value(word), None) => {
                command = Some(match word.to_str() {
                    Some("local") => Command::Local,
                    Some("join") => Command::Join,
                    Some("retry") => Command::Retry,
                    Some("guard") => Command::Guard,
                    Some("rsa-key") => Command::RsaKey,
                    Some("watch") => Command::Watch,
                    Some("status") => Command::Status {
                        wait: None,
                        json: false,
                    },
                    _ => return Err(unexpected()),
                });
            }
            (Long("json"), Some(Command::Status { json, .. })) => *json = true,
            (Long("wait"), Some(Command::Status { wait, .. })) => {
                *wait = Some(seconds(&mut parser).map_err(|()| unexpected())?);
            }
            _ => return Err(unexpected()),
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

/// The value of an option that wants a folder.
fn folder(parser: &mut Parser, option: &str) -> Result<PathBuf, String> {
    let value = parser.value().ok().filter(|folder| !folder.is_empty());
    value
        .map(PathBuf::from)
        .ok_or_else(|| format!("{option} needs a folder"))
}

/// The seconds behind `--wait` or `--wait=`; `None` where the next word is no number.
fn seconds(parser: &mut Parser) -> Result<Option<u64>, ()> {
    if let Some(value) = parser.optional_value() {
        return number(&value).map(Some).ok_or(());
    }
    let next = parser
        .try_raw_args()
        .and_then(|mut words| words.next_if(|next| number(next).is_some()));
    Ok(next.and_then(|next| number(&next)))
}

fn number(word: &OsStr) -> Option<u64> {
    word.to_str()?.parse().ok()
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
        assert_eq!(of("--root=/mnt --seed-dir=seed local").unwrap(), args);
        assert_eq!(of("local --seed-dir=seed --root=/mnt").unwrap(), args);
        assert_eq!(of("join").unwrap().root, PathBuf::from("/"));
        assert_eq!(of("retry").unwrap().command, Command::Retry);
        assert_eq!(of("guard").unwrap().command, Command::Guard);
        assert_eq!(of("rsa-key").unwrap().command, Command::RsaKey);
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
        for line in ["status --wait=30", "status --wait 30"] {
            assert_eq!(of(line).unwrap().command, status(Some(Some(30)), false));
        }
    }

    #[test]
    fn wrong_lines() {
        for (line, message) in [
            ("", "no command given"),
            ("lokal", "unexpected argument: lokal"),
            ("local join", "unexpected argument: join"),
            ("local --json", "unexpected argument: --json"),
            ("local --seed-dir", "--seed-dir needs a folder"),
            ("local --root", "--root needs a folder"),
            ("local --root=", "--root needs a folder"),
            ("--root /mnt local", "--root needs --seed-dir"),
            ("--root=/mnt local", "--root needs --seed-dir"),
            ("--rot=/mnt local", "unexpected argument: --rot=/mnt"),
            ("status --json=yes", "unexpected argument: --json=yes"),
            ("status --wait=soon", "unexpected argument: --wait=soon"),
            ("status --wait soon", "unexpected argument: soon"),
            ("status -hx", "unexpected argument: -hx"),
            ("-abc", "unexpected argument: -abc"),
            ("local --help=x", "unexpected argument: --help=x"),
        ] {
            assert_eq!(of(line).unwrap_err(), message, "{line}");
        }
    }
}
