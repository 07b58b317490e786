//! Records events: into the journal first, then into the summary, then to the reporters.

use crate::event::{Activity, BlobRef, Envelope, Label, RunEvent, Summary};
use crate::id::{Digest, NodeId};
use crate::journal::{Journal, StoreError};
use crate::report::{Names, Reporter, Scene};

use super::{Failure, Halt};

/// Where everything that happens goes.
pub struct Recorder {
    journal: Journal,
    summary: Summary,
    names: Names,
    reporters: Vec<Box<dyn Reporter>>,
    die_after: Option<u64>,
}

impl Recorder {
    /// Begins with the run's first event, or goes on from the fold of those that there are.
    pub(super) fn new(
        journal: Journal,
        summary: Summary,
        names: Names,
        reporters: Vec<Box<dyn Reporter>>,
        die_after: Option<u64>,
    ) -> Self {
        Self { journal, summary, names, reporters, die_after }
    }

    /// Returns the fold of the events so far.
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// Returns the digest of the journal's last line; none before the first.
    pub fn head(&self) -> Option<&Digest> {
        self.journal.head()
    }

    /// Shows reporters an event that is already in the journal.
    pub(super) fn show(&mut self, envelope: &Envelope) {
        let scene = Scene { summary: &self.summary, names: &self.names, journal: &self.journal };
        for reporter in &mut self.reporters {
            reporter.event(&scene, envelope);
        }
    }

    /// Shows reporters what the agent does, which is no event of the journal.
    pub fn show_activity(&mut self, activities: &[Activity]) {
        for reporter in &mut self.reporters {
            reporter.activity(activities);
        }
    }

    /// Records an event durably.
    ///
    /// # Errors
    /// The journal could not take it.
    pub fn record(&mut self, node: Option<&NodeId>, event: RunEvent) -> Result<(), Halt> {
        let iteration = Some(self.summary.iteration());
        let envelope = self.journal.append(node, iteration, event).map_err(store)?;
        self.die_if_asked(envelope.seq);
        self.summary.apply(&envelope);
        self.show(&envelope);
        Ok(())
    }

    /// Kills this very process where a test of crashes asked for it.
    #[cfg(debug_assertions)]
    pub(super) fn die_if_asked(&self, seq: u64) {
        if self.die_after == Some(seq) {
            let _ = rustix::process::kill_process(
                rustix::process::getpid(),
                rustix::process::Signal::KILL,
            );
        }
    }

    #[cfg(not(debug_assertions))]
    pub(super) fn die_if_asked(&self, _: u64) {
        let _ = self.die_after;
    }

    /// Keeps a text as a blob.
    ///
    /// # Errors
    /// The journal could not take it.
    pub fn put(&self, label: Label, bytes: impl Into<Vec<u8>>) -> Result<BlobRef, Halt> {
        self.journal.put(label, bytes.into()).map_err(store)
    }

    /// Keeps a value as a blob of JSON.
    ///
    /// # Errors
    /// The journal could not take it.
    pub fn put_json<T: serde::Serialize>(&self, label: Label, value: &T) -> Result<BlobRef, Halt> {
        self.journal.put_json(label, value).map_err(store)
    }

    /// Returns a text without the secrets that are kept out of what is recorded.
    pub fn without_secrets(&self, text: &str) -> String {
        self.journal.without_secrets(text)
    }

    /// From now on keeps these values out of what is recorded.
    pub fn learn_secrets(&mut self, values: Vec<String>) {
        self.journal.learn_secrets(values);
    }

    /// Returns a blob's bytes.
    ///
    /// # Errors
    /// It is missing or damaged.
    pub fn get(&self, blob: &BlobRef) -> Result<Vec<u8>, Halt> {
        self.journal.get(blob).map_err(store)
    }

    /// Returns the value of a blob of JSON.
    ///
    /// # Errors
    /// It is missing, damaged, or not of this form.
    pub fn get_json<T: serde::de::DeserializeOwned>(&self, blob: &BlobRef) -> Result<T, Halt> {
        serde_json::from_slice(&self.get(blob)?).map_err(|error| store(StoreError::Json(error)))
    }

    /// Returns the journal, for readers.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }
}

fn store(error: StoreError) -> Halt {
    Failure::of("journal", "keeping the run's journal failed", error).into()
}
