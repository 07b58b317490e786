//! Reads `dark-factory.yaml`, and says of every value that makes no sense where it stands.

use std::collections::BTreeSet;
use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::agents::{unknown_backend, unknown_effort};
use super::model::{
    AgentSettings, Budget, Config, DeliverySettings, FixtureScope, FixtureSettings, GateSettings,
    ReadyPort,
};
use crate::convergence::Billing;
use crate::event::Tier;
use crate::scenario::{Diagnostic, check_of};
use crate::text::{Subtree, TreePath, line_column, nearest, why_no_regex, yaml};

/// The settings' file, at the root of the product.
pub const FILE: &str = "dark-factory.yaml";

/// The most that the file may hold, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// The most findings that are told at a time.
const MOST: usize = 32;

/// Settings that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file is there and can't be read.
    #[error("`{}` can't be read", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// There is no regular file of this name to read settings from.
    #[error("`{}` {why}", path.display())]
    NotSettings {
        /// What is there.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        why: &'static str,
    },
    /// What it says makes no sense.
    #[error("{}", Findings(findings))]
    Invalid {
        /// Everything that was found, in the order of the places; never empty.
        findings: Vec<Diagnostic>,
        /// What the file holds, for showing the places; none when it is no text.
        text: Option<String>,
    },
}

impl ConfigError {
    /// Returns what was found in the file, in the order of the places; empty when the file could
    /// not be read.
    pub fn findings(&self) -> &[Diagnostic] {
        match self {
            Self::Invalid { findings, .. } => findings,
            Self::Unreadable { .. } | Self::NotSettings { .. } => &[],
        }
    }

    /// Returns what the file holds; none when that is not known or no text.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Invalid { text, .. } => text.as_deref(),
            Self::Unreadable { .. } | Self::NotSettings { .. } => None,
        }
    }
}

struct Findings<'a>(&'a [Diagnostic]);

impl fmt::Display for Findings<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, found) in self.0.iter().enumerate() {
            let gap = if index == 0 { "" } else { "; " };
            write!(f, "{gap}{}:{}:{}: {}", found.file, found.line, found.column, found.message)?;
        }
        Ok(())
    }
}

/// The settings with where they come from.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// The settings.
    pub config: Config,
    /// What the file holds; none when there is no file.
    pub text: Option<String>,
}

impl Loaded {
    /// Returns whether the file says something about `path`, written as `satisfaction.threshold`;
    /// where it does not the value is the default.
    pub fn is_written(&self, path: &str) -> bool {
        self.text
            .as_deref()
            .is_some_and(|text| yaml::value_span(text, &yaml::steps(path)).is_some())
    }
}

/// Returns where in its git repository the product at `root` lies, by a look at the disk; the whole of it where there
/// is no repository.
pub fn subtree_of(root: &Path) -> Subtree {
    let top = root.ancestors().find(|dir| dir.join(".git").exists());
    top.and_then(|top| Subtree::between(top, root)).unwrap_or_default()
}

/// Reads the settings of the product at `root`; no file and an empty file are the defaults.
///
/// # Errors
/// The file can't be read, or what it says makes no sense.
pub fn load(root: &Path) -> Result<Config, ConfigError> {
    load_at(root, &subtree_of(root))
}

/// Reads the settings in `dir` of a product that lies at `at` in its repository.
///
/// # Errors
/// The file can't be read, or what it says makes no sense.
pub fn load_at(dir: &Path, at: &Subtree) -> Result<Config, ConfigError> {
    read_at(dir, at).map(|loaded| loaded.config)
}

/// Reads the settings of the product at `root`, and keeps what the file says.
///
/// # Errors
/// The file can't be read, or what it says makes no sense.
pub fn read(root: &Path) -> Result<Loaded, ConfigError> {
    read_at(root, &subtree_of(root))
}

fn read_at(dir: &Path, at: &Subtree) -> Result<Loaded, ConfigError> {
    let path = dir.join(FILE);
    let Some(bytes) = bytes_of(dir, &path)? else {
        return Ok(Loaded { config: Config::default(), text: None });
    };
    let config = parse_at(&at.path(FILE), &bytes, at)?;
    Ok(Loaded { config, text: String::from_utf8(bytes).ok() })
}

/// Returns what the file holds; none when there is no file.
fn bytes_of(root: &Path, path: &Path) -> Result<Option<Vec<u8>>, ConfigError> {
    let refuse = |path: &Path, why| Err(ConfigError::NotSettings { path: path.to_owned(), why });
    let unreadable = |source| ConfigError::Unreadable { path: path.to_owned(), source };
    if path.symlink_metadata().is_err_and(|e| e.kind() == std::io::ErrorKind::NotFound) {
        let other = root.join("dark-factory.yml");
        if other.exists() {
            return refuse(&other, "is not read; rename it to dark-factory.yaml");
        }
        return Ok(None);
    }
    let meta = path.metadata().map_err(unreadable)?;
    if !meta.is_file() {
        return refuse(path, "is no regular file; put a file there, or remove it for the defaults");
    }
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(unreadable)?;
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_BYTES {
        return refuse(path, "has more than 1 MiB; are these the settings?");
    }
    Ok(Some(bytes))
}

/// Reads settings from `bytes`; `file` is their path as people see it.
///
/// # Errors
/// What they say makes no sense; every such place is named.
pub fn parse(file: &str, bytes: &[u8]) -> Result<Config, ConfigError> {
    parse_at(file, bytes, &Subtree::default())
}

/// Reads settings of a product that lies at `at` in its repository; `file` names them in errors.
///
/// # Errors
/// What they say makes no sense; every such place is named.
pub fn parse_at(file: &str, bytes: &[u8], at: &Subtree) -> Result<Config, ConfigError> {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let before = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
            let mut review = Review { file, text: &before, at, findings: Vec::new() };
            let help = "save the file as UTF-8";
            review.report("C001", Some(before.len()..before.len()), "this is no UTF-8", help);
            return Err(ConfigError::Invalid { findings: review.findings, text: None });
        }
    };
    let mut review = Review { file, text, at, findings: Vec::new() };
    let mut config = match yaml::read::<Config>(text) {
        Ok(config) => config,
        Err(problem) => {
            let code = if problem.unknown_key.is_some() { "C002" } else { "C001" };
            review.report(code, problem.span, problem.message, problem.help);
            Config::default()
        }
    };
    if review.findings.is_empty() {
        review.all(&config);
    }
    if review.findings.is_empty() {
        config.scenarios.dir = plain(&config.scenarios.dir).to_owned();
        return Ok(config);
    }
    review.findings.sort_by_key(|found| found.span.as_ref().map_or(0, |span| span.start));
    Err(ConfigError::Invalid { findings: review.findings, text: Some(text.to_owned()) })
}

/// Returns `path` without `./` before it and slashes after it.
fn plain(path: &str) -> &str {
    let path = path.trim_end_matches('/');
    path.strip_prefix("./").unwrap_or(path)
}

fn is_fixture_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 40
        && name.chars().all(|c| matches!(c, 'a'..='z' | '0'..='9' | '-' | '_'))
}

/// Returns the way from the fixture `index` by its need `first` back to itself: `a, b, a`; none where
/// there is none, or where an earlier fixture is on it, at which it is told.
fn circle(fixtures: &[FixtureSettings], index: usize, first: &str) -> Option<String> {
    let of = |name: &str| fixtures.iter().position(|fixture| fixture.name == name);
    let mut ways = vec![vec![index, of(first)?]];
    let mut seen = BTreeSet::new();
    while let Some(way) = ways.pop() {
        let last = *way.last()?;
        if last == index {
            let names: Vec<&str> = way.iter().map(|at| &*fixtures[*at].name).collect();
            return Some(names.join(", "));
        }
        if last > index && seen.insert(last) {
            let next = fixtures[last].needs.iter().filter_map(|name| of(name));
            ways.extend(next.map(|next| [&way[..], &[next]].concat()));
        }
    }
    None
}

/// Goes through settings that were read, and collects what makes no sense.
struct Review<'a> {
    file: &'a str,
    text: &'a str,
    /// Where the product lies in its repository.
    at: &'a Subtree,
    findings: Vec<Diagnostic>,
}

impl Review<'_> {
    fn all(&mut self, config: &Config) {
        let threshold = config.satisfaction.threshold;
        if !(threshold > 0.0 && threshold <= 1.0) {
            let help = if threshold > 1.0 && threshold <= 100.0 {
                format!("for {threshold} percent write {}", threshold / 100.0)
            } else {
                "the default is 0.8".to_owned()
            };
            let message = format!("the threshold is {threshold}; it must be above 0 and at most 1");
            self.value("C003", "satisfaction.threshold", message, &help);
        }
        if config.satisfaction.stalled_after == 0 {
            let message = "a run that is stalled after 0 iterations never begins";
            self.value("C003", "satisfaction.stalled_after", message, "write 1 or more");
        }
        let asked = [
            ("isolation.agent", config.isolation.agent),
            ("isolation.judge", config.isolation.judge),
        ];
        for (key, tier) in asked {
            if let (Some(tier), Some(require)) = (tier, config.isolation.require)
                && tier < require
            {
                let message =
                    format!("isolation `{tier}` is weaker than `{require}`, which is required");
                self.value("C003", key, message, "raise the one or lower the other");
            }
        }
        if config.isolation.judge == Some(Tier::Move) {
            let message = "what is judged has a tree of its own; nothing is moved away for it";
            self.value("C003", "isolation.judge", message, "write `copy` or `sandbox`");
        }
        for (key, paths) in
            [("read", &config.isolation.read), ("devices", &config.isolation.devices)]
        {
            for (index, path) in paths.iter().enumerate() {
                if !path.starts_with('/') && !path.starts_with("~/") {
                    let key = format!("isolation.{key}[{index}]");
                    let message = format!("`{path}` is no absolute path");
                    self.value("C003", &key, message, "begin it with `/` or `~/`");
                }
            }
        }
        self.directory("scenarios.dir", plain(&config.scenarios.dir));
        self.place("agent.prompt", &config.agent.prompt);
        self.globs("specs", &config.specs);
        self.globs("protected", &config.protected);
        self.globs("write", config.write.as_deref().unwrap_or_default());
        self.variables("env", &config.env);
        self.variables("agent.env", config.agent.env.as_deref().unwrap_or_default());
        for (index, path) in config.agent.home.iter().enumerate() {
            self.directory(&format!("agent.home[{index}]"), plain(path));
        }
        self.agents(&config.agent);
        self.login(config);
        self.commands("gates", config.gates.as_deref().unwrap_or_default());
        self.commands("quality", &config.quality);
        self.names("prepare", config.prepare.iter().map(|step| (&*step.name, &*step.run)));
        for (index, step) in config.prepare.iter().enumerate() {
            self.globs(&format!("prepare[{index}].inputs"), &step.inputs);
            for (output, path) in step.outputs.iter().enumerate() {
                self.output(&format!("prepare[{index}].outputs[{output}]"), plain(path));
            }
        }
        self.fixtures(&config.fixtures);
        self.delivery(&config.delivery);
        self.budget(&config.budget);
    }

    fn agents(&mut self, agent: &AgentSettings) {
        let first = ("agent".to_owned(), agent.backend.as_deref(), agent.effort.as_deref());
        let after = agent.fallback.iter().enumerate().map(|(index, next)| {
            let key = format!("agent.fallback[{index}]");
            (key, Some(next.backend.as_str()), next.effort.as_deref())
        });
        for (key, backend, effort) in std::iter::once(first).chain(after) {
            let Some(backend) = backend else { continue };
            if let Some((message, help)) = unknown_backend(backend) {
                self.value("C003", &format!("{key}.backend"), message, &help);
            }
            let wrong = effort.and_then(|effort| unknown_effort(backend, effort, false));
            if let Some((message, help)) = wrong {
                self.value("C003", &format!("{key}.effort"), message, &help);
            }
        }
        if agent.max_turns == Some(0) {
            let message = "an agent that may take 0 steps does nothing";
            self.value("C003", "agent.max_turns", message, "write 1 or more, or leave it out");
        }
    }

    fn login(&mut self, config: &Config) {
        let agent = &config.agent;
        let after = agent.fallback.iter().enumerate().map(|(index, next)| {
            (format!("agent.fallback[{index}]"), next.backend.as_str(), &next.login)
        });
        let first =
            ("agent".to_owned(), agent.backend.as_deref().unwrap_or("command"), &agent.login);
        for (key, backend, login) in std::iter::once(first).chain(after) {
            let Some(login) = login else { continue };
            let key = format!("{key}.login");
            if backend != "command" {
                let message = format!("the backend `{backend}` knows its login by itself");
                self.value(
                    "C003",
                    &key,
                    message,
                    "leave `login` out, or use the backend `command`",
                );
            }
            if login.command.first().is_none_or(String::is_empty) || login.files.is_empty() {
                let message = "a login needs the command that makes it and the files that it keeps";
                let help = "write `{command: [my-agent, login], files: [.my-agent/auth.json]}`";
                self.value("C003", &key, message, help);
            }
            for (index, path) in login.files.iter().enumerate() {
                self.directory(&format!("{key}.files[{index}]"), plain(path));
            }
        }
    }

    fn delivery(&mut self, delivery: &DeliverySettings) {
        if delivery.max_files == 0 {
            let message = "with `max_files: 0` no turn could ever bring anything";
            let help = "write 1 or more; the default is 500";
            self.value("C003", "delivery.max_files", message, help);
        }
    }

    fn budget(&mut self, budget: &Budget) {
        let money = [
            ("money", budget.money),
            ("per_turn.money", budget.per_turn.money),
            ("per_day.money", budget.per_day.money),
            ("without_progress.money", budget.without_progress.money),
        ];
        for (key, usd) in money {
            let Some(usd) = usd else { continue };
            let path = format!("budget.{key}");
            if !(usd.is_finite() && usd > 0.0) {
                let message = format!("a budget of {usd} dollars makes no sense");
                let help = "write US dollars above 0; `max_iterations: 0` starts no agent";
                self.value("C003", &path, message, help);
            } else if budget.billing == Billing::Plan {
                let message =
                    format!("`{key}` limits dollars, and with `billing: plan` none are paid");
                let help = "limit `tokens`, `time` or turns, or write `billing: metered`";
                self.value("C003", &path, message, help);
            }
        }
        let counts = [
            ("tokens", budget.tokens),
            ("per_turn.tokens", budget.per_turn.tokens),
            ("per_day.tokens", budget.per_day.tokens),
            ("per_day.turns", budget.per_day.turns.map(u64::from)),
            ("without_progress.tokens", budget.without_progress.tokens),
        ];
        for (key, _) in counts.iter().filter(|(_, count)| *count == Some(0)) {
            let message = format!("with `{key}: 0` no turn could ever begin");
            let help = "write 1 or more; `max_iterations: 0` starts no agent";
            self.value("C003", &format!("budget.{key}"), message, help);
        }
        for (model, price) in budget.prices.iter().flatten() {
            let parts = [Some(price.input), Some(price.output), price.cached, price.cache_write];
            if parts.into_iter().flatten().any(|usd| !(usd.is_finite() && usd >= 0.0)) {
                let span = yaml::key_span(self.text, &yaml::steps("budget.prices"), model);
                let message = format!("a price of `{model}` is no sum of money");
                self.report("C003", span, message, "write US dollars per million tokens");
            }
        }
    }

    fn fixtures(&mut self, fixtures: &[FixtureSettings]) {
        let mut names = BTreeSet::new();
        let mut variables = BTreeSet::new();
        for (index, fixture) in fixtures.iter().enumerate() {
            let at = |key: &str| format!("fixtures[{index}].{key}");
            let name = &*fixture.name;
            if !is_fixture_name(name) {
                let message = format!("`{name}` can't be the name of a fixture");
                self.value("C005", &at("name"), message, "use a-z, 0-9, `-` and `_`");
            } else if !names.insert(name) {
                let message = format!("the name `{name}` is used twice");
                self.value("C005", &at("name"), message, "give each its own");
            } else {
                // `a-b` and `a_b`, or a port `x` of `a` and a fixture `a-x`.
                let own: BTreeSet<String> = fixture.variables().into_iter().collect();
                if let Some(both) = own.iter().find(|variable| variables.contains(*variable)) {
                    let message = format!("another fixture has the variable `{both}`, too");
                    self.value("C005", &at("name"), message, "choose a name that differs more");
                }
                variables.extend(own);
            }
            for (key, command) in [
                ("start", Some(&fixture.start)),
                ("stop", fixture.stop.as_ref()),
                ("ready.command", fixture.ready.command.as_ref()),
            ] {
                if command.is_some_and(|command| command.trim().is_empty()) {
                    let help = "write what bash should run";
                    self.value("C003", &at(key), "the command is empty", help);
                }
            }
            let mut ports = BTreeSet::new();
            for (port, name) in fixture.ports.iter().enumerate() {
                let place = at(&format!("ports[{port}]"));
                if !is_fixture_name(name) {
                    let message = format!("`{name}` can't be the name of a port");
                    self.value("C005", &place, message, "use a-z, 0-9, `-` and `_`");
                } else if !ports.insert(name) {
                    let message = format!("the name `{name}` is used twice");
                    self.value("C005", &place, message, "give each its own");
                }
            }
            for (output, path) in fixture.outputs.iter().enumerate() {
                self.directory(&at(&format!("outputs[{output}]")), plain(path));
            }
            let names: Vec<String> = fixture.env.keys().cloned().collect();
            for name in &names {
                let head = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
                if !head || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
                    let span = yaml::key_span(self.text, &yaml::steps(&at("env")), name);
                    let message = format!("`{name}` can't be the name of a variable");
                    self.report("C003", span, message, "use letters, digits and `_`");
                }
            }
            if fixture.product && fixture.scope == FixtureScope::Run {
                let message = "the product changes from candidate to candidate, and this one stays";
                self.value("C003", &at("scope"), message, "write `candidate`, the default");
            }
            self.readiness(index, fixture);
            self.needs(index, fixtures);
        }
    }

    fn readiness(&mut self, index: usize, fixture: &FixtureSettings) {
        let ready = &fixture.ready;
        let at = |key: &str| format!("fixtures[{index}].ready.{key}");
        let kinds: Vec<&str> = [
            ("port", ready.port.is_some()),
            ("http", ready.http.is_some()),
            ("command", ready.command.is_some()),
            ("output", ready.output.is_some()),
        ]
        .into_iter()
        .filter_map(|(kind, is_said)| is_said.then_some(kind))
        .collect();
        if let [first, second, ..] = kinds[..] {
            let message = format!("`{}` is ready by `{first}` and by `{second}`", fixture.name);
            let help = "keep one; a `command` can look for several things";
            self.value("C003", &at(second), message, help);
        }
        if ready.port == Some(ReadyPort::Own(false)) {
            let message = "`port: false` says nothing";
            self.value("C003", &at("port"), message, "write `true` or a number, or remove it");
        }
        if let Some(http) = &ready.http
            && !http.starts_with('/')
            && http.strip_prefix("http://").is_none_or(|rest| rest.starts_with(['/', ':']))
        {
            let message = format!("`{http}` is neither a path nor an http:// URL");
            let help = "write `/health`, `http://127.0.0.1:8080/health`, or a `command` with curl";
            self.value("C003", &at("http"), message, help);
        }
        if let Some(status) = ready.status {
            if ready.http.is_none() {
                let message = "`status` belongs to `http`, which is not here";
                self.value("C003", &at("status"), message, "add `http`, or remove it");
            } else if !(100..600).contains(&status) {
                let message = format!("{status} is no status of HTTP");
                self.value("C003", &at("status"), message, "statuses are 100 to 599");
            }
        }
        if let Some(output) = &ready.output {
            let regex = output.strip_prefix('/').and_then(|rest| rest.strip_suffix('/'));
            if output.trim().is_empty() || regex == Some("") {
                let message = "an empty text is in every line";
                self.value("C003", &at("output"), message, "write a text that it logs when ready");
            } else if let Some(Err(error)) = regex.map(regex::Regex::new) {
                let why = why_no_regex(&error);
                let message = format!("`{output}` is no regular expression: {why}");
                self.value(
                    "C003",
                    &at("output"),
                    message,
                    "write a text without slashes, or mend it",
                );
            }
        }
    }

    /// Checks what the fixture `index` needs: that it is there, lives as long, and does not need the
    /// fixture in turn.
    fn needs(&mut self, index: usize, fixtures: &[FixtureSettings]) {
        let fixture = &fixtures[index];
        for (need, name) in fixture.needs.iter().enumerate() {
            let place = format!("fixtures[{index}].needs[{need}]");
            let Some(other) = fixtures.iter().find(|other| other.name == *name) else {
                let known = fixtures.iter().map(|other| &*other.name);
                let message = match nearest(name, known) {
                    Some(near) => format!("there is no fixture `{name}`; did you mean `{near}`?"),
                    None => format!("there is no fixture `{name}`"),
                };
                self.value("C006", &place, message, "`needs` names other fixtures of this file");
                continue;
            };
            if other.scope < fixture.scope {
                let message = format!(
                    "`{}` lives for a {} and needs `{name}`, which lives for a {} only",
                    fixture.name, fixture.scope, other.scope
                );
                self.value("C006", &place, message, "give both the same `scope`");
            }
            if let Some(circle) = circle(fixtures, index, name) {
                let message = format!("the fixtures need each other in a circle: {circle}");
                self.value("C006", &place, message, "remove one of these needs");
            }
        }
    }

    /// Adds a finding, unless there are so many that the person knows by now.
    fn report(
        &mut self,
        code: &'static str,
        span: Option<std::ops::Range<usize>>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        if self.findings.len() == MOST {
            return;
        }
        let (line, column) =
            span.as_ref().map_or((1, 1), |span| line_column(self.text, span.start));
        self.findings.push(Diagnostic {
            code: code.to_owned(),
            severity: check_of(code)
                .map_or(crate::scenario::Severity::Error, |check| check.severity),
            message: message.into(),
            file: self.file.to_owned(),
            span,
            line,
            column,
            help: help.into(),
        });
    }

    /// Reports the value at `path`.
    fn value(&mut self, code: &'static str, path: &str, message: impl Into<String>, help: &str) {
        if self.findings.len() == MOST {
            return;
        }
        let span = yaml::value_span(self.text, &yaml::steps(path));
        self.report(code, span, message, help);
    }

    /// Checks a path relative to the root, or to the person's home.
    fn directory(&mut self, path: &str, value: &str) {
        if let Err(error) = TreePath::parse(value) {
            self.value("C004", path, error.to_string(), "write a relative path without `..`");
        } else if value == ".git" || value.starts_with(".git/") {
            self.value("C004", path, format!("`{value}` is git's own"), "choose another place");
        }
    }

    /// Checks a path that may climb from the product's directory, as far as to the root of the repository.
    fn place(&mut self, path: &str, value: &str) {
        match self.climbing(value) {
            Ok(below) if below.len() == value.len() => self.directory(path, value),
            Ok("") => {
                let message = format!("`{value}` is a directory above the product itself");
                self.value("C004", path, message, "name what lies in it");
            }
            Ok(_) => self.directory(path, &self.at.path(value)),
            Err(message) => self.value("C004", path, message, "name a place in the repository"),
        }
    }

    /// Checks a path that a set-up command makes, and that is replaced as a whole.
    fn output(&mut self, path: &str, value: &str) {
        let before = self.findings.len();
        self.place(path, value);
        let holds = |output: TreePath| {
            TreePath::parse(self.at.as_str()).is_ok_and(|product| product.is_within(&output))
        };
        if self.findings.len() == before && TreePath::parse(self.at.path(value)).is_ok_and(holds) {
            let message = format!("`{value}` holds the product itself");
            self.value("C004", path, message, "name what the command makes, and nothing above it");
        }
    }

    /// Returns what is left of a path or glob behind the `../` at its beginning.
    ///
    /// # Errors
    /// It climbs further than to the root of the repository, or climbs behind a name.
    fn climbing<'v>(&self, value: &'v str) -> Result<&'v str, String> {
        let (mut below, mut above) = (value, 0);
        while let Some(rest) = below.strip_prefix("../").or((below == "..").then_some("")) {
            (below, above) = (rest, above + 1);
        }
        if above > self.at.depth() {
            return Err(match self.at.depth() {
                0 => format!(
                    "`{value}` leads out of the product, which is no part of a larger repository"
                ),
                depth => format!(
                    "`{value}` leads out of the repository, whose root is `{}`",
                    vec![".."; depth].join("/")
                ),
            });
        }
        match below.split('/').any(|part| part == "..") {
            true => Err(format!("`{value}` has `..` behind a name; it may climb at its beginning")),
            false => Ok(below),
        }
    }

    fn globs(&mut self, path: &str, globs: &[String]) {
        for (index, glob) in globs.iter().enumerate() {
            let problem = if glob.trim().is_empty() {
                Some("an empty glob matches nothing".to_owned())
            } else if glob.starts_with('/') {
                Some(format!("`{glob}` begins with `/`; globs are relative to the root"))
            } else if glob.starts_with('!') {
                Some(format!("`{glob}` begins with `!`; a glob can't take back what others match"))
            } else if let Err(message) = self.climbing(glob) {
                Some(message)
            } else {
                globset::Glob::new(glob).err().map(|e| format!("`{glob}`: {}", e.kind()))
            };
            if let Some(message) = problem {
                let help = "`src/**` is all below src, `*.md` every such file";
                self.value("C004", &format!("{path}[{index}]"), message, help);
            }
        }
    }

    fn variables(&mut self, path: &str, names: &[String]) {
        for (index, name) in names.iter().enumerate() {
            if name.is_empty()
                || name.contains(|c: char| c == '=' || c == '\0' || c.is_whitespace())
            {
                let message = format!("`{name}` can't be the name of a variable");
                let help = "write the name alone; the value is taken from your environment";
                self.value("C003", &format!("{path}[{index}]"), message, help);
            }
        }
    }

    fn commands(&mut self, path: &str, commands: &[GateSettings]) {
        self.names(path, commands.iter().map(|gate| (&*gate.name, &*gate.run)));
        for (index, gate) in commands.iter().enumerate() {
            self.globs(&format!("{path}[{index}].definition"), &gate.definition);
        }
    }

    fn names<'b>(&mut self, path: &str, commands: impl Iterator<Item = (&'b str, &'b str)>) {
        let mut seen = BTreeSet::new();
        for (index, (name, run)) in commands.enumerate() {
            let place = format!("{path}[{index}].name");
            if name.trim().is_empty() {
                self.value("C005", &place, "the name is empty", "say what it does in a word");
            } else if name.contains(char::is_control) {
                let message = "the name has a control character";
                self.value("C005", &place, message, "write a name of one line");
            } else if !seen.insert(name) {
                let message = format!("the name `{name}` is used twice");
                self.value("C005", &place, message, "give each its own");
            }
            if run.trim().is_empty() {
                let place = format!("{path}[{index}].run");
                self.value("C003", &place, "the command is empty", "write what bash should run");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Checks that the settings are refused with this code at this text.
    fn check(text: &str, code: &str, at: &str) {
        let error = parse(FILE, text.as_bytes()).unwrap_err();
        let found = &error.findings()[0];
        let place = found.span.clone().map(|span| &text[span]);
        assert_eq!((found.code.as_str(), place), (code, Some(at)), "{text:?}: {error}");
    }

    #[test]
    fn no_file_and_an_empty_file_mean_the_same() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(load(root.path()).unwrap(), Config::default());
        for text in ["", "# nothing\n", "---\n"] {
            std::fs::write(root.path().join(FILE), text).unwrap();
            assert_eq!(load(root.path()).unwrap(), Config::default(), "{text:?}");
        }
    }

    #[test]
    fn the_defaults_are_valid() {
        let text = serde_yaml::to_string(&Config::default()).unwrap();
        assert_eq!(parse(FILE, text.as_bytes()).unwrap(), Config::default(), "{text}");
    }

    #[test]
    fn a_slip_in_a_key_names_the_nearest() {
        let error = parse(FILE, b"satisfaction:\n  threshhold: 0.9\n").unwrap_err();
        assert_eq!(
            error.to_string(),
            "dark-factory.yaml:2:3: unknown key `threshhold`; did you mean `threshold`?"
        );
        check("satisfaction:\n  threshhold: 0.9\n", "C002", "threshhold");
    }

    #[test]
    fn values_out_of_their_range_are_refused() {
        for threshold in ["7", "0", "-1", ".nan", ".inf", "1.01"] {
            let text = format!("budget: {{}}\nsatisfaction: {{ threshold: {threshold} }}");
            check(&text, "C003", threshold);
        }
        check("satisfaction:\n  stalled_after: 0\n", "C003", "0");
        check("isolation:\n  agent: move\n  require: copy\n", "C003", "move");
        check("env: ['A=b']\n", "C003", "'A=b'");
        check("gates:\n- {name: a, run: ' '}\n", "C003", "' '");
    }

    #[test]
    fn an_agent_is_one_that_there_is_with_an_effort_that_it_knows() {
        let check = |agent: &str, at| check(&format!("agent: {{{agent}}}\n"), "C003", at);
        check("backend: codx", "codx");
        check("backend: codex, effort: hihg", "hihg");
        check("backend: gemini, effort: high", "high");
        check("backend: claude, fallback: [{backend: claud}]", "claud");
        check("backend: codex, fallback: [{backend: claude, effort: none}]", "none");
        check("max_turns: 0", "0");
        let error = parse(FILE, b"agent:\n  backend: codx\n").unwrap_err().to_string();
        assert_eq!(
            error,
            "dark-factory.yaml:2:12: there is no agent backend `codx`; did you mean `codex`?"
        );
        let fine = b"agent: {backend: codex, effort: ultra, max_turns: 1, retries: 0}";
        assert!(parse(FILE, fine).is_ok());
        assert!(parse(FILE, b"agent: {effort: high}").is_ok(), "a flag names the backend");
    }

    #[test]
    fn a_budget_that_makes_no_sense_is_refused() {
        let check = |budget: &str, code, at| check(&format!("budget: {{{budget}}}\n"), code, at);
        for usd in ["0", "-1", ".nan", ".inf"] {
            check(&format!("money: {usd}"), "C003", usd);
            check(&format!("per_turn: {{money: {usd}}}"), "C003", usd);
        }
        check("tokens: 0", "C003", "0");
        check("per_day: {turns: 0}", "C003", "0");
        check("tokens: -5", "C001", "-5");
        check("time: 0", "C001", "0");
        check("moneys: 1", "C002", "moneys");
        check("per_day: {iterations: 1}", "C002", "iterations");
        check("billing: plans", "C001", "plans");
        check("prices: {o3: {input: -1, output: 2}}", "C003", "o3");
        check("prices: {o3: {input: 1, output: 2, cache: 1}}", "C002", "cache");
    }

    #[test]
    fn limits_of_a_delivery_are_written_as_people_write_sizes() {
        check("delivery: {max_files: 0}\n", "C003", "0");
        check("delivery:\n  max_file_size: 5 parsecs\n", "C001", "5 parsecs");
        check("delivery: {max_total_size: 0}\n", "C001", "0");
        check("delivery: {max_size: 5MB}\n", "C002", "max_size");
        let limits = |text: &str| parse(FILE, text.as_bytes()).unwrap().delivery.limits();
        let given =
            limits("delivery: {max_files: 2000, max_file_size: 20MB, max_total_size: 100000000}");
        let of =
            |limits: crate::delivery::Limits| (limits.files, limits.file_bytes, limits.total_bytes);
        assert_eq!(of(given), (2_000, 20_000_000, 100_000_000));
        assert_eq!(of(limits("")), (500, 5_000_000, 50_000_000));
        // What all files may hold together no single one exceeds.
        assert_eq!(of(limits("delivery: {max_total_size: 1MB}")).1, 1_000_000);
    }

    #[test]
    fn a_plan_pays_no_dollars_that_could_be_limited() {
        check("budget:\n  billing: plan\n  money: 5\n", "C003", "5");
        check("budget: {billing: plan, without_progress: {money: 2}}", "C003", "2");
        let text = b"budget: {billing: plan, tokens: 2000000, time: 3h, per_day: {turns: 9}}";
        let limits = parse(FILE, text).unwrap().budget.limits();
        assert_eq!((limits.tokens, limits.time_ms), (Some(2_000_000), Some(10_800_000)));
        assert_eq!((limits.day_turns, limits.has_money()), (Some(9), false));
    }

    #[test]
    fn a_length_of_time_and_a_number_of_jobs_are_pointed_at() {
        check("gates:\n- name: a\n  run: b\n  timeout: 5 parsecs\n", "C001", "5 parsecs");
        check("scenarios:\n  timeout: 10s\n  jobs: 0\n", "C001", "0");
        let config = parse(FILE, b"scenarios: {timeout: 2m, jobs: auto}").unwrap();
        assert_eq!(config.scenarios.timeout, crate::config::Span::seconds(120));
    }

    #[test]
    fn paths_stay_within_the_root() {
        for dir in ["/etc", "../x", "a/../b", ".", "''", ".git/x"] {
            let text = format!("scenarios:\n  dir: {dir}\n");
            check(&text, "C004", dir);
        }
        check("prepare:\n- {name: a, run: b, outputs: [/tmp]}\n", "C004", "/tmp");
        check("agent:\n  home: [../x]\n", "C004", "../x");
        check("agent:\n  login: {command: [x], files: [../x]}\n", "C004", "../x");
        check("agent:\n  login: {command: [], files: [x]}\n", "C003", "{");
        check("agent:\n  backend: codex\n  login: {command: [x], files: [x]}\n", "C003", "{");
        let config = parse(FILE, b"scenarios: {dir: ./exams/}").unwrap();
        assert_eq!(config.scenarios.dir, "exams");
    }

    #[test]
    fn scenarios_in_another_place_are_protected_too() {
        let config = parse(FILE, b"scenarios: {dir: 'ex[am]s'}\nprotected: [x]").unwrap();
        let globs = config.protected_globs();
        assert!(globs.contains(&"ex[[]am[]]s/**".to_owned()), "{globs:?}");
        assert!(globs.contains(&"scenarios/**".to_owned()));
        assert_eq!(globs.last().map(String::as_str), Some("x"));
    }

    #[test]
    fn globs_are_those_that_can_match() {
        for glob in ["'a[b'", "/src/**", "'!x'", "''"] {
            check(&format!("write:\n- ok/**\n- {glob}\n"), "C004", glob);
        }
        check("gates:\n- {name: a, run: b, definition: ['{']}\n", "C004", "'{'");
    }

    fn product_x() -> Subtree {
        Subtree::between(Path::new("/r"), Path::new("/r/packages/x")).unwrap()
    }

    #[test]
    fn paths_climb_to_the_root_of_the_repository_and_no_further() {
        let at = product_x();
        let read = |text: &str| parse_at(FILE, text.as_bytes(), &at);
        let fine = [
            "specs: [../docs/*.md, ../../docs/**]",
            "write: ['**', ../../Cargo.lock, ../..]",
            "prepare: [{name: a, run: b, inputs: [../../lock], outputs: [../../node_modules, ../y/out]}]",
            "agent: {prompt: ../../.github/fix.md}",
        ];
        for text in fine {
            assert!(read(text).is_ok(), "{text}: {:?}", read(text));
            assert!(parse(FILE, text.as_bytes()).is_err(), "{text}: above the root of all");
        }
        for (text, why) in [
            ("protected: [../../../**]", "leads out of the repository, whose root is `../..`"),
            ("gates: [{name: a, run: b, definition: [a/../b]}]", "has `..` behind a name"),
            ("prepare: [{name: a, run: b, outputs: [../../../x]}]", "leads out of the repository"),
            ("prepare: [{name: a, run: b, outputs: [../../packages]}]", "holds the product itself"),
            ("prepare: [{name: a, run: b, outputs: [../x]}]", "holds the product itself"),
            ("prepare: [{name: a, run: b, outputs: [../..]}]", "is a directory above the product"),
            ("prepare: [{name: a, run: b, outputs: [../../.git/x]}]", "git's own"),
            ("scenarios: {dir: ../y/scenarios}", "can't be a path in a tree"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn a_product_in_a_directory_writes_there_and_the_root_is_protected_as_a_product_s() {
        let at = product_x();
        let policy = |text: &str| {
            let config = parse_at(FILE, text.as_bytes(), &at).unwrap();
            config.delivery_policy(crate::delivery::Links::default(), &at).unwrap()
        };
        let path = |path: &str| TreePath::parse(path).unwrap();
        let everywhere = policy("write: [../..]\nprotected: ['*.key', ../../ci/**]");
        for protected in [
            "packages/x/scenarios/a.md",
            "packages/x/specs/a.md",
            "packages/x/.github/a",
            "packages/x/artifacts/factory/a",
            "packages/x/a/b.key",
            "ci/a",
            "scenarios/a.md",
            "specs/a.md",
            ".github/workflows/ci.yaml",
            "dark-factory.yaml",
            "lib/dark-factory.yaml",
            "lib/CLAUDE.md",
            ".gitattributes",
        ] {
            assert!(everywhere.is_protected(&path(protected)), "{protected}");
        }
        for free in ["b.key", "lib/scenarios/a.md", "packages/y/a"] {
            assert!(!everywhere.is_protected(&path(free)), "{free}");
            assert!(!everywhere.is_outside(&path(free)), "{free}");
            assert!(policy("").is_outside(&path(free)), "{free}");
        }
        for own in ["packages/x/a", "packages/x/a/b"] {
            assert!(!policy("").is_outside(&path(own)), "{own}");
        }
        let one = policy("write: ['**', ../../Cargo.lock]");
        assert!(!one.is_outside(&path("Cargo.lock")) && one.is_outside(&path("lib/Cargo.lock")));
    }

    #[test]
    fn names_are_unique_and_not_empty() {
        check("gates:\n- {name: a, run: b}\n- {name: 'a', run: c}\n", "C005", "'a'");
        check("prepare:\n- {name: '', run: b}\n", "C005", "''");
        assert!(parse(FILE, b"gates: [{name: a, run: b}]\nquality: [{name: a, run: b}]").is_ok());
    }

    /// Checks that fixtures, written as items of a list, are refused with this code at this text.
    fn check_fixtures(items: &str, code: &str, at: &str) {
        check(&format!("fixtures:\n{items}\n"), code, at);
    }

    #[test]
    fn a_fixture_is_read_with_its_defaults() {
        let text = "fixtures:\n- name: web\n  start: ./serve\n  ready: {port: true}\n";
        let config = parse(FILE, text.as_bytes()).unwrap();
        let web = &config.fixtures[0];
        assert_eq!(web.ready.port, Some(ReadyPort::Own(true)));
        assert_eq!(web.ready.timeout, crate::config::Span::seconds(30));
        assert_eq!((web.scope.to_string().as_str(), web.product), ("candidate", false));
        let again = serde_yaml::to_string(&config).unwrap();
        assert_eq!(parse(FILE, again.as_bytes()).unwrap(), config, "{again}");
    }

    #[test]
    fn variables_of_fixtures_are_in_capitals() {
        let text = "fixtures:\n- {name: my-db, start: x, ports: [ad-min]}\n";
        let config = parse(FILE, text.as_bytes()).unwrap();
        assert_eq!(
            config.fixtures[0].variables(),
            ["FACTORY_PORT_MY_DB", "FACTORY_DIR_MY_DB", "FACTORY_PORT_MY_DB_AD_MIN"]
        );
    }

    #[test]
    fn a_fixture_has_a_name_of_its_own_and_a_start() {
        check_fixtures("- {name: Web, start: x}", "C005", "Web");
        check_fixtures("- {name: '', start: x}", "C005", "''");
        check_fixtures("- {name: a, start: x}\n- {name: 'a', start: x}", "C005", "'a'");
        check_fixtures("- {name: a-b, start: x}\n- {name: a_b, start: x}", "C005", "a_b");
        check_fixtures("- {name: a, start: ' '}", "C003", "' '");
        check_fixtures("- {name: a, start: x, stop: ''}", "C003", "''");
        check_fixtures("- {name: a, start: x, outputs: [/x]}", "C004", "/x");
        check_fixtures("- {name: a, start: x, env: {A-B: y}}", "C003", "A-B");
        check_fixtures("- {name: a, start: x, ports: [y, 'y']}", "C005", "'y'");
        let error = parse(FILE, b"fixtures: [{name: a}]").unwrap_err().to_string();
        assert!(error.contains("the key `start` is missing"), "{error}");
    }

    #[test]
    fn a_fixture_is_ready_by_one_thing_that_can_be() {
        let check = |ready: &str, at: &str| {
            check_fixtures(&format!("- {{name: a, start: x, ready: {{{ready}}}}}"), "C003", at);
        };
        check("port: 80, http: /y", "/y");
        check("command: y, output: z", "z");
        check("port: false", "false");
        check("http: 'https://x/'", "'https://x/'");
        check("http: health", "health");
        check("port: true, status: 200", "200");
        check("http: /, status: 99", "99");
        check("output: '/(/'", "'/(/'");
        check("output: ''", "''");
        check("command: ' '", "' '");
        check_fixtures("- {name: a, start: x, ready: {port: 70000}}", "C001", "70000");
        check_fixtures("- {name: a, start: x, ready: {ports: 1}}", "C002", "ports");
        check_fixtures("- {name: a, start: x, scope: ever}", "C001", "ever");
        check_fixtures("- {name: a, start: x, product: true, scope: run}", "C003", "run");
    }

    #[test]
    fn what_a_fixture_needs_is_there_and_lives_as_long() {
        check_fixtures("- {name: web, start: x, needs: [wbe]}", "C006", "wbe");
        check_fixtures("- {name: a, start: x, needs: ['a']}", "C006", "'a'");
        let two = |first, second| {
            format!("- {{name: a, start: x, {first}}}\n- {{name: b, start: x, {second}}}")
        };
        check_fixtures(&two("needs: ['b']", "needs: [a]"), "C006", "'b'");
        check_fixtures(&two("product: true", "needs: ['a'], scope: run"), "C006", "'a'");
        let three = "- {name: a, start: x, needs: ['b']}\n- {name: b, start: x, needs: [c]}\n\
                     - {name: c, start: x, needs: [a]}";
        check_fixtures(three, "C006", "'b'");
        let error = parse(FILE, format!("fixtures:\n{three}\n").as_bytes()).unwrap_err();
        assert_eq!(error.findings().len(), 1, "{error}");
        assert!(error.to_string().contains("in a circle: a, b, c, a"), "{error}");
        let shared = two("scope: run", "needs: [a], scope: scenario");
        assert!(parse(FILE, format!("fixtures:\n{shared}\n").as_bytes()).is_ok());
    }

    #[test]
    fn every_finding_is_named_in_its_order() {
        let error = parse(FILE, b"write: [/a]\nsatisfaction: {threshold: 7, stalled_after: 0}")
            .unwrap_err();
        let codes: Vec<_> = error.findings().iter().map(|found| found.code.as_str()).collect();
        assert_eq!(codes, ["C004", "C003", "C003"]);
        assert_eq!(error.findings()[1].help, "for 7 percent write 0.07");
    }

    #[test]
    fn what_is_no_settings_file_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join(FILE);
        let message = |root: &Path| load(root).unwrap_err().to_string();
        std::fs::write(root.path().join("dark-factory.yml"), "").unwrap();
        assert!(message(root.path()).contains("rename it"));
        std::fs::create_dir(&file).unwrap();
        assert!(message(root.path()).contains("no regular file"));
        std::fs::remove_dir(&file).unwrap();
        std::os::unix::fs::symlink("/nowhere/at/all", &file).unwrap();
        assert!(matches!(load(root.path()), Err(ConfigError::Unreadable { .. })));
        std::fs::remove_file(&file).unwrap();
        std::fs::write(&file, vec![b'#'; MAX_BYTES as usize + 1]).unwrap();
        assert!(message(root.path()).contains("1 MiB"));
        std::fs::write(&file, b"env: [\xff]").unwrap();
        let error = load(root.path()).unwrap_err();
        assert_eq!((error.findings()[0].column, error.text()), (7, None));
    }

    #[test]
    fn what_is_written_is_told_from_what_is_the_default() {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join(FILE), "satisfaction:\n  threshold: 0.8\n").unwrap();
        let loaded = read(root.path()).unwrap();
        assert!(loaded.is_written("satisfaction.threshold"));
        assert!(!loaded.is_written("satisfaction.stalled_after"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused_within_their_bounds(parts in prop::collection::vec(prop::sample::select(vec![
            &b"gates:\n"[..], b"- name: a\n", b"  run: b\n", b"satisfaction: ", b"{threshold: 7}", b"\n", b"  ",
            b"write: [", b"]", b"'", b"\xff", b"\xc3\xa9", b"\xef\xbb\xbf", b"x: y\n", b"&a ", b"*a", b"---\n",
        ]), 0..20)) {
            let bytes = parts.concat();
            if let Err(error) = parse(FILE, &bytes) {
                prop_assert!(!error.findings().is_empty());
                for found in error.findings() {
                    let span = found.span.clone().unwrap_or(0..0);
                    prop_assert!(bytes.get(span).is_some());
                }
            }
        }
    }
}
