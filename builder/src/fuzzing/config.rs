//! What a person writes, and what goes with an image.

use super::InMemory;
use crate::base::Manifest;
use crate::config::definition::Definition;
use crate::config::lab::{Lab, clusters};
use crate::publish::Current;
use crate::vm::seed::Documents;
use firstboot::contract::seed;

/// A page of problems for each of the lines, of which each is shown.
fn longest(data: &[u8]) -> usize {
    64 * data.len() + (64 << 10)
}

/// A lab that passes can be seeded, and the guest takes the seed.
pub(super) fn lab(data: &[u8]) {
    let file = InMemory::of(&[data]);
    let lab = match Lab::load_without_secrets(&file.path()) {
        Ok(lab) => lab,
        Err(error) => return assert!(format!("{error:#}").len() < longest(data)),
    };
    let _ = clusters(&lab.domain, &lab.vms.iter().collect::<Vec<_>>());
    for vm in lab.vms.iter().take(20) {
        let made = Documents::retired(&lab, vm).expect("a lab that was read can be seeded");
        let [(_, meta_data), (_, user_data), (_, network)] = made.files();
        if let Err(problems) = seed::parse(meta_data, user_data, Some(network)) {
            panic!("the guest refuses the seed: {problems}");
        }
    }
}

pub(super) fn definition(data: &[u8]) {
    let file = InMemory::of(&[data]);
    match Definition::load(Some(&file.path())) {
        Ok(definition) => {
            let line = &definition.kernel_command_line;
            assert!(
                !line.contains(['"', '\'', '`', '$', '\\', ';', '|', '&', '\n']),
                "{line}"
            );
            let name = |name: &String| name.starts_with(|c: char| c.is_ascii_alphanumeric());
            assert!(
                definition.packages.iter().all(name),
                "{:?}",
                definition.packages
            );
        }
        Err(error) => assert!(format!("{error:#}").len() < longest(data)),
    }
}

/// What was read is written and read again.
pub(super) fn manifest(data: &[u8]) {
    let file = InMemory::of(&[data]);
    let Ok(Some(manifest)) = Manifest::load(&file.path()) else {
        return;
    };
    let _ = manifest.cost();
    let text = serde_json::to_vec(&manifest).expect("a manifest can be written");
    let again: Manifest = serde_json::from_slice(&text).expect("what was written is read");
    assert_eq!(serde_json::to_vec(&again).ok(), Some(text));
}

/// Nothing but a name beside it is believed.
pub(super) fn current_json(data: &[u8]) {
    let Some(current) = Current::parse(data) else {
        return;
    };
    assert!(!current.image.contains('/') && !current.manifest.contains('/'));
    let text = serde_json::to_vec(&current).expect("it can be written");
    assert_eq!(Current::parse(&text), Some(current));
}
