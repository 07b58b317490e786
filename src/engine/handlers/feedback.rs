//! Compiles what the agent is told, and puts it where it is read.

use crate::engine::results::trajectory;
use crate::engine::run::{git, oid};
use crate::engine::{Failure, Halt, Handler, Run};
use crate::event::{BlobRef, Label, RunEvent};
use crate::feedback::{AgentTree, Input, Limits, Mask, compile};
use crate::git::{Change, Mode};
use crate::journal::write_durably;
use crate::judge::own_files;
use crate::pipeline::{Node, NodeOutcome, Status};

/// See the module.
pub(super) struct Feedback;

impl Handler<Run> for Feedback {
    fn kind(&self) -> &'static str {
        "feedback"
    }

    fn handle(&self, node: &Node, run: &mut Run) -> Result<NodeOutcome, Halt> {
        let iteration = run.summary().iteration();
        if !run.summary().feedback.contains_key(&iteration) {
            write(node, run, true)?;
        } else if run.versioned.is_some() {
            // The event was written and the branch perhaps not moved: the parent of the commit that
            // the event names is where the branch must still be.
            let before = run.parent_of_tip()?;
            run.sync_branch(&before)?;
        }
        Ok(NodeOutcome::of(Status::Success))
    }
}

/// Compiles the feedback of the present iteration, records it and, with `publish`, puts it where
/// the agent reads it: on the run's branch, or for a run in place into the working tree.
pub(super) fn write(node: &Node, run: &mut Run, publish: bool) -> Result<(), Halt> {
    let iteration = run.summary().iteration();
    let (markdown, masked) = compile_now(run)?;
    let markdown = run.recorder.without_secrets(&markdown);
    let blob = run.recorder.put(Label::Public, markdown.clone())?;
    if run.versioned.is_none() {
        write_in_place(run, iteration, &markdown)?;
        return record(node, run, blob, masked, None);
    }
    if !publish || !run.frozen.config.feedback.commit {
        return record(node, run, blob, masked, None);
    }
    let before = run.summary().tip.clone();
    let commit = commit(run, iteration, &markdown, &before)?;
    record(node, run, blob, masked, Some(commit))?;
    run.sync_branch(&before)
}

fn record(
    node: &Node,
    run: &mut Run,
    feedback: BlobRef,
    masked: usize,
    commit: Option<String>,
) -> Result<(), Halt> {
    run.recorder.record(Some(&node.id), RunEvent::FeedbackWritten { feedback, masked, commit })
}

fn compile_now(run: &mut Run) -> Result<(String, usize), Halt> {
    let judged = run.judged()?;
    let (gates, quality) = run.gates()?;
    let last_turn = run.last_turn()?;
    let answer = match &run.summary().answered {
        Some((question, answer)) => Some((run.text(question)?, run.text(answer)?)),
        None => None,
    };
    let gates_changed: Vec<String> = match &run.summary().visit.flagged {
        Some((_, paths)) => run.recorder.get_json(paths)?,
        None => Vec::new(),
    };
    let roots = run.tree_roots();
    let roots: Vec<&str> = roots.iter().map(String::as_str).collect();
    let points = trajectory(&run.frozen.earlier, run.summary());
    let told = |run: &Run, mask: &Mask| {
        let summary = run.summary();
        compile(&Input {
            iteration: summary.iteration(),
            turns_left: summary
                .started
                .agent
                .as_ref()
                .map(|_| summary.max_iterations.saturating_sub(summary.turns_taken())),
            threshold: summary.started.threshold,
            disclosure: run.frozen.config.feedback.disclosure,
            gates: &gates,
            gate_count: Some(run.frozen.gates.len()),
            quality: &quality,
            gates_changed: &gates_changed,
            set: &run.frozen.set,
            judged: &judged,
            satisfaction: summary
                .judgements()
                .next_back()
                .and_then(|(_, judgement)| judgement.satisfaction),
            trajectory: &points,
            passed_before: &summary.satisfied_before,
            last_turn: last_turn.as_ref(),
            answer: answer.as_ref().map(|(question, answer)| (question.as_str(), answer.as_str())),
            tree_roots: &roots,
            mask,
            limits: Limits::default(),
        })
    };
    let mask = run.frozen.mask();
    let mut feedback = told(run, &mask);
    // The agent's tree is read only where it can make a difference.
    if feedback.masked > 0 {
        let own = own_tree(run)?;
        feedback = told(run, &mask.knowing(&own));
    }
    Ok((feedback.markdown, feedback.masked))
}

/// Returns what the agent has before it: the candidate without the scenarios, as its workspace is set
/// up; for a run in place the checkout.
fn own_tree(run: &mut Run) -> Result<AgentTree, Halt> {
    let frozen = run.frozen.clone();
    let scenarios = frozen.config.scenarios.dir.trim_end_matches('/');
    if run.versioned.is_none() {
        let env = run.env.for_tools();
        return Ok(own_files(&run.root, &run.root.join(scenarios), &frozen.set, env));
    }
    let candidate = oid(&run.summary().candidate.0)?;
    let versioned = run.versioned()?;
    let tree = versioned.files_of(&candidate).map_err(git("reading the candidate"))?;
    let scenarios = frozen.scenarios_dir();
    let files: Vec<_> = tree
        .iter()
        .filter(|(_, entry)| entry.mode.is_file())
        .filter(|(path, _)| scenarios.as_ref().is_none_or(|dir| !path.is_within(dir)))
        // As one who stands in the product names it: what the factory wrote there is known by its place.
        .map(|(path, entry)| (frozen.at.seen(&path.to_string()), entry.oid.clone()))
        .collect();
    let mut own = AgentTree::new(&frozen.set);
    let mut bytes = Vec::new();
    versioned
        .repo
        .stream_blobs(files.iter().map(|(_, oid)| oid.clone()), &mut |index, size, from| {
            let path = &files[index].0;
            if own.takes(path, size) {
                bytes.clear();
                from.read_to_end(&mut bytes)?;
                own.add(path, &bytes);
            }
            Ok(())
        })
        .map_err(git("reading the candidate"))?;
    Ok(own)
}

/// Returns the path of an iteration's feedback in the product.
pub(super) fn feedback_path(iteration: u32) -> String {
    format!("artifacts/factory/feedback_iter_{iteration}.md")
}

/// The file that says which iteration was the last.
const COUNT_PATH: &str = "artifacts/factory/iteration_count.txt";

fn write_in_place(run: &Run, iteration: u32, markdown: &str) -> Result<(), Halt> {
    let count = format!("{iteration}\n");
    for (path, text) in [(feedback_path(iteration), markdown), (COUNT_PATH.to_owned(), &count)] {
        let path = run.root.join(path);
        write_durably(&path, text.as_bytes()).map_err(|error| {
            Failure::of("disk", format!("writing {} failed", path.display()), error)
        })?;
    }
    Ok(())
}

/// Makes the commit that holds the feedback, a child of the branch's tip.
fn commit(run: &mut Run, iteration: u32, markdown: &str, tip: &str) -> Result<String, Halt> {
    let author = Run::author();
    let trailers = run.trailers(iteration, "");
    let at = run.summary().last_at;
    let parent = oid(tip)?;
    let frozen = run.frozen.clone();
    let repo = &run.versioned()?.repo;
    let count = format!("{iteration}\n");
    let contents = [markdown.as_bytes(), count.as_bytes()];
    let oids = repo.write_blobs(&contents).map_err(git("writing the feedback"))?;
    let changes: Vec<Change> = [feedback_path(iteration), COUNT_PATH.to_owned()]
        .into_iter()
        .zip(oids)
        .filter_map(|(path, oid)| {
            Some(Change::Set { path: frozen.path(&path)?, mode: Mode::File, oid })
        })
        .collect();
    let base = repo.tree_of(&parent).map_err(git("reading the run's branch"))?;
    let tree = repo.write_tree(Some(&base), &changes).map_err(git("writing the feedback"))?;
    let message = format!("Feedback of iteration {iteration}\n\n{trailers}");
    repo.commit(&tree, &[parent], &message, &author, at)
        .map(|oid| oid.as_str().to_owned())
        .map_err(git("committing the feedback"))
}
