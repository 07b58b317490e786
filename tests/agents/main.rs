//! The real agents, as `make agents` installs them, against the model server: whole loops in the
//! sandbox, and what goes wrong on the way. Offline; nothing of a provider's is asked for.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "these tests stand outside of the house: they start its programs, and wait for them"
)]
#![cfg(target_os = "linux")]

#[path = "../it/support.rs"]
#[allow(dead_code, reason = "shared with the other tests of the binaries")]
mod support;

use std::fs;
use std::path::{Path, PathBuf};

use dark_factory::clock::SystemClock;
use dark_factory::model_server::{Options, Script, Server};
use serde_json::Value;
use support::{Product, Ran};

const KEY: &str = "sk-ant-fake-00000000000000000000";
/// What the server bills, in US dollars for a million tokens: a context that is too full would be made shorter.
const PRICES: &str = "input=100,output=200";

/// The model server at work, and its ledger.
struct Model {
    address: String,
    ledger: PathBuf,
}

impl Model {
    /// Serves `script` until the tests are over.
    fn serve(product: &Product, script: &Path) -> Self {
        let ledger = product.base().join("ledger.jsonl");
        let options = Options {
            script: Script::load(script).unwrap(),
            port: 0,
            ledger: Some(ledger.clone()),
            prices: Some(PRICES.parse().unwrap()),
        };
        let server = Server::bind(options, Box::new(SystemClock)).unwrap();
        let address = format!("http://{}", server.address().unwrap());
        std::thread::spawn(move || server.serve());
        Self { address, ledger }
    }

    /// Returns what was asked of the model itself, oldest first.
    fn calls(&self) -> Vec<Value> {
        let text = fs::read_to_string(&self.ledger).unwrap_or_default();
        let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
        lines.filter(|call: &Value| call["turn"].is_u64()).collect()
    }

    /// Returns what it has billed.
    fn billed(&self) -> f64 {
        let text = fs::read_to_string(&self.ledger).unwrap_or_default();
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.map(|call| call["usd"].as_f64().unwrap_or_default()).sum()
    }
}

/// Returns where the agents are.
fn programs() -> PathBuf {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/agents/node_modules/.bin");
    assert!(dir.join("codex").exists(), "the agents are not installed: `make agents`");
    dir
}

/// Makes the product of the demo, with `agent` pointed at the server.
fn tally(agent: &str, script: &Path, more: &str) -> (Product, Model) {
    let product = Product::new();
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    support::copy(&examples.join("tally"), &product.root());
    let model = Model::serve(&product, script);
    configure(&product, agent, &model, "scenarios: {timeout: 20s}\n", more);
    product.commit("Begin tally");
    (product, model)
}

/// Makes a small product that wants a file `two`, likewise, with a script of its own.
fn small(agent: &str, script: &str, more: &str) -> (Product, Model) {
    let product = Product::new().scenario("two", "test -e two").file("README.md", "A product.\n");
    let product = product.file("specs/product.md", "There is a file `two`.\n");
    let path = product.base().join("script.yaml");
    fs::write(&path, script).unwrap();
    let model = Model::serve(&product, &path);
    configure(&product, agent, &model, "", more);
    product.commit("Begin");
    (product, model)
}

fn configure(product: &Product, agent: &str, model: &Model, first: &str, more: &str) {
    let path = if matches!(agent, "codex" | "opencode") { "/v1" } else { "" };
    let url = format!("{}{path}", model.address);
    product.write(
        "dark-factory.yaml",
        format!(
            "{first}satisfaction: {{threshold: 1.0}}\nagent:\n  backend: {agent}\n  model: fake-model\n  \
             base_url: {url}\n{more}"
        ),
    );
}

/// Runs the loop with a key for each agent, and no other.
fn iterate(product: &Product, args: &[&str]) -> Ran {
    iterate_in(product, &product.state(), args)
}

/// ... with the factory's state in another directory.
fn iterate_in(product: &Product, state: &Path, args: &[&str]) -> Ran {
    let path = std::env::var("PATH").unwrap();
    let path = format!("{}:{path}", programs().display());
    let keys = ["CODEX_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY", "OPENAI_API_KEY"];
    let mut env = vec![("PATH", path.as_str()), ("DARK_FACTORY_TEST_HASTE", "50")];
    env.extend(keys.map(|key| (key, KEY)));
    env.push(("XDG_STATE_HOME", state.to_str().unwrap()));
    product.iterate_with(args, &env)
}

fn finished(product: &Product) -> Vec<Value> {
    let events = product.events_named("agent.finished");
    events.into_iter().map(|mut event| event["data"].take()).collect()
}

fn classes(product: &Product) -> Vec<String> {
    finished(product).iter().map(|turn| turn["class"].as_str().unwrap().to_owned()).collect()
}

/// The whole demo, from nothing to converged, in the sandbox.
fn check_demo(agent: &str) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/agents/demo.yaml");
    let (product, model) = tally(agent, &script, "");
    let before = product.checkout();
    iterate(&product, &["--isolation", "sandbox"]).code(0).says("converged");
    assert_eq!(classes(&product), ["done", "done"], "{agent}");
    let last = product.events_named("candidate.judged").pop().unwrap();
    assert_eq!(last["data"]["satisfaction"]["passed"], 10);
    // What the agent says that it used is what was billed, as far as the model's own calls go.
    let told: u64 =
        finished(&product).iter().filter_map(|turn| turn["usage"]["output_tokens"].as_u64()).sum();
    let billed: u64 =
        model.calls().iter().filter_map(|call| call["usage"]["output"].as_u64()).sum();
    assert_eq!(told, billed, "{agent}");
    product.factory(&["verify"]).code(0);
    product.assert_untouched(&before);
    product.assert_nothing_alive();
    for run in product.runs() {
        support::walk(&run, &mut |path, meta| {
            let held =
                meta.is_file() && support::contains(&fs::read(path).unwrap(), KEY.as_bytes());
            assert!(!held, "{} holds the key", path.display());
            true
        });
    }
}

#[test]
fn codex_takes_the_demo_to_its_end_in_the_sandbox() {
    check_demo("codex");
}

#[test]
fn claude_takes_the_demo_to_its_end_in_the_sandbox() {
    check_demo("claude");
}

#[test]
fn opencode_takes_the_demo_to_its_end_in_the_sandbox() {
    check_demo("opencode");
}

#[test]
fn gemini_takes_the_demo_to_its_end_in_the_sandbox() {
    check_demo("gemini");
}

const MAKES: &str = "{run: touch two, usage: {input: 1000, output: 50}}";
const DONE: &str = "{say: All done., usage: {input: 1100, output: 20}}";

fn turn(replies: &[&str]) -> String {
    format!("- replies:\n{}", replies.iter().map(|one| format!("  - {one}\n")).collect::<String>())
}

/// Codex's own sandbox starts a helper that lies in its home, and has a `/dev` of its own: where the home
/// is below `/dev/shm` each command fails, none is shown, and the stream ends as if all were well.
#[test]
fn codex_whose_own_sandbox_lets_no_command_run_is_not_done() {
    let script = format!("turns:\n{}", turn(&[MAKES, DONE]));
    let (product, _) = small("codex", &script, "");
    let state = tempfile::tempdir_in("/dev/shm").unwrap();
    let ran = iterate_in(&product, state.path(), &["--isolation", "copy"]);
    // On some machines its sandbox finds the helper all the same; then what it was asked for is there.
    if classes(&product) == ["done"] {
        product.git(&["cat-file", "-e", &format!("{}:two", product.branch())]);
        ran.code(0);
        return;
    }
    assert_eq!(classes(&product), ["sandbox_unusable"]);
    ran.code(3).says("could run no command in its own sandbox");
}

#[test]
fn a_command_that_fails_in_our_sandbox_is_the_agents_to_mend() {
    let script = format!("turns:\n{}", turn(&["{run: 'exit 7'}", MAKES, DONE]));
    for agent in ["codex", "claude"] {
        let (product, _) = small(agent, &script, "");
        iterate(&product, &["--isolation", "sandbox"]).code(0);
        assert_eq!(classes(&product), ["done"], "{agent}");
    }
}

/// A limit that is lifted in 90 seconds is waited out; the clock of the wait runs 50 times as fast.
#[test]
fn a_429_with_a_reset_is_waited_out() {
    let limited = "{status: 429, times: 30, reset_in: 90s, error: {type: usage_limit_reached, message: wait}}";
    let script = format!("turns:\n{}{}", turn(&[limited]), turn(&[MAKES, DONE]));
    let (product, _) = small("codex", &script, "  wait: 24h\n");
    let ran = iterate(&product, &["--isolation", "sandbox"]).code(0);
    assert_eq!(classes(&product), ["rate_limited", "done"]);
    ran.says("ran into a usage limit; waits until");
}

/// The connection breaks in the middle of each answer: tried again, then 3, and resumable.
#[test]
fn a_network_that_is_cut_in_the_middle_is_tried_again_and_then_fails() {
    let cut = "{say: This is the beginning of an answer., cut: true, times: 40}";
    let turns: String = (0..3).map(|_| turn(&[cut])).collect();
    let script = format!("turns:\n{turns}{}", turn(&[MAKES, DONE]));
    let (product, _) = small("codex", &script, "  retries: 2\n");
    iterate(&product, &["--isolation", "sandbox"]).code(3).says("did not reach the provider");
    assert_eq!(classes(&product), ["network"; 3]);
    iterate(&product, &["--resume"]).code(0).says("converged");
}

/// Each turn calls the model ten times, and each call costs a dollar: a turn that may spend three and a
/// half of them makes at most one call more than that, and nothing is billed that the ledger does not know.
#[test]
fn a_turn_overspends_by_one_call_at_most() {
    let dear = "{run: 'sleep 1', usage: {input: 5000, output: 2500}}";
    let script = format!("turns:\n{}", turn(&[&[dear; 10][..], &[DONE]].concat()));
    let more = "budget: {per_turn: {money: 3.5}, max_iterations: 1, prices: {fake-model: {input: 100.0, output: 200.0}}}\n";
    for agent in ["codex", "claude", "opencode"] {
        let (product, model) = small(agent, &script, more);
        iterate(&product, &["--isolation", "sandbox"]).code(1);
        assert_eq!(classes(&product), ["budget"], "{agent}");
        let billed = model.billed();
        assert!((3.5..=5.6).contains(&billed), "{agent} was billed {billed}");
        let told = product.factory(&["usage", "--json"]).code(0).stdout;
        let told: Value = serde_json::from_str(&told).unwrap();
        eprintln!("{agent}: billed {billed}, told {}", told["total"]);
    }
}

/// The key is added outside of the sandbox: what the agent runs finds another text in its environment, and
/// the server gets the key itself.
#[test]
fn a_key_that_the_broker_keeps_is_nowhere_in_the_sandbox() {
    let look = "{run: 'env > two; cat /proc/*/environ >> two 2>/dev/null; true'}";
    let script = format!("turns:\n{}", turn(&[look, DONE]));
    for (agent, variable) in [("codex", "CODEX_API_KEY"), ("claude", "ANTHROPIC_API_KEY")] {
        let more = format!("  env: [{variable}]\nnetwork: {{keys: broker}}\n");
        let (product, model) = small(agent, &script, &more);
        iterate(&product, &["--isolation", "sandbox"]).code(0).says("converged");
        let seen = product.git(&["show", &format!("{}:two", product.branch())]);
        assert!(seen.contains(&format!("{variable}=held-by-the-factory")), "{agent}");
        assert!(!seen.contains(KEY), "{agent}");
        let digest = dark_factory::id::Digest::of(KEY.as_bytes()).as_str()[..8].to_owned();
        assert!(!model.calls().is_empty());
        for call in model.calls() {
            assert_eq!(call["auth"]["digest"], digest, "{agent}: {call}");
        }
        let plain = ["--isolation", "copy"];
        iterate(&product, &plain).code(6).says("`network.keys: broker` can't be had");
    }
}
