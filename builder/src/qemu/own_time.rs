//! How much time a machine had for itself. On a PC that is busy it gets little, and what it did not say
//! while it could not run is no silence.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// How often it is measured: the kernel counts a process's time in hundredths of a second.
const EVERY: Duration = Duration::from_secs(1);
/// However busy the PC is, this part of the time counts: everything must end some time.
const LEAST: u32 = 8;
/// Tasks that waited for a processor, in all: the kernel's Documentation/accounting/psi.rst. Not there
/// in a kernel without it; then all time counts.
const PRESSURE: &str = "/proc/pressure/cpu";

/// The time of a process.
#[derive(Debug)]
pub(super) struct OwnTime {
    pid: u32,
    looked: Instant,
    before: Counters,
    lived: Duration,
}

/// What grows all the time.
#[derive(Debug, Clone, Copy, Default)]
struct Counters {
    /// The process's own processor time.
    ran: Duration,
    /// The time in which some task of this PC had to wait for a processor.
    waited: Duration,
    /// Whether a terminal or a signal has stopped it.
    stopped: bool,
}

impl OwnTime {
    /// Of a process that was just started.
    pub(super) fn of(pid: u32) -> Self {
        OwnTime {
            pid,
            looked: Instant::now(),
            before: Counters::read(pid),
            lived: Duration::ZERO,
        }
    }

    /// How much of it there was so far, up to a second ago.
    pub(super) fn lived(&mut self) -> Duration {
        let passed = self.looked.elapsed();
        if passed >= EVERY {
            let now = Counters::read(self.pid);
            self.looked += passed;
            self.lived += lived(passed, self.before, now);
            self.before = now;
        }
        self.lived
    }
}

/// As much of this time as it ran in, or as nobody had to wait for a processor in: then it could have run.
fn lived(passed: Duration, before: Counters, now: Counters) -> Duration {
    let ran = now.ran.saturating_sub(before.ran);
    let waited = now.waited.saturating_sub(before.waited);
    let own = match now.stopped {
        true => ran,
        false => ran.max(passed.saturating_sub(waited)),
    };
    own.clamp(passed / LEAST, passed)
}

impl Counters {
    fn read(pid: u32) -> Self {
        let text = |file: &Path| fs::read_to_string(file).unwrap_or_default();
        let (ran, stopped) = stat(&text(Path::new(&format!("/proc/{pid}/stat"))));
        Counters {
            ran,
            waited: some(&text(Path::new(PRESSURE))),
            stopped,
        }
    }
}

/// User and system time of a process, and whether it is stopped: the 14th, 15th and 3rd word of
/// proc_pid_stat(5).
fn stat(stat: &str) -> (Duration, bool) {
    let words: Vec<&str> = match stat.rsplit_once(") ") {
        Some((_, rest)) => rest.split(' ').collect(),
        None => return (Duration::ZERO, false),
    };
    let ticks = |at: usize| words.get(at).and_then(|word| word.parse::<u64>().ok());
    let ticks = ticks(11).unwrap_or(0) + ticks(12).unwrap_or(0);
    let ran = Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second());
    (ran, matches!(words[0], "T" | "t"))
}

/// `total=` of the line `some`, in microseconds.
fn some(pressure: &str) -> Duration {
    let line = pressure.lines().find_map(|line| line.strip_prefix("some "));
    let total = line.and_then(|line| line.split_once("total=")?.1.trim().parse().ok());
    Duration::from_micros(total.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_could_not_use_does_not_count() {
        let counters = |ran: u64, waited: u64, stopped: bool| Counters {
            ran: Duration::from_millis(ran),
            waited: Duration::from_millis(waited),
            stopped,
        };
        let own = |ran: u64, waited: u64, stopped| {
            let (before, now) = (
                counters(70, 9000, false),
                counters(70 + ran, 9000 + waited, stopped),
            );
            lived(Duration::from_millis(1000), before, now).as_millis()
        };
        // Idle on an idle PC; at work; at work and idle on a busy one.
        assert_eq!(own(10, 0, false), 1000);
        assert_eq!(own(1000, 0, false), 1000);
        assert_eq!(own(900, 1000, false), 900);
        assert_eq!(own(10, 700, false), 300);
        // It got nothing, or was stopped: it is not waited for for ever all the same.
        assert_eq!(own(0, 1000, false), 125);
        assert_eq!(own(0, 0, true), 125);
        // Four processors.
        assert_eq!(own(4000, 500, false), 1000);
    }

    #[test]
    fn reads_what_the_kernel_says() {
        let line = "7 (a) b) T 1 7 7 0 -1 4194560 9 0 0 0 300 45 0 0 20 0 3 0 5 6\n";
        let tick = 1000 / rustix::param::clock_ticks_per_second();
        assert_eq!(stat(line), (Duration::from_millis(345 * tick), true));
        assert_eq!(stat(""), (Duration::ZERO, false));
        let text = "some avg10=87.24 avg60=69.48 avg300=45.40 total=24362984\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=5\n";
        assert_eq!(some(text), Duration::from_micros(24_362_984));
        assert_eq!(some(""), Duration::ZERO);
        let own = std::process::id();
        assert!(!Counters::read(own).stopped);
    }
}
