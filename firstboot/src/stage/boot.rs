//! The two runs of a boot: `firstboot local` and `firstboot join`.

use crate::cluster::cut_joins;
use crate::cluster::own_address;
use crate::contract::seed::Seed;
use crate::contract::status::{Stage, Verdict};
use crate::contract::volumes::Source;
use crate::stage::journal::{Journal, Loaded};
use crate::stage::recorded;
use crate::stage::report::{Reporter, with_causes};
use crate::stage::runner::StageRunner;
use crate::stage::seed::read_seed;
use crate::steps::secret;
use crate::system::backoff::{Backoff, chance};
use crate::system::lock;
use crate::system::root::Root;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::time::Duration;

/// How long the last lines may wait for a host that is slow to read. The first run does not
/// wait, because the boot waits for it; the second run sends what it left.
const PORT_WAIT: Duration = Duration::from_secs(2);

/// How long another second stage that has its verdict may still talk to the status port.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// How often the host is told why a member waits for its address.
const HELD: Backoff = Backoff {
    first: Duration::from_secs(10),
    most: Duration::from_secs(60),
};
/// Held while the second stage is at runner.
const LOCK: &str = "/run/firstboot/join.lock";

/// The first stage. Returns whether all is well; everything else has been reported.
pub fn local(root: &Root, source: &Source) -> bool {
    guarded(root, Stage::Local, || local_reported(root, source))
}

/// Runs a stage; a panic in it is a failure that is told like any other.
fn guarded(root: &Root, stage: Stage, run: impl FnOnce() -> bool) -> bool {
    let panic = match std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)) {
        Ok(well) => return well,
        Err(panic) => panic,
    };
    // A message with values in it may quote a secret, so only fixed words are told. The place
    // goes to standard error and so to the system's journal.
    let words = panic.downcast_ref::<&str>().copied();
    let reason = format!(
        "firstboot crashed, which is a bug in it: {}",
        words.unwrap_or("see its unit's journal")
    );
    let mut reporter = Reporter::new(root, stage);
    reporter.verdict(Verdict::Failed, Some(&reason), false);
    reporter.close(PORT_WAIT);
    false
}

fn local_reported(root: &Root, source: &Source) -> bool {
    let mut reporter = Reporter::new(root, Stage::Local);
    let result = local_stage(root, source, &mut reporter);
    if let Err(reason) = &result {
        reporter.verdict(Verdict::Failed, Some(reason), false);
    }
    reporter.close(Duration::ZERO);
    result.is_ok()
}

fn local_stage(root: &Root, source: &Source, reporter: &mut Reporter) -> Result<(), String> {
    if let Err(error) = root.remove_unfinished() {
        // A machine that is whole boots all the same.
        let _ = writeln!(std::io::stderr(), "firstboot: {error:#}");
    }
    let loaded = load(root)?;
    let Some(seed) = read_seed(root, source, &loaded)? else {
        return local_without_seed(&loaded, reporter);
    };
    if let Loaded::Found(journal) = &loaded {
        if journal.instance == seed.meta_data.instance_id && journal.local.finished {
            reporter.introduce(journal);
            return Ok(());
        }
    }
    let mut runner =
        StageRunner::begin(root, source, &seed, &loaded, reporter).map_err(with_causes)?;
    if let Loaded::Corrupt(why) = &loaded {
        runner.remark(format!("{why}: all steps run again"));
    }
    if seed.meta_data.is_derived() {
        runner.remark("the seed has no instance-id: one was made from its content".to_owned());
    }
    for key in &seed.ignored {
        runner.remark(format!("ignored in the seed: {key}"));
    }
    runner.stage(Stage::Local, crate::LOCAL)
}

fn local_without_seed(loaded: &Loaded, reporter: &mut Reporter) -> Result<(), String> {
    match loaded {
        Loaded::Found(journal) if journal.local.finished => reporter.introduce(journal),
        Loaded::Found(journal) => {
            reporter.introduce(journal);
            return Err(unfinished_without_seed(journal));
        }
        Loaded::Corrupt(why) => {
            return Err(format!("{why}, and no seed disk was found to begin again"));
        }
        Loaded::Missing => reporter.verdict(Verdict::Unconfigured, None, false),
    }
    Ok(())
}

/// The second stage. Returns whether all is well; everything else has been reported.
pub fn join(root: &Root, source: &Source) -> bool {
    guarded(root, Stage::Join, || join_reported(root, source))
}

fn join_reported(root: &Root, source: &Source) -> bool {
    let Some(_lock) = lock(root) else {
        return false;
    };
    let mut reporter = Reporter::new(root, Stage::Join);
    let result = join_stage(root, source, &mut reporter);
    match &result {
        Ok(quiet) if reporter.state().state != Verdict::Unconfigured => {
            reporter.verdict(Verdict::Configured, None, *quiet);
        }
        // Said once more, because the first time was long before the login prompt.
        Ok(_) => reporter.verdict(Verdict::Unconfigured, None, false),
        Err(reason) => reporter.verdict(Verdict::Failed, Some(reason), false),
    }
    reporter.close(PORT_WAIT);
    result.is_ok()
}

/// Whether the machine was configured before, so that there is nothing new to say.
fn join_stage(root: &Root, source: &Source, reporter: &mut Reporter) -> Result<bool, String> {
    let journal = match load(root)? {
        Loaded::Found(journal) => journal,
        Loaded::Corrupt(why) => return Err(not_after_local(&why)),
        Loaded::Missing if reporter.state().state == Verdict::Unconfigured => return Ok(true),
        Loaded::Missing => {
            if read_seed(root, source, &Loaded::Missing)?.is_some() {
                return Err(not_after_local("it has not run"));
            }
            reporter.unconfigured();
            return Ok(true);
        }
    };
    reporter.introduce(&journal);
    if !journal.local.finished {
        let failed = journal.local.failed();
        return Err(not_after_local(&match failed {
            Some(step) => {
                let detail = step.detail.as_deref().unwrap_or_default();
                format!("step {}: {detail}", step.step)
            }
            None => "it did not finish".to_owned(),
        }));
    }
    let seed = read_seed(root, source, &Loaded::Found(journal.clone()))?;
    let other = |seed: &&Seed| seed.meta_data.instance_id != journal.instance;
    if let Some(seed) = seed.as_ref().filter(other) {
        let id = &seed.meta_data.instance_id;
        let why = format!("it did not take up instance {id}");
        return Err(not_after_local(&why));
    }
    let lost = match journal.join.finished {
        true => recorded::lost(root, &journal, seed.as_ref()),
        false => None,
    };
    let is_done = journal.join.finished && lost.is_none();
    let Some(seed) = seed else {
        return match (is_done, lost) {
            (true, _) => Ok(!wait_while_held(root, reporter)),
            (false, Some(lost)) => Err(format!("{lost}, and its seed disk is gone")),
            (false, None) => Err(unfinished_without_seed(&journal)),
        };
    };
    if is_done {
        secret::again(&seed, source);
        if let Some(cluster) = seed.cluster() {
            // Which nodes of the lab have no vote may have changed since.
            cut_joins::remember(root, cluster).map_err(with_causes)?;
        }
        return Ok(!wait_while_held(root, reporter));
    }
    let loaded = Loaded::Found(match lost {
        Some(_) => recorded::before_the_join(journal),
        None => journal,
    });
    let mut runner =
        StageRunner::begin(root, source, &seed, &loaded, reporter).map_err(with_causes)?;
    if let Some(lost) = lost {
        runner.remark(format!("{lost}: it joins again"));
    }
    runner.stage(Stage::Join, crate::JOIN)?;
    Ok(false)
}

/// Waits until nobody else has the address of a member, and says why; whether it had to. Who asks the
/// network, and starts corosync then, is `firstboot watch`.
fn wait_while_held(root: &Root, reporter: &mut Reporter) -> bool {
    reporter.begin("own-address");
    for attempt in 1.. {
        let Some(reason) = own_address::held(root) else {
            return attempt > 1;
        };
        let pause = HELD.pause(attempt, Duration::ZERO, chance());
        reporter.waiting(attempt, pause, &reason);
        std::thread::sleep(pause);
        reporter.trying(attempt + 1, &reason);
    }
    true
}

/// The lock of the second stage, for as long as it is kept; `None`, and a line on standard error,
/// when another one has it.
fn lock(root: &Root) -> Option<OwnedFd> {
    let why = match lock::take(root, LOCK, LAST_WORDS) {
        Ok(Some(file)) => return Some(file),
        Ok(None) => "the join is already running; see: firstboot status".to_owned(),
        Err(error) => format!("cannot take {LOCK}: {error:#}"),
    };
    let _ = writeln!(std::io::stderr(), "firstboot: {why}");
    None
}

/// Reads the journal; the error is the reason in words.
pub fn load(root: &Root) -> Result<Loaded, String> {
    Journal::load(root).map_err(with_causes)
}

fn not_after_local(why: &str) -> String {
    format!("the join does not run because the local stage failed: {why}")
}

fn unfinished_without_seed(journal: &Journal) -> String {
    format!(
        "the configuration of {} (instance {}) is not finished, and its seed disk is gone",
        journal.name, journal.instance
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stage::report::state::State;
    use crate::system::root::tests::tree;

    #[test]
    fn a_panic_is_a_failure_that_is_told() {
        let (_folder, root) = tree();
        assert!(!guarded(&root, Stage::Local, || panic!("out of thin air")));
        let state = State::load(&root).unwrap();
        assert_eq!(state.state, Verdict::Failed);
        let reason = "firstboot crashed, which is a bug in it: out of thin air";
        assert_eq!(state.reason.as_deref(), Some(reason));
    }
}
