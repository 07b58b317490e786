//! The receipt of a turn: what kept the exam from the agent, and where the exam was looked for.

use serde::{Deserialize, Serialize};

use super::Tier;
use crate::id::{Digest, RunId, ScenarioId};

/// The version of the form, `schema` in the JSON.
const SCHEMA: u32 = 1;

/// What stands in the record of one turn, so that somebody can hold the run to it later.
///
/// A receipt is begun before the agent starts and ended once its work has been looked at; both are
/// blobs that an event names, so that the journal's chain holds them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The version of this form.
    pub schema: u32,
    /// The run.
    pub run: RunId,
    /// The turn, from 1.
    pub turn: u32,
    /// Its attempt, from 1.
    pub attempt: u32,
    /// The tier in force.
    pub tier: Tier,
    /// What was in force, in a fixed order.
    pub enforced: Vec<Mechanism>,
    /// What the turn went by.
    pub digests: Digests,
    /// How many files were kept from the agent since an evaluation stands in them.
    pub withheld: usize,
    /// The logins that the agent itself held: names of variables, and paths below the person's home.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub held: Vec<String>,
    /// Whom the agent asked for by way of the broker, by host and port; empty where it has none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub contacted: Vec<Contact>,
    /// Where the exam was looked for, in the order in which that was done.
    pub searched: Vec<Searched>,
    /// Processes that the agent left and that were ended; none before its end.
    pub reaped: Option<u32>,
}

/// A host that an agent asked for, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contact {
    /// The host as it was named.
    pub host: String,
    /// The port.
    pub port: u16,
    /// `allowed`, `denied` or `failed`.
    pub outcome: String,
    /// How many connections there were.
    pub connections: u64,
    /// How many bytes the agent sent.
    pub sent: u64,
    /// How many it received.
    pub received: u64,
}

/// What keeps the exam from an agent, or its hands from the judge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mechanism {
    /// It worked in a tree without the holdout, history or remote.
    Workspace,
    /// It had a home and a directory for temporary files of its own.
    PrivateHome,
    /// It got the variables that were named for it, and no other.
    NamedVariables,
    /// What it had started was dead before its work was looked at.
    Reaping,
    /// Its work was read blob by blob, and nothing of it was run.
    Import,
    /// What the factory has in memory and environment was not readable to others of the same user.
    PrivateMemory,
    /// It saw a list of places on the disk, its own processes and its own network, by namespaces.
    Namespaces,
    /// The namespaces were made by `bwrap`.
    Bubblewrap,
    /// It ran as another user, who owns nothing else.
    OtherUser,
    /// It had no right beyond a plain user's, and no way to get one: no capability, no `sudo`.
    NoPrivileges,
    /// System calls that reach other processes or change its view were refused.
    SystemCalls,
    /// The kernel's rules about paths (Landlock) were on it.
    Landlock,
    /// It reached the network by the broker alone, or not at all.
    Network,
}

impl Mechanism {
    /// What the tier `copy` is made of everywhere.
    pub const COPY: [Self; 5] =
        [Self::Workspace, Self::PrivateHome, Self::NamedVariables, Self::Reaping, Self::Import];
}

/// Digests of what a turn went by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digests {
    /// Scenarios, settings, gates and prompt template as the run froze them.
    pub frozen: Digest,
    /// The scenarios that were kept from the agent, as JSON.
    pub holdout: Digest,
    /// The settings, as JSON.
    pub settings: Digest,
    /// The prompt.
    pub prompt: Digest,
    /// The binary that drove the turn.
    pub factory: Digest,
    /// The agent's program; none where it could not be read.
    pub agent: Option<Digest>,
}

/// One place in which the exam was looked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Searched {
    /// The place.
    pub place: Place,
    /// How many files, texts or variables it held.
    pub items: usize,
    /// How many bytes they hold; none where they were known from an earlier look.
    pub bytes: Option<u64>,
    /// What was found there; empty in an honest turn.
    pub found: Vec<Leak>,
}

/// Where an agent could have the exam from, or have left it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// The files that it was given, feedback included.
    Workspace,
    /// The repository in it: what the base has beyond these files.
    Repository,
    /// The prompt.
    Prompt,
    /// Its command line.
    Arguments,
    /// Its variables.
    Environment,
    /// What it wrote to its output while it worked.
    Stream,
    /// What it brought back, as far as the policy lets it in.
    Delivery,
}

/// An evaluation that stands where it should not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leak {
    /// The scenario whose evaluation it is.
    pub scenario: ScenarioId,
    /// The file or variable; the stream's name in a stream.
    pub item: String,
}

impl Receipt {
    /// Begins the receipt of an attempt at a turn.
    pub fn begin(
        run: RunId,
        tier: Tier,
        (turn, attempt): (u32, u32),
        enforced: Vec<Mechanism>,
        digests: Digests,
    ) -> Self {
        Self {
            schema: SCHEMA,
            run,
            turn,
            attempt,
            tier,
            enforced,
            digests,
            withheld: 0,
            held: Vec::new(),
            contacted: Vec::new(),
            searched: Vec::new(),
            reaped: None,
        }
    }

    /// Returns the first place where the exam was found, and what; none in an honest turn.
    pub fn contamination(&self) -> Option<(Place, &Leak)> {
        self.searched.iter().find_map(|one| Some((one.place, one.found.first()?)))
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Workspace => "workspace",
            Self::Repository => "repository",
            Self::Prompt => "prompt",
            Self::Arguments => "arguments",
            Self::Environment => "environment",
            Self::Stream => "stream",
            Self::Delivery => "delivery",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receipt() -> Receipt {
        let digest = Digest::of(b"");
        let digests = Digests {
            frozen: digest.clone(),
            holdout: digest.clone(),
            settings: digest.clone(),
            prompt: digest.clone(),
            factory: digest,
            agent: None,
        };
        Receipt::begin(
            RunId::parse("r").unwrap(),
            Tier::Copy,
            (2, 1),
            Mechanism::COPY.to_vec(),
            digests,
        )
    }

    #[test]
    fn a_receipt_reads_back_as_it_was_written() {
        let written = receipt();
        let json = serde_json::to_string(&written).unwrap();
        assert!(json.contains(r#""enforced":["workspace","private_home","named_variables""#));
        assert_eq!(serde_json::from_str::<Receipt>(&json).unwrap(), written);
    }

    #[test]
    fn what_is_found_first_is_the_contamination() {
        let mut receipt = receipt();
        let found =
            |name: &str| Leak { scenario: ScenarioId::for_file(name), item: "stdout".to_owned() };
        let place = |place, found| Searched { place, items: 1, bytes: Some(1), found };
        receipt.searched = vec![place(Place::Prompt, Vec::new())];
        assert_eq!(receipt.contamination(), None);
        receipt.searched.push(place(Place::Stream, vec![found("a"), found("b")]));
        assert_eq!(receipt.contamination(), Some((Place::Stream, &found("a"))));
    }
}
