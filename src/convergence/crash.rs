//! Whether an agent crashed as it did in the turn before: then it is its surroundings that are at fault,
//! and nothing that the agent could be told.

/// How a turn crashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Crash<'a> {
    /// Whose turn it was, counted in `agent.fallback` from 1; 0 is the first agent.
    pub agent: usize,
    /// The exit code; none where a signal ended it.
    pub exit: Option<i32>,
    /// The agent's last words; none where it had none.
    pub words: Option<&'a str>,
    /// Whether the turn had changed anything.
    pub changed: bool,
}

impl Crash<'_> {
    /// Returns whether this is the crash `before` once more: of the same agent, with the same exit code
    /// and the same last words, numbers aside, and neither turn had changed anything.
    pub fn repeats(&self, before: &Crash<'_>) -> bool {
        !self.changed
            && !before.changed
            && self.agent == before.agent
            && self.exit == before.exit
            && plain(self.words) == plain(before.words)
    }
}

/// Returns the words without those that hold a digit: times, process numbers and names of one try
/// differ from one to the next.
fn plain(words: Option<&str>) -> Vec<&str> {
    let words = words.unwrap_or_default().split_whitespace();
    words.filter(|word| !word.contains(|c: char| c.is_ascii_digit())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CRASH: Crash<'_> =
        Crash { agent: 0, exit: Some(7), words: Some("no such tool"), changed: false };

    fn check(one: Crash<'_>, expected: bool) {
        assert_eq!(one.repeats(&CRASH), expected, "{one:?}");
        assert_eq!(CRASH.repeats(&one), expected, "{one:?}");
    }

    #[test]
    fn the_same_words_and_code_twice_are_one_crash() {
        check(CRASH, true);
        check(Crash { exit: Some(1), ..CRASH }, false);
        check(Crash { exit: None, ..CRASH }, false);
        check(Crash { words: Some("no such file"), ..CRASH }, false);
        check(Crash { words: None, ..CRASH }, false);
    }

    #[test]
    fn a_crash_that_brought_changes_is_none_of_two() {
        check(Crash { changed: true, ..CRASH }, false);
    }

    #[test]
    fn another_agent_crashes_for_itself() {
        check(Crash { agent: 1, ..CRASH }, false);
    }

    #[test]
    fn numbers_of_one_try_make_no_difference() {
        let at = |words| Crash { words: Some(words), ..CRASH };
        assert!(at("09:15:00 [pid 71] panicked").repeats(&at("09:16:30 [pid 9] panicked")));
        assert!(!at("09:15:00 panicked").repeats(&at("09:15:00 aborted")));
    }

    #[test]
    fn two_that_said_nothing_are_told_by_their_code() {
        let silent = Crash { words: None, ..CRASH };
        assert!(silent.repeats(&silent));
        assert!(!silent.repeats(&Crash { exit: Some(1), ..silent }));
    }
}
