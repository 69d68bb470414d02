//! Looking again and again, for so long.

use anyhow::Result;
use std::time::{Duration, Instant};

/// Looks every now and then until what is seen is `done` or the time is over, once at least; what was
/// seen last. An error of the look ends it.
pub(crate) fn until<T>(
    limit: Duration,
    every: Duration,
    mut look: impl FnMut() -> Result<T>,
    done: impl Fn(&T) -> bool,
) -> Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        let seen = look()?;
        if done(&seen) || Instant::now() >= deadline {
            return Ok(seen);
        }
        std::thread::sleep(every);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_ends_when_it_is_done_or_the_time_is_over() {
        let (every, mut looks) = (Duration::from_millis(1), 0);
        let mut count = || {
            looks += 1;
            Ok(looks)
        };
        let seen = until(Duration::from_secs(60), every, &mut count, |n| *n == 3);
        assert_eq!(seen.unwrap(), 3);
        let seen = until(Duration::ZERO, every, &mut count, |_| false);
        assert_eq!(seen.unwrap(), 4);
        let failed = until(
            Duration::from_secs(60),
            every,
            || anyhow::bail!("x"),
            |_: &()| true,
        );
        assert_eq!(failed.unwrap_err().to_string(), "x");
    }
}
