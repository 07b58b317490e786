//! What `run-scenarios` tells of a judgement: several reports at once, to whom it may, and what
//! comes of those that can't be written.

use std::fs::{self, File};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::Product;

const RESULTS: &str = "artifacts/factory/scenario_results.json";

/// A product of three scenarios; the second fails, and tries to command a runner of GitHub.
fn three() -> Product {
    Product::new()
        .scenario("01_good", "echo fine")
        .scenario(
            "02_bad",
            "printf '::error::evil\\n  ::set-env name=A::b\\n##[group]x\\n'; exit 3",
        )
        .scenario("03_good", "test -d scenarios")
        .committed()
}

/// A product of one scenario that is satisfied.
fn one() -> Product {
    Product::new().scenario("01_good", "echo fine").committed()
}

fn command(product: &Product, args: &[&str]) -> Command {
    let mut command = product.clean(env!("CARGO_BIN_EXE_run-scenarios"));
    command.args(args);
    command
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn several_reports_are_written_at_once() {
    let product = three();
    let ran = product
        .run_scenarios(&[
            "--jobs=2",
            "--report=junit=out/deep/junit.xml",
            "--report=jsonl=-",
            "--report=json=out/all.json",
            "--report=plain=out/plain.txt",
            "--report=github=out/github.txt",
        ])
        .code(1);
    let results: Value = serde_json::from_str(&product.read(RESULTS)).unwrap();
    assert_eq!(product.read("out/all.json"), product.read(RESULTS));
    assert_eq!(results["jobs"], 2);
    // Standard output is the report's, and people read standard error.
    let mut told = lines(&ran.stdout);
    let sum = told.pop().unwrap();
    assert_eq!((&sum["total"], &sum["passed"]), (&3.into(), &2.into()));
    told.sort_by_key(|one| one["id"].to_string());
    assert_eq!(Value::Array(told), results["results"]);
    assert!(ran.stderr.contains("FAIL") && ran.stderr.contains("2 of 3 satisfied"), "{ran:?}");
    let junit = product.read("out/deep/junit.xml");
    let junit = roxmltree::Document::parse(&junit).unwrap();
    let suite = junit.root_element().first_element_child().unwrap();
    assert_eq!((suite.attribute("tests"), suite.attribute("failures")), (Some("3"), Some("1")));
    let names: Vec<_> = suite.children().filter_map(|case| case.attribute("name")).collect();
    assert_eq!(names, ["The 01_good", "The 02_bad", "The 03_good"]);
    assert!(product.read("out/plain.txt").starts_with("PASS  The 01_good\nFAIL  The 02_bad\n"));
    let annotation = "::error file=scenarios/02_bad.md,line=11,title=Not satisfied%3A The 02_bad::";
    assert!(product.read("out/github.txt").contains(annotation));
    let left = fs::read_dir(product.path("out")).unwrap().count();
    assert_eq!(left, 4, "a temporary file is left");
}

#[test]
fn what_is_asked_for_twice_or_of_no_format_makes_no_sense() {
    let product = one();
    for args in [
        &["--report=tap=x"][..],
        &["--report=junit"],
        &["--report=json=-", "--report=junit=-"],
        &["--format=json", "--report=junit=-"],
        &["--report=json=x", "--report=junit=x"],
        &["--report=junit=artifacts/factory/scenario_results.json"],
        &["--compare=nothing.json"],
    ] {
        product.run_scenarios(args).code(2);
        assert!(!product.path(RESULTS).exists(), "{args:?}");
    }
}

#[test]
fn a_report_that_cannot_be_written_is_named_and_the_others_are() {
    let product = one();
    fs::create_dir(product.path("dir")).unwrap();
    for format in ["human", "plain", "json", "jsonl", "junit", "github"] {
        for file in ["/dev/full", "dir", "/proc/none/x"] {
            let report = format!("--report={format}={file}");
            let ran = product.run_scenarios(&[&report, "--report=jsonl=good.jsonl"]).code(3);
            assert!(ran.stderr.contains("error: can't write `"), "{report}: {ran:?}");
            assert!(ran.stderr.contains(file), "{report}: {ran:?}");
            assert!(ran.stdout.contains("1 of 1 satisfied"), "{report}: {ran:?}");
            assert_eq!(lines(&product.read("good.jsonl")).len(), 2, "{report}");
            assert!(product.path(RESULTS).exists());
        }
    }
    let args = ["--report=junit=/dev/full", "--report=json=dir", "--output=/dev/full"];
    product.run_scenarios(&args).code(2).says("`/dev/full` is the file of the results");
    let args = ["--report=junit=/dev/full", "--report=json=dir"];
    let ran = product.run_scenarios(&args).code(3);
    assert!(ran.stderr.contains("can't write 2 reports: `/dev/full`: "), "{ran:?}");
}

#[test]
fn a_full_standard_output_is_no_success_and_a_closed_one_no_panic() {
    for format in ["human", "plain", "json", "jsonl", "junit", "github"] {
        let product = one();
        let flag = format!("--format={format}");
        let full = File::options().write(true).open("/dev/full").unwrap();
        let ran = command(&product, &[&flag]).stdout(full).stderr(Stdio::piped()).output().unwrap();
        let said = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert_eq!(ran.status.code(), Some(3), "{format}: {said}");
        assert!(said.contains("can't write to standard output"), "{format}: {said}");
        assert!(product.path(RESULTS).exists());

        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let closed =
            command(&product, &[&flag]).stdout(writer).stderr(Stdio::piped()).output().unwrap();
        let said = String::from_utf8_lossy(&closed.stderr).into_owned();
        assert_eq!(closed.status.code(), Some(0), "{format}: {said}");
        assert!(!said.contains("panicked"), "{format}: {said}");
    }
}

#[test]
fn no_output_of_a_scenario_commands_a_runner() {
    let product = three();
    for args in [&[][..], &["--format=github"], &["--format=plain"]] {
        let mut command = command(&product, args);
        command.env("CI", "true").env("GITHUB_ACTIONS", "true");
        let text = product.start(command).wait().code(1).stdout;
        let mut token: Option<String> = None;
        for line in text.lines() {
            let line = line.trim_start();
            assert!(!line.contains("##["), "{text}");
            let Some(rest) = line.strip_prefix("::") else { continue };
            match &token {
                Some(stop) if rest == format!("{stop}::") => token = None,
                Some(_) => {}
                None => {
                    if let Some(stop) = rest.strip_prefix("stop-commands::") {
                        assert!(stop.len() > 20, "{stop}");
                        token = Some(stop.to_owned());
                    }
                    let ours = ["group::", "endgroup::", "stop-commands::", "error file="];
                    assert!(ours.iter().any(|ours| rest.starts_with(ours)), "{line}: {text}");
                }
            }
        }
        assert_eq!(token, None, "{text}");
        assert_eq!(text.contains("::group::"), args != ["--format=plain"], "{text}");
    }
}

#[test]
fn plain_text_is_the_same_each_time() {
    let product = three();
    let run =
        |jobs: &str| product.run_scenarios(&["--format=plain", "--jobs", jobs]).code(1).stdout;
    let first = run("1");
    assert!(!first.contains(['\r', '\u{1b}']), "{first:?}");
    assert_eq!(run("3"), first);
    assert_eq!(run("2"), first);
}

#[test]
fn a_difference_is_explained() {
    let product = three();
    product.run_scenarios(&["--output=old.json"]).code(1);
    let product = product.scenario("01_good", "exit 7").scenario("02_bad", "true");
    let ran = product.run_scenarios(&["--compare=old.json", "--jobs=2"]).code(1);
    for said in [
        "compared: 1 newly failing, 1 newly passing, 1 as before",
        "  newly failing: The 01_good\n      before: satisfied\n      now:    exit code 7\n",
        "  run differently: 2 at a time, was 1\n",
        "may depend on what another leaves behind",
    ] {
        assert!(ran.stdout.contains(said), "{said}: {}", ran.stdout);
    }
    // Machines read standard output, people the other.
    let ran = product.run_scenarios(&["--compare=old.json", "--format=json"]).code(1);
    serde_json::from_str::<Value>(&ran.stdout).unwrap();
    assert!(ran.stderr.contains("compared: 1 newly failing"), "{ran:?}");
}

#[test]
fn many_scenarios_that_print_much_are_told_in_little_memory() {
    let mut product = Product::new();
    for number in 0..300 {
        product =
            product.scenario(&format!("s{number:03}"), "printf 'line %s\\n' {1..1200}; exit 1");
    }
    let product = product.committed();
    let args = ["--jobs=2", "-q", "--report=junit=j.xml", "--report=jsonl=l.jsonl"];
    product.run_scenarios(&args).code(1);
    assert_eq!(lines(&product.read("l.jsonl")).len(), 301);
    let junit = product.read("j.xml");
    let junit = roxmltree::Document::parse(&junit).unwrap();
    assert_eq!(junit.descendants().filter(|node| node.has_tag_name("failure")).count(), 300);
}
