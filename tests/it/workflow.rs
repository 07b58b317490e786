//! The workflow's own step, executed as the runner of GitHub Actions executes it, and signalled as it signals.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use serde_yaml::Value as Yaml;

use crate::support::{Product, Ran, Running};

/// Ends a step as the runner does: INT to its first process, TERM 7.5 s later, KILL 2.5 s after that.
fn cancel(mut running: Running) -> Ran {
    let patience = [Duration::from_millis(7_500), Duration::from_millis(2_500)];
    for (signal, patience) in [Signal::INT, Signal::TERM].into_iter().zip(patience) {
        running.signal(signal);
        let begun = Instant::now();
        while begun.elapsed() < patience {
            if running.child.try_wait().unwrap().is_some() {
                return running.wait();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    running.signal(Signal::KILL);
    running.wait()
}

fn workflow(name: &str) -> Yaml {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(".github/workflows").join(name);
    serde_yaml::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn steps(job: &Yaml) -> &Vec<Yaml> {
    job["steps"].as_sequence().unwrap()
}

/// A job with the product as its checkout and the factory unpacked.
struct Job {
    product: Product,
    temp: PathBuf,
}

impl Job {
    /// Makes one whose agent runs `turn`.
    fn new(turn: &str) -> Self {
        let product = Product::new().file("words.txt", "one\n");
        let temp = product.base().join("runner");
        fs::create_dir_all(temp.join("factory")).unwrap();
        let iterate = Path::new(env!("CARGO_BIN_EXE_iterate"));
        symlink(iterate, temp.join("factory/iterate")).unwrap();
        symlink(env!("CARGO_BIN_EXE_factory"), temp.join("factory/factory")).unwrap();
        let script = product.base().join("agent.sh");
        fs::write(&script, turn).unwrap();
        let agent = format!("bash, '{}', '{}'", script.display(), product.base().display());
        let product = product
            .config(&format!("agent: {{backend: command, command: [{agent}]}}\n"))
            .scenario("two", "grep two words.txt")
            .scenario("three", "grep three words.txt")
            .scenario("four", "grep four words.txt")
            .committed();
        Self { product, temp }
    }

    /// Starts the step that runs the loop.
    fn start(&self, threshold: &str) -> Running {
        let factory = workflow("factory.yaml");
        let step = steps(&factory["jobs"]["loop"]).iter().find(|step| step["id"] == "iterate");
        let file = self.temp.join("step.sh");
        fs::write(&file, step.unwrap()["run"].as_str().unwrap()).unwrap();
        // As the runner starts `shell: bash`.
        let mut command = self.product.clean("bash");
        command
            .args(["--noprofile", "--norc", "-eo", "pipefail"])
            .arg(&file)
            .env("CI", "true")
            .env("GITHUB_ACTIONS", "true")
            .env("GITHUB_OUTPUT", self.temp.join("output"))
            .env("GITHUB_STEP_SUMMARY", self.temp.join("summary"))
            .env("RUNNER_TEMP", &self.temp)
            .env("MAX_ITERATIONS", "5")
            .env("THRESHOLD", threshold)
            .env("AGENT", "command")
            .env("AGENT_KEY_NAME", "OPENAI_API_KEY")
            .env("OPENAI_API_KEY", "key");
        self.product.start(command)
    }

    /// Waits until the agent has said that it is there.
    fn wait_for(&self, name: &str) {
        let begun = Instant::now();
        while !self.product.base().join(name).exists() {
            assert!(begun.elapsed() < Duration::from_secs(60), "{name} never came");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn report(&self) -> Value {
        serde_json::from_slice(&fs::read(self.temp.join("run/report.json")).unwrap()).unwrap()
    }

    /// Publishes what the job left, but for what needs a network, in a checkout of the base alone.
    fn publish(&self) -> Ran {
        let clone = self.product.base().join("clone");
        let (from, to) = (self.product.root(), clone.display().to_string());
        let from = format!("file://{}", from.display());
        self.product.git(&["clone", "-q", "--single-branch", "-b", "main", &from, &to]);
        let run = self.temp.join("run");
        let mut command = self.product.clean(env!("CARGO_BIN_EXE_factory"));
        command
            .current_dir(clone)
            .args(["publish", "--dry-run", "--base", "main", "--bundle"])
            .arg(run.join("factory.bundle"))
            .arg("--report")
            .arg(run.join("report.json"));
        self.product.start(command).wait()
    }
}

/// Two turns that bring something, and a third that is long and does not care for signals.
const THREE_TURNS: &str = "\
if ! grep -q two words.txt; then echo two >> words.txt
elif ! grep -q three words.txt; then echo three >> words.txt
else trap '' INT TERM; echo $$ > $1/third.new; mv $1/third.new $1/third; sleep 300; sleep 300; fi
";

#[test]
fn a_job_that_is_cancelled_leaves_report_and_bundle_and_nothing_that_goes_on_paying() {
    let job = Job::new(THREE_TURNS);
    let running = job.start("1.0");
    job.wait_for("third");
    let ran = cancel(running).code(130);
    job.product.assert_nothing_alive();
    let report = job.report();
    assert_eq!((&report["state"], &report["outcome"]), (&"interrupted".into(), &report["state"]));
    assert_eq!((&report["best"]["iteration"], &report["turns_taken"]), (&2.into(), &2.into()));
    let output = fs::read_to_string(job.temp.join("output")).unwrap();
    assert!(output.ends_with("\n") && output.contains("interrupted"), "{output}");
    assert!(fs::read_to_string(job.temp.join("summary")).unwrap().contains("Interrupted"));
    assert!(ran.stdout.contains("::group::iteration 2"), "{}", ran.stdout);
    let best = report["best"]["commit"].as_str().unwrap();
    job.publish().code(0).says(&format!("would push {best} to {}", job.product.branch()));
}

#[test]
fn a_job_that_is_killed_leaves_what_was_judged_before() {
    let job = Job::new(THREE_TURNS);
    let running = job.start("1.0");
    job.wait_for("third");
    running.signal(Signal::KILL);
    running.wait().code(-9);
    let report = job.report();
    assert_eq!((&report["state"], &report["outcome"]), (&"active".into(), &Value::Null));
    let best = report["best"]["commit"].as_str().unwrap();
    assert_eq!(report["best"]["iteration"], 2);
    let output = fs::read_to_string(job.temp.join("output")).unwrap();
    let last = output.rsplit("final_score<<").next().unwrap();
    assert!(last.contains("\n0.66\n"), "{output}");
    let published = job.publish().code(0);
    published.says(&format!("would push {best} to")).says("Dark Factory: interrupted at 0.66");
}

#[test]
fn what_keeps_a_run_from_beginning_stands_on_the_page() {
    let job = Job::new("true");
    let ran = job.start("7").wait().code(2);
    ran.says(
        "::error title=The factory can't do that::invalid value '7' for '--threshold <SCORE>'",
    );
    fs::remove_dir_all(job.product.path("scenarios")).unwrap();
    job.product.commit("Without scenarios");
    job.start("1.0").wait().says("::error title=The factory can't do that::");
    job.product.write("dark-factory.yaml", "gates: 7\n");
    job.product.commit("With a mistake");
    job.start("1.0").wait().code(2).says("::error file=dark-factory.yaml,line=1,");
}

#[test]
fn the_run_ends_before_its_step_and_the_step_before_its_job() {
    let factory = workflow("factory.yaml");
    let job = &factory["jobs"]["loop"];
    let limit = |of: &Yaml| of["timeout-minutes"].as_u64();
    let at = steps(job).iter().position(|step| step["id"] == "iterate").unwrap();
    let before: u64 = steps(job)[..at].iter().map(|step| limit(step).expect("a limit")).sum();
    let step = &steps(job)[at];
    let deadline = step["run"].as_str().unwrap().split("--deadline ").nth(1).unwrap();
    let deadline: u64 = deadline.split('m').next().unwrap().parse().unwrap();
    assert!(deadline < limit(step).unwrap());
    // What is left is for handing over what the run came to.
    assert!(before + limit(step).unwrap() + 10 <= limit(job).unwrap());
}

#[test]
fn every_action_is_pinned_to_a_commit_and_named_by_its_release() {
    for name in ["ci.yaml", "factory.yaml", "nightly.yaml"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(".github/workflows").join(name);
        for line in fs::read_to_string(path).unwrap().lines() {
            let Some((_, action)) = line.split_once("uses: ") else { continue };
            let (action, release) = action.split_once(" # v").expect(line);
            let (action, commit) = action.split_once('@').expect(line);
            assert!(commit.len() == 40 && commit.bytes().all(|b| b.is_ascii_hexdigit()), "{line}");
            // The first releases on Node 24; those before them stand on a runtime that runners dropped.
            let first = match action {
                "actions/checkout" => 5,
                "actions/upload-artifact" => 6,
                "actions/download-artifact" => 7,
                other => panic!("say here since when {other} is on Node 24"),
            };
            let major: u32 = release.split('.').next().unwrap().parse().unwrap();
            assert!(major >= first, "{line}");
        }
    }
}
