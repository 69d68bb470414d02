//! Tickets that were renewed while the join waits, kept over a power cut.
//!
//! Each lies in a file of its own, named after the time of its making: the new one is on disk before
//! the old one is overwritten and removed, so a cut leaves one of them at least, and nothing of
//! what was renewed stays behind in a block that nobody uses.

use crate::contract::seed::Ticket;
use crate::system::root::Root;
use anyhow::{Context, Result};
use std::fs::OpenOptions;
use std::io::Write;

/// Where they are; mode 0700.
const FOLDER: &str = "/var/lib/firstboot/tickets";

/// Keeps a ticket of this instance, and removes all others.
pub(crate) fn remember(root: &Root, instance: &str, ticket: &Ticket) -> Result<()> {
    root.ensure_folder(FOLDER, 0o700)?;
    let name = format!("{:08X}", ticket.made());
    let text = format!("{instance}\n{}\n", ticket.text().reveal());
    root.ensure(&file(&name), text.as_bytes(), 0o600)?;
    for other in root.list(FOLDER)? {
        if other != name {
            overwrite_and_remove(root, &other)?;
        }
    }
    Ok(())
}

/// The newest ticket of this instance. A file that is of another one, or is damaged, counts as none.
pub(crate) fn newest(root: &Root, instance: &str) -> Result<Option<Ticket>> {
    let mut newest: Option<Ticket> = None;
    for name in root.list(FOLDER)? {
        let Ok(Some(text)) = root.read_text(&file(&name)) else {
            continue;
        };
        let ticket = match text.split_once('\n') {
            Some((of, ticket)) if of == instance => Ticket::parse(ticket).ok(),
            _ => None,
        };
        newest = newest.into_iter().chain(ticket).max_by_key(Ticket::made);
    }
    Ok(newest)
}

/// Overwrites and removes all of them; returns whether there was any.
pub(crate) fn forget(root: &Root) -> Result<bool> {
    let names = root.list(FOLDER)?;
    for name in &names {
        overwrite_and_remove(root, name)?;
    }
    Ok(!names.is_empty())
}

fn file(name: &str) -> String {
    format!("{FOLDER}/{name}")
}

fn overwrite_and_remove(root: &Root, name: &str) -> Result<()> {
    let path = file(name);
    let place = root.path(&path)?;
    let overwritten = || -> std::io::Result<()> {
        let mut open = OpenOptions::new().write(true).open(&place)?;
        let length = open.metadata()?.len() as usize;
        open.write_all(&vec![b'x'; length])?;
        open.sync_all()
    };
    overwritten().with_context(|| format!("cannot overwrite {path}"))?;
    root.remove_file(&path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::root::tests::tree;
    use std::os::unix::fs::MetadataExt;

    fn ticket(made: u64) -> Ticket {
        Ticket::parse(&format!("PVE:root@pam:{made:08X}::rZ9{made}")).unwrap()
    }

    #[test]
    fn the_newest_of_this_instance_is_kept_and_only_that() {
        let (_folder, root) = tree();
        assert_eq!(newest(&root, "i-1").unwrap(), None);
        remember(&root, "i-1", &ticket(0x6B0844C3)).unwrap();
        remember(&root, "i-1", &ticket(0x6B084BCB)).unwrap();
        remember(&root, "i-1", &ticket(0x6B084BCB)).unwrap();
        assert_eq!(newest(&root, "i-1").unwrap(), Some(ticket(0x6B084BCB)));
        assert_eq!(newest(&root, "i-2").unwrap(), None);
        assert_eq!(root.list(FOLDER).unwrap(), ["6B084BCB"]);
        let mode = |path: &str| root.owner_and_mode(path).unwrap().unwrap().0;
        assert_eq!((mode(FOLDER), mode(&file("6B084BCB"))), (0o700, 0o600));
        assert!(forget(&root).unwrap());
        assert!(!forget(&root).unwrap());
        assert_eq!(newest(&root, "i-1").unwrap(), None);
    }

    /// A cut between the writing of the new one and the removal of the old one leaves both; one in
    /// the middle of the writing leaves a file that is none.
    #[test]
    fn what_a_cut_leaves_is_read_and_tidied() {
        let (_folder, root) = tree();
        remember(&root, "i-1", &ticket(0x6B084BCB)).unwrap();
        let text = format!("i-1\n{}\n", ticket(0x6B0844C3).text().reveal());
        root.write(&file("6B0844C3"), text.as_bytes(), 0o600)
            .unwrap();
        for (name, text) in [
            (".6B09.firstboot", &text[..20]),
            ("6B0A0000", "i-1\nxxxxxxxx\n"),
        ] {
            root.write(&file(name), text.as_bytes(), 0o600).unwrap();
        }
        assert_eq!(newest(&root, "i-1").unwrap(), Some(ticket(0x6B084BCB)));
        remember(&root, "i-1", &ticket(0x6B0852D3)).unwrap();
        assert_eq!(root.list(FOLDER).unwrap(), ["6B0852D3"]);
    }

    #[test]
    fn the_old_one_is_overwritten_where_it_lies() {
        let (folder, root) = tree();
        remember(&root, "i-1", &ticket(0x6B0844C3)).unwrap();
        let place = root.path(&file("6B0844C3")).unwrap();
        // Another name for the same file shows what becomes of its blocks.
        let other = folder.path().join("other");
        std::fs::hard_link(&place, &other).unwrap();
        let inode = std::fs::metadata(&place).unwrap().ino();
        let length = std::fs::read(&place).unwrap().len();
        remember(&root, "i-1", &ticket(0x6B084BCB)).unwrap();
        assert!(!place.exists());
        assert_eq!(std::fs::metadata(&other).unwrap().ino(), inode);
        assert_eq!(std::fs::read(&other).unwrap(), vec![b'x'; length]);
    }
}
