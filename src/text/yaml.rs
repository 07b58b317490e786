//! YAML that people write: read into a type, and where that fails, said what is wrong and where.

use std::fmt;
use std::ops::Range;

use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, IgnoredAny};

use super::nearest;
use super::place::boundary_at;

/// What is wrong with a YAML text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct YamlProblem {
    /// What is wrong, as a lower-case fragment.
    pub message: String,
    /// The bytes it is about; none when it is about the text as a whole.
    pub span: Option<Range<usize>>,
    /// What to do about it; may be empty.
    pub help: String,
    /// The key that is not known, where that is the problem.
    pub unknown_key: Option<String>,
}

/// One step from a node of a YAML text to a node below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// To the value of this key of a mapping.
    Key(String),
    /// To this item of a list, from 0.
    Item(usize),
}

/// Returns the steps that `path` names, written as `gates[0].run`.
pub fn steps(path: &str) -> Vec<Step> {
    path.split(['.', '['])
        .filter(|part| !part.is_empty())
        .map(|part| match part.strip_suffix(']').and_then(|index| index.parse().ok()) {
            Some(index) => Step::Item(index),
            None => Step::Key(part.to_owned()),
        })
        .collect()
}

/// Reads `source` as a `T`; a text without a value is the default.
///
/// # Errors
/// Says what is wrong, where, and which known word is nearest to an unknown one.
pub fn read<T: DeserializeOwned + Default>(source: &str) -> Result<T, YamlProblem> {
    match serde_yaml::from_str::<Option<T>>(without_mark(source).1) {
        Ok(value) => Ok(value.unwrap_or_default()),
        Err(error) => Err(explain(source, &error)),
    }
}

/// Returns the bytes of the value that `path` leads to; none when there is no such value.
pub fn value_span(source: &str, path: &[Step]) -> Option<Range<usize>> {
    find(source, Target { path, key: None })
}

/// Returns the bytes of the last key `key` of the mapping that `path` leads to.
pub fn key_span(source: &str, path: &[Step], key: &str) -> Option<Range<usize>> {
    // Each failing read can point at one place only, so the occurrences are asked for in turn.
    (0..64).map_while(|nth| find(source, Target { path, key: Some((key, nth)) })).last()
}

fn without_mark(source: &str) -> (usize, &str) {
    source.strip_prefix('\u{feff}').map_or((0, source), |rest| (source.len() - rest.len(), rest))
}

fn explain(source: &str, error: &serde_yaml::Error) -> YamlProblem {
    let full = error.to_string();
    let raw = error
        .location()
        .and_then(|at| full.strip_suffix(&format!(" at line {} column {}", at.line(), at.column())))
        .unwrap_or(&full);
    let (path, what) = match raw.split_once(": ") {
        Some((path, rest)) if is_path(path) => (path, rest),
        _ => ("", raw),
    };
    let mut problem = YamlProblem {
        message: raw.to_owned(),
        span: error.location().map(|at| token_at(source, at.index())),
        help: String::new(),
        unknown_key: None,
    };
    let place = if path.is_empty() { String::new() } else { format!("{path}: ") };
    if let Some((word, known)) = unknown(what, "unknown field `") {
        problem.span = key_span(source, &steps(path), word).or(problem.span);
        problem.message = match nearest(word, known.iter().copied()) {
            Some(near) => format!("unknown key `{word}`; did you mean `{near}`?"),
            None => format!("unknown key `{word}`"),
        };
        problem.help = format!("the keys here are {}", list(&known));
        problem.unknown_key = Some(word.to_owned());
    } else if let Some((word, known)) = unknown(what, "unknown variant `") {
        problem.message = match nearest(word, known.iter().copied()) {
            Some(near) => format!("{place}`{word}` is no value here; did you mean `{near}`?"),
            None => format!("{place}`{word}` is no value here"),
        };
        problem.help = format!("use one of {}", list(&known));
    } else if let Some(key) = quoted(what, "missing field `") {
        problem.message = format!("{place}the key `{key}` is missing");
    } else if let Some(key) = quoted(what, "duplicate field `") {
        problem.span = key_span(source, &steps(path), key).or(problem.span);
        problem.message = format!("{place}the key `{key}` is written twice");
    } else if let Some((found, wanted)) = what
        .strip_prefix("invalid type: ")
        .or_else(|| what.strip_prefix("invalid value: "))
        .and_then(|rest| rest.rsplit_once(", expected "))
    {
        problem.message = format!("{place}expected {}, found {}", plain(wanted), plain(found));
    } else if what.starts_with("control characters are not allowed") {
        let at = source.char_indices().find(|(_, c)| is_forbidden(*c));
        problem.span = at.map(|(at, c)| at..at + c.len_utf8()).or(problem.span);
        problem.message = "control characters are not allowed".to_owned();
    }
    problem
}

fn is_forbidden(c: char) -> bool {
    (c.is_control() && !matches!(c, '\t' | '\n' | '\r' | '\u{85}'))
        || matches!(c, '\u{fffe}' | '\u{ffff}')
}

fn is_path(text: &str) -> bool {
    !text.is_empty()
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '[' | ']'))
}

/// Takes apart serde's "unknown field `x`, expected one of `a`, `b`".
fn unknown<'a>(what: &'a str, start: &str) -> Option<(&'a str, Vec<&'a str>)> {
    let (word, rest) = what.strip_prefix(start)?.split_once("`, expected ")?;
    Some((word, rest.split('`').skip(1).step_by(2).collect()))
}

fn quoted<'a>(what: &'a str, start: &str) -> Option<&'a str> {
    what.strip_prefix(start)?.strip_suffix('`')
}

fn list(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

/// Says a name of serde's as the person who wrote the file would.
fn plain(text: &str) -> &str {
    match text {
        "f64" => "a number",
        "u32" | "u64" | "usize" => "a whole number from 0 on",
        "a boolean" => "true or false",
        "a string" => "a text",
        "a sequence" | "sequence" => "a list",
        "a map" | "map" => "a mapping of keys to values",
        "unit value" => "nothing",
        _ if text.starts_with("struct ") => "a mapping of keys to values",
        _ => text,
    }
}

/// Returns the bytes of the word that begins at the byte `index` of `source`, not counting a byte
/// order mark, which the YAML reader does not get to see.
fn token_at(source: &str, index: usize) -> Range<usize> {
    let (mark, text) = without_mark(source);
    let start = boundary_at(text, index);
    let rest = &text[start..];
    let length = match rest.chars().next() {
        Some(quote @ ('"' | '\'')) => rest[1..].find([quote, '\n']).map_or(rest.len(), |at| at + 2),
        Some('[' | '{') => 1,
        _ => {
            let end = rest.find(['\n', '\r', ',', ']', '}']).unwrap_or(rest.len());
            let line = &rest[..end];
            let line = line.split(" #").next().unwrap_or(line);
            line.split(": ").next().unwrap_or(line).trim_end().trim_end_matches(':').len()
        }
    };
    let start = mark + start;
    start..boundary_at(source, start + length)
}

fn find(source: &str, target: Target<'_>) -> Option<Range<usize>> {
    let text = without_mark(source).1;
    let error = target.deserialize(serde_yaml::Deserializer::from_str(text)).err()?;
    let at = error.location().filter(|_| error.to_string().contains(FOUND))?;
    Some(token_at(source, at.index()))
}

/// Marks the error that says "here"; the reader adds the place to it.
const FOUND: &str = "\u{1}found\u{1}";

/// Reads its way along a path, and fails where the path ends, or at its `n`th key of a name.
#[derive(Clone, Copy)]
struct Target<'a> {
    path: &'a [Step],
    key: Option<(&'a str, usize)>,
}

impl<'de> DeserializeSeed<'de> for Target<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        match (self.path.first(), self.key) {
            (None, None) => deserializer.deserialize_any(Here),
            _ => deserializer.deserialize_any(Walk(self)),
        }
    }
}

struct Walk<'a>(Target<'a>);

impl<'de> serde::de::Visitor<'de> for Walk<'_> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a node with nodes below it")
    }
    fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Target { path, key } = self.0;
        let mut seen = 0;
        while let Some(found) =
            map.next_key_seed(KeySeed { stop: key.filter(|_| path.is_empty()), seen: &mut seen })?
        {
            match path.split_first() {
                Some((Step::Key(wanted), path)) if *wanted == found => {
                    map.next_value_seed(Target { path, key })?;
                }
                _ => _ = map.next_value::<IgnoredAny>()?,
            }
        }
        Ok(())
    }
    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let Target { path, key } = self.0;
        for index in 0.. {
            let more = match path.split_first() {
                Some((Step::Item(wanted), path)) if *wanted == index => {
                    seq.next_element_seed(Target { path, key })?.is_some()
                }
                _ => seq.next_element::<IgnoredAny>()?.is_some(),
            };
            if !more {
                break;
            }
        }
        Ok(())
    }
}

struct KeySeed<'a> {
    stop: Option<(&'a str, usize)>,
    seen: &'a mut usize,
}

impl<'de> DeserializeSeed<'de> for KeySeed<'_> {
    type Value = String;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl serde::de::Visitor<'_> for KeySeed<'_> {
    type Value = String;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }
    fn visit_str<E: serde::de::Error>(self, found: &str) -> Result<String, E> {
        if let Some((name, nth)) = self.stop
            && name == found
        {
            if *self.seen == nth {
                return Err(E::custom(FOUND));
            }
            *self.seen += 1;
        }
        Ok(found.to_owned())
    }
}

struct Here;

impl<'de> serde::de::Visitor<'de> for Here {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(FOUND)
    }
}

/// Reads a scalar as text and parses it, so that an error points at the scalar.
///
/// # Errors
/// What the type says of the text.
pub fn parse_scalar<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: std::str::FromStr<Err = String>,
{
    struct Scalar<T>(std::marker::PhantomData<T>);
    impl<T: std::str::FromStr<Err = String>> serde::de::Visitor<'_> for Scalar<T> {
        type Value = T;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a number or a text")
        }
        fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<T, E> {
            value.parse().map_err(E::custom)
        }
        fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<T, E> {
            self.visit_str(&value.to_string())
        }
        fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<T, E> {
            self.visit_str(&value.to_string())
        }
        fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<T, E> {
            self.visit_str(&value.to_string())
        }
    }
    deserializer.deserialize_any(Scalar(std::marker::PhantomData))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Sample {
        size: f64,
        parts: Vec<Part>,
        names: Vec<String>,
        kind: Option<Kind>,
    }

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Part {
        name: String,
        #[serde(default)]
        count: u32,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Kind {
        Round,
        Square,
    }

    fn check(source: &str, at: &str, message: &str) {
        let problem = read::<Sample>(source).unwrap_err();
        let found = problem.span.map(|span| &source[span]);
        assert_eq!((found, problem.message.as_str()), (Some(at), message), "{source:?}");
    }

    #[test]
    fn a_text_without_a_value_is_the_default() {
        for source in ["", "# nothing\n", "---\n", "null", "\u{feff}"] {
            assert_eq!(read::<Sample>(source), Ok(Sample::default()), "{source:?}");
        }
    }

    #[test]
    fn an_unknown_key_is_pointed_at_with_its_nearest_neighbour() {
        check("names: [ä]\nsiz: 1\n", "siz", "unknown key `siz`; did you mean `size`?");
        check(
            "parts:\n- name: a\n  cuont: 1\n",
            "cuont",
            "unknown key `cuont`; did you mean `count`?",
        );
        check("\u{feff}\r\nnames: [é]\r\nzzz: 1\r\n", "zzz", "unknown key `zzz`");
        check("{names: [], zzz: 1}", "zzz", "unknown key `zzz`");
    }

    #[test]
    fn a_wrong_value_is_pointed_at() {
        check("size: big # yes\n", "big", "size: expected a number, found string \"big\"");
        check("kind: squar\n", "squar", "kind: `squar` is no value here; did you mean `square`?");
        check("names: {a: 1}\n", "{", "names: expected a list, found a mapping of keys to values");
        check(
            "parts: [{name: \"x\", count: -1}]",
            "-1",
            "parts[0].count: expected a whole number from 0 on, found integer `-1`",
        );
    }

    #[test]
    fn a_key_that_is_missing_or_written_twice_is_named() {
        check("parts:\n- count: 1\n", "count", "parts[0]: the key `name` is missing");
        let twice = "size: 1\nnames: []\nsize: 2\n";
        let problem = read::<Sample>(twice).unwrap_err();
        assert_eq!(problem.message, "the key `size` is written twice");
        assert_eq!(problem.span, Some(18..22));
    }

    #[test]
    fn what_is_no_yaml_says_so() {
        check("size: \u{7}", "\u{7}", "control characters are not allowed");
        assert!(read::<Sample>("size: [").is_err());
        assert!(read::<Sample>("- a").unwrap_err().message.starts_with("expected a mapping"));
        assert!(read::<Sample>("size: 1\n---\nsize: 1\n").is_err());
    }

    #[test]
    fn a_value_is_found_by_its_path() {
        let source = "parts:\n  - {name: a}\n  - name: 'b c'\nsize: 7\n";
        for (path, expected) in [("size", "7"), ("parts[1].name", "'b c'"), ("parts[0].name", "a")]
        {
            let span = value_span(source, &steps(path)).unwrap();
            assert_eq!(&source[span], expected, "{path}");
        }
        assert_eq!(value_span(source, &steps("parts[2].name")), None);
        assert_eq!(value_span(source, &steps("nothing")), None);
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_within_its_bounds(source in "[-a-z:\\[\\]{}&*!|>'\"%@`#,? \n\r\tä\u{feff}]{0,60}") {
            if let Err(problem) = read::<Sample>(&source)
                && let Some(span) = problem.span
            {
                prop_assert!(source.get(span).is_some());
            }
            for path in ["a", "a[0].b", ""] {
                if let Some(span) = value_span(&source, &steps(path)) {
                    prop_assert!(source.get(span).is_some());
                }
            }
        }
    }
}
