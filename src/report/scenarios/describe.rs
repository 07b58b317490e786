//! The lines on one scenario: its verdict, why, what its output says, and how to run it again.

use crate::report::results::{attempt_summary, error_summary};
use crate::text::{one_line, plural};
use crate::verdict::{Attempt, Evidence, Judged, Verdict};

use super::excerpt::{excerpt, is_error};
use super::styles::{DIM, GREEN, RED, RESET, YELLOW};

/// How many lines of a failed scenario's output are shown.
const LINES: usize = 10;
/// How many of its other stream, where that tells of an error too.
const OTHER: usize = 5;
/// How many characters of a name, a criterion, a path.
pub(super) const WIDTH: usize = 200;
/// How many criteria, attempts or pieces of evidence are listed.
const LISTED: usize = 10;

pub(super) const NEEDS_A_TERMINAL: &str =
    "it was stopped, as what reads from a terminal is: it needs one, and there is none";
pub(super) const LEFT_PROCESSES: &str = "it left processes running, and they were ended";

/// Returns the lines on one scenario, with colours; the first is the verdict's. `timed` says
/// whether it tells how long it took, `rerun` is the command that runs it again.
pub fn describe(judged: &Judged, timed: bool, rerun: Option<&str>) -> Vec<String> {
    let mut lines = vec![verdict_line(judged, timed)];
    let mut say = |line: String| lines.push(format!("      {line}"));
    let last = judged.attempts.last();
    let unmet = last.map_or(&[][..], |last| &last.unmet);
    let why = error_summary(judged);
    // With what it asks for and what was found, criteria are told below.
    if !why.is_empty() && unmet.is_empty() {
        say(why);
    }
    for one in unmet.iter().take(LISTED) {
        say(format!("pass criterion not met: {}", one_line(&one.criterion, WIDTH)));
        say(format!("  expected: {}", one_line(&one.expected, WIDTH)));
        say(format!("  actual:   {}", one_line(&one.actual, WIDTH)));
    }
    if unmet.len() > LISTED {
        say(format!("and {} more", unmet.len() - LISTED));
    }
    if last.is_some_and(|last| last.stopped) {
        say(NEEDS_A_TERMINAL.to_owned());
    }
    if judged.attempts.len() > 1 {
        for (at, attempt) in judged.attempts.iter().enumerate().take(LISTED) {
            if !attempt.is_pass() {
                say(format!("attempt {}: {}", at + 1, attempt_summary(attempt)));
            }
        }
    }
    if judged.attempts.iter().any(|attempt| attempt.leaked) {
        say(format!("{YELLOW}{LEFT_PROCESSES}{RESET}"));
    }
    for evidence in judged.evidence.iter().filter(|one| !one.missing.is_empty()).take(LISTED) {
        let Evidence { wanted, missing, .. } = evidence;
        let (wanted, missing) = (one_line(wanted, WIDTH), one_line(missing, WIDTH));
        say(format!("{YELLOW}evidence missing{RESET}: {wanted}: {missing}"));
    }
    if !judged.is_satisfied()
        && let Some(last) = last
    {
        printed(last).into_iter().for_each(|line| say(format!("{DIM}|{RESET} {line}")));
    }
    if let Some(command) = rerun {
        say(format!("{DIM}rerun:{RESET} {command}"));
    }
    lines
}

/// Returns the word for a verdict: `PASS`, `FAIL`, `SKIP` or `UNDECIDED`.
pub(super) fn label(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Satisfied => "PASS",
        Verdict::Unsatisfied { .. } => "FAIL",
        Verdict::Undecided { .. } => "UNDECIDED",
        Verdict::Skipped { .. } => "SKIP",
    }
}

fn verdict_line(judged: &Judged, timed: bool) -> String {
    let colour = match &judged.verdict {
        Verdict::Satisfied if judged.is_flaky() => YELLOW,
        Verdict::Satisfied => GREEN,
        Verdict::Unsatisfied { .. } => RED,
        Verdict::Undecided { .. } | Verdict::Skipped { .. } => YELLOW,
    };
    let mut line = format!("{colour}{}{RESET}  ", label(&judged.verdict));
    if timed {
        line.push_str(&format!("{:.1}s  ", judged.duration().as_secs_f64()));
    }
    line.push_str(&one_line(&judged.name, WIDTH));
    let attempts = judged.attempts.len();
    if judged.is_flaky() {
        let passed = judged.attempts.iter().filter(|attempt| attempt.is_pass()).count();
        let attempts = plural(attempts, "attempt");
        line.push_str(&format!("  {YELLOW}(flaky: {passed} of {attempts} passed){RESET}"));
    } else if attempts > 1 {
        line.push_str(&format!("  ({})", plural(attempts, "attempt")));
    }
    line
}

/// Returns the lines of what an attempt printed that say most: of its stderr, or of its stdout
/// where that is empty, and of both where stdout tells of an error as well.
pub(super) fn printed(attempt: &Attempt) -> Vec<String> {
    let mut lines = excerpt(&attempt.stderr_head, &attempt.stderr, LINES);
    if lines.is_empty() {
        return excerpt(&attempt.stdout_head, &attempt.stdout, LINES);
    }
    let stdout = excerpt(&attempt.stdout_head, &attempt.stdout, OTHER);
    if stdout.iter().any(|line| is_error(line)) {
        lines.push("stdout:".to_owned());
        lines.extend(stdout);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::super::testing::{attempt, judged};
    use super::*;
    use crate::verdict::{Ending, Unmet, of_attempt};

    fn of(codes: &[i32], stdout: &str, stderr: &str) -> Judged {
        let ending = |code: &i32| Ending::Exited { code: *code };
        let attempts: Vec<_> =
            codes.iter().map(|code| attempt(ending(code), stdout, stderr)).collect();
        judged("login", of_attempt(attempts.last().unwrap()), attempts)
    }

    #[track_caller]
    fn check(judged: &Judged, expected: &[&str]) {
        let lines = describe(judged, true, None).join("\n");
        let plain = anstream::adapter::strip_str(&lines).to_string();
        assert_eq!(plain.lines().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_pass_is_one_line() {
        check(&of(&[0], "out", "noise"), &["PASS  1.2s  The login"]);
    }

    #[test]
    fn a_failure_shows_its_last_lines() {
        let text: String = (1..=12).map(|n| format!("line {n}\n")).collect();
        let mut expected = vec!["FAIL  1.2s  The login", "      exit code 1: line 12"];
        let shown: Vec<String> = (3..=12).map(|n| format!("      | line {n}")).collect();
        expected.extend(shown.iter().map(String::as_str));
        check(&of(&[1], "", &text), &expected);
        check(&of(&[1], &text, ""), &expected);
    }

    #[test]
    fn both_streams_are_shown_where_both_tell_of_an_error() {
        let lines = describe(&of(&[1], "assert 1 == 2\n", "error: no\n"), false, None).join("\n");
        assert!(lines.contains("stdout:") && lines.contains("assert 1 == 2"), "{lines}");
        let lines = describe(&of(&[1], "fine\n", "error: no\n"), false, None).join("\n");
        assert!(!lines.contains("fine"), "{lines}");
    }

    #[test]
    fn a_pass_after_a_failure_is_flaky_and_says_so() {
        check(
            &of(&[1, 0], "", "why\n"),
            &[
                "PASS  2.5s  The login  (flaky: 1 of 2 attempts passed)",
                "      attempt 1: exit code 1: why",
            ],
        );
    }

    #[test]
    fn a_criterion_tells_what_it_asks_for_and_what_was_found() {
        let mut one = of(&[0], "no\n", "");
        one.attempts[0].unmet = vec![Unmet {
            criterion: "stdout is empty".into(),
            expected: "nothing".into(),
            actual: "3 bytes".into(),
        }];
        one.verdict = of_attempt(&one.attempts[0]);
        check(
            &one,
            &[
                "FAIL  1.2s  The login",
                "      pass criterion not met: stdout is empty",
                "        expected: nothing",
                "        actual:   3 bytes",
                "      | no",
            ],
        );
    }

    #[test]
    fn a_pass_that_left_something_or_lacks_evidence_says_so() {
        let mut one = of(&[0], "", "");
        one.attempts[0].leaked = true;
        one.evidence = vec![Evidence {
            wanted: "*.log".into(),
            files: Vec::new(),
            missing: "nothing matches".into(),
        }];
        check(
            &one,
            &[
                "PASS  1.2s  The login",
                "      it left processes running, and they were ended",
                "      evidence missing: *.log: nothing matches",
            ],
        );
    }

    #[test]
    fn no_escape_sequence_of_the_product_is_shown() {
        let mut one = of(&[1], "", "\u{1b}[2Jgone\u{1b}]0;x\u{7}");
        one.name = "a\u{1b}[2Jb\rc".into();
        let lines = describe(&one, true, None).join("\n");
        assert!(!lines.contains("\u{1b}[2J") && !lines.contains(['\r', '\u{7}']), "{lines:?}");
    }
}
