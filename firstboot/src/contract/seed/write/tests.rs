use super::*;
use crate::contract::seed::{OpenVpnInstance, Secret, UserData, parse};
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

#[derive(Serialize)]
struct Whole<'a> {
    texts: &'a [String],
    keys: BTreeMap<&'a str, Vec<BTreeMap<&'a str, &'a str>>>,
}

/// What some reader of YAML 1.1 or 1.2 takes for something else where it is plain: null, booleans,
/// numbers (octal, hexadecimal, binary, base 60, with underscores), dates, merge and value keys.
const FORMS: &[&str] = &[
    "", " ", "~", "null", "Null", "NULL", "y", "Y", "n", "N", "yes", "Yes", "no", "NO", "on", "On",
    "OFF", "off", "true", "True", "FALSE", "0", "7", "007", "0o17", "0x1F", "0b1010", "1_000",
    "+1", "-1", "1.5", "1.", ".5", "1e3", "1E3", "1.0e+3", "1:20", "12:30:45", "-1:20", "1:20.5",
    ".inf", "-.INF", "+.inf", ".nan", ".NaN", "inf", "nan", "::/0", "::1", "=", "<<", "-", "--",
    "---", "...", "?", ":", "- a", "? a", "a: b", "a:", ":a", "a #b", "#a", "a#b", "&a", "*a",
    "!a", "!!int 1", "|", ">", "|-", "'", "''", "\"", "'a'", "\"a\"", "%a", "@a", "`a", "[a]",
    "{a}", "{}", "[]", "a,b", "a]", "a}", "\\", "\\n", "a\\", " a", "a ", "\ta", "a\t", "a\tb",
    "\n", "\n\n", "a\n", "a\n\n", "a\n\n\n", "\na", " a\nb", "a\n b", "a\n\tb\n", "a\rb", "a\n ",
    "a\n  \nb", "a \nb", "---\na\n", "...\nb\n", "# a\nb\n", "a\u{85}b", "\u{0}", "a\u{7}",
    "\u{7f}\n", "\u{9f}", "é", "\u{fffd}", "\u{fffe}", "\u{a0}",
];

/// Longer ones.
const LONG_FORMS: &[&str] = &[
    "日本\n語",
    "2026-11-26",
    "2026-11-26T12:00:00Z",
    "2026-11-26 12:00:00.5 -5",
    "52:54:00:12:34:56",
    "192.168.122.42",
    "10.0.0.0/8",
    "a\r\nb\r\n",
    "a\n---\nb\n",
    "- a\n- b\n",
    "a: b\nc: d\n",
    "%YAML 1.1\n---\n",
    "a\u{2028}b\n",
    "\u{feff}a",
    "a\u{feff}\n",
    "\u{1f600}",
    "\u{10ffff}",
];

/// The characters that mean something to YAML, and some that do not.
const LETTERS: &str =
    "0123456789aefnNoOxyY_.:+-~,#&*!|>'\"%@`{}[]?<=/\\ \t\n\r\u{85}\u{a0}\u{e9}\u{2028}\u{feff}";

/// The same texts in each run.
fn texts() -> Vec<String> {
    let letters: Vec<char> = LETTERS.chars().collect();
    let forms = [FORMS, LONG_FORMS].concat();
    let mut texts: BTreeSet<String> = forms.iter().map(|text| (*text).to_owned()).collect();
    for a in &letters {
        texts.insert(a.to_string());
        texts.extend(letters.iter().map(|b| format!("{a}{b}")));
    }
    // Knuth's generator (MMIX); its upper bits are random enough.
    let mut state: u64 = 20_261_126;
    let mut random = |below: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    for _ in 0..1500 {
        let length = 3 + random(12);
        texts.insert(
            (0..length)
                .map(|_| letters[random(letters.len())])
                .collect(),
        );
        // Numbers, times and dates, well and badly formed.
        let parts = [
            "0", "1", "59", "60", "2026", "-", ":", ".", "e", "T", "_", "0x", "+", "Z", " ",
        ];
        let length = 2 + random(6);
        texts.insert((0..length).map(|_| parts[random(parts.len())]).collect());
        // Around what looks like one.
        let form = forms[random(forms.len())];
        let letter = letters[random(letters.len())];
        texts.insert(format!("{form}{letter}"));
        texts.insert(format!("{letter}{form}"));
    }
    texts.into_iter().collect()
}

/// The file is JSON, which has one meaning. PyYAML's loaders, in Python and (where it is there)
/// in C, are asked for the same.
const PYTHON: &str = r#"
import json, sys, yaml
loaders = [yaml.SafeLoader, yaml.FullLoader]
loaders += [getattr(yaml, name) for name in ("CSafeLoader", "CFullLoader") if hasattr(yaml, name)]
expected = json.load(open(sys.argv[1], encoding="utf-8"))
text = open(sys.argv[2], encoding="utf-8", newline="").read()
wrong = 0
for loader in loaders:
    found = yaml.load(text, Loader=loader)
    pairs = list(zip(expected, found["texts"]))
    for key in set(expected) ^ set(found["keys"]):
        wrong += 1
        print(f"{loader.__name__}: the key {key!r}")
    pairs += [(key, text) for key, items in found["keys"].items() for item in items for pair in item.items() for text in pair]
    assert len(found["texts"]) == len(expected)
    for one, other in pairs:
        if type(other) is not str or one != other:
            wrong += 1
            print(f"{loader.__name__}: {one!r} was read as {other!r}")
print(f"{wrong} wrong, {len(loaders)} loaders", file=sys.stderr)
sys.exit(wrong > 0)
"#;

#[test]
fn every_text_is_the_same_text_to_pyyaml() {
    let texts = texts();
    assert!(texts.len() > 8000, "{}", texts.len());
    // As a key, and as key and value of a mapping in a list.
    let entry = |text| (text, vec![BTreeMap::from([(text, text)])]);
    let whole = Whole {
        texts: &texts,
        keys: texts.iter().map(|text| entry(text.as_str())).collect(),
    };
    let written = document(&whole).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (json, yaml) = (folder.path().join("texts.json"), folder.path().join("yaml"));
    std::fs::write(&json, serde_json::to_string(&texts).unwrap()).unwrap();
    std::fs::write(&yaml, &written).unwrap();
    let done = Command::new("/usr/bin/python3")
        .args(["-c", PYTHON])
        .args([json, yaml])
        .output()
        .unwrap();
    let said = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes).into_owned();
        text.lines().take(40).collect::<Vec<_>>().join("\n")
    };
    assert!(
        done.status.success(),
        "{}\n{}\nPyYAML is the package python3-yaml: scripts/setup --tests",
        said(&done.stdout),
        said(&done.stderr)
    );
}

#[test]
fn every_text_is_the_same_text_to_firstboot() {
    // Its openvpn configurations are the texts that may be anything but empty.
    let fits = |text: &&String| !text.trim().is_empty() && !text.contains('\0');
    let texts = texts();
    let texts: Vec<&String> = texts.iter().filter(fits).collect();
    for some in texts.chunks(25) {
        let named = some.iter().enumerate().map(|(number, text)| {
            let instance = OpenVpnInstance::new(Secret::new(text.as_str()));
            (format!("i{number}").parse().unwrap(), instance)
        });
        let data = UserData {
            openvpn: named.collect(),
            ..UserData::default()
        };
        let written = data.to_document().unwrap();
        let seed =
            parse("instance-id: i\n", &written, None).unwrap_or_else(|e| panic!("{e}\n{written}"));
        for (name, instance) in &data.openvpn {
            let read = seed.user_data.openvpn[name].config.reveal();
            assert_eq!(read, instance.config.reveal(), "{written}");
        }
    }
}

/// What an admin sees who looks at a seed.
#[test]
fn it_stays_readable() {
    let value: Value = serde_yaml::from_str(
        "{name: vm42, fqdn: vm42.example.org, on: [1, {a: 'no', b: []}, [x, 1.2.3.4]], empty: {}, \
         truth: true, mac: '52:54:00:12:34:56', key: \"client\\n  dev tap120\\n\"}",
    )
    .unwrap();
    assert_eq!(
        document(&value).unwrap(),
        "name: vm42
fqdn: vm42.example.org
\"on\":
  - 1
  - a: \"no\"
    b: []
  -
    - x
    - \"1.2.3.4\"
empty: {}
truth: true
mac: \"52:54:00:12:34:56\"
key: |
  client
    dev tap120
"
    );
}

#[test]
fn what_a_seed_never_has_is_refused() {
    let refused = |yaml: &str| {
        let value: Value = serde_yaml::from_str(yaml).unwrap();
        document(&value).unwrap_err().to_string()
    };
    for (yaml, words) in [
        ("[a]", "a document is a mapping"),
        ("a: 1.5", "a seed has texts, whole numbers, true and false"),
        ("a: ~", "a seed has texts, whole numbers, true and false"),
        (
            "? [a]\n: b",
            "a seed has texts, whole numbers, true and false",
        ),
        ("a: !b c", "a seed has texts, whole numbers, true and false"),
    ] {
        assert_eq!(refused(yaml), words, "{yaml}");
    }
}
