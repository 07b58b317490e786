//! The report of a run as a page of markdown: for the summary of a CI job and for a pull request.
//!
//! Text from outside stands in code alone, where it is no markup, mentions nobody and closes no
//! issue.

use std::fmt::Write as _;

use crate::event::Tier;
use crate::text::{one_line, plural, visible};

use super::run_json::RunReport;

/// What a run can come to: the class, what it means, and what a person can do now.
pub const OUTCOMES: [(&str, &str, &str); 11] = [
    (
        "converged",
        "Converged: the score reaches the threshold, and every gate passed.",
        "Review the branch, and merge it.",
    ),
    (
        "converged_gates_changed",
        "Converged, gates changed: the score reaches the threshold, but the agent changed files that define the gates.",
        "Look at what became of the gates first: they may pass because they ask for less. Merge the branch only if the change is right.",
    ),
    (
        "stalled",
        "Stalled: the last iterations were no better than the best before them.",
        "Read the last feedback, change specs or scenarios, and begin a new run.",
    ),
    (
        "exhausted",
        "Exhausted: all agent turns are taken, and the threshold is not reached.",
        "Begin a new run, or one with more turns (`--max-iterations`).",
    ),
    (
        "below_threshold",
        "Below the threshold: judged, and no agent was to go on.",
        "Read the feedback, or begin a run with an agent.",
    ),
    (
        "asked",
        "Asked: the agent has a question for a person.",
        "Answer it in the specs, and begin a new run; on the machine of this run, `iterate --resume --answer TEXT` goes on.",
    ),
    (
        "nothing_to_judge",
        "Nothing to judge: there is no scenario that could be judged.",
        "Write a scenario (`factory lint --explain S002` shows how), or meet the preconditions of those there are.",
    ),
    (
        "continue",
        "Stopped on the way: more turns may be taken.",
        "Begin a new run; on the machine of this run, `iterate --resume` goes on.",
    ),
    (
        "paused",
        "Paused: one step was asked for, and it is done.",
        "On the machine of this run, `iterate --resume` goes on.",
    ),
    (
        "interrupted",
        "Interrupted: a signal stopped the run; what was judged is kept.",
        "Begin a new run; on the machine of this run, `iterate --resume` goes on.",
    ),
    (
        "failed",
        "Failed: the factory or its surroundings failed; nothing is said of the product.",
        "Remove the cause, and begin a new run; on the machine of this run, `iterate --resume` goes on.",
    ),
];

/// Returns the page of a run, at most `limit` bytes long: the fewer rows, the smaller it has to be.
/// `limit` is at least 60,000.
pub fn page(report: &RunReport, limit: usize) -> String {
    let mut page = String::new();
    for rows in [500, 100, 25, 5] {
        page = with_rows(report, rows);
        if page.len() <= limit {
            break;
        }
    }
    page
}

fn with_rows(report: &RunReport, rows: usize) -> String {
    let known = OUTCOMES.iter().find(|(class, ..)| *class == report.outcome);
    let mut out = String::new();
    // Writing to a text can't fail.
    let _ = match known {
        Some((_, sentence, _)) => writeln!(out, "**{sentence}**\n"),
        None => writeln!(out, "**Ended as {}.**\n", code(&report.outcome, 60)),
    };
    let _ = writeln!(out, "{}\n", code(&report.reason, 300));
    let _ = writeln!(
        out,
        "Run {}, {}; score {} of the best candidate, threshold {}.\n",
        code(report.run.as_str(), 80),
        plural(report.turns_taken(), "agent turn"),
        score(report.final_score),
        score(Some(report.threshold)),
    );
    if let Some(failure) = &report.failure {
        out.push_str(&fence(failure));
    }
    if let Some(question) = &report.question {
        let _ = write!(out, "The agent asks:\n\n{}", fence(question));
    }
    trajectory(&mut out, report, rows);
    turns(&mut out, report, rows);
    dropped(&mut out, report, rows);
    enforced(&mut out, report, rows);
    if let Some((_, _, next)) = known {
        let _ = writeln!(out, "### Next\n\n{next}");
    }
    out
}

fn trajectory(out: &mut String, report: &RunReport, rows: usize) {
    if report.iterations.is_empty() {
        return;
    }
    out.push_str("### Trajectory\n\n");
    out.push_str("| Iteration | Commit | Gates | Scenarios | Score | |\n");
    out.push_str("|---|---|---|---|---|---|\n");
    let left_out = report.iterations.len().saturating_sub(rows);
    for one in report.iterations.iter().skip(left_out) {
        let is_best = report.best.as_ref().is_some_and(|best| best.iteration == one.iteration);
        let note = if is_best && one.note.is_empty() {
            "best".to_owned()
        } else if is_best {
            format!("{}, best", plain(&one.note))
        } else {
            plain(&one.note)
        };
        let scenarios = if one.score.is_some() {
            format!("{} of {}", one.passed, one.total)
        } else {
            "not judged".to_owned()
        };
        let _ = writeln!(
            out,
            "| {} | {} | {} | {scenarios} | {} | {note} |",
            one.iteration,
            cell(one.commit.get(..10).unwrap_or(&one.commit), 10),
            if one.gates_passed { "passed" } else { "failed" },
            score(one.score),
        );
    }
    more(out, left_out, "earlier iteration");
}

fn turns(out: &mut String, report: &RunReport, rows: usize) {
    if report.turns.is_empty() {
        return;
    }
    out.push_str(
        "### Turns\n\n| Turn | Agent | Delivery | Files | Dropped |\n|---|---|---|---|---|\n",
    );
    let left_out = report.turns.len().saturating_sub(rows);
    for turn in report.turns.iter().skip(left_out) {
        let delivery = turn.delivery.as_deref().unwrap_or("none");
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} | {} |",
            turn.turn,
            cell(turn.agent.as_deref().unwrap_or("unfinished"), 40),
            cell(delivery, 40),
            turn.files,
            turn.dropped,
        );
    }
    more(out, left_out, "earlier turn");
    for turn in report.turns.iter().skip(left_out) {
        if let Some(refused) = &turn.refused {
            let _ = writeln!(out, "- Turn {} was refused: {}", turn.turn, code(refused, 300));
        }
    }
    out.push('\n');
}

fn dropped(out: &mut String, report: &RunReport, rows: usize) {
    let all: usize = report.turns.iter().map(|turn| turn.dropped).sum();
    if all == 0 {
        return;
    }
    out.push_str("### Dropped\n\n");
    let listed = report
        .turns
        .iter()
        .rev()
        .flat_map(|turn| turn.dropped_paths.iter().map(move |dropped| (turn.turn, dropped)));
    let mut shown = 0;
    for (turn, dropped) in listed.take(rows) {
        let _ = writeln!(
            out,
            "- turn {turn}: {}: {}",
            code(&dropped.path, 200),
            code(&dropped.reason, 200)
        );
        shown += 1;
    }
    more(out, all.saturating_sub(shown), "path");
}

fn enforced(out: &mut String, report: &RunReport, rows: usize) {
    out.push_str("### Enforced\n\n");
    let isolation = match (&report.agent, report.isolation) {
        (None, _) => "No agent was started.",
        (Some(_), Tier::Move) => {
            "Isolation `move`: the scenarios were moved away while the agent worked in the checkout; this keeps honest agents honest."
        }
        (Some(_), Tier::Copy) => {
            "Isolation `copy`: the agent worked in a copy that never had the scenarios; what the same user can read elsewhere on the machine, it could read."
        }
        (Some(_), Tier::Sandbox) => {
            "Isolation `sandbox`: the agent worked in a copy that never had the scenarios, confined by the kernel."
        }
    };
    let _ = writeln!(out, "- {isolation}");
    out.push_str("- Scenarios, settings and gates are those of the beginning of the run.\n");
    match report.gates_changed.len() {
        0 => out.push_str("- The files that define the gates are as the base has them.\n"),
        count => {
            let listed: Vec<String> =
                report.gates_changed.iter().take(rows).map(|path| code(path, 200)).collect();
            let rest = match count.saturating_sub(rows) {
                0 => String::new(),
                rest => format!(" and {rest} more"),
            };
            let _ =
                writeln!(out, "- **Files that define gates changed**: {}{rest}", listed.join(", "));
        }
    }
    out.push('\n');
}

fn more(out: &mut String, count: usize, what: &str) {
    if count > 0 {
        let _ = write!(out, "\nand {}", plural(count, what));
        out.push_str(" that the report of the run tells of\n");
    }
    out.push('\n');
}

/// Returns a score with two decimals, cut and not rounded, so that none reads as the threshold
/// that it misses; `-` where there is none.
pub fn score(score: Option<f64>) -> String {
    score.map_or_else(
        || "-".to_owned(),
        |score| format!("{:.2}", (score * 100.0 + 1e-6).floor() / 100.0),
    )
}

/// Returns `text` as code on one line of at most `limit` characters; its backticks become `'`.
pub fn code(text: &str, limit: usize) -> String {
    let line = one_line(text, limit).replace('`', "'");
    if line.is_empty() { "-".to_owned() } else { format!("`{line}`") }
}

/// Returns `text` as code for a table, where a bar would end the cell even if it is escaped after
/// a backslash; it becomes `¦`.
fn cell(text: &str, limit: usize) -> String {
    code(text, limit).replace('|', "¦")
}

/// Returns a word of ours as it is; what else stands there as code.
fn plain(note: &str) -> String {
    match note {
        "" => String::new(),
        "base" | "no change" | "refused" => note.to_owned(),
        other => cell(other, 40),
    }
}

/// Returns `text` in a fence that is longer than any run of backticks in it.
fn fence(text: &str) -> String {
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let ticks = "`".repeat(3.max(longest + 1));
    let text = visible(text.trim_end());
    format!("{ticks}text\n{text}\n{ticks}\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::convergence::Decision;
    use crate::event::{DeliveryDetail, Envelope};
    use crate::report::run_json::tests::Told;
    use crate::report::run_json::{DroppedPath, IterationReport};
    use crate::report::{Reporter, Scene};

    struct Nobody;

    impl Reporter for Nobody {
        fn event(&mut self, _: &Scene<'_>, _: &Envelope) {}
    }

    fn report(dropped: &[(&str, &str)]) -> RunReport {
        let mut told = Told::new(Nobody);
        told.judged("b", 1, false);
        let own = |(a, b): &(&str, &str)| ((*a).to_owned(), (*b).to_owned());
        let dropped = dropped.iter().map(own).collect();
        told.delivered(1, "1", &DeliveryDetail { dropped, ..DeliveryDetail::default() });
        told.judged("1", 3, false);
        told.refused(2, "Too much.");
        told.finished(Decision::Stalled { steps: 1 });
        told.report()
    }

    #[test]
    fn a_page_tells_what_happened_and_what_is_next() {
        let page = page(&report(&[("specs/a.md", "The path is protected.")]), 1_000_000);
        assert_eq!(
            page,
            "**Stalled: the last iterations were no better than the best before them.**\n\n\
             `The last 1 iteration were no better than the best before them.`\n\n\
             Run `r1`, 2 agent turns; score 0.75 of the best candidate, threshold 0.80.\n\n\
             ### Trajectory\n\n\
             | Iteration | Commit | Gates | Scenarios | Score | |\n|---|---|---|---|---|---|\n\
             | 0 | `bbbbbbbbbb` | passed | 1 of 4 | 0.25 | base |\n\
             | 1 | `1111111111` | passed | 3 of 4 | 0.75 | best |\n\
             | 2 | `1111111111` | passed | 3 of 4 | 0.75 | refused |\n\n\
             ### Turns\n\n\
             | Turn | Agent | Delivery | Files | Dropped |\n|---|---|---|---|---|\n\
             | 1 | `done` | `accepted` | 2 | 1 |\n\
             | 2 | `unfinished` | `refused` | 0 | 0 |\n\n\
             - Turn 2 was refused: `Too much.`\n\n\
             ### Dropped\n\n\
             - turn 1: `specs/a.md`: `The path is protected.`\n\n\
             ### Enforced\n\n\
             - Isolation `copy`: the agent worked in a copy that never had the scenarios; what the \
             same user can read elsewhere on the machine, it could read.\n\
             - Scenarios, settings and gates are those of the beginning of the run.\n\
             - The files that define the gates are as the base has them.\n\n\
             ### Next\n\n\
             Read the last feedback, change specs or scenarios, and begin a new run.\n"
        );
    }

    #[test]
    fn text_from_outside_is_code_on_its_line() {
        let report = report(&[("a`|\\| <img>\n# b", "@all fixes #1")]);
        let page = page(&report, 1_000_000);
        assert!(page.contains("- turn 1: `a'|\\| <img> # b`: `@all fixes #1`\n"), "{page}");
        assert_eq!(cell("a\\|`@b`", 20), "`a\\¦'@b'`");
    }

    #[test]
    fn a_long_run_fits_and_says_what_is_left_out() {
        let mut report = report(&[]);
        let one = report.iterations[1].clone();
        let many = |iteration| IterationReport { iteration, ..one.clone() };
        report.iterations.extend((3..2_000).map(many));
        let path = DroppedPath { path: "p/".repeat(100), reason: "r".repeat(200) };
        for turn in &mut report.turns {
            turn.dropped = 100_000;
            turn.dropped_paths = vec![path.clone(); 200];
        }
        report.question = Some("é".repeat(4_000));
        report.failure = Some("x".repeat(4_000));
        report.gates_changed = vec!["g".repeat(200); 200];
        let page = page(&report, 60_000);
        assert!(page.len() <= 60_000, "{}", page.len());
        assert!(page.contains("earlier iterations that the report of the run tells of"), "{page}");
        assert!(page.contains("\nand 1999"), "{page}");
    }

    #[test]
    fn a_score_is_never_rounded_up() {
        for (value, shown) in [(0.799, "0.79"), (0.29, "0.29"), (0.57, "0.57"), (1.0, "1.00")] {
            assert_eq!(score(Some(value)), shown);
        }
        assert_eq!(score(None), "-");
    }

    #[test]
    fn a_fence_outgrows_what_it_holds() {
        assert_eq!(fence("a ```` b\n"), "`````text\na ```` b\n`````\n\n");
    }
}
