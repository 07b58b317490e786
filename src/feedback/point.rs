//! One point of the trajectory, and the line of a feedback file that keeps it.

use serde::{Deserialize, Serialize};

/// What one iteration came to.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Its number.
    pub iteration: u32,
    /// The score; none where nothing was judged.
    pub score: Option<f64>,
    /// How many scenarios were satisfied.
    pub passed: usize,
    /// How many scenarios there were.
    pub total: usize,
    /// Whether every gate passed.
    pub gates_passed: bool,
    /// How many gates there were; none where that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gates: Option<usize>,
    /// What else is to be said: `base`, `no change`, `refused`; empty when nothing is.
    pub note: String,
}

#[derive(Serialize, Deserialize)]
struct Line {
    schema: u32,
    #[serde(flatten)]
    point: Point,
}

const SCHEMA: u32 = 1;
const OPEN: &str = "<!-- dark-factory-feedback: ";
const CLOSE: &str = " -->";

/// Returns the first line of a feedback file, without line feed; the score with six decimals.
pub(super) fn write_point(point: &Point) -> String {
    let mut point = point.clone();
    // As many decimals as every reader of JSON brings back unchanged.
    point.score = point.score.map(|score| (score * 1e6).round() / 1e6);
    let line = Line { schema: SCHEMA, point };
    let json = serde_json::to_string(&line).unwrap_or_default();
    // No `-->` may stand in the comment but its own.
    format!("{OPEN}{}{CLOSE}", json.replace('>', "\\u003e"))
}

/// Returns the point that the first line of a feedback file keeps; none where it keeps none, or
/// one of another schema.
pub fn read_point(markdown: &str) -> Option<Point> {
    let json = markdown.lines().next()?.trim_end().strip_prefix(OPEN)?.strip_suffix(CLOSE)?;
    let line: Line = serde_json::from_str(json).ok()?;
    (line.schema == SCHEMA).then_some(line.point)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_line_is_a_comment_that_machines_read() {
        let point = Point {
            iteration: 3,
            score: Some(0.5),
            passed: 4,
            total: 8,
            gates_passed: true,
            gates: None,
            note: String::new(),
        };
        assert_eq!(
            write_point(&point),
            "<!-- dark-factory-feedback: {\"schema\":1,\"iteration\":3,\"score\":0.5,\"passed\":4,\
             \"total\":8,\"gates_passed\":true,\"note\":\"\"} -->"
        );
    }

    #[test]
    fn a_file_of_another_hand_has_no_point() {
        for text in ["", "# Feedback, iteration 3\n", "<!-- dark-factory-feedback: {} -->"] {
            assert_eq!(read_point(text), None, "{text}");
        }
        let next = write_point(&Point::default()).replace("\"schema\":1", "\"schema\":2");
        assert_eq!(read_point(&next), None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            iteration in any::<u32>(),
            score in proptest::option::of((0..=1_000_000).prop_map(|n| f64::from(n) / 1e6)),
            passed in 0..500_usize,
            gates_passed in any::<bool>(),
            gates in proptest::option::of(0..9_usize),
            note in ".*",
        ) {
            let total = passed + 1;
            let point = Point { iteration, score, passed, total, gates_passed, gates, note };
            let text = format!("{}\n# Feedback\n", write_point(&point));
            prop_assert_eq!(text.matches("-->").count(), 1);
            prop_assert_eq!(read_point(&text), Some(point));
        }
    }
}
