//! One turn of the coding agent, in its workspace.

use std::path::PathBuf;
use std::sync::Arc;

use crate::agent::{
    self, AgentError, Answer, Ended, PromptContext, Recovered, Turn, TurnLimits, TurnPaths,
    TurnRecord, backend, prepare_home, recover, run_turn,
};
use crate::engine::handlers::deliver::workspace_patch;
use crate::engine::handlers::feedback::feedback_path;
use crate::engine::handlers::prepare::place_in_workspace;
use crate::engine::receipt::{self, Handed};
use crate::engine::run::{git, private_dir, tree_failure};
use crate::engine::{Failure, Halt, Handler, Run};
use crate::event::{Label, RunEvent, Tier};
use crate::git::{Mode, Tree, TreeEntry};
use crate::id::Digest;
use crate::journal::write_durably;
use crate::pipeline::{Node, NodeOutcome, Status};
use crate::text::TreePath;
use crate::wall::ManagedTree;

/// See the module.
pub(super) struct Agent;

impl Handler<Run> for Agent {
    fn kind(&self) -> &'static str {
        "agent"
    }

    fn handle(&self, node: &Node, run: &mut Run) -> Result<NodeOutcome, Halt> {
        let number = run.summary().turns_taken() + 1;
        let last = run.summary().turns.iter().find(|turn| turn.turn == number).cloned();
        let mut attempt = 1;
        if let Some(last) = last {
            match last.class.as_deref() {
                // The turn ended, and the crash came before the node was done.
                Some(class) if class != "interrupted" => {
                    return Ok(NodeOutcome::of(Status::Success));
                }
                Some(_) => attempt = last.attempts + 1,
                None => match recover_turn(node, run, number, last.attempts)? {
                    Left::Done => return Ok(NodeOutcome::of(Status::Success)),
                    Left::Again(next) => attempt = next,
                },
            }
        }
        take_turn(node, run, number, attempt)?;
        Ok(NodeOutcome::of(Status::Success))
    }
}

/// What a turn that this process did not see the end of came to.
enum Left {
    /// Its end was recorded.
    Done,
    /// It has to be taken again, as this attempt.
    Again(u32),
}

fn recover_turn(node: &Node, run: &mut Run, turn: u32, attempt: u32) -> Result<Left, Halt> {
    let paths = turn_paths(run, turn, attempt)?;
    let token = token(run, turn, attempt);
    let recovered = recover(&paths.record, &token).map_err(|error| {
        Failure::of("agent", "ending what is left of the interrupted agent failed", error)
    })?;
    match recovered {
        Recovered::NeverStarted => Ok(Left::Again(attempt + 1)),
        Recovered::Ended(record) if record.ended == Ended::Interrupted => {
            interrupted(node, run, turn, attempt, record.reaped as usize)?;
            Ok(Left::Again(attempt + 1))
        }
        Recovered::Ended(record) => {
            finished(node, run, turn, attempt, &paths, &record)?;
            Ok(Left::Done)
        }
        Recovered::CutShort { ended_processes } => {
            interrupted(node, run, turn, attempt, ended_processes)?;
            Ok(Left::Again(attempt + 1))
        }
    }
}

/// Records that a turn was cut short, and keeps what it had changed as a patch.
fn interrupted(
    node: &Node,
    run: &mut Run,
    turn: u32,
    attempt: u32,
    ended_processes: usize,
) -> Result<(), Halt> {
    let diff = workspace_patch(run)?;
    let diff = diff.map(|patch| run.recorder.put(Label::Internal, patch)).transpose()?;
    run.recorder
        .record(Some(&node.id), RunEvent::AgentInterrupted { turn, attempt, ended_processes, diff })
}

fn take_turn(node: &Node, run: &mut Run, turn: u32, attempt: u32) -> Result<(), Halt> {
    let frozen = run.frozen.clone();
    let settings = &frozen.config.agent;
    let chosen = backend(settings).map_err(agent_failure)?;
    chosen.check(settings, &run.env).map_err(agent_failure)?;

    let (files, withheld) = set_up_workspace(node, run)?;
    let paths = turn_paths(run, turn, attempt)?;
    let person_home = run.env.home();
    prepare_home(&paths.home, &paths.tmp, &settings.home, person_home.as_deref())
        .map_err(|error| agent_failure(AgentError::Home(error)))?;
    let prompt = render_prompt(run, turn, &paths)?;
    private_dir(paths.record.parent().unwrap_or(&paths.record))?;
    write_durably(&paths.prompt_file, prompt.as_bytes()).map_err(|error| {
        Failure::of("disk", format!("writing {} failed", paths.prompt_file.display()), error)
    })?;
    let mut launch = chosen
        .launch(&Turn {
            settings,
            root: &run.root,
            factory: &run.settings.factory,
            paths: &paths,
            number: turn,
            model: settings.model.as_deref(),
            confined: run.walls.agent == Tier::Sandbox,
        })
        .map_err(agent_failure)?;
    let names = agent::variables(chosen, settings);
    let env = run.env.for_agent(&names, &paths.home, &paths.tmp, &paths.workspace);
    let limits = TurnLimits {
        timeout: settings.timeout.0,
        idle: settings.idle.0,
        crash: run.settings.crash.take(),
    };

    launch.confined = run.confined_agent(&launch, &env, &paths)?;
    if launch.confined.is_some() {
        launch.way_out = run.way_out(chosen);
    }
    let handed = Handed {
        prompt: &prompt,
        launch: &launch,
        env: &env,
        paths: &paths,
        names: &names,
        files,
        withheld,
    };
    receipt::begin(node, run, (turn, attempt), &handed)?;
    let prompt = run.recorder.put(Label::Public, prompt)?;
    let started = RunEvent::AgentStarted { turn, attempt, prompt };
    run.recorder.record(Some(&node.id), started)?;
    let token = token(run, turn, attempt);
    let factory = run.settings.factory.clone();
    match run_turn(&launch, &paths, &env, &limits, &token, &factory, &run.cancel) {
        Ok(record) if record.ended == Ended::Interrupted => {
            interrupted(node, run, turn, attempt, record.reaped as usize)?;
            run.check_cancel()?;
            Err(Failure::plain("agent", "the agent was ended, and nobody had asked for it").into())
        }
        Ok(record) => finished(node, run, turn, attempt, &paths, &record),
        Err(error) => {
            if let AgentError::SupervisorDied { ended_processes, .. } = &error {
                interrupted(node, run, turn, attempt, *ended_processes)?;
            }
            Err(agent_failure(error))
        }
    }
}

fn finished(
    node: &Node,
    run: &mut Run,
    turn: u32,
    attempt: u32,
    paths: &TurnPaths,
    record: &TurnRecord,
) -> Result<(), Halt> {
    if let Ended::CouldNotStart { why } = &record.ended {
        let message = format!("the agent could not be started: {why}");
        return Err(Failure::plain("agent", message).into());
    }
    let chosen = backend(&run.frozen.config.agent).map_err(agent_failure)?;
    let stdout = std::fs::read(paths.stdout_file()).unwrap_or_default();
    let says =
        chosen.says(&stdout).map(|says| run.recorder.put(Label::Internal, says)).transpose()?;
    let contacted = match record.contacted.as_slice() {
        [] => None,
        some => Some(run.recorder.put_json(Label::Internal, &some)?),
    };
    run.recorder.record(
        Some(&node.id),
        RunEvent::AgentFinished {
            turn,
            attempt,
            class: record.ended.class().to_owned(),
            ms: u64::try_from(record.duration.as_millis()).unwrap_or(u64::MAX),
            usage: record.usage,
            reaped: record.reaped,
            says,
            contacted,
        },
    )
}

/// Sets the workspace to the tip of the run's branch, without the holdout and without any other
/// file that holds an evaluation of it. Returns how many files it has, and how many were left out.
fn set_up_workspace(node: &Node, run: &mut Run) -> Result<(usize, usize), Halt> {
    let tip = run.summary().tip.clone();
    let mut tree = Arc::unwrap_or_clone(run.files_of(&tip)?);
    insert_feedback(run, &mut tree)?;
    let frozen = run.frozen.clone();
    let dir = frozen.config.scenarios.dir.trim_end_matches('/').to_owned();
    if let Ok(dir) = TreePath::parse(dir) {
        tree.retain(|path, _| {
            !path.is_within(&dir) || frozen.is_public_scenario(&path.to_string())
        });
    }
    let withheld = withhold_copies(run, &mut tree)?;
    let files = tree.len();
    let owner = run.walls.agent_user();
    let versioned = run.versioned()?;
    let mut workspace =
        ManagedTree::open(&versioned.paths.workspace, &versioned.paths.workspace_manifest)
            .map_err(tree_failure("the agent's workspace"))?
            .keeping(frozen.outputs())
            .owned_by(owner);
    workspace.sync(&versioned.repo, &tree).map_err(tree_failure("the agent's workspace"))?;
    place_in_workspace(run)?;
    let paths = match withheld.as_slice() {
        [] => None,
        some => Some(run.recorder.put_json(Label::Internal, &some)?),
    };
    run.recorder.record(
        Some(&node.id),
        RunEvent::WorkspaceChecked { files, withheld: withheld.len(), paths },
    )?;
    Ok((files, withheld.len()))
}

/// Puts the run's feedback files into the tree, where they are not committed on the branch.
fn insert_feedback(run: &mut Run, tree: &mut Tree) -> Result<(), Halt> {
    let mut missing = Vec::new();
    for (iteration, blob) in run.summary().feedback.clone() {
        let path = TreePath::parse(feedback_path(iteration))
            .map_err(|error| Failure::of("journal", "naming the feedback failed", error))?;
        if !tree.contains_key(&path) {
            missing.push((path, run.recorder.get(&blob)?));
        }
    }
    let contents: Vec<&[u8]> = missing.iter().map(|(_, bytes)| bytes.as_slice()).collect();
    let oids = run.versioned()?.repo.write_blobs(&contents).map_err(git("writing the feedback"))?;
    for ((path, _), oid) in missing.iter().zip(oids) {
        tree.insert(path.clone(), TreeEntry { mode: Mode::File, oid });
    }
    Ok(())
}

/// Takes out of the tree what holds a holdout evaluation word for word: a copy of the exam.
fn withhold_copies(run: &mut Run, tree: &mut Tree) -> Result<Vec<String>, Halt> {
    let frozen = run.frozen.clone();
    let holdout = frozen.holdout();
    if holdout.is_empty() {
        return Ok(Vec::new());
    }
    let files: Vec<(TreePath, crate::git::Oid)> = tree
        .iter()
        .filter(|(_, entry)| matches!(entry.mode, Mode::File | Mode::Executable))
        .filter(|(_, entry)| !run.known_clean.contains(&entry.oid))
        .map(|(path, entry)| (path.clone(), entry.oid.clone()))
        .collect();
    let mut found = Vec::new();
    let mut clean = Vec::new();
    run.versioned()?
        .repo
        .read_blobs(files.iter().map(|(_, oid)| oid.clone()), &mut |index, bytes| {
            match holdout.find(bytes) {
                Some(_) => found.push(files[index].0.clone()),
                None => clean.push(files[index].1.clone()),
            }
            Ok(())
        })
        .map_err(git("searching the workspace for the holdout"))?;
    run.known_clean.extend(clean);
    for path in &found {
        tree.remove(path);
    }
    Ok(found.iter().map(ToString::to_string).collect())
}

/// Renders the prompt: the frozen template with what this turn has to say.
fn render_prompt(run: &mut Run, turn: u32, paths: &TurnPaths) -> Result<String, Halt> {
    let frozen = run.frozen.clone();
    let answer = match run.summary().answered.clone() {
        Some((question, answer)) => {
            Some(Answer { question: run.text(&question)?, answer: run.text(&answer)? })
        }
        None => None,
    };
    let context = PromptContext {
        iteration: run.summary().started.first_iteration + turn,
        turns_left: run.summary().max_iterations.saturating_sub(turn),
        feedback_file: feedback_path(run.summary().iteration()),
        specs: frozen.specs.iter().map(|(path, _)| path.clone()).collect(),
        protected: frozen.config.protected_globs(),
        write: frozen.config.write.clone(),
        workspace: paths.workspace.display().to_string(),
        answer,
    };
    agent::render(&frozen.prompt, &frozen.prompt_name, &context)
        .map_err(|error| Failure::of("prompt", "the prompt can't be rendered", error).into())
}

pub(super) fn turn_paths(run: &mut Run, turn: u32, attempt: u32) -> Result<TurnPaths, Halt> {
    let iteration = run.summary().iteration();
    let paths = &run.versioned()?.paths;
    let record: PathBuf = paths.record(turn, attempt);
    Ok(TurnPaths {
        workspace: paths.workspace.clone(),
        home: paths.agent_home.clone(),
        tmp: paths.agent_tmp.clone(),
        prompt_file: paths.dir.join("prompt.md"),
        feedback_file: paths.workspace.join(feedback_path(iteration)),
        record,
    })
}

/// Returns what marks every process of an attempt; known again after a crash, and of no other run.
fn token(run: &Run, turn: u32, attempt: u32) -> String {
    let text = format!("{}\0{}\0{turn}\0{attempt}", run.summary().run, run.root.display());
    Digest::of(text.as_bytes()).as_str()[..32].to_owned()
}

fn agent_failure(error: AgentError) -> Halt {
    Failure::of("agent", "the agent's turn could not be taken", error).into()
}
