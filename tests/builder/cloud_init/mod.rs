//! What Debian 13's cloud-init makes of the seeds that `imgbuild seed` writes: its schemas,
//! `init --local` up to the point where it would change the machine, and its renderers.

use imgbuild::config::lab::{Lab, State, Vm};
use serde_json::{Value, json};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;
use testkit::{set_mode, sha256};

/// Names and addresses that YAML 1.1 takes for other types where they are not quoted: the MACs of
/// vm7, vm136 and vm147 are numbers there (base 60), `on` and `no` booleans, the last one a date.
const AWKWARD: &str = "\
domain: example.org
vmbr120: {range: 10.120.0.0/24}
defaults:
  timezone: Europe/Paris
  ntp: [10.120.0.1, ntp.example.org]
  root_password_file: secrets/root-password
  ssh_keys: ['ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f a: b #c']
vms:
- {name: vm7}
- {name: vm136, vmbr120: none}
- {name: vm147, ssh_password: true}
- {name: vm42, mac: '52:54:00:12:34:56', timezone: UTC}
- {name: 'on', address: 192.168.122.50, vmbr120: 10.120.0.50}
- {name: 'no', address: 192.168.122.51, vmbr120: none}
- {name: '2026-11-26', address: 192.168.122.52, vmbr120: none, storage: [{id: 'yes', server: 10.120.0.5, export: /1.5}]}
- {name: '0x1f', address: 192.168.122.53, vmbr120: none}
- {name: '1e3', address: 192.168.122.54, vmbr120: none}
";

/// cloud-init as `scripts/setup --tests` unpacked it.
fn cloud_init() -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache =
        cache.unwrap_or_else(|| Path::new(&std::env::var_os("HOME").unwrap()).join(".cache"));
    let folder = cache.join("imgbuild-tests/cloud-init");
    assert!(
        folder.join("version").exists(),
        "Debian 13's cloud-init is not in {}. Fetch it with: scripts/setup --tests",
        folder.display()
    );
    folder
}

/// Every lab of the cases that can be seeded, and the awkward one.
fn labs(folder: &Path) -> Vec<PathBuf> {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/cases/lab");
    let mut labs = Vec::new();
    for kind in ["good", "warned"] {
        for case in fs::read_dir(cases.join(kind)).unwrap() {
            let case = case.unwrap();
            let lab = folder.join(case.file_name());
            fs::create_dir_all(&lab).unwrap();
            testkit::tree::copy(&case.path(), &lab, Some(0o600));
            // No member is there that could be asked for a ticket.
            let text = fs::read_to_string(lab.join("lab.yaml")).unwrap();
            let text = text.replace("join: ticket", "password_file: secrets/cluster-password");
            fs::write(lab.join("lab.yaml"), text).unwrap();
            labs.push(lab);
        }
    }
    let awkward = folder.join("awkward");
    fs::create_dir_all(awkward.join("secrets")).unwrap();
    fs::write(awkward.join("lab.yaml"), AWKWARD).unwrap();
    let password = awkward.join("secrets/root-password");
    fs::write(&password, "geheim\n").unwrap();
    set_mode(&password, 0o600);
    labs.push(awkward);
    labs
}

/// Seeds all VMs of a lab, and writes what is on their disks into folders.
fn seed(folder: &Path, seeds: &Path) -> Lab {
    let lab = Lab::load(&folder.join("lab.yaml"))
        .or_else(|_| {
            // `~` is this folder, for imgbuild alone.
            let file = folder.join("lab.yaml");
            let text = fs::read_to_string(&file).unwrap();
            fs::write(&file, text.replace("~/", &format!("{}/", folder.display()))).unwrap();
            Lab::load(&file)
        })
        .unwrap();
    fs::create_dir_all(lab.base.parent().unwrap()).unwrap();
    fs::write(&lab.base, "this stands in for an image\n").unwrap();
    let bytes = fs::read(&lab.base).unwrap();
    let manifest = json!({
        "image": {"sha256": sha256(&bytes), "bytes": bytes.len(), "virtual_bytes": 1 << 20},
        "firstboot": {"contract": firstboot::contract::seed::CONTRACT},
    });
    fs::write(
        lab.base.with_extension("manifest.json"),
        manifest.to_string(),
    )
    .unwrap();
    let done = Command::new(crate::program())
        .args(["seed", "--all"])
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(done.status.success(), "{}: {done:?}", folder.display());
    for vm in seeded(&lab) {
        let disk = fs::File::open(folder.join(vm.name.as_str()).join("seed.img")).unwrap();
        let disk = fatfs::FileSystem::new(disk, fatfs::FsOptions::new()).unwrap();
        let to = seeds.join(id(&lab, vm));
        fs::create_dir(&to).unwrap();
        for name in ["meta-data", "user-data", "network-config"] {
            let mut bytes = Vec::new();
            let mut file = disk.root_dir().open_file(name).unwrap();
            file.read_to_end(&mut bytes).unwrap();
            fs::write(to.join(name), bytes).unwrap();
        }
    }
    lab
}

/// The VMs that have a seed.
fn seeded(lab: &Lab) -> impl Iterator<Item = &Vm> {
    lab.vms.iter().filter(|vm| vm.state != State::Absent)
}

fn id(lab: &Lab, vm: &Vm) -> String {
    let lab = lab.folder.file_name().unwrap().to_str().unwrap();
    format!("{lab}--{}", vm.name)
}

/// What cloud-init understood of the seeds in a folder, by their names.
fn read(seeds: &Path, work: &Path) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/builder/cloud_init/read.py");
    let modules = cloud_init().join("usr/lib/python3/dist-packages");
    let done = Command::new("/usr/bin/python3")
        .arg("-B")
        .args([&script, seeds, work])
        .env("PYTHONPATH", modules)
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&done.stderr);
    assert!(
        done.status.success(),
        "{words}\ncloud-init's own needs are installed by: scripts/setup --tests"
    );
    serde_json::from_slice(&done.stdout).unwrap()
}

/// Notes what is not as it should be.
struct Judge {
    seed: String,
    wrong: Vec<String>,
}

impl Judge {
    fn same(&mut self, what: &str, found: &Value, expected: Value) {
        if *found != expected {
            let seed = &self.seed;
            self.wrong.push(format!(
                "{seed}: {what}\n-- expected\n{expected:#}\n-- found\n{found:#}"
            ));
        }
    }
}

#[test]
fn the_real_cloud_init_reads_every_seed() {
    let folder = TempDir::new().unwrap();
    let seeds = folder.path().join("seeds");
    fs::create_dir(&seeds).unwrap();
    let labs: Vec<Lab> = labs(&folder.path().join("labs"))
        .iter()
        .map(|lab| seed(lab, &seeds))
        .collect();
    let read = read(&seeds, &folder.path().join("work"));
    let mut judge = Judge {
        seed: String::new(),
        wrong: Vec::new(),
    };
    let vms: Vec<(&Lab, &Vm)> = labs
        .iter()
        .flat_map(|lab| seeded(lab).map(move |vm| (lab, vm)))
        .collect();
    assert!(vms.len() > 25, "only {} seeds", vms.len());
    for (lab, vm) in vms {
        let found = &read[id(lab, vm)];
        judge.seed = id(lab, vm);
        judge.same("schemas", &found["schema"], schemas(vm));
        identity(&mut judge, lab, vm, &found["init"]);
        judge.same("eni", &found["eni"], eni(lab, vm));
        judge.same("netplan", &found["netplan"], netplan(lab, vm));
        judge.same("networkd", &found["networkd"], networkd(lab, vm));
    }
    assert!(judge.wrong.is_empty(), "{}", judge.wrong.join("\n\n"));
}

/// Nothing is against the network-config, and nothing but this project's two keys against the
/// user-data: cloud-init warns of them and goes on.
fn schemas(vm: &Vm) -> Value {
    let openvpn = vm.openvpn.is_some();
    let proxmox = vm.cluster.is_some() || !vm.storage.is_empty() || !vm.ha.is_empty();
    let words = |place: &str, keys: &str| {
        json!([format!(
            "{place}: Additional properties are not allowed ({keys} unexpected)"
        )])
    };
    let user_data = match (openvpn, proxmox) {
        (false, false) => json!([]),
        (true, false) => words("openvpn", "'openvpn' was"),
        (false, true) => words("proxmox", "'proxmox' was"),
        (true, true) => words("", "'openvpn', 'proxmox' were"),
    };
    json!({"network-config": [], "user-data": user_data})
}

/// Who the machine is, and what cloud-init's own keys say.
fn identity(judge: &mut Judge, lab: &Lab, vm: &Vm, init: &Value) {
    let instance = init["instance_id"].as_str().unwrap_or_default();
    let digest = instance.strip_prefix(&format!("{}-", vm.name));
    if digest.is_none_or(|digest| digest.len() != 16) {
        judge.same("instance-id", init, json!("NAME-DIGEST"));
    }
    judge.same("local-hostname", &init["local_hostname"], json!(vm.name));
    judge.same("network's origin", &init["network_origin"], json!("ds"));
    let config = &init["config"];
    let mut expected = json!({
        "hostname": vm.name,
        "fqdn": format!("{}.{}", vm.name, lab.domain),
        "disable_root": false,
    });
    let mut also = |key: &str, there: bool, value: Value| {
        if there {
            expected[key] = value;
        }
    };
    also("timezone", vm.timezone.is_some(), json!(vm.timezone));
    also(
        "ssh_authorized_keys",
        !vm.ssh_keys.is_empty(),
        json!(vm.ssh_keys),
    );
    also("ssh_pwauth", vm.ssh_password, json!(true));
    also(
        "ntp",
        !vm.ntp.is_empty(),
        json!({"enabled": true, "servers": vm.ntp}),
    );
    // What they hold is looked at elsewhere: the first is salted, the others are not cloud-init's.
    for key in ["chpasswd", "openvpn", "proxmox"] {
        also(key, !config[key].is_null(), config[key].clone());
    }
    judge.same("user-data", config, expected);
    if vm.root_password_file.is_some() {
        let user = &config["chpasswd"]["users"][0];
        let hash = user["password"].as_str().unwrap_or_default();
        assert!(hash.starts_with("$6$") && hash.len() > 90, "{config:#}");
        assert_eq!(
            (&user["name"], &user["type"]),
            (&json!("root"), &json!("hash"))
        );
    }
    if let Some(openvpn) = &vm.openvpn {
        let written = openvpn.read(vm.vmbr120.is_some()).unwrap();
        let found = &config["openvpn"][openvpn.instance.as_str()];
        judge.same("openvpn", found, json!(written.config.reveal()));
    }
}

fn address(lab: &Lab, vm: &Vm) -> String {
    format!("{}/{}", vm.address, lab.network.range.prefix())
}

/// The bridge's address with its prefix.
fn bridged(lab: &Lab, vm: &Vm) -> Option<String> {
    let network = lab.vmbr120?;
    Some(format!("{}/{}", vm.vmbr120?, network.prefix()))
}

fn dns(lab: &Lab, between: &str) -> String {
    let servers: Vec<String> = lab.network.dns.iter().map(ToString::to_string).collect();
    servers.join(between)
}

/// interfaces(5), and the rule by which udev gives the card its name.
fn eni(lab: &Lab, vm: &Vm) -> Value {
    let (domain, gateway) = (&lab.domain, lab.network.gateway);
    let mut text = format!(
        "auto lo\niface lo inet loopback\n\nauto eth0\niface eth0 inet static\n    \
         address {}\n    dns-nameservers {}\n    dns-search {domain}\n    \
         dns {{'nameservers': ['{}'], 'search': ['{domain}']}}\n    \
         post-up route add default gw {gateway} || true\n    \
         pre-down route del default gw {gateway} || true",
        address(lab, vm),
        dns(lab, " "),
        dns(lab, "', '"),
    );
    if let Some(address) = bridged(lab, vm) {
        text.push_str(&format!(
            "\n\niface tap120 inet manual\n\nauto vmbr120\niface vmbr120 inet static\n    \
             address {address}\n    bridge_ports tap120\n    bridge_stp off"
        ));
    }
    let rule = format!(
        "SUBSYSTEM==\"net\", ACTION==\"add\", DRIVERS==\"?*\", ATTR{{address}}==\"{}\", NAME=\"eth0\"",
        vm.mac
    );
    json!({
        "etc/network/interfaces.d/50-cloud-init": text,
        "etc/udev/rules.d/70-persistent-net.rules": rule,
    })
}

fn netplan(lab: &Lab, vm: &Vm) -> Value {
    let mut network = json!({"version": 2, "ethernets": {"eth0": {
        "match": {"macaddress": vm.mac},
        "dhcp4": false,
        "addresses": [address(lab, vm)],
        "routes": [{"to": "0.0.0.0/0", "via": lab.network.gateway}],
        "nameservers": {"addresses": lab.network.dns, "search": [lab.domain]},
    }}});
    if let Some(address) = bridged(lab, vm) {
        network["ethernets"]["tap120"] = json!({});
        network["bridges"] = json!({"vmbr120": {
            "addresses": [address],
            "interfaces": ["tap120"],
            "parameters": {"stp": false, "forward-delay": 0},
        }});
    }
    json!({"etc/netplan/50-cloud-init.yaml": {"network": network}})
}

/// systemd.network(5). This renderer of cloud-init makes no bridge: it only gives an address to
/// one that is there.
fn networkd(lab: &Lab, vm: &Vm) -> Value {
    let file = |name: &str| format!("etc/systemd/network/10-cloud-init-{name}.network");
    let mut files = json!({});
    files[file("eth0")] = json!(format!(
        "[Address]\nAddress={}\n\n[Match]\nMACAddress={}\nName=eth0\n\n[Network]\nDHCP=no\nDNS={}\n\
         Domains={}\n\n[Route]\nDestination=0.0.0.0/0\nGateway={}",
        address(lab, vm),
        vm.mac,
        dns(lab, " "),
        lab.domain,
        lab.network.gateway,
    ));
    if let Some(address) = bridged(lab, vm) {
        files[file("tap120")] = json!("[Match]\nName=tap120\n\n[Network]\nDHCP=no");
        files[file("vmbr120")] = json!(format!(
            "[Address]\nAddress={address}\n\n[Match]\nName=vmbr120\n\n[Network]\nDHCP=no"
        ));
    }
    files
}
