//! The marks by which what a child left is known again: variables that its descendants inherit, with
//! whose they are and whether that process still lives.

use std::fs;
use std::sync::OnceLock;

use rustix::process::getpid;

use super::survivors::{process_of, values_of};

/// The variable that marks a child and what descends from it: `NAMESPACE.PID.START.NUMBER` of the
/// process that started it, and which child of it it is.
pub(super) const CHILD: &str = "DARK_FACTORY_CHILD";
/// The variable that marks what a fixture started: it ends with its fixture, and with nothing else.
/// Its value has the same four parts at its end.
pub(crate) const FIXTURE: &str = "DARK_FACTORY_FIXTURE";

/// Returns what tells this process from every other of this boot: `NAMESPACE.PID.START`.
pub(crate) fn runner() -> &'static str {
    static RUNNER: OnceLock<String> = OnceLock::new();
    RUNNER.get_or_init(|| {
        let pid = getpid().as_raw_nonzero().get();
        let start = process_of(pid).map_or(0, |process| process.start);
        format!("{}.{pid}.{start}", namespace())
    })
}

/// Returns whether a mark, `..NAMESPACE.PID.START.NUMBER`, is one that this process gave.
pub(super) fn is_of_this_runner(mark: &str) -> bool {
    let whose = mark.rsplit_once('.').map_or("", |(whose, _)| whose);
    whose.strip_suffix(runner()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// Returns whether the process that gave a mark is dead; false where that can't be told.
pub(crate) fn is_orphan(mark: &str) -> bool {
    mark.rsplit_once('.').is_some_and(|(whose, _)| is_dead(whose))
}

/// Returns whether what [`runner`] named is dead; false where that can't be told.
pub(crate) fn is_dead(runner: &str) -> bool {
    let mut parts = runner.rsplit('.');
    let start: Option<u64> = parts.next().and_then(|part| part.parse().ok());
    let pid = parts.next().and_then(|part| part.parse().ok());
    match (pid, start, parts.next()) {
        // What runs in a container can be seen from outside of it, and not be told alive or dead.
        // Where there is no /proc, every process would look dead.
        (Some(pid), Some(start), Some(other)) if other == namespace() => {
            process_of(getpid().as_raw_nonzero().get()).is_some()
                && process_of(pid).is_none_or(|one| one.start != start || one.zombie)
        }
        // Somebody else's variable.
        _ => false,
    }
}

/// Returns the mark that a process has in the variable `name`.
pub(super) fn of(name: &str, pid: i32) -> Option<String> {
    let mark = values_of(pid, name).into_iter().next()?;
    Some(String::from_utf8_lossy(&mark).into_owned())
}

/// Returns the number of the namespace in which the numbers of processes mean something; empty
/// where the system has none.
fn namespace() -> String {
    let link = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    link.to_string_lossy().chars().filter(char::is_ascii_digit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_tells_a_living_runner_from_a_dead_one_and_others_nothing() {
        let pid = getpid().as_raw_nonzero().get();
        assert!(!is_orphan(&format!("{}.7", runner())));
        assert!(is_orphan(&format!("{}.{pid}.1.7", namespace())));
        assert!(!is_orphan(&format!("1{}.{pid}.1.7", namespace())));
        for mark in ["", "x", "1.2.3", "a.b.c.d"] {
            assert!(!is_orphan(mark), "{mark}");
        }
    }
}
