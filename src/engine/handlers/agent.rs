//! One turn of the coding agent, in its workspace.

use std::path::PathBuf;
use std::sync::Arc;

use crate::agent::{
    self, AgentError, Answer, Attending, BaseUrl, Ended, PromptContext, Recovered, TurnBudget,
    TurnLimits, TurnPaths, TurnRecord, backend, prepare_home, recover, run_turn,
};
use crate::clock::{Clock as _, SystemClock, Timestamp};
use crate::config::{Access, AgentSettings, Config, has_src, python_path};
use crate::convergence::{After, Crash, Fund, Patience, TurnAllowance, TurnClass, may_begin};
use crate::delivery::{Links, Policy};
use crate::engine::frozen::Frozen;
use crate::engine::handlers::deliver::workspace_patch;
use crate::engine::handlers::feedback::feedback_path;
use crate::engine::keys::PLACEHOLDER;
use crate::engine::outputs::place_in_workspace;
use crate::engine::receipt::{self, Handed};
use crate::engine::run::{git, private_dir, tree_failure};
use crate::engine::{Failure, Halt, Handler, Run};
use crate::event::{Activity, DeliveryDetail, Label, RunEvent, Tier, Turn, TurnDelivery, Usage};
use crate::git::{Mode, Tree, TreeEntry};
use crate::id::Digest;
use crate::journal::write_durably;
use crate::pipeline::{Node, NodeOutcome, Status};
use crate::process::Signal;
use crate::text::TreePath;
use crate::wall::confine::KEYED_PORT;
use crate::wall::{ManagedTree, short_name};

/// See the module.
pub(super) struct Agent;

impl Handler<Run> for Agent {
    fn kind(&self) -> &'static str {
        "agent"
    }

    fn handle(&self, node: &Node, run: &mut Run) -> Result<NodeOutcome, Halt> {
        let turn = run.summary().turns_taken() + 1;
        loop {
            let last = run.summary().turns.iter().find(|one| one.turn == turn).cloned();
            let attempt = match last {
                None => 1,
                Some(last) => match last.class.as_deref().map(TurnClass::parse) {
                    None => match recover_turn(node, run, turn, last.attempts)? {
                        Left::Done => continue,
                        Left::Again(next) => next,
                    },
                    Some(class) => {
                        let class = class.unwrap_or(TurnClass::Crashed);
                        match what_next(node, run, &last, class)? {
                            Next::Through => return Ok(NodeOutcome::of(Status::Success)),
                            Next::Stop => return Ok(NodeOutcome::labelled("stop")),
                            Next::Attempt => last.attempts + 1,
                        }
                    }
                },
            };
            // What was used since the decision, by an attempt that was cut or put off, counts too.
            let Fund::Yes(allowance) = run.fund() else {
                return Ok(NodeOutcome::labelled("stop"));
            };
            take_turn(node, run, (turn, attempt), allowance)?;
        }
    }
}

/// What follows an attempt.
enum Next {
    /// The turn is through; what it brought is looked at.
    Through,
    /// The run stops here.
    Stop,
    /// Another attempt, now.
    Attempt,
}

/// Decides what follows an attempt that ended as `class`, and waits where it is to be waited.
fn what_next(node: &Node, run: &mut Run, last: &Turn, class: TurnClass) -> Result<Next, Halt> {
    if class == TurnClass::Interrupted {
        return Ok(Next::Attempt);
    }
    if let Some(at) = last.again_at {
        run.wait_until(at)?;
        return Ok(Next::Attempt);
    }
    let again = class == TurnClass::Crashed && crashes_again(run, last)?;
    if (class.is_outage() || again) && last.failures == 0 {
        // The run went on since then: that is the attempt which was asked for.
        return Ok(Next::Attempt);
    }
    let settings = run.frozen.config.agent.clone();
    let patience =
        Patience { retries: settings.retries, wait: settings.wait.0, waited: last.waited };
    let now = SystemClock.now();
    let after = class.after(last.failures, last.resets, now, &patience);
    let agent = run.summary().agent;
    let successor = settings.of(agent + 1).and_then(|next| next.backend);
    let after = match after {
        After::Keep if again => After::Fail,
        // Nobody waits for what can't be paid, which is a decision, or for a limit beyond the deadline.
        After::Again { .. } if !affords(run, now) => {
            keep_patch(node, run, last)?;
            return Ok(Next::Stop);
        }
        After::Again { at } if class == TurnClass::RateLimited && !affords(run, at) => {
            After::Stop { until: Some(at) }
        }
        after => after,
    };
    let postponed = |until, agent, takes_over, stops| RunEvent::TurnPostponed {
        turn: last.turn,
        attempt: last.attempts,
        class: class.name().to_owned(),
        until,
        agent,
        takes_over,
        stops,
    };
    let next = match after {
        After::Deliver | After::Keep => return Ok(Next::Through),
        After::Again { at } => postponed(Some(at), agent, None, false),
        After::Stop { .. } | After::Fail if successor.is_some() => {
            postponed(Some(now), agent + 1, successor, false)
        }
        After::Stop { until } => postponed(until, agent, None, true),
        After::Fail => {
            keep_patch(node, run, last)?;
            let said = last_words(run, last)?;
            return Err(outage(run, last, class, said.as_deref())?.into());
        }
    };
    // What the attempt had changed is kept for people: the next one begins with the candidate.
    keep_patch(node, run, last)?;
    run.recorder.record(Some(&node.id), next)?;
    let stops = run.summary().limited.is_some();
    let at = run.summary().turns.last().and_then(|turn| turn.again_at);
    match at {
        _ if stops => Ok(Next::Stop),
        Some(at) => run.wait_until(at).map(|()| Next::Attempt),
        None => Ok(Next::Attempt),
    }
}

/// Returns whether a turn that crashed did so as the one before it.
fn crashes_again(run: &mut Run, last: &Turn) -> Result<bool, Halt> {
    let summary = run.summary();
    let before = summary.turns.iter().find(|one| one.turn + 1 == last.turn).cloned();
    let Some(before) = before
        .filter(|one| one.class.as_deref().and_then(TurnClass::parse) == Some(TurnClass::Crashed))
    else {
        return Ok(false);
    };
    let was_changed = match &before.delivery {
        Some(TurnDelivery::Unchanged { detail, .. }) => {
            run.recorder.get_json::<DeliveryDetail>(detail)?.patch.is_some()
        }
        _ => true,
    };
    // A question that it left goes to a person.
    let workspace = run.frozen.at.clone().under(&run.versioned()?.paths.workspace);
    let asks = workspace.join(Policy::QUESTION).symlink_metadata().is_ok();
    let changed = asks || workspace_patch(run)?.patch.is_some();
    let (words, words_before) = (last_words(run, last)?, last_words(run, &before)?);
    let crash = Crash { agent: last.agent, exit: last.exit, words: words.as_deref(), changed };
    Ok(crash.repeats(&Crash {
        agent: before.agent,
        exit: before.exit,
        words: words_before.as_deref(),
        changed: was_changed,
    }))
}

/// Returns what was wrong with an attempt in the agent's words, else what it said last; none where it
/// said nothing.
fn last_words(run: &Run, turn: &Turn) -> Result<Option<String>, Halt> {
    let words =
        turn.trouble.as_ref().or(turn.says.as_ref().filter(|_| {
            turn.class.as_deref().and_then(TurnClass::parse) == Some(TurnClass::Crashed)
        }));
    words.map(|words| run.text(words)).transpose()
}

/// Returns whether a turn could be paid that begins at `at`, and would be over before the deadline.
fn affords(run: &Run, at: Timestamp) -> bool {
    let rule = run.summary().stop_rule();
    let mut spending = run.spending();
    spending.now = spending.now.max(at.unix_millis());
    matches!(may_begin(&rule.limits, rule.deadline, &spending), Fund::Yes(_))
}

/// Returns why a run fails that an outage ended, and what to do.
fn outage(run: &Run, last: &Turn, class: TurnClass, said: Option<&str>) -> Result<Failure, Halt> {
    let settings = agent_of(run)?;
    let agent = settings.backend.as_deref().unwrap_or("the agent");
    let next = match class {
        TurnClass::Authentication => "give it a login (see `factory doctor`), then".to_owned(),
        TurnClass::SandboxUnusable => "see `factory doctor` for what is missing, then".to_owned(),
        TurnClass::CouldNotStart => "see that it is installed, then".to_owned(),
        TurnClass::NotFound => format!(
            "check {} (see `factory doctor`), and begin anew with `iterate`, for a run keeps the \
             settings that it began with; where these are right",
            asked_for(run, &settings, last)
        ),
        TurnClass::Crashed => "put right what keeps it from its work, then".to_owned(),
        _ => "once that works again,".to_owned(),
    };
    let said = said.map(|said| crate::text::one_line(said, 300));
    let (words, said) = match (class, last.exit) {
        (TurnClass::Crashed, exit) => {
            let words =
                "ended without finishing as the turn before did, and neither changed anything";
            let code = exit.map_or("by a signal".to_owned(), |code| format!("exit code {code}"));
            (words, Some(said.map_or(code.clone(), |said| format!("{code}: {said}"))))
        }
        _ => (class.words(), said),
    };
    let said = said.map(|said| format!(" ({said})")).unwrap_or_default();
    let message = format!("{agent} {words}{said}; {next} `iterate --resume` goes on");
    Ok(Failure::plain("agent", message))
}

/// Names what the agent's model and its address were set by, with the values.
fn asked_for(run: &Run, settings: &AgentSettings, last: &Turn) -> String {
    let key = match run.summary().agent.checked_sub(1) {
        None => "agent".to_owned(),
        Some(index) => format!("agent.fallback[{index}]"),
    };
    let model = match (&settings.model, &last.model) {
        (Some(model), _) => format!("`{key}.model` (`{model}`)"),
        (None, Some(model)) => format!("`{key}.model` (unset; its own is `{model}`)"),
        (None, None) => format!("`{key}.model` (unset)"),
    };
    let mut all = vec![model];
    match &settings.base_url {
        Some(url) => all.push(format!("`{key}.base_url` (`{url}`)")),
        None => {
            let set = agent::set_addresses(settings, &run.env);
            all.extend(set.iter().map(|(name, value)| format!("`{name}` (`{value}`)")));
        }
    }
    all.join(" and ")
}

/// Returns the settings of the agent whose turn it is.
fn agent_of(run: &Run) -> Result<AgentSettings, Halt> {
    let number = run.summary().agent;
    run.frozen.config.agent.of(number).ok_or_else(|| {
        let message = format!("`agent.fallback` has no agent {number}");
        Failure::plain("settings", message).into()
    })
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
        Recovered::Ended(record) if record.class == TurnClass::Interrupted => {
            interrupted(node, run, (turn, attempt), record.reaped as usize, None)?;
            Ok(Left::Again(attempt + 1))
        }
        Recovered::Ended(record) => {
            finished(node, run, turn, attempt, &paths, &record)?;
            Ok(Left::Done)
        }
        Recovered::CutShort { ended_processes } => {
            interrupted(node, run, (turn, attempt), ended_processes, None)?;
            Ok(Left::Again(attempt + 1))
        }
    }
}

/// Records that a turn was cut short, by a signal or since the factory died, and keeps what it had changed as a patch.
fn interrupted(
    node: &Node,
    run: &mut Run,
    (turn, attempt): (u32, u32),
    ended_processes: usize,
    by: Option<Signal>,
) -> Result<(), Halt> {
    let exit = by.map(Signal::exit_code);
    let diff = workspace_patch(run)?.patch;
    run.recorder.record(
        Some(&node.id),
        RunEvent::AgentInterrupted { turn, attempt, ended_processes, exit, diff },
    )
}

fn take_turn(
    node: &Node,
    run: &mut Run,
    (turn, attempt): (u32, u32),
    allowance: TurnAllowance,
) -> Result<(), Halt> {
    let settings = &agent_of(run)?;
    let chosen = backend(settings).map_err(agent_failure)?;
    chosen.check(settings, &run.env).map_err(agent_failure)?;

    let (files, withheld, of_base) = set_up_workspace(node, run)?;
    let paths = turn_paths(run, turn, attempt)?;
    let person_home = run.env.home();
    prepare_home(&paths.home, &paths.tmp, &settings.home, person_home.as_deref())
        .map_err(|error| agent_failure(AgentError::Home(error)))?;
    let login = run.lend_login(chosen, settings, &paths, &token(run, turn, attempt))?;
    let prompt = render_prompt(run, turn, &paths)?;
    private_dir(paths.record.parent().unwrap_or(&paths.record))?;
    write_durably(&paths.prompt_file, prompt.as_bytes()).map_err(|error| {
        Failure::of("disk", format!("writing {} failed", paths.prompt_file.display()), error)
    })?;
    let base_url = settings.base_url.as_deref().map(BaseUrl::parse).transpose();
    let base_url = base_url.map_err(agent_failure)?;
    let confined = run.walls.agent == Tier::Sandbox;
    let is_brokered = confined && run.frozen.config.network.access == Access::Agent;
    let kept = match is_brokered {
        true => run.kept_key(chosen, settings, base_url.as_ref()),
        false => None,
    };
    let address = match (&kept, &base_url) {
        (Some(kept), _) => Some(format!("http://127.0.0.1:{KEYED_PORT}{}", kept.path)),
        (None, Some(url)) if is_brokered => Some(url.by_way_of_the_broker()),
        (None, url) => url.as_ref().map(ToString::to_string),
    };
    let mut launch = chosen
        .launch(&agent::Turn {
            settings,
            root: &run.root,
            factory: &run.settings.factory,
            paths: &paths,
            number: turn,
            attempt,
            money: allowance.usd.map(|(usd, _)| usd),
            is_metered: allowance.usd.is_some() || allowance.tokens.is_some(),
            model: settings.model.as_deref(),
            base_url: address.as_deref(),
            confined,
        })
        .map_err(agent_failure)?;
    launch.furnish(&paths.home).map_err(agent_failure)?;
    launch.secret_files = run.secret_files(settings, &paths, login.as_ref());
    launch.secrets = run.secrets_of_product();
    let mut names = agent::variables(chosen, settings, &run.env);
    if let Some(kept) = &kept {
        names.retain(|name| name != kept.variable);
        launch.env_extra.insert(kept.variable.into(), PLACEHOLDER.into());
    }
    let tmp = match confined && run.walls.has_namespaces() {
        true => PathBuf::from("/tmp"),
        // Its own path may leave no room for the path of a socket.
        false => short_name(&paths.tmp),
    };
    let tree = run.works_at()?;
    let mut env = run.env.for_agent(&names, &paths.home, &tmp, &tree);
    let lies = run.frozen.at.clone().under(&run.versioned()?.paths.workspace);
    if has_src(&lies) {
        // As its gates have it, unless the person named another.
        env.entry("PYTHONPATH".into()).or_insert_with(|| python_path(&lies, &paths.workspace));
    }
    let mut stores = Vec::new();
    // Whom nothing confines would write to them: the agent, or, for it to read, what is judged.
    if confined && run.walls.judge == Tier::Sandbox {
        let given = run.stores()?;
        given
            .give(&paths.home, &mut env)
            .map_err(|error| Failure::of("disk", "giving the agent its stores failed", error))?;
        stores = given.seen();
    }
    let limits = TurnLimits {
        timeout: settings.timeout.0,
        idle: settings.idle.0,
        budget: TurnBudget {
            allowance,
            prices: run.frozen.prices.clone(),
            model: settings.model.clone(),
        },
        crash: run.settings.crash.take(),
    };

    launch.confined = run.confined_agent(&launch, &env, &paths, &stores)?;
    if launch.confined.is_some() {
        launch.way_out = run.way_out(chosen, base_url.as_ref());
        if let Some(way_out) = &mut launch.way_out {
            way_out.keyed = kept.map(|kept| kept.keyed);
        }
    }
    let handed = Handed {
        prompt: &prompt,
        launch: &launch,
        env: &env,
        names: &names,
        files,
        withheld,
        of_base,
    };
    receipt::begin(node, run, (turn, attempt), &handed)?;
    let prompt = run.recorder.put(Label::Public, prompt)?;
    let backend = (run.summary().agent > 0).then(|| chosen.name().to_owned());
    let started = RunEvent::AgentStarted { turn, attempt, prompt, backend };
    run.recorder.record(Some(&node.id), started)?;
    let token = token(run, turn, attempt);
    let factory = run.settings.factory.clone();
    let cancel = run.cancel.clone();
    let mut live = |activities: &[Activity]| run.recorder.show_activity(activities);
    let attending = Attending { cancel: &cancel, live: &mut live };
    let turned = run_turn(&launch, &paths, &env, &limits, &token, &factory, attending);
    run.take_back_login(login, &launch.secret_files)?;
    // A signal to all processes at once may end the agent before its supervisor does.
    let by = run.cancel.tripped();
    match turned {
        Ok(record)
            if record.class == TurnClass::Interrupted
                || by.is_some() && record.class == TurnClass::Crashed =>
        {
            interrupted(node, run, (turn, attempt), record.reaped as usize, by)?;
            run.check_cancel()?;
            Err(Failure::plain("agent", "the agent was ended, and nobody had asked for it").into())
        }
        Ok(record) => finished(node, run, turn, attempt, &paths, &record),
        Err(error) => {
            if let AgentError::SupervisorDied { ended_processes, .. } = &error {
                interrupted(node, run, (turn, attempt), *ended_processes, by)?;
                run.check_cancel()?;
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
    let blob =
        |text: Option<&str>| text.map(|text| run.recorder.put(Label::Internal, text)).transpose();
    let reading = &record.reading;
    let trouble = reading.end.as_ref().and_then(Option::as_ref).or(reading.trouble.as_ref());
    let over = match &record.ended {
        Ended::OverBudget { limit } => Some(format!("It reached `{}`.", limit.setting())),
        _ => None,
    };
    let why = match &record.ended {
        Ended::CouldNotStart { why } => Some(why.as_str()),
        Ended::OverBudget { .. } => over.as_deref(),
        _ => trouble.filter(|_| record.class != TurnClass::Done).map(|one| one.message.as_str()),
    };
    let says = blob(reading.said.as_deref())?;
    let why = blob(why)?;
    let activity = std::fs::read(paths.activity_file()).ok().filter(|text| !text.is_empty());
    let activity = activity.map(|text| run.recorder.put(Label::Internal, text)).transpose()?;
    let contacted = match record.contacted.as_slice() {
        [] => None,
        some => Some(run.recorder.put_json(Label::Internal, &some)?),
    };
    run.recorder.record(
        Some(&node.id),
        RunEvent::AgentFinished {
            turn,
            attempt,
            class: record.class.name().to_owned(),
            exit: match record.ended {
                Ended::Done => Some(0),
                Ended::Failed { code } => Some(code),
                _ => None,
            },
            ms: u64::try_from(record.duration.as_millis()).unwrap_or(u64::MAX),
            usage: reading.usage,
            usage_is_partial: !reading.usage_is_final && reading.usage != Usage::default(),
            model: reading.model.clone(),
            trouble: why,
            resets: trouble.and_then(|trouble| trouble.resets),
            nothing_to_do: reading.has_nothing_to_do(),
            activity,
            reaped: record.reaped,
            says,
            contacted,
        },
    )
}

/// Keeps what an attempt had changed that is taken again, as a patch for people.
fn keep_patch(node: &Node, run: &mut Run, last: &Turn) -> Result<(), Halt> {
    let Some(diff) = workspace_patch(run)?.patch else { return Ok(()) };
    let (turn, attempt) = (last.turn, last.attempts);
    let class = last.class.clone().unwrap_or_default();
    run.recorder.record(Some(&node.id), RunEvent::AttemptShelved { turn, attempt, class, diff })
}

/// Sets the workspace to the tip of the run's branch, without the holdout and without any other
/// file that holds an evaluation of it. Returns how many files it has, how many were left out, and how many of the
/// base its repository has.
fn set_up_workspace(node: &Node, run: &mut Run) -> Result<(usize, usize, usize), Halt> {
    let tip = run.summary().tip.clone();
    let mut tree = Arc::unwrap_or_clone(run.files_of(&tip)?);
    insert_feedback(run, &mut tree)?;
    let frozen = run.frozen.clone();
    let dir = frozen.scenarios_dir();
    let behind = match &dir {
        Some(dir) => behind_links(&run.base_links()?, dir, &frozen),
        None => Vec::new(),
    };
    let is_exam = |path: &TreePath| {
        let within = dir.as_ref().is_some_and(|dir| path.is_within(dir));
        (within && !frozen.is_public_scenario(path))
            || behind.iter().any(|place| path.is_within(place))
    };
    tree.retain(|path, _| !is_exam(path));
    let withheld = run.leave_out_copies(&mut tree)?;
    let files = tree.len();
    let owner = run.walls.agent_user();
    let versioned = run.versioned()?;
    let mut workspace =
        ManagedTree::open(&versioned.paths.workspace, &versioned.paths.workspace_manifest)
            .map_err(tree_failure("the agent's workspace"))?
            .keeping(frozen.outputs())
            .owned_by(owner);
    workspace.sync(&versioned.repo, &tree).map_err(tree_failure("the agent's workspace"))?;
    let root = workspace.root().to_owned();
    run.make_product_dir(&root, owner)?;
    let of_base = run.make_workspace_repository(&tip, &tree, &is_exam)?;
    place_in_workspace(run)?;
    let paths = match withheld.as_slice() {
        [] => None,
        some => Some(run.recorder.put_json(Label::Internal, &some)?),
    };
    run.recorder.record(
        Some(&node.id),
        RunEvent::WorkspaceChecked { files, withheld: withheld.len(), paths },
    )?;
    Ok((files, withheld.len(), of_base))
}

/// Returns where the directory of the scenarios leads, and each link in it but those of public
/// scenarios: what lies there is the exam by another name.
fn behind_links(links: &Links, dir: &TreePath, frozen: &Frozen) -> Vec<TreePath> {
    let mut places: Vec<TreePath> = links.leads_to(dir).into_iter().collect();
    let within = links.within(dir).into_iter();
    let withheld = within.filter(|at| !frozen.is_public_scenario(at));
    places.extend(withheld.filter_map(|at| links.leads_to(&at)));
    places
}

/// Puts the run's feedback files into the tree, where they are not committed on the branch.
fn insert_feedback(run: &mut Run, tree: &mut Tree) -> Result<(), Halt> {
    let mut missing = Vec::new();
    for (iteration, blob) in run.summary().feedback.clone() {
        let path = TreePath::parse(run.frozen.at.path(&feedback_path(iteration)))
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

/// Renders the prompt: the frozen template with what this turn has to say.
fn render_prompt(run: &mut Run, turn: u32, paths: &TurnPaths) -> Result<String, Halt> {
    let frozen = run.frozen.clone();
    let answer = match run.summary().answered.clone() {
        Some((question, answer)) => {
            Some(Answer { question: run.text(&question)?, answer: run.text(&answer)? })
        }
        None => None,
    };
    let mut protected = frozen.config.protected_globs();
    let led_to = run.policy()?.led_to();
    protected.extend(led_to.iter().map(|path| frozen.at.seen(&path.to_string())));
    let write = frozen.config.write.clone();
    if write.iter().flatten().any(|glob| glob.starts_with("../")) {
        protected.extend(Config::PROTECTED.iter().map(|glob| frozen.at.seen(glob)));
    }
    let context = PromptContext {
        iteration: run.summary().started.first_iteration + turn,
        turns_left: run.summary().max_iterations.saturating_sub(turn),
        feedback_file: feedback_path(run.summary().iteration()),
        specs: frozen.specs.iter().map(|(path, _)| path.clone()).collect(),
        protected,
        write,
        product: frozen.at.as_str().to_owned(),
        workspace: paths.workspace.display().to_string(),
        answer,
    };
    agent::render(&frozen.prompt, &frozen.prompt_name, &context)
        .map_err(|error| Failure::of("prompt", "the prompt can't be rendered", error).into())
}

pub(super) fn turn_paths(run: &mut Run, turn: u32, attempt: u32) -> Result<TurnPaths, Halt> {
    let iteration = run.summary().iteration();
    let workspace = run.frozen.at.clone().under(&run.works_at()?);
    let paths = &run.versioned()?.paths;
    let record: PathBuf = paths.record(turn, attempt);
    Ok(TurnPaths {
        home: paths.agent_home.clone(),
        tmp: paths.agent_tmp.clone(),
        prompt_file: paths.dir.join("prompt.md"),
        feedback_file: workspace.join(feedback_path(iteration)),
        workspace,
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
