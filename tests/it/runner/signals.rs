//! What people and CI send to the runner: INT, TERM, HUP, once and twice, and Ctrl-Z.

use std::os::unix::process::CommandExt as _;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};

use super::{RUN_SCENARIOS, ends, result, results, run, runner};
use crate::support::{Product, Ran, Running, wait_until};

/// Two are judged, two run until they are ended, two never begin.
fn six() -> Product {
    Product::bare()
        .scenario("a", "true")
        .scenario("b", "echo why >&2; false")
        .scenario("c", "echo begun; setsid sleep 300 & touch c; sleep 300")
        .scenario("d", "trap 'touch told; exit 0' TERM; sleep 300 & touch d; wait")
        .scenario("e", "touch e")
        .scenario("f", "touch f")
}

/// Waits until the two that don't end are running.
fn both_run(product: &Product) {
    wait_until("both run", || product.path("c").exists() && product.path("d").exists());
}

/// Fails unless the results are complete, and say what was not judged.
#[track_caller]
fn assert_partial(product: &Product) {
    let all = results(product);
    for (field, expected) in [
        ("total", json!(6)),
        ("passed", json!(1)),
        ("failed", json!(1)),
        ("undecided", json!(4)),
        ("not_run", json!(4)),
        ("partial", json!(true)),
    ] {
        assert_eq!(all[field], expected, "{field}: {all}");
    }
    let ids: Vec<&Value> = all["results"].as_array().unwrap().iter().map(|r| &r["id"]).collect();
    assert_eq!(ids, ["a", "b", "c", "d", "e", "f"]);
    for (id, verdict, summary) in [
        ("a", "satisfied", ""),
        ("b", "unsatisfied", "exit code 1: why"),
        ("c", "undecided", "interrupted"),
        ("d", "undecided", "interrupted"),
        ("e", "undecided", "not run: the judging ended before its turn"),
        ("f", "undecided", "not run: the judging ended before its turn"),
    ] {
        let one = result(product, id);
        assert_eq!((&one["verdict"], &one["error_summary"]), (&verdict.into(), &summary.into()));
    }
    assert_eq!(result(product, "c")["stdout"], "begun\n");
    assert!(product.path("told").exists(), "TERM was not passed on");
    assert!(!product.path("e").exists() && !product.path("f").exists());
}

/// Starts the runner on all six, sends it a signal while two run, and checks what is left.
#[track_caller]
fn check(signal: Signal, code: i32) -> Ran {
    let product = six();
    let running = product.start(runner(&product, &["--jobs", "2"]));
    both_run(&product);
    running.signal(signal);
    let ran = ends(&product, running)
        .code(code)
        .says("PARTIAL RESULT: 4 scenarios not judged to an end: interrupted");
    assert_partial(&product);
    ran
}

#[test]
fn int_ends_what_runs_and_leaves_partial_results() {
    check(Signal::INT, 130);
}

#[test]
fn term_ends_what_runs_and_leaves_partial_results() {
    check(Signal::TERM, 143);
}

#[test]
fn hup_counts_as_term() {
    check(Signal::HUP, 143);
}

#[test]
fn int_to_the_foreground_group_is_one_interrupt() {
    let product = six();
    let mut command = runner(&product, &["--jobs", "2"]);
    let running = product.start({
        command.process_group(0);
        command
    });
    both_run(&product);
    kill_process_group(Pid::from_child(&running.child), Signal::INT).unwrap();
    ends(&product, running).code(130);
    assert_partial(&product);
}

#[test]
fn json_on_stdout_is_whole_after_an_interrupt() {
    let product = six();
    let running = product.start(runner(&product, &["--jobs", "2", "--format", "json"]));
    both_run(&product);
    running.signal(Signal::INT);
    let ran = ends(&product, running).code(130);
    assert_eq!(serde_json::from_str::<Value>(&ran.stdout).unwrap(), results(&product));
}

/// Returns how long it takes from the second of two signals to the end.
fn second_signal(first: Signal, second: Signal, code: i32) -> Duration {
    let deaf = "trap 'touch told' TERM; touch ready; while :; do sleep 0.05; done";
    let product = Product::bare().scenario("a", deaf);
    let running = product.start(runner(&product, &[]));
    wait_until("it is ready", || product.path("ready").exists());
    running.signal(first);
    wait_until("it was told", || product.path("told").exists());
    running.signal(second);
    let began = Instant::now();
    ends(&product, running).code(code);
    assert_eq!(result(&product, "a")["error_summary"], "interrupted");
    began.elapsed()
}

#[test]
fn a_second_signal_leaves_no_grace() {
    let (int, term) = (Signal::INT, Signal::TERM);
    for (first, second, code) in [(int, int, 130), (term, term, 143), (int, term, 130)] {
        // The grace is 2 s; a machine that is busy elsewhere may well take one of them away.
        let quick = (0..3).any(|_| second_signal(first, second, code) < Duration::from_secs(1));
        assert!(quick, "{first:?} and then {second:?}");
    }
}

#[test]
fn where_int_is_ignored_term_is_still_heeded() {
    let product = six();
    let mut command = product.clean("sh");
    command.args(["-c", "trap '' INT; exec \"$@\"", "sh", RUN_SCENARIOS, "--jobs", "2"]);
    let running = product.start(command);
    both_run(&product);
    running.signal(Signal::INT);
    std::thread::sleep(Duration::from_millis(300));
    assert!(!product.path("told").exists(), "INT was heeded");
    running.signal(Signal::TERM);
    ends(&product, running).code(143);
    assert_partial(&product);
}

#[test]
fn a_scenario_that_signals_its_runner_interrupts_it() {
    let product = Product::bare().scenario("a", "kill -INT $PPID; sleep 300").scenario("b", "true");
    run(&product, &[]).code(130);
    assert_eq!(results(&product)["not_run"], 2);
}

/// Returns the letter of a process's state.
fn state(pid: u32) -> char {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat[stat.rfind(')').unwrap() + 2..].chars().next().unwrap()
}

/// Stops a runner as Ctrl-Z does, once its scenario is going on; returns the scenario's process.
fn stopped(product: &Product, running: &Running) -> u32 {
    wait_until("it has begun", || product.path("begun").exists());
    running.signal(Signal::TSTP);
    wait_until("the runner is stopped", || state(running.child.id()) == 'T');
    let scenario = product.read("pid").trim().parse().unwrap();
    wait_until("its scenario is stopped", || state(scenario) == 'T');
    scenario
}

#[test]
fn ctrl_z_stops_the_runner_its_scenarios_and_their_clocks() {
    let counts = "echo $$ > pid; touch begun; for i in {1..10}; do echo $i; sleep 0.1; done";
    let product = Product::bare().scenario("a", counts).scenario("b", "true");
    let running = product.start(runner(&product, &["--timeout", "8"]));
    stopped(&product, &running);
    std::thread::sleep(Duration::from_secs(9));
    assert_eq!(state(running.child.id()), 'T');
    running.signal(Signal::CONT);
    ends(&product, running).code(0);
    let result = result(&product, "a");
    assert_eq!(result["stdout"], "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n");
    assert_eq!(result["attempts"][0]["stopped"], false);
    assert!(result["duration_seconds"].as_f64().unwrap() < 8.0, "{result}");
}

#[test]
fn a_limit_holds_after_ctrl_z() {
    let endless = "echo $$ > pid; touch begun; sleep 300; true";
    let product = Product::bare().scenario("a", endless);
    let running = product.start(runner(&product, &["--timeout", "2"]));
    stopped(&product, &running);
    running.signal(Signal::CONT);
    ends(&product, running).code(1);
    assert_eq!(result(&product, "a")["error_summary"], "timed out after 2.0 s");
}

#[test]
fn a_runner_that_is_stopped_can_be_interrupted() {
    let product = six();
    product.write("pid", "");
    let running = product.start(runner(&product, &["--jobs", "2"]));
    both_run(&product);
    running.signal(Signal::TSTP);
    wait_until("it is stopped", || state(running.child.id()) == 'T');
    running.signal(Signal::TERM);
    running.signal(Signal::CONT);
    ends(&product, running).code(143);
    assert_partial(&product);
}
