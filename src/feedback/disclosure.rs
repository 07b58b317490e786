//! How much the agent is told.

use serde::{Deserialize, Serialize};

/// How much feedback says of a failed holdout scenario. Levels nest: each tells all that the next one
/// does, and what stands beside it. At no level the evaluation, the pass criteria, the preconditions or
/// the evidence list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Disclosure {
    /// Exit code, duration, error summary, stdout and stderr.
    Full,
    /// Name, behavioural expectation, class of the failure.
    Behaviour,
    /// Counts by category.
    Score,
}
