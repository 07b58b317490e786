//! Which scenarios of a small set are chosen, and what is said of patterns that match none.

use super::*;
use crate::id::ScenarioId;
use crate::scenario::from_files;

/// Five scenarios, the last of them invalid.
fn set() -> ScenarioSet {
    let file = |path: &str, front: &str, name: &str, category: &str| {
        let text = format!(
            "---\n{front}\n---\n# Scenario: {name}\n## Category\n{category}\n## Evaluation\n\
             ```\ntest 1\n```\n"
        );
        (path.as_bytes().to_vec(), text.into_bytes())
    };
    from_files(
        "scenarios",
        vec![
            file("01_login.md", "tags: [Smoke, web]", "Log in", "Web"),
            file("02_logout.md", "{serial: true, tags: [web]}", "Log out [now]", "web"),
            file("deep/cli.md", "critical: true", "Help (short, long)", "cli"),
            file("gpu.md", "{slow: true, tags: [gpu]}", "Train", "training"),
            (b"odd.md".to_vec(), b"# Odd\n".to_vec()),
        ],
    )
}

fn history() -> History {
    let past = |id: &str, status, flaky| {
        (ScenarioId::parse(id).unwrap(), Past { status, seconds: Some(1.0), flaky })
    };
    [
        past("01_login", LastStatus::Satisfied, true),
        past("02_logout", LastStatus::Unsatisfied, false),
        past("deep-cli", LastStatus::NotRun, false),
        past("gpu", LastStatus::Skipped, false),
    ]
    .into_iter()
    .collect()
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

fn check_wanted(wanted: Wanted, expected: &[&str], unmatched: &[&str]) {
    let selection = Selection::new(wanted);
    let set = set();
    let chosen = selection.of(set.clone(), &history());
    let ids: Vec<_> = chosen.entries.iter().map(|entry| entry.id.as_str()).collect();
    assert_eq!(ids, expected, "{selection:?}");
    assert_eq!(selection.unmatched(&set), unmatched);
    let files: Vec<_> = chosen.entries.iter().map(|entry| &entry.file).collect();
    assert!(chosen.diagnostics.iter().all(|found| files.contains(&&found.file)));
}

fn check(categories: &[&str], names: &[&str], expected: &[&str], unmatched: &[&str]) {
    let (categories, names) = (owned(categories), owned(names));
    check_wanted(Wanted { names, categories, ..Wanted::default() }, expected, unmatched);
}

/// Checks what the expressions select.
fn select(expressions: &[&str], expected: &[&str]) {
    let expressions = expressions.iter().map(|text| Expression::parse(text).unwrap()).collect();
    check_wanted(Wanted { expressions, ..Wanted::default() }, expected, &[]);
}

#[test]
fn nothing_asked_for_is_everything() {
    check(&[], &[], &["01_login", "02_logout", "deep-cli", "gpu", "odd"], &[]);
}

#[test]
fn a_category_is_found_whatever_its_case() {
    check(&["WEB"], &[], &["01_login", "02_logout"], &[]);
    check(&["web", "none"], &["*out*"], &["02_logout"], &["none"]);
    check(&["cli"], &["01_login"], &[], &[]);
}

#[test]
fn a_pattern_is_a_name_an_id_or_a_file() {
    check(&[], &["log IN"], &["01_login"], &[]);
    check(&[], &["Log out [now]"], &["02_logout"], &[]);
    check(&[], &["deep-cli"], &["deep-cli"], &[]);
    check(&[], &["cli.md"], &["deep-cli"], &[]);
    check(&[], &["scenarios/01*"], &["01_login"], &[]);
    check(&[], &["deep/*", "[", "absent"], &["deep-cli"], &["[", "absent"]);
}

#[test]
fn one_of_the_tags_is_enough() {
    let tags = |tags: &[&str]| Wanted { tags: owned(tags), ..Wanted::default() };
    check_wanted(tags(&["SMOKE", "gpu"]), &["01_login", "gpu"], &[]);
    check_wanted(tags(&["smok"]), &[], &["smok"]);
}

#[test]
fn what_failed_the_last_time_is_what_is_neither_satisfied_nor_skipped() {
    let failed = Wanted { failed: true, ..Wanted::default() };
    check_wanted(failed.clone(), &["02_logout", "deep-cli"], &[]);
    check_wanted(Wanted { categories: owned(&["cli"]), ..failed }, &["deep-cli"], &[]);
}

#[test]
fn each_predicate_asks_one_thing() {
    select(&["name(log*)"], &["01_login", "02_logout"]);
    select(&["name(LOG IN)"], &["01_login"]);
    select(&["name(Log out [now])"], &["02_logout"]);
    select(&["name(=\"help (short, long)\")"], &["deep-cli"]);
    select(&["name(~out)"], &["02_logout"]);
    select(&["name(/^log (in|out)/)"], &["01_login", "02_logout"]);
    select(&["id({01,02}_*)"], &["01_login", "02_logout"]);
    select(&["category(web)"], &["01_login", "02_logout"]);
    select(&["category(\"\")"], &["odd"]);
    select(&["tag(smoke, gpu)"], &["01_login", "gpu"]);
    select(&["file(cli.md)"], &["deep-cli"]);
    select(&["file(~deep/)"], &["deep-cli"]);
    select(&["slow()"], &["gpu"]);
    select(&["serial()"], &["02_logout"]);
    select(&["critical()"], &["deep-cli"]);
    select(&["all()"], &["01_login", "02_logout", "deep-cli", "gpu", "odd"]);
    select(&["none()"], &[]);
}

#[test]
fn the_last_status_goes_by_its_published_and_its_natural_words() {
    for words in ["satisfied", "passed", "pass", "flaky"] {
        select(&[&format!("last({words})")], &["01_login"]);
    }
    for words in ["unsatisfied", "failed", "fail"] {
        select(&[&format!("last({words})")], &["02_logout"]);
    }
    // What was not run is published as undecided.
    for words in ["undecided", "not_run", "not-run"] {
        select(&[&format!("last({words})")], &["deep-cli"]);
    }
    select(&["last(skipped)"], &["gpu"]);
    select(&["last( failed , none )"], &["02_logout", "odd"]);
}

#[test]
fn not_binds_before_and_and_and_before_or() {
    select(&["slow() | category(web) & tag(smoke)"], &["01_login", "gpu"]);
    select(&["(slow() | category(web)) & tag(smoke)"], &["01_login"]);
    select(&["not category(web) and not slow()"], &["deep-cli", "odd"]);
    select(&["!(category(web) or slow())"], &["deep-cli", "odd"]);
    select(&["category(web) - tag(smoke)"], &["02_logout"]);
    select(&["all() - category(web) - slow() & critical()"], &["deep-cli"]);
    select(&["all() - !tag(smoke)"], &["01_login"]);
    select(&["slow() + serial() || none() && all()"], &["02_logout", "gpu"]);
}

#[test]
fn several_expressions_are_joined() {
    select(&["slow()", "serial()"], &["02_logout", "gpu"]);
}

#[test]
fn a_pattern_that_matches_nothing_is_told_with_its_place() {
    let text = "tag(smoek, web) | name(~zebra) | last(flaky) | !category(WBE)";
    let expressions = vec![Expression::parse("all()").unwrap(), Expression::parse(text).unwrap()];
    let slips = Selection::new(Wanted { expressions, ..Wanted::default() }).slips(&set());
    let found: Vec<_> = slips
        .iter()
        .map(|slip| (slip.predicate, &text[slip.span.clone()], slip.nearest.as_deref()))
        .collect();
    assert_eq!(
        found,
        [
            ("tag", "smoek", Some("smoke")),
            ("name", "~zebra", None),
            ("category", "WBE", Some("web"))
        ]
    );
    assert!(slips.iter().all(|slip| slip.expression == 1));
}

#[test]
fn only_what_asks_for_the_past_needs_it() {
    let asks = |text: &str| {
        let expressions = vec![Expression::parse(text).unwrap()];
        Selection::new(Wanted { expressions, ..Wanted::default() }).asks_for_history()
    };
    assert!(asks("slow() | !(serial() & last(failed))") && !asks("name(\"last(failed)\")"));
    assert!(Selection::new(Wanted { failed: true, ..Wanted::default() }).asks_for_history());
}
