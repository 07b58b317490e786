//! What people and machines see of a judgement: readers of it, several at once.
//!
//! A reader is told what goes on as it goes on, and keeps no output of a scenario in memory.
//! Nothing here decides anything; what a judgement comes to is `verdict`'s to say.

mod describe;
mod excerpt;
mod human;
mod json;
mod junit;
mod listed;
mod live;
mod spool;
mod target;
#[cfg(test)]
pub(in crate::report) mod testing;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::id::ScenarioId;
use crate::process::Stream;
use crate::scenario::Entry;
use crate::verdict::{Judged, Satisfaction};

use super::WriteError;
use super::compare::Comparison;

pub use describe::describe;
pub use excerpt::excerpt;
pub use human::{GithubLog, HumanReporter, Manner, summary};
pub use json::{JsonReporter, JsonlReporter};
pub use junit::JunitReporter;
pub use listed::Listed;
pub use target::Target;

/// Reads a judgement as it goes on.
///
/// No method fails: a report that can't be written is told by [`JudgementReporter::close`], and
/// the judgement goes on without it.
pub trait JudgementReporter: Send {
    /// Is told what is about to be judged; comes first, and once.
    fn begun(&mut self, begun: &Begun<'_>) {
        let _ = begun;
    }

    /// Is told that the first command of a scenario is about to run.
    fn started(&mut self, entry: &Entry) {
        let _ = entry;
    }

    /// Is handed what a scenario writes, as it is written; only where its output is passed through.
    fn output(&mut self, entry: &Entry, stream: Stream, bytes: &[u8]) {
        let _ = (entry, stream, bytes);
    }

    /// Is called some five times a second, so that a display can be drawn again.
    fn tick(&mut self) {}

    /// Is told a verdict; comes once for every entry, also for one of which nothing was run.
    fn judged(&mut self, judged: &Judged);

    /// Is told what all came to; comes last, and once.
    fn finished(&mut self, finished: &Finished<'_>);

    /// Ends the report, and says whether it stands as it should. A stream that was lent to it has
    /// failures of its own, which its owner tells.
    ///
    /// # Errors
    /// It could not be written, or not all of it.
    fn close(self: Box<Self>) -> Result<(), WriteError>;
}

/// What is about to be judged.
#[derive(Debug, Clone, Copy)]
pub struct Begun<'a> {
    /// The scenarios, in the order of their files.
    pub entries: &'a [&'a Entry],
    /// How many run at a time.
    pub jobs: usize,
    /// What they are shuffled by; none where they are not.
    pub seed: Option<u64>,
    /// How long they took before, as far as that is known.
    pub expected: &'a BTreeMap<ScenarioId, Duration>,
}

/// What a judgement came to.
#[derive(Debug, Clone, Copy)]
pub struct Finished<'a> {
    /// When it ended.
    pub timestamp: Timestamp,
    /// The sum.
    pub sum: &'a Satisfaction,
    /// How long all of it took.
    pub duration: Duration,
    /// Why it ended before everything was judged, as a fragment; none where it did not.
    pub cut_short: Option<&'a str>,
    /// The results file; none where it could not be written.
    pub results: Option<&'a Path>,
    /// What differs from another judgement, if that was asked for.
    pub comparison: Option<&'a Comparison>,
    /// More lines for people.
    pub notes: &'a [String],
}

/// Several readers of one judgement.
#[derive(Default)]
pub struct Reporters<'a>(Vec<Box<dyn JudgementReporter + 'a>>);

impl std::fmt::Debug for Reporters<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Reporters").field(&self.0.len()).finish()
    }
}

impl<'a> Reporters<'a> {
    /// Adds a reader; they are told in the order added.
    pub fn add(&mut self, reporter: impl JudgementReporter + 'a) {
        self.0.push(Box::new(reporter));
    }

    /// Tells all what is about to be judged.
    pub fn begun(&mut self, begun: &Begun<'_>) {
        self.0.iter_mut().for_each(|one| one.begun(begun));
    }

    /// Tells all that a scenario's first command is about to run.
    pub fn started(&mut self, entry: &Entry) {
        self.0.iter_mut().for_each(|one| one.started(entry));
    }

    /// Hands all what a scenario writes.
    pub fn output(&mut self, entry: &Entry, stream: Stream, bytes: &[u8]) {
        self.0.iter_mut().for_each(|one| one.output(entry, stream, bytes));
    }

    /// Lets all draw their displays again.
    pub fn tick(&mut self) {
        self.0.iter_mut().for_each(|one| one.tick());
    }

    /// Tells all a verdict.
    pub fn judged(&mut self, judged: &Judged) {
        self.0.iter_mut().for_each(|one| one.judged(judged));
    }

    /// Tells all what everything came to.
    pub fn finished(&mut self, finished: &Finished<'_>) {
        self.0.iter_mut().for_each(|one| one.finished(finished));
    }

    /// Ends all reports; returns what could not be written.
    pub fn close(self) -> Vec<WriteError> {
        self.0.into_iter().filter_map(|one| one.close().err()).collect()
    }
}

/// Returns the line on which a scenario's evaluation begins; none where it is invalid.
fn line_of(entry: &Entry) -> Option<usize> {
    entry.scenario.as_ref().ok()?.evaluation.first().map(|block| block.line)
}

/// The few styles that are used; `Output` takes them out where nobody can see them.
mod styles {
    pub(super) const BOLD: &str = "\u{1b}[1m";
    pub(super) const DIM: &str = "\u{1b}[2m";
    pub(super) const RED: &str = "\u{1b}[31m";
    pub(super) const GREEN: &str = "\u{1b}[32m";
    pub(super) const YELLOW: &str = "\u{1b}[33m";
    pub(super) const RESET: &str = "\u{1b}[0m";
}
