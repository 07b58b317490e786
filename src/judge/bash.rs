//! How the judge runs a piece of bash: in the root of the tree, by `bash -c`, with nothing of bash's
//! own that a variable could bring in.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tempfile::NamedTempFile;

use crate::process::{self, Call, Cancel, Finished, Keep, Stream, Variables, find_program};
use crate::text::Redaction;
use crate::verdict::Ending;
use crate::wall::KeptFiles;
use crate::wall::confine::{LONGEST_ARGUMENT, Network};

use super::Judging;

/// Where something is judged.
#[derive(Debug, Clone)]
pub struct Place {
    /// The root of the tree, absolute.
    pub root: PathBuf,
    /// Where commands see it, and start.
    pub seen: PathBuf,
    /// The whole environment of every command.
    pub env: Arc<Variables>,
    /// What confines the commands; none runs them as they are.
    pub confined: Option<Arc<Judging>>,
    /// What of the tree is put back before each evaluation; none where it is a person's.
    pub kept: Option<Arc<KeptFiles>>,
    /// The secrets among its variables, which go into nothing that is told or kept of what commands write.
    pub redaction: Redaction,
}

impl Place {
    /// Returns a place whose commands nothing confines, and which knows of no secret.
    pub fn open(root: impl Into<PathBuf>, env: impl Into<Arc<Variables>>) -> Self {
        let root = root.into();
        let redaction = Redaction::default();
        let (env, confined, kept) = (env.into(), None, None);
        Self { seen: root.clone(), root, env, confined, kept, redaction }
    }

    /// Returns it, these secrets being kept out of what is told and kept of its commands.
    #[must_use]
    pub fn redacting(self, redaction: Redaction) -> Self {
        Self { redaction, ..self }
    }

    /// Runs `script` to its end, with `extra` set over the place's own environment.
    pub(super) fn bash(
        &self,
        script: &str,
        extra: &BTreeMap<String, String>,
        limits: Limits,
        cancel: &Cancel,
        live: &mut dyn FnMut(Stream, &[u8]),
    ) -> Finished {
        let mut call = self
            .call(extra)
            .limit(limits.time)
            .grace(limits.grace)
            .keep(limits.keep)
            .ending_strays();
        if let Some(judging) = &self.confined {
            let network = (limits.network, limits.shown.as_slice());
            return judging.run(call.args(by_argument(script)), network, cancel, live);
        }
        if script.len() <= LONGEST_ARGUMENT {
            return process::run(&call.args(by_argument(script)), cancel, live);
        }
        match self.script_file(script) {
            Ok(file) => {
                call = call.arg(file.path());
                process::run(&call, cancel, live)
            }
            Err(error) => Finished::never_began(Ending::CouldNotStart {
                why: format!("can't write the script: {error}"),
            }),
        }
    }

    /// Returns a call of the place's bash, whatever PATH `extra` sets, with no script yet.
    pub(super) fn call(&self, extra: &BTreeMap<String, String>) -> Call {
        let bash = find_bash(&self.env);
        let mut call =
            Call::new(bash.unwrap_or_else(|| "bash".into()), &self.seen).env(Arc::clone(&self.env));
        // Most scenarios are content with what is there, and a thousand need no copy each.
        if !extra.is_empty() {
            call = call.envs(extra);
        }
        if call.env.keys().any(|name| steers_bash(name)) {
            Arc::make_mut(&mut call.env).retain(|name, _| !steers_bash(name));
        }
        call
    }

    /// Writes a script too long for an argument to a file outside the tree, gone when dropped.
    fn script_file(&self, script: &str) -> io::Result<NamedTempFile> {
        let named = self.env.get(OsStr::new("TMPDIR")).map(Path::new);
        let dir = named
            .filter(|dir| dir.is_absolute() && !dir.starts_with(&self.root))
            .unwrap_or(Path::new("/tmp"));
        let mut file =
            tempfile::Builder::new().prefix("scenario-").suffix(".sh").tempfile_in(dir)?;
        file.write_all(script.as_bytes())?;
        Ok(file)
    }
}

/// Returns the arguments by which bash runs a script that is short enough.
pub(super) fn by_argument(script: &str) -> [&str; 3] {
    // The last is `$0`: messages begin with `bash: line 1:`, wherever bash is.
    ["-c", script, "bash"]
}

/// The bounds of one piece of bash.
#[derive(Debug, Clone)]
pub(super) struct Limits {
    pub(super) time: Duration,
    pub(super) grace: Duration,
    pub(super) keep: Keep,
    /// The network that a confined one has.
    pub(super) network: Network,
    /// What a confined one sees as well, and writes.
    pub(super) shown: Vec<PathBuf>,
}

/// Returns the bash on the `PATH` of `env`, as it was found there first: to look through a long `PATH`
/// each time costs a thirtieth of what starting bash does.
fn find_bash(env: &Variables) -> Option<PathBuf> {
    static FOUND: Mutex<Option<(Option<OsString>, PathBuf)>> = Mutex::new(None);
    let path = env.get(OsStr::new("PATH"));
    let mut found = FOUND.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((on, bash)) = &*found
        && on.as_ref() == path
    {
        return Some(bash.clone());
    }
    let bash = find_program(OsStr::new("bash"), env)?;
    *found = Some((path.cloned(), bash.clone()));
    Some(bash)
}

/// Returns whether bash would read code or options from the variable before the script.
fn steers_bash(name: &OsStr) -> bool {
    let name = name.as_bytes();
    matches!(name, b"BASH_ENV" | b"ENV" | b"SHELLOPTS" | b"BASHOPTS")
        || name.starts_with(b"BASH_FUNC_")
}
