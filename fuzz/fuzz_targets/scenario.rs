//! Any bytes are read as a scenario: without a panic, twice alike, with spans that lie in the file.
#![no_main]

use dark_factory::scenario::parse;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let parsed = parse("scenarios/x.md", bytes);
    assert_eq!(parsed, parse("scenarios/x.md", bytes));
    let errors = parsed.scenario.as_ref().err();
    for found in errors.into_iter().flatten().chain(&parsed.warnings) {
        assert!(found.line >= 1 && found.column >= 1 && !found.message.is_empty());
        let Some(span) = &found.span else { continue };
        assert!(span.start <= span.end && span.end <= bytes.len(), "{found:?}");
        if let Ok(text) = std::str::from_utf8(bytes) {
            assert!(text.get(span.clone()).is_some(), "{found:?}");
        }
    }
    if let Ok(scenario) = &parsed.scenario {
        assert!(!scenario.evaluation.is_empty());
        let json = serde_json::to_vec(scenario).unwrap();
        assert_eq!(
            &serde_json::from_slice::<dark_factory::scenario::Scenario>(&json).unwrap(),
            scenario
        );
    }
});
