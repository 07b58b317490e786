//! Fixtures with real programs: PostgreSQL and Chromium where they are installed, a runner that is
//! killed, and what the doors say of settings that make no sense.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use dark_factory::config::{Environment, load, parse};
use dark_factory::id::ScenarioId;
use dark_factory::judge::{Fixtures, Place, discover, end_leftovers};
use dark_factory::process::Cancel;

use crate::support::{Product, walk};

/// The root of a tree for the runner that is killed.
const ROOT: &str = "FIXTURES_TEST_ROOT";

fn has(program: &str) -> bool {
    Environment::read().unwrap().find_program(program).is_some()
}

fn place(root: &Path) -> Place {
    let env = Environment::read().unwrap().for_product(&[], root, None, None);
    Place { root: root.to_owned(), env }
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

/// Copies the example `name`, makes its fixtures ready as its scenarios need them, runs each scenario's
/// script, and fails unless all exit with 0 and nothing is left.
fn check_example(name: &str) {
    let base = tempfile::Builder::new().prefix("factory-it-").tempdir_in("/tmp").unwrap();
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/fixtures").join(name);
    let root = base.path().join(name);
    let copied = Command::new("cp").arg("-R").arg(&example).arg(&root).status().unwrap();
    assert!(copied.success());
    let config = load(&root).unwrap();
    let set = discover(&root, &config.scenarios.dir).unwrap();
    let place = place(&root);
    let logs = base.path().join("logs");
    let pool = Fixtures::new(&config.fixtures, &place, &logs, &Cancel::never()).unwrap();
    let mut ports = Vec::new();
    let mut dirs: Vec<PathBuf> = Vec::new();
    for entry in &set.entries {
        let scenario = entry.scenario.as_ref().unwrap();
        let variables = pool.need(&scenario.front.needs, &entry.id).unwrap();
        for (name, value) in &variables {
            if name.starts_with("FACTORY_PORT_") {
                ports.push(value.parse::<u16>().unwrap());
            } else {
                dirs.push(value.into());
            }
        }
        let script = scenario.script();
        let mut command = Command::new("bash");
        command.args(["-c", &script]).current_dir(&root).env_clear();
        let ran = command.envs(&place.env).envs(&variables).stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert!(ran.status.success(), "{}: {}\n{said}", entry.id.as_str(), ran.status);
    }
    assert_eq!(pool.died(), Vec::new());
    assert!(ports.iter().any(|port| TcpStream::connect(("127.0.0.1", *port)).is_ok()));
    pool.stop_all();
    assert!(ports.iter().all(|port| TcpStream::connect(("127.0.0.1", *port)).is_err()));
    assert!(dirs.iter().all(|dir| !dir.exists()), "{dirs:?}");
    assert_eq!(processes_with(&format!("PYTHONPATH={}", root.display())), Vec::<String>::new());
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
