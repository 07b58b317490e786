//! What a check of a run's record found, for machines and for people.
//!
//! The published form is a contract of its own: fields may be added under the same version.

use serde::{Deserialize, Serialize};

use crate::id::RunId;
use crate::journal::{Check, Finding};
use crate::text::{plural, visible};

/// The version of these types.
pub const SCHEMA: u32 = 1;
/// How many failures people are shown; machines get all.
const SHOWN: usize = 20;

/// What was checked of a run, and what was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verification {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The run.
    pub run: RunId,
    /// Whether the record is what was written, as far as that can be known.
    pub holds: bool,
    /// How many events the journal has.
    pub events: usize,
    /// How many blobs they name.
    pub blobs: usize,
    /// How many commits they name.
    pub commits: usize,
    /// How many events the last commit with a good trailer holds.
    pub held: usize,
    /// How many events nothing outside the journal holds.
    pub not_held: usize,
    /// What was found, by line.
    pub findings: Vec<PublishedFinding>,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedFinding {
    /// What kind it is.
    pub code: String,
    /// Whether the record does not hold because of it; else it is something to know.
    pub fails: bool,
    /// The file, below the root of the product.
    pub file: String,
    /// The line in it, from 1; none where it is about no line.
    pub line: Option<usize>,
    /// What was found.
    pub message: String,
    /// What can be done; none where nothing is to be done.
    pub next: Option<String>,
}

impl Verification {
    /// Makes the published form; `dir` is the run's directory below the root of the product.
    pub fn of(run: &RunId, dir: &str, check: &Check) -> Self {
        Self {
            schema: SCHEMA,
            run: run.clone(),
            holds: check.holds(),
            events: check.events,
            blobs: check.blobs,
            commits: check.commits,
            held: check.held,
            not_held: check.events - check.held,
            findings: check.findings.iter().map(|finding| publish(run, dir, finding)).collect(),
        }
    }

    /// Returns the lines that people read: what was checked, what was found, whether it holds.
    pub fn lines(&self) -> Vec<String> {
        let counts = [(self.events, "event"), (self.blobs, "blob"), (self.commits, "commit")];
        let [events, blobs, commits] = counts.map(|(count, noun)| plural(count, noun));
        let mut lines = vec![format!("run {}: {events}, {blobs} and {commits} checked", self.run)];
        let (failures, notes): (Vec<_>, Vec<_>) =
            self.findings.iter().partition(|finding| finding.fails);
        lines.extend(failures.iter().take(SHOWN).map(|finding| show(finding)));
        if failures.len() > SHOWN {
            let more = failures.len() - SHOWN;
            lines
                .push(format!("... and {more} more; `factory verify {} --json` has all", self.run));
        }
        let (strays, notes): (Vec<_>, Vec<_>) =
            notes.into_iter().partition(|finding| finding.code == STRAY);
        lines.extend(notes.into_iter().map(|finding| format!("note: {}", show(finding))));
        if !strays.is_empty() {
            let files = plural(strays.len(), "file");
            lines.push(format!(
                "note: {files} in `blobs` that no event names: a kill can leave them"
            ));
        }
        lines.push(if self.holds {
            format!("it holds: {}", self.extent())
        } else {
            format!("it does not hold: {}", plural(failures.len(), "finding"))
        });
        lines
    }

    /// Says how much of it is held by more than itself.
    fn extent(&self) -> String {
        match (self.held, self.not_held) {
            (0, _) => "each event follows the one before; no commit holds them, so a journal that \
                       was rewritten as a whole would not be found out"
                .to_owned(),
            (held, after) => {
                let events = self.events;
                format!(
                    "commits hold the first {held} of {events} events; nothing outside the journal \
                     holds the last {after}"
                )
            }
        }
    }
}

const STRAY: &str = "stray_blob";

fn show(finding: &PublishedFinding) -> String {
    let line = finding.line.map(|line| format!(":{line}")).unwrap_or_default();
    let mut shown = format!("{}{line}: {}", finding.file, finding.message);
    if let Some(next) = &finding.next {
        shown.push_str(&format!("; {next}"));
    }
    visible(&shown)
}

fn publish(run: &RunId, dir: &str, finding: &Finding) -> PublishedFinding {
    let journal = format!("{dir}/events.jsonl");
    let restore = || Some("bring it back from a copy of the run's directory".to_owned());
    let distrust = || {
        Some(
            "compare it with a copy of the run's directory; without one, trust nothing of it"
                .to_owned(),
        )
    };
    let (code, file, next) = match finding {
        Finding::NotBegun => (
            "not_begun",
            journal,
            Some(format!("bring it back from a copy, or remove the run: `factory discard {run}`")),
        ),
        Finding::NotAnEvent { .. } => ("no_event", journal, distrust()),
        Finding::Broken { .. } => ("chain_broken", journal, distrust()),
        Finding::Number { .. } => ("wrong_number", journal, distrust()),
        Finding::OtherRun { .. } => ("other_run", journal, distrust()),
        Finding::Unfinished { .. } => ("unfinished_line", journal, None),
        Finding::BlobMissing { .. } => ("blob_missing", journal, restore()),
        Finding::BlobChanged { .. } => ("blob_changed", journal, restore()),
        Finding::BlobSize { .. } => ("blob_size", journal, distrust()),
        Finding::Stray { name } => (STRAY, format!("{dir}/blobs/{name}"), None),
        Finding::CommitMissing { .. } => (
            "commit_missing",
            journal,
            Some(
                "fetch it from where the branch was pushed, or look with `git fsck --lost-found`"
                    .to_owned(),
            ),
        ),
        Finding::CommitDamaged { .. } => (
            "commit_damaged",
            journal,
            Some("`git fsck` says more; fetch it from where the branch was pushed".to_owned()),
        ),
        Finding::NoTrailer { .. } => ("no_trailer", journal, None),
        Finding::Rewritten { .. } => ("rewritten", journal, distrust()),
        Finding::CommitNotNamed { .. } => ("commit_not_named", journal, distrust()),
    };
    PublishedFinding {
        code: code.to_owned(),
        fails: finding.is_failure(),
        file,
        line: finding.line(),
        message: finding.to_string(),
        next,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(held: usize, findings: Vec<Finding>) -> Verification {
        let run = RunId::parse("20261120-091500-00ff").unwrap();
        let dir = format!("artifacts/factory/runs/{run}");
        Verification::of(&run, &dir, &Check { events: 9, blobs: 1, commits: 2, held, findings })
    }

    fn said(held: usize, findings: Vec<Finding>) -> String {
        of(held, findings).lines().join("\n")
    }

    #[test]
    fn an_honest_record_is_said_to_hold_as_far_as_it_is_held() {
        insta::assert_snapshot!(said(7, Vec::new()));
        assert!(said(0, Vec::new()).contains("no commit holds them"));
    }

    #[test]
    fn each_failure_has_its_place_and_what_can_be_done() {
        let commit = "c0ffee0000".repeat(4);
        let stray = |name: &str| Finding::Stray { name: name.to_owned() };
        insta::assert_snapshot!(said(
            0,
            vec![
                Finding::Broken { line: 4 },
                Finding::CommitMissing { line: 5, commit: commit.clone() },
                Finding::Unfinished { line: 10 },
                stray(".a.tmp"),
                stray(".b.tmp"),
                Finding::CommitNotNamed { commit },
            ]
        ));
    }

    #[test]
    fn people_are_not_shown_a_thousand_failures() {
        let all = of(0, (1..=1000).map(|line| Finding::Broken { line }).collect());
        assert_eq!((all.findings.len(), all.lines().len()), (1000, SHOWN + 3));
        assert!(all.lines()[SHOWN + 1].contains("980 more"), "{:?}", all.lines());
    }
}
