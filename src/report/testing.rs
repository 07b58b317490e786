//! Runs for tests: real journals with invented events.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::clock::{SteppingClock, Timestamp};
use crate::convergence::Decision;
use crate::event::{
    BlobRef, DeliveryDetail, Judgement, Label, RunEvent, RunStarted, Summary, Tier, Usage,
};
use crate::id::{NodeId, RunId, ScenarioId};
use crate::journal::{DirStore, Journal, RunsDir, read_summary};
use crate::text::Redaction;
use crate::verdict::Satisfaction;

use super::{Names, Reporter, Scene};

/// When the first event of every test run is written.
pub(crate) const BEGAN: i64 = 1_795_166_100_000;

/// A run in the making, in a directory that may go with it.
pub(crate) struct TestRun {
    root: PathBuf,
    _temporary: Option<tempfile::TempDir>,
    id: RunId,
    journal: Journal,
    iteration: u32,
    turn: u32,
    node: NodeId,
}

impl TestRun {
    /// Begins a run in a directory of its own, with an agent that may take five turns.
    pub(crate) fn begin(id: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut run = Self::begin_at(dir.path(), id, |_| {});
        run._temporary = Some(dir);
        run
    }

    /// Begins a run in the product at `root`; `change` may change its settings.
    pub(crate) fn begin_at(root: &Path, id: &str, change: impl FnOnce(&mut RunStarted)) -> Self {
        let id = RunId::parse(id).unwrap();
        let store = DirStore::open(&RunsDir::of(root).run(&id)).unwrap();
        let clock = Arc::new(SteppingClock::starting_at(Timestamp::from_unix_millis(BEGAN)));
        let journal = Journal::begin(Box::new(store), id.clone(), clock, Redaction::default());
        let node = NodeId::parse("begin").unwrap();
        let mut run = Self {
            root: root.to_owned(),
            _temporary: None,
            id,
            journal,
            iteration: 0,
            turn: 0,
            node,
        };
        let mut started = RunStarted {
            version: "0.1.0".into(),
            graph: "converge".into(),
            base: "c0ffee0000".repeat(4),
            tree: "aaaaaaaaaa".repeat(4),
            base_branch: Some("refs/heads/main".into()),
            branch: format!("factory/{}", run.id),
            first_iteration: 0,
            threshold: 0.8,
            stalled_after: 3,
            max_iterations: 5,
            limits: crate::convergence::Limits::default(),
            deadline: None,
            scenarios: 4,
            agent: Some("replay".into()),
            tier: Tier::Copy,
            judge_tier: Tier::Copy,
            in_place: false,
            product: String::new(),
            frozen: run.put(Label::Holdout, "{}"),
        };
        change(&mut started);
        run.iteration = started.first_iteration;
        run.event(RunEvent::RunStarted(Box::new(started)));
        run
    }

    pub(crate) fn id(&self) -> &RunId {
        &self.id
    }

    pub(crate) fn dir(&self) -> PathBuf {
        RunsDir::of(&self.root).run(&self.id)
    }

    pub(crate) fn put(&self, label: Label, text: impl Into<Vec<u8>>) -> BlobRef {
        self.journal.put(label, text.into()).unwrap()
    }

    pub(crate) fn json(&self, label: Label, value: &impl serde::Serialize) -> BlobRef {
        self.put(label, serde_json::to_vec(value).unwrap())
    }

    pub(crate) fn event(&mut self, event: RunEvent) -> &mut Self {
        let node = matches!(
            event,
            RunEvent::NodeStarted { .. }
                | RunEvent::NodeFinished { .. }
                | RunEvent::EdgeTaken { .. }
        )
        .then(|| self.node.clone());
        self.journal.append(node.as_ref(), Some(self.iteration), event).unwrap();
        self
    }

    /// Enters a node.
    pub(crate) fn at(&mut self, node: &str) -> &mut Self {
        self.node = NodeId::parse(node).unwrap();
        self.event(RunEvent::NodeStarted { visit: 1, attempt: 1 })
    }

    /// Judges the candidate: `commit` is repeated to 40 digits, `verdicts` are scenario and verdict.
    pub(crate) fn judged(&mut self, commit: &str, verdicts: &[(&str, &str)]) -> &mut Self {
        let count = |wanted: &str| verdicts.iter().filter(|(_, v)| *v == wanted).count();
        let (passed, failed) = (count("satisfied"), count("unsatisfied"));
        for (scenario, verdict) in verdicts {
            let result = self.put(Label::Holdout, format!("{scenario} {verdict}"));
            self.event(RunEvent::ScenarioJudged {
                scenario: ScenarioId::parse(scenario).unwrap(),
                verdict: (*verdict).to_owned(),
                ms: 140,
                result,
            });
        }
        let satisfaction = Satisfaction {
            total: verdicts.len(),
            passed,
            failed,
            skipped: count("skipped"),
            undecided: count("undecided"),
            weight_satisfied: passed as f64,
            weight_judged: (verdicts.len() - count("skipped")) as f64,
            ..Satisfaction::default()
        };
        self.closed(commit, Some(satisfaction), false)
    }

    /// Closes a judgement; none as satisfaction says that a gate failed.
    pub(crate) fn closed(
        &mut self,
        commit: &str,
        satisfaction: Option<Satisfaction>,
        gates_changed: bool,
    ) -> &mut Self {
        self.event(RunEvent::CandidateJudged(Judgement {
            commit: oid(commit),
            tree: oid(commit),
            gates_passed: satisfaction.is_some(),
            gates: Some(1),
            gates_changed,
            satisfaction,
        }))
    }

    pub(crate) fn decided(&mut self, decision: Decision) -> &mut Self {
        self.event(RunEvent::DecisionMade { decision })
    }

    /// Tells the agent, and lets it take its turn to the end.
    pub(crate) fn turn(&mut self, class: &str) -> &mut Self {
        let text = format!("# Feedback, iteration {}\n", self.iteration);
        let feedback = self.put(Label::Public, text);
        self.event(RunEvent::FeedbackWritten { feedback, masked: 0, commit: None });
        self.turn += 1;
        let (turn, prompt) = (self.turn, self.put(Label::Public, format!("prompt {}", self.turn)));
        self.event(RunEvent::AgentStarted { turn, attempt: 1, prompt, backend: None });
        let says = Some(self.put(Label::Internal, format!("I am done with turn {turn}.")));
        let usage = Usage { cost_usd: Some(0.25), ..Usage::default() };
        let mut finished = RunEvent::agent_finished(turn, 1, 12_000, usage);
        if let RunEvent::AgentFinished { class: ended, says: said, .. } = &mut finished {
            class.clone_into(ended);
            *said = says;
        }
        self.event(finished)
    }

    pub(crate) fn accepted(
        &mut self,
        commit: &str,
        accepted: &[&str],
        dropped: &[(&str, &str)],
    ) -> &mut Self {
        let owned = |text: &&str| (*text).to_owned();
        let detail = DeliveryDetail {
            accepted: accepted.iter().map(owned).collect(),
            dropped: dropped.iter().map(|(p, w)| ((*p).to_owned(), (*w).to_owned())).collect(),
            ..DeliveryDetail::default()
        };
        let detail = self.json(Label::Internal, &detail);
        self.event(RunEvent::DeliveryAccepted {
            turn: self.turn,
            commit: oid(commit),
            tree: oid(commit),
            files: accepted.len(),
            dropped: dropped.len(),
            detail,
        });
        self.iteration += 1;
        self
    }

    pub(crate) fn unchanged(&mut self, ignored: &[&str]) -> &mut Self {
        let ignored = ignored.iter().map(|text| (*text).to_owned()).collect();
        let detail = DeliveryDetail { ignored, ..DeliveryDetail::default() };
        let detail = self.json(Label::Internal, &detail);
        self.event(RunEvent::DeliveryUnchanged { turn: self.turn, dropped: 0, detail });
        self.iteration += 1;
        self
    }

    pub(crate) fn refused(&mut self, class: &str, why: &str) -> &mut Self {
        let detail = DeliveryDetail { refused: Some(why.to_owned()), ..DeliveryDetail::default() };
        let detail = self.json(Label::Internal, &detail);
        self.event(RunEvent::DeliveryRefused { turn: self.turn, class: class.to_owned(), detail });
        self.iteration += 1;
        self
    }

    pub(crate) fn finished(&mut self, decision: Decision) -> &mut Self {
        let (outcome, exit) = (decision.class().to_owned(), decision.exit_code());
        self.decided(decision);
        self.event(RunEvent::RunFinished { outcome, exit })
    }

    pub(crate) fn summary(&self) -> Summary {
        read_summary(&self.dir(), false).unwrap().0
    }

    /// Tells a reporter all that has happened.
    pub(crate) fn tell(&self, names: &Names, reporter: &mut impl Reporter) {
        let events = read_summary(&self.dir(), false).unwrap().1;
        let mut summary = Summary::begin(&events[0]).unwrap();
        for (i, envelope) in events.iter().enumerate() {
            if i > 0 {
                summary.apply(envelope);
            }
            let scene = Scene { summary: &summary, names, journal: &self.journal };
            reporter.event(&scene, envelope);
        }
    }
}

/// Returns 40 digits that begin with `text`; a whole id stays as it is.
fn oid(text: &str) -> String {
    if text.len() == 40 { text.to_owned() } else { format!("{text:0<40}") }
}

/// A run that gets better, worse, has paths dropped, a turn refused, one without changes, and
/// converges.
pub(crate) fn eventful(run: &mut TestRun) {
    let (yes, no) = ("satisfied", "unsatisfied");
    run.judged(
        "c0ffee0000c0ffee0000c0ffee0000c0ffee0000",
        &[("a", yes), ("b", no), ("c", no), ("d", no)],
    );
    run.decided(Decision::Continue { turns_left: 5 }).turn("done");
    run.accepted("1111", &["src/b.py", "src/c.py"], &[("scenarios/x.md", "the path is protected")]);
    run.judged("1111", &[("a", no), ("b", yes), ("c", yes), ("d", no)]);
    run.decided(Decision::Continue { turns_left: 4 }).turn("done").unchanged(&[]);
    run.decided(Decision::Continue { turns_left: 3 }).turn("done");
    run.refused("link_outside", "the link `out` leads out of the tree");
    run.decided(Decision::Continue { turns_left: 2 }).turn("done");
    run.accepted("2222", &["src/a.py"], &[]);
    run.judged("2222", &[("a", yes), ("b", yes), ("c", yes), ("d", yes)]);
    run.finished(Decision::Converged { score: 1.0, threshold: 0.8, gates: Some(1) });
}
