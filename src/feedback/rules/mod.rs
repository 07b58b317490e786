//! Likely root causes: each rule is a file that knows one kind of failure, and a line in
//! `registry.rs`.
//!
//! A rule reads what a gate or scenario wrote, as it was written, and says what it recognises; of
//! what is the holdout's in that it tells nothing. It does not decide what the agent is told;
//! `compile` does, within the disclosure level.

mod registry;

mod assertion;
mod command_not_found;
mod crash;
mod gate_failure;
mod missing_file;
mod missing_module;
mod permission_denied;
mod port_in_use;
mod timeout;

use std::ops::Range;
use std::time::Duration;

use regex::{Captures, Match, Regex};

use crate::verdict::{GateStatus, Miss};

use super::markdown::code;
use super::mask::with_marks;
use crate::text::visible;

pub use registry::RULES;

/// One kind of failure that the factory recognises.
pub trait Rule: Sync {
    /// Names the rule, for ever: `missing-module`.
    fn id(&self) -> &'static str;

    /// Says the kind of failure, as a heading.
    fn heading(&self) -> &'static str;

    /// Looks for the failure in one piece of evidence.
    fn find(&self, evidence: &Evidence<'_>) -> Option<Cause>;

    /// Returns whether the rule speaks only where no rule before it recognised anything.
    fn is_fallback(&self) -> bool {
        false
    }
}

/// What one failed gate or scenario left behind.
#[derive(Debug, Clone, Copy)]
pub struct Evidence<'a> {
    /// The gate's or the scenario's name.
    pub name: &'a str,
    /// Whether it is a gate.
    pub is_gate: bool,
    /// How it failed.
    pub end: End<'a>,
    /// What it wrote; stdout before stderr where they were kept apart.
    pub text: &'a str,
    /// Where the holdout's text stands in it: ranges of bytes, sorted and apart.
    pub hidden: &'a [Range<usize>],
}

impl<'a> Evidence<'a> {
    /// Returns each match of `pattern`, without those that quote the holdout from end to end: they
    /// are no failure, but talk of one.
    fn matches<'e>(&'e self, pattern: &'e Regex) -> impl Iterator<Item = Captures<'a>> + 'e {
        pattern.captures_iter(self.text).filter(|captures| {
            captures.get(0).is_some_and(|all| {
                let letters = all.as_str().char_indices().filter(|(_, c)| c.is_alphanumeric());
                let mut places = letters.map(|(at, _)| all.start() + at);
                places.any(|at| !self.hidden.iter().any(|range| range.contains(&at)))
            })
        })
    }

    /// Returns a part of the text as code, what is the holdout's in it masked.
    fn told(&self, part: Match<'_>) -> String {
        code(&self.plainly(part))
    }

    fn plainly(&self, part: Match<'_>) -> String {
        visible(with_marks(self.text, part.range(), self.hidden).trim())
    }

    /// Returns the first group that took part in the first match of the first pattern that matches.
    fn first_group(&self, patterns: &[Regex]) -> Option<Match<'a>> {
        patterns.iter().find_map(|pattern| {
            let captures = self.matches(pattern).next()?;
            captures.iter().skip(1).flatten().next()
        })
    }
}

/// How a gate or scenario failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End<'a> {
    /// Another exit code than 0.
    Exit(i32),
    /// A signal.
    Signal(i32),
    /// The time limit.
    Timeout(Duration),
    /// The make target is gone.
    TargetGone(&'a str),
    /// It never ran.
    NotRun,
}

impl<'a> End<'a> {
    /// Returns how a gate failed; none where it passed.
    pub fn of_gate(status: &'a GateStatus) -> Option<Self> {
        Some(match status {
            GateStatus::Passed => return None,
            GateStatus::Failed { code } => Self::Exit(*code),
            GateStatus::Signalled { signal } => Self::Signal(*signal),
            GateStatus::TimedOut { limit } => Self::Timeout(*limit),
            GateStatus::TargetGone { target } => Self::TargetGone(target),
            GateStatus::CouldNotStart { .. } | GateStatus::Interrupted => Self::NotRun,
        })
    }

    /// Returns how a scenario failed, by the first reason.
    pub fn of_misses(because: &[Miss]) -> Self {
        match because.first() {
            Some(Miss::Exit { code }) => Self::Exit(*code),
            Some(Miss::Signal { signal }) => Self::Signal(*signal),
            Some(Miss::Timeout { limit }) => Self::Timeout(*limit),
            Some(Miss::Criterion(_)) => Self::Exit(0),
            Some(Miss::Invalid { .. } | Miss::PreconditionLost { .. } | Miss::Fixture { .. })
            | None => Self::NotRun,
        }
    }
}

/// A likely root cause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// The id of the rule that recognised it.
    pub rule: &'static str,
    /// What it is about, on one line: ``module `taskli.store` ``.
    pub detail: String,
    /// The gates and scenarios that it explains, in the order in which they were judged.
    pub seen_in: Vec<String>,
    /// What to do about it.
    pub advice: String,
}

impl Cause {
    fn new(
        rule: &dyn Rule,
        evidence: &Evidence<'_>,
        detail: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self {
            rule: rule.id(),
            detail: detail.into(),
            seen_in: vec![evidence.name.to_owned()],
            advice: advice.into(),
        }
    }
}

/// Returns what the rules recognise in one piece of evidence, in the order of the registry.
pub fn causes_of(evidence: &Evidence<'_>) -> Vec<Cause> {
    let mut causes: Vec<Cause> = Vec::new();
    for rule in RULES {
        if causes.is_empty() || !rule.is_fallback() {
            causes.extend(rule.find(evidence));
        }
    }
    causes
}

/// Returns the causes of all the evidence, equal ones merged; those that explain most come first,
/// then the order of the registry, then that of the evidence.
pub fn root_causes(evidence: &[Evidence<'_>]) -> Vec<Cause> {
    let mut merged: Vec<Cause> = Vec::new();
    for cause in evidence.iter().flat_map(causes_of) {
        match merged.iter_mut().find(|m| m.rule == cause.rule && m.detail == cause.detail) {
            Some(known) => known.seen_in.extend(cause.seen_in),
            None => merged.push(cause),
        }
    }
    merged.sort_by_key(|cause| {
        (std::cmp::Reverse(cause.seen_in.len()), RULES.iter().position(|r| r.id() == cause.rule))
    });
    merged
}

/// Returns the heading of the rule `id`; empty where there is none.
pub fn heading(id: &str) -> &'static str {
    RULES.iter().find(|rule| rule.id() == id).map_or("", |rule| rule.heading())
}

/// Compiles a pattern of this module; multi-line, so that `^` and `$` mean a line's.
fn pattern(source: &str) -> Regex {
    Regex::new(&format!("(?m){source}")).expect("a pattern written here is valid")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn evidence<'a>(name: &'a str, text: &'a str) -> Evidence<'a> {
        Evidence { name, is_gate: false, end: End::Exit(1), text, hidden: &[] }
    }

    /// Asserts what `rule` makes of `text` after exit code 1; an empty detail means nothing.
    #[track_caller]
    pub(super) fn check(rule: &dyn Rule, text: &str, detail: &str) {
        check_end(rule, End::Exit(1), text, detail);
    }

    /// Asserts what `rule` makes of an ending and `text`; an empty detail means nothing.
    #[track_caller]
    pub(super) fn check_end(rule: &dyn Rule, end: End<'_>, text: &str, detail: &str) {
        let found = rule.find(&Evidence { end, ..evidence("it", text) });
        assert_eq!(found.map(|cause| cause.detail).unwrap_or_default(), detail, "{text}");
    }

    #[test]
    fn ids_are_unique() {
        let ids: BTreeSet<_> = RULES.iter().map(|rule| rule.id()).collect();
        assert_eq!(ids.len(), RULES.len());
    }

    /// Returns the details of what is recognised in `text` where each of `parts` is the holdout's.
    fn details(text: &str, parts: &[&str]) -> Vec<String> {
        let place = |part: &&str| text.find(*part).map(|at| at..at + part.len()).unwrap();
        let hidden: Vec<_> = parts.iter().map(place).collect();
        causes_of(&Evidence { hidden: &hidden, ..evidence("it", text) })
            .into_iter()
            .map(|cause| cause.detail)
            .collect()
    }

    #[test]
    fn what_is_the_holdouts_is_not_told_and_hides_no_cause() {
        let python = "ModuleNotFoundError: No module named 'taskli.store'\n";
        assert_eq!(details(python, &["ModuleNotFoundError"]), ["module `taskli.store`"]);
        assert_eq!(details(python, &["taskli.store"]), ["module `[masked]`"]);
        let bash = "bash: line 3: ./taskli: No such file or directory\n";
        assert_eq!(details(bash, &["No such file or directory"]), ["file `./taskli`"]);
        let crash = "Traceback (most recent call last):\n  File \"./a.py\", line 3, in f\n    \
                     g()\nKeyError: 'a secret'\n";
        assert_eq!(details(crash, &["a secret"]), ["`KeyError: '[masked]'` at `./a.py:3`"]);
        let node = "Error: boom\n    at Object.<anonymous> (./a.js:1:7)\n";
        assert_eq!(details(node, &["Error: boom"]), ["`[masked]` at `./a.js:1`"]);
        let rust = "thread 'main' panicked at src/a.rs:9:5:\nno secret\n";
        assert_eq!(details(rust, &["secret"]), ["`no [masked]` at `src/a.rs:9`"]);
        let go = "panic: no secret\n\ngoroutine 1 [running]:\n";
        assert_eq!(details(go, &["secret"]), ["`panic: no [masked]`"]);
        let java = "Exception in thread \"main\" java.lang.IllegalStateException: no secret\n\tat \
                    demo.Main.main(Main.java:7)\n";
        assert_eq!(
            details(java, &["secret"]),
            ["`java.lang.IllegalStateException: no [masked]` at `Main.java:7`"]
        );
    }

    #[test]
    fn a_quote_of_the_holdout_is_no_failure() {
        let quote = "+ grep -q 'jq: command not found' log\n";
        assert_eq!(details(quote, &["grep -q 'jq: command not found' log"]), [""; 0]);
        let both = format!("{quote}bash: line 2: rg: command not found\n");
        let told = details(&both, &["grep -q 'jq: command not found' log"]);
        assert_eq!(told, ["command `rg`"]);
    }

    #[test]
    fn equal_causes_are_merged_and_the_widest_comes_first() {
        let causes = root_causes(&[
            evidence("a", "bash: line 1: jq: command not found"),
            evidence("b", "ModuleNotFoundError: No module named 'x'"),
            evidence("c", "ModuleNotFoundError: No module named 'x'"),
        ]);
        let seen: Vec<_> = causes.iter().map(|c| (c.rule, c.seen_in.join(","))).collect();
        assert_eq!(
            seen,
            [("missing-module", "b,c".to_owned()), ("command-not-found", "a".to_owned())]
        );
    }

    #[test]
    fn a_fallback_is_silent_where_the_cause_is_known() {
        let causes = causes_of(&evidence(
            "a",
            "Traceback (most recent call last):\n  File \"./a.py\", line 1, in <module>\n\
             ModuleNotFoundError: No module named 'x'\n",
        ));
        assert_eq!(causes.len(), 1);
        let causes = causes_of(&Evidence { is_gate: true, ..evidence("lint", "2 errors") });
        assert_eq!(causes.iter().map(|c| c.rule).collect::<Vec<_>>(), ["gate-failure"]);
    }
}
