//! Time that does not count, because a person stopped this process at the terminal (Ctrl-Z).
//!
//! The children are in process groups of their own, which the terminal does not stop: they are
//! stopped here, before this process stops itself, and go on when it does.

use std::io::{self, Read as _};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, getpid, kill_process, kill_process_group};
use signal_hook::consts::{SIGSTOP, SIGTSTP};

use crate::clock::Instant;

use super::survivors::{process_of, table};
use super::{cancel, started};

/// The time that this process was stopped in all; held while it is.
static STOPPED: Mutex<Duration> = Mutex::new(Duration::ZERO);

/// Measures time without that during which this process was stopped at the terminal.
#[derive(Debug, Clone)]
pub(super) struct Stopwatch {
    since: Instant,
    stopped_before: Duration,
}

impl Stopwatch {
    pub(super) fn start() -> Self {
        Self { stopped_before: *stopped(), since: Instant::now() }
    }

    pub(super) fn elapsed(&self) -> Duration {
        let stopped = stopped().saturating_sub(self.stopped_before);
        self.since.elapsed().saturating_sub(stopped)
    }

    /// Returns what is left of `limit`; zero once it is over.
    pub(super) fn left(&self, limit: Duration) -> Duration {
        limit.saturating_sub(self.elapsed())
    }
}

/// From now on a TSTP to this process stops its children too, and the clocks of their limits; does
/// nothing where TSTP is ignored.
///
/// # Errors
/// The system refuses a handler, or has no more file descriptors or threads.
pub fn pause_with_the_terminal() -> io::Result<()> {
    if cancel::is_ignored(SIGTSTP) {
        return Ok(());
    }
    let (mut wake, ring) = io::pipe()?;
    signal_hook::low_level::pipe::register(SIGTSTP, ring)?;
    std::thread::Builder::new().name("pause".to_owned()).spawn(move || {
        let mut byte = [0];
        while wake.read_exact(&mut byte).is_ok() {
            pause();
        }
    })?;
    Ok(())
}

fn pause() {
    let mut total = stopped();
    let since = Instant::now();
    while started::try_look(|own| signal_all(own.iter().copied(), Signal::STOP)).is_none() {
        // A TSTP that reached a child before it had a group of its own holds whoever is starting
        // it, and would do so for ever.
        release_unborn();
        std::thread::sleep(Duration::from_millis(1));
    }
    // Until CONT. To this thread: one to the process may reach another thread first, and this one
    // would have the children go on before it stops.
    let _ = signal_hook::low_level::raise(SIGSTOP);
    signal_all(started::known().into_iter(), Signal::CONT);
    release_unborn();
    *total += since.elapsed();
}

fn signal_all(groups: impl Iterator<Item = i32>, signal: Signal) {
    for group in groups.filter_map(Pid::from_raw) {
        // One that has just ended needs no signal.
        let _ = kill_process_group(group, signal);
    }
}

/// Has every stopped child go on that is not known to have been started yet.
fn release_unborn() {
    let (me, known) = (getpid().as_raw_nonzero().get(), started::known());
    for one in table() {
        if one.parent == me
            && one.stopped
            && !known.contains(&one.pid)
            && process_of(one.pid).is_some_and(|now| now.start == one.start)
            && let Some(pid) = Pid::from_raw(one.pid)
        {
            let _ = kill_process(pid, Signal::CONT);
        }
    }
}

fn stopped() -> MutexGuard<'static, Duration> {
    STOPPED.lock().unwrap_or_else(PoisonError::into_inner)
}
