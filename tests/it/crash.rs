//! Crashes: `iterate` is killed at every event, at random moments, inside a turn and between a
//! turn's end and its record; `--resume` comes to the same end, and nothing is paid twice.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use dark_factory::id::Digest;
use rustix::process::Signal;
use serde_json::Value;

use crate::support::{Product, wait_until};

/// A product of three scenarios and a gate; its agent delivers with a drop, then nothing, then
/// what converges.
fn small() -> Product {
    Product::new()
        .file("words.txt", "one\n")
        .file("words.lock", "1\n")
        .scenario("a-one", "grep -q one words.txt")
        .scenario("b-two", "grep -q two words.txt")
        .scenario("c-three", "grep -q three out/words")
        .config(
            "prepare:\n  - name: deps\n    run: mkdir -p out; cp words.txt out/words\n    \
             inputs: [words.txt]\n    outputs: [out]\n\
             gates:\n  - {name: words, run: test -s words.txt}\n\
             satisfaction: {threshold: 1.0}\n\
             agent: {backend: replay, recording: ../recording}\n\
             budget: {max_iterations: 3}\n",
        )
        .turn(
            1,
            &[("words.txt", "one two\n"), ("scenarios/b-two.md", "none\n")],
            "say: first\nusage: {input_tokens: 10, output_tokens: 3, cost_usd: 0.25}\n",
        )
        .turn(
            2,
            &[],
            "say: nothing to do\nusage: {input_tokens: 20, output_tokens: 5, cost_usd: 0.5}\n",
        )
        .turn(
            3,
            &[("words.txt", "one two three\n")],
            "say: third\nusage: {input_tokens: 40, output_tokens: 7, cost_usd: 1.25}\n",
        )
        .committed()
}

/// What a run came to, without what differs from run to run.
#[derive(Debug, PartialEq, Eq)]
struct End {
    outcome: String,
    /// Iteration, gates and satisfied weight of each judgement.
    judgements: Vec<(u64, bool, String)>,
    /// Turn and kind of each delivery.
    deliveries: Vec<(u64, String)>,
    /// The files of the last candidate, without the factory's own.
    tree: BTreeMap<String, String>,
    /// How many agents were started that cost something, by the supervisors' records.
    starts: usize,
    /// What they say that they cost, in US dollars.
    paid: String,
}

fn end(product: &Product) -> End {
    let events = product.events();
    let last = events.last().unwrap();
    assert_eq!(last["event"], "run.finished");
    let judged: Vec<&Value> = events.iter().filter(|e| e["event"] == "candidate.judged").collect();
    let commit = judged.last().unwrap()["data"]["commit"].as_str().unwrap();
    let tree = product
        .git(&["ls-tree", "-r", commit])
        .lines()
        .filter_map(|line| line.split_once('\t'))
        .filter(|(_, path)| !path.starts_with("artifacts/factory/"))
        .map(|(what, path)| (path.to_owned(), what.to_owned()))
        .collect();
    End {
        outcome: last["data"]["outcome"].as_str().unwrap().to_owned(),
        judgements: judged
            .iter()
            .map(|event| {
                let data = &event["data"];
                (
                    event["iteration"].as_u64().unwrap(),
                    data["gates_passed"].as_bool().unwrap(),
                    data["satisfaction"].to_string(),
                )
            })
            .collect(),
        deliveries: events
            .iter()
            .filter(|event| event["event"].as_str().unwrap().starts_with("delivery."))
            .map(|event| {
                let name = event["event"].as_str().unwrap().to_owned();
                (event["data"]["turn"].as_u64().unwrap(), name)
            })
            .collect(),
        tree,
        starts: records(product).len(),
        paid: events
            .iter()
            .filter_map(|event| event["data"]["usage"]["cost_usd"].as_f64())
            .sum::<f64>()
            .to_string(),
    }
}

/// Returns the directories of the turns whose agent's start was recorded.
fn records(product: &Product) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(product.run_state().join("turns")) else { return Vec::new() };
    let mut found: Vec<PathBuf> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.join("started.json").exists())
        .collect();
    found.sort();
    found
}

/// Fails unless each line of the journal holds the digest of the one before it.
#[track_caller]
fn assert_chain(product: &Product) {
    let run = product.runs().pop().unwrap();
    let text = fs::read_to_string(run.join("events.jsonl")).unwrap();
    let mut prev = Value::Null;
    for (index, line) in text.lines().enumerate() {
        let event: Value = serde_json::from_str(line).unwrap();
        assert_eq!(event["seq"], index as u64 + 1, "{line}");
        assert_eq!(event["prev"], prev, "{line}");
        prev = Digest::of(line.as_bytes()).as_str().into();
    }
    assert!(text.ends_with('\n'));
}

/// Fails unless the ledger has each turn once, and says of each attempt that was cut, and of no other, that
/// nobody knows what it cost.
#[track_caller]
fn assert_ledger(product: &Product) {
    let events = product.events();
    let of = |name: &str| events.iter().filter(|event| event["event"] == name).count() as u64;
    let paid: f64 = events
        .iter()
        .filter(|event| event["event"] == "agent.finished")
        .filter_map(|event| event["data"]["usage"]["cost_usd"].as_f64())
        .sum();
    let told = product.factory(&["usage", "--json"]).code(0).stdout;
    let told: Value = serde_json::from_str(&told).unwrap();
    let total = &told["total"];
    assert_eq!(
        (&total["attempts"], &total["cost_usd"]),
        (&of("agent.started").into(), &paid.into())
    );
    let silent = events.iter().any(|event| {
        event["event"] == "agent.finished" && event["data"]["usage"]["cost_usd"].is_null()
    });
    if !silent {
        assert_eq!(total["unknown_cost"], of("agent.started") - of("agent.finished"));
    }
}

/// Fails if a turn that had ended was begun again.
#[track_caller]
fn assert_paid_once(product: &Product) {
    let mut ended = Vec::new();
    for event in product.events() {
        let turn = event["data"]["turn"].clone();
        match event["event"].as_str().unwrap() {
            "agent.started" => assert!(!ended.contains(&turn), "turn {turn} is paid again"),
            "agent.finished" => ended.push(turn),
            _ => {}
        }
    }
}

/// Fails if a run left anything behind that it should not, or touched what it should not.
#[track_caller]
fn assert_sound(product: &Product, before: &BTreeMap<PathBuf, String>) {
    product.assert_nothing_alive();
    product.assert_untouched(before);
    assert_chain(product);
    assert_paid_once(product);
    assert_ledger(product);
    product.factory(&["verify"]).code(0);
}

/// Runs `case` for each of `cases` on two threads, and fails with the first that failed.
pub(crate) fn each<T: Send>(cases: impl IntoIterator<Item = T>, case: impl Fn(T) + Sync) {
    let queue = Mutex::new(cases.into_iter().collect::<Vec<_>>().into_iter());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().unwrap().next();
                    match next {
                        Some(one) => case(one),
                        None => break,
                    }
                }
            });
        }
    });
}

/// Kills `iterate` right after the event `number` and lets `--resume` go on to the end.
fn check_killed_after(make: fn() -> Product, number: u64, whole: &End, last: u64) {
    let product = make();
    let before = product.checkout();
    let die = number.to_string();
    let killed = product.iterate_with(&[], &[("DARK_FACTORY_TEST_DIE_AFTER", &die)]);
    assert_eq!(killed.code, -9, "event {number}: {}{}", killed.stdout, killed.stderr);
    assert_eq!(product.events().len() as u64, number);
    let resumed = product.iterate(&["--resume"]);
    if number == last {
        resumed.code(2).says("has ended as `converged`");
    } else {
        assert_eq!(resumed.code, 0, "event {number}: {}{}", resumed.stdout, resumed.stderr);
    }
    assert_eq!(&end(&product), whole, "killed after event {number}");
    assert_sound(&product, &before);
}

fn check_killed_after_each(make: fn() -> Product, step: usize) {
    let product = make();
    product.iterate(&[]).code(0);
    let (whole, last) = (end(&product), product.events().len() as u64);
    each((1..=last).step_by(step), |number| check_killed_after(make, number, &whole, last));
}

#[test]
fn a_run_killed_after_any_event_comes_to_the_same_end() {
    check_killed_after_each(small, 1);
}

/// The demo's product, its agent without pauses.
fn hasty_tally() -> Product {
    let product = Product::tally();
    for entry in fs::read_dir(product.recording()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            let text = fs::read_to_string(&path).unwrap();
            let hasty: Vec<&str> = text.lines().filter(|l| !l.starts_with("sleep:")).collect();
            fs::write(&path, hasty.join("\n")).unwrap();
        }
    }
    product
}

#[test]
fn the_demo_killed_after_every_31st_event_comes_to_the_same_end() {
    check_killed_after_each(hasty_tally, 31);
}

#[test]
#[ignore = "takes ten minutes; the small product goes through the same events"]
fn the_demo_killed_after_any_event_comes_to_the_same_end() {
    check_killed_after_each(hasty_tally, 1);
}

#[test]
fn a_run_killed_again_and_again_comes_to_the_same_end() {
    let whole = small();
    whole.iterate(&[]).code(0);
    let product = small();
    let before = product.checkout();
    let mut args: &[&str] = &[];
    for kills in 1.. {
        // One event says that the run goes on, and a turn takes four.
        let die = if kills == 1 { 6 } else { product.events().len() + 6 }.to_string();
        let ran = product.iterate_with(args, &[("DARK_FACTORY_TEST_DIE_AFTER", &die)]);
        args = &["--resume"];
        if ran.code != -9 {
            ran.code(0);
            break;
        }
        assert!(kills < 100, "it never ends");
    }
    assert_eq!(end(&product), end(&whole));
    assert_sound(&product, &before);
}

#[test]
fn a_run_killed_at_any_moment_comes_to_the_same_end() {
    let whole = small();
    let began = Instant::now();
    whole.iterate(&[]).code(0);
    let (lasts, whole) = (began.elapsed(), end(&whole));
    each(0..20_u32, |moment| {
        let product = small();
        let before = product.checkout();
        let mut running = product.start_iterate(&[], &[]);
        std::thread::sleep(lasts * moment / 20 + Duration::from_millis(7));
        // It may have ended by itself.
        let _ = running.child.kill();
        let killed = running.wait();
        if product.runs().is_empty()
            || product.runs()[0].join("events.jsonl").metadata().map_or(0, |m| m.len()) == 0
        {
            product.iterate(&[]).code(0);
        } else if killed.code != 0 {
            let resumed = product.iterate(&["--resume"]);
            if product.events_named("run.resumed").is_empty() {
                resumed.code(2).says("has ended as `converged`");
            } else {
                resumed.code(0);
            }
        }
        let now = end(&product);
        let cut_short = product.events_named("agent.interrupted").len();
        let starts = now.starts;
        assert_eq!(End { starts: whole.starts, ..now }, whole, "killed at moment {moment}");
        assert!(starts <= whole.starts + cut_short, "{starts} starts, {cut_short} cut short");
        assert_sound(&product, &before);
    });
}

#[test]
fn a_run_whose_journal_was_cut_in_the_middle_of_a_line_goes_on() {
    let product = small();
    let before = product.checkout();
    let killed = product.iterate_with(&[], &[("DARK_FACTORY_TEST_DIE_AFTER", "20")]);
    assert_eq!(killed.code, -9);
    let journal = product.runs()[0].join("events.jsonl");
    let text = fs::read_to_string(&journal).unwrap();
    fs::write(&journal, &text[..text.len() - 30]).unwrap();
    product.iterate(&["--resume"]).code(0);
    assert_sound(&product, &before);
}

#[test]
fn a_supervisor_that_dies_before_the_turns_end_is_recorded_costs_one_more_turn() {
    for point in ["after-started-record", "before-ended-record"] {
        let product = small();
        let before = product.checkout();
        let died = product.iterate_with(&[], &[("DARK_FACTORY_TEST_SUPERVISOR_DIES", point)]);
        let died = died.code(3);
        assert!(died.stderr.contains("supervisor"), "{}", died.stderr);
        product.assert_nothing_alive();
        product.iterate(&["--resume"]).code(0);
        let cut_short = product.events_named("agent.interrupted");
        assert_eq!(cut_short.len(), 1, "{point}");
        assert_eq!(records(&product).len(), 4, "{point}");
        if point == "before-ended-record" {
            assert!(product.blob(&cut_short[0]["data"]["diff"]).contains("+one two"));
        }
        assert_sound(&product, &before);
    }
}

#[test]
fn a_supervisor_that_dies_after_the_turns_end_is_recorded_costs_nothing() {
    let product = small();
    let before = product.checkout();
    let point = [("DARK_FACTORY_TEST_SUPERVISOR_DIES", "after-ended-record")];
    product.iterate_with(&[], &point).code(0);
    assert_eq!(records(&product).len(), 3);
    assert_sound(&product, &before);
}

/// A product whose agent writes a file, starts a process in a session of its own, and then takes
/// as long as `slow` lies beside the product. Each start adds a line to `starts`.
fn long_turn() -> Product {
    let product = Product::new();
    let base = product.base().display().to_string();
    fs::write(product.base().join("slow"), "").unwrap();
    fs::write(
        product.base().join("agent.sh"),
        format!(
            "echo start >> {base}/starts\n\
             printf 'one two\\n' > words.txt\n\
             if [ -e {base}/slow ]; then\n\
             setsid sleep 300 &\n\
             echo \"$!\" > {base}/grandchild\n\
             sleep 300\nfi\n"
        ),
    )
    .unwrap();
    product
        .file("words.txt", "one\n")
        .scenario("one", "grep -q one words.txt")
        .scenario("two", "grep -q two words.txt")
        .config(&format!(
            "satisfaction: {{threshold: 1.0}}\n\
             agent: {{backend: command, command: [bash, {base}/agent.sh]}}\n"
        ))
        .committed()
}

fn in_the_turn(product: &Product) -> bool {
    product.base().join("grandchild").metadata().is_ok_and(|file| file.len() > 0)
}

/// Fails unless the cut-short turn was recorded, its change kept, and the turn taken once more.
#[track_caller]
fn assert_taken_again(product: &Product) {
    let cut_short = product.events_named("agent.interrupted");
    assert_eq!(cut_short.len(), 1);
    let diff = product.blob(&cut_short[0]["data"]["diff"]);
    assert!(diff.contains("-one\n+one two"), "{diff}");
    let starts: Vec<_> = product
        .events_named("agent.started")
        .iter()
        .map(|event| (event["data"]["turn"].clone(), event["data"]["attempt"].clone()))
        .collect();
    assert_eq!(starts, [(1.into(), 1.into()), (1.into(), 2.into())]);
    let counted = fs::read_to_string(product.base().join("starts")).unwrap();
    assert_eq!(counted.lines().count(), 2);
}

#[test]
fn a_turn_whose_factory_was_killed_is_interrupted_and_taken_again() {
    let product = long_turn();
    let before = product.checkout();
    let mut running = product.start_iterate(&[], &[]);
    wait_until("the agent is in its turn", || in_the_turn(&product));
    running.child.kill().unwrap();
    running.wait().code(-9);
    fs::remove_file(product.base().join("slow")).unwrap();
    let resumed = product.iterate(&["--resume", "--github"]).code(0);
    resumed.says("The factory died during it");
    assert_taken_again(&product);
    assert_sound(&product, &before);
}

#[test]
fn survivors_of_a_killed_factory_and_supervisor_are_ended_first() {
    let product = long_turn();
    let before = product.checkout();
    let mut running = product.start_iterate(&[], &[]);
    wait_until("the agent is in its turn", || in_the_turn(&product));
    let started = fs::read_to_string(records(&product)[0].join("started.json")).unwrap();
    let started: Value = serde_json::from_str(&started).unwrap();
    let supervisor = i32::try_from(started["pid"].as_i64().unwrap()).unwrap();
    running.child.kill().unwrap();
    let supervisor = rustix::process::Pid::from_raw(supervisor).unwrap();
    rustix::process::kill_process(supervisor, Signal::KILL).unwrap();
    running.wait().code(-9);
    let alive = product.processes();
    assert!(alive.iter().any(|one| one.contains("sleep")), "no survivor to find: {alive:?}");
    fs::remove_file(product.base().join("slow")).unwrap();
    product.iterate(&["--resume"]).code(0);
    assert_taken_again(&product);
    let ended = &product.events_named("agent.interrupted")[0]["data"]["ended_processes"];
    assert!(ended.as_u64().unwrap() >= 2, "{ended}");
    assert_sound(&product, &before);
}

#[test]
fn a_turn_that_ended_before_the_factory_could_say_so_is_not_paid_again() {
    let product = Product::new();
    let base = product.base().display().to_string();
    fs::write(product.base().join("slow"), "").unwrap();
    let script = format!(
        "echo start >> {base}/starts\nwhile [ -e {base}/slow ]; do sleep 0.05; done\n\
         echo two >> words.txt\n"
    );
    fs::write(product.base().join("agent.sh"), script).unwrap();
    let product = product
        .file("words.txt", "one\n")
        .scenario("two", "grep -q two words.txt")
        .config(&format!("agent: {{backend: command, command: [bash, {base}/agent.sh]}}\n"))
        .committed();
    let before = product.checkout();
    let starts = product.base().join("starts");
    let mut running = product.start_iterate(&[], &[]);
    wait_until("the agent is in its turn", || starts.exists());
    running.signal(Signal::STOP);
    fs::remove_file(product.base().join("slow")).unwrap();
    let record = product.run_state().join("turns/1-1/ended.json");
    wait_until("the supervisor has recorded the end", || record.exists());
    running.child.kill().unwrap();
    running.wait().code(-9);
    assert!(product.events_named("agent.finished").is_empty());
    product.iterate(&["--resume"]).code(0);
    assert_eq!(fs::read_to_string(starts).unwrap(), "start\n");
    assert_eq!(product.events_named("agent.finished").len(), 1);
    assert!(product.events_named("agent.interrupted").is_empty());
    assert_sound(&product, &before);
}

#[test]
fn a_signal_in_a_turn_ends_the_agent_and_the_turn_is_taken_again() {
    for (signal, code, args, says) in [
        (Signal::INT, 130, &[][..], "iterate --resume"),
        (Signal::INT, 130, &["--github"], "The factory was interrupted by INT during it"),
        (Signal::TERM, 143, &["--github"], "The factory was interrupted by TERM during it"),
    ] {
        let product = long_turn();
        let before = product.checkout();
        let running = product.start_iterate(args, &[]);
        wait_until("the agent is in its turn", || in_the_turn(&product));
        running.signal(signal);
        let ran = running.wait().code(code).says(says);
        assert!(!ran.stdout.contains("died"), "{}", ran.stdout);
        assert_eq!(product.events_named("agent.interrupted")[0]["data"]["exit"], code);
        assert_sound(&product, &before);
        fs::remove_file(product.base().join("slow")).unwrap();
        product.iterate(&["--resume"]).code(0);
        assert_taken_again(&product);
        assert_sound(&product, &before);
    }
}

#[test]
fn a_signal_to_all_processes_at_once_is_an_interrupt_and_no_crash() {
    let product = long_turn();
    let before = product.checkout();
    let running = product.start_iterate(&[], &[]);
    wait_until("the agent is in its turn", || in_the_turn(&product));
    // As a service is stopped. First the agent, so that its end is seen before the others hear of it.
    let id = |one: &String| one.split(':').next()?.parse().ok();
    let mut all: Vec<i32> = product.processes().iter().filter_map(id).collect();
    all.sort_unstable_by(|one, other| other.cmp(one));
    for id in all.into_iter().filter_map(rustix::process::Pid::from_raw) {
        let _ = rustix::process::kill_process(id, Signal::TERM);
    }
    running.wait().code(143).says("interrupted by TERM, what it cost is not known");
    product.assert_nothing_alive();
    fs::remove_file(product.base().join("slow")).unwrap();
    product.iterate(&["--resume"]).code(0);
    assert_taken_again(&product);
    assert_sound(&product, &before);
}

/// A product that takes its time in `place` (`gate` or `scenario`) as long as `slow` lies beside
/// it, and leaves `there` once it is there.
fn slow_in(place: &str) -> Product {
    let product = Product::new();
    let base = product.base().display().to_string();
    fs::write(product.base().join("slow"), "").unwrap();
    let wait = format!("[ ! -e {base}/slow ] || {{ sleep 300 & echo > {base}/there; wait; }}");
    let (gate, scenario) =
        if place == "gate" { (wait.as_str(), "true") } else { ("true", wait.as_str()) };
    product
        .scenario("a-quick", &format!("echo once >> {base}/judged"))
        .scenario("b-slow", scenario)
        .config(&format!(
            "gates:\n  - {{name: quick, run: \"true\"}}\n  - name: slow\n    run: '{gate}'\n\
             satisfaction: {{threshold: 1.0}}\nagent: {{backend: replay, recording: ../recording}}\n"
        ))
        .turn(1, &[], "")
        .committed()
}

fn check_signal_in(place: &str, signal: Signal, code: i32) {
    let product = slow_in(place);
    let before = product.checkout();
    let running = product.start_iterate(&[], &[]);
    wait_until("it is there", || product.base().join("there").exists());
    running.signal(signal);
    running.wait().code(code).says("iterate --resume");
    product.assert_nothing_alive();
    assert_eq!(product.events().last().unwrap()["event"], "run.interrupted");
    if place == "scenario" {
        let results: Value =
            serde_json::from_str(&product.read("artifacts/factory/scenario_results.json")).unwrap();
        assert_eq!(results["passed"], 1, "what was judged is kept: {results}");
    }
    fs::remove_file(product.base().join("slow")).unwrap();
    product.iterate(&["--resume"]).code(0);
    let judged = fs::read_to_string(product.base().join("judged")).unwrap();
    assert_eq!(judged, "once\n", "what was judged is not judged again");
    let gates = product.events_named("gate.finished");
    assert_eq!(gates.len(), 2, "what had passed is not run again");
    assert_sound(&product, &before);
}

#[test]
fn a_signal_in_a_gate_keeps_the_gates_that_are_through() {
    check_signal_in("gate", Signal::INT, 130);
    check_signal_in("gate", Signal::TERM, 143);
}

#[test]
fn a_signal_in_a_scenario_keeps_the_verdicts() {
    check_signal_in("scenario", Signal::INT, 130);
    check_signal_in("scenario", Signal::TERM, 143);
}

#[test]
fn what_a_killed_factory_was_judging_does_not_run_beside_the_resumed_judgement() {
    for place in ["gate", "scenario"] {
        let product = slow_in(place);
        let before = product.checkout();
        let mut running = product.start_iterate(&[], &[]);
        wait_until("it is there", || product.base().join("there").exists());
        running.child.kill().unwrap();
        running.wait().code(-9);
        fs::remove_file(product.base().join("slow")).unwrap();
        product.iterate(&["--resume"]).code(0);
        assert_sound(&product, &before);
    }
}
