//! What a run may use up: where it stops, what it keeps, how it goes on, and what is told of it.

use std::fs;

use serde_json::Value;

use crate::support::{Product, Ran};

/// Makes a product that wants the words one to four, one of which an agent by the name of codex adds in
/// each turn, for a million tokens that cost 2 dollars.
fn product(budget: &str) -> Product {
    let product = Product::new();
    let base = product.base().display().to_string();
    let script = format!(
        "#!/bin/sh\n[ \"$1\" != --version ] || {{ echo codex-cli 0.169.0; exit; }}\nn=$(($(cat {base}/count 2>/dev/null || echo 1) + 1))\necho $n > {base}/count\n\
         echo word$n >> words.txt\ncat > /dev/null\n\
         echo '{{\"type\":\"turn.completed\",\"usage\":{{\"input_tokens\":1000000,\
         \"cached_input_tokens\":0,\"output_tokens\":0}}}}'\n"
    );
    let codex = product.base().join("bin/codex");
    fs::create_dir(codex.parent().unwrap()).unwrap();
    fs::write(&codex, script).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(&codex, mode).unwrap();
    let config = format!(
        "satisfaction: {{threshold: 1.0}}\nspecs: []\nagent: {{backend: codex, model: gpt-6-sol}}\nbudget: {budget}\n"
    );
    (1..=4)
        .fold(product.file("words.txt", "word1\n").config(&config), |product, word| {
            product.scenario(&format!("w{word}"), &format!("grep -q word{word} words.txt"))
        })
        .committed()
}

fn iterate(product: &Product, args: &[&str]) -> Ran {
    let path = std::env::var("PATH").unwrap();
    let path = format!("{}:{path}", product.base().join("bin").display());
    let args = [&["--isolation", "copy"], args].concat();
    product.iterate_with(
        &args,
        &[("PATH", &path), ("CODEX_API_KEY", "none"), ("OPENAI_API_KEY", "none")],
    )
}

fn classes(product: &Product) -> Vec<String> {
    let class = |event: &Value| event["data"]["decision"]["decision"].as_str().unwrap().to_owned();
    product.events_named("decision.made").iter().map(class).collect()
}

#[test]
fn a_budget_stops_after_what_it_pays_for_and_goes_on_with_more() {
    let product = product("{money: 5}");
    iterate(&product, &[]).code(5).says("$4.00 of the $5.00 of `budget.money`").says("--budget 10");
    // The third turn would have taken 2 of the 1 that was left; what the two delivered is judged.
    assert_eq!(classes(&product), ["continue", "continue", "over_budget"]);
    assert_eq!(product.events_named("candidate.judged").len(), 3);
    iterate(&product, &["--resume"]).code(2).says("--budget");
    iterate(&product, &["--resume", "--budget", "4"]).code(2);
    iterate(&product, &["--resume", "--budget", "2h"]).code(2);
    iterate(&product, &["--resume", "--budget", "10"]).code(0).says("converged");
    let shown = product.factory(&["usage"]).code(0);
    assert!(shown.stdout.contains("$6.00"), "{}", shown.stdout);
    let json = product.factory(&["usage", "--by", "model", "--json"]).code(0).stdout;
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["rows"][0]["model"], "gpt-6-sol");
    assert_eq!((&json["total"]["priced_usd"], &json["total"]["turns"]), (&6.0.into(), &3.into()));
    let estimate = iterate(&product, &["--estimate"]).code(0);
    estimate.says("cost         $2.00 to $5.00").says("From 3 turns");
}

#[test]
fn a_day_counts_what_other_runs_used() {
    let product = product("{per_day: {turns: 3}, max_iterations: 2}");
    iterate(&product, &[]).code(1).says("exhausted");
    // A second has to pass: runs are listed by their time.
    std::thread::sleep(std::time::Duration::from_millis(1_100));
    iterate(&product, &[]).code(5).says("`budget.per_day.turns`");
    assert_eq!(classes(&product), ["continue", "over_budget"]);
    // The day is not over, and a resume asks again.
    iterate(&product, &["--resume"]).code(5);
}

#[test]
fn a_run_is_over_before_its_deadline_and_goes_on_without() {
    let product = product("{}");
    iterate(&product, &["--deadline", "noon"]).code(2).says("names no moment");
    // The base takes longer to judge than that.
    iterate(&product, &["--deadline", "0.001s"]).code(5).says("deadline");
    assert_eq!(classes(&product), ["deadline"]);
    iterate(&product, &["--resume"]).code(0);
}

#[test]
fn dollars_limit_nothing_where_a_plan_pays() {
    let product = product("{billing: plan, tokens: 2000000}");
    iterate(&product, &["--budget", "5"]).code(2).says("`billing: plan`");
    iterate(&product, &["--budget", "five"]).code(2).says("is no budget");
    iterate(&product, &[]).code(5).says("`budget.tokens`").says("--budget 4000000tok");
    iterate(&product, &["--resume", "--budget", "4Mtok"]).code(0);
    product.factory(&["usage"]).code(0).says("$6.00, notional");
}
