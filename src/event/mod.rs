//! What happens in a run, said once: the events, their envelope and the fold into a summary.
//!
//! Events hold ids, numbers and classes. Text (names, outputs, prompts, feedback) lives in blobs
//! beside the journal, each labelled for an audience. Nothing here reads or writes a journal.

mod activity;
mod blob;
mod line;
mod receipt;
mod setup_network;
mod spent;
mod summary;
mod tier;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::convergence::{Decision, Limits, Raise};
use crate::id::ScenarioId;
use crate::pipeline::NodeOutcome;
use crate::text::show_count;

pub use crate::convergence::Judgement;
pub use activity::{Activity, Trouble};
pub use blob::{Audience, BlobRef, Label};
pub use line::{Envelope, LineError};
pub use receipt::{Contact, Digests, Leak, Mechanism, Place, Receipt, Searched};
pub use setup_network::SetupNetwork;
pub use spent::{Attempt, Spent};
pub use summary::{Ended, Summary, Turn, TurnDelivery, Visit};
pub use tier::Tier;

/// One thing that happened. The name on the wire is dotted and in the past tense.
///
/// Readers match without a `_` arm, so that the compiler lists them when an event is added.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", content = "data")]
pub enum RunEvent {
    /// A run began; its settings are frozen from here on.
    #[serde(rename = "run.started")]
    RunStarted(Box<RunStarted>),
    /// A stopped or killed run goes on.
    #[serde(rename = "run.resumed")]
    RunResumed {
        /// How many agent turns the run may take in all from now on, where that was changed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max_iterations: Option<u32>,
        /// The node at which a run goes on that had come to its end; none where it stands.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        node: Option<crate::id::NodeId>,
        /// The budgets that were changed.
        #[serde(default, skip_serializing_if = "Raise::is_empty")]
        budget: Raise,
        /// When it is to be over from now on, in milliseconds since 1970 began; none for no deadline.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        deadline: Option<i64>,
    },
    /// One step was asked for, and it is done.
    #[serde(rename = "run.paused")]
    RunPaused {},
    /// A node's handler was called.
    #[serde(rename = "node.started")]
    NodeStarted {
        /// Counts the visits of this node, from 1.
        visit: u32,
        /// Counts the attempts within the visit, from 1.
        attempt: u32,
    },
    /// A node's handler returned.
    #[serde(rename = "node.finished")]
    NodeFinished {
        /// The visit that ended.
        visit: u32,
        /// Its attempt.
        attempt: u32,
        /// What the handler said.
        outcome: NodeOutcome,
    },
    /// The walk went over an edge.
    #[serde(rename = "edge.taken")]
    EdgeTaken {
        /// Where it leads; it comes from the envelope's node.
        to: crate::id::NodeId,
    },
    /// One set-up command ended.
    #[serde(rename = "prepare.finished")]
    PrepareFinished {
        /// Which of the configured commands, from 0.
        step: usize,
        /// Whether its outputs came from the cache.
        cached: bool,
        /// Whether it succeeded.
        passed: bool,
        /// How long it took.
        ms: u64,
        /// What it wrote; none when cached.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        output: Option<BlobRef>,
        /// What of the network it had; none when cached, and in the journals of earlier versions.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        network: Option<SetupNetwork>,
    },
    /// A gate or quality check was started.
    #[serde(rename = "gate.started")]
    GateStarted {
        /// Which of the frozen gates, from 0; quality checks are counted on after them.
        gate: usize,
    },
    /// A gate or quality check ended.
    #[serde(rename = "gate.finished")]
    GateFinished {
        /// Which of the frozen gates, from 0; quality checks are counted on after them.
        gate: usize,
        /// Whether it passed.
        passed: bool,
        /// Whether the run depends on it; false for a quality check.
        blocking: bool,
        /// How long it took.
        ms: u64,
        /// The [`crate::verdict::GateResult`] as JSON.
        result: BlobRef,
    },
    /// The candidate's gate definitions differ from the base's.
    #[serde(rename = "gates.flagged")]
    GatesFlagged {
        /// How many definition files differ.
        files: usize,
        /// Their paths, a JSON list of texts.
        paths: BlobRef,
    },
    /// A scenario's evaluation was started.
    #[serde(rename = "scenario.started")]
    ScenarioStarted {
        /// Which one.
        scenario: ScenarioId,
    },
    /// A scenario has its verdict.
    #[serde(rename = "scenario.judged")]
    ScenarioJudged {
        /// Which one.
        scenario: ScenarioId,
        /// `satisfied`, `unsatisfied`, `undecided` or `skipped`.
        verdict: String,
        /// How long its attempts took.
        ms: u64,
        /// The [`crate::verdict::Judged`] as JSON.
        result: BlobRef,
    },
    /// Gates and scenarios of a candidate are through.
    #[serde(rename = "candidate.judged")]
    CandidateJudged(Judgement),
    /// The history was weighed.
    #[serde(rename = "decision.made")]
    DecisionMade {
        /// What follows.
        decision: Decision,
    },
    /// The feedback of an iteration stands.
    #[serde(rename = "feedback.written")]
    FeedbackWritten {
        /// The markdown.
        feedback: BlobRef,
        /// How many runs of holdout text were masked in it.
        masked: usize,
        /// The commit on the run's branch that holds it; none where it is not committed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        commit: Option<String>,
    },
    /// The workspace was searched for the exam before the agent was let in.
    #[serde(rename = "workspace.checked")]
    WorkspaceChecked {
        /// Files in it.
        files: usize,
        /// Those left out since they hold an evaluation.
        withheld: usize,
        /// Their paths, a JSON list of texts; none where none was withheld.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        paths: Option<BlobRef>,
    },
    /// What is handed to the agent was searched for the exam, and nothing was found.
    #[serde(rename = "receipt.begun")]
    ReceiptBegun {
        /// The turn.
        turn: u32,
        /// Its attempt.
        attempt: u32,
        /// The [`Receipt`] so far, as JSON.
        receipt: BlobRef,
    },
    /// The agent's supervisor was started.
    #[serde(rename = "agent.started")]
    AgentStarted {
        /// Counts the turns of the run, from 1.
        turn: u32,
        /// Counts the attempts at this turn, from 1: one more for each that was cut short.
        attempt: u32,
        /// The prompt.
        prompt: BlobRef,
        /// The backend, where it is not the run's first.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        backend: Option<String>,
    },
    /// The agent and all it had started are dead, and the supervisor's record was read.
    #[serde(rename = "agent.finished")]
    AgentFinished {
        /// The turn.
        turn: u32,
        /// Its attempt.
        attempt: u32,
        /// How it ended, a [`crate::convergence::TurnClass`] by name.
        class: String,
        /// Its exit code; none where it has none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        exit: Option<i32>,
        /// How long it took.
        ms: u64,
        /// What the agent says it used.
        usage: Usage,
        /// Whether more may have been used than the agent has said.
        #[serde(default, skip_serializing_if = "is_false")]
        usage_is_partial: bool,
        /// The model, as the agent names it; none where it does not say.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        model: Option<String>,
        /// What was wrong, in the agent's words; none where nothing was.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        trouble: Option<BlobRef>,
        /// When the provider's limit is lifted; none where there is none, or nobody said.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        resets: Option<Timestamp>,
        /// Whether it said that there was nothing to do.
        #[serde(default, skip_serializing_if = "is_false")]
        nothing_to_do: bool,
        /// What it did, an [`Activity`] a line; none where nothing is known of it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        activity: Option<BlobRef>,
        /// Processes that were still alive after the agent itself and were ended.
        reaped: u32,
        /// Its last words, where the backend can tell; none else.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        says: Option<BlobRef>,
        /// Whom it asked for by way of the broker, as JSON; none where it asked for nobody.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        contacted: Option<BlobRef>,
    },
    /// A turn that an outage ended is put off: it is tried again, or the run stops there.
    #[serde(rename = "turn.postponed")]
    TurnPostponed {
        /// The turn.
        turn: u32,
        /// The attempt that ended.
        attempt: u32,
        /// How it ended.
        class: String,
        /// When it is tried again; none where the run stops and nobody knows.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<Timestamp>,
        /// The agent that tries it, counted in `agent.fallback` from 1, 0 being the first.
        #[serde(default)]
        agent: usize,
        /// Its backend, where it takes over from another.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        takes_over: Option<String>,
        /// Whether the run stops instead of waiting.
        #[serde(default, skip_serializing_if = "is_false")]
        stops: bool,
    },
    /// What an attempt had changed that an outage ended is kept, and not taken.
    #[serde(rename = "attempt.shelved")]
    AttemptShelved {
        /// The turn.
        turn: u32,
        /// The attempt.
        attempt: u32,
        /// How it ended.
        class: String,
        /// What it had changed, as a patch.
        diff: BlobRef,
    },
    /// The factory was interrupted during a turn, or it died; what the turn had cost is not known.
    #[serde(rename = "agent.interrupted")]
    AgentInterrupted {
        /// The turn.
        turn: u32,
        /// Its attempt.
        attempt: u32,
        /// Survivors that were found and ended.
        ended_processes: usize,
        /// The exit code that tells which signal interrupted the factory, 130 or 143; none where it died.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        exit: Option<u8>,
        /// What it had changed, as a patch; none where nothing.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        diff: Option<BlobRef>,
    },
    /// What the agent said and brought back was searched for the exam.
    #[serde(rename = "receipt.written")]
    ReceiptWritten {
        /// The turn.
        turn: u32,
        /// Whether the exam was found; nothing of the turn is accepted then.
        contaminated: bool,
        /// The whole [`Receipt`], as JSON.
        receipt: BlobRef,
    },
    /// A turn's work, or part of it, is the next candidate.
    #[serde(rename = "delivery.accepted")]
    DeliveryAccepted {
        /// The turn.
        turn: u32,
        /// The commit on the run's branch.
        commit: String,
        /// Its tree.
        tree: String,
        /// Paths changed, added or removed.
        files: usize,
        /// Paths dropped.
        dropped: usize,
        /// The [`DeliveryDetail`] as JSON.
        detail: BlobRef,
    },
    /// A turn brought nothing that could be accepted; no-ops are among these.
    #[serde(rename = "delivery.unchanged")]
    DeliveryUnchanged {
        /// The turn.
        turn: u32,
        /// Paths dropped.
        dropped: usize,
        /// The [`DeliveryDetail`] as JSON.
        detail: BlobRef,
    },
    /// A turn's work was refused as a whole.
    #[serde(rename = "delivery.refused")]
    DeliveryRefused {
        /// The turn.
        turn: u32,
        /// Why, a class of the delivery module.
        class: String,
        /// The [`DeliveryDetail`] as JSON.
        detail: BlobRef,
    },
    /// The agent left a question for a person.
    #[serde(rename = "question.asked")]
    QuestionAsked {
        /// The turn that left it.
        turn: u32,
        /// The question.
        question: BlobRef,
    },
    /// A person answered.
    #[serde(rename = "question.answered")]
    QuestionAnswered {
        /// The answer.
        answer: BlobRef,
    },
    /// A signal stopped the run; what was judged is kept.
    #[serde(rename = "run.interrupted")]
    RunInterrupted {
        /// The exit code that tells which: 130 or 143.
        exit: u8,
    },
    /// The factory or its surroundings failed; the run can go on later.
    #[serde(rename = "run.failed")]
    RunFailed {
        /// The node that failed, as a class.
        class: String,
        /// What went wrong.
        message: BlobRef,
    },
    /// The walk reached the end.
    #[serde(rename = "run.finished")]
    RunFinished {
        /// The last decision's class.
        outcome: String,
        /// The exit code.
        exit: u8,
    },
}

impl RunEvent {
    /// Returns the end of an attempt that used `usage`, of which nothing else is told.
    #[cfg(test)]
    pub(crate) fn agent_finished(turn: u32, attempt: u32, ms: u64, usage: Usage) -> Self {
        Self::AgentFinished {
            turn,
            attempt,
            class: "done".to_owned(),
            exit: None,
            ms,
            usage,
            usage_is_partial: false,
            model: None,
            trouble: None,
            resets: None,
            nothing_to_do: false,
            activity: None,
            reaped: 0,
            says: None,
            contacted: None,
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

fn is_false(flag: &bool) -> bool {
    !flag
}

/// The settings of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunStarted {
    /// The factory's version.
    pub version: String,
    /// The graph that is walked.
    pub graph: String,
    /// The base commit; empty where an unversioned directory is judged in place.
    pub base: String,
    /// The base commit's tree; likewise.
    pub tree: String,
    /// The branch that was checked out; none on a detached head.
    pub base_branch: Option<String>,
    /// The branch that gets the agent's work; empty for a run in place.
    pub branch: String,
    /// The number of the base's iteration.
    pub first_iteration: u32,
    /// The score that converges.
    pub threshold: f64,
    /// Iterations without a better judgement that are a stall.
    pub stalled_after: u32,
    /// How many agent turns the run may take.
    pub max_iterations: u32,
    /// What the run may use up.
    #[serde(default, skip_serializing_if = "Limits::is_empty")]
    pub limits: Limits,
    /// When it is to be over, in milliseconds since 1970 began; none for no deadline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<i64>,
    /// How many scenarios there are.
    pub scenarios: usize,
    /// The agent's backend; none where no agent is to be started.
    pub agent: Option<String>,
    /// What keeps the holdout from the agent.
    pub tier: Tier,
    /// What keeps what is judged from the rest of the machine: `copy`, a tree of its own, or `sandbox`.
    #[serde(default = "Tier::copy")]
    pub judge_tier: Tier,
    /// Whether the person's own working tree is judged.
    pub in_place: bool,
    /// Where in the repository the product lies; empty where it is the whole of it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub product: String,
    /// Scenarios, settings, gates and prompt as they were read, as JSON.
    pub frozen: BlobRef,
}

/// What an agent says that a turn used; none where it does not say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens read, cached ones included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_tokens: Option<u64>,
    /// Tokens written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_tokens: Option<u64>,
    /// Of the tokens read, those that came from the provider's cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached_tokens: Option<u64>,
    /// Of the tokens read, those that were written into the provider's cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_write_tokens: Option<u64>,
    /// US dollars.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_usd: Option<f64>,
}

/// What became of each path of a turn, as people read it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryDetail {
    /// Accepted paths, sorted.
    pub accepted: Vec<String>,
    /// Dropped paths with the reason in a sentence, sorted by path.
    pub dropped: Vec<(String, String)>,
    /// The dropped paths by the rule that each was dropped by; empty in records of versions that
    /// did not tell them apart.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kinds: Vec<DroppedKind>,
    /// New ignored paths, not delivered.
    pub ignored: Vec<String>,
    /// Why the turn was refused as a whole; none where it was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// What the turn had changed and is not taken, as a patch for people; none where nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patch: Option<BlobRef>,
    /// How many files the patch leaves out, since it would be too large or can't hold them.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub patch_leaves_out: usize,
}

impl DeliveryDetail {
    /// Returns the dropped paths by the rule that each was dropped by.
    pub fn dropped_kinds(&self) -> Vec<DroppedKind> {
        if !self.kinds.is_empty() {
            return self.kinds.clone();
        }
        let mut kinds: Vec<DroppedKind> = Vec::new();
        for (path, reason) in &self.dropped {
            let entry = DroppedEntry { path: path.clone(), fact: None, files: None };
            match kinds.iter_mut().find(|kind| kind.rule == *reason) {
                Some(kind) => kind.entries.push(entry),
                None => kinds.push(DroppedKind {
                    class: String::new(),
                    rule: reason.clone(),
                    entries: vec![entry],
                }),
            }
        }
        kinds
    }
}

/// Paths that were dropped by one rule.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DroppedKind {
    /// A class of the delivery module.
    pub class: String,
    /// The rule, and what to do instead, in whole sentences.
    pub rule: String,
    /// The paths, sorted.
    pub entries: Vec<DroppedEntry>,
}

/// One dropped path.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DroppedEntry {
    /// The path; a directory ends with a slash.
    pub path: String,
    /// What is to be said of it alone, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fact: Option<String>,
    /// How many files it stands for, where it stands for more than its path says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<usize>,
}

impl DroppedEntry {
    /// Returns the path, with how many files it stands for where that is more than one:
    /// `venv/ (1,204 files)`.
    pub fn name(&self) -> String {
        match self.files {
            None => self.path.clone(),
            Some(1) => format!("{} (1 file)", self.path),
            Some(files) => format!("{} ({} files)", self.path, show_count(files)),
        }
    }
}
