//! Where the history of a product's scenarios is kept: `history.json` in the factory's directory.
//! What it means is `scenario`'s to say.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use crate::id::ScenarioId;
use crate::journal::write_durably;
use crate::scenario::{History, Past};

const FILE: &str = "history.json";

/// A history that can't be read or kept, and why.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// It is no JSON, or other JSON.
    #[error("`{}` holds no history of scenarios; remove it, and a new one is begun", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// What was found, and where.
        source: serde_json::Error,
    },
    /// The system said no.
    #[error("can't use `{}`", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Returns the history in `state`, the factory's directory in the product; none where none is kept.
///
/// # Errors
/// It is there, and can't be read.
pub fn read_history(state: &Path) -> Result<Option<History>, HistoryError> {
    let path = state.join(FILE);
    match fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|source| HistoryError::Parse { path, source }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(HistoryError::Io { path, source }),
    }
}

/// Remembers what came of scenarios now, beside what is known of others. A duration that is known
/// stays where there is no new one. Judgements that end at the same time wait for each other.
///
/// # Errors
/// The history can't be read or written; the old one is then still there.
pub fn remember(
    state: &Path,
    now: impl IntoIterator<Item = (ScenarioId, Past)>,
) -> Result<(), HistoryError> {
    let path = state.join(FILE);
    let io = |source| HistoryError::Io { path: path.clone(), source };
    let _lock = lock(state).map_err(io)?;
    let mut history = read_history(state)?.unwrap_or_default();
    for (id, past) in now {
        let seconds = past.seconds.or(history.past(&id).and_then(|before| before.seconds));
        history.record(id, Past { seconds, ..past });
    }
    let json = serde_json::to_vec(&history).map_err(|error| io(error.into()))?;
    write_durably(&path, &json).map_err(io)
}

/// Returns the lock that is held until it is dropped.
fn lock(state: &Path) -> io::Result<File> {
    let dir = state.join(super::record::JUDGEMENTS);
    fs::create_dir_all(&dir)?;
    let file =
        OpenOptions::new().create(true).write(true).truncate(false).open(dir.join(".lock"))?;
    file.lock()?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::LastStatus;

    fn past(id: &str, status: LastStatus, seconds: Option<f64>) -> (ScenarioId, Past) {
        (ScenarioId::parse(id).unwrap(), Past { status, seconds, flaky: false })
    }

    #[test]
    fn what_is_new_goes_beside_what_is_known() {
        let state = tempfile::tempdir().unwrap();
        assert_eq!(read_history(state.path()).unwrap(), None);
        let satisfied = |id| past(id, LastStatus::Satisfied, Some(2.0));
        remember(state.path(), [satisfied("a"), satisfied("b")]).unwrap();
        remember(state.path(), [past("a", LastStatus::NotRun, None)]).unwrap();
        let history = read_history(state.path()).unwrap().unwrap();
        let expected = [past("a", LastStatus::NotRun, Some(2.0)), satisfied("b")];
        assert_eq!(history, expected.into_iter().collect());
    }

    #[test]
    fn a_file_that_holds_something_else_is_named_and_stays() {
        let state = tempfile::tempdir().unwrap();
        fs::write(state.path().join(FILE), "[]").unwrap();
        let error = remember(state.path(), []).unwrap_err().to_string();
        assert!(
            error.contains("history.json` holds no history of scenarios; remove it"),
            "{error}"
        );
        assert_eq!(fs::read(state.path().join(FILE)).unwrap(), b"[]");
    }

    #[test]
    fn two_that_remember_at_a_time_lose_nothing() {
        let state = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let state = state.path();
                scope.spawn(move || {
                    for number in 0..5 {
                        let id = format!("s{thread}-{number}");
                        remember(state, [past(&id, LastStatus::Satisfied, None)]).unwrap();
                    }
                });
            }
        });
        assert_eq!(read_history(state.path()).unwrap().unwrap().iter().count(), 20);
    }
}
