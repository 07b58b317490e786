//! The ways that the loop can take: what agents do, what people do meanwhile, and how it ends.

use std::fs;

use serde_json::Value;

use crate::support::{Product, wait_until};

/// Begins a product whose agent runs the bash text of each of `turns` in its workspace, one at
/// each start.
fn agent(turns: &[&str]) -> Product {
    let product = Product::new();
    let base = product.base().display().to_string();
    fs::create_dir(product.base().join("turns")).unwrap();
    for (index, turn) in turns.iter().enumerate() {
        fs::write(product.base().join(format!("turns/{}.sh", index + 1)), turn).unwrap();
    }
    let script = format!(
        "n=$(($(cat {base}/count 2>/dev/null || echo 0) + 1))\necho $n > {base}/count\n\
         prompt=$1\n[ ! -e {base}/turns/$n.sh ] || . {base}/turns/$n.sh\n"
    );
    fs::write(product.base().join("agent.sh"), script).unwrap();
    product.file("words.txt", "one\n")
}

/// Returns the settings for such an agent, and `more`, which goes on with the agent's.
fn config(product: &Product, more: &str) -> String {
    format!(
        "satisfaction: {{threshold: 1.0}}\nagent:\n  backend: command\n  \
         command: [bash, \"{}/agent.sh\", \"{{prompt_file}}\"]\n{more}",
        product.base().display()
    )
}

/// Adds the settings, and scenarios that want these words.
fn wants(product: Product, more: &str, words: &[&str]) -> Product {
    let config = config(&product, more);
    words
        .iter()
        .fold(product.config(&config), |product, word| {
            product.scenario(word, &format!("grep -q {word} words.txt"))
        })
        .committed()
}

/// Returns each judgement's iteration and score, gates that failed as -1.
fn scores(product: &Product) -> Vec<(u64, f64)> {
    let score = |event: &Value| {
        let satisfaction = &event["data"]["satisfaction"];
        let weight = |name: &str| satisfaction[name].as_f64();
        match (weight("weight_satisfied"), weight("weight_judged")) {
            (Some(satisfied), Some(judged)) => satisfied / judged,
            _ => -1.0,
        }
    };
    product
        .events_named("candidate.judged")
        .iter()
        .map(|event| (event["iteration"].as_u64().unwrap(), score(event)))
        .collect()
}

fn outcome(product: &Product) -> String {
    let last = product.events().pop().unwrap();
    last["data"]["outcome"].as_str().unwrap_or_default().to_owned()
}

/// Returns the feedback of an iteration, as it lies on the run's branch.
fn feedback(product: &Product, iteration: u32) -> String {
    let branch = product.branch();
    product.git(&["show", &format!("{branch}:artifacts/factory/feedback_iter_{iteration}.md")])
}

#[test]
fn what_a_command_without_inputs_made_reaches_the_agent_anew_for_each_candidate() {
    let product = Product::new().file("words.txt", "1\n").file(".gitignore", "made\n");
    let turn = "cat made/from >> said.txt; echo 2 >> words.txt; rm -rf made";
    let script = product.base().join("agent.sh");
    std::fs::write(&script, turn).unwrap();
    let product = product
        .config(&format!(
            "satisfaction: {{threshold: 1.0}}\nbudget: {{max_iterations: 2}}\nagent: {{backend: command, \
             command: [bash, '{}']}}\nprepare:\n- {{name: make, run: 'mkdir -p made; wc -l < words.txt > made/from', \
             outputs: [made]}}\n",
            script.display()
        ))
        .scenario("words", "test \"$(wc -l < words.txt)\" = 3")
        .committed();
    product.iterate(&[]).code(0);
    assert_eq!(product.git(&["show", &format!("{}:said.txt", product.branch())]), "1\n2");
}

#[test]
fn what_a_run_leaves_goes_to_directories_that_it_makes_before_it_begins() {
    let product = agent(&["echo two >> words.txt"]);
    let product = wants(product, "", &["one", "two"]);
    product.iterate(&["--bundle", "new/b/run.bundle", "--report", "new/r/run.json"]).code(0);
    assert!(product.path("new/b/run.bundle").is_file() && product.path("new/r/run.json").is_file());
    product.write("file", "");
    let ran = product.iterate(&["--no-agent", "--bundle", "file/run.bundle"]).code(3);
    ran.says("can't make `").says("File exists");
    assert_eq!(product.runs().len(), 1);
}

#[test]
fn set_up_that_is_passed_over_in_place_is_named() {
    let product = Product::new()
        .config("prepare:\n- {name: deps, run: 'touch deps'}\n")
        .scenario("a", "test ! -e deps")
        .committed();
    let said = "`prepare` (deps) is not run in the working tree, which is judged as it lies; `--prepare` \
                runs what has not been run, as `touch deps`";
    product.run_scenarios(&[]).code(0).says(said);
    product.iterate(&["--no-agent", "--in-place"]).code(0).says(said);
}

#[test]
fn set_up_in_place_makes_what_is_not_there_and_leaves_what_a_person_made() {
    let product = Product::new()
        .config(
            "prepare:\n- {name: deps, run: 'mkdir deps; echo made > deps/lib', outputs: [deps]}\n\
             - {name: own, run: 'echo again > own', outputs: [own]}\n",
        )
        .file(".gitignore", "deps\nown\n")
        .file("own", "a person's\n")
        .scenario("a", "grep made deps/lib && grep person own")
        .committed();
    product.run_scenarios(&["--prepare"]).code(0).says("prepare own: its outputs are there");
    std::fs::remove_dir_all(product.path("deps")).unwrap();
    product.iterate(&["--no-agent", "--in-place", "--prepare"]).code(0).says("prepare deps: mkdir");
    std::fs::remove_dir_all(product.path("deps")).unwrap();
    product.write(
        "dark-factory.yaml",
        "prepare: [{name: deps, run: 'echo no such package; exit 7', outputs: [deps]}]\n",
    );
    let ran = product.run_scenarios(&["--prepare"]).code(3);
    ran.says("the set-up command `deps` failed with exit code 7").says("  no such package");
}

#[test]
fn a_set_up_command_that_fails_says_its_cause_and_leaves_its_output() {
    // As pip does: the cause, and a screen of hints behind it.
    let product = Product::new()
        .config(
            "prepare: [{name: deps, run: 'echo error: two packages in a flat layout; \
             for i in $(seq 40); do echo hint $i; done; exit 7'}]\n",
        )
        .scenario("a", "true")
        .committed();
    let log = "artifacts/factory/ci_output.log";
    let ran = product.iterate(&["--no-agent"]).code(3);
    ran.says(&format!("the set-up command `deps` exited with 7; it wrote ({log}):"))
        .says("error: two packages in a flat layout\nhint 1\nhint 2\n… 12 lines\nhint 15\n")
        .says("hint 40");
    assert!(product.read(log).contains("hint 9\n"));
}

#[test]
fn a_run_that_gets_no_better_stalls() {
    let same = "echo more >> notes.txt";
    let product = wants(agent(&[same; 9]), "budget: {max_iterations: 9}\n", &["one", "two"]);
    product.iterate(&[]).code(1).says("stalled");
    assert_eq!(scores(&product), [(0, 0.5), (1, 0.5), (2, 0.5), (3, 0.5)]);
    assert_eq!(outcome(&product), "stalled");
    product.iterate(&["--resume"]).code(2).says("begin a new run");
}

#[test]
fn of_what_the_exam_says_too_the_agent_is_told_what_the_candidate_has() {
    let call = "sh ./tool.sh --colour=blue-green-red";
    let turn = format!("echo 'run: ; {call}' > Makefile");
    let product =
        agent(&[&turn, "echo more > notes.txt"]).file("tool.sh", "echo Traceback of \"$1\"\n");
    let config = config(&product, "budget: {max_iterations: 2}\n");
    let product = product
        .config(&format!("{config}gates: []\n"))
        .scenario("colour", &format!("set -x\n{call}\ntest 'nobody knows' = 'this secret'"))
        .committed();
    product.iterate(&[]).code(1);
    let (before, after) = (feedback(&product, 0), feedback(&product, 1));
    assert!(before.contains("+ [masked]\n") && !before.contains("blue-green"), "{before}");
    assert!(after.contains(&format!("+ {call}\n")), "{after}");
    assert!(after.contains("[masked]") && !after.contains("secret"), "{after}");
    assert!(!before.contains("secret"), "{before}");
}

#[test]
fn a_turn_that_changes_nothing_is_said_and_not_judged_again() {
    let product = wants(agent(&["echo I am done", "echo two >> words.txt"]), "", &["one", "two"]);
    product.iterate(&[]).code(0).says("nothing that could be judged");
    assert_eq!(scores(&product), [(0, 0.5), (2, 1.0)]);
    assert_eq!(product.events_named("delivery.unchanged").len(), 1);
    let told = feedback(&product, 1);
    assert!(told.contains("Nothing was changed"), "{told}");
}

/// Checks what comes of a turn that does `turn` beside the right thing: all else is dropped as
/// `name`, told to person and agent with `remedy`, and not in the next turn's way.
fn check_dropped(turn: &str, more: &str, name: &str, remedy: &str) -> Product {
    let turn = format!("{turn}; echo two >> words.txt; exit 0");
    let product = wants(agent(&[&turn, "echo three >> words.txt"]), more, &["one", "two", "three"]);
    let before = product.checkout();
    let said = format!("dropped {name}: ");
    product.iterate(&[]).code(0).says(&said).says(remedy).says("is kept as a patch");
    assert_eq!(product.events_named("delivery.accepted").len(), 2);
    let told = feedback(&product, 1);
    let plain = told.replace(['`', '\\'], "");
    assert!(plain.contains(&name.replace('`', "")), "{told}");
    assert!(plain.contains(&remedy.replace('`', "")), "{told}");
    let branch = product.branch();
    let files = product.git(&["diff", "--name-only", "main", &branch]);
    let files: Vec<&str> = files.lines().filter(|path| !path.starts_with("artifacts/")).collect();
    assert_eq!(files, ["words.txt"]);
    product.assert_untouched(&before);
    product
}

/// Returns what `git apply` makes of the patch of a turn in a checkout of the base: the paths.
fn applied(product: &Product, iteration: usize) -> Vec<String> {
    let report: Value = serde_json::from_str(&product.factory(&["show", "--json"]).stdout).unwrap();
    let patch = report["iterations"][iteration]["details"]["patch"].as_str().unwrap().to_owned();
    let dir = product.base().join("applied");
    product.git(&["clone", "--quiet", "--no-hardlinks", ".", dir.to_str().unwrap()]);
    product.git(&["-C", dir.to_str().unwrap(), "apply", &patch]);
    let status = product.git(&["-C", dir.to_str().unwrap(), "status", "--porcelain", "-uall"]);
    status.lines().map(|line| line.trim_start_matches(['?', 'M', 'D', ' ']).to_owned()).collect()
}

#[test]
fn a_link_out_of_the_tree_is_dropped_with_what_to_do_and_kept() {
    let turn = "mkdir -p venv/bin; ln -s / venv/bin/python3";
    let product =
        check_dropped(turn, "", "venv/bin/python3", "name it in `.gitignore` if a tool made it");
    assert_eq!(applied(&product, 1), ["venv/bin/python3"]);
}

#[test]
fn a_directory_of_more_files_than_a_turn_may_bring_is_dropped_as_one() {
    let turn = "mkdir -p node_modules/a; seq 501 | sed 's,^,node_modules/a/,' | xargs touch";
    let product = check_dropped(turn, "", "node_modules/ (501 files)", "add it to `.gitignore`");
    assert_eq!(applied(&product, 1).len(), 501);
}

#[test]
fn a_flood_that_nobody_lists_is_counted_and_dropped() {
    let turn = "mkdir many; seq 20001 | sed 's,^,many/,' | xargs touch";
    let turn = format!("{turn}; ln -s / out");
    let product = check_dropped(&turn, "", "many/ (20,001 files)", "add it to `.gitignore`");
    // What nobody listed is counted in the patch, and the rest of it is there.
    let report: Value = serde_json::from_str(&product.factory(&["show", "--json"]).stdout).unwrap();
    let details = &report["iterations"][1]["details"];
    assert_eq!(details["patch_leaves_out"], 20_001);
    assert_eq!(details["dropped"][0]["path"], "many/");
    assert_eq!(details["dropped"][0]["files"], 20_001);
    let patch = fs::read_to_string(details["patch"].as_str().unwrap()).unwrap();
    assert!(patch.starts_with("# Not in this patch") && patch.contains("#   many\n"), "{patch}");
    assert_eq!(applied(&product, 1), ["out"]);
}

#[test]
fn the_limits_of_a_turn_are_settings() {
    let more = "delivery: {max_files: 2, max_file_size: 1kB, max_total_size: 1500}\n";
    let turn = "seq 2000 > large.txt; for n in 1 2; do head -c 700 /dev/zero > new-$n.bin; done; \
                rm -f new-1.bin; head -c 1400 /dev/zero | tr '\\0' x > new-3.bin; head -c 900 \
                /dev/zero > new-4.bin; rm new-2.bin";
    let product = wants(agent(&[&format!("{turn}; echo two >> words.txt")]), more, &["one", "two"]);
    product
        .iterate(&[])
        .code(0)
        .says("dropped large.txt: It has 8.9 kB. A file may have at most 1 kB")
        .says("dropped new-3.bin: It has 1.4 kB.");
    let branch = product.branch();
    let files = product.git(&["ls-tree", "-r", "--name-only", &branch]);
    assert!(files.contains("new-4.bin") && !files.contains("new-3.bin"), "{files}");
    // Binary files are whole in the patch.
    assert_eq!(applied(&product, 1), ["large.txt", "new-3.bin"]);
}

#[test]
fn what_is_not_taken_is_kept_though_the_run_stops_before_its_delivery() {
    let turn = "ln -s / out; echo new > scenarios.txt; mkdir -p .github; echo x > .github/x.yaml; \
                mkdir scenarios; echo mine > scenarios/two.md";
    let more = "budget: {max_iterations: 1}\n";
    let product = || wants(agent(&[turn]), more, &["one", "two"]);
    let whole = product();
    whole.iterate(&[]).code(1);
    let ended = whole.events_named("agent.finished")[0]["seq"].to_string();
    let product = product();
    product.iterate_with(&[], &[("DARK_FACTORY_TEST_DIE_AFTER", &ended)]);
    assert_eq!(product.events().last().unwrap()["event"], "agent.finished");
    product.iterate(&["--resume"]).code(1).says("is kept as a patch");
    let report: Value = serde_json::from_str(&product.factory(&["show", "--json"]).stdout).unwrap();
    let patch = report["iterations"][1]["details"]["patch"].as_str().unwrap().to_owned();
    let patch = fs::read_to_string(patch).unwrap();
    assert!(patch.contains(".github/x.yaml") && patch.contains("b/out"), "{patch}");
    // Beside what the agent wrote nothing of a scenario that it was never given is shown.
    assert!(!patch.contains("grep -q") && !patch.contains("# Scenario"), "{patch}");
    assert!(patch.contains("#   scenarios/two.md"), "{patch}");
}

/// Adds a submodule `lib` with a file to a product, and commits it.
fn with_submodule(product: Product) -> Product {
    let lib = product.base().join("lib").display().to_string();
    product.git(&["init", "-q", &lib]);
    fs::write(format!("{lib}/answer.txt"), "one\n").unwrap();
    product.git(&["-C", &lib, "add", "-A"]);
    product.git(&["-C", &lib, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "lib"]);
    let add = ["-c", "protocol.file.allow=always", "submodule", "--quiet", "add", &lib, "lib"];
    product.git(&add);
    product.committed()
}

#[test]
fn what_an_agent_changes_in_a_submodule_is_named_and_kept() {
    let turn = "cat lib/answer.txt > words.txt; echo two >> words.txt; echo two > lib/answer.txt; \
                echo new > lib/new.txt";
    let product = with_submodule(wants(
        agent(&[turn, "echo three >> words.txt"]),
        "",
        &["one", "two", "three"],
    ));
    product
        .iterate(&[])
        .code(0)
        .says("dropped lib/answer.txt: The submodule is `lib`. The path lies in a submodule")
        .says("dropped lib/new.txt");
    let told = feedback(&product, 1);
    assert!(told.contains("`lib/answer.txt`") && told.contains("lies in a submodule"), "{told}");
    let report: Value = serde_json::from_str(&product.factory(&["show", "--json"]).stdout).unwrap();
    let patch = report["iterations"][1]["details"]["patch"].as_str().unwrap();
    let patch = fs::read_to_string(patch).unwrap();
    assert!(patch.contains("-one\n+two\n") && patch.contains("b/lib/new.txt"), "{patch}");
}

#[test]
fn a_submodule_that_is_not_there_is_said() {
    let product = with_submodule(wants(agent(&[]), "", &["one"]));
    product.iterate(&["--no-agent"]).code(0);
    product.git(&["submodule", "--quiet", "deinit", "-f", "lib"]);
    fs::remove_dir_all(product.path(".git/modules")).unwrap();
    let said = "submodule `lib` is empty";
    product.iterate(&["--no-agent"]).code(0).says(said).says("git submodule update --init");
    product.factory(&["doctor"]).says(said).says("git submodule update --init --recursive");
}

#[test]
fn the_file_behind_a_protected_link_is_protected() {
    let turn = "echo evil > ci/main.yaml; ls .github/workflows > seen.txt; echo two >> words.txt; \
                cp $1 prompt.txt";
    let product = agent(&[turn]).file("ci/main.yaml", "good\n");
    fs::create_dir_all(product.path(".github/workflows")).unwrap();
    let link = |target: &str, at: &str| {
        std::os::unix::fs::symlink(target, product.path(at)).unwrap();
    };
    link("../../ci/main.yaml", ".github/workflows/ci.yaml");
    let product = wants(product, "", &["one", "two"]);
    product.iterate(&[]).code(0).says("dropped ci/main.yaml: The path is protected");
    let branch = product.branch();
    assert_eq!(product.git(&["show", &format!("{branch}:ci/main.yaml")]), "good");
    assert_eq!(product.git(&["show", &format!("{branch}:seen.txt")]), "ci.yaml");
    let prompt = product.git(&["show", &format!("{branch}:prompt.txt")]);
    assert!(prompt.contains("ci/main.yaml"), "{prompt}");
}

#[test]
fn scenarios_behind_a_link_are_kept_from_the_agent() {
    let turn = "find . -name '*.md' > seen.txt; echo two >> words.txt; mkdir -p exam; echo x > \
                exam/one.md; exit 0";
    let product = wants(agent(&[turn]), "", &["one", "two"]);
    fs::rename(product.path("scenarios"), product.path("exam")).unwrap();
    std::os::unix::fs::symlink("exam", product.path("scenarios")).unwrap();
    let product = product.committed();
    product.iterate(&[]).code(0).says("dropped exam/one.md: The path is protected");
    let branch = product.branch();
    let seen = product.git(&["show", &format!("{branch}:seen.txt")]);
    assert!(!seen.contains("one.md") && !seen.contains("two.md"), "{seen}");
    assert!(product.git(&["show", &format!("{branch}:exam/one.md")]).contains("# Scenario"));
}

#[test]
fn turns_of_which_nothing_was_taken_do_not_blame_the_specs() {
    let turn = "echo 'one more' > CLAUDE.md";
    let product = wants(agent(&[turn; 5]), "", &["one", "two"]);
    let said = "what of its turns was not taken, and what to do about it";
    let ran = product.iterate(&[]).code(1).says("stalled").says(said);
    assert!(!ran.stdout.contains("specs or scenarios clearer"), "{}", ran.stdout);
    let told = feedback(&product, 1);
    assert!(
        told.contains("The path is protected") && !told.contains("Nothing was changed"),
        "{told}"
    );
}

#[test]
fn what_git_cannot_hold_is_dropped_and_the_rest_delivered() {
    let turn = "mkfifo pipe; mkdir inner; git init -q inner; echo two >> words.txt; \
                echo x > scenarios.md; mkdir scenarios; echo x > scenarios/one.md";
    let product = wants(agent(&[turn]), "", &["one", "two"]);
    product.iterate(&[]).code(0).says("dropped pipe").says("dropped scenarios/one.md");
    let branch = product.branch();
    let files = product.git(&["ls-tree", "-r", "--name-only", &branch]);
    assert!(!files.contains("pipe") && !files.contains("inner"), "{files}");
    assert!(product.git(&["show", &format!("{branch}:scenarios/one.md")]).contains("# Scenario"));
}

#[test]
fn a_question_stops_the_run_until_a_person_answers() {
    let asks = "echo 'Which word comes second?' > QUESTION.md";
    let reads = "grep -q 'the word two' \"$prompt\" && echo two >> words.txt";
    let product = wants(agent(&[asks, reads]), "", &["one", "two"]);
    let before = product.checkout();
    product.iterate(&[]).code(5).says("--answer");
    assert_eq!(outcome(&product), "asked");
    let asked = &product.events_named("question.asked")[0]["data"]["question"];
    assert_eq!(product.blob(asked), "Which word comes second?\n");
    product.iterate(&["--resume"]).code(2).says("--answer");
    product.iterate(&["--resume", "--answer", "It is the word two."]).code(0);
    let prompt = product.blob(&product.events_named("agent.started")[1]["data"]["prompt"]);
    assert!(prompt.contains("Which word comes second?"), "{prompt}");
    assert!(prompt.contains("It is the word two."), "{prompt}");
    let branch = product.branch();
    let files = product.git(&["ls-tree", "-r", "--name-only", &branch]);
    assert!(!files.contains("QUESTION.md"), "{files}");
    product.assert_untouched(&before);
    product.iterate(&["--resume", "--answer", "again"]).code(2);
}

#[test]
fn a_question_that_was_answered_is_not_asked_again_by_the_old_file() {
    let asks = "echo 'Which word?' > QUESTION.md";
    let product =
        wants(agent(&[asks, "ls > seen.txt", "echo two >> words.txt"]), "", &["one", "two"]);
    product.iterate(&[]).code(5);
    product.iterate(&["--resume", "--answer", "two"]).code(0);
    assert_eq!(product.events_named("question.asked").len(), 1);
}

#[test]
fn a_chain_of_single_steps_comes_to_the_same_end() {
    let turns = ["echo two >> words.txt", "", "echo three >> words.txt"];
    let words = ["one", "two", "three"];
    let whole = wants(agent(&turns), "", &words);
    whole.iterate(&[]).code(0);
    let chained = wants(agent(&turns), "", &words);
    chained.iterate(&["--once"]).code(5);
    assert_eq!(chained.events_named("agent.started").len(), 1);
    chained.iterate(&["--resume", "--once"]).code(5);
    assert_eq!(chained.events_named("agent.started").len(), 2);
    chained.iterate(&["--resume", "--once"]).code(0);
    assert_eq!(scores(&chained), scores(&whole));
    assert_eq!(outcome(&chained), outcome(&whole));
    let words =
        |product: &Product| product.git(&["show", &format!("{}:words.txt", product.branch())]);
    assert_eq!(words(&chained), words(&whole));
}

fn check_agent_that(turn: &str, more: &str, class: &str) {
    let product = wants(agent(&[turn, "echo two >> words.txt"]), more, &["one", "two"]);
    product.iterate(&[]).code(0);
    let finished = product.events_named("agent.finished");
    assert_eq!(finished[0]["data"]["class"], class);
    assert_eq!(finished[1]["data"]["class"], "done");
    assert_eq!(scores(&product), [(0, 0.5), (2, 1.0)], "{class}");
    // What it had changed is not delivered, and kept.
    let detail = product.blob(&product.events_named("delivery.unchanged")[0]["data"]["detail"]);
    let detail: Value = serde_json::from_str(&detail).unwrap();
    let patch = product.blob(&detail["patch"]);
    assert!(patch.contains("+half"), "{patch}");
    product.assert_nothing_alive();
}

#[test]
fn an_agent_that_fails_delivers_nothing() {
    check_agent_that("echo half >> words.txt; exit 1", "", "crashed");
}

#[test]
fn an_agent_that_takes_too_long_is_ended_and_delivers_nothing() {
    let chatters = "echo half >> words.txt; while sleep 0.1; do echo .; done";
    check_agent_that(chatters, "  timeout: 1s\n", "timed_out");
}

#[test]
fn an_agent_that_says_nothing_is_ended_and_delivers_nothing() {
    check_agent_that("echo half >> words.txt; sleep 300", "  idle: 1s\n", "idle");
}

const MAKEFILE: &str = "test:\n\t@grep -q one words.txt\nlint:\n\t@true\n";

#[test]
fn gates_that_the_agent_changed_ask_for_a_person() {
    let turn = "printf 'test:\\n\\t@true\\nlint:\\n\\t@true\\n' > Makefile; echo two >> words.txt";
    let product = wants(agent(&[turn]).file("Makefile", MAKEFILE), "", &["one", "two"]);
    product.iterate(&[]).code(5).says("Makefile");
    assert_eq!(outcome(&product), "converged_gates_changed");
    let flagged = &product.events_named("gates.flagged")[0]["data"]["paths"];
    assert!(product.blob(flagged).contains("Makefile"));
}

#[test]
fn a_frozen_gate_whose_target_is_gone_fails_though_a_directory_has_its_name() {
    let turn =
        "printf 'lint:\\n\\t@true\\n' > Makefile; mkdir test; touch test/x; echo two >> words.txt";
    let product = wants(
        agent(&[turn]).file("Makefile", MAKEFILE),
        "budget: {max_iterations: 1}\n",
        &["one", "two"],
    );
    product.iterate(&[]).code(1);
    assert_eq!(scores(&product), [(0, 0.5), (1, -1.0)]);
    let told: String = product
        .events_named("gate.finished")
        .iter()
        .map(|event| product.blob(&event["data"]["result"]))
        .collect();
    assert!(told.contains("test"), "{told}");
}

#[test]
fn set_up_commands_run_once_for_unchanged_inputs_and_their_outputs_are_copies() {
    let spoils = "grep -q made deps/lib && echo spoilt > deps/lib && echo two >> words.txt";
    let changes = "grep -q spoilt deps/lib; echo 2 > deps.lock; echo three >> words.txt";
    let product = agent(&[spoils, changes]).file("deps.lock", "1\n").file(".gitignore", "/deps\n");
    let base = product.base().display().to_string();
    let more = format!(
        "prepare:\n  - name: deps\n    \
         run: 'mkdir -p deps && echo made $(cat deps.lock) > deps/lib && echo ran >> {base}/prepared'\n    \
         inputs: [deps.lock]\n    outputs: [deps]\n\
         gates:\n  - {{name: made, run: grep -qx \"made $(cat deps.lock)\" deps/lib}}\n"
    );
    let product = wants(product, &more, &["one", "two", "three"]);
    product.iterate(&[]).code(0);
    assert_eq!(scores(&product).len(), 3);
    let prepared = || fs::read_to_string(product.base().join("prepared")).unwrap().lines().count();
    assert_eq!(prepared(), 2, "once for each content of deps.lock");
    let cached: Vec<bool> = product
        .events_named("prepare.finished")
        .iter()
        .map(|event| event["data"]["cached"].as_bool().unwrap())
        .collect();
    assert_eq!(cached, [false, true, false]);
    // In another run the tree lies elsewhere, and what was made may have written down where.
    product.iterate(&["--no-agent"]).code(1);
    assert_eq!(prepared(), 3);
}

#[test]
fn settings_that_git_ignores_are_said_not_to_be_read() {
    let product = Product::new().file(".gitignore", "/dark-factory.yaml\n/Makefile\n");
    let product = product.scenario("a", "true").committed();
    let product = product.config("").file("Makefile", "test:\n\tfalse\n");
    let said = "Makefile and dark-factory.yaml are not in commit";
    product.iterate(&["--no-agent"]).code(0).says(said);
}

#[test]
fn scenarios_behind_a_link_that_is_committed_are_no_difference() {
    let product = Product::new().config("").file("exam/a.md", "");
    std::os::unix::fs::symlink("exam", product.path("scenarios")).unwrap();
    let product = product.scenario("a", "true").committed();
    let ran = product.iterate(&["--no-agent"]).code(0);
    assert!(!ran.stderr.contains("in the checkout"), "{}", ran.stderr);
}

#[test]
fn what_git_ignores_is_named_with_the_reason() {
    let product = agent(&["touch a.log && echo two >> words.txt"]).file(".gitignore", "*.log\n");
    let product = wants(product, "", &["one", "two"]);
    let ran = product.iterate(&[]).code(0);
    ran.says("new and ignored by git, so not delivered: a.log");
}

#[test]
fn outputs_that_git_does_not_ignore_are_there_at_every_judgement_and_never_delivered() {
    let product = agent(&["ls deps/lib && echo two >> words.txt"]);
    let more = "prepare:\n  - {name: deps, run: mkdir -p deps && touch deps/lib, inputs: [words.lock], outputs: [deps]}\n\
                gates:\n  - {name: there, run: test -e deps/lib}\n";
    let product = wants(product.file("words.lock", ""), more, &["one", "two"]);
    product.iterate(&[]).code(0);
    let files = product.git(&["ls-tree", "-r", "--name-only", &product.branch()]);
    assert!(!files.contains("deps/lib"), "{files}");
}

#[test]
fn what_set_up_left_in_its_home_is_there_in_the_next_run_too() {
    let step = |name: &str| {
        format!(
            "{{name: {name}, run: 'mkdir -p {name} ~/.cache; echo {name} > ~/.cache/{name}', inputs: [{name}.lock], outputs: [{name}]}}"
        )
    };
    for isolation in ["{}", "{agent: copy, judge: copy}"] {
        let product = Product::new().file("a.lock", "").file("b.lock", "");
        let product = product.config(&format!(
            "prepare: [{}, {}]\ngates: [{{name: offline, run: cat ~/.cache/a ~/.cache/b}}]\nisolation: {isolation}\n",
            step("a"),
            step("b")
        ));
        let product = product.scenario("a", "cat ~/.cache/a ~/.cache/b").committed();
        product.iterate(&["--no-agent"]).code(0);
        // Where the tree lies elsewhere in each run, what was made for one is not for another.
        let kept = if isolation == "{}" { "b kept" } else { "" };
        product.iterate(&["--no-agent"]).code(0).says("offline ok").says(kept);
        // One of them anew, beside what the other left.
        product.file("a.lock", "2\n").committed().iterate(&["--no-agent"]).code(0);
    }
}

#[test]
fn a_candidate_is_judged_with_nothing_that_the_code_of_another_left() {
    // What the first turn brings is run by a set-up command or by a server of the product; the second takes it back.
    let more = "isolation: {agent: copy, judge: sandbox}\n\
                prepare:\n- {name: before, run: 'mkdir -p made; ls -A ~ /tmp > made/seen; . ./hook', inputs: [deps.lock], outputs: [made]}\n\
                - {name: each, run: 'ls -A ~ >> made/seen; . ./hook', inputs: [deps.lock]}\n\
                fixtures:\n- {name: server, start: '. ./serve; sleep 600', scope: candidate, product: true, ready: {command: 'true'}}\n\
                gates: [{name: clean, run: '! grep -q mark made/seen'}]\n";
    for (fixture, first, scored) in [(false, "hook", -1.0), (true, "serve", 0.5)] {
        let first = format!(
            "echo 2 > deps.lock; echo 'touch ~/mark ${{TMPDIR:-/tmp}}/mark' > {first}; grep -q mark {first}"
        );
        let turns =
            [first.as_str(), "echo 1 > deps.lock; : > hook; : > serve; echo three >> words.txt"];
        let product = agent(&turns).file("deps.lock", "1\n");
        let product = product.file("hook", "").file("serve", "");
        let needs = if fixture { "needs: [server]\n" } else { "" };
        let product = product.file(
            "scenarios/clean.md",
            format!("---\n{needs}---\n# Clean\n\n## Evaluation\n\n```bash\ntest ! -e ~/mark && test ! -e /tmp/mark\n```\n"),
        );
        let product = wants(product, more, &["three"]);
        product.iterate(&[]).code(0);
        assert_eq!(scores(&product), [(0, 0.5), (1, scored), (2, 1.0)]);
        // Nor in a run that begins with what was kept.
        product.factory(&["apply"]).code(0);
        product.iterate(&["--no-agent"]).code(0);
    }
}

#[test]
fn what_an_agents_inputs_made_is_of_its_candidate_alone() {
    // The first turn changes an input, and a file that the command reads and does not name; the second takes that back.
    let turns = [
        "echo 2 > deps.lock; echo 'echo forged > made/tool' > hook; echo two >> words.txt",
        ": > hook",
        ": > hook; echo three >> words.txt",
    ];
    let more = "prepare:\n- {name: deps, run: 'mkdir -p made; echo real > made/tool; . ./hook', inputs: [deps.lock], outputs: [made]}\n\
                gates: [{name: real, run: grep -q real made/tool || grep -q forged hook}]\n";
    let product =
        agent(&turns).file("deps.lock", "1\n").file("hook", "").file(".gitignore", "made\n");
    let product = wants(product, more, &["three"]);
    product.iterate(&[]).code(0);
    assert_eq!(scores(&product), [(0, 0.0), (1, 0.0), (2, 0.0), (3, 1.0)]);
    let cached = |event: &Value| event["data"]["cached"].as_bool() == Some(true);
    let cached: Vec<bool> = product.events_named("prepare.finished").iter().map(cached).collect();
    assert_eq!(cached, [false, false, false, false]);
}

#[test]
fn a_link_that_a_set_up_command_leaves_above_an_output_is_told_like_a_failed_gate() {
    let turns = [
        "echo 2 > deps.lock; echo 'rm -r made; ln -s /tmp made' > hook",
        "echo 3 > deps.lock; : > hook; echo two >> words.txt",
    ];
    let more = "prepare:\n- {name: deps, run: 'mkdir -p made/out; . ./hook', inputs: [deps.lock], outputs: [made/out]}\n";
    let product = agent(&turns).file("deps.lock", "1\n").file("hook", "");
    let product = wants(product, more, &["two"]);
    product.iterate(&[]).code(0);
    assert_eq!(scores(&product), [(0, 0.0), (1, -1.0), (2, 1.0)]);
    let told = feedback(&product, 1);
    assert!(told.contains("`made`, on the way to an output, is no directory"), "{told}");
}

#[test]
fn what_a_set_up_command_made_in_the_outputs_of_another_is_there_for_each_candidate() {
    let turns = [
        "test -e env/more/lib && echo 2 > env.lock; echo two >> words.txt",
        "echo 2 > more.lock; echo three >> words.txt",
        "echo 3 > env.lock; echo four >> words.txt",
        "cmp more.lock env/more/more.lock && echo 2 > env.lock && echo five >> words.txt",
    ];
    let env = "{name: env, run: 'mkdir -p env; touch env/lib', inputs: [env.lock], outputs: [env]}";
    let more = "{name: more, run: 'mkdir -p env/more; touch env/more/lib; cp more.lock env/more/', inputs: [more.lock], outputs: [env/more]}";
    for isolation in ["{agent: copy, judge: copy}", "{agent: copy, judge: sandbox, fresh: false}"] {
        let settings = format!(
            "isolation: {isolation}\nprepare:\n- {env}\n- {more}\n- {{name: last, run: 'touch env/last'}}\n\
             gates: [{{name: whole, run: cmp more.lock env/more/more.lock && test -e env/lib -a -e env/last}}]\n"
        );
        let product = agent(&turns).file(".gitignore", "env\n").file("env.lock", "");
        let product =
            wants(product.file("more.lock", "1\n"), &settings, &["two", "three", "four", "five"]);
        product.iterate(&[]).code(0);
        assert_eq!(scores(&product), [(0, 0.0), (1, 0.25), (2, 0.5), (3, 0.75), (4, 1.0)]);
    }
}

#[test]
fn a_tracked_file_among_outputs_is_the_candidates_and_the_agents_to_change() {
    let turns = [
        "grep -qx made deps/lib; echo 2 > deps/own; echo mine > deps/extra; chmod +x deps/lib",
        "echo two >> words.txt",
    ];
    let product = agent(&turns).file("words.lock", "").file("deps/own", "1\n");
    let more = "prepare:\n  - {name: deps, run: 'cp deps/own deps/copy; echo made > deps/lib', \
                inputs: [words.lock], outputs: [deps]}\n\
                gates:\n  - {name: made, run: cmp deps/own deps/copy}\n";
    let product = product.scenario("own", "grep -qx 2 deps/own");
    let product = wants(product, more, &["two"]);
    product.iterate(&[]).code(0);
    assert_eq!(scores(&product), [(0, 0.0), (1, 0.5), (2, 1.0)]);
    let files = product.git(&["ls-tree", "-r", "--name-only", &product.branch(), "deps"]);
    assert_eq!(files.trim(), "deps/own");
    let told = feedback(&product, 1);
    assert!(told.contains("`deps/extra`: The output is "), "{told}");
}

#[test]
fn an_output_that_a_scenario_removed_is_there_again() {
    let product = agent(&["echo two >> words.txt"]);
    let more = "prepare:\n  - {name: deps, run: mkdir -p deps && touch deps/lib, inputs: [words.lock], outputs: [deps]}\n\
                gates:\n  - {name: there, run: test -e deps/lib}\n";
    let product = product.file("words.lock", "").file(".gitignore", "/deps\n");
    let product = product.scenario("z-removes", "rm -r deps");
    let product = wants(product, more, &["one", "two"]);
    product.iterate(&[]).code(0);
}

#[test]
fn a_set_up_command_that_fails_at_the_base_is_the_factorys_failure() {
    let more = "prepare:\n  - {name: deps, run: 'echo no such package >&2; exit 7'}\n";
    let product = wants(agent(&[]), more, &["one"]);
    product.iterate(&[]).code(3).says("deps").says("no such package").says("exited with 7");
    product.iterate(&["--resume"]).code(3).says("no such package");
    assert!(product.events_named("agent.started").is_empty());
}

#[test]
fn a_set_up_command_that_the_agent_broke_is_told_like_a_failed_gate() {
    let more = "prepare:\n  - {name: deps, run: 'grep -q good deps.lock || { echo bad lock; exit 7; }', inputs: [deps.lock]}\n";
    let turns = ["echo bad > deps.lock", "echo good > deps.lock; echo two >> words.txt"];
    let product = wants(agent(&turns).file("deps.lock", "good\n"), more, &["one", "two"]);
    product.iterate(&[]).code(0);
    assert_eq!(scores(&product), [(0, 0.5), (1, -1.0), (2, 1.0)]);
    let told = feedback(&product, 1);
    assert!(told.contains("bad lock"), "{told}");
}

#[test]
fn who_guts_a_gate_or_its_tests_converges_with_a_question() {
    let package = "{\"scripts\":{\"test\":\"grep -q 'none yet' words.txt\"},\"dependencies\":{}}";
    for (gate, turn, told) in [
        ("make check", "printf 'check:\\n\\t@true\\n' > Makefile", "Makefile"),
        ("make -s check", "printf 'OTHER = grep -q two words.txt\\n' > rules.mk", "rules.mk"),
        ("bash tools/check.sh", "echo : > tools/check.sh", "tools/check.sh"),
        (
            "make other; npm --version > /dev/null; true",
            "sed -i 's/none yet/two/' package.json",
            "package.json",
        ),
        ("true", "rm tests/test_words.py", "tests/test_words.py"),
        ("true", "sed -i '1i@pytest.mark.skip' tests/test_words.py", "tests/test_words.py"),
    ] {
        let product = agent(&[&format!("{turn}; echo two >> words.txt")])
            .file("Makefile", "include rules.mk\ncheck:\n\t@$(OTHER)\nother:\n\t@true\n")
            .file("rules.mk", "OTHER = true\n")
            .file("tools/check.sh", "true\n")
            .file("package.json", package)
            .file("tests/test_words.py", "def test_words():\n    pass\n");
        let more = format!("gates: [{{name: check, run: '{gate}'}}]\n");
        let product = wants(product, &more, &["two"]);
        product.iterate(&[]).code(5).says("gates changed");
        product.factory(&["show"]).says(told);
    }
    // What a product depends on is no order, nor are tests that are moved or more.
    let turn = "sed -i 's/{}/{\"a\":\"1\"}/' package.json; git mv -q tests/test_words.py tests/test_more.py 2>/dev/null || \
                mv tests/test_words.py tests/test_more.py; echo 'def test_two(): pass' >> tests/test_more.py; echo two >> words.txt";
    let product = agent(&[turn]).file("package.json", package);
    let product = product.file("tests/test_words.py", "def test_words():\n    pass\n");
    let more = "gates: [{name: check, run: 'npm --version > /dev/null; true'}, {name: odd, run: 'type odd-tool; true'}]\n";
    let product = wants(product, more, &["two"]);
    product.iterate(&[]).code(0).says("what the gate `odd` checks can't be known from `type`");
    product.factory(&["lint"]).says("C007");
}

#[test]
fn a_second_run_beside_the_first_is_told_of_it() {
    let product = agent(&[]);
    let base = product.base().display().to_string();
    fs::write(product.base().join("slow"), "").unwrap();
    let wait = format!("touch {base}/there; while [ -e {base}/slow ]; do sleep 0.05; done");
    let more = format!("gates:\n  - {{name: slow, run: '{wait}'}}\n");
    let product = wants(product, &more, &["one"]);
    let first = product.start_iterate(&[], &[]);
    wait_until("the gate runs", || product.base().join("there").exists());
    let pid = first.child.id().to_string();
    let run = product.runs()[0].file_name().unwrap().to_str().unwrap().to_owned();
    for args in [&[][..], &["--resume"], &["--no-agent"]] {
        product.iterate(args).code(3).says(&pid).says(&run);
    }
    fs::remove_file(product.base().join("slow")).unwrap();
    first.wait().code(0);
    assert_eq!(product.runs().len(), 1);
    product.iterate(&["--no-agent"]).code(0);
}

#[test]
fn a_base_that_moved_is_said_and_nothing_is_merged() {
    let product = wants(agent(&["", "echo two >> words.txt"]), "", &["one", "two"]);
    product.iterate(&["--once"]).code(5);
    product.write("other.txt", "the person's\n");
    let moved = product.commit("Go on by hand");
    product.iterate(&["--resume"]).code(0).says("main has moved");
    assert_eq!(product.git(&["rev-parse", "main"]), moved);
    let files = product.git(&["ls-tree", "-r", "--name-only", &product.branch()]);
    assert!(!files.contains("other.txt"), "{files}");
}

#[test]
fn what_a_person_edits_during_the_run_stays_theirs() {
    let product = agent(&[]);
    let base = product.base().display().to_string();
    fs::write(product.base().join("slow"), "").unwrap();
    let wait = format!(
        "touch {base}/there; while [ -e {base}/slow ]; do sleep 0.05; done; echo two >> words.txt"
    );
    fs::create_dir_all(product.base().join("turns")).unwrap();
    fs::write(product.base().join("turns/1.sh"), wait).unwrap();
    let product = wants(product, "", &["one", "two"]);
    let running = product.start_iterate(&[], &[]);
    wait_until("the agent works", || product.base().join("there").exists());
    product.write("words.txt", "mine\n");
    product.write("new.txt", "mine too\n");
    product.write("staged.txt", "staged\n");
    product.git(&["add", "staged.txt"]);
    // The exam and the settings are frozen.
    product.write("scenarios/one.md", "# Scenario: gone\n");
    product.write("dark-factory.yaml", "satisfactoin: 7\n");
    let (before, status) = (product.checkout(), product.git(&["status", "--porcelain"]));
    fs::remove_file(product.base().join("slow")).unwrap();
    running.wait().code(0);
    assert_eq!(product.checkout(), before);
    assert_eq!(product.git(&["status", "--porcelain"]), status);
    assert_eq!(scores(&product), [(0, 0.5), (1, 1.0)]);
    let words = product.git(&["show", &format!("{}:words.txt", product.branch())]);
    assert_eq!(words, "one\ntwo");
}

#[test]
fn what_no_longer_works_is_named_first() {
    let turns = ["echo two > words.txt", "echo one >> words.txt"];
    let product = wants(agent(&turns), "", &["one", "two"]);
    product.iterate(&[]).code(0).says("no longer satisfied: The one");
    let told = feedback(&product, 1);
    let at = |text: &str| told.find(text).unwrap_or_else(|| panic!("no `{text}`: {told}"));
    assert!(at("egression") < at("## Instructions"), "{told}");
    assert!(told.contains("The one"), "{told}");
}

#[test]
fn iterations_are_counted_on_over_the_runs_of_a_branch() {
    let turns = ["echo x >> notes.txt", "echo two >> words.txt"];
    let product = wants(agent(&turns), "budget: {max_iterations: 1}\n", &["one", "two"]);
    product.iterate(&[]).code(1);
    assert_eq!(outcome(&product), "exhausted");
    assert_eq!(scores(&product), [(0, 0.5), (1, 0.5)]);
    let first = product.branch();
    product.git(&["merge", "-q", "--ff-only", &first]);
    let count: u64 = product.read("artifacts/factory/iteration_count.txt").trim().parse().unwrap();
    // A second has to pass: runs are listed by their time.
    std::thread::sleep(std::time::Duration::from_millis(1_100));
    product.iterate(&[]).code(0);
    assert_eq!(scores(&product), [(count + 1, 0.5), (count + 2, 1.0)]);
    let told = feedback(&product, u32::try_from(count).unwrap() + 1);
    assert!(told.contains("| 0 |"), "the trajectory tells of the first run: {told}");
}

/// Returns the classes of the attempts at turns, and the number of each one's turn.
fn attempts(product: &Product) -> Vec<(u64, String)> {
    let finished = product.events_named("agent.finished");
    let class = |data: &Value| data["class"].as_str().unwrap().to_owned();
    finished
        .iter()
        .map(|one| (one["data"]["turn"].as_u64().unwrap(), class(&one["data"])))
        .collect()
}

#[test]
fn the_same_crash_twice_at_once_is_the_surroundings_fault_and_resume_tries_again() {
    let crash = "echo \"my-tool: can't load libmy.so (pid $$)\" >&2; exit 7";
    let agent = agent(&[crash, crash, crash, "echo two >> words.txt"]);
    let product = wants(agent, "", &["one", "two"]);
    let ran =
        product.iterate(&[]).code(3).says("command ended without finishing as the turn before");
    let ran = ran.says("(exit code 7: my-tool: can't load libmy.so (pid ").says("iterate --resume");
    assert!(!ran.stdout.contains("stalled"), "{}", ran.stdout);
    let crashed = |turn| (turn, "crashed".to_owned());
    assert_eq!(attempts(&product), [crashed(1), crashed(2)]);
    // Nothing was put right: one attempt, and the same end.
    product.iterate(&["--resume"]).code(3).says("my-tool: can't load libmy.so");
    assert_eq!(attempts(&product), [crashed(1), crashed(2), crashed(2)]);
    product.iterate(&["--resume"]).code(0).says("converged");
    assert_eq!(attempts(&product)[3], (2, "done".to_owned()));
    product.factory(&["verify"]).code(0);
}

#[test]
fn a_crash_that_differs_or_brought_changes_goes_on() {
    for second in ["echo b >&2; exit 7", "echo a >&2; exit 8", "echo x > new; echo a >&2; exit 7"] {
        let product = wants(
            agent(&["echo a >&2; exit 7", second, "echo two >> words.txt"]),
            "",
            &["one", "two"],
        );
        product.iterate(&[]).code(0);
        assert_eq!(attempts(&product).len(), 3, "{second}");
    }
}

#[test]
fn a_question_of_an_agent_that_crashed_again_is_still_asked() {
    let turns = ["exit 7", "echo 'Which one?' > QUESTION.md; exit 7"];
    wants(agent(&turns), "", &["one", "two"]).iterate(&[]).code(5).says("Which one?");
}

#[test]
fn the_next_agent_takes_over_from_one_that_crashed_twice() {
    let more =
        "  fallback:\n    - {backend: command, command: [bash, -c, 'echo two >> words.txt']}\n";
    let product = wants(agent(&["exit 7", "exit 7"]), more, &["one", "two"]);
    product.iterate(&[]).code(0).says("ended without finishing; command takes over");
    let done = (2, "done".to_owned());
    assert_eq!(attempts(&product)[2], done);
}

#[test]
fn an_exhausted_run_goes_on_with_more_turns() {
    let turns = ["echo x >> notes.txt", "echo two >> words.txt"];
    let product = wants(agent(&turns), "budget: {max_iterations: 1}\n", &["one", "two"]);
    product.iterate(&[]).code(1);
    product.iterate(&["--resume"]).code(2).says("--max-iterations");
    product.iterate(&["--resume", "--max-iterations", "2"]).code(0);
    assert_eq!(scores(&product), [(0, 0.5), (1, 0.5), (2, 1.0)]);
}

#[test]
fn a_server_that_a_scenario_left_does_not_answer_for_the_next_candidate() {
    let product = agent(&["echo two >> words.txt"]);
    let base = product.base().display().to_string();
    let serves = format!(
        "for pid in $(cat {base}/servers 2>/dev/null); do if [ -n \"$(tr -d '\\0' < /proc/$pid/cmdline 2>/dev/null)\" ]; then echo an old server; exit 1; fi; done\n\
         setsid sleep 300 > /dev/null 2>&1 < /dev/null &\necho $! >> {base}/servers"
    );
    let product = wants(product.scenario("serves", &serves), "", &["one", "two"]);
    product.iterate(&[]).code(0);
    assert_eq!(fs::read_to_string(product.base().join("servers")).unwrap().lines().count(), 2);
    product.assert_nothing_alive();
}
