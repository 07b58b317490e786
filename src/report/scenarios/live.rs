//! The live display on a terminal: counts, an estimate, and what is running for how long.
//!
//! It is drawn when the judge ticks and when something was judged, and is gone at the end.

use std::collections::BTreeMap;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::clock::{Instant, human};
use crate::id::ScenarioId;
use crate::text::one_line;

use super::styles::{BOLD, DIM, GREEN, RED, RESET, YELLOW};

/// How many running scenarios have a line.
const RUNNING: usize = 8;
/// How often the terminal is written to, at most, in a second.
const HERTZ: u8 = 20;
/// With fewer columns there are counts and nothing else.
const NARROW: usize = 30;
/// How wide a terminal is that doesn't say so.
const COLUMNS: usize = 80;

/// A few lines at the bottom of the terminal.
#[derive(Debug)]
pub(super) struct Live {
    bar: ProgressBar,
}

impl Live {
    /// Begins on standard error.
    pub(super) fn begin() -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(HERTZ));
        if let Ok(style) = ProgressStyle::with_template("{msg}") {
            bar.set_style(style);
        }
        Self { bar }
    }

    /// Shows a picture, cut to the terminal as it is now.
    pub(super) fn show(&self, picture: &Picture) {
        let size = rustix::termios::tcgetwinsize(std::io::stderr()).ok();
        let columns = size.map_or(0, |size| usize::from(size.ws_col));
        let rows = size.map_or(0, |size| usize::from(size.ws_row));
        let columns = if columns == 0 { COLUMNS } else { columns };
        // Never as high as the terminal: what scrolls away can't be cleared.
        let most = if rows == 0 { RUNNING } else { rows.saturating_sub(3).clamp(1, RUNNING) };
        self.bar.set_message(picture.lines(columns, most).join("\n"));
    }

    /// Writes something else while the display is away.
    pub(super) fn suspend(&self, write: impl FnOnce()) {
        self.bar.suspend(write);
    }

    /// Takes the display away.
    pub(super) fn end(self) {
        self.bar.finish_and_clear();
    }
}

/// What the live display tells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Picture {
    pub(super) total: usize,
    pub(super) passed: usize,
    pub(super) failed: usize,
    /// Neither the one nor the other.
    pub(super) others: usize,
    pub(super) left: Option<Duration>,
    /// Name, time so far, and whether that is slow; the oldest first.
    pub(super) running: Vec<(String, Duration, bool)>,
}

impl Picture {
    /// Returns the lines, none wider than `columns`, with at most `most` running scenarios.
    fn lines(&self, columns: usize, most: usize) -> Vec<String> {
        let done = self.passed + self.failed + self.others;
        let mut parts = vec![(BOLD, format!("{done}/{}", self.total))];
        parts.push((GREEN, format!("{} passed", self.passed)));
        if self.failed > 0 {
            parts.push((RED, format!("{} failed", self.failed)));
        }
        if self.others > 0 {
            parts.push((YELLOW, format!("{} skipped or undecided", self.others)));
        }
        if let Some(left) = self.left {
            parts.push((DIM, format!("about {} left", human(rounded(left)))));
        }
        let mut room = columns.saturating_sub(1);
        let mut head = String::new();
        for (at, (style, part)) in parts.into_iter().enumerate() {
            let gap = if at == 0 { "" } else { "  " };
            if width(&part) + gap.len() > room {
                break;
            }
            room -= width(&part) + gap.len();
            head.push_str(&format!("{gap}{style}{part}{RESET}"));
        }
        let mut lines = vec![head];
        if columns < NARROW {
            return lines;
        }
        for (name, time, slow) in self.running.iter().take(most) {
            let time = format!("{:>8.1}s", time.as_secs_f64());
            let (style, mark) = if *slow { (YELLOW, "  SLOW") } else { ("", "") };
            let name = fit(name, columns.saturating_sub(1 + time.len() + mark.len() + 2));
            lines.push(format!("{style}{time}{mark}{RESET}  {name}"));
        }
        if self.running.len() > most {
            lines.push(format!("  and {} more", self.running.len() - most));
        }
        lines
    }
}

/// Returns about how long the rest takes: of `rest` the time expected of each scenario that is not
/// done, `running` those that run and for how long; none where nothing is known.
pub(super) fn time_left(
    rest: &BTreeMap<ScenarioId, Duration>,
    running: &BTreeMap<ScenarioId, Instant>,
    jobs: usize,
) -> Option<Duration> {
    if rest.is_empty() {
        return None;
    }
    let left = |(id, expected): (&ScenarioId, &Duration)| {
        running.get(id).map_or(*expected, |begun| begun.left(*expected))
    };
    let sum: Duration = rest.iter().map(left).sum();
    let longest = rest.iter().map(left).max().unwrap_or_default();
    let jobs = u32::try_from(jobs.max(1)).unwrap_or(1);
    Some((sum / jobs).max(longest))
}

/// Returns whole seconds, and from two minutes on whole quarters, so that it does not tremble.
fn rounded(left: Duration) -> Duration {
    let seconds = left.as_secs() + 1;
    Duration::from_secs(if seconds < 120 { seconds } else { seconds / 15 * 15 })
}

/// Returns the columns that a text may take; a wide character counts twice, and to be sure every
/// one that is no ASCII.
fn width(text: &str) -> usize {
    text.chars().map(|c| if c.is_ascii() { 1 } else { 2 }).sum()
}

/// Returns a text as one line of at most `columns`.
fn fit(text: &str, columns: usize) -> String {
    let mut text = one_line(text, columns);
    while width(&text) > columns {
        text.pop();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(picture: &Picture, columns: usize, most: usize) -> Vec<String> {
        let lines = picture.lines(columns, most);
        lines.iter().map(|line| anstream::adapter::strip_str(line).to_string()).collect()
    }

    fn picture() -> Picture {
        Picture {
            total: 90,
            passed: 10,
            failed: 2,
            others: 1,
            left: Some(Duration::from_secs(65)),
            running: vec![
                ("Upload".into(), Duration::from_secs(75), true),
                ("Log\u{1b}[2J in\n".into(), Duration::from_millis(1_250), false),
                ("日本語の長い名前".repeat(9), Duration::ZERO, false),
            ],
        }
    }

    #[test]
    fn it_tells_counts_the_rest_and_what_runs() {
        let lines = plain(&picture(), 90, 2);
        assert_eq!(
            lines,
            [
                "13/90  10 passed  2 failed  1 skipped or undecided  about 1 min 6 s left",
                "    75.0s  SLOW  Upload",
                "     1.2s  Log\\u{1b}[2J in",
                "  and 1 more",
            ]
        );
    }

    #[test]
    fn however_narrow_the_terminal_no_line_is_wider() {
        for columns in 1..120 {
            for line in plain(&picture(), columns, 8) {
                assert!(width(&line) < columns, "{columns}: {line:?}");
                assert!(!line.contains(char::is_control), "{line:?}");
            }
        }
    }

    #[test]
    fn the_rest_is_shared_by_the_jobs_and_no_shorter_than_its_longest() {
        let id = |text: &str| ScenarioId::parse(text).unwrap();
        let seconds = |n| Duration::from_secs(n);
        let rest: BTreeMap<_, _> = [(id("a"), seconds(10)), (id("b"), seconds(2))].into();
        let none = BTreeMap::new();
        assert_eq!(time_left(&rest, &none, 1), Some(seconds(12)));
        assert_eq!(time_left(&rest, &none, 4), Some(seconds(10)));
        assert_eq!(time_left(&BTreeMap::new(), &none, 4), None);
    }
}
