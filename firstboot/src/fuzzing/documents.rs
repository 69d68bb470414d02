//! The documents of a seed, and what is in them.

use super::text;
use crate::contract::openvpn::{
    self, Guest, Taken, classify_content, lines_without_secrets, named_files, text_of,
};
use crate::contract::seed::overwriting::{Overwrite, Plan, Round, mended, plan};
use crate::contract::seed::{Seed, Ticket, parse};
use crate::contract::values::{
    Cidr, Domain, Export, Fingerprint, HaName, Host, HostDomain, HostName, InstanceName,
    InterfaceName, Mac, MountOptions, Network, RouteTarget, SshKey, StorageContent, StorageId,
    Timezone,
};
use crate::contract::yaml::{self, Dialect, Kind, MAX_DEPTH, MAX_NODES, Node};
use std::collections::BTreeSet;
use std::fmt::{Debug, Display};
use std::str::FromStr;

const META_DATA: &str = "instance-id: i-1\nlocal-hostname: vm42\n";
const USER_DATA: &str = "#cloud-config\n";
/// What stands for a secret in the inputs: it is in no message.
const SECRET: &str = "S3CR3T";
/// Each part of a document may be in a message, with a hundred words beside it.
const LONGEST: usize = 16 << 20;

pub(super) fn meta_data(data: &[u8]) {
    if let Some(text) = text(data) {
        judge(text, USER_DATA, None, text);
    }
}

pub(super) fn user_data(data: &[u8]) {
    if let Some(text) = text(data) {
        judge(META_DATA, text, None, text);
    }
}

pub(super) fn network_config(data: &[u8]) {
    if let Some(text) = text(data) {
        judge(META_DATA, USER_DATA, Some(text), text);
    }
}

/// Reads a seed, and what is written of it again.
fn judge(meta_data: &str, user_data: &str, network: Option<&str>, given: &str) {
    let seed = match parse(meta_data, user_data, network) {
        Ok(seed) => seed,
        Err(error) => return harmless(&error.to_string(), given),
    };
    harmless(&seed.ignored.join("\n"), given);
    let written = (
        seed.meta_data.to_document(),
        seed.user_data.to_document(),
        seed.network.as_ref().map(|network| network.to_document()),
    );
    let (Ok(meta_data), Ok(user_data)) = (&written.0, &written.1) else {
        panic!("a seed that was read cannot be written: {written:?}");
    };
    let network = written
        .2
        .as_ref()
        .map(|text| text.as_ref().expect("it was read").as_str());
    // cloud-init wants the first line, and `imgbuild seed` writes it.
    match parse(meta_data, user_data, network) {
        Ok(again) => {
            assert!(again.ignored.is_empty(), "{:?}", again.ignored);
            assert_eq!(without_nothing(again), without_nothing(seed));
        }
        Err(error) => panic!("what was written is refused: {error}\n{user_data}"),
    }
}

/// The same seed; a part of it that says nothing is not written.
fn without_nothing(mut seed: Seed) -> Seed {
    fn clear<T: Default + PartialEq>(part: &mut Option<T>) {
        part.take_if(|part| *part == T::default());
    }
    seed.ignored.clear();
    clear(&mut seed.user_data.proxmox);
    for network in seed.network.iter_mut() {
        for card in network.ethernets.values_mut() {
            clear(&mut card.match_);
            clear(&mut card.nameservers);
        }
        for bridge in network.bridges.values_mut() {
            clear(&mut bridge.parameters);
            clear(&mut bridge.nameservers);
        }
    }
    seed
}

/// Whether words about a document have no secret of it, and an end.
fn harmless(words: &str, document: &str) {
    assert!(words.len() < LONGEST);
    // A key may be shown where no secret is expected; whether that is so is not known here.
    if document.contains(SECRET) && !keys(document).iter().any(|key| key.contains(SECRET)) {
        assert!(!words.contains(SECRET), "{words}");
    }
}

fn keys(document: &str) -> BTreeSet<String> {
    let (tree, _) = yaml::parse(document, Dialect::Full);
    let nodes = tree.iter().flat_map(Node::all);
    let maps = nodes.filter_map(|(node, _)| match &node.kind {
        Kind::Map(map) => Some(map),
        _ => None,
    });
    maps.flat_map(|map| map.iter().map(|entry| entry.key.clone()))
        .collect()
}

/// The overwriting of the password: whichever bytes of a round are written, the document is valid.
pub(super) fn scrub(data: &[u8]) {
    let Some(text) = text(data) else {
        // Torn inside a character: what was mended is a text of the same length.
        if let Some(text) = mended(data) {
            assert_eq!(text.len(), data.len());
        }
        return;
    };
    let work = match plan(text) {
        Ok(Plan::Overwrite(work)) => work,
        Ok(_) => return,
        Err(words) => return harmless(&words, text),
    };
    let before = parse(META_DATA, text, None);
    let mut now = text.as_bytes().to_vec();
    let mut chance = Chance::of(data);
    for round in &work.rounds {
        let mut torn = now.clone();
        for unit in units(text, round).iter().filter(|_| chance.next()) {
            write(&mut torn, unit);
        }
        valid(&before, &torn);
        write(&mut now, round);
        valid(&before, &now);
    }
    let Overwrite { result, .. } = work;
    assert_eq!(result.len(), text.len());
    assert_eq!(now, result.as_bytes());
    assert!(matches!(plan(&result), Ok(Plan::Removed)));
}

fn write(text: &mut [u8], round: &[(usize, u8)]) {
    for (at, byte) in round {
        text[*at] = *byte;
    }
}

/// The characters of a round: those that are not ASCII are written as one.
fn units(text: &str, round: &Round) -> Vec<Round> {
    let mut units: Vec<Round> = Vec::new();
    for change in round {
        match units.last_mut() {
            Some(unit) if !text.is_char_boundary(change.0) => unit.push(*change),
            _ => units.push(vec![*change]),
        }
    }
    units
}

/// What was a seed still is one, and the same but for its credential.
fn valid(before: &Result<Seed, impl Debug>, now: &[u8]) {
    let Ok(before) = before else { return };
    let now = std::str::from_utf8(now).expect("whole characters were written");
    let now = parse(META_DATA, now, None);
    let now = now.unwrap_or_else(|error| panic!("the seed is none any more: {error}"));
    let without = |seed: &Seed| {
        let mut seed = seed.clone();
        let proxmox = seed.user_data.proxmox.as_mut();
        if let Some(cluster) = proxmox.and_then(|proxmox| proxmox.cluster.as_mut()) {
            cluster.credential = cluster.credential.removed();
        }
        seed
    };
    assert_eq!(without(&now), without(before));
}

/// Heads or tails, the same for the same input (xorshift).
struct Chance(u64);

impl Chance {
    fn of(data: &[u8]) -> Self {
        let sum = data.iter().fold(0xcbf2_9ce4_8422_2325u64, |sum, byte| {
            (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Chance(sum | 1)
    }

    fn next(&mut self) -> bool {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 & 0x100 != 0
    }
}

/// The reader below all documents, with its limits.
pub(super) fn yaml(data: &[u8]) {
    let Some(text) = text(data) else { return };
    for dialect in [Dialect::Plain, Dialect::Full] {
        let (tree, problems) = yaml::parse(text, dialect);
        for problem in &problems {
            assert!(problem.message.len() + problem.hint.len() < 4 * text.len() + 4096);
        }
        let nodes = tree.iter().flat_map(Node::all);
        // A lone `\r` ends a line of YAML.
        let (mut count, lines) = (0, text.split(['\n', '\r']).count());
        for (node, depth) in nodes {
            count += 1;
            assert!(depth <= MAX_DEPTH);
            assert!(node.offset <= text.len() && text.is_char_boundary(node.offset));
            assert!(
                (1..=lines + 1).contains(&node.place.line),
                "{:?}",
                node.place
            );
        }
        assert!(count <= MAX_NODES);
    }
}

/// A configuration of OpenVPN, and a file that it names.
pub(super) fn openvpn(data: &[u8]) {
    let text = match text_of(data) {
        Ok(text) => text,
        Err(finding) => return assert!(finding.message.len() < 4096),
    };
    let mut findings = Vec::new();
    for guest in [
        Guest::default(),
        Guest {
            taps: &["tap120"],
            user_pass: true,
            taken_in: true,
        },
    ] {
        findings.extend(openvpn::classify(text, &guest));
    }
    // Each of them is as long as this text.
    for named in named_files(text, true).into_iter().take(8) {
        findings.extend(classify_content(&named, text));
    }
    let words: Vec<String> = findings
        .iter()
        .map(|finding| format!("{} {}", finding.message, finding.hint))
        .collect();
    // The names of options and of files are told; a line inside of a block never.
    let in_block = format!("<key>\n{SECRET}\n</key>");
    if text.replace(&in_block, "").contains(SECRET) {
        // It stands in a place where words may be shown, too.
    } else {
        assert!(
            !words.iter().any(|words| words.contains(SECRET)),
            "{words:?}"
        );
        let shown = lines_without_secrets(text).join("\n");
        assert!(!shown.contains(SECRET), "{shown}");
    }
    for edited in [
        openvpn::with_user_pass(text, "/run/x"),
        openvpn::with_tap(text, Some("tap120")).into_owned(),
        openvpn::with_blocks(text, &Taken::default()),
    ] {
        assert!(edited.len() <= 2 * text.len() + 256);
    }
    // What stands behind a block without end is in it.
    if findings
        .iter()
        .any(|finding| finding.message.ends_with("has no end"))
    {
        return;
    }
    let once = openvpn::with_user_pass(text, "/run/x");
    assert_eq!(openvpn::with_user_pass(&once, "/run/x"), once);
    let once = openvpn::with_tap(text, Some("tap120")).into_owned();
    assert!(!openvpn::has_open_tap(&once));
    assert_eq!(openvpn::with_tap(&once, Some("tap120")), once);
}

/// Each type of value: what it shows is taken for the same value.
pub(super) fn values(data: &[u8]) {
    let Some(text) = text(data) else { return };
    same::<Cidr>(text);
    same::<Domain>(text);
    same::<Export>(text);
    same::<Fingerprint>(text);
    same::<HaName>(text);
    same::<Host>(text);
    same::<HostDomain>(text);
    same::<HostName>(text);
    same::<InstanceName>(text);
    same::<InterfaceName>(text);
    same::<Mac>(text);
    same::<MountOptions>(text);
    same::<Network>(text);
    same::<RouteTarget>(text);
    same::<SshKey>(text);
    same::<StorageContent>(text);
    same::<StorageId>(text);
    same::<Timezone>(text);
    if let Ok(ticket) = Ticket::parse(text) {
        assert_eq!(Ticket::parse(ticket.text().reveal()), Ok(ticket));
    }
}

fn same<T>(text: &str)
where
    T: FromStr<Err: Display> + Display + PartialEq + Debug,
{
    match text.parse::<T>() {
        Ok(value) => {
            let shown = value.to_string();
            // Only in what stands beside an ssh key.
            let obeyed = |c: char| c.is_control() && c != '\t';
            assert!(!shown.contains(obeyed), "{shown:?}");
            match shown.parse::<T>() {
                Ok(again) => assert_eq!(again, value),
                Err(error) => panic!("{shown:?} {error}"),
            }
        }
        // A message may repeat the text, which is a secret nowhere among these.
        Err(error) => assert!(error.to_string().len() <= 2 * text.len() + 1024),
    }
}
