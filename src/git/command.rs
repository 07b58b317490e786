//! One call of git: which variables and settings it gets, and how its ending is read.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;
use std::time::Duration;

use super::GitError;
use crate::process::{self, Call, Cancel, Stdin, Variables};
use crate::text::one_line;
use crate::verdict::Ending;

/// No call takes longer, unless the disk hangs.
const LIMIT: Duration = Duration::from_secs(20 * 60);

/// Settings for every call.
const ALWAYS: &[&str] = &[
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.quotePath=false",
    "core.pager=cat",
    "gc.auto=0",
    "maintenance.auto=false",
    "safe.directory=*",
    "submodule.recurse=false",
    // What the journal says was done has to outlive a power failure.
    "core.fsync=committed,reference",
    "log.showSignature=false",
];

/// Settings for calls that have no business with anything but objects and refs.
const PLUMBING: &[&str] = &[
    "core.attributesFile=/dev/null",
    "core.excludesFile=/dev/null",
    "core.untrackedCache=false",
    "core.splitIndex=false",
    "core.sparseCheckout=false",
    "core.useReplaceRefs=false",
    "core.warnAmbiguousRefs=false",
    "core.sshCommand=false",
    "core.alternateRefsCommand=true",
    "credential.helper=",
    "index.sparse=false",
    "protocol.allow=never",
    "commit.gpgSign=false",
    "i18n.commitEncoding=UTF-8",
    "i18n.logOutputEncoding=UTF-8",
];

/// Whose configuration a call reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Settings {
    /// The repository's, with everything that starts a program overridden.
    Plumbing,
    /// The person's own too: for their checkout.
    Person,
}

/// What a call printed, and the code it exited with.
pub(super) struct Answer {
    pub(super) code: i32,
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: String,
}

/// Builds a call of git in `dir`.
pub(super) fn call(env: &Variables, settings: Settings, dir: &Path) -> Call {
    let groups: &[&[&str]] = match settings {
        Settings::Plumbing => &[ALWAYS, PLUMBING],
        Settings::Person => &[ALWAYS],
    };
    let args = groups.iter().copied().flatten().flat_map(|setting| ["-c", setting]);
    Call::new("git", dir).args(args).env(variables(env, settings)).limit(LIMIT)
}

fn variables(env: &Variables, settings: Settings) -> Variables {
    let mut variables: Variables = env
        .iter()
        .filter(|(name, _)| !is_overridden(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    let mut set = |name: &str, value: &str| variables.insert(name.into(), OsString::from(value));
    set("LC_ALL", "C");
    set("GIT_TERMINAL_PROMPT", "0");
    set("GIT_OPTIONAL_LOCKS", "0");
    set("GIT_NO_REPLACE_OBJECTS", "1");
    if settings == Settings::Plumbing {
        set("GIT_CONFIG_NOSYSTEM", "1");
        set("GIT_CONFIG_SYSTEM", "/dev/null");
        set("GIT_CONFIG_GLOBAL", "/dev/null");
        set("GIT_ATTR_NOSYSTEM", "1");
        set("GIT_NO_LAZY_FETCH", "1");
    }
    variables
}

fn is_overridden(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    name.starts_with(b"GIT_") || name.starts_with(b"LC_") || name == b"LANGUAGE"
}

/// Runs `call` to its exit, whatever the code.
pub(super) fn answer(call: &Call, command: &str) -> Result<Answer, GitError> {
    answer_until(call, command, &Cancel::never())
}

/// Runs `call` to its exit, whatever the code, unless a signal comes before.
pub(super) fn answer_until(
    call: &Call,
    command: &str,
    cancel: &Cancel,
) -> Result<Answer, GitError> {
    let finished = process::run(call, cancel, &mut |_, _| {});
    let stderr = finished.stderr.text();
    match finished.ending {
        Ending::Exited { code } => Ok(Answer { code, stdout: finished.stdout.bytes(), stderr }),
        Ending::CouldNotStart { why } => Err(not_started(call, why)),
        ending => Err(failed(command, &ending, &stderr)),
    }
}

/// Says why git could not be started by `call`. Only one that is not there is to be installed.
pub(super) fn not_started(call: &Call, why: String) -> GitError {
    let is_missing = process::resolve(&call.program, &call.dir, &call.env).is_none()
        && process::not_found(&call.program, &call.env).kind() == io::ErrorKind::NotFound;
    GitError::NotStarted { why, is_missing }
}

/// Runs `call` and returns what it printed.
pub(super) fn output(call: &Call, command: &str) -> Result<Vec<u8>, GitError> {
    let answer = answer(call, command)?;
    if answer.code == 0 { Ok(answer.stdout) } else { Err(answer.into_error(command)) }
}

/// Says why a call failed, from how it ended.
pub(super) fn failed(command: &str, ending: &Ending, stderr: &str) -> GitError {
    let ending = match ending {
        Ending::CouldNotStart { why } => {
            return GitError::NotStarted { why: why.clone(), is_missing: false };
        }
        Ending::Exited { code: 0 } => "did not do all that it was asked".to_owned(),
        Ending::Exited { code } => format!("exited with {code}"),
        Ending::Signalled { signal } => format!("was ended by signal {signal}"),
        Ending::TimedOut { limit } | Ending::Idle { limit } => {
            format!("was ended after {}", crate::clock::human(*limit))
        }
        Ending::Interrupted => "was interrupted".to_owned(),
    };
    let stderr = one_line(stderr, 400);
    GitError::Failed { command: command.to_owned(), ending, stderr }
}

impl Answer {
    /// Makes the failure that this answer is.
    pub(super) fn into_error(self, command: &str) -> GitError {
        failed(command, &Ending::Exited { code: self.code }, &self.stderr)
    }
}

/// Gives `call` its standard input.
pub(super) fn fed(call: Call, bytes: Vec<u8>) -> Call {
    call.stdin(Stdin::Bytes(bytes))
}
