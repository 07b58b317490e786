//! Promises about the tree itself: which module may use which, what stays out of the core, and that
//! whatever can be configured, found or returned stands in the reference.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dark_factory::agent::BACKENDS;
use dark_factory::clock::Timestamp;
use dark_factory::config::{
    Config, GateSettings, PrepareSettings, Span, parse as parse_config, parse_at,
};
use dark_factory::convergence::TurnClass;
use dark_factory::delivery::STEERING;
use dark_factory::feedback::rules::{End, Evidence, RULES};
use dark_factory::id::ScenarioId;
use dark_factory::report::results::Results;
use dark_factory::scenario::{CHECKS, FrontMatter, Severity, Visibility, parse as parse_scenario};
use dark_factory::text::Subtree;
use dark_factory::verdict::{Attempt, Ending, Judged, Verdict, satisfaction};
use regex::Regex;
use serde_json::Value;

use crate::support::{Product, walk};

/// The layers, top to bottom. A module may use those below its layer, and those of its own as long
/// as there is no circle.
const LAYERS: [(&str, &[&str]); 8] = [
    ("the binaries", &["bin"]),
    ("the doors", &["cli"]),
    ("the engine", &["engine"]),
    ("the edges that work on trees", &["judge", "wall", "agent"]),
    // Beneath them: trees are read and written by git.
    ("git", &["git"]),
    ("the edges that know of no tree", &["process", "journal", "report", "config", "model_server"]),
    // An event holds a decision, a decision a judgement, a judgement verdicts.
    (
        "the core",
        &["scenario", "verdict", "feedback", "convergence", "delivery", "pipeline", "event"],
    ),
    ("the words", &["id", "clock", "text"]),
];

/// What touches the world.
const WORLD: &str = r"\b(std::(?:fs|env|process|net|thread)|std::\{[^}]*\b(?:fs|env|process|net|thread)\b|SystemTime|Instant|rustix|tempfile)\b";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn pattern(text: &str) -> Regex {
    Regex::new(text).unwrap()
}

/// Returns the files below `dir` whose names end in `end`, as paths from the root, sorted.
fn files(dir: &str, end: &str) -> Vec<String> {
    let mut found = Vec::new();
    walk(&root().join(dir), &mut |path, metadata| {
        let path = path.strip_prefix(root()).unwrap().to_str().unwrap();
        if metadata.is_file() && path.ends_with(end) {
            found.push(path.to_owned());
        }
        true
    });
    assert!(!found.is_empty(), "no {end} in {dir}");
    found
}

/// A source file, divided into what is built for users and what for tests alone; no comments.
struct Source {
    path: String,
    /// The top-level module that it belongs to.
    module: String,
    /// How many modules it is below the crate's root.
    depth: usize,
    product: String,
    tests: String,
}

/// Reads every file of `src` but `lib.rs`.
fn sources() -> Vec<Source> {
    let test_module =
        pattern(r#"#\[cfg\(test\)\]\s*(?:#\[path = "([^"]+)"\]\s*)?(?:pub\S* )?mod (\w+);"#);
    let paths = files("src", ".rs");
    let mut for_tests = BTreeSet::new();
    for path in &paths {
        let place = Path::new(path);
        let dir = place.parent().unwrap();
        let is_mod = place.file_name().unwrap() == "mod.rs";
        for found in test_module.captures_iter(&read(path)) {
            let file = match found.get(1) {
                Some(path) => dir.join(path.as_str()),
                None if is_mod => dir.join(format!("{}.rs", &found[2])),
                None => place.with_extension("").join(format!("{}.rs", &found[2])),
            };
            for_tests.insert(file);
        }
    }
    paths.iter().filter(|path| *path != "src/lib.rs").map(|path| source(path, &for_tests)).collect()
}

fn source(path: &str, for_tests: &BTreeSet<PathBuf>) -> Source {
    let below = path.strip_prefix("src/").unwrap();
    let module = below.split(['/', '.']).next().unwrap().to_owned();
    let text: Vec<String> = read(path)
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .map(str::to_owned)
        .collect();
    let (product, tests) = if for_tests.contains(Path::new(path)) {
        (String::new(), text.join("\n"))
    } else {
        divide(&text)
    };
    let depth = below.split('/').count() - usize::from(below.ends_with("/mod.rs"));
    Source { path: path.to_owned(), module, depth, product, tests }
}

/// Divides lines as rustfmt writes them: an item ends at a `}` as deep as it begins, or at a `;` there
/// where no `{` ended one of its lines before: what a string holds may look like the end of one.
fn divide(lines: &[String]) -> (String, String) {
    let (mut product, mut tests) = (String::new(), String::new());
    let mut inside: Option<usize> = None;
    let mut braced = false;
    for line in lines {
        let depth = line.len() - line.trim_start().len();
        if inside.is_none() && line.trim() == "#[cfg(test)]" {
            inside = Some(depth);
            braced = false;
            continue;
        }
        let part = if inside.is_some() { &mut tests } else { &mut product };
        part.push_str(line);
        part.push('\n');
        braced |= line.trim_end().ends_with('{');
        let ends = matches!(line.trim(), "}" | "};") || (!braced && line.trim_end().ends_with(';'));
        if inside.is_some_and(|begin| begin == depth) && ends {
            inside = None;
        }
    }
    assert_eq!(inside, None, "an item for tests has no end");
    (product, tests)
}

/// Returns the top-level modules that `text` names.
fn uses(text: &str, depth: usize) -> BTreeSet<String> {
    // What stands behind a backtick is a sample of output.
    let direct = pattern(r"(?:^|[^`\w])(?:crate|dark_factory)::([a-z_]\w*)");
    let grouped = pattern(r"\b(?:crate|dark_factory)::\{");
    let above = pattern(r"\b((?:super::)+)([a-z_]\w*)");
    let mut found: BTreeSet<String> =
        direct.captures_iter(text).map(|path| path[1].to_owned()).collect();
    for group in grouped.find_iter(text) {
        let mut open = 1;
        let mut first = true;
        let mut name = String::new();
        for c in text[group.end()..].chars() {
            match c {
                '{' => open += 1,
                '}' => open -= 1,
                ',' if open == 1 => first = true,
                c if first && open == 1 && (c.is_alphanumeric() || c == '_') => {
                    name.push(c);
                    continue;
                }
                c if c.is_whitespace() && name.is_empty() => continue,
                _ => first = false,
            }
            found.extend((!name.is_empty()).then(|| std::mem::take(&mut name)));
            if open == 0 {
                break;
            }
        }
    }
    for path in above.captures_iter(text) {
        if path[1].matches("super").count() >= depth {
            found.insert(path[2].to_owned());
        }
    }
    found
}

fn layer(module: &str) -> usize {
    LAYERS.iter().position(|(_, modules)| modules.contains(&module)).unwrap_or_else(|| {
        panic!("`{module}` is in no layer; give it a place in LAYERS, and in src/lib.rs")
    })
}

/// Returns a circle in `arrows`, first and last being the same; none where there is none.
fn circle(arrows: &BTreeMap<String, BTreeSet<String>>) -> Option<Vec<String>> {
    fn follow(
        arrows: &BTreeMap<String, BTreeSet<String>>,
        path: &mut Vec<String>,
    ) -> Option<Vec<String>> {
        let last = path.last()?.clone();
        for next in arrows.get(&last).into_iter().flatten() {
            if let Some(at) = path.iter().position(|seen| seen == next) {
                return Some(path[at..].iter().chain([next]).cloned().collect());
            }
            path.push(next.clone());
            let found = follow(arrows, path);
            path.pop();
            if found.is_some() {
                return found;
            }
        }
        None
    }
    arrows.keys().find_map(|start| follow(arrows, &mut vec![start.clone()]))
}

#[test]
fn arrows_point_down() {
    let mut upward = Vec::new();
    let mut level: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for source in sources() {
        let from = layer(&source.module);
        for (text, is_product) in [(&source.product, true), (&source.tests, false)] {
            // The modules in a file for tests are one deeper.
            let depth = source.depth + usize::from(!is_product);
            for used in uses(text, depth) {
                if used == source.module {
                    continue;
                }
                let to = layer(&used);
                if to < from {
                    upward.push(format!(
                        "{} uses `{used}`: {} are below {}",
                        source.path, LAYERS[from].0, LAYERS[to].0
                    ));
                } else if to == from && is_product {
                    level.entry(source.module.clone()).or_default().insert(used);
                }
            }
        }
    }
    assert!(upward.is_empty(), "{}", upward.join("\n"));
    if let Some(circle) = circle(&level) {
        panic!("modules use each other in a circle: {}", circle.join(" -> "));
    }
}

#[test]
fn an_upward_arrow_and_a_circle_would_be_seen() {
    let text =
        "use crate::{\n    cli::{exit, Exit},\n    engine::{self}, git,\n};\nsuper::super::wall::x";
    let names = |text, depth| uses(text, depth).into_iter().collect::<Vec<_>>().join(" ");
    assert_eq!(names(text, 3), "cli engine git");
    assert_eq!(names(text, 2), "cli engine git wall");
    let text = ["use a;", "#[cfg(test)]", "mod tests {", "    use b;", "}", "use c;"];
    let (product, tests) = divide(&text.map(str::to_owned));
    assert_eq!((product.as_str(), tests.contains("use b;")), ("use a;\nuse c;\n", true));
    let arrow = |from: &str, to: &str| (from.to_owned(), [to.to_owned()].into());
    let arrows = BTreeMap::from([arrow("a", "b"), arrow("b", "c"), arrow("c", "b")]);
    assert_eq!(circle(&arrows).unwrap().join(" "), "b c b");
    assert!(pattern(WORLD).is_match("use std::{fmt, fs};"));
}

#[test]
fn every_module_is_in_one_layer() {
    let modules: BTreeSet<String> = sources().into_iter().map(|source| source.module).collect();
    let placed: Vec<&str> =
        LAYERS.iter().flat_map(|(_, modules)| modules.iter().copied()).collect();
    assert_eq!(placed.len(), placed.iter().collect::<BTreeSet<_>>().len());
    assert_eq!(modules, placed.iter().map(|module| (*module).to_owned()).collect());
}

#[test]
fn the_core_does_not_touch_the_world() {
    let world = pattern(WORLD);
    let core = LAYERS[6].1;
    for source in sources().iter().filter(|source| core.contains(&source.module.as_str())) {
        let found = world.find(&source.product).map(|found| found.as_str());
        assert_eq!(found, None, "{}", source.path);
    }
}

#[test]
fn sources_are_whole_and_say_what_they_are_for() {
    // In two parts, so that this file may be searched too.
    let unfinished = pattern(&["TO", "DO|FIX", "ME|unimpl", "emented!|to", "do!"].concat());
    let machine = pattern(&["/wo", "rk/|/ro", "ot/"].concat());
    let print = pattern(r"\be?print(?:ln)?!");
    let here = files("tests", ".rs");
    for path in files("src", ".rs").iter().chain(&here) {
        let text = read(path);
        assert!(text.starts_with("//!"), "{path} has no head comment");
        assert!(text.ends_with('\n') && !text.ends_with("\n\n"), "{path} ends oddly");
        assert_eq!(unfinished.find(&text).map(|found| found.as_str()), None, "{path}");
        assert_eq!(machine.find(&text).map(|found| found.as_str()), None, "{path}");
    }
    for source in sources() {
        if !["cli", "report"].contains(&source.module.as_str()) {
            assert!(!print.is_match(&source.product), "{} prints", source.path);
        }
    }
}

#[test]
fn documents_name_no_machine_and_nothing_unfinished() {
    let marks = pattern(&["TO", "DO|FIX", "ME|/wo", "rk/|/ro", "ot/"].concat());
    for path in documents() {
        let text = read(&path);
        assert!(text.ends_with('\n'), "{path} ends oddly");
        assert_eq!(marks.find(&text).map(|found| found.as_str()), None, "{path}");
    }
}

#[test]
fn binaries_are_thin() {
    for path in files("src/bin", ".rs") {
        let lines = read(&path).lines().count();
        assert!(lines <= 25, "{path} has {lines} lines");
    }
}

/// Returns the documents for people: those at the top, those of `docs`, those of `examples`.
fn documents() -> Vec<String> {
    let mut found: Vec<String> = fs::read_dir(root())
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().into_string().ok())
        .filter(|name| name.ends_with(".md"))
        .chain(files("docs", ".md"))
        .chain(files("examples", "README.md"))
        .collect();
    found.sort();
    found
}

#[test]
fn make_targets_that_documents_name_are_there() {
    let target = pattern(r"(?m)^([a-z][a-z-]*):");
    let makefile = read("Makefile");
    let targets: BTreeSet<&str> =
        target.captures_iter(&makefile).map(|found| found.get(1).unwrap().as_str()).collect();
    let named = pattern(r"(?:`|^\$? ?)make ([a-z][a-z-]*)");
    for path in documents() {
        let text = read(&path);
        let mut fenced = false;
        for line in text.lines() {
            if line.trim_start().starts_with("```") {
                fenced = !fenced;
            }
            for found in named.captures_iter(line) {
                let is_code = fenced || found[0].starts_with('`');
                assert!(!is_code || targets.contains(&found[1]), "{path}: `make {}`", &found[1]);
            }
        }
    }
}

#[test]
fn links_in_documents_lead_somewhere() {
    let link = pattern(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)");
    for path in documents() {
        let text = read(&path);
        let dir = root().join(&path).parent().unwrap().to_owned();
        for found in link.captures_iter(&text) {
            assert!(dir.join(&found[1]).exists(), "{path} links to {}", &found[1]);
        }
    }
}

/// Returns the part of `text` under the heading `heading`, which has its marks, up to the next one
/// of its level or above.
#[track_caller]
fn section<'a>(text: &'a str, heading: &str) -> &'a str {
    let level = heading.split(' ').next().unwrap().len();
    let start = format!("\n{heading}\n");
    let at = text.find(&start).unwrap_or_else(|| panic!("no heading `{heading}`")) + start.len();
    let next = pattern(&format!(r"(?m)^#{{1,{level}}} "));
    let end = next.find(&text[at..]).map_or(text.len(), |found| at + found.start());
    &text[at..end]
}

/// Returns the rows of the tables in `text`, cell by cell, without their heads.
fn rows(text: &str) -> Vec<Vec<String>> {
    let lines: Vec<&str> = text.lines().collect();
    let is_row = |line: &str| line.starts_with('|') && !line.starts_with("|--");
    let is_head = |at: usize| lines.get(at + 1).is_some_and(|next| next.starts_with("|--"));
    lines
        .iter()
        .enumerate()
        .filter(|(at, line)| is_row(line) && !is_head(*at))
        .map(|(_, line)| {
            let line = line.replace(r"\|", "\u{0}");
            line.trim_matches('|')
                .split('|')
                .map(|cell| cell.trim().replace('\u{0}', "|"))
                .collect()
        })
        .collect()
}

/// Returns the fences of `language` in `text`.
fn fences(text: &str, language: &str) -> Vec<String> {
    let fence = pattern(&format!(r"(?ms)^(`{{3,4}}){language}\n(.*?)^`{{3,4}}$"));
    // A fence of four may hold one of three.
    let long = pattern(&format!(r"(?ms)^````{language}\n(.*?)^````$"));
    let long: Vec<String> = long.captures_iter(text).map(|found| found[1].to_owned()).collect();
    if long.is_empty() {
        fence.captures_iter(text).map(|found| found[2].to_owned()).collect()
    } else {
        long
    }
}

/// Returns the words in backticks.
fn codes(text: &str) -> BTreeSet<String> {
    pattern("`([^`]+)`").captures_iter(text).map(|found| found[1].to_owned()).collect()
}

/// Returns the text of a quote, on one line.
fn flowed(text: &str) -> String {
    text.lines().map(|line| line.trim_start_matches("> ").trim()).collect::<Vec<_>>().join(" ")
}

#[test]
fn every_feedback_rule_is_registered_tested_and_documented() {
    let registry = read("src/feedback/rules/registry.rs");
    for path in files("src/feedback/rules", ".rs") {
        let stem = Path::new(&path).file_stem().unwrap().to_str().unwrap().to_owned();
        if ["mod", "registry"].contains(&stem.as_str()) {
            continue;
        }
        assert!(registry.contains(&format!("{stem}::")), "{path} is not in the registry");
        assert!(read(&path).contains("#[test]"), "{path} has no fixture");
        assert!(RULES.iter().any(|rule| rule.id() == stem.replace('_', "-")), "{path}: its id");
    }
    let document = read("docs/feedback.md");
    let mut last = 0;
    for rule in RULES {
        let heading = format!("### {}", rule.heading());
        let part = section(&document, &heading);
        let at = document.find(&heading).unwrap();
        assert!(at > last, "`{heading}` is not where the registry has it");
        last = at;
        assert!(part.contains(&format!("`{}`", rule.id())), "{heading}");
        let example = fences(part, "text").concat();
        let cause = rule
            .find(&Evidence {
                name: "lint",
                is_gate: true,
                end: End::Exit(1),
                text: &example,
                hidden: &[],
            })
            .unwrap_or_else(|| panic!("{} does not recognise its example", rule.id()));
        let part = flowed(part);
        assert!(
            part.contains(&format!("Told as: {}.", cause.detail)),
            "{heading}: {}",
            cause.detail
        );
        assert!(part.contains(&cause.advice), "{heading}: {}", cause.advice);
    }
}

#[test]
fn every_check_is_explained_and_documented() {
    let document = read("docs/scenarios.md");
    let documented = rows(section(&document, "## Checks"));
    let checks: Vec<Vec<String>> = CHECKS
        .iter()
        .map(|check| {
            assert!(check.explanation.ends_with('.'), "{}", check.code);
            let severity = match check.severity {
                Severity::Error => "error",
                Severity::Warning => "warning",
            };
            vec![check.code.to_owned(), severity.to_owned(), check.title.to_owned()]
        })
        .collect();
    assert_eq!(documented, checks);
}

#[test]
fn the_example_of_a_scenario_is_read_without_a_finding() {
    let examples = fences(&read("docs/scenarios.md"), "markdown");
    assert_eq!(examples.len(), 1);
    let parsed = parse_scenario("example.md", examples[0].as_bytes());
    assert_eq!(parsed.warnings, []);
    let scenario = parsed.scenario.unwrap();
    assert_eq!(scenario.preconditions[1].check.as_deref(), Some("test -x ./tasks"));
    assert_eq!(scenario.front.timeout, Some(Duration::from_secs(30)));
}

#[test]
fn every_key_of_the_front_matter_is_documented_with_its_default() {
    let all = FrontMatter { timeout: Some(Duration::from_secs(1)), ..FrontMatter::default() };
    let keys: BTreeSet<String> = keys_of(&serde_json::to_value(all).unwrap());
    let document = read("docs/scenarios.md");
    let rows = rows(section(&document, "## Front matter"));
    assert_eq!(rows.iter().flat_map(|row| codes(&row[0])).collect::<BTreeSet<_>>(), keys);
    for row in rows.iter().filter(|row| row[0] != "`timeout`") {
        let written = format!(
            "---\n{}: {}\n---\n# S\n## Evaluation\n```\nx\n```\n",
            row[0].trim_matches('`'),
            row[1].trim_matches('`')
        );
        let front = parse_scenario("s.md", written.as_bytes()).scenario.unwrap().front;
        assert_eq!(front, FrontMatter::default(), "{written}");
    }
}

fn keys_of(value: &Value) -> BTreeSet<String> {
    value.as_object().unwrap().keys().cloned().collect()
}

/// Returns the keys of `value` as people write them, `agent.model`; of mappings those within.
fn paths_of(value: &Value, above: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (key, value) in value.as_object().unwrap() {
        let path = if above.is_empty() { key.clone() } else { format!("{above}.{key}") };
        match value {
            Value::Object(_) => found.extend(paths_of(value, &path)),
            _ => _ = found.insert(path),
        }
    }
    found
}

#[test]
fn every_setting_is_documented_with_its_default() {
    let document = read("docs/configuration.md");
    let rows = rows(section(&document, "## Keys"));
    let documented: BTreeSet<String> = rows.iter().flat_map(|row| codes(&row[0])).collect();
    let default = Config::default();
    assert_eq!(documented, paths_of(&serde_json::to_value(&default).unwrap(), ""));
    for row in rows {
        let (path, value) = (row[0].trim_matches('`'), row[2].trim_matches('`'));
        let written = match path.split_once('.') {
            Some((section, keys)) => {
                let (above, key) = keys.split_once('.').map_or((keys, None), |(a, k)| (a, Some(k)));
                let value = key.map_or(value.to_owned(), |key| format!("{{{key}: {value}}}"));
                format!("{section}:\n  {above}: {value}\n")
            }
            None => format!("{path}: {value}\n"),
        };
        // The file would be asked to name a directory: here it is the default that counts.
        let read: Config = serde_yaml::from_str(&written).unwrap_or_else(|e| panic!("{path}: {e}"));
        assert_eq!(read, default, "{path} is not {value} by default");
    }
}

#[test]
fn every_key_of_a_gate_and_of_a_set_up_command_is_documented() {
    let document = read("docs/configuration.md");
    let check = |heading: &str, keys: &Value, list: &str| {
        let rows = rows(section(&document, heading));
        assert_eq!(
            rows.iter().flat_map(|row| codes(&row[0])).collect::<BTreeSet<_>>(),
            keys_of(keys)
        );
        let mut plain = format!("{list}:\n- name: a\n  run: b\n");
        let short = parse_config("x", plain.as_bytes()).unwrap();
        for row in rows.iter().filter(|row| !row[1].is_empty()) {
            let (key, value) = (row[0].trim_matches('`'), row[1].trim_matches('`'));
            plain.push_str(&format!("  {key}: {value}\n"));
        }
        assert_eq!(parse_config("x", plain.as_bytes()).unwrap(), short, "{plain}");
    };
    let step = PrepareSettings {
        name: String::new(),
        run: String::new(),
        inputs: Vec::new(),
        outputs: Vec::new(),
        timeout: Span::seconds(1),
    };
    check("## An item of `prepare`", &serde_json::to_value(step).unwrap(), "prepare");
    let gate = GateSettings {
        network: false,
        name: String::new(),
        run: String::new(),
        definition: Vec::new(),
        timeout: Span::seconds(1),
    };
    check("## An item of `gates` or `quality`", &serde_json::to_value(gate).unwrap(), "gates");
}

#[test]
fn every_key_of_a_fixture_is_documented_with_its_default() {
    let document = read("docs/fixtures.md");
    let (keys, ready) = section(&document, "## Keys").split_once("At most one of these").unwrap();
    let plain = parse_config("x", b"fixtures: [{name: a, start: b}]").unwrap();
    let fixture = serde_json::to_value(&plain.fixtures[0]).unwrap();
    let check = |text: &str, of: &Value, within: &str| {
        let rows = rows(text);
        assert_eq!(
            rows.iter().flat_map(|row| codes(&row[0])).collect::<BTreeSet<_>>(),
            keys_of(of)
        );
        for row in rows.iter().filter(|row| !row[1].is_empty()) {
            let written = format!("{}: {}", row[0].trim_matches('`'), row[1].trim_matches('`'));
            let written = within.replace('%', &written);
            let text = format!("fixtures: [{{name: a, start: b, {written}}}]");
            assert_eq!(parse_config("x", text.as_bytes()).unwrap(), plain, "{text}");
        }
    };
    check(keys, &fixture, "%");
    check(ready, &fixture["ready"], "ready: {%}");
}

#[test]
fn examples_of_settings_are_valid() {
    // A product may lie in a directory, and its paths climb.
    let at = Subtree::between(Path::new("/r"), Path::new("/r/packages/x")).unwrap();
    for path in documents() {
        for example in fences(&read(&path), "yaml") {
            if let Err(error) = parse_at(&path, example.as_bytes(), &at) {
                // A workflow is YAML too.
                assert!(example.contains("jobs:"), "{path}: {error}\n{example}");
            }
        }
    }
}

#[test]
fn the_built_in_protection_is_documented() {
    let document = read("docs/configuration.md");
    let documented = codes(section(&document, "## Protected whatever the file says"));
    for glob in Config::PROTECTED.into_iter().chain(STEERING.map(|(name, _)| name)) {
        assert!(documented.contains(glob), "{glob}");
    }
}

#[test]
fn every_backend_is_named_where_all_are() {
    let names: Vec<&str> = BACKENDS.iter().map(|backend| backend.name()).collect();
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    let (last, first) = quoted.split_last().unwrap();
    let all = format!("{} or {last}; see [agents.md]", first.join(", "));
    let settings = read("docs/configuration.md");
    assert!(settings.contains(&all), "docs/configuration.md does not say {all}");
    for name in &names {
        assert!(read("specs/agent.md").contains(&format!("`{name}`")), "{name}");
        // Nobody chooses a recording for work.
        assert!(*name == "replay" || read("README.md").contains(name), "{name}");
    }
    let help = Product::bare().iterate(&["--help"]).code(0);
    let (last, first) = names.split_last().unwrap();
    let words = format!("The agent: {} or {last}", first.join(", "));
    let text = help.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(text.contains(&words), "{}", help.stdout);
}

#[test]
fn every_backend_is_documented() {
    let document = read("docs/agents.md");
    for backend in BACKENDS {
        let part = section(&document, &format!("## {}", backend.name()));
        for variable in backend.login_variables() {
            assert!(part.contains(&format!("`{variable}`")), "{}: {variable}", backend.name());
        }
        let examples = fences(part, "yaml");
        let config = parse_config("x", examples[0].as_bytes()).unwrap();
        assert_eq!(config.agent.backend.as_deref(), Some(backend.name()));
    }
}

#[test]
fn every_exit_code_and_outcome_is_documented() {
    let document = read("docs/reference.md");
    let rows = rows(section(&document, "## Exit codes and outcomes"));
    let documented: BTreeSet<&str> =
        rows.iter().flat_map(|row| row[0].split(", ")).filter(|c| !c.starts_with('`')).collect();
    let code = pattern(r"Self::\w+ => (\d+),");
    let exit = read("src/cli/exit.rs");
    let exits: BTreeSet<&str> = code
        .captures_iter(&exit)
        .map(|found| found.get(1).unwrap().as_str())
        .chain(["130", "143"])
        .collect();
    assert!(exits.len() > 8, "{exits:?}");
    assert_eq!(documented, exits);
    let class = pattern(r#"Self::\w+(?: \{ \.\. \})? => "(\w+)""#);
    let decide = read("src/convergence/decide.rs");
    let classes: Vec<&str> =
        class.captures_iter(&decide).map(|found| found.get(1).unwrap().as_str()).collect();
    assert!(classes.len() > 7, "{classes:?}");
    for class in classes.iter().chain(&["paused", "interrupted", "failed"]) {
        assert!(document.contains(&format!("`{class}`")), "{class}");
    }
}

#[test]
fn every_class_of_a_turn_is_documented() {
    let document = read("docs/agents.md");
    let mut documented: Vec<String> = rows(section(&document, "## How a turn ends"))
        .iter()
        .map(|row| row[0].trim_matches('`').to_owned())
        .collect();
    let mut classes = TurnClass::ALL.map(|class| class.name().to_owned()).to_vec();
    documented.sort();
    classes.sort();
    assert_eq!(documented, classes);
}

#[test]
fn every_event_is_documented() {
    let name = pattern(r#"#\[serde\(rename = "([a-z]+\.[a-z]+)"\)\]"#);
    let events = read("src/event/mod.rs");
    let events: Vec<String> =
        name.captures_iter(&events).map(|found| found[1].to_owned()).collect();
    assert!(events.len() > 20, "{events:?}");
    let document = read("docs/reference.md");
    let documented: Vec<String> = rows(section(&document, "## Events"))
        .iter()
        .map(|row| row[0].trim_matches('`').to_owned())
        .collect();
    assert_eq!(documented, events);
}

#[test]
fn every_field_of_the_results_is_documented() {
    let judged = Judged {
        id: ScenarioId::parse("a").unwrap(),
        name: String::new(),
        file: String::new(),
        category: String::new(),
        weight: 1.0,
        critical: false,
        visibility: Visibility::Holdout,
        verdict: Verdict::Satisfied,
        attempts: vec![Attempt::new(Ending::Exited { code: 0 }, "", "", Duration::ZERO)],
        evidence: Vec::new(),
    };
    let judged = [judged];
    let now = Timestamp::from_unix_millis(0);
    let results = Results::new(now, &judged, &satisfaction(&judged), false);
    let results = serde_json::to_value(results).unwrap();
    let document = read("docs/reference.md");
    let part = section(&document, "## `scenario_results.json`");
    let (whole, one) = part.split_once("Of each scenario:").unwrap();
    let named = |text: &str| -> BTreeSet<String> {
        rows(text).iter().flat_map(|row| codes(&row[0])).collect()
    };
    assert_eq!(named(whole), keys_of(&results));
    let one = one.split_once("| `exit_code` | means |").unwrap().0;
    assert_eq!(named(one), keys_of(&results["results"][0]));
    let attempt = rows(one).into_iter().find(|row| row[0] == "`attempts`").unwrap();
    assert_eq!(codes(&attempt[1]), keys_of(&results["results"][0]["attempts"][0]));
}
