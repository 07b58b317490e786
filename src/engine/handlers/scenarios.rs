//! Judges the scenarios that have no verdict yet.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::config::Jobs;
use crate::engine::results::write_results;
use crate::engine::{Halt, Handler, Run};
use crate::event::{BlobRef, Label, RunEvent};
use crate::id::ScenarioId;
use crate::judge::{Progress, Settings, judge_scenarios};
use crate::pipeline::{Node, NodeOutcome, Status};
use crate::scenario::Entry;
use crate::verdict::{Judged, Obstacle, Verdict};

/// The time between TERM and KILL when an evaluation has to end.
const GRACE: Duration = Duration::from_secs(2);

/// See the module.
pub(super) struct Scenarios;

impl Handler<Run> for Scenarios {
    fn kind(&self) -> &'static str {
        "scenarios"
    }

    fn handle(&self, node: &Node, run: &mut Run) -> Result<NodeOutcome, Halt> {
        let place = run.place()?;
        let frozen = run.frozen.clone();
        let known: BTreeSet<ScenarioId> = run.summary().visit.scenarios.keys().cloned().collect();
        let open: Vec<&Entry> =
            frozen.set.entries.iter().filter(|entry| !known.contains(&entry.id)).collect();
        let settings = Settings {
            timeout: frozen.config.scenarios.timeout.0,
            jobs: jobs(frozen.config.scenarios.jobs),
            timeout_override: None,
            grace: GRACE,
        };
        let before = run.summary().ever_judged.clone();
        let mut recorded = Ok(());
        let recorder = &mut run.recorder;
        judge_scenarios(&open, &place, &settings, &before, &run.cancel, &mut |progress| {
            if recorded.is_ok() {
                recorded = match progress {
                    Progress::Started(entry) => recorder.record(
                        Some(&node.id),
                        RunEvent::ScenarioStarted { scenario: entry.id.clone() },
                    ),
                    Progress::Judged(judged) if interrupted(&judged.verdict) => Ok(()),
                    Progress::Judged(judged) => recorder
                        .put_json(Label::Holdout, judged)
                        .and_then(|result| recorder.record(Some(&node.id), event(judged, result))),
                };
            }
        });
        recorded?;
        if let Err(halt) = run.check_cancel() {
            write_results(run)?;
            return Err(halt);
        }
        Ok(NodeOutcome::of(Status::Success))
    }
}

/// Returns how many scenarios run at a time.
fn jobs(jobs: Jobs) -> usize {
    match jobs {
        Jobs::Count(count) => count,
        Jobs::Auto => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
    }
}

/// Returns whether there is no verdict since the person stopped the judging; such a scenario is
/// judged when the run goes on.
fn interrupted(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Undecided { why: Obstacle::Interrupted | Obstacle::NotRun })
}

fn event(judged: &Judged, result: BlobRef) -> RunEvent {
    RunEvent::ScenarioJudged {
        scenario: judged.id.clone(),
        verdict: match judged.verdict {
            Verdict::Satisfied => "satisfied",
            Verdict::Unsatisfied { .. } => "unsatisfied",
            Verdict::Undecided { .. } => "undecided",
            Verdict::Skipped { .. } => "skipped",
        }
        .to_owned(),
        ms: u64::try_from(judged.duration().as_millis()).unwrap_or(u64::MAX),
        result,
    }
}
