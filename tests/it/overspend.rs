//! That no turn uses more than it may, as far as its stream tells, and that nothing of it is forgotten.

use std::fs;

use serde_json::Value;

use crate::support::Product;

/// Makes a product that wants the word `two`, which a recorded agent brings in its second turn. Each
/// turn says that it uses half a dollar at each of two calls, and has time for a third.
fn product(budget: &str) -> Product {
    let product = Product::new();
    let turn = product.recording().join("turn-2");
    fs::create_dir_all(&turn).unwrap();
    fs::write(turn.join("words.txt"), "one\ntwo\n").unwrap();
    for turn in ["turn-1", "turn-2"] {
        let used = "{input_tokens: 900, output_tokens: 100, cost_usd: 0.5}";
        let script = format!(
            "uses: [{used}, {used}]\n\
             usage: {{input_tokens: 1800, output_tokens: 200, cost_usd: 1.0}}\n"
        );
        fs::write(product.recording().join(format!("{turn}.yaml")), script).unwrap();
    }
    product
        .file("words.txt", "one\n")
        .config(&format!(
            "satisfaction: {{threshold: 1.0}}\nbudget: {budget}\nagent:\n  backend: replay\n  \
             recording: ../recording\n"
        ))
        .scenario("two", "grep -q two words.txt")
        .committed()
}

fn finished(product: &Product) -> Vec<Value> {
    let events = product.events_named("agent.finished");
    events.into_iter().map(|mut event| event["data"].take()).collect()
}

#[test]
fn a_turn_is_ended_while_it_goes_on_once_it_has_reached_its_budget() {
    let product = product("{per_turn: {money: 0.8}, max_iterations: 1}");
    fs::write(
        product.recording().join("turn-1.yaml"),
        "uses: [{cost_usd: 0.5}, {cost_usd: 0.5}]\nsleep: 600\n",
    )
    .unwrap();
    product.iterate(&[]).code(1).says("spent what it may").says("`budget.per_turn.money`");
    let turn = &finished(&product)[0];
    assert_eq!((&turn["class"], &turn["usage"]["cost_usd"]), (&"budget".into(), &1.0.into()));
    let usage = product.factory(&["usage"]).code(0);
    assert!(usage.stdout.contains("at least $1.00"), "{}", usage.stdout);
}

#[test]
fn an_agent_that_does_not_tell_what_it_uses_is_said_before_it_starts() {
    let product = product("{tokens: 9000, max_iterations: 1}");
    let told = "a budget of money or tokens is held between turns";
    assert!(!product.iterate(&[]).code(1).stderr.contains(told));
    let config = product.read("dark-factory.yaml");
    let command = "backend: command\n  command: [\"true\"]";
    product.write("dark-factory.yaml", config.replace("backend: replay", command));
    product.commit("Another agent");
    product.iterate(&[]).says("`command` tells never what it uses").says(told);
}

#[test]
fn an_attempt_that_was_cut_is_charged_before_another_begins() {
    let product = product("{money: 1.2}");
    fs::write(
        product.recording().join("turn-2-attempt-1.yaml"),
        "trouble: {class: network}\nusage: {cost_usd: 0.5}\n",
    )
    .unwrap();
    product.iterate(&["--budget", "2.2"]).code(5).says("budget.money");
    let classes: Vec<_> = finished(&product).iter().map(|turn| turn["class"].clone()).collect();
    assert_eq!(classes, ["done", "network"]);
    product.iterate(&["--resume", "--budget", "9"]).code(0).says("converged");
}

#[test]
fn time_and_tokens_end_a_turn_as_well() {
    let cases = [("{tokens: 1500}", "`budget.tokens`"), ("{time: 3s}", "`budget.time`")];
    for (budget, setting) in cases {
        let product = product(budget);
        fs::write(
            product.recording().join("turn-1.yaml"),
            "uses: [{input_tokens: 800}, {output_tokens: 800}]\nsleep: 600\n",
        )
        .unwrap();
        product.iterate(&[]).code(5).says(setting);
        assert_eq!(finished(&product)[0]["class"], "budget", "{budget}");
        product.assert_nothing_alive();
    }
}
