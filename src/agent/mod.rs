//! Coding agents: one trait, a file for each backend, and the supervised turn that they run in.
//!
//! A backend knows its argv, its logins and how its stream reads; it starts nothing. A turn runs
//! under a small supervisor process of ours, which records start and end durably and leaves nothing
//! alive. How it ended is one class of all agents' ([`crate::convergence::TurnClass`]); whether it was
//! worth anything is not decided here: that is read from the workspace.

mod base_url;
mod claude;
mod claude_events;
mod claude_usage;
mod codex;
mod codex_events;
mod codex_session;
mod command;
mod error;
mod gemini;
mod home;
mod login;
mod opencode;
mod prompt;
mod qwen;
mod record;
mod recover;
mod redact;
mod replay;
mod reset_time;
mod stores;
mod stream;
mod supervisor;
mod tool;
mod turn;
mod watch;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::config::{AgentSettings, Environment};
use crate::convergence::TurnClass;
use crate::process::not_found;
use crate::text::Redaction;
use crate::wall::confine::Confined;

pub use crate::event::{Activity, Trouble, Usage};
pub use base_url::BaseUrl;
pub use error::AgentError;
pub use home::{HomeError, prepare_home};
pub use login::{
    HeldLogin, KeptLogin, LentLogin, Login, LoginError, OwnLogin, is_on, secret_files, secrets_in,
    settle_logins, with_own_login,
};
pub use prompt::{Answer, DEFAULT_PROMPT, PromptContext, PromptError, render};
pub use recover::{Recovered, recover};
pub use redact::is_secret;
pub use replay::replay_main;
pub use stores::Stores;
pub use stream::{NOTHING_TO_DO, Reader, Reading, Telling};
pub use supervisor::supervise;
pub use tool::{Found, Version, find_tool};
pub use turn::{Attending, CrashPoint, Ended, TurnLimits, TurnRecord, run_turn};
pub use watch::TurnBudget;

/// The directories and files of one turn, all absolute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TurnPaths {
    /// The tree that the agent works in, as the agent sees it.
    pub workspace: PathBuf,
    /// Its private home, see [`prepare_home`].
    pub home: PathBuf,
    /// Its private directory for temporary files.
    pub tmp: PathBuf,
    /// Where the supervisor records this attempt; outside the workspace, of no other attempt.
    pub record: PathBuf,
    /// The rendered prompt.
    pub prompt_file: PathBuf,
    /// The feedback on the last candidate, as the agent reaches it.
    pub feedback_file: PathBuf,
}

impl TurnPaths {
    /// Returns the file that the agent's stdout is stored in as it comes, secrets replaced.
    pub fn stdout_file(&self) -> PathBuf {
        record::Record(&self.record).stdout()
    }

    /// Returns the file of what the agent did, an [`Activity`] a line.
    pub fn activity_file(&self) -> PathBuf {
        record::Record(&self.record).activity()
    }

    /// Returns the file that its stderr is stored in, likewise.
    pub fn stderr_file(&self) -> PathBuf {
        record::Record(&self.record).stderr()
    }
}

/// What a backend makes a launch from.
#[derive(Debug, Clone, Copy)]
pub struct Turn<'a> {
    /// The agent's settings.
    pub settings: &'a AgentSettings,
    /// The person's repository.
    pub root: &'a Path,
    /// The binary that carries the hidden subcommands `supervise-agent` and `replay-turn`.
    pub factory: &'a Path,
    /// The turn's directories and files.
    pub paths: &'a TurnPaths,
    /// Which turn of the run this is, from 1.
    pub number: u32,
    /// Which attempt at the turn this is, from 1.
    pub attempt: u32,
    /// The model, as the agent names it.
    pub model: Option<&'a str>,
    /// How many US dollars it may spend; none is no limit.
    pub money: Option<f64>,
    /// Whether what it uses is to be known while it goes on.
    pub is_metered: bool,
    /// Where its model is asked for, in place of its provider's own address.
    pub base_url: Option<&'a str>,
    /// Whether it is confined by the factory: then its own sandbox, which can't be within another, is
    /// switched off, and it need not ask before it runs a command.
    pub confined: bool,
}

/// How an agent is started. The secrets that it gets stand in the environment alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launch {
    /// The backend that reads the stream.
    pub backend: &'static str,
    /// The program: a name to look up by `PATH`, or a path, which counts from the workspace.
    pub program: OsString,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Its standard input.
    pub stdin: LaunchStdin,
    /// Variables beside those that every agent gets.
    pub env_extra: BTreeMap<OsString, OsString>,
    /// Variables that take the value of another one where they are unset: `(unset, other)`.
    pub env_aliases: Vec<(&'static str, &'static str)>,
    /// Directories that the agent expects, made in its private home; relative to that.
    pub home_dirs: Vec<PathBuf>,
    /// Files that are the factory's settings for it, written anew into its private home for each turn;
    /// relative to that.
    pub home_files: BTreeMap<PathBuf, String>,
    /// Files and directories that it reads beside its workspace, its home and what is installed.
    pub reads: Vec<PathBuf>,
    /// What keeps it in its view; a backend leaves that to its caller.
    pub confined: Option<Confined>,
    /// Whom it reaches by way of the broker, where it is confined; likewise.
    pub way_out: Option<crate::wall::way_out::WayOut>,
    /// Files that hold secrets, which are kept out of what is stored of it; likewise.
    pub secret_files: Vec<PathBuf>,
    /// Secrets that it is not given, which are kept out likewise.
    pub secrets: Redaction,
}

/// What an agent reads on its standard input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LaunchStdin {
    /// Nothing: it is closed.
    Null,
    /// This file.
    File(PathBuf),
}

/// A kind of coding agent.
pub trait Backend: Sync {
    /// Returns the name that people write.
    fn name(&self) -> &'static str;

    /// Returns the program that it is, and the versions that the factory was tried with; none where it is
    /// no program of its own.
    fn tool(&self) -> Option<Tool> {
        None
    }

    /// Returns the names of the variables that a login can stand in; the agent gets them where
    /// `agent.env` is unset. Empty where the backend has no login of its own.
    fn login_variables(&self) -> &'static [&'static str];

    /// Returns what it can be logged in with, beside [`Backend::login_variables`], in the order in which
    /// people are told of it.
    fn logins(&self) -> &'static [Login] {
        &[]
    }

    /// Returns the hosts of its model and its login, as `network.allow` writes them; empty where it has
    /// none of its own.
    fn hosts(&self) -> &'static [&'static str];

    /// Returns the path that an `agent.base_url` usually has, to which the agent adds that of its request;
    /// none where it takes no address.
    fn base_path(&self) -> Option<&'static str> {
        None
    }

    /// Returns where a key goes that the broker adds outside of the sandbox; empty where that can't be.
    fn key_routes(&self) -> &'static [KeyRoute] {
        &[]
    }

    /// Checks that the agent is installed and has a login, without starting it.
    ///
    /// # Errors
    /// The settings lack something, the program is not on `PATH`, or there is no login.
    fn check(&self, settings: &AgentSettings, env: &Environment) -> Result<(), AgentError>;

    /// Returns how the agent is started for `turn`.
    ///
    /// # Errors
    /// The settings lack something or hold a placeholder that nobody knows.
    fn launch(&self, turn: &Turn<'_>) -> Result<Launch, AgentError>;

    /// Returns what reads the stream of one turn.
    fn reader(&self) -> Box<dyn Reader>;

    /// Returns whether the stream of a turn ends with an event that says so; without it, such a turn is
    /// not done.
    fn tells_its_end(&self) -> bool {
        true
    }

    /// Returns when it tells what a turn uses.
    fn tells_usage(&self) -> UsageTold {
        UsageTold::Never
    }

    /// Returns what the agent's documentation says of an exit code; none where it says nothing.
    fn exit_class(&self, _code: i32) -> Option<TurnClass> {
        None
    }

    /// Returns the directory of its private home in which it writes `*.jsonl` while it goes on; none
    /// where its stdout tells all.
    fn side(&self, _home: &Path) -> Option<PathBuf> {
        None
    }
}

impl Launch {
    /// Makes what the agent needs in its private home, before that is handed over to its user.
    ///
    /// # Errors
    /// See [`HomeError`].
    pub fn furnish(&self, home: &Path) -> Result<(), AgentError> {
        home::furnish(home, &self.home_dirs, &self.home_files).map_err(AgentError::Home)
    }

    /// Makes a launch of `program` with `args`, and nothing else.
    fn of(backend: &'static str, program: impl Into<OsString>, args: Vec<OsString>) -> Self {
        Self {
            backend,
            program: program.into(),
            args,
            stdin: LaunchStdin::Null,
            env_extra: BTreeMap::new(),
            env_aliases: Vec::new(),
            home_dirs: Vec::new(),
            home_files: BTreeMap::new(),
            reads: Vec::new(),
            confined: None,
            way_out: None,
            secret_files: Vec::new(),
            secrets: Redaction::default(),
        }
    }
}

/// Where a key goes that is added outside of the sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyRoute {
    /// The variable that holds it.
    pub variable: &'static str,
    /// The provider's address, as `agent.base_url` writes it.
    pub provider: &'static str,
    /// The header that takes it, in lower case.
    pub header: &'static str,
    /// What stands before it there.
    pub word: &'static str,
}

/// When an agent tells what a turn uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UsageTold {
    /// With each call of the model.
    AsItGoes,
    /// Once the turn is over.
    AtTheEnd,
    /// Never.
    Never,
}

/// The program of a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tool {
    /// Its name on `PATH`; `--version` prints its version.
    pub program: &'static str,
    /// The first version that the factory was tried with, and the last.
    pub tested: (&'static str, &'static str),
    /// How to get it.
    pub hint: &'static str,
}

/// Every backend, in the order in which people are told of them.
pub static BACKENDS: [&dyn Backend; 7] = [
    &codex::Codex,
    &claude::Claude,
    &opencode::Opencode,
    &gemini::Gemini,
    &qwen::Qwen,
    &command::AnyCommand,
    &replay::Replay,
];

/// Returns the backend that `settings` choose.
///
/// # Errors
/// None is chosen, or there is none of that name.
pub fn backend(settings: &AgentSettings) -> Result<&'static dyn Backend, AgentError> {
    let name = settings.backend.as_deref().ok_or_else(|| AgentError::NoBackend(any_of_all()))?;
    named(name).ok_or_else(|| AgentError::UnknownBackend {
        name: name.to_owned(),
        known: known(),
        nearest: nearest(name, BACKENDS.iter().map(|backend| backend.name())),
    })
}

/// Returns the backend called `name`.
fn named(name: &str) -> Option<&'static dyn Backend> {
    BACKENDS.iter().copied().find(|backend| backend.name() == name)
}

/// Says which backend to choose where none is: one whose program is installed and that has a login here, else one
/// that is installed, else any.
pub fn what_to_choose(env: &Environment) -> String {
    let installed = BACKENDS.iter().filter_map(|backend| {
        let settings =
            AgentSettings { backend: Some(backend.name().to_owned()), ..Default::default() };
        find_tool(*backend, &settings, env).filter(|_| backend.tool().is_some())?.path?;
        Some((backend.name(), backend.check(&settings, env)))
    });
    let mut installed: Vec<_> = installed.collect();
    installed.sort_by_key(|(_, check)| check.is_err());
    match installed.first() {
        None => any_of_all(),
        Some((name, Ok(()))) => format!(
            "`{name}` is installed and logged in: set `agent.backend: {name}` in dark-factory.yaml, or give `--agent {name}`"
        ),
        Some((name, Err(why))) => {
            let login = match why {
                AgentError::NotLoggedIn { variables, own: true, .. } => {
                    format!("`factory login {name}`, or one of {variables}")
                }
                AgentError::NotLoggedIn { variables, .. } => format!("one of {variables}"),
                other => other.to_string(),
            };
            format!(
                "`{name}` is installed, and has no login: set `agent.backend: {name}` in dark-factory.yaml, and give it one ({login})"
            )
        }
    }
}

fn any_of_all() -> String {
    format!("set `agent.backend` in dark-factory.yaml to one of {}", known())
}

fn known() -> String {
    BACKENDS.map(|backend| format!("`{}`", backend.name())).join(", ")
}

/// Returns which of `names` is most like `name`; none where all are far from it.
fn nearest(name: &str, names: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    names
        .map(|known| (strsim::damerau_levenshtein(&name.to_lowercase(), known), known))
        .filter(|(distance, known)| *distance <= known.len() / 2)
        .min()
        .map(|(_, known)| known)
}

/// Returns the names of the variables that the agent gets from the person's environment.
pub fn variables(
    backend: &dyn Backend,
    settings: &AgentSettings,
    env: &Environment,
) -> Vec<String> {
    settings.env.clone().unwrap_or_else(|| login::login_variables(backend, env))
}

/// Returns those of [`variables`] that are set and hold a login.
pub fn set_logins(
    backend: &dyn Backend,
    settings: &AgentSettings,
    env: &Environment,
) -> Vec<String> {
    let mut names = variables(backend, settings, env);
    names.retain(|name| env.get(name).is_some());
    names
}

/// Returns those of [`variables`] that are set and name an address, each with its value where that is an
/// address and no more: one with a login in it is for nobody to see.
pub fn set_addresses(settings: &AgentSettings, env: &Environment) -> Vec<(String, String)> {
    let Ok(backend) = backend(settings) else { return Vec::new() };
    let names = variables(backend, settings, env).into_iter();
    names
        .filter(|name| name.ends_with("_BASE_URL") || name.ends_with("_API_BASE"))
        .filter_map(|name| {
            let value = env.get(&name)?.to_str()?.to_owned();
            let shown = BaseUrl::parse(&value).map_or("set".to_owned(), |_| value);
            Some((name, shown))
        })
        .collect()
}

/// Returns the login that the factory keeps and lends to the agent; none where nobody has logged in, or
/// where a variable or `agent.home` goes before it.
pub fn own_login(
    backend: &dyn Backend,
    settings: &AgentSettings,
    env: &Environment,
) -> Option<KeptLogin> {
    let kept = KeptLogin::of(backend, settings, env)?;
    let names = login::login_variables(backend, env);
    let is_login = |name: &String| names.contains(name);
    let by_variable = set_logins(backend, settings, env).iter().any(is_login);
    let goes = !by_variable && !kept.is_replaced_by(&settings.home) && kept.is_there();
    goes.then_some(kept)
}

/// Returns whether a provider that the factory knows of is paid for one of the agents.
pub fn is_paid(settings: &AgentSettings) -> bool {
    let agents = (0..).map_while(|number| settings.of(number));
    agents.filter_map(|one| backend(&one).ok()).any(|backend| !backend.hosts().is_empty())
}

/// Checks that a backend's own program can be found.
fn check_tool(backend: &dyn Backend, env: &Environment) -> Result<(), AgentError> {
    match backend.tool() {
        Some(tool) => check_installed(tool.program, tool.hint, env),
        None => Ok(()),
    }
}

/// Checks that `program` can be found; a relative path is the workspace's, and left alone.
fn check_installed(program: &str, hint: &'static str, env: &Environment) -> Result<(), AgentError> {
    let found = match program {
        _ if program.starts_with('/') => Path::new(program).is_file(),
        _ if program.contains('/') => true,
        _ => env.find_program(program).is_some(),
    };
    if found {
        return Ok(());
    }
    Err(match not_found(program.as_ref(), &env.for_tools()) {
        error if error.kind() == std::io::ErrorKind::PermissionDenied => {
            AgentError::NotExecutable { why: error.to_string() }
        }
        _ => AgentError::NotInstalled { program: program.to_owned(), hint },
    })
}

/// Checks that one of the variables that the agent gets is set, that it gets something of the person's
/// home, or that the factory keeps a login for it.
fn check_login(
    backend: &dyn Backend,
    settings: &AgentSettings,
    env: &Environment,
    files: &'static str,
) -> Result<(), AgentError> {
    let names = variables(backend, settings, env);
    let is_set = names.iter().any(|name| env.get(name).is_some());
    if is_set || !settings.home.is_empty() || own_login(backend, settings, env).is_some() {
        return Ok(());
    }
    let names = if names.is_empty() {
        backend.login_variables().iter().map(|&name| name.to_owned()).collect()
    } else {
        names
    };
    let own = login::KeptLogin::of(backend, settings, env).is_some();
    let variables = names.join(", ");
    Err(AgentError::NotLoggedIn { backend: backend.name(), own, variables, files })
}

/// Returns the text that `value` is, trimmed; none where it is none, or blank.
fn text(value: &serde_json::Value) -> Option<String> {
    value.as_str().map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod contract;
#[cfg(test)]
mod corpus;
