//! The corpus of recorded streams, `tests/fixtures/streams/AGENT/VERSION/CASE.jsonl`: each is read by
//! its backend's reader, and has to come to the class and the usage that `CASE.yaml` expects.
//! `docs/agent-streams.md` is written from it; `UPDATE_STREAMS=1` writes it anew.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use serde::Deserialize;
use serde_json::{Value, json};

use super::stream::{Streamed, classify};
use super::*;
use crate::clock::Timestamp;

const STREAMS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/streams");
const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/agent-streams.md");
const BEGIN: &str = "<!-- The table: a test writes it, with UPDATE_STREAMS=1. -->\n";

/// `CASE.yaml`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    #[serde(default)]
    exit: Option<i32>,
    #[serde(default)]
    signal: Option<i32>,
    what: String,
    class: TurnClass,
    /// None where nothing is known of it.
    #[serde(default)]
    usage: Figures,
    /// Whether it says when the limit is lifted.
    #[serde(default)]
    resets: bool,
    #[serde(default)]
    ran: u32,
    #[serde(default)]
    denied: u32,
    #[serde(default)]
    blocked: u32,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Figures {
    #[serde(default)]
    input: Option<u64>,
    #[serde(default)]
    output: Option<u64>,
    #[serde(default)]
    cached: Option<u64>,
    #[serde(default)]
    cost: Option<f64>,
}

struct Case {
    agent: String,
    version: String,
    name: String,
    stream: String,
    /// What the agent wrote beside its stream; empty where nothing was kept.
    side: String,
    /// What it wrote to stderr; likewise.
    stderr: String,
    expected: Expected,
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

fn name(path: &Path) -> String {
    path.file_stem().unwrap().to_str().unwrap().to_owned()
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for agent in entries(Path::new(STREAMS)) {
        for version in entries(&agent) {
            for stream in entries(&version) {
                if stream.extension().is_none_or(|end| end != "jsonl") {
                    continue;
                }
                let expected = fs::read_to_string(stream.with_extension("yaml")).unwrap();
                cases.push(Case {
                    agent: agent.file_name().unwrap().to_str().unwrap().to_owned(),
                    version: version.file_name().unwrap().to_str().unwrap().to_owned(),
                    name: name(&stream),
                    stream: fs::read_to_string(&stream).unwrap(),
                    side: fs::read_to_string(stream.with_extension("rollout")).unwrap_or_default(),
                    stderr: fs::read_to_string(stream.with_extension("stderr")).unwrap_or_default(),
                    expected: serde_yaml::from_str(&expected)
                        .unwrap_or_else(|error| panic!("{}: {error}", stream.display())),
                });
            }
        }
    }
    assert!(cases.len() > 70, "{} cases", cases.len());
    cases
}

/// Reads a stream as a turn does, and returns its class.
fn read(case: &Case, stream: &str, side: &str) -> (Reading, TurnClass) {
    let backend = named(&case.agent).unwrap();
    let mut streamed = Streamed::by(backend.reader());
    streamed.push_stderr(case.stderr.as_bytes());
    streamed.push(stream.as_bytes());
    for line in side.lines() {
        streamed.push_side(line.as_bytes());
    }
    let (exit, signal) = (case.expected.exit, case.expected.signal);
    streamed.finish(exit);
    let ended = match (exit, signal) {
        (Some(0), None) => Ended::Done,
        (Some(code), None) => Ended::Failed { code },
        (None, Some(signal)) => Ended::Signalled { signal },
        _ => panic!("{}: neither exit nor signal, or both", case.name),
    };
    let reading = streamed.reading().clone();
    let class = exit.and_then(|code| backend.exit_class(code));
    let class = classify(&ended, &reading, backend.tells_its_end(), class);
    (reading, class)
}

fn figures(reading: &Reading) -> Figures {
    Figures {
        input: reading.usage.input_tokens,
        output: reading.usage.output_tokens,
        cached: reading.usage.cached_tokens,
        // Sums of decimal fractions.
        cost: reading.usage.cost_usd.map(|cost| (cost * 1e9).round() / 1e9),
    }
}

#[test]
fn each_stream_comes_to_the_class_and_usage_that_its_case_expects() {
    let mut wrong = String::new();
    for case in cases() {
        let (reading, class) = read(&case, &case.stream, &case.side);
        let trouble = reading.end.clone().flatten().or(reading.trouble.clone());
        let resets = trouble.is_some_and(|trouble| trouble.resets.is_some());
        let found =
            (class, figures(&reading), resets, reading.ran, reading.denied, reading.blocked);
        let expected = &case.expected;
        let wanted = (
            expected.class,
            expected.usage,
            expected.resets,
            expected.ran,
            expected.denied,
            expected.blocked,
        );
        if found != wanted {
            let (agent, name) = (&case.agent, &case.name);
            writeln!(wrong, "{agent}/{name}:\n  found  {found:?}\n  wanted {wanted:?}").unwrap();
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// Puts a field that nobody knows into `value` and whatever it holds.
fn with_fields(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.values_mut().for_each(with_fields);
            fields.insert("forecast".to_owned(), json!({"type": "weather", "usage": 7}));
        }
        Value::Array(values) => values.iter_mut().for_each(with_fields),
        _ => {}
    }
}

/// Returns `text` with the unknown put before the lines that `places` choose, and into the objects of
/// these lines.
fn with_the_unknown(text: &str, places: &[bool]) -> String {
    let mut out = String::new();
    for (line, place) in text.lines().zip(places.iter().cycle()) {
        let value = serde_json::from_str::<Value>(line).ok().filter(|_| *place);
        if *place {
            out.push_str("{\"type\":\"weather\",\"forecast\":{}}\n");
        }
        match value {
            // The names of models are keys of these, and not fields.
            Some(mut value) if !line.contains("modelUsage") && !line.contains("\"models\"") => {
                with_fields(&mut value);
                writeln!(out, "{value}").unwrap();
            }
            _ => writeln!(out, "{line}").unwrap(),
        }
    }
    out
}

fn summary((mut reading, class): (Reading, TurnClass)) -> (Reading, TurnClass) {
    // These count from now.
    let ends = reading.end.iter_mut().flatten().chain(&mut reading.trouble);
    ends.for_each(|trouble| {
        trouble.resets = trouble.resets.map(|_| Timestamp::from_unix_millis(0));
    });
    (reading, class)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]

    #[test]
    fn what_is_unknown_changes_nothing(places in proptest::collection::vec(any::<bool>(), 1..9)) {
        for case in cases() {
            let (stream, side) =
                (with_the_unknown(&case.stream, &places), with_the_unknown(&case.side, &places));
            let plain = summary(read(&case, &case.stream, &case.side));
            prop_assert_eq!(summary(read(&case, &stream, &side)), plain, "{}/{}", case.agent, case.name);
        }
    }
}

#[test]
fn a_stream_that_ends_anywhere_before_its_end_is_not_done() {
    for case in cases().into_iter().filter(|case| case.expected.class == TurnClass::Done) {
        let lines: Vec<&str> = case.stream.lines().collect();
        let cut = lines[..lines.len() - 1].join("\n");
        let (_, class) = read(&case, &cut, &case.side);
        assert_ne!(class, TurnClass::Done, "{}/{}", case.agent, case.name);
    }
}

fn figures_in_words(usage: Usage) -> String {
    let tokens = |count: Option<u64>, what: &str| count.map(|count| format!("{count} {what}"));
    let cost = usage.cost_usd.map(|cost| format!("${cost:.4}"));
    let cached = usage.cached_tokens.filter(|count| *count > 0);
    let all = [
        tokens(usage.input_tokens, "in"),
        tokens(cached, "cached"),
        tokens(usage.output_tokens, "out"),
        cost,
    ];
    let all: Vec<String> = all.into_iter().flatten().collect();
    if all.is_empty() { "unknown".to_owned() } else { all.join(", ") }
}

fn table() -> String {
    let mut table = String::from(
        "| agent | version | case | ended with | class | what it used | how it was provoked |\n\
         |---|---|---|---|---|---|---|\n",
    );
    for case in cases() {
        let (reading, class) = read(&case, &case.stream, &case.side);
        let ended = match (case.expected.exit, case.expected.signal) {
            (Some(code), _) => code.to_string(),
            (_, signal) => format!("signal {}", signal.unwrap_or_default()),
        };
        let part = if reading.usage_is_final || reading.usage == Usage::default() {
            ""
        } else {
            "at least "
        };
        writeln!(
            table,
            "| {} | {} | {} | {ended} | `{}` | {part}{} | {} |",
            case.agent,
            case.version,
            case.name,
            class.name(),
            figures_in_words(reading.usage),
            case.expected.what.replace('|', "\\|"),
        )
        .unwrap();
    }
    table
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a variable says that the document is to be written")]
fn the_documented_classes_are_those_that_are_read() {
    let text = fs::read_to_string(DOCUMENT).unwrap();
    let (head, documented) = text.split_once(BEGIN).expect("where the table begins");
    let table = table();
    if std::env::var_os("UPDATE_STREAMS").is_some() {
        fs::write(DOCUMENT, format!("{head}{BEGIN}{table}")).unwrap();
        return;
    }
    assert!(
        documented == table,
        "docs/agent-streams.md differs; UPDATE_STREAMS=1 writes it:\n{table}"
    );
}
