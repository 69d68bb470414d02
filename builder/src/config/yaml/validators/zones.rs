//! Whether a time zone exists, by the tz database of this PC.
//!
//! The guest has Debian's own database, which may be another one: a zone that this PC knows by any name
//! is taken, also where its file is in a package of its own (Debian's tzdata-legacy), and where this PC
//! has no database nothing is said.

use std::path::Path;

/// Where the database is (tzdata; hier(7) has none other).
pub(super) const FOLDER: &str = "/usr/share/zoneinfo";
/// How many edits a name may be away from one that is offered in its place.
const NEAR: usize = 3;

/// What is wrong with the zone `name`, in words that follow it; `None` where it exists in the database of
/// `folder`, or where that cannot be told.
pub(super) fn unknown(folder: &Path, name: &str) -> Option<String> {
    // All of it in one text (zic(8)): `Z NAME …` is a zone, `L TARGET NAME` another name of one.
    let text = std::fs::read_to_string(folder.join("tzdata.zi")).ok()?;
    let known: Vec<&str> = text.lines().filter_map(name_of).collect();
    // A text without this one is not the database, or half of it.
    if !known.contains(&"Etc/UTC") || known.contains(&name) || folder.join(name).is_file() {
        return None;
    }
    Some(match near(&known, name) {
        Some(near) => format!("is no time zone of the tz database; did you mean `{near}`?"),
        None => "is no time zone of the tz database".to_owned(),
    })
}

fn name_of(line: &str) -> Option<&str> {
    let mut words = line.split(' ');
    match words.next()? {
        "Z" => words.next(),
        "L" => words.nth(1),
        _ => None,
    }
}

/// The name that was probably meant: the one with the fewest edits, else that of the city.
fn near<'a>(known: &[&'a str], name: &str) -> Option<&'a str> {
    let name = name.to_lowercase();
    let edits = |known: &&&str| strsim::damerau_levenshtein(&known.to_lowercase(), &name);
    let is_city = |known: &&&str| {
        let city = known.rsplit('/').next().unwrap_or_default().to_lowercase();
        name.split('/').any(|part| part == city)
    };
    let closest = known.iter().min_by_key(edits);
    let closest = closest.filter(|known| edits(known) <= NEAR);
    closest.or_else(|| known.iter().find(is_city)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines of a real tzdata.zi (2025b).
    const DATABASE: &str = "# version 2025b\n# This zic input file is in the public domain.\n\
        R F 1916 o - Jun 14 23s 1 S\nZ Africa/Abidjan -0:16:8 - LMT 1912\nZ Etc/UTC 0 - UTC\n\
        Z Europe/Paris 0:9:21 - LMT 1891 Mar 16\n0:9:21 - PMT 1911 Mar 11\n\
        L America/New_York US/Eastern\nL Etc/UTC UTC\n";

    #[test]
    fn a_zone_that_does_not_exist_is_told_from_one_that_does() {
        let folder = tempfile::tempdir().unwrap();
        let of = |name| unknown(folder.path(), name);
        // No database: nothing can be said.
        assert_eq!(of("Mars/Olympus"), None);
        std::fs::write(folder.path().join("tzdata.zi"), "# half of it\n").unwrap();
        assert_eq!(of("Mars/Olympus"), None);
        std::fs::write(folder.path().join("tzdata.zi"), DATABASE).unwrap();
        for name in ["Europe/Paris", "UTC", "US/Eastern", "Etc/UTC"] {
            assert_eq!(of(name), None, "{name}");
        }
        let wrong = "is no time zone of the tz database";
        assert_eq!(of("Mars/Olympus").as_deref(), Some(wrong));
        // The target of a link alone is a zone where its own line says so.
        assert!(of("America/New_York").is_some());
        for name in [
            "Europe/Pariss",
            "europe/paris",
            "France/Paris",
            "Paris/Europe",
        ] {
            let words = format!("{wrong}; did you mean `Europe/Paris`?");
            assert_eq!(of(name), Some(words), "{name}");
        }
        // A file of the admin's own.
        std::fs::create_dir(folder.path().join("Lab")).unwrap();
        std::fs::write(folder.path().join("Lab/Solar"), "TZif2").unwrap();
        assert_eq!(of("Lab/Solar"), None);
        assert!(of("Lab").is_some());
    }
}
