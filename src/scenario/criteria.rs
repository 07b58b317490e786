//! Reads pass criteria that can be checked: `stdout contains "..."`, `file exists PATH`.
//!
//! Says what an item asks for. Whether it holds is for `verdict::criteria` to say, and what is in
//! no such form is text for people.

use regex::{Regex, RegexBuilder};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::text::{nearest, one_line, single_spaced, why_no_regex};

/// One item under `## Pass Criteria`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Criterion {
    /// The item as written, on one line.
    pub text: String,
    /// Its line in the file, from 1.
    pub line: usize,
    /// What is checked; none where the item is for people.
    pub check: Option<CriterionCheck>,
}

/// What an item asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "check")]
pub enum CriterionCheck {
    /// The evaluation exits with 0. Holds wherever criteria are checked at all.
    ExitZero,
    /// Something about a text.
    Text {
        /// Which text.
        of: Subject,
        /// What is asked of it.
        is: TextTest,
        /// Whether the opposite is asked.
        not: bool,
    },
    /// Something is there.
    Exists {
        /// Where, relative to the root of the tree; stays in it.
        path: String,
        /// Whether it must be a directory, not a file.
        directory: bool,
        /// Whether nothing may be there instead.
        not: bool,
    },
    /// A value within JSON.
    Json {
        /// The way to it; empty for the whole.
        at: Vec<JsonStep>,
        /// The file that holds the JSON, relative to the root of the tree; none for stdout.
        file: Option<String>,
        /// The value as JSON.
        equals: String,
        /// Whether any other value is asked for.
        not: bool,
    },
}

/// A text that criteria are about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// What the evaluation wrote to stdout.
    Stdout,
    /// What it wrote to stderr.
    Stderr,
    /// Either of the two.
    Output,
    /// What a file holds, its path being relative to the root of the tree.
    File(String),
}

/// What is asked of a text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TextTest {
    /// It holds this; never empty.
    Contains(String),
    /// The regular expression, which [`regex_of`] can read, is found in it.
    Matches(String),
    /// It is this, line ends at the end of either aside.
    Equals(String),
    /// There is nothing in it.
    Empty,
    /// It has this many lines.
    Lines(usize),
}

/// A step into JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JsonStep {
    /// To the value of a key.
    Key(String),
    /// To an item of a list, from 0.
    Index(usize),
}

/// The largest that a compiled expression may be, in bytes.
const LARGEST_REGEX: usize = 1 << 20;

/// Returns the expression of a `matches`; `^` and `$` stand for the ends of a line.
///
/// # Errors
/// It is none, or it is too large when compiled.
pub fn regex_of(pattern: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(pattern).multi_line(true).size_limit(LARGEST_REGEX).build()
}

/// What an item reads as.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// It can be checked.
    Check(CriterionCheck),
    /// It is for people.
    Text,
    /// It begins like one that can be checked, and is none.
    Slip {
        /// What is wrong.
        message: String,
        /// What was most likely meant.
        help: String,
    },
    /// It names a path outside of the tree.
    Outside {
        /// The path as written.
        path: String,
    },
}

/// Reads the text of an item, which is on one line.
pub(super) fn read(text: &str) -> Reading {
    let text = unwrapped(text);
    match Item::of(text) {
        Ok(Some(check)) => Reading::Check(check),
        Ok(None) => Reading::Text,
        Err(Trouble::Outside(path)) => Reading::Outside { path },
        Err(Trouble::Slip { message, help }) => Reading::Slip { message, help },
    }
}

/// Why an item is not checked though it seems to want it.
enum Trouble {
    Slip { message: String, help: String },
    Outside(String),
}

fn slip(message: impl Into<String>, help: impl Into<String>) -> Trouble {
    Trouble::Slip { message: message.into(), help: help.into() }
}

/// Returns the item without a checkbox, a comment at its end, and the backticks around all of it.
fn unwrapped(text: &str) -> &str {
    let mut text = text.trim();
    for checkbox in ["[ ] ", "[x] ", "[X] "] {
        text = text.strip_prefix(checkbox).unwrap_or(text).trim_start();
    }
    if text.ends_with("-->")
        && let Some(at) = text.rfind(" <!--")
    {
        text = text[..at].trim_end();
    }
    match value(text) {
        Some(quoted) if quoted.mark == '`' && is_end(quoted.rest) => {
            quoted.raw.trim().strip_suffix('.').unwrap_or(quoted.raw).trim()
        }
        _ => text,
    }
}

/// An item whose first word has been read.
struct Item<'a> {
    /// The first word, in lower case.
    subject: &'static str,
    /// What follows it.
    rest: &'a str,
    /// Whether the first word is no word of prose, so that the item is surely meant to be checked.
    sure: bool,
}

type Read = Result<Option<CriterionCheck>, Trouble>;

impl<'a> Item<'a> {
    fn of(text: &'a str) -> Read {
        const SUBJECTS: [(&str, bool); 8] = [
            ("stdout", true),
            ("stderr", true),
            ("output", false),
            ("file", false),
            ("directory", false),
            ("json", false),
            ("exit", false),
            ("exits", false),
        ];
        let (first, rest) = word(text);
        let bare = first.trim_matches('`');
        let known = SUBJECTS.iter().find(|(subject, _)| subject.eq_ignore_ascii_case(bare));
        match known {
            Some((subject, sure)) => Item { subject, rest, sure: *sure }.read(),
            None => Self::misspelt(bare, rest),
        }
    }

    /// Reads what begins with a word that is nearly a stream's name.
    fn misspelt(first: &str, rest: &'a str) -> Read {
        let Some(subject) = nearest(first, ["stdout", "stderr"]) else { return Ok(None) };
        match (Item { subject, rest, sure: false }).read() {
            Ok(Some(_)) => Err(slip(
                format!("`{}` is neither stdout nor stderr", one_line(first, 40)),
                form(subject, rest),
            )),
            _ => Ok(None),
        }
    }

    fn read(&self) -> Read {
        match self.subject {
            "stdout" => self.text_test(Subject::Stdout, self.rest, "stdout"),
            "stderr" => self.text_test(Subject::Stderr, self.rest, "stderr"),
            "output" => self.text_test(Subject::Output, self.rest, "output"),
            "json" => self.json(),
            "exit" | "exits" => self.exit(),
            _ => self.path(),
        }
    }

    /// Reads what is asked of a text; `named` is how the item names it.
    fn text_test(&self, of: Subject, rest: &str, named: &str) -> Read {
        const VERBS: [(&str, Verb, bool); 10] = [
            ("contains", Verb::Contains, false),
            ("does not contain", Verb::Contains, true),
            ("doesn't contain", Verb::Contains, true),
            ("matches", Verb::Matches, false),
            ("does not match", Verb::Matches, true),
            ("doesn't match", Verb::Matches, true),
            ("equals", Verb::Equals, false),
            ("does not equal", Verb::Equals, true),
            ("is empty", Verb::Empty, false),
            ("is not empty", Verb::Empty, true),
        ];
        if let Some(lines) = lines(rest) {
            if of == Subject::Output {
                let help = format!("stdout has {lines} lines");
                return Err(slip("lines are counted in one stream, stdout or stderr", help));
            }
            return Ok(Some(CriterionCheck::Text { of, is: TextTest::Lines(lines), not: false }));
        }
        let found = VERBS
            .iter()
            .find_map(|(phrase, verb, not)| Some((phrase, verb, *not, after(rest, phrase)?)));
        let Some((phrase, verb, not, rest)) = found else {
            return self.unknown_verb(rest, named, &VERBS.map(|(phrase, ..)| phrase));
        };
        let is = match verb {
            Verb::Empty if is_end(rest) => Some(TextTest::Empty),
            Verb::Empty => None,
            Verb::Matches => return self.matches(of, rest, not, &format!("{named} {phrase}")),
            Verb::Contains | Verb::Equals => match value(rest) {
                Some(quoted) if is_end(quoted.rest) => {
                    if *verb == Verb::Equals {
                        Some(TextTest::Equals(quoted.text))
                    } else if quoted.text.is_empty() {
                        let help = format!("{named} is not empty");
                        return Err(slip("every text contains the empty one", help));
                    } else {
                        Some(TextTest::Contains(quoted.text))
                    }
                }
                Some(_) => {
                    let message = "there is more behind the text in quotes".to_owned();
                    let help = format!("put all of it in quotes: {named} {phrase} '...'");
                    return Err(slip(message, help));
                }
                None => None,
            },
        };
        match is {
            Some(is) => Ok(Some(CriterionCheck::Text { of, is, not })),
            None if *verb == Verb::Empty => Ok(None),
            None if self.sure || is_one_word(rest) => {
                let text = rest.trim().trim_end_matches('.').trim_matches(['"', '\'', '`']);
                let help = form(named, &format!("{phrase} \"{text}\""));
                Err(slip("the text is not in quotes", help))
            }
            None => Ok(None),
        }
    }

    fn matches(&self, of: Subject, rest: &str, not: bool, head: &str) -> Read {
        let pattern = match expression(rest) {
            Some(pattern) if !pattern.is_empty() => pattern,
            _ if self.sure || rest.trim_start().starts_with(['/', '"', '`', '\'']) => {
                let help = format!("{head} /expression/");
                return Err(slip("there is no regular expression between two `/`", help));
            }
            _ => return Ok(None),
        };
        match regex_of(&pattern) {
            Ok(_) => Ok(Some(CriterionCheck::Text { of, is: TextTest::Matches(pattern), not })),
            Err(error) => {
                let why = why_no_regex(&error);
                let message = format!("the regular expression can't be read: {why}");
                Err(slip(message, "its syntax is that of the `regex` crate, without look-around"))
            }
        }
    }

    /// Says what was meant by a verb that is not known; nothing where it may well be prose.
    fn unknown_verb(&self, rest: &str, named: &str, verbs: &[&'static str]) -> Read {
        let at = rest.find(['"', '\'', '`', '/', '“']).unwrap_or(rest.len());
        let (written, value) = rest.split_at(at);
        let written = single_spaced(written);
        let written = written.trim_end_matches('.');
        let unknown = || format!("`{}` is not known here", one_line(written, 60));
        if let Some(near) = nearest(written, verbs.iter().copied()) {
            let help = form(named, &format!("{near} {value}"));
            return Err(slip(unknown(), help));
        }
        // One that ends in what could be a value was meant for the machine.
        if self.sure && !written.is_empty() && self::value(value).is_some_and(|v| is_end(v.rest)) {
            let help = form(named, &format!("contains {value}"));
            return Err(slip(unknown(), help));
        }
        if self.sure && nearest(written.split(' ').next().unwrap_or(""), ["contains"]).is_some() {
            let text = rest.trim().split_once(' ').map_or("...", |(_, text)| text);
            let help = form(named, &format!("contains \"{}\"", text.trim_matches(['"', '.'])));
            return Err(slip(unknown(), help));
        }
        Ok(None)
    }

    /// Reads `exists PATH`, `PATH exists`, and what is asked of the text of a file.
    fn path(&self) -> Read {
        const ABSENT: [&str; 2] = ["does not exist", "doesn't exist"];
        let directory = self.subject == "directory";
        let exists = |path: &str, not| {
            let path = inside(path)?;
            Ok(Some(CriterionCheck::Exists { path, directory, not }))
        };
        let first = after(self.rest, "exists").map(|rest| (rest, false));
        let first = first.or_else(|| Some((first_of(self.rest, &ABSENT)?, true)));
        if let Some((rest, not)) = first {
            let Some((path, more)) = operand(rest) else {
                let help = format!("{} exists PATH", self.subject);
                return Err(slip("no path is named", help));
            };
            return if is_end(more) { exists(&path, not) } else { Ok(None) };
        }
        let Some((path, rest)) = operand(self.rest) else { return Ok(None) };
        if after(rest, "exists").is_some_and(is_end) {
            return exists(&path, false);
        }
        if first_of(rest, &ABSENT).is_some_and(is_end) {
            return exists(&path, true);
        }
        let written = rest.trim().trim_end_matches('.');
        if let Some(near) = nearest(written, ["exists", "does not exist"]) {
            let help = format!("{} {} {near}", self.subject, one_line(&path, 100));
            return Err(slip(format!("`{written}` is not what is checked"), help));
        }
        if directory {
            return Ok(None);
        }
        let named = format!("file {}", one_line(&path, 100));
        // What can't be a check is prose, wherever the word after `file` would lead.
        let outer = Item { subject: self.subject, rest, sure: false };
        match outer.text_test(Subject::File(String::new()), rest, &named)? {
            Some(CriterionCheck::Text { is, not, .. }) => {
                Ok(Some(CriterionCheck::Text { of: Subject::File(inside(&path)?), is, not }))
            }
            _ => Ok(None),
        }
    }

    /// Reads `PATH equals VALUE` and `PATH in FILE equals VALUE`.
    fn json(&self) -> Read {
        let Some((path, rest)) = json_operand(self.rest) else { return Ok(None) };
        let (file, rest) = match after(rest, "in").map(operand) {
            Some(Some((file, rest))) => (Some(file), rest),
            Some(None) => return Ok(None),
            None => (None, rest),
        };
        let named = match &file {
            Some(file) => format!("json {} in {}", one_line(&path, 100), one_line(file, 100)),
            None => format!("json {}", one_line(&path, 100)),
        };
        let (value, not) = match after(rest, "equals") {
            Some(value) => (value, false),
            None => match first_of(rest, &["does not equal", "doesn't equal"]) {
                Some(value) => (value, true),
                None => {
                    let mut words = rest.split_whitespace();
                    let verb = words.next().unwrap_or("");
                    let is_near =
                        nearest(verb, ["equals"]).is_some() || verb == "is" || verb == "==";
                    return match words.next() {
                        Some(_) if is_near => {
                            let value = rest.trim().split_once(char::is_whitespace);
                            let value = value.map_or("", |(_, value)| value.trim());
                            let help = form(&named, &format!("equals {value}"));
                            Err(slip(format!("`{verb}` is not what is checked"), help))
                        }
                        _ => Ok(None),
                    };
                }
            },
        };
        let Some(at) = json_path(&path) else {
            let message = format!("`{}` is no path into JSON", one_line(&path, 100));
            return Err(slip(message, "write keys and items as in a.b[0]; the whole is $"));
        };
        let Some(equals) = json_value(value) else {
            let text = value.trim().trim_end_matches('.').trim_matches(['"', '\'', '`']);
            let quoted = Value::from(text).to_string();
            let help = form(&named, &format!("equals {quoted}"));
            return Err(slip("the value is no JSON", help));
        };
        let file = file.as_deref().map(inside).transpose()?;
        Ok(Some(CriterionCheck::Json { at, file, equals, not }))
    }

    /// Reads `exit code is N` and its like.
    fn exit(&self) -> Read {
        let mut rest = self.rest;
        for optional in ["with", "code", "status", "is", "equals", "of"] {
            rest = after(rest, optional).unwrap_or(rest);
        }
        let number = rest.trim().trim_end_matches('.').trim_matches('`');
        match number.parse::<i64>() {
            Ok(0) => Ok(Some(CriterionCheck::ExitZero)),
            Ok(code) => Err(slip(
                format!("an evaluation passes with exit code 0 alone, so {code} is not checked"),
                format!("let the evaluation ask for it: `command; test $? -eq {code}`"),
            )),
            Err(_) => Ok(None),
        }
    }
}

#[derive(PartialEq)]
enum Verb {
    Contains,
    Matches,
    Equals,
    Empty,
}

/// Returns a criterion as it should be written, bounded.
fn form(subject: &str, rest: &str) -> String {
    one_line(&format!("write it as: {subject} {}", rest.trim()), 200)
}

/// Returns the first word and what follows it.
fn word(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    text.split_at(text.find(char::is_whitespace).unwrap_or(text.len()))
}

fn is_one_word(text: &str) -> bool {
    text.split_whitespace().count() == 1
}

/// Returns whether nothing follows but a full stop.
fn is_end(rest: &str) -> bool {
    matches!(rest.trim(), "" | ".")
}

/// Returns what follows `phrase` at the head of `text`, whatever its case and white space; none
/// where something else stands there.
fn after<'a>(text: &'a str, phrase: &str) -> Option<&'a str> {
    let mut rest = text;
    for wanted in phrase.split(' ') {
        rest = rest.trim_start();
        let found = rest.get(..wanted.len())?;
        if !found.replace('\u{2019}', "'").eq_ignore_ascii_case(wanted) {
            return None;
        }
        rest = &rest[wanted.len()..];
        if rest.starts_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '\'')) {
            return None;
        }
    }
    Some(rest)
}

fn first_of<'a>(text: &'a str, phrases: &[&str]) -> Option<&'a str> {
    phrases.iter().find_map(|phrase| after(text, phrase))
}

/// A text in quotes or backticks.
struct Quoted<'a> {
    /// What is meant.
    text: String,
    /// What stands between the quotes.
    raw: &'a str,
    /// The opening quote.
    mark: char,
    /// What follows.
    rest: &'a str,
}

/// Reads the quoted text at the head of `text`. Between `"` a backslash escapes `"`, `\`, `n`, `r`
/// and `t`; between the others everything is what it is.
fn value(text: &str) -> Option<Quoted<'_>> {
    let text = text.trim_start();
    let mark = text.chars().next()?;
    let inner = &text[mark.len_utf8()..];
    let close = match mark {
        '"' => return escaped(inner),
        '`' => return ticked(text),
        '\'' => '\'',
        '\u{201c}' => '\u{201d}',
        '\u{2018}' => '\u{2019}',
        _ => return None,
    };
    let (raw, rest) = inner.split_once(close)?;
    Some(Quoted { text: raw.to_owned(), raw, mark, rest })
}

fn escaped(inner: &str) -> Option<Quoted<'_>> {
    let mut text = String::new();
    let mut chars = inner.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => {
                return Some(Quoted { text, raw: &inner[..at], mark: '"', rest: &inner[at + 1..] });
            }
            '\\' => match chars.next()?.1 {
                'n' => text.push('\n'),
                'r' => text.push('\r'),
                't' => text.push('\t'),
                c @ ('"' | '\\') => text.push(c),
                other => text.extend(['\\', other]),
            },
            c => text.push(c),
        }
    }
    None
}

/// Reads a code span as CommonMark does.
fn ticked(text: &str) -> Option<Quoted<'_>> {
    let width = text.len() - text.trim_start_matches('`').len();
    let inner = &text[width..];
    let mut at = 0;
    loop {
        at += inner[at..].find('`')?;
        let run = inner[at..].len() - inner[at..].trim_start_matches('`').len();
        if run == width {
            break;
        }
        at += run;
    }
    let raw = &inner[..at];
    let stripped = raw.strip_prefix(' ').and_then(|raw| raw.strip_suffix(' '));
    let text = stripped.filter(|_| !raw.trim().is_empty()).unwrap_or(raw).to_owned();
    Some(Quoted { text, raw, mark: '`', rest: &inner[at + width..] })
}

/// Reads a path or a name: quoted, or one word, without a full stop where that ends the item.
fn operand(text: &str) -> Option<(String, &str)> {
    if let Some(quoted) = value(text) {
        return Some((quoted.text, quoted.rest));
    }
    let (first, rest) = word(text);
    let first = if rest.trim().is_empty() && first.len() > 1 {
        first.strip_suffix('.').unwrap_or(first)
    } else {
        first
    };
    (!first.is_empty() && !first.starts_with(['"', '`', '\''])).then(|| (first.to_owned(), rest))
}

/// Reads a path into JSON, which may hold white space between `[` and `]`.
fn json_operand(text: &str) -> Option<(String, &str)> {
    let text = text.trim_start();
    let mut nested = false;
    let end = text.find(|c: char| {
        nested = (nested || c == '[') && c != ']';
        c.is_whitespace() && !nested
    });
    match text.chars().next()? {
        '"' | '\'' | '`' => operand(text),
        _ => end.map(|end| (text[..end].to_owned(), &text[end..])),
    }
}

/// Reads `has N lines`.
fn lines(rest: &str) -> Option<usize> {
    let (number, rest) = word(after(rest, "has")?);
    let rest = after(rest, "lines").or_else(|| after(rest, "line"))?;
    is_end(rest).then(|| number.parse().ok())?
}

/// Reads a regular expression: `/re/`, with flags of `imsx` behind it, or one in quotes.
fn expression(rest: &str) -> Option<String> {
    let rest = rest.trim();
    if let Some(inner) = rest.strip_prefix('/') {
        let (pattern, flags) = inner.rsplit_once('/')?;
        let flags = flags.trim_end_matches('.').trim();
        if !flags.chars().all(|c| "imsx".contains(c)) {
            return None;
        }
        // A flag alone is no expression.
        let is_flagged = !flags.is_empty() && !pattern.is_empty();
        return Some(if is_flagged { format!("(?{flags}){pattern}") } else { pattern.to_owned() });
    }
    let quoted = value(rest).filter(|quoted| is_end(quoted.rest))?;
    let raw = quoted.raw.trim();
    if raw.len() > 1 && raw.starts_with('/') {
        expression(raw)
    } else {
        Some(quoted.raw.to_owned())
    }
}

/// Returns `path` relative to the root of the tree, without `.` in it.
fn inside(path: &str) -> Result<String, Trouble> {
    let parts: Vec<&str> = path.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    if path.starts_with(['/', '~']) || parts.is_empty() || parts.contains(&"..") {
        return Err(Trouble::Outside(one_line(path, 200)));
    }
    if path.contains(['*', '?', '$']) {
        let message = format!("`{}` is a pattern, and is not looked for", one_line(path, 100));
        return Err(slip(message, "name one path; let the evaluation check more"));
    }
    Ok(parts.join("/"))
}

/// Reads `a.b[0]["c d"]`, with or without `$` before it; none where it is no such path.
fn json_path(path: &str) -> Option<Vec<JsonStep>> {
    let mut rest = path.strip_prefix('$').unwrap_or(path);
    if path == "." {
        return Some(Vec::new());
    }
    let mut steps = Vec::new();
    while !rest.is_empty() {
        if let Some(inner) = rest.strip_prefix('[') {
            if let Some(quoted) = value(inner) {
                steps.push(JsonStep::Key(quoted.text));
                rest = quoted.rest.strip_prefix(']')?;
            } else {
                let (index, more) = inner.split_once(']')?;
                steps.push(JsonStep::Index(index.parse().ok()?));
                rest = more;
            }
            continue;
        }
        rest = match rest.strip_prefix('.') {
            Some(rest) => rest,
            None if steps.is_empty() && !path.starts_with('$') => rest,
            None => return None,
        };
        let end = rest.find(['.', '[']).unwrap_or(rest.len());
        if end == 0 {
            return None;
        }
        steps.push(JsonStep::Key(rest[..end].to_owned()));
        rest = &rest[end..];
    }
    (!steps.is_empty() || path == "$").then_some(steps)
}

/// Returns the JSON that `text` is, with or without backticks and a full stop.
fn json_value(text: &str) -> Option<String> {
    let text = text.trim();
    let text = match value(text) {
        Some(quoted) if quoted.mark == '`' && is_end(quoted.rest) => quoted.raw.trim(),
        _ => text,
    };
    let is_json = |text: &&str| serde_json::from_str::<Value>(text).is_ok();
    let found = Some(text).filter(is_json).or_else(|| text.strip_suffix('.').filter(is_json))?;
    Some(found.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, expected: CriterionCheck) {
        assert_eq!(read(text), Reading::Check(expected), "{text}");
    }

    fn text(of: Subject, is: TextTest, not: bool) -> CriterionCheck {
        CriterionCheck::Text { of, is, not }
    }

    fn check_slip(text: &str, nearest: &str) {
        match read(text) {
            Reading::Slip { help, .. } => assert!(help.contains(nearest), "{text}: {help}"),
            other => panic!("{text}: {other:?}"),
        }
    }

    fn check_prose(text: &str) {
        assert_eq!(read(text), Reading::Text, "{text}");
    }

    #[test]
    fn a_text_is_looked_for_in_a_stream() {
        let holds = |word: &str| TextTest::Contains(word.to_owned());
        check("stdout contains \"a b\"", text(Subject::Stdout, holds("a b"), false));
        check("STDERR  Contains 'a\\n'.", text(Subject::Stderr, holds("a\\n"), false));
        check("output does not contain `x`", text(Subject::Output, holds("x"), true));
        check("stdout doesn't contain \u{201c}x\u{201d}", text(Subject::Stdout, holds("x"), true));
        check("`stdout` contains `` a`b `` .", text(Subject::Stdout, holds("a`b"), false));
        check("`stdout contains \"x\"`", text(Subject::Stdout, holds("x"), false));
        check("[ ] stdout contains \"x\" <!-- why -->", text(Subject::Stdout, holds("x"), false));
        check(r#"stdout contains "a\"\n\d""#, text(Subject::Stdout, holds("a\"\n\\d"), false));
        check(
            "file a/b.txt contains \"x\"",
            text(Subject::File("a/b.txt".into()), holds("x"), false),
        );
    }

    #[test]
    fn a_text_is_empty_equal_or_of_some_lines() {
        check("stderr is empty.", text(Subject::Stderr, TextTest::Empty, false));
        check("stdout is not empty", text(Subject::Stdout, TextTest::Empty, true));
        check("stdout equals \"\"", text(Subject::Stdout, TextTest::Equals(String::new()), false));
        check(
            "stdout does not equal 'a'",
            text(Subject::Stdout, TextTest::Equals("a".into()), true),
        );
        check("stdout has 1 line", text(Subject::Stdout, TextTest::Lines(1), false));
        check(
            "file ./log has 12 lines.",
            text(Subject::File("log".into()), TextTest::Lines(12), false),
        );
    }

    #[test]
    fn an_expression_stands_between_slashes() {
        let matches = |re: &str| text(Subject::Stdout, TextTest::Matches(re.to_owned()), false);
        check(r"stdout matches /^a\/b+$/", matches(r"^a\/b+$"));
        check("stdout matches /a/b/i.", matches("(?i)a/b"));
        check("stdout matches `/a.b/`", matches("a.b"));
        check(r#"stdout matches "a\d""#, matches(r"a\d"));
    }

    #[test]
    fn what_is_there_is_named_before_or_behind() {
        let exists = |path: &str, directory, not| CriterionCheck::Exists {
            path: path.to_owned(),
            directory,
            not,
        };
        check("file exists out/a.txt.", exists("out/a.txt", false, false));
        check("File `a b.txt` exists", exists("a b.txt", false, false));
        check("file does not exist ./x", exists("x", false, true));
        check("file x does not exist.", exists("x", false, true));
        check("directory out/ exists", exists("out", true, false));
    }

    #[test]
    fn a_value_in_json_has_a_path() {
        let key = |key: &str| JsonStep::Key(key.to_owned());
        let json =
            |at: Vec<JsonStep>, file: Option<&str>, equals: &str, not| CriterionCheck::Json {
                at,
                file: file.map(str::to_owned),
                equals: equals.to_owned(),
                not,
            };
        let at = vec![key("a"), key("b"), JsonStep::Index(0), key("c d")];
        check("json a.b[0][\"c d\"] equals 3.", json(at, None, "3", false));
        check("json $.a equals `{\"x\": [1]}`", json(vec![key("a")], None, "{\"x\": [1]}", false));
        check("json $ equals []", json(vec![], None, "[]", false));
        check("json [1] does not equal null", json(vec![JsonStep::Index(1)], None, "null", true));
        check(
            "JSON a in out/x.json equals \"b.\"",
            json(vec![key("a")], Some("out/x.json"), "\"b.\"", false),
        );
    }

    #[test]
    fn exit_0_is_what_a_pass_is_and_another_code_is_a_slip() {
        for text in
            ["exit code is 0", "Exit code 0.", "exits with 0", "exit status is `0`", "exit 0"]
        {
            check(text, CriterionCheck::ExitZero);
        }
        check_slip("exit code is 3", "test $? -eq 3");
    }

    #[test]
    fn a_slip_is_told_with_the_nearest_form() {
        check_slip("stdout contain \"x\"", "stdout contains \"x\"");
        check_slip("sdtout contains \"x\"", "stdout contains \"x\"");
        check_slip("stdout shows `x`", "stdout contains `x`");
        check_slip("stdout contains hello", "stdout contains \"hello\"");
        check_slip("stdout contains \"open", "stdout contains \"open\"");
        check_slip("stdout contains \"a\" or \"b\"", "quotes");
        check_slip("stdout contains \"\"", "stdout is not empty");
        check_slip("stdout does not contains \"x\"", "stdout does not contain \"x\"");
        check_slip("stderr is emtpy", "stderr is empty");
        check_slip("stdout matches /(/", "regex");
        check_slip("stdout matches /a/q", "/expression/");
        check_slip("stdout matches /\\w{9999}/", "regex");
        check_slip("output has 3 lines", "stdout has 3 lines");
        check_slip("file out.txt exist", "file out.txt exists");
        check_slip("file exists out/*.txt", "one path");
        check_slip("file exists", "file exists PATH");
        check_slip("json a equals Bob", "json a equals \"Bob\"");
        check_slip("json a is 3", "json a equals 3");
        check_slip("json a..b equals 3", "a.b[0]");
    }

    #[test]
    fn paths_stay_inside() {
        for path in ["/etc/passwd", "../x", "a/../../x", "~/x", "/"] {
            let outside = Reading::Outside { path: path.to_owned() };
            assert_eq!(read(&format!("file exists {path}")), outside);
            assert_eq!(read(&format!("json a in {path} equals 1")), outside);
            assert_eq!(read(&format!("file `{path}` contains 'x'")), outside);
        }
    }

    #[test]
    fn prose_stays_prose() {
        for text in [
            "",
            "The list is readable.",
            "Output is readable and in order",
            "Output contains the list of tasks.",
            "File formats are kept",
            "file names exist in two languages",
            "JSON is valid",
            "json output has the right keys",
            "Exit code of the server is 0",
            "exits cleanly",
            "stdout and stderr are both readable",
            "stdout is a list of tasks",
            "`a` is shown",
            "Stdin \"x\"",
        ] {
            check_prose(text);
        }
    }

    proptest! {
        #[test]
        fn any_item_is_read_without_a_panic(parts in prop::collection::vec(prop::sample::select(vec![
            "stdout", "stderr", "output", "file", "json", "directory", "exit", " ", "contains", "contain",
            "matches", "equals", "does not", "doesn\u{2019}t", "is", "empty", "exists", "exist", "in", "has",
            "3", "lines", "\"", "'", "`", "``", "/", ".", "..", "[", "]", "$", "(", "\\", "é", "\u{201c}",
            "{}", "-->", " <!--", "[x] ", "*",
        ]), 0..14)) {
            let _ = read(&parts.concat());
            let _ = read(&parts.join(" "));
        }

        #[test]
        fn a_quoted_text_is_read_as_it_was(text in "[^\r\n\u{0}]{1,30}") {
            let written = text.replace('\\', "\\\\").replace('"', "\\\"");
            prop_assert_eq!(
                read(&format!("stdout contains \"{written}\"")),
                Reading::Check(super::CriterionCheck::Text {
                    of: Subject::Stdout,
                    is: TextTest::Contains(text),
                    not: false,
                })
            );
        }
    }
}
