//! Points in time for people and files, in UTC: this program is static, and the C library's time
//! zones are not in it.

use firstboot::contract::clock;
use firstboot::contract::status::pause_words;
use std::time::Duration;

/// This moment, in seconds since 1970.
pub(crate) use firstboot::contract::clock::unix_time as now;
/// Seconds since 1970 for a sentence, to the minute: `2026-11-22 22:39 UTC`.
pub(crate) use firstboot::contract::clock::utc as minute;

/// A span for a sentence, to the minute: `1 h 59 min`.
pub(crate) fn span(seconds: u64) -> String {
    match (seconds / 3600, seconds / 60 % 60) {
        (0, minutes) => format!("{minutes} min"),
        (hours, 0) => format!("{hours} h"),
        (hours, minutes) => format!("{hours} h {minutes} min"),
    }
}

/// How long ago something was, for a table: `95 s`, `3 min`, `47 h`, `3 days`.
pub(crate) fn age(seconds: u64) -> String {
    match seconds / 86_400 {
        0..=1 => pause_words(Duration::from_secs(seconds)),
        days => format!("{days} days"),
    }
}

/// Seconds since 1970 as RFC 3339 writes them.
pub(crate) fn utc(seconds: u64) -> String {
    let rest = seconds % 86_400;
    let (hours, minutes) = (rest / 3600, rest / 60 % 60);
    let day = clock::date(seconds);
    format!("{day}T{hours:02}:{minutes:02}:{:02}Z", rest % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        // As `date -u -d @SECONDS +%FT%TZ` prints them.
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_799, "2000-02-29T23:59:59Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (1_795_387_191, "2026-11-22T22:39:51Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(utc(seconds), text);
        }
    }

    #[test]
    fn for_a_sentence() {
        assert_eq!(minute(1_795_387_191), "2026-11-22 22:39 UTC");
        assert_eq!(span(59), "0 min");
        assert_eq!(span(7199), "1 h 59 min");
        assert_eq!(span(7200), "2 h");
        assert_eq!(age(95), "95 s");
        assert_eq!(age(2 * 86_400 - 1), "48 h");
        assert_eq!(age(2 * 86_400), "2 days");
    }
}
