//! What scenarios leave running, and how they refuse to end: each kind alone, all at once, on a
//! busy machine, and for a user who is not root.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::process::{Child, Command};

use super::{RUN_SCENARIOS, result, results, run};
use crate::support::Product;

/// What a scenario does to its runner.
struct Nasty {
    name: &'static str,
    evaluation: &'static str,
    /// Whether it has to be ended at its time limit; else it is satisfied.
    hangs: bool,
    /// Whether it leaves something alive that the runner ends, and says so.
    leaks: bool,
    /// Whether it is found stopped at its limit.
    stopped: bool,
}

const fn leaks(name: &'static str, evaluation: &'static str) -> Nasty {
    Nasty { name, evaluation, hangs: false, leaks: true, stopped: false }
}

const fn hangs(name: &'static str, evaluation: &'static str) -> Nasty {
    Nasty { name, evaluation, hangs: true, leaks: false, stopped: false }
}

const BACKGROUND: Nasty = leaks("background", "sleep 300 & echo done");
const SETSID_LOUD: Nasty = leaks("setsid-loud", "setsid sleep 300 & sleep 0.1; echo done");
const SETSID_QUIET: Nasty = leaks("setsid-quiet", "setsid sleep 300 >/dev/null 2>&1 & sleep 0.1");
const NOHUP: Nasty = leaks("nohup", "nohup sleep 300 >/dev/null 2>&1 & sleep 0.1");
const DISOWN: Nasty = leaks("disown", "sleep 300 & disown; true");
const COPROC: Nasty = leaks("coproc", "coproc sleep 300; true");
const JOB_CONTROL: Nasty = leaks("job-control", "set -m; sleep 300 & true");
const STOPPED_CHILD: Nasty = leaks("stopped-child", "sleep 300 & kill -STOP $!; true");
const STOPPED_STRAY: Nasty =
    leaks("stopped-stray", "setsid bash -c 'kill -STOP $$; sleep 300' & sleep 0.1");
/// Its arguments alone tell that it is of this product.
const DAEMON: Nasty = leaks(
    "daemon",
    "(setsid bash -c 'cd /; (exec -a \"$0\" sleep 300) </dev/null >/dev/null 2>&1 &' \"$PWD\" &)
     sleep 0.2",
);
const UNMARKED: Nasty = leaks("unmarked", "env -i setsid sleep 300 >/dev/null 2>&1 & sleep 0.1");
const FORGED_MARK: Nasty =
    leaks("forged-mark", "DARK_FACTORY_CHILD=1.2.3 setsid sleep 300 >/dev/null 2>&1 & sleep 0.1");
/// Each makes a session of its own, starts the next and ends; the last one stays.
const CHAIN: Nasty = leaks(
    "chain",
    "export until=$((${EPOCHREALTIME/./} + 1000000))
     export link='if ((${EPOCHREALTIME/./} < until)); then setsid bash -c \"$link\" & else exec \
     sleep 300; fi'
     bash -c \"$link\"; true",
);

const HANG: Nasty = hangs("hang", "sleep 300; true");
const IGNORES_TERM: Nasty =
    hangs("ignores-term", "trap '' TERM; (while :; do sleep 0.05; done) & wait; wait");
const DEAF: Nasty = hangs(
    "deaf",
    "for signal in {1..64}; do trap '' $signal; done 2>/dev/null; while :; do sleep 0.05; done",
);
/// The leader ends in the grace, and what it started does not.
const DEAF_GRANDCHILD: Nasty =
    hangs("deaf-grandchild", "bash -c \"trap '' TERM; while :; do sleep 0.05; done\" & wait");
const HANGS_WITH_STRAY: Nasty =
    hangs("hangs-with-stray", "env -u DARK_FACTORY_CHILD setsid sleep 300 & wait");
const STOPS_ITSELF: Nasty = Nasty { stopped: true, ..hangs("stops-itself", "kill -STOP $$") };
const SPINS: Nasty = hangs("spins", "while :; do :; done");
const FLOODS: Nasty = hangs("floods", "yes");

const ALL: [&Nasty; 21] = [
    &BACKGROUND,
    &SETSID_LOUD,
    &SETSID_QUIET,
    &NOHUP,
    &DISOWN,
    &COPROC,
    &JOB_CONTROL,
    &STOPPED_CHILD,
    &STOPPED_STRAY,
    &DAEMON,
    &UNMARKED,
    &FORGED_MARK,
    &CHAIN,
    &HANG,
    &IGNORES_TERM,
    &DEAF,
    &DEAF_GRANDCHILD,
    &HANGS_WITH_STRAY,
    &STOPS_ITSELF,
    &SPINS,
    &FLOODS,
];

/// Fails unless the result of a nasty scenario is what it should be.
#[track_caller]
fn assert_result(product: &Product, nasty: &Nasty, limit: &str) {
    let Nasty { name, hangs, leaks, stopped, .. } = nasty;
    let result = result(product, name);
    let summary = if *hangs { format!("timed out after {limit}.0 s") } else { String::new() };
    let attempt = &result["attempts"][0];
    assert_eq!(
        (&result["error_summary"], &attempt["leaked"], &attempt["stopped"]),
        (&summary.into(), &(*leaks).into(), &(*stopped).into()),
        "{name}: {result}"
    );
}

/// Judges one nasty scenario, and then one that has nothing to do with it.
#[track_caller]
fn check(nasty: &Nasty) {
    let product = Product::bare().scenario(nasty.name, nasty.evaluation).scenario("zz", "echo z");
    run(&product, &["--timeout", "2"]).code(i32::from(nasty.hangs));
    assert_result(&product, nasty, "2");
    let next = result(&product, "zz");
    assert_eq!((&next["stdout"], &next["attempts"][0]["leaked"]), (&"z\n".into(), &false.into()));
}

fn all() -> Product {
    ALL.iter().fold(Product::bare(), |product, one| product.scenario(one.name, one.evaluation))
}

#[test]
fn a_background_child_that_holds_stdout_is_not_waited_for() {
    check(&BACKGROUND);
}

#[test]
fn a_session_of_its_own_that_holds_stdout_is_not_waited_for() {
    check(&SETSID_LOUD);
}

#[test]
fn a_quiet_session_of_its_own_is_ended() {
    check(&SETSID_QUIET);
}

#[test]
fn nohup_outlives_no_scenario() {
    check(&NOHUP);
}

#[test]
fn a_disowned_child_is_ended() {
    check(&DISOWN);
}

#[test]
fn a_coprocess_is_ended() {
    check(&COPROC);
}

#[test]
fn a_process_group_of_its_own_is_ended() {
    check(&JOB_CONTROL);
}

#[test]
fn a_stopped_child_is_ended() {
    check(&STOPPED_CHILD);
    check(&STOPPED_STRAY);
}

#[test]
fn a_daemon_is_ended() {
    check(&DAEMON);
}

#[test]
fn what_has_no_mark_or_another_is_ended() {
    check(&UNMARKED);
    check(&FORGED_MARK);
}

#[test]
fn a_chain_that_escapes_and_escapes_is_ended() {
    check(&CHAIN);
}

#[test]
fn what_hangs_is_ended_at_its_limit() {
    check(&HANG);
    check(&HANGS_WITH_STRAY);
}

#[test]
fn what_spins_or_floods_is_ended_at_its_limit() {
    check(&SPINS);
    check(&FLOODS);
}

#[test]
fn what_ignores_term_is_killed() {
    check(&IGNORES_TERM);
    check(&DEAF);
}

#[test]
fn what_ignores_term_is_killed_though_its_leader_heeds_it() {
    check(&DEAF_GRANDCHILD);
}

#[test]
fn what_stops_itself_is_ended_and_said_to_have_been_stopped() {
    check(&STOPS_ITSELF);
}

#[test]
fn what_has_no_mark_is_ended_where_several_run_at_a_time() {
    let product = Product::bare()
        .scenario("a", UNMARKED.evaluation)
        .scenario("b", "sleep 0.5")
        .scenario("c", UNMARKED.evaluation)
        .scenario("d", "sleep 0.5");
    run(&product, &["--jobs", "4"]).code(0);
}

#[test]
fn what_a_runner_inside_a_scenario_leaves_is_ended() {
    let inner = Product::bare().scenario("inner", "setsid sleep 300 & sleep 300");
    let kills_it = format!(
        "cd '{}'; {RUN_SCENARIOS} & sleep 1; kill -KILL $!; sleep 0.1",
        inner.root().display()
    );
    for jobs in ["1", "2"] {
        let outer = Product::bare().scenario("a", &kills_it).scenario("b", "sleep 2");
        run(&outer, &["--jobs", jobs]).code(0);
        inner.assert_nothing_alive();
    }
}

#[test]
fn strays_of_one_scenario_do_not_cost_another_its_own() {
    let product = Product::bare()
        .scenario("a", "setsid sleep 3 & stray=$!; sleep 2; kill -0 $stray")
        .scenario("b", SETSID_QUIET.evaluation)
        .scenario("c", UNMARKED.evaluation)
        .scenario("d", DAEMON.evaluation);
    run(&product, &["--jobs", "2"]).code(0);
}

/// Processes that keep the machine busy until they are dropped.
struct Load(Vec<Child>);

impl Load {
    fn begin() -> Self {
        let spin = || Command::new("bash").args(["-c", "while :; do :; done"]).spawn().unwrap();
        Self((0..4).map(|_| spin()).collect())
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[test]
fn all_at_once_on_a_busy_machine() {
    let product = all();
    let load = Load::begin();
    run(&product, &["--timeout", "4", "--jobs", "4"]).code(1);
    drop(load);
    for nasty in ALL {
        // While several run at a time nobody can tell whose these are.
        let unmarked = [UNMARKED.name, FORGED_MARK.name, HANGS_WITH_STRAY.name];
        if !unmarked.contains(&nasty.name) {
            assert_result(&product, nasty, "4");
        }
    }
}

#[test]
fn a_user_who_is_not_root_has_the_same() {
    if !rustix::process::getuid().is_root() {
        // Then the other tests have shown it.
        return;
    }
    const NOBODY: u32 = 65_534;
    let product = all();
    let binary = product.base().join("run-scenarios");
    fs::copy(RUN_SCENARIOS, &binary).unwrap();
    fs::set_permissions(product.base(), fs::Permissions::from_mode(0o755)).unwrap();
    for dir in ["product", "home", "state", "tmp"] {
        chown(product.base().join(dir), Some(NOBODY), Some(NOBODY)).unwrap();
    }
    let mut command = product.clean("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(binary);
    command.args(["--timeout", "2", "--jobs", "1"]);
    super::ends(&product, product.start(command)).code(1);
    ALL.iter().for_each(|nasty| assert_result(&product, nasty, "2"));
    assert_eq!(results(&product)["partial"], false);
}
