//! Begins a run, or goes on with one that was stopped.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::agent::{self, AgentError, DEFAULT_PROMPT, LoginError, PromptContext, PromptError};
use crate::clock::{Clock, SystemClock};
use crate::config::{
    AgentSettings, Config, ConfigError, Environment, EnvironmentError, Isolation, redaction_of,
};
use crate::convergence::{Decision, Limits, PriceTable, Raise, Totals};
use crate::event::{Ended, Label, RunEvent, RunStarted, Summary};
use crate::git::{GitError, Head, Oid, Repo};
use crate::id::{Digest, NodeId, RunId};
use crate::journal::{DirStore, Journal, RunsDir, StoreError, make_private_dir};
use crate::judge::{DiscoverError, check_needs, definition_of, discover, makefile};
use crate::pipeline::Graph;
use crate::process::Cancel;
use crate::report::Reporter;
use crate::text::{Redaction, Subtree, TreePath, plural};
use crate::wall::broker::{AllowError, Policy};
use crate::wall::{ManagedTree, TreeError, missing_large_files, missing_submodules};

use super::base::{Base, MANUAL_PROMPT};
use super::frozen::{read_earlier, read_specs, without_a_spec};
use super::installed::installed_beside;
use super::keys::check_keys;
use super::preflight;
use super::repository::Repositories;
use super::run::{RunSettings, Versioned};
use super::spending::{between_turns, blind, spent_elsewhere};
use super::state::{Held, Lock, RepoState};
use super::{Frozen, FrozenError, Halt, Recorder, Run, Walls};

/// The directory of the branches of runs.
pub const BRANCHES: &str = "factory";

/// What is asked for when a run begins.
pub struct Request {
    /// The root of the product.
    pub root: PathBuf,
    /// What the process was started with.
    pub env: Environment,
    /// The settings, flags applied.
    pub config: Config,
    /// Whether the agent is left out: the base is judged, and that is all.
    pub no_agent: bool,
    /// Whether the working tree is judged in place.
    pub in_place: bool,
    /// Trips when a signal comes.
    pub cancel: Cancel,
    /// When the run is to be over, in milliseconds since 1970 began; none for no deadline.
    pub deadline: Option<i64>,
    /// What else the caller wants.
    pub settings: RunSettings,
    /// Who is told what happens.
    pub reporters: Vec<Box<dyn Reporter>>,
}

/// What is asked for when a run is to go on.
#[derive(Debug, Clone, Default)]
pub struct Resume {
    /// The run, or a part of its id; none means the newest.
    pub run: Option<String>,
    /// The answer to the agent's question.
    pub answer: Option<String>,
    /// How many agent turns it may take in all from now on.
    pub max_iterations: Option<u32>,
    /// The budgets that it has in all from now on.
    pub budget: Raise,
}

/// A run that is ready to be driven.
pub struct Started {
    /// The run.
    pub run: Run,
    /// The graph that it walks.
    pub graph: Graph,
    /// What the person should know before it goes on.
    pub notices: Vec<String>,
}

/// Why a run could not begin or go on.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// git, or no repository.
    #[error(transparent)]
    Git(#[from] GitError),
    /// There is nothing that could be judged.
    #[error("the repository has no commit yet; make one, and the loop begins there")]
    NoCommit,
    /// What should be the product is a file or a link in the commit, or lies below one.
    #[error(
        "`{dir}` is no directory in commit {commit}; give the product's own path, without links, and commit it"
    )]
    NoDirectory {
        /// Its path in the repository.
        dir: String,
        /// The commit, shortened.
        commit: String,
    },
    /// There are no scenarios.
    #[error(
        "there are no scenarios in {dir}/; write one (`factory lint --explain S002` shows how), or set `scenarios.dir`"
    )]
    NoScenarios {
        /// Their directory.
        dir: String,
    },
    /// They lie in the checkout, and are in no commit.
    #[error(
        "{} in {dir}/ {} not committed, and commit {commit} has none; the loop judges what is committed: `git add {pathspec} && git commit`",
        plural(*count, "scenario"),
        if *count == 1 { "is" } else { "are" }
    )]
    ScenariosNotCommitted {
        /// Their directory.
        dir: String,
        /// The same for git.
        pathspec: String,
        /// How many there are in the checkout.
        count: usize,
        /// The commit, shortened.
        commit: String,
    },
    /// The settings can't be read, or make no sense.
    #[error(transparent)]
    Settings(#[from] ConfigError),
    /// The agent would be told of no spec.
    #[error(
        "the agent would be pointed to no spec: {globs} under `specs` matches no file that is committed; commit a spec there, name others under `specs` in dark-factory.yaml, or take the glob out (`specs: []` says that there is none on purpose)"
    )]
    NoSpecs {
        /// The globs that match nothing.
        globs: String,
    },
    /// The scenarios can't be had.
    #[error(transparent)]
    Discover(#[from] DiscoverError),
    /// Something that is frozen can't be read.
    #[error(transparent)]
    Frozen(#[from] FrozenError),
    /// The agent is not there, has no login, or is none.
    #[error(transparent)]
    Agent(#[from] AgentError),
    /// The login that is kept for the agent.
    #[error("the login that is kept for the agent can't be had")]
    Login(#[from] LoginError),
    /// The prompt's template has a mistake.
    #[error(transparent)]
    Prompt(#[from] PromptError),
    /// Another run is active.
    #[error(transparent)]
    Held(#[from] Held),
    /// The lock can't be had.
    #[error("the lock of the repository can't be had")]
    Lock(#[source] std::io::Error),
    /// A tier that is asked for can't be had.
    #[error(
        "isolation `sandbox` is asked for and can't be had: {why}; allow user namespaces (on Ubuntu `sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0`), install `bubblewrap`, or run the loop on a machine of its own with `--isolation copy`"
    )]
    Isolation {
        /// What was tried, and why it can't be had.
        why: String,
    },
    /// Keys are to be kept from the agent, and can't be.
    #[error(
        "`network.keys: broker` can't be had: {why}; with `network.keys: agent` it holds its own key"
    )]
    Keys {
        /// What is missing.
        why: &'static str,
    },
    /// A host that is allowed makes no sense.
    #[error("`network.allow` can't be used")]
    Allow(#[from] AllowError),
    /// What is to be seen in the sandbox is not there.
    #[error("`isolation` names `{path}`, which is not there; remove it, or create it")]
    NotThere {
        /// The path as it was written.
        path: String,
    },
    /// The loop does not run in the checkout.
    #[error(
        "isolation `move` is for agents that you start in the checkout yourself, between `shuffle-scenarios hide` and `restore`; `iterate` gives a copy, which keeps more"
    )]
    Move,
    /// The environment lacks something.
    #[error(transparent)]
    Environment(#[from] EnvironmentError),
    /// The journal.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A tree of the factory's own.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// A directory could not be made.
    #[error("making {} failed", path.display())]
    Disk {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// There is no place for temporary files.
    #[error("no temporary file can be made in {}; make it a directory that can be written, or name another one with TMPDIR", dir.display())]
    NoTemporary {
        /// The directory.
        dir: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// No program of the product could be executed in the factory's trees.
    #[error(
        "the factory's trees are made in {}, where the system executes no program (it is mounted `noexec`): every gate and scenario would fail by that; name another place with XDG_STATE_HOME",
        dir.display()
    )]
    NoExec {
        /// The directory of the state.
        dir: PathBuf,
    },
    /// The run is over.
    #[error("run {run} has ended as `{outcome}`; {next}")]
    Over {
        /// The run.
        run: RunId,
        /// What it came to.
        outcome: String,
        /// What can be done instead.
        next: &'static str,
    },
    /// A run in place has nothing to go on with.
    #[error("run {run} judged the working tree in place; judge it again instead")]
    InPlace {
        /// The run.
        run: RunId,
    },
    /// The run waits for an answer, and there is none.
    #[error(
        "run {run} waits for an answer to the agent's question (`factory show` has it); give it with `--answer TEXT`"
    )]
    NoAnswer {
        /// The run.
        run: RunId,
    },
    /// There is an answer, and no question.
    #[error("run {run} has no open question that `--answer` could answer")]
    NoQuestion {
        /// The run.
        run: RunId,
    },
    /// The graph is none of ours.
    #[error("run {run} walks the graph `{graph}`, which this version does not have")]
    UnknownGraph {
        /// The run.
        run: RunId,
        /// The graph.
        graph: String,
    },
    /// The journal could not be begun.
    #[error(transparent)]
    Halt(#[from] Halt),
}

/// Begins a run: reads what is frozen, takes the lock, checks the agent, and records the start.
///
/// # Errors
/// See [`StartError`]; nothing was begun then.
pub fn begin(mut base: Base, request: Request) -> Result<Started, StartError> {
    let in_place = request.in_place;
    let (frozen, said) = freeze(&mut base, request.config, in_place)?;
    let no_program = base.why_no_program(&frozen.config);
    let Base { repo, root, at, head, branch, notices, .. } = base;
    let mut notices: Vec<String> = notices.into_iter().chain(said).collect();
    if let (Some(repo), false) = (&repo, in_place) {
        repo.has_room_for(BRANCHES)?;
        notices.extend(in_the_way_of_a_push(repo)?);
    }
    let with_agent = !request.no_agent && !in_place;
    Policy::parse(&frozen.config.network.allow)?;
    let isolation = &frozen.config.isolation;
    let named = isolation.read.iter().chain(&isolation.devices);
    let is_there = |path: &String| request.env.expand(path).is_some_and(|path| path.exists());
    if let Some(path) = named.into_iter().find(|path| !is_there(path)) {
        return Err(StartError::NotThere { path: path.clone() });
    }

    let now = SystemClock.now();
    let mark = u32::try_from(now.unix_millis().unsigned_abs() % 1_000).unwrap_or(0) * 64
        + rustix::process::getpid().as_raw_nonzero().get().unsigned_abs() % 64;
    let id = RunId::new(&now.compact(), mark);
    let state = repo_state(&request.env, &root, &at, repo.as_ref())?;
    let lock = lock(&state, &id)?;

    if let (Some(repo), Some(head)) = (&repo, &head) {
        let files = repo.list(head)?;
        notices.extend(missing_submodules(repo, &files)?);
        notices.extend(missing_large_files(repo, &files)?);
    }
    if let (Some(head), None, false) = (&head, &branch, in_place) {
        notices.push(format!(
            "HEAD is detached at {}; the run works from there, and `factory apply` will need a branch",
            head.short()
        ));
    }
    let walls = if in_place {
        Walls::none()
    } else {
        make_state(&state)?;
        let (walls, said) = Walls::raise(
            &frozen.config.isolation,
            &request.env,
            &request.settings.factory,
            state.dir(),
        )?;
        notices.extend(said);
        notices.extend(walls.network_not_held(&frozen.config));
        walls
    };
    if with_agent {
        check_keys(&frozen.config.network, &walls, &request.env)?;
    }
    let agent = if with_agent { Some(check_agent(&frozen, &request.env)?) } else { None };
    if let Some(why) = no_program.filter(|_| with_agent) {
        return Err(AgentError::NotCommitted(why).into());
    }
    if with_agent && frozen.config.budget.max_iterations > 0 {
        notices.extend(specs_are_there(&frozen)?);
    }
    if !in_place {
        let beside = installed_beside(&root, &frozen.config, &request.env, &walls);
        notices.extend(beside.map(|(found, next)| format!("{found}; {next}")));
    }
    if with_agent {
        notices.extend(preflight::notices(&frozen.config.agent, &request.env, state.dir()));
    }
    let limits = frozen.config.budget.limits();
    if with_agent {
        let model = frozen.config.agent.model.as_deref();
        notices.extend(blind(&limits, model, &frozen.prices));
        notices.extend(between_turns(&limits, &frozen.config.agent));
    }
    keep_out_of_git(&root)?;
    let runs = RunsDir::of(&root);
    let elsewhere = elsewhere(&limits, &runs, &id)?;
    let store = Box::new(DirStore::open(&runs.run(&id))?);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let of_agent = secrets(&frozen, &request.env);
    let of_product = redaction_of(&request.env, &frozen.config.env);
    let journal = Journal::begin(store, id.clone(), clock, of_agent.clone());
    let tree = match (&repo, &head) {
        (Some(repo), Some(head)) => repo.tree_of(head)?.as_str().to_owned(),
        _ => String::new(),
    };
    let frozen_blob = serde_json::to_vec(&frozen)
        .map_err(StoreError::from)
        .and_then(|bytes| journal.put(Label::Holdout, bytes))?;
    // From here on: what was frozen is what the repository holds, and is judged by as it is.
    let mut journal = journal.with_redaction(of_agent.with(&of_product));
    let first = next_iteration(&root);
    let started = RunEvent::RunStarted(Box::new(RunStarted {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        graph: if in_place { "local" } else { "converge" }.to_owned(),
        base: head.as_ref().map(|oid| oid.as_str().to_owned()).unwrap_or_default(),
        tree,
        base_branch: branch,
        branch: if in_place { String::new() } else { format!("{BRANCHES}/{id}") },
        first_iteration: first,
        threshold: frozen.config.satisfaction.threshold,
        stalled_after: frozen.config.satisfaction.stalled_after,
        max_iterations: frozen.config.budget.max_iterations,
        limits,
        deadline: request.deadline,
        scenarios: frozen.set.entries.len(),
        agent,
        tier: walls.agent,
        judge_tier: walls.judge,
        in_place,
        product: at.as_str().to_owned(),
        frozen: frozen_blob,
    }));
    let envelope = journal.append(None, Some(first), started)?;
    let Some(summary) = Summary::begin(&envelope) else {
        return Err(StoreError::NotBegun { path: runs.run(&id) }.into());
    };
    let versioned = match repo {
        Some(repo) if !in_place => {
            Some(versioned(repo, state, &id, frozen.outputs(), walls.judge_user())?)
        }
        _ => None,
    };
    let mut recorder = Recorder::new(
        journal,
        summary,
        frozen.names(),
        request.reporters,
        request.settings.die_after,
    );
    recorder.die_if_asked(envelope.seq);
    recorder.show(&envelope);
    let mut run = Run {
        root,
        env: request.env,
        frozen: Arc::new(frozen),
        recorder,
        cancel: request.cancel.clone(),
        signals: request.cancel,
        limited: None,
        settings: request.settings,
        versioned,
        fixtures: None,
        walls,
        judging: None,
        kept: None,
        _lock: Some(lock),
        turns_before: 0,
        elsewhere,
        known_clean: HashSet::new(),
    };
    if run.versioned.is_some() {
        run.sync_branch("")?;
    }
    let graph = graph_of(&run)?;
    Ok(Started { run, graph, notices })
}

/// Goes on with a run that was stopped, killed or interrupted, by what its journal says.
///
/// # Errors
/// See [`StartError`].
pub fn resume(request: Request, asked: &Resume) -> Result<Started, StartError> {
    let repo = Repo::discover(&request.root, request.env.for_tools())?;
    let at = repo.subtree(&request.root)?;
    let root = at.under(repo.root());
    let runs = RunsDir::of(&root);
    let id = runs.find(asked.run.as_deref())?;
    let state = repo_state(&request.env, &root, &at, Some(&repo))?;
    let lock = lock(&state, &id)?;

    let dir = runs.run(&id);
    let store = Box::new(DirStore::open(&dir)?);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    // What is secret is known only with the settings, and these are in the journal.
    let (journal, events) = Journal::open(
        store,
        &dir.join("events.jsonl"),
        id.clone(),
        clock.clone(),
        Redaction::default(),
    )?;
    let Some(summary) = Summary::of(&events) else {
        return Err(StoreError::NotBegun { path: dir }.into());
    };
    let frozen: Frozen =
        serde_json::from_slice(&journal.get(&summary.started.frozen)?).map_err(StoreError::from)?;
    // What a killed turn had renewed of its login.
    agent::settle_logins(&request.env)?;
    let of_product = redaction_of(&request.env, &frozen.config.env);
    let journal = journal.with_redaction(secrets(&frozen, &request.env).with(&of_product));
    let from = where_to_go_on(&summary, asked)?;
    if summary.started.agent.is_some() {
        check_agent(&frozen, &request.env)?;
    }
    has_temporary_files(&request.env)?;
    repo.has_room_for(BRANCHES)?;
    let mut notices = base_moved(&repo, &summary)?;
    // What was in force stays in force: a run does not go on with less.
    let isolation = Isolation {
        agent: Some(summary.started.tier),
        judge: Some(summary.started.judge_tier),
        ..frozen.config.isolation.clone()
    };
    make_state(&state)?;
    let (walls, said) =
        Walls::raise(&isolation, &request.env, &request.settings.factory, state.dir())?;
    notices.extend(said);
    notices.extend(walls.network_not_held(&frozen.config));
    if summary.started.agent.is_some() {
        check_keys(&frozen.config.network, &walls, &request.env)?;
        notices.extend(preflight::notices(&frozen.config.agent, &request.env, state.dir()));
    }

    let mut recorder = Recorder::new(
        journal,
        summary,
        frozen.names(),
        request.reporters,
        request.settings.die_after,
    );
    let elsewhere = elsewhere(&recorder.summary().spent.limits, &runs, &id)?;
    let resumed = RunEvent::RunResumed {
        max_iterations: asked.max_iterations,
        node: from,
        budget: asked.budget,
        deadline: request.deadline,
    };
    recorder.record(None, resumed)?;
    if let Some(answer) = &asked.answer {
        let answer = recorder.put(Label::Internal, answer.as_bytes())?;
        recorder.record(None, RunEvent::QuestionAnswered { answer })?;
    }
    let versioned = versioned(repo, state, &id, frozen.outputs(), walls.judge_user())?;
    let turns_before = recorder.summary().turns_taken();
    let mut run = Run {
        root,
        env: request.env,
        frozen: Arc::new(frozen),
        recorder,
        cancel: request.cancel.clone(),
        signals: request.cancel,
        limited: None,
        settings: request.settings,
        versioned: Some(versioned),
        fixtures: None,
        walls,
        judging: None,
        kept: None,
        _lock: Some(lock),
        turns_before,
        elsewhere,
        known_clean: HashSet::new(),
    };
    let before = run.parent_of_tip()?;
    run.sync_branch(&before)?;
    let graph = graph_of(&run)?;
    Ok(Started { run, graph, notices })
}

/// Returns what other runs used within the last 24 hours; nothing where no limit asks.
fn elsewhere(limits: &Limits, runs: &RunsDir, but: &RunId) -> Result<Totals, StartError> {
    if !limits.has_day() {
        return Ok(Totals::default());
    }
    Ok(spent_elsewhere(runs, but, SystemClock.now())?)
}

fn graph_of(run: &Run) -> Result<Graph, StartError> {
    let name = &run.summary().started.graph;
    crate::pipeline::builtin(name).ok_or_else(|| StartError::UnknownGraph {
        run: run.summary().run.clone(),
        graph: name.clone(),
    })
}

/// Decides at which node a run goes on; none where it stands.
fn where_to_go_on(summary: &Summary, asked: &Resume) -> Result<Option<NodeId>, StartError> {
    let run = summary.run.clone();
    if summary.started.in_place {
        return Err(StartError::InPlace { run });
    }
    if asked.answer.is_some() && summary.question.is_none() {
        return Err(StartError::NoQuestion { run });
    }
    let Some(Ended::Finished { outcome, .. }) = &summary.ended else { return Ok(None) };
    let more_turns = asked.max_iterations.is_some_and(|turns| turns > summary.max_iterations);
    let over = |next| StartError::Over { run: run.clone(), outcome: outcome.clone(), next };
    match outcome.as_str() {
        "asked" if asked.answer.is_none() => return Err(StartError::NoAnswer { run }),
        "asked" => {}
        "exhausted" if more_turns => {}
        "exhausted" => return Err(over("give it more turns with `--max-iterations`")),
        "over_budget" if lifts(summary, &asked.budget) => {}
        "over_budget" => return Err(over("give it more of what ran out with `--budget`")),
        "deadline" | "usage_limit" => {}
        "stalled" => {
            return Err(over(
                "look at `factory show`, change specs or scenarios, and begin a new run",
            ));
        }
        _ => {
            return Err(over(
                "`factory show` tells more, and `factory apply` brings its best candidate to your branch",
            ));
        }
    }
    let graph = crate::pipeline::builtin(&summary.started.graph);
    Ok(graph.and_then(|graph| {
        graph.nodes.into_iter().find(|node| node.kind == "decide").map(|node| node.id)
    }))
}

/// Returns whether a run that was over its budget may go on with `raise`.
fn lifts(summary: &Summary, raise: &Raise) -> bool {
    match &summary.decision {
        Some(Decision::OverBudget { shortfall }) => {
            raise.lifts(shortfall.limit, &summary.spent.limits)
        }
        _ => true,
    }
}

pub(super) fn head_of(
    repo: &Repo,
    in_place: bool,
) -> Result<(Option<Oid>, Option<String>), StartError> {
    match repo.head()? {
        Head::Branch { name, commit } => {
            let short = name.strip_prefix("refs/heads/").unwrap_or(&name).to_owned();
            Ok((Some(commit), Some(short)))
        }
        Head::Detached { commit } => Ok((Some(commit), None)),
        Head::Unborn { .. } if in_place => Ok((None, None)),
        Head::Unborn { .. } => Err(StartError::NoCommit),
    }
}

/// Reads everything that a run reads once, from where the base has it, and says what a person should know of it.
/// What earlier iterations came to is the factory's own record, and read from the checkout, where it writes it.
fn freeze(
    base: &mut Base,
    config: Config,
    in_place: bool,
) -> Result<(Frozen, Vec<String>), StartError> {
    let differences = base.differences(&config)?;
    let mut notices: Vec<String> = differences.read.into_iter().chain(differences.others).collect();
    let inputs = base.inputs(&config)?;
    let text = makefile::makefile_in(&inputs).unwrap_or_default();
    let mut gates = makefile::gates_of(&config, &text);
    for gate in &mut gates {
        let found = definition_of(gate, &|path| base.text(path));
        let told = found.told(&gate.name).filter(|_| !in_place);
        notices.extend(told.map(|told| {
            format!("{told}, and an agent may change it unseen; name the files under its `definition` in dark-factory.yaml")
        }));
        let new = found.globs.into_iter().filter(|glob| !gate.definition.contains(glob));
        gate.definition.extend(new.collect::<Vec<_>>());
    }
    let (prompt, prompt_name) = match read_prompt(&inputs, &config.agent.prompt)? {
        Some((text, name)) => {
            if name != config.agent.prompt {
                notices
                    .push(format!("the prompt is {name}, for there is no {}", config.agent.prompt));
            }
            (text, name.to_owned())
        }
        None => (DEFAULT_PROMPT.to_owned(), "the built-in prompt".to_owned()),
    };
    let found = discover(&inputs, &config.scenarios.dir);
    if found.as_ref().map_or(true, |set| set.entries.is_empty())
        && let Some(commit) = base.commit()
        && let count @ 1.. = base.only_in_checkout(&config).len()
    {
        let dir = config.scenarios.dir;
        let (pathspec, commit) = (base.pathspec(&dir), commit.to_owned());
        let dir = base.at.path(&dir);
        return Err(StartError::ScenariosNotCommitted { dir, pathspec, count, commit });
    }
    let mut set = found.map_err(|error| error.at(&base.root.join(&config.scenarios.dir)))?;
    if set.entries.is_empty() {
        return Err(StartError::NoScenarios { dir: base.at.path(&config.scenarios.dir) });
    }
    check_needs(&mut set, &inputs, &config.fixtures);
    let own = config.budget.prices.clone().unwrap_or_default();
    let frozen = Frozen {
        at: base.at.clone(),
        prices: PriceTable::built_in().with(&own),
        set,
        specs: read_specs(&inputs, &config.specs)?,
        earlier: read_earlier(&base.root),
        targets: makefile::targets(&text),
        gates,
        prompt,
        prompt_name,
        config,
        canary: if in_place { String::new() } else { seed()? },
    };
    Ok((frozen, notices))
}

/// Reads the prompt's template: the file that the settings name, else the operating manual's where they name none
/// of their own. None where there is neither.
fn read_prompt<'a>(
    inputs: &Path,
    named: &'a str,
) -> Result<Option<(String, &'a str)>, FrozenError> {
    let manual = (named == AgentSettings::default().prompt).then_some(MANUAL_PROMPT);
    for name in [Some(named), manual].into_iter().flatten() {
        match std::fs::read_to_string(inputs.join(name)) {
            Ok(text) => return Ok(Some((text, name))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(source) => return Err(FrozenError::Read { file: name.to_owned(), source }),
        }
    }
    Ok(None)
}

/// Checks that every glob under `specs` finds something before a provider is paid for an agent that would be told
/// of no spec. An agent that the factory knows no provider of is warned of alone.
fn specs_are_there(frozen: &Frozen) -> Result<Option<String>, StartError> {
    let globs = without_a_spec(&frozen.config.specs, &frozen.specs)?;
    if globs.is_empty() {
        return Ok(None);
    }
    let error = StartError::NoSpecs { globs: format!("`{}`", globs.join("`, `")) };
    match agent::is_paid(&frozen.config.agent) {
        true => Err(error),
        false => Ok(Some(error.to_string())),
    }
}

/// Returns what nobody can guess.
fn seed() -> Result<String, StartError> {
    use std::io::Read as _;
    let path = Path::new("/dev/urandom");
    let mut bytes = [0; 32];
    std::fs::File::open(path)
        .and_then(|mut file| file.read_exact(&mut bytes))
        .map_err(|source| StartError::Disk { path: path.to_owned(), source })?;
    Ok(Digest::of(&bytes).as_str().to_owned())
}

/// Checks agent and prompt before anything is spent, and returns the backend's name.
fn check_agent(frozen: &Frozen, env: &Environment) -> Result<String, StartError> {
    let backend = agent::backend(&frozen.config.agent).map_err(|error| match error {
        AgentError::NoBackend(_) => AgentError::NoBackend(agent::what_to_choose(env)),
        other => other,
    })?;
    backend.check(&frozen.config.agent, env)?;
    agent::render(&frozen.prompt, &frozen.prompt_name, &PromptContext::default())?;
    Ok(backend.name().to_owned())
}

/// Returns the values that may not be written because the agent logs in with them, of variables and
/// of files.
fn secrets(frozen: &Frozen, env: &Environment) -> Redaction {
    let agents = (0..).map_while(|number| frozen.config.agent.of(number));
    let mut values = Vec::new();
    for settings in agents {
        let Ok(backend) = agent::backend(&settings) else { continue };
        let names = agent::variables(backend, &settings, env);
        let secret = names.iter().filter(|name| agent::is_secret(name));
        values.extend(secret.filter_map(|name| env.get(name)?.to_str().map(str::to_owned)));
        values.extend(agent::secrets_in(&agent::secret_files(&settings, env)));
    }
    Redaction::new(values)
}

fn repo_state(
    env: &Environment,
    root: &Path,
    at: &Subtree,
    repo: Option<&Repo>,
) -> Result<RepoState, StartError> {
    let fallback = root.join("artifacts/factory");
    let common_dir = match repo {
        Some(repo) => repo.common_dir().to_owned(),
        None => {
            make_dir(&fallback)?;
            fallback
        }
    };
    Ok(RepoState::of(&env.state_dir()?, root, &common_dir, at))
}

fn lock(state: &RepoState, run: &RunId) -> Result<Lock, StartError> {
    Ok(state.lock(run).map_err(StartError::Lock)??)
}

fn versioned(
    repo: Repo,
    state: RepoState,
    run: &RunId,
    kept: Vec<TreePath>,
    owner: Option<(u32, u32)>,
) -> Result<Versioned, StartError> {
    repo.remove_leftovers();
    let paths = state.run(run);
    make_dir(&paths.dir)?;
    make_dir(&state.prepare_cache())?;
    let judge = ManagedTree::open(&paths.judge, &paths.judge_manifest)?.keeping(kept);
    let judge = judge.owned_by(owner);
    Ok(Versioned {
        repo,
        state,
        paths,
        judge,
        judge_holds: None,
        listed: Vec::new(),
        repositories: Repositories::default(),
    })
}

fn make_state(state: &RepoState) -> Result<(), StartError> {
    make_dir(state.dir())?;
    match preflight::executes_nothing(state.dir()) {
        true => Err(StartError::NoExec { dir: state.dir().to_owned() }),
        false => Ok(()),
    }
}

fn make_dir(path: &Path) -> Result<(), StartError> {
    make_private_dir(path).map_err(|source| StartError::Disk { path: path.to_owned(), source })
}

/// Returns the number of the base's iteration: one after the last that the checkout knows of.
fn next_iteration(root: &Path) -> u32 {
    std::fs::read_to_string(root.join("artifacts/factory/iteration_count.txt"))
        .ok()
        .and_then(|text| text.trim().parse::<u32>().ok())
        .map_or(0, |last| last + 1)
}

/// What git is told of a directory `artifacts/factory` that has no `.gitignore` of the product's own.
const IGNORED: &str = "\
# Written by dark-factory: what a run leaves here is no part of the product.
/.gitignore
/.*.tmp
/ci_output.log
/dark-factory.lock
/history.json
/judgements/
/runs/
/satisfied.json
/scenario_results.json
";

/// Makes git ignore what the factory leaves in the checkout, unless the product has its own say.
///
/// # Errors
/// The file that says so can't be written.
pub fn keep_out_of_git(root: &Path) -> Result<(), StartError> {
    let path = root.join("artifacts/factory/.gitignore");
    let found = std::fs::read_to_string(&path).ok();
    let first = |text: &str| text.lines().next().map(str::to_owned);
    // What an earlier version wrote is brought up to date.
    let is_ours = found.as_deref().is_some_and(|found| first(found) == first(IGNORED));
    if path.exists() && (!is_ours || found.as_deref() == Some(IGNORED)) {
        return Ok(());
    }
    // Made where git does not look, so that a kill leaves no file that is not ignored.
    let git_dir = root.ancestors().map(|dir| dir.join(".git")).find(|git_dir| git_dir.exists());
    let written = match git_dir {
        Some(git_dir) if git_dir.is_dir() => write_from(&git_dir, &path, IGNORED.as_bytes()),
        _ => Err(std::io::ErrorKind::NotADirectory.into()),
    };
    written
        .or_else(|_| crate::journal::write_durably(&path, IGNORED.as_bytes()))
        .map_err(|source| StartError::Disk { path, source })
}

/// Writes a file in `staging` and moves it to `path`; the name is one that git's leftovers are
/// swept by.
fn write_from(staging: &Path, path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    use std::io::Write as _;
    let mut file = tempfile::Builder::new()
        .prefix("dark-factory-tmp-")
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666))
        .tempfile_in(staging)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    path.parent().map_or(Ok(()), std::fs::create_dir_all)?;
    file.persist(path).map(|_| ()).map_err(|error| error.error)
}

/// Has the objects of the base sent that a partial clone left at its remote, and says so.
pub(super) fn fetched(
    repo: &Repo,
    head: &Oid,
    cancel: &Cancel,
) -> Result<Option<String>, StartError> {
    let sent = match repo.fetch_promised(head, cancel) {
        Ok(sent) => sent,
        Err(error) => match cancel.tripped() {
            Some(signal) => return Err(Halt::Interrupted(signal).into()),
            None => return Err(error.into()),
        },
    };
    Ok(sent.map(|(count, remote)| {
        format!(
            "{} of commit {} came from the remote `{remote}`, for this is a partial clone",
            plural(count, "object"),
            head.short()
        )
    }))
}

/// Says which remote has a branch in whose place the run's could not be pushed.
fn in_the_way_of_a_push(repo: &Repo) -> Result<Option<String>, StartError> {
    let remotes = repo.remotes_with(BRANCHES)?;
    Ok(remotes.first().map(|remote| {
        format!(
            "the remote `{remote}` has a branch `{BRANCHES}`, beside which no run's branch `{BRANCHES}/...` can be pushed; rename it there before `factory publish`"
        )
    }))
}

/// Checks that temporary files can be made, as git and scenarios need them.
pub(super) fn has_temporary_files(env: &Environment) -> Result<(), StartError> {
    preflight::temporary_files(env)
        .map_err(|source| StartError::NoTemporary { dir: env.temp_dir(), source })
}

fn base_moved(repo: &Repo, summary: &Summary) -> Result<Vec<String>, StartError> {
    let Some(branch) = &summary.started.base_branch else { return Ok(Vec::new()) };
    let now = repo.resolve(&format!("refs/heads/{branch}"))?;
    Ok(match now {
        Some(now) if now.as_str() != summary.started.base => {
            let base = Oid::parse(&summary.started.base).ok();
            let commits = match &base {
                Some(base) => repo.log(base, &now).map(|log| log.len()).unwrap_or(0),
                None => 0,
            };
            vec![format!(
                "{branch} has moved since the run began ({}); the run goes on from {}",
                plural(commits, "new commit"),
                base.as_ref().map_or("its base", Oid::short)
            )]
        }
        _ => Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_repository_s_own_word_of_what_is_ignored_stands_and_leaves_nothing_out() {
        // A package has no artifacts.
        let own = concat!(env!("CARGO_MANIFEST_DIR"), "/artifacts/factory/.gitignore");
        let Ok(own) = std::fs::read_to_string(own) else { return };
        let product = tempfile::tempdir().unwrap();
        let path = product.path().join("artifacts/factory/.gitignore");
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &own).unwrap();
        keep_out_of_git(product.path()).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), own);
        let ours = IGNORED.lines().filter(|line| line.starts_with('/') && *line != "/.gitignore");
        let left_out: Vec<&str> =
            ours.filter(|line| !own.lines().any(|one| one == *line)).collect();
        assert_eq!(left_out, Vec::<&str>::new());
    }
}
