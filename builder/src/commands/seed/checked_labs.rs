//! What `imgbuild check` accepts, `imgbuild seed` makes and the guest takes; what it refuses has a
//! place. Thousands of labs, each made of values near the edges of every rule.
//!
//! A case is told by its number: `CASE=1234 cargo test checked_labs` makes that one alone.

use crate::config::lab::{JoinWith, Lab, Vm, read_secret};
use crate::config::yaml::Problems;
use crate::vm::base_image::BaseImage;
use crate::vm::script::render;
use crate::vm::seed::{Companions, Documents, SecretFiles, Secrets, image};
use firstboot::contract::seed::{self, Credential, Secret};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// How many labs are made.
const CASES: u64 = 2000;
/// One in so many values is at an edge: in every second lab few, so that some are good throughout.
const ODD: [u64; 2] = [15, 400];

/// SplitMix64 (Steele, Lea and Flood): a case's choices by its number.
struct Choices {
    state: u64,
    odd: u64,
}

impl Choices {
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, count: usize) -> usize {
        (self.next() % count as u64) as usize
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.next() % count == 0
    }

    fn of<'a>(&mut self, values: &[&'a str]) -> &'a str {
        values[self.below(values.len())]
    }

    /// Mostly a good one.
    fn value<'a>(&mut self, good: &[&'a str], odd: &[&'a str]) -> &'a str {
        match self.one_in(self.odd) {
            true => self.of(odd),
            false => self.of(good),
        }
    }

    /// `KEY: VALUE` in flow style, or nothing.
    fn entry(&mut self, key: &str, good: &[&str], odd: &[&str]) -> String {
        if self.one_in(3) {
            return String::new();
        }
        let value = self.value(good, odd);
        format!("{key}: {}, ", self.written(value))
    }

    /// A value as YAML: what is no plain word is always quoted.
    fn written(&mut self, value: &str) -> String {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
        match value.chars().all(is_plain) && !value.is_empty() && !self.one_in(4) {
            true => value.to_owned(),
            false => serde_json::to_string(value).unwrap(),
        }
    }

    /// A text of any characters; mostly none that ends a line or controls a terminal.
    fn line(&mut self) -> String {
        const CHARS: &[char] = &[
            'a', 'x', 'Z', '0', '9', ' ', '\'', '"', '\\', '#', ':', '-', '|', '>', '&', '*', '!',
            '%', '@', '`', '{', '}', '[', ']', ',', '?', '~', '=', '<', '.', '/', 'é', 'ß',
            '\u{a0}', '\u{ad}', '\u{200b}', '\u{feff}', '\u{fffd}', '\u{e000}', '😀',
        ];
        let length = 1 + self.below(12);
        let text: String = (0..length)
            .map(|_| CHARS[self.below(CHARS.len())])
            .collect();
        let odd = ["\u{2028}", "\u{2029}", "\u{85}", "\t", "\u{1b}"];
        text + self.value(&[""], &odd)
    }
}

const LONG: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const HOSTS: &[&str] = &[
    "10.120.0.1",
    "fd00::5",
    "nas",
    "pve1.example.org",
    "pve-2.7.lab",
];
const ODD_HOSTS: &[&str] = &[
    "nas.1",
    "1.nas",
    "7",
    "10.0.0",
    "10.0.0.256",
    "NAS",
    "a_b",
    "a..b",
    "a.",
    "-a",
    "a-",
    "é",
    "",
    "::1%lo",
    "fe80::1",
    "0.0.0.0",
    "127.0.0.1",
    "vm41",
    "192.168.122.41",
    "vm41.lab.example",
];

fn fingerprint(pair: &str) -> String {
    [pair; 32].join(":")
}

fn ssh_keys(c: &mut Choices) -> String {
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";
    let (odd_blank, short) = (key.replace(' ', "\u{a0}"), &key[..key.len() - 4]);
    let dss = "ssh-dss AAAAB3NzaC1kc3M=";
    let with_comment = format!("{key} {}", c.line());
    let tab = key.replace(' ', "\t");
    let value = c.value(
        &[key, &with_comment],
        &[&odd_blank, short, dss, "", &tab, &with_comment],
    );
    format!("ssh_keys: [{}], ", serde_json::to_string(value).unwrap())
}

fn cluster(c: &mut Choices) -> String {
    if c.one_in(6) {
        return "cluster: none, ".to_owned();
    }
    let mut peers = Vec::new();
    for _ in 0..1 + c.below(2) {
        let (upper, lower) = (fingerprint("AB"), fingerprint("cd"));
        let (short, named) = (["ab"; 31].join(":"), format!("sha256 Fingerprint={upper}"));
        let print = c.value(&[&upper, &lower, &named], &[&short, "x", "", "ab:cd"]);
        let host = c.value(HOSTS, ODD_HOSTS);
        peers.push(format!(
            "{{address: {}, fingerprint: \"{print}\"}}",
            c.written(host)
        ));
    }
    let with = c.of(&["join: ticket", "password_file: secrets/cluster-password"]);
    let votes = c.entry("votes", &["0", "1", "1000"], &["1001", "-1", "1.5", "x"]);
    let links = c.value(
        &["", "links: {0: address}, "],
        &[
            "links: {0: vmbr120}, ",
            "links: {1: address}, ",
            "links: {0: address, 7: vmbr120}, ",
            "links: {8: address}, ",
            "links: {0: address, 1: address}, ",
        ],
    );
    let first = c.entry("first", &["1s", "10s", "1h"], &["0s", "61m", "5"]);
    let most = c.entry("most", &["1h", "1d"], &["1s", "25h"]);
    let attempt = c.entry("attempt", &["20s", "1h"], &["19s", "2h"]);
    let give_up = c.entry("give_up", &["1s", "7d", "never"], &["0s", "8d"]);
    format!(
        "cluster: {{peers: [{}], {with}, {votes}{links}retry: {{{first}{most}{attempt}{give_up}}}}}, ",
        peers.join(", ")
    )
}

fn storage(c: &mut Choices) -> String {
    let long = "a".repeat(101);
    let id = c.value(
        &["lab", "Lab-1_x.y", "aa"],
        &["a", "1a", "a-", "a b", "é", &long, "on"],
    );
    let server = c.value(HOSTS, ODD_HOSTS);
    let export = c.value(
        &["/", "/srv/lab", "/é"],
        &["srv", "/a b", "/a\u{a0}b", "", "/\u{2028}"],
    );
    let (id, server, export) = (c.written(id), c.written(server), c.written(export));
    let options = c.entry("options", &["soft", "vers=4.2,soft"], &["-o", "a b", "é"]);
    let content = c.entry(
        "content",
        &["[rootdir]", "[iso, images]"],
        &["[]", "[x]", "iso"],
    );
    let content = content.replace('"', "");
    format!("storage: [{{id: {id}, server: {server}, export: {export}, {options}{content}}}], ")
}

/// One of the lab's machines.
fn vm(c: &mut Choices, number: usize) -> String {
    let plain = format!("vm4{number}");
    let (long, on) = (format!("{}{number}", &LONG[..61]), format!("on-4{number}"));
    let too_long = format!("{LONG}{number}");
    let name = c.value(
        &[&plain, &plain, &on],
        &[
            &long,
            &too_long,
            "7",
            "42",
            "VM1",
            "a_b",
            "a.b",
            "-a",
            "a-",
            "vm",
            "localhost",
            "é",
            "vm255",
            "vm0",
            "vm1",
        ],
    );
    let own_mac = format!("52:54:00:AB:CD:0{number}");
    let mut text = format!("- {{name: {}, ", c.written(name));
    text += &c.entry("host", &["pc-07", "pc.lab"], &["PC", "a_b", "7"]);
    if c.one_in(4) {
        text += &c.entry(
            "address",
            &["192.168.122.77"],
            &[
                "192.168.122.0",
                "192.168.122.255",
                "192.168.122.1",
                "224.0.1.7",
                "127.0.0.5",
                "x",
                "::1",
            ],
        );
    }
    if c.one_in(4) {
        text += &c.entry(
            "vmbr120",
            &["10.120.0.7", "none"],
            &["10.120.0.0", "10.120.0.255", "10.121.0.1"],
        );
    }
    if c.one_in(3) {
        text += &c.entry(
            "mac",
            &[&own_mac],
            &[
                "01:00:5e:00:00:01",
                "00:00:00:00:00:00",
                "52-54-00-12-34-56",
                "52:54:00:12:34",
                "x",
            ],
        );
    }
    text += &c.entry(
        "timezone",
        &["UTC", "Europe/Paris", "Etc/GMT+1"],
        &["utc", "../x", "Europe/", "A/B/C/D", "/x"],
    );
    let host = c.value(HOSTS, ODD_HOSTS);
    if c.one_in(3) {
        text += &format!("ntp: [{}], ", c.written(host));
    }
    text += &ssh_keys(c);
    text += &cluster(c);
    if c.one_in(2) {
        text += &storage(c);
    }
    if text.contains("peers") && c.one_in(3) {
        let name = c.value(&["lab", "on", "a-b_c"], &["a", "1a", "a.b", "é", "a b"]);
        text += &format!("ha: {{rules: [{}]}}, ", c.written(name));
    }
    let shared = "config: secrets/lab.ovpn, shared: true";
    let name = c.entry(
        "instance",
        &["vpn", "vpn-interco", "a_b", "on"],
        &["../x", ".a", "-a", "a b", LONG, "a.b"],
    );
    let login = c.value(&["user_pass_file: secrets/login, "], &[""]);
    let openvpn = format!("openvpn: {{{name}{login}{shared}}}, ");
    text += match c.below(3) {
        0 => "openvpn: none, ",
        _ => &openvpn,
    };
    text + "}\n"
}

fn lab(c: &mut Choices) -> String {
    let long = [&LONG[..62]; 4].join(".");
    let domain = c.value(
        &["lab.example", "example.org", "lab", "7.lab.example"],
        &[
            "lab.7", "7.lab", "7", "Lab", "a_b", "a..b", "lab.", "é", "", &long, LONG, "on",
        ],
    );
    let ranges = &["10.120.0.0/24", "10.120.0.0/16", "10.120.0.0/22"];
    let odd = &[
        "224.0.1.0/24",
        "127.0.0.0/24",
        "127.1.0.0/24",
        "0.0.0.0/8",
        "0.0.0.0/24",
        "240.0.0.0/24",
        "255.255.255.0/24",
        "10.0.0.0/7",
        "10.0.0.0/31",
        "10.0.0.0/30",
        "10.0.0.0/29",
        "10.120.0.7/24",
        "10.0.0/24",
        "fd00::/64",
        "x",
        "192.168.0.0/16",
        "169.254.0.0/16",
    ];
    let mut text = format!("domain: {}\n", c.written(domain));
    let network = c.value(
        &["192.168.122.0/24", "192.168.122.0/24", "192.168.120.0/22"],
        odd,
    );
    if c.one_in(2) {
        let bridge = c.entry(
            "bridge",
            &["virbr0", "br.1", "_x"],
            &["-x", ".x", "a b", "sixteencharacter"],
        );
        let gateway = match c.one_in(ODD[0]) {
            true => c.of(&[
                "gateway: 192.168.122.254, ",
                "gateway: 192.168.122.0, ",
                "gateway: 127.0.0.1, ",
            ]),
            false => "",
        };
        let dns = c.value(
            &["", "dns: [9.9.9.9], "],
            &["dns: [0.0.0.0], ", "dns: [x], ", "dns: [], "],
        );
        text += &format!("network: {{{bridge}range: {network}, {gateway}{dns}}}\n");
    }
    if !c.one_in(4) {
        text += &format!("vmbr120: {{range: {}}}\n", c.value(ranges, odd));
    }
    // Hashing it takes long.
    if c.one_in(200) {
        text += "defaults: {root_password_file: secrets/root-password}\n";
    }
    text += "vms:\n";
    for number in 0..1 + c.below(3) {
        text += &vm(c, number + 1);
    }
    text
}

/// What the lab's files hold in this case.
fn write_files(c: &mut Choices, folder: &Path) {
    let write = |name: &str, text: String| {
        let file = folder.join("secrets").join(name);
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
    };
    write("cluster-password", c.line() + "\n");
    write("root-password", c.line());
    write("login", format!("{}\n{}\n", c.line(), c.line()));
    let pem = |kind: &str| {
        let text = format!("-----BEGIN {kind}-----\nAAAA\n-----END {kind}-----\n");
        let tag = if kind == "CERTIFICATE" { "cert" } else { "key" };
        (tag, text)
    };
    let mut text = format!(
        "client\n# {}\ndev tap\nremote vpn.example.org 1194\n",
        c.line()
    );
    for kind in ["CERTIFICATE", "PRIVATE KEY"] {
        let (tag, content) = pem(kind);
        text += &format!(
            "<{tag}>\n{}{content}</{tag}>\n",
            c.of(&["", " \n", "\t# x: y\n"])
        );
    }
    text += &format!("<ca>\n{}</ca>\nauth-user-pass\n", pem("CERTIFICATE").1);
    text += c.of(&["", "\n\n", "# no end of line", "  # é\r\n"]);
    write("lab.ovpn", text);
}

fn secrets(lab: &Lab, vm: &Vm) -> Secrets {
    let with = vm.cluster.as_ref().map(|join| &join.with);
    Secrets {
        root_password: vm
            .root_password_file
            .as_deref()
            .map(|file| SecretFiles::default().hashed(file, &lab.domain).unwrap()),
        openvpn: vm
            .openvpn
            .as_ref()
            .map(|openvpn| openvpn.read(vm.vmbr120.is_some()).unwrap()),
        credential: with.map(|with| match with {
            JoinWith::PasswordFile(file) => Credential::Password(read_secret(file).unwrap()),
            JoinWith::Ticket => {
                Credential::Ticket(Secret::new("PVE:root@pam:6B0844C3::rZ9xX/+wOpQ9xw=="))
            }
        }),
    }
}

/// Makes the machine's seed and reads it as the guest does; says what is not as it should be.
fn seeded(lab: &Lab, vm: &Vm, with_disk: bool) -> Result<(), String> {
    let secrets = secrets(lab, vm);
    let made =
        Documents::new(lab, vm, &secrets, &Companions::of(lab)).map_err(|e| format!("{e:#}"))?;
    let network = Some(made.network_config.as_str());
    let seed = seed::parse(&made.meta_data, &made.user_data, network)
        .map_err(|error| format!("{error}\n{}\n{}", made.user_data, made.network_config))?;
    let user = &seed.user_data;
    let found = seed.cluster().map(|cluster| cluster.credential.clone());
    for (what, is_so) in [
        ("ignored", seed.ignored.is_empty()),
        ("hostname", vm.name == seed.hostname()),
        ("fqdn", seed.fqdn() == Some(&vm.fqdn(&lab.domain))),
        ("keys", user.ssh_authorized_keys == vm.ssh_keys),
        ("zone", user.timezone == vm.timezone),
        ("credential", found == secrets.credential),
        (
            "openvpn",
            user.openvpn.values().next() == secrets.openvpn.as_ref(),
        ),
        (
            "instance",
            user.openvpn.keys().next() == vm.openvpn.as_ref().map(|o| &o.instance),
        ),
        (
            "storage",
            user.proxmox.clone().unwrap_or_default().storage == vm.storage,
        ),
    ] {
        if !is_so {
            return Err(format!(
                "{what} is another in the guest:\n{}",
                made.user_data
            ));
        }
    }
    if with_disk {
        image(&made).map_err(|error| format!("{error:#}"))?;
    }
    let base = BaseImage {
        sha256: "0".repeat(64),
        bytes: 1,
        virtual_bytes: 1,
        contract: seed::CONTRACT,
    };
    render(lab, vm, &base, "vm42-0")
        .map(drop)
        .map_err(|error| format!("{error:#}"))
}

/// Each problem has a file that is there and a place in it.
fn has_places(error: &anyhow::Error, folder: &Path) -> Result<(), String> {
    let problems = error
        .downcast_ref::<Problems>()
        .ok_or_else(|| format!("no places: {error:#}"))?;
    for (file, problem) in problems.all() {
        let text = fs::read_to_string(folder.join(file)).map_err(|e| format!("{file}: {e}"))?;
        let line = text.lines().nth(problem.place.line - 1);
        let is_there = line.is_some_and(|line| problem.place.column <= line.chars().count() + 1);
        if !is_there || problem.message.is_empty() || problem.hint.is_empty() {
            return Err(format!("{file}: {problem:?}"));
        }
    }
    Ok(())
}

#[test]
fn what_check_accepts_the_guest_takes_and_what_it_refuses_has_a_place() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("secrets")).unwrap();
    let file = folder.path().join("lab.yaml");
    let asked: Option<u64> = std::env::var("CASE").ok().map(|case| case.parse().unwrap());
    let cases = asked.map_or(0..CASES, |case| case..case + 1);
    let (mut accepted, mut machines, mut failures) = (0, 0, Vec::new());
    for case in cases.clone() {
        let mut c = Choices {
            state: case,
            odd: ODD[(case % 2) as usize],
        };
        write_files(&mut c, folder.path());
        let text = lab(&mut c);
        fs::write(&file, &text).unwrap();
        let result = match Lab::load(&file) {
            Err(error) => has_places(&error, folder.path()),
            Ok(lab) => {
                accepted += 1;
                machines += lab.vms.len();
                let with_disk = case % 50 == 0 || asked.is_some();
                lab.vms
                    .iter()
                    .try_for_each(|vm| seeded(&lab, vm, with_disk))
            }
        };
        if let Err(why) = result {
            failures.push(format!("CASE={case}: {why}\n--- lab.yaml\n{text}"));
        }
    }
    let count = failures.len();
    failures.truncate(3);
    assert!(
        count == 0,
        "{count} cases fail, such as\n{}",
        failures.join("\n")
    );
    if asked.is_none() {
        // Neither side is empty, or the test would show nothing.
        let refused = CASES - accepted;
        assert!(
            accepted > 300 && machines > 500 && refused > 300,
            "{accepted} {machines} {refused}"
        );
    }
}
