//! Closes the judgement of a candidate, and decides from the history alone.

use crate::convergence::{Decision, decide};
use crate::engine::results::write_results;
use crate::engine::{Halt, Handler, Run};
use crate::event::{Judgement, RunEvent};
use crate::pipeline::{Node, NodeOutcome};
use crate::verdict::satisfaction;

/// See the module.
pub(super) struct Decide;

impl Handler<Run> for Decide {
    fn kind(&self) -> &'static str {
        "decide"
    }

    fn handle(&self, node: &Node, run: &mut Run) -> Result<NodeOutcome, Halt> {
        if run.summary().candidate_is_open() {
            let judgement = judgement(run)?;
            write_results(run)?;
            run.recorder.record(Some(&node.id), RunEvent::CandidateJudged(judgement))?;
        }
        let decision = decide(&run.summary().stop_rule(), &run.summary().history(run.spending()));
        let label = if matches!(decision, Decision::Continue { .. }) { "continue" } else { "stop" };
        run.recorder.record(Some(&node.id), RunEvent::DecisionMade { decision })?;
        Ok(NodeOutcome::labelled(label))
    }
}

/// Adds up what gates and scenarios came to.
fn judgement(run: &Run) -> Result<Judgement, Halt> {
    let summary = run.summary();
    let gates_passed = !summary.visit.gate_failed();
    let judged = run.judged()?;
    let (commit, tree) = summary.candidate.clone();
    Ok(Judgement {
        commit,
        tree,
        gates_passed,
        gates: Some(summary.visit.gates.values().filter(|(_, blocking, _)| *blocking).count()),
        gates_changed: summary.visit.flagged.is_some(),
        satisfaction: gates_passed.then(|| satisfaction(&judged)),
    })
}
