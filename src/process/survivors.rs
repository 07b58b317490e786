//! Finds and ends what outlived whoever started it: processes that inherited a variable of a certain
//! value, what descends from them, and, for a supervisor, whatever was born to or adopted by it.
//!
//! Reads `/proc`; where there is none, it finds nothing and the process group is all that is ended.
//! A process that cleared its environment and lost its parents is found by a living supervisor, which
//! adopted it, and by nobody once the supervisor is dead.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use crate::clock::Instant;

/// How often the processes are looked through while some are ending.
const TICK: Duration = Duration::from_millis(10);

/// One running process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    pub(crate) parent: i32,
    pub(crate) group: i32,
    pub(crate) session: i32,
    /// When it began, in the kernel's ticks since boot.
    pub(crate) start: u64,
    pub(crate) zombie: bool,
    pub(crate) stopped: bool,
}

/// What a sweep came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Swept {
    /// How many processes were ended.
    pub(crate) ended: usize,
    /// How many would not end within the time given.
    pub(crate) left: usize,
}

/// Which processes are looked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Search<'a> {
    /// The variable that they inherited.
    pub(crate) variable: &'a str,
    /// Its value.
    pub(crate) value: &'a [u8],
    /// Whether all that descends from this process counts too.
    pub(crate) own_descendants: bool,
}

/// Ends every process that is looked for with SIGKILL, again and again until a look finds none, or `bound`
/// has passed.
pub(crate) fn sweep(search: Search<'_>, bound: Duration) -> Swept {
    sweep_but(search, |_| false, bound)
}

/// Does what [`sweep`] does, and leaves alone what `spared` picks.
pub(crate) fn sweep_but(
    search: Search<'_>,
    spared: impl Fn(&Process) -> bool,
    bound: Duration,
) -> Swept {
    let began = Instant::now();
    let mut ended = BTreeSet::new();
    loop {
        let mut alive = find(search);
        alive.retain(|one| !spared(one));
        if search.own_descendants {
            reap(|_| true);
        }
        if alive.is_empty() || began.elapsed() > bound {
            return Swept { ended: ended.len().saturating_sub(alive.len()), left: alive.len() };
        }
        for process in alive {
            signal(process, rustix::process::Signal::KILL);
            ended.insert((process.pid, process.start));
        }
        std::thread::sleep(TICK);
    }
}

/// Returns the living processes that are looked for, by number; never this process itself.
pub(crate) fn find(search: Search<'_>) -> Vec<Process> {
    related(search, |_| false)
}

/// Returns the living processes that are looked for or that `also` picks, and what descends from them,
/// by number; never this process itself.
pub(crate) fn related(search: Search<'_>, also: impl Fn(&Process) -> bool) -> Vec<Process> {
    let me = rustix::process::getpid().as_raw_nonzero().get();
    let table: Vec<Process> = table().into_iter().filter(|one| one.pid != me).collect();
    let mut pids: BTreeSet<i32> = table
        .iter()
        .filter(|one| {
            also(one) || (search.own_descendants && one.parent == me) || holds(one.pid, search)
        })
        .map(|one| one.pid)
        .collect();
    loop {
        let before = pids.len();
        pids.extend(
            table
                .iter()
                .filter(|one| pids.contains(&one.parent))
                .map(|one| one.pid)
                .collect::<Vec<_>>(),
        );
        if pids.len() == before {
            break;
        }
    }
    table.into_iter().filter(|one| !one.zombie && pids.contains(&one.pid)).collect()
}

/// Returns whether the process inherited a value for `variable`.
pub(crate) fn inherits(process: &Process, variable: &str) -> bool {
    !values_of(process.pid, variable).is_empty()
}

/// Returns the values that living processes inherited for `variable`, each once, sorted.
pub(crate) fn values(variable: &str) -> Vec<Vec<u8>> {
    let values: BTreeSet<Vec<u8>> =
        table().iter().flat_map(|one| values_of(one.pid, variable)).collect();
    values.into_iter().collect()
}

/// Collects the dead children of this process that it adopted and not started: all but the leader
/// of a group in its own session, which is what the agent itself is.
pub(crate) fn reap_adopted() {
    let session = rustix::process::getsid(None).map_or(0, |pid| pid.as_raw_nonzero().get());
    reap(|one| one.session != session || one.group != one.pid);
}

fn reap(which: impl Fn(&Process) -> bool) {
    let me = rustix::process::getpid().as_raw_nonzero().get();
    for one in table().iter().filter(|one| one.zombie && one.parent == me && which(one)) {
        // An error means that somebody else has collected it.
        let _ = rustix::process::waitpid(
            rustix::process::Pid::from_raw(one.pid),
            rustix::process::WaitOptions::NOHANG,
        );
    }
}

/// Sends `signal` to `process`, and not to a later one that got its number.
pub(crate) fn signal(process: Process, signal: rustix::process::Signal) {
    let Some(pid) = rustix::process::Pid::from_raw(process.pid) else { return };
    #[cfg(target_os = "linux")]
    if let Ok(handle) = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()) {
        if process_of(process.pid).is_some_and(|now| now.start == process.start) {
            // It can only have ended in the meantime.
            let _ = rustix::process::pidfd_send_signal(&handle, signal);
        }
        return;
    }
    if process_of(process.pid).is_some_and(|now| now.start == process.start) {
        let _ = rustix::process::kill_process(pid, signal);
    }
}

/// Returns the process of number `pid`; none where there is none.
pub(crate) fn process_of(pid: i32) -> Option<Process> {
    parse_stat(&fs::read(format!("/proc/{pid}/stat")).ok()?)
}

/// Returns whether a process of the group is stopped.
pub(crate) fn any_stopped(group: i32) -> bool {
    table().iter().any(|one| one.group == group && one.stopped)
}

/// Returns what tells this boot of the machine from others; none where the system does not say.
pub(crate) fn boot_id() -> Option<String> {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(text.trim().to_owned())
}

/// Returns every process, by number; empty where the system does not list them.
pub(crate) fn table() -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let mut table: Vec<Process> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(process_of)
        .collect();
    table.sort_unstable();
    table
}

fn holds(pid: i32, search: Search<'_>) -> bool {
    values_of(pid, search.variable).iter().any(|value| value == search.value)
}

/// Returns the values that a process began with for `variable`, which may be there more than once;
/// none where its environment can't be read.
pub(super) fn values_of(pid: i32, variable: &str) -> Vec<Vec<u8>> {
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    environment
        .split(|byte| *byte == 0)
        .filter_map(|pair| pair.strip_prefix(variable.as_bytes())?.strip_prefix(b"="))
        .map(<[u8]>::to_vec)
        .collect()
}

/// Reads `/proc/PID/stat`; the name in parentheses may itself hold blanks and parentheses.
fn parse_stat(stat: &[u8]) -> Option<Process> {
    let close = stat.iter().rposition(|byte| *byte == b')')?;
    let pid = std::str::from_utf8(stat.split(|byte| *byte == b' ').next()?).ok()?;
    let rest = std::str::from_utf8(stat.get(close + 2..)?).ok()?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    Some(Process {
        pid: pid.parse().ok()?,
        parent: fields.get(1)?.parse().ok()?,
        group: fields.get(2)?.parse().ok()?,
        session: fields.get(3)?.parse().ok()?,
        start: fields.get(19)?.parse().ok()?,
        zombie: matches!(*fields.first()?, "Z" | "X"),
        stopped: matches!(*fields.first()?, "T"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_whose_name_looks_like_a_stat_line_is_read_right() {
        let stat = b"42 (a) S 1 (b) R 7 8 9 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 777 0";
        let expected = Process {
            zombie: false,
            stopped: false,
            pid: 42,
            parent: 7,
            group: 8,
            session: 9,
            start: 777,
        };
        assert_eq!(parse_stat(stat), Some(expected));
    }

    #[test]
    fn a_stat_line_that_was_cut_is_no_process() {
        assert_eq!(parse_stat(b"42 (a"), None);
        assert_eq!(parse_stat(b"42 (a) S 1"), None);
    }

    #[test]
    fn this_process_is_in_the_table_and_never_found() {
        let me = rustix::process::getpid().as_raw_nonzero().get();
        assert_eq!(process_of(me).unwrap().pid, me);
        assert!(table().iter().any(|one| one.pid == me));
        let search = Search { variable: "NOBODY", value: b"has-this", own_descendants: false };
        assert!(find(search).is_empty());
    }
}
