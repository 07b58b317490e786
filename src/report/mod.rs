//! Readers of events: what people and machines see of a run.
//!
//! Nothing here decides anything, and nothing in the loop prints: a new output is a new reader of
//! the same events.

mod activity;
mod blobs;
pub mod compare;
mod details;
pub mod diagnostics;
pub mod doctor;
mod file;
pub mod github;
pub mod markdown;
mod next_steps;
mod outcome;
pub mod published;
mod receipt;
pub mod results;
pub mod run_text;
pub mod scenarios;
#[cfg(test)]
mod schema_tests;
mod stream;
pub mod terminal;
#[cfg(test)]
pub(crate) mod testing;
pub mod verification;

use std::collections::BTreeMap;

use crate::event::{Activity, BlobRef, Envelope, Summary};
use crate::id::ScenarioId;
use crate::journal::Journal;

pub use blobs::{Blobs, placeholder};
pub use details::Details;
pub use diagnostics::show_diagnostic;
pub use file::{WriteError, write_atomically};
pub use next_steps::{NextStep, better_than_base, branch_of, next_steps};
pub use outcome::Outcome;
pub use published::RunReport;
pub use stream::Output;

/// Reads a run's events as they come.
pub trait Reporter: Send {
    /// Is told of an event that the journal has; the scene includes it.
    fn event(&mut self, scene: &Scene<'_>, envelope: &Envelope);

    /// Is told what the agent does while its turn goes on; its texts fit on a line and are not safe for
    /// a terminal.
    fn activity(&mut self, _activities: &[Activity]) {}
}

/// What a reporter may look at beside the event.
pub struct Scene<'a> {
    /// The fold of all events so far.
    pub summary: &'a Summary,
    /// What things are called.
    pub names: &'a Names,
    /// Where the blobs are.
    pub journal: &'a Journal,
}

impl Scene<'_> {
    /// Returns a blob's text, decoded leniently; none where it can't be read.
    pub fn text(&self, blob: &BlobRef) -> Option<String> {
        self.journal.get(blob).ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Returns the value of a blob of JSON; none where it can't be read.
    pub fn json<T: serde::de::DeserializeOwned>(&self, blob: &BlobRef) -> Option<T> {
        serde_json::from_slice(&self.journal.get(blob).ok()?).ok()
    }
}

/// What gates and scenarios are called; events name them by number and id.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    /// The gates, in order.
    pub gates: Vec<String>,
    /// The quality checks, in order; counted on after the gates.
    pub quality: Vec<String>,
    /// The set-up commands, in order.
    pub prepare: Vec<String>,
    /// The scenarios.
    pub scenarios: BTreeMap<ScenarioId, String>,
}

impl Names {
    /// Returns what the gate or quality check of this index is called.
    pub fn gate(&self, index: usize) -> &str {
        self.gates
            .get(index)
            .or_else(|| self.quality.get(index - self.gates.len().min(index)))
            .map_or("?", String::as_str)
    }

    /// Returns what the scenario is called; its id where that is not known.
    pub fn scenario<'a>(&'a self, id: &'a ScenarioId) -> &'a str {
        self.scenarios.get(id).map_or(id.as_str(), String::as_str)
    }
}
