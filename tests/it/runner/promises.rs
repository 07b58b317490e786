//! What every scenario can rely on, and what it can't do to those after it.

use std::fs;

use super::{RESULTS, check, ends, result, results, run, runner};
use crate::support::{Product, RUN_SCENARIOS, wait_until};

#[test]
fn stdin_is_at_its_end_at_once() {
    check("cat; read line; echo $?", "1\n");
    let product = Product::bare().scenario("a", "cat; echo end");
    let (reader, writer) = std::io::pipe().unwrap();
    let mut command = runner(&product, &[]);
    command.stdin(reader);
    ends(&product, product.start(command)).code(0);
    drop(writer);
    assert_eq!(result(&product, "a")["stdout"], "end\n");
}

#[test]
fn no_file_of_bash_is_read_and_no_variable_steers_it() {
    let product = Product::bare().scenario("a", "shopt -q login_shell; echo $? $-; type -t f");
    for file in [".profile", ".bash_profile", ".bashrc", "rc"] {
        fs::write(product.base().join("home").join(file), "echo from a file\n").unwrap();
    }
    let rc = product.base().join("home/rc");
    let mut command = runner(&product, &[]);
    command.env("BASH_ENV", &rc).env("ENV", &rc).env("SHELLOPTS", "xtrace");
    command.env("BASH_FUNC_f%%", "() { echo f; }");
    ends(&product, product.start(command)).code(1);
    let result = result(&product, "a");
    assert_eq!((&result["stdout"], &result["stderr"]), (&"1 hBc\n".into(), &"".into()));
}

#[test]
fn locale_and_terminal_are_the_same_everywhere_and_the_time_zone_is_the_persons() {
    let product = Product::bare().scenario("a", "echo $LC_ALL $TERM; date -d @0 +%H:%M");
    let mut command = runner(&product, &[]);
    command.env("LC_ALL", "de_DE").env("TERM", "xterm").env("TZ", "Asia/Tokyo");
    ends(&product, product.start(command)).code(0);
    assert_eq!(result(&product, "a")["stdout"], "C.UTF-8 dumb\n09:00\n");
}

#[test]
fn a_script_may_be_longer_than_an_argument() {
    let filler = ": a line that says nothing at all\n".repeat(20_000);
    check(&format!("{filler}echo end; exit 0"), "end\n");
    let product = Product::bare().scenario("a", &format!("{filler}cat; sleep 300"));
    run(&product, &["--timeout", "1"]).code(1);
    assert_eq!(fs::read_dir(product.base().join("tmp")).unwrap().count(), 0);
}

#[test]
fn no_descriptor_of_the_runner_is_handed_on() {
    let product = (0..8).fold(Product::bare(), |product, number| {
        product.scenario(&format!("s{number}"), "sleep 0.1; ls /proc/$$/fd; true")
    });
    // Whoever runs the tests may have left some open that are not the runner's.
    let close = "for fd in /proc/$$/fd/*; do fd=${fd##*/}; ((fd > 2)) && eval \"exec $fd>&-\"; done
        exec \"$@\"";
    let mut command = product.clean("bash");
    command.args(["-c", close, "bash", RUN_SCENARIOS, "--jobs", "8"]);
    ends(&product, product.start(command)).code(0);
    for number in 0..8 {
        assert_eq!(result(&product, &format!("s{number}"))["stdout"], "0\n1\n2\n");
    }
}

#[test]
fn what_was_adopted_is_reaped_as_the_run_goes_on() {
    let zombies = "for stat in /proc/[0-9]*/stat; do
        read -r line <$stat || continue
        case $line in *\") Z $PPID \"*) echo \"$line\" ;; esac
        done 2>/dev/null; true";
    let product = (0..10)
        .fold(Product::bare(), |product, number| {
            product.scenario(&format!("s{number}"), "(setsid true &); (true &); sleep 0.05")
        })
        .scenario("z", zombies);
    run(&product, &[]).code(0);
    assert_eq!(result(&product, "z")["stdout"], "");
}

#[test]
fn a_scenario_that_empties_the_directory_costs_nobody_a_verdict() {
    let product = Product::bare()
        .scenario("a", "rm -rf ./* .[a-z]*")
        .scenario("b", "echo b > made; false")
        .scenario("c", "cat made");
    run(&product, &[]).code(1);
    let all = results(&product);
    assert_eq!((&all["passed"], &all["failed"]), (&2.into(), &1.into()));
    assert_eq!(result(&product, "c")["stdout"], "b\n");
}

#[test]
fn a_root_that_is_gone_decides_nothing() {
    let product = Product::bare().scenario("a", "rm -rf \"$PWD\"").scenario("b", "true");
    let elsewhere = product.base().join("results.json");
    run(&product, &["--output", elsewhere.to_str().unwrap()]).code(1);
    let all: serde_json::Value = serde_json::from_slice(&fs::read(elsewhere).unwrap()).unwrap();
    assert_eq!(all["results"][1]["verdict"], "undecided");
    let why = all["results"][1]["error_summary"].as_str().unwrap();
    assert!(why.starts_with("could not start: the directory `"), "{why}");
}

#[test]
fn a_runner_whose_own_directory_is_removed_goes_on() {
    let product = Product::new().scenario("a", "rmdir deep").scenario("b", "pwd");
    fs::create_dir(product.path("deep")).unwrap();
    let mut command = runner(&product, &[]);
    command.current_dir(product.path("deep"));
    ends(&product, product.start(command)).code(0);
    assert_eq!(results(&product)["passed"], 2);
}

#[test]
fn a_runner_that_begins_in_a_removed_directory_says_so() {
    let product = Product::bare().scenario("a", "true");
    let mut command = product.clean("sh");
    let script = "mkdir gone; cd gone; rmdir ../gone; exec \"$@\"";
    command.args(["-c", script, "sh", RUN_SCENARIOS]);
    ends(&product, product.start(command)).code(3).says("the current directory can't be used");
}

#[test]
fn what_nobody_can_delete_is_no_failure_of_the_runner() {
    // Root can delete it all the same; others can't, and the runner has no reason to.
    let lock = "mkdir -p d/e; touch d/e/f; chmod 000 d/e d";
    let product = Product::bare().scenario("a", lock).scenario("b", "test -d d");
    run(&product, &[]).code(0);
    run(&product, &["b"]).code(0);
    fs::set_permissions(product.path("d"), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .unwrap();
    fs::set_permissions(product.path("d/e"), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .unwrap();
}

#[test]
fn a_scenario_cannot_put_results_where_the_runner_writes_its_own() {
    let forged = "mkdir -p artifacts/factory
        echo '{\"total\": 1, \"passed\": 1}' > artifacts/factory/scenario_results.json
        for record in artifacts/factory/judgements/*/results.jsonl; do
            echo '{\"id\": \"a\", \"name\": \"a\", \"passed\": true}' > $record
        done; false";
    let product = Product::bare().scenario("a", forged).scenario("b", "true");
    run(&product, &[]).code(1);
    let all = results(&product);
    assert_eq!((&all["total"], &all["passed"], &all["failed"]), (&2.into(), &1.into(), &1.into()));
    assert_eq!(result(&product, "a")["verdict"], "unsatisfied");
}

#[test]
fn a_reader_of_the_terminal_is_stopped_and_said_to_be() {
    let product = Product::bare()
        .scenario("a", "read line </dev/tty; echo \"$line\"")
        .scenario("b", "echo b");
    let mut command = product.clean("script");
    let call = format!("{RUN_SCENARIOS} --timeout 2");
    command.args(["-qec", &call, "/dev/null"]);
    ends(&product, product.start(command)).code(1);
    let reader = result(&product, "a");
    assert_eq!(reader["error_summary"], "timed out after 2.0 s");
    assert_eq!(reader["attempts"][0]["stopped"], true);
    assert_eq!(result(&product, "b")["stdout"], "b\n");
}

#[test]
fn without_a_terminal_a_reader_of_it_fails_at_once() {
    let product = Product::bare().scenario("a", "read line </dev/tty");
    let mut command = product.clean("setsid");
    command.args(["--wait", RUN_SCENARIOS]);
    ends(&product, product.start(command)).code(1);
    assert_eq!(result(&product, "a")["exit_code"], 1);
}

#[test]
fn results_are_there_only_once_they_are_whole() {
    let product =
        Product::bare().scenario("a", "touch begun; until test -e go; do sleep 0.02; done");
    let running = product.start(runner(&product, &[]));
    wait_until("it has begun", || product.path("begun").exists());
    assert!(!product.path(RESULTS).exists());
    product.write("go", "");
    ends(&product, running).code(0);
    assert_eq!(results(&product)["passed"], 1);
}
