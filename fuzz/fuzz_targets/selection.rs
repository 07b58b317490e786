//! Any text is read as a selection, or refused with a place that lies in it; what is read is printed
//! so that it reads back the same, and selects the same.
#![no_main]

use std::sync::LazyLock;

use dark_factory::scenario::{Expression, History, ScenarioSet, Selection, Wanted, from_files};
use libfuzzer_sys::fuzz_target;

/// Scenarios that differ in all that can be asked for.
static SET: LazyLock<ScenarioSet> = LazyLock::new(|| {
    let file = |path: &str, front: &str, name: &str, category: &str| {
        let text = format!(
            "---\n{front}\n---\n# {name}\n## Category\n{category}\n## Evaluation\n```\ntest 1\n```\n"
        );
        (path.as_bytes().to_vec(), text.into_bytes())
    };
    let files = vec![
        file("a.md", "tags: [smoke, web]", "Log in", "Web"),
        file("deep/b.md", "{serial: true, tags: [web]}", "Log out [now]", "web"),
        file("c.md", "{critical: true}", "Help (short, long)", "cli"),
        file("d.md", "{slow: true, tags: [gpu]}", "Train", "training"),
        (b"odd.md".to_vec(), b"# Odd\n".to_vec()),
    ];
    from_files("scenarios", files)
});

fn selected(expression: Expression) -> ScenarioSet {
    let wanted = Wanted { expressions: vec![expression], ..Wanted::default() };
    Selection::new(wanted).of(SET.clone(), &History::NOTHING)
}

fuzz_target!(|text: &str| {
    match Expression::parse(text) {
        Ok(read) => {
            let again = Expression::parse(&read.to_string());
            assert_eq!(again.as_ref(), Ok(&read));
            assert_eq!(again.map(selected), Ok(selected(read)));
        }
        Err(error) => {
            assert!(text.get(error.span.clone()).is_some(), "{error:?}");
            assert!(!error.to_string().is_empty());
            let _ = error.help();
        }
    }
});
