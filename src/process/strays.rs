//! Finds and ends what left its process group: whatever a child started that made a session of its
//! own, or whose parents ended before it.
//!
//! On Linux such processes are adopted by this one, which makes itself their reaper. Each child is
//! started with a mark in its environment that its descendants inherit, so that what is adopted can
//! be told apart while several children run at a time. One that cleared its environment is known
//! only while a single child runs, or once none does. Elsewhere nothing is found.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitOptions, getpid, waitpid};

use crate::clock::Instant;

use super::started;
use super::survivors::{self, Process, process_of};

/// The variable that marks a child and what descends from it: `NAMESPACE.PID.START.NUMBER` of the
/// process that started it, and which child of it it is.
pub(crate) const MARK: &str = "DARK_FACTORY_CHILD";
/// The variable that marks what a fixture started: it ends with its fixture, and with nothing else.
/// Its value has the same four parts at its end.
pub(crate) const FIXTURE: &str = "DARK_FACTORY_FIXTURE";
/// How long strays may take to vanish once they have been killed.
const BOUND: Duration = Duration::from_secs(2);
const TICK: Duration = Duration::from_micros(500);

/// Looks after what one child may leave behind.
#[derive(Debug)]
pub(super) struct Watch {
    mark: String,
    /// What was adopted before the child began.
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
        let others = WATCHED.fetch_add(1, Ordering::SeqCst);
        let number = NUMBER.fetch_add(1, Ordering::SeqCst);
        Self {
            mark: format!("{}.{number}", runner()),
            before: adopted().into_iter().collect(),
            alone: others == 0,
        }
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
            match (mark_of(MARK, pid), mark_of(FIXTURE, pid)) {
                (Some(mark), _) if is_of_this_runner(&mark) => mark == self.mark,
                (_, Some(fixture)) if is_of_this_runner(&fixture) => false,
                // It came here because a runner that a child had started is dead. Other marks say
                // nothing: anybody can write a variable.
                (Some(mark), _) | (None, Some(mark)) => !runner_is_alive(&mark) || unknown,
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
            let mark = mark_of(MARK, one.pid).or_else(|| mark_of(FIXTURE, one.pid));
            mark.is_some_and(|mark| !runner_is_alive(&mark))
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

/// Returns what tells this process from every other of this boot.
fn runner() -> &'static str {
    static RUNNER: OnceLock<String> = OnceLock::new();
    RUNNER.get_or_init(|| {
        let pid = getpid().as_raw_nonzero().get();
        let start = process_of(pid).map_or(0, |process| process.start);
        format!("{}.{pid}.{start}", namespace())
    })
}

/// Returns the number of the namespace in which the numbers of processes mean something; empty
/// where the system has none.
fn namespace() -> String {
    let link = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    link.to_string_lossy().chars().filter(char::is_ascii_digit).collect()
}

/// Returns whether a mark, `..NAMESPACE.PID.START.NUMBER`, is one that this process gave.
fn is_of_this_runner(mark: &str) -> bool {
    let whose = mark.rsplit_once('.').map_or("", |(whose, _)| whose);
    whose.strip_suffix(runner()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

fn runner_is_alive(mark: &str) -> bool {
    let mut parts = mark.rsplit('.').skip(1);
    let start: Option<u64> = parts.next().and_then(|part| part.parse().ok());
    let pid = parts.next().and_then(|part| part.parse().ok());
    match (pid, start, parts.next()) {
        // What runs in a container can be seen from outside of it, and not be told alive or dead.
        (Some(pid), Some(start), Some(other)) if other == namespace() => {
            process_of(pid).is_some_and(|process| process.start == start && !process.zombie)
        }
        // Somebody else's variable.
        _ => true,
    }
}

fn mark_of(name: &str, pid: i32) -> Option<String> {
    let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
    environment.split(|byte| *byte == 0).find_map(|pair| {
        let value = pair.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
        Some(String::from_utf8_lossy(value).into_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_tells_a_living_runner_from_a_dead_one_and_others_nothing() {
        let pid = getpid().as_raw_nonzero().get();
        assert!(runner_is_alive(&format!("{}.7", runner())));
        assert!(!runner_is_alive(&format!("{}.{pid}.1.7", namespace())));
        assert!(runner_is_alive(&format!("1{}.{pid}.1.7", namespace())));
        for mark in ["", "x", "1.2.3", "a.b.c.d"] {
            assert!(runner_is_alive(mark), "{mark}");
        }
    }
}
