//! Choosing scenarios: what each flag selects, what is said of a slip, and what comes of nothing.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::support::{Product, Ran};

const RESULTS: &str = "artifacts/factory/scenario_results.json";

/// A scenario with front matter, which exits with `code`.
fn scenario(front: &str, name: &str, category: &str, code: u8) -> String {
    format!(
        "---\n{front}\n---\n# Scenario: {name}\n\n## Category\n{category}\n\n## Behavioral \
         Expectation\nIt works.\n\n## Evaluation Method\n```bash\ntest {code} = 0\n```\n"
    )
}

/// A product of four scenarios, the second of which fails.
fn four() -> Product {
    Product::new()
        .file("scenarios/01_login.md", scenario("tags: [smoke]", "Log in", "web", 0))
        .file("scenarios/02_logout.md", scenario("tags: [web]", "Log out", "web", 1))
        .file("scenarios/03_train.md", scenario("{tags: [gpu], slow: true}", "Train", "ml", 0))
        .file("scenarios/04_help.md", scenario("serial: true", "Help (short)", "cli", 0))
        .committed()
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Returns the ids that `--list` shows.
fn listed(product: &Product, args: &[&str]) -> Vec<String> {
    let ran = product.run_scenarios(&[&["--list"], args].concat()).code(0);
    ran.stdout.lines().map(|line| line.split_whitespace().next().unwrap().to_owned()).collect()
}

#[track_caller]
fn check(product: &Product, args: &[&str], expected: &[&str]) {
    assert_eq!(listed(product, args), expected, "{args:?}");
}

/// Checks what is said where nothing is run; nothing is written either.
#[track_caller]
fn refused(product: &Product, args: &[&str], code: i32, expected: &str) -> Ran {
    let before = product.path(RESULTS).exists().then(|| product.read(RESULTS));
    let ran = product.run_scenarios(args).code(code);
    assert!(ran.stderr.contains(expected), "{args:?}: {}", ran.stderr);
    assert_eq!(product.path(RESULTS).exists().then(|| product.read(RESULTS)), before);
    ran
}

#[test]
fn flags_narrow_each_other_and_a_flag_given_twice_widens() {
    let product = four();
    check(&product, &["-E", "category(web) & !tag(smoke)"], &["02_logout"]);
    check(&product, &["--select", "slow() or name(='help (short)')"], &["03_train", "04_help"]);
    check(&product, &["-E", "serial()", "-E", "name(~LOG I)"], &["01_login", "04_help"]);
    check(&product, &["--tag", "smoke", "--tag", "gpu"], &["01_login", "03_train"]);
    check(&product, &["--category", "web", "--tag", "smoke"], &["01_login"]);
    check(&product, &["log*", "-E", "tag(web)"], &["02_logout"]);
}

#[test]
fn what_is_selected_is_what_is_run() {
    let product = four();
    product.run_scenarios(&["-E", "all() - tag(web)"]).code(0);
    assert_eq!(json(&product.read(RESULTS))["total"], 3);
}

#[test]
fn an_expression_that_can_not_be_read_is_shown_with_a_caret() {
    let product = four();
    let ran = refused(&product, &["-E", "catgory(x)"], 2, "error: unknown predicate `catgory`");
    for line in ["1 | catgory(x)", "| ^^^^^^^", "= help: did you mean `category`?"] {
        assert!(ran.stderr.contains(line), "{}", ran.stderr);
    }
    refused(&product, &["-E", &"!".repeat(100_000)], 2, "more than 100 parentheses");
    refused(&product, &["-E", ""], 2, "expected a predicate");
}

#[test]
fn a_pattern_that_matches_nothing_is_warned_of() {
    let product = four();
    let ran = product.run_scenarios(&["-E", "tag(smoek) | slow()"]).code(0);
    for line in ["warning: `tag(smoek)` matches none of 4 scenarios", "did you mean `smoke`?"] {
        assert!(ran.stderr.contains(line), "{}", ran.stderr);
    }
    let ran = product.run_scenarios(&["-E", "none() | slow()"]).code(0);
    assert!(!ran.stderr.contains("warning"), "{}", ran.stderr);
}

#[test]
fn nothing_selected_is_nothing_to_judge_and_says_by_what() {
    let product = four();
    let selects = "`slow() & serial()` selects none of 4 scenarios";
    refused(&product, &["-E", "slow() & serial()"], 4, selects);
    refused(&product, &["-E", "last(failed)"], 4, "nothing was judged here before");
    refused(&product, &["--tag", "nope"], 4, "`nope` matches none of 4 scenarios");
    let all = "none of 4 scenarios fits all of these: --category, --tag";
    refused(&product, &["--category", "web", "--tag", "gpu"], 4, all);
    let held: Vec<bool> = (1..=9)
        .map(|shard| {
            let ran = product.run_scenarios(&["--list", "--shard", &format!("{shard}/9")]);
            assert!(ran.code == 0 || ran.stderr.contains("/9 holds none of 4 scenarios"));
            ran.code == 0
        })
        .collect();
    assert!(held.contains(&false));
}

#[test]
fn what_failed_is_run_again_until_nothing_fails() {
    let product = four();
    refused(&product, &["--failed"], 2, "run `run-scenarios` once first");
    product.run_scenarios(&["--run-slow"]).code(1);
    check(&product, &["--failed"], &["02_logout"]);
    check(&product, &["-E", "last(passed) & !slow()"], &["01_login", "04_help"]);
    let none = "none of 4 scenarios fits all of these: --category, --failed";
    refused(&product, &["--failed", "--category", "ml"], 4, none);
    let product = product
        .file("scenarios/02_logout.md", scenario("tags: [web]", "Log out", "web", 0))
        .file("scenarios/05_new.md", scenario("{}", "New", "web", 0));
    product.run_scenarios(&["--failed"]).code(0).says("no record of 1 scenario");
    refused(&product, &["--failed"], 4, "nothing failed the last time");
    check(&product, &["-E", "last(none) & id(*new)"], &["05_new"]);
}

#[test]
fn a_record_that_can_not_be_read_stops_only_who_asks_for_it() {
    let product = four().file(RESULTS, "{").committed();
    for args in [&["--failed"][..], &["-E", "last(failed)"], &["--list", "--format", "json"]] {
        refused(&product, args, 2, "scenario_results.json` holds no scenario results");
    }
    product.run_scenarios(&["--jobs", "2", "01_login"]).code(0);
}

#[test]
fn the_shards_of_a_set_are_parts_of_it_that_a_new_scenario_does_not_change() {
    let mut product = Product::new();
    for n in 0..20 {
        product =
            product.file(&format!("scenarios/s{n}.md"), scenario("{}", &format!("S{n}"), "x", 0));
    }
    let shards = |product: &Product| -> Vec<BTreeSet<String>> {
        let shard = |n| listed(product, &["--shard", &format!("{n}/3")]).into_iter().collect();
        (1..=3).map(shard).collect()
    };
    let before = shards(&product);
    assert_eq!(before.iter().map(BTreeSet::len).sum::<usize>(), 20);
    assert_eq!(before.iter().flatten().collect::<BTreeSet<_>>().len(), 20);
    let product = product.file("scenarios/a_new.md", scenario("{}", "New", "x", 0));
    let after: Vec<BTreeSet<String>> = shards(&product)
        .into_iter()
        .map(|shard| shard.into_iter().filter(|id| id != "a_new").collect())
        .collect();
    assert_eq!(after, before);
    for shard in ["0/3", "4/3", "x"] {
        product.run_scenarios(&["--shard", shard]).code(2).says("shard");
    }
}

#[test]
fn a_seed_shuffles_what_is_run_and_not_what_is_written() {
    let product = four();
    let order = |args: &[&str]| -> Vec<String> {
        let ran = product.run_scenarios(&[args, &["--run-slow"]].concat()).code(1);
        let begun =
            ran.stdout.lines().filter(|line| line.contains("PASS") || line.contains("FAIL"));
        begun.map(|line| line.split("  ").nth(2).unwrap().to_owned()).collect()
    };
    let orders: BTreeSet<Vec<String>> =
        (1..=8).map(|seed| order(&["--seed", &seed.to_string()])).collect();
    assert!(orders.len() > 1, "{orders:?}");
    assert!(orders.iter().all(|order| order.last().unwrap() == "Train"), "slow ones come last");
    assert_eq!(order(&["--seed", "1"]), order(&["--seed", "1"]));
    assert_eq!(json(&product.read(RESULTS))["results"][0]["id"], "01_login");
    product.run_scenarios(&["--seed", "random"]).code(1).says("shuffled by --seed ");
    product.run_scenarios(&["--seed", "x"]).code(2).says("neither a number from 0 nor `random`");
}

#[test]
fn a_list_for_machines_tells_what_can_be_selected_by() {
    let product = four();
    let list = |args: &[&str]| {
        let args = [&["--list", "--format", "json"], args].concat();
        json(&product.run_scenarios(&args).code(0).stdout)["scenarios"].clone()
    };
    assert_eq!(list(&["-E", "slow()"])[0]["last_status"], Value::Null);
    product.run_scenarios(&[]).code(1);
    let found = list(&["03_train", "02_logout"]);
    assert_eq!(found[0]["last_status"], "unsatisfied");
    assert_eq!(found[1]["tags"], serde_json::json!(["gpu"]));
    assert_eq!((&found[1]["slow"], &found[1]["serial"]), (&true.into(), &false.into()));
}

#[test]
fn what_the_factory_judged_in_place_is_known_the_next_time() {
    let product = four().committed();
    product.run_scenarios(&["--run-slow"]).code(1);
    check(&product, &["--failed"], &["02_logout"]);
    let product = product.file("scenarios/01_login.md", scenario("{}", "Log in", "web", 1));
    let product = product.file("scenarios/02_logout.md", scenario("{}", "Log out", "web", 0));
    product.iterate(&["--no-agent", "--in-place"]).code(1);
    check(&product, &["--failed", "--category", "web"], &["01_login"]);
}

#[test]
fn a_new_file_takes_nothing_of_an_old_one() {
    let product = Product::new()
        .file("scenarios/登录.md", scenario("weight: 1", "登录", "web", 1))
        .file("scenarios/退出.md", scenario("weight: 1", "退出", "web", 0))
        .committed();
    product.run_scenarios(&["-q"]).code(1);
    let files = |args: &[&str]| -> Vec<String> {
        let args = [&["--list", "--format=json"], args].concat();
        let shown = json(&product.run_scenarios(&args).code(0).stdout);
        let all = shown["scenarios"].as_array().unwrap().clone();
        all.iter().map(|one| one["file_path"].as_str().unwrap().to_owned()).collect()
    };
    // It sorts before both.
    product.write("scenarios/保存.md", scenario("weight: 1", "保存", "web", 0));
    assert_eq!(files(&["--failed"]), ["scenarios/登录.md"]);
    assert_eq!(files(&["-E", "last(none)"]), ["scenarios/保存.md"]);
    // As an earlier version had named them.
    let results = json(&product.read(RESULTS));
    let ids: Vec<&str> = results["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["id"].as_str().unwrap())
        .collect();
    for file in [RESULTS, "artifacts/factory/history.json"] {
        let text = product.read(file);
        product.write(file, text.replace(ids[0], "scenario").replace(ids[1], "scenario-0b1c2d"));
    }
    assert_eq!(files(&["--failed"]), ["scenarios/登录.md"]);
    assert_eq!(files(&["-E", "last(none)"]), ["scenarios/保存.md"]);
}

#[test]
fn two_files_of_one_id_are_refused_by_name() {
    let product = Product::new()
        .file("scenarios/login.md", scenario("weight: 1", "Log in", "web", 0))
        .file("scenarios/a/b.md", scenario("weight: 1", "B", "web", 0))
        .committed();
    product.run_scenarios(&["-q"]).code(0);
    product.write("scenarios/Login.md", scenario("weight: 1", "Log in again", "web", 1));
    let both = "`scenarios/Login.md` and `scenarios/login.md` have one id, `login`; rename one";
    for args in [&[][..], &["--list"], &["--check"], &["login"]] {
        refused(&product, args, 2, both);
    }
    product.commit("Both");
    product.iterate(&["--no-agent"]).code(2).says(both);
    product.compile_feedback(&[]).code(2).says(both);
    product.factory(&["lint"]).code(2).says(both);
}

#[test]
fn settings_that_would_not_be_read_make_a_scenario_invalid() {
    let text = scenario("critical: true", "A", "web", 0);
    let product = Product::new()
        .file("scenarios/blank.md", format!("\n<!-- licence -->\n{text}"))
        .file("scenarios/toml.md", text.replace("---", "+++").replace(": true", " = true"))
        .file(
            "scenarios/rule.md",
            text.replace("---\ncritical: true\n---\n", "").replace("## Cat", "---\n\n## Cat"),
        )
        .committed();
    check(&product, &["-E", "critical()"], &["blank"]);
    let ran = product.run_scenarios(&["--check"]).code(2);
    let found = "error[S025]: `critical` stands outside of the front matter, and is not read there\n --> \
                 scenarios/toml.md:2:1";
    assert!(ran.stdout.contains(found), "{}", ran.stdout);
    assert_eq!(ran.stdout.matches("S025").count(), 1, "{}", ran.stdout);
}
