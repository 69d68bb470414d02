//! `imgbuild audit`: a sealed tree passes, each breach is named by its path, and what is no
//! readable image ends with a clear message. Needs mke2fs and qemu-img.

use std::fs;
use std::os::unix::fs::{FileExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use testkit::{Folder, expect_file, has, house, must, set_mode};

/// A folder with a tree and the image that is made of it.
pub(crate) struct Case(Folder);

testkit::is_a!(Case, Folder);

impl Case {
    /// A file system without a file.
    pub(crate) fn empty() -> Case {
        let case = Case(Folder::new());
        case.folders(&["tree"]);
        case
    }

    /// The least that a sealed base has.
    pub(crate) fn sealed() -> Case {
        let case = Case::empty();
        case.file("etc/machine-id", "");
        case.file(
            "etc/shadow",
            "root:!:20000:0:99999:7:::\ndaemon:*:20000:0:99999:7:::\n",
        );
        case.file("usr/sbin/firstboot", "program");
        set_mode(&case.tree("usr/sbin/firstboot"), 0o755);
        for folder in [
            "tmp",
            "var/tmp",
            "var/log/apt",
            "var/lib/apt/lists/partial",
            "root",
            "etc/ssh",
        ] {
            fs::create_dir_all(case.tree(folder)).unwrap();
        }
        // APT leaves an empty lock behind.
        case.file("var/lib/apt/lists/lock", "");
        let units = "etc/systemd/system";
        for wants in ["sysinit.target.wants", "multi-user.target.wants"] {
            fs::create_dir_all(case.tree(&format!("{units}/{wants}"))).unwrap();
        }
        case.link("systemd-firstboot.service", "/dev/null");
        for (wants, unit) in [
            ("sysinit", "firstboot-local.service"),
            ("multi-user", "firstboot-join.service"),
            ("multi-user", "firstboot-rsa-key.service"),
            ("multi-user", "firstboot-guard.service"),
            ("multi-user", "firstboot-watch.service"),
        ] {
            case.link(
                &format!("{wants}.target.wants/{unit}"),
                &format!("/{units}/{unit}"),
            );
        }
        case
    }

    /// The same, with Proxmox VE.
    fn with_proxmox() -> Case {
        let case = Case::sealed();
        let packages = ["proxmox-ve", "proxmox-kernel-6.14.8-2-pve-signed"];
        case.file("var/lib/dpkg/status", &status(&packages));
        case.file("boot/vmlinuz-6.14.8-2-pve", "kernel");
        case.file("boot/initrd.img-6.14.8-2-pve", "initramfs");
        case.file("usr/lib/modules/6.14.8-2-pve/modules.dep", "");
        case.file("boot/grub/grub.cfg", &menu("6.14.8-2-pve"));
        case.file(
            "etc/apt/sources.list.d/pve-enterprise.sources",
            "Types: deb\nURIs: https://enterprise.proxmox.com/debian/pve\nEnabled: no\n",
        );
        case.file(
            "etc/apt/sources.list.d/pve-enterprise.list",
            "# deb https://enterprise.proxmox.com/debian/pve bookworm pve-enterprise\n",
        );
        fs::create_dir_all(case.tree("etc/pve")).unwrap();
        case.file("etc/iscsi/initiatorname.iscsi", "GenerateName=yes\n");
        case
    }

    pub(crate) fn tree(&self, name: &str) -> PathBuf {
        self.path("tree").join(name)
    }

    fn file(&self, name: &str, text: &str) {
        self.write(&format!("tree/{name}"), text);
    }

    fn link(&self, name: &str, target: &str) {
        symlink(target, self.tree("etc/systemd/system").join(name)).unwrap();
    }

    /// The tree as the first partition of a compressed qcow2 image.
    pub(crate) fn image(&self) -> PathBuf {
        self.image_of(&[], &["-c"])
    }

    /// The same, with these options of mke2fs and of `qemu-img convert`.
    pub(crate) fn image_of(&self, ext4: &[&str], qcow2: &[&str]) -> PathBuf {
        let (raw, image) = (self.path("raw"), self.path("image.qcow2"));
        let disk = fs::File::create(&raw).unwrap();
        disk.set_len(32 << 20).unwrap();
        disk.write_all_at(
            &[0x80, 0, 0, 0, 0x83, 0, 0, 0, 0, 8, 0, 0, 0, 0xf0, 0, 0],
            446,
        )
        .unwrap();
        disk.write_all_at(&[0x55, 0xaa], 510).unwrap();
        must(
            Command::new("mke2fs")
                .env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin")
                .args(["-q", "-F", "-t", "ext4", "-E", "offset=1048576"])
                .args(ext4)
                .arg("-d")
                .args([&self.path("tree"), &raw])
                .arg("30M"),
        );
        must(
            Command::new("qemu-img")
                .args(["convert", "-O", "qcow2"])
                .args(qcow2)
                .args([&raw, &image]),
        );
        image
    }
}

/// dpkg's list with these packages installed, and a kernel of Debian's that is not.
fn status(packages: &[&str]) -> String {
    let one =
        |name: &&str| format!("Package: {name}\nStatus: install ok installed\nVersion: 1\n\n");
    let removed = "Package: linux-image-6.1.0-1-amd64\nStatus: deinstall ok not-installed\n\n";
    packages.iter().map(one).collect::<String>() + removed
}

/// grub's menu, as update-grub writes it.
fn menu(version: &str) -> String {
    let menu = "menuentry 'first' {\n\tlinux\t/boot/vmlinuz-V root=x ro\n\tinitrd\t/boot/initrd.img-V\n}\n";
    menu.replace('V', version)
}

/// Exit code and both outputs, with IMAGE for the image's path; stage lines are left out.
fn audit(image: &Path) -> (Option<i32>, String) {
    audit_with(image, &[])
}

/// The same, with these options.
pub(crate) fn audit_with(image: &Path, options: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(crate::program())
        .arg("audit")
        .args(options)
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
    let case = Case::with_proxmox();
    assert_eq!(audit(&case.image()), (Some(0), "IMAGE is sealed\n".into()));
}

#[test]
fn what_only_a_node_must_not_have_a_plain_debian_may() {
    let case = Case::sealed();
    case.file(
        "var/lib/dpkg/status",
        &status(&["linux-image-6.12.9-amd64", "os-prober"]),
    );
    case.file("boot/vmlinuz-6.12.9-amd64", "kernel");
    case.file("boot/grub/grub.cfg", &menu("6.12.9-amd64"));
    assert_eq!(audit(&case.image()), (Some(0), "IMAGE is sealed\n".into()));
}

/// Each trace that pmxcfs leaves is enough, whatever else was cleaned up after it.
#[test]
fn a_base_in_which_pmxcfs_ever_ran_fails() {
    for trace in [
        "var/lib/pve-cluster/config.db",
        "var/lib/pve-cluster/config.db-wal",
        "var/lib/pve-cluster/.pmxcfs.lockfile",
        "etc/pve/corosync.conf",
    ] {
        let case = Case::with_proxmox();
        case.file(trace, "x");
        let (code, text) = audit(&case.image());
        assert_eq!(code, Some(1));
        let line = format!("    Proxmox's cluster file system has never run: /{trace} is there\n");
        has(&text, &line);
    }
}

#[test]
fn a_kernel_that_is_not_proxmoxs_is_found_wherever_it_is() {
    type Change = fn(&Case);
    let changes: [(Change, &str); 6] = [
        (
            |case| case.file("boot/vmlinuz-6.12.9-amd64", "kernel"),
            "no kernel but its own: /boot/vmlinuz-6.12.9-amd64 is of no kernel of Proxmox's",
        ),
        (
            |case| case.file("usr/lib/modules/6.12.9-amd64/modules.dep", ""),
            "no kernel but its own: /usr/lib/modules/6.12.9-amd64 is of no kernel of Proxmox's",
        ),
        (
            |case| fs::remove_file(case.tree("boot/vmlinuz-6.14.8-2-pve")).unwrap(),
            "no kernel but its own: /boot has no kernel",
        ),
        (
            |case| fs::remove_file(case.tree("boot/initrd.img-6.14.8-2-pve")).unwrap(),
            "grub boots its kernel: /boot/grub/grub.cfg names /boot/initrd.img-6.14.8-2-pve, which is missing",
        ),
        (
            |case| case.file("boot/grub/grub.cfg", ""),
            "grub boots its kernel: /boot/grub/grub.cfg boots nothing",
        ),
        (
            |case| fs::remove_dir(case.tree("etc/pve")).unwrap(),
            "the folder of its cluster is there: /etc/pve is missing",
        ),
    ];
    for (change, line) in changes {
        let case = Case::with_proxmox();
        change(&case);
        let (code, text) = audit(&case.image());
        assert_eq!(code, Some(1));
        let line = format!("    with Proxmox VE: {line}\n");
        has(&text, &line);
    }
}

#[test]
fn a_node_without_its_initiators_file_fails() {
    let case = Case::with_proxmox();
    fs::remove_file(case.tree("etc/iscsi/initiatorname.iscsi")).unwrap();
    let (code, text) = audit(&case.image());
    assert_eq!(code, Some(1));
    has(&text, "/etc/iscsi/initiatorname.iscsi is missing");
}

#[test]
fn every_breach_is_named() {
    let case = Case::with_proxmox();
    for file in [
        "etc/ssh/ssh_host_rsa_key.pub",
        "root/.ssh/known_hosts",
        "var/lib/dbus/machine-id",
        "var/lib/systemd/random-seed",
        "var/lib/dhcp/dhclient.leases",
        "var/log/apt/term.log",
        "root/.bash_history",
        "home/admin/.bash_history",
        "var/cache/apt/pkgcache.bin",
        "var/lib/apt/lists/mirror_InRelease",
        "var/cache/apt/archives/vim.deb",
        "var/spool/postfix/maildrop/A1",
        "tmp/x",
        "etc/shadow-",
        "etc/lvm/lvm.conf.bak",
        "var/backups/dpkg.status.0",
        "etc/ssl/private/ssl-cert-snakeoil.key",
        "usr/sbin/policy-rc.d",
        "var/lib/pve-cluster/config.db",
        "etc/pve/pve-www.key",
        "var/lib/corosync/ringid_10.120.0.42",
        "var/log/pve/tasks/index",
        "etc/corosync/corosync.conf",
        "var/lib/rrdcached/db/pve2-node/debian",
        "etc/network/interfaces.new",
        "etc/iscsi/initiatorname.iscsi",
        "etc/apt/apt.conf.d/52imgbuild-unattended-upgrades",
        "var/lib/firstboot/journal.json",
    ] {
        case.file(file, "identity");
    }
    case.file("boot/vmlinuz-6.12.9-amd64", "kernel");
    case.file("boot/grub/grub.cfg", &menu("6.12.9-amd64"));
    let packages = [
        "proxmox-ve",
        "proxmox-kernel-6.14.8-2-pve-signed",
        "linux-image-6.12.9-amd64",
    ];
    case.file("var/lib/dpkg/status", &status(&packages));
    case.file(
        "etc/apt/sources.list.d/pve-enterprise.sources",
        "Types: deb\nURIs: https://enterprise.proxmox.com/debian/pve\n",
    );
    case.file("etc/machine-id", "0123456789abcdef0123456789abcdef\n");
    case.file("etc/shadow", "root:$6$salt$hash:20000:0:99999:7:::\n");
    set_mode(&case.tree("usr/sbin/firstboot"), 0o644);
    let units = case.tree("etc/systemd/system");
    fs::remove_file(units.join("systemd-firstboot.service")).unwrap();
    fs::remove_file(units.join("sysinit.target.wants/firstboot-local.service")).unwrap();
    fs::remove_file(units.join("multi-user.target.wants/firstboot-join.service")).unwrap();
    case.link(
        "multi-user.target.wants/firstboot-join.service",
        "/dev/null",
    );
    for unit in ["rsa-key", "guard", "watch"] {
        let link = format!("multi-user.target.wants/firstboot-{unit}.service");
        fs::remove_file(units.join(link)).unwrap();
    }
    let (code, text) = audit(&case.image());
    assert_eq!(code, Some(1));
    expect_file(&house("tests/cases/audit/every-breach.txt"), &text);
}

#[test]
fn what_is_no_readable_image_is_told_apart() {
    let folder = Folder::new();
    let file = folder.path("x");
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
    let blank = folder.path("blank.qcow2");
    must(
        Command::new("qemu-img")
            .args(["create", "-q", "-f", "qcow2"])
            .arg(&blank)
            .arg("16M"),
    );
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
