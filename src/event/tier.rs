//! The tiers of isolation, as the record names them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How strongly the agent is kept from the holdout, weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    /// The scenarios are moved away while the agent works in the checkout.
    Move,
    /// The agent works in a copy that never had them; the same user could read them elsewhere.
    Copy,
    /// The copy, confined by the kernel.
    Sandbox,
}

impl Tier {
    /// Returns what was in force where an earlier version did not say.
    pub(super) fn copy() -> Self {
        Self::Copy
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Move => "move",
            Self::Copy => "copy",
            Self::Sandbox => "sandbox",
        })
    }
}
