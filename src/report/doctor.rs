//! What `factory doctor` found, for machines and for people.
//!
//! The published form is a contract of its own: fields may be added under the same version.

use serde::{Deserialize, Serialize};

use crate::text::visible;

/// The version of these types.
pub const SCHEMA: u32 = 1;

/// What was found, in the order in which it was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Examination {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Whether a run can be expected to begin and to go through.
    pub fit: bool,
    /// One for each thing that was looked at.
    pub checks: Vec<Check>,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What it is; the same each time.
    pub name: String,
    /// What is to be thought of it.
    pub mark: Mark,
    /// What was found. Never a secret.
    pub found: String,
    /// What to do about it; none where nothing is to be done.
    pub next: Option<String>,
}

/// What is to be thought of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mark {
    /// As it should be.
    Ok,
    /// A run may do without it.
    Warn,
    /// A run would fail by it.
    Fail,
    /// It was not looked at, since something that it needs is missing.
    Skipped,
}

impl Mark {
    /// Returns the word that people are shown.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "FAIL",
            Self::Skipped => "skip",
        }
    }

    fn color(self) -> &'static str {
        match self {
            Self::Ok => "\u{1b}[32m",
            Self::Warn => "\u{1b}[33m",
            Self::Fail => "\u{1b}[1;31m",
            Self::Skipped => "\u{1b}[2m",
        }
    }
}

impl Examination {
    /// Makes one of these checks.
    pub fn of(checks: Vec<Check>) -> Self {
        let fit = checks.iter().all(|check| check.mark != Mark::Fail);
        Self { schema: SCHEMA, fit, checks }
    }

    /// Returns the lines that people are shown, with colours if `styled`.
    pub fn lines(&self, styled: bool) -> Vec<String> {
        let mut lines = lines(&self.checks.iter().collect::<Vec<_>>(), styled);
        let count = |mark| self.checks.iter().filter(|check| check.mark == mark).count();
        lines.push(match (count(Mark::Fail), count(Mark::Warn)) {
            (0, 0) => "A run can begin.".to_owned(),
            (0, warned) => format!("A run can begin; {warned} to look at."),
            (failed, _) => format!("A run would fail: {failed} to put right."),
        });
        lines
    }

    /// Returns the lines of what a run would fail by, without a sum; empty where there is nothing.
    pub fn failures(&self, styled: bool) -> Vec<String> {
        let failed = self.checks.iter().filter(|check| check.mark == Mark::Fail);
        lines(&failed.collect::<Vec<_>>(), styled)
    }
}

fn lines(checks: &[&Check], styled: bool) -> Vec<String> {
    let width = checks.iter().map(|check| check.name.chars().count()).max().unwrap_or(0);
    let mut lines = Vec::new();
    for check in checks {
        let (on, off) = if styled { (check.mark.color(), "\u{1b}[0m") } else { ("", "") };
        let (word, name) = (check.mark.word(), &check.name);
        lines.push(format!("{on}{word:<4}{off}  {name:<width$}  {}", visible(&check.found)));
        if let Some(next) = &check.next {
            lines.push(format!("      {:<width$}  -> {}", "", visible(next)));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, mark: Mark, next: Option<&str>) -> Check {
        let next = next.map(str::to_owned);
        Check { name: name.to_owned(), mark, found: "found".to_owned(), next }
    }

    #[test]
    fn each_check_is_a_line_and_says_what_to_do() {
        let checks = vec![
            check("git", Mark::Ok, None),
            check("login", Mark::Fail, Some("factory login codex")),
        ];
        let found = Examination::of(checks);
        assert_eq!(
            found.lines(false),
            [
                "ok    git    found",
                "FAIL  login  found",
                "             -> factory login codex",
                "A run would fail: 1 to put right."
            ]
        );
        assert!(!found.fit);
    }

    #[test]
    fn a_warning_keeps_no_run_from_beginning() {
        let found = Examination::of(vec![check("disk", Mark::Warn, None)]);
        assert!(found.fit);
        assert_eq!(found.lines(false)[1], "A run can begin; 1 to look at.");
    }

    #[test]
    fn machines_get_the_same() {
        let found = Examination::of(vec![check("disk", Mark::Skipped, None)]);
        let json = serde_json::to_value(&found).unwrap();
        assert_eq!((&json["schema"], &json["checks"][0]["mark"]), (&1.into(), &"skipped".into()));
    }
}
