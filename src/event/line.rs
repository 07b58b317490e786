//! The envelope: one JSON object a line.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::RunEvent;
use crate::clock::Timestamp;
use crate::id::{Digest, NodeId, RunId};

/// The version of the format, `v` on the wire.
pub(super) const VERSION: u32 = 1;

/// An event with when and where it happened.
#[derive(Debug, Clone, PartialEq)]
pub struct Envelope {
    /// Counts the events of the run, from 1.
    pub seq: u64,
    /// When it was written.
    pub time: Timestamp,
    /// The run.
    pub run: RunId,
    /// The node during which it happened; none for the run's own events.
    pub node: Option<NodeId>,
    /// The iteration during which it happened.
    pub iteration: Option<u32>,
    /// What happened.
    pub event: RunEvent,
    /// The digest of the line before, without its line feed; none for the first.
    pub prev: Option<Digest>,
}

/// A line that is no event.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// No JSON, or not of an envelope's form.
    #[error("it is no event: {0}")]
    Malformed(#[from] serde_json::Error),
    /// Written by a later version.
    #[error("it has version {0}, and this program reads version {VERSION}; use a newer one")]
    Version(u32),
}

/// What is written; the order of the fields is the order on the line.
#[derive(Serialize)]
struct Written<'a> {
    v: u32,
    seq: u64,
    time: Timestamp,
    run: &'a RunId,
    event: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<&'a NodeId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iteration: Option<u32>,
    data: Value,
    prev: Option<&'a Digest>,
}

/// What stands on a line around the event.
#[derive(Deserialize)]
struct Around {
    v: u32,
    seq: u64,
    time: Timestamp,
    run: RunId,
    node: Option<NodeId>,
    iteration: Option<u32>,
    prev: Option<Digest>,
}

impl Envelope {
    /// Returns the line, without a line feed.
    ///
    /// # Errors
    /// A number that JSON can't hold.
    pub fn to_line(&self) -> Result<String, serde_json::Error> {
        let mut tagged = serde_json::to_value(&self.event)?;
        let data = tagged.get_mut("data").map_or(Value::Null, Value::take);
        let event = tagged.get("event").and_then(Value::as_str).unwrap_or_default();
        serde_json::to_string(&Written {
            v: VERSION,
            seq: self.seq,
            time: self.time,
            run: &self.run,
            event,
            node: self.node.as_ref(),
            iteration: self.iteration,
            data,
            prev: self.prev.as_ref(),
        })
    }

    /// Reads a line.
    ///
    /// # Errors
    /// See [`LineError`].
    pub fn from_line(line: &str) -> Result<Self, LineError> {
        // Two passes over the line cost less than one that has to build a tree of it first.
        let Around { v, seq, time, run, node, iteration, prev } = serde_json::from_str(line)?;
        if v != VERSION {
            return Err(LineError::Version(v));
        }
        let event = serde_json::from_str(line)?;
        Ok(Self { seq, time, run, node, iteration, event, prev })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn envelope(event: RunEvent) -> Envelope {
        Envelope {
            seq: 7,
            time: Timestamp::from_unix_millis(1_795_166_100_250),
            run: RunId::parse("20261120-091500-00ff").unwrap(),
            node: Some(NodeId::parse("gates").unwrap()),
            iteration: Some(2),
            event,
            prev: Some(Digest::of(b"before")),
        }
    }

    #[test]
    fn a_line_reads_back_as_it_was_written() {
        let written = envelope(RunEvent::GateStarted { gate: 1 });
        let line = written.to_line().unwrap();
        assert!(line.starts_with(
            "{\"v\":1,\"seq\":7,\"time\":\"2026-11-20T09:15:00.250Z\",\
             \"run\":\"20261120-091500-00ff\",\"event\":\"gate.started\",\"node\":\"gates\",\
             \"iteration\":2,\"data\":{\"gate\":1},\"prev\":\""
        ));
        assert_eq!(Envelope::from_line(&line).unwrap(), written);
    }

    #[test]
    fn a_later_version_says_that_a_newer_program_is_needed() {
        let line = envelope(RunEvent::GateStarted { gate: 1 })
            .to_line()
            .unwrap()
            .replacen("\"v\":1", "\"v\":9", 1);
        let error = Envelope::from_line(&line).unwrap_err().to_string();
        assert_eq!(error, "it has version 9, and this program reads version 1; use a newer one");
    }
}
