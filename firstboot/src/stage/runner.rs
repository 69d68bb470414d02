//! One seed being made true: who the machine is, and its steps one after the other.

use crate::contract::seed::{Retry, Seed};
use crate::contract::status::{Stage, StepResult, pause_words};
use crate::contract::volumes::Source;
use crate::stage::identity;
use crate::stage::journal::{Journal, Loaded, StepRecord};
use crate::stage::report::{Reporter, with_causes};
use crate::step::{Context, Outcome, RetryLater, Step};
use crate::steps::join::pass;
use crate::system::backoff::{Backoff, chance};
use crate::system::hostname;
use crate::system::root::Root;
use anyhow::Result;
use std::cell::RefCell;
use std::time::{Duration, Instant};

/// The work on one instance.
pub struct StageRunner<'a, 'r> {
    root: &'a Root,
    source: &'a Source,
    seed: &'a Seed,
    journal: Journal,
    identity_locked: Option<String>,
    remarks: Vec<String>,
    reporter: RefCell<&'a mut Reporter<'r>>,
}

impl<'a, 'r> StageRunner<'a, 'r> {
    /// Goes on with the journal of this instance, or begins one. The journal is on disk
    /// before any step runs, because it holds the names that the steps look for.
    pub fn begin(
        root: &'a Root,
        source: &'a Source,
        seed: &'a Seed,
        loaded: &Loaded,
        reporter: &'a mut Reporter<'r>,
    ) -> Result<Self> {
        let instance = &seed.meta_data.instance_id;
        let current = hostname::current(root)?;
        let identity_locked = identity::lock_reason(root, seed, &current)?;
        let journal = match loaded {
            Loaded::Found(journal) if journal.instance == *instance => journal.clone(),
            _ => {
                let name = match (&identity_locked, seed.hostname()) {
                    (None, name) if !name.is_empty() => name,
                    _ => &current,
                };
                let old_names = identity::old_names(root, &current, name, loaded)?;
                let journal = Journal::new(instance, name, old_names);
                journal.save(root)?;
                journal
            }
        };
        reporter.introduce(&journal);
        Ok(StageRunner {
            root,
            source,
            seed,
            journal,
            identity_locked,
            remarks: Vec::new(),
            reporter: RefCell::new(reporter),
        })
    }

    /// Keeps a remark for when the stage has begun.
    pub fn remark(&mut self, text: String) {
        self.remarks.push(text);
    }

    /// Runs a whole stage and marks it finished. The error is the reason in words.
    pub fn stage(&mut self, stage: Stage, steps: &[Step]) -> Result<(), String> {
        self.reporter.borrow_mut().started();
        for text in std::mem::take(&mut self.remarks) {
            self.reporter.borrow_mut().log(&text);
        }
        let result = self.steps(stage, steps).and_then(|()| {
            self.journal.stage(stage).finished = true;
            self.save(stage).map_err(with_causes)
        });
        self.reporter.borrow_mut().ended(result.is_ok());
        result
    }

    /// Runs the steps that the journal does not have yet.
    /// The first that fails ends it.
    pub fn steps(&mut self, stage: Stage, steps: &[Step]) -> Result<(), String> {
        for step in steps {
            if self.journal.stage(stage).is_done(step.name) {
                continue;
            }
            self.reporter.borrow_mut().begin(step.name);
            let start = Instant::now();
            let result = self.until_it_is_done(step, stage);
            let seconds = (start.elapsed().as_secs_f64() * 1000.0).round() / 1000.0;
            let record = match &result {
                Ok(outcome) => {
                    let detail = outcome.detail.clone();
                    StepRecord::now(step.name, outcome.into(), seconds, detail)
                }
                Err(error) => {
                    let detail = Some(format!("{error:#}"));
                    StepRecord::now(step.name, StepResult::Failed, seconds, detail)
                }
            };
            let saved = self.record(stage, &record);
            if result.is_err() || saved.is_ok() {
                self.reporter.borrow_mut().step(&record);
            }
            // The step's own failure is the one to tell.
            result.map_err(|error| format!("step {}: {}", step.name, with_causes(error)))?;
            saved.map_err(with_causes)?;
        }
        Ok(())
    }

    /// Records a step. Not each is written down at once, for each write stays in a clone's disk for good:
    /// what a power cut lets be run again, in the first stage or where nothing was to do, finds that all is
    /// as it should be.
    fn record(&mut self, stage: Stage, record: &StepRecord) -> Result<()> {
        self.journal.stage(stage).put(record.clone());
        match (stage, record.result) {
            (_, StepResult::Unchanged) | (Stage::Local, StepResult::Changed) => Ok(()),
            (Stage::Join, StepResult::Changed) | (_, StepResult::Failed) => self.save(stage),
        }
    }

    /// Writes the journal when all that its steps did is on the disk, so that a power cut never leaves a
    /// record without the deed.
    fn save(&self, stage: Stage) -> Result<()> {
        // What is looked at in the second stage may have been written by a run that was cut.
        if stage == Stage::Join || self.root.others_wrote() {
            self.root.sync_disks()?;
        }
        self.journal.save(self.root)
    }

    /// Runs a step, in the second stage again and again while time may help. A journal entry of
    /// each attempt would only make the disk grow: the status has them.
    fn until_it_is_done(&self, step: &Step, stage: Stage) -> Result<Outcome> {
        let retry = self.retry();
        let backoff = Backoff {
            first: Duration::from_secs(retry.first),
            most: Duration::from_secs(retry.most),
        };
        let start = Instant::now();
        let mut attempt = 1;
        loop {
            let error = match self.one(step, attempt) {
                Err(error) if stage == Stage::Join => error,
                other => return other,
            };
            let Some(later) = error.downcast_ref::<RetryLater>() else {
                return Err(error);
            };
            let pause = backoff.pause(attempt, later.at_least, chance());
            if let Some(limit) = retry.give_up.map(Duration::from_secs) {
                if start.elapsed() + pause > limit {
                    let after = pause_words(limit);
                    return Err(error.context(format!("gave up after {after}, as the seed says")));
                }
            }
            let reason = later.reason.clone();
            self.reporter.borrow_mut().waiting(attempt, pause, &reason);
            self.pause(pause);
            self.reporter.borrow_mut().trying(attempt + 1, &reason);
            attempt += 1;
        }
    }

    /// Until the join is done its ticket must not run out; then it has no use any more.
    fn pause(&self, length: Duration) {
        if self.journal.join.is_done("join") {
            return std::thread::sleep(length);
        }
        let log = |text: &str| self.reporter.borrow_mut().log(text);
        pass::pause(self.root, self.seed, &self.journal.name, length, &log);
    }

    fn retry(&self) -> Retry {
        let cluster = self.seed.cluster();
        cluster.map(|cluster| cluster.retry).unwrap_or_default()
    }

    fn one(&self, step: &Step, attempt: u32) -> Result<Outcome> {
        let log = |text: &str| self.reporter.borrow_mut().log(text);
        let context = Context {
            root: self.root,
            source: self.source,
            seed: self.seed,
            name: self.journal.name.clone(),
            fqdn: identity::fqdn(self.root, self.seed, &self.journal.name)?,
            old_names: self.journal.old_names.clone(),
            unnamed: identity::is_unnamed(self.seed, &self.journal.name),
            identity_locked: self.identity_locked.clone(),
            attempt,
            log: &log,
        };
        (step.run)(&context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::status::Verdict;
    use crate::stage::report::state::State;
    use crate::step::tests::{joining, seed};
    use crate::system::root::tests::tree;
    use std::sync::atomic::{AtomicU32, Ordering};

    static RUNS: AtomicU32 = AtomicU32::new(0);

    fn third_time_lucky(context: &Context) -> Result<Outcome> {
        assert_eq!(context.attempt, RUNS.fetch_add(1, Ordering::SeqCst) + 1);
        match context.attempt {
            3 => Ok(Outcome::changed("at last")),
            _ => Err(RetryLater::because("no quorum").into()),
        }
    }

    fn never(_: &Context) -> Result<Outcome> {
        Err(RetryLater::because("no quorum").into())
    }

    fn at_once(_: &Context) -> Result<Outcome> {
        anyhow::bail!("wrong password")
    }

    /// Runs one step of a machine whose seed says how it retries.
    fn run(stage: Stage, step: Step, retry: &str) -> (Result<(), String>, State) {
        let (folder, root) = tree();
        let seed = seed(&joining(&format!("    retry: {retry}\n")));
        let source = Source::Folder(folder.path().to_owned());
        let mut reporter = Reporter::new(&root, stage);
        let mut runner =
            StageRunner::begin(&root, &source, &seed, &Loaded::Missing, &mut reporter).unwrap();
        let result = runner.stage(stage, &[step]);
        (result, State::load(&root).unwrap())
    }

    #[test]
    fn a_step_is_run_again_while_time_may_help() {
        let step = Step {
            name: "join",
            run: third_time_lucky,
        };
        let (result, state) = run(Stage::Join, step, "{first: 1, most: 1}");
        assert_eq!(result, Ok(()));
        assert_eq!(RUNS.load(Ordering::SeqCst), 3);
        assert_eq!(state.waiting, None);
        assert_eq!(state.steps[0].record.detail.as_deref(), Some("at last"));
    }

    #[test]
    fn it_ends_when_the_seed_says_so_or_the_step_does() {
        let step = |run| Step { name: "join", run };
        let (result, state) = run(
            Stage::Join,
            step(never),
            "{first: 60, most: 60, give_up: 1}",
        );
        assert_eq!(
            result.unwrap_err(),
            "step join: gave up after 1 s, as the seed says\ncaused by: no quorum"
        );
        assert_eq!((state.waiting, state.state), (None, Verdict::Running));
        let (result, _) = run(Stage::Join, step(at_once), "{}");
        assert_eq!(result.unwrap_err(), "step join: wrong password");
        // The boot waits for the first stage, so nothing there is tried twice.
        let (result, _) = run(Stage::Local, step(never), "{}");
        assert_eq!(result.unwrap_err(), "step join: no quorum");
    }
}
