//! What earlier judgements of a product left: its history, and the records of those that were killed.

use std::io::ErrorKind;
use std::path::Path;

use crate::judge::{CutShort, meet_cut_short, read_history, remember};
use crate::process::end_orphans;
use crate::report::Output;
use crate::report::results::{Results, ResultsError};
use crate::scenario::{Entry, History};
use crate::text::plural;
use crate::verdict::Judged;

use super::exit::{Exit, OrExit as _};
use super::run_scenarios::RESULTS;

/// The factory's directory, below the root of the product.
pub(super) const STATE: &str = "artifacts/factory";

/// Takes over what judgements of the product at `root` left that were killed: ends what they left
/// running, remembers what they had judged, and says so on `stderr`. What can't be taken over is
/// said as well, and keeps nothing from being judged.
pub(super) fn take_over(root: &Path, stderr: &mut Output) {
    let state = root.join(STATE);
    let mut met = |one: &CutShort| {
        remember(&state, one.pasts()).map_err(|error| std::io::Error::other(error.to_string()))
    };
    match meet_cut_short(&state, &mut met) {
        Ok(found) => {
            let left = if found.is_empty() { 0 } else { end_orphans() };
            for one in &found {
                stderr.line(note(one, root));
            }
            if left > 0 {
                let them =
                    if left == 1 { "a process".to_owned() } else { format!("{left} processes") };
                stderr.line(format_args!("note: ended {them} that it had left running"));
            }
        }
        Err(error) => {
            stderr.line(format_args!("warning: can't read an earlier judgement's record: {error}"));
        }
    }
}

fn note(one: &CutShort, root: &Path) -> String {
    let file = one.file.strip_prefix(root).unwrap_or(&one.file).display();
    let all = plural(one.scenarios.len(), "scenario");
    let judged = one.results.len();
    format!(
        "note: an earlier judgement was killed after {judged} of {all}; `--failed` knows of them, and their results are in `{file}`"
    )
}

/// Returns what came of the scenarios of the product at `root` the last time, of which `entries` are those
/// that there are; nothing where they were never judged.
///
/// # Errors
/// There is a record, and it can't be read.
pub(super) fn history(root: &Path, entries: &[Entry]) -> anyhow::Result<History> {
    if let Some(mut history) = read_history(&root.join(STATE)).or_exit(Exit::Usage)? {
        let is_new = |entry: &&Entry| !entry.file.is_ascii() && history.past(&entry.id).is_none();
        let new: Vec<&Entry> = entries.iter().filter(is_new).collect();
        // Earlier versions gave other ids to such names; their results name the file, too.
        if !new.is_empty()
            && let Ok(results) = Results::read(&root.join(RESULTS))
        {
            for judged in results.judged() {
                if let Some(entry) = new.iter().find(|entry| entry.file == judged.file) {
                    history.record(entry.id.clone(), judged.past());
                }
            }
        }
        return Ok(history);
    }
    // Another program's results, or those of an earlier version.
    match Results::read(&root.join(RESULTS)) {
        Ok(results) => {
            let past = |judged: &Judged| (judged.id.clone(), judged.past());
            let mut judged = results.judged();
            for one in &mut judged {
                if let Some(entry) = entries.iter().find(|entry| entry.file == one.file) {
                    one.id = entry.id.clone();
                }
            }
            Ok(judged.iter().map(past).collect())
        }
        Err(ResultsError::Read { source, .. }) if source.kind() == ErrorKind::NotFound => {
            Ok(History::default())
        }
        Err(error) => Err(error).or_exit(Exit::Usage),
    }
}
