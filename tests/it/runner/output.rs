//! What scenarios write, and where the runner's own words and results can't go.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;

use serde_json::json;

use super::{RESULTS, check, judge, result, results, run, runner};
use crate::support::{Product, RUN_SCENARIOS};

#[test]
fn any_bytes_make_valid_results() {
    let result = judge(r"printf 'a\377b\0c\033[31md\r\n'; printf '\200' >&2");
    assert_eq!(result["stdout"], "a\u{fffd}b\0c\u{1b}[31md\r\n");
    assert_eq!(result["stderr"], "\u{fffd}");
    assert_eq!(result["attempts"][0]["stdout_bytes"], 13);
}

#[test]
fn control_characters_of_a_failure_do_not_reach_the_terminal() {
    let product =
        Product::bare().scenario("a", r"printf '\033[2Jbad\033]0;title\007\n' >&2; false");
    let ran = run(&product, &[]).code(1).says("bad");
    assert!(!ran.stdout.contains(['\u{1b}', '\u{7}']), "{:?}", ran.stdout);
}

#[test]
fn much_output_is_drained_counted_and_not_kept() {
    let flood =
        "echo first; head -c 100000000 /dev/zero; head -c 100000000 /dev/zero >&2; echo end";
    let product = Product::bare().scenario("a", flood);
    run(&product, &[]).code(0);
    let result = result(&product, "a");
    let attempt = &result["attempts"][0];
    assert_eq!(
        (&attempt["stdout_bytes"], &attempt["stderr_bytes"]),
        (&json!(100_000_010), &json!(100_000_000))
    );
    assert!(result["stdout"].as_str().unwrap().ends_with("\0end\n"));
    assert!(result["stdout_head"].as_str().unwrap().starts_with("first\n\0"));
    let size = fs::metadata(product.path(RESULTS)).unwrap().len();
    assert!(size < 1_000_000, "{size} bytes of results");
}

#[test]
fn output_of_both_streams_at_once_blocks_neither() {
    let both = "head -c 1000000 /dev/zero >&2 & head -c 1000000 /dev/zero; wait; echo";
    let attempt = &judge(both)["attempts"][0];
    assert_eq!(
        (&attempt["stdout_bytes"], &attempt["stderr_bytes"]),
        (&json!(1_000_001), &json!(1_000_000))
    );
}

#[test]
fn a_scenario_that_closes_its_streams_is_judged_to_its_end() {
    let product = Product::bare().scenario("a", "exec >&- 2>&-; sleep 0.3; touch end; exit 3");
    run(&product, &[]).code(1);
    assert!(product.path("end").exists());
    assert_eq!(result(&product, "a")["exit_code"], 3);
}

#[test]
fn what_is_written_after_the_end_belongs_to_nobody() {
    let late = |name| {
        format!(
            "({{ sleep 0.3; echo late; }} & setsid bash -c 'sleep 0.3; echo late' &) ; echo {name}"
        )
    };
    for jobs in ["1", "2"] {
        let product = Product::bare()
            .scenario("a", &late("a"))
            .scenario("b", "sleep 0.6; echo b")
            .scenario("c", &late("c"))
            .scenario("d", "sleep 0.6; echo d");
        run(&product, &["--jobs", jobs]).code(0);
        for id in ["a", "b", "c", "d"] {
            assert_eq!(result(&product, id)["stdout"], format!("{id}\n"), "{jobs} jobs");
        }
    }
}

fn two() -> Product {
    Product::bare().scenario("a", "true").scenario("b", "echo; false")
}

#[test]
fn a_reader_who_has_left_is_no_panic_and_costs_no_result() {
    for args in [&[][..], &["--format", "json"]] {
        let product = two();
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = runner(&product, args);
        let output = command.stdout(writer).stderr(Stdio::piped()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!said.contains("panicked"), "{said}");
        assert_ne!(output.status.code(), Some(0));
        assert!(output.status.code().is_some(), "{said}");
        assert_eq!(results(&product)["total"], 2);
        product.assert_nothing_alive();
    }
}

#[test]
fn a_full_disk_behind_stdout_is_told_and_costs_no_result() {
    for args in [&[][..], &["--format", "json"]] {
        let product = Product::bare().scenario("a", "true");
        let full = File::options().write(true).open("/dev/full").unwrap();
        let output = runner(&product, args).stdout(full).stderr(Stdio::piped()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(3), "{said}");
        assert!(said.starts_with("error: can't write to standard output"), "{said}");
        assert_eq!(results(&product)["passed"], 1);
    }
}

#[test]
fn results_that_cannot_be_written_are_never_a_success() {
    let product = Product::bare().scenario("a", "true");
    product.write("file", "");
    for output in ["/dev/full", "/proc/none/results.json", "file/results.json", "scenarios"] {
        let ran = run(&product, &["--output", output]).code(3).says("error: can't write");
        assert!(ran.stdout.contains("1 of 1 satisfied"), "{}", ran.stdout);
    }
}

#[test]
fn where_no_record_can_be_begun_nothing_is_judged() {
    let product = Product::bare().scenario("a", "touch judged").file("artifacts", "a file");
    run(&product, &[]).code(3).says("error: can't begin a record");
    assert!(!product.path("judged").exists());
}

#[test]
fn two_judgements_of_one_product_do_not_meet() {
    let product = (0..10).fold(Product::bare(), |product, number| {
        let evaluation = if number == 0 { "sleep 0.05; false" } else { "sleep 0.05; echo $PWD" };
        product.scenario(&format!("s{number}"), evaluation)
    });
    let elsewhere = product.base().join("other.json");
    let other = ["--output", elsewhere.to_str().unwrap(), "--jobs", "3"];
    let running: Vec<_> = [&["--jobs", "2"][..], &[], &other]
        .iter()
        .map(|args| product.start(runner(&product, args)))
        .collect();
    running.into_iter().for_each(|one| _ = one.wait().code(1));
    product.assert_nothing_alive();
    let other: serde_json::Value = serde_json::from_slice(&fs::read(elsewhere).unwrap()).unwrap();
    for all in [results(&product), other] {
        assert_eq!(
            (&all["passed"], &all["failed"], &all["partial"]),
            (&json!(9), &json!(1), &json!(false))
        );
    }
    let left = fs::read_dir(product.path("artifacts/factory/judgements")).unwrap();
    let left: Vec<_> = left.map(|one| one.unwrap().file_name()).collect();
    assert_eq!(left, [".lock"], "a record stayed");
}

#[test]
fn results_replace_a_link_and_keep_a_mode_that_lets_others_read() {
    let product = Product::bare().scenario("a", "true");
    product.write("shown.json", "old");
    fs::create_dir_all(product.path("artifacts/factory")).unwrap();
    std::os::unix::fs::symlink("../../shown.json", product.path(RESULTS)).unwrap();
    run(&product, &[]).code(0);
    assert!(fs::symlink_metadata(product.path(RESULTS)).unwrap().is_symlink());
    assert_eq!(results(&product)["passed"], 1);
    let mode = fs::metadata(product.path("shown.json")).unwrap().permissions().mode();
    assert_eq!(mode & 0o444, 0o444, "{mode:o}");
}

#[test]
fn a_reader_who_leaves_a_scenarios_pipe_ends_its_writer() {
    check("yes | head -n 1; echo ${PIPESTATUS[0]}", "y\n141\n");
    let product =
        Product::bare().scenario("a", "yes | head -n 1 >/dev/null; echo ${PIPESTATUS[0]}");
    let mut command = product.clean("sh");
    command.args(["-c", "trap '' PIPE; exec \"$@\"", "sh", RUN_SCENARIOS]);
    super::ends(&product, product.start(command)).code(0);
    assert_eq!(result(&product, "a")["stdout"], "141\n");
}
