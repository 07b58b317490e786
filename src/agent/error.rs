//! Why an agent could not be started, or its turn could not be vouched for.

use std::io;
use std::path::PathBuf;

use super::HomeError;

/// What kept an agent's turn from being run.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The person has chosen no backend.
    #[error("no agent is chosen; {0}")]
    NoBackend(String),
    /// There is no backend of that name.
    #[error("there is no agent backend `{name}`{}; the backends are {known}", did_you_mean(*nearest))]
    UnknownBackend {
        /// The name that was given.
        name: String,
        /// The names that there are.
        known: String,
        /// The most similar one.
        nearest: Option<&'static str>,
    },
    /// A setting that the backend can't do without is missing.
    #[error("agent backend `{backend}` needs `{key}` in dark-factory.yaml; {hint}")]
    Missing {
        /// The backend.
        backend: &'static str,
        /// The setting's key.
        key: &'static str,
        /// What to write there.
        hint: &'static str,
    },
    /// `agent.base_url` is no address.
    #[error("`agent.base_url` is `{found}`; write it as in `http://127.0.0.1:8080/v1`")]
    BaseUrl {
        /// What stands there.
        found: String,
    },
    /// A placeholder that nobody fills.
    #[error(
        "`agent.command` has `{{{found}}}`{}; it can have {{prompt_file}}, {{feedback_file}}, \
         {{workspace}} and {{model}}, and `{{{{{found}}}}}` stands for the text itself",
        did_you_mean(*nearest)
    )]
    UnknownPlaceholder {
        /// What stands between the braces.
        found: String,
        /// The most similar one.
        nearest: Option<&'static str>,
    },
    /// The agent's program is not there.
    #[error("can't find the agent's program `{program}`; {hint}")]
    NotInstalled {
        /// The program.
        program: String,
        /// How to get it.
        hint: &'static str,
    },
    /// The agent's program is there, and is no program for this user.
    #[error("the agent's program can't be started: {why}")]
    NotExecutable {
        /// What keeps it, with the file.
        why: String,
    },
    /// The agent's program is named by a path of the product, and a run would find none there.
    #[error("the agent's program can't be started: {0}")]
    NotCommitted(String),
    /// The agent has no login.
    #[error(
        "agent `{backend}` has no login: {}{}let the agent read its own login with \
         `agent.home: [{files}]` in dark-factory.yaml",
        match variables.as_str() {
            "" => String::new(),
            names => format!("none of {names} is set; set one, "),
        },
        if *own { format!("log in with `factory login {backend}`, or ") } else { "or ".to_owned() }
    )]
    NotLoggedIn {
        /// The backend.
        backend: &'static str,
        /// Whether `factory login` can log it in.
        own: bool,
        /// The variables that it would have got; empty where there are none.
        variables: String,
        /// The files below the person's home in which it keeps a login of its own.
        files: &'static str,
    },
    /// The recording of the `replay` backend is not there.
    #[error("no recording at {}; `agent.recording` names a directory of `turn-1/`, `turn-2/`, ...", .0.display())]
    NoRecording(PathBuf),
    /// The agent's private home could not be made.
    #[error("can't make the agent's private home")]
    Home(#[from] HomeError),
    /// A file or directory of the turn could not be written or read.
    #[error("can't {action} {}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The supervisor could not be started or did not do its work.
    #[error("the agent's supervisor failed: {why}")]
    Supervisor {
        /// What it said.
        why: String,
    },
    /// The supervisor was killed; the agent's processes were ended after it.
    #[error(
        "the agent's supervisor did not finish ({why}), and {ended_processes} of the agent's \
         processes were ended after it; what the turn cost is not known"
    )]
    SupervisorDied {
        /// What it said last.
        why: String,
        /// How many processes it had left.
        ended_processes: usize,
    },
    /// Processes of the agent could not be ended.
    #[error(
        "{count} of the agent's processes outlived SIGKILL; nothing can be judged beside them; \
         look for processes whose environment has DARK_FACTORY_TURN={token}"
    )]
    Survived {
        /// How many.
        count: usize,
        /// The turn's token.
        token: String,
    },
}

impl AgentError {
    /// Returns whether the request was at fault, rather than the factory or its surroundings.
    pub fn is_request(&self) -> bool {
        matches!(
            self,
            Self::NoBackend(_)
                | Self::NotCommitted(_)
                | Self::UnknownBackend { .. }
                | Self::Missing { .. }
                | Self::UnknownPlaceholder { .. }
                | Self::BaseUrl { .. }
                | Self::NoRecording(_)
                | Self::Home(
                    HomeError::NotBelowHome { .. }
                        | HomeError::Missing { .. }
                        | HomeError::WholeHome { .. }
                )
        )
    }
}

fn did_you_mean(nearest: Option<&'static str>) -> String {
    nearest.map(|name| format!(" (did you mean `{name}`?)")).unwrap_or_default()
}
