//! The commands beside the loop, as real processes: what each writes, leaves and comes to.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::support::{ITERATE, Product, walk};

const RESULTS: &str = "artifacts/factory/scenario_results.json";

/// A product of three scenarios, the second of which fails.
fn three() -> Product {
    let other = |name: &str, script: &str| {
        format!(
            "# Scenario: {name}\n\n## Category\nother\n\n## Behavioral Expectation\nIt works.\n\n\
             ## Evaluation Method\n```bash\n{script}\n```\n"
        )
    };
    Product::new()
        .scenario("01_good", "echo; test -d scenarios")
        .scenario("02_bad", "echo SECRET-CRITERION-9 >/dev/null; echo why >&2; exit 3")
        .file("scenarios/deep/03_other.md", other("Another", "pwd"))
        .committed()
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn scenarios_are_listed_and_checked_without_being_run() {
    let product = three();
    let list = product.run_scenarios(&["--list"]).code(0).stdout;
    let ids: Vec<&str> = list.lines().map(|line| line.split_whitespace().next().unwrap()).collect();
    assert_eq!(ids, ["01_good", "02_bad", "deep-03_other"]);
    let found = json(&product.run_scenarios(&["--list", "--format", "json"]).code(0).stdout);
    assert_eq!(found["scenarios"].as_array().unwrap().len(), 3);
    product.run_scenarios(&["--check"]).code(0).says("3 scenarios: 0 errors, 0 warnings");
    assert!(!product.path("artifacts").exists());
}

#[test]
fn scenarios_are_chosen_by_category_name_file_and_glob() {
    let product = three();
    for (args, code, total) in [
        (&[][..], 1, 3),
        (&["--category", "OTHER"], 0, 1),
        (&["--category", "core", "--category", "other"], 1, 3),
        (&["01_good"], 0, 1),
        (&["Another", "01*"], 0, 2),
        (&["scenarios/deep/03_other.md"], 0, 1),
    ] {
        product.run_scenarios(args).code(code);
        assert_eq!(json(&product.read(RESULTS))["total"], total, "{args:?}");
    }
}

#[test]
fn a_time_limit_ends_all_that_a_scenario_started() {
    let product = Product::new().scenario("slow", "sleep 611 & sleep 612; true").committed();
    let began = Instant::now();
    product.run_scenarios(&["--timeout", "0.3s"]).code(1).says("timed out after 0.3 s");
    assert!(began.elapsed() < Duration::from_secs(60));
    product.assert_nothing_alive();
}

#[test]
fn jobs_run_at_once_and_results_stay_in_order() {
    // Each waits for the other: one at a time they would both fail.
    let meet = |mine: &str, other: &str| {
        format!(
            "touch $PWD/{mine}; for i in $(seq 300); do test -e {other} && exit 0; sleep 0.1; done; \
             exit 1"
        )
    };
    let product = Product::new()
        .scenario("a", &meet("here-a", "here-b"))
        .scenario("b", &meet("here-b", "here-a"))
        .committed();
    product.run_scenarios(&["--jobs", "2"]).code(0);
    let results = json(&product.read(RESULTS));
    let ids: Vec<&Value> =
        results["results"].as_array().unwrap().iter().map(|r| &r["id"]).collect();
    assert_eq!(ids, ["a", "b"]);
}

#[test]
fn another_product_another_exam_another_file() {
    let product = three();
    let exam = product.base().join("exam");
    fs::rename(product.path("scenarios"), &exam).unwrap();
    fs::create_dir(product.path("scenarios")).unwrap();
    let output = product.base().join("outputs/results.json");
    let words = |path: &std::path::Path| path.to_str().unwrap().to_owned();
    let (root, exam, output) = (words(&product.root()), words(&exam), words(&output));
    let mut command = product.clean(env!("CARGO_BIN_EXE_run-scenarios"));
    command.current_dir("/").args([
        "--workdir",
        &root,
        "--scenarios-dir",
        &exam,
        "--output",
        &output,
        "01_good",
    ]);
    product.start(command).wait().code(0);
    assert_eq!(json(&fs::read_to_string(output).unwrap())["passed"], 1);
    assert!(!product.path(RESULTS).exists());
}

#[test]
fn json_on_standard_output_is_the_file() {
    let product = three();
    let ran = product.run_scenarios(&["--format", "json"]).code(1);
    assert_eq!(ran.stdout, product.read(RESULTS));
}

#[test]
fn an_interrupt_leaves_what_was_judged() {
    let product =
        Product::new().scenario("a", "true").scenario("b", "touch begun; sleep 613").committed();
    let running = product.start(product.clean(env!("CARGO_BIN_EXE_run-scenarios")));
    crate::support::wait_until("the second runs", || product.path("begun").exists());
    running.signal(Signal::TERM);
    running.wait().code(143).says("PARTIAL RESULT: 1 scenario not judged to an end: interrupted");
    let results = json(&product.read(RESULTS));
    assert_eq!((&results["passed"], &results["undecided"]), (&1.into(), &1.into()));
    product.assert_nothing_alive();
}

#[test]
fn feedback_is_compiled_from_the_last_judgement() {
    let product = three();
    product.run_scenarios(&[]).code(1);
    let shown = product.compile_feedback(&["--stdout"]).code(0).stdout;
    assert!(shown.contains(r"The 02\_bad") && shown.contains("exit code 3"), "{shown}");
    assert!(!shown.contains("SECRET-CRITERION-9"), "{shown}");
    assert!(!product.path("artifacts/factory/feedback_iter_0.md").exists());
    product.compile_feedback(&[]).code(0).says("feedback_iter_0.md");
    assert_eq!(product.read("artifacts/factory/feedback_iter_0.md"), shown);
    assert_eq!(product.read("artifacts/factory/iteration_count.txt"), "0\n");

    // What was satisfied and is not comes first in the next one.
    let good = product.read("scenarios/01_good.md").replace("test -d scenarios", "exit 1");
    product.write("scenarios/01_good.md", good);
    product.run_scenarios(&[]).code(1);
    product.compile_feedback(&[]).code(0);
    let next = product.read("artifacts/factory/feedback_iter_1.md");
    let (regression, other) =
        (next.find(r"The 01\_good").unwrap(), next.find(r"The 02\_bad").unwrap());
    assert!(regression < other, "{next}");
    assert!(next.contains("| 0 | 0.666 |") && next.contains("| 1 | 0.333 |"), "{next}");

    let score = product.compile_feedback(&["--stdout", "--disclosure", "score"]).code(0).stdout;
    assert!(!score.contains("bad") && score.contains("core"), "{score}");
}

/// Returns the example of a scenario that a document shows, perhaps indented.
fn example_of(document: &str) -> String {
    let text = Path::new(env!("CARGO_MANIFEST_DIR")).join(document);
    let text = fs::read_to_string(text).unwrap();
    let (before, example) = text.split_once("````markdown\n").unwrap();
    let indent = before.rsplit('\n').next().unwrap();
    let plain = example.lines().map(|line| line.strip_prefix(indent).unwrap_or(line));
    plain.take_while(|line| *line != "````").map(|line| format!("{line}\n")).collect()
}

#[test]
fn the_example_of_the_readme_tells_the_agent_what_came() {
    let todo = |list: &str| {
        format!("#!/bin/sh\ncase $1 in\n  add) echo \"$2\" >>tasks ;;\n  list) {list} ;;\nesac\n")
    };
    let product = Product::new()
        .file("scenarios/list.md", example_of("README.md"))
        .file("other/list.md", example_of("docs/scenarios.md"))
        .executable("todo", &todo("cat tasks"));
    product
        .factory(&["lint", "--strict", "scenarios", "other"])
        .code(0)
        .says("2 scenarios, nothing");
    product.run_scenarios(&[]).code(0);

    let product = product.executable("todo", &todo("echo 'nothing to do, take a walk'"));
    product.iterate(&["--no-agent", "--in-place"]).code(1);
    let written = product.read("artifacts/factory/feedback_iter_0.md");
    let compiled = product.compile_feedback(&["--stdout", "--iteration", "0"]).code(0).stdout;
    for feedback in [written, compiled] {
        assert!(feedback.contains("\nnothing to do, take a walk\n"), "{feedback}");
        assert!(feedback.contains("A task that was added is shown by `list`."), "{feedback}");
        assert!(!feedback.contains("grep") && !feedback.contains("wrote nothing"), "{feedback}");
    }
}

#[test]
fn an_evaluation_that_fails_in_silence_is_warned_of() {
    let product = Product::new()
        .scenario("silent", "./todo add milk\n./todo list | grep -q milk")
        .scenario("shown", "./todo list | grep -q milk")
        .scenario("said", "./todo list | grep -q milk || { ./todo list; exit 1; }");
    let shown = product.read("scenarios/shown.md");
    product.write("scenarios/shown.md", format!("---\nvisibility: public\n---\n{shown}"));
    let found = product.factory(&["lint"]).code(0).stdout;
    assert_eq!(found.matches("warning[S036]").count(), 1, "{found}");
    for text in
        ["scenarios/silent.md:12:1", "told `exit code 1` and not what came", "out=$(./todo list)"]
    {
        assert!(found.contains(text), "{found}");
    }
    product.run_scenarios(&["--check"]).code(0).says("3 scenarios: 0 errors, 1 warning");
    let shown = product.read("scenarios/silent.md");
    let checked = shown.replace("The exit code of silent is 0.", "- stdout contains \"milk\"");
    product.write("scenarios/silent.md", checked);
    product.factory(&["lint", "--strict"]).code(0);
}

#[test]
fn a_threshold_is_reached_or_not_by_the_exit_code() {
    let product = three();
    let last = |args: &[&str], code: i32| {
        let ran = product.run_scenarios(args).code(code);
        ran.stdout.lines().last().unwrap_or_default().to_owned()
    };
    let reached = "threshold 0.60: reached by the score 0.66";
    assert_eq!(last(&["--threshold", "0.6"], 0), reached);
    assert_eq!(
        product.factory(&["run-scenarios", "--threshold=0.6"]).code(0).stdout.lines().last(),
        Some(reached)
    );
    assert_eq!(last(&["--threshold", "0.7"], 1), "threshold 0.70: not reached by the score 0.66");
    let partial =
        "threshold 0.60: not reached; the judgement is partial, so its score is not final";
    assert_eq!(last(&["--threshold", "0.6", "--fail-fast"], 1), partial);
    product.run_scenarios(&["--threshold", "7"]).code(2).says("`7` is no score");
    product.run_scenarios(&["--threshold", "0.6", "--check"]).code(2);
    product.run_scenarios(&["--threshold", "0.6", "nope"]).code(4);
    let bad = product.read("scenarios/02_bad.md");
    product.write("scenarios/02_bad.md", format!("---\ncritical: true\n---\n{bad}"));
    let open = "threshold 0.60: not reached by the score 0.66; critical and open: The 02_bad";
    assert_eq!(last(&["--threshold", "0.6"], 1), open);
}

#[test]
fn a_product_without_gates_is_never_said_to_have_passed_them() {
    let product = Product::new().scenario("good", "echo good").config("").committed();
    let summary = product.base().join("summary.md");
    let env = [("GITHUB_ACTIONS", "true"), ("GITHUB_STEP_SUMMARY", summary.to_str().unwrap())];
    let ran = product.iterate_with(&["--no-agent"], &env).code(0);
    let in_place = product.iterate(&["--no-agent", "--in-place"]).code(0);
    let reason = "The score 1.00 reaches the threshold 0.80; the product has no gates.";
    let status = product.factory(&["status"]).code(0);
    let show = product.factory(&["show"]).code(0);
    let summary = fs::read_to_string(summary).unwrap();
    for text in [&ran.stdout, &in_place.stdout, &status.stdout, &show.stdout, &summary] {
        assert!(text.contains(reason), "{text}");
        assert!(!text.contains("gate passed") && !text.contains("| passed |"), "{text}");
    }
    assert!(summary.contains("| none | 1 of 1 | 1.00 |"), "{summary}");
    let feedback = product.read("artifacts/factory/feedback_iter_0.md");
    assert!(feedback.contains("- Gates: the product has none"), "{feedback}");
    assert!(feedback.contains("| none |") && !feedback.contains("passed |"), "{feedback}");
    let run = json(&product.factory(&["show", "--json"]).code(0).stdout);
    assert_eq!((&run["outcome"], &run["iterations"][0]["gates"]), (&"converged".into(), &0.into()));

    let agent = "agent: {backend: command, command: [bash, -c, 'echo two >two']}\n";
    let product = product.scenario("two", "echo; cat two").config(agent).committed();
    let ran = product.iterate(&[]).code(0).says(reason);
    assert!(ran.stdout.contains("        1  none    0.50        1/2  the base"), "{}", ran.stdout);
    assert!(ran.stdout.contains("*       2  none    1.00        2/2  1 file"), "{}", ran.stdout);
}

#[test]
fn feedback_tells_of_a_failed_gate() {
    let product = three().file("Makefile", "lint:\n\t@echo 'odd line 7' >&2; false\n");
    product.iterate(&["--no-agent", "--in-place"]).code(1);
    let written = product.read("artifacts/factory/feedback_iter_0.md");
    let compiled = product.compile_feedback(&["--stdout", "--iteration", "0"]).code(0).stdout;
    for feedback in [written, compiled] {
        assert!(feedback.contains("lint") && feedback.contains("odd line 7"), "{feedback}");
    }
}

/// Returns the files below the scenarios' directory with mode and content.
fn scenarios(product: &Product) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
    let mut found = BTreeMap::new();
    if product.path("scenarios").exists() {
        walk(&product.path("scenarios"), &mut |path, metadata| {
            if metadata.is_file() {
                found.insert(path.to_owned(), (metadata.mode(), fs::read(path).unwrap()));
            }
            true
        });
    }
    found
}

/// A process on whose behalf scenarios are hidden.
fn owner() -> Child {
    Command::new("sleep").arg("614").stdin(Stdio::null()).spawn().unwrap()
}

#[test]
fn scenarios_are_hidden_and_put_back() {
    let product = three();
    let before = scenarios(&product);
    let state = |args: &[&str]| {
        let done = json(&product.shuffle_scenarios(&[args, &["--json"]].concat()).code(0).stdout);
        done["state"].as_str().unwrap().to_owned()
    };
    assert_eq!(state(&["status"]), "visible");
    let mut owner = owner();
    let pid = owner.id().to_string();
    assert_eq!(state(&["hide", "--owner", &pid]), "hidden");
    assert!(!product.path("scenarios").exists());
    product.run_scenarios(&[]).code(4);
    assert_eq!(state(&["status"]), "hidden");
    product.shuffle_scenarios(&["hide"]).code(3).says("already hidden by process");
    product.shuffle_scenarios(&["recover"]).code(3).says("still runs");
    assert_eq!(state(&["restore"]), "visible");
    assert_eq!(scenarios(&product), before);
    product.shuffle_scenarios(&["restore"]).code(2).says("nothing is hidden");

    assert_eq!(state(&["hide", "--owner", &pid]), "hidden");
    owner.kill().unwrap();
    owner.wait().unwrap();
    assert_eq!(state(&["status"]), "needs_recovery");
    assert_eq!(state(&["recover"]), "visible");
    assert_eq!(scenarios(&product), before);
    product.shuffle_scenarios(&["recover"]).code(0).says("nothing to recover");
}

#[test]
fn a_kill_at_any_moment_of_hiding_loses_nothing() {
    let mut product = Product::new();
    for number in 0..40 {
        let text = format!("# Scenario: {number}\n{}\n", "x".repeat(700 * (number % 7)));
        product = product.file(&format!("scenarios/d{}/{number}.md", number % 5), text);
    }
    let before = scenarios(&product);
    let hide = |owner: &Child| {
        let mut command = product.clean(env!("CARGO_BIN_EXE_shuffle-scenarios"));
        command.args(["hide", "--owner", &owner.id().to_string()]);
        product.start(command)
    };
    let end = |mut owner: Child| {
        owner.kill().unwrap();
        owner.wait().unwrap();
    };
    // How long it takes when nobody interferes.
    let first = owner();
    let began = Instant::now();
    hide(&first).wait().code(0);
    let whole = began.elapsed();
    end(first);
    product.shuffle_scenarios(&["recover"]).code(0);

    let mut random = std::process::id().wrapping_mul(2_654_435_761);
    let mut states = BTreeMap::<String, u32>::new();
    for _ in 0..30 {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let moment = whole.mul_f64(f64::from(random >> 8) / f64::from(1_u32 << 24) * 1.1);
        let owner = owner();
        let running = hide(&owner);
        std::thread::sleep(moment);
        running.signal(Signal::KILL);
        running.wait();
        let status = product.shuffle_scenarios(&["status", "--json"]).code(0).stdout;
        *states.entry(json(&status)["state"].as_str().unwrap().to_owned()).or_default() += 1;
        end(owner);
        product.shuffle_scenarios(&["recover"]).code(0);
        assert_eq!(scenarios(&product), before, "killed after {moment:?} of {whole:?}");
    }
    // Nothing is left behind by any of them.
    assert_eq!(states.get("missing"), None, "{states:?}");
    let mut left = Vec::new();
    walk(&product.state(), &mut |path, metadata| {
        left.extend(
            (metadata.is_file() && path.extension().is_some_and(|e| e == "md"))
                .then(|| path.to_owned()),
        );
        true
    });
    assert_eq!(left, Vec::<PathBuf>::new());
    product.assert_nothing_alive();
}

#[test]
fn every_help_has_examples_and_exit_codes() {
    let product = Product::bare();
    let help = |program: &str, args: &[&str]| {
        let mut command = product.clean(program);
        command.args(args);
        let said = product.start(command).wait().code(0).stdout;
        assert!(said.contains("Examples:") || said.contains("First steps:"), "{args:?}: {said}");
        assert!(said.contains("Exit codes: "), "{args:?}: {said}");
        said
    };
    for program in [
        ITERATE,
        env!("CARGO_BIN_EXE_run-scenarios"),
        env!("CARGO_BIN_EXE_compile-feedback"),
        env!("CARGO_BIN_EXE_shuffle-scenarios"),
    ] {
        help(program, &["--help"]);
        help(program, &["-h"]);
    }
    let factory = env!("CARGO_BIN_EXE_factory");
    let front = help(factory, &["--help"]);
    let groups = front.split_once("Judge:").unwrap().1.split_once("`factory help SUB").unwrap().0;
    let subcommands: Vec<&str> = groups
        .lines()
        .filter_map(|line| line.strip_prefix("  ")?.split_whitespace().next())
        .collect();
    assert!(subcommands.len() > 12, "{front}");
    for subcommand in subcommands {
        let said = help(factory, &[subcommand, "--help"]);
        assert_eq!(help(factory, &["help", subcommand]), said);
    }
    assert_eq!(help(factory, &["help"]), front);
    for hidden in ["supervise-agent", "replay-turn", "nobody"] {
        let ran = product.factory(&["help", hidden]).code(2);
        assert!(ran.stdout.is_empty(), "{hidden}: {}", ran.stdout);
    }
}

#[test]
fn graphs_are_shown_in_three_ways() {
    let product = Product::bare();
    let text = product.factory(&["graph"]).code(0).stdout;
    for node in ["prepare", "gates", "scenarios", "decide", "feedback", "agent", "deliver"] {
        assert!(text.contains(node), "{text}");
    }
    product.factory(&["graph", "--format", "dot"]).code(0).says("digraph");
    product.factory(&["graph", "local", "--format", "mermaid"]).code(0).says("flowchart");
    product.factory(&["graph", "nope"]).code(2).says("converge");
}

#[test]
fn a_shell_can_complete_the_command_line() {
    let product = Product::bare();
    for shell in ["bash", "zsh", "fish"] {
        product.factory(&["completions", shell]).code(0).says("shuffle-scenarios");
    }
}

#[test]
fn lint_finds_what_is_wrong_and_explains_it() {
    let product = three();
    product.factory(&["lint"]).code(0).says("3 scenarios");
    product.factory(&["lint", "--explain", "S002"]).code(0).says("no evaluation that is run");
    product.factory(&["lint", "--explain", "S999"]).code(2).says("there is no check");
    product.write("scenarios/04_empty.md", "");
    product.write("dark-factory.yaml", "scenarios: {job: 2}\n");
    product.factory(&["lint"]).code(2).says("C002").says("S012").says("did you mean `jobs`?");
    let found = product.factory(&["lint", "--format", "json"]).code(2).stdout;
    assert!(json(&found).to_string().contains("S012"), "{found}");
    Product::new().committed().factory(&["lint"]).code(4);
}

#[test]
fn a_run_is_shown_applied_and_discarded() {
    let product = Product::new()
        .scenario("readme", "test -f README")
        .turn(1, &[("README", "hello\n")], "say: I wrote a README.\n")
        .config("agent: {backend: replay, recording: ../recording}\n")
        .committed();
    product.factory(&["status"]).code(0).says("nothing has been judged here yet");
    let before = product.checkout();
    product.iterate(&[]).code(0).says("converged");
    let run = product.runs()[0].file_name().unwrap().to_str().unwrap().to_owned();

    product.factory(&["status"]).code(0).says("converged").says(&run);
    assert!(json(&product.factory(&["status", "--json"]).code(0).stdout).is_object());
    product.factory(&["runs"]).code(0).says(&run);
    assert!(product.factory(&["runs", "--json"]).code(0).stdout.contains(&run));
    product.factory(&["show"]).code(0).says("converged");
    product.factory(&["show", "--feedback", "0"]).code(0).says("# Feedback, iteration 0");
    product.factory(&["show", "--prompt", "1"]).code(0).says("# Task");
    product.factory(&["show", "--log", "1"]).code(0).says("I wrote a README.");
    product.factory(&["show", "--scenario", "readme"]).code(0);
    product.factory(&["show", "--diff"]).code(0).says("+hello");
    assert!(json(&product.factory(&["show", "--json"]).code(0).stdout).is_object());
    product.factory(&["show", "nope"]).code(2).says("nope");
    product.assert_untouched(&before);

    product.factory(&["apply"]).code(0);
    assert_eq!(product.read("README"), "hello\n");
    assert_eq!(product.git(&["status", "--porcelain"]), "");
    product.factory(&["apply"]).code(0);

    assert!(product.workspace().exists());
    product.factory(&["gc", "--keep-days", "0", "--dry-run"]).code(0);
    assert!(product.workspace().exists());
    product.factory(&["gc", "--keep-days", "0"]).code(0);
    let trees = product.state().join("dark-factory");
    let mut left = 0;
    walk(&trees, &mut |path, _| {
        left += usize::from(path.ends_with("workspace"));
        true
    });
    assert_eq!(left, 0);

    let branch = product.branch();
    product.factory(&["discard", &run]).code(0);
    assert_eq!(product.runs(), Vec::<PathBuf>::new());
    assert_eq!(product.git(&["branch", "--list", &branch]), "");
    assert_eq!(product.read("README"), "hello\n");
    product.factory(&["discard", &run]).code(2);
}
