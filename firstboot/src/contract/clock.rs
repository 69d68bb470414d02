//! The two clocks that records carry, and what they show.

use std::time::{SystemTime, UNIX_EPOCH};

/// The seconds of a day.
const DAY: u64 = 86_400;

/// Seconds since the boot; 0 where `/proc` is not there.
pub fn uptime() -> f64 {
    let text = std::fs::read_to_string("/proc/uptime").unwrap_or_default();
    let first = text.split_whitespace().next().unwrap_or_default();
    first.parse().unwrap_or(0.0)
}

/// Seconds since 1970. A machine without a clock starts near 0.
pub fn unix_time() -> u64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH);
    elapsed.map_or(0, |elapsed| elapsed.as_secs())
}

/// A time of the second clock for a human: `2026-11-26 18:40 UTC`, the seconds left away.
pub fn utc(seconds: u64) -> String {
    let rest = seconds % DAY;
    let (hours, minutes) = (rest / 3600, rest / 60 % 60);
    format!("{} {hours:02}:{minutes:02} UTC", date(seconds))
}

/// The day of a time of the second clock, in UTC: `2026-11-26`.
pub fn date(seconds: u64) -> String {
    // Years begin in March here, so that the leap day is the last day of one (Hinnant's
    // `civil_from_days`); 719468 days lie between 0000-03-01 and 1970-01-01.
    let day = seconds / DAY + 719_468;
    let (era, of_era) = (day / 146_097, day % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    format!("{year}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `date -u -d @SECONDS` shows them.
    #[test]
    fn times_for_humans() {
        for (seconds, shown) in [
            (0, "1970-01-01 00:00 UTC"),
            (951_782_399, "2000-02-28 23:59 UTC"),
            (951_782_400, "2000-02-29 00:00 UTC"),
            (951_868_800, "2000-03-01 00:00 UTC"),
            (1_735_689_599, "2024-12-31 23:59 UTC"),
            (1_795_704_003, "2026-11-26 14:40 UTC"),
            (4_107_542_400, "2100-03-01 00:00 UTC"),
            (0xFFFF_FFFF, "2106-02-07 06:28 UTC"),
        ] {
            assert_eq!(utc(seconds), shown, "{seconds}");
        }
    }
}
