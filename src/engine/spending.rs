//! What this and other runs have used up, by the prices that each was begun with.

use std::path::Path;

use crate::agent::{UsageTold, backend};
use crate::clock::{Clock as _, SystemClock, Timestamp};
use crate::config::AgentSettings;
use crate::convergence::{DAY_MS, Fund, Ledger, Limits, PriceTable, Spending, Totals, may_begin};
use crate::event::Summary;
use crate::id::RunId;
use crate::journal::{RunsDir, StoreError, read_blob, read_summary};

use super::{Frozen, Run};

impl Run {
    /// Returns what was used up until now.
    pub fn spending(&self) -> Spending {
        let model = self.frozen.config.agent.model.as_deref();
        self.summary().spending(&self.frozen.prices, model, self.elsewhere, SystemClock.now())
    }

    /// Returns whether a turn may begin now, and what it may use.
    pub fn fund(&self) -> Fund {
        let rule = self.summary().stop_rule();
        may_begin(&rule.limits, rule.deadline, &self.spending())
    }
}

/// Returns the ledger of the run in `dir`. Where what it was begun with can't be read, prices are those
/// that come with this version.
pub fn ledger_of(dir: &Path, summary: &Summary) -> Ledger {
    match frozen_of(dir, summary) {
        Some(frozen) => summary.spent.ledger(&frozen.prices, frozen.config.agent.model.as_deref()),
        None => summary.spent.ledger(&PriceTable::built_in(), None),
    }
}

/// Returns the model that the settings of the run in `dir` name; none where they name none.
pub fn model_of(dir: &Path, summary: &Summary) -> Option<String> {
    frozen_of(dir, summary)?.config.agent.model
}

fn frozen_of(dir: &Path, summary: &Summary) -> Option<Frozen> {
    serde_json::from_slice(&read_blob(dir, &summary.started.frozen).ok()?).ok()
}

/// Returns what the runs but one used within the 24 hours before `now`. A run whose journal can't be
/// read counts as one attempt of which nothing is known.
///
/// # Errors
/// The directory of the runs can't be read.
pub(super) fn spent_elsewhere(
    runs: &RunsDir,
    but: &RunId,
    now: Timestamp,
) -> Result<Totals, StoreError> {
    let from = now.unix_millis() - DAY_MS;
    let mut sum = Totals::default();
    for id in runs.list()?.into_iter().filter(|id| id != but) {
        let dir = runs.run(&id);
        // A journal that nobody wrote to within the day has nothing to tell, and is not read.
        if !is_newer(&dir.join("events.jsonl"), from) {
            continue;
        }
        sum = sum.plus(match read_summary(&dir, true) {
            Ok((summary, _)) => ledger_of(&dir, &summary).since(from).totals(),
            Err(_) => {
                Totals { attempts: 1, unknown_cost: 1, unknown_tokens: 1, ..Totals::default() }
            }
        });
    }
    Ok(sum)
}

/// Returns whether a file was written to after the moment `from`, in milliseconds since 1970 began;
/// true where that can't be told.
fn is_newer(path: &Path, from: i64) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    path.metadata().map_or(true, |found| found.mtime().saturating_mul(1_000) >= from - 1_000)
}

/// Returns what a person should know whose limit in dollars may see none; none where the model's price is
/// known.
pub fn blind(limits: &Limits, model: Option<&str>, prices: &PriceTable) -> Option<String> {
    if !limits.has_money() || model.is_some_and(|model| prices.find(model).is_some()) {
        return None;
    }
    let why = match model {
        Some(model) => format!("the price of `{model}` is not known"),
        None => "`agent.model` is not set, and with it no price is known".to_owned(),
    };
    Some(format!(
        "{why}: a budget in dollars sees only what the agent reports itself; `budget.prices` tells a price, and `budget.tokens` and `budget.time` rule without one"
    ))
}

/// Returns what a person should know whose limits are seen between turns only.
pub(super) fn between_turns(limits: &Limits, agent: &AgentSettings) -> Option<String> {
    let told = backend(agent).ok()?.tells_usage();
    if !limits.holds_turns() || told == UsageTold::AsItGoes {
        return None;
    }
    let name = agent.backend.as_deref().unwrap_or_default();
    let (when, rest) = match told {
        UsageTold::Never => ("never", "; set `budget.time`, which rules without that"),
        _ => ("only at the end of a turn", ""),
    };
    Some(format!(
        "`{name}` tells {when} what it uses: a budget of money or tokens is held between turns, and one turn may go beyond it{rest}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::RunEvent;
    use crate::report::testing::{BEGAN, TestRun};

    fn check(root: &Path, now: i64, expected: &str) {
        let but = RunId::parse("20261120-101500-0002").unwrap();
        let now = Timestamp::from_unix_millis(now);
        let spent = spent_elsewhere(&RunsDir::of(root), &but, now).unwrap();
        assert_eq!(spent.show_cost(), expected);
    }

    #[test]
    fn other_runs_of_the_day_count_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        check(dir.path(), BEGAN, "-");
        for id in ["20261120-091500-0001", "20261120-101500-0002"] {
            TestRun::begin_at(dir.path(), id, |_| {}).turn("done");
        }
        check(dir.path(), BEGAN + 60_000, "$0.25");
        check(dir.path(), BEGAN + DAY_MS + 60_000, "-");
        let mut cut = TestRun::begin_at(dir.path(), "20261120-111500-0003", |_| {});
        let prompt = cut.put(crate::event::Label::Holdout, "x");
        cut.event(RunEvent::AgentStarted { turn: 1, attempt: 1, prompt, backend: None });
        check(dir.path(), BEGAN + 60_000, "at least $0.25 (+ 1 attempt unknown)");
    }

    #[test]
    fn a_journal_that_is_damaged_is_not_free() {
        let dir = tempfile::tempdir().unwrap();
        let run = TestRun::begin_at(dir.path(), "20261120-091500-0001", |_| {});
        std::fs::write(run.dir().join("events.jsonl"), "{}\n").unwrap();
        check(dir.path(), BEGAN, "unknown");
    }
}
