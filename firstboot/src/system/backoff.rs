//! How long to wait before a step is tried again.

use crate::contract::seed::Retry;
use std::time::Duration;

/// The pause after attempt number `attempt` (from 1): it doubles from one to the next up to a
/// limit, and is never shorter than `at_least`. `chance` from 0 to 1 spreads it, so that the PCs
/// of a room that were switched on together do not stay together: 0.5 to 1.5 times the pause
/// that doubles, or up to a quarter more than `at_least`.
pub fn pause(retry: &Retry, attempt: u32, at_least: Duration, chance: f64) -> Duration {
    let doubled = (retry.first as f64) * 2f64.powi(attempt.saturating_sub(1).min(30) as i32);
    let own = doubled.min(retry.most as f64) * (0.5 + chance);
    Duration::from_secs_f64(own.max(at_least.as_secs_f64() * (1.0 + chance / 4.0)))
}

/// A number from 0 to 1 that differs between two machines that do the same at the same time.
pub fn chance() -> f64 {
    let mut bytes = [0; 4];
    // Without random numbers (a kernel that has none yet) the pauses are only less spread.
    match rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::NONBLOCK) {
        Ok(4) => f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX),
        _ => f64::from(std::process::id() % 100) / 100.0,
    }
}

/// A pause in words, for a human: `8 s`, `3 min`, `2 h`.
pub fn words(pause: Duration) -> String {
    match pause.as_secs() {
        seconds @ 0..=99 => format!("{seconds} s"),
        seconds @ 100..=5999 => format!("{} min", (seconds + 30) / 60),
        seconds => format!("{} h", (seconds + 1800) / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(attempt: u32, at_least: u64, chance: f64) -> f64 {
        let at_least = Duration::from_secs(at_least);
        pause(&Retry::default(), attempt, at_least, chance).as_secs_f64()
    }

    #[test]
    fn it_doubles_up_to_the_limit_and_is_spread() {
        assert_eq!(seconds(1, 0, 0.5), 10.0);
        assert_eq!(seconds(2, 0, 0.5), 20.0);
        assert_eq!(seconds(5, 0, 0.5), 160.0);
        assert_eq!(seconds(6, 0, 0.5), 300.0);
        assert_eq!(seconds(4_000_000, 0, 0.5), 300.0);
        assert_eq!(seconds(1, 0, 0.0), 5.0);
        assert_eq!(seconds(1, 0, 1.0), 15.0);
    }

    #[test]
    fn after_a_lock_it_is_never_shorter_than_the_lock_lives() {
        for attempt in 1..20 {
            for chance in [0.0, 0.3, 1.0] {
                assert!(seconds(attempt, 130, chance) >= 130.0);
            }
        }
        assert_ne!(seconds(1, 130, 0.1), seconds(1, 130, 0.9));
    }

    #[test]
    fn chances_differ() {
        let chances: Vec<f64> = (0..20).map(|_| chance()).collect();
        assert!(chances.iter().all(|c| (0.0..=1.0).contains(c)));
        assert!(chances.windows(2).any(|pair| pair[0] != pair[1]));
    }

    #[test]
    fn pauses_in_words() {
        let of = |seconds| words(Duration::from_secs(seconds));
        assert_eq!(
            [of(8), of(180), of(130), of(7200)],
            ["8 s", "3 min", "2 min", "2 h"]
        );
    }
}
