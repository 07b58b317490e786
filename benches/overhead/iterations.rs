//! The loop on a large repository: what an iteration costs beyond gates, scenarios and agent.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::{Duration, Instant};

use dark_factory::event::{Envelope, RunEvent};
use dark_factory::journal::{RunsDir, read_summary};

use super::figures::{Table, run, time};
use super::repository::{FILES, Product, path_of, remove, scenario};

/// How many turns the agent takes.
const TURNS: usize = 3;

/// Measures it.
pub(crate) fn measure() {
    let product = Product::large();
    set_up(&product);
    let (mut worktree, mut copy) = floors(&product);

    let began = Instant::now();
    // The second scenario is never satisfied, so that every turn is taken.
    run(&mut product.factory(env!("CARGO_BIN_EXE_iterate")), &[1]);
    let whole = began.elapsed();

    let again = floors(&product);
    worktree = worktree.min(again.0);
    copy = copy.min(again.1);

    let runs = RunsDir::of(&product.root());
    let id = runs.find(None).unwrap();
    let (_, events) = read_summary(&runs.run(&id), false).unwrap();
    let iterations = iterations(&events);
    assert_eq!(iterations.len(), TURNS + 1);

    let title = format!(
        "loop: {FILES} files of {:.0} MB, 1 gate, 2 scenarios, {TURNS} turns of one changed file",
        product.bytes as f64 / 1e6
    );
    let table = Table::new(&title, &[("git worktree add", worktree), ("cp -r", copy)]);
    let first = iterations[0].overhead();
    table.line("overhead of the first iteration", first);
    for (name, time) in &iterations[0].stages {
        table.part(name, *time);
    }
    let following = &iterations[1..TURNS];
    let mean = |times: &mut dyn Iterator<Item = Duration>| {
        times.sum::<Duration>() / u32::try_from(following.len()).unwrap()
    };
    let overhead = mean(&mut following.iter().map(Iteration::overhead));
    table.line("overhead of each following iteration, the mean", overhead);
    for name in iterations[0].stages.keys() {
        let of = |one: &Iteration| one.stages.get(name).copied().unwrap_or_default();
        table.part(name, mean(&mut following.iter().map(of)));
    }
    let last = iterations[TURNS].overhead();
    table.line("overhead of the last judgement", last);
    let walked: Duration = iterations.iter().map(|one| one.wall).sum();
    table.line("before the first and after the last event", whole.saturating_sub(walked));
}

fn set_up(product: &Product) {
    product.write(
        "dark-factory.yaml",
        &format!(
            "gates:\n  - name: gate\n    run: 'true'\nsatisfaction:\n  threshold: 1.0\n  \
             stalled_after: 9\nagent:\n  backend: replay\n  recording: ../recording\n\
             budget:\n  max_iterations: {TURNS}\n"
        ),
    );
    // Long enough that copies of them are searched for.
    let long = "# no copy of this evaluation may be left in what the agent is given to read";
    product.write("scenarios/one.md", &scenario("One", &format!("true {long}")));
    product.write("scenarios/two.md", &scenario("Two", &format!("false {long}, neither")));
    product.commit();
    for turn in 1..=TURNS {
        let path = format!("../recording/turn-{turn}/{}", path_of(turn * 10_000));
        product.write(&path, &format!("fn turn() -> u32 {{\n    {turn}\n}}\n"));
    }
}

/// Returns the seconds of `git worktree add` and of `cp -r` of what it made.
fn floors(product: &Product) -> (Duration, Duration) {
    let (tree, copy) = (product.beside("worktree"), product.beside("copy"));
    let added = time(|| {
        run(product.git().args(["worktree", "add", "--quiet", "--detach"]).arg(&tree), &[0]);
    });
    let copied = time(|| run(Command::new("cp").arg("-r").args([&tree, &copy]), &[0]));
    remove(&copy);
    run(product.git().args(["worktree", "remove", "--force"]).arg(&tree), &[0]);
    (added, copied)
}

/// The time of one iteration: from the set-up of its judgement to that of the next.
struct Iteration {
    wall: Duration,
    /// What the product and the agent took of it.
    theirs: Duration,
    /// What the factory took, by stage; the names sort in the order of the loop.
    stages: BTreeMap<&'static str, Duration>,
}

impl Iteration {
    fn overhead(&self) -> Duration {
        self.wall.saturating_sub(self.theirs)
    }
}

/// Splits a run at the set-ups of its judgements. The time between two events goes to what the
/// later one ends, less what that says the product or the agent took.
fn iterations(events: &[Envelope]) -> Vec<Iteration> {
    let mut all: Vec<Iteration> = Vec::new();
    for pair in events.windows(2) {
        let (before, after) = (&pair[0], &pair[1]);
        let node = after.node.as_ref().map(|node| node.as_str()).unwrap_or_default();
        let prepares = matches!(before.event, RunEvent::NodeStarted { .. })
            && before.node.as_ref().is_some_and(|node| node.as_str() == "prepare");
        if prepares || all.is_empty() {
            if !prepares {
                continue;
            }
            let (wall, theirs) = (Duration::ZERO, Duration::ZERO);
            all.push(Iteration { wall, theirs, stages: BTreeMap::new() });
        }
        let Some(iteration) = all.last_mut() else { continue };
        let wall = after.time.since(before.time);
        let (stage, theirs) = match &after.event {
            RunEvent::GateFinished { ms, .. } => ("2 gates, beside the gate", *ms),
            RunEvent::ScenarioJudged { ms, .. } => ("3 scenarios, beside their evaluation", *ms),
            RunEvent::AgentFinished { ms, .. } => ("6 agent, beside its turn", *ms),
            RunEvent::WorkspaceChecked { .. } => {
                ("5 workspace: sync, and search for the holdout", 0)
            }
            RunEvent::DeliveryAccepted { .. } => ("7 deliver: scan and commit", 0),
            _ => (
                match node {
                    "prepare" => "1 judge tree: sync",
                    "gates" => "2 gates, beside the gate",
                    "scenarios" => "3 scenarios, beside their evaluation",
                    "decide" | "feedback" => "4 decide and feedback",
                    "agent" => "6 agent, beside its turn",
                    "deliver" => "7 deliver: scan and commit",
                    _ => "8 the rest",
                },
                0,
            ),
        };
        let theirs = Duration::from_millis(theirs);
        iteration.wall += wall;
        iteration.theirs += theirs;
        *iteration.stages.entry(stage).or_default() += wall.saturating_sub(theirs);
    }
    all
}
