//! Chooses scenarios by what people ask for: names, categories, tags, expressions, what failed the
//! last time, one shard of several. Where the record of the last time is kept is the caller's
//! business.

mod expression;
mod pattern;

use std::collections::BTreeSet;
use std::ops::Range;

pub use expression::{Expression, ExpressionError, ExpressionProblem, MAX_DEPTH};

use super::{Entry, History, LastStatus, Past, ScenarioSet, Shard};
use crate::text::nearest;
use pattern::Pattern;

/// What a person asks for. A scenario must fit each of the fields that is not empty, and one of
/// the items in it; the default asks for every scenario.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Names, ids or files, or globs of one. What is no valid glob is taken as it is.
    pub names: Vec<String>,
    /// Categories.
    pub categories: Vec<String>,
    /// Tags.
    pub tags: Vec<String>,
    /// Expressions.
    pub expressions: Vec<Expression>,
    /// Whether only those are wanted that were unsatisfied, undecided or not run the last time.
    pub failed: bool,
    /// The shard that is wanted.
    pub shard: Option<Shard>,
}

/// Which scenarios are wanted. Case makes no difference.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    names: Vec<Pattern>,
    /// In lower case, as are the tags.
    categories: Vec<String>,
    tags: Vec<String>,
    expressions: Vec<Expression>,
    failed: bool,
    shard: Option<Shard>,
}

/// A pattern of an expression that matches no scenario at all: most likely a slip.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slip {
    /// Which of the expressions, from 0.
    pub expression: usize,
    /// The bytes of its text that the pattern takes.
    pub span: Range<usize>,
    /// The predicate: `tag`.
    pub predicate: &'static str,
    /// What was most likely meant, in lower case; none where nothing is near.
    pub nearest: Option<String>,
}

impl Selection {
    /// Makes the selection of what is wanted.
    pub fn new(wanted: Wanted) -> Self {
        let lower =
            |texts: &[String]| texts.iter().map(|text| text.trim().to_lowercase()).collect();
        Self {
            names: wanted.names.iter().map(|name| Pattern::typed(name)).collect(),
            categories: lower(&wanted.categories),
            tags: lower(&wanted.tags),
            expressions: wanted.expressions,
            failed: wanted.failed,
            shard: wanted.shard,
        }
    }

    /// Returns whether every scenario is wanted.
    pub fn is_everything(&self) -> bool {
        self.names.is_empty()
            && self.categories.is_empty()
            && self.tags.is_empty()
            && self.expressions.is_empty()
            && !self.failed
            && self.shard.is_none()
    }

    /// Returns whether it asks what came of scenarios the last time.
    pub fn asks_for_history(&self) -> bool {
        self.failed || self.expressions.iter().any(Expression::asks_for_history)
    }

    /// Returns the scenarios of `set` that are wanted, in their order, with the findings about
    /// them and about what is no scenario.
    pub fn of(&self, mut set: ScenarioSet, history: &History) -> ScenarioSet {
        if !self.is_everything() {
            let left_out: Vec<Entry> =
                set.entries.extract_if(.., |entry| !self.wants(entry, history)).collect();
            let left_out: BTreeSet<&str> =
                left_out.iter().map(|entry| entry.file.as_str()).collect();
            set.diagnostics.retain(|found| !left_out.contains(found.file.as_str()));
        }
        set
    }

    /// Returns whether `entry` is wanted.
    pub fn wants(&self, entry: &Entry, history: &History) -> bool {
        if self.is_everything() {
            return true;
        }
        let subject = Subject::of(entry, history);
        let fits = |none: bool, fits: bool| none || fits;
        fits(self.names.is_empty(), self.names.iter().any(|name| subject.is_called(name)))
            && fits(self.categories.is_empty(), self.categories.contains(&subject.category))
            && fits(self.tags.is_empty(), self.tags.iter().any(|tag| subject.tags.contains(tag)))
            && fits(self.expressions.is_empty(), self.expressions.iter().any(|e| e.holds(&subject)))
            && fits(!self.failed, subject.past.is_some_and(|past| past.status.is_failure()))
            && self.shard.is_none_or(|shard| shard.holds(&entry.id))
    }

    /// Returns the categories, tags and names that name nothing in `set`, in the order given and in
    /// lower case: a slip, most likely.
    pub fn unmatched<'a>(&'a self, set: &ScenarioSet) -> Vec<&'a str> {
        if [self.names.len(), self.categories.len(), self.tags.len()] == [0; 3] {
            return Vec::new();
        }
        let subjects = subjects(set);
        let any = |fits: &dyn Fn(&Subject<'_>) -> bool| subjects.iter().any(fits);
        let categories = self.categories.iter().filter(|c| !any(&|s| s.category == **c));
        let tags = self.tags.iter().filter(|tag| !any(&|s| s.tags.contains(tag)));
        let names = self.names.iter().filter(|name| !any(&|s| s.is_called(name)));
        categories.chain(tags).map(String::as_str).chain(names.map(Pattern::lower)).collect()
    }

    /// Returns the patterns of the expressions that match nothing in `set`, in the order written.
    pub fn slips(&self, set: &ScenarioSet) -> Vec<Slip> {
        if self.expressions.is_empty() {
            return Vec::new();
        }
        let subjects = subjects(set);
        let mut slips = Vec::new();
        for (at, expression) in self.expressions.iter().enumerate() {
            for (field, pattern) in expression.unmatched(&subjects) {
                let known = subjects.iter().flat_map(|subject| field.values(subject));
                slips.push(Slip {
                    expression: at,
                    span: pattern.span.clone(),
                    predicate: field.as_str(),
                    nearest: nearest(pattern.lower(), known).map(str::to_owned),
                });
            }
        }
        slips
    }
}

/// What is asked of a scenario, in lower case.
struct Subject<'a> {
    entry: &'a Entry,
    name: String,
    category: String,
    file: String,
    tags: Vec<String>,
    past: Option<&'a Past>,
}

impl<'a> Subject<'a> {
    fn of(entry: &'a Entry, history: &'a History) -> Self {
        Self {
            entry,
            name: entry.name.to_lowercase(),
            category: entry.category.to_lowercase(),
            file: entry.file.to_lowercase(),
            tags: entry.tags().iter().map(|tag| tag.trim().to_lowercase()).collect(),
            past: history.past(&entry.id),
        }
    }

    fn is_called(&self, name: &Pattern) -> bool {
        name.matches(&self.name)
            || name.matches(self.entry.id.as_str())
            || name.matches_path(&self.file)
    }
}

/// Returns the scenarios of `set`, of whose past nothing is said.
fn subjects(set: &ScenarioSet) -> Vec<Subject<'_>> {
    const NOTHING: &History = &History::NOTHING;
    set.entries.iter().map(|entry| Subject::of(entry, NOTHING)).collect()
}

#[cfg(test)]
mod tests;
