//! Whatever a holdout's text is mixed with, no stretch of it is left, and what was masked is
//! masked.
#![no_main]

use std::sync::LazyLock;

use dark_factory::feedback::Mask;
use dark_factory::scenario::from_files;
use libfuzzer_sys::fuzz_target;

/// One line of the evaluation, of characters that no quoting touches.
const SECRET: &str = "./probe--owner=zoe.quill@plover/xyzzy:CANARY_7f3a9b";
/// How long a stretch must be to be told from chance.
const STRETCH: usize = 12;

static MASK: LazyLock<Mask> = LazyLock::new(|| {
    let text = format!(
        "# Scenario: S\n## Category\nc\n## Expectation\ne\n## Evaluation\n```\n{SECRET}\n```\n"
    );
    Mask::new(&from_files("scenarios", vec![(b"s.md".to_vec(), text.into_bytes())]), &[])
});

// Bytes above 127 are characters of the secret, so that runs of it are found at once.
fuzz_target!(|bytes: &[u8]| {
    let secret = |byte: u8| SECRET.as_bytes()[usize::from(byte - 128) % SECRET.len()];
    let text: String = bytes
        .iter()
        .map(|byte| char::from(if *byte < 128 { *byte } else { secret(*byte) }))
        .collect();
    let masked = MASK.apply(&text);
    assert_eq!(
        masked.text.matches("[masked]").count(),
        masked.count + text.matches("[masked]").count()
    );
    for from in 0..=SECRET.len() - STRETCH {
        let stretch = &SECRET[from..from + STRETCH];
        assert!(!masked.text.contains(stretch), "{stretch:?} is left in {:?}", masked.text);
    }
    let again = MASK.apply(&masked.text);
    assert_eq!((again.text, again.count), (masked.text, 0));
});
