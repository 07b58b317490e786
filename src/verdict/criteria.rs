//! Decides which pass criteria do not hold, and says what was found instead.
//!
//! Takes what was observed, and looks at nothing itself. Texts are read as UTF-8, leniently; what
//! is said of them is short and safe to show.

use std::borrow::Cow;

use serde_json::Value;

use super::Unmet;
use crate::scenario::{Criterion, CriterionCheck, JsonStep, Subject, TextTest, regex_of};
use crate::text::{Cut, Redaction, one_line, plural, visible};

/// The most characters of a text that was expected or found.
const FRAGMENT: usize = 160;
/// The most lines among which the nearest is looked for.
const CANDIDATES: usize = 500;
/// The most characters of a line that is compared.
const COMPARED: usize = 300;
/// The most keys of an object that are named.
const KEYS: usize = 6;

/// What an evaluation that exited with 0 left to look at.
pub struct Observed<'a> {
    /// What it wrote to stdout, as far as it was kept.
    pub stdout: &'a [u8],
    /// Whether some of stdout was not kept. What could stand there is never taken for granted.
    pub stdout_cut: bool,
    /// What it wrote to stderr, as far as it was kept.
    pub stderr: &'a [u8],
    /// Whether some of stderr was not kept.
    pub stderr_cut: bool,
    /// Looks at a path, relative to the root of the tree and without `..`. Links out of the tree
    /// are for it to refuse.
    pub file: &'a dyn Fn(&str) -> Found,
    /// What is kept out of what is said of it; it is checked as it is.
    pub redaction: &'a Redaction,
}

/// What stands at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// Nothing.
    Missing,
    /// A directory.
    Directory,
    /// Neither a file nor a directory.
    Other,
    /// Something that can't be looked at.
    Unreadable {
        /// Why, as a fragment.
        why: String,
    },
    /// A regular file.
    File {
        /// What it holds, from its beginning.
        bytes: Vec<u8>,
        /// Whether that is not all.
        cut: bool,
    },
}

/// Returns the criteria that do not hold, in their order; empty when all do. Those that are for
/// people always hold.
///
/// Where a text was cut, what would have to be known of the missing part does not hold: nothing
/// passes because it wrote too much.
pub fn unmet(criteria: &[Criterion], observed: &Observed<'_>) -> Vec<Unmet> {
    let streams = Streams {
        stdout: Text { text: String::from_utf8_lossy(observed.stdout), cut: observed.stdout_cut },
        stderr: Text { text: String::from_utf8_lossy(observed.stderr), cut: observed.stderr_cut },
        file: observed.file,
    };
    criteria
        .iter()
        .filter_map(|criterion| {
            let check = criterion.check.as_ref()?;
            let miss = streams.miss(check)?;
            Some(Unmet {
                criterion: one_line(&criterion.text, 2 * FRAGMENT),
                expected: miss.expected,
                actual: told(check, &streams, observed.redaction, miss.actual),
            })
        })
        .collect()
}

/// Returns what is told of what was found: `actual`, or where secrets are known, what would be said had
/// their placeholders been written, since a fragment may hold a part of one.
fn told(
    check: &CriterionCheck,
    streams: &Streams<'_>,
    redaction: &Redaction,
    actual: String,
) -> String {
    if redaction.is_empty() {
        return actual;
    }
    let clean =
        |text: &Text<'_>| Text { text: Cow::Owned(redaction.apply_to(&text.text)), cut: text.cut };
    let file = |path: &str| match (streams.file)(path) {
        Found::File { bytes, cut } => {
            let at = Cut { start: false, end: cut };
            Found::File { bytes: redaction.apply_cut(bytes, at), cut }
        }
        other => other,
    };
    let clean =
        Streams { stdout: clean(&streams.stdout), stderr: clean(&streams.stderr), file: &file };
    match clean.miss(check) {
        Some(miss) => redaction.apply_to(&miss.actual),
        // It is the secret itself that is wrong.
        None => "what was found holds a secret, and is not shown".to_owned(),
    }
}

/// What was asked for, and what was found.
struct Miss {
    expected: String,
    actual: String,
}

/// A text that criteria are about.
struct Text<'a> {
    text: Cow<'a, str>,
    cut: bool,
}

struct Streams<'a> {
    stdout: Text<'a>,
    stderr: Text<'a>,
    file: &'a dyn Fn(&str) -> Found,
}

impl Streams<'_> {
    /// Returns what is wrong; none where the check holds.
    fn miss(&self, check: &CriterionCheck) -> Option<Miss> {
        match check {
            CriterionCheck::ExitZero => None,
            CriterionCheck::Text { of: Subject::File(path), is, not } => match self.read(path) {
                Ok(text) => text_miss(&[(shown_path(path), &text)], is, *not),
                Err(actual) => Some(Miss { expected: asked(&shown_path(path), is, *not), actual }),
            },
            CriterionCheck::Text { of, is, not } => {
                let (stdout, stderr) =
                    (("stdout".to_owned(), &self.stdout), ("stderr".to_owned(), &self.stderr));
                match of {
                    Subject::Stdout => text_miss(&[stdout], is, *not),
                    Subject::Stderr => text_miss(&[stderr], is, *not),
                    Subject::Output | Subject::File(_) => text_miss(&[stdout, stderr], is, *not),
                }
            }
            CriterionCheck::Exists { path, directory, not } => self.place(path, *directory, *not),
            CriterionCheck::Json { at, file, equals, not } => {
                let expected = format!(
                    "{}{} at {} of {}",
                    if *not { "anything but " } else { "" },
                    fragment_of_json(equals),
                    shown_steps(at),
                    file.as_deref().map_or("stdout".to_owned(), shown_path),
                );
                let actual = match file {
                    None => json_miss(&self.stdout, "stdout", at, equals, *not),
                    Some(path) => match self.read(path) {
                        Ok(text) => json_miss(&text, &shown_path(path), at, equals, *not),
                        Err(actual) => Some(actual),
                    },
                };
                actual.map(|actual| Miss { expected, actual })
            }
        }
    }

    fn place(&self, path: &str, directory: bool, not: bool) -> Option<Miss> {
        let wanted = if directory { "directory" } else { "file" };
        let found = (self.file)(path);
        let holds = match (&found, directory) {
            _ if not => found == Found::Missing,
            (Found::Directory, directory) => directory,
            (Found::File { .. }, directory) => !directory,
            _ => false,
        };
        let shown = shown_path(path);
        (!holds).then(|| Miss {
            expected: if not {
                format!("nothing at {shown}")
            } else {
                format!("a {wanted} at {shown}")
            },
            actual: said(&found),
        })
    }

    /// Returns what a file holds, or what is there instead.
    fn read(&self, path: &str) -> Result<Text<'static>, String> {
        match (self.file)(path) {
            Found::File { bytes, cut } => {
                let text = String::from_utf8_lossy(&bytes).into_owned();
                Ok(Text { text: Cow::Owned(text), cut })
            }
            other => Err(said(&other)),
        }
    }
}

fn said(found: &Found) -> String {
    match found {
        Found::Missing => "it does not exist".to_owned(),
        Found::Directory => "it is a directory".to_owned(),
        Found::Other => "it is neither a file nor a directory".to_owned(),
        Found::Unreadable { why } => format!("it can't be read: {}", one_line(why, FRAGMENT)),
        Found::File { .. } => "it is a file".to_owned(),
    }
}

fn shown_path(path: &str) -> String {
    format!("`{}`", one_line(path, FRAGMENT))
}

/// Says what is asked of the text `named`.
fn asked(named: &str, test: &TextTest, not: bool) -> String {
    let no = if not { "no " } else { "" };
    match test {
        TextTest::Contains(text) => format!("{no}{} in {named}", fragment(text)),
        TextTest::Matches(pattern) => {
            format!("{no}match of /{}/ in {named}", cut(&visible(pattern), FRAGMENT))
        }
        TextTest::Equals(text) if not => format!("anything but {} as {named}", fragment(text)),
        TextTest::Equals(text) => format!("{} as {named}", fragment(text)),
        TextTest::Empty if not => format!("something in {named}"),
        TextTest::Empty => format!("nothing in {named}"),
        TextTest::Lines(lines) => format!("{} in {named}", plural(*lines, "line")),
    }
}

/// Returns what is wrong with texts of which one has to pass the test, or, where the opposite is
/// asked for, none may. Emptiness is asked of all of them together.
fn text_miss(texts: &[(String, &Text<'_>)], test: &TextTest, not: bool) -> Option<Miss> {
    let outcomes: Vec<Outcome> = texts.iter().map(|(_, text)| outcome(text, test)).collect();
    let all = |wanted: fn(&Outcome) -> bool| outcomes.iter().all(wanted);
    let any = |wanted: fn(&Outcome) -> bool| outcomes.iter().any(wanted);
    let is_yes = |outcome: &Outcome| matches!(outcome, Outcome::Yes(_));
    let is_no = |outcome: &Outcome| matches!(outcome, Outcome::No);
    let together = *test == TextTest::Empty;
    let holds = match (not, together) {
        (false, false) => any(is_yes),
        (false, true) => all(is_yes),
        (true, false) => all(is_no),
        (true, true) => any(is_no),
    };
    if holds {
        return None;
    }
    let names: Vec<&str> = texts.iter().map(|(name, _)| name.as_str()).collect();
    let joint = if together && !not { " and " } else { " or " };
    let expected = asked(&names.join(joint), test, not);
    let mut actual = Vec::new();
    for ((name, text), outcome) in texts.iter().zip(&outcomes) {
        let is_wrong = match outcome {
            Outcome::Yes(_) => not,
            Outcome::No => !not,
            Outcome::Unknown => true,
        };
        if is_wrong {
            let found = actually(text, test, outcome);
            let head = if texts.len() > 1 { format!("{name}: ") } else { String::new() };
            actual.push(format!("{head}{found}"));
        }
    }
    Some(Miss { expected, actual: actual.join("; ") })
}

/// Whether a text passes a test.
enum Outcome {
    /// It does; with the byte at which what was found begins.
    Yes(usize),
    /// It does not.
    No,
    /// What was kept of it does not say.
    Unknown,
}

fn outcome(text: &Text<'_>, test: &TextTest) -> Outcome {
    let whole: &str = &text.text;
    let found = match test {
        TextTest::Contains(wanted) => whole.find(wanted),
        // It was read when the scenario was; one that can't be read now is found nowhere.
        TextTest::Matches(pattern) => {
            regex_of(pattern).ok().and_then(|regex| regex.find(whole)).map(|found| found.start())
        }
        TextTest::Equals(_) | TextTest::Lines(_) if text.cut => return Outcome::Unknown,
        TextTest::Equals(wanted) => (without_end(whole) == without_end(wanted)).then_some(0),
        TextTest::Lines(lines) => (whole.lines().count() == *lines).then_some(0),
        TextTest::Empty if text.cut => return Outcome::No,
        TextTest::Empty => whole.is_empty().then_some(0),
    };
    match found {
        Some(at) => Outcome::Yes(at),
        None if text.cut => Outcome::Unknown,
        None => Outcome::No,
    }
}

fn without_end(text: &str) -> &str {
    text.trim_end_matches(['\n', '\r'])
}

/// Says what a text is that should be another.
fn actually(text: &Text<'_>, test: &TextTest, outcome: &Outcome) -> String {
    const CUT: &str = "not all of it was kept";
    let whole: &str = &text.text;
    if whole.is_empty() {
        return if text.cut { CUT.to_owned() } else { "it is empty".to_owned() };
    }
    let found = match (test, outcome) {
        (TextTest::Contains(_) | TextTest::Matches(_), Outcome::Yes(at)) => {
            let (number, line) = line_at(whole, *at);
            format!("line {number}: {}", fragment(line))
        }
        (_, Outcome::Yes(_)) => "it is just that".to_owned(),
        (TextTest::Equals(wanted), _) if !text.cut => first_difference(whole, wanted),
        (TextTest::Lines(_), _) if !text.cut => {
            format!("{}, the last is {}", plural(whole.lines().count(), "line"), last(whole))
        }
        (TextTest::Empty, _) => {
            let first = whole.lines().find(|line| !line.trim().is_empty()).unwrap_or("");
            format!("{}, the first is {}", plural(whole.lines().count(), "line"), fragment(first))
        }
        (TextTest::Contains(wanted), _) => match nearest_line(whole, wanted) {
            Some((number, line)) => format!("the nearest is line {number}: {}", fragment(line)),
            None => format!("the last line is {}", last(whole)),
        },
        (TextTest::Matches(_) | TextTest::Equals(_) | TextTest::Lines(_), _) => {
            format!("the last line is {}", last(whole))
        }
    };
    if text.cut { format!("{found}; {CUT}") } else { found }
}

/// Returns the line in which the byte `at` stands, with its number; of a long line what follows it.
fn line_at(text: &str, at: usize) -> (usize, &str) {
    let number = text[..at].matches('\n').count() + 1;
    let start = text[..at].rfind('\n').map_or(0, |end| end + 1);
    let line = text[start..].lines().next().unwrap_or("");
    let is_long = line.chars().nth(FRAGMENT).is_some();
    (number, if is_long { text[at..].lines().next().unwrap_or("") } else { line })
}

/// Returns the last line that holds more than white space, as a fragment.
fn last(text: &str) -> String {
    fragment(text.lines().rev().map(str::trim_end).find(|line| !line.is_empty()).unwrap_or(""))
}

/// Returns the line, with its number, that holds most of what `wanted` is made of, where it is
/// near; the last one of several. Only the last lines are looked at.
fn nearest_line<'a>(text: &'a str, wanted: &str) -> Option<(usize, &'a str)> {
    let pairs = |text: &str| -> Vec<(char, char)> {
        let chars: Vec<char> = text.chars().take(COMPARED).flat_map(char::to_lowercase).collect();
        let mut pairs: Vec<_> = chars.windows(2).map(|pair| (pair[0], pair[1])).collect();
        pairs.sort_unstable();
        pairs.dedup();
        pairs
    };
    let asked = pairs(wanted);
    let count = text.lines().count();
    text.lines()
        .enumerate()
        .skip(count.saturating_sub(CANDIDATES))
        .map(|(index, line)| {
            let there = pairs(line);
            let common = asked.iter().filter(|pair| there.binary_search(pair).is_ok()).count();
            (common, index + 1, line)
        })
        .filter(|(common, ..)| 2 * common > asked.len())
        .max_by_key(|(common, number, _)| (*common, *number))
        .map(|(_, number, line)| (number, line))
}

fn first_difference(text: &str, wanted: &str) -> String {
    let (mut found, mut asked) = (without_end(text).lines(), without_end(wanted).lines());
    for number in 1.. {
        match (found.next(), asked.next()) {
            (Some(line), Some(other)) if line == other => {}
            (Some(line), Some(_)) => return format!("line {number} is {}", fragment(line)),
            (Some(line), None) => {
                return format!("there is more, line {number}: {}", fragment(line));
            }
            (None, Some(_)) => return format!("it ends before line {number}"),
            (None, None) => break,
        }
    }
    "its line ends are others".to_owned()
}

/// Returns what is wrong with the value at a place in JSON; none when nothing is.
fn json_miss(
    text: &Text<'_>,
    named: &str,
    at: &[JsonStep],
    equals: &str,
    not: bool,
) -> Option<String> {
    if text.cut {
        return Some(format!("not all of {named} was kept, so it can't be read"));
    }
    if text.text.trim().is_empty() {
        return Some(format!("{named} is empty"));
    }
    let root: Value = match serde_json::from_str(&text.text) {
        Ok(root) => root,
        Err(error) => {
            let why = one_line(&error.to_string(), FRAGMENT);
            return Some(format!("{named} is no JSON: {why}"));
        }
    };
    let mut value = &root;
    for (depth, step) in at.iter().enumerate() {
        let above = shown_steps(&at[..depth]);
        let below = match (step, value) {
            (JsonStep::Key(key), Value::Object(fields)) => fields.get(key).ok_or_else(|| {
                let keys: Vec<&str> = fields.keys().map(String::as_str).take(KEYS).collect();
                let more = if fields.len() > KEYS { ", ..." } else { "" };
                match keys.is_empty() {
                    true => format!("{above} is an object without keys"),
                    false => format!(
                        "{above} has no {}, only {}{more}",
                        fragment(key),
                        shown_keys(&keys)
                    ),
                }
            }),
            (JsonStep::Index(index), Value::Array(items)) => items.get(*index).ok_or_else(|| {
                format!("{above} has {}, so there is no [{index}]", plural(items.len(), "item"))
            }),
            (_, other) => Err(format!("{above} is {}", kind_of(other))),
        };
        match below {
            Ok(below) => value = below,
            Err(why) => return Some(why),
        }
    }
    // It was read when the scenario was.
    let wanted: Value = serde_json::from_str(equals).unwrap_or_default();
    (same(value, &wanted) == not).then(|| cut(&visible(&value.to_string()), FRAGMENT))
}

fn shown_keys(keys: &[&str]) -> String {
    keys.iter().map(|key| fragment(&cut(key, 40))).collect::<Vec<_>>().join(", ")
}

fn kind_of(value: &Value) -> String {
    match value {
        Value::Object(_) => "an object".to_owned(),
        Value::Array(items) => format!("a list of {}", plural(items.len(), "item")),
        other => cut(&visible(&other.to_string()), FRAGMENT),
    }
}

/// Returns whether two values mean the same: numbers by what they are worth, `1` as `1.0`.
fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => {
            one == other || (one.is_f64() != other.is_f64() && one.as_f64() == other.as_f64())
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(key, value)| other.get(key).is_some_and(|o| same(value, o)))
        }
        (one, other) => one == other,
    }
}

/// Returns a way into JSON as people write it; `$` is the whole.
fn shown_steps(steps: &[JsonStep]) -> String {
    let is_plain = |key: &str| {
        !key.is_empty() && key.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-'))
    };
    let mut out = String::from("$");
    for step in steps {
        match step {
            JsonStep::Key(key) if is_plain(key) => out.extend([".", key]),
            JsonStep::Key(key) => out.push_str(&format!("[{}]", fragment(key))),
            JsonStep::Index(index) => out.push_str(&format!("[{index}]")),
        }
    }
    cut(&out, FRAGMENT)
}

fn fragment_of_json(json: &str) -> String {
    cut(&visible(&json.replace('\n', " ")), FRAGMENT)
}

/// Returns text in quotes, on one line, bounded and safe to show.
fn fragment(text: &str) -> String {
    let mut out = String::from("\"");
    let mut chars = text.chars();
    for c in chars.by_ref().take(FRAGMENT) {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c => out.push_str(&visible(c.encode_utf8(&mut [0; 4]))),
        }
    }
    if chars.next().is_some() {
        out.push('…');
    }
    out.push('"');
    out
}

fn cut(text: &str, limit: usize) -> String {
    match text.char_indices().nth(limit) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    static NOTHING: Redaction = Redaction::none();

    use super::*;
    use crate::scenario::parse;

    fn criteria(item: &str) -> Vec<Criterion> {
        let source = format!("# S\n## Evaluation\n```\nx\n```\n## Pass Criteria\n- {item}\n");
        let scenario = parse("s.md", source.as_bytes()).scenario.unwrap();
        assert!(scenario.criteria.iter().all(|criterion| criterion.check.is_some()), "{item}");
        scenario.criteria
    }

    fn observed<'a>(stdout: &'a [u8], file: &'a dyn Fn(&str) -> Found) -> Observed<'a> {
        Observed {
            stdout,
            stdout_cut: false,
            stderr: b"warning: x\n",
            stderr_cut: false,
            file,
            redaction: &NOTHING,
        }
    }

    fn files(path: &str) -> Found {
        let file = |bytes: &[u8]| Found::File { bytes: bytes.to_vec(), cut: false };
        match path {
            "a.json" => file(b"{\"n\": [1, 2.0, {\"k v\": \"x\"}], \"s\": null}"),
            "empty" => file(b""),
            "cut" => Found::File { bytes: b"abc\n".to_vec(), cut: true },
            "dir" => Found::Directory,
            "fifo" => Found::Other,
            "shut" => Found::Unreadable { why: "Permission denied".into() },
            _ => Found::Missing,
        }
    }

    fn holds(item: &str, stdout: &[u8]) {
        assert_eq!(unmet(&criteria(item), &observed(stdout, &files)), [], "{item}");
    }

    /// Checks what is said of a criterion that does not hold.
    fn misses(item: &str, stdout: &[u8], expected: &str, actual: &str) {
        let found = unmet(&criteria(item), &observed(stdout, &files));
        let found: Vec<_> =
            found.iter().map(|unmet| (unmet.expected.as_str(), unmet.actual.as_str())).collect();
        assert_eq!(found, [(expected, actual)], "{item}");
    }

    #[test]
    fn what_is_checked_has_the_secret_and_what_is_told_has_not() {
        let secret = "long-secret-1".repeat(20);
        let redaction = Redaction::of_variables([("K".to_owned(), secret.clone())]);
        let text = format!("key {secret} end\n");
        let check = |item: &str, expected: &[&str]| {
            let observed = Observed { redaction: &redaction, ..observed(text.as_bytes(), &files) };
            let found = unmet(&criteria(item), &observed);
            let found: Vec<&str> = found.iter().map(|unmet| unmet.actual.as_str()).collect();
            assert_eq!(found, expected, "{item}");
        };
        check("stdout contains \"-secret-1 end\"", &[]);
        check("stdout equals \"x\"", &["line 1 is \"key [K] end\""]);
        // Of what makes it fail, no part is told.
        check(
            "stdout does not contain \"secret-1 end\"",
            &["what was found holds a secret, and is not shown"],
        );
        check("stdout does not contain \"end\"", &["line 1: \"key [K] end\""]);
    }

    const TASKS: &[u8] = b"1 Buy milk\n2 call mum\n\n";

    #[test]
    fn a_text_is_found_or_the_nearest_line_is_shown() {
        holds("stdout contains \"milk\\n2\"", TASKS);
        holds("output contains \"warning\"", TASKS);
        misses(
            "stdout contains \"buy milk\"",
            TASKS,
            "\"buy milk\" in stdout",
            "the nearest is line 1: \"1 Buy milk\"",
        );
        misses(
            "stdout contains \"zebra\"",
            TASKS,
            "\"zebra\" in stdout",
            "the last line is \"2 call mum\"",
        );
        misses("stdout contains \"x\"", b"", "\"x\" in stdout", "it is empty");
        misses(
            "output contains \"zebra\"",
            TASKS,
            "\"zebra\" in stdout or stderr",
            "stdout: the last line is \"2 call mum\"; stderr: the last line is \"warning: x\"",
        );
    }

    #[test]
    fn a_text_that_must_not_be_there_is_shown_with_its_line() {
        holds("stdout does not contain \"x\"", TASKS);
        misses(
            "stdout does not contain \"mum\"",
            TASKS,
            "no \"mum\" in stdout",
            "line 2: \"2 call mum\"",
        );
        misses(
            "output does not contain \"warn\"",
            TASKS,
            "no \"warn\" in stdout or stderr",
            "stderr: line 1: \"warning: x\"",
        );
    }

    #[test]
    fn an_expression_sees_lines() {
        holds("stdout matches /^2 call \\w+$/", TASKS);
        holds("stdout does not match /^call/", TASKS);
        misses(
            "stdout matches /^call/",
            TASKS,
            "match of /^call/ in stdout",
            "the last line is \"2 call mum\"",
        );
    }

    #[test]
    fn emptiness_is_asked_of_all() {
        holds("stdout is empty", b"");
        holds("output is not empty", b"");
        misses("stderr is empty", b"", "nothing in stderr", "1 line, the first is \"warning: x\"");
        misses("stdout is not empty", b"", "something in stdout", "it is empty");
        misses(
            "output is empty",
            b"",
            "nothing in stdout and stderr",
            "stderr: 1 line, the first is \"warning: x\"",
        );
    }

    #[test]
    fn equal_texts_may_end_in_other_line_ends() {
        holds("stdout equals \"a\\nb\"", b"a\nb\r\n\n");
        misses("stdout equals \"a\\nb\"", b"a\nc", "\"a\\nb\" as stdout", "line 2 is \"c\"");
        misses("stdout equals \"a\"", b"a\nc", "\"a\" as stdout", "there is more, line 2: \"c\"");
        misses("stdout equals \"a\\nb\"", b"a\n", "\"a\\nb\" as stdout", "it ends before line 2");
        misses(
            "stdout does not equal 'a'",
            b"a\n",
            "anything but \"a\" as stdout",
            "it is just that",
        );
        misses("stdout has 2 lines", b"a", "2 lines in stdout", "1 line, the last is \"a\"");
    }

    #[test]
    fn what_stands_at_a_path_is_said() {
        holds("file a.json exists", b"");
        holds("file none does not exist", b"");
        holds("directory dir exists", b"");
        misses("file none exists", b"", "a file at `none`", "it does not exist");
        misses("file dir exists", b"", "a file at `dir`", "it is a directory");
        misses("directory a.json exists", b"", "a directory at `a.json`", "it is a file");
        misses(
            "file fifo does not exist",
            b"",
            "nothing at `fifo`",
            "it is neither a file nor a directory",
        );
        misses(
            "file shut contains 'x'",
            b"",
            "\"x\" in `shut`",
            "it can't be read: Permission denied",
        );
        misses("file empty is not empty", b"", "something in `empty`", "it is empty");
    }

    #[test]
    fn a_value_in_json_is_compared_by_what_it_means() {
        holds("json a equals 1.0", b"{\"a\": 1}");
        holds(
            "json a.b[1] equals {\"x\": 1, \"y\": [2]}",
            b"{\"a\":{\"b\":[0,{\"y\":[2.0],\"x\":1}]}}",
        );
        holds("json n[2][\"k v\"] in a.json equals \"x\"", b"");
        holds("json a does not equal 2", b"{\"a\": 1}");
        let at = "3 at $.a[1] of stdout";
        let check = |stdout: &[u8], actual| misses("json a[1] equals 3", stdout, at, actual);
        check(b"{\"a\": [1, \"3\"]}", "\"3\"");
        check(b"{\"a\": [1]}", "$.a has 1 item, so there is no [1]");
        check(b"{\"b\": 1, \"c d\": 2}", "$ has no \"a\", only \"b\", \"c d\"");
        check(b"{}", "$ is an object without keys");
        check(b"{\"a\": null}", "$.a is null");
        check(b"[]", "$ is a list of 0 items");
        check(b" \n", "stdout is empty");
        check(b"{\"a\": [1,", "stdout is no JSON: EOF while parsing a value at line 1 column 9");
        misses("json s in none equals null", b"", "null at $.s of `none`", "it does not exist");
    }

    #[test]
    fn nothing_holds_because_too_much_was_written() {
        let file = |_: &str| Found::Missing;
        let check = |item: &str, is_met: bool| {
            let observed = Observed { stdout_cut: true, ..observed(b"abc\n", &file) };
            let found = unmet(&criteria(item), &observed);
            assert_eq!(found.is_empty(), is_met, "{item}");
            assert!(found.iter().all(|unmet| unmet.actual.contains("not all of")), "{found:?}");
        };
        check("stdout contains \"abc\"", true);
        check("stdout is not empty", true);
        check("stdout contains \"abd\"", false);
        check("stdout does not contain \"x\"", false);
        check("stdout does not match /x/", false);
        check("stdout equals \"abc\"", false);
        check("stdout has 1 line", false);
        check("stdout is empty", false);
        check("json $ equals 1", false);
        misses(
            "file cut equals 'abc'",
            b"",
            "\"abc\" as `cut`",
            "the last line is \"abc\"; not all of it was kept",
        );
    }

    #[test]
    fn what_a_program_wrote_commands_no_terminal_and_is_bounded() {
        let mut stdout = b"\x1b[2J\xff\"\xe2\x80\xae ".to_vec();
        stdout.extend(b"x".repeat(100_000));
        let found = unmet(&criteria("stdout contains 'zz'"), &observed(&stdout, &files));
        let actual = &found[0].actual;
        assert!(
            actual.starts_with("the last line is \"\\u{1b}[2J\u{fffd}\\\"\\u{202e} xx"),
            "{actual}"
        );
        assert!(actual.ends_with("x…\"") && actual.len() < 300, "{actual}");
    }

    #[test]
    fn the_found_text_of_a_long_line_is_shown() {
        let stdout = format!("{}Traceback{}", "é".repeat(500), "y".repeat(500));
        let found = unmet(
            &criteria("stdout does not contain 'Trace'"),
            &observed(stdout.as_bytes(), &files),
        );
        assert!(found[0].actual.starts_with("line 1: \"Traceback"), "{found:?}");
    }

    #[test]
    fn exit_0_and_prose_hold() {
        holds("exit code is 0", b"");
        let prose = Criterion { text: "It is readable.".into(), line: 1, check: None };
        assert_eq!(unmet(&[prose], &observed(b"", &files)), []);
    }

    proptest! {
        #[test]
        fn any_output_is_judged_and_what_is_said_is_bounded(
            stdout in prop::collection::vec(any::<u8>(), 0..300),
            cut in any::<bool>(),
            item in prop::sample::select(vec![
                "stdout contains 'é'", "output does not contain 'a'", "stdout matches /^.$/", "stdout equals 'a'",
                "stdout has 2 lines", "output is empty", "file x contains 'a'", "json a[0] equals 1", "json $ equals 1",
            ]),
        ) {
            let file = |_: &str| Found::File { bytes: stdout.clone(), cut };
            let observed = Observed { stdout: &stdout, stdout_cut: cut, stderr: &stdout, stderr_cut: cut, file: &file, redaction: &NOTHING };
            for unmet in unmet(&criteria(item), &observed) {
                prop_assert!(!unmet.expected.is_empty() && !unmet.actual.is_empty());
                let commands = unmet.actual.contains('\u{1b}');
                prop_assert!(unmet.actual.len() < 5_000 && !commands);
            }
        }
    }
}
