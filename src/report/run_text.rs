//! Runs as people read them: one screen of status, a table of runs, the report of one run.

use std::collections::BTreeMap;
use std::time::Duration;

use super::next_steps::NextStep;
use super::outcome::Outcome;
use super::published::{Iteration, IterationResult, RunReport, State, TurnReport};
use super::results::Results;
use crate::clock::{Timestamp, human};
use crate::convergence::TurnClass;
use crate::event::Tier;
use crate::text::{self, first_line, one_line, plural, visible};
use crate::verdict::show_score;

/// How many iterations a trajectory shows.
const SHOWN: usize = 10;
/// How many paths or names of one kind are shown before the rest is counted.
const LISTED: usize = 12;
/// How many characters of a line that a program wrote.
const WIDTH: usize = 200;
/// How many characters of what the factory says of a path, which ends with what to do.
const SENTENCES: usize = 600;

/// Returns the status of a run: one screen. `process` is the one that works on it.
pub fn status(report: &RunReport, process: Option<&str>, now: Timestamp) -> Vec<String> {
    let mut lines = vec![format!("run {}: {}", report.run, headline(report, process))];
    if let Some(reason) = why(report) {
        lines.push(format!("  {}", one_line(reason, WIDTH)));
    }
    lines.push(String::new());
    let mut field = |name: &str, value: String| lines.push(format!("  {name:<12}{value}"));
    field(
        "began",
        format!("{}, last event {}", ago(report.started_at, now), ago(report.last_event_at, now)),
    );
    if report.state != State::Finished {
        let node = report.node.as_deref().unwrap_or("the beginning");
        field("at", format!("{node}, iteration {}", report.iteration));
    }
    field("turns", turns(report));
    field("score", present_score(report));
    if let Some(best) = best(report) {
        field("best", best);
    }
    field("trajectory", trajectory(&report.iterations));
    field("base", base(report));
    if let Some(branch) = &report.branch {
        field("branch", branch.clone());
    }
    if report.question.is_some() {
        field("question", "the agent asks a person".to_owned());
    }
    lines.extend(next(report));
    lines
}

/// Returns what is known where there is no run: a judgement of the working tree, if there is one.
pub fn without_runs(results: Option<&Results>, now: Timestamp) -> Vec<String> {
    let Some(results) = results else {
        return vec![
            "nothing has been judged here yet".to_owned(),
            String::new(),
            "next:".to_owned(),
            "  factory lint       check the scenarios and dark-factory.yaml".to_owned(),
            "  run-scenarios      judge the working tree".to_owned(),
            "  iterate            let the agent work until it converges".to_owned(),
        ];
    };
    let when = results.timestamp.parse().map(|at| format!(" was {}", ago(at, now)));
    let mut lines = vec![format!("no run here; the last judgement{}", when.unwrap_or_default())];
    lines.push(String::new());
    if results.gate1_failed {
        lines.push("  a gate failed, so that no scenario was judged".to_owned());
    } else {
        let mut line = format!("  {} of {} satisfied", results.passed, results.total);
        for (count, what) in [
            (results.failed, "failed"),
            (results.undecided, "undecided"),
            (results.skipped, "skipped"),
        ] {
            if count > 0 {
                line.push_str(&format!(", {count} {what}"));
            }
        }
        line.push_str(&format!("; score {}", show_score(results.satisfaction_score)));
        lines.push(line);
    }
    lines.push(String::new());
    lines.push("next:".to_owned());
    lines.push("  run-scenarios      judge it again".to_owned());
    lines.push("  iterate            let the agent work until it converges".to_owned());
    lines
}

/// A run in a table: its report, or why its journal can't be read.
pub enum Row {
    /// A run.
    Known(Box<RunReport>),
    /// A run whose journal is damaged.
    Damaged {
        /// Its id.
        run: String,
        /// Why.
        why: String,
    },
}

/// Returns the table of runs, in the order given; a hint where there is none.
pub fn runs(rows: &[Row], now: Timestamp) -> Vec<String> {
    if rows.is_empty() {
        return vec!["no runs yet; `iterate` begins one".to_owned()];
    }
    let mut cells = vec![
        ["RUN", "BEGAN", "BASE", "OUTCOME", "ITERATIONS", "BEST", "BRANCH"].map(str::to_owned),
    ];
    let mut damaged = Vec::new();
    for row in rows {
        match row {
            Row::Known(report) => cells.push([
                report.run.to_string(),
                ago(report.started_at, now),
                base(report),
                headline(report, None),
                turns(report),
                show_score(report.best.as_ref().and_then(|best| best.score)),
                report.branch.clone().unwrap_or_else(|| "(in place)".to_owned()),
            ]),
            Row::Damaged { run, why } => damaged.push(format!("{run}  can't be read: {why}")),
        }
    }
    let mut lines = if cells.len() > 1 { table(&cells) } else { Vec::new() };
    lines.extend(damaged);
    lines
}

/// Returns the report of a run, as a person reads it the morning after.
pub fn show(report: &RunReport, now: Timestamp) -> Vec<String> {
    let mut lines = vec![format!("Run {}: {}", report.run, headline(report, None))];
    if let Some(reason) = why(report) {
        lines.extend(reason.lines().map(|line| visible(&format!("  {line}"))));
    }
    lines.push(String::new());
    let took = report.last_event_at.since(report.started_at);
    let mut field = |name: &str, value: String| lines.push(format!("{name:<10}{value}"));
    field(
        "Began",
        format!(
            "{}, {}; {} until its last event",
            minute(report.started_at),
            ago(report.started_at, now),
            human(took)
        ),
    );
    field("Base", base(report));
    if let Some(branch) = &report.branch {
        field("Branch", format!("{branch} at {}", short(&report.tip)));
    }
    field(
        "Agent",
        match &report.agent {
            Some(agent) => format!("{agent}; {} turns taken{}", turns(report), spent(report)),
            None => "none: the base was judged, and that is all".to_owned(),
        },
    );
    field("Enforced", enforced(report));
    let nothing = if report.last_judged().is_none() { "nothing yet; " } else { "" };
    field(
        "Judged",
        format!(
            "{nothing}{} by dark-factory {}, threshold {}",
            plural(report.scenarios, "scenario"),
            report.version,
            show_score(report.threshold),
        ),
    );
    if let Some(best) = best(report) {
        field("Best", best);
    }
    lines.push(String::new());
    lines.extend(trajectory_table(&report.iterations));
    for (title, section) in [
        ("Regressions: satisfied before, and then no longer", regressions(report)),
        ("Not delivered", not_delivered(report)),
        ("Gate definitions that differ from the base's; look at them", changed_gates(report)),
        (
            "Kept from the agent, since an evaluation of the holdout stands in them",
            withheld(report),
        ),
        ("Not taken, and kept", not_taken(report)),
        ("Not satisfied in the last judgement", unsatisfied(report)),
    ] {
        if !section.is_empty() {
            lines.push(String::new());
            lines.push(format!("{title}:"));
            lines.extend(section.into_iter().map(|line| format!("  {line}")));
        }
    }
    if report.question.is_some() {
        lines.push(String::new());
        lines.push("The agent asks a person: `factory show --question`.".to_owned());
    }
    lines.extend(next(report));
    lines
}

/// Returns how long ago something was, as people say it.
pub fn ago(then: Timestamp, now: Timestamp) -> String {
    const MINUTE: u64 = 60;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;
    let seconds = now.since(then).as_secs();
    match seconds {
        0..5 => "just now".to_owned(),
        5..MINUTE => format!("{seconds} s ago"),
        MINUTE..HOUR => format!("{} min ago", seconds / MINUTE),
        HOUR..DAY => format!("{} h ago", seconds / HOUR),
        _ => format!("{} ago", plural(usize::try_from(seconds / DAY).unwrap_or(usize::MAX), "day")),
    }
}

/// Returns what the run is doing, or what it came to.
fn headline(report: &RunReport, process: Option<&str>) -> String {
    match (report.state, process) {
        (State::Active, Some(process)) => format!("active (process {process})"),
        (State::Active, None) => "active".to_owned(),
        (State::CutShort, _) => "cut short: its process was killed".to_owned(),
        _ => report.outcome.map_or_else(|| "ended".to_owned(), Outcome::headline),
    }
}

/// Returns why the run ended: the failure itself where the factory failed.
fn why(report: &RunReport) -> Option<&str> {
    report.failure.as_deref().or(report.reason.as_deref())
}

fn base(report: &RunReport) -> String {
    if report.base.is_empty() {
        return "the working tree".to_owned();
    }
    let commit = short(&report.base);
    match &report.base_branch {
        Some(branch) => format!("{branch} at {commit}"),
        None => format!("{commit} (no branch)"),
    }
}

fn turns(report: &RunReport) -> String {
    format!("{} of {}", report.turns_taken, report.max_iterations)
}

/// Returns what the turns cost, as far as the agent says; empty where it does not.
fn spent(report: &RunReport) -> String {
    let mut parts = Vec::new();
    if let Some(cost) = report.usage.cost_usd {
        parts.push(format!("${cost:.2}"));
    }
    if let (Some(input), Some(output)) = (report.usage.input_tokens, report.usage.output_tokens) {
        parts.push(format!("{input} tokens in, {output} out"));
    }
    let mut text = match parts.as_slice() {
        [] => String::new(),
        parts => format!("; by its own account {}", parts.join(", ")),
    };
    let turns = report.iterations.iter().filter_map(|iteration| iteration.turn.as_ref());
    if turns.map(|turn| turn.interrupted).sum::<u32>() > 0 {
        text.push_str("; what cut-short attempts cost is not known");
    }
    text
}

fn enforced(report: &RunReport) -> String {
    if report.agent.is_none() {
        return "nothing: no agent was started".to_owned();
    }
    if report.turns_taken == 0 {
        return format!("{}: no agent has been started yet", report.isolation);
    }
    format!("{}: {}", report.isolation, isolation(report.isolation))
}

/// Returns what a tier enforces.
pub fn isolation(tier: Tier) -> &'static str {
    match tier {
        Tier::Copy => {
            "the agent worked in a tree without the scenarios; what the same user can read elsewhere on the disk, it could"
        }
        Tier::Move => {
            "the scenarios were moved away while the agent worked in the checkout; this keeps honest agents honest"
        }
        Tier::Sandbox => "the agent worked in a tree without the scenarios, confined by the kernel",
    }
}

fn present_score(report: &RunReport) -> String {
    let wanted = show_score(report.threshold);
    match report.last_judged() {
        None => format!("nothing judged yet, threshold {wanted}"),
        Some(last) if last.result == IterationResult::GatesFailed => {
            format!("a gate failed, threshold {wanted}")
        }
        Some(last) => format!(
            "{}, threshold {wanted}; {} of {} satisfied",
            show_score(last.score),
            last.passed,
            last.total
        ),
    }
}

fn best(report: &RunReport) -> Option<String> {
    let best = report.best.as_ref()?;
    let what = match best.score {
        Some(score) => show_score(score),
        None => "a gate failed".to_owned(),
    };
    let place = if best.commit.is_empty() {
        "the working tree".to_owned()
    } else {
        short(&best.commit).to_owned()
    };
    let note = if best.better_than_base { "" } else { ", the base itself" };
    Some(format!("{what} in iteration {} ({place}{note})", best.iteration))
}

/// Returns the last iterations in a line.
fn trajectory(iterations: &[Iteration]) -> String {
    let skipped = iterations.len().saturating_sub(SHOWN);
    let mut parts: Vec<String> = iterations[skipped..].iter().map(token).collect();
    if skipped > 0 {
        parts.insert(0, format!("({skipped} before)"));
    }
    parts.join(" -> ")
}

fn token(iteration: &Iteration) -> String {
    match iteration.result {
        IterationResult::Judged => show_score(iteration.score),
        IterationResult::GatesFailed => "gate failed".to_owned(),
        IterationResult::Unchanged => "no change".to_owned(),
        IterationResult::Refused => "refused".to_owned(),
        IterationResult::Pending => "...".to_owned(),
    }
}

fn trajectory_table(iterations: &[Iteration]) -> Vec<String> {
    let mut cells =
        vec![["ITERATION", "SCORE", "SATISFIED", "TURN", "WHAT IT DID"].map(str::to_owned)];
    for iteration in iterations {
        let satisfied = match iteration.result {
            IterationResult::Judged => format!("{}/{}", iteration.passed, iteration.total),
            _ => String::new(),
        };
        cells.push([
            iteration.iteration.to_string(),
            token(iteration),
            satisfied,
            iteration.turn.as_ref().map_or_else(String::new, agent),
            what_it_did(iteration),
        ]);
    }
    table(&cells)
}

/// Returns how the agent's turn went: `2: done in 12 s`.
fn agent(turn: &TurnReport) -> String {
    let ended = match turn.ended.as_deref() {
        None => "at work".to_owned(),
        Some(class) => {
            let time = human(Duration::from_secs_f64(turn.seconds.max(0.0)));
            format!("{} in {time}", class.replace('_', " "))
        }
    };
    let cut = match turn.interrupted {
        0 => String::new(),
        count => format!(", {count} cut short"),
    };
    format!("{}: {ended}{cut}", turn.turn)
}

/// Returns whether what the turn brought was looked at.
fn taken(turn: &TurnReport) -> bool {
    turn.ended.as_deref().and_then(TurnClass::parse).is_some_and(TurnClass::delivers)
}

fn what_it_did(iteration: &Iteration) -> String {
    let mut parts = Vec::new();
    match &iteration.turn {
        None => parts.push("the base".to_owned()),
        Some(turn) => match iteration.result {
            IterationResult::Unchanged if taken(turn) => parts.push("changed nothing".to_owned()),
            IterationResult::Unchanged => parts.push("nothing of it was taken".to_owned()),
            IterationResult::Refused => parts.push("was refused as a whole".to_owned()),
            IterationResult::Pending if turn.delivery.is_none() => {}
            IterationResult::Judged | IterationResult::GatesFailed | IterationResult::Pending => {
                parts.push(format!("changed {}", plural(turn.files, "file")));
            }
        },
    }
    if let Some(turn) = &iteration.turn
        && turn.dropped > 0
    {
        parts.push(format!("{} dropped", turn.dropped));
    }
    if let Some(details) = &iteration.details {
        if let Some(why) = &details.refused {
            parts.push(one_line(why, WIDTH));
        }
        if !details.failed_gates.is_empty() {
            parts.push(format!("failed {}", listed(&details.failed_gates)));
        }
        if !details.regressions.is_empty() {
            parts.push(plural(details.regressions.len(), "regression"));
        }
    }
    if iteration.gates_changed {
        parts.push("gate definitions changed".to_owned());
    }
    parts.join(", ")
}

/// Returns a line for each iteration for which `of` finds something.
fn sections(report: &RunReport, of: impl Fn(&Iteration) -> Vec<String>) -> Vec<String> {
    report.iterations.iter().flat_map(of).collect()
}

fn regressions(report: &RunReport) -> Vec<String> {
    sections(report, |iteration| match &iteration.details {
        Some(details) if !details.regressions.is_empty() => {
            vec![format!("iteration {}: {}", iteration.iteration, listed(&details.regressions))]
        }
        _ => Vec::new(),
    })
}

fn not_delivered(report: &RunReport) -> Vec<String> {
    sections(report, |iteration| {
        let (Some(details), Some(turn)) = (&iteration.details, &iteration.turn) else {
            return Vec::new();
        };
        let turn = turn.turn;
        let mut lines = Vec::new();
        if let Some(why) = &details.refused {
            lines.push(format!("turn {turn}, refused as a whole: {}", one_line(why, SENTENCES)));
        }
        // Of each rule so many, so that a flood of one hides none of another.
        let mut shown: BTreeMap<Option<&str>, usize> = BTreeMap::new();
        let mut rest = 0;
        for dropped in &details.dropped {
            let count = shown.entry(dropped.class.as_deref()).or_default();
            *count += 1;
            if *count > LISTED {
                rest += 1;
                continue;
            }
            let (path, reason) = (visible(&dropped.name()), one_line(&dropped.reason, SENTENCES));
            lines.push(format!("turn {turn}, dropped `{path}`: {reason}"));
        }
        if rest > 0 {
            lines.push(format!("turn {turn}, {rest} more dropped"));
        }
        if !details.not_delivered.is_empty() {
            let paths = listed(&details.not_delivered);
            lines.push(format!("turn {turn}, new and ignored by git: {paths}"));
        }
        lines
    })
}

fn changed_gates(report: &RunReport) -> Vec<String> {
    // The last candidate's, and the best one's if that is another.
    let last = report.last_judged();
    let best = report.best.as_ref().map(|best| best.iteration);
    sections(report, |iteration| match &iteration.details {
        Some(details)
            if !details.changed_gate_files.is_empty()
                && (Some(iteration.iteration) == best
                    || last.is_some_and(|last| last.iteration == iteration.iteration)) =>
        {
            vec![format!(
                "iteration {}: {}",
                iteration.iteration,
                listed(&details.changed_gate_files)
            )]
        }
        _ => Vec::new(),
    })
}

fn withheld(report: &RunReport) -> Vec<String> {
    let mut paths: Vec<String> = sections(report, |iteration| {
        iteration.details.as_ref().map(|details| details.withheld.clone()).unwrap_or_default()
    });
    paths.sort();
    paths.dedup();
    if paths.is_empty() { Vec::new() } else { vec![listed(&paths)] }
}

fn not_taken(report: &RunReport) -> Vec<String> {
    sections(report, |iteration| {
        let (Some(details), Some(turn)) = (&iteration.details, &iteration.turn) else {
            return Vec::new();
        };
        let mut lines = Vec::new();
        for cut in &details.cut_short {
            let kept = match &cut.patch {
                Some(patch) => format!("its changes: {}", apply(report, patch)),
                None => "it had changed nothing".to_owned(),
            };
            let attempt = cut.attempt;
            let ended = match &cut.ended {
                Some(class) => class.replace('_', " "),
                None => "cut short, its cost unknown".to_owned(),
            };
            lines.push(format!("turn {}, attempt {attempt}: {ended}; {kept}", turn.turn));
        }
        if let Some(patch) = &details.patch {
            let what = if details.refused.is_some() {
                "refused; its changes".to_owned()
            } else if !details.dropped.is_empty() {
                "what was dropped".to_owned()
            } else {
                let class = turn.ended.as_deref().unwrap_or("unknown").replace('_', " ");
                format!("{class}; its changes")
            };
            let but = match details.patch_leaves_out {
                0 => String::new(),
                1 => " (but for 1 file)".to_owned(),
                count => format!(" (but for {} files)", text::show_count(count)),
            };
            let apply = apply(report, patch);
            lines.push(format!("turn {}: {what}: {apply}{but}", turn.turn));
        }
        lines
    })
}

/// Returns the command that applies a patch: below the root of its repository git passes over what lies elsewhere.
fn apply(report: &RunReport, patch: &str) -> String {
    let product = patch.rsplit_once("/artifacts/factory/runs/").map(|(product, _)| product);
    let top = product.and_then(|product| product.strip_suffix(&format!("/{}", report.product)));
    match top {
        Some(top) if !report.product.is_empty() => format!("git -C {top} apply {patch}"),
        _ => format!("git apply {patch}"),
    }
}

fn unsatisfied(report: &RunReport) -> Vec<String> {
    let last = report
        .iterations
        .iter()
        .rev()
        .find(|iteration| iteration.result == IterationResult::Judged);
    match last.and_then(|last| last.details.as_ref()) {
        Some(details) if !details.unsatisfied.is_empty() => {
            let ids = &details.unsatisfied;
            let mut lines: Vec<String> = ids.iter().take(LISTED).cloned().collect();
            if ids.len() > LISTED {
                lines.push(format!("and {} more", ids.len() - LISTED));
            }
            lines.push("`factory show --scenario ID` tells why".to_owned());
            lines
        }
        _ => Vec::new(),
    }
}

fn next(report: &RunReport) -> Vec<String> {
    let mut lines = vec![String::new(), "next:".to_owned()];
    lines.extend(next_lines(&report.next));
    lines
}

/// Returns a line for each step, the commands in a column.
pub fn next_lines(steps: &[NextStep]) -> Vec<String> {
    let width = steps.iter().map(|step| step.command.len()).max().unwrap_or(0);
    steps.iter().map(|step| format!("  {:width$}   {}", step.command, step.why)).collect()
}

fn listed(items: &[String]) -> String {
    text::listed(items, LISTED)
}

/// Returns the beginning of a commit's id.
pub(super) fn short(commit: &str) -> &str {
    commit.get(..10).unwrap_or(commit)
}

fn minute(time: Timestamp) -> String {
    let text = time.to_string();
    format!("{} UTC", text.get(..16).unwrap_or(&text).replace('T', " "))
}

/// Lays out cells in columns, two blanks between them.
fn table<const N: usize>(rows: &[[String; N]]) -> Vec<String> {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    rows.iter()
        .map(|row| {
            let cells: Vec<String> =
                row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
            cells.join("  ").trim_end().to_owned()
        })
        .collect()
}

/// What is shown of a scenario's verdicts.
pub struct ScenarioHistory<'a> {
    /// Its id.
    pub id: &'a str,
    /// Iteration, verdict, milliseconds; oldest first.
    pub verdicts: Vec<(u32, &'a str, u64)>,
}

/// Returns a line for each verdict of a scenario.
pub fn scenario_history(history: &ScenarioHistory<'_>) -> Vec<String> {
    let mut lines = vec![format!("scenario {}", history.id)];
    for (iteration, verdict, ms) in &history.verdicts {
        let time = human(Duration::from_millis(*ms));
        lines.push(format!("  iteration {iteration}: {verdict}, {time}"));
    }
    lines
}

/// Returns a text for a person with its first line first, or a placeholder as it is.
pub fn titled(title: &str, text: &str) -> Vec<String> {
    let mut lines = vec![format!("{title}:")];
    if first_line(text).is_empty() {
        lines.push("  (empty)".to_owned());
    }
    lines.extend(text.trim_end().lines().map(|line| format!("  {}", visible(line))));
    lines
}
