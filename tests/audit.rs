//! `imgbuild audit`: a sealed tree passes, each breach is named by its path, and what is no
//! readable image ends with a clear message. Needs mke2fs and qemu-img.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A folder with a tree and the image that is made of it.
struct Case(tempfile::TempDir);

impl Case {
    /// The least that a sealed base has.
    fn sealed() -> Case {
        let case = Case(tempfile::tempdir().unwrap());
        case.file("etc/machine-id", "");
        case.file(
            "etc/shadow",
            "root:!:20000:0:99999:7:::\ndaemon:*:20000:0:99999:7:::\n",
        );
        case.file("usr/sbin/firstboot", "program");
        fs::set_permissions(
            case.path("usr/sbin/firstboot"),
            fs::Permissions::from_mode(0o755),
        )
        .unwrap();
        for folder in [
            "tmp",
            "var/tmp",
            "var/log/apt",
            "var/lib/apt/lists/partial",
            "root",
            "etc/ssh",
        ] {
            fs::create_dir_all(case.path(folder)).unwrap();
        }
        // APT leaves an empty lock behind.
        case.file("var/lib/apt/lists/lock", "");
        let units = "etc/systemd/system";
        for wants in ["sysinit.target.wants", "multi-user.target.wants"] {
            fs::create_dir_all(case.path(&format!("{units}/{wants}"))).unwrap();
        }
        case.link("systemd-firstboot.service", "/dev/null");
        for (wants, unit) in [
            ("sysinit", "firstboot-local.service"),
            ("multi-user", "firstboot-join.service"),
        ] {
            case.link(
                &format!("{wants}.target.wants/{unit}"),
                &format!("/{units}/{unit}"),
            );
        }
        case
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join("tree").join(name)
    }

    fn file(&self, name: &str, text: &str) {
        let file = self.path(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }

    fn link(&self, name: &str, target: &str) {
        symlink(target, self.path("etc/systemd/system").join(name)).unwrap();
    }

    /// The tree as the first partition of a compressed qcow2 image.
    fn image(&self) -> PathBuf {
        let (raw, image) = (self.0.path().join("raw"), self.0.path().join("image.qcow2"));
        let disk = fs::File::create(&raw).unwrap();
        disk.set_len(32 << 20).unwrap();
        disk.write_all_at(
            &[0x80, 0, 0, 0, 0x83, 0, 0, 0, 0, 8, 0, 0, 0, 0xf0, 0, 0],
            446,
        )
        .unwrap();
        disk.write_all_at(&[0x55, 0xaa], 510).unwrap();
        run(Command::new("mke2fs")
            .env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin")
            .args(["-q", "-F", "-t", "ext4", "-E", "offset=1048576", "-d"])
            .arg(self.0.path().join("tree"))
            .arg(&raw)
            .arg("30M"));
        run(Command::new("qemu-img")
            .args(["convert", "-c", "-O", "qcow2"])
            .arg(raw)
            .arg(&image));
        image
    }
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Exit code and both outputs, with IMAGE for the image's path; stage lines are left out.
fn audit(image: &Path) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_imgbuild"))
        .arg("audit")
        .arg(image)
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8(text)
        .unwrap()
        .replace(&image.display().to_string(), "IMAGE");
    let kept = text.lines().filter(|l| {
        !l.starts_with("       audit ...")
            && !l.starts_with("FAILED audit")
            && !l.starts_with("ok  ")
    });
    (
        output.status.code(),
        kept.map(|l| format!("{l}\n")).collect(),
    )
}

#[test]
fn a_sealed_image_passes() {
    let case = Case::sealed();
    assert_eq!(audit(&case.image()), (Some(0), "IMAGE is sealed\n".into()));
}

#[test]
fn every_breach_is_named() {
    let case = Case::sealed();
    for file in [
        "etc/ssh/ssh_host_rsa_key.pub",
        "root/.ssh/known_hosts",
        "var/lib/dbus/machine-id",
        "var/lib/systemd/random-seed",
        "var/lib/dhcp/dhclient.leases",
        "var/log/apt/term.log",
        "root/.bash_history",
        "var/lib/apt/lists/mirror_InRelease",
        "var/cache/apt/archives/vim.deb",
        "var/spool/postfix/maildrop/A1",
        "tmp/x",
        "etc/shadow-",
        "etc/ssl/private/ssl-cert-snakeoil.key",
        "usr/sbin/policy-rc.d",
        "var/lib/pve-cluster/config.db",
        "etc/corosync/corosync.conf",
        "var/lib/rrdcached/db/pve2-node/debian",
        "etc/network/interfaces.new",
        "etc/iscsi/initiatorname.iscsi",
        "var/lib/firstboot/journal.json",
    ] {
        case.file(file, "identity");
    }
    case.file("etc/machine-id", "0123456789abcdef0123456789abcdef\n");
    case.file("etc/shadow", "root:$6$salt$hash:20000:0:99999:7:::\n");
    fs::set_permissions(
        case.path("usr/sbin/firstboot"),
        fs::Permissions::from_mode(0o644),
    )
    .unwrap();
    let units = case.path("etc/systemd/system");
    fs::remove_file(units.join("systemd-firstboot.service")).unwrap();
    fs::remove_file(units.join("sysinit.target.wants/firstboot-local.service")).unwrap();
    fs::remove_file(units.join("multi-user.target.wants/firstboot-join.service")).unwrap();
    case.link(
        "multi-user.target.wants/firstboot-join.service",
        "/dev/null",
    );
    let (code, text) = audit(&case.image());
    assert_eq!(code, Some(1));
    let golden =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/cases/audit/every-breach.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::create_dir_all(golden.parent().unwrap()).unwrap();
        fs::write(&golden, &text).unwrap();
    }
    assert_eq!(text, fs::read_to_string(golden).unwrap());
}

#[test]
fn what_is_no_readable_image_is_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x");
    let says = |bytes: &[u8]| {
        fs::write(&file, bytes).unwrap();
        let (code, text) = audit(&file);
        assert_eq!(code, Some(1));
        text
    };
    assert_eq!(says(b""), "imgbuild: error: IMAGE is no qcow2 image\n");
    assert_eq!(
        says(&[0; 4096]),
        "imgbuild: error: IMAGE is no qcow2 image\n"
    );

    let good = fs::read(Case::sealed().image()).unwrap();
    assert!(
        says(&good[..good.len() / 2])
            .starts_with("imgbuild: error: IMAGE is a damaged qcow2 image")
    );
    assert_eq!(
        says(&good[..1000]),
        "imgbuild: error: IMAGE is a damaged qcow2 image: its header points outside of the file\n"
    );
    // The L1 table's offset, and what the table says.
    let mut bad = good.clone();
    bad[40..48].copy_from_slice(&u64::MAX.to_be_bytes());
    assert!(says(&bad).contains("its header points outside of the file"));
    let l1 = u64::from_be_bytes(good[40..48].try_into().unwrap()) as usize;
    let mut bad = good.clone();
    bad[l1..l1 + 8].copy_from_slice(&0x7fff_ffff_ffff_0000u64.to_be_bytes());
    assert!(
        says(&bad).starts_with("imgbuild: error: IMAGE is a damaged qcow2 image"),
        "{}",
        says(&bad)
    );
    let mut empty = good.clone();
    // An image that is sound and holds no file system.
    let blank = folder.path().join("blank.qcow2");
    run(Command::new("qemu-img")
        .args(["create", "-q", "-f", "qcow2"])
        .arg(&blank)
        .arg("16M"));
    empty.clear();
    empty.extend(fs::read(blank).unwrap());
    assert_eq!(
        says(&empty),
        "imgbuild: error: IMAGE has no partition table\n"
    );
    fs::remove_file(&file).unwrap();
    let (code, text) = audit(&file);
    assert_eq!(
        (code, text.as_str()),
        (
            Some(1),
            "imgbuild: error: cannot open IMAGE: No such file or directory (os error 2)\n"
        )
    );
}
