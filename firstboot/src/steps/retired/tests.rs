use super::*;
use crate::step::tests::with_context;
use crate::system::root::tests::tree;

const DATABASE_FILES: [&str; 3] = ["config.db", "config.db-shm", "config.db-wal"];

fn member() -> (tempfile::TempDir, Root) {
    let (folder, root) = tree();
    for path in [AUTHKEY, CONF] {
        root.write(path, b"secret", 0o400).unwrap();
    }
    for name in DATABASE_FILES {
        let path = format!("{FOLDER}/{name}");
        root.write(&path, name.as_bytes(), 0o600).unwrap();
    }
    let backup = format!("{FOLDER}/backup/config-1.sql.gz");
    root.write(&backup, b"x", 0o644).unwrap();
    (folder, root)
}

fn retire(root: &Root, retired: bool) -> Outcome {
    let user_data = format!("proxmox: {{retired: {retired}}}");
    with_context(root, &user_data, |context| run(context).unwrap())
}

#[test]
fn key_list_and_database_go() {
    let (_folder, root) = member();
    let outcome = retire(&root, true);
    assert_eq!(
        outcome,
        Outcome::changed(
            "/etc/corosync/authkey removed, /var/lib/pve-cluster/config.db moved to \
             /var/lib/pve-cluster/retired, /etc/corosync/corosync.conf removed"
        )
    );
    assert!(root.list("/etc/corosync").unwrap().is_empty());
    assert_eq!(root.list(FOLDER).unwrap(), ["backup", "retired"]);
    let aside = format!("{FOLDER}/retired");
    assert_eq!(root.list(&aside).unwrap(), DATABASE_FILES);
    assert_eq!(root.owner_and_mode(&aside).unwrap().unwrap().0, 0o700);
    let again = retire(&root, true);
    assert_eq!(
        again,
        Outcome::unchanged_because("retired; nothing of a cluster is left")
    );
}

#[test]
fn what_a_cut_join_left_of_the_key_goes_too() {
    let (_folder, root) = member();
    let left = format!("{AUTHKEY}.tmp.60");
    root.write(&left, b"half a secret", 0o644).unwrap();
    let detail = retire(&root, true).detail.unwrap();
    assert!(
        detail.ends_with("what a join that was cut had left of them removed"),
        "{detail}"
    );
    assert!(root.list("/etc/corosync").unwrap().is_empty());
}

#[test]
fn any_trace_is_enough() {
    for (path, said) in [
        (AUTHKEY, "/etc/corosync/authkey removed"),
        (CONF, "/etc/corosync/corosync.conf removed"),
        (
            "/var/lib/pve-cluster/config.db",
            "/var/lib/pve-cluster/config.db moved to /var/lib/pve-cluster/retired",
        ),
    ] {
        let (_folder, root) = tree();
        root.write(path, b"x", 0o600).unwrap();
        assert_eq!(retire(&root, true), Outcome::changed(said));
        assert!(!root.exists(path).unwrap());
    }
}

#[test]
fn a_node_that_is_not_retired_keeps_all() {
    let (_folder, root) = member();
    assert_eq!(
        retire(&root, false),
        Outcome::unchanged_because("not retired")
    );
    assert!(root.exists(AUTHKEY).unwrap());
    assert_eq!(root.list(FOLDER).unwrap().len(), 4);
}

#[test]
fn the_empty_database_of_afterwards_stays() {
    let (_folder, root) = member();
    retire(&root, true);
    let path = format!("{FOLDER}/{DATABASE}");
    root.write(&path, b"empty", 0o600).unwrap();
    assert!(!retire(&root, true).changed);
    assert!(root.exists(&path).unwrap());
    // After another join it is a cluster's again, and the first one is kept.
    root.write(AUTHKEY, b"new", 0o400).unwrap();
    assert!(retire(&root, true).changed);
    assert!(!root.exists(&path).unwrap());
    let read = |folder: &str| root.read(&format!("{FOLDER}/{folder}/{DATABASE}"));
    assert_eq!(read("retired").unwrap().unwrap(), b"config.db");
    assert_eq!(read("retired.2").unwrap().unwrap(), b"empty");
}

#[test]
fn a_run_that_was_cut_goes_on() {
    // What is on disk after each of the moments at which the power may go.
    for done in 1..=5usize {
        let (_folder, root) = member();
        // A node that was retired once before is the harder case.
        let earlier = format!("{FOLDER}/retired/{DATABASE}");
        root.write(&earlier, b"earlier", 0o600).unwrap();
        let to = |name: &str| format!("{FOLDER}/retired.2/{name}");
        let moves = ["config.db-shm", "config.db-wal", "config.db"];
        root.remove_file(AUTHKEY).unwrap();
        if done > 1 {
            root.ensure_folder(&format!("{FOLDER}/retired.2"), 0o700)
                .unwrap();
        }
        for name in moves.iter().take(done.saturating_sub(2)) {
            root.rename(&format!("{FOLDER}/{name}"), &to(name)).unwrap();
        }
        retire(&root, true);
        assert_eq!(
            root.list(FOLDER).unwrap(),
            ["backup", "retired", "retired.2"],
            "{done}"
        );
        for name in DATABASE_FILES {
            assert_eq!(root.read(&to(name)).unwrap().unwrap(), name.as_bytes());
        }
        assert!(root.list("/etc/corosync").unwrap().is_empty());
        assert!(!retire(&root, true).changed);
    }
}
