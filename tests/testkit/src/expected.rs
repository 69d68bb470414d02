//! Expected texts that lie in files.

use similar::TextDiff;
use std::fs;
use std::path::Path;

/// Whether expected files are to be written, and not compared with: `UPDATE_GOLDEN=1`.
pub(crate) fn is_updated() -> bool {
    std::env::var_os("UPDATE_GOLDEN").is_some_and(|value| value == "1")
}

/// Compares a text with a file of `tests/cases`; with `UPDATE_GOLDEN=1` the file is written instead.
pub fn expect_file(file: &Path, found: &str) {
    if is_updated() {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, found).unwrap();
        return;
    }
    expect(file, &fs::read_to_string(file).unwrap_or_default(), found);
}

/// Fails with the lines that differ, three around them, and the way to accept what was found.
pub(crate) fn expect(place: &Path, expected: &str, found: &str) {
    if expected == found {
        return;
    }
    let difference = TextDiff::from_lines(expected, found)
        .unified_diff()
        .header("expected", "found")
        .to_string();
    let thread = std::thread::current();
    panic!(
        "{} differs:\n{difference}to accept what was found: UPDATE_GOLDEN=1 cargo test {}",
        place.display(),
        thread.name().unwrap_or_default()
    );
}

/// Wants a text to have this in it.
#[track_caller]
pub fn has(text: &str, part: &str) {
    assert!(text.contains(part), "`{part}` is not in:\n{text}");
}

/// Wants a text to begin so.
#[track_caller]
pub fn begins(text: &str, start: &str) {
    assert!(
        text.starts_with(start),
        "`{start}` is not the start of:\n{text}"
    );
}

/// Wants a text to end so.
#[track_caller]
pub fn ends(text: &str, end: &str) {
    assert!(text.ends_with(end), "`{end}` is not the end of:\n{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_shows_its_lines_the_file_and_the_way_to_accept_it() {
        let folder = crate::Folder::new();
        folder.write("x.txt", "one\ntwo\nthree\n");
        let file = folder.path("x.txt");
        expect_file(&file, "one\ntwo\nthree\n");
        let caught = std::panic::catch_unwind(|| expect_file(&file, "one\nzwei\nthree\n"));
        let said = *caught.unwrap_err().downcast::<String>().unwrap();
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!(lines[0], format!("{} differs:", file.display()));
        assert!(
            lines.contains(&"-two") && lines.contains(&"+zwei"),
            "{said}"
        );
        assert!(
            lines.last().unwrap().starts_with(
                "to accept what was found: UPDATE_GOLDEN=1 cargo test expected::tests::a_diff"
            ),
            "{said}"
        );
    }
}
