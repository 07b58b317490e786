//! A recorded agent: for each turn a delivery that was written down before. Deterministic and free;
//! it runs as a process of its own, like any other agent.
//!
//! A recording is a directory with `turn-N/`, copied over the workspace file by file, and
//! `turn-N.yaml`, which says what else the turn does; either may be missing. A turn with neither
//! changes nothing, and says so. Where there is `turn-N-attempt-M` or its `.yaml`, these are for the
//! M-th attempt at the turn.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use super::stream::reset_at;
use super::{
    Activity, AgentError, Backend, Launch, Reader, Telling, Trouble, Turn, Usage, UsageTold, text,
};
use crate::clock::{Clock as _, SystemClock};
use crate::config::{AgentSettings, Environment};
use crate::convergence::TurnClass;
use crate::text::TreePath;

/// The backend `replay`.
#[derive(Debug)]
pub(super) struct Replay;

impl Backend for Replay {
    fn name(&self) -> &'static str {
        "replay"
    }

    fn login_variables(&self) -> &'static [&'static str] {
        &[]
    }

    fn hosts(&self) -> &'static [&'static str] {
        &[]
    }

    fn check(&self, settings: &AgentSettings, _env: &Environment) -> Result<(), AgentError> {
        if settings.recording.is_empty() {
            return Err(AgentError::Missing {
                backend: self.name(),
                key: "agent.recording",
                hint: "name a directory of `turn-1/`, `turn-2/`, ...",
            });
        }
        Ok(())
    }

    fn launch(&self, turn: &Turn<'_>) -> Result<Launch, AgentError> {
        let recording = turn.root.join(&turn.settings.recording);
        if turn.settings.recording.is_empty() || !recording.is_dir() {
            return Err(AgentError::NoRecording(recording));
        }
        // By its own name: on the way through another directory that may not be seen.
        let recording = fs::canonicalize(&recording).unwrap_or(recording);
        let reads = vec![turn.factory.to_owned(), recording.clone()];
        let args = vec![
            "replay-turn".into(),
            recording.into(),
            turn.number.to_string().into(),
            turn.attempt.to_string().into(),
            turn.paths.workspace.clone().into(),
        ];
        Ok(Launch { reads, ..Launch::of(self.name(), turn.factory, args) })
    }

    fn reader(&self) -> Box<dyn Reader> {
        Box::new(Events)
    }

    fn tells_usage(&self) -> UsageTold {
        UsageTold::AsItGoes
    }
}

struct Events;

impl Reader for Events {
    fn read(&mut self, event: &Value, telling: &mut Telling<'_>) {
        match event["type"].as_str() {
            Some("replay.said") => telling.said(&event["text"]),
            Some("replay.copied" | "replay.deleted") => {
                let paths = text(&event["path"]).into_iter().collect();
                telling.tell(Activity::Changed { paths });
            }
            Some("replay.used") => {
                if let Ok(usage) = serde_json::from_value(event["usage"].clone()) {
                    telling.tell(Activity::Used(usage));
                }
            }
            Some("replay.finished") => {
                if let Ok(usage) = serde_json::from_value(event["usage"].clone()) {
                    telling.used_in_all(usage);
                }
                match serde_json::from_value(event["trouble"].clone()) {
                    Ok(Some(trouble)) => telling.failed(trouble),
                    _ => telling.done(),
                }
            }
            _ => {}
        }
    }
}

/// What a turn does beside its files.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Script {
    /// What the agent says at the end.
    say: Option<String>,
    /// Paths that it removes, before anything is copied.
    delete: Vec<String>,
    /// Seconds that it takes, before it does anything.
    sleep: f64,
    /// Its exit code.
    exit: u8,
    /// What it claims to have used.
    usage: Usage,
    /// What it says of it while it goes on, one after the other, before it does anything.
    uses: Vec<Usage>,
    /// What goes wrong.
    trouble: Option<ScriptTrouble>,
    /// What it leaves in `QUESTION.md`.
    question: Option<String>,
}

/// What goes wrong in a turn.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ScriptTrouble {
    /// How the turn ends.
    class: TurnClass,
    /// In how many seconds the provider lifts its limit.
    resets_in: Option<f64>,
}

/// Runs the hidden subcommand `replay-turn RECORDING N ATTEMPT WORKSPACE`, and returns its exit code: the
/// recording's, and 1 where the recording can't be followed.
///
/// Writes JSON to standard output, an object a line, as other agents do.
pub fn replay_main(recording: &Path, number: u32, attempt: u32, workspace: &Path) -> u8 {
    let mut out = io::stdout();
    match replay(recording, number, attempt, workspace, &mut out) {
        Ok(code) => code,
        Err(e) => {
            // With stdout gone there is nobody to tell.
            let _ = writeln!(out, "{}", json!({"type": "replay.said", "text": e.to_string()}));
            1
        }
    }
}

fn replay(
    recording: &Path,
    number: u32,
    attempt: u32,
    workspace: &Path,
    out: &mut dyn io::Write,
) -> io::Result<u8> {
    let of_attempt = format!("turn-{number}-attempt-{attempt}");
    let own = [&of_attempt, &format!("{of_attempt}.yaml")].map(|name| recording.join(name));
    let name =
        if own.iter().any(|path| path.exists()) { of_attempt } else { format!("turn-{number}") };
    let files = recording.join(&name);
    let script_file = recording.join(format!("{name}.yaml"));
    let script = match fs::read_to_string(&script_file) {
        Ok(yaml) if yaml.trim().is_empty() => Some(Script::default()),
        Ok(yaml) => Some(serde_yaml::from_str(&yaml).map_err(|e| naming(&script_file, &e))?),
        Err(e) if e.kind() == io::ErrorKind::NotFound => None,
        Err(e) => return Err(naming(&script_file, &e)),
    };
    let nothing = script.is_none() && !files.is_dir();
    let script: Script = script.unwrap_or_default();
    let pause = Duration::try_from_secs_f64(script.sleep).map_err(|e| naming(&script_file, &e))?;
    for usage in &script.uses {
        writeln!(out, "{}", json!({"type": "replay.used", "usage": usage}))?;
    }
    std::thread::sleep(pause);
    for path in &script.delete {
        let path = TreePath::parse(path.as_str()).map_err(|e| naming(&script_file, &e))?;
        clear(&place(workspace, &path)?)?;
        writeln!(out, "{}", json!({"type": "replay.deleted", "path": path.to_string()}))?;
    }
    if files.is_dir() {
        let mut found = Vec::new();
        list(&files, None, &mut found)?;
        for path in found {
            copy(&path.under(&files), &place(workspace, &path)?)?;
            writeln!(out, "{}", json!({"type": "replay.copied", "path": path.to_string()}))?;
        }
    }
    if let Some(question) = &script.question {
        fs::write(workspace.join("QUESTION.md"), question)?;
    }
    let said = match (&script.say, nothing) {
        (Some(say), _) => say.clone(),
        (None, true) => {
            format!("turn {number} has no recording in {}; nothing changed", recording.display())
        }
        (None, false) => format!("replayed turn {number}"),
    };
    writeln!(out, "{}", json!({"type": "replay.said", "text": said}))?;
    let trouble = script.trouble.map(|trouble| Trouble {
        class: trouble.class,
        message: said,
        resets: trouble.resets_in.and_then(|seconds| reset_at(seconds, SystemClock.now())),
    });
    let finished = json!({"type": "replay.finished", "usage": script.usage, "trouble": trouble});
    writeln!(out, "{finished}")?;
    Ok(script.exit)
}

/// Lists the files and links below `dir` of the recording, sorted by path.
fn list(root: &Path, dir: Option<&TreePath>, found: &mut Vec<TreePath>) -> io::Result<()> {
    use std::os::unix::ffi::OsStrExt as _;
    let mut entries = fs::read_dir(dir.map_or_else(|| root.to_owned(), |dir| dir.under(root)))?
        .collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name();
        let path = match dir {
            Some(dir) => dir.child(name.as_bytes()),
            None => TreePath::parse(name.as_bytes()),
        }
        .map_err(io::Error::other)?;
        if entry.file_type()?.is_dir() {
            list(root, Some(&path), found)?;
        } else {
            found.push(path);
        }
    }
    Ok(())
}

/// Returns the place of `path` in the workspace, its directories made; never through a link.
fn place(workspace: &Path, path: &TreePath) -> io::Result<PathBuf> {
    let place = path.under(workspace);
    let above: Vec<&Path> =
        place.ancestors().skip(1).take_while(|above| *above != workspace).collect();
    for dir in above.into_iter().rev() {
        if !dir.is_dir() || dir.is_symlink() {
            clear(dir)?;
            fs::create_dir(dir)?;
        }
    }
    Ok(place)
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    clear(to)?;
    if from.is_symlink() {
        symlink(fs::read_link(from)?, to)
    } else {
        fs::copy(from, to).map(|_| ())
    }
}

/// Removes whatever stands at `path`; what is not there is fine.
fn clear(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(what) if what.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(e),
    }
}

fn naming(file: &Path, error: &dyn std::error::Error) -> io::Error {
    io::Error::other(format!("{}: {error}", file.display()))
}

#[cfg(test)]
#[path = "replay_tests.rs"]
mod tests;
