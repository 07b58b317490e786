//! What the loop does where an agent can't go on: limits, outages, logins, and what it could not do.

use std::fs;

use serde_json::Value;

use crate::support::{Product, Ran, wait_until};

/// Waits go by so many times faster.
const HASTE: (&str, &str) = ("DARK_FACTORY_TEST_HASTE", "1000");

/// Makes a product that wants the word `two`, and a recorded agent that brings it in its first turn;
/// `files` are put beside the recording, and `more` goes on with the agent's settings.
fn product(files: &[(&str, &str)], more: &str) -> Product {
    let product = Product::new();
    let good = product.recording().join("turn-1");
    fs::create_dir_all(&good).unwrap();
    fs::write(good.join("words.txt"), "one\ntwo\n").unwrap();
    for (path, text) in files {
        fs::write(product.recording().join(path), text).unwrap();
    }
    product
        .file("words.txt", "one\n")
        .config(&format!(
            "satisfaction: {{threshold: 1.0}}\nagent:\n  backend: replay\n  \
             recording: ../recording\n{more}"
        ))
        .scenario("two", "grep -q two words.txt")
        .committed()
}

fn trouble(class: &str, resets_in: Option<u32>) -> String {
    let resets = resets_in.map(|seconds| format!(", resets_in: {seconds}")).unwrap_or_default();
    format!("say: It is {class}.\ntrouble: {{class: {class}{resets}}}\n")
}

fn iterate(product: &Product, args: &[&str]) -> Ran {
    product.iterate_with(args, &[HASTE])
}

/// Returns the class of each attempt.
fn classes(product: &Product) -> Vec<String> {
    let finished = product.events_named("agent.finished");
    finished.iter().map(|event| event["data"]["class"].as_str().unwrap().to_owned()).collect()
}

fn postponed(product: &Product) -> Vec<Value> {
    let events = product.events_named("turn.postponed");
    events.into_iter().map(|mut event| event["data"].take()).collect()
}

#[test]
fn a_usage_limit_is_waited_out_until_its_reset_and_the_run_goes_on() {
    let limit = trouble("rate_limited", Some(90));
    let product = product(&[("turn-1-attempt-1.yaml", &limit)], "");
    let ran = iterate(&product, &[]).code(0);
    let ran = ran.says("ran into a usage limit; waits until ").says("It is rate_limited.");
    assert!(ran.stdout.contains("converged"), "{}", ran.stdout);
    assert_eq!(classes(&product), ["rate_limited", "done"]);
    assert_eq!(postponed(&product).len(), 1);
    let turns = product.events_named("delivery.accepted");
    assert_eq!(turns.len(), 1, "an attempt that a limit ended is no turn");
}

#[test]
fn a_limit_past_the_ceiling_stops_with_5_and_resume_goes_on() {
    let limit = trouble("rate_limited", Some(7_200));
    let product = product(&[("turn-1-attempt-1.yaml", &limit)], "  wait: 1h\n");
    iterate(&product, &[]).code(5).says("usage limit").says("iterate --resume");
    assert_eq!(postponed(&product)[0]["stops"], true);
    iterate(&product, &["--resume"]).code(0).says("converged");
    assert_eq!(classes(&product), ["rate_limited", "done"]);
}

#[test]
fn a_broken_connection_is_tried_again_and_then_fails_resumable() {
    let broken = trouble("network", None);
    let attempts = [1, 2, 3, 4].map(|attempt| format!("turn-1-attempt-{attempt}.yaml"));
    let files: Vec<(&str, &str)> =
        attempts.iter().map(|name| (name.as_str(), broken.as_str())).collect();
    let product = product(&files, "");
    iterate(&product, &[]).code(3).says("did not reach the provider").says("`iterate --resume`");
    assert_eq!(classes(&product), ["network"; 4]);
    iterate(&product, &["--resume"]).code(0).says("converged");
    assert_eq!(classes(&product)[4], "done");
}

#[test]
fn a_login_that_is_refused_fails_at_once_and_names_the_doctor() {
    let refused = trouble("authentication", None);
    let product = product(&[("turn-1-attempt-1.yaml", &refused)], "");
    let half = product.recording().join("turn-1-attempt-1");
    fs::create_dir(&half).unwrap();
    fs::write(half.join("half.txt"), "half\n").unwrap();
    iterate(&product, &[]).code(3).says("could not log in (It is authentication.)").says("doctor");
    assert_eq!(classes(&product), ["authentication"]);
    // What it had done before is paid, and kept.
    let shelved = &product.events_named("attempt.shelved")[0]["data"];
    assert!(product.blob(&shelved["diff"]).contains("+half"));
}

#[test]
fn a_model_that_is_not_there_ends_the_run_at_its_first_turn_and_names_what_was_asked_for() {
    let missing = trouble("not_found", None);
    let model = "  model: gpt-nope\n  base_url: http://127.0.0.1:9/v2\n";
    let product = product(&[("turn-1-attempt-1.yaml", &missing)], model);
    iterate(&product, &[])
        .code(3)
        .says("found no such model, or no provider at its address (It is not_found.)")
        .says("check `agent.model` (`gpt-nope`) and `agent.base_url` (`http://127.0.0.1:9/v2`)")
        .says("begin anew with `iterate`")
        .says("factory doctor");
    assert_eq!(classes(&product), ["not_found"]);
    iterate(&product, &["--resume"]).code(0).says("converged");
    assert_eq!(classes(&product), ["not_found", "done"]);
}

#[test]
fn an_address_by_a_variable_is_named_and_no_login_in_it_is_shown() {
    let missing = trouble("not_found", None);
    let env = "  env: [ANTHROPIC_BASE_URL, OTHER_BASE_URL]\n";
    let product = product(&[("turn-1-attempt-1.yaml", &missing)], env);
    let set = [
        HASTE,
        ("ANTHROPIC_BASE_URL", "http://127.0.0.1:9/x"),
        ("OTHER_BASE_URL", "http://me:hunter2@127.0.0.1:9"),
    ];
    let ran = product.iterate_with(&[], &set).code(3);
    let ran = ran.says("`agent.model` (unset) and `ANTHROPIC_BASE_URL` (`http://127.0.0.1:9/x`)");
    let all = ran.says("`OTHER_BASE_URL` (`set`)");
    assert!(!all.stderr.contains("hunter2") && !all.stdout.contains("hunter2"));
}

#[test]
fn another_agent_takes_over_where_the_first_can_not_go_on() {
    let empty = trouble("quota", None);
    let product = product(
        &[("turn-1-attempt-1.yaml", &empty)],
        "  fallback:\n    - {backend: command, command: [bash, -c, 'echo two >> words.txt']}\n",
    );
    iterate(&product, &[]).code(0).says("has nothing left to spend; command takes over");
    let started = product.events_named("agent.started");
    assert_eq!(started[1]["data"]["backend"], "command");
    assert_eq!(classes(&product), ["quota", "done"]);
}

#[test]
fn what_an_attempt_had_changed_is_shelved_and_the_next_one_begins_anew() {
    let limit = trouble("rate_limited", Some(1));
    let product = product(&[("turn-1-attempt-1.yaml", &limit)], "");
    let half = product.recording().join("turn-1-attempt-1");
    fs::create_dir(&half).unwrap();
    fs::write(half.join("half.txt"), "half\n").unwrap();
    iterate(&product, &[]).code(0);
    let shelved = &product.events_named("attempt.shelved")[0]["data"];
    assert!(product.blob(&shelved["diff"]).contains("+half"));
    assert!(!product.git(&["ls-tree", "-r", "--name-only", &product.branch()]).contains("half"));
    product.factory(&["show"]).code(0).says("turn 1, attempt 1: rate limited");
    product.factory(&["verify"]).code(0);
}

#[test]
fn a_turn_that_was_denied_something_is_judged_and_not_called_done() {
    let product = product(&[("turn-1.yaml", &trouble("denied", None))], "");
    iterate(&product, &[]).code(0).says("was not allowed all that it asked for");
    assert_eq!(classes(&product), ["denied"]);
    assert_eq!(product.events_named("delivery.accepted").len(), 1);
}

#[test]
fn a_turn_without_changes_is_a_no_op_unless_the_agent_says_that_nothing_is_to_do() {
    let product = product(&[("turn-2.yaml", "say: NOTHING TO DO\n")], "");
    fs::remove_dir_all(product.recording().join("turn-1")).unwrap();
    iterate(&product, &["--max-iterations", "2"]).code(1);
    let report = product.factory(&["show"]).code(0);
    assert!(report.stdout.contains("1: no op in"), "{}", report.stdout);
    assert!(report.stdout.contains("2: done in"), "{}", report.stdout);
}

#[test]
fn an_interrupt_ends_a_wait() {
    let limit = trouble("rate_limited", Some(3_000));
    let product = product(&[("turn-1-attempt-1.yaml", &limit)], "");
    let running = product.start_iterate(&[], &[]);
    let waits = || {
        let journals =
            product.runs().into_iter().map(|run| fs::read_to_string(run.join("events.jsonl")));
        journals.flatten().any(|journal| journal.contains("turn.postponed"))
    };
    wait_until("it waits", waits);
    running.signal(rustix::process::Signal::INT);
    assert_eq!(running.wait().code, 130);
    iterate(&product, &["--resume"]).code(0).says("converged");
}
