//! Judges the scenarios that have no verdict yet.

use std::collections::BTreeSet;

use crate::config::FixtureScope;
use crate::engine::results::write_results;
use crate::engine::{Failure, Halt, Handler, Recorder, Run};
use crate::event::{Label, RunEvent};
use crate::id::ScenarioId;
use crate::judge::{Progress, Settings, Work, judge_scenarios, read_history};
use crate::pipeline::{Node, NodeOutcome, Status};
use crate::process::end_strays;
use crate::scenario::{Entry, Order, phases};
use crate::verdict::{Judged, Obstacle, Verdict, satisfaction};

const SATISFIED: &str = "satisfied";
const UNSATISFIED: &str = "unsatisfied";

/// See the module.
pub(super) struct Scenarios;

impl Handler<Run> for Scenarios {
    fn kind(&self) -> &'static str {
        "scenarios"
    }

    fn handle(&self, node: &Node, run: &mut Run) -> Result<NodeOutcome, Halt> {
        let place = run.place()?;
        run.lay_judge_repository()?;
        let frozen = run.frozen.clone();
        let known: BTreeSet<ScenarioId> = run.summary().visit.scenarios.keys().cloned().collect();
        let open: Vec<&Entry> =
            frozen.set.entries.iter().filter(|entry| !known.contains(&entry.id)).collect();
        let settings = Settings {
            jobs: frozen.config.scenarios.jobs.count(),
            threshold: Some(frozen.config.satisfaction.threshold),
            evidence: Some(run.evidence()),
            canary: Some(frozen.canary.clone()).filter(|seed| !seed.is_empty()),
            ..Settings::new(frozen.config.scenarios.timeout.0)
        };
        let before = run.summary().ever_judged.clone();
        let mut unable = Vec::new();
        let mut recorded = Ok(());
        // Only an order hangs on what took how long.
        let history = read_history(&run.root.join("artifacts/factory")).ok().flatten();
        let order = if settings.jobs > 1 { Order::Longest } else { Order::File };
        let fixtures = run.fixtures(&place)?;
        let work = Work {
            fixtures: &fixtures,
            entries: &open,
            phases: &phases(&open, order, &history.unwrap_or_default()),
            place: &place,
            judged_before: &before,
            sum_before: satisfaction(&run.judged()?),
        };
        let recorder = &mut run.recorder;
        judge_scenarios(work, &settings, &run.cancel, &mut |progress| {
            if recorded.is_ok() {
                recorded = match progress {
                    Progress::Started(entry) => recorder.record(
                        Some(&node.id),
                        RunEvent::ScenarioStarted { scenario: entry.id.clone() },
                    ),
                    Progress::Output(..) | Progress::Tick => Ok(()),
                    Progress::Judged(judged) if interrupted(&judged.verdict) => Ok(()),
                    Progress::Judged(judged) if obstacle(&judged).is_some() => {
                        unable.push(judged);
                        Ok(())
                    }
                    Progress::Judged(judged) => record(node, recorder, &judged),
                };
            }
        });
        fixtures.candidate_done();
        if frozen.config.fixtures.iter().all(|fixture| fixture.scope != FixtureScope::Run) {
            // Nothing runs any more: whatever there still is came from an evaluation.
            end_strays();
        }
        recorded?;
        if let Err(halt) = run.check_cancel() {
            write_results(run)?;
            return Err(halt);
        }
        // Where nothing at all can be judged no agent is to be paid for it.
        let judged = &run.summary().visit.scenarios;
        let decided = judged.values().any(|(word, _)| word == SATISFIED || word == UNSATISFIED);
        if !decided && let Some(why) = unable.iter().find_map(obstacle) {
            let message = format!("no scenario could be judged: {why}");
            return Err(Failure::plain("judge", message).into());
        }
        for judged in &unable {
            record(node, &mut run.recorder, judged)?;
        }
        Ok(NodeOutcome::of(Status::Success))
    }
}

/// Returns whether there is no verdict since the person stopped the judging; such a scenario is
/// judged when the run goes on.
fn interrupted(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Undecided { why: Obstacle::Interrupted | Obstacle::NotRun })
}

/// Returns what kept the evaluation from being started; none where nothing did.
fn obstacle(judged: &Judged) -> Option<String> {
    let Verdict::Undecided { why } = &judged.verdict else { return None };
    match why {
        Obstacle::CouldNotStart { why } => Some(format!("bash could not be started: {why}")),
        Obstacle::Fixture { name, why } => Some(format!("fixture `{name}` did not start: {why}")),
        Obstacle::Interrupted | Obstacle::NotRun | Obstacle::Deferred => None,
    }
}

fn record(node: &Node, recorder: &mut Recorder, judged: &Judged) -> Result<(), Halt> {
    let event = RunEvent::ScenarioJudged {
        scenario: judged.id.clone(),
        verdict: match judged.verdict {
            Verdict::Satisfied => SATISFIED,
            Verdict::Unsatisfied { .. } => UNSATISFIED,
            Verdict::Undecided { .. } => "undecided",
            Verdict::Skipped { .. } => "skipped",
        }
        .to_owned(),
        ms: u64::try_from(judged.duration().as_millis()).unwrap_or(u64::MAX),
        result: recorder.put_json(Label::Holdout, judged)?,
    };
    recorder.record(Some(&node.id), event)
}
