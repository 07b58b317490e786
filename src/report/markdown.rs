//! The report of a run as a page of markdown: for the summary of a CI job and for a pull request.
//!
//! Text from outside stands in code alone, where it is no markup, mentions nobody and closes no
//! issue.

use std::fmt::Write as _;

use crate::text::{one_line, plural, visible};
use crate::verdict::show_score;

use super::published::{Delivery, Iteration, IterationResult, RunReport};
use super::run_text::{isolation, short};

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
    let mut out = String::new();
    // Writing to a text can't fail.
    let _ = match report.outcome {
        Some(outcome) => writeln!(out, "**{}.**\n", outcome.title()),
        None => writeln!(out, "**It has not come to an end.**\n"),
    };
    if let Some(reason) = &report.reason {
        let _ = writeln!(out, "{}\n", code(reason, 300));
    }
    let _ = writeln!(
        out,
        "Run {}, {}; score {} of the best candidate, threshold {}.\n",
        code(report.run.as_str(), 80),
        plural(report.turns_taken as usize, "agent turn"),
        show_score(report.final_score),
        show_score(report.threshold),
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
    if let Some(advice) = report.advice() {
        let _ = writeln!(out, "### Next\n\n{advice}");
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
        let gates = match one.result {
            IterationResult::Judged if one.gates == Some(0) => "none",
            IterationResult::Judged => "passed",
            IterationResult::GatesFailed => "failed",
            IterationResult::Unchanged | IterationResult::Refused | IterationResult::Pending => "-",
        };
        let scenarios = match (one.result, one.score) {
            (_, Some(_)) => format!("{} of {}", one.passed, one.total),
            (IterationResult::Judged | IterationResult::GatesFailed, None) => "not judged".into(),
            (_, None) => "-".to_owned(),
        };
        let commit = one.commit.as_deref().unwrap_or_default();
        let _ = writeln!(
            out,
            "| {} | {} | {gates} | {scenarios} | {} | {} |",
            one.iteration,
            cell(short(commit), 10),
            show_score(one.score),
            note(report, one),
        );
    }
    more(out, left_out, "earlier iteration");
}

/// Returns what is special of an iteration.
fn note(report: &RunReport, one: &Iteration) -> String {
    let mut notes = Vec::new();
    if one.turn.is_none() {
        notes.push("base");
    }
    match one.result {
        IterationResult::Judged | IterationResult::GatesFailed => {}
        IterationResult::Unchanged => notes.push("no change"),
        IterationResult::Refused => notes.push("refused"),
        IterationResult::Pending => notes.push("unfinished"),
    }
    if report.best.as_ref().is_some_and(|best| best.iteration == one.iteration) {
        notes.push("best");
    }
    notes.join(", ")
}

fn turns(out: &mut String, report: &RunReport, rows: usize) {
    let all: Vec<_> = report.iterations.iter().filter(|one| one.turn.is_some()).collect();
    if all.is_empty() {
        return;
    }
    out.push_str(
        "### Turns\n\n| Turn | Agent | Delivery | Files | Dropped |\n|---|---|---|---|---|\n",
    );
    let left_out = all.len().saturating_sub(rows);
    let shown = &all[left_out..];
    for turn in shown.iter().filter_map(|one| one.turn.as_ref()) {
        let delivery = match turn.delivery {
            None => "none",
            Some(Delivery::Accepted) => "accepted",
            Some(Delivery::Unchanged) => "unchanged",
            Some(Delivery::Refused) => "refused",
        };
        let _ = writeln!(
            out,
            "| {} | {} | {delivery} | {} | {} |",
            turn.turn,
            cell(turn.ended.as_deref().unwrap_or("unfinished"), 40),
            turn.files,
            turn.dropped,
        );
    }
    more(out, left_out, "earlier turn");
    for one in shown {
        if let (Some(turn), Some(details)) = (&one.turn, &one.details)
            && let Some(refused) = &details.refused
        {
            let _ = writeln!(out, "- Turn {} was refused: {}", turn.turn, code(refused, 600));
        }
    }
    out.push('\n');
}

fn dropped(out: &mut String, report: &RunReport, rows: usize) {
    let turns = || report.iterations.iter().rev().filter_map(|one| Some((one, one.turn.as_ref()?)));
    let all = turns().fold(0_usize, |sum, (_, turn)| sum.saturating_add(turn.dropped));
    if all == 0 {
        return;
    }
    out.push_str("### Dropped\n\n");
    let listed = turns().flat_map(|(one, turn)| {
        let dropped = one.details.iter().flat_map(|details| &details.dropped);
        dropped.map(move |dropped| (turn.turn, dropped))
    });
    let mut shown = 0;
    for (turn, dropped) in listed.take(rows) {
        let _ = writeln!(
            out,
            "- turn {turn}: {}: {}",
            code(&dropped.name(), 200),
            code(&dropped.reason, 600)
        );
        shown += 1;
    }
    more(out, all.saturating_sub(shown), "path");
}

fn enforced(out: &mut String, report: &RunReport, rows: usize) {
    out.push_str("### Enforced\n\n");
    let _ = match report.agent {
        None => writeln!(out, "- No agent was started."),
        Some(_) => {
            writeln!(out, "- Isolation `{}`: {}.", report.isolation, isolation(report.isolation))
        }
    };
    out.push_str("- Scenarios, settings and gates are those of the beginning of the run.\n");
    let Some(best) = &report.best else { return out.push('\n') };
    let judged = report.iterations.iter().find(|one| one.iteration == best.iteration);
    if !best.gates_changed {
        out.push_str(match judged.and_then(|one| one.gates) {
            Some(0) => "- The product has no gates: scenarios alone decided.\n\n",
            Some(_) | None => "- The files that define the gates are as the base has them.\n\n",
        });
        return;
    }
    let paths = judged.and_then(|one| one.details.as_ref()).map(|one| &one.changed_gate_files);
    let paths = paths.map(Vec::as_slice).unwrap_or_default();
    let mut listed: Vec<String> = paths.iter().take(rows).map(|path| code(path, 200)).collect();
    if listed.is_empty() {
        listed.push("see the run's branch".to_owned());
    }
    let rest = match paths.len().saturating_sub(rows) {
        0 => String::new(),
        rest => format!(" and {rest} more"),
    };
    let _ = writeln!(out, "- **Files that define gates changed**: {}{rest}\n", listed.join(", "));
}

fn more(out: &mut String, count: usize, what: &str) {
    if count > 0 {
        let _ = write!(out, "\nand {}", plural(count, what));
        out.push_str(" that the report of the run tells of\n");
    }
    out.push('\n');
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
    use crate::event::{Audience, Label};
    use crate::journal::read_summary;
    use crate::report::published::DroppedPath;
    use crate::report::testing::TestRun;
    use crate::report::{Blobs, Details};

    fn report(dropped: &[(&str, &str)]) -> RunReport {
        let (yes, no) = ("satisfied", "unsatisfied");
        let mut run = TestRun::begin("r1");
        run.judged(&"c0ffee0000".repeat(4), &[("a", yes), ("b", no), ("c", no), ("d", no)]);
        run.turn("done").accepted("1111", &["x", "y"], dropped);
        run.judged("1111", &[("a", yes), ("b", yes), ("c", yes), ("d", no)]);
        run.turn("done").refused("too_many_files", "Too much.");
        run.finished(Decision::Stalled { steps: 1 });
        let (summary, events) = read_summary(&run.dir(), false).unwrap();
        let blobs = Blobs::of(&run.dir(), Audience(Label::Internal));
        let mut report = RunReport::of(&summary, false, true, &blobs).unwrap();
        report.add_details(&summary, &Details::of(&events), &blobs).unwrap();
        report
    }

    #[test]
    fn a_page_tells_what_happened_and_what_is_next() {
        let page = page(&report(&[("specs/a.md", "The path is protected.")]), 1_000_000);
        assert_eq!(
            page,
            "**Stalled.**\n\n\
             `The last iteration was no better than the best before it.`\n\n\
             Run `r1`, 2 agent turns; score 0.75 of the best candidate, threshold 0.80.\n\n\
             ### Trajectory\n\n\
             | Iteration | Commit | Gates | Scenarios | Score | |\n|---|---|---|---|---|---|\n\
             | 0 | `c0ffee0000` | passed | 1 of 4 | 0.25 | base |\n\
             | 1 | `1111000000` | passed | 3 of 4 | 0.75 | best |\n\
             | 2 | - | - | - | - | refused |\n\n\
             ### Turns\n\n\
             | Turn | Agent | Delivery | Files | Dropped |\n|---|---|---|---|---|\n\
             | 1 | `done` | accepted | 2 | 1 |\n\
             | 2 | `done` | refused | 0 | 0 |\n\n\
             - Turn 2 was refused: `Too much.`\n\n\
             ### Dropped\n\n\
             - turn 1: `specs/a.md`: `The path is protected.`\n\n\
             ### Enforced\n\n\
             - Isolation `copy`: the agent worked in a tree without the scenarios; what the same \
             user can read elsewhere on the disk, it could.\n\
             - Scenarios, settings and gates are those of the beginning of the run.\n\
             - The files that define the gates are as the base has them.\n\n\
             ### Next\n\n\
             Read what of the turns was not taken, and why; put that right (`.gitignore`, `delivery` \
             and `protected` in dark-factory.yaml), and begin a new run.\n"
        );
    }

    #[test]
    fn gates_that_do_not_exist_have_not_passed() {
        let mut report = report(&[]);
        report.iterations.iter_mut().for_each(|one| one.gates = Some(0));
        let page = page(&report, 1_000_000);
        assert!(page.contains("| 1 | `1111000000` | none | 3 of 4 | 0.75 | best |\n"), "{page}");
        assert!(page.contains("- The product has no gates: scenarios alone decided.\n"), "{page}");
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
        report
            .iterations
            .extend((3..2_000).map(|iteration| Iteration { iteration, ..one.clone() }));
        let path = DroppedPath {
            path: "p/".repeat(100),
            reason: "r".repeat(200),
            ..DroppedPath::default()
        };
        for one in &mut report.iterations {
            let (Some(turn), Some(details)) = (&mut one.turn, &mut one.details) else { continue };
            turn.dropped = 100_000;
            details.dropped = vec![path.clone(); 200];
            details.changed_gate_files = vec!["g".repeat(200); 200];
        }
        report.question = Some("é".repeat(4_000));
        report.failure = Some("x".repeat(4_000));
        report.best.as_mut().unwrap().gates_changed = true;
        let page = page(&report, 60_000);
        assert!(page.len() <= 60_000, "{}", page.len());
        assert!(page.contains("earlier iterations that the report of the run tells of"), "{page}");
        assert!(page.contains("\nand 199899975 paths that"), "{page}");
    }

    #[test]
    fn a_fence_outgrows_what_it_holds() {
        assert_eq!(fence("a ```` b\n"), "`````text\na ```` b\n`````\n\n");
    }
}
