//! The language in which scenarios are selected: `category(training) & !tag(gpu)`.

use std::fmt;
use std::ops::Range;

use crate::text::{nearest, one_line};

use super::pattern::{Kind, Pattern};
use super::{LastStatus, Subject};

/// How deep parentheses, `!` and `-` may nest.
pub const MAX_DEPTH: usize = 100;
/// How many regular expressions there may be: each may take some megabytes.
const MAX_REGEXES: usize = 100;
/// How many characters of a word that is not known are shown.
const SHOWN: usize = 60;
/// What may follow a whole expression.
const AFTER: &str = "`&`, `|`, `-` or the end";
/// What may follow a whole expression in parentheses.
const AFTER_GROUP: &str = "`&`, `|`, `-` or `)`";

/// An expression over what is known of a scenario.
///
/// Predicates are joined by `&` (`and`), `|` (`or`) and `-` (and not), and turned by `!` (`not`);
/// `!` binds tightest, then `&` and `-`, then `|`. Two expressions are equal if they say the same
/// in the same order, wherever blanks stand.
///
/// ```
/// use dark_factory::scenario::Expression;
///
/// let expression = Expression::parse("category(training) and not tag(gpu, cuda)").unwrap();
/// assert_eq!(expression.to_string(), "category(training) & !tag(gpu, cuda)");
///
/// let error = Expression::parse("catgory(training)").unwrap_err();
/// assert_eq!(error.to_string(), "unknown predicate `catgory` at byte 0");
/// assert_eq!(error.help(), "did you mean `category`?");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expression(Node);

/// What can't be read as an expression, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem} at byte {}", span.start)]
pub struct ExpressionError {
    /// What is wrong.
    pub problem: ExpressionProblem,
    /// The bytes of the text that it is about; empty at its end.
    pub span: Range<usize>,
}

/// What is wrong with an expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExpressionProblem {
    /// Something else stands where one thing must.
    #[error("expected {expected}, found {found}")]
    Expected {
        /// What must stand there.
        expected: &'static str,
        /// What does.
        found: String,
    },
    /// A word that is no predicate.
    #[error("unknown predicate `{word}`")]
    UnknownPredicate {
        /// The word.
        word: String,
        /// Whether a parenthesis follows it.
        called: bool,
    },
    /// A word that is no status.
    #[error("unknown status `{word}`")]
    UnknownStatus {
        /// The word.
        word: String,
    },
    /// A predicate without arguments was given one.
    #[error("`{predicate}()` takes no pattern")]
    TakesNothing {
        /// The predicate.
        predicate: &'static str,
    },
    /// A parenthesis in a pattern without quotes.
    #[error("`(` in a pattern without quotes")]
    Parenthesis,
    /// A quote, or the `/` of a regular expression, without its other end.
    #[error("this `{mark}` is not closed")]
    Open {
        /// The mark.
        mark: char,
    },
    /// A glob that is none.
    #[error("bad glob `{glob}`: {why}")]
    BadGlob {
        /// The glob.
        glob: String,
        /// Why, as a fragment.
        why: String,
    },
    /// A regular expression that is none, or takes too much.
    #[error("bad regular expression `{regex}`: {why}")]
    BadRegex {
        /// The regular expression.
        regex: String,
        /// Why, as a fragment.
        why: String,
    },
    /// Too many patterns that take memory.
    #[error("more than {MAX_REGEXES} regular expressions")]
    TooManyRegexes,
    /// Too much within each other.
    #[error("more than {MAX_DEPTH} parentheses and negations within each other")]
    TooDeep,
}

impl ExpressionError {
    /// Returns what to do about it; empty when there is nothing to say.
    pub fn help(&self) -> String {
        let near = |word: &str, known: &[&str]| {
            nearest(word, known.iter().copied()).map(|known| format!("did you mean `{known}`?"))
        };
        match &self.problem {
            ExpressionProblem::UnknownPredicate { word, called } => near(word, &PREDICATES)
                .unwrap_or(if *called {
                    format!("the predicates are `{}`", PREDICATES.join("`, `"))
                } else {
                    format!("write `name({word})` or `tag({word})`")
                }),
            ExpressionProblem::UnknownStatus { word } => {
                let known: Vec<&str> = WORDS.iter().map(|(word, _)| *word).collect();
                near(word, &known).unwrap_or_else(|| format!("use one of `{}`", known.join("`, `")))
            }
            ExpressionProblem::Expected { expected: AFTER | AFTER_GROUP, found } => {
                near(found.trim_matches('`'), &["and", "or"]).unwrap_or_default()
            }
            ExpressionProblem::Parenthesis | ExpressionProblem::BadGlob { .. } => {
                "write the text itself in quotes: `=\"...\"`".to_owned()
            }
            ExpressionProblem::TooManyRegexes => "join some by `|` within one: `/a|b/`".to_owned(),
            ExpressionProblem::TakesNothing { predicate } => format!("write `{predicate}()`"),
            ExpressionProblem::Expected { .. }
            | ExpressionProblem::Open { .. }
            | ExpressionProblem::BadRegex { .. }
            | ExpressionProblem::TooDeep => String::new(),
        }
    }
}

impl Expression {
    /// Reads an expression.
    ///
    /// # Errors
    /// Says what was expected and where.
    pub fn parse(text: &str) -> Result<Self, ExpressionError> {
        let mut parser = Parser { text, at: 0, depth: 0, regexes: 0 };
        let node = parser.union()?;
        parser.blank();
        if parser.at < text.len() {
            return Err(parser.expected(AFTER));
        }
        Ok(Self(node))
    }

    /// Returns whether it asks what came of scenarios the last time.
    pub fn asks_for_history(&self) -> bool {
        self.0.any(&mut |node| matches!(node, Node::Last(_)))
    }

    /// Returns whether it holds of a scenario.
    pub(super) fn holds(&self, subject: &Subject<'_>) -> bool {
        self.0.holds(subject)
    }

    /// Returns the patterns that match none of the scenarios, with what they are compared with, in
    /// the order written.
    pub(super) fn unmatched(&self, subjects: &[Subject<'_>]) -> Vec<(Field, &Pattern)> {
        let mut found = Vec::new();
        self.0.any(&mut |node| {
            if let Node::Field(field, patterns) = node {
                let unmatched =
                    patterns.iter().filter(|p| !subjects.iter().any(|s| field.matches(s, p)));
                found.extend(unmatched.map(|pattern| (*field, pattern)));
            }
            false
        });
        found
    }
}

/// What is known of a scenario and has a name to match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    Name,
    Id,
    Category,
    Tag,
    File,
}

impl Field {
    /// Returns its predicate.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Id => "id",
            Self::Category => "category",
            Self::Tag => "tag",
            Self::File => "file",
        }
    }

    /// Returns what a scenario has of it, in lower case.
    pub(super) fn values<'s>(self, subject: &'s Subject<'_>) -> Vec<&'s str> {
        match self {
            Self::Name => vec![&subject.name],
            Self::Id => vec![subject.entry.id.as_str()],
            Self::Category => vec![&subject.category],
            Self::Tag => subject.tags.iter().map(String::as_str).collect(),
            Self::File => vec![&subject.file],
        }
    }

    fn matches(self, subject: &Subject<'_>, pattern: &Pattern) -> bool {
        match self {
            Self::File => pattern.matches_path(&subject.file),
            _ => self.values(subject).into_iter().any(|value| pattern.matches(value)),
        }
    }
}

/// What came of a scenario the last time, as people ask for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Last {
    Satisfied,
    Unsatisfied,
    /// As published: also what was not run.
    Undecided,
    Skipped,
    NotRun,
    Flaky,
    /// Nothing is on record.
    Never,
}

/// The words for what came of a scenario; the first of each is the one that is shown.
const WORDS: [(&str, Last); 13] = [
    ("satisfied", Last::Satisfied),
    ("passed", Last::Satisfied),
    ("pass", Last::Satisfied),
    ("unsatisfied", Last::Unsatisfied),
    ("failed", Last::Unsatisfied),
    ("fail", Last::Unsatisfied),
    ("undecided", Last::Undecided),
    ("skipped", Last::Skipped),
    ("skip", Last::Skipped),
    ("not_run", Last::NotRun),
    ("not-run", Last::NotRun),
    ("flaky", Last::Flaky),
    ("none", Last::Never),
];

/// Every predicate, in the order shown.
const PREDICATES: [&str; 11] =
    ["name", "id", "category", "tag", "file", "last", "slow", "serial", "critical", "all", "none"];

#[derive(Debug, Clone, PartialEq, Eq)]
enum Node {
    All,
    None,
    Slow,
    Serial,
    Critical,
    Last(Vec<Last>),
    Field(Field, Vec<Pattern>),
    Not(Box<Node>),
    /// Two or more.
    And(Vec<Node>),
    /// Two or more.
    Or(Vec<Node>),
}

impl Node {
    fn holds(&self, subject: &Subject<'_>) -> bool {
        match self {
            Self::All => true,
            Self::None => false,
            Self::Slow => subject.entry.is_slow(),
            Self::Serial => subject.entry.is_serial(),
            Self::Critical => subject.entry.critical(),
            Self::Last(wanted) => wanted.iter().any(|last| last.holds(subject)),
            Self::Field(field, patterns) => patterns.iter().any(|p| field.matches(subject, p)),
            Self::Not(node) => !node.holds(subject),
            Self::And(nodes) => nodes.iter().all(|node| node.holds(subject)),
            Self::Or(nodes) => nodes.iter().any(|node| node.holds(subject)),
        }
    }

    /// Shows each node to `found`, from left to right, until it returns true.
    fn any<'n>(&'n self, found: &mut dyn FnMut(&'n Self) -> bool) -> bool {
        found(self)
            || match self {
                Self::Not(node) => node.any(found),
                Self::And(nodes) | Self::Or(nodes) => nodes.iter().any(|node| node.any(found)),
                Self::All
                | Self::None
                | Self::Slow
                | Self::Serial
                | Self::Critical
                | Self::Last(_)
                | Self::Field(..) => false,
            }
    }
}

impl Last {
    fn holds(self, subject: &Subject<'_>) -> bool {
        let status = subject.past.map(|past| past.status);
        match self {
            Self::Satisfied => status == Some(LastStatus::Satisfied),
            Self::Unsatisfied => status == Some(LastStatus::Unsatisfied),
            Self::Undecided => {
                matches!(status, Some(LastStatus::Undecided | LastStatus::NotRun))
            }
            Self::Skipped => status == Some(LastStatus::Skipped),
            Self::NotRun => status == Some(LastStatus::NotRun),
            Self::Flaky => subject.past.is_some_and(|past| past.flaky),
            Self::Never => status.is_none(),
        }
    }
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
    depth: usize,
    regexes: usize,
}

type Parsed<T> = Result<T, ExpressionError>;

impl<'t> Parser<'t> {
    fn union(&mut self) -> Parsed<Node> {
        let mut nodes = vec![self.intersection()?];
        while self.operator(&["||", "|", "+"], "or") {
            nodes.push(self.intersection()?);
        }
        Ok(joined(nodes, Node::Or))
    }

    fn intersection(&mut self) -> Parsed<Node> {
        let mut nodes = vec![self.negation()?];
        loop {
            if self.operator(&["&&", "&"], "and") {
                nodes.push(self.negation()?);
            } else if self.operator(&["-"], "") {
                let node = self.deeper(self.at - 1, Self::negation)?;
                nodes.push(Node::Not(Box::new(node)));
            } else {
                return Ok(joined(nodes, Node::And));
            }
        }
    }

    fn negation(&mut self) -> Parsed<Node> {
        self.blank();
        let start = self.at;
        if self.operator(&["!"], "not") {
            Ok(Node::Not(Box::new(self.deeper(start, Self::negation)?)))
        } else if self.eat("(") {
            let node = self.deeper(start, Self::union)?;
            self.blank();
            if self.eat(")") { Ok(node) } else { Err(self.expected(AFTER_GROUP)) }
        } else {
            self.predicate()
        }
    }

    fn predicate(&mut self) -> Parsed<Node> {
        let start = self.at;
        let word = self.word();
        if word.is_empty() || ["and", "or"].contains(&word) {
            return Err(self.expected("a predicate such as `tag(smoke)`, `!` or `(`"));
        }
        self.at += word.len();
        let span = start..self.at;
        self.blank();
        let called = self.rest().starts_with('(');
        let Some(predicate) = PREDICATES.into_iter().find(|known| *known == word) else {
            let word = one_line(word, SHOWN);
            return Err(at(ExpressionProblem::UnknownPredicate { word, called }, span));
        };
        if !self.eat("(") {
            return Err(self.expected("`(`"));
        }
        let field = match predicate {
            "name" => Field::Name,
            "id" => Field::Id,
            "category" => Field::Category,
            "tag" => Field::Tag,
            "file" => Field::File,
            "last" => return Ok(Node::Last(self.list(Self::status)?)),
            _ => {
                self.blank();
                if self.rest().is_empty() {
                    return Err(self.expected("`)`"));
                }
                if !self.eat(")") {
                    return Err(at(
                        ExpressionProblem::TakesNothing { predicate },
                        self.next_span(),
                    ));
                }
                return Ok(match predicate {
                    "slow" => Node::Slow,
                    "serial" => Node::Serial,
                    "critical" => Node::Critical,
                    "all" => Node::All,
                    _ => Node::None,
                });
            }
        };
        Ok(Node::Field(field, self.list(Self::pattern)?))
    }

    /// Reads items up to and with the `)`.
    fn list<T>(&mut self, item: fn(&mut Self) -> Parsed<T>) -> Parsed<Vec<T>> {
        let mut items = Vec::new();
        loop {
            self.blank();
            items.push(item(self)?);
            self.blank();
            if self.eat(")") {
                return Ok(items);
            }
            if !self.eat(",") {
                return Err(self.expected("`,` or `)`"));
            }
        }
    }

    fn status(&mut self) -> Parsed<Last> {
        let start = self.at;
        let end = self.rest().find([',', ')', '(']).map_or(self.text.len(), |end| start + end);
        let word = self.text[start..end].trim_end();
        if word.is_empty() {
            return Err(self.expected("a status such as `failed`"));
        }
        self.at += word.len();
        let known = WORDS.iter().find(|(known, _)| *known == word);
        known.map(|(_, last)| *last).ok_or_else(|| {
            at(ExpressionProblem::UnknownStatus { word: one_line(word, SHOWN) }, start..self.at)
        })
    }

    fn pattern(&mut self) -> Parsed<Pattern> {
        let start = self.at;
        let (kind, text) = if self.eat("/") {
            self.regexes += 1;
            (Kind::Regex, self.closed_by('/', false)?)
        } else {
            let kind = if self.eat("=") {
                Kind::Exact
            } else if self.eat("~") {
                Kind::Contains
            } else {
                Kind::Glob
            };
            self.blank();
            let text = match self.rest().chars().next() {
                Some(quote @ ('"' | '\'')) => {
                    self.at += 1;
                    self.closed_by(quote, true)?
                }
                _ => self.bare(kind)?,
            };
            (kind, text)
        };
        let span = start..self.at;
        if self.regexes > MAX_REGEXES {
            return Err(at(ExpressionProblem::TooManyRegexes, span));
        }
        Pattern::new(kind, &text, span.clone()).map_err(|why| {
            let shown = one_line(&text, SHOWN);
            let problem = match kind {
                Kind::Regex => ExpressionProblem::BadRegex { regex: shown, why },
                _ => ExpressionProblem::BadGlob { glob: shown, why },
            };
            at(problem, span)
        })
    }

    /// Reads up to and with `mark`, which a backslash lets stand for itself, and, where `twice`,
    /// a backslash too. Other backslashes are left for who reads the pattern.
    fn closed_by(&mut self, mark: char, twice: bool) -> Parsed<String> {
        let mut text = String::new();
        let mut chars = self.rest().char_indices();
        while let Some((offset, c)) = chars.next() {
            if c == mark {
                self.at += offset + mark.len_utf8();
                return Ok(text);
            }
            if c != '\\' {
                text.push(c);
                continue;
            }
            match chars.next() {
                Some((_, c)) if c == mark || (twice && c == '\\') => text.push(c),
                Some((_, c)) => text.extend(['\\', c]),
                None => break,
            }
        }
        Err(at(ExpressionProblem::Open { mark }, self.at - 1..self.at))
    }

    /// Reads a pattern without quotes: up to a `)`, or a `,` that is not in `{..}`. A backslash lets
    /// them stand for themselves.
    fn bare(&mut self, kind: Kind) -> Parsed<String> {
        let rest = self.rest();
        let mut text = String::new();
        let mut braces = 0_usize;
        let mut end = rest.len();
        let mut chars = rest.char_indices();
        while let Some((offset, c)) = chars.next() {
            match c {
                ')' => {
                    end = offset;
                    break;
                }
                ',' if braces == 0 => {
                    end = offset;
                    break;
                }
                '(' => {
                    let place = self.at + offset;
                    return Err(at(ExpressionProblem::Parenthesis, place..place + 1));
                }
                '{' => braces += 1,
                '}' => braces = braces.saturating_sub(1),
                _ => {}
            }
            if c != '\\' {
                text.push(c);
                continue;
            }
            match chars.next() {
                Some((_, c)) if kind != Kind::Glob && "(),\\".contains(c) => text.push(c),
                Some((_, c)) => text.extend(['\\', c]),
                None => text.push('\\'),
            }
        }
        if rest[..end].trim().is_empty() {
            return Err(self.expected("a pattern"));
        }
        self.at += end;
        text.truncate(text.trim_end().len());
        Ok(text)
    }

    /// Reads what is a level deeper and began at `start`.
    fn deeper(&mut self, start: usize, read: fn(&mut Self) -> Parsed<Node>) -> Parsed<Node> {
        if self.depth == MAX_DEPTH {
            return Err(at(ExpressionProblem::TooDeep, start..start + 1));
        }
        self.depth += 1;
        let node = read(self);
        self.depth -= 1;
        node
    }

    /// Takes an operator, if one of these comes next.
    fn operator(&mut self, signs: &[&str], word: &str) -> bool {
        self.blank();
        if signs.iter().any(|sign| self.eat(sign)) {
            return true;
        }
        let found = !word.is_empty() && self.word() == word;
        self.at += if found { word.len() } else { 0 };
        found
    }

    fn eat(&mut self, sign: &str) -> bool {
        let found = self.rest().starts_with(sign);
        self.at += if found { sign.len() } else { 0 };
        found
    }

    fn blank(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
    }

    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    /// Returns the word that comes next; empty where none does.
    fn word(&self) -> &'t str {
        let rest = self.rest();
        let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_'));
        &rest[..end.unwrap_or(rest.len())]
    }

    /// Returns the bytes of the word or character that comes next.
    fn next_span(&self) -> Range<usize> {
        let first = self.rest().chars().next().map_or(0, char::len_utf8);
        self.at..self.at + self.word().len().max(first)
    }

    fn expected(&self, expected: &'static str) -> ExpressionError {
        let span = self.next_span();
        let found = match &self.text[span.clone()] {
            "" => "the end".to_owned(),
            found => format!("`{}`", one_line(found, SHOWN)),
        };
        at(ExpressionProblem::Expected { expected, found }, span)
    }
}

fn at(problem: ExpressionProblem, span: Range<usize>) -> ExpressionError {
    ExpressionError { problem, span }
}

/// Returns the node of several, or the only one.
fn joined(mut nodes: Vec<Node>, join: fn(Vec<Node>) -> Node) -> Node {
    match nodes.pop() {
        Some(only) if nodes.is_empty() => only,
        last => {
            nodes.extend(last);
            join(nodes)
        }
    }
}

/// As it can be read again, with no more parentheses than it needs.
impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all()"),
            Self::None => f.write_str("none()"),
            Self::Slow => f.write_str("slow()"),
            Self::Serial => f.write_str("serial()"),
            Self::Critical => f.write_str("critical()"),
            Self::Last(wanted) => {
                f.write_str("last(")?;
                list(f, wanted)?;
                f.write_str(")")
            }
            Self::Field(field, patterns) => {
                write!(f, "{}(", field.as_str())?;
                list(f, patterns)?;
                f.write_str(")")
            }
            Self::Not(node) => {
                f.write_str("!")?;
                node.within(f, matches!(**node, Self::And(_) | Self::Or(_)))
            }
            Self::And(nodes) => {
                join(f, nodes, " & ", |node| matches!(node, Self::And(_) | Self::Or(_)))
            }
            Self::Or(nodes) => join(f, nodes, " | ", |node| matches!(node, Self::Or(_))),
        }
    }
}

impl Node {
    fn within(&self, f: &mut fmt::Formatter<'_>, parentheses: bool) -> fmt::Result {
        if parentheses { write!(f, "({self})") } else { write!(f, "{self}") }
    }
}

impl fmt::Display for Last {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = WORDS.iter().find(|(_, last)| last == self).map_or("", |(word, _)| word);
        f.write_str(word)
    }
}

fn list<T: fmt::Display>(f: &mut fmt::Formatter<'_>, items: &[T]) -> fmt::Result {
    for (i, item) in items.iter().enumerate() {
        write!(f, "{}{item}", if i == 0 { "" } else { ", " })?;
    }
    Ok(())
}

fn join(
    f: &mut fmt::Formatter<'_>,
    nodes: &[Node],
    sign: &str,
    parentheses: fn(&Node) -> bool,
) -> fmt::Result {
    for (i, node) in nodes.iter().enumerate() {
        f.write_str(if i == 0 { "" } else { sign })?;
        node.within(f, parentheses(node))?;
    }
    Ok(())
}

#[cfg(test)]
#[path = "expression_tests.rs"]
mod tests;
