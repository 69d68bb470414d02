//! What was once found stays mended.

use super::TARGETS;

/// Each input below `tests/cases/fuzz` that has a target here.
#[test]
fn what_was_found_stays_mended() {
    testkit::replay(TARGETS);
}

/// An input without a target would never be tried.
#[test]
fn each_folder_of_inputs_is_a_targets() {
    let manifest = std::fs::read_to_string(testkit::house("fuzz/Cargo.toml")).unwrap();
    for entry in std::fs::read_dir(testkit::house("tests/cases/fuzz")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
    }
    for (name, _) in TARGETS {
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
    }
}

/// What holds for any input holds for those that are like sound ones.
#[test]
fn chance_finds_nothing() {
    testkit::try_by_chance(TARGETS);
}
