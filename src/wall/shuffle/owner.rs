//! The process on whose behalf something is held, told apart from a later one of the same number.

use rustix::process::{Pid, getppid, test_kill_process};
use serde::{Deserialize, Serialize};

/// A process, by its number, the moment of its start and the boot of the machine.
///
/// On systems without `/proc` the number alone is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Owner {
    pid: u32,
    /// Clock ticks from boot to the process's start.
    started: Option<u64>,
    /// The kernel's id of this boot.
    boot: Option<String>,
}

impl Owner {
    /// Returns the process of that number; none when none is alive.
    pub fn of(pid: u32) -> Option<Self> {
        let owner = Self { pid, started: stat(pid).map(|stat| stat.started), boot: boot() };
        owner.is_alive().then_some(owner)
    }

    /// Returns the process that started this one, and this one itself where its parent lies
    /// outside what it can see (the first process of a container).
    pub fn parent() -> Self {
        getppid()
            .and_then(|pid| u32::try_from(pid.as_raw_nonzero().get()).ok())
            .and_then(Self::of)
            .unwrap_or_else(Self::this)
    }

    /// Returns this process.
    pub fn this() -> Self {
        let pid = std::process::id();
        Self { pid, started: stat(pid).map(|stat| stat.started), boot: boot() }
    }

    /// Returns the process's number.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Returns whether the process still runs. One that has ended and was not waited for does not.
    pub fn is_alive(&self) -> bool {
        if let (Some(then), Some(now)) = (&self.boot, boot())
            && *then != now
        {
            return false;
        }
        match (stat(self.pid), self.started) {
            (Some(stat), Some(started)) => stat.runs && stat.started == started,
            (Some(stat), None) => stat.runs,
            // Without `/proc`, and where it hides the processes of others.
            (None, _) => i32::try_from(self.pid)
                .ok()
                .and_then(Pid::from_raw)
                .is_some_and(|pid| test_kill_process(pid) != Err(rustix::io::Errno::SRCH)),
        }
    }
}

struct Stat {
    runs: bool,
    started: u64,
}

fn stat(pid: u32) -> Option<Stat> {
    parse_stat(&std::fs::read(format!("/proc/{pid}/stat")).ok()?)
}

/// Reads a line of `/proc/PID/stat`; the name in its second field may hold anything.
fn parse_stat(line: &[u8]) -> Option<Stat> {
    let end_of_name = line.iter().rposition(|b| *b == b')')?;
    let rest = std::str::from_utf8(&line[end_of_name + 1..]).ok()?;
    let mut fields = rest.split_ascii_whitespace();
    let runs = !matches!(fields.next()?, "Z" | "X" | "x");
    // The state is field 3, the start is field 22.
    let started = fields.nth(18)?.parse().ok()?;
    Some(Stat { runs, started })
}

fn boot() -> Option<String> {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(id.trim().to_owned())
}

#[cfg(test)]
impl Owner {
    /// Returns a process that has ended.
    pub(crate) fn gone() -> Self {
        Self { started: Some(1), ..Self::this() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_blanks_and_parentheses_is_skipped() {
        let line = b"7 (a) Z (b) S 1 7 7 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 98765 1 2";
        let stat = parse_stat(line).unwrap();
        assert!(stat.runs);
        assert_eq!(stat.started, 98765);
    }

    #[test]
    fn a_process_that_ended_without_being_waited_for_does_not_run() {
        let line = b"7 (a) Z 1 7 7 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 98765 1 2";
        assert!(!parse_stat(line).unwrap().runs);
    }

    #[test]
    fn this_process_and_its_parent_are_alive() {
        assert!(Owner::this().is_alive());
        assert!(Owner::parent().is_alive());
        assert_eq!(Owner::of(std::process::id()), Some(Owner::this()));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn another_process_of_the_same_number_is_not_the_owner() {
        assert!(!Owner::gone().is_alive());
        let before = Owner { boot: Some("another boot".into()), ..Owner::this() };
        assert!(!before.is_alive());
    }

    #[test]
    fn a_number_that_nobody_has_is_dead() {
        assert_eq!(Owner::of(0), None);
        assert_eq!(Owner::of(u32::MAX), None);
    }
}
