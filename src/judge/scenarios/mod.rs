//! Runs scenarios: in phases, several at a time, and says what came of each as it comes.
//!
//! What is chosen and in which order is `scenario`'s to say, what an ending means `verdict`'s. No
//! result is kept here: whoever needs it later keeps what it needs of it.

mod one;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use crate::id::ScenarioId;
use crate::process::{Cancel, Stream};
use crate::scenario::{Entry, Phase};
use crate::verdict::{Judged, Obstacle, Satisfaction, Verdict};

use super::{Fixtures, Place};
use one::Judge;

/// How scenarios are run.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The time limit of one attempt of a scenario that has none of its own.
    pub timeout: Duration,
    /// The time limit of every attempt, whatever the scenario says; none leaves it its own.
    pub timeout_override: Option<Duration>,
    /// How many run at a time; 0 counts as 1.
    pub jobs: usize,
    /// The time between TERM and KILL when one has to end.
    pub grace: Duration,
    /// How many more attempts a failure gets, whatever the scenario says; none leaves it its own.
    pub retries: Option<u32>,
    /// How often each evaluation is run, whatever comes of it; all have to pass. 0 counts as 1, and
    /// with more than 1 there are no retries.
    pub repeat: u32,
    /// Whether nothing more begins once a scenario is unsatisfied.
    pub fail_fast: bool,
    /// The score that the others have to reach before slow scenarios are run; none runs them
    /// whatever the others come to.
    pub threshold: Option<f64>,
    /// Whether output is handed on as it comes.
    pub live: bool,
    /// How often `Progress::Tick` comes at least; none means never.
    pub tick: Option<Duration>,
    /// What the canaries of evaluations are made from, see `scenario::canary`; none marks none.
    pub canary: Option<String>,
    /// Where evidence is copied to, each scenario's to a directory of its id; none collects none.
    pub evidence: Option<EvidenceDir>,
}

impl Settings {
    /// Returns settings by which evaluations are run one at a time and once, each for at most
    /// `timeout`, with 2 s between TERM and KILL.
    pub fn new(timeout: Duration) -> Self {
        Self {
            timeout,
            timeout_override: None,
            jobs: 1,
            grace: Duration::from_secs(2),
            retries: None,
            repeat: 1,
            fail_fast: false,
            threshold: None,
            live: false,
            tick: None,
            canary: None,
            evidence: None,
        }
    }
}

/// Where evidence is copied to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EvidenceDir {
    /// The directory.
    pub path: PathBuf,
    /// The directory as results name it.
    pub shown: String,
}

/// What is to be judged, and where.
#[derive(Debug, Clone, Copy)]
pub struct Work<'a> {
    /// The scenarios.
    pub entries: &'a [&'a Entry],
    /// In which order they are begun; each index of `entries` stands in one phase.
    pub phases: &'a [Phase],
    /// Where they are judged.
    pub place: &'a Place,
    /// What they need to have running.
    pub fixtures: &'a Fixtures,
    /// Those that were judged earlier in this run, and so can't be skipped now.
    pub judged_before: &'a BTreeSet<ScenarioId>,
    /// What other scenarios of the same judgement came to already.
    pub sum_before: Satisfaction,
}

/// What goes on while scenarios are judged.
#[derive(Debug)]
pub enum Progress<'a> {
    /// The scenario's first command is about to run; does not come for one of which nothing is run.
    Started(&'a Entry),
    /// Its evaluation wrote this; comes only where output is handed on.
    Output(&'a Entry, Stream, Vec<u8>),
    /// Some time has passed.
    Tick,
    /// The verdict is there; comes once for every scenario, in the order of their ends.
    Judged(Judged),
}

/// Judges `work`, and returns what all of it came to, `sum_before` included.
///
/// A phase begins when the one before is over; in it `settings.jobs` run at a time, or one where it
/// is `alone`. Fixtures are started as they are needed; those of a longer scope than a scenario are
/// the caller's to stop. `progress` is called by one thread at a time, and before a worker goes on to
/// its next scenario. Once the token is tripped, what runs is ended and what has not begun is
/// `NotRun`; with `fail_fast` what has not begun is `NotRun` after the first that is unsatisfied;
/// slow phases are `Deferred` where the rest does not reach the threshold.
pub fn judge_scenarios(
    work: Work<'_>,
    settings: &Settings,
    cancel: &Cancel,
    progress: &mut (dyn FnMut(Progress<'_>) + Send),
) -> Satisfaction {
    let mut sum = work.sum_before;
    let stop = AtomicBool::new(false);
    // What the others came to when the first slow one was due; slow ones do not decide on slow ones.
    let mut others = None;
    for phase in work.phases {
        let is_over = cancel.tripped().is_some() || stop.load(Ordering::SeqCst);
        let deferred = phase.is_slow && !is_over && is_put_off(settings, others.get_or_insert(sum));
        let obstacle = deferred.then_some(Obstacle::Deferred);
        let jobs = if phase.alone { 1 } else { settings.jobs };
        let judge = Judge { work, settings, cancel, stop: &stop };
        run_phase(judge, &phase.entries, jobs, obstacle.as_ref(), &mut |one| {
            if let Progress::Judged(judged) = &one {
                sum.add(judged);
            }
            progress(one);
        });
    }
    sum
}

/// Decides whether slow scenarios have to wait for a better day: the others do not reach the
/// threshold. Where no other counts, nothing stands in their way.
fn is_put_off(settings: &Settings, others: &Satisfaction) -> bool {
    settings.threshold.is_some_and(|threshold| {
        others.passed + others.failed + others.undecided > 0 && !others.reaches(threshold)
    })
}

fn run_phase(
    judge: Judge<'_>,
    order: &[usize],
    jobs: usize,
    obstacle: Option<&Obstacle>,
    progress: &mut (dyn FnMut(Progress<'_>) + Send),
) {
    let next = AtomicUsize::new(0);
    let entries = judge.work.entries;
    let listener = Listener(Mutex::new(progress));
    std::thread::scope(|scope| {
        // Nothing is sent: it is open for as long as a worker is at work.
        let (working, over) = mpsc::channel::<()>();
        for _ in 0..jobs.clamp(1, order.len().max(1)) {
            let (working, next, listener) = (working.clone(), &next, &listener);
            scope.spawn(move || {
                let _working = working;
                while let Some(at) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let judged = match obstacle {
                        Some(why) => undecided(entries[*at], why.clone()),
                        None => judge.judge(entries[*at], listener),
                    };
                    if !listener.tell(Progress::Judged(judged)) {
                        break;
                    }
                }
            });
        }
        drop(working);
        if let Some(tick) = judge.settings.tick {
            while over.recv_timeout(tick) == Err(RecvTimeoutError::Timeout) {
                listener.tell(Progress::Tick);
            }
        }
    });
}

/// Who is told of what goes on, by one worker at a time and on its thread: to wake another one
/// takes as long as a tenth of an evaluation that does nothing, and what was told to nobody yet a
/// kill would lose.
struct Listener<'a>(Mutex<&'a mut (dyn FnMut(Progress<'_>) + Send)>);

impl Listener<'_> {
    /// Returns whether somebody listens still: the caller may have panicked at what it was told.
    fn tell(&self, one: Progress<'_>) -> bool {
        let Ok(mut progress) = self.0.lock() else { return false };
        progress(one);
        true
    }
}

fn undecided(entry: &Entry, why: Obstacle) -> Judged {
    Judged::of(entry, Verdict::Undecided { why }, Vec::new())
}
