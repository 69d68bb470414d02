//! Times, as a person writes them.

use crate::config::yaml::display::{check, display_safe};

/// A time in seconds: a whole number with its unit, `s`, `m`, `h` or `d`.
pub fn duration(text: &str, min: u64, max: u64) -> Result<u64, String> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    check(digits > 0, text, "is no duration")?;
    let seconds = match unit.trim_start() {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        "" => {
            return Err(format!(
                "`{}` has no unit: s, m, h or d",
                display_safe(text)
            ));
        }
        _ => return Err(format!("`{}` is no duration", display_safe(text))),
    };
    // More digits than a number can have are more than any limit.
    let duration = number.parse::<u64>().unwrap_or(u64::MAX);
    let duration = duration.saturating_mul(seconds);
    let (least, most) = (duration_text(min), duration_text(max));
    check(duration >= min, text, &format!("is less than {least}"))?;
    check(duration <= max, text, &format!("is more than {most}"))?;
    Ok(duration)
}

/// A time as a person writes it.
pub fn duration_text(seconds: u64) -> String {
    for (unit, length) in [("d", 86_400), ("h", 3600), ("m", 60)] {
        if seconds != 0 && seconds % length == 0 {
            return format!("{}{unit}", seconds / length);
        }
    }
    format!("{seconds}s")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let read = |text| duration(text, 20, 2 * 86_400);
        for text in ["2h", "120m", "7200s", "7200 s"] {
            assert_eq!(read(text), Ok(7200), "{text}");
        }
        assert_eq!((read("20s"), read("2d")), (Ok(20), Ok(172_800)));
        for (text, message) in [
            ("", "`` is no duration"),
            ("h", "`h` is no duration"),
            ("-2h", "`-2h` is no duration"),
            ("1.5h", "`1.5h` is no duration"),
            ("2w", "`2w` is no duration"),
            ("1h30m", "`1h30m` is no duration"),
            ("90", "`90` has no unit: s, m, h or d"),
            ("19s", "`19s` is less than 20s"),
            ("0m", "`0m` is less than 20s"),
            ("49h", "`49h` is more than 2d"),
            (
                "99999999999999999999d",
                "`99999999999999999999d` is more than 2d",
            ),
            (
                "9999999999999999999d",
                "`9999999999999999999d` is more than 2d",
            ),
        ] {
            assert_eq!(read(text), Err(message.to_owned()));
        }
        for (seconds, text) in [
            (0, "0s"),
            (90, "90s"),
            (300, "5m"),
            (7200, "2h"),
            (86_400, "1d"),
        ] {
            assert_eq!(duration_text(seconds), text);
        }
    }
}
