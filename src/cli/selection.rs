//! Which scenarios a command is about: the flags, what came of them the last time, and what is said
//! where nothing is left. How a scenario is matched is `scenario`'s.

use std::path::Path;
use std::str::FromStr;

use crate::clock::{Clock as _, SystemClock};
use crate::report::{Output, show_diagnostic};
use crate::scenario::{
    Diagnostic, Expression, ExpressionError, History, Order, Phase, ScenarioSet, Selection,
    Severity, Shard, Slip, Wanted, phases,
};
use crate::text::{line_column, one_line, plural};

use super::exit::{Exit, Failure, OrExit as _};
use super::past::history;

/// Above the flags in the help.
const HEADING: &str = "Selection";
/// How many patterns that match nothing are shown.
const SLIPS: usize = 5;
/// How many characters of an expression are shown in a sentence.
const SHOWN: usize = 100;

/// Which scenarios, and in which order. A scenario must fit each kind of flag that is given, and one
/// of the values where a flag is given several times.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct SelectionArgs {
    /// Scenarios to run, by id, name or file, or a glob of one; all if none is given
    #[arg(value_name = "SCENARIO")]
    pub names: Vec<String>,
    /// Run only this category; can be given several times
    #[arg(long, value_name = "NAME", help_heading = HEADING)]
    pub category: Vec<String>,
    /// Run only scenarios with this tag; can be given several times
    #[arg(long, value_name = "TAG", help_heading = HEADING)]
    pub tag: Vec<String>,
    /// Run only what an expression selects: 'category(web) & !tag(gpu)'; can be given several times
    #[arg(long, short = 'E', value_name = "EXPR", help_heading = HEADING)]
    pub select: Vec<String>,
    /// Run only what was unsatisfied, undecided or not run the last time
    #[arg(long, help_heading = HEADING)]
    pub failed: bool,
    /// Run only one part of the scenarios: 2/3 is the second of three
    #[arg(long, value_name = "I/N", help_heading = HEADING)]
    pub shard: Option<Shard>,
    /// Shuffle the order, always the same way for the same number; `random` takes a new one
    #[arg(long, value_name = "N", help_heading = HEADING)]
    pub seed: Option<Seed>,
}

/// By what the order is shuffled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seed {
    /// This number.
    Number(u64),
    /// A number that is different nearly every time.
    Random,
}

impl Seed {
    /// Returns the number; where it is random, a short one, which is typed with ease.
    fn number(self) -> u64 {
        match self {
            Self::Number(number) => number,
            Self::Random => SystemClock.now().unix_millis().unsigned_abs() % 1_000_000,
        }
    }
}

impl FromStr for Seed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(number) => Ok(Self::Number(number)),
            Err(_) if text == "random" => Ok(Self::Random),
            Err(_) => Err(format!("`{text}` is neither a number from 0 nor `random`")),
        }
    }
}

/// The scenarios that were asked for.
#[derive(Debug, Clone)]
pub struct Chosen {
    /// The scenarios, in the order of their files; never none.
    pub set: ScenarioSet,
    /// The seed by which they are shuffled; none where they are not.
    pub seed: Option<u64>,
}

impl Chosen {
    /// Returns the order in which they are begun, where `jobs` run at a time.
    pub fn order(&self, jobs: usize) -> Order {
        match self.seed {
            Some(seed) => Order::Seed(seed),
            None if jobs > 1 => Order::Longest,
            None => Order::File,
        }
    }

    /// Returns the turns in which they are begun, as indices into `set`, where `jobs` run at a time
    /// and `history` is what came of them before.
    pub fn phases(&self, history: &History, jobs: usize) -> Vec<Phase> {
        phases(&self.set.entries.iter().collect::<Vec<_>>(), self.order(jobs), history)
    }
}

/// An expression that can't be read.
#[derive(Debug, thiserror::Error)]
#[error("bad expression `{text}`: {error}")]
pub struct BadExpression {
    text: String,
    error: ExpressionError,
}

impl BadExpression {
    /// Returns it as people read it, with a caret, without a line feed at the end.
    pub fn show(&self, styled: bool) -> String {
        let (message, help) = (self.error.problem.to_string(), self.error.help());
        show(Severity::Error, &self.text, &self.error.span, message, help, styled)
    }
}

impl SelectionArgs {
    /// Returns the scenarios of `set` that are asked for; `root` is the product's. Says on `stderr`
    /// what is most likely a slip.
    ///
    /// # Errors
    /// An expression can't be read, a name matches nothing, nothing is left, or there is no record
    /// of the last time where one is needed.
    pub fn choose(
        &self,
        set: ScenarioSet,
        root: &Path,
        stderr: &mut Output,
    ) -> anyhow::Result<Chosen> {
        let selection = Selection::new(self.wanted()?);
        if set.entries.is_empty() {
            let message = "there are no scenarios: no file in the directory ends in `.md`";
            return Err(Failure::because(Exit::Nothing, message));
        }
        let all = plural(set.entries.len(), "scenario");
        if let Some(first) = selection.unmatched(&set).first() {
            let message =
                format!("`{first}` matches none of {all}; `run-scenarios --list` shows them");
            return Err(Failure::because(Exit::Nothing, message));
        }
        let slips = selection.slips(&set);
        for slip in slips.iter().take(SLIPS) {
            stderr.line(self.show_slip(slip, &all, stderr.is_styled()));
        }
        if slips.len() > SLIPS {
            let more = plural(slips.len() - SLIPS, "more pattern");
            stderr.line(format_args!("warning: nothing is matched by {more}"));
        }
        let history = if selection.asks_for_history() {
            history(root, &set.entries)?
        } else {
            History::default()
        };
        let never = set.entries.iter().filter(|entry| history.past(&entry.id).is_none()).count();
        if self.failed && never == set.entries.len() {
            let message = "nothing was judged here before, so that nothing is known to have \
                           failed; run `run-scenarios` once first";
            return Err(Failure::because(Exit::Usage, message));
        }
        if !set.entries.iter().any(|entry| selection.wants(entry, &history)) {
            return Err(Failure::because(Exit::Nothing, self.nothing(&set, &history)));
        }
        let chosen = selection.of(set, &history);
        if self.failed && never > 0 {
            stderr.line(format_args!(
                "note: there is no record of {}, which `-E 'last(none)'` selects",
                plural(never, "scenario")
            ));
        }
        Ok(Chosen { set: chosen, seed: self.seed.map(Seed::number) })
    }

    fn wanted(&self) -> anyhow::Result<Wanted> {
        let read = |text: &String| {
            Expression::parse(text).map_err(|error| BadExpression { text: text.clone(), error })
        };
        let expressions: Result<_, _> = self.select.iter().map(read).collect();
        Ok(Wanted {
            names: self.names.clone(),
            categories: self.category.clone(),
            tags: self.tag.clone(),
            expressions: expressions.or_exit(Exit::Usage)?,
            failed: self.failed,
            shard: self.shard,
        })
    }

    fn show_slip(&self, slip: &Slip, all: &str, styled: bool) -> String {
        let Slip { expression, span, predicate, nearest } = slip;
        let text = &self.select[*expression];
        let pattern = one_line(text.get(span.clone()).unwrap_or_default(), SHOWN);
        let message = format!("`{predicate}({pattern})` matches none of {all}");
        let help = nearest.as_ref().map(|near| format!("did you mean `{near}`?"));
        show(Severity::Warning, text, span, message, help.unwrap_or_default(), styled)
    }

    /// Returns why no scenario of `set` is left.
    fn nothing(&self, set: &ScenarioSet, history: &History) -> String {
        let all = plural(set.entries.len(), "scenario");
        let failed = |id| history.status(id).is_some_and(|status| status.is_failure());
        if self.failed && !set.entries.iter().any(|entry| failed(&entry.id)) {
            let never = set.entries.iter().filter(|e| history.past(&e.id).is_none()).count();
            return match never {
                0 => "nothing failed the last time".to_owned(),
                never => format!(
                    "nothing failed the last time; there is no record of {}, which \
                     `-E 'last(none)'` selects",
                    plural(never, "scenario")
                ),
            };
        }
        let flags = [
            (!self.names.is_empty(), "the names".to_owned()),
            (!self.category.is_empty(), "--category".to_owned()),
            (!self.tag.is_empty(), "--tag".to_owned()),
            (!self.select.is_empty(), "--select".to_owned()),
            (self.failed, "--failed".to_owned()),
            (self.shard.is_some(), self.shard.map_or_else(String::new, |s| format!("--shard {s}"))),
        ];
        let given: Vec<String> =
            flags.into_iter().filter(|(given, _)| *given).map(|(_, flag)| flag).collect();
        match (given.as_slice(), self.select.as_slice(), self.shard) {
            ([_], [], Some(shard)) => {
                format!("shard {shard} holds none of {all}; use fewer shards")
            }
            ([_], [_, ..], _) => {
                let expressions = one_line(&self.select.join("` and `"), SHOWN);
                let unknown = if history.is_empty() && asks(&self.select) {
                    "nothing was judged here before"
                } else {
                    "`run-scenarios --list` shows them"
                };
                format!("`{expressions}` selects none of {all}; {unknown}")
            }
            _ => format!("none of {all} fits all of these: {}", given.join(", ")),
        }
    }
}

fn asks(expressions: &[String]) -> bool {
    expressions.iter().flat_map(|e| Expression::parse(e)).any(|e| e.asks_for_history())
}

fn show(
    severity: Severity,
    text: &str,
    span: &std::ops::Range<usize>,
    message: String,
    help: String,
    styled: bool,
) -> String {
    let (line, column) = line_column(text, span.start);
    let found = Diagnostic {
        code: String::new(),
        severity,
        message,
        file: "--select".to_owned(),
        span: Some(span.clone()),
        line,
        column,
        help,
    };
    show_diagnostic(&found, Some(text), styled)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<Seed>) {
        assert_eq!(text.parse::<Seed>().ok(), expected, "{text}");
    }

    #[test]
    fn a_seed_is_a_number_or_random() {
        check("0", Some(Seed::Number(0)));
        check("18446744073709551615", Some(Seed::Number(u64::MAX)));
        check("random", Some(Seed::Random));
        check("-1", None);
        check("soon", None);
    }

    #[test]
    fn an_expression_that_can_not_be_read_is_shown_with_a_caret() {
        let text = "slow() | catgory(x)";
        let error = Expression::parse(text).unwrap_err();
        let error = BadExpression { text: text.to_owned(), error };
        insta::assert_snapshot!(error.show(false), @r"
        error: unknown predicate `catgory`
         --> --select:1:10
          |
        1 | slow() | catgory(x)
          |          ^^^^^^^
          |
          = help: did you mean `category`?
        ");
    }

    #[test]
    fn with_several_jobs_the_longest_begin_first_unless_shuffled() {
        let chosen = |seed| Chosen { set: ScenarioSet::default(), seed };
        assert_eq!(chosen(None).order(1), Order::File);
        assert_eq!(chosen(None).order(2), Order::Longest);
        assert_eq!(chosen(Some(7)).order(2), Order::Seed(7));
    }
}
