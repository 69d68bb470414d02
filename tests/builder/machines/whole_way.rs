//! The whole way, for real: two machines seeded from one lab, booted in QEMU from the base with the
//! stand-in's repository; vm42 joins the cluster of vm41.

use super::guest::{Guest, Root};
use super::lab::{Lab, OWN_PASSWORD, PASSWORD};
use super::timed;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};
use testkit::traces::Traces;
use testkit::{begins, free_port, has};

/// The overlay of the recipe by hand, in bytes.
const OVERLAY_BY_HAND: u64 = 25_000_000;

#[test]
#[ignore = "boots virtual machines; scripts/test runs it"]
fn from_one_base_to_two_nodes_of_one_cluster() {
    let lab = Lab::new("whole-way", "trixie");
    lab.imgbuild(&["check"]);
    timed("two seeds", || {
        lab.imgbuild(&["seed", "--all"]);
    });
    // Or nothing would be removed from it later.
    let seed = lab.folder.join("vm42/seed.img");
    assert_eq!(Traces::of(&[PASSWORD]).in_file(&seed).len(), 1);

    let vm41 = boot(
        &lab,
        "vm41",
        Some(format!("tcp:127.0.0.1:{}-:1194", lab.tunnel_port)),
    );
    vm41.wait_for(
        "pvecm status | grep -q 'Quorate: *Yes'",
        Duration::from_secs(180),
    );
    let vm42 = boot(&lab, "vm42", None);

    inside(&vm41, &vm42);
    let started = Instant::now();
    vm42.power_off();
    vm41.power_off();
    println!(
        "time: both shut down: {:.1} s",
        started.elapsed().as_secs_f64()
    );
    from_outside(&lab);

    // Configured machines boot on without a change, vm41 with the boot loader that it put
    // on its disk itself.
    std::thread::scope(|scope| {
        for name in ["vm41", "vm42"] {
            let lab = &lab;
            scope.spawn(move || {
                let second = lab.imgbuild(&["run", name, "--user-net", "--shutdown"]);
                has(&second, &format!("{name} is configured"));
                assert!(!second.contains("  changed  "), "{second}");
            });
        }
    });

    // What a clone has become is no base any more, and the audit says by which paths.
    let (code, words) = lab.imgbuild_says(&["audit", "vm42/vm42.qcow2"]);
    assert_eq!(code, Some(1));
    for path in [
        "/etc/ssh/ssh_host_",
        "/etc/machine-id is not empty",
        "/var/lib/firstboot is there",
    ] {
        assert!(words.contains(path), "{path}: {words}");
    }
}

/// Proxmox VE 8, on Debian 12: the first node of a cluster.
#[test]
#[ignore = "boots a virtual machine; scripts/test runs it"]
fn proxmox_8_on_debian_12() {
    let lab = Lab::new("whole-way-8", "bookworm");
    lab.imgbuild(&["seed", "vm41"]);
    let vm41 = boot(&lab, "vm41", None);
    assert_eq!(vm41.ssh("cut -d. -f1 /etc/debian_version"), "12\n");
    let kernel = vm41.ssh("dpkg -S /boot/vmlinuz-$(uname -r)");
    begins(&kernel, "proxmox-kernel-");
    vm41.wait_for(
        "pvecm status | grep -q 'Quorate: *Yes'",
        Duration::from_secs(180),
    );
    assert_eq!(vm41.ssh("systemctl --failed --no-legend --plain"), "");
    vm41.power_off();
}

/// Boots a machine up to its verdict and leaves it running.
fn boot<'a>(lab: &'a Lab, name: &'static str, forward: Option<String>) -> Guest<'a> {
    let ssh_port = free_port();
    let ssh = format!("tcp:127.0.0.1:{ssh_port}-:22");
    let mut words = vec![
        "run",
        name,
        "--user-net",
        "--host-loopback",
        "--forward",
        &ssh,
    ];
    if let Some(rule) = &forward {
        words.extend(["--forward", rule]);
    }
    timed(&format!("{name}, boot to configured"), || {
        let said = lab.imgbuild(&words);
        has(&said, &format!("{name} is configured"));
    });
    Guest {
        lab,
        name,
        ssh_port,
    }
}

fn inside(vm41: &Guest, vm42: &Guest) {
    assert_eq!(
        vm42.ssh("hostname; hostname --fqdn; cat /etc/mailname"),
        "vm42\nvm42.lab.test\nvm42.lab.test\n"
    );
    assert_eq!(vm42.ssh("postconf -h myhostname"), "vm42.lab.test\n");
    assert!(
        vm42.ssh("ip -4 -o addr show dev vmbr120 up")
            .contains(" 10.120.0.42/24 ")
    );
    assert!(
        vm42.ssh("ip -4 -o addr show dev eth0 up")
            .contains(" 192.168.122.42/24 ")
    );
    vm42.ssh("test -d /sys/class/net/tap120/brport");
    assert_eq!(
        vm42.ssh("systemctl is-enabled openvpn@vpn-interco"),
        "enabled\n"
    );
    assert_eq!(
        vm42.ssh("systemctl is-active openvpn@vpn-interco"),
        "active\n"
    );
    vm42.ssh("ping -c 1 -W 10 10.120.0.41");
    assert!(
        vm42.ssh("timedatectl show -p Timezone")
            .contains("Europe/Paris")
    );
    assert!(vm42.ssh("firstboot status").contains("configured"));
    let status: serde_json::Value =
        serde_json::from_str(&vm42.ssh("firstboot status --json")).unwrap();
    assert_eq!(status["name"], "vm42", "{status}");
    // The login is at hand on the console, whatever the join did.
    assert!(vm42.lab.read("vm42/console.log").contains("vm42 login:"));

    // The targets that services wait for come after the network.
    let times = vm42.ssh(
        "systemctl show --value -p ActiveEnterTimestampMonotonic networking.service network-online.target",
    );
    let times: Vec<u64> = times
        .split_whitespace()
        .map(|t| t.parse().unwrap())
        .collect();
    assert!(
        times.len() == 2 && times[0] > 0 && times[0] <= times[1],
        "{times:?}"
    );

    // Proxmox's kernel is what runs, and APT has nothing to ask of the enterprise repository.
    let kernel = vm42.ssh("dpkg -S /boot/vmlinuz-$(uname -r)");
    begins(&kernel, "proxmox-kernel-");
    let sources = vm42.ssh("apt-get --print-uris update");
    has(&sources, "http://127.0.0.1:");
    assert!(!sources.contains("enterprise"), "{sources}");

    // A clone can renew its kernel and boot loader by itself.
    vm41.ssh("grub-install /dev/vda && update-grub && grep -q ttyS0 /boot/grub/grub.cfg");
    let devices = vm41.ssh("debconf-show grub-pc | grep ' grub-pc/install_devices:'");
    has(&devices, "/dev/vda");

    // The cluster lists vm42, seen from the other node.
    let nodes = vm41.ssh("pvecm nodes");
    assert!(
        nodes.lines().any(|line| line.trim_end().ends_with(" vm42")),
        "{nodes}"
    );
    let members: serde_json::Value =
        serde_json::from_str(&vm41.ssh("cat /etc/pve/.members")).unwrap();
    assert_eq!(members["nodelist"]["vm42"]["online"], 1, "{members}");
    assert_eq!(
        members["nodelist"]["vm42"]["ip"], "10.120.0.42",
        "{members}"
    );

    // Two clones of one image share no identity.
    for file in [
        "/etc/machine-id",
        "/etc/ssh/ssh_host_ed25519_key.pub",
        "/etc/ssh/ssh_host_rsa_key.pub",
    ] {
        let command = format!("cat {file}");
        assert_ne!(vm41.ssh(&command), vm42.ssh(&command), "{file}");
    }
    for machine in [vm41, vm42] {
        assert_eq!(
            machine.ssh("tr -d '\\n' < /etc/machine-id | wc -c").trim(),
            "32"
        );
        let failed = machine.ssh("systemctl --failed --no-legend --plain");
        assert_eq!(failed, "", "failed units of {}", machine.name);
        no_secret_inside(machine);
    }
}

/// No password is in what a running machine keeps, and no core dump is there.
fn no_secret_inside(machine: &Guest) {
    for password in [PASSWORD, OWN_PASSWORD] {
        // A pattern that does not match itself: the command line is looked at as well.
        let pattern = format!("[{}]{}", &password[..1], &password[1..]);
        let found = machine.ssh(&format!(
            "journalctl --no-pager --all | grep -c -- '{pattern}'
            ps -eo args | grep -c -- '{pattern}'
            cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' '\\n' | grep -c -- '{pattern}'
            dmesg | grep -c -- '{pattern}'
            grep -rlD skip -- '{pattern}' /root /home /etc /tmp /run /var 2>/dev/null
            true"
        ));
        assert_eq!(found, "0\n0\n0\n0\n", "{}: {password}", machine.name);
    }
    let dumps = machine.ssh(
        "find / -xdev -type f \\( -name core -o -name 'core.[0-9]*' -o -name '*.core' \\) -size +0
        find /var/lib/systemd/coredump /var/crash -mindepth 1 2>/dev/null
        if command -v coredumpctl >/dev/null; then coredumpctl --quiet --no-legend list; fi
        ls /root/.bash_history 2>/dev/null
        true",
    );
    assert_eq!(dumps, "", "{}", machine.name);
}

fn from_outside(lab: &Lab) {
    for name in ["vm41", "vm42"] {
        for file in ["console.log", "status.jsonl", "run.log", "run.sh"] {
            assert!(
                !lab.read(&format!("{name}/{file}")).contains(PASSWORD),
                "{name}/{file}"
            );
        }
        let root = Root::of(lab, name);
        let number = &name[2..];
        assert_eq!(root.text("/etc/hostname"), format!("{name}\n"));
        assert_eq!(root.text("/etc/mailname"), format!("{name}.lab.test\n"));
        let hosts = root.text("/etc/hosts");
        assert!(!hosts.contains("127.0.1.1"), "{hosts}");
        let own = if name == "vm42" {
            "10.120.0.42"
        } else {
            "192.168.122.41"
        };
        assert!(
            hosts.lines().any(|line| line.split_whitespace().eq([
                own,
                &format!("{name}.lab.test"),
                name
            ])),
            "{hosts}"
        );
        let postfix = root.text("/etc/postfix/main.cf");
        has(&postfix, &format!("myhostname = {name}.lab.test"));
        let interfaces = root.text("/etc/network/interfaces");
        for line in [
            &format!("address 192.168.122.{number}/24"),
            "gateway 192.168.122.1",
            "auto tap120",
            &format!("address 10.120.0.{number}/24"),
            "bridge-ports tap120",
        ] {
            assert!(
                interfaces.lines().any(|l| l.trim() == line),
                "{line}: {interfaces}"
            );
        }
        assert_eq!(root.mode("/etc/openvpn/vpn-interco.conf"), 0o600);
        assert_eq!(root.mode("/etc/ssh/ssh_host_ed25519_key"), 0o600);
        assert_eq!(root.mode("/etc/shadow"), 0o640);
        assert_eq!(root.mode("/var/lib/firstboot/journal.json"), 0o600);
        let journal = root.text("/var/lib/firstboot/journal.json");
        assert!(!journal.contains(PASSWORD));
        let journal: serde_json::Value = serde_json::from_str(&journal).unwrap();
        assert_eq!(journal["name"], name, "{journal}");
    }
    no_secret_outside(lab);
    // vm42's only: vm41 has put a boot loader on its disk besides.
    let overlay = std::fs::metadata(lab.folder.join("vm42/vm42.qcow2")).unwrap();
    let bytes = overlay.blocks() * 512;
    let megabytes = bytes as f64 / 1e6;
    println!("size: vm42.qcow2 after first boot and shutdown: {megabytes:.1} MB");
    assert!(bytes < OVERLAY_BY_HAND, "{bytes}");
    let vm42 = Root::of(lab, "vm42");
    assert_eq!(vm42.mode("/etc/corosync/authkey"), 0o400);
    assert!(
        vm42.text("/etc/corosync/corosync.conf")
            .contains("name: vm42")
    );
    assert!(vm42.exists("/etc/systemd/system/multi-user.target.wants/openvpn@vpn-interco.service"));
}

/// What a student's PC holds of vm42, byte for byte, now that it has joined and is off.
fn no_secret_outside(lab: &Lab) {
    let traces = Traces::of(&[PASSWORD, OWN_PASSWORD]);
    let mut found = Vec::new();
    for file in std::fs::read_dir(lab.folder.join("vm42")).unwrap() {
        let file = file.unwrap().path();
        // The sockets are gone with QEMU, if it ended well.
        if file.is_file() {
            found.extend(traces.in_file(&file));
        }
    }
    let overlay = lab.folder.join("vm42/vm42.qcow2");
    timed("grep through vm42's disk", || {
        found.extend(traces.on_disk(&overlay));
    });
    assert_eq!(found, [""; 0]);
    // The search sees what is there: the name that only the overlay has.
    assert!(!Traces::of(&["vm42.lab.test"]).on_disk(&overlay).is_empty());
}
