//! For as long as the machine runs: a member that falls out of its cluster is brought back, and one that was
//! held because another machine has its address goes on when that one has gone.

use super::guard;
use super::health::{self, Health};
use super::restart_corosync;
use crate::cluster::corosync::{self, Corosync, services};
use crate::cluster::cut_joins::CutJoins;
use crate::cluster::own_address;
use crate::cluster::pmxcfs::{self, LAG};
use crate::system::backoff::{Backoff, chance};
use crate::system::lock;
use crate::system::root::Root;
use std::time::{Duration, Instant};

/// Held by the one that watches.
const LOCK: &str = "/run/firstboot/watch.lock";
/// How often the node's own files are looked at. A stale corosync disturbs all others every ten
/// seconds, so this is short; one look reads one small file while all is well.
const TICK: Duration = Duration::from_secs(5);
/// The pauses between two questions to other members, while it stays ill.
const ASKING: Backoff = Backoff {
    first: Duration::from_secs(5),
    most: Duration::from_secs(120),
};
/// The pauses before pmxcfs is restarted once more in a boot.
const RESTARTING: Backoff = Backoff {
    first: Duration::from_secs(300),
    most: Duration::from_secs(3600),
};
/// How long nobody else must answer for this node's address before corosync starts: the machine that
/// has it may only have lost its network for a moment.
const FREE: Duration = Duration::from_secs(60);
/// How often the votes of nodes whose join was cut are looked at.
const VOTES: Duration = Duration::from_secs(30);

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deed {
    Nothing,
    /// Ask the others for a newer configuration; whether corosync is started in any case.
    Ask {
        stopped: bool,
    },
    RestartFileSystem,
}

/// What was seen and done so far.
#[derive(Default)]
struct Watcher {
    ask_after: Option<Instant>,
    asked: u32,
    connected: usize,
    hangs_since: Option<Instant>,
    restart_after: Option<Instant>,
    restarts: u32,
    /// Whether it has been a whole member in this boot: then it is the one that stays, whoever else
    /// has its address.
    was_well: bool,
    /// Since when nobody else answers for the address, while corosync is held for it.
    free_since: Option<Instant>,
}

impl Watcher {
    /// The next deed for what is seen at this moment; `chance` spreads the pauses.
    fn next(&mut self, health: Health, now: Instant, chance: f64) -> Deed {
        if health != Health::FileSystemHangs {
            self.hangs_since = None;
        }
        self.was_well |= health == Health::Well;
        match health {
            Health::NoMember | Health::Well | Health::Other => {
                (self.ask_after, self.asked, self.connected) = (None, 0, 0);
                Deed::Nothing
            }
            Health::FileSystemHangs => {
                let since = *self.hangs_since.get_or_insert(now);
                let may = self.restart_after.is_none_or(|after| now >= after);
                if now.duration_since(since) < LAG || !may {
                    return Deed::Nothing;
                }
                Deed::RestartFileSystem
            }
            Health::Stopped => self.ask(now, chance, true),
            Health::Inquorate { connected } => {
                // Somebody has come within reach, who may know more.
                if connected > self.connected {
                    (self.ask_after, self.asked) = (None, 0);
                }
                self.connected = connected;
                self.ask(now, chance, false)
            }
        }
    }

    /// Whether a node that is held may go on, which nobody else answers for at this moment, or somebody
    /// `taken`.
    fn is_free(&mut self, taken: bool, now: Instant) -> bool {
        if taken {
            self.free_since = None;
            return false;
        }
        now.duration_since(*self.free_since.get_or_insert(now)) >= FREE
    }

    /// pmxcfs was restarted; the next time is not soon.
    fn restarted(&mut self, now: Instant, chance: f64) {
        self.restarts += 1;
        self.restart_after = Some(now + RESTARTING.pause(self.restarts, Duration::ZERO, chance));
        self.hangs_since = None;
    }

    fn ask(&mut self, now: Instant, chance: f64, stopped: bool) -> Deed {
        if self.ask_after.is_some_and(|after| now < after) {
            return Deed::Nothing;
        }
        self.asked += 1;
        self.ask_after = Some(now + ASKING.pause(self.asked, Duration::ZERO, chance));
        Deed::Ask { stopped }
    }
}

/// Watches over this node until the machine is switched off. Returns at once in a root folder, and
/// where another firstboot watches. `name` is asked for each time, because a first boot gives it;
/// `tell` takes what was done, and why something cannot be done yet.
pub(crate) fn watch(root: &Root, name: &dyn Fn() -> Option<String>, tell: &dyn Fn(&str)) {
    if !root.is_live() {
        return;
    }
    let Ok(Some(_lock)) = lock::take(root, LOCK, Duration::ZERO) else {
        return;
    };
    let mut watcher = Watcher::default();
    let mut cut = CutJoins::default();
    let mut votes_after = Instant::now();
    let mut told = String::new();
    loop {
        std::thread::sleep(TICK.mul_f64(0.8 + 0.4 * chance()));
        let Some(name) = name() else { continue };
        let health = health::look(root, &name);
        let deed = watcher.next(health, Instant::now(), chance());
        let mut words = match deed {
            _ if own_address::held(root).is_some() => go_on_when_free(root, &name, &mut watcher),
            Deed::Nothing => None,
            Deed::Ask { stopped } => bring_up_to_date(root, &name, stopped, watcher.was_well),
            // In the middle of a join, which looks after pmxcfs itself, it is for the next look.
            Deed::RestartFileSystem => services(root, Duration::ZERO).map(|_busy| {
                watcher.restarted(Instant::now(), chance());
                pmxcfs::restart(root)
            }),
        };
        if health == Health::Well {
            told.clear();
            if Instant::now() >= votes_after {
                votes_after = Instant::now() + VOTES.mul_f64(0.5 + chance());
                words = cut.take_votes(root, &name);
            }
        }
        // Who answered, and which version, may differ each time; what is the matter does not.
        let kind = |words: &str| words.split(':').next().unwrap_or_default().to_owned();
        if let Some(words) = words.filter(|words| kind(words) != told) {
            tell(&words);
            told = kind(&words);
        }
    }
}

/// Asks again who has the address of a node that is held for it, and starts its corosync when that is
/// this one alone.
fn go_on_when_free(root: &Root, name: &str, watcher: &mut Watcher) -> Option<String> {
    // What cannot be asked cannot be answered for ever.
    let taken = other_machine(root, name).unwrap_or_else(|error| Some(format!("{error:#}")));
    if let Some(words) = &taken {
        // The join says it, and whoever asks for the status.
        let _ = own_address::note(root, words);
    }
    if !watcher.is_free(taken.is_some(), Instant::now()) {
        return taken;
    }
    let _busy = services(root, Duration::ZERO)?;
    let started = || -> anyhow::Result<Option<String>> {
        // As at the boot: an error of it is told, and keeps nothing from starting.
        let words = guard::guard(root, name).unwrap_or_else(|error| Some(format!("{error:#}")));
        if own_address::held(root).is_some() || corosync::is_held(root) {
            return Ok(words);
        }
        if corosync::state(root)? != Corosync::Active {
            root.query("systemctl", &["reset-failed", "corosync"])?;
            root.systemctl(&["start", "corosync"])?;
        }
        let free =
            "nobody else answers for this machine's address any more: corosync runs".to_owned();
        Ok(Some(
            words.map_or(free.clone(), |words| format!("{free}\n{words}")),
        ))
    };
    watcher.free_since = None;
    started().unwrap_or_else(|error| Some(format!("corosync cannot be started: {error:#}")))
}

/// Who else has an address of the node `name` in the cluster, in words.
fn other_machine(root: &Root, name: &str) -> anyhow::Result<Option<String>> {
    let own = corosync::own_conf(root)?;
    own_address::conflict(root, &guard::addresses(&own, name))
}

/// What was done, or why it cannot be done yet. Nothing in the middle of a join, which looks after its
/// corosync itself.
fn bring_up_to_date(root: &Root, name: &str, stopped: bool, was_well: bool) -> Option<String> {
    let _busy = services(root, Duration::ZERO)?;
    // The tunnel may have come up after the guard had asked. A failure of the question was told by it.
    if let (false, Ok(Some(words))) = (was_well, other_machine(root, name)) {
        return Some(match own_address::hold(root, &words, true) {
            Ok(()) => words,
            Err(error) => format!("{words}. It cannot be stopped: {error:#}"),
        });
    }
    restart_corosync::with_newest_conf(root, name, stopped).unwrap_or_else(|error| {
        Some(match stopped {
            true => format!("corosync has stopped, and cannot be brought back yet: {error:#}"),
            false => format!("{error:#}"),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn a_stopped_corosync_is_mended_at_once_and_then_with_pauses() {
        let (mut watcher, start) = (Watcher::default(), Instant::now());
        let deeds: Vec<u64> = (0..600)
            .step_by(5)
            .filter(|second| {
                watcher.next(Health::Stopped, at(start, *second), 0.5) != Deed::Nothing
            })
            .collect();
        assert_eq!(deeds, [0, 5, 15, 35, 75, 155, 275, 395, 515]);
        assert_eq!(
            watcher.next(Health::Well, at(start, 600), 0.5),
            Deed::Nothing
        );
        let again = watcher.next(Health::Stopped, at(start, 601), 0.5);
        assert_eq!(again, Deed::Ask { stopped: true });
    }

    /// The one that is at work stays; the other one goes on when nobody has answered for a minute.
    #[test]
    fn of_two_with_one_address_the_later_one_waits() {
        let (mut watcher, start) = (Watcher::default(), Instant::now());
        let mut free = |taken, second| watcher.is_free(taken, at(start, second));
        assert!(!free(false, 0) && !free(false, 55));
        assert!(!free(true, 58) && !free(false, 60) && !free(false, 119));
        assert!(free(false, 120));
        assert!(!watcher.was_well);
        watcher.next(Health::Well, start, 0.5);
        watcher.next(Health::Inquorate { connected: 0 }, at(start, 5), 0.5);
        assert!(watcher.was_well);
    }

    #[test]
    fn who_comes_within_reach_is_asked_at_once() {
        let (mut watcher, start) = (Watcher::default(), Instant::now());
        let mut ask = |connected, second| {
            watcher.next(Health::Inquorate { connected }, at(start, second), 0.5)
        };
        let asked = Deed::Ask { stopped: false };
        for second in [0, 5, 15, 35, 75] {
            assert_eq!(ask(0, second), asked, "{second}");
        }
        assert_eq!(ask(0, 80), Deed::Nothing);
        assert_eq!(ask(2, 85), asked);
        assert_eq!(ask(1, 86), Deed::Nothing);
        assert_eq!(ask(2, 87), asked);
    }

    #[test]
    fn pmxcfs_may_lag_and_is_restarted_once_and_then_rarely() {
        let (mut watcher, start) = (Watcher::default(), Instant::now());
        let mut seconds = Vec::new();
        for second in (0..2000).step_by(5) {
            let deed = watcher.next(Health::FileSystemHangs, at(start, second), 0.5);
            if deed == Deed::RestartFileSystem {
                seconds.push(second);
                watcher.restarted(at(start, second), 0.5);
            }
        }
        assert_eq!(seconds, [20, 320, 920]);
        // While a join is at work it stays due.
        let mut watcher = Watcher::default();
        for second in [0, 20, 25] {
            let deed = watcher.next(Health::FileSystemHangs, at(start, second), 0.5);
            assert_eq!(deed == Deed::RestartFileSystem, second > 0);
        }
        // It came and went: that is no hanging.
        let mut watcher = Watcher::default();
        for second in (0..200).step_by(15) {
            let health = match second % 2 {
                0 => Health::FileSystemHangs,
                _ => Health::Well,
            };
            assert_eq!(watcher.next(health, at(start, second), 0.5), Deed::Nothing);
        }
    }
}
