//! The demo: a product converges before a newcomer's eyes, and it is not staged.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use insta::assert_snapshot;

use crate::support::Product;

/// Returns the table at the end of what `iterate` prints.
fn trajectory(stdout: &str) -> String {
    let lines = stdout.lines().skip_while(|line| !line.starts_with("iteration  gates"));
    lines.take_while(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
}

/// Returns the numbers of satisfied scenarios, a judgement without any as none.
fn satisfied(product: &Product) -> Vec<Option<u64>> {
    let judged = product.events_named("candidate.judged");
    judged.iter().map(|event| event["data"]["satisfaction"]["passed"].as_u64()).collect()
}

#[test]
fn the_demo_converges_and_leaves_the_checkout_alone() {
    let product = Product::tally();
    let before = product.checkout();
    let ran = product.iterate(&[]).code(0);
    assert_snapshot!(trajectory(&ran.stdout), @r"
    iteration  gates  score  satisfied  what the turn brought
            0  ok      0.20       2/10  the base
            1  ok      0.50       5/10  4 files
            2  ok      0.60       6/10  5 files
            3  FAIL       -          -  2 files
            4  ok      0.80       8/10  4 files, 2 dropped
            5  -          -          -  nothing
    *       6  ok      1.00      10/10  5 files
    * the best candidate
    ");
    assert_eq!(satisfied(&product).last(), Some(&Some(10)));
    let ran = ran.says("dropped specs/tally.md").says("dropped scenarios/invalid-input.md");
    ran.says("no longer satisfied: A removed expense is gone for good").says("converged");
    product.assert_untouched(&before);
    product.assert_nothing_alive();
    // The result passes where a person has it, too.
    let branch = product.branch();
    product.git(&["merge", "-q", "--ff-only", &branch]);
    product.run_scenarios(&[]).code(0);
}

#[test]
fn without_its_last_recorded_turn_the_demo_is_exhausted() {
    let product = Product::tally();
    let recording = product.recording();
    fs::remove_dir_all(recording.join("turn-6")).unwrap();
    fs::remove_file(recording.join("turn-6.yaml")).unwrap();
    product.iterate(&[]).code(1).says("exhausted").says("turn 6 has no recording");
    assert_eq!(satisfied(&product).last(), Some(&Some(8)));
}

/// Replaces the product's launcher and fails unless no scenario passes at any turn.
fn check_stub(stub: &str) {
    let product = Product::tally();
    product.write("tally", stub);
    fs::set_permissions(product.path("tally"), fs::Permissions::from_mode(0o755)).unwrap();
    product.commit("Replace the launcher");
    let ran = product.iterate(&[]).code(1);
    let satisfied = satisfied(&product);
    assert!(satisfied.iter().all(|passed| passed.unwrap_or(0) == 0), "{satisfied:?}");
    assert!(!ran.stdout.contains("converged"), "{}", ran.stdout);
}

#[test]
fn a_launcher_that_does_nothing_never_converges() {
    check_stub("#!/bin/sh\nexit 0\n");
}

#[test]
fn a_launcher_that_fails_never_converges() {
    check_stub("#!/bin/sh\nexit 1\n");
}

#[test]
fn a_launcher_that_prints_what_looks_right_never_converges() {
    check_stub(
        "#!/bin/sh\ncase $1 in\nadd) echo added 1 ;;\nlist) printf '1\\t2024-03-01\\t12.50\\tfood\\t\\n' ;;\n\
         total) echo 12.50 ;;\nreport) printf 'food\\t12.50\\n' ;;\nremove) echo removed 1 ;;\n\
         export) echo id,date,amount,category,note ;;\nhelp) echo usage: tally ;;\n\
         *) echo \"tally: unknown command '$1'; 'tally help' lists them\" >&2; exit 2 ;;\nesac\n",
    );
}
