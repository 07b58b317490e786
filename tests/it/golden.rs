//! Scenarios as the operating manual has people write them, and `scenario_results.json` to the byte,
//! but for times.

use std::path::Path;

use serde_json::Value;

use crate::support::{Product, copy};

/// A product with the manual's scenarios, which run on it unchanged.
fn product() -> Product {
    let product = Product::new().file(
        "app.sh",
        "case $1 in\n\
         train) for n in $(seq \"$2\"); do echo \"epoch $n\"; done ;;\n\
         export) echo 'app.sh: there is no model' >&2; exit 3 ;;\n\
         esac\n",
    );
    let manual = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/manual");
    copy(&manual, &product.path("scenarios"));
    product.committed()
}

/// Replaces every time in `value`.
fn without_times(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                match name.as_str() {
                    "timestamp" => *field = "TIME".into(),
                    "duration_seconds" => *field = 0.0.into(),
                    _ => without_times(field),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(without_times),
        _ => {}
    }
}

/// Returns the results as they are published, without times.
#[track_caller]
fn results(product: &Product) -> String {
    let text = product.read("artifacts/factory/scenario_results.json");
    let mut value: Value = serde_json::from_str(&text).unwrap();
    let time = value["timestamp"].as_str().unwrap();
    assert!(time.starts_with("20") && time.ends_with('Z'), "{time}");
    without_times(&mut value);
    serde_json::to_string_pretty(&value).unwrap()
}

/// Checks what one of the manual's scenarios comes to.
#[track_caller]
fn check(snapshot: &str, name: &str, code: i32) {
    let product = product();
    product.run_scenarios(&[name, "--timeout", "0.5", "--jobs", "1"]).code(code);
    insta::assert_snapshot!(snapshot, results(&product));
    product.assert_nothing_alive();
}

#[test]
fn the_manuals_scenarios_run_unchanged() {
    let product = product();
    let ran = product.run_scenarios(&["--timeout", "5"]).code(1);
    ran.says("2 of 6 satisfied, 4 failed; score 0.33");
    assert_eq!(product.git(&["status", "--porcelain"]), "");
    product.run_scenarios(&["--category", "INTEGRATION", "--list"]).code(0).says("06_signal");
}

#[test]
fn a_pass() {
    check("pass", "02_training", 0);
}

#[test]
fn a_failure() {
    check("failure", "03_pipeline", 1);
}

#[test]
fn a_timeout() {
    check("timeout", "04_dashboard", 1);
}

#[test]
fn an_empty_evaluation() {
    check("empty_evaluation", "05_integration", 1);
}

#[test]
fn a_crash() {
    check("crash", "06_signal", 1);
}

#[test]
fn a_failed_gate() {
    let product = product()
        .file("Makefile", "lint:\n\t@echo 'app.sh: line 1: odd'; false\n\ntest:\n\t@echo tested\n");
    let ran = product.iterate(&["--no-agent", "--in-place"]).code(1).says("A gate failed.");
    assert!(!ran.stdout.contains("satisfied,"), "{}", ran.stdout);
    insta::assert_snapshot!("failed_gate", results(&product));
    let log = product.read("artifacts/factory/ci_output.log");
    assert!(log.contains("app.sh: line 1: odd") && log.contains("tested"), "{log}");
}

#[test]
fn nothing_judged() {
    let product = product();
    for name in ["01_environment", "02_training"] {
        let path = format!("scenarios/{name}.md");
        let text = product.read(&path).replace("- The repository", "- check: `false`\n- The repo");
        product.write(&path, text);
    }
    product.run_scenarios(&["01_*", "02_*"]).code(4).says("nothing judged");
    insta::assert_snapshot!("nothing_judged", results(&product));
}

#[test]
fn no_scenario_leaves_the_last_results_alone() {
    let product = product();
    product.run_scenarios(&["nope"]).code(4);
    assert!(!product.path("artifacts/factory/scenario_results.json").exists());
    product.run_scenarios(&["01_environment"]).code(0);
    let before = results(&product);
    product.run_scenarios(&["nope"]).code(4);
    assert_eq!(results(&product), before);
}
