//! How long to wait before a step is tried again.

use std::time::Duration;

/// Pauses that double, up to a limit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Backoff {
    /// The pause after the first attempt.
    pub first: Duration,
    pub most: Duration,
}

impl Backoff {
    /// The pause after attempt number `attempt` (from 1). `chance` from 0 to 1 spreads it, so that the
    /// PCs of a room that were switched on together do not stay together: 0.5 to 1.5 times the pause
    /// that doubles. It is never shorter than `at_least`, which is spread by up to a quarter more.
    pub(crate) fn pause(&self, attempt: u32, at_least: Duration, chance: f64) -> Duration {
        let times = 2f64.powi(attempt.saturating_sub(1).min(30) as i32);
        let doubled = (self.first.as_secs_f64() * times).min(self.most.as_secs_f64());
        let own = doubled * (0.5 + chance);
        Duration::from_secs_f64(own.max(at_least.as_secs_f64() * (1.0 + chance / 4.0)))
    }
}

/// A number from 0 to 1 that differs between two machines that do the same at the same time.
pub(crate) fn chance() -> f64 {
    let mut bytes = [0; 4];
    // Without random numbers (a kernel that has none yet) the pauses are only less spread.
    match rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::NONBLOCK) {
        Ok(4) => f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX),
        _ => f64::from(std::process::id() % 100) / 100.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(attempt: u32, at_least: u64, chance: f64) -> f64 {
        let at_least = Duration::from_secs(at_least);
        let backoff = Backoff {
            first: Duration::from_secs(10),
            most: Duration::from_secs(300),
        };
        backoff.pause(attempt, at_least, chance).as_secs_f64()
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
}
