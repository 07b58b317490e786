//! What a run has used up so far: its attempts at turns, its time at work, and what limits it.

use serde::{Deserialize, Serialize};

use super::{Envelope, RunEvent, RunStarted, Usage};
use crate::clock::Timestamp;
use crate::convergence::{
    Cost, DAY_MS, Entry, Ledger, Limits, PriceTable, Spending, Tokens, Totals, median,
};

/// One attempt at a turn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// The turn, from 1.
    pub turn: u32,
    /// The attempt, from 1.
    pub attempt: u32,
    /// When it ended or, where it was cut, began.
    pub at: Timestamp,
    /// The model; none where the event does not say.
    pub model: Option<String>,
    /// What the agent says that it used.
    pub usage: Usage,
    /// How long it took, in milliseconds.
    pub ms: u64,
    /// Whether it came to an end of which there is a record; without one it still goes on, or was cut.
    pub ended: bool,
    /// Whether it may have used more than the agent has said.
    pub partial: bool,
}

/// See the module.
#[derive(Debug, Clone, PartialEq)]
pub struct Spent {
    /// What may be used up, later changes included.
    pub limits: Limits,
    /// When the run is to be over, in milliseconds since 1970 began.
    pub deadline: Option<i64>,
    /// The attempts, oldest first.
    pub attempts: Vec<Attempt>,
    /// How long processes were at work on the run, in milliseconds.
    pub worked_ms: u64,
    /// How long each complete judgement took, in milliseconds, oldest first.
    pub judgements_ms: Vec<f64>,
    /// The last turn before a person let the run go on that was over its budget; 0 for none.
    pub forgiven: u32,
    /// Since when the open candidate is judged.
    judging_since: Option<Timestamp>,
}

impl Spent {
    pub(super) fn begin(started: &RunStarted, at: Timestamp) -> Self {
        Self {
            limits: started.limits,
            deadline: started.deadline,
            attempts: Vec::new(),
            worked_ms: 0,
            judgements_ms: Vec::new(),
            forgiven: 0,
            judging_since: Some(at),
        }
    }

    /// Adds one event; `last_at` is when the one before it was written.
    pub(super) fn apply(&mut self, last_at: Timestamp, envelope: &Envelope) {
        let passed = u64::try_from(envelope.time.since(last_at).as_millis()).unwrap_or(u64::MAX);
        match &envelope.event {
            RunEvent::RunResumed { budget, deadline, .. } => {
                budget.apply(&mut self.limits);
                self.deadline = *deadline;
                self.judging_since = self.judging_since.map(|_| envelope.time);
                return;
            }
            RunEvent::CandidateJudged(_) => {
                if let Some(since) = self.judging_since.take() {
                    self.judgements_ms.push(envelope.time.since(since).as_millis() as f64);
                }
            }
            RunEvent::DeliveryAccepted { .. } => self.judging_since = Some(envelope.time),
            RunEvent::AgentStarted { turn, attempt, .. } => self.attempts.push(Attempt {
                turn: *turn,
                attempt: *attempt,
                at: envelope.time,
                model: None,
                usage: Usage::default(),
                ms: 0,
                ended: false,
                partial: false,
            }),
            RunEvent::AgentFinished {
                turn, attempt, ms, usage, usage_is_partial, model, ..
            } => {
                let number = (*turn, *attempt);
                let known = self.attempts.iter_mut().rfind(|one| (one.turn, one.attempt) == number);
                if let Some(one) = known {
                    one.at = envelope.time;
                    one.usage = *usage;
                    one.ms = *ms;
                    one.model.clone_from(model);
                    one.ended = true;
                    one.partial = *usage_is_partial;
                }
            }
            RunEvent::RunStarted(_)
            | RunEvent::RunPaused {}
            | RunEvent::NodeStarted { .. }
            | RunEvent::NodeFinished { .. }
            | RunEvent::EdgeTaken { .. }
            | RunEvent::PrepareFinished { .. }
            | RunEvent::GateStarted { .. }
            | RunEvent::GateFinished { .. }
            | RunEvent::GatesFlagged { .. }
            | RunEvent::ScenarioStarted { .. }
            | RunEvent::ScenarioJudged { .. }
            | RunEvent::DecisionMade { .. }
            | RunEvent::FeedbackWritten { .. }
            | RunEvent::WorkspaceChecked { .. }
            | RunEvent::ReceiptBegun { .. }
            | RunEvent::ReceiptWritten { .. }
            | RunEvent::TurnPostponed { .. }
            | RunEvent::AttemptShelved { .. }
            | RunEvent::AgentInterrupted { .. }
            | RunEvent::DeliveryUnchanged { .. }
            | RunEvent::DeliveryRefused { .. }
            | RunEvent::QuestionAsked { .. }
            | RunEvent::QuestionAnswered { .. }
            | RunEvent::RunInterrupted { .. }
            | RunEvent::RunFailed { .. }
            | RunEvent::RunFinished { .. } => {}
        }
        self.worked_ms += passed;
    }

    /// Returns the attempts with what they cost. `model` is the one that attempts had which do not say.
    pub fn ledger(&self, prices: &PriceTable, model: Option<&str>) -> Ledger {
        let entry = |one: &Attempt| {
            let model = one.model.as_deref().or(model);
            let tokens = one.usage.tokens();
            Entry {
                turn: one.turn,
                attempt: one.attempt,
                at: one.at.unix_millis(),
                model: model.map(str::to_owned),
                tokens,
                cost: Cost::of(one.usage.cost_usd, tokens, model, prices),
                ms: one.ms,
                cut: !one.ended || one.partial,
            }
        };
        Ledger { entries: self.attempts.iter().map(entry).collect() }
    }

    /// Returns what a decision at the moment `now` goes by. `elsewhere` is what other runs used within
    /// the last 24 hours, `progress` the last turn that made the score better.
    pub fn spending(
        &self,
        ledger: &Ledger,
        progress: u32,
        elsewhere: Totals,
        now: Timestamp,
    ) -> Spending {
        let now = now.unix_millis();
        Spending {
            run: ledger.totals(),
            day: ledger.since(now - DAY_MS).totals().plus(elsewhere),
            since_progress: ledger.after(progress.max(self.forgiven)).totals(),
            usual: ledger.usual(),
            judgement_ms: median(self.judgements_ms.clone()),
            worked_ms: self.worked_ms,
            now,
        }
    }
}

impl Usage {
    /// Returns the tokens; none where the agent says nothing of them. What it leaves out counts as none.
    pub fn tokens(&self) -> Option<Tokens> {
        self.input_tokens.or(self.output_tokens)?;
        Some(Tokens {
            input: self.input_tokens.unwrap_or_default(),
            output: self.output_tokens.unwrap_or_default(),
            cached: self.cached_tokens.unwrap_or_default(),
            cache_write: self.cache_write_tokens.unwrap_or_default(),
        })
    }
}
