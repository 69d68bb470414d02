//! The two clocks that records carry.

use std::time::{SystemTime, UNIX_EPOCH};

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
