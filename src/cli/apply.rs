//! `factory apply`: brings a run's candidate to the person's branch, by a fast-forward or not at
//! all. Nothing is merged silently, and nothing of the person's is overwritten.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Parser;

use super::exit::{Exit, Failure};
use super::here::{Found, Here};
use crate::config::Environment;
use crate::event::{Audience, Judgement, Label};
use crate::git::{GitError, Head, Oid, Repo, Tree, blob_id};
use crate::report::{Blobs, Details, Output, better_than_base, branch_of};
use crate::text::{TreePath, plural, visible};
use crate::verdict::show_score;

const EXAMPLES: &str = "\
Examples:
  factory apply                  the best candidate of the newest run
  factory apply --iteration 2    the candidate of iteration 2
  factory apply 0915             of the run whose id holds 0915

The branch from which the run began must be checked out, and is fast-forwarded. Where it moved in
the meantime, nothing is done, and the commands that merge are named.

Exit codes: 0 applied, or applied already; 1 no candidate is better than the base; 2 there is no
such run or candidate; 3 the checkout is in the way (another branch, a moved one, changes), and
was not touched.";

/// The directory in the product whose files are the factory's own, also in the checkout.
const OWN: &str = "artifacts/factory";
/// How many paths are named before the rest is counted.
const LISTED: usize = 5;

/// Bring the best candidate of a run to your branch.
#[derive(Debug, Clone, Default, Parser)]
#[command(name = "apply", after_help = EXAMPLES)]
pub struct Args {
    /// The run, by its id or a part of it [default: the newest]
    #[arg(value_name = "RUN")]
    pub run: Option<String>,
    /// The iteration whose candidate is taken [default: that of the best]
    #[arg(long, value_name = "N")]
    pub iteration: Option<u32>,
    /// The root of the product [default: from here up the first with dark-factory.yaml, else the repository's top]
    #[arg(long, value_name = "DIR")]
    pub workdir: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// There is nothing to apply, or the checkout is in the way; it is then as it was.
pub fn run(args: &Args, env: &Environment) -> anyhow::Result<Exit> {
    let lines = apply(args, env)?;
    let mut output = Output::stdout(env.no_color());
    for line in lines {
        output.line(line);
    }
    output.finish().context("can't write to standard output")?;
    Ok(Exit::Satisfied)
}

fn apply(args: &Args, env: &Environment) -> anyhow::Result<Vec<String>> {
    let here = Here::find(args.workdir.as_deref(), env)?;
    let found = here.read(args.run.as_deref(), false)?;
    let (iteration, judgement) = candidate(&found, args.iteration)?;
    let repo = here.repo()?;
    let missing = |commit: &str| {
        format!("commit {commit} is not in the repository any more; it can't be applied")
    };
    let target = repo.resolve(&judgement.commit)?.with_context(|| missing(&judgement.commit))?;
    let base = repo
        .resolve(&found.summary.started.base)?
        .with_context(|| missing(&found.summary.started.base))?;
    let branch = branch_of(&found.summary);
    let now = match branch {
        Some(branch) => repo.resolve(&format!("refs/heads/{branch}"))?,
        None => None,
    };
    let relation = match &now {
        Some(now) => relation(&repo, &base, now, &target)?,
        None => Relation::Gone,
    };
    let place = Place { run: found.id.as_str(), branch, head: &repo.head()?, target: &target };
    let from = match plan(&place, relation) {
        Ok(Plan::Already) => {
            let branch = branch.unwrap_or("the branch");
            return Ok(vec![format!(
                "{branch} already has iteration {iteration} of run {} ({})",
                found.id,
                target.short()
            )]);
        }
        Ok(Plan::Forward) => now.context("the branch has no commit")?,
        Err(why) => return Err(Failure::because(Exit::Broken, why)),
    };
    let own = TreePath::parse(repo.subtree(&here.root)?.path(OWN))
        .context("naming the factory's directory failed")?;
    let moved = forward(&repo, &found.dir, &own, &from, &target)?;
    let mut lines = vec![format!(
        "{}: {} -> {}, iteration {iteration} of run {}, {}",
        branch.unwrap_or_default(),
        from.short(),
        target.short(),
        found.id,
        scored(&found, judgement)
    )];
    lines.extend(visible(repo.diff_stat(&from, &target)?.trim_end()).lines().map(str::to_owned));
    for path in moved {
        lines.push(format!(
            "`{path}` was written by an earlier judgement, and lies in {}",
            kept(&found.dir).display()
        ));
    }
    if judgement.gates_changed {
        lines.push(String::new());
        lines.push(format!(
            "look at what defines the gates; the agent changed {}",
            changed_gates(&found, iteration)
        ));
    }
    lines.push(String::new());
    lines.push(format!("to take it back: git reset --keep {}", from.short()));
    Ok(lines)
}

/// Finds the candidate that is to be applied, with its iteration.
fn candidate(found: &Found, wanted: Option<u32>) -> anyhow::Result<(u32, &Judgement)> {
    let summary = &found.summary;
    let run = &found.id;
    if summary.started.in_place {
        let message = format!(
            "run {run} judged the working tree in place; there is nothing that could be applied"
        );
        return Err(Failure::because(Exit::Usage, message));
    }
    let find = |wanted: u32| summary.judgements().find(|(iteration, _)| *iteration == wanted);
    let Some(wanted) = wanted else {
        return match better_than_base(summary) {
            Some(best) => Ok(best),
            None => {
                let message = format!(
                    "no candidate of run {run} is better than its base; `factory show {run}` tells more"
                );
                Err(Failure::because(Exit::NotSatisfied, message))
            }
        };
    };
    let refused = |why: &str| {
        let known: Vec<String> = summary
            .judgements()
            .filter(|(_, judgement)| judgement.commit != summary.started.base)
            .map(|(iteration, _)| iteration.to_string())
            .collect();
        let hint = match known.as_slice() {
            [] => "the run has none".to_owned(),
            _ => format!("there are {}", known.join(", ")),
        };
        let message = format!("iteration {wanted} of run {run} {why}; {hint}");
        Err(Failure::because(Exit::Usage, message))
    };
    match find(wanted) {
        None => refused("has no judged candidate"),
        Some((_, judgement)) if judgement.commit == summary.started.base => {
            refused("is the base itself")
        }
        Some(candidate) => Ok(candidate),
    }
}

/// How the branch stands to the base and to the candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Relation {
    /// There is no such branch.
    Gone,
    /// It has the candidate already.
    Contains,
    /// It is the base, or a candidate between the base and this one.
    Before,
    /// It lacks commits that the run began from.
    Behind,
    /// It has commits that the candidate has not.
    Ahead {
        /// How many.
        commits: usize,
    },
}

fn relation(repo: &Repo, base: &Oid, now: &Oid, target: &Oid) -> Result<Relation, GitError> {
    if repo.is_ancestor(target, now)? {
        return Ok(Relation::Contains);
    }
    if !repo.is_ancestor(now, target)? {
        return Ok(Relation::Ahead { commits: repo.log(target, now)?.len() });
    }
    Ok(if repo.is_ancestor(base, now)? { Relation::Before } else { Relation::Behind })
}

/// Where a candidate is to go.
struct Place<'a> {
    run: &'a str,
    branch: Option<&'a str>,
    head: &'a Head,
    target: &'a Oid,
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
enum Plan {
    Already,
    Forward,
}

/// Decides whether the candidate can be brought to the branch; else why not, and what to do.
fn plan(place: &Place<'_>, relation: Relation) -> Result<Plan, String> {
    let Place { run, target, .. } = place;
    let Some(branch) = place.branch else {
        return Err(format!(
            "run {run} began on a detached HEAD, so that there is no branch to bring it to; \
             `git switch -c NAME {target}` makes one"
        ));
    };
    match relation {
        Relation::Contains => return Ok(Plan::Already),
        Relation::Gone => {
            return Err(format!(
                "the branch {branch} from which run {run} began is gone; \
                 `git switch -c {branch} {target}` makes it again, with the candidate"
            ));
        }
        Relation::Before | Relation::Behind | Relation::Ahead { .. } => {}
    }
    match place.head {
        Head::Detached { .. } => {
            return Err(format!(
                "HEAD is detached; `git switch {branch}`, and then `factory apply` again"
            ));
        }
        Head::Branch { name, .. } | Head::Unborn { name }
            if *name != format!("refs/heads/{branch}") =>
        {
            let other = name.strip_prefix("refs/heads/").unwrap_or(name);
            return Err(format!(
                "`{other}` is checked out, and run {run} began from `{branch}`; \
                 `git switch {branch}` and then `factory apply` again, \
                 or `git merge {target}` to have it here"
            ));
        }
        Head::Branch { .. } | Head::Unborn { .. } => {}
    }
    match relation {
        Relation::Ahead { commits } => Err(format!(
            "{branch} has moved since run {run} began: it has {} that the candidate has not; \
             `git merge {target}` brings both together",
            plural(commits, "commit")
        )),
        Relation::Behind => Err(format!(
            "{branch} was moved back to before the commit from which run {run} began; \
             `git merge --ff-only {target}` brings the candidate, and those commits with it"
        )),
        Relation::Gone | Relation::Contains | Relation::Before => Ok(Plan::Forward),
    }
}

/// Moves the checkout forward; returns the factory's own files that had to make room.
fn forward(
    repo: &Repo,
    dir: &Path,
    own: &TreePath,
    from: &Oid,
    to: &Oid,
) -> anyhow::Result<Vec<TreePath>> {
    let (before, after) = (repo.list(from)?, repo.list(to)?);
    let changed = differing(&before, &after);
    let dirty: Vec<String> = repo
        .dirty_paths()?
        .iter()
        .filter(|path| changed.contains(path))
        .map(ToString::to_string)
        .collect();
    if !dirty.is_empty() {
        let shown: Vec<&str> = dirty.iter().take(LISTED).map(String::as_str).collect();
        let more = match dirty.len().saturating_sub(LISTED) {
            0 => String::new(),
            rest => format!(" and {rest} more"),
        };
        let message = format!(
            "{} in the checkout that the candidate changes too: {}{more}; commit them, \
             or `git stash --include-untracked`, and then `factory apply` again",
            plural(dirty.len(), "uncommitted change"),
            shown.join(", ")
        );
        return Err(Failure::because(Exit::Broken, message));
    }
    let moved = make_room(repo, dir, own, &before, &changed)?;
    if let Err(error) = repo.fast_forward(to) {
        for path in &moved {
            let (place, aside) = (path.under(repo.root()), path.under(&kept(dir)));
            fs::rename(&aside, &place)
                .with_context(|| format!("can't move `{}` back to its place", aside.display()))?;
        }
        return Err(Failure::of(Exit::Broken, error).into());
    }
    Ok(moved)
}

fn differing(before: &Tree, after: &Tree) -> BTreeSet<TreePath> {
    let left = |a: &Tree, b: &Tree| -> Vec<TreePath> {
        a.iter()
            .filter(|(path, entry)| b.get(*path) != Some(entry))
            .map(|(path, _)| path.clone())
            .collect()
    };
    left(before, after).into_iter().chain(left(after, before)).collect()
}

/// Moves the factory's own files out of the way, which a judgement in place left in the checkout
/// and the candidate brings too: feedback, and the count of iterations. They never count as the
/// person's changes.
fn make_room(
    repo: &Repo,
    dir: &Path,
    own: &TreePath,
    before: &Tree,
    changed: &BTreeSet<TreePath>,
) -> anyhow::Result<Vec<TreePath>> {
    let mut moved = Vec::new();
    for path in changed.iter().filter(|path| path.is_within(own)) {
        let place = path.under(repo.root());
        if !place.symlink_metadata().is_ok_and(|found| found.is_file()) {
            continue;
        }
        let bytes =
            fs::read(&place).with_context(|| format!("can't read `{}`", place.display()))?;
        let entry = before.get(path);
        if entry.is_some_and(|entry| entry.oid == blob_id(repo.format(), &bytes)) {
            continue;
        }
        let aside = path.under(&kept(dir));
        let room = || -> anyhow::Result<()> {
            if let Some(parent) = aside.parent() {
                fs::create_dir_all(parent)?;
            }
            fs::rename(&place, &aside)?;
            if let Some(entry) = entry {
                fs::write(&place, repo.read_blob(&entry.oid)?)?;
            }
            Ok(())
        };
        room().with_context(|| format!("can't move `{}` aside", place.display()))?;
        moved.push(path.clone());
    }
    Ok(moved)
}

/// Returns where the files go that had to make room.
fn kept(dir: &Path) -> PathBuf {
    dir.join("replaced")
}

fn scored(found: &Found, judgement: &Judgement) -> String {
    let threshold = found.summary.started.threshold;
    let Some(satisfaction) = judgement.satisfaction else {
        return "whose gates failed".to_owned();
    };
    let score = show_score(satisfaction.score());
    if judgement.gates_passed && satisfaction.reaches(threshold) {
        format!("score {score}")
    } else {
        format!("score {score}, which does not reach {}", show_score(threshold))
    }
}

/// Names the gate definitions that the candidate changed.
fn changed_gates(found: &Found, iteration: u32) -> String {
    let details = Details::of(&found.events);
    let blob = details.iterations.get(&iteration).and_then(|one| one.gates_changed.as_ref());
    let blobs = Blobs::of(&found.dir, Audience(Label::Holdout));
    let paths: Option<Vec<String>> = blob.and_then(|blob| blobs.json(blob).ok().flatten());
    match paths {
        Some(paths) if !paths.is_empty() => visible(&paths.join(", ")),
        _ => "files that `factory show` names".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::convergence::Decision;
    use crate::event::RunEvent;
    use crate::git::ObjectFormat;
    use crate::git::testing::{Fixture, fixture, git};
    use crate::report::testing::TestRun;

    const RUN: &str = "20261120-091500-0001";

    /// A checkout with a run whose turn changed `a` and added feedback, and whose candidate is
    /// good.
    struct Bench {
        fixture: Fixture,
        base: Oid,
        target: Oid,
    }

    impl Bench {
        fn new() -> Self {
            Self::with(|run, base, target| {
                run.judged(base.as_str(), &[("s", "unsatisfied")]).turn("done");
                run.accepted(target.as_str(), &["a"], &[]);
                run.judged(target.as_str(), &[("s", "satisfied")]);
                run.finished(Decision::Converged { score: 1.0, threshold: 0.8, gates: Some(1) });
            })
        }

        fn with(happened: impl FnOnce(&mut TestRun, &Oid, &Oid)) -> Self {
            let fixture = fixture(ObjectFormat::Sha1);
            let base = fixture.tree(&[
                ("a", "1\n"),
                ("b", "1\n"),
                ("artifacts/factory/.gitignore", "/.gitignore\n/runs/\n"),
            ]);
            let base = fixture.commit(&base, &[&fixture.head()]);
            git(fixture.repo.root(), &["reset", "--quiet", "--hard", base.as_str()]);
            let target = fixture.tree(&[
                ("a", "2\n"),
                ("b", "1\n"),
                ("artifacts/factory/.gitignore", "/.gitignore\n/runs/\n"),
                ("artifacts/factory/feedback_iter_0.md", "told\n"),
            ]);
            let target = fixture.commit(&target, &[&base]);
            let mut run = TestRun::begin_at(fixture.repo.root(), RUN, |started| {
                started.base = base.to_string();
            });
            happened(&mut run, &base, &target);
            Self { fixture, base, target }
        }

        fn root(&self) -> &Path {
            self.fixture.repo.root()
        }

        fn apply(&self, args: &[&str]) -> anyhow::Result<String> {
            let args = Args::parse_from(["apply"].iter().chain(args));
            let env = Environment::read().unwrap();
            let env = Environment::from_parts(env.for_tools(), self.root().to_owned());
            apply(&args, &env).map(|lines| lines.join("\n"))
        }

        /// Returns why nothing was applied, and holds that nothing was.
        fn refused(&self, args: &[&str], exit: Exit) -> String {
            let before = (self.fixture.head(), git(self.root(), &["status", "--porcelain"]));
            let error = self.apply(args).unwrap_err();
            assert_eq!(Failure::exit_of(&error), exit, "{error:#}");
            let after = (self.fixture.head(), git(self.root(), &["status", "--porcelain"]));
            assert_eq!(before, after);
            super::super::exit::explain(&error, false)
                .replace(self.target.as_str(), "TARGET")
                .replace(self.base.as_str(), "BASE")
        }
    }

    #[test]
    fn the_best_candidate_is_brought_by_a_fast_forward() {
        let bench = Bench::new();
        let said = bench.apply(&[]).unwrap();
        assert_eq!(bench.fixture.head(), bench.target);
        assert_eq!(fs::read_to_string(bench.root().join("a")).unwrap(), "2\n");
        let said = said.replace(bench.base.short(), "BASE").replace(bench.target.short(), "TARGET");
        insta::assert_snapshot!(said);
        let again = bench.apply(&[]).unwrap();
        assert!(again.starts_with("main already has iteration 1"), "{again}");
    }

    #[test]
    fn a_branch_that_moved_is_not_merged() {
        let bench = Bench::new();
        git(bench.root(), &["commit", "--quiet", "--allow-empty", "-m", "Mine"]);
        let why = bench.refused(&[], Exit::Broken);
        assert!(why.contains("main has moved since run") && why.contains("1 commit"), "{why}");
        assert!(why.contains("`git merge TARGET`"), "{why}");
    }

    #[test]
    fn a_branch_that_was_moved_back_is_left_there() {
        let bench = Bench::new();
        git(bench.root(), &["reset", "--quiet", "--hard", "HEAD^"]);
        assert!(bench.refused(&[], Exit::Broken).contains("moved back"));
    }

    #[test]
    fn another_place_than_the_runs_branch_says_how_to_get_there() {
        let bench = Bench::new();
        git(bench.root(), &["switch", "--quiet", "-c", "other"]);
        assert!(bench.refused(&[], Exit::Broken).contains("`other` is checked out"));
        git(bench.root(), &["switch", "--quiet", "--detach"]);
        assert!(bench.refused(&[], Exit::Broken).contains("HEAD is detached; `git switch main`"));
        git(bench.root(), &["branch", "--quiet", "-D", "main"]);
        assert!(bench.refused(&[], Exit::Broken).contains("the branch main"));
    }

    #[test]
    fn a_run_from_a_detached_head_names_the_command() {
        let head = Head::Detached { commit: Oid::parse(&"a".repeat(40)).unwrap() };
        let target = Oid::parse(&"b".repeat(40)).unwrap();
        let place = Place { run: "r", branch: None, head: &head, target: &target };
        let why = plan(&place, Relation::Gone).unwrap_err();
        assert!(why.contains(&format!("`git switch -c NAME {target}`")), "{why}");
    }

    #[test]
    fn a_change_of_the_persons_is_not_overwritten() {
        let bench = Bench::new();
        fs::write(bench.root().join("a"), "mine\n").unwrap();
        fs::write(bench.root().join("b"), "mine\n").unwrap();
        let why = bench.refused(&[], Exit::Broken);
        assert!(
            why.contains("1 uncommitted change in the checkout") && why.contains(": a;"),
            "{why}"
        );
        git(bench.root(), &["checkout", "--quiet", "a"]);
        bench.apply(&[]).unwrap();
        assert_eq!(fs::read_to_string(bench.root().join("b")).unwrap(), "mine\n");
    }

    #[test]
    fn what_the_factory_left_itself_makes_room() {
        let bench = Bench::new();
        let feedback = bench.root().join("artifacts/factory/feedback_iter_0.md");
        fs::write(&feedback, "of a judgement in place\n").unwrap();
        fs::write(bench.root().join("a"), "mine\n").unwrap();
        bench.refused(&[], Exit::Broken);
        git(bench.root(), &["checkout", "--quiet", "a"]);
        let said = bench.apply(&[]).unwrap();
        assert!(said.contains("was written by an earlier judgement"), "{said}");
        assert_eq!(fs::read_to_string(&feedback).unwrap(), "told\n");
        let aside = bench.root().join(format!(
            "artifacts/factory/runs/{RUN}/replaced/artifacts/factory/feedback_iter_0.md"
        ));
        assert_eq!(fs::read_to_string(aside).unwrap(), "of a judgement in place\n");
    }

    #[test]
    fn what_git_refuses_puts_everything_back() {
        let bench = Bench::new();
        let feedback = bench.root().join("artifacts/factory/feedback_iter_0.md");
        fs::write(&feedback, "of a judgement in place\n").unwrap();
        // A lock that something else holds.
        fs::write(bench.root().join(".git/index.lock"), "").unwrap();
        bench.apply(&[]).unwrap_err();
        assert_eq!(fs::read_to_string(&feedback).unwrap(), "of a judgement in place\n");
    }

    #[test]
    fn no_better_candidate_is_no_success() {
        let bench = Bench::with(|run, base, target| {
            run.judged(base.as_str(), &[("s", "unsatisfied")]).turn("done");
            run.accepted(target.as_str(), &["a"], &[]);
            run.judged(target.as_str(), &[("s", "unsatisfied")]);
            run.finished(Decision::Stalled { steps: 3 });
        });
        assert!(bench.refused(&[], Exit::NotSatisfied).contains("no candidate"));
        assert!(bench.refused(&["--iteration", "0"], Exit::Usage).contains("is the base itself"));
        assert!(bench.refused(&["--iteration", "9"], Exit::Usage).contains("there are 1"));
        let said = bench.apply(&["--iteration", "1"]).unwrap();
        assert!(said.contains("score 0.00, which does not reach 0.80"), "{said}");
    }

    #[test]
    fn changed_gate_definitions_are_named() {
        let bench = Bench::with(|run, base, target| {
            run.judged(base.as_str(), &[("s", "unsatisfied")]).turn("done");
            run.accepted(target.as_str(), &["Makefile"], &[]);
            let paths = run.json(Label::Internal, &["Makefile"]);
            run.event(RunEvent::GatesFlagged { files: 1, paths });
            let sum = crate::verdict::Satisfaction {
                total: 1,
                passed: 1,
                weight_satisfied: 1.0,
                weight_judged: 1.0,
                ..Default::default()
            };
            run.closed(target.as_str(), Some(sum), true);
            run.finished(Decision::ConvergedGatesChanged { score: 1.0, threshold: 0.8 });
        });
        let said = bench.apply(&[]).unwrap();
        assert!(
            said.contains("look at what defines the gates; the agent changed Makefile"),
            "{said}"
        );
    }

    #[test]
    fn a_judgement_in_place_can_not_be_applied() {
        let dir = tempfile::tempdir().unwrap();
        TestRun::begin_at(dir.path(), RUN, |started| started.in_place = true);
        let env = Environment::from_parts([].into(), dir.path().to_owned());
        let error = apply(&Args::default(), &env).unwrap_err();
        assert_eq!(Failure::exit_of(&error), Exit::Usage);
    }
}
