//! What a person may write in `dark-factory.yaml`. Every key has a default; no file and an empty
//! file mean the same; unknown keys are an error.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::convergence::{Billing, Limits, Price};
use crate::delivery::{self, STEERING};
use crate::event::{SetupNetwork, Tier};
use crate::feedback::Disclosure;
use crate::scenario::{Entry, ScenarioSet};
use crate::text::Subtree;
use crate::text::yaml::parse_scalar;

/// The whole file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The product's own set-up commands, in order.
    pub prepare: Vec<PrepareSettings>,
    /// The gates in order; none means `make lint`, `make typecheck` and `make test`, those that
    /// the base commit's Makefile has.
    pub gates: Option<Vec<GateSettings>>,
    /// Commands that are run after the gates and reported, and never block.
    pub quality: Vec<GateSettings>,
    /// Where the scenarios are and how they are run.
    pub scenarios: ScenarioSettings,
    /// What scenarios may need to have running, or made, before they are judged.
    pub fixtures: Vec<FixtureSettings>,
    /// When the product is good enough.
    pub satisfaction: SatisfactionSettings,
    /// Globs of the specs that the agent is pointed to.
    pub specs: Vec<String>,
    /// The coding agent.
    pub agent: AgentSettings,
    /// What a run may use up.
    pub budget: Budget,
    /// Globs of the paths that the agent may write; none means all that are not protected.
    pub write: Option<Vec<String>>,
    /// Globs of paths that the agent may not write, beside the built-in ones.
    pub protected: Vec<String>,
    /// How much one turn may bring.
    pub delivery: DeliverySettings,
    /// Names of variables of the person's environment that prepare, gates and scenarios get,
    /// beside the toolchains' own.
    pub env: Vec<String>,
    /// What keeps the holdout from the agent.
    pub isolation: Isolation,
    /// What of the network the agent reaches.
    pub network: Network,
    /// What the agent is told.
    pub feedback: FeedbackSettings,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            prepare: Vec::new(),
            gates: None,
            quality: Vec::new(),
            scenarios: ScenarioSettings::default(),
            fixtures: Vec::new(),
            satisfaction: SatisfactionSettings::default(),
            specs: vec!["specs/**/*.md".to_owned()],
            agent: AgentSettings::default(),
            budget: Budget::default(),
            write: None,
            protected: Vec::new(),
            delivery: DeliverySettings::default(),
            env: Vec::new(),
            isolation: Isolation::default(),
            network: Network::default(),
            feedback: FeedbackSettings::default(),
        }
    }
}

impl Config {
    /// Returns what is to be said where the working tree is judged as it lies, and the product's set-up commands
    /// are not run; none where there are none.
    pub fn set_up_passed_over(&self) -> Option<String> {
        let names: Vec<&str> = self.prepare.iter().map(|step| step.name.as_str()).collect();
        let (first, all) = (self.prepare.first()?, names.join(", "));
        Some(format!(
            "`prepare` ({all}) is not run in the working tree, which is judged as it lies; `--prepare` runs what has not been run, as `{}`",
            crate::text::one_line(first.run.trim().lines().next().unwrap_or_default(), 100)
        ))
    }

    /// Returns whether fixtures may use the machine's network: whoever needs one is on its network, and
    /// there is one for all.
    pub fn opens_fixtures(&self, set: &ScenarioSet) -> bool {
        let asks = |entry: &Entry| {
            let front = entry.scenario.as_ref().map(|scenario| &scenario.front);
            front.is_ok_and(|front| front.network && !front.needs.is_empty())
        };
        self.fixtures.iter().any(|fixture| fixture.network) || set.entries.iter().any(asks)
    }

    /// The paths of a product that no agent may write, whatever the file says: the exam, the spec, the factory's own
    /// settings and workflows. So may it nothing of [`STEERING`], at any depth.
    pub const PROTECTED: [&'static str; 5] =
        ["scenarios/**", "specs/**", ".github/**", "dark-factory.yaml", "artifacts/factory/**"];

    /// Returns the globs of every path that the agent may not write: the built-in ones, the
    /// scenarios' directory wherever it is, the prompt's template, and those that the file names.
    pub fn protected_globs(&self) -> Vec<String> {
        let mut globs: Vec<String> = Self::PROTECTED.map(str::to_owned).to_vec();
        globs.extend(STEERING.map(|(name, _)| name.to_owned()));
        globs.push(format!("{}/**", globset::escape(&self.scenarios.dir)));
        globs.push(globset::escape(&self.agent.prompt));
        globs.extend(self.protected.iter().cloned());
        let mut seen = std::collections::BTreeSet::new();
        globs.retain(|glob| seen.insert(glob.clone()));
        globs
    }

    /// Returns what an agent may write, by these settings of the product that lies at `at`, in a tree of the whole
    /// repository whose base has these links. What is built in is protected at the root of the repository, too, and what
    /// lies outside of the product is written only where `write` names it.
    ///
    /// # Errors
    /// A pattern can't be used.
    pub fn delivery_policy(
        &self,
        links: delivery::Links,
        at: &Subtree,
    ) -> Result<delivery::Policy, delivery::PolicyError> {
        let mut protected: Vec<String> =
            self.protected_globs().iter().map(|glob| at.pattern(glob)).collect();
        let mut write: Option<Vec<String>> =
            self.write.as_ref().map(|globs| globs.iter().map(|glob| at.pattern(glob)).collect());
        if !at.is_top() {
            protected.extend(Self::PROTECTED.map(str::to_owned));
            write = write.or_else(|| Some(vec![at.pattern("**")]));
        }
        let (scenarios, limits) = (at.path(&self.scenarios.dir), self.delivery.limits());
        delivery::Policy::new(write.as_deref(), &protected, &scenarios, limits)
            .map(|policy| policy.of_product(at.clone()).with_links(links))
    }

    /// The files that define the default gates.
    pub const MAKEFILES: [&'static str; 3] = ["GNUmakefile", "makefile", "Makefile"];
}

/// One set-up command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrepareSettings {
    /// Names it in reports.
    pub name: String,
    /// The bash command.
    pub run: String,
    /// Globs of tracked files that it reads; it is run again when one of them changes.
    #[serde(default)]
    pub inputs: Vec<String>,
    /// Paths that it makes, and that the judge's and the agent's trees get.
    #[serde(default)]
    pub outputs: Vec<String>,
    /// Its time limit.
    #[serde(default = "Span::minutes::<30>")]
    pub timeout: Span,
}

/// One gate or quality check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GateSettings {
    /// Names it in reports.
    pub name: String,
    /// The bash command; exit 0 passes.
    pub run: String,
    /// Globs of the files that define what it checks; a change of one by the agent is flagged.
    #[serde(default)]
    pub definition: Vec<String>,
    /// Whether it may use the machine's network, where what is judged is confined.
    #[serde(default)]
    pub network: bool,
    /// Its time limit.
    #[serde(default = "Span::minutes::<30>")]
    pub timeout: Span,
}

/// Where the scenarios are and how they are run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ScenarioSettings {
    /// Their directory, relative to the root.
    pub dir: String,
    /// The time limit of one attempt.
    pub timeout: Span,
    /// How many run at a time.
    pub jobs: Jobs,
}

impl Default for ScenarioSettings {
    fn default() -> Self {
        Self { dir: "scenarios".to_owned(), timeout: Span::seconds(300), jobs: Jobs::Count(1) }
    }
}

/// How many scenarios run at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Jobs {
    /// As many as the machine has processors.
    Auto,
    /// This many; at least 1.
    Count(usize),
}

impl Jobs {
    /// Returns how many that is on this machine; at least 1.
    pub fn count(self) -> usize {
        match self {
            Self::Count(count) => count,
            Self::Auto => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        }
    }
}

impl std::str::FromStr for Jobs {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            _ => match text.parse() {
                Ok(count @ 1..) => Ok(Self::Count(count)),
                _ => Err(format!("`{text}` is no number of jobs; use 1, 2, ... or `auto`")),
            },
        }
    }
}

impl Serialize for Jobs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Auto => serializer.serialize_str("auto"),
            Self::Count(count) => serializer.collect_str(count),
        }
    }
}

impl<'de> Deserialize<'de> for Jobs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        parse_scalar(deserializer)
    }
}

/// Something that scenarios need: a server, a database, a model that takes long to train.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FixtureSettings {
    /// Names it in `needs` and in its variables; `a-z`, `0-9`, `-` and `_`.
    pub name: String,
    /// The bash command: a server in the foreground, or what exits with 0 once it has gone to the
    /// background or done its work.
    pub start: String,
    /// How to tell that it is ready, and within what time.
    #[serde(default)]
    pub ready: ReadySettings,
    /// The bash command that ends it; none means TERM, and KILL where that does not do.
    #[serde(default)]
    pub stop: Option<String>,
    /// How long it lives.
    #[serde(default)]
    pub scope: FixtureScope,
    /// Whether it is the product: where it won't start, those that need it are unsatisfied.
    #[serde(default)]
    pub product: bool,
    /// The fixtures that it needs itself.
    #[serde(default)]
    pub needs: Vec<String>,
    /// Paths that must be there once it is ready.
    #[serde(default)]
    pub outputs: Vec<String>,
    /// Variables for its own commands.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Whether it may use the machine's network, where what is judged is confined; what needs it then
    /// may, too.
    #[serde(default)]
    pub network: bool,
    /// Names of the ports that it gets beside its first.
    #[serde(default)]
    pub ports: Vec<String>,
}

impl FixtureSettings {
    /// Returns the variable that holds its port.
    pub fn port_variable(&self) -> String {
        format!("FACTORY_PORT_{}", in_capitals(&self.name))
    }

    /// Returns the variable that holds the port which it calls `port`.
    pub fn extra_port_variable(&self, port: &str) -> String {
        format!("{}_{}", self.port_variable(), in_capitals(port))
    }

    /// Returns the variable that holds its directory.
    pub fn dir_variable(&self) -> String {
        format!("FACTORY_DIR_{}", in_capitals(&self.name))
    }

    /// Returns every variable that it brings: its ports and its directory.
    pub fn variables(&self) -> Vec<String> {
        let mut names = vec![self.port_variable(), self.dir_variable()];
        names.extend(self.ports.iter().map(|port| self.extra_port_variable(port)));
        names
    }
}

fn in_capitals(name: &str) -> String {
    name.to_ascii_uppercase().replace('-', "_")
}

/// How long a fixture lives.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum FixtureScope {
    /// For one scenario, which has it for itself.
    Scenario,
    /// For one judgement of one candidate.
    #[default]
    Candidate,
    /// For the whole run.
    Run,
}

impl std::fmt::Display for FixtureScope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Scenario => "scenario",
            Self::Candidate => "candidate",
            Self::Run => "run",
        })
    }
}

/// How to tell that a fixture is ready: by one of `port`, `http`, `command` and `output`, or, where
/// there is none of them, by its exit with 0.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReadySettings {
    /// This port of 127.0.0.1 takes connections.
    pub port: Option<ReadyPort>,
    /// A GET of this URL is answered; of a path on its own port where it begins with a slash.
    pub http: Option<String>,
    /// The status of that answer; none means 200 to 399.
    pub status: Option<u16>,
    /// This bash command exits with 0.
    pub command: Option<String>,
    /// A line of its log has this text, or matches this `/regex/`.
    pub output: Option<String>,
    /// The most that it may take.
    pub timeout: Span,
}

impl Default for ReadySettings {
    fn default() -> Self {
        Self {
            port: None,
            http: None,
            status: None,
            command: None,
            output: None,
            timeout: Span::seconds(30),
        }
    }
}

/// Which port tells that a fixture is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadyPort {
    /// The one that it was given; `false` in the file is as if nothing was said.
    Own(bool),
    /// This one.
    Fixed(u16),
}

impl Serialize for ReadyPort {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Own(own) => serializer.serialize_bool(*own),
            Self::Fixed(port) => serializer.serialize_u16(*port),
        }
    }
}

impl<'de> Deserialize<'de> for ReadyPort {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Port;
        impl serde::de::Visitor<'_> for Port {
            type Value = ReadyPort;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("`true` or the number of a port")
            }
            fn visit_bool<E>(self, own: bool) -> Result<ReadyPort, E> {
                Ok(ReadyPort::Own(own))
            }
            fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<ReadyPort, E> {
                match u16::try_from(number) {
                    Ok(port @ 1..) => Ok(ReadyPort::Fixed(port)),
                    _ => Err(E::custom(format!("{number} is no port; use 1 to 65535, or `true`"))),
                }
            }
        }
        deserializer.deserialize_any(Port)
    }
}

/// When the product is good enough, and when a run has stopped getting better.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SatisfactionSettings {
    /// The score that converges, above 0 and at most 1.
    pub threshold: f64,
    /// How many iterations in a row without a better judgement are a stall; at least 1.
    pub stalled_after: u32,
}

impl Default for SatisfactionSettings {
    fn default() -> Self {
        Self { threshold: 0.80, stalled_after: 3 }
    }
}

/// The coding agent and what it gets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AgentSettings {
    /// The agent's kind: `codex`, `claude`, ...; none where the person has chosen none.
    pub backend: Option<String>,
    /// The argv of the `command` backend, with `{prompt_file}`, `{feedback_file}`, `{workspace}`
    /// and `{model}`.
    pub command: Vec<String>,
    /// Arguments appended to the argv of a preset.
    pub args: Vec<String>,
    /// Whether the `command` backend gets the prompt on stdin, which is else closed.
    pub stdin: bool,
    /// The model, as the agent names it.
    pub model: Option<String>,
    /// Where its model is asked for, in place of its provider's own address.
    pub base_url: Option<String>,
    /// The prompt's template, relative to the root; the built-in one where the file is missing.
    pub prompt: String,
    /// The wall-clock limit of one turn.
    pub timeout: Span,
    /// The limit of silence within a turn.
    pub idle: Span,
    /// How hard the model thinks, in the agent's own word: `low`, `medium`, `high`, ...
    pub effort: Option<String>,
    /// How many steps the agent may take in a turn, where it can count them.
    pub max_turns: Option<u32>,
    /// How often a turn that the network or the provider broke is tried again.
    pub retries: u32,
    /// The longest that a usage limit is waited out.
    pub wait: Span,
    /// Who takes the turns where this agent can't go on, one after the other.
    pub fallback: Vec<FallbackSettings>,
    /// Names of variables of the person's environment that the agent gets; none means those that
    /// its backend logs in with.
    pub env: Option<Vec<String>>,
    /// Paths below the person's home that the agent's private home links to.
    pub home: Vec<String>,
    /// How a CLI behind the `command` backend logs in by itself; none where it does not.
    pub login: Option<LoginSettings>,
    /// The directory of the `replay` backend's recording, relative to the root.
    pub recording: String,
}

impl Default for AgentSettings {
    fn default() -> Self {
        Self {
            backend: None,
            command: Vec::new(),
            args: Vec::new(),
            stdin: false,
            model: None,
            base_url: None,
            prompt: ".github/factory/prompts/fix.md".to_owned(),
            timeout: Span::seconds(60 * 60),
            idle: Span::seconds(15 * 60),
            effort: None,
            max_turns: None,
            retries: 3,
            wait: Span::seconds(6 * 60 * 60),
            fallback: Vec::new(),
            env: None,
            home: Vec::new(),
            login: None,
            recording: String::new(),
        }
    }
}

impl AgentSettings {
    /// Returns the settings of the agent of this number: 0 is the first, and 1 the first of
    /// `fallback`, which shares what is not said of it; none beyond the last.
    pub fn of(&self, number: usize) -> Option<Self> {
        let Some(index) = number.checked_sub(1) else { return Some(self.clone()) };
        let next = self.fallback.get(index)?.clone();
        Some(Self {
            backend: Some(next.backend),
            model: next.model,
            base_url: next.base_url,
            effort: next.effort,
            command: next.command,
            args: next.args,
            env: next.env,
            login: next.login,
            ..self.clone()
        })
    }
}

/// An agent that takes over where another can't go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FallbackSettings {
    /// Its backend.
    pub backend: String,
    /// The model, as the agent names it.
    #[serde(default)]
    pub model: Option<String>,
    /// Where its model is asked for.
    #[serde(default)]
    pub base_url: Option<String>,
    /// How hard it thinks.
    #[serde(default)]
    pub effort: Option<String>,
    /// The argv of the `command` backend.
    #[serde(default)]
    pub command: Vec<String>,
    /// Arguments appended to the argv of a preset.
    #[serde(default)]
    pub args: Vec<String>,
    /// Names of variables that it gets.
    #[serde(default)]
    pub env: Option<Vec<String>>,
    /// How a CLI behind the `command` backend logs in by itself.
    #[serde(default)]
    pub login: Option<LoginSettings>,
}

/// How a CLI behind the `command` backend logs in by itself, with a login that it renews.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoginSettings {
    /// The argv that logs in, at a terminal; `factory login command` runs it.
    pub command: Vec<String>,
    /// The files that it keeps, below its home.
    pub files: Vec<String>,
}

/// What a run may use up; none is no limit. Money is in US dollars, tokens are those read and written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Budget {
    /// How many agent turns; 0 judges and stops.
    pub max_iterations: u32,
    /// Money of the run.
    pub money: Option<f64>,
    /// Tokens of the run.
    pub tokens: Option<u64>,
    /// How long the run may be at work.
    pub time: Option<Span>,
    /// What one turn may use.
    pub per_turn: PerTurn,
    /// What the runs of this product may use within 24 hours.
    pub per_day: PerDay,
    /// What may be used since the last better score.
    pub without_progress: WithoutProgress,
    /// How the agent is paid.
    pub billing: Billing,
    /// Prices that go before those that come with the factory, by the model's id.
    pub prices: Option<BTreeMap<String, Price>>,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            max_iterations: 5,
            money: None,
            tokens: None,
            time: None,
            per_turn: PerTurn::default(),
            per_day: PerDay::default(),
            without_progress: WithoutProgress::default(),
            billing: Billing::Metered,
            prices: None,
        }
    }
}

impl Budget {
    /// Returns what a run may use up, as decisions read it.
    pub fn limits(&self) -> Limits {
        let ms = |span: Span| u64::try_from(span.0.as_millis()).unwrap_or(u64::MAX);
        Limits {
            billing: self.billing,
            money: self.money,
            tokens: self.tokens,
            time_ms: self.time.map(ms),
            turn_money: self.per_turn.money,
            turn_tokens: self.per_turn.tokens,
            day_money: self.per_day.money,
            day_tokens: self.per_day.tokens,
            day_turns: self.per_day.turns,
            progress_money: self.without_progress.money,
            progress_tokens: self.without_progress.tokens,
        }
    }
}

/// What one turn may use.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PerTurn {
    /// Money.
    pub money: Option<f64>,
    /// Tokens.
    pub tokens: Option<u64>,
}

/// What the runs of a product may use within 24 hours.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PerDay {
    /// Money.
    pub money: Option<f64>,
    /// Tokens.
    pub tokens: Option<u64>,
    /// The agent's turns.
    pub turns: Option<u32>,
}

/// What may be used since the last better score.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WithoutProgress {
    /// Money.
    pub money: Option<f64>,
    /// Tokens.
    pub tokens: Option<u64>,
}

/// What keeps the holdout from the agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Isolation {
    /// The tier for the agent; none means the strongest that there is.
    pub agent: Option<Tier>,
    /// The tier for gates and scenarios; none means the strongest that there is.
    pub judge: Option<Tier>,
    /// The tier below which the run is refused; none requires nothing.
    pub require: Option<Tier>,
    /// Absolute paths, or paths below the person's home that begin with `~/`, that agent and product
    /// can read as well in the tier `sandbox`.
    pub read: Vec<String>,
    /// Devices that the product can use as well there, such as `/dev/dri`.
    pub devices: Vec<String>,
    /// Whether each candidate is judged there without what an earlier one has built, in output that
    /// the product ignores.
    pub fresh: bool,
}

impl Default for Isolation {
    fn default() -> Self {
        Self {
            agent: None,
            judge: None,
            require: None,
            read: Vec::new(),
            devices: Vec::new(),
            fresh: true,
        }
    }
}

/// What of the network agent and set-up commands reach in the tier `sandbox`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Network {
    /// How far the agent gets.
    pub access: Access,
    /// Who holds the key that its provider wants.
    pub keys: Keys,
    /// Hosts that it reaches beside those of its model: `crates.io`, `*.example.com`, with or without
    /// `:PORT`. Set-up commands that reach registries alone reach these as well.
    pub allow: Vec<String>,
    /// What of it the product's set-up commands have; none is the machine's network, and registries alone for a
    /// command whose inputs an agent has changed.
    pub prepare: Option<SetupNetwork>,
}

/// Who holds the key that the agent's provider wants.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Keys {
    /// The agent, in its environment.
    #[default]
    Agent,
    /// The broker, which adds it to what the agent asks for.
    Broker,
}

/// How far the agent gets into the network.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// Nowhere.
    None,
    /// To the hosts of its model and those that are allowed, by the broker.
    #[default]
    Agent,
    /// Everywhere.
    Open,
}

/// What the agent is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FeedbackSettings {
    /// How much of a failed holdout scenario it hears of.
    pub disclosure: Disclosure,
    /// Whether the feedback files are committed on the run's branch.
    pub commit: bool,
}

impl Default for FeedbackSettings {
    fn default() -> Self {
        Self { disclosure: Disclosure::Full, commit: true }
    }
}

/// A length of time as people write it: a number of seconds, or `90s`, `30m`, `2h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

impl Span {
    /// Returns a span of `seconds`.
    pub const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// Returns a span of `M` minutes.
    pub fn minutes<const M: u64>() -> Self {
        Self::seconds(M * 60)
    }
}

impl std::str::FromStr for Span {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        crate::clock::parse_duration(text).map(Self)
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format!("{}s", self.0.as_secs_f64()))
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        parse_scalar(deserializer)
    }
}

/// How much one turn may bring; what is beyond it is left out of the delivery and named.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DeliverySettings {
    /// The most files that are written, and the most that are removed; at least 1.
    pub max_files: usize,
    /// The most that one file may hold.
    pub max_file_size: Size,
    /// The most that all of them may hold together.
    pub max_total_size: Size,
}

impl Default for DeliverySettings {
    fn default() -> Self {
        let limits = delivery::Limits::default();
        Self {
            max_files: limits.files,
            max_file_size: Size(limits.file_bytes),
            max_total_size: Size(limits.total_bytes),
        }
    }
}

impl DeliverySettings {
    /// Returns the limits as the policy knows them.
    pub fn limits(&self) -> delivery::Limits {
        delivery::Limits {
            files: self.max_files,
            file_bytes: self.max_file_size.0.min(self.max_total_size.0),
            total_bytes: self.max_total_size.0,
        }
    }
}

/// A size in bytes, written as bytes or as `500kB`, `5MB`, `1GB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

impl std::str::FromStr for Size {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        crate::text::parse_size(text).map(Self)
    }
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        parse_scalar(deserializer)
    }
}
