//! Gates: the product's own deterministic checks, and what came of each.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// One gate or quality check with what came of running it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateResult {
    /// Its name.
    pub name: String,
    /// How it ended.
    pub status: GateStatus,
    /// How long it took.
    pub duration: Duration,
    /// What it wrote to stdout and stderr, in the order in which it came, decoded leniently; the
    /// last part where it was much.
    pub output: String,
    /// How many bytes it wrote in all.
    pub output_bytes: u64,
}

/// How a gate ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "status")]
pub enum GateStatus {
    /// Exit 0.
    Passed,
    /// Another exit code.
    Failed {
        /// The code.
        code: i32,
    },
    /// A signal ended it.
    Signalled {
        /// Its number.
        signal: i32,
    },
    /// Its time was up.
    TimedOut {
        /// The limit that it had.
        limit: Duration,
    },
    /// The base had this make target and the candidate has not; it was not run.
    TargetGone {
        /// The target.
        target: String,
    },
    /// It never began: the factory's failure, not the product's.
    CouldNotStart {
        /// What the system said.
        why: String,
    },
    /// The person interrupted it.
    Interrupted,
}

impl GateResult {
    /// Returns whether the gate passed.
    pub fn passed(&self) -> bool {
        self.status == GateStatus::Passed
    }
}
