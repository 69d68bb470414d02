//! The two runs of a boot: `firstboot local` and `firstboot join`.

mod work;

use crate::journal::{Journal, Loaded, Stage};
use crate::media;
use crate::root::Root;
use crate::seed::Seed;
use crate::status::{Reporter, StepState, Verdict};
use std::path::PathBuf;
use std::time::Duration;

pub use work::Work;

/// How long the seed disk may take to appear on a machine that needs it.
const DISK_WAIT: Duration = Duration::from_secs(10);
/// The same on a configured machine, which boots on without one: no longer than this.
const DISK_WAIT_CONFIGURED: Duration = Duration::from_secs(1);
/// How long the last lines may wait for a host that is slow to read. The first run does not
/// wait, because the boot waits for it; the second run sends what it left.
const PORT_WAIT: Duration = Duration::from_secs(2);

/// Where the seed comes from.
#[derive(Debug, Clone)]
pub enum Source {
    /// The disk labelled `CIDATA`.
    Disk,
    /// A folder with the documents.
    Folder(PathBuf),
}

impl Source {
    /// The seed, `None` when there is no seed disk, or why it cannot be used.
    fn read(&self, wait: Duration) -> Result<Option<Seed>, String> {
        let seed = match self {
            Source::Disk => media::find(wait).map(|found| found.map(|found| found.seed)),
            Source::Folder(folder) => media::read_folder(folder).map(Some),
        };
        seed.map_err(|error| error.to_string())
    }
}

/// The first stage. Returns whether all is well; everything else has been reported.
pub fn local(root: &Root, source: &Source) -> bool {
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
    let Some(seed) = source.read(disk_wait(&loaded))? else {
        return local_without_seed(&loaded, reporter);
    };
    if let Loaded::Found(journal) = &loaded {
        if journal.instance == seed.meta_data.instance_id && journal.local.finished {
            introduce(journal, reporter);
            return Ok(());
        }
    }
    let mut work = Work::begin(root, &seed, &loaded, reporter).map_err(words)?;
    if let Loaded::Corrupt(why) = &loaded {
        work.remark(format!("{why}: all steps run again"));
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
    let mut reporter = Reporter::new(root, Stage::Join);
    let result = join_stage(root, source, &mut reporter);
    match &result {
        Ok(quiet) if reporter.state().state != Verdict::Unconfigured => {
            reporter.verdict(Verdict::Configured, None, *quiet);
        }
        Ok(_) => {}
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
            if source.read(DISK_WAIT)?.is_some() {
                return Err(not_after_local("it has not run"));
            }
            reporter.verdict(Verdict::Unconfigured, None, false);
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
    let wait = match journal.join.finished {
        true => DISK_WAIT_CONFIGURED,
        false => DISK_WAIT,
    };
    match source.read(wait)? {
        Some(seed) if seed.meta_data.instance_id != journal.instance => {
            let id = seed.meta_data.instance_id;
            Err(not_after_local(&format!(
                "it did not take up instance {id}"
            )))
        }
        _ if journal.join.finished => Ok(true),
        None => Err(unfinished_without_seed(&journal)),
        Some(seed) => {
            let loaded = Loaded::Found(journal);
            let mut work = Work::begin(root, &seed, &loaded, reporter).map_err(words)?;
            work.stage(Stage::Join, crate::JOIN)?;
            Ok(false)
        }
    }
}

fn load(root: &Root) -> Result<Loaded, String> {
    Journal::load(root).map_err(words)
}

fn disk_wait(loaded: &Loaded) -> Duration {
    match loaded {
        Loaded::Found(journal) if journal.is_finished() => DISK_WAIT_CONFIGURED,
        _ => DISK_WAIT,
    }
}

fn introduce(journal: &Journal, reporter: &mut Reporter) {
    reporter.identify(&journal.name, &journal.instance, step_states(journal));
}

/// The journal's steps as the status shows them.
fn step_states(journal: &Journal) -> Vec<StepState> {
    let of = |stage, steps: &[crate::journal::StepRecord]| {
        let state = move |record: &crate::journal::StepRecord| StepState {
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
