use super::*;
use crate::contract::seed::{Seed, parse};

const META: &str = "instance-id: i-1\nlocal-hostname: vm42\n";
const PEER: &str = "{address: 10.120.0.1, fingerprint: \"AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA\"}";

/// A document with the password's line as it is given, other settings before and after it.
fn block(password: &str) -> String {
    format!(
        "#cloud-config\n# é comes before it\ntimezone: UTC\nproxmox:\n  cluster:\n    \
         peers: [{PEER}]\n    password: {password}\n    votes: 0\nhostname: vm42\n"
    )
}

/// The same where all of `proxmox` is a flow mapping.
fn flow(password: &str) -> String {
    format!(
        "#cloud-config\nproxmox: {{cluster: {{password: {password}, votes: 0, peers: [{PEER}]}}}}\n"
    )
}

/// A ticket; a real one's signature is longer.
const TICKET: &str = "PVE:root@pam:6B0844C3::rZ9xX/+wOpQ9xw==";

/// The same document with a ticket in the password's place.
fn ticket(text: &str) -> String {
    text.replace("password: ", "ticket: ")
}

/// Every form: the text as it is written, and the password.
fn forms() -> Vec<(String, &'static str)> {
    vec![
        (block("Geheim42"), "Geheim42"),
        (block("Geheim42 # the cluster's"), "Geheim42"),
        (block("12345"), "12345"),
        (
            block("a:b#c -d 'e' \"f\" \\n, [g] x"),
            "a:b#c -d 'e' \"f\" \\n, [g] x",
        ),
        (block("-Geheim?"), "-Geheim?"),
        (
            block("two words\n      and\n       more   "),
            "two words and more",
        ),
        (
            block("two words\r\n      and more\r").replace("\r\n    votes", "\n    votes"),
            "two words and more",
        ),
        (block("\n      Geheim42"), "Geheim42"),
        (block("geschützt"), "geschützt"),
        (block("'Geheim 42: #'"), "Geheim 42: #"),
        (block("'it''s'   # so"), "it's"),
        (block("''''''"), "''"),
        (block("'''a'' b'''"), "'a' b'"),
        (
            block("'over\n      two''s, \n      lines'"),
            "over two's, lines",
        ),
        (block("\"Geheim42\""), "Geheim42"),
        (block("\"   \""), "   "),
        (block(r#""a\"b\\c\\\"d\\" # it's "so""#), r#"a"b\c\"d\"#),
        (block(r#""\x41\u00e9\U0001F600\/\_\ b""#), "Aé😀/\u{a0} b"),
        (
            block("\"over \\\n      two, \\\"\n      lines\""),
            "over two, \" lines",
        ),
        (block("|-\n      Geheim42"), "Geheim42"),
        (
            block("|-  # a comment: 'x'\n      Geheim #42\n"),
            "Geheim #42",
        ),
        (
            block("|2-\n        two blanks before"),
            "  two blanks before",
        ),
        (
            block(">-\n      over\n      two: 'lines'\n"),
            "over two: 'lines'",
        ),
        (
            block(">-\r\n      over\r\n      two lines\r"),
            "over two lines",
        ),
        (flow("Geheim42"), "Geheim42"),
        (flow("'it''s'"), "it's"),
        (flow("\"it\\\"s\""), "it\"s"),
        (
            flow("Geheim42").replace("{password: Geheim42", "{\"password\":'Ge''heim'"),
            "Ge'heim",
        ),
        (
            flow("Geheim42").replace("password: Geheim42", "\"password\":\"Geheim\""),
            "Geheim",
        ),
        (
            format!("#cloud-config\nproxmox:\n  cluster:\n    peers: [{PEER}]\n    password: last"),
            "last",
        ),
        (ticket(&block(TICKET)), TICKET),
        (ticket(&block(&format!("'{TICKET}'"))), TICKET),
        (ticket(&block(&format!("\"{TICKET}\""))), TICKET),
        (ticket(&block(&format!("|-\n      {TICKET}"))), TICKET),
        (ticket(&flow(&format!("'{TICKET}'"))), TICKET),
    ]
}

fn seed(text: &str) -> Seed {
    parse(META, text, None).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn password(seed: &Seed) -> &Secret {
    let proxmox = seed.user_data.proxmox.as_ref().unwrap();
    proxmox.cluster.as_ref().unwrap().credential.secret()
}

fn work(text: &str) -> Overwrite {
    match plan(text) {
        Ok(Plan::Overwrite(work)) => work,
        Ok(_) => panic!("nothing to do\n{text}"),
        Err(error) => panic!("{error}\n{text}"),
    }
}

fn write(text: &mut [u8], changes: &[(usize, u8)]) {
    for (at, byte) in changes {
        text[*at] = *byte;
    }
}

#[test]
fn every_form_is_overwritten_in_its_place() {
    for (text, secret) in forms() {
        let before = seed(&text);
        assert_eq!(password(&before).reveal(), secret, "{text}");
        let work = work(&text);
        assert_eq!(work.result.len(), text.len());
        let after = seed(&work.result);
        assert!(is_removed(password(&after)), "{}", work.result);
        if secret.contains(char::is_alphanumeric) {
            assert!(!work.result.contains(secret), "{}", work.result);
            assert!(!work.result.contains(work.traces[0].reveal()));
        }
        assert!(matches!(plan(&work.result), Ok(Plan::Removed)));
        // Nothing around it has changed.
        let pairs = text.bytes().zip(work.result.bytes()).enumerate();
        let changed: Vec<usize> = pairs.filter(|(_, (a, b))| a != b).map(|(i, _)| i).collect();
        let span = changed[0]..changed[changed.len() - 1] + 1;
        let was = text[span.clone()].trim_matches('\'');
        assert!(work.traces[0].reveal().contains(was), "{}", work.result);
        assert!(work.result[span].bytes().all(|b| b == b'x'));
    }
}

/// The characters of a round: those that are not ASCII are written as one.
fn units(text: &str, round: &[(usize, u8)]) -> Vec<Vec<(usize, u8)>> {
    let mut units: Vec<Vec<(usize, u8)>> = Vec::new();
    for change in round {
        match units.last_mut() {
            Some(unit) if !text.is_char_boundary(change.0) => unit.push(*change),
            _ => units.push(vec![*change]),
        }
    }
    units
}

/// Whichever bytes of a round are on the disk when the power goes, the seed is valid, nothing
/// but the password differs, and the next attempt ends as this one would have.
#[test]
fn a_torn_write_leaves_a_seed() {
    let mut chance: u64 = 1;
    for (text, _) in forms() {
        let work = work(&text);
        let hidden = |text: &str| read(text).map(|reading| reading.others);
        let others = hidden(&text).unwrap();
        let mut before = text.clone().into_bytes();
        for round in &work.rounds {
            let now = String::from_utf8(before.clone()).unwrap();
            let units = units(&now, round);
            let count = units.len();
            let torn = |pick: &dyn Fn(usize) -> bool| {
                let mut bytes = before.clone();
                let picked = (0..count).filter(|&i| pick(i));
                picked.for_each(|i| write(&mut bytes, &units[i]));
                let torn = String::from_utf8(bytes).unwrap();
                assert_eq!(hidden(&torn).as_ref(), Some(&others), "{torn}\nof\n{text}");
                match plan(&torn) {
                    Ok(Plan::Overwrite(again)) => assert_eq!(again.result, work.result),
                    Ok(Plan::Removed) => {}
                    _ => panic!("{torn}"),
                }
            };
            for at in 0..=count {
                torn(&|i| i < at);
                torn(&|i| i >= at);
                torn(&|i| i == at);
            }
            for _ in 0..20 {
                chance = chance.wrapping_mul(6364136223846793005).wrapping_add(1);
                torn(&|i| chance >> (i % 40 + 20) & 1 == 1);
            }
            write(&mut before, round);
        }
        assert_eq!(before, work.result.as_bytes());
    }
}

#[test]
fn what_is_more_than_one_text_is_left_alone() {
    let anchored = block("&p Geheim42");
    let alias = anchored.replace("hostname: vm42", "vendor: *p");
    let tagged = block("!!str Geheim42");
    let elsewhere = block("*p").replace("timezone: UTC", "vendor: &p Geheim42");
    for text in [anchored, alias, tagged, elsewhere] {
        assert_eq!(password(&seed(&text)).reveal(), "Geheim42");
        let Err(error) = plan(&text) else {
            panic!("{text}");
        };
        assert_eq!(
            error,
            "user-data: proxmox.cluster.password cannot be overwritten: it has an anchor, an \
             alias or a tag, or is written in another unusual way"
        );
    }
}

#[test]
fn no_password_is_nothing_to_do() {
    for text in [
        "",
        "#cloud-config\n",
        "#cloud-config\nproxmox: {storage: []}\n",
    ] {
        assert!(matches!(plan(text), Ok(Plan::Nothing)), "{text}");
    }
    for removed in ["x", "'xxx'", "\"xxxx\"", "|-\n      xx"] {
        assert!(matches!(plan(&block(removed)), Ok(Plan::Removed)));
    }
    // A password may well begin with an x.
    assert!(matches!(plan(&block("xX")), Ok(Plan::Overwrite(_))));
}

/// A seed without an instance-id is known by a digest of its content.
#[test]
fn the_removal_makes_no_new_instance() {
    let id = |text: &str| parse("", text, None).unwrap().meta_data.instance_id;
    for (text, _) in forms() {
        let text = match text.contains("hostname") {
            true => text,
            false => format!("{text}\nhostname: vm42\n"),
        };
        assert_eq!(id(&text), id(&work(&text).result), "{text}");
    }
    assert_ne!(
        id(&block("Geheim42")),
        id(&block("Geheim42").replace("UTC", "UCT"))
    );
}
