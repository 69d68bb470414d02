//! The contract's number: which seeds a firstboot understands.

use super::network::NetworkConfig;
use super::user_data::UserData;
use serde_yaml::{Error, Value};
use std::sync::LazyLock;

/// The number of the contract that this firstboot knows.
///
/// It stands in a base's manifest, and in the `meta-data` of a seed as the lowest number that
/// understands all of the seed. A firstboot refuses a seed that needs more than it knows.
///
/// It rises when `imgbuild seed` can write what the firstboot of before would refuse, leave out or
/// understand in another way: a new key, a new form of a value, another meaning. Once for all such
/// changes between two releases, and not for what a firstboot does better with the same seed.
/// Whoever raises it adds a line here, and gives each new key its line in the table below.
///
/// | number | what came |
/// | --- | --- |
/// | 1 | everything from before there were numbers; which keys such a base knows cannot be told, so 1 are those that each of them knows |
/// | 2 | the number itself; with it all keys that had come one by one: `ssh_pwauth`, `ntp`, a login and `shared` below `openvpn`, tickets, several fingerprints, `links`, `votes`, `retry`, `lab`, `storage`, `ha`, `retired`; a bridge's tap declared below `ethernets` |
pub const CONTRACT: u32 = 2;

/// What a base or a seed without a number has.
pub const UNNUMBERED: u32 = 1;

/// Each key that a seed of `imgbuild seed` can have, by the number that it came with. What holds a
/// key is older or as old. `*` is any name, `[]` an item of a list.
const KEYS: [(u32, &str); 2] = [
    (
        1,
        "hostname fqdn timezone disable_root ssh_authorized_keys/[] chpasswd/expire \
         chpasswd/users/[]/name chpasswd/users/[]/password chpasswd/users/[]/type openvpn/* \
         proxmox/cluster/peers/[]/address proxmox/cluster/peers/[]/fingerprint \
         proxmox/cluster/password proxmox/cluster/link0 \
         version ethernets/eth0/match/macaddress ethernets/eth0/dhcp4 ethernets/eth0/addresses/[] \
         ethernets/eth0/routes/[]/to ethernets/eth0/routes/[]/via \
         ethernets/eth0/nameservers/addresses/[] ethernets/eth0/nameservers/search/[] \
         bridges/vmbr120/interfaces/[] bridges/vmbr120/addresses/[] \
         bridges/vmbr120/parameters/stp bridges/vmbr120/parameters/forward-delay",
    ),
    (
        2,
        "ssh_pwauth ntp/enabled ntp/servers/[] openvpn/*/config openvpn/*/user_pass \
         openvpn/*/shared proxmox/cluster/peers/[]/fingerprint/[] proxmox/cluster/ticket \
         proxmox/cluster/links/* proxmox/cluster/votes proxmox/cluster/lab/[] \
         proxmox/cluster/retry/first proxmox/cluster/retry/most proxmox/cluster/retry/attempt \
         proxmox/cluster/retry/spread proxmox/cluster/retry/give_up proxmox/storage/[]/id \
         proxmox/storage/[]/server proxmox/storage/[]/export proxmox/storage/[]/content/[] \
         proxmox/storage/[]/options proxmox/ha/groups/[] proxmox/ha/rules/[]/name \
         proxmox/ha/rules/[]/priority proxmox/retired ethernets/tap120",
    ),
];

/// The lowest number whose firstboot understands these documents: that of their newest key. A key
/// without a line in the table needs [`CONTRACT`]. The error is that of [`UserData::to_document`].
pub fn needed(user_data: &UserData, network: &NetworkConfig) -> Result<u32, Error> {
    let mut newest = UNNUMBERED;
    for document in [
        serde_yaml::to_value(user_data)?,
        serde_yaml::to_value(network)?,
    ] {
        each_key(&document, &mut Vec::new(), &mut |path| {
            newest = newest.max(since(path).unwrap_or(CONTRACT));
        });
    }
    Ok(newest)
}

/// Calls `seen` for each key and item of a list, with the way to it.
fn each_key(value: &Value, path: &mut Vec<String>, seen: &mut impl FnMut(&[String])) {
    let below: Vec<(String, &Value)> = match value {
        Value::Mapping(map) => map.iter().map(|(key, value)| (name(key), value)).collect(),
        Value::Sequence(items) => items.iter().map(|item| ("[]".to_owned(), item)).collect(),
        _ => Vec::new(),
    };
    for (name, value) in below {
        path.push(name);
        seen(path);
        each_key(value, path, seen);
        path.pop();
    }
}

/// Keys are texts, and numbers below `links`.
fn name(key: &Value) -> String {
    match key {
        Value::Number(number) => number.to_string(),
        other => other.as_str().unwrap_or_default().to_owned(),
    }
}

fn since(path: &[String]) -> Option<u32> {
    // Taken apart once: a lab has thousands of seeds.
    static PATTERNS: LazyLock<Vec<(u32, Vec<&str>)>> = LazyLock::new(|| {
        let patterns = |(number, keys): &(u32, &'static str)| {
            let number = *number;
            let keys = keys.split_whitespace();
            keys.map(move |key| (number, key.split('/').collect()))
        };
        KEYS.iter().flat_map(patterns).collect()
    });
    let holds = |(_, pattern): &&(u32, Vec<&str>)| {
        let mut parts = pattern.iter();
        let fits = |name: &String| {
            parts
                .next()
                .is_some_and(|part| *part == "*" || part == name)
        };
        path.iter().all(fits)
    };
    PATTERNS.iter().find(holds).map(|(number, _)| *number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::seed::parse;
    use std::collections::BTreeSet;

    /// What a base of before the numbers understands, and beside it each thing that it may not.
    #[test]
    fn the_newest_key_decides() {
        let network = "version: 2\nethernets: {eth0: {match: {macaddress: \
                       '52:54:00:00:00:01'}, addresses: [10.0.0.2/24], routes: [{to: default, via: \
                       10.0.0.1}]}TAP}\nbridges: {vmbr120: {interfaces: [tap120]}}\n";
        let number = |user: &str, tap: &str| {
            let user = format!("#cloud-config\nhostname: vm42\n{user}\n");
            let seed = parse("instance-id: i", &user, Some(&network.replace("TAP", tap)));
            let seed = seed.unwrap_or_else(|e| panic!("{user}: {e}"));
            needed(&seed.user_data, &seed.network.unwrap()).unwrap()
        };
        let pair = ["AB"; 32].join(":");
        let cluster = |more: &str| {
            format!(
                "proxmox: {{cluster: {{peers: [{{address: a, fingerprint: '{pair}'}}]{more}}}}}"
            )
        };
        let password = cluster(", password: x, link0: 10.0.0.2");
        for user in ["", "timezone: UTC", "openvpn: {a.b: x}", &password] {
            assert_eq!(number(user, ""), 1, "{user}");
        }
        assert_eq!(number("", ", tap120: {}"), 2);
        let several = password.replace(
            &format!("'{pair}'"),
            &format!("['{pair}', '{}']", ["CD"; 32].join(":")),
        );
        for user in [
            "ssh_pwauth: true",
            "ntp: {servers: [a]}",
            "openvpn: {a: {config: x, shared: true}}",
            "proxmox: {retired: true}",
            "proxmox: {storage: [{id: lab, server: a, export: /b}]}",
            "proxmox: {ha: {groups: [lab]}}",
            &several,
            &cluster(", ticket: 'PVE:root@pam:6B0844C3::rZ9'"),
            &cluster(", password: x, links: {1: 10.0.0.2}"),
            &cluster(", password: x, votes: 0"),
            &cluster(", password: x, lab: [vm2]"),
            &cluster(", password: x, retry: {first: 20}"),
        ] {
            assert_eq!(number(user, ""), 2, "{user}");
        }
    }

    /// Everything that a seed of imgbuild can say. The one seed cannot have both credentials.
    const FULL: &str = "#cloud-config
hostname: vm42
fqdn: vm42.lab
timezone: UTC
disable_root: false
ssh_authorized_keys: [ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIC59LAOpUHriZez1tTVohaUzk6ICnSQTlJlyZaGiWu/G]
chpasswd: {expire: false, users: [{name: root, password: $6$a$b, type: hash}]}
ssh_pwauth: true
ntp: {enabled: true, servers: [a]}
openvpn:
  one: x
  two: {config: x, user_pass: \"a\\nb\", shared: true}
proxmox:
  cluster:
    peers: [{address: a, fingerprint: ['PAIRS', 'PAIRS']}]
    CREDENTIAL
    link0: 10.0.0.2
    links: {1: 10.1.0.2}
    votes: 0
    lab: [vm42]
    retry: {first: 20, most: 30, attempt: 40, spread: 20, give_up: 90}
  storage: [{id: lab, server: a, export: /b, content: [iso], options: soft}]
  ha: {groups: [lab], rules: [one, {name: two, priority: 3}]}
";
    const NETWORK: &str = "version: 2
ethernets:
  eth0:
    match: {macaddress: '52:54:00:00:00:01'}
    dhcp4: false
    addresses: [10.0.0.2/24]
    routes: [{to: default, via: 10.0.0.1}]
    nameservers: {addresses: [10.0.0.1], search: [lab]}
  tap120: {}
bridges:
  vmbr120:
    interfaces: [tap120]
    addresses: [10.1.0.2/24]
    parameters: {stp: false, forward-delay: 0}
";

    #[test]
    fn each_key_has_its_line_and_each_line_its_key() {
        let mut paths = BTreeSet::new();
        let retired = "#cloud-config\nproxmox: {retired: true}\n";
        let [one, other] = ["AB", "CD"].map(|pair| [pair; 32].join(":"));
        let full = FULL.replacen("PAIRS", &one, 1).replace("PAIRS", &other);
        for user in [
            retired,
            &full.replace("CREDENTIAL", "password: x"),
            &full.replace("CREDENTIAL", "ticket: 'PVE:root@pam:6B0844C3::rZ9'"),
        ] {
            let seed = parse("instance-id: i", user, Some(NETWORK));
            let seed = seed.unwrap_or_else(|e| panic!("{user}: {e}"));
            let network = serde_yaml::to_value(seed.network).unwrap();
            for document in [serde_yaml::to_value(&seed.user_data).unwrap(), network] {
                each_key(&document, &mut Vec::new(), &mut |path| {
                    paths.insert(path.to_vec());
                });
            }
        }
        for path in &paths {
            assert!(since(path).is_some(), "{} has no line", path.join("/"));
        }
        assert_eq!(
            since(&["proxmox".into(), "cluster".into(), "more".into()]),
            None
        );
        for pattern in KEYS.iter().flat_map(|(_, keys)| keys.split_whitespace()) {
            let parts: Vec<&str> = pattern.split('/').collect();
            let is_it = |path: &Vec<String>| {
                let mut pairs = path.iter().zip(&parts);
                path.len() == parts.len() && pairs.all(|(name, part)| *part == "*" || name == part)
            };
            assert!(paths.iter().any(is_it), "{pattern} is the line of no key");
        }
    }

    #[test]
    fn the_table_is_in_order_and_ends_with_the_contract() {
        let numbers: Vec<u32> = KEYS.iter().map(|(number, _)| *number).collect();
        assert_eq!(numbers, (UNNUMBERED..=CONTRACT).collect::<Vec<_>>());
        let all: Vec<&str> = KEYS
            .iter()
            .flat_map(|(_, keys)| keys.split_whitespace())
            .collect();
        let once: BTreeSet<&&str> = all.iter().collect();
        assert_eq!(once.len(), all.len());
    }
}
