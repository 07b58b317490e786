//! Fixtures with real programs: PostgreSQL and Chromium where they are installed, a runner that is
//! killed, and what the doors say of settings that make no sense.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use dark_factory::config::{Environment, parse};
use dark_factory::id::ScenarioId;
use dark_factory::judge::{Fixtures, Place, end_leftovers};
use dark_factory::process::Cancel;

use crate::support::{Product, walk};

/// The root of a tree for the runner that is killed.
const ROOT: &str = "FIXTURES_TEST_ROOT";

fn has(program: &str) -> bool {
    Environment::read().unwrap().find_program(program).is_some()
}

fn place(root: &Path) -> Place {
    let env = Environment::read().unwrap().for_product(&[], root, None, None);
    Place::open(root, env)
}

/// Returns the living processes of which `/proc` says in their environment that they have `text`.
fn processes_with(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
        if String::from_utf8_lossy(&environment).contains(text) {
            found.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    found
}

/// Judges a copy of the example `name`, and fails unless all is satisfied and nothing is left.
fn check_example(name: &str) {
    // Near enough for sockets, and open to the user that PostgreSQL runs as.
    let base = tempfile::Builder::new().prefix("fit-").tempdir_in("/tmp").unwrap();
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/fixtures").join(name);
    let (root, tmp) = (base.path().join(name), base.path().join("tmp"));
    let copied = Command::new("cp").arg("-R").arg(&example).arg(&root).status().unwrap();
    assert!(copied.success());
    fs::create_dir(&tmp).unwrap();
    fs::set_permissions(base.path(), fs::Permissions::from_mode(0o711)).unwrap();
    fs::set_permissions(&tmp, fs::Permissions::from_mode(0o1777)).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_run-scenarios"));
    let ran = command.arg("--workdir").arg(&root).env("TMPDIR", &tmp).output().unwrap();
    assert!(
        ran.status.success(),
        "{}{}",
        String::from_utf8_lossy(&ran.stdout),
        String::from_utf8_lossy(&ran.stderr)
    );
    let port = fs::read_to_string(root.join("port.txt")).unwrap();
    assert!(TcpStream::connect(("127.0.0.1", port.trim().parse().unwrap())).is_err());
    assert_eq!(fs::read_dir(&tmp).unwrap().count(), 0);
    assert_eq!(processes_with(tmp.to_str().unwrap()), Vec::<String>::new());
}

#[test]
fn a_ledger_is_judged_against_a_real_postgresql() {
    let is_there = has("initdb") || Path::new("/usr/lib/postgresql").is_dir();
    if is_there && has("psql") && has("setpriv") {
        check_example("postgres");
    }
}

#[test]
fn a_page_is_judged_in_a_real_browser() {
    if has("chromium") && has("python3") {
        check_example("browser");
    }
}

#[test]
fn the_examples_of_fixtures_are_without_a_finding() {
    for name in ["postgres", "browser"] {
        let product = Product::new();
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/fixtures").join(name);
        walk(&example, &mut |path, metadata| {
            if metadata.is_file() {
                let to = product.root().join(path.strip_prefix(&example).unwrap());
                fs::create_dir_all(to.parent().unwrap()).unwrap();
                fs::copy(path, to).unwrap();
            }
            true
        });
        product.factory(&["lint"]).code(0).says("nothing found");
    }
}

#[test]
fn a_scenario_whose_fixture_is_not_there_is_told_with_its_place() {
    let product = Product::new();
    let file = |path: &str, text: &str| {
        let path = product.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    file("dark-factory.yaml", "fixtures:\n- name: web\n  start: ./serve\n");
    let body =
        "# Scenario: S\n## Category\nx\n## Expectation\nx\n## Evaluation\n```\ntest 1\n```\n";
    file("scenarios/s.md", &format!("---\nneeds: [wbe]\n---\n{body}"));
    let says = "there is no fixture `wbe`; did you mean `web`?";
    product.factory(&["lint"]).code(2).says("S019").says("scenarios/s.md:2:9").says(says);
    product.run_scenarios(&["--check"]).code(2).says(says);
    product.run_scenarios(&[]).code(1).says(says);
    file("dark-factory.yaml", "fixtures:\n- name: wbe\n  strat: ./serve\n");
    product.factory(&["lint"]).code(2).says("unknown key `strat`; did you mean `start`?");
    file("dark-factory.yaml", "fixtures:\n- name: wbe\n  start: x\n");
    product.run_scenarios(&["--check"]).code(0);
}

/// A runner of its own for the test below: starts a fixture, says so, and waits to be killed.
#[test]
#[ignore = "is started by the test below"]
fn a_runner_that_waits_to_be_killed() {
    let Some(root) = std::env::var_os(ROOT).map(PathBuf::from) else { return };
    let text =
        "fixtures: [{name: a, start: 'touch up; exec sleep 300', ready: {command: test -e up}}]";
    let fixtures = parse("x", text.as_bytes()).unwrap().fixtures;
    let logs = root.join("logs");
    let pool = Fixtures::new(&fixtures, &place(&root), &logs, &Cancel::never()).unwrap();
    let ready = pool.need(&["a".to_owned()], &ScenarioId::parse("s").unwrap()).unwrap();
    fs::write(root.join("ready.tmp"), &ready["FACTORY_DIR_A"]).unwrap();
    fs::rename(root.join("ready.tmp"), root.join("ready")).unwrap();
    std::thread::sleep(Duration::from_secs(120));
}

#[test]
fn what_a_killed_runner_leaves_is_ended_by_the_next() {
    let base = tempfile::Builder::new().prefix("factory-it-").tempdir_in("/tmp").unwrap();
    let root = base.path().to_owned();
    let name = "fixtures::a_runner_that_waits_to_be_killed";
    let mut runner = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", name])
        .env(ROOT, &root)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let began = Instant::now();
    while !root.join("ready").exists() {
        assert!(began.elapsed() < Duration::from_secs(60), "the runner does not get ready");
        std::thread::sleep(Duration::from_millis(10));
    }
    let dir = PathBuf::from(fs::read_to_string(root.join("ready")).unwrap());
    let marked = format!("FACTORY_DIR_A={}", dir.display());
    // While its runner lives it is nobody else's.
    assert_eq!(end_leftovers(&place(&root)), 0);
    assert!(processes_with(&marked).len() == 1 && dir.exists());
    runner.kill().unwrap();
    runner.wait().unwrap();
    assert_eq!(processes_with(&marked).len(), 1);
    assert_eq!(end_leftovers(&place(&root)), 1);
    assert!(processes_with(&marked).is_empty() && !dir.parent().unwrap().exists());
}

#[test]
fn a_pool_may_be_asked_by_many_while_it_is_loaded() {
    let base = tempfile::tempdir().unwrap();
    let mut text = "fixtures:\n".to_owned();
    for n in 0..8 {
        let needs = if n == 0 { String::new() } else { format!("f{}", n / 2) };
        text += &format!(
            "- {{name: f{n}, start: sleep 300, needs: [{needs}], ready: {{command: 'true'}}}}\n"
        );
    }
    // The first needs nothing, and so do those that would need themselves.
    let text = text.replace("needs: [f0]", "needs: []");
    let fixtures = parse("x", text.as_bytes()).unwrap().fixtures;
    let place = place(base.path());
    let logs = base.path().join("logs");
    let pool = Fixtures::new(&fixtures, &place, &logs, &Cancel::never()).unwrap();
    let all: Vec<BTreeMap<String, String>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..16)
            .map(|n| {
                let pool = &pool;
                scope.spawn(move || {
                    let scenario = ScenarioId::parse(&format!("s{n}")).unwrap();
                    pool.need(&[format!("f{}", n % 8)], &scenario).unwrap()
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for n in 0..8 {
        assert_eq!(all[n], all[n + 8]);
    }
    assert_eq!(fs::read_dir(&logs).unwrap().count(), 8);
    let marked = all[7]["FACTORY_DIR_F7"].clone();
    drop(pool);
    assert!(processes_with(&marked).is_empty());
}

#[test]
fn a_run_starts_a_fixture_once_or_for_each_candidate_and_stops_it() {
    let product = Product::new();
    let base = product.base().display().to_string();
    let config = format!(
        "satisfaction: {{threshold: 1.0}}\nagent: {{backend: replay, recording: ../recording}}\n\
         fixtures:\n  \
         - {{name: store, scope: run, ready: {{port: true}}, start: \"echo $$ >> {base}/store; \
         exec python3 -m http.server --bind 127.0.0.1 $FACTORY_PORT_STORE\"}}\n  \
         - {{name: app, product: true, needs: [store], start: \"echo $$ >> {base}/app; exec sleep 300\", \
         ready: {{command: \"test -e app.txt\", timeout: 1s}}}}\n"
    );
    let product = product
        .config(&config)
        .file("scenarios/seen.md", "---\nneeds: [app]\n---\n# Scenario: Seen\n\n## Evaluation Method\n```bash\n(: </dev/tcp/127.0.0.1/$FACTORY_PORT_STORE) || ls app.txt\n```\n")
        .file("README", "an app\n")
        .turn(1, &[("other.txt", "no app yet\n")], "")
        .turn(2, &[("app.txt", "an app\n")], "")
        .committed();
    product.iterate(&[]).code(0);
    let verdicts: Vec<_> = product
        .events_named("scenario.judged")
        .iter()
        .map(|event| event["data"]["verdict"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(verdicts, ["unsatisfied", "unsatisfied", "satisfied"]);
    let starts =
        |name: &str| fs::read_to_string(product.base().join(name)).unwrap().lines().count();
    assert_eq!((starts("store"), starts("app")), (1, 3));
    product.assert_nothing_alive();
    let told = product.read("artifacts/factory/scenario_results.json");
    assert!(told.contains("\"satisfaction_score\": 1.0"), "{told}");
}
