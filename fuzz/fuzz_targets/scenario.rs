//! Any bytes are read as a scenario: without a panic, twice alike, with spans that lie in the file. Its
//! criteria are judged on any output: what is said of them is bounded and commands no terminal.
#![no_main]

use dark_factory::scenario::{Scenario, lint, parse};
use dark_factory::text::Redaction;
use dark_factory::verdict::criteria::{Found, Observed, unmet};
use libfuzzer_sys::fuzz_target;

/// What divides the scenario from the output.
const MARK: &[u8] = b"\n%%%%\n";

fuzz_target!(|bytes: &[u8]| {
    let at = bytes.windows(MARK.len()).position(|window| window == MARK);
    let (bytes, output) = match at {
        Some(at) => (&bytes[..at], &bytes[at + MARK.len()..]),
        None => (bytes, bytes),
    };
    let parsed = parse("scenarios/x.md", bytes);
    assert_eq!(parsed, parse("scenarios/x.md", bytes));
    let mut found = parsed.warnings.clone();
    found.extend(parsed.scenario.as_ref().err().into_iter().flatten().cloned());
    if let Ok(scenario) = &parsed.scenario {
        found.extend(lint("scenarios/x.md", std::str::from_utf8(bytes).unwrap(), scenario));
        judge(scenario, output);
    }
    for found in found {
        assert!(found.line >= 1 && found.column >= 1 && !found.message.is_empty());
        let Some(span) = &found.span else { continue };
        assert!(span.start <= span.end && span.end <= bytes.len(), "{found:?}");
        if let Ok(text) = std::str::from_utf8(bytes) {
            assert!(text.get(span.clone()).is_some(), "{found:?}");
        }
    }
});

fn judge(scenario: &Scenario, output: &[u8]) {
    assert!(!scenario.evaluation.is_empty());
    let json = serde_json::to_vec(scenario).unwrap();
    assert_eq!(&serde_json::from_slice::<Scenario>(&json).unwrap(), scenario);
    let (stdout, stderr) = output.split_at(output.len() / 2);
    for cut in [false, true] {
        let file = |path: &str| {
            assert!(!path.starts_with('/') && path.split('/').all(|part| part != ".."), "{path}");
            match path.len() % 4 {
                0 => Found::Missing,
                1 => Found::Directory,
                2 => Found::Unreadable { why: path.to_owned() },
                _ => Found::File { bytes: output.to_vec(), cut },
            }
        };
        let redaction = Redaction::none();
        let observed = Observed {
            stdout,
            stdout_cut: cut,
            stderr,
            stderr_cut: cut,
            file: &file,
            redaction: &redaction,
        };
        for unmet in unmet(&scenario.criteria, &observed) {
            for text in [&unmet.criterion, &unmet.expected, &unmet.actual] {
                assert!(!text.is_empty() && text.len() < 10_000, "{unmet:?}");
                assert!(!text.chars().any(|c| c.is_control() && c != '\t'), "{unmet:?}");
            }
        }
    }
}
