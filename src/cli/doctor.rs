//! `factory doctor`: would a run begin here, and what is to be put right first?
//!
//! Looks and starts nothing of the product. Says of each finding what to do. Logins are named by where they
//! stand and never shown. With `--deep` one real turn of the agent is taken, see [`super::deep`].

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser;

use super::deep;
use super::exit::Exit;
use super::run_scenarios::product_root;
use crate::agent::{
    self, AgentError, Backend, BaseUrl, KeptLogin, Login, Version, find_tool, is_on, own_login,
    set_logins,
};
use crate::clock::{Clock as _, SystemClock, Timestamp};
use crate::config::{AgentSettings, Config, Environment, PROXIES};
use crate::convergence::{Billing, PriceTable};
use crate::engine::preflight::{LITTLE_ROOM, executes_nothing, rooms, temporary_files, version};
use crate::engine::{
    BRANCHES, Base, Differences, RepoState, StartError, Walls, blind, installed_beside, read_specs,
    without_a_spec,
};
use crate::event::Tier;
use crate::git::{self, GitError, Head, Repo};
use crate::judge::{DiscoverError, check_needs, discover, makefile};
use crate::report::Output;
use crate::report::doctor::{Check, Examination, Mark};
use crate::scenario::ScenarioSet;
use crate::text::{one_line, plural};
use crate::wall::broker::Policy;
use crate::wall::{TreeError, missing_large_files, missing_submodules};

const EXAMPLES: &str = "\
Examples:
  factory doctor             look at everything that a run needs
  factory doctor --deep      also take one turn of the agent, offline and for nothing
  factory doctor --json      the same for machines

Exit codes: 0 nothing to put right, 2 dark-factory.yaml makes no sense, 3 a run would fail, 6 the required
isolation can't be had.";

/// How long an agent's program may take to say its version.
const FOR_A_VERSION: Duration = Duration::from_secs(10);
/// From this size on, in bytes, the state is worth a look.
const LARGE_STATE: u64 = 5_000_000_000;
/// A clock that is before this moment, or the last commit by more than this, is wrong.
const SLACK: Duration = Duration::from_secs(5 * 60);

/// See whether a run could begin here, and what to put right first.
#[derive(Debug, Clone, Parser)]
#[command(name = "doctor", after_help = EXAMPLES)]
pub struct Args {
    /// Take one turn of the agent too, against a model server of the factory's own
    #[arg(long)]
    pub deep: bool,
    /// Write one JSON object
    #[arg(long)]
    pub json: bool,
    /// The root of the product [default: from here up the first with dark-factory.yaml, else the repository's top]
    #[arg(long, value_name = "DIR")]
    pub workdir: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// The product's root can't be had, or `--deep` is asked of a binary that can't.
pub fn run(args: &Args, env: &Environment) -> anyhow::Result<Exit> {
    if args.deep {
        deep::is_possible()?;
    }
    let root = product_root(args.workdir.as_deref(), env)?;
    let mut doctor = Doctor::new(env, root);
    doctor.examine(args.deep);
    let found = Examination::of(doctor.checks);
    let mut output = Output::stdout(env.no_color());
    if args.json {
        output.line(serde_json::to_string_pretty(&found)?);
    } else {
        let styled = output.is_styled();
        found.lines(styled).into_iter().for_each(|line| output.line(line));
    }
    output.finish().context("can't write to standard output")?;
    Ok(doctor.exit)
}

/// Returns what a run at `root` would fail by, as lines for people below an error that kept one from beginning;
/// `with_agent` says whether it would have an agent, and `backend` which, where that is not the settings'. Empty
/// where nothing is found.
pub(super) fn what_fails(
    env: &Environment,
    root: &Path,
    (with_agent, backend): (bool, Option<&str>),
    styled: bool,
) -> Vec<String> {
    let mut doctor = Doctor::new(env, root.to_owned());
    doctor.is_brief = true;
    doctor.with_agent = with_agent;
    doctor.backend = backend;
    doctor.examine(false);
    // What is missing may be there, and not committed.
    let differs = doctor.checks.iter().find(|check| check.name == CHECKOUT);
    let differs = differs.map(|check| format!("note: {}", check.found));
    let mut lines = Examination::of(doctor.checks).failures(styled);
    if !lines.is_empty() {
        lines.insert(0, "`factory doctor` finds what a run would fail by:".to_owned());
    }
    lines.extend(differs);
    lines
}

/// The check that compares the checkout with the commit.
const CHECKOUT: &str = "checkout";

/// Looks at one thing after the other.
struct Doctor<'a> {
    env: &'a Environment,
    root: PathBuf,
    /// Whether no program is started to ask for its version.
    is_brief: bool,
    /// Whether the run is to have an agent.
    with_agent: bool,
    /// Its backend; none where it is the one that the settings name.
    backend: Option<&'a str>,
    /// Where a run would read what judges and steers it.
    base: Base,
    checks: Vec<Check>,
    exit: Exit,
}

impl<'a> Doctor<'a> {
    fn new(env: &'a Environment, root: PathBuf) -> Self {
        let (base, checks, exit) = (Base::lying(&root), Vec::new(), Exit::Satisfied);
        Self { env, root, is_brief: false, with_agent: true, backend: None, base, checks, exit }
    }

    fn examine(&mut self, deep: bool) {
        let repo = self.git();
        if let Some(repo) = &repo {
            self.submodules(repo);
        }
        if let Some(Ok(base)) = repo.as_ref().map(|repo| Base::look(repo, &self.root)) {
            self.base = base;
        }
        let config = self.settings();
        let set = config.as_ref().and_then(|config| self.scenarios(config));
        if let Some(config) = &config {
            self.specs(config);
            self.checkout(config);
            self.gates(config, set.as_ref());
            if self.with_agent {
                self.agents(config);
            }
        }
        let state = self.state(repo.as_ref());
        let walls = match (&config, &state) {
            (Some(config), Some(state)) => self.isolation(config, state.dir()),
            _ => None,
        };
        if let Some(config) = &config {
            self.python(config, walls.as_ref());
            self.network(config);
            self.budget(config);
        }
        self.disk(state.as_ref());
        self.clock(repo.as_ref());
        if deep {
            match (&config, walls) {
                (Some(config), Some(walls)) => self.deep(config, &walls),
                _ => self.note("deep", Mark::Skipped, "settings or isolation come first", None),
            }
        }
    }

    fn note(&mut self, name: &str, mark: Mark, found: impl Into<String>, next: Option<&str>) {
        if mark == Mark::Fail {
            self.fails_with(Exit::Broken);
        }
        let (name, next) = (name.to_owned(), next.map(str::to_owned));
        self.checks.push(Check { name, mark, found: found.into(), next });
    }

    /// Settings that make no sense go before isolation, and that before everything else.
    fn fails_with(&mut self, exit: Exit) {
        let rank = |exit| match exit {
            Exit::Usage => 3,
            Exit::Isolation => 2,
            Exit::Satisfied => 0,
            _ => 1,
        };
        if rank(exit) > rank(self.exit) {
            self.exit = exit;
        }
    }

    fn git(&mut self) -> Option<Repo> {
        let version = match git::version(&self.env.for_tools()) {
            Ok(version) => version,
            Err(error) => {
                let is_missing = matches!(&error, GitError::NotStarted { is_missing: true, .. });
                let next = is_missing.then_some("for example `sudo apt-get install git`");
                self.note("git", Mark::Fail, one_line(&error.to_string(), 300), next);
                return None;
            }
        };
        let repo = match Repo::discover(&self.root, self.env.for_tools()) {
            Ok(repo) => repo,
            Err(error) => {
                let next = match error {
                    GitError::NotARepository { .. } => "git init && git add --all && git commit",
                    _ => "run it in a checkout of the product",
                };
                self.note("git", Mark::Fail, format!("{version}; {error}"), Some(next));
                return None;
            }
        };
        let at = match repo.head() {
            Ok(Head::Branch { name, commit }) => {
                format!("branch {} at {}", name.trim_start_matches("refs/heads/"), commit.short())
            }
            Ok(Head::Detached { commit }) => format!("no branch, at {}", commit.short()),
            Ok(Head::Unborn { .. }) => {
                let next = "git add --all && git commit; the loop begins at a commit";
                self.note("git", Mark::Fail, format!("{version}; no commit yet"), Some(next));
                return Some(repo);
            }
            Err(error) => {
                self.note("git", Mark::Fail, format!("{version}; {error}"), Some("git fsck"));
                return Some(repo);
            }
        };
        let dirty = match repo.dirty_paths() {
            Ok(paths) if paths.is_empty() => "nothing uncommitted".to_owned(),
            Ok(paths) => {
                format!("{} uncommitted, which a run does not judge", plural(paths.len(), "path"))
            }
            Err(error) => one_line(&error.to_string(), 200),
        };
        let found = format!("{version}; {at}; {dirty}");
        match in_the_way(&repo) {
            None => self.note("git", Mark::Ok, found, None),
            Some((mark, more, next)) => {
                self.note("git", mark, format!("{found}; {more}"), Some(&next));
            }
        }
        Some(repo)
    }

    /// Says of submodules and large files alone that are not there: a tree without them fails by what it lacks.
    fn submodules(&mut self, repo: &Repo) {
        let Ok(Head::Branch { commit, .. } | Head::Detached { commit }) = repo.head() else {
            return;
        };
        let files = repo.list(&commit).map_err(TreeError::from);
        if let Ok(Some(found)) =
            files.as_ref().map(|files| missing_large_files(repo, files).ok().flatten())
        {
            let found = found.split("; run ").next().unwrap_or(&found).to_owned();
            self.note("large files", Mark::Warn, found, Some("git lfs fetch"));
        }
        match files.and_then(|files| missing_submodules(repo, &files)).as_deref() {
            Ok([]) => {}
            Ok([first, more @ ..]) => {
                let first = first.split("; run ").next().unwrap_or(first);
                let more = match more.len() {
                    0 => String::new(),
                    count => format!("; and {count} more"),
                };
                let next = "git submodule update --init --recursive";
                self.note("submodules", Mark::Warn, format!("{first}{more}"), Some(next));
            }
            Err(error) => {
                let found = one_line(&error.to_string(), 200);
                self.note("submodules", Mark::Warn, found, Some("git submodule status"));
            }
        }
    }

    fn settings(&mut self) -> Option<Config> {
        match self.base.settings() {
            Ok(mut config) => {
                let there = self.inputs(&config)?.join(crate::config::FILE).exists();
                config.agent.backend = self.backend.map(str::to_owned).or(config.agent.backend);
                let found = match there {
                    true => self.base.product().path(crate::config::FILE),
                    false => format!(
                        "no {}; the defaults hold",
                        self.base.product().path(crate::config::FILE)
                    ),
                };
                self.note("settings", Mark::Ok, found, None);
                Some(config)
            }
            Err(error) => {
                self.fails_with(Exit::Usage);
                let found = one_line(&error.to_string(), 300);
                self.note("settings", Mark::Fail, found, Some("factory lint"));
                None
            }
        }
    }

    fn scenarios(&mut self, config: &Config) -> Option<ScenarioSet> {
        let (own, inputs) = (&config.scenarios.dir, self.inputs(config)?);
        let dir = &self.base.product().path(own);
        let found = discover(&inputs, own);
        let only = match found.as_ref().map_or(true, |set| set.entries.is_empty()) {
            true => self.base.only_in_checkout(config).len(),
            false => 0,
        };
        if only > 0 {
            let found = format!("{} in {dir}/, none of them committed", plural(only, "scenario"));
            let add = self.base.pathspec(own);
            let next = format!("git add {add} && git commit; a run judges what is committed");
            self.note("scenarios", Mark::Fail, found, Some(&next));
            return None;
        }
        let mut set = match found.map_err(|error| error.at(&self.root.join(own))) {
            Ok(set) => set,
            Err(error) => {
                let next = format!("write one in {dir}/; `factory lint --explain S002` shows how");
                let next = match error {
                    DiscoverError::SameId { .. } => "rename one of them".to_owned(),
                    _ => next,
                };
                let found = match error {
                    DiscoverError::NoDirectory { .. } => format!("there is no directory {dir}/"),
                    other => other.to_string(),
                };
                self.note("scenarios", Mark::Fail, found, Some(&next));
                return None;
            }
        };
        check_needs(&mut set, &inputs, &config.fixtures);
        let count = set.entries.len();
        let invalid = set.entries.iter().filter(|entry| entry.scenario.is_err()).count();
        match (count, invalid) {
            (0, _) => {
                let next = "write one; `factory lint --explain S002` shows how";
                self.note("scenarios", Mark::Fail, format!("none in {dir}/"), Some(next));
            }
            (_, 0) => {
                let found = format!("{} in {dir}/", plural(count, "scenario"));
                self.note("scenarios", Mark::Ok, found, None);
            }
            _ => {
                let found =
                    format!("{} in {dir}/, {invalid} can't be judged", plural(count, "scenario"));
                self.note("scenarios", Mark::Warn, found, Some("factory lint"));
            }
        }
        Some(set)
    }

    /// Returns the directory of what a run reads once; says why where it can't be had.
    fn inputs(&mut self, config: &Config) -> Option<PathBuf> {
        self.base
            .inputs(config)
            .map_err(|error| {
                let found = one_line(&error.to_string(), 300);
                self.note("commit", Mark::Fail, found, Some("git fsck"));
            })
            .ok()
    }

    fn specs(&mut self, config: &Config) {
        let Some(inputs) = self.inputs(config) else { return };
        let found = read_specs(&inputs, &config.specs);
        let found =
            found.and_then(|specs| Ok((specs.len(), without_a_spec(&config.specs, &specs)?)));
        match found {
            Ok((0, empty)) if empty.is_empty() => {
                self.note("specs", Mark::Ok, "none, as `specs: []` says", None);
            }
            Ok((count, empty)) if empty.is_empty() => {
                self.note("specs", Mark::Ok, plural(count, "spec"), None);
            }
            Ok((_, empty)) => {
                let is_paid = self.with_agent && agent::is_paid(&config.agent);
                let mark = if is_paid { Mark::Fail } else { Mark::Warn };
                let found = format!("no committed file matches `{}`", empty.join("`, `"));
                let next =
                    "commit a spec, correct `specs` in dark-factory.yaml, or write `specs: []`";
                self.note("specs", mark, found, Some(next));
            }
            Err(error) => {
                self.fails_with(Exit::Usage);
                let next = "correct `specs` in dark-factory.yaml";
                self.note("specs", Mark::Fail, error.to_string(), Some(next));
            }
        }
    }

    /// Says what a run would read otherwise than it lies in the checkout; nothing where there is nothing.
    fn checkout(&mut self, config: &Config) {
        if let Ok(Differences { read: Some(found), .. }) = self.base.differences(config) {
            self.note(CHECKOUT, Mark::Warn, found, Some("git commit"));
        }
    }

    fn gates(&mut self, config: &Config, set: Option<&ScenarioSet>) {
        let text = self.inputs(config).and_then(|inputs| makefile::makefile_in(&inputs));
        let text = text.unwrap_or_default();
        let gates = makefile::gates_of(config, &text);
        let names: Vec<&str> = gates.iter().map(|gate| gate.name.as_str()).collect();
        let mut commands: Vec<&str> = gates.iter().map(|gate| gate.run.as_str()).collect();
        commands.extend(config.prepare.iter().map(|step| step.run.as_str()));
        // Evaluations and commands are bash.
        commands.extend(set.map(|_| "bash"));
        let missing: BTreeSet<&str> = commands.iter().filter_map(|run| self.missing(run)).collect();
        let mut found = match names.as_slice() {
            [] => "none: scenarios alone decide".to_owned(),
            _ => names.join(", "),
        };
        if !config.prepare.is_empty() {
            let steps: Vec<&str> = config.prepare.iter().map(|step| step.name.as_str()).collect();
            found.push_str(&format!("; prepare: {}", steps.join(", ")));
        }
        match missing.into_iter().collect::<Vec<_>>().as_slice() {
            [] if names.is_empty() => {
                let next =
                    "give the Makefile a target `test`, or write `gates` into dark-factory.yaml";
                self.note("gates", Mark::Warn, found, Some(next));
            }
            [] => self.note("gates", Mark::Ok, found, None),
            some => {
                let some = some.join("`, `");
                let next = format!("install `{some}`, or let `prepare` do it");
                let found = format!("{found}; not on PATH: `{some}`");
                self.note("gates", Mark::Warn, found, Some(&next));
            }
        }
    }

    /// Returns the program that a command begins with, where it is plain that it is not there.
    fn missing<'c>(&self, run: &'c str) -> Option<&'c str> {
        const BASH: [&str; 16] = [
            ".", "[", "[[", "!", "cd", "echo", "eval", "exec", "export", "if", "for", "set",
            "source", "test", "true", "while",
        ];
        let first = run.split_whitespace().find(|word| !is_assignment(word))?;
        let is_plain = first.chars().all(|c| c.is_ascii_alphanumeric() || "-_.+".contains(c));
        let is_known = !is_plain || BASH.contains(&first) || self.env.find_program(first).is_some();
        (!is_known).then_some(first)
    }

    fn agents(&mut self, config: &Config) {
        if config.agent.backend.is_none() {
            let next =
                format!("{}; `iterate --no-agent` needs none", agent::what_to_choose(self.env));
            self.note("agent", Mark::Fail, "none is chosen", Some(&next));
            return;
        }
        for (number, settings) in (0..).map_while(|n| Some((n, config.agent.of(n)?))) {
            let name = match number {
                0 => "agent".to_owned(),
                _ => format!("fallback {number}"),
            };
            match agent::backend(&settings) {
                Ok(backend) => self.agent(&name, backend, &settings),
                Err(error) => {
                    self.fails_with(Exit::Usage);
                    let next = "correct `agent.backend` in dark-factory.yaml";
                    self.note(&name, Mark::Fail, error.to_string(), Some(next));
                }
            }
        }
    }

    fn agent(&mut self, name: &str, backend: &dyn Backend, settings: &AgentSettings) {
        let what = backend.name();
        let found = find_tool(backend, settings, self.env);
        let path = found.as_ref().and_then(|found| found.path.clone());
        let config = Config { agent: settings.clone(), ..self.base.settings().unwrap_or_default() };
        if let Some(why) = self.base.why_no_program(&config) {
            self.note(name, Mark::Fail, format!("{what}: {why}"), None);
            return;
        }
        match (&found, &path) {
            (Some(found), Some(path)) => {
                let place = format!("{what}, {}", path.display());
                let version = match self.is_brief {
                    true => None,
                    false => version(found, self.env, FOR_A_VERSION),
                };
                let tested = found.tool.map(|tool| tool.tested_with()).unwrap_or_default();
                let install = found.tool.map(|tool| tool.hint);
                match version {
                    None => self.note(name, Mark::Ok, place, None),
                    Some(Version::Tested(one)) => {
                        self.note(name, Mark::Ok, format!("{place}, version {one}"), None);
                    }
                    Some(Version::Other(one)) => {
                        let found = format!("{place}, version {one}; tried with {tested}");
                        let next = "`factory doctor --deep` tells whether it works";
                        self.note(name, Mark::Warn, found, Some(next));
                    }
                    Some(Version::Unknown(why)) => {
                        self.note(name, Mark::Warn, format!("{place}; {why}"), install);
                    }
                }
            }
            (Some(_), None)
                if let Err(error @ AgentError::NotExecutable { .. }) =
                    backend.check(settings, self.env) =>
            {
                self.note(
                    name,
                    Mark::Fail,
                    error.to_string(),
                    Some("make it a program that you may execute"),
                );
            }
            (Some(found), None) => {
                let place = format!("{what}: no `{}` on PATH", found.program);
                let next =
                    found.tool.map_or("install it, or correct `agent.command`", |tool| tool.hint);
                self.note(name, Mark::Fail, place, Some(next));
            }
            (None, _) => match backend.check(settings, self.env) {
                Ok(()) => self.note(name, Mark::Ok, what, None),
                Err(error) => {
                    let next = "see docs/agents.md for what it needs";
                    self.note(name, Mark::Fail, error.to_string(), Some(next));
                    return;
                }
            },
        }
        if path.is_some() {
            self.login(name, backend, settings);
        }
        self.model(name, backend, settings);
    }

    /// Says which model is asked for, and where: whether they are there only a turn can tell.
    fn model(&mut self, agent: &str, backend: &dyn Backend, settings: &AgentSettings) {
        let name = if agent == "agent" { "model".to_owned() } else { format!("{agent} model") };
        let mut found = settings.model.iter().map(|model| format!("`{model}`")).collect::<Vec<_>>();
        let Some(url) = &settings.base_url else {
            let set = agent::set_addresses(settings, self.env);
            found.extend(set.iter().map(|(name, value)| format!("`{name}` is `{value}`")));
            if !found.is_empty() {
                self.note(&name, Mark::Ok, found.join("; "), None);
            }
            return;
        };
        found.push(format!("at `{url}`"));
        let found = found.join(" ");
        let path = match BaseUrl::parse(url) {
            Ok(url) => url.path().to_owned(),
            Err(error) => {
                self.fails_with(Exit::Usage);
                let next = "correct `agent.base_url` in dark-factory.yaml";
                self.note(&name, Mark::Fail, error.to_string(), Some(next));
                return;
            }
        };
        let next = match backend.base_path() {
            Some("") if path.ends_with("/v1") || path.ends_with("/v1beta") => {
                "leave the version out of its path: the agent adds that itself"
            }
            Some("/v1") if path.is_empty() => "its path is `/v1` with most providers",
            _ => return self.note(&name, Mark::Ok, found, None),
        };
        self.note(&name, Mark::Warn, found, Some(next));
    }

    fn login(&mut self, agent: &str, backend: &dyn Backend, settings: &AgentSettings) {
        let name = if agent == "agent" { "login".to_owned() } else { format!("{agent} login") };
        let kept = KeptLogin::of(backend, settings, self.env);
        if backend.logins().is_empty() && backend.login_variables().is_empty() && kept.is_none() {
            let names = set_logins(backend, settings, self.env);
            let found = match names.as_slice() {
                [] => "the factory knows of none that it needs".to_owned(),
                some => format!("{} set", some.join(", ")),
            };
            self.note(&name, Mark::Ok, found, None);
            return;
        }
        let mut sources = Vec::new();
        let set = set_logins(backend, settings, self.env);
        if !set.is_empty() {
            sources.push(format!("{} set", set.join(", ")));
        }
        for login in backend.logins() {
            if let Login::Cloud { name, switch, .. } = login
                && is_on(switch, self.env)
            {
                sources.push(format!("by way of {name}"));
            }
        }
        let home = self.env.home();
        let (there, gone): (Vec<&String>, Vec<&String>) = settings.home.iter().partition(|entry| {
            let entry = entry.strip_prefix("~/").unwrap_or(entry);
            home.as_ref().is_some_and(|home| home.join(entry).exists())
        });
        sources.extend(there.iter().map(|entry| format!("`agent.home` links to ~/{entry}")));
        let own = own_login(backend, settings, self.env);
        if let Some(own) = &own {
            sources.push(format!("made by `factory login {}`", backend.name()));
            let _ = own;
        } else if kept.as_ref().is_some_and(KeptLogin::is_there) {
            sources.push(format!("these go before that of `factory login {}`", backend.name()));
        }
        if let Some(entry) = gone.first() {
            let found = format!("`agent.home` names ~/{entry}, which is not there");
            let next = "remove it from dark-factory.yaml, or log in with the agent's own command";
            self.note(&name, Mark::Fail, found, Some(next));
            return;
        }
        match backend.check(settings, self.env) {
            Ok(()) => self.note(&name, Mark::Ok, sources.join("; "), None),
            Err(AgentError::NotLoggedIn { variables, own, .. }) => {
                let by_variable = match variables.as_str() {
                    "" => String::new(),
                    some => format!("set one of {some}"),
                };
                let next = match own {
                    true if by_variable.is_empty() => format!("factory login {}", backend.name()),
                    true => format!("factory login {}, or {by_variable}", backend.name()),
                    false => by_variable,
                };
                self.note(&name, Mark::Fail, "none", Some(&next));
            }
            Err(error) => self.note(&name, Mark::Fail, error.to_string(), None),
        }
    }

    fn state(&mut self, repo: Option<&Repo>) -> Option<RepoState> {
        let dir = match self.env.state_dir() {
            Ok(dir) => dir,
            Err(error) => {
                let next = "export HOME=/some/directory";
                self.note("state", Mark::Fail, error.to_string(), Some(next));
                return None;
            }
        };
        let repo = repo?;
        let at = repo.subtree(&self.root).unwrap_or_default();
        let state = RepoState::of(&dir, &self.root, repo.common_dir(), &at);
        match state.holder() {
            Ok(Some(held)) => {
                let next = format!("wait for it, or end it with `kill {}`", held.pid);
                let found = format!("run {} is active (process {})", held.run, held.pid);
                self.note("state", Mark::Fail, found, Some(&next));
                return Some(state);
            }
            Ok(None) => {}
            Err(error) => {
                let next = format!("look at {}", repo.common_dir().display());
                let found = format!("the lock can't be read: {error}");
                self.note("state", Mark::Fail, found, Some(&next));
                return Some(state);
            }
        }
        if executes_nothing(state.dir()) {
            let found = format!(
                "{} is mounted `noexec`: no program of the product could be executed there",
                state.dir().display()
            );
            let next = "export XDG_STATE_HOME=/some/directory on another mount";
            self.note("state", Mark::Fail, found, Some(next));
            return Some(state);
        }
        let (size, is_all) = super::gc::size_up_to(state.dir(), LARGE_STATE);
        let more = if is_all { "" } else { "more than " };
        let found = format!("{}, {more}{}", state.dir().display(), super::gc::bytes(size));
        match is_all {
            true => self.note("state", Mark::Ok, found, None),
            false => self.note("state", Mark::Warn, found, Some("factory gc")),
        }
        Some(state)
    }

    fn isolation(&mut self, config: &Config, state: &Path) -> Option<Walls> {
        let launcher = match self.env.executable() {
            Ok(launcher) => launcher,
            Err(error) => {
                let found = format!("this program's own file can't be found: {error}");
                self.note("isolation", Mark::Fail, found, Some("install it again"));
                return None;
            }
        };
        let dir = state.join(format!("doctor-{}", rustix::process::getpid().as_raw_nonzero()));
        let raised = Walls::raise(&config.isolation, self.env, &launcher, &dir);
        let _ = std::fs::remove_dir_all(&dir);
        const OPEN: &str = "allow user namespaces (on Ubuntu `sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0`; in a container `--security-opt seccomp=unconfined`), or install `bubblewrap`";
        match raised {
            Ok((walls, said)) => {
                let mut found = format!("agent `{}`, judge `{}`", walls.agent, walls.judge);
                let marks = ["/.dockerenv", "/run/.containerenv"];
                let is_nested = marks.iter().any(|mark| Path::new(mark).exists());
                if let Some(chosen) = &walls.chosen {
                    found.push_str(&format!(" by `{}`", chosen.step));
                }
                if is_nested {
                    found.push_str(", inside a container");
                }
                for one in &said {
                    found.push_str(&format!("; {}", one_line(one, 300)));
                }
                let asks_less = config.isolation.agent == Some(Tier::Copy);
                let is_less = walls.agent != Tier::Sandbox && !asks_less;
                let mark = if is_less { Mark::Warn } else { Mark::Ok };
                self.note("isolation", mark, found, is_less.then_some(OPEN));
                Some(walls)
            }
            Err(StartError::Isolation { why }) => {
                self.fails_with(Exit::Isolation);
                let found =
                    format!("`sandbox` is required and can't be had: {}", one_line(&why, 400));
                self.note("isolation", Mark::Fail, found, Some(OPEN));
                None
            }
            Err(error) => {
                self.fails_with(Exit::Usage);
                let next = "correct `isolation` in dark-factory.yaml";
                self.note("isolation", Mark::Fail, error.to_string(), Some(next));
                None
            }
        }
    }

    /// Says of a product in Python alone what else its tests could import.
    fn python(&mut self, config: &Config, walls: Option<&Walls>) {
        let none = Walls::none();
        let beside = installed_beside(&self.root, config, self.env, walls.unwrap_or(&none));
        if let Some((found, next)) = beside {
            self.note("python", Mark::Warn, found, Some(&next));
        }
    }

    fn network(&mut self, config: &Config) {
        if let Err(error) = Policy::parse(&config.network.allow) {
            self.fails_with(Exit::Usage);
            let next = "correct `network.allow` in dark-factory.yaml";
            self.note("network", Mark::Fail, error.to_string(), Some(next));
            return;
        }
        let agents = (0..).map_while(|number| config.agent.of(number));
        let backends: Vec<_> = agents.filter_map(|one| agent::backend(&one).ok()).collect();
        let own: BTreeSet<&str> = backends.iter().flat_map(|one| one.hosts()).copied().collect();
        let hosts = own.into_iter().chain(config.network.allow.iter().map(String::as_str));
        let hosts: Vec<&str> = hosts.collect();
        let mut found =
            format!("access `{}`", format!("{:?}", config.network.access).to_lowercase());
        if !hosts.is_empty() {
            found.push_str(&format!(": {}", hosts.join(", ")));
        }
        let proxies: Vec<&str> =
            PROXIES.into_iter().filter(|name| self.env.get(name).is_some()).collect();
        if !proxies.is_empty() {
            found.push_str(&format!("; by the proxy of {}", proxies.join(", ")));
        }
        self.note("network", Mark::Ok, found, None);
    }

    fn budget(&mut self, config: &Config) {
        let limits = config.budget.limits();
        let own = config.budget.prices.clone().unwrap_or_default();
        let prices = PriceTable::built_in().with(&own);
        let turns = plural(config.budget.max_iterations as usize, "turn");
        let next = "set `budget.tokens` or `budget.time`";
        if limits.billing == Billing::Plan && limits.has_money() {
            let found = format!("{turns}; `billing: plan`, where dollars limit nothing");
            self.note("budget", Mark::Warn, found, Some(next));
        } else if let Some(why) = blind(&limits, config.agent.model.as_deref(), &prices) {
            self.note("budget", Mark::Warn, format!("{turns}; {why}"), Some(next));
        } else {
            self.note("budget", Mark::Ok, format!("{turns} at most"), None);
        }
    }

    fn disk(&mut self, state: Option<&RepoState>) {
        let dir = match (state, self.env.state_dir()) {
            (Some(state), _) => state.dir().to_owned(),
            (None, Ok(dir)) => dir,
            (None, Err(_)) => self.root.clone(),
        };
        if let Err(error) = temporary_files(self.env) {
            let temp = self.env.temp_dir();
            let found = format!("no temporary file can be made in {}: {error}", temp.display());
            let next = "export TMPDIR=/some/directory that can be written";
            return self.note("disk", Mark::Fail, found, Some(next));
        }
        let rooms = rooms(&dir, self.env);
        let words = rooms
            .iter()
            .map(|(path, room)| format!("{} free at {}", super::gc::bytes(*room), path.display()));
        let found = words.collect::<Vec<_>>().join(", ");
        match rooms.iter().any(|(_, room)| *room < LITTLE_ROOM) {
            false => self.note("disk", Mark::Ok, found, None),
            true => {
                let next = "factory gc, or make room elsewhere";
                self.note("disk", Mark::Warn, found, Some(next));
            }
        }
    }

    fn clock(&mut self, repo: Option<&Repo>) {
        use std::os::unix::fs::MetadataExt as _;
        let now = SystemClock.now();
        let head = repo.and_then(|repo| repo.committed_at(repo.head().ok()?.commit()?).ok());
        let built = self.env.executable().ok().and_then(|path| path.metadata().ok());
        let built = built.map(|found| Timestamp::from_unix_millis(found.mtime() * 1_000));
        let zone = self.env.get("TZ").map(|zone| format!(", TZ {}", zone.to_string_lossy()));
        let found = format!("{now}{}", zone.unwrap_or_default());
        let before = |then: &Timestamp| then.since(now) > SLACK;
        let wrong = match (head.filter(before), built.filter(before)) {
            (Some(then), _) => Some(format!("{found}, and the last commit is of {then}")),
            (None, Some(then)) => Some(format!("{found}, and this program is of {then}")),
            (None, None) => None,
        };
        match wrong {
            None => self.note("clock", Mark::Ok, found, None),
            Some(wrong) => {
                let next = "set the clock, for example `sudo timedatectl set-ntp true`";
                self.note("clock", Mark::Warn, wrong, Some(next));
            }
        }
    }

    fn deep(&mut self, config: &Config, walls: &Walls) {
        match deep::turn(config, walls, self.env) {
            Ok(found) => self.note("deep", Mark::Ok, found, None),
            Err(deep::Trouble { found, next }) => {
                self.note("deep", Mark::Fail, found, Some(&next));
            }
        }
    }
}

/// Returns what of the repository a run would fail by or should be known before, how bad that is, and what to do:
/// a branch in the place of the runs' own, objects that a partial clone lacks. None where there is nothing.
fn in_the_way(repo: &Repo) -> Option<(Mark, String, String)> {
    const WHOLE: &str = "git fetch --refetch --no-filter";
    if let Err(GitError::InTheWay { name }) = repo.has_room_for(BRANCHES) {
        let found = format!("a branch `{name}` is in the way of the runs' branches `{name}/...`");
        return Some((Mark::Fail, found, format!("git branch -m {name} old-{name}")));
    }
    let head = repo.head().ok()?;
    let missing = repo.missing_of(head.commit()?).ok()?;
    if let Some(first) = missing.first() {
        let objects = plural(missing.len(), "object");
        let Some(remote) = repo.promisor().ok()? else {
            let found = format!("{objects} of the commit are not here, {first} for one");
            return Some((Mark::Fail, found, "git fsck".to_owned()));
        };
        return Some(match repo.reaches(&remote) {
            Ok(Ok(())) => {
                let found =
                    format!("a partial clone: {objects} of the commit are still at `{remote}`");
                let next = format!("nothing: a run fetches them; `{WHOLE}` fetches all");
                (Mark::Warn, found, next)
            }
            Ok(Err(why)) => {
                let found = format!(
                    "a partial clone: {objects} of the commit are still at `{remote}`, which can't be reached: {why}"
                );
                (Mark::Fail, found, format!("see that it can be reached, or `{WHOLE}`"))
            }
            Err(error) => {
                let found = format!(
                    "a partial clone: {objects} of the commit are still at `{remote}`, which does not answer: {error}"
                );
                (Mark::Fail, found, format!("see that it can be reached, or `{WHOLE}`"))
            }
        });
    }
    let remotes = repo.remotes_with(BRANCHES).ok()?;
    let remote = remotes.first()?;
    let found = format!(
        "`{remote}` has a branch `{BRANCHES}`, beside which `factory publish` can push none"
    );
    Some((Mark::Warn, found, "rename that branch at the remote".to_owned()))
}

/// Returns whether a word of a command sets a variable.
fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| {
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_of_a_command_is_looked_for_and_bash_s_own_words_are_not() {
        let variables = [("PATH".into(), "/usr/bin:/bin".into())];
        let env = Environment::from_parts(variables.into(), "/".into());
        let root = PathBuf::from("/");
        let doctor = Doctor::new(&env, root);
        let check = |run: &str, expected| assert_eq!(doctor.missing(run), expected, "{run}");
        check("no-such-program --x", Some("no-such-program"));
        check("A=1 no-such-program", Some("no-such-program"));
        for run in ["bash x", "./own", "cd x && y", "(x)", "$X", "", "A=1"] {
            check(run, None);
        }
    }

    #[test]
    fn bad_settings_go_before_isolation_and_that_before_the_rest() {
        let env = Environment::from_parts([].into(), "/".into());
        let mut doctor = Doctor::new(&env, "/".into());
        for (exit, expected) in [(Exit::Broken, 3), (Exit::Isolation, 6), (Exit::Broken, 6)] {
            doctor.fails_with(exit);
            assert_eq!(doctor.exit.code(), expected);
        }
        doctor.fails_with(Exit::Usage);
        assert_eq!(doctor.exit.code(), 2);
    }
}
