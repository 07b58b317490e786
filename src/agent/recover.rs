//! What became of a turn whose factory died: its processes are found and ended first, then its
//! record is read.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use super::TurnRecord;
use super::record::{Record, search};
use super::supervisor::{GRACE, SWEEP};
use crate::clock::Instant;
use crate::process::survivors::{self, Process};

/// What became of a turn.
#[derive(Debug, Clone, PartialEq)]
pub enum Recovered {
    /// The agent never ran, and cost nothing.
    NeverStarted,
    /// It ended, and the supervisor's durable record says how.
    Ended(Box<TurnRecord>),
    /// It ran, and nothing says how far; what it cost is not known.
    CutShort {
        /// How many of its processes were found alive and ended.
        ended_processes: usize,
    },
}

/// Ends whatever is still alive of the turn with `token`, and returns what its record in `record`
/// says then.
///
/// A supervisor that is still alive gets the time to end its agent and to write the record: it is
/// asked to with TERM, and killed when it does not. Returns only once nothing of the turn is alive.
///
/// # Errors
/// The record can't be read, or processes outlived SIGKILL.
pub fn recover(record: &Path, token: &str) -> io::Result<Recovered> {
    let files = Record(record);
    let mut ended_processes = 0;
    if let Some(supervisor) = supervisor(&files, token)? {
        survivors::signal(supervisor, rustix::process::Signal::TERM);
        if !wait_for(supervisor, GRACE + SWEEP) {
            survivors::signal(supervisor, rustix::process::Signal::KILL);
            ended_processes += 1;
        }
    }
    let swept = survivors::sweep(search(token, false), SWEEP);
    if swept.left > 0 {
        let count = swept.left;
        return Err(io::Error::other(format!(
            "{count} processes of the interrupted agent outlived SIGKILL; nothing can be judged \
             beside them"
        )));
    }
    ended_processes += swept.ended;
    // It holds the agent's secrets, and nobody is left to read it.
    match fs::remove_file(files.spec()) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    Ok(match (files.ended()?, files.started()?) {
        (Some(ended), _) => Recovered::Ended(Box::new(ended.record)),
        (None, Some(_)) => Recovered::CutShort { ended_processes },
        (None, None) => Recovered::NeverStarted,
    })
}

/// Returns the turn's supervisor if it is alive: the process that the record names, or, where none
/// is recorded yet, the one with the token that nobody with the token started.
fn supervisor(files: &Record<'_>, token: &str) -> io::Result<Option<Process>> {
    if let Some(started) = files.started()? {
        // Numbers of another boot mean nothing.
        return Ok(survivors::process_of(started.pid).filter(|process| {
            !process.zombie
                && process.pid != rustix::process::getpid().as_raw_nonzero().get()
                && started.boot == survivors::boot_id()
                && Some(process.start) == started.process_start
        }));
    }
    let found = survivors::find(search(token, false));
    Ok(found.iter().copied().find(|one| found.iter().all(|other| other.pid != one.parent)))
}

/// Waits until `process` is gone; returns false where it is not after `bound`.
fn wait_for(process: Process, bound: Duration) -> bool {
    let began = Instant::now();
    while survivors::process_of(process.pid)
        .is_some_and(|now| now.start == process.start && !now.zombie)
    {
        if began.elapsed() > bound {
            return false;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    true
}
