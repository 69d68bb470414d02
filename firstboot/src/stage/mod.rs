//! The runs of a boot: `firstboot local` and `firstboot join`, and on a member `guard` and `watch`.

pub mod console;
pub mod journal;
pub mod port;
mod recorded;
mod retry;
mod runner;
pub mod show;
pub mod status;

use crate::contract::seed::Seed;
use crate::contract::volumes::{self, MediaError, Patience, Source};
use crate::member;
use crate::stage::console::Console;
use crate::stage::journal::{Journal, Loaded, Stage};
use crate::stage::status::{Reporter, StepState, Verdict};
use crate::steps::secret;
use crate::steps::votes::dead;
use crate::system::root::Root;
use std::time::Duration;

pub use retry::retry;
pub use runner::Work;

/// The longest that a seed disk may take to appear.
const DISK_WAIT: Duration = Duration::from_secs(10);
/// Where the seed is known to be needed.
const NEEDED: Patience = Patience {
    most: DISK_WAIT,
    quiet: DISK_WAIT,
};
/// On a machine that has never seen one. A CD-ROM drive comes a moment after its controller;
/// an unconfigured clone is to boot on without a delay that anybody notices.
const UNKNOWN: Patience = Patience {
    most: DISK_WAIT,
    quiet: Duration::from_millis(1500),
};
/// On a configured machine, which boots on without one.
const NOT_NEEDED: Patience = Patience {
    most: DISK_WAIT,
    quiet: Duration::from_millis(200),
};
/// How long the last lines may wait for a host that is slow to read. The first run does not
/// wait, because the boot waits for it; the second run sends what it left.
const PORT_WAIT: Duration = Duration::from_secs(2);

/// The seed, `None` when there is no seed disk, or why it cannot be used.
fn read_seed(source: &Source, loaded: &Loaded) -> Result<Option<Seed>, String> {
    let (patience, needed) = match loaded {
        Loaded::Found(journal) if journal.is_finished() => (NOT_NEEDED, false),
        Loaded::Found(_) | Loaded::Corrupt(_) => (NEEDED, true),
        Loaded::Missing => (UNKNOWN, true),
    };
    let seed = match source {
        Source::Disk => volumes::find(patience).map(|found| found.map(|found| found.seed)),
        Source::Folder(folder) => volumes::read_folder(folder).map(Some),
    };
    match seed {
        // Some disk of a configured machine is broken: that is not for firstboot to say.
        Err(MediaError::Unreadable { .. }) if !needed => Ok(None),
        other => other.map_err(|error| error.to_string()),
    }
}

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
        "firstboot itself broke, which is an error in it: {}",
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
    let loaded = load(root)?;
    let Some(seed) = read_seed(source, &loaded)? else {
        return local_without_seed(&loaded, reporter);
    };
    if let Loaded::Found(journal) = &loaded {
        if journal.instance == seed.meta_data.instance_id && journal.local.finished {
            introduce(journal, reporter);
            return Ok(());
        }
    }
    let mut work = Work::begin(root, source, &seed, &loaded, reporter).map_err(words)?;
    if let Loaded::Corrupt(why) = &loaded {
        work.remark(format!("{why}: all steps run again"));
    }
    if seed.meta_data.is_derived() {
        work.remark("the seed has no instance-id: one was made from its content".to_owned());
    }
    for key in &seed.ignored {
        work.remark(format!("ignored in the seed: {key}"));
    }
    work.stage(Stage::Local, crate::LOCAL)
}

fn local_without_seed(loaded: &Loaded, reporter: &mut Reporter) -> Result<(), String> {
    match loaded {
        Loaded::Found(journal) if journal.local.finished => introduce(journal, reporter),
        Loaded::Found(journal) => {
            introduce(journal, reporter);
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

/// Before corosync starts, on a member; see [`member::guard`]. Returns whether all is well; nothing
/// waits for that.
pub fn guard(root: &Root) -> bool {
    let Some(name) = name(root) else {
        return true;
    };
    let (words, well) = match member::guard::guard(root, &name) {
        Ok(words) => (words, true),
        Err(error) => (Some(format!("before corosync starts: {error:#}")), false),
    };
    if let Some(words) = words {
        Console::new(root).say(&words);
    }
    well
}

/// Until the machine is switched off: watches over the membership, if there is one.
pub fn watch(root: &Root) {
    member::watch::watch(root, &|| name(root));
}

/// The name that this machine was given; `None` before it has one.
fn name(root: &Root) -> Option<String> {
    match load(root) {
        Ok(Loaded::Found(journal)) => Some(journal.name),
        // A member is looked after, whatever became of the journal.
        _ => {
            let name = runner::current_name(root).ok()?;
            (!name.is_empty()).then_some(name)
        }
    }
}

fn join_reported(root: &Root, source: &Source) -> bool {
    let Some(_lock) = retry::lock(root) else {
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
            if read_seed(source, &Loaded::Missing)?.is_some() {
                return Err(not_after_local("it has not run"));
            }
            reporter.unconfigured();
            return Ok(true);
        }
    };
    introduce(&journal, reporter);
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
    let loaded = Loaded::Found(journal.clone());
    match read_seed(source, &loaded)? {
        Some(seed) if seed.meta_data.instance_id != journal.instance => {
            let id = seed.meta_data.instance_id;
            Err(not_after_local(&format!(
                "it did not take up instance {id}"
            )))
        }
        seed if journal.join.finished => {
            let Some(lost) = recorded::lost(root, &journal, seed.as_ref()) else {
                if let Some(seed) = seed {
                    secret::again(&seed, source);
                    if let Some(cluster) = seed.cluster() {
                        // Which nodes of the lab have no vote may have changed since.
                        dead::remember(root, cluster).map_err(words)?;
                    }
                }
                return Ok(true);
            };
            let Some(seed) = seed else {
                return Err(format!("{lost}, and its seed disk is gone"));
            };
            let loaded = Loaded::Found(recorded::before_the_join(journal));
            let mut work = Work::begin(root, source, &seed, &loaded, reporter).map_err(words)?;
            work.remark(format!("{lost}: it joins again"));
            work.stage(Stage::Join, crate::JOIN)?;
            Ok(false)
        }
        None => Err(unfinished_without_seed(&journal)),
        Some(seed) => {
            let mut work = Work::begin(root, source, &seed, &loaded, reporter).map_err(words)?;
            work.stage(Stage::Join, crate::JOIN)?;
            Ok(false)
        }
    }
}

fn load(root: &Root) -> Result<Loaded, String> {
    Journal::load(root).map_err(words)
}

fn introduce(journal: &Journal, reporter: &mut Reporter) {
    reporter.identify(&journal.name, &journal.instance, step_states(journal));
}

/// The journal's steps as the status shows them.
fn step_states(journal: &Journal) -> Vec<StepState> {
    let of = |stage, steps: &[crate::stage::journal::StepRecord]| {
        let state = move |record: &crate::stage::journal::StepRecord| StepState {
            stage,
            record: record.clone(),
        };
        steps.iter().map(state).collect::<Vec<_>>()
    };
    let mut states = of(Stage::Local, &journal.local.steps);
    states.extend(of(Stage::Join, &journal.join.steps));
    states
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

/// An error with its causes, one a line.
fn words(error: anyhow::Error) -> String {
    let causes: Vec<String> = error.chain().map(ToString::to_string).collect();
    causes.join("\ncaused by: ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stage::status::State;

    #[test]
    fn a_panic_is_a_failure_that_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::new(folder.path());
        assert!(!guarded(&root, Stage::Local, || panic!("out of thin air")));
        let state = State::load(&root).unwrap();
        assert_eq!(state.state, Verdict::Failed);
        let reason = "firstboot itself broke, which is an error in it: out of thin air";
        assert_eq!(state.reason.as_deref(), Some(reason));
    }
}
