//! What people get wrong, and what their surroundings lack: each has its own message and exit code,
//! is found before anything is spent, and changes nothing of theirs.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;
use std::process::Command;

use crate::support::{ITERATE, Product, Ran};

/// A product of one scenario that is satisfied, committed.
fn product() -> Product {
    Product::new().scenario("readme", "test -f README").file("README", "hello\n").committed()
}

/// Runs `run` on the product, and checks what it came to, what was said, and that it left alone
/// what is the person's.
#[track_caller]
fn check(product: &Product, run: impl FnOnce(&Product) -> Ran, code: i32, words: &[&str]) -> Ran {
    let before = product.checkout();
    let mut ran = run(product).code(code);
    for word in words {
        ran = ran.says(word);
    }
    product.assert_untouched(&before);
    product.assert_nothing_alive();
    ran
}

/// Checks a call of `iterate` that comes to nothing.
#[track_caller]
fn refused(product: &Product, args: &[&str], code: i32, words: &[&str]) {
    let ran = check(product, |product| product.iterate(args), code, words);
    assert!(ran.stderr.starts_with("error"), "{}", ran.stderr);
    assert_eq!(product.runs(), Vec::<PathBuf>::new(), "a run was begun");
}

/// Runs a program with `PATH` being `path`.
fn with_path(product: &Product, path: &str, program: &str, args: &[&str]) -> Ran {
    let mut command = product.clean(program);
    command.env("PATH", path).args(args);
    product.start(command).wait()
}

/// Makes a directory of links to `programs`, for a `PATH` that has nothing else.
fn only(product: &Product, programs: &[&str]) -> String {
    let dir = product.base().join("bin");
    fs::create_dir_all(&dir).unwrap();
    for program in programs {
        let found = std::env::split_paths(&std::env::var_os("PATH").unwrap())
            .map(|dir| dir.join(program))
            .find(|path| path.is_file())
            .unwrap_or_else(|| panic!("{program} is not on PATH"));
        symlink(found, dir.join(program)).unwrap();
    }
    dir.to_str().unwrap().to_owned()
}

#[test]
fn a_mistake_that_is_corrected_and_not_committed_says_so() {
    let product = Product::new()
        .scenario("a", "true")
        .file("dark-factory.yaml", "satisfaction: {threshold: 7}\n")
        .committed();
    let said = "is read as the commit has it, and differs in the checkout; commit it to use that";
    let ran = product.iterate(&["--no-agent"]).code(2);
    assert!(!ran.stderr.contains(said), "{}", ran.stderr);
    product.write("dark-factory.yaml", "satisfaction: {threshold: 0.7}\n");
    product.iterate(&["--no-agent"]).code(2).says(said);
    product.commit("Correct it");
    product.iterate(&["--no-agent"]).code(0);
}

#[test]
fn without_a_scenario_there_is_nothing_to_judge() {
    let none = Product::new().file("README", "").committed();
    refused(&none, &["--no-agent"], 4, &["there is no scenarios directory", "/scenarios`"]);
    check(&none, |p| p.run_scenarios(&[]), 4, &["there is no scenarios directory"]);
    let empty = Product::new().file("scenarios/notes.txt", "").committed();
    refused(&empty, &["--no-agent"], 4, &["there are no scenarios in scenarios/"]);
    check(&empty, |p| p.run_scenarios(&[]), 4, &["no file in the directory ends in `.md`"]);
    check(&empty, |p| p.run_scenarios(&["--list"]), 4, &["there are no scenarios"]);
    let words = ["`nope` matches none of 1 scenario", "--list"];
    check(&product(), |p| p.run_scenarios(&["nope"]), 4, &words);
}

#[test]
fn a_scenarios_directory_that_is_a_file_makes_no_sense() {
    let product = Product::new().file("scenarios", "").committed();
    for run in [|p: &Product| p.iterate(&["--no-agent"]), |p: &Product| p.run_scenarios(&[])] {
        check(&product, run, 2, &["/scenarios` is not a directory"]);
    }
}

/// Checks what each command says of a file that is no scenario.
#[track_caller]
fn check_scenario(product: &Product, file: &str, why: &str, code: &str) {
    product.commit("An odd one");
    let words = [&format!("can't be judged: {why}"), "1 of 2 satisfied, 1 failed"];
    check(product, |p| p.run_scenarios(&[]), 1, &[words[0], words[1], "--check` tells more"]);
    let words = [&*format!("error[{code}]"), &*format!("--> {file}"), "2 scenarios: 1 error"];
    check(product, |p| p.run_scenarios(&["--check"]), 2, &words);
    let words = [&*format!("error[{code}]"), "1 scenario can't be judged and will count as unsat"];
    check(product, |p| p.iterate(&["--no-agent"]), 1, &words).says("below the threshold 0.80");
}

#[test]
fn a_file_that_is_no_scenario_counts_against_the_product_and_says_why() {
    for (contents, why, code) in [
        (&b""[..], "the file is empty", "S012"),
        (b"\n \n", "the file is empty", "S012"),
        (b"\x7fELF\x02\x01\xd0\xff", "line 1: the byte 0xd0 is no UTF-8", "S007"),
        (b"# Scenario: S\n\0\n", "line 2: the file holds a NUL character", "S008"),
        (
            b"# Scenario: S\n\n## Category\nx\n\n## Behavioral Expectation\ny\n",
            "line 1: there is no evaluation",
            "S002",
        ),
        (
            b"# Scenario: S\n## Category\nx\n## Expectation\ny\n## Evaluation\n```bash\n# later\n```\n",
            "line 7: this block runs nothing",
            "S003",
        ),
    ] {
        let product = product().file("scenarios/odd.md", contents);
        check_scenario(&product, "scenarios/odd.md", why, code);
    }
}

#[test]
fn a_scenario_that_cannot_be_read_counts_against_the_product() {
    let dangling = product();
    symlink("nowhere", dangling.path("scenarios/odd.md")).unwrap();
    check_scenario(&dangling, "scenarios/odd.md", "the file can't be read: it is a link", "S020");
    let directory = product().file("scenarios/odd.md/inner.txt", "");
    let why = "the file can't be read: it is a directory";
    check_scenario(&directory, "scenarios/odd.md", why, "S020");
    if rustix::process::geteuid().is_root() {
        return; // Who may read everything can't be shown a file that it may not.
    }
    let closed = product().file("scenarios/odd.md", "# Scenario: S\n");
    closed.commit("An odd one");
    fs::set_permissions(closed.path("scenarios/odd.md"), fs::Permissions::from_mode(0o000))
        .unwrap();
    let ran = closed.run_scenarios(&[]).code(1);
    ran.says("the file can't be read: Permission denied");
}

#[test]
fn an_unknown_key_has_its_line_and_the_nearest_known_key() {
    let settings = product().config("budget:\n  max_iteration: 3\n");
    settings.commit("A slip");
    let words = [
        "error[C002]: unknown key `max_iteration`; did you mean `max_iterations`?",
        "--> dark-factory.yaml:2:3",
        "2 |   max_iteration: 3\n  |   ^^^^^^^^^^^^^",
    ];
    refused(&settings, &["--no-agent"], 2, &words);
    check(&settings, |p| p.run_scenarios(&[]), 2, &words);
    check(&settings, |p| p.compile_feedback(&[]), 2, &words);
    check(&settings, |p| p.shuffle_scenarios(&["hide"]), 2, &words);

    let front = product().file(
        "scenarios/readme.md",
        "---\ntimeot: 3\n---\n# Scenario: S\n## Category\nx\n## Expectation\ny\n\
         ## Evaluation\n```\ntrue && x\n```\n",
    );
    front.commit("A slip");
    let words = ["unknown key `timeot`; did you mean `timeout`?"];
    check(&front, |p| p.run_scenarios(&[]), 1, &[&format!("line 2: {}", words[0])]);
    let place = "--> scenarios/readme.md:2:1";
    check(&front, |p| p.run_scenarios(&["--check"]), 2, &[words[0], place]);
}

#[test]
fn a_threshold_of_7_makes_no_sense() {
    for score in ["7", "0", "-1", "nan", "seven"] {
        let flag = format!("--threshold={score}");
        let words = [&*format!("`{score}` is no score; use one above 0 and at most 1")];
        refused(&product(), &["--no-agent", &flag], 2, &words);
    }
    let product = product().config("satisfaction:\n  threshold: 7\n");
    product.commit("Much");
    let words = ["the threshold is 7; it must be above 0 and at most 1", "dark-factory.yaml:2:14"];
    refused(&product, &["--no-agent"], 2, &words);
}

#[test]
fn what_the_flags_ask_for_must_make_sense() {
    for (args, words) in [
        (&["--max-iterations", "many"][..], "invalid value 'many'"),
        (&["--isolation", "zandbox"], "`zandbox` is no tier; use copy or sandbox"),
        (&["--no-agent", "--once"], "cannot be used with"),
        (&["--in-place"], "--no-agent"),
        (&["--answer", "yes"], "--resume"),
        (&["--workdir", "nowhere"], "nowhere` is not a directory"),
    ] {
        refused(&product(), args, 2, &[words]);
    }
    for (args, words) in [
        (&["--timeout", "soon"][..], "`soon` is no length of time; write seconds, or 90s, 30m, 2h"),
        (&["--jobs", "0"], "`0` is no number of jobs; use 1, 2, ... or `auto`"),
        (&["--workdir", "nowhere"], "nowhere` is not a directory"),
        (&["--scenarios-dir", "nowhere"], "there is no scenarios directory"),
    ] {
        check(&product(), |p| p.run_scenarios(args), 2, &[words]);
    }
    let words = ["nothing to compile feedback from; run `run-scenarios` first"];
    check(&product(), |p| p.compile_feedback(&[]), 2, &words);
}

#[test]
fn the_loop_needs_a_repository_with_a_commit() {
    let bare = Product::bare().scenario("readme", "test -d scenarios");
    let ran = bare.iterate(&["--no-agent"]).code(2);
    ran.says("is not in a git repository; go to the product's checkout, or run `git init`");
    bare.run_scenarios(&[]).code(0);
    bare.iterate(&["--no-agent", "--in-place"]).code(0).says("converged");

    let unborn = Product::new().scenario("readme", "test -d scenarios");
    let ran = unborn.iterate(&["--no-agent"]).code(2);
    ran.says("the repository has no commit yet; make one, and the loop begins there");
    assert_eq!(unborn.runs(), Vec::<PathBuf>::new());
    unborn.iterate(&["--no-agent", "--in-place"]).code(0).says("converged");
}

#[test]
fn a_detached_head_is_worked_from_and_said() {
    let product = product();
    product.git(&["checkout", "-q", "--detach"]);
    let words = ["HEAD is detached at", "`factory apply` will need a branch", "converged"];
    check(&product, |p| p.iterate(&["--no-agent"]), 0, &words);
}

#[test]
fn without_git_or_bash_the_surroundings_have_failed() {
    let no_git = product();
    let words = ["git could not be started", "install git"];
    check(&no_git, |p| with_path(p, "/nowhere", ITERATE, &["--no-agent"]), 3, &words);
    assert_eq!(no_git.runs(), Vec::<PathBuf>::new());
    let no_bash = product();
    let path = only(&no_bash, &["git"]);
    let words = ["error: no scenario could be judged: bash could not be started: `bash` is not"];
    check(&no_bash, |p| with_path(p, &path, ITERATE, &["--no-agent"]), 3, &words);
    check(&no_bash, |p| p.iterate(&["--resume"]), 0, &["converged"]);
}

#[test]
fn an_agents_program_in_the_product_must_be_committed_as_one() {
    let product = product().config("agent: {backend: command, command: [./tools/agent.sh]}\n");
    let product = product.committed();
    product.write("tools/agent.sh", "#!/bin/sh\n");
    let absent = "`./tools/agent.sh` is not in commit";
    product.iterate(&[]).code(2).says("the agent's program can't be started").says(absent);
    product.factory(&["doctor"]).says(absent);
    product.commit("Add it");
    refused(
        &product,
        &[],
        2,
        &["is no program in commit", "`git update-index --chmod=+x tools/agent.sh`"],
    );
    product.git(&["update-index", "--chmod=+x", "tools/agent.sh"]);
    product.git(&["commit", "-q", "-m", "Make it a program"]);
    product.git(&["checkout", "-q", "--", "."]);
    product.iterate(&[]).code(0);
}

#[test]
fn an_agent_must_be_chosen_known_installed_and_logged_in() {
    let product = product();
    refused(&product, &[], 2, &["no agent is chosen; set `agent.backend`", "`codex`, `claude`"]);
    product.write("dark-factory.yaml", "agent: {backend: codex}\n");
    let commit = "note: dark-factory.yaml is not in commit";
    product
        .iterate(&[])
        .code(2)
        .says("no agent is chosen")
        .says(commit)
        .says("commit it to use it");
    fs::remove_file(product.path("dark-factory.yaml")).unwrap();
    let words = ["there is no agent backend `cluade` (did you mean `claude`?); the backends are"];
    refused(&product, &["--agent", "cluade"], 2, &words);
    refused(&product, &["--agent", "command"], 2, &["needs `agent.command`"]);
    let agents = self::product().config("agent: {backend: codex, effort: ultra}\n").committed();
    let words = ["--agent: `claude` knows no effort `ultra`; write low, medium"];
    refused(&agents, &["--agent", "claude"], 2, &words);
    refused(&product, &["--agent", "replay"], 2, &["needs `agent.recording`"]);

    let path = only(&product, &["git"]);
    for (agent, package) in [("codex", "@openai/codex"), ("claude", "@anthropic-ai/claude-code")] {
        let run = |p: &Product| with_path(p, &path, ITERATE, &["--agent", agent]);
        let install = format!("install it with `npm install -g {package}`");
        check(&product, run, 3, &[&format!("can't find the agent's program `{agent}`"), &install]);
        let program = product.base().join("bin").join(agent);
        fs::write(&program, "#!/bin/sh\nexit 1\n").unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let words = [&format!("agent `{agent}` has no login: none of "), "_API_KEY", "agent.home"];
        check(&product, run, 3, &words);
    }
    assert_eq!(product.runs(), Vec::<PathBuf>::new(), "a run was begun");
}

#[test]
fn an_agent_that_nobody_knows_is_found_by_lint_doctor_and_run_with_its_line() {
    let files = [
        ("agent:\n  backend: codx\n", "there is no agent backend `codx`; did you mean `codex`?"),
        (
            "agent:\n  backend: codex\n  effort: hgih\n",
            "`codex` knows no effort `hgih`; did you mean `high`?",
        ),
    ];
    for (text, words) in files {
        let product = product().config(text).committed();
        for run in [&["lint"][..], &["doctor"], &["run-scenarios"]] {
            let ran = product.factory(run).code(2);
            let said = format!("{}{}", ran.stdout, ran.stderr);
            assert!(said.contains("dark-factory.yaml:") && said.contains(words), "{run:?}: {said}");
        }
        let ran = product.iterate(&[]).code(2);
        assert!(
            ran.stderr.contains(words) && ran.stderr.contains("dark-factory.yaml:"),
            "{}",
            ran.stderr
        );
    }
}

#[test]
fn isolation_that_cannot_be_had_is_refused_before_anything_starts() {
    let words =
        ["isolation `sandbox` is asked for and can't be had", "landlock: it is switched off"];
    let settings = "agent:\n  backend: command\n  command: [sh, -c, touch /tmp/never]\n";
    let without = [("DARK_FACTORY_WITHOUT", "root,user-namespace,bubblewrap,landlock")];
    let by_flag = product().config(settings).committed();
    let by = |args: &'static [&'static str]| move |p: &Product| p.iterate_with(args, &without);
    check(&by_flag, by(&["--isolation", "sandbox"]), 6, &words);
    let by_file = product().config(&format!("{settings}isolation:\n  require: sandbox\n"));
    by_file.commit("Strict");
    check(&by_file, by(&[]), 6, &words);
}

#[test]
fn what_the_sandbox_is_to_show_or_reach_is_checked_before_anything_starts() {
    for (settings, words) in [
        ("isolation: {read: [/nope/data]}\n", "`isolation` names `/nope/data`, which is not there"),
        ("network: {allow: ['https://crates.io']}\n", "write the host alone, as in `crates.io`"),
    ] {
        let product = product().config(settings).committed();
        refused(&product, &["--no-agent"], 2, &[words]);
    }
}

#[test]
fn only_a_run_that_stopped_can_go_on() {
    let product = product();
    refused(&product, &["--resume"], 2, &["there is no run", "`iterate` begins one"]);
    product.iterate(&["--no-agent"]).code(0);
    for (args, words) in [
        (&["--resume", "nope"][..], "there is no run nope"),
        (&["--resume", "--answer", "yes"], "has no open question that `--answer` could answer"),
        (&["--resume"], "has ended as `converged`"),
    ] {
        let ran = check(&product, |p| p.iterate(args), 2, &[words]);
        assert!(ran.stderr.starts_with("error: "), "{}", ran.stderr);
    }
    product.iterate(&["--no-agent", "--in-place"]).code(0);
    product.iterate(&["--resume"]).code(2).says("judged the working tree in place");
}

#[test]
fn a_mistake_in_the_prompt_has_its_line_and_is_found_before_anything_is_spent() {
    for (template, words) in [
        ("a\n{{ iteratio }}\n", "fix.md:2: `iteratio` is not defined (did you mean `iteration`?)"),
        ("a\nb\n{% if %}\n", "fix.md:3: syntax error"),
    ] {
        let product = product()
            .file(".github/factory/prompts/fix.md", template)
            .config("agent:\n  backend: command\n  command: [\"true\"]\n")
            .committed();
        refused(&product, &[], 2, &[&format!("error: .github/factory/prompts/{words}")]);
    }
}

/// Runs a shell script in a mount namespace of its own, where the directory `full` of the product
/// is a file system of `size`; none, with the reason printed, where this user can't mount.
#[expect(clippy::print_stdout, reason = "whoever reads the tests' output is to know")]
pub(crate) fn on_small_disk(
    product: &Product,
    full: &str,
    size: &str,
    script: &str,
) -> Option<Ran> {
    let dir = product.path(full);
    fs::create_dir_all(&dir).unwrap();
    let mount = format!("mount -t tmpfs -o size={size} none '{}'", dir.display());
    let possible = Command::new("unshare").args(["-m", "sh", "-c", &mount]).output();
    match possible {
        Ok(output) if output.status.success() => {}
        _ => {
            println!("skipped: this user can't mount a small file system of its own");
            return None;
        }
    }
    let mut command = product.clean("unshare");
    command.env("FULL", &dir).args(["-m", "sh", "-c", &format!("{mount} && {{ {script}; }}")]);
    Some(product.start(command).wait())
}

#[test]
fn a_full_disk_is_told_from_a_judgement() {
    let product = product();
    let run = |p: &Product| p.run_scenarios(&["--output", "/dev/full"]);
    let words = ["1 of 1 satisfied", "error: can't write `/dev/full`", "No space left on device"];
    check(&product, run, 3, &words);

    let script = format!("'{}'", env!("CARGO_BIN_EXE_run-scenarios"));
    // Larger than a page of the file system.
    let product =
        Product::new().scenario("loud", "head -c 9000 /dev/zero | tr '\\0' x").committed();
    if let Some(ran) = on_small_disk(&product, "artifacts/factory", "4k", &script) {
        ran.code(3).says("artifacts/factory").says("No space left on device");
    }
}

#[test]
fn a_run_that_met_a_full_disk_goes_on_when_there_is_room() {
    // Where the disk is full depends on the size: at the run's start, in its journal, at its results.
    for size in (4..=36).step_by(4) {
        let product =
            Product::new().scenario("loud", "head -c 9000 /dev/zero | tr '\\0' x").committed();
        let before = product.checkout();
        let script = format!(
            "'{ITERATE}' --no-agent; echo \"code $?\"; mount -o remount,size=9m \"$FULL\"; \
             '{ITERATE}' --resume || '{ITERATE}' --no-agent"
        );
        let Some(ran) = on_small_disk(&product, "artifacts/factory", &format!("{size}k"), &script)
        else {
            return;
        };
        ran.code(0).says("code 3").says("No space left on device").says("converged");
        product.assert_untouched(&before);
    }
}

#[test]
fn standard_output_that_is_full_is_a_failure() {
    let product = product();
    for program in [ITERATE, env!("CARGO_BIN_EXE_run-scenarios")] {
        let mut command = product.clean("sh");
        let script = format!("'{program}' $ARGS > /dev/full");
        let args = if program == ITERATE { "--no-agent" } else { "--list" };
        command.env("ARGS", args).args(["-c", &script]);
        product.start(command).wait().code(3).says("can't write to standard output");
    }
}

#[test]
fn a_branch_in_the_place_of_the_runs_is_found_before_anything_is_made() {
    let product = product();
    product.git(&["branch", "factory"]);
    let words = ["`factory` is in the way", "git branch -m factory old-factory"];
    refused(&product, &["--no-agent"], 2, &words);
    product
        .factory(&["doctor"])
        .code(3)
        .says("FAIL  git")
        .says("git branch -m factory old-factory");
    product.git(&["branch", "-m", "factory", "old-factory"]);
    product.iterate(&["--no-agent"]).code(0);
    // At a remote it matters only once the run's branch is to be published.
    product.git(&["update-ref", "refs/remotes/origin/factory", "HEAD"]);
    product.iterate(&["--no-agent"]).code(0).says("the remote `origin` has a branch `factory`");
}

/// Makes the product a partial clone of itself, the whole one at `../server`.
fn partial(product: &Product, filter: &str) {
    let server = product.base().join("server");
    fs::rename(product.root(), &server).unwrap();
    let server = server.to_str().unwrap();
    fs::create_dir(product.root()).unwrap();
    for setting in ["uploadpack.allowFilter", "uploadpack.allowAnySHA1InWant"] {
        product.git(&["-C", server, "config", setting, "true"]);
    }
    let (url, filter) = (format!("file://{server}"), format!("--filter={filter}"));
    product.git(&["clone", "-q", "--no-checkout", "--sparse", &filter, &url, "."]);
    product.git(&["sparse-checkout", "set", "scenarios"]);
    product.git(&["checkout", "-q", "main"]);
}

#[test]
fn what_a_partial_clone_lacks_is_fetched_before_the_run_and_named_where_it_can_not_be() {
    for filter in ["blob:none", "tree:0"] {
        let product = product().file("src/deep/file", "text\n").committed();
        partial(&product, filter);
        let (server, away) = (product.base().join("server"), product.base().join("away"));
        fs::rename(&server, &away).unwrap();
        let words = ["still at the remote `origin`", "`git fetch --refetch --no-filter`"];
        refused(&product, &["--no-agent"], 3, &words);
        product.factory(&["doctor"]).code(3).says("can't be reached");
        fs::rename(&away, &server).unwrap();
        product.factory(&["doctor"]).says("warn  git").says("a run fetches them");
        let before = product.git(&["for-each-ref"]);
        product.iterate(&["--no-agent"]).code(0).says("came from the remote `origin`");
        let after = product.git(&["for-each-ref"]);
        assert!(before.lines().all(|line| after.contains(line)), "{filter}: {after}");
        let again = product.iterate(&["--no-agent"]).code(0);
        assert!(!again.stderr.contains("origin"), "{}", again.stderr);
    }
}

#[test]
fn what_keeps_a_program_from_starting_is_named_and_is_not_that_it_is_missing() {
    let product = product();
    let none = product.base().join("none/tmp");
    let mut command = product.clean(ITERATE);
    command.arg("--no-agent").env("TMPDIR", &none);
    let ran = product.start(command).wait().code(3).says("TMPDIR").says(none.to_str().unwrap());
    assert!(!ran.stderr.contains("install"), "{}", ran.stderr);
    let mut command = product.clean(env!("CARGO_BIN_EXE_factory"));
    command.arg("doctor").env("TMPDIR", &none);
    let ran = product.start(command).wait().code(3).says("FAIL  disk");
    assert!(ran.stdout.contains("TMPDIR"), "{}", ran.stdout);
    let mut command = product.clean("bash");
    command.args(["-c", "ulimit -n 16; exec \"$0\" --no-agent", ITERATE]);
    let ran = product.start(command).wait().code(3).says("open files").says("`ulimit -n`");
    assert!(!ran.stderr.contains("install"), "{}", ran.stderr);
}

#[test]
fn what_a_run_reads_comes_from_the_commit_and_what_differs_is_named_first() {
    let product = product().file("specs/product.md", "It says hello.\n").committed();
    let commit = product.git(&["rev-parse", "--short=10", "HEAD"]);
    let product = product
        .config("threshold: nonsense\n")
        .scenario("readme", "false")
        .scenario("new", "false")
        .file("specs/product.md", "It says nothing.\n");
    let differ = format!(
        "note: scenarios/readme.md and specs/product.md differ in the checkout; the run takes them from commit {commit}; \
         commit them to use them; dark-factory.yaml and scenarios/new.md are not in commit {commit}, and the run does \
         without; commit them to use them"
    );
    product.iterate(&["--no-agent"]).code(0).says(&differ);
    let ran = product.factory(&["doctor"]);
    assert!(ran.stdout.contains("1 scenario in scenarios/"), "{}", ran.stdout);
    assert!(ran.stdout.contains("specs/product.md differ in the checkout"), "{}", ran.stdout);
    // In place everything is taken as it lies, and said of nothing.
    product.write("dark-factory.yaml", "");
    let ran = product.iterate(&["--no-agent", "--in-place"]).code(1);
    assert!(!ran.stderr.contains("differ"), "{}", ran.stderr);
    product.commit("Use it");
    let ran = product.iterate(&["--no-agent"]).code(1);
    assert!(!ran.stderr.contains("differ"), "{}", ran.stderr);
}

#[test]
fn scenarios_that_no_commit_has_are_to_be_committed_ignored_ones_too() {
    for ignored in ["", "scenarios/\n"] {
        let product = Product::new().file(".gitignore", ignored).committed().scenario("a", "true");
        let words =
            ["1 scenario in scenarios/ is not committed", "`git add scenarios && git commit`"];
        let ran = product.iterate(&["--no-agent"]).code(4);
        words.iter().fold(ran, |ran, word| ran.says(word));
        assert_eq!(product.runs(), Vec::<PathBuf>::new(), "a run was begun");
        product.factory(&["doctor"]).says("1 scenario in scenarios/, none of them committed");
        product.run_scenarios(&[]).code(0);
        product.iterate(&["--no-agent", "--in-place"]).code(0);
    }
}

#[test]
fn scenarios_behind_links_are_read_from_the_commit() {
    let product = product()
        .file("shared/two.md", "# Scenario: Two\n\n## Evaluation Method\n```bash\ntrue\n```\n");
    symlink("../shared/two.md", product.path("scenarios/two.md")).unwrap();
    symlink("../../outside.md", product.path("scenarios/three.md")).unwrap();
    let product = product.committed();
    product.iterate(&["--no-agent"]).code(1).says("three.md").says("2 of 3");
}

#[test]
fn an_agent_that_costs_is_not_started_without_a_spec_unless_that_is_said() {
    let product = product().config("agent: {backend: codex}\n").committed();
    let bin = only(&product, &["git", "bash"]);
    let codex = PathBuf::from(&bin).join("codex");
    fs::write(&codex, "#!/bin/sh\nexit 1\n").unwrap();
    fs::set_permissions(&codex, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{bin}:{}", std::env::var("PATH").unwrap());
    let env = [("PATH", path.as_str()), ("OPENAI_API_KEY", "key")];
    let run = |args: &[&str]| product.iterate_with(args, &env);
    let ran =
        run(&[]).code(2).says("`specs/**/*.md` under `specs` matches no file").says("`specs: []`");
    assert!(ran.stderr.contains("FAIL  specs"), "{}", ran.stderr);
    run(&["--no-agent"]).code(0);
    run(&["--max-iterations", "0"]).code(0);
    // A spec that is not committed is none, and a glob of several that matches nothing is told.
    product.write("specs/product.md", "It says hello.\n");
    run(&[]).code(2).says("`specs/**/*.md`");
    product
        .write("dark-factory.yaml", "agent: {backend: codex}\nspecs: [specs/*.md, 'doc/*.md']\n");
    product.commit("Name two");
    let ran = run(&[]).code(2).says("no spec: `doc/*.md` under");
    assert!(!ran.stderr.contains("`specs/*.md`"), "{}", ran.stderr);
    product.write("dark-factory.yaml", "agent: {backend: codex}\nspecs: []\n");
    product.commit("None on purpose");
    run(&[]).code(0);
    // What nobody is known to be paid for is told, and goes on.
    product.write(
        "dark-factory.yaml",
        "agent: {backend: command, command: [./own]}\nspecs: [no.md]\n",
    );
    let product = product.executable("own", "#!/bin/sh\n");
    product.commit("Another agent");
    product.iterate(&[]).code(0).says("note: the agent would be pointed to no spec: `no.md`");
}

#[test]
fn the_prompt_of_the_operating_manual_is_read_where_there_is_none_of_ours() {
    let manual = ".github/codex/prompts/factory_fix.md";
    let agent = "agent: {backend: command, command: [bash, -c, 'cp {prompt_file} done']}\n";
    let product = Product::new()
        .config(&format!("{agent}budget: {{max_iterations: 1}}\n"))
        .scenario("done", "grep MANUAL done")
        .file(manual, "MANUAL in {{ workspace }}\n")
        .committed();
    let said =
        format!("note: the prompt is {manual}, for there is no .github/factory/prompts/fix.md");
    product.iterate(&[]).code(0).says(&said);
    product.write(".github/factory/prompts/fix.md", "OURS\n");
    product.commit("Write a prompt of ours");
    let ran = product.iterate(&[]).code(1);
    assert!(!ran.stderr.contains(manual), "{}", ran.stderr);
    product.git(&["rm", "-q", ".github/factory/prompts/fix.md"]);
    product.write(manual, "MANUAL {{ nothing }}\n");
    product.commit("Misspell one");
    refused_after(&product, &["factory_fix.md:1: `nothing` is not defined"]);
}

/// Checks a call of `iterate` that makes no run more than there are.
#[track_caller]
fn refused_after(product: &Product, words: &[&str]) {
    let runs = product.runs();
    check(product, |product| product.iterate(&[]), 2, words);
    assert_eq!(product.runs(), runs, "a run was begun");
}
