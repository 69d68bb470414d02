//! `imgbuild seed` as a whole: the disk, the script, and what it refuses.

use crate::contract::{CONTRACT, Ha, HaRule, NfsStorage, Proxmox, Retry, read_disk};
use crate::vm_folder::LabFolder;
use std::fs;
use std::os::unix::fs::FileExt;
use std::process::Command;
use testkit::{begins, has, mode, set_mode, sha256};

/// The same for every lab: no time, no folder and nothing random goes into it.
const INSTANCE: &str = "vm42-";

#[test]
fn makes_a_disk_that_the_guest_reads() {
    let lab = LabFolder::new(&["vm42"]);
    let done = lab.imgbuild(&["seed", "vm42"]);
    assert_eq!((done.code, done.err.as_str()), (Some(0), ""));
    let (line, next) = done.out.split_once('\n').unwrap();
    let id = line
        .strip_prefix("vm42: made: vm42/seed.img (")
        .and_then(|rest| rest.strip_suffix("), vm42/run.sh"))
        .unwrap();
    assert!(
        id.starts_with(INSTANCE) && id.len() == INSTANCE.len() + 16,
        "{id}"
    );
    assert_eq!(
        next,
        "next: imgbuild run vm42 (or, on the PC that is to run it: vm42/run.sh)\n"
    );
    assert_eq!(mode(&lab.path("vm42/seed.img")), 0o600);
    assert_eq!(mode(&lab.path("vm42/run.sh")), 0o755);
    let image = fs::metadata(lab.path("vm42/seed.img")).unwrap();
    assert_eq!(image.len(), 1024 * 1024);
    let seed = lab.seed_of("vm42");
    assert_eq!(seed.meta_data.instance_id, id);
    assert_eq!(seed.hostname(), "vm42");
    // Nothing else is left behind.
    assert_eq!(lab.names("vm42"), ["run.sh", "seed.img"]);
    let around = lab.names("");
    assert!(!around.iter().any(|name| name.starts_with(".seed")));
}

#[test]
fn what_the_lab_says_of_the_cluster_reaches_the_guest() {
    let lab = LabFolder::new(&["vm41", "vm42", "vm43"]);
    lab.with_cluster(
        "    votes: 0\n    name: school\n    stable_nodes: 3\n    \
         retry: {first: 20s, most: 10m, attempt: 2m, give_up: 2h}\n  \
         storage:\n  - {id: lab, server: 10.120.0.5, export: /srv/lab, content: [rootdir, iso], \
         options: 'vers=4.2,soft'}\n  - {id: more, server: nfs, export: /more}\n  \
         ha: {groups: [lab], rules: [lab-nodes, {name: first, priority: 2}]}\n",
    );
    let own = [
        (
            "vm42",
            "    cluster: {votes: 1, retry: {give_up: never, first: 15m, most: 30m}}\n    storage: none\n    ha: {groups: []}\n",
        ),
        ("vm43", "    cluster: none\n"),
    ];
    for (name, keys) in own {
        let line = format!("  - name: {name}\n");
        let text = lab.read("lab.yaml");
        lab.write("lab.yaml", text.replace(&line, &format!("{line}{keys}")));
    }
    let done = lab.imgbuild(&["seed", "--all"]);
    assert_eq!((done.code, done.err.as_str()), (Some(0), ""));

    let found = lab.seed_of("vm41").user_data.proxmox.unwrap();
    let cluster = found.cluster.unwrap();
    assert_eq!(cluster.votes, Some(0));
    let retry = Retry {
        first: 20,
        most: 600,
        attempt: 120,
        spread: 20,
        give_up: Some(7200),
    };
    assert_eq!(cluster.retry, retry);
    let storage =
        |id: &str, server: &str, export: &str, content: Option<&[&str]>, options: Option<&str>| {
            NfsStorage {
                id: id.parse().unwrap(),
                server: server.parse().unwrap(),
                export: export.parse().unwrap(),
                content: content
                    .map(|kinds| kinds.iter().map(|kind| kind.parse().unwrap()).collect()),
                options: options.map(|options| options.parse().unwrap()),
            }
        };
    let storages = [
        storage(
            "lab",
            "10.120.0.5",
            "/srv/lab",
            Some(&["rootdir", "iso"]),
            Some("vers=4.2,soft"),
        ),
        storage("more", "nfs", "/more", None, None),
    ];
    assert_eq!(found.storage, storages);
    let rule = |name: &str, priority| HaRule {
        name: name.parse().unwrap(),
        priority,
    };
    let ha = |groups: &[&str]| Ha {
        groups: groups.iter().map(|name| name.parse().unwrap()).collect(),
        rules: vec![rule("lab-nodes", None), rule("first", Some(2))],
    };
    assert_eq!(found.ha, ha(&["lab"]));

    let found = lab.seed_of("vm42").user_data.proxmox.unwrap();
    let cluster = found.cluster.unwrap();
    assert_eq!(cluster.votes, Some(1));
    let retry = Retry {
        first: 900,
        most: 1800,
        give_up: None,
        ..retry
    };
    assert_eq!(cluster.retry, retry);
    assert!(found.storage.is_empty());
    assert_eq!(found.ha, ha(&[]));

    // Without a cluster the storages stay, and HA has nothing to know.
    let found = lab.seed_of("vm43").user_data.proxmox.unwrap();
    assert_eq!(
        found,
        Proxmox {
            storage: storages.to_vec(),
            ..Proxmox::default()
        }
    );
}

#[test]
fn links_fingerprints_and_time_servers_reach_the_guest() {
    let lab = LabFolder::new(&["vm41", "vm42", "vm43"]);
    lab.with_cluster("    links: {0: address, 1: vmbr120}\n  ntp: [ntp.example.org, 10.120.0.1]\n");
    let fingerprint = |pair: &str| [pair; 32].join(":");
    lab.write(
        "peer",
        format!("sha256 Fingerprint={}\n", fingerprint("cd")),
    );
    let own = format!(
        "  - name: vm42\n    ntp: []\n    cluster:\n      links: {{2: 192.168.122.42}}\n      \
         peers: [{{address: a, fingerprint: [\"{}\", \"{}\"]}}, {{address: b, fingerprint_file: peer}}]\n",
        fingerprint("AB"),
        fingerprint("EF"),
    );
    let text = lab.read("lab.yaml");
    let text = text.replace(
        "defaults:\n",
        "vmbr120: {range: 10.120.0.0/24}\ndefaults:\n",
    );
    let text = text.replace("  - name: vm42\n", &own);
    let none = "  - name: vm43\n    vmbr120: none\n    cluster: {links: {1: 192.168.122.43, 0: address}}\n";
    lab.write("lab.yaml", &text);
    let done = lab.imgbuild(&["seed", "vm41", "vm42"]);
    assert_eq!((done.code, done.err.as_str()), (Some(0), ""));

    let seed = |name: &str| {
        let seed = lab.seed_of(name);
        let cluster = seed.cluster().unwrap().clone();
        (cluster, seed.user_data.ntp.map(|ntp| ntp.servers))
    };
    let address = |text: &str| text.parse::<std::net::IpAddr>().unwrap();
    let (cluster, ntp) = seed("vm41");
    let links = [(0, address("192.168.122.41")), (1, address("10.120.0.41"))];
    assert_eq!(cluster.all_links(), links);
    let servers = ["ntp.example.org", "10.120.0.1"].map(str::to_owned);
    assert_eq!(ntp.unwrap(), servers);
    let (cluster, ntp) = seed("vm42");
    let links = [(0, address("10.120.0.42")), (2, address("192.168.122.42"))];
    assert_eq!(cluster.all_links(), links);
    assert_eq!(ntp, None);
    let fingerprints: Vec<_> = cluster
        .peers
        .iter()
        .map(|p| p.fingerprints.clone())
        .collect();
    let both = vec![fingerprint("AB"), fingerprint("EF")];
    assert_eq!(fingerprints, [both, vec![fingerprint("CD")]]);

    // One address is one link.
    lab.write("lab.yaml", text.replace("  - name: vm43\n", none));
    let done = lab.imgbuild(&["seed", "vm43"]);
    has(&done.err, "the links 0 and 1 both have 192.168.122.43");
}

/// What lab.yaml takes at its limits, the guest takes too: `imgbuild seed` asks it.
#[test]
fn the_limits_are_those_of_the_guest() {
    for more in [
        "    votes: 0\n    retry: {first: 1s, most: 1s, attempt: 20s, give_up: 1s}\n",
        "    votes: 1000\n    retry: {first: 1h, most: 1d, attempt: 1h, give_up: 7d}\n",
        "  storage: [{id: a1, server: 'fd00::5', export: /}]\n",
        "  storage: [{id: A-_.9, server: nfs.example.org, export: /a, options: 'a=b',\n    \
         content: [rootdir, images, iso, vztmpl, backup, snippets, import]}]\n",
        "  ha: {groups: [ab, A-_9], rules: [z0, {name: z1, priority: 0}, {name: z2, priority: 1000}]}\n",
    ] {
        let lab = LabFolder::new(&["vm42"]);
        lab.with_cluster(more);
        let done = lab.imgbuild(&["seed", "vm42"]);
        assert_eq!(done.code, Some(0), "{more}: {}", done.err);
    }
}

#[test]
fn secrets_are_on_the_disk_alone() {
    let lab = LabFolder::new(&["vm42"]);
    let done = lab.imgbuild(&["seed", "vm42", "--json"]);
    for text in [&lab.read("vm42/run.sh"), &done.out, &done.err] {
        assert!(!text.contains("geheim") && !text.contains("$6$"), "{text}");
    }
    let disk = fs::read(lab.path("vm42/seed.img")).unwrap();
    let disk = String::from_utf8_lossy(&disk);
    assert!(disk.contains("$6$") && !disk.contains("geheim"));
}

#[test]
fn other_programs_know_the_disk() {
    let lab = LabFolder::new(&["vm42"]);
    lab.imgbuild(&["seed", "vm42"]);
    let image = lab.path("vm42/seed.img");
    let run = |program: &str, words: &[&str]| {
        let output = Command::new(program)
            .args(words)
            .arg(&image)
            .output()
            .ok()?;
        Some(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    // Those that are not installed are passed over.
    if let Some(words) = run("file", &["-b"]) {
        assert!(words.contains(r#"label: "CIDATA     ""#), "{words}");
    }
    if let Some(words) = run("mlabel", &["-s", "-i"]).filter(|words| !words.is_empty()) {
        has(&words, "CIDATA");
    }
    if let Ok(output) = Command::new("fsck.fat").arg("-n").arg(&image).output() {
        assert!(output.status.success(), "{output:?}");
    }
}

#[test]
fn a_second_run_changes_nothing_and_a_new_password_does() {
    let lab = LabFolder::new(&["vm42"]);
    let first = lab.imgbuild(&["seed", "vm42"]);
    let times = || {
        ["vm42/seed.img", "vm42/run.sh"].map(|name| {
            use std::os::unix::fs::MetadataExt;
            fs::metadata(lab.path(name)).unwrap().ino()
        })
    };
    let before = times();
    lab.write("vm42/vm42.qcow2", "a student's work");
    let second = lab.imgbuild(&["seed", "--all"]);
    assert_eq!(second.out, first.out.replace("made", "unchanged"));
    assert_eq!(times(), before);

    lab.write("root-password", "another\n");
    let third = lab.imgbuild(&["seed", "vm42"]);
    begins(&third.out, "vm42: made: ");
    assert_ne!(third.out, first.out);
    assert_eq!(lab.read("vm42/vm42.qcow2"), "a student's work");
}

#[test]
fn a_disk_that_others_could_read_is_made_again() {
    let lab = LabFolder::new(&["vm42"]);
    lab.imgbuild(&["seed", "vm42"]);
    let image = lab.path("vm42/seed.img");
    set_mode(&image, 0o644);
    let done = lab.imgbuild(&["seed", "vm42"]);
    begins(&done.out, "vm42: made: ");
    assert_eq!(mode(&lab.path("vm42/seed.img")), 0o600);
}

#[test]
fn modes_do_not_depend_on_the_umask() {
    for umask in ["000", "077"] {
        let lab = LabFolder::new(&["vm42"]);
        let program = crate::program();
        let line = format!("umask {umask}; exec '{}' seed vm42", program.display());
        let output = lab
            .command("/bin/sh".as_ref(), &["-c", &line])
            .output()
            .unwrap();
        let done = lab.finished(output);
        assert_eq!(done.code, Some(0), "{}", done.err);
        assert_eq!(mode(&lab.path("vm42/seed.img")), 0o600);
        assert_eq!(mode(&lab.path("vm42/run.sh")), 0o755);
    }
}

#[test]
fn all_problems_at_once_and_nothing_half_made() {
    let lab = LabFolder::new(&["vm41", "vm42"]);
    let done = lab.imgbuild(&["seed", "vm41", "vm43", "nothing"]);
    assert_eq!(done.code, Some(1));
    assert_eq!(
        done.err,
        "imgbuild: error: 2 problems, nothing was changed:\n  \
         lab.yaml has no VM named `vm43`; the nearest: vm41, vm42\n  \
         lab.yaml has no VM named `nothing`; it has: vm41, vm42\n"
    );
    assert!(!lab.path("vm41").exists());
}

#[test]
fn a_disk_smaller_than_the_base_is_refused() {
    let lab = LabFolder::new(&["vm42"]);
    lab.write_manifest("this stands in for an image\n", 9 << 30);
    let done = lab.imgbuild(&["seed", "vm42"]);
    assert_eq!(done.code, Some(1));
    assert_eq!(
        done.err,
        "imgbuild: error: cannot seed vm42: its disk has 8589934592 bytes, and the base \
         LAB/base.qcow2 already 9663676416. Make the disk larger in the lab file\n"
    );
}

#[test]
fn another_base_than_the_manifests_is_refused() {
    let lab = LabFolder::new(&["vm42"]);
    lab.write("base.qcow2", "short");
    let done = lab.imgbuild(&["seed", "vm42"]);
    assert_eq!(done.code, Some(1));
    assert_eq!(
        done.err,
        "imgbuild: error: LAB/base.qcow2 is not the image that LAB/base.manifest.json describes: \
         found 5 bytes, expected 28. Copy both again, or make them with: imgbuild base\n"
    );
    fs::remove_file(lab.path("base.qcow2")).unwrap();
    let done = lab.imgbuild(&["seed", "vm42"]);
    assert_eq!(
        done.err,
        "imgbuild: error: the base image LAB/base.qcow2 is not there. Make it with: imgbuild base\n"
    );
}

#[test]
fn an_overlay_on_an_older_base_is_told() {
    let lab = LabFolder::new(&["vm42"]);
    let old = "ab".repeat(32);
    lab.write("vm42/vm42.qcow2", "a disk");
    lab.write("vm42/vm42.qcow2.base", format!("{old}\n"));
    let done = lab.imgbuild(&["seed", "vm42"]);
    assert_eq!(done.code, Some(0));
    assert_eq!(
        done.err,
        format!(
            "imgbuild: warning: vm42/vm42.qcow2 was made on another base than LAB/base.qcow2, and \
             will not start: that one is not there, LAB/bases/{old}.qcow2. To start afresh: imgbuild \
             rm vm42\n"
        )
    );
    lab.write(&format!("bases/{old}.qcow2"), "the old one");
    let done = lab.imgbuild(&["seed", "vm42"]);
    assert_eq!(
        done.err,
        format!(
            "imgbuild: warning: vm42/vm42.qcow2 stays on the base that it was made on, \
             LAB/bases/{old}.qcow2. For a new disk on LAB/base.qcow2: imgbuild rm vm42\n"
        )
    );
    // Without a disk the digest says nothing.
    fs::remove_file(lab.path("vm42/vm42.qcow2")).unwrap();
    assert_eq!(lab.imgbuild(&["seed", "vm42"]).err, "");
}

/// The firstboot that reads the seed is the one on the disk, not the one of the newest base.
#[test]
fn a_seed_is_judged_by_the_base_under_the_disk() {
    let lab = LabFolder::new(&["vm41", "vm42"]);
    lab.with_cluster("    votes: 0\n");
    let (new, old) = (lab.read("base.manifest.json"), "ab".repeat(32));
    let manifest = |contract: u32, virtual_bytes: u64| {
        format!(
            r#"{{"image": {{"sha256": "{old}", "bytes": 3, "virtual_bytes": {virtual_bytes}}},
                "firstboot": {{"contract": {contract}}}}}"#
        )
    };
    lab.write("vm42/vm42.qcow2", "a disk");
    lab.write("vm42/vm42.qcow2.base", format!("{old}\n"));
    lab.write(&format!("bases/{old}.qcow2"), "old");
    lab.write(&format!("bases/{old}.manifest.json"), manifest(1, 4 << 30));
    let done = lab.imgbuild(&["seed", "--all"]);
    assert_eq!((done.code, done.out.as_str()), (Some(1), ""));
    assert_eq!(
        done.err,
        format!(
            "imgbuild: error: the base LAB/bases/{old}.qcow2 is too old for the seed of vm42: its \
             firstboot knows contract 1, and contract 2 is needed. For a new disk on the new base: \
             imgbuild stop vm42, imgbuild rm vm42, imgbuild seed vm42, imgbuild run vm42\n"
        )
    );
    // The other way round: the disk's base knows more than the lab's, and is smaller.
    let current = format!("\"contract\": {CONTRACT}");
    let older = new
        .replace(&current, "\"contract\": 1")
        .replace(&(4_u64 << 30).to_string(), &(99_u64 << 30).to_string());
    lab.write("base.manifest.json", older);
    lab.write(&format!("bases/{old}.manifest.json"), manifest(2, 4 << 30));
    let done = lab.imgbuild(&["seed", "vm42"]);
    assert_eq!(done.code, Some(0), "{}", done.err);
}

/// Each thing that a base of before may not know is refused, with all machines in one sentence, and
/// what every base knows is made.
#[test]
fn a_base_that_is_too_old_for_a_seed_is_refused() {
    let lab = LabFolder::new(&["vm41", "vm42", "vm43"]);
    lab.with_cluster("    votes: 0\n");
    let manifest = lab.read("base.manifest.json");
    let current = format!("\"contract\": {}", CONTRACT);
    assert!(manifest.contains(&current), "{manifest}");
    // Without a number, as every imgbuild of before wrote it.
    lab.write(
        "base.manifest.json",
        manifest.replace(&format!(", {current}"), ""),
    );
    let done = lab.imgbuild(&["seed", "--all"]);
    assert_eq!((done.code, done.out.as_str()), (Some(1), ""));
    assert_eq!(
        done.err,
        "imgbuild: error: the base LAB/base.qcow2 is too old for the seeds of vm41, vm42, vm43: its \
         firstboot knows contract 1, and contract 2 is needed. Make it again with: imgbuild base\n"
    );
    let done = lab.imgbuild(&["seed", "vm42"]);
    assert_eq!(
        done.err,
        "imgbuild: error: the base LAB/base.qcow2 is too old for the seed of vm42: its firstboot \
         knows contract 1, and contract 2 is needed. Make it again with: imgbuild base\n"
    );
    // With what else is wrong.
    let done = lab.imgbuild(&["seed", "vm42", "vm9"]);
    assert!(
        done.err
            .starts_with("imgbuild: error: 2 problems, nothing was changed:\n"),
        "{}",
        done.err
    );
    assert!(!lab.path("vm42").exists());
    let newer = manifest.replace(&current, "\"contract\": 4294967295");
    lab.write("base.manifest.json", &newer);
    assert_eq!(lab.imgbuild(&["seed", "vm42"]).code, Some(0));
}

#[test]
fn what_every_base_knows_needs_no_new_one() {
    let lab = LabFolder::new(&["vm42"]);
    let text = lab.read("lab.yaml").replace("  ssh_password: true\n", "");
    lab.write("lab.yaml", &text);
    let manifest = lab.read("base.manifest.json");
    let current = format!(", \"contract\": {}", CONTRACT);
    lab.write("base.manifest.json", manifest.replace(&current, ""));
    let done = lab.imgbuild(&["seed", "vm42"]);
    assert_eq!(done.code, Some(0), "{}", done.err);
    let seed = read_disk(&lab.path("vm42/seed.img"));
    assert_eq!(seed.meta_data.contract, Some(1));
    assert_eq!(seed.ignored, [""; 0]);
}

/// A base that a whole room shares. It is looked at again where it is not as it was when its digest was compared.
#[test]
fn a_base_that_was_changed_or_that_others_may_change_makes_no_seed() {
    let lab = LabFolder::new(&["vm42"]);
    let seed = || lab.imgbuild(&["seed", "vm42"]);
    assert_eq!(seed().code, Some(0));
    let base = lab.path("base.qcow2");
    let write = |text: &[u8]| {
        let file = fs::OpenOptions::new().write(true).open(&base).unwrap();
        file.write_all_at(text, 0).unwrap();
    };
    write(b"T");
    let digest = |text: &[u8]| sha256(text);
    assert_eq!(
        seed().error(),
        format!(
            "LAB/base.qcow2 was changed: found SHA-256 {}, and LAB/base.manifest.json says {}. Copy both \
             again, or make them with: imgbuild base\n",
            digest(b"This stands in for an image\n"),
            digest(b"this stands in for an image\n")
        )
    );
    write(b"t");
    assert_eq!((seed().code, seed().code), (Some(0), Some(0)));
    // Both looks at it, and no third.
    let seen = lab.read("state/imgbuild/bases-seen");
    assert_eq!(seen.lines().count(), 2, "{seen}");
    set_mode(&base, 0o666);
    assert_eq!(
        seed().error(),
        format!(
            "others than its owner may write to LAB/base.qcow2 (mode 666), and with it to the disk of every \
             machine that stands on it. To go on: chmod go-w '{}'\n",
            lab.hide(&base.display().to_string(), "LAB")
        )
    );
}
