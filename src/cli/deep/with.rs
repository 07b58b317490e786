//! The turn itself, where there is a model server.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Trouble;
use crate::agent::backend;
use crate::clock::SystemClock;
use crate::config::{Budget, Config, Environment, Span};
use crate::convergence::TurnClass;
use crate::engine::{Base, Request, RunSettings, Started, Walls, begin, chain, drive};
use crate::event::Tier;
use crate::model_server::{Options, Script, Server};
use crate::process::{Call, Cancel, run};
use crate::text::{one_line, tail};
use crate::verdict::Ending;

/// What the model asks for. At the tier `copy` some agents let run nothing but `make`.
const REPLIES: &str = "\
turns:
- replies:
  - {say: I look around and make a file., run: \"COMMAND\"}
  - {say: All done.}
";
/// A command that leaves a file, and says in it whether it can see the product. At the product's place in the sandbox is
/// what the agent works in, which has no scenarios.
const LOOK: &str = "test -e PRODUCT/scenarios && echo open > deep.txt || echo confined > deep.txt";
/// Satisfied by that file.
const SCENARIO: &str = "\
# Scenario: A command of the agent's leaves a file
## Evaluation Method
```bash
grep -qE '^(open|confined)$' deep.txt
```
";
/// How long the turn may take.
const LIMIT: u64 = 180;
/// Looks like a key, and is none.
const KEY: &str = "sk-ant-fake-00000000000000000000";

/// Checks that this program was built with what it takes.
pub(in crate::cli) fn is_possible() -> anyhow::Result<()> {
    Ok(())
}

/// Takes the turn, and returns what came of it.
pub(in crate::cli) fn turn(
    config: &Config,
    walls: &Walls,
    env: &Environment,
) -> Result<String, Trouble> {
    let name = config.agent.backend.as_deref().unwrap_or_default();
    let scratch = Scratch::make(env).map_err(|error| {
        Trouble::of(format!("making a product to try it in failed: {error:#}"), "factory doctor")
    })?;
    let port = scratch.serve(env).map_err(|error| {
        Trouble::of(
            format!("the model server can't be started: {error:#}"),
            "see whether loopback is up",
        )
    })?;
    let (config, env) = pointed(config, env, &scratch, port).ok_or_else(|| {
        let found = format!("`{name}` can't be pointed at a model server by the factory");
        Trouble::of(found, "run `iterate --once` to try it")
    })?;
    let mut started = scratch.begin(config, &env).map_err(|error| {
        let found = format!("the turn can't begin: {}", one_line(&format!("{error:#}"), 400));
        Trouble::of(found, "put right what the lines above say")
    })?;
    let finish = drive(&mut started);
    let failure = finish.failure.as_ref().map(|failure| chain(failure));
    judged(name, &started, walls, failure.as_deref())
}

/// A product for one turn, gone when dropped.
struct Scratch {
    dir: tempfile::TempDir,
}

impl Scratch {
    fn make(env: &Environment) -> anyhow::Result<Self> {
        // Not among the temporary files: codex keeps its helpers from a home that lies there.
        let state = env.state_dir()?;
        fs::create_dir_all(&state)?;
        let dir = tempfile::Builder::new().prefix("doctor-deep-").tempdir_in(&state)?;
        let scratch = Self { dir };
        let product = scratch.product();
        fs::create_dir_all(product.join("scenarios"))?;
        fs::write(product.join("scenarios/deep.md"), SCENARIO)?;
        let look = LOOK.replace("PRODUCT", &product.display().to_string());
        fs::write(product.join("Makefile"), format!("deep:\n\t{look}\n"))?;
        let commands: [&[&str]; 3] = [
            &["init", "-q", "--template=", "-b", "main"],
            &["add", "--all"],
            &[
                "-c",
                "user.name=doctor",
                "-c",
                "user.email=doctor@localhost",
                "commit",
                "-q",
                "-m",
                "Begin",
            ],
        ];
        for args in commands {
            let call =
                Call::new("git", &product).args(["-c", "core.hooksPath=/dev/null"]).args(args);
            let call = call.env(env.for_tools()).limit(Duration::from_secs(60));
            let finished = run(&call, &Cancel::never(), &mut |_, _| {});
            if finished.ending != (Ending::Exited { code: 0 }) {
                anyhow::bail!("git {}: {}", args[0], one_line(&finished.stderr.text(), 200));
            }
        }
        Ok(scratch)
    }

    fn product(&self) -> PathBuf {
        self.dir.path().join("product")
    }

    /// Starts the server, which ends with this process, and returns its port.
    fn serve(&self, env: &Environment) -> anyhow::Result<u16> {
        let path = self.dir.path().join("script.yaml");
        let look = LOOK.replace("PRODUCT", &self.product().display().to_string());
        let command = env.find_program("make").map_or(look, |_| "make deep".to_owned());
        fs::write(&path, REPLIES.replace("COMMAND", &command))?;
        let options = Options { script: Script::load(&path)?, ..Options::default() };
        let server = Server::bind(options, Box::new(SystemClock))?;
        let port = server.address()?.port();
        std::thread::Builder::new()
            .name("model-server".to_owned())
            .spawn(move || server.serve())?;
        Ok(port)
    }

    fn begin(&self, config: Config, env: &Environment) -> anyhow::Result<Started> {
        let factory = env.executable()?;
        let (root, cancel) = (self.product(), Cancel::on_signals()?);
        let base = Base::open(&root, env, false, &cancel)?;
        let request = Request {
            root,
            env: env.clone(),
            config,
            no_agent: false,
            in_place: false,
            cancel,
            deadline: None,
            settings: RunSettings { factory, once: false, die_after: None, crash: None, haste: 1 },
            reporters: Vec::new(),
        };
        Ok(begin(base, request)?)
    }
}

/// Returns settings and environment of a run whose agent asks the server on `port`; none where nobody knows
/// how to tell it.
fn pointed(
    person: &Config,
    env: &Environment,
    scratch: &Scratch,
    port: u16,
) -> Option<(Config, Environment)> {
    let mut agent = person.agent.clone();
    let name = agent.backend.clone()?;
    let variable = *backend(&agent).ok()?.login_variables().first()?;
    let path = if ["codex", "opencode"].contains(&name.as_str()) { "/v1" } else { "" };
    agent.base_url = Some(format!("http://127.0.0.1:{port}{path}"));
    // A model that codex knows has tools of its own, which the server does not speak of.
    if ["codex", "opencode"].contains(&name.as_str()) {
        agent.model = Some("fake-model".to_owned());
    }
    agent.env = Some(vec![variable.to_owned()]);
    (agent.home, agent.fallback, agent.retries) = (Vec::new(), Vec::new(), 0);
    agent.timeout = Span::seconds(LIMIT);
    let mut config = Config {
        agent,
        gates: Some(Vec::new()),
        specs: Vec::new(),
        isolation: person.isolation.clone(),
        network: person.network.clone(),
        budget: Budget { max_iterations: 1, ..Budget::default() },
        ..Config::default()
    };
    config.satisfaction.threshold = 1.0;
    let state = scratch.dir.path().join("state");
    Some((config, env.clone().with("XDG_STATE_HOME", state).with(variable, KEY)))
}

/// Says what came of the turn.
fn judged(
    name: &str,
    started: &Started,
    walls: &Walls,
    failure: Option<&str>,
) -> Result<String, Trouble> {
    let run = &started.run;
    let Some(turn) = run.summary().turns.last() else {
        let why = failure.unwrap_or("the agent was not started");
        return Err(Trouble::of(one_line(why, 400), "put right what the lines above say"));
    };
    let class = turn.class.as_deref().and_then(TurnClass::parse);
    let words = class.map_or("did not end", TurnClass::words);
    let said = turn.trouble.as_ref().and_then(|blob| run.text(blob).ok());
    let record = run.versioned.as_ref().map(|versioned| versioned.paths.record(1, turn.attempts));
    let wrote = record.map(|record| read(&record.join("stderr"))).unwrap_or_default();
    let last = || Some(tail(wrote.trim(), 300).0.to_owned()).filter(|text| !text.is_empty());
    let said = said.or_else(last);
    let said = said.map(|said| format!(": {}", one_line(&said, 300))).unwrap_or_default();
    if class != Some(TurnClass::Done) {
        let next = match class {
            Some(TurnClass::SandboxUnusable) => {
                "the agent's own sandbox fails here: make `isolation` work, see above, or switch the agent's off by `agent.args`"
            }
            Some(TurnClass::NoOp) => {
                "its command left nothing: the agent's own sandbox may not work here; make `isolation` work, see above, or switch the agent's off by `agent.args`"
            }
            Some(TurnClass::Crashed) if wrote.contains("No such file or directory") => {
                "what it is made of is not in its view: name the directory in `isolation.read`"
            }
            Some(TurnClass::Denied) => {
                "let it run commands by `agent.args`, or make `isolation` work, see above"
            }
            Some(TurnClass::CouldNotStart) => "install it again",
            _ => "try a version that the factory was tried with",
        };
        return Err(Trouble::of(format!("{name} {words}{said}"), next));
    }
    let file = run.versioned.as_ref().map(|versioned| versioned.paths.workspace.join("deep.txt"));
    let found = file.as_deref().map(read).unwrap_or_default();
    match (found.trim(), walls.agent) {
        ("confined", Tier::Sandbox) => {
            let seconds = turn.ms as f64 / 1000.0;
            Ok(format!(
                "a turn of {name} took {seconds:.1} s; its command ran confined and left its file"
            ))
        }
        ("open" | "confined", Tier::Copy | Tier::Move) => Ok(format!(
            "a turn of {name} was done; its command ran, not confined, and left its file"
        )),
        ("open", Tier::Sandbox) => Err(Trouble::of(
            format!("{name} was done, and its command saw the product, which is not in its view"),
            "report it, and use `--isolation` with care until then",
        )),
        _ => Err(Trouble::of(
            format!("{name} was done, and its command left no file{said}"),
            "try a version that the factory was tried with",
        )),
    }
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}
