//! Reading a long run: 200 iterations of 500 scenarios.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use dark_factory::clock::Timestamp;
use dark_factory::convergence::{Decision, Limits};
use dark_factory::event::{BlobRef, Envelope, Judgement, Label, RunEvent, RunStarted, Tier, Usage};
use dark_factory::id::{Digest, NodeId, RunId, ScenarioId};
use dark_factory::journal::{RunsDir, read_summary};
use dark_factory::pipeline::{NodeOutcome, Status};
use dark_factory::verdict::Satisfaction;

use super::figures::{Table, median_of, run};
use super::repository::Product;

const ITERATIONS: u32 = 200;
const SCENARIOS: usize = 500;

/// Measures it.
pub(crate) fn measure() {
    let product = Product::new();
    product.write("README.md", "A product.\n");
    product.commit();
    let id = RunId::parse("20261120-091500-00ff").unwrap();
    let dir = RunsDir::of(&product.root()).run(&id);
    fs::create_dir_all(dir.join("blobs")).unwrap();
    let path = dir.join("events.jsonl");
    let lines = write_journal(&path, &id);

    let floor = median_of(9, || run(Command::new("wc").arg("-l").arg(&path), &[0]));
    let title = format!(
        "status: {ITERATIONS} iterations of {SCENARIOS} scenarios, {lines} lines of {:.0} MB",
        fs::metadata(&path).unwrap().len() as f64 / 1e6
    );
    let table = Table::new(&title, &[("wc -l", floor)]);
    let brief = median_of(9, || read_summary(&dir, true).unwrap());
    table.line("read_summary, brief", brief);
    let status = || {
        let mut command = product.factory(env!("CARGO_BIN_EXE_factory"));
        command.args(["status", "--json"]);
        command
    };
    let answer = status().output().unwrap();
    if answer.stdout.starts_with(b"{") {
        let codes = [answer.status.code().unwrap()];
        table.line("factory status --json", median_of(9, || run(&mut status(), &codes)));
    } else {
        println!("  factory status --json: no such subcommand");
    }
    table.line(
        "read_summary, whole, the chain checked",
        median_of(3, || read_summary(&dir, false).unwrap()),
    );
}

/// Writes the journal of a run that was never satisfied; returns how many lines it has.
fn write_journal(path: &Path, run: &RunId) -> u64 {
    let mut journal = Writer {
        to: std::io::BufWriter::new(fs::File::create(path).unwrap()),
        run: run.clone(),
        seq: 0,
        prev: None,
    };
    let blob = |text: &str, label| BlobRef {
        digest: Digest::of(text.as_bytes()),
        bytes: text.len() as u64,
        label,
    };
    let commit = |number: u32| Digest::of(&number.to_le_bytes()).as_str()[..40].to_owned();
    journal.add(
        None,
        0,
        RunEvent::RunStarted(Box::new(RunStarted {
            version: "0".into(),
            graph: "converge".into(),
            base: commit(0),
            tree: commit(0),
            base_branch: Some("main".into()),
            branch: format!("factory/{run}"),
            first_iteration: 0,
            threshold: 1.0,
            stalled_after: ITERATIONS,
            max_iterations: ITERATIONS,
            limits: Limits::default(),
            deadline: None,
            scenarios: SCENARIOS,
            agent: Some("command".into()),
            tier: Tier::Copy,
            judge_tier: Tier::Copy,
            in_place: false,
            product: String::new(),
            frozen: blob("frozen", Label::Holdout),
        })),
    );
    for iteration in 0..ITERATIONS {
        let mut node = |name: &str, next: &str, outcome: NodeOutcome, events: Vec<RunEvent>| {
            let id = NodeId::parse(name).unwrap();
            let (visit, attempt) = (iteration + 1, 1);
            journal.add(Some(&id), iteration, RunEvent::NodeStarted { visit, attempt });
            for event in events {
                journal.add(Some(&id), iteration, event);
            }
            journal.add(Some(&id), iteration, RunEvent::NodeFinished { visit, attempt, outcome });
            let to = NodeId::parse(next).unwrap();
            journal.add(Some(&id), iteration, RunEvent::EdgeTaken { to });
        };
        let done = || NodeOutcome::of(Status::Success);
        node("prepare", "gates", done(), Vec::new());
        let gate = RunEvent::GateFinished {
            gate: 0,
            passed: true,
            blocking: true,
            ms: 900,
            result: blob("gate", Label::Internal),
        };
        node("gates", "scenarios", done(), vec![RunEvent::GateStarted { gate: 0 }, gate]);
        let judged = (0..SCENARIOS).flat_map(|number| {
            let scenario =
                ScenarioId::parse(&format!("a-behaviour-that-counts-{number:03}")).unwrap();
            let verdict = if number % 3 == 0 { "unsatisfied" } else { "satisfied" };
            let result = blob(&format!("{iteration} {number}"), Label::Holdout);
            [
                RunEvent::ScenarioStarted { scenario: scenario.clone() },
                RunEvent::ScenarioJudged { scenario, verdict: verdict.into(), ms: 120, result },
            ]
        });
        node("scenarios", "decide", done(), judged.collect());
        let judgement = RunEvent::CandidateJudged(Judgement {
            commit: commit(iteration),
            tree: commit(iteration),
            gates_passed: true,
            gates: Some(1),
            gates_changed: false,
            satisfaction: Some(Satisfaction {
                total: SCENARIOS,
                passed: SCENARIOS * 2 / 3,
                failed: SCENARIOS - SCENARIOS * 2 / 3,
                weight_satisfied: (SCENARIOS * 2 / 3) as f64,
                weight_judged: SCENARIOS as f64,
                ..Satisfaction::default()
            }),
        });
        let turns_left = ITERATIONS - iteration;
        let decision = RunEvent::DecisionMade { decision: Decision::Continue { turns_left } };
        node("decide", "feedback", NodeOutcome::labelled("continue"), vec![judgement, decision]);
        let feedback = RunEvent::FeedbackWritten {
            feedback: blob(&format!("feedback {iteration}"), Label::Public),
            masked: 3,
            commit: Some(commit(iteration + 1_000)),
        };
        node("feedback", "agent", done(), vec![feedback]);
        let turn = iteration + 1;
        let prompt = blob(&format!("prompt {iteration}"), Label::Public);
        let taken = vec![
            RunEvent::WorkspaceChecked { files: 100, withheld: 0, paths: None },
            RunEvent::AgentStarted { turn, attempt: 1, prompt, backend: None },
            RunEvent::AgentFinished {
                turn,
                attempt: 1,
                class: "done".into(),
                exit: Some(0),
                ms: 60_000,
                usage: Usage { input_tokens: Some(90_000), ..Usage::default() },
                usage_is_partial: false,
                model: None,
                trouble: None,
                resets: None,
                nothing_to_do: false,
                activity: None,
                reaped: 0,
                says: None,
                contacted: None,
            },
        ];
        node("agent", "deliver", done(), taken);
        let accepted = RunEvent::DeliveryAccepted {
            turn,
            commit: commit(turn),
            tree: commit(turn),
            files: 4,
            dropped: 0,
            detail: blob(&format!("delivery {iteration}"), Label::Internal),
        };
        node("deliver", "prepare", NodeOutcome::labelled("changed"), vec![accepted]);
    }
    journal.to.flush().unwrap();
    journal.seq
}

struct Writer {
    to: std::io::BufWriter<fs::File>,
    run: RunId,
    seq: u64,
    prev: Option<Digest>,
}

impl Writer {
    fn add(&mut self, node: Option<&NodeId>, iteration: u32, event: RunEvent) {
        self.seq += 1;
        let line = Envelope {
            seq: self.seq,
            time: Timestamp::from_unix_millis(1_795_166_100_000 + self.seq as i64),
            run: self.run.clone(),
            node: node.cloned(),
            iteration: Some(iteration),
            event,
            prev: self.prev.take(),
        }
        .to_line()
        .unwrap();
        writeln!(self.to, "{line}").unwrap();
        self.prev = Some(Digest::of(line.as_bytes()));
    }
}
