//! Files that scenario runners get wrong: what each means is a snapshot, and the real runner judges
//! them all and runs nothing that is no command of an evaluation.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use dark_factory::judge::discover;
use dark_factory::scenario::{Diagnostic, ScenarioSet};
use serde_json::Value;

use crate::support::{Product, Ran, copy};

/// A scenario whose evaluation leaves `mark`.
fn scenario(title: &str, mark: &str) -> String {
    format!(
        "# Scenario: {title}\n\n## Category\nnasty\n\n## Behavioral Expectation\nIt is read.\n\n\
         ## Evaluation Method\n```bash\ntouch {mark}\n```\n"
    )
}

/// A product whose scenarios are the files of `tests/fixtures/nasty`, and those that can't be kept in
/// a repository.
fn product() -> Product {
    let product = Product::new();
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/nasty");
    copy(&fixtures, &product.path("scenarios"));
    let plain = scenario("A plain one", "ran-plain");
    product.write("scenarios/byte-order-mark.md", format!("\u{feff}{plain}"));
    product.write("scenarios/crlf.md", plain.replace('\n', "\r\n"));
    product.write("scenarios/crlf-and-mark.md", format!("\u{feff}{}", plain.replace('\n', "\r\n")));
    product.write("scenarios/carriage-returns.md", plain.replace('\n', "\r"));
    product.write("scenarios/nul.md", format!("{plain}\nä\0\n"));
    product.write("scenarios/not-utf-8.md", [plain.as_bytes(), b"\n\xc3\xa4 \xff\n"].concat());
    product.write("scenarios/utf-16.md", [&b"\xff\xfe#\0 \0"[..], b"x\0"].concat());
    product.write("scenarios/half-a-character.md", [plain.as_bytes(), b"\xe2\x82"].concat());
    product.write("scenarios/too-large.md", vec![b'a'; 11 << 20]);
    product.write("scenarios/large.md", format!("{plain}{}", "x\n".repeat(1 << 20)));
    let odd: [&[u8]; 5] =
        [b"a b.md", b"new\nline.md", b"-leading-dash.md", "\u{1f980}.md".as_bytes(), b"\xff.md"];
    for name in odd {
        let path = product.path("scenarios").join(OsStr::from_bytes(name));
        fs::write(path, scenario("An odd name", "ran-odd-name")).unwrap();
    }
    product.write("outside.md", scenario("Outside", "ran-link-inside"));
    product.write("elsewhere/linked.md", scenario("Behind a link", "never-linked"));
    for (target, link) in [
        ("nowhere", "dangling.md"),
        ("loop-b.md", "loop-a.md"),
        ("loop-a.md", "loop-b.md"),
        ("..", "up"),
        ("../elsewhere", "linked-directory"),
        ("../elsewhere", "linked-directory.md"),
        ("../outside.md", "link-inside.md"),
        ("/etc/passwd", "link-outside.md"),
        ("/dev/zero", "device.md"),
    ] {
        symlink(target, product.path("scenarios").join(link)).unwrap();
    }
    product.write("scenarios/directory.md/inner.md", scenario("In a directory", "ran-inner"));
    let mode = rustix::fs::Mode::from_raw_mode(0o644);
    rustix::fs::mkfifoat(rustix::fs::CWD, product.path("scenarios/fifo.md"), mode).unwrap();
    product
}

fn found(diagnostic: &Diagnostic) -> String {
    format!("{} {}:{}", diagnostic.code, diagnostic.line, diagnostic.column)
}

/// Says what each file means: its name and category, and its script or its errors; then its warnings
/// and criteria.
fn meaning(set: &ScenarioSet) -> String {
    let mut out = String::new();
    for entry in &set.entries {
        write!(out, "{} | {} | {} | ", entry.file, entry.name, entry.category).unwrap();
        match &entry.scenario {
            Ok(scenario) => write!(out, "{:?}", scenario.script()).unwrap(),
            Err(errors) => {
                let errors: Vec<String> = errors.iter().map(found).collect();
                write!(out, "invalid: {}", errors.join(", ")).unwrap();
            }
        }
        let warnings: Vec<String> =
            set.diagnostics.iter().filter(|d| d.file == entry.file).map(found).collect();
        if !warnings.is_empty() {
            write!(out, " | warned: {}", warnings.join(", ")).unwrap();
        }
        for criterion in entry.scenario.iter().flat_map(|scenario| &scenario.criteria) {
            let kind = if criterion.check.is_some() { "checked" } else { "text" };
            write!(out, "\n    {kind} {}: {}", criterion.line, criterion.text).unwrap();
        }
        out.push('\n');
    }
    let entries: Vec<&str> = set.entries.iter().map(|entry| entry.file.as_str()).collect();
    for other in set.diagnostics.iter().filter(|d| !entries.contains(&d.file.as_str())) {
        writeln!(out, "{} | warned: {}", other.file, found(other)).unwrap();
    }
    out
}

#[test]
fn every_nasty_file_has_one_meaning() {
    let product = product();
    let set = discover(&product.root(), "scenarios").unwrap();
    assert!(set.entries.len() >= 60, "{}", set.entries.len());
    insta::assert_snapshot!(meaning(&set));
}

/// Runs `factory lint`.
fn lint(product: &Product, args: &[&str]) -> Ran {
    let mut command = product.clean(env!("CARGO_BIN_EXE_factory"));
    command.arg("lint").args(args);
    product.start(command).wait()
}

fn json(ran: &Ran) -> Value {
    serde_json::from_str(&ran.stdout).unwrap()
}

#[test]
fn the_programs_read_them_as_the_library_does() {
    let product = product();
    let set = discover(&product.root(), "scenarios").unwrap();
    let listed = json(&product.run_scenarios(&["--list", "--format", "json"]).code(0));
    let listed: Vec<(&str, bool)> = listed["scenarios"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["file_path"].as_str().unwrap(), one["valid"].as_bool().unwrap()))
        .collect();
    let expected: Vec<(&str, bool)> =
        set.entries.iter().map(|entry| (entry.file.as_str(), entry.scenario.is_ok())).collect();
    assert_eq!(listed, expected);

    let errors = set.entries.iter().filter_map(|entry| entry.scenario.as_ref().err()).flatten();
    let mut expected: Vec<String> = errors
        .chain(&set.diagnostics)
        .map(|d| format!("{} {}:{}:{}", d.code, d.file, d.line, d.column))
        .collect();
    expected.sort();
    for ran in [
        product.run_scenarios(&["--check", "--format", "json"]),
        lint(&product, &["--format", "json"]),
    ] {
        let report = json(&ran.code(2));
        let mut shown: Vec<String> = report["findings"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| {
                let place = format!("{}:{}", one["line"], one["column"]);
                let text = |key: &str| one[key].as_str().unwrap().to_owned();
                format!("{} {}:{place}", text("code"), text("file"))
            })
            .collect();
        shown.sort();
        assert_eq!(shown, expected);
    }
    assert!(!product.path("artifacts").exists());
}

#[test]
fn each_is_shown_with_a_caret_and_to_github_on_one_line() {
    let product = product();
    let lint = |args: &[&str]| lint(&product, args).code(2);
    let shown = lint(&[]).stdout;
    for part in [
        "error[S007]: the byte 0xff is no UTF-8\n  --> scenarios/not-utf-8.md:14:3\n",
        "error[S008]: the file holds a NUL character\n  --> scenarios/nul.md:14:2\n",
        "error[S004]: this fence is not closed\n  --> scenarios/unclosed.md:10:1\n",
        "error[S003]: this block runs nothing\n  --> scenarios/empty-block.md:10:1\n",
        "error[S005]: the evaluation is indented code, which is not run\n  --> scenarios/indented-only.md:11",
        "error[S006]: the section `Evaluation Method` occurs twice; the first is on line 9\n",
        "error[S002]: there is no evaluation\n --> scenarios/no-evaluation.md:1:1\n",
        "error[S013]: the file is larger than the 1 MiB",
        "error[S012]: the file is empty",
        "warning[S024]: it is a link to a directory, and is not followed\n--> scenarios/up\n",
    ] {
        assert!(shown.contains(part), "{part}\n{shown}");
    }
    assert!(!shown.contains('\0'));
    let findings = json(&lint(&["--format", "json"]))["findings"].as_array().unwrap().len();
    let lines = lint(&["--format", "github"]).stdout;
    assert_eq!(lines.lines().count(), findings);
    for line in lines.lines() {
        let (head, _) = line.split_once("::").unwrap().1.split_once("::").unwrap();
        let keys: Vec<&str> = head
            .split_once(' ')
            .unwrap()
            .1
            .split(',')
            .map(|p| p.split('=').next().unwrap())
            .collect();
        assert_eq!(keys, ["file", "line", "col", "title"], "{line}");
    }
}

#[test]
fn nothing_is_run_that_is_no_command_of_an_evaluation() {
    let product = product();
    if !rustix::process::geteuid().is_root() {
        let closed = product.path("scenarios/shut.md");
        fs::write(&closed, scenario("Shut", "never-shut")).unwrap();
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).unwrap();
    }
    let ran = product.run_scenarios(&["--jobs", "2", "--timeout", "60"]).code(1);
    let set = discover(&product.root(), "scenarios").unwrap();
    let marks: Vec<String> = fs::read_dir(product.root())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    let never: Vec<&String> = marks.iter().filter(|mark| mark.starts_with("never")).collect();
    assert!(never.is_empty(), "{never:?}");
    // What a quote's marks would have made where they were left in the script.
    for mark in ["touch", "true", "test"] {
        assert!(!marks.iter().any(|found| found == mark), "{marks:?}");
    }
    let results: Value =
        serde_json::from_str(&product.read("artifacts/factory/scenario_results.json")).unwrap();
    let results = results["results"].as_array().unwrap();
    assert_eq!(results.len(), set.entries.len());
    for (result, entry) in results.iter().zip(&set.entries) {
        let file = result["file_path"].as_str().unwrap();
        assert_eq!(file, entry.file);
        let expected = if entry.scenario.is_ok() { "satisfied" } else { "unsatisfied" };
        assert_eq!(result["verdict"], expected, "{file}\n{}", ran.stdout);
        let script = entry.scenario.as_ref().map_or(String::new(), |scenario| scenario.script());
        for mark in script.split_whitespace().filter(|word| word.starts_with("ran-")) {
            assert!(marks.iter().any(|found| found == mark), "{file} left no {mark}");
        }
    }
    assert!(marks.contains(&"ran-several-blocks".to_owned()), "{marks:?}");
    product.assert_nothing_alive();
}
