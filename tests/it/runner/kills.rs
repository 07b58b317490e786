//! SIGKILL of the runner itself: what had been judged is in the record, and a rerun is whole.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dark_factory::process::{Call, Cancel};
use rustix::process::Signal;
use serde_json::Value;

use super::{result, results, run, runner};
use crate::support::{Product, wait_until};

const SCENARIOS: usize = 30;
const JOBS: usize = 3;

/// A product whose scenarios leave a file as their last act; every third one fails.
fn thirty() -> Product {
    (0..SCENARIOS).fold(Product::bare(), |product, number| {
        let name = format!("s{number:02}");
        let evaluation = match number % 3 {
            0 => format!("true; touch done/{name}"),
            1 => format!("sleep 0.02; touch done/{name}"),
            _ => format!("echo why >&2; ! touch done/{name}"),
        };
        product.scenario(&name, &evaluation)
    })
}

fn is_right(id: &str, passed: bool) -> bool {
    let number: usize = id.strip_prefix('s').unwrap().parse().unwrap();
    passed == (number % 3 != 2)
}

/// Returns the records of judgements that were not brought to their end.
fn records(product: &Product) -> Vec<PathBuf> {
    let Ok(dirs) = fs::read_dir(product.path("artifacts/factory/judgements")) else {
        return Vec::new();
    };
    dirs.map(|dir| dir.unwrap().path().join("results.jsonl")).filter(|path| path.exists()).collect()
}

/// Returns the scenarios whose whole lines a record holds, each of which has to be right.
fn recorded(path: &PathBuf) -> BTreeSet<String> {
    let text = fs::read_to_string(path).unwrap();
    let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
    let id_of = |line: &str| {
        let result: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        let id = result["id"].as_str().unwrap().to_owned();
        assert!(is_right(&id, result["passed"].as_bool().unwrap()), "{line}");
        id
    };
    // The first says what is to be judged.
    whole.lines().skip(1).map(id_of).collect()
}

/// Returns the ids of what the results tell of.
fn ids(product: &Product) -> BTreeSet<String> {
    let all = results(product);
    let ids = all["results"].as_array().unwrap().iter();
    ids.map(|one| one["id"].as_str().unwrap().to_owned()).collect()
}

/// Returns the names of what is in a directory.
fn names(dir: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(dir).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// Kills the runner after `moment`, and judges again.
fn kill_at(moment: Duration) {
    let product = thirty();
    let done = product.path("done");
    fs::create_dir(&done).unwrap();
    let mut running = product.start(runner(&product, &["--jobs", &JOBS.to_string()]));
    std::thread::sleep(moment);
    let was_over = running.child.try_wait().unwrap().is_some();
    // Seen before the kill: what ends later can't be in the record.
    let finished = names(&done);
    running.child.kill().unwrap();
    running.wait();
    let records = records(&product);
    if records.is_empty() {
        // It was killed before the first scenario, or after the results were there.
        assert!(finished.is_empty() || results(&product)["total"] == SCENARIOS, "{moment:?}");
    }
    for record in &records {
        let recorded = recorded(record);
        let lost: Vec<_> = finished.difference(&recorded).collect();
        assert!(lost.len() <= JOBS, "killed after {moment:?}, lost: {lost:?}");
    }
    assert!(records.len() <= usize::from(!was_over), "{records:?}");
    // Killed before it had said what is to be judged, it has left nothing to go on with.
    if let Some(record) =
        records.first().filter(|record| fs::read(record).unwrap().ends_with(b"\n"))
    {
        let passed = |id: &String| is_right(id, true);
        let known: BTreeSet<String> = recorded(record).into_iter().filter(passed).collect();
        run(&product, &["--failed", "--jobs", &JOBS.to_string()]).code(1);
        let judged: BTreeSet<String> = ids(&product);
        assert!(
            judged.is_disjoint(&known) && judged.len() + known.len() == SCENARIOS,
            "{judged:?}"
        );
    }
    run(&product, &["--jobs", &JOBS.to_string()]).code(1);
    let all = results(&product);
    assert_eq!((&all["passed"], &all["failed"]), (&20.into(), &10.into()));
    for one in all["results"].as_array().unwrap() {
        assert!(is_right(one["id"].as_str().unwrap(), one["passed"].as_bool().unwrap()), "{one}");
    }
}

/// Kills runners at `count` moments, spread over what a run takes and in a disorder that is always
/// the same.
fn kill_at_moments(count: u32) {
    let product = thirty();
    fs::create_dir(product.path("done")).unwrap();
    let began = std::time::Instant::now();
    run(&product, &["--jobs", &JOBS.to_string()]).code(1);
    let whole = began.elapsed();
    // Steps of the golden ratio cover a span evenly, however many there are.
    (1..=count).for_each(|step| kill_at(whole.mul_f64((f64::from(step) * 0.618_034).fract())));
}

#[test]
fn a_kill_at_any_moment_loses_no_more_than_what_was_running() {
    kill_at_moments(20);
}

#[test]
#[ignore = "takes minutes: cargo test --test it a_kill_at_two_hundred -- --ignored"]
fn a_kill_at_two_hundred_moments_loses_no_more_than_what_was_running() {
    kill_at_moments(200);
}

#[test]
fn a_terminal_that_is_held_up_costs_no_result() {
    let product = thirty();
    fs::create_dir(product.path("done")).unwrap();
    // Full, and never read: whoever writes to it waits, as at a terminal after Ctrl-S.
    let (reader, writer) = std::io::pipe().unwrap();
    let flags = rustix::fs::fcntl_getfl(&writer).unwrap();
    rustix::fs::fcntl_setfl(&writer, flags | rustix::fs::OFlags::NONBLOCK).unwrap();
    while (&writer).write(&[b' '; 4096]).is_ok() {}
    rustix::fs::fcntl_setfl(&writer, flags).unwrap();
    let mut child =
        runner(&product, &["--jobs", &JOBS.to_string()]).stdout(writer).spawn().unwrap();
    // Until nothing more is finished.
    let mut finished = BTreeSet::new();
    wait_until("it waits", || {
        std::thread::sleep(Duration::from_secs(1));
        let before = std::mem::replace(&mut finished, names(&product.path("done")));
        !finished.is_empty() && finished == before
    });
    child.kill().unwrap();
    child.wait().unwrap();
    drop(reader);
    let recorded = recorded(&records(&product)[0]);
    let lost: Vec<_> = finished.difference(&recorded).collect();
    assert!(lost.len() <= JOBS, "lost: {lost:?}");
}

#[test]
fn what_a_killed_runner_left_is_ended_by_the_next() {
    let product = Product::bare()
        .scenario("a", "setsid sleep 300 & touch a; sleep 300")
        .scenario("b", "trap '' TERM; touch b; sleep 300; true")
        .scenario("c", "echo c");
    let running = product.start(runner(&product, &["--jobs", "2"]));
    wait_until("both run", || product.path("a").exists() && product.path("b").exists());
    running.signal(Signal::KILL);
    running.wait();
    assert!(!product.processes().is_empty());
    run(&product, &["c"]).code(0);
    assert_eq!(result(&product, "c")["stdout"], "c\n");
}

#[test]
fn what_a_running_runner_has_is_no_business_of_another() {
    let product = Product::bare()
        .scenario("a", "setsid sleep 300 & stray=$!; touch a; until test -e go; do sleep 0.05; done; kill -0 $stray")
        .scenario("b", "true");
    let running = product.start(runner(&product, &["a"]));
    wait_until("it runs", || product.path("a").exists());
    let other = product.base().join("other.json");
    let mut command = runner(&product, &["b", "--output", other.to_str().unwrap()]);
    assert_eq!(command.output().unwrap().status.code(), Some(0));
    product.write("go", "");
    super::ends(&product, running).code(0);
}

/// Where the product of the runner that crashes lies.
const CRASHES: &str = "RUNNER_TEST_CRASHES";

#[test]
#[ignore = "is started by the test below"]
fn a_runner_that_crashes() {
    let Some(dir) = std::env::var_os(CRASHES).map(PathBuf::from) else { return };
    dark_factory::cli::exit::end_on_panic();
    let call = Call::new("bash", &dir).args(["-c", "touch begun; sleep 300; true"]);
    std::thread::scope(|scope| {
        scope.spawn(|| dark_factory::process::run(&call, &Cancel::never(), &mut |_, _| {}));
        wait_until("it runs", || dir.join("begun").exists());
        panic!("on purpose");
    });
}

#[test]
fn a_crash_ends_what_runs_and_is_the_factorys_own_failure() {
    let product = Product::bare();
    let mut command = product.clean(std::env::current_exe().unwrap().to_str().unwrap());
    command.env(CRASHES, product.root()).args([
        "a_runner_that_crashes",
        "--ignored",
        "--nocapture",
    ]);
    let ran = product.start(command).wait().code(3);
    assert!(ran.stderr.contains("error: the factory crashed, which is a bug"), "{}", ran.stderr);
    assert!(ran.stderr.contains("on purpose"), "{}", ran.stderr);
    wait_until("it is gone", || product.processes().is_empty());
}
