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

    /// Takes the result of a scenario as a line of JSON, which is dear to make twice.
    pub fn add(&mut self, id: &ScenarioId, line: &[u8]) {
        if let Some(spool) = &mut self.spool {
            // It stands in the array of an object.
            spool.add(id, &on_lines(line, 2));
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
        self.add(&judged.id, &ScenarioResult::of(judged).to_line());
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

    fn line(&mut self, line: &[u8]) {
        self.lines.raw(line);
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
        self.line(&ScenarioResult::of(judged).to_line());
    }

    fn finished(&mut self, finished: &Finished<'_>) {
        let mut sum =
            serde_json::to_value(head(finished, self.begun)).expect("text and numbers are JSON");
        if let Some(fields) = sum.as_object_mut() {
            fields.shift_remove("results");
        }
        let mut line = serde_json::to_vec(&sum).expect("text and numbers are JSON");
        line.push(b'\n');
        self.line(&line);
    }

    fn close(self: Box<Self>) -> Result<(), WriteError> {
        self.lines.close()
    }
}

/// Returns JSON that stands on one line as lines, two blanks before each for every level of those around
/// it, which are `depth`, and of its own, without a line feed at the end: as `serde_json` writes it for people.
fn on_lines(json: &[u8], depth: usize) -> Vec<u8> {
    fn indent(lines: &mut Vec<u8>, depth: usize) {
        lines.resize(lines.len() + 2 * depth, b' ');
    }
    fn new_line(lines: &mut Vec<u8>, depth: usize) {
        lines.push(b'\n');
        indent(lines, depth);
    }
    let json = json.trim_ascii();
    let mut lines = Vec::with_capacity(json.len() + json.len() / 2 + 200);
    indent(&mut lines, depth);
    let mut depth = depth;
    let (mut in_text, mut escaped) = (false, false);
    for (at, byte) in json.iter().enumerate() {
        if in_text {
            lines.push(*byte);
            in_text = escaped || *byte != b'"';
            escaped = !escaped && *byte == b'\\';
            continue;
        }
        match byte {
            b'{' | b'[' => {
                lines.push(*byte);
                depth += 1;
                if !matches!(json.get(at + 1), Some(b'}' | b']')) {
                    new_line(&mut lines, depth);
                }
            }
            b'}' | b']' => {
                depth -= 1;
                if !matches!(json[at - 1], b'{' | b'[') {
                    new_line(&mut lines, depth);
                }
                lines.push(*byte);
            }
            b',' => {
                lines.push(*byte);
                new_line(&mut lines, depth);
            }
            b':' => lines.extend_from_slice(b": "),
            _ => {
                lines.push(*byte);
                in_text = *byte == b'"';
            }
        }
    }
    lines
}

/// Returns the results without those of the scenarios.
fn head(finished: &Finished<'_>, (jobs, seed): (Option<usize>, Option<u64>)) -> Results {
    Results { jobs, seed, ..Results::new(finished.timestamp, &[], finished.sum, false) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::super::testing::{Told, all, told};
    use super::*;

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "[ -~\n\té]{0,9}".prop_map(Value::from),
        ];
        leaf.prop_recursive(5, 40, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::vec(("[ -~]{0,9}", inner), 0..5)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn json_on_lines_is_that_which_serde_writes(value in any_json(), depth in 0..20_usize) {
            let line = serde_json::to_string(&value).unwrap();
            let pretty = serde_json::to_string_pretty(&value).unwrap();
            let blanks = "  ".repeat(depth);
            let expected = format!("{blanks}{}", pretty.replace('\n', &format!("\n{blanks}")));
            prop_assert_eq!(String::from_utf8(on_lines(line.as_bytes(), depth)).unwrap(), expected);
        }
    }

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
