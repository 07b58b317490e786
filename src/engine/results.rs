//! What a run has found of a candidate, as values and as `scenario_results.json`.

use crate::agent::NOTHING_TO_DO;
use crate::clock::{Clock as _, SystemClock};
use crate::convergence::{Step, TurnClass};
use crate::event::{DeliveryDetail, DroppedKind, Summary, TurnDelivery};
use crate::feedback::{LastTurn, Point};
use crate::journal::write_durably;
use crate::judge::remember;
use crate::report::results::Results;
use crate::scenario::Entry;
use crate::text::plural;
use crate::verdict::{GateResult, Judged, Obstacle, Verdict, satisfaction};

use super::{Failure, Halt, Run};

impl Run {
    /// Returns the verdicts of the present judgement in the order of the scenarios.
    ///
    /// # Errors
    /// A blob can't be read.
    pub fn judged(&self) -> Result<Vec<Judged>, Halt> {
        let visit = &self.summary().visit;
        self.frozen
            .set
            .entries
            .iter()
            .filter_map(|entry| visit.scenarios.get(&entry.id))
            .map(|(_, result)| self.recorder.get_json(result))
            .collect()
    }

    /// Returns the results of the present judgement's gates and quality checks, in order. A set-up
    /// command that the agent broke counts as a gate, before the others.
    ///
    /// # Errors
    /// A blob can't be read.
    pub fn gates(&self) -> Result<(Vec<GateResult>, Vec<GateResult>), Halt> {
        let (mut gates, mut quality) = (Vec::new(), Vec::new());
        let visit = &self.summary().visit;
        for (passed, result) in visit.prepared.values() {
            if let (false, Some(result)) = (passed, result) {
                gates.push(self.recorder.get_json(result)?);
            }
        }
        for (_, blocking, result) in visit.gates.values() {
            let list = if *blocking { &mut gates } else { &mut quality };
            list.push(self.recorder.get_json(result)?);
        }
        Ok((gates, quality))
    }

    /// Returns what became of the last turn, as the agent is told; none before the first.
    ///
    /// # Errors
    /// A blob can't be read.
    pub fn last_turn(&self) -> Result<Option<LastTurn>, Halt> {
        let Some((turn, delivery)) = self
            .summary()
            .turns
            .iter()
            .rev()
            .find_map(|turn| Some((turn, turn.delivery.as_ref()?)))
        else {
            return Ok(None);
        };
        let detail: DeliveryDetail = self.recorder.get_json(delivery.detail())?;
        let dropped = detail.dropped_kinds();
        Ok(Some(LastTurn {
            outcome: outcome_of(turn.class.as_deref().unwrap_or_default(), delivery),
            unchanged: matches!(delivery, TurnDelivery::Unchanged { .. })
                && detail.dropped.is_empty(),
            dropped: dropped.into_iter().map(|kind| self.seen_by_agent(kind)).collect(),
            refused: detail.refused,
            not_delivered: detail.ignored.iter().map(|path| self.frozen.at.seen(path)).collect(),
            interrupted: turn.interrupted > 0,
        }))
    }
}

impl Run {
    /// Returns what was dropped as the agent names it, which stands in the product's directory.
    fn seen_by_agent(&self, mut kind: DroppedKind) -> DroppedKind {
        kind.entries.iter_mut().for_each(|entry| entry.path = self.frozen.at.seen(&entry.path));
        kind
    }
}

/// Returns what a turn came to, as a fragment.
fn outcome_of(class: &str, delivery: &TurnDelivery) -> String {
    match (class, delivery) {
        (_, TurnDelivery::Refused { .. }) => "refused as a whole".to_owned(),
        (class, TurnDelivery::Accepted { files, .. }) => {
            let files = plural(*files, "file");
            match TurnClass::parse(class) {
                None | Some(TurnClass::Done) => format!("delivered {files}"),
                Some(class) => format!("delivered {files}, though the agent {}", class.words()),
            }
        }
        (class, TurnDelivery::Unchanged { .. }) => match TurnClass::parse(class) {
            Some(TurnClass::Done) => "delivered nothing".to_owned(),
            Some(TurnClass::NoOp) => {
                format!("changed nothing; where nothing is left to do, say {NOTHING_TO_DO}")
            }
            Some(class) if class.delivers() => {
                format!("delivered nothing: the agent {}", class.words())
            }
            _ => format!("ended as `{class}`; nothing of it was taken"),
        },
    }
}

/// Returns one point for each iteration, those of earlier runs on the branch first.
pub fn trajectory(earlier: &[Point], summary: &Summary) -> Vec<Point> {
    let first = summary.started.first_iteration;
    let mut points: Vec<Point> =
        earlier.iter().filter(|point| point.iteration < first).cloned().collect();
    for (iteration, step) in &summary.steps {
        let turn = summary.turns.iter().find(|turn| first + turn.turn == *iteration);
        points.push(match step {
            Step::Judged(judgement) => Point {
                iteration: *iteration,
                score: judgement.satisfaction.and_then(|s| s.score()),
                passed: judgement.satisfaction.map_or(0, |s| s.passed),
                total: judgement.satisfaction.map_or(summary.started.scenarios, |s| s.total),
                gates_passed: judgement.gates_passed,
                gates: judgement.gates,
                note: if *iteration == first { "base".to_owned() } else { String::new() },
            },
            Step::Unchanged => {
                let refused =
                    turn.is_some_and(|t| matches!(t.delivery, Some(TurnDelivery::Refused { .. })));
                let before = points.last().cloned().unwrap_or_default();
                Point {
                    iteration: *iteration,
                    note: if refused { "refused" } else { "no change" }.to_owned(),
                    ..before
                }
            }
        });
    }
    points
}

/// Writes `artifacts/factory/scenario_results.json` for the present judgement. Scenarios that have
/// no verdict yet are undecided in it; where a gate failed, there are none.
///
/// # Errors
/// A blob can't be read, or the file can't be written.
pub(super) fn write_results(run: &Run) -> Result<(), Halt> {
    let gate_failed = run.summary().visit.gate_failed();
    let mut judged = run.judged()?;
    if !gate_failed {
        let known = &run.summary().visit.scenarios;
        let open = run.frozen.set.entries.iter().filter(|entry| !known.contains_key(&entry.id));
        judged.extend(open.map(not_run));
    }
    let results = Results::new(SystemClock.now(), &judged, &satisfaction(&judged), gate_failed);
    let path = run.root.join("artifacts/factory/scenario_results.json");
    write_durably(&path, &results.to_json()).map_err(|error| {
        Halt::from(Failure::of("disk", format!("writing {} failed", path.display()), error))
    })?;
    if run.versioned.is_some() {
        return Ok(());
    }
    // It was the working tree that was judged: `run-scenarios --failed` goes by it, too.
    let pasts = judged.iter().map(|one| (one.id.clone(), one.past()));
    remember(&run.root.join("artifacts/factory"), pasts)
        .map_err(|error| Failure::of("disk", "keeping the history failed", error).into())
}

fn not_run(entry: &Entry) -> Judged {
    Judged::of(entry, Verdict::Undecided { why: Obstacle::NotRun }, Vec::new())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::event::{BlobRef, Envelope, Judgement, Label, RunEvent, RunStarted, Tier};
    use crate::id::{Digest, RunId};

    #[test]
    fn the_trajectory_goes_on_from_earlier_runs_and_shows_turns_without_changes() {
        let blob = BlobRef { digest: Digest::of(b""), bytes: 0, label: Label::Internal };
        let judged = |gates_passed| {
            RunEvent::CandidateJudged(Judgement {
                commit: "c".into(),
                tree: "t".into(),
                gates_passed,
                gates: None,
                gates_changed: false,
                satisfaction: None,
            })
        };
        let events = [
            RunEvent::RunStarted(Box::new(RunStarted {
                version: String::new(),
                graph: "converge".into(),
                base: "c".into(),
                tree: "t".into(),
                base_branch: None,
                branch: "factory/r".into(),
                first_iteration: 2,
                threshold: 0.8,
                stalled_after: 3,
                max_iterations: 5,
                limits: crate::convergence::Limits::default(),
                deadline: None,
                scenarios: 4,
                agent: None,
                tier: Tier::Copy,
                judge_tier: Tier::Copy,
                in_place: false,
                product: String::new(),
                frozen: blob.clone(),
            })),
            judged(false),
            RunEvent::DeliveryUnchanged { turn: 1, dropped: 0, detail: blob },
        ];
        let envelopes: Vec<Envelope> = events
            .into_iter()
            .zip(1..)
            .map(|(event, seq)| Envelope {
                seq,
                time: Timestamp::from_unix_millis(0),
                run: RunId::parse("r").unwrap(),
                node: None,
                iteration: Some(2),
                event,
                prev: None,
            })
            .collect();
        let earlier = [
            Point { iteration: 1, passed: 1, ..Point::default() },
            Point { iteration: 2, passed: 9, ..Point::default() },
        ];
        let points = trajectory(&earlier, &Summary::of(&envelopes).unwrap());
        let shown: Vec<(u32, &str)> =
            points.iter().map(|point| (point.iteration, point.note.as_str())).collect();
        assert_eq!(shown, [(1, ""), (2, "base"), (3, "no change")]);
        assert!(!points[1].gates_passed);
    }
}
