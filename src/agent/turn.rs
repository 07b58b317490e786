//! One turn of an agent, from the factory's side: starts the supervisor, waits, reads its record.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::{Deserialize, Serialize};

use super::record::{Record, Spec, Status, TOKEN_VARIABLE, with_token, write_record};
use super::supervisor::{GRACE, SWEEP};
use super::{
    Activity, AgentError, Launch, LaunchStdin, Reading, Recovered, TurnBudget, TurnPaths, recover,
};
use crate::clock::{Instant, Timestamp};
use crate::convergence::{Limit, TurnClass};
use crate::event::Contact;
use crate::journal::make_private_dir;
use crate::process::{Call, Cancel, Piped, Variables};
use crate::verdict::Ending;

/// How a turn ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "class")]
pub enum Ended {
    /// The agent exited with 0.
    Done,
    /// It exited with another code.
    Failed {
        /// The code.
        code: i32,
    },
    /// A signal ended it, and it was not the factory's.
    Signalled {
        /// The signal's number.
        signal: i32,
    },
    /// Its time was up, and it was ended.
    TimedOut {
        /// The limit that it had.
        limit: Duration,
    },
    /// It wrote nothing for longer than its idle limit, and was ended.
    Idle {
        /// The limit that it had.
        limit: Duration,
    },
    /// The person interrupted the factory, or the factory died, and the agent was ended.
    Interrupted,
    /// It had spent what it may, and was ended.
    OverBudget {
        /// What it has reached.
        limit: Limit,
    },
    /// It never began.
    CouldNotStart {
        /// What the system said.
        why: String,
    },
}

impl Ended {
    /// Returns the class's name on the wire: `done`, `failed`, `timed_out`, ...
    pub fn class(&self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed { .. } => "failed",
            Self::Signalled { .. } => "signalled",
            Self::TimedOut { .. } => "timed_out",
            Self::Idle { .. } => "idle",
            Self::Interrupted => "interrupted",
            Self::OverBudget { .. } => "over_budget",
            Self::CouldNotStart { .. } => "could_not_start",
        }
    }
}

impl From<Ending> for Ended {
    fn from(ending: Ending) -> Self {
        match ending {
            Ending::Exited { code: 0 } => Self::Done,
            Ending::Exited { code } => Self::Failed { code },
            Ending::Signalled { signal } => Self::Signalled { signal },
            Ending::TimedOut { limit } => Self::TimedOut { limit },
            Ending::Idle { limit } => Self::Idle { limit },
            Ending::Interrupted => Self::Interrupted,
            Ending::CouldNotStart { why } => Self::CouldNotStart { why },
        }
    }
}

/// What the supervisor recorded of a turn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TurnRecord {
    /// How its process ended.
    pub ended: Ended,
    /// How the turn ended.
    #[serde(default = "interrupted")]
    pub class: TurnClass,
    /// What its stream told.
    #[serde(default)]
    pub reading: Reading,
    /// When it began.
    pub started: Timestamp,
    /// How long the agent ran.
    pub duration: Duration,
    /// How many bytes it wrote to stdout in all; the file `stdout` of the record holds the first
    /// 64 MB.
    pub stdout_bytes: u64,
    /// How many bytes it wrote to stderr in all, likewise.
    pub stderr_bytes: u64,
    /// How many processes it had left, which were ended.
    pub reaped: u32,
    /// Whom it asked for by way of the broker, by host and port.
    #[serde(default)]
    pub contacted: Vec<Contact>,
}

/// What the record of an earlier version stands for: the turn is taken again.
fn interrupted() -> TurnClass {
    TurnClass::Interrupted
}

/// The limits of one turn.
#[derive(Debug, Clone, PartialEq)]
pub struct TurnLimits {
    /// The wall-clock limit.
    pub timeout: Duration,
    /// The limit of silence on both streams together.
    pub idle: Duration,
    /// What it may use.
    pub budget: TurnBudget,
    /// Where the supervisor is to die, for the tests of what a crash leaves. A release build
    /// ignores it.
    pub crash: Option<CrashPoint>,
}

/// A moment in a turn at which a test has the supervisor killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CrashPoint {
    /// The start is recorded and the agent not yet started.
    AfterStartedRecord,
    /// Everything of the turn is dead and its end not yet recorded.
    BeforeEndedRecord,
    /// The end is recorded and the factory not yet told.
    AfterEndedRecord,
}

impl FromStr for CrashPoint {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "after-started-record" => Ok(Self::AfterStartedRecord),
            "before-ended-record" => Ok(Self::BeforeEndedRecord),
            "after-ended-record" => Ok(Self::AfterEndedRecord),
            _ => Err(format!("`{text}` is no crash point")),
        }
    }
}

/// Who attends a turn.
pub struct Attending<'a> {
    /// Ends the turn when it trips.
    pub cancel: &'a Cancel,
    /// Is told what the agent does, as it does it.
    pub live: &'a mut dyn FnMut(&[Activity]),
}

/// Runs one turn of the agent under a supervisor and returns its record, once everything that the
/// turn started is dead. The home is furnished already, see [`Launch::furnish`].
///
/// `env` is the agent's whole environment, but for what `launch` adds and for
/// `DARK_FACTORY_TURN=token`. `supervisor` is the binary that carries `supervise-agent`. When
/// `attending`'s token trips, or this process dies, the agent is ended and the turn recorded as
/// interrupted.
///
/// # Errors
/// The program is not there, the record can't be written, or the supervisor failed, died or could
/// not end everything.
pub fn run_turn(
    launch: &Launch,
    paths: &TurnPaths,
    env: &Variables,
    limits: &TurnLimits,
    token: &str,
    supervisor: &Path,
    attending: Attending<'_>,
) -> Result<TurnRecord, AgentError> {
    let spec = spec(launch, paths, env, limits, token)?;
    make_dir(&paths.record)?;
    let record = Record(&paths.record);
    write_record(&record.spec(), &spec).map_err(file("write", &record.spec()))?;

    // The token marks the supervisor too, so that `recover` finds one that has recorded nothing.
    let call = Call::new(supervisor, &paths.record)
        .arg("supervise-agent")
        .arg(record.spec())
        .env(Variables::from([(TOKEN_VARIABLE.into(), token.into())]));
    let failed = match attend(&call, attending) {
        Ok(Some(Status::Recorded)) => String::new(),
        Ok(Some(Status::Failed(why))) => why,
        Ok(Some(Status::Told(_)) | None) => {
            format!("`{} supervise-agent` said nothing", supervisor.display())
        }
        Err(e) => e.to_string(),
    };
    if failed.is_empty()
        && let Some(ended) = record.ended().map_err(file("read", &paths.record))?
    {
        if ended.survivors > 0 {
            let token = token.to_owned();
            return Err(AgentError::Survived { count: ended.survivors, token });
        }
        return Ok(ended.record);
    }
    // Whatever went wrong, nothing of the turn may stay alive.
    match recover(&paths.record, token).map_err(file("read", &paths.record))? {
        Recovered::Ended(record) => Ok(*record),
        Recovered::NeverStarted => Err(AgentError::Supervisor { why: failed }),
        Recovered::CutShort { ended_processes } => {
            Err(AgentError::SupervisorDied { ended_processes, why: failed })
        }
    }
}

fn spec(
    launch: &Launch,
    paths: &TurnPaths,
    env: &Variables,
    limits: &TurnLimits,
    token: &str,
) -> Result<Spec, AgentError> {
    let mut all = env.clone();
    all.extend(launch.env_extra.clone());
    for (unset, other) in &launch.env_aliases {
        if !all.contains_key(OsStr::new(unset))
            && let Some(value) = all.get(OsStr::new(other)).cloned()
        {
            all.insert(unset.into(), value);
        }
    }
    Ok(Spec {
        backend: launch.backend.to_owned(),
        program: look_up(&launch.program, all.get(OsStr::new("PATH")).map(OsString::as_os_str))?,
        args: launch.args.clone(),
        stdin: match &launch.stdin {
            LaunchStdin::Null => None,
            LaunchStdin::File(path) => Some(path.clone().into()),
        },
        env: with_token(all.iter(), token),
        workspace: paths.workspace.clone().into(),
        record: paths.record.clone().into(),
        home: paths.home.clone().into(),
        token: token.to_owned(),
        timeout: limits.timeout,
        idle: limits.idle,
        budget: limits.budget.clone(),
        die: limits.crash,
        confined: launch.confined.clone(),
        way_out: launch.way_out.clone(),
        secret_files: launch.secret_files.iter().cloned().map(Into::into).collect(),
        secrets: launch.secrets.secrets().to_vec(),
    })
}

/// Finds `program` by the `PATH` that the agent itself will have; what has a `/` stays as it is.
fn look_up(program: &OsStr, path: Option<&OsStr>) -> Result<OsString, AgentError> {
    if program.as_bytes().contains(&b'/') {
        return Ok(program.to_owned());
    }
    path.unwrap_or_default()
        .as_bytes()
        .split(|byte| *byte == b':')
        .map(|dir| Path::new(OsStr::from_bytes(dir)).join(program))
        .filter(|candidate| candidate.is_absolute())
        .find(|candidate| {
            rustix::fs::access(candidate, rustix::fs::Access::EXEC_OK).is_ok()
                && candidate.is_file()
        })
        .map(PathBuf::into_os_string)
        .ok_or_else(|| AgentError::NotInstalled {
            program: program.to_string_lossy().into_owned(),
            hint: "it is on no directory of the agent's PATH",
        })
}

/// Starts the supervisor, passes on what it tells, and returns its last line; none where it ended
/// without one.
fn attend(call: &Call, attending: Attending<'_>) -> io::Result<Option<Status>> {
    let Attending { cancel, live } = attending;
    const TICK: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
    let mut supervisor = Piped::open(call)?;
    let mut text = Vec::new();
    let mut last = None;
    let mut told: Option<Instant> = None;
    loop {
        if told.is_none() && cancel.tripped().is_some() {
            // Its stdin at its end is what tells the supervisor to end the agent.
            drop(supervisor.stdin.take());
            told = Some(Instant::now());
        }
        if told.is_some_and(|at| at.elapsed() > GRACE + SWEEP + Duration::from_secs(15)) {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "it does not end"));
        }
        let mut fds = [PollFd::new(&supervisor.stdout, PollFlags::IN)];
        match poll(&mut fds, Some(&TICK)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => continue,
            Ok(_) => {}
            Err(e) => return Err(e.into()),
        }
        let mut buffer = [0; 4096];
        match supervisor.stdout.read(&mut buffer)? {
            0 => break,
            count => text.extend_from_slice(&buffer[..count]),
        }
        while let Some(end) = text.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = text.drain(..=end).collect();
            match serde_json::from_slice(&line) {
                Ok(Status::Told(activities)) => live(&activities),
                other => last = other.ok(),
            }
        }
    }
    supervisor.finish()?;
    Ok(last)
}

fn make_dir(path: &Path) -> Result<(), AgentError> {
    make_private_dir(path).map_err(file("make", path))
}

fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> AgentError + use<> {
    let path = path.to_owned();
    move |source| AgentError::File { action, path, source }
}

#[cfg(test)]
#[path = "turn_tests.rs"]
mod tests;
