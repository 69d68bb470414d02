use super::*;

/// A system in a folder, which goes with it.
pub(crate) fn tree() -> (tempfile::TempDir, Root) {
    let folder = tempfile::tempdir().unwrap();
    let root = Root::new(folder.path());
    (folder, root)
}

#[test]
fn missing_is_none() {
    let (_folder, root) = tree();
    assert_eq!(root.read("/etc/hostname").unwrap(), None);
    assert_eq!(root.kind("/etc/hostname").unwrap(), None);
    assert!(root.list("/etc").unwrap().is_empty());
}

#[test]
fn write_makes_folders_and_leaves_no_temporary_file() {
    let (folder, root) = tree();
    root.write("/etc/openvpn/a.conf", b"x", 0o600).unwrap();
    assert_eq!(root.list("/etc/openvpn").unwrap(), ["a.conf"]);
    let data = fs::metadata(folder.path().join("etc/openvpn/a.conf")).unwrap();
    assert_eq!(data.mode() & 0o7777, 0o600);
}

#[test]
fn what_a_cut_write_has_left_is_removed() {
    let (folder, root) = tree();
    root.remove_unfinished().unwrap();
    let kept = [
        "/etc/a.firstboot",
        "/etc/.firstboot",
        "/etc/.b.c",
        "/srv/.d.firstboot",
    ];
    for file in kept {
        root.write(file, b"x", 0o600).unwrap();
    }
    for file in [
        "etc/.a.firstboot",
        "etc/x/y/.b.c.firstboot",
        "root/.ssh/.d.firstboot",
    ] {
        let file = folder.path().join(file);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, b"a secret").unwrap();
    }
    // A link that was cut, and a folder, which no write leaves.
    std::os::unix::fs::symlink("/srv", folder.path().join("etc/.l.firstboot")).unwrap();
    fs::create_dir(folder.path().join("etc/.f.firstboot")).unwrap();
    root.remove_unfinished().unwrap();
    assert_eq!(
        root.list("/etc").unwrap(),
        [".b.c", ".f.firstboot", ".firstboot", "a.firstboot", "x"]
    );
    assert!(
        root.list("/etc/x/y").unwrap().is_empty() && root.list("/root/.ssh").unwrap().is_empty()
    );
    assert!(kept.iter().all(|file| root.exists(file).unwrap()));
}

#[test]
fn ensure_writes_only_a_difference() {
    let (folder, root) = tree();
    assert!(root.ensure("/etc/a", b"1", 0o644).unwrap());
    let before = fs::metadata(folder.path().join("etc/a")).unwrap();
    assert!(!root.ensure("/etc/a", b"1", 0o644).unwrap());
    let after = fs::metadata(folder.path().join("etc/a")).unwrap();
    assert_eq!(before.ino(), after.ino());
    assert!(root.ensure("/etc/a", b"1", 0o600).unwrap());
    assert!(root.ensure("/etc/a", b"2", 0o600).unwrap());
}

#[test]
fn an_absolute_link_stays_inside_the_root() {
    let (folder, root) = tree();
    let outside = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("etc")).unwrap();
    std::os::unix::fs::symlink(outside.path(), folder.path().join("etc/openvpn")).unwrap();
    root.write("/etc/openvpn/a.conf", b"x", 0o600).unwrap();
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    assert_eq!(root.read("/etc/openvpn/a.conf").unwrap().unwrap(), b"x");
}

#[test]
fn dots_stop_at_the_root() {
    let (folder, root) = tree();
    fs::create_dir(folder.path().join("etc")).unwrap();
    std::os::unix::fs::symlink("../../../../up", folder.path().join("etc/link")).unwrap();
    root.write("/up/file", b"x", 0o600).unwrap();
    assert_eq!(root.read("/etc/link/file").unwrap().unwrap(), b"x");
}

#[test]
fn a_link_in_the_place_of_a_file_is_replaced() {
    let (folder, root) = tree();
    root.write("/run/resolv.conf", b"old", 0o644).unwrap();
    root.symlink("/run/resolv.conf", "/etc/resolv.conf")
        .unwrap();
    assert!(root.ensure("/etc/resolv.conf", b"old", 0o644).unwrap());
    assert_eq!(root.kind("/etc/resolv.conf").unwrap(), Some(Kind::File));
    assert_eq!(
        fs::read(folder.path().join("run/resolv.conf")).unwrap(),
        b"old"
    );
}

#[test]
fn a_loop_of_links_is_an_error() {
    let (_folder, root) = tree();
    root.symlink("/b", "/a").unwrap();
    root.symlink("/a", "/b").unwrap();
    let error = root.read("/a").unwrap_err().to_string();
    assert_eq!(error, "cannot follow /a: too many symbolic links");
}

#[test]
fn symlink_reports_whether_it_did_something() {
    let (_folder, root) = tree();
    assert!(root.symlink("/usr/x", "/etc/x").unwrap());
    assert!(!root.symlink("/usr/x", "/etc/x").unwrap());
    assert!(root.symlink("/usr/y", "/etc/x").unwrap());
    assert_eq!(root.read_link("/etc/x").unwrap().unwrap(), "/usr/y");
}

#[test]
fn a_failed_program_shows_its_command_line_and_words() {
    let (_folder, root) = tree();
    let args = ["-c", "cat >&2; exit 3"];
    let error = root.run("sh", &args, b"some words").unwrap_err();
    assert_eq!(
        error.to_string(),
        "a program failed (exit status: 3): sh -c cat >&2; exit 3\nsome words"
    );
}
