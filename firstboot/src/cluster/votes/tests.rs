use super::*;
use crate::system::root::Root;
use std::cell::{Cell, RefCell};
use std::time::Duration;

fn conf(nodes: &[(&str, u32)], version: u64) -> String {
    let nodes: String = nodes
        .iter()
        .map(|(name, votes)| {
            format!("  node {{\n    name: {name}\n    quorum_votes: {votes}\n  }}\n")
        })
        .collect();
    format!("nodelist {{\n{nodes}}}\n\ntotem {{\n  config_version: {version}\n}}\n")
}

fn votes_in(text: &str, name: &str) -> Option<u32> {
    corosync_conf::parse(text).unwrap().votes(name)
}

/// What all nodes share.
struct Shared {
    text: RefCell<Option<String>>,
    locked: Cell<bool>,
}

impl Shared {
    fn new(text: String) -> Self {
        Shared {
            text: RefCell::new(Some(text)),
            locked: Cell::new(false),
        }
    }

    fn text(&self) -> String {
        self.text.borrow().clone().unwrap()
    }
}

/// One node's way to it; `before` runs before each moment, with its number.
struct Node<'a> {
    shared: &'a Shared,
    new: RefCell<String>,
    moments: Cell<usize>,
    before: &'a dyn Fn(usize),
    keeps_to_the_lock: bool,
}

impl<'a> Node<'a> {
    fn new(shared: &'a Shared, before: &'a dyn Fn(usize)) -> Self {
        Node {
            shared,
            new: RefCell::default(),
            moments: Cell::new(0),
            before,
            keeps_to_the_lock: true,
        }
    }

    fn moment(&self) {
        let moment = self.moments.get();
        self.moments.set(moment + 1);
        (self.before)(moment);
    }
}

impl Store for Node<'_> {
    fn read(&self) -> Result<Option<String>> {
        self.moment();
        Ok(self.shared.text.borrow().clone())
    }

    fn lock(&self) -> Result<bool> {
        self.moment();
        Ok(!self.keeps_to_the_lock || !self.shared.locked.replace(true))
    }

    fn unlock(&self) -> Result<()> {
        self.moment();
        if self.keeps_to_the_lock {
            self.shared.locked.set(false);
        }
        Ok(())
    }

    fn prepare(&self, new: &str) -> Result<()> {
        self.moment();
        self.new.replace(new.to_owned());
        Ok(())
    }

    fn activate(&self, old: &str) -> Result<bool> {
        self.moment();
        let is_there = self.shared.text() == old;
        if is_there {
            self.shared.text.replace(Some(self.new.take()));
        }
        Ok(is_there)
    }

    fn pause(&self) {}
}

fn later(result: Result<Option<u32>>) -> RetryLater {
    result.unwrap_err().downcast().unwrap()
}

const NOBODY: &dyn Fn(usize) = &|_| {};

#[test]
fn nothing_is_written_when_the_votes_are_there() {
    let shared = Shared::new(conf(&[("a", 1), ("b", 0)], 4));
    let node = Node::new(&shared, NOBODY);
    assert_eq!(set_votes(&node, "b", 0, 1).unwrap(), None);
    assert_eq!(node.moments.get(), 1);
}

#[test]
fn two_nodes_that_meet_at_any_moment_both_get_their_votes() {
    for keeps_to_the_lock in [true, false] {
        let mut last = 0;
        for meeting in 0.. {
            let shared = Shared::new(conf(&[("a", 1), ("b", 1), ("c", 1)], 4));
            let was_locked = Cell::new(false);
            let other = |moment| {
                if moment == meeting {
                    let mut other = Node::new(&shared, NOBODY);
                    other.keeps_to_the_lock = keeps_to_the_lock;
                    was_locked.set(keeps_to_the_lock && shared.locked.get());
                    let result = set_votes(&other, "c", 0, 2);
                    match was_locked.get() {
                        true => assert_eq!(later(result).at_least, LOCK_GONE),
                        false => assert_eq!(result.unwrap(), Some(1)),
                    }
                }
            };
            let node = Node::new(&shared, &other);
            assert_eq!(set_votes(&node, "b", 0, 2).unwrap(), Some(1), "{meeting}");
            assert!(!shared.locked.get(), "the lock was left behind ({meeting})");
            if node.moments.get() <= meeting {
                last = meeting;
                break;
            }
            if was_locked.get() {
                set_votes(&Node::new(&shared, NOBODY), "c", 0, 2).unwrap();
            }
            let text = shared.text();
            assert_eq!(votes_in(&text, "a"), Some(1));
            assert_eq!(votes_in(&text, "b"), Some(0), "{meeting}");
            assert_eq!(votes_in(&text, "c"), Some(0), "{meeting}");
            assert_eq!(corosync_conf::parse(&text).unwrap().version, 6);
        }
        assert!(last >= 7, "only {last} moments");
    }
}

#[test]
fn a_node_that_joins_meanwhile_is_not_lost() {
    for meeting in 0..7 {
        let shared = Shared::new(conf(&[("a", 1), ("b", 1)], 4));
        let join = |moment| {
            // Without the lock, which is the worse case.
            if moment == meeting {
                let text = shared.text();
                let version = corosync_conf::parse(&text).unwrap().version;
                let b = votes_in(&text, "b").unwrap();
                let joined = conf(&[("a", 1), ("b", b), ("c", 1)], version + 1);
                shared.text.replace(Some(joined));
            }
        };
        set_votes(&Node::new(&shared, &join), "b", 0, 2).unwrap();
        let text = shared.text();
        assert_eq!(votes_in(&text, "b"), Some(0), "{meeting}");
        assert_eq!(votes_in(&text, "c"), Some(1), "{meeting}");
    }
}

#[test]
fn a_change_that_was_overwritten_is_made_again() {
    let old = conf(&[("a", 1), ("b", 1)], 4);
    let shared = Shared::new(old.clone());
    // An editor that was opened before and is saved after; moment 5 gives the lock back.
    let save = |moment| {
        if moment == 5 {
            shared.text.replace(Some(old.clone()));
        }
    };
    let node = Node::new(&shared, &save);
    assert_eq!(set_votes(&node, "b", 0, 1).unwrap(), Some(1));
    assert_eq!(votes_in(&shared.text(), "b"), Some(0));
    assert!(node.moments.get() > 7, "it was made only once");
}

#[test]
fn changes_without_end_are_for_later() {
    let shared = Shared::new(conf(&[("a", 1), ("b", 1)], 4));
    let always = |moment| {
        shared
            .text
            .replace(Some(conf(&[("a", 1), ("b", 1)], moment as u64)));
    };
    let reason = later(set_votes(&Node::new(&shared, &always), "b", 0, 1)).reason;
    assert!(
        reason.ends_with("10 times while this node changed it"),
        "{reason}"
    );
    assert!(!shared.locked.get());
}

#[test]
fn the_quorum_is_not_given_away() {
    // Three of five: without this vote, two of four would be no majority.
    let nodes = [("a", 1), ("b", 1), ("c", 1), ("d", 1), ("e", 1)];
    let shared = Shared::new(conf(&nodes, 4));
    let reason = later(set_votes(&Node::new(&shared, NOBODY), "c", 0, 2)).reason;
    assert!(reason.contains("2 of 4 votes would be up"), "{reason}");
    assert_eq!(votes_in(&shared.text(), "c"), Some(1));
    assert!(!shared.locked.get());
    set_votes(&Node::new(&shared, NOBODY), "c", 0, 3).unwrap();
    // Nor by raising what the others then lack.
    let error = set_votes(&Node::new(&shared, NOBODY), "a", 3, 0);
    let reason = later(error).reason;
    assert!(reason.contains("3 of 6 votes would be up"), "{reason}");
}

#[test]
fn what_time_mends_and_what_it_does_not() {
    let shared = Shared::new(conf(&[("a", 1)], 4));
    let reason = later(set_votes(&Node::new(&shared, NOBODY), "b", 0, 1)).reason;
    assert_eq!(
        reason,
        "cannot use /etc/pve/corosync.conf: b is not in its nodelist"
    );
    let error = set_votes(&Node::new(&shared, NOBODY), "a", 0, 1).unwrap_err();
    assert!(!error.is::<RetryLater>(), "{error:#}");
    shared.text.replace(None);
    let reason = later(set_votes(&Node::new(&shared, NOBODY), "a", 0, 1)).reason;
    assert!(reason.starts_with("this node is in no cluster"), "{reason}");
}

#[test]
fn eight_nodes_on_one_file_system() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join("etc/pve/priv")).unwrap();
    let names = ["b", "c", "d", "e", "f", "g", "h", "i"];
    let mut nodes = vec![("a", 9)];
    nodes.extend(names.map(|name| (name, 1)));
    let root = Root::new(folder.path());
    root.write_plain(FILE, conf(&nodes, 1).as_bytes()).unwrap();
    std::thread::scope(|scope| {
        for name in names {
            let base = folder.path();
            scope.spawn(move || {
                let root = Root::new(base);
                let store = Pmxcfs::new(&root);
                // Held by seven others in turn, the lock may be refused: come again.
                while let Err(error) = set_votes(&store, name, 0, 16) {
                    assert_eq!(error.downcast::<RetryLater>().unwrap().at_least, LOCK_GONE);
                }
            });
        }
    });
    let text = root.read_text(FILE).unwrap().unwrap();
    for name in names {
        assert_eq!(votes_in(&text, name), Some(0), "{name}");
    }
    assert_eq!(corosync_conf::parse(&text).unwrap().version, 9);
    assert!(root.list("/etc/pve/priv/lock").unwrap().is_empty());
    assert_eq!(root.list("/etc/pve").unwrap(), ["corosync.conf", "priv"]);
}

#[test]
fn what_was_prepared_goes_when_another_was_first() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join("etc/pve/priv")).unwrap();
    let root = Root::new(folder.path());
    root.write_plain(FILE, b"theirs").unwrap();
    let store = Pmxcfs::new(&root);
    assert!(store.lock().unwrap());
    store.prepare("ours").unwrap();
    assert!(!store.activate("before").unwrap());
    store.unlock().unwrap();
    assert_eq!(root.list("/etc/pve").unwrap(), ["corosync.conf", "priv"]);
    assert_eq!(root.read(FILE).unwrap().unwrap(), b"theirs");
    // Without the lock nothing is put in place.
    store.prepare("ours").unwrap();
    assert!(!store.activate("theirs").unwrap());
    assert_eq!(root.read(FILE).unwrap().unwrap(), b"theirs");
}

#[test]
fn the_removal_of_a_lock_that_is_held_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let lock = folder.path().join("etc/pve/priv/lock/file-corosync_conf");
    std::fs::create_dir_all(&lock).unwrap();
    let root = Root::new(folder.path());
    let store = Pmxcfs::new(&root);
    std::thread::scope(|scope| {
        // As pmxcfs does with a lock that is old enough.
        scope.spawn(|| {
            let asked = || {
                let modified = std::fs::metadata(&lock).unwrap().modified();
                modified.unwrap() == std::time::UNIX_EPOCH
            };
            while !asked() {
                std::thread::sleep(Duration::from_millis(10));
            }
            std::fs::remove_dir(&lock).unwrap();
        });
        assert!(store.lock().unwrap());
    });
    assert!(lock.exists());
    store.unlock().unwrap();
    assert!(!lock.exists());
}
