//! What `run-scenarios` costs beside the shells that it has to start, and beside other runners.
//!
//! Everything is measured by the same program, `floor.c`, and in turns, so that what else the
//! machine does falls on all: a ratio is the middle of the ratios of pairs. Targets stand beside
//! the figures and are not asserted.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt as _;
use std::process::Command;
use std::time::Duration;

use super::figures::{Spread, shown};
use super::floor::{Cost, Floor, Shell};
use super::peers;
use super::repository::{Product, scenario};

/// How many scenarios do nothing, and how often they are run.
const MANY: usize = 1_000;
const ROUNDS: usize = 7;
/// How many do nothing for a while, and for how long.
const SLEEPERS: usize = 200;
const SLEEP: Duration = Duration::from_millis(50);
/// How often what takes seconds is measured.
const FEW: usize = 3;
/// Where the published results lie.
const RESULTS: &str = "artifacts/factory/scenario_results.json";

/// The variable by which the runner knows what it started, and another of the same length.
const MARK: &str = "DARK_FACTORY_CHILD";
const NO_MARK: &str = "DARK_FACTORY_BENCH";

/// Measures it.
pub(crate) fn measure() {
    let Some(floor) = Floor::compile() else {
        println!("\nrunner: left out: its floor is a C program, and `cc` does not compile it");
        return;
    };
    doing_nothing(&floor);
    sleeping(&floor);
    printing(&floor);
    flooding(&floor);
}

/// Scenarios of `true`, beside the floor and other runners.
fn doing_nothing(floor: &Floor) {
    let (product, shell) = product_of(floor, (0..MANY).map(|_| "true"));
    let cost = |jobs: usize| {
        let ours = floor.cost(judge(floor, &product, jobs));
        (ours, floor.cost(floor.spawn(&shell, "true", MANY, jobs)))
    };
    cost(2);
    let rounds: Vec<_> = (0..ROUNDS).map(|_| [cost(1), cost(2)]).collect();
    println!(
        "\nrunner: {MANY} of `true`, each; medians of {ROUNDS} rounds in turns (lowest to highest)"
    );
    for (at, jobs) in [1, 2].into_iter().enumerate() {
        let pairs: Vec<_> = rounds.iter().map(|round| round[at]).collect();
        floor_line(&format!("floor: bash -c true, {jobs} at a time"), &pairs, MANY);
        // What one at a time takes is nobody's promise: a machine that is idle half of the time
        // slows down.
        let wall = (jobs == 2).then_some(1.1);
        line(&format!("run-scenarios --jobs {jobs}"), &pairs, MANY, [Some(1.1), wall]);
    }
    peers::measure(floor, &shell);
}

/// Scenarios that wait: what more jobs than cores are good for.
fn sleeping(floor: &Floor) {
    let script = format!("sleep {}", SLEEP.as_secs_f64());
    let (product, shell) = product_of(floor, (0..SLEEPERS).map(|_| &script));
    println!("\nrunner: {SLEEPERS} of `{script}`, medians of {FEW} rounds");
    for jobs in [1, 2, 16] {
        let ideal = SLEEP.as_secs_f64() * SLEEPERS.div_ceil(jobs) as f64;
        let spread = |command: &dyn Fn() -> Command| {
            Spread::of((0..FEW).map(|_| floor.cost(command()).wall.as_secs_f64() / ideal))
        };
        let least = spread(&|| floor.spawn(&shell, &script, SLEEPERS, jobs));
        let ours = spread(&|| judge(floor, &product, jobs));
        println!(
            "  {:<42} {:>9}   {}; the floor {:.2} x",
            format!("run-scenarios --jobs {jobs}"),
            shown(ours.middle * ideal),
            ours.times(&format!("the ideal {}", shown(ideal)), Some(1.1)),
            least.middle,
        );
    }
}

/// Many scenarios that print: the cost of each is that of few, and memory does not grow.
fn printing(floor: &Floor) {
    const TIMES: usize = 10;
    let script = "printf '%10000s'";
    let (few, _) = product_of(floor, (0..MANY).map(|_| script));
    let (many, _) = product_of(floor, (0..MANY * TIMES).map(|_| script));
    let rounds: Vec<_> = (0..FEW)
        .map(|_| (floor.cost(judge(floor, &many, 2)), floor.cost(judge(floor, &few, 2))))
        .collect();
    println!("\nrunner: {} that print 10 kB, two at a time, medians of {FEW} rounds", MANY * TIMES);
    let per = |one: Duration, number: usize| one.as_secs_f64() * 1e3 / number as f64;
    let pair = |name: &str, pick: fn(&Cost) -> Duration| {
        let each = Spread::of(rounds.iter().map(|(many, _)| per(pick(many), MANY * TIMES)));
        let ratio = Spread::of(
            rounds.iter().map(|(many, few)| per(pick(many), MANY * TIMES) / per(pick(few), MANY)),
        );
        let among = format!("that of each among {MANY}");
        println!("  {name:<42} {:>6.3} ms   {}", each.middle, ratio.times(&among, None));
    };
    pair("CPU of each", |cost| cost.cpu);
    pair("wall of each", |cost| cost.wall);
    memory(rounds.iter().map(|(many, _)| many), 64);
}

/// One scenario that prints as much as it can.
fn flooding(floor: &Floor) {
    for (what, script) in [
        ("zeros", "head -c 1000000000 /dev/zero"),
        ("text", "yes 'a line of output like any other' | head -c 1000000000"),
    ] {
        let (product, _) = product_of(floor, [script].into_iter());
        let rounds: Vec<_> = (0..ROUNDS)
            .map(|_| {
                let mut piped = floor.measured("bash");
                piped.args(["-c", &format!("{script} | cat >/dev/null")]);
                (floor.cost(judge(floor, &product, 1)), floor.cost(piped))
            })
            .collect();
        println!("\nrunner: one that prints 1 GB of {what}, medians of {ROUNDS} rounds in turns");
        let walls = rounds.iter().map(|(ours, _)| ours.wall.as_secs_f64());
        let ratio = rounds.iter().map(|(ours, piped)| ours.wall.div_duration_f64(piped.wall));
        println!(
            "  {:<42} {:>9}   {}",
            "run-scenarios",
            shown(Spread::of(walls).middle),
            Spread::of(ratio).times("piping it to cat >/dev/null", Some(2.0)),
        );
        memory(rounds.iter().map(|(ours, _)| ours), 20);
        let results = fs::metadata(product.root().join(RESULTS)).unwrap().len();
        println!("  {:<42} {:>6} kB   (target 1000)", "results", results.div_ceil(1_000));
    }
}

fn memory<'a>(costs: impl Iterator<Item = &'a Cost>, target: u64) {
    let peak = costs.map(|cost| cost.peak).max().unwrap_or(0);
    println!("  {:<42} {:>6.1} MB   (target {target})", "memory at its peak", peak as f64 / 1e6);
}

/// Prints what the floors of `pairs` took for each of `number`.
fn floor_line(name: &str, pairs: &[(Cost, Cost)], number: usize) {
    let each = |pick: fn(&Cost) -> Duration| {
        Spread::of(pairs.iter().map(|(_, floor)| pick(floor).as_secs_f64() * 1e3 / number as f64))
    };
    let (cpu, wall) = (each(|cost| cost.cpu).middle, each(|cost| cost.wall).middle);
    println!("  {name:<36} CPU {cpu:>7.3} ms {:<39} wall {wall:>7.3} ms", "");
}

/// Prints what each of `number` took in CPU and wall, beside the floor that was measured in the
/// same turn.
pub(crate) fn line(
    name: &str,
    pairs: &[(Cost, Cost)],
    number: usize,
    [cpu, wall]: [Option<f64>; 2],
) {
    let column = |pick: fn(&Cost) -> Duration, target: Option<f64>| {
        let each = pairs.iter().map(|(ours, _)| pick(ours).as_secs_f64() * 1e3 / number as f64);
        let ratio = pairs.iter().map(|(ours, floor)| pick(ours).div_duration_f64(pick(floor)));
        (Spread::of(each).middle, Spread::of(ratio).times("floor", target))
    };
    let (cpu, cpu_ratio) = column(|cost| cost.cpu, cpu);
    let (wall, wall_ratio) = column(|cost| cost.wall, wall);
    println!("  {name:<36} CPU {cpu:>7.3} ms {cpu_ratio:<39} wall {wall:>7.3} ms {wall_ratio}");
}

/// Returns a call of the runner, measured.
fn judge(floor: &Floor, product: &Product, jobs: usize) -> Command {
    let mut command = product.prepared(floor.measured(env!("CARGO_BIN_EXE_run-scenarios")));
    command.args(["--quiet", "--jobs", &jobs.to_string()]);
    command
}

/// Makes a product of scenarios with these evaluations, judges it once, and returns what the runner
/// gave to the shell of another.
fn product_of(
    floor: &Floor,
    evaluations: impl Iterator<Item = impl AsRef<str>>,
) -> (Product, Shell) {
    let product = Product::new();
    let given = product.beside("given");
    fs::create_dir(&given).unwrap();
    let place = given.display();
    // What bash was given, and not what it makes of it; `env` says that only nearly.
    let look = format!(
        "printf %s \"$BASH\" >{place}/bash\n\
         cat /proc/$$/environ >{place}/environment 2>/dev/null || env -0 >{place}/environment"
    );
    product.write("scenarios/look.md", &scenario("Look", &look));
    floor.cost(judge(floor, &product, 1));
    // As long, but no mark: a runner that begins elsewhere ends what bears that of a dead one.
    let environment = fs::read(given.join("environment")).unwrap();
    let environment = String::from_utf8(environment).unwrap().replace(MARK, NO_MARK);
    fs::write(given.join("environment"), environment).unwrap();
    fs::remove_file(product.root().join("scenarios/look.md")).unwrap();
    for (number, evaluation) in evaluations.enumerate() {
        let text = scenario(&format!("Case {number}"), evaluation.as_ref());
        product.write(&format!("scenarios/{number:05}.md"), &text);
    }
    let shell = Shell {
        bash: OsString::from_vec(fs::read(given.join("bash")).unwrap()),
        environment: given.join("environment"),
        root: product.root(),
    };
    (product, shell)
}
