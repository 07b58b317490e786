//! Finds and ends what left its process group: whatever a child started that made a session of its
//! own, or whose parents ended before it.
//!
//! On Linux such processes are adopted by this one, which makes itself their reaper. Each child is
//! started with a mark in its environment that its descendants inherit, so that what is adopted can
//! be told apart while several children run at a time. One that cleared its environment is known
//! only while a single child runs, or once none does. Elsewhere nothing is found.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitOptions, getpid, waitpid};

use crate::clock::Instant;

use super::mark::{self, CHILD, FIXTURE};
use super::started;
use super::survivors::{self, Process, process_of};

/// How long strays may take to vanish once they have been killed.
const BOUND: Duration = Duration::from_secs(2);
const TICK: Duration = Duration::from_micros(500);

/// Looks after what one child may leave behind.
#[derive(Debug)]
pub(super) struct Watch {
    mark: String,
    /// What was adopted before the child began, where it was alone then.
    before: BTreeSet<i32>,
    /// Whether it is this child alone that what is adopted now can come from.
    alone: bool,
}

/// How many children are being watched.
static WATCHED: AtomicU64 = AtomicU64::new(0);
static NUMBER: AtomicU64 = AtomicU64::new(0);

impl Watch {
    /// Begins to watch, and makes this process the reaper of what its children leave.
    pub(super) fn begin() -> Self {
        become_reaper();
        let alone = WATCHED.fetch_add(1, Ordering::SeqCst) == 0;
        let number = NUMBER.fetch_add(1, Ordering::SeqCst);
        let before = if alone { adopted().into_iter().collect() } else { BTreeSet::new() };
        Self { mark: format!("{}.{number}", mark::runner()), before, alone }
    }

    /// Returns the mark's value, for the child's environment.
    pub(super) fn mark(&self) -> &str {
        &self.mark
    }

    /// Ends every stray of the child, which is over; returns whether there was one.
    pub(super) fn end(&self) -> bool {
        let alone = self.alone && WATCHED.load(Ordering::SeqCst) == 1;
        end_all(|pid| {
            let unknown = alone && !self.before.contains(&pid);
            match (mark::of(CHILD, pid), mark::of(FIXTURE, pid)) {
                (Some(mark), _) if mark::is_of_this_runner(&mark) => mark == self.mark,
                (_, Some(fixture)) if mark::is_of_this_runner(&fixture) => false,
                // It came here because a runner that a child had started is dead. Other marks say
                // nothing: anybody can write a variable.
                (Some(mark), _) | (None, Some(mark)) => mark::is_orphan(&mark) || unknown,
                (None, None) => unknown,
            }
        })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        WATCHED.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Ends every adopted process, whatever it came from; returns whether there was one.
///
/// For the end of a judgement, when nothing is running any more, and no fixture.
pub fn end_strays() -> bool {
    end_all(|_| true)
}

/// Ends what marked processes of runners left that are dead themselves; returns how many there were.
pub fn end_orphans() -> usize {
    let orphans: Vec<Process> = survivors::table()
        .into_iter()
        .filter(|one| !one.zombie)
        .filter(|one| {
            let mark = mark::of(CHILD, one.pid).or_else(|| mark::of(FIXTURE, one.pid));
            mark.is_some_and(|mark| mark::is_orphan(&mark))
        })
        .collect();
    for orphan in &orphans {
        survivors::signal(*orphan, Signal::KILL);
    }
    orphans.len()
}

fn end_all(is_ours: impl Fn(i32) -> bool) -> bool {
    let (began, mut found) = (Instant::now(), false);
    loop {
        // Most children leave nothing, and then this is all that is paid.
        if adopted().is_empty() {
            return found;
        }
        let mut left = false;
        started::look(|own| {
            for pid in adopted().into_iter().filter(|pid| !own.contains(pid)) {
                // What ends by itself in the middle of a look may have left a child that is
                // adopted only now: another look.
                let Some(process) = process_of(pid) else {
                    left = true;
                    continue;
                };
                if process.zombie {
                    if let Some(pid) = Pid::from_raw(pid) {
                        // An error means that it has been collected.
                        let _ = waitpid(Some(pid), WaitOptions::NOHANG);
                    }
                    left = true;
                } else if is_ours(pid) {
                    survivors::signal(process, Signal::KILL);
                    (found, left) = (true, true);
                }
            }
        });
        if !left || began.elapsed() > BOUND {
            return found;
        }
        std::thread::sleep(TICK);
    }
}

/// Returns the children that the kernel gave to this process, and those that its first thread
/// started.
fn adopted() -> Vec<i32> {
    // Open for good: this is asked twice for every child.
    static CHILDREN: OnceLock<Option<File>> = OnceLock::new();
    let children = CHILDREN.get_or_init(|| {
        let pid = getpid().as_raw_nonzero();
        File::open(format!("/proc/self/task/{pid}/children")).ok()
    });
    let Some(children) = children else { return Vec::new() };
    let (mut text, mut chunk) = (Vec::new(), [0; 512]);
    loop {
        match children.read_at(&mut chunk, text.len() as u64) {
            Ok(length @ 1..) => text.extend_from_slice(&chunk[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(0) | Err(_) => break,
        }
    }
    String::from_utf8_lossy(&text)
        .split_ascii_whitespace()
        .filter_map(|pid| pid.parse().ok())
        .collect()
}

#[cfg(target_os = "linux")]
fn become_reaper() {
    static DONE: OnceLock<()> = OnceLock::new();
    DONE.get_or_init(|| {
        // Where the kernel refuses, strays go to its first process and the group is all there is.
        let _ = rustix::process::set_child_subreaper(Some(getpid()));
    });
}

#[cfg(not(target_os = "linux"))]
fn become_reaper() {}
