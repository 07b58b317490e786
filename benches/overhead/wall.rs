//! What the tier `sandbox` costs: for each evaluation, for the start of an agent, and the search for the
//! exam that each turn's receipt is made of, and what an agent brings back.

use std::fs;
use std::path::Path;
use std::time::Duration;

use dark_factory::event::RunEvent;
use dark_factory::journal::{RunsDir, read_summary};
use dark_factory::judge::discover;
use dark_factory::process::{Call, Cancel, Variables, run};
use dark_factory::scenario::Holdout;
use dark_factory::wall::confine::{Confined, Network, View, Wanted, hand_over, strongest};

use super::figures::{Spread, Table, median_of, run as run_to_end, time};
use super::floor::Floor;
use super::repository::{FILES, Product, path_of, scenario};

/// How many evaluations do nothing, and how often they are run.
const MANY: usize = 200;
const ROUNDS: usize = 5;
/// How often a program is started.
const STARTS: usize = 50;

/// How many files a delivery has: as many as are accepted.
const DELIVERED: usize = 500;

/// Measures it.
pub(crate) fn measure() {
    evaluations();
    starts();
    delivery();
    search();
}

/// What is added to each evaluation, its own time taken away.
fn evaluations() {
    let Some(floor) = Floor::compile() else {
        println!("\nwall: evaluations left out: `cc` does not compile what measures");
        return;
    };
    let product = Product::new();
    for number in 0..MANY {
        let text = scenario(&format!("Case {number}"), "true");
        product.write(&format!("scenarios/{number:05}.md"), &text);
    }
    let cost = |jobs: usize, tier: &str| {
        let program = env!("CARGO_BIN_EXE_run-scenarios");
        let mut command = product.prepared(floor.measured(program));
        command.args(["--quiet", "--isolation", tier, "--jobs", &jobs.to_string()]);
        floor.cost(command)
    };
    cost(1, "sandbox");
    println!("\nwall: {MANY} evaluations of `true`; medians of {ROUNDS} rounds in turns");
    for jobs in [1, 2] {
        let pairs: Vec<_> =
            (0..ROUNDS).map(|_| (cost(jobs, "sandbox"), cost(jobs, "copy"))).collect();
        let more = |pick: fn(&super::floor::Cost) -> Duration| {
            Spread::of(pairs.iter().map(|(confined, open)| {
                (pick(confined).as_secs_f64() - pick(open).as_secs_f64()) * 1e3 / MANY as f64
            }))
            .middle
        };
        println!(
            "  {:<52} wall {:>5.2} ms more each (aim 5), CPU {:>5.2} ms",
            format!("confined, {jobs} at a time"),
            more(|cost| cost.wall),
            more(|cost| cost.cpu)
        );
    }
}

/// What an agent's start takes in its view, beside the same without one.
fn starts() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    for name in ["state", "tree", "home", "tmp"] {
        fs::create_dir(path(name)).unwrap();
    }
    let launcher = Path::new(env!("CARGO_BIN_EXE_factory"));
    let env = Variables::from([("PATH".into(), "/usr/local/bin:/usr/bin:/bin".into())]);
    let chosen = match strongest(&path("state"), launcher, &env, &[]) {
        Ok(chosen) => chosen,
        Err(none) => {
            println!("\nwall: starts left out: {none}");
            return;
        }
    };
    let write = [path("tree"), path("home"), path("tmp")];
    if let Some(user) = chosen.user() {
        write.iter().for_each(|path| hand_over(path, user).unwrap());
    }
    let view = View::of(&Wanted {
        env: &env,
        home: None,
        secret: &[path("state")],
        read: &[],
        stores: &[],
        handed: &[],
        tree: None,
        write: &write,
        devices: &[],
    });
    let confined = Confined::begin(&path("state"), launcher, &chosen, view).unwrap();
    let confined = confined.on(Network::Own).showing(&path("tmp"), Path::new("/tmp"));
    let call = || Call::new("true", path("tree")).env(env.clone());
    let start = |call: &Call| run(call, &Cancel::never(), &mut |_, _| {});
    let open = median_of(STARTS, || start(&call()));
    let kept = median_of(STARTS, || start(&confined.wrap(call()).unwrap()));
    let table = Table::new(
        &format!("wall: the start of a program by step `{}`", chosen.step),
        &[("the same, not confined", open)],
    );
    table.line("confined (aim: 10 ms more)", kept);
}

/// What it takes to look through, accept and commit what an agent brings back.
fn delivery() {
    let product = Product::new();
    product.write(
        "dark-factory.yaml",
        "satisfaction: {threshold: 1.0}\nbudget: {max_iterations: 1}\nagent: {backend: replay, recording: ../recording}\n",
    );
    product.write("scenarios/one.md", &scenario("One", "test -e file499.txt"));
    for file in 0..DELIVERED {
        product.write(
            &format!("../recording/turn-1/file{file}.txt"),
            &format!("{file}\n").repeat(100),
        );
    }
    product.commit();
    run_to_end(&mut product.factory(env!("CARGO_BIN_EXE_iterate")), &[0]);
    let runs = RunsDir::of(&product.root());
    let (_, events) = read_summary(&runs.run(&runs.find(None).unwrap()), false).unwrap();
    let at = |is: fn(&RunEvent) -> bool| {
        events.iter().find(|envelope| is(&envelope.event)).map(|envelope| envelope.time).unwrap()
    };
    let finished = at(|event| matches!(event, RunEvent::AgentFinished { .. }));
    let accepted = at(|event| matches!(event, RunEvent::DeliveryAccepted { .. }));
    let copied = time(|| {
        let from = product.beside("recording/turn-1");
        run_to_end(
            std::process::Command::new("cp").arg("-r").arg(from).arg(product.beside("copy")),
            &[0],
        );
    });
    let table = Table::new(&format!("wall: a delivery of {DELIVERED} files"), &[("cp -r", copied)]);
    table.line("looked through, searched, accepted and committed", accepted.since(finished));
}

/// The search of every file of a large workspace, beside reading them.
fn search() {
    let product = Product::large();
    let long = "# no copy of this evaluation may be left in what the agent is given to read";
    product.write("scenarios/one.md", &scenario("One", &format!("true {long}")));
    let holdout = Holdout::of(&discover(&product.root(), "scenarios").unwrap());
    let files: Vec<_> = (0..FILES).map(|file| product.root().join(path_of(file))).collect();
    let read = || files.iter().map(|file| fs::read(file).unwrap().len()).sum::<usize>();
    read();
    let floor = time(read);
    let found =
        time(|| files.iter().filter_map(|file| holdout.find(&fs::read(file).unwrap())).count());
    let title =
        format!("wall: the exam looked for in {FILES} files, {:.0} MB", product.bytes as f64 / 1e6);
    let table = Table::new(&title, &[("reading them", floor)]);
    table.line("reading and searching", found);
}
