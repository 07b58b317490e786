//! `run-scenarios` can't be fooled or hung, and leaves nothing behind: whatever scenarios, people
//! and the system do to it.

mod kills;
mod leftovers;
mod output;
mod promises;
mod signals;

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{Product, RUN_SCENARIOS, Ran, Running};

/// Where the results go.
const RESULTS: &str = "artifacts/factory/scenario_results.json";
/// What a run may take that is never waited for: far below the 300 s that leftovers sleep, far
/// above what a machine that is busy with other things makes of a second.
const SOON: Duration = Duration::from_secs(60);

/// Returns the runner's command. Signals are as a terminal leaves them: whoever runs these tests in
/// the background, or under `nohup`, has some of them ignored.
fn runner(product: &Product, args: &[&str]) -> Command {
    let mut command = product.clean("env");
    command.arg("--default-signal=INT,HUP,TSTP").arg(RUN_SCENARIOS).args(args);
    command
}

/// Runs the runner, and fails unless it comes to its end soon and nothing of the product is alive
/// after it.
#[track_caller]
fn run(product: &Product, args: &[&str]) -> Ran {
    ends(product, product.start(runner(product, args)))
}

/// Waits for a runner; fails as [`run`] does.
#[track_caller]
fn ends(product: &Product, running: Running) -> Ran {
    let began = Instant::now();
    let ran = running.wait();
    let alive = product.processes();
    assert!(alive.is_empty(), "left alive: {alive:?}\n{}\n{}", ran.stdout, ran.stderr);
    assert!(began.elapsed() < SOON, "it took {:?}", began.elapsed());
    ran
}

/// Returns the results, which have to be one whole document.
#[track_caller]
fn results(product: &Product) -> Value {
    serde_json::from_slice(&fs::read(product.path(RESULTS)).unwrap()).unwrap()
}

/// Returns the result of one scenario.
#[track_caller]
fn result(product: &Product, id: &str) -> Value {
    let results = results(product);
    let found = results["results"].as_array().unwrap().iter().find(|one| one["id"] == id);
    found.unwrap_or_else(|| panic!("no result of {id}: {results}")).clone()
}

/// Runs a product of one scenario, and returns its result.
#[track_caller]
fn judge(evaluation: &str) -> Value {
    let product = Product::bare().scenario("one", evaluation);
    run(&product, &[]);
    result(&product, "one")
}

/// Fails unless the evaluation is satisfied and writes `stdout`.
#[track_caller]
fn check(evaluation: &str, stdout: &str) {
    let result = judge(evaluation);
    assert_eq!((&result["verdict"], &result["stdout"]), (&"satisfied".into(), &stdout.into()));
}
