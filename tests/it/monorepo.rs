//! Several products in one repository, each in a directory of its own.

use std::fs;

use crate::support::{Product, Ran};

const FACTORY: &str = env!("CARGO_BIN_EXE_factory");
const ITERATE: &str = env!("CARGO_BIN_EXE_iterate");
const RUN_SCENARIOS: &str = env!("CARGO_BIN_EXE_run-scenarios");

/// Returns the text of a scenario.
fn scenario(name: &str, evaluation: &str) -> String {
    format!(
        "# Scenario: The {name}\n\n## Category\ncore\n\n## Behavioral Expectation\nIt works: {name}.\n\n\
         ## Evaluation Method\n```bash\n{evaluation}\n```\n\n## Pass Criteria\nThe exit code of {name} is 0.\n\n\
         ## Evidence Required\n- Exit code\n"
    )
}

/// A repository with the products `packages/x` and `packages/y`, of which `more` are settings of `x`, and whose agent
/// runs `turn`.
fn repository(turn: &str, more: &str) -> Product {
    let product = Product::new();
    fs::write(product.base().join("agent.sh"), turn).unwrap();
    let agent = format!(
        "satisfaction: {{threshold: 1.0}}\nbudget: {{max_iterations: 1}}\nagent: {{backend: command, command: [bash, \
         '{}']}}\n",
        product.base().join("agent.sh").display()
    );
    let gates = "gates: [{name: pwd, run: 'case $PWD in */packages/x) test -f ../../lock;; *) exit 1;; esac'}]\n";
    product
        .file("lock", "1\n")
        .file(".gitignore", "node_modules/\n")
        .file("lib/shared.txt", "shared\n")
        .file("packages/x/specs/x.md", "The answer is 42.\n")
        .file("packages/x/answer", "0\n")
        .file(
            "packages/x/scenarios/x.md",
            scenario("x", "grep -q 42 answer && test -f ../../lib/shared.txt"),
        )
        .file("packages/x/dark-factory.yaml", format!("{agent}{gates}{more}"))
        .file("packages/y/specs/y.md", "There is y.\n")
        .file("packages/y/Makefile", "test:\n\ttest -f here\n")
        .file("packages/y/here", "")
        .file("packages/y/scenarios/y.md", scenario("y", "test -f here && test -d ../x"))
        .file("packages/y/dark-factory.yaml", agent)
        .committed()
}

/// Runs a program in a directory of the repository.
fn run_in(product: &Product, dir: &str, program: &str, args: &[&str]) -> Ran {
    let mut command = product.clean(program);
    command.current_dir(product.path(dir)).args(args);
    product.start(command).wait()
}

/// Returns the events of the only run of the product in `dir`.
fn journal(product: &Product, dir: &str) -> String {
    let runs = product.path(dir).join("artifacts/factory/runs");
    let all: Vec<_> = fs::read_dir(runs).unwrap().map(|run| run.unwrap().path()).collect();
    assert_eq!(all.len(), 1, "{all:?}");
    fs::read_to_string(all[0].join("events.jsonl")).unwrap()
}

/// What an agent does that changes its product and what it must leave alone.
const BUSY: &str = "\
echo 42 > answer
echo evil > ../../lib/shared.txt; echo evil > ../y/here; echo evil > ../../new; echo evil > ../../lock
mkdir -p ../../.github/workflows ../../scenarios scenarios
echo evil > ../../.github/workflows/ci.yaml; echo evil > ../../dark-factory.yaml; echo evil > dark-factory.yaml
echo evil > ../../scenarios/s.md; echo evil > scenarios/x.md
ls scenarios ../y/scenarios > listing
{
  grep -rl 'q 42 answer' ../..; git grep -l --full-name 'q 42 answer' $(git rev-list --all) -- :/
  grep -rl 'here &&' ../..; git grep -l --full-name 'here &&' HEAD -- :/
} > found
";

#[test]
fn a_directory_is_a_product_and_nothing_outside_of_it_is_delivered() {
    for without in ["", "root,user-namespace,bubblewrap,sudo"] {
        let product = repository(BUSY, "");
        let before = product.checkout();
        let mut command = product.clean(ITERATE);
        command.current_dir(product.path("packages/x")).env("DARK_FACTORY_WITHOUT", without);
        let ran = product.start(command).wait().code(0);
        let ran = ran
            .says("judging    packages/x, main at")
            .says("gates      pwd ok")
            .says("1 of 1 satisfied");
        for path in ["lib/shared.txt", "packages/y/here", "new", "lock"] {
            let said = format!("dropped {path}: The path lies outside of the product `packages/x`");
            assert!(ran.stdout.contains(&said), "{said}: {}", ran.stdout);
        }
        for path in [
            ".github/workflows/ci.yaml",
            "dark-factory.yaml",
            "scenarios/s.md",
            "packages/x/dark-factory.yaml",
            "packages/x/scenarios/x.md",
        ] {
            let said = format!("dropped {path}: The path is protected");
            assert!(ran.stdout.contains(&said), "{said}: {}", ran.stdout);
        }
        let branch = product.git(&["branch", "--list", "factory/*", "--format=%(refname:short)"]);
        let changed = product.git(&["diff", "--name-only", "main", &branch]);
        let expected = [
            "packages/x/answer",
            "packages/x/artifacts/factory/feedback_iter_0.md",
            "packages/x/artifacts/factory/iteration_count.txt",
            "packages/x/found",
            "packages/x/listing",
        ];
        assert_eq!(changed.lines().collect::<Vec<_>>(), expected);
        // The exam of the product is hidden, that of another is a file like others.
        let listing = product.git(&["show", &format!("{branch}:packages/x/listing")]);
        assert_eq!(listing, "../y/scenarios:\ny.md\n\nscenarios:\nx.md");
        let found = product.git(&["show", &format!("{branch}:packages/x/found")]);
        assert_eq!(found, "../../packages/y/scenarios/y.md\nHEAD:packages/y/scenarios/y.md");
        assert!(!product.path("artifacts").exists());
        let ours = |path: &std::path::Path| path.starts_with("packages/x/artifacts");
        let after: Vec<_> =
            product.checkout().into_iter().filter(|(path, _)| !ours(path)).collect();
        assert_eq!(after, before.into_iter().collect::<Vec<_>>());

        run_in(&product, "packages/y", FACTORY, &["status"])
            .code(0)
            .says("nothing has been judged here yet");
        run_in(&product, "packages/y", FACTORY, &["apply"]).code(2).says("there is no run under");
        run_in(&product, "packages/x", FACTORY, &["verify"]).code(0).says("it holds");
        run_in(&product, "packages/x", FACTORY, &["apply"]).code(0).says("packages/x/answer");
        assert_eq!(product.read("packages/x/answer"), "42\n");
        assert_eq!(product.git(&["status", "--porcelain"]), "");
    }
}

#[test]
fn products_have_runs_states_and_branches_of_their_own() {
    let product = repository("echo 42 > answer", "");
    let ran = product.iterate(&["--workdir", "packages/x", "--once"]).code(0);
    ran.says("factory apply --workdir packages/x ");
    run_in(&product, "packages/y", FACTORY, &["status", "--workdir", "../x"])
        .says("factory apply --workdir /");
    assert!(
        !run_in(&product, "packages/x", FACTORY, &["status"])
            .says("factory apply")
            .stdout
            .contains("--workdir")
    );
    let ran = product.iterate(&["--workdir", "packages/y"]).code(0);
    ran.says("judging    packages/y").says("gates      test ok");
    assert!(journal(&product, "packages/x").contains(r#""product":"packages/x""#));
    assert!(journal(&product, "packages/y").contains(r#""product":"packages/y""#));
    let states = fs::read_dir(product.state().join("dark-factory")).unwrap().count();
    assert_eq!(states, 2);
    let gone = run_in(&product, "packages/x", FACTORY, &["gc", "--keep-days", "0"]).code(0);
    assert_eq!(gone.stdout.matches("removed run").count(), 1, "{}", gone.stdout);
    let branches = product.git(&["branch", "--list", "factory/*"]);
    assert_eq!(branches.lines().count(), 2, "{branches}");
    let runs = run_in(&product, "packages/y", FACTORY, &["runs"]).code(0).stdout;
    let id = runs.lines().nth(1).and_then(|line| line.split(' ').next()).unwrap().to_owned();
    run_in(&product, "packages/x", FACTORY, &["discard", &id]).code(2);
    run_in(&product, "packages/y", FACTORY, &["discard", &id, "--yes"]).code(0);
    let left = product.git(&["branch", "--list", "factory/*"]);
    assert!(left.lines().count() == 1 && !left.contains(&id), "{left}");
}

#[test]
fn set_up_commands_may_make_what_lies_at_the_root_and_an_agent_writes_where_it_is_told() {
    let settings = "prepare: [{name: deps, run: 'mkdir -p ../../node_modules && cp ../../lock ../../node_modules/', \
                    inputs: [../../lock], outputs: [../../node_modules]}]\n\
                    write: ['**', '../../lock', '../../lib/**']\n";
    let turn = "test -f ../../node_modules/lock && echo 42 > answer\n\
                echo 2 > ../../lock; echo more > ../../lib/more.txt; echo x > ../../lib/CLAUDE.md; echo x > ../z\n";
    let product = repository(turn, settings);
    product.write(
        "packages/x/scenarios/lock.md",
        scenario("lock", "cmp ../../lock ../../node_modules/lock && grep -q 2 ../../lock"),
    );
    product.commit("One more");
    let ran = product.iterate(&["--workdir", "packages/x"]).code(0);
    let ran = ran.says("dropped lib/CLAUDE.md: The path is protected");
    ran.says("dropped packages/z: The path lies outside").says("2 of 2 satisfied");
    assert!(!product.path("node_modules").exists());
}

#[test]
fn annotations_and_reports_name_files_from_the_root_of_the_repository() {
    let product = repository("true", "");
    let report = format!("junit={}", product.base().join("junit.xml").display());
    let args = ["--format", "github", "--report", &report];
    let ran = run_in(&product, "packages/x", RUN_SCENARIOS, &args).code(1);
    ran.says("::error file=packages/x/scenarios/x.md,line=");
    let junit = fs::read_to_string(product.base().join("junit.xml")).unwrap();
    assert!(junit.contains(r#"file="packages/x/scenarios/x.md""#), "{junit}");
    product.write("packages/x/scenarios/bad.md", "---\nwieght: 2\n---\n# Scenario: Bad\n");
    let ran = run_in(&product, "packages/x", FACTORY, &["lint", "--format", "github"]).code(2);
    ran.says("::error file=packages/x/scenarios/bad.md,line=2");
}

#[test]
fn a_path_that_leads_out_of_the_repository_is_refused_at_its_place() {
    let product = repository("true", "protected: [../../../secret/**]\n");
    let ran = product.iterate(&["--workdir", "packages/x"]).code(2);
    let why = "`../../../secret/**` leads out of the repository, whose root is `../..`";
    ran.says(why).says("packages/x/dark-factory.yaml:5:");
}

#[test]
fn a_directory_that_is_no_product_is_not_taken_for_the_top_in_silence() {
    let product = repository("true", "").scenario("top", "true").file("packages/z/a", "");
    product.write("packages/w/scenarios/w.md", scenario("w", "true"));
    product.commit("A product at the top, and two directories that are none");
    let top = product.root().canonicalize().unwrap().display().to_string();
    for ran in [
        product.iterate(&["--no-agent", "--workdir", "packages/z"]),
        product.run_scenarios(&["--workdir", "packages/z"]),
    ] {
        ran.code(4).says("packages/z/scenarios").says(&format!("`--workdir {top}` judges it"));
    }
    let note = format!("note: the product at {top} is judged; that of this directory");
    run_in(&product, "packages/w", RUN_SCENARIOS, &["--list"]).code(0).says(&note).says("top");
    run_in(&product, "packages/w", ITERATE, &["--no-agent"]).says(&note);
    let ran = product.iterate(&["--no-agent", "--workdir", "packages/w"]).code(0);
    ran.says("judging    packages/w");
}

#[test]
fn without_a_repository_nothing_above_is_the_product() {
    let product = Product::bare().config("").scenario("top", "true");
    product.write("below/scenarios/own.md", scenario("own", "true"));
    let ran = run_in(&product, "below", RUN_SCENARIOS, &["--list"]).code(0).says("own");
    assert!(!ran.stdout.contains("top"), "{}", ran.stdout);
}
