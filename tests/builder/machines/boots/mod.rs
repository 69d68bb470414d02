//! firstboot in real boots that do not go well: no seed, a seed that it refuses, a step that
//! fails, a cut of the power, a seed that somebody else's tool made; and what sets each right.

mod seeds;

use super::guest::{Guest, Root};
use super::lab::{self, Lab, PASSWORD};
use rustix::process::Signal;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;
use testkit::{free_port, has, wait_up_to};

/// How long one thing may take on a machine with much else to do.
const PATIENCE: Duration = Duration::from_secs(300);

/// A lab with one machine, seeded.
fn seeded(name: &str) -> Lab {
    let lab = Lab::new("boots", "trixie");
    let key = lab.read("secrets/id.pub");
    let text = format!(
        "domain: lab.test
defaults:
  memory: 1G
  cores: 1
  ssh_keys: [{}]
  root_password_file: secrets/root-password
vms:
  - name: {name}
    disk: 40G
",
        key.trim()
    );
    fs::write(lab.folder.join("lab.yaml"), text).unwrap();
    lab.imgbuild(&["seed", name]);
    lab
}

/// Boots to the verdict; what imgbuild says.
fn boots(lab: &Lab, name: &str, port: u16, code: i32) -> String {
    let rule = format!("tcp:127.0.0.1:{port}-:22");
    let (ended, text) = lab.imgbuild_says(&[
        "run",
        name,
        "--user-net",
        "--timeout",
        "600",
        "--forward",
        &rule,
    ]);
    assert_eq!(ended, Some(code), "{text}");
    text
}

fn fails(lab: &Lab, name: &str, port: u16) -> String {
    boots(lab, name, port, 1)
}

fn wait_until(what: &str, is_so: impl FnMut() -> bool) {
    wait_up_to(PATIENCE, what, is_so);
}

fn login_comes_up(lab: &Lab, name: &str) {
    let file = format!("{name}/console.log");
    wait_until("a login prompt", || lab.read(&file).contains(" login:"));
}

fn cut_power(lab: &Lab, name: &str) {
    let folder = lab.folder.join(name);
    lab::end(&folder, Signal::KILL);
    wait_until("the end of QEMU", || {
        imgbuild::qemu::running(&folder).is_none()
    });
}

/// One machine, boot after boot: each of its seeds is what the one before was not.
#[test]
#[ignore = "boots a virtual machine; scripts/test runs it"]
fn from_no_seed_over_a_refused_one_a_cut_and_a_failed_step_to_a_name() {
    let (name, port) = ("vm51", free_port());
    let lab = &seeded(name);
    let guest = Guest {
        lab,
        name,
        ssh_port: port,
    };
    let folder = lab.folder.join(name);
    let seed = folder.join("seed.img");
    let made = fs::read(&seed).unwrap();
    let console = || lab.read("vm51/console.log");

    // A disk that is no seed: said, not waited for, and the login prompt comes.
    fs::write(&seed, vec![0; 1 << 20]).unwrap();
    let text = fails(lab, name, port);
    has(&text, "firstboot found no seed disk");
    login_comes_up(lab, name);
    let said = "firstboot: no seed disk (a volume labelled CIDATA) was found: this machine is not configured";
    has(&console(), said);
    assert!(!console().contains("Failed to start"), "{}", console());
    assert!(!console().contains("ordering cycle"), "{}", console());
    cut_power(lab, name);

    // A seed that is refused: document and line, no secret, and the machine boots on.
    fs::write(&seed, seeds::with(&made, "chpasswd:", "[hpasswd:")).unwrap();
    let text = fails(lab, name, port);
    has(&text, "the seed on /dev/vdb is not valid:");
    has(&text, "user-data line ");
    login_comes_up(lab, name);
    has(&console(), "FAILED: this machine is not configured");
    has(&console(), "user-data line ");
    assert!(!console().contains(PASSWORD));
    cut_power(lab, name);

    // virt-install's way: a CD-ROM without a name and an instance-id, and a root on another kind of disk than run.sh's.
    // The power fails while the machine configures itself.
    let key = lab.read("secrets/id.pub");
    seeds::iso(&folder, &key, "", "Nowhere/City");
    seeds::as_cdrom(&folder);
    seeds::root_on_sata(&folder);
    std::thread::scope(|scope| {
        let run = scope.spawn(|| {
            let words = ["run", name, "--user-net", "--timeout", "600"];
            lab.imgbuild_says(&words)
        });
        let status = folder.join("status.jsonl");
        let _ = fs::remove_file(&status);
        wait_until("the first step", || {
            fs::read_to_string(&status).is_ok_and(|text| text.contains("\"step\":\"rrd\""))
        });
        cut_power(lab, name);
        let (code, text) = run.join().unwrap();
        assert_eq!(code, Some(1), "{text}");
    });

    // The next boot goes on, to a step that fails: its reason everywhere, and everything up to it
    // is done.
    let text = fails(lab, name, port);
    let reason = "step timezone: cannot set the time zone Nowhere/City: \
                  /usr/share/zoneinfo/Nowhere/City does not exist";
    has(&text, reason);
    let (well, said) = guest.try_ssh("firstboot status");
    assert!(
        !well && said.contains("): failed\n") && said.contains(reason),
        "{said}"
    );
    has(&said, "(instance nocloud-");
    assert_eq!(guest.ssh("hostname"), "localhost\n");
    login_comes_up(lab, name);
    has(&console(), "FAILED: this machine is not configured");
    has(&console(), reason);
    guest.power_off();

    // A seed that is right, and has a name: noticed without an instance-id. The disk that was SATA's is virtio's again.
    seeds::root_on_virtio(&folder);
    let meta_data = "local-hostname: renamed.lab.test\n";
    seeds::iso(&folder, &key, meta_data, "Europe/Paris");
    let text = boots(lab, name, port, 0);
    has(&text, "is configured");
    has(&console(), "firstboot: renamed is configured");
    assert_eq!(
        guest.ssh("hostname; cat /etc/mailname"),
        "renamed\nrenamed.lab.test\n"
    );
    guest.ssh("test $(readlink /etc/localtime) = /usr/share/zoneinfo/Europe/Paris");
    // Its disk is larger than the base: that is there without a hand on it.
    let blocks = guest.ssh("findmnt -bno SIZE /; cat /sys/class/block/vda1/size");
    let numbers: Vec<u64> = blocks.lines().map(|l| l.trim().parse().unwrap()).collect();
    assert!(numbers[0] > 39 << 30, "{blocks}");
    assert_eq!(numbers[1], (40 << 21) - 2048, "{blocks}");
    let failed = guest.ssh("systemctl --failed --no-legend --plain");
    assert_eq!(failed, "");
    // In this order, although systemd starts what it can at the same time.
    let times = guest.ssh(
        "for unit in firstboot-local.service networking.service network-online.target ssh.service; do \
         systemctl show --value -p ActiveEnterTimestampMonotonic $unit; done; \
         journalctl -b | grep -ci 'ordering cycle' || true",
    );
    let times: Vec<u64> = times.lines().map(|l| l.trim().parse().unwrap()).collect();
    let [local, networking, online, ssh, cycles] = times[..] else {
        panic!("{times:?}");
    };
    assert!(0 < local && local < networking && local < ssh, "{times:?}");
    assert!(networking <= online, "{times:?}");
    assert_eq!(cycles, 0, "an ordering cycle");
    // The console's prompt is of use only with it.
    guest.ssh("test -x /bin/login");
    guest.power_off();
    let overlay = fs::metadata(folder.join("vm51.qcow2")).unwrap();
    let bytes = overlay.blocks() * 512;
    println!(
        "size: vm51.qcow2 after five boots, grown to 40 GiB: {:.1} MB",
        bytes as f64 / 1e6
    );
    assert!(bytes < 40_000_000, "{bytes}");
    let root = Root::of(lab, name);
    assert!(!root.exists("/var/lib/firstboot/.journal.json.firstboot"));
    for file in ["console.log", "status.jsonl", "run.log"] {
        let text = lab.read(&format!("{name}/{file}"));
        assert!(!text.contains(PASSWORD), "{file}");
    }
}
