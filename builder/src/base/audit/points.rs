//! The points of the audit.

use super::rule::Rule;
use crate::base::provision::UNATTENDED;

/// The points: virt-sysprep's list, and Proxmox VE's own.
pub(super) const POINTS: &[(&str, Rule)] = &[
    (
        "no ssh host keys",
        Rule::Absent(&["/etc/ssh/ssh_host_*", "/etc/ssh/ssh_known_hosts"]),
    ),
    (
        "no keys of root",
        Rule::Absent(&[
            "/root/.ssh/id_*",
            "/root/.ssh/known_hosts*",
            "/root/.ssh/authorized_keys",
            "/etc/ssh/authorized_keys.d/*",
        ]),
    ),
    (
        "the machine-id is empty",
        Rule::EmptyFile("/etc/machine-id"),
    ),
    (
        "no second machine-id",
        Rule::Absent(&["/var/lib/dbus/machine-id", "/etc/hostid"]),
    ),
    (
        "no random seed",
        Rule::Absent(&[
            "/var/lib/systemd/random-seed",
            "/var/lib/urandom/random-seed",
            "/var/lib/systemd/credential.secret",
        ]),
    ),
    (
        "no DHCP leases",
        Rule::Empty(&[
            "/var/lib/dhcp",
            "/var/lib/dhcpcd",
            "/var/lib/NetworkManager",
        ]),
    ),
    ("no logs", Rule::NoFilesBelow(&["/var/log"])),
    (
        "no shell histories",
        Rule::Absent(&[
            "/root/.*history",
            "/root/.viminfo",
            "/root/.lesshst",
            "/root/.wget-hsts",
        ]),
    ),
    (
        "no shell histories of users",
        Rule::NoneNamed("/home", &["history"]),
    ),
    (
        "no package lists",
        Rule::NoFilesBelow(&["/var/lib/apt/lists"]),
    ),
    (
        "no package files",
        Rule::NoFilesBelow(&["/var/cache/apt/archives"]),
    ),
    (
        "no cache of packages",
        Rule::Absent(&["/var/cache/apt/*.bin"]),
    ),
    (
        "no mail",
        Rule::NoFilesBelow(&[
            "/var/mail",
            "/var/spool/mail",
            "/var/spool/postfix/active",
            "/var/spool/postfix/bounce",
            "/var/spool/postfix/corrupt",
            "/var/spool/postfix/defer",
            "/var/spool/postfix/deferred",
            "/var/spool/postfix/flush",
            "/var/spool/postfix/hold",
            "/var/spool/postfix/incoming",
            "/var/spool/postfix/maildrop",
            "/var/spool/postfix/saved",
            "/var/spool/postfix/trace",
        ]),
    ),
    ("no temporary files", Rule::Empty(&["/tmp", "/var/tmp"])),
    (
        "no backups of the account files",
        Rule::Absent(&[
            "/etc/passwd-",
            "/etc/shadow-",
            "/etc/group-",
            "/etc/gshadow-",
            "/etc/subuid-",
            "/etc/subgid-",
            "/var/lib/dpkg/*-old",
            "/var/cache/debconf/*-old",
        ]),
    ),
    (
        "no backup files",
        Rule::NoneNamed("/etc", &["~", ".bak", ".orig", ".dpkg-old", ".ucf-old"]),
    ),
    (
        "no backups of dpkg's lists",
        Rule::NoFilesBelow(&["/var/backups"]),
    ),
    (
        "no key of a default certificate",
        Rule::Absent(&["/etc/ssl/private/ssl-cert-snakeoil.key"]),
    ),
    ("root has no password", Rule::RootLocked),
    (
        "nothing of the build is left",
        Rule::Absent(&[
            "/imgbuild",
            "/usr/sbin/policy-rc.d",
            "/proxmox_install_mode",
            "/etc/dpkg/dpkg.cfg.d/imgbuild",
        ]),
    ),
    (
        "Proxmox's cluster file system has never run",
        Rule::Absent(&[
            "/var/lib/pve-cluster/config.db*",
            "/var/lib/pve-cluster/.pmxcfs.lockfile",
            "/etc/pve/*",
        ]),
    ),
    (
        "no cluster database",
        Rule::Empty(&["/var/lib/pve-cluster", "/var/lib/corosync"]),
    ),
    (
        "no tasks of a node",
        Rule::Empty(&["/var/log/pve/tasks", "/var/lib/pve-manager/jobs"]),
    ),
    (
        "no cluster key and configuration",
        Rule::Absent(&["/etc/corosync/authkey", "/etc/corosync/corosync.conf"]),
    ),
    (
        "no RRD files",
        Rule::Empty(&["/var/lib/rrdcached/db", "/var/lib/rrdcached/journal"]),
    ),
    (
        "no pending network configuration",
        Rule::Absent(&["/etc/network/interfaces.new"]),
    ),
    (
        "the iSCSI initiator makes its own name",
        Rule::All(&[
            Rule::Content("/etc/iscsi/initiatorname.iscsi", "GenerateName=yes\n"),
            // iscsid does not start without it.
            Rule::WithProxmox(&Rule::Exists("/etc/iscsi/initiatorname.iscsi")),
        ]),
    ),
    (
        "with Proxmox VE: the folder of its cluster is there",
        Rule::WithProxmox(&Rule::EmptyFolder("/etc/pve")),
    ),
    (
        "with Proxmox VE: no kernel but its own",
        Rule::WithProxmox(&Rule::OnlyProxmoxsKernel),
    ),
    (
        "with Proxmox VE: no package of Debian's kernels, no os-prober",
        Rule::WithProxmox(&Rule::NoPackage(&["linux-image-*", "os-prober"])),
    ),
    (
        "with Proxmox VE: grub boots its kernel",
        Rule::WithProxmox(&Rule::GrubBootsProxmoxsKernel),
    ),
    (
        "no enterprise repository is switched on",
        Rule::NoSource("://enterprise.proxmox.com"),
    ),
    (
        "what upgrades by itself is Debian's alone",
        Rule::Content(UNATTENDED.0, UNATTENDED.1),
    ),
    (
        "no interactive wizard at the first boot",
        Rule::Link("/etc/systemd/system/systemd-firstboot.service", "/dev/null"),
    ),
    ("firstboot is there", Rule::Program("/usr/sbin/firstboot")),
    (
        "firstboot has run for nobody",
        Rule::Absent(&["/var/lib/firstboot"]),
    ),
    (
        "firstboot's first unit is enabled",
        Rule::Link(
            "/etc/systemd/system/sysinit.target.wants/firstboot-local.service",
            "/etc/systemd/system/firstboot-local.service",
        ),
    ),
    (
        "firstboot's second unit is enabled",
        Rule::Link(
            "/etc/systemd/system/multi-user.target.wants/firstboot-join.service",
            "/etc/systemd/system/firstboot-join.service",
        ),
    ),
    (
        "the RSA host key is made in the background",
        Rule::Link(
            "/etc/systemd/system/multi-user.target.wants/firstboot-rsa-key.service",
            "/etc/systemd/system/firstboot-rsa-key.service",
        ),
    ),
    (
        "a member's corosync.conf is looked after before corosync starts",
        Rule::Link(
            "/etc/systemd/system/multi-user.target.wants/firstboot-guard.service",
            "/etc/systemd/system/firstboot-guard.service",
        ),
    ),
    (
        "a member is watched over",
        Rule::Link(
            "/etc/systemd/system/multi-user.target.wants/firstboot-watch.service",
            "/etc/systemd/system/firstboot-watch.service",
        ),
    ),
];
