//! What an agent does in a turn, in words that all agents share.
//!
//! These are no events of a run's journal: they are kept in a blob beside it, and shown while the turn
//! goes on.

use serde::{Deserialize, Serialize};

use super::Usage;
use crate::clock::Timestamp;
use crate::convergence::TurnClass;

/// One thing that an agent did, in words that all agents share.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", content = "data")]
pub enum Activity {
    /// It said something.
    #[serde(rename = "agent.said")]
    Said {
        /// What.
        text: String,
    },
    /// It began to do something that may take a while: a command, or the use of a tool.
    #[serde(rename = "agent.began")]
    Began {
        /// What.
        what: String,
    },
    /// It ran a command, or used a tool.
    #[serde(rename = "agent.ran")]
    Ran {
        /// The command, or the tool's name and what it was used on.
        what: String,
        /// The exit code; none where the stream does not say.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        exit: Option<i32>,
    },
    /// It was not allowed to.
    #[serde(rename = "agent.was_denied")]
    WasDenied {
        /// What it wanted.
        what: String,
    },
    /// It changed files.
    #[serde(rename = "agent.changed")]
    Changed {
        /// Their paths as it names them.
        paths: Vec<String>,
    },
    /// A limit of the turn is near.
    #[serde(rename = "agent.warned")]
    Warned {
        /// Which, and when it is reached.
        text: String,
    },
    /// It used tokens or money since the last of these.
    #[serde(rename = "agent.used")]
    Used(Usage),
    /// It met with something that it means to get over: a broken connection, a retry.
    #[serde(rename = "agent.noted")]
    Noted {
        /// What.
        text: String,
    },
    /// It says that the turn is over.
    #[serde(rename = "agent.finished")]
    Finished {
        /// What was wrong; none where it is done.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        trouble: Option<Trouble>,
    },
}

impl Activity {
    /// Returns it with texts that are fit for a line.
    pub fn brief(&self) -> Self {
        /// In characters.
        const LONGEST: usize = 300;
        let short = |text: &String| crate::text::one_line(text, LONGEST);
        match self {
            Self::Said { text } => Self::Said { text: short(text) },
            Self::Began { what } => Self::Began { what: short(what) },
            Self::Ran { what, exit } => Self::Ran { what: short(what), exit: *exit },
            Self::WasDenied { what } => Self::WasDenied { what: short(what) },
            Self::Changed { paths } => {
                Self::Changed { paths: paths.iter().take(5).map(short).collect() }
            }
            Self::Noted { text } => Self::Noted { text: short(text) },
            Self::Warned { text } => Self::Warned { text: short(text) },
            Self::Used(_) | Self::Finished { .. } => self.clone(),
        }
    }
}

/// What kept an agent from its work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// Its class.
    pub class: TurnClass,
    /// What the agent said of it.
    pub message: String,
    /// When the provider's limit is lifted; none where it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resets: Option<Timestamp>,
}

impl Trouble {
    /// Makes one without a reset.
    pub fn of(class: TurnClass, message: impl Into<String>) -> Self {
        Self { class, message: message.into(), resets: None }
    }
}
