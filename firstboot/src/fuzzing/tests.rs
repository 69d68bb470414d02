//! What was once found stays mended.

use super::TARGETS;

/// Each input below `tests/cases/fuzz` that has a target here.
#[test]
fn what_was_found_stays_mended() {
    testkit::replay(TARGETS);
}

/// What holds for any input holds for those that are like sound ones.
#[test]
fn chance_finds_nothing() {
    testkit::try_by_chance(TARGETS);
}
