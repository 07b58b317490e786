//! The results as machines read them: one object at the end (`json`), or a line for each scenario
//! as it is finished (`jsonl`).
//!
//! Neither keeps an output in memory.

use std::io::Write as _;
use std::path::Path;

use crate::id::ScenarioId;
use crate::report::WriteError;
use crate::report::results::{Results, ScenarioResult};
use crate::verdict::Judged;

use super::spool::Spool;
use super::target::{Lines, Target};
use super::{Begun, Finished, JudgementReporter};

/// Writes the bytes of the results file.
#[derive(Debug)]
pub struct JsonReporter<'a> {
    target: Option<Target<'a>>,
    spool: Option<Spool>,
    begun: (Option<usize>, Option<u64>),
    result: Result<(), WriteError>,
}

impl<'a> JsonReporter<'a> {
    /// Returns a reporter that keeps what it has so far in a file without name in `scratch`.
    pub fn new(target: Target<'a>, scratch: &Path) -> Self {
        Self {
            target: Some(target),
            spool: Some(Spool::begin(scratch)),
            begun: (None, None),
            result: Ok(()),
        }
    }

    /// Takes the result of a scenario as JSON, which is dear to make twice.
    pub fn add(&mut self, id: &ScenarioId, json: &str) {
        if let Some(spool) = &mut self.spool {
            // Two levels deep; no text in JSON holds a line feed of its own.
            let piece = format!("    {}", json.replace('\n', "\n    "));
            spool.add(id, piece.as_bytes());
        }
    }
}

impl JudgementReporter for JsonReporter<'_> {
    fn begun(&mut self, begun: &Begun<'_>) {
        self.begun = (Some(begun.jobs), begun.seed);
        if let Some(spool) = &mut self.spool {
            spool.order(begun.entries);
        }
    }

    fn judged(&mut self, judged: &Judged) {
        self.add(&judged.id, &ScenarioResult::of(judged).to_json());
    }

    fn finished(&mut self, finished: &Finished<'_>) {
        let (Some(target), Some(spool)) = (self.target.take(), self.spool.take()) else { return };
        let head = head(finished, self.begun).to_json();
        let (head, end) = head.split_at(head.len() - b"]\n}\n".len());
        let is_empty = finished.sum.total == 0;
        self.result = target.write(|to| {
            to.write_all(head)?;
            if is_empty {
                return to.write_all(end);
            }
            to.write_all(b"\n")?;
            spool.copy_to(to, b",\n")?;
            to.write_all(b"\n  ")?;
            to.write_all(end)
        });
    }

    fn close(self: Box<Self>) -> Result<(), WriteError> {
        self.result
    }
}

/// Writes a line for each scenario once it is judged, and one with the sum.
#[derive(Debug)]
pub struct JsonlReporter<'a> {
    lines: Lines<'a>,
    begun: (Option<usize>, Option<u64>),
}

impl<'a> JsonlReporter<'a> {
    /// Returns a reporter; a file at the target is emptied at once.
    pub fn new(target: Target<'a>) -> Self {
        Self { lines: Lines::open(target), begun: (None, None) }
    }

    fn line(&mut self, value: &impl serde::Serialize) {
        let mut line = serde_json::to_vec(value).expect("text and numbers are JSON");
        line.push(b'\n');
        self.lines.raw(&line);
        if let Some(output) = self.lines.output() {
            // Failures are remembered.
            let _ = output.flush();
        }
    }
}

impl JudgementReporter for JsonlReporter<'_> {
    fn begun(&mut self, begun: &Begun<'_>) {
        self.begun = (Some(begun.jobs), begun.seed);
    }

    fn judged(&mut self, judged: &Judged) {
        self.line(&ScenarioResult::of(judged));
    }

    fn finished(&mut self, finished: &Finished<'_>) {
        let mut sum =
            serde_json::to_value(head(finished, self.begun)).expect("text and numbers are JSON");
        if let Some(fields) = sum.as_object_mut() {
            fields.shift_remove("results");
        }
        self.line(&sum);
    }

    fn close(self: Box<Self>) -> Result<(), WriteError> {
        self.lines.close()
    }
}

/// Returns the results without those of the scenarios.
fn head(finished: &Finished<'_>, (jobs, seed): (Option<usize>, Option<u64>)) -> Results {
    Results { jobs, seed, ..Results::new(finished.timestamp, &[], finished.sum, false) }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Told, all, told};
    use super::*;

    #[test]
    fn the_object_has_the_bytes_of_the_results_file() {
        for judged in [all(), Vec::new()] {
            let Told { text, results, .. } =
                told(&judged, |target, dir| Box::new(JsonReporter::new(target, dir)));
            assert_eq!(text, String::from_utf8(results.to_json()).unwrap());
        }
    }

    #[test]
    fn a_line_a_scenario_comes_as_it_is_judged_and_the_sum_last() {
        let judged = all();
        let Told { text, results, .. } =
            told(&judged, |target, _| Box::new(JsonlReporter::new(target)));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), judged.len() + 1);
        // As they came, and not as they stand in the file.
        let last: ScenarioResult = serde_json::from_str(lines[0]).unwrap();
        assert_eq!(Some(&last), results.results.last());
        let sum: Results = serde_json::from_str(lines[judged.len()]).unwrap();
        assert_eq!(sum, Results { results: Vec::new(), ..results });
    }

    #[test]
    fn a_file_that_cannot_be_made_is_named_at_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let report = Box::new(JsonlReporter::new(Target::File(dir.path().to_owned())));
        let error = report.close().unwrap_err();
        assert_eq!(error.path, dir.path());
    }
}
